//! What stays is what came, byte by byte; what has two readings yields nothing.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::catalog::Catalog;
use crate::catalog::answer::{Items, Label};
use crate::extract::wire::put_text;
use bytes::Bytes;
use page::Page;
use pieces::Pieces;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use std::sync::LazyLock;

/// An answer without what is withheld.
#[derive(Debug, PartialEq)]
struct Filtered {
    answer: Vec<u8>,
    withheld: usize,
}

/// An answer in pieces of this length.
fn in_pieces(answer: &[u8], length: usize) -> Pieces {
    let mut pieces = Pieces::default();
    for piece in answer.chunks(length.max(1)) {
        pieces.push(Bytes::copy_from_slice(piece));
    }
    pieces
}

pub(super) fn edited(answer: &[u8], edits: &Edits) -> Vec<u8> {
    let edited = in_pieces(answer, answer.len()).edited(edits, &[]).concat();
    assert_eq!(edited.len(), edits.length(answer.len()));
    edited
}

fn without(answer: &[u8], edits: &Edits) -> Filtered {
    Filtered {
        answer: edited(answer, edits),
        withheld: edits.withheld,
    }
}

/// The filters with what they are for: the answer that is left.
mod protobuf {
    use super::*;

    pub(super) fn filter(message: &[u8], items: &Items, shown: impl FnMut(&Item<'_>) -> bool) -> Option<Filtered> {
        let pieces = in_pieces(message, message.len());
        super::super::protobuf::filter(&pieces, items, None, shown).map(|edits| without(message, &edits))
    }
}

mod json {
    use super::*;

    pub(super) fn filter(document: &[u8], items: &Items, shown: impl FnMut(&Item<'_>) -> bool) -> Option<Filtered> {
        super::super::json::filter(document, items, None, shown).map(|edits| without(document, &edits))
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

/// A page of a limit, behind an offset, as the answer is when it is filtered to what begins with `a`.
fn paged(answer: &[u8], json: bool, (offset, limit): (usize, usize)) -> Option<Vec<u8>> {
    let next = Label {
        number: 2,
        name: "token".into(),
        json: "Token".into(),
    };
    let page = Page {
        offset,
        limit,
        ..Page::first(&next)
    };
    let shown = |item: &Item<'_>| item.part(ItemPart::Project).starts_with('a');
    let edits = with("ListProjects", |items| {
        if json {
            return super::json::filter(answer, items, Some(page), shown);
        }
        super::protobuf::filter(&in_pieces(answer, answer.len()), items, Some(page), shown)
    })?;
    Some(edited(answer, &edits))
}

#[test]
fn a_page_has_the_token_of_the_next_in_place_of_its_own_and_nothing_else_changes() {
    let items = ["a1", "x", "a2", "a3"].map(project);
    let [a1, x, a2, a3] = &items;
    let (token, other, new) = (text(2, "7"), text(2, "8"), text(900, "new"));
    let own = [&token[..], a1, x, a2, &other, a3, &new].concat();
    for (page, expected) in [
        ((0, 0), [&a1[..], a2, a3, &new].concat()),
        ((0, 1), [&a1[..], &new, &text(2, "1")].concat()),
        ((1, 1), [&a2[..], &new, &text(2, "2")].concat()),
        ((2, 2), [&a3[..], &new].concat()),
        ((9, 2), new.clone()),
    ] {
        assert_eq!(paged(&own, false, page).unwrap(), expected, "{page:?}");
    }
    assert_eq!(paged(b"\x0a\x05x", false, (0, 1)), None);
    let list = r#"[ {"id":"a1"} , {"id":"x"},{"id":"a2"} ]"#;
    for (before, behind, full, last) in [
        (r#"{ "token": "7","#, "}", r#"{ "token": "1","#, r#"{ "token": "","#),
        (r#"{"Token":null ,"#, " } ", r#"{"Token":"1" ,"#, r#"{"Token":"" ,"#),
        (
            r#"{"t\u006fken":7.5,"#,
            "}",
            r#"{"t\u006fken":"1","#,
            r#"{"t\u006fken":"","#,
        ),
    ] {
        let document = format!("{before}\"projects\":{list}{behind}");
        let is = |page, front: &str, list: &str| {
            let expected = format!("{front}\"projects\":{list}{behind}");
            let paged = paged(document.as_bytes(), true, page).unwrap();
            assert_eq!(String::from_utf8(paged).unwrap(), expected, "{document}");
        };
        is((0, 1), full, r#"[{"id":"a1"}]"#);
        is((0, 0), last, r#"[{"id":"a1"},{"id":"a2"}]"#);
        is((2, 1), last, "[]");
    }
    for (document, full, last) in [
        (
            format!(r#"{{"projects":{list},"token":"7"}}"#),
            r#"{"projects":[{"id":"a1"}],"token":"1"}"#,
            r#"{"projects":[{"id":"a1"},{"id":"a2"}],"token":""}"#,
        ),
        (
            format!(r#"{{"projects":{list} }} "#),
            r#"{"projects":[{"id":"a1"}] ,"token":"1"} "#,
            r#"{"projects":[{"id":"a1"},{"id":"a2"}] } "#,
        ),
    ] {
        for (page, expected) in [((0, 1), full), ((0, 9), last)] {
            let paged = paged(document.as_bytes(), true, page).unwrap();
            assert_eq!(String::from_utf8(paged).unwrap(), expected, "{document}");
        }
    }
    assert_eq!(paged(b"{ } ", true, (0, 0)).unwrap(), b"{ } ");
    for broken in [
        "",
        "[]",
        r#"{"token":"1","token":"2"}"#,
        r#"{"token":"1","Token":"2"}"#,
        r#"{"token":"1"}}"#,
        r#"{"token":}"#,
        r#"{"token":"1"#,
    ] {
        assert_eq!(paged(broken.as_bytes(), true, (0, 1)), None, "{broken}");
    }
}

/// Wherever an answer is parted, and however large its parts are, it is filtered alike.
#[test]
fn t_resp_02_an_answer_in_any_two_pieces_and_in_pieces_of_any_length_is_filtered_alike() {
    let long = field(1, &[text(1, "ml"), field(3, &[7; 90])].concat());
    let skipped = [
        &[0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8][..],
        &[0xa0, 0x06, 0xff, 0xff, 0x7f],
    ]
    .concat();
    let parts = [
        project("ml"),
        project("fraud"),
        skipped,
        long,
        field(2, b"token"),
        project("fraud"),
        project("ml"),
    ];
    let message = parts.concat();
    let shown = |item: &Item<'_>| item.part(ItemPart::Project) == "ml";
    let whole = projects(&message, |id| id == "ml").unwrap();
    with("ListProjects", |items| {
        let check = |pieces: Pieces, how: &str| {
            let edits = super::protobuf::filter(&pieces, items, None, shown).unwrap();
            let answer = pieces.edited(&edits, b"front").concat();
            assert_eq!(
                (answer.strip_prefix(b"front").unwrap(), edits.withheld),
                (&*whole.answer, 2),
                "{how}"
            );
        };
        for length in 1..=message.len() {
            check(Pieces::parted(&message, length), &format!("pieces of {length} bytes"));
        }
        for at in 0..=message.len() {
            let (one, other) = message.split_at(at);
            check(Pieces::of([one, other]), &format!("parted at {at}"));
            // What breaks off is not read, wherever it was parted; a piece that ends with a field is an answer itself.
            let ends = super::protobuf::filter(&in_pieces(one, one.len()), items, None, shown).is_some();
            for length in 1..5 {
                let read = super::protobuf::filter(&Pieces::parted(one, length), items, None, shown);
                assert_eq!(read.is_some(), ends, "the first {at} bytes in pieces of {length}");
            }
        }
    });
}

#[test]
fn t_resp_03_what_is_malformed_in_one_piece_is_so_in_many() {
    let item = project("ml");
    let malformed = [
        // A tag that is not in its shortest form, no field, groups, no type, a number beyond 64 bits, a length beyond the end.
        &[0x8a, 0x00, 0][..],
        &[0x02, 0],
        &[0x0b, 0x0c],
        &[0x0f],
        &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        &[0xff; 30],
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
        &[0x0a, 0x7f],
        &[0x1d, 1],
    ];
    with("ListProjects", |items| {
        for wrong in malformed {
            for behind in [&[][..], &item] {
                let message = [&item[..], wrong, behind].concat();
                for length in 1..=message.len() {
                    let pieces = Pieces::parted(&message, length);
                    let read = super::protobuf::filter(&pieces, items, None, |_| true);
                    // Longer than it says it is, a field may take in what comes behind it.
                    let whole = super::protobuf::filter(&in_pieces(&message, message.len()), items, None, |_| true);
                    assert_eq!(
                        (read.is_some(), whole.is_some()),
                        (false, false),
                        "{wrong:?} in pieces of {length}"
                    );
                }
            }
        }
    });
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
