//! Pages and their tokens, in both encodings.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn page(label: &Label, offset: usize, limit: usize, items: usize) -> (Page<'_>, Vec<usize>) {
    let mut page = Page {
        next: label,
        offset,
        limit,
        counted: 0,
    };
    let taken = (0..items).filter(|_| page.takes()).collect();
    (page, taken)
}

fn label() -> Label {
    Label {
        number: 2,
        name: "token".into(),
        json: "token".into(),
    }
}

#[test]
fn pages_follow_each_other_and_a_full_one_has_a_token() {
    let label = label();
    for (offset, limit, items, taken, token) in [
        (0, 2, 5, vec![0, 1], "2"),
        (2, 2, 5, vec![2, 3], "4"),
        (4, 2, 5, vec![4], ""),
        (4, 1, 5, vec![4], "5"),
        (5, 1, 5, vec![], ""),
        (9, 2, 5, vec![], ""),
        (0, 0, 3, vec![0, 1, 2], ""),
        (1, 0, 3, vec![1, 2], ""),
        (0, 2, 0, vec![], ""),
        (usize::MAX, usize::MAX, 3, vec![], ""),
    ] {
        let (page, shown) = page(&label, offset, limit, items);
        assert_eq!((shown, &*page.token()), (taken, token), "{offset} {limit} {items}");
    }
}

#[test]
fn the_token_is_replaced_wherever_it_is_and_nothing_else_changes() {
    let label = label();
    let text = |number, text| {
        let mut bytes = Vec::new();
        put_text(number, text, &mut bytes);
        bytes
    };
    let (full, _) = page(&label, 0, 1, 3);
    let (last, _) = page(&label, 0, 0, 3);
    let own = [text(2, "7"), text(1, "item"), text(2, "8"), text(900, "new")].concat();
    let without = [text(1, "item"), text(900, "new")].concat();
    assert_eq!(last.in_protobuf(&own).unwrap(), without);
    assert_eq!(full.in_protobuf(&own).unwrap(), [without, text(2, "1")].concat());
    assert_eq!(full.in_protobuf(b"\x0a\x05x"), None);
    let json = |page: &Page<'_>, document: &str| {
        page.in_json(document.as_bytes())
            .map(|json| String::from_utf8(json).unwrap())
    };
    for (document, with, without) in [
        (
            r#"{"a":[1], "token": "7" }"#,
            r#"{"a":[1], "token": "1" }"#,
            r#"{"a":[1], "token": "" }"#,
        ),
        (
            r#"{"token":"7","a":[]}"#,
            r#"{"token":"1","a":[]}"#,
            r#"{"token":"","a":[]}"#,
        ),
        (r#"{"a":[]}"#, r#"{"a":[],"token":"1"}"#, r#"{"a":[]}"#),
        ("{ } ", r#"{ "token":"1"}"#, "{ } "),
    ] {
        assert_eq!(json(&full, document).unwrap(), with);
        assert_eq!(json(&last, document).unwrap(), without);
    }
    for broken in ["", "[]", r#"{"token":"1","token":"2"}"#, r#"{"token":"1"}}"#] {
        assert_eq!(json(&full, broken), None, "{broken}");
    }
}
