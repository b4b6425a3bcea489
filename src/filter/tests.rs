//! What stays is what came, byte by byte; what has two readings yields nothing.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::catalog::Catalog;
use crate::catalog::answer::Items;
use crate::extract::wire::put_text;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use std::sync::LazyLock;

/// An answer without what is withheld.
#[derive(Debug, PartialEq)]
struct Filtered {
    answer: Vec<u8>,
    withheld: usize,
}

fn without(answer: &[u8], withheld: &Withheld) -> Filtered {
    let mut answer = answer.to_vec();
    let length = withheld.take_out(&mut answer);
    answer.truncate(length);
    Filtered {
        answer,
        withheld: withheld.items,
    }
}

/// The filters with what they are for: the answer that is left.
mod protobuf {
    use super::*;

    pub(super) fn filter(message: &[u8], items: &Items, shown: impl FnMut(&Item<'_>) -> bool) -> Option<Filtered> {
        super::super::protobuf::filter(message, items, shown).map(|withheld| without(message, &withheld))
    }
}

mod json {
    use super::*;

    pub(super) fn filter(document: &[u8], items: &Items, shown: impl FnMut(&Item<'_>) -> bool) -> Option<Filtered> {
        super::super::json::filter(document, items, shown).map(|withheld| without(document, &withheld))
    }
}

/// Runs a check with the items of an RPC's answer.
fn with<T>(rpc: &str, check: impl FnOnce(&Items) -> T) -> T {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().unwrap());
    let route = CATALOG.lookup_rpc(&format!("/flyteidl.service.AdminService/{rpc}"));
    check(route.unwrap().items().unwrap())
}

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Lengths below 128 only.
    put_text(number, "", &mut bytes);
    bytes.pop();
    bytes.push(u8::try_from(content.len()).unwrap());
    bytes.extend_from_slice(content);
    bytes
}

fn text(number: u32, text: &str) -> Vec<u8> {
    field(number, text.as_bytes())
}

/// A project as `FlyteAdmin` sends it, with a field that is newer than the catalogue.
fn project(id: &str) -> Vec<u8> {
    field(1, &[text(1, id), text(2, "a name"), field(4000, b"new")].concat())
}

fn projects(message: &[u8], shown: impl Fn(&str) -> bool) -> Option<Filtered> {
    with("ListProjects", |items| {
        protobuf::filter(message, items, |item| shown(item.part(ItemPart::Project)))
    })
}

fn projects_in_json(document: &str, shown: impl Fn(&str) -> bool) -> Option<(String, usize)> {
    let filtered = with("ListProjects", |items| {
        json::filter(document.as_bytes(), items, |item| shown(item.part(ItemPart::Project)))
    })?;
    Some((String::from_utf8(filtered.answer).unwrap(), filtered.withheld))
}

#[test]
fn t_resp_03_what_stays_in_protobuf_is_unchanged_with_fields_nobody_knows() {
    let message = [
        project("ml"),
        project("fraud"),
        field(2, b"token"),
        project("lib"),
        field(5000, b"new"),
    ];
    let kept = projects(&message.concat(), |id| id != "fraud").unwrap();
    let [ml, _, token, lib, new] = &message;
    assert_eq!(kept.answer, [&ml[..], token, lib, new].concat());
    assert_eq!(kept.withheld, 1);
    let none = projects(&message.concat(), |_| false).unwrap();
    assert_eq!((none.answer, none.withheld), ([&token[..], new].concat(), 3));
    assert_eq!(projects(&message.concat(), |_| true).unwrap().answer, message.concat());
}

#[test]
fn an_item_that_does_not_say_what_it_is_has_empty_parts() {
    let seen = projects(&field(1, &[]), |id| !id.is_empty()).unwrap();
    assert_eq!((seen.answer.len(), seen.withheld), (0, 1));
    let document = r#"{"projects":[{"name":"x"},{"id":null}]}"#;
    assert_eq!(
        projects_in_json(document, |id| !id.is_empty()).unwrap(),
        (r#"{"projects":[]}"#.to_owned(), 2)
    );
}

#[test]
fn t_resp_03_protobuf_with_two_readings_or_none_yields_nothing() {
    let entity = |parts: &[Vec<u8>]| field(1, &field(1, &parts.concat()));
    let two_ids = field(1, &[field(1, &text(2, "ml")), field(1, &text(4, "t"))].concat());
    let malformed = [
        field(1, &[text(1, "ml"), text(1, "fraud")].concat()),
        field(1, &field(1, b"\xff")),
        vec![0x08, 1],
        field(1, &[0x08, 1]),
        vec![0x0a, 5, 1],
        vec![0x0b],
        vec![0x0a, 4, 0x0a, 9],
        vec![0x8a, 0x00, 0],
        field(1, &[0x0f]),
    ];
    for message in malformed {
        assert_eq!(projects(&message, |_| true), None, "{message:?}");
    }
    with("ListTasks", |items| {
        for message in [
            two_ids,
            entity(&[text(2, "a"), text(2, "b")]),
            entity(&[vec![0x10, 1]]),
            field(1, &[0x08, 1]),
        ] {
            assert_eq!(protobuf::filter(&message, items, |_| true), None, "{message:?}");
        }
        let good = entity(&[text(2, "ml"), text(3, "staging"), text(4, "t"), text(5, "1")]);
        let parts = [
            (ItemPart::Project, "ml"),
            (ItemPart::Domain, "staging"),
            (ItemPart::Name, "t"),
        ];
        let filtered = protobuf::filter(&good, items, |item| {
            parts.iter().all(|(part, value)| item.part(*part) == *value)
        });
        assert_eq!(filtered.unwrap().withheld, 0);
    });
}

#[test]
fn t_resp_03_json_with_two_readings_or_none_yields_nothing() {
    for document in [
        "",
        "[]",
        "{",
        "{} {}",
        "\u{feff}{}",
        r#"{"projects": {}}"#,
        r#"{"projects": [1]}"#,
        r#"{"projects": [null]}"#,
        r#"{"projects":[{"id":"ml","id":"fraud"}]}"#,
        r#"{"projects":[{"id":"ml","id":null}]}"#,
        r#"{"projects":[{"id":"ml","\u0069d":"fraud"}]}"#,
        r#"{"projects":[{"id":1}]}"#,
        r#"{"projects":[{"id":["ml"]}]}"#,
        r#"{"projects":[{"id":"\ud800"}]}"#,
        r#"{"projects":[],"projects":[{"id":"fraud"}]}"#,
        r#"{"projects":[],"pr\u006fjects":[{"id":"fraud"}]}"#,
        r#"{"projects":null,"projects":[{"id":"fraud"}]}"#,
    ] {
        assert_eq!(projects_in_json(document, |_| true), None, "{document}");
    }
    assert_eq!(
        with("ListProjects", |items| json::filter(b"{\"x\":\"\xff\"}", items, |_| {
            true
        })),
        None
    );
}

#[test]
fn json_is_understood_in_either_spelling_and_refused_in_both() {
    let shown = |document: &str| {
        with("ListLaunchPlans", |items| {
            json::filter(document.as_bytes(), items, |item| item.part(ItemPart::Name) == "a")
        })
        .map(|filtered| String::from_utf8(filtered.answer).unwrap())
    };
    let list = r#"[ {"id": {"name":"a"},"x":1.50} , {"id":{"name":"b"}} ]"#;
    let kept = r#"[{"id": {"name":"a"},"x":1.50}]"#;
    for name in ["launch_plans", "launchPlans"] {
        let document = format!(r#"{{ "z": [1,  2], "{name}" : {list}, "token":"\u0041" }}"#);
        let expected = format!(r#"{{ "z": [1,  2], "{name}" : {kept}, "token":"\u0041" }}"#);
        assert_eq!(shown(&document).unwrap(), expected);
    }
    assert_eq!(shown(&format!(r#"{{"launch_plans":{list},"launchPlans":[]}}"#)), None);
    assert_eq!(shown(&format!(r#"{{"launchPlans":null,"launch_plans":{list}}}"#)), None);
}

#[test]
fn json_without_a_list_or_with_nothing_to_leave_out_stays_to_the_letter() {
    for document in [
        "{}",
        r#" {"projects" : null} "#,
        r#"{"token":"t","projects":[ {"id":"ml"} ,{"id":"m\u006c"}]}"#,
    ] {
        assert_eq!(
            projects_in_json(document, |id| id == "ml").unwrap(),
            (document.to_owned(), 0)
        );
    }
}

#[test]
fn what_an_execution_ran_is_read_with_its_kind() {
    let seen = |check: &dyn Fn(&Items) -> Option<Filtered>| with("ListExecutions", check).map(|seen| seen.withheld);
    let is = |kind: &'static str| {
        move |item: &Item<'_>| item.part(ItemPart::Kind) == kind && item.part(ItemPart::NamedProject) == "lib"
    };
    let ran = |kind: &[u8]| [kind, &text(2, "lib"), &text(4, "t")].concat();
    let execution = |kind: &[u8]| field(1, &field(2, &field(1, &ran(kind))));
    assert_eq!(
        seen(&|items| protobuf::filter(&execution(&[8, 1]), items, is("1"))),
        Some(0)
    );
    assert_eq!(
        seen(&|items| protobuf::filter(&execution(&[8, 9]), items, is("9"))),
        Some(0)
    );
    assert_eq!(seen(&|items| protobuf::filter(&execution(&[]), items, is(""))), Some(0));
    for wrong in [&[8_u8, 1, 8, 1][..], &[8, 0x80, 0x80, 0x80, 0x80, 0x10], &[10, 1, 1]] {
        assert_eq!(
            seen(&|items| protobuf::filter(&execution(wrong), items, |_| true)),
            None
        );
    }
    let json = |kind: &str| format!(r#"{{"executions":[{{"spec":{{"launchPlan":{{{kind}"project":"lib"}}}}}}]}}"#);
    for (kind, number) in [
        (r#""resourceType":"TASK","#, "1"),
        (r#""resource_type":3,"#, "3"),
        ("", ""),
        (r#""resource_type":null,"#, ""),
    ] {
        assert_eq!(
            seen(&|items| json::filter(json(kind).as_bytes(), items, is(number))),
            Some(0),
            "{kind}"
        );
    }
    for wrong in [r#""resource_type":"NEW","#, r#""resource_type":1.5,"#] {
        assert_eq!(
            seen(&|items| json::filter(json(wrong).as_bytes(), items, |_| true)),
            None
        );
    }
}

/// Names of projects, which of them are shown, and what may stand between two of them.
fn answers() -> impl Strategy<Value = Vec<(String, bool, Option<u16>)>> {
    let entry = ("[a-d]{0,2}", any::<bool>(), proptest::option::of(2_u16..9000));
    proptest::collection::vec(entry, 0..8)
}

/// Filters by position, so that equal items can differ in whether they are shown.
fn compare(
    whole: &[u8],
    entries: &[(String, bool, Option<u16>)],
    expected: &[u8],
    run: impl Fn(&[u8], &Items, &mut dyn FnMut(&Item<'_>) -> bool) -> Option<Filtered>,
) -> TestCaseResult {
    let mut met = entries.iter();
    let mut names = Vec::new();
    let filtered = with("ListProjects", |items| {
        run(whole, items, &mut |item| {
            names.push(item.part(ItemPart::Project).to_owned());
            met.next().unwrap().1
        })
    });
    let filtered = filtered.unwrap();
    prop_assert_eq!(
        String::from_utf8_lossy(&filtered.answer),
        String::from_utf8_lossy(expected)
    );
    prop_assert_eq!(filtered.withheld, entries.iter().filter(|(_, shown, _)| !shown).count());
    let sent: Vec<&String> = entries.iter().map(|(name, ..)| name).collect();
    prop_assert_eq!(names.iter().collect::<Vec<_>>(), sent);
    Ok(())
}

proptest! {
    #[test]
    fn t_resp_01_exactly_the_items_that_are_shown_stay_in_order_and_unchanged(entries in answers()) {
        let bytes = |shown_only: bool| entries.iter().flat_map(|(name, shown, between)| {
            let item = if *shown || !shown_only { project(name) } else { Vec::new() };
            [item, between.map(|number| text(number.into(), "other")).unwrap_or_default()].concat()
        }).collect::<Vec<u8>>();
        compare(&bytes(false), &entries, &bytes(true), |whole, items, shown| protobuf::filter(whole, items, shown))?;

        let item = |(name, _, number): &(String, bool, Option<u16>)| format!(r#"{{"n": {number:?}.0e1, "id":"{name}"}}"#)
            .replace("Some(", "").replace(").0e1", ".0e1").replace("None.0e1", "null");
        let json = |list: Vec<String>, gap: &str| format!(r#"{{"a":1,"projects":[{}],"b":{{"projects":[]}}}}"#, list.join(gap));
        let all = json(entries.iter().map(item).collect(), " , ");
        let kept = entries.iter().filter(|(_, shown, _)| *shown).map(item).collect::<Vec<_>>();
        let expected = if kept.len() == entries.len() { all.clone() } else { json(kept, ",") };
        compare(all.as_bytes(), &entries, expected.as_bytes(), |whole, items, shown| json::filter(whole, items, shown))?;
    }

    #[test]
    fn t_resp_03_no_bytes_make_the_filters_fail_otherwise_than_with_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        for rpc in ["ListProjects", "ListTasks", "ListExecutions", "ListMatchableAttributes"] {
            with(rpc, |items| {
                // What is understood has no item left, since none is shown.
                if let Some(none) = protobuf::filter(&bytes, items, |_| false) {
                    prop_assert_eq!(protobuf::filter(&none.answer, items, |_| false).unwrap().withheld, 0);
                }
                if let Some(none) = json::filter(&bytes, items, |_| false) {
                    prop_assert_eq!(json::filter(&none.answer, items, |_| false).unwrap().withheld, 0);
                }
                Ok(())
            })?;
        }
    }
}
