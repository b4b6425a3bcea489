//! The filter that is added, in both forms of a request.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn identifier() -> Narrow {
    Narrow {
        number: 3,
        key: "filters".into(),
        column: "identifier".into(),
        default: Some("ne(state,1)".into()),
        whole: None,
    }
}

fn name() -> Narrow {
    Narrow {
        number: 4,
        key: "filters".into(),
        column: "name".into(),
        default: None,
        whole: None,
    }
}

fn names(list: &[&str]) -> Vec<Box<str>> {
    list.iter().map(|name| Box::from(*name)).collect()
}

#[test]
fn names_become_one_filter_and_no_name_one_that_matches_nothing() {
    let of = |list: &[&str]| expression(&name(), &names(list));
    assert_eq!(of(&["a.b-c_d/e", "F1"]).unwrap(), "value_in(name,a.b-c_d/e;F1)");
    assert_eq!(of(&[]).unwrap(), "value_in(name,-)");
}

#[test]
fn a_name_that_the_filter_language_could_misread_is_not_asked_for() {
    for wrong in ["a+b", "a;b", "a,b", "a(b", "a)b", "a b", "a%b", "\u{e9}", ""] {
        assert_eq!(expression(&name(), &names(&["a", wrong])), None, "{wrong}");
    }
}

#[test]
fn the_filter_is_added_to_the_callers_own_and_bounded() {
    let joined = |narrow: &Narrow, own: &str| joined(narrow, own, "value_in(name,a)");
    assert_eq!(joined(&name(), ""), "value_in(name,a)");
    assert_eq!(joined(&identifier(), ""), "value_in(name,a)+ne(state,1)");
    for own in ["eq(state,0)", "broken", "contains(name, b+)", "+"] {
        assert_eq!(joined(&identifier(), own), format!("{own}+value_in(name,a)"));
    }
    // Whoever sends a long filter is not asked for more than others.
    let long = "x".repeat(2 * MAX_FILTER);
    assert_eq!(joined(&name(), &long), format!("{long}+value_in(name,a)"));
    assert_eq!(expression(&name(), &names(&[&long])), None);
}

fn text(number: u32, text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::put_text(number, text, &mut bytes);
    bytes
}

#[test]
fn in_a_message_the_last_of_the_callers_filters_counts_and_nothing_else_changes() {
    let narrowed = |message: &[u8]| in_message(&identifier(), "value_in(identifier,a)", message);
    assert_eq!(narrowed(b"").unwrap(), text(3, "value_in(identifier,a)+ne(state,1)"));
    let own = [vec![8, 5], text(3, "first"), text(3, "eq(name,b)"), text(99, "new")].concat();
    let added = text(3, "eq(name,b)+value_in(identifier,a)");
    assert_eq!(narrowed(&own).unwrap(), [own.clone(), added].concat());
    let empty = [text(3, "first"), text(3, "")].concat();
    assert!(narrowed(&empty).unwrap().ends_with(b"+ne(state,1)"));
    for wrong in [&[0x18_u8, 1][..], &[0x1a, 1, 0xff], &[0x1a, 5], &[0x07]] {
        assert_eq!(narrowed(wrong), None, "{wrong:?}");
    }
}

#[test]
fn in_a_query_the_other_keys_stay_and_the_filter_is_encoded() {
    let narrowed = |query: &str| in_query(&name(), "value_in(name,a;b)", query);
    let added = "filters=value%5Fin%28name%2Ca%3Bb%29";
    assert_eq!(narrowed("").unwrap(), added);
    assert_eq!(
        narrowed("limit=5&sort%5Fby.key=name").unwrap(),
        format!("limit=5&sort%5Fby.key=name&{added}")
    );
    let own = "filters=eq%28name%2C%20x+y%29%2Bne(state,1)&limit=5";
    let joined = "filters=eq%28name%2C%20x%20y%29%2Bne%28state%2C1%29%2Bvalue%5Fin%28name%2Ca%3Bb%29";
    assert_eq!(narrowed(own).unwrap(), format!("limit=5&{joined}"));
    assert_eq!(narrowed("%66ilters=&limit=5").unwrap(), format!("limit=5&{added}"));
    for wrong in ["limit", "filters=%ff", "fil%zzters=a"] {
        assert_eq!(narrowed(wrong), None, "{wrong}");
    }
}

fn whole() -> Whole {
    let label = |number, name: &str| Label {
        number,
        name: name.into(),
        json: name.into(),
    };
    Whole {
        limit: label(1, "limit"),
        token: label(2, "token"),
        next: label(2, "token"),
    }
}

#[test]
fn the_whole_list_is_asked_for_without_limit_and_token() {
    let whole = whole();
    let asked = |message: &[u8]| {
        let (asked, page) = whole_in_message(&whole, message).unwrap();
        (asked, (page.offset, page.limit))
    };
    assert_eq!(asked(b""), (vec![8, 0], (0, 0)));
    let own = [vec![8, 5, 8, 7], text(2, "3"), text(2, "20"), text(3, "eq(a,b)")].concat();
    let added = [vec![8, 0], text(2, "")].concat();
    assert_eq!(asked(&own), ([own.clone(), added].concat(), (20, 7)));
    // Not a number of items: FlyteAdmin refuses it, or takes it for none.
    let odd = text(2, "x");
    assert_eq!(asked(&odd), ([odd.clone(), vec![8, 0]].concat(), (0, 0)));
    for (query, asked, page) in [
        ("", "", (0, 0)),
        (
            "limit=5&filters=a&token=10&sort_by.key=b",
            "filters=a&sort_by.key=b",
            (10, 5),
        ),
        ("%6cimit=5&token=", "token=", (0, 5)),
        ("limit=0x1&token=-0", "limit=0x1&token=-0", (0, 0)),
    ] {
        let (rest, found) = whole_in_query(&whole, query).unwrap();
        assert_eq!((&*rest, (found.offset, found.limit)), (asked, page), "{query}");
    }
}
