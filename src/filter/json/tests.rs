//! The reader against another one: `serde_json`, and what its tree says. Then what only a hostile server would send.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::super::tests::edited;
use super::scan::MAX_DEPTH;
use super::*;
use crate::catalog::Catalog;
use crate::catalog::answer::ItemPart;
use proptest::prelude::*;
use proptest::sample::select;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt::{self, Write};
use std::sync::LazyLock;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().unwrap());

fn items(rpc: &str) -> &'static Items {
    let route = CATALOG.lookup_rpc(&format!("/flyteidl.service.AdminService/{rpc}"));
    route.unwrap().items().unwrap()
}

/// A document as `serde_json` reads it, with every member that it has.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Object(Vec<(String, Tree)>),
    Array(Vec<Tree>),
    Text(String),
    Number(f64, Option<i32>),
    Bool(bool),
    Null,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Tree;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Bool(value))
            }
            #[expect(clippy::cast_precision_loss, reason = "the same on both sides")]
            fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::Number(value as f64, value.try_into().ok()))
            }
            #[expect(clippy::cast_precision_loss, reason = "the same on both sides")]
            fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Number(value as f64, value.try_into().ok()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
                Ok(Tree::Number(value, None))
            }
            fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
                Ok(Tree::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut list = Vec::new();
                while let Some(value) = seq.next_element()? {
                    list.push(value);
                }
                Ok(Tree::Array(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Tree::Object(members))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// The one value of a member; nothing if it is null or missing. An error if there are several.
fn member<'t>(object: &'t mut Tree, label: &Label) -> Result<Option<&'t mut Tree>, ()> {
    let Tree::Object(members) = object else {
        return Err(());
    };
    let mut found = members
        .iter_mut()
        .filter(|(key, _)| [&*label.name, &*label.json].contains(&key.as_str()));
    let value = found.next().map(|(_, value)| value);
    match found.next() {
        Some(_) => Err(()),
        None => Ok(value.filter(|value| **value != Tree::Null)),
    }
}

/// What an item says of itself, by the tree.
fn told(message: &mut Tree, shape: &ItemShape, parts: &mut Vec<(ItemPart, String)>) -> Result<(), ()> {
    if !matches!(message, Tree::Object(_)) {
        return Err(());
    }
    for field in &shape.fields {
        let Some(value) = member(message, &field.label)? else {
            continue;
        };
        match (&field.step, value) {
            (ItemStep::Descend(deeper), value) => told(value, deeper, parts)?,
            (ItemStep::Keep(part), Tree::Text(text)) => parts.push((*part, text.clone())),
            (ItemStep::Kind(_), Tree::Number(_, Some(number))) => parts.push((ItemPart::Kind, number.to_string())),
            (ItemStep::Kind(shape), Tree::Text(name)) => {
                let number = number(name, shape).ok_or(())?;
                parts.push((ItemPart::Kind, number.to_string()));
            }
            _ => return Err(()),
        }
    }
    Ok(())
}

/// The tree without what is not shown, and how many items those are.
fn expected(mut tree: Tree, items: &Items, shown: impl Fn(&str, &str) -> bool) -> Result<(Tree, usize), ()> {
    let Some(list) = member(&mut tree, &items.list)? else {
        return Ok((tree, 0));
    };
    let Tree::Array(list) = list else {
        return Err(());
    };
    let before = list.len();
    let mut kept = Vec::new();
    for mut item in std::mem::take(list) {
        let mut parts = Vec::new();
        told(&mut item, &items.shape, &mut parts)?;
        let part = |wanted| {
            parts
                .iter()
                .find(|(part, _)| *part == wanted)
                .map_or("", |(_, text)| text)
        };
        if shown(part(ItemPart::Name), part(ItemPart::Kind)) {
            kept.push(item);
        }
    }
    let withheld = before - kept.len();
    *list = kept;
    Ok((tree, withheld))
}

/// Keys that matter in an answer of `ListExecutions`, in several spellings, and others.
fn key() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "id",
            "i\\u0064",
            "spec",
            "launch_plan",
            "launchPlan",
            "launch\\u005fplan",
            "project",
            "domain",
            "name",
            "n\\u0061me",
            "resource_type",
            "resourceType",
            "executions",
            "x",
            "",
            "\\\"",
            "\u{e9}",
            "\\ud83d\\ude00",
        ][..],
    )
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\r\n\t")]
}

fn scalar() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "null",
            "true",
            "false",
            "0",
            "-0",
            "-1",
            "1",
            "3",
            "1.0",
            "1e2",
            "-0.5E+1",
            "2147483648",
            "12345678901234567890123",
            "\"\"",
            "\"a\"",
            "\"b\"",
            "\"\\u0061\"",
            "\"TASK\"",
            "\"T\\u0041SK\"",
            "\"LAUNCH_PLAN\"",
            "\"a longer text, with } and ]\"",
            "\"\\\\\"",
            "\"12345678\\\"\"",
            "\"\u{1f600}\"",
            "\"\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\"",
        ][..],
    )
}

fn object(
    value: impl Strategy<Value = String>,
    key: impl Strategy<Value = &'static str>,
) -> impl Strategy<Value = String> {
    proptest::collection::vec((key, space(), value, space()), 0..4).prop_map(|members| {
        let members = members
            .iter()
            .map(|(key, before, value, behind)| format!("\"{key}\"{before}:{value}{behind}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    })
}

fn array(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    proptest::collection::vec((space(), value, space()), 0..4).prop_map(|values| {
        let values = values
            .iter()
            .map(|(before, value, behind)| format!("{before}{value}{behind}"));
        format!("[{}]", values.collect::<Vec<_>>().join(","))
    })
}

fn any_value() -> impl Strategy<Value = String> {
    scalar().prop_map(str::to_owned).prop_recursive(4, 16, 4, |inner| {
        prop_oneof![array(inner.clone()), object(inner, key())]
    })
}

/// An execution with much of what one has.
fn execution() -> impl Strategy<Value = String> {
    let names = (
        select(&["name", "n\\u0061me"][..]),
        select(&["a", "b", "\\u0061", "c"][..]),
    );
    let kind = select(
        &[
            "",
            ",\"resource_type\":1",
            ",\"resourceType\":\"TASK\"",
            ",\"resource_type\":null",
        ][..],
    );
    let spelling = select(&["launch_plan", "launchPlan"][..]);
    (names, kind, spelling, any_value(), any_value()).prop_map(|((key, name), kind, spelling, one, other)| {
        format!("{{\"x\":{one},\"spec\":{{\"{spelling}\":{{\"{key}\":\"{name}\"{kind}}}}},\"tags\":[1],\"y\":{other}}}")
    })
}

fn document() -> impl Strategy<Value = String> {
    let item = prop_oneof![12 => execution(), 1 => any_value()];
    let answer = (array(item), any_value(), space()).prop_map(|(list, other, space)| {
        format!("{space}{{\"a\":{other},{space}\"executions\"{space}:{list}{space},\"token\":{other}}}{space}")
    });
    prop_oneof![4 => answer, 1 => object(any_value(), key())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn t_resp_03_the_reader_agrees_with_serde_json_on_every_document_broken_or_not(
        document in document(),
        // Where bytes are taken out, how many, and what comes in their place.
        change in proptest::option::of((any::<prop::sample::Index>(), 0_usize..3, "[\\]\\[}{\",:0-9eE+.a\\\\ \n\u{1}-]{0,2}")),
    ) {
        let mut document = document.into_bytes();
        if let Some((place, length, text)) = change {
            let at = place.index(document.len());
            let end = document.len().min(at + length);
            document.splice(at..end, text.bytes());
        }
        let shown = |name: &str, kind: &str| name == "a" || kind == "1";
        let items = items("ListExecutions");
        let read = filter(&document, items, None, |item| shown(item.part(ItemPart::Name), item.part(ItemPart::Kind)));
        let well_formed = str::from_utf8(&document).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        prop_assert!(well_formed || read.is_none());
        // Trees hold neither half a surrogate pair nor numbers that no double can hold; the bytes may.
        if let (true, Ok(tree)) = (well_formed, serde_json::from_slice::<Tree>(&document)) {
            match (read, expected(tree, items, shown)) {
                (Some(edits), Ok((tree, count))) => {
                    let rest = edited(&document, &edits);
                    prop_assert_eq!(serde_json::from_slice::<Tree>(&rest).unwrap(), tree);
                    prop_assert_eq!(edits.withheld, count);
                    prop_assert!(count > 0 || rest == document);
                }
                (None, Err(())) => {}
                (read, expected) => prop_assert!(false, "{read:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn t_resp_03_of_an_answer_that_breaks_off_nothing_is_read(document in document(), place in any::<prop::sample::Index>()) {
        let document = document.trim_end();
        let cut = document.as_bytes().get(..place.index(document.len())).unwrap();
        prop_assert_eq!(filter(cut, items("ListExecutions"), None, |_| true), None);
    }
}

fn projects(document: &str) -> Option<(String, usize)> {
    let edits = filter(document.as_bytes(), items("ListProjects"), None, |item| {
        item.part(ItemPart::Project) == "ml"
    })?;
    let rest = edited(document.as_bytes(), &edits);
    Some((String::from_utf8(rest).unwrap(), edits.withheld))
}

#[test]
fn t_resp_03_what_no_server_should_send_yields_nothing() {
    let good = r#"{"projects":[{"id":"ml"},{"id":"fraud"}]}"#;
    for end in 0..good.len() {
        assert_eq!(projects(good.get(..end).unwrap()), None, "{end}");
    }
    for behind in ["x", "{}", ",", "]", "}", "\0", "\u{feff}", "\"\"", " null"] {
        assert_eq!(projects(&format!("{good}{behind}")), None, "{behind}");
    }
    for list in [
        r#"[],"projects":[]"#,
        r#"[{"id":"ml"}],"projects":null"#,
        r#"null,"projects":null"#,
        r#"[],"\u0070rojects":[]"#,
        "{}",
        "1",
        "true",
        "false",
        "nul",
        "\"\"",
        r#""null""#,
        "[[]]",
        "[\"ml\"]",
        "[1]",
        "[true]",
        "[null]",
        r#"[{"id":"ml"},null]"#,
        r#"[{"id":"ml"},]"#,
        r#"[,{"id":"ml"}]"#,
        r#"[{"id":"ml"}{"id":"ml"}]"#,
        r#"[{"id":"ml",}]"#,
        r#"[{"id" "ml"}]"#,
        r#"[{id:"ml"}]"#,
        r#"[{"id":"ml","id":"ml"}]"#,
        r#"[{"i\u0064":"ml","\u0069d":"ml"}]"#,
        r#"[{"id":null,"id":"ml"}]"#,
        r#"[{"id":"\ud800"}]"#,
        r#"[{"id":"\udc00\ud800"}]"#,
        r#"[{"id":"\ud800\u0041"}]"#,
        r#"[{"\udc00":1}]"#,
        r#"[{"id":"\x"}]"#,
        r#"[{"id":"\u00g0"}]"#,
        r#"[{"id":"\u+041"}]"#,
        "[{\"id\":\"m\nl\"}]",
        "[{\"x\":\"12345678\u{1f}\"}]",
        r#"[{"id":true}]"#,
        r#"[{"id":{}}]"#,
        r#"[{"x":01}]"#,
        r#"[{"x":+1}]"#,
        r#"[{"x":1.}]"#,
        r#"[{"x":.5}]"#,
        r#"[{"x":1e}]"#,
        r#"[{"x":1e+}]"#,
        r#"[{"x":-}]"#,
        r#"[{"x":0x10}]"#,
        r#"[{"x":NaN}]"#,
        r#"[{"x":Infinity}]"#,
        r#"[{"x":True}]"#,
        r#"[{"x":'a'}]"#,
        r#"[{"x":[1 2]}]"#,
        r#"[{"x":[}]}]"#,
        r#"[{"x":{]}}]"#,
        "[{\"x\":\u{a0}1}]",
        "[{\"x\":\u{c}1}]",
        "[/**/]",
    ] {
        let document = format!("{{\"projects\":{list}}}");
        assert_eq!(projects(&document), None, "{document}");
    }
    for bytes in [
        &b"{\"projects\":[{\"x\":\"\xc0\xaf\"}]}"[..],
        b"{\"x\":\"\xed\xa0\x80\"}",
        b"{\"x\":\"\xf4\x90\x80\x80\"}",
    ] {
        assert_eq!(filter(bytes, items("ListProjects"), None, |_| true), None);
    }
}

#[test]
fn what_is_not_needed_stays_to_the_letter_however_odd() {
    let odd = [
        "1e999999999999",
        &"9".repeat(5000),
        "-0.0E-0",
        r#""\ud800\udc00\ud800""#,
        r#"{"a":1,"a":2}"#,
        "\"\u{7f}\u{1f600}\"",
        "[ ]",
        "{\n}",
    ];
    for odd in odd {
        let document =
            format!("{{\"x\":{odd},\"projects\":[{{\"y\":{odd},\"id\":\"ml\"}} ,{{\"id\":\"b\",\"y\":{odd}}}]}}\n");
        let expected = format!("{{\"x\":{odd},\"projects\":[{{\"y\":{odd},\"id\":\"ml\"}}]}}\n");
        assert_eq!(projects(&document), Some((expected, 1)), "{odd}");
    }
}

#[test]
fn an_answer_that_lies_too_deep_yields_nothing() {
    for (open, close) in [("[", "]"), (r#"{"x":"#, "}")] {
        let nested = |depth: usize| {
            let inner = format!("{}0{}", open.repeat(depth), close.repeat(depth));
            [
                format!("{{\"x\":{inner}}}"),
                format!("{{\"projects\":[{{\"id\":\"ml\",\"x\":{inner}}}]}}"),
            ]
        };
        for document in nested(MAX_DEPTH) {
            assert_eq!(projects(&document), Some((document.clone(), 0)));
        }
        for document in nested(MAX_DEPTH + 1).into_iter().chain(nested(1_000_000)) {
            assert_eq!(projects(&document), None);
        }
    }
}

/// An array that was read before is compared only: a longer, a shorter and a similar one must not pass for it.
#[test]
fn an_array_like_the_one_before_is_told_from_all_others() {
    let document = |arrays: &[&str]| {
        let items = arrays
            .iter()
            .map(|array| format!("{{\"domains\":{array},\"id\":\"ml\"}}"));
        format!("{{\"projects\":[{}]}}", items.collect::<Vec<_>>().join(","))
    };
    for good in [
        &["[1]", "[1]", "[1,2]", "[1]", "[]", "[]", "[[1],1]", "[[1],1]"][..],
        &[
            "[{\"id\":\"a\"}]",
            " [{\"id\":\"a\"}]",
            "[{\"id\":\"a\"}] ",
            "[{\"id\":\"b\"}]",
        ],
    ] {
        assert_eq!(projects(&document(good)), Some((document(good), 0)));
    }
    for bad in ["[1]]", "[1][1]", "[1", "[1,]", "[1]1", "[1]:1", "[1]\"\""] {
        assert_eq!(projects(&document(&["[1]", bad])), None, "{bad}");
        assert_eq!(projects(&document(&["[1]", "[1]", bad])), None, "{bad}");
    }
}

#[test]
fn t_resp_01_of_many_items_each_is_judged_and_kept_as_it_came() {
    let (mut all, mut kept) = (String::from("{\"projects\":["), String::from("{\"projects\":["));
    for number in 0..100_000 {
        let id = if number % 3 == 0 { "ml" } else { "fraud" };
        let project = format!(
            "{{\"id\":\"{id}\",\"domains\":[{{\"id\":\"d{}\"}}],\"n\":{number}}}",
            number % 5
        );
        write!(all, "{}{project}", if number == 0 { "" } else { "," }).unwrap();
        if id == "ml" {
            write!(kept, "{}{project}", if number == 0 { "" } else { "," }).unwrap();
        }
    }
    all.push_str("],\"token\":\"t\"}");
    kept.push_str("],\"token\":\"t\"}");
    assert_eq!(projects(&all), Some((kept, 66_666)));
}
