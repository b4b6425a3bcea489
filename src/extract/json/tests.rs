//! The JSON reader on a small plan, attack by attack.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use crate::catalog::Part;
use crate::extract::example::{OWN, account, occurrence, read_json, referred};
use crate::model::reason::Reason;

fn reason(body: &str) -> Reason {
    match read_json(body.as_bytes()) {
        Ok(read) => panic!("{body} was read as {read:?}"),
        Err(denial) => denial.reason,
    }
}

#[test]
fn an_empty_body_is_an_empty_message() {
    assert_eq!(read_json(b"").unwrap(), [occurrence(OWN, &[])]);
    assert_eq!(read_json(b" {} \n").unwrap(), [occurrence(OWN, &[])]);
}

#[test]
fn references_are_found_wherever_they_lie_in_both_spellings() {
    let body = r#"{"nodes": [{"children": [{"reference": {"resource_type": "LAUNCH_PLAN", "project": "leaf", "domain": "dev", "name": "l"}}],
        "reference": {"resourceType": 3, "project": "node", "domain": "dev", "name": "n"}}],
        "refs": {"key": {"resourceType": "LAUNCH_PLAN", "project": "map", "domain": "dev", "name": "m"}},
        "launchPlan": {"resourceType": "LAUNCH_PLAN", "project": "one", "domain": "dev", "name": "o"}, "project": "ml"}"#;
    let expected = [
        occurrence(OWN, &[(Part::Project, "ml")]),
        referred("leaf", "l"),
        referred("node", "n"),
        referred("map", "m"),
        referred("one", "o"),
    ];
    assert_eq!(read_json(body.as_bytes()).unwrap(), expected);
}

#[test]
fn a_search_takes_time_by_the_length_of_the_body_and_not_by_keys_times_values() {
    // Each of these took minutes when the key was understood anew for each text under it.
    let key = "k".repeat(1 << 20);
    for (element, count) in [(r#""""#, 900), (r#"{"name": "x"}"#, 400)] {
        let body = format!(r#"{{"podSpec": {{"{key}": [{}]}}}}"#, vec![element; count].join(","));
        assert_eq!(read_json(body.as_bytes()).unwrap(), [occurrence(OWN, &[])]);
    }
    let secrets = format!(
        r#"{{"podSpec": {{"flyte.secrets/{key}": [{}]}}}}"#,
        vec![r#""""#; 900].join(",")
    );
    assert_eq!(read_json(secrets.as_bytes()).unwrap().len(), 2);
}

#[test]
fn settings_are_found_in_maps_of_texts_and_in_objects() {
    let body = r#"{"annotations": {"team": "x", "serviceAccountName": "a"},
        "podSpec": {"spec": [{"service\u0041ccountName": null}, [{"serviceAccountName": "\u0062"}], true, 1, -1, 1.5],
            "serviceAccountName": ["c"], "name": "d", "secretRef": {"name": "e"}}}"#;
    let key = |value| {
        let mut found = account(value);
        found.set(Part::Key, "`serviceAccountName`".into());
        found
    };
    let mut secret = account("e");
    secret.set(Part::Kind, "secret".into());
    secret.set(Part::Key, "`name`".into());
    let expected = [occurrence(OWN, &[]), key("a"), key("b"), key("c"), secret];
    assert_eq!(read_json(body.as_bytes()).unwrap(), expected);
    for twice in [
        r#"{"annotations": {"serviceAccountName": "a", "serviceAccountName": "b"}}"#,
        r#"{"podSpec": {"a": [{"b": 1, "\u0062": 2}]}}"#,
    ] {
        assert_eq!(reason(twice), Reason::BodyMalformed, "{twice}");
    }
    let many = |count: usize| format!(r#"{{"podSpec": {{"a": [{}]}}}}"#, vec!["1"; count].join(","));
    assert!(read_json(many(998).as_bytes()).is_ok());
    assert_eq!(reason(&many(999)), Reason::MessageTooLarge);
}

#[test]
fn t_json_01_duplicate_keys_are_refused_at_every_depth() {
    assert_eq!(reason(r#"{"project": "a", "project": "b"}"#), Reason::ScopeAmbiguous);
    assert_eq!(reason(r#"{"project": "a", "project": null}"#), Reason::ScopeAmbiguous);
    assert_eq!(reason(r#"{"project": null, "project": "a"}"#), Reason::ScopeAmbiguous);
    assert_eq!(reason(r#"{"note": "a", "note": "b"}"#), Reason::ScopeAmbiguous);
    assert_eq!(
        reason(r#"{"extra": {"deep": [{"x": 1, "x": 1}]}}"#),
        Reason::BodyMalformed
    );
    assert_eq!(reason(r#"{"refs": {"k": {}, "k": {}}}"#), Reason::BodyMalformed);
}

#[test]
fn t_json_02_both_spellings_of_one_field_are_refused() {
    assert_eq!(
        reason(r#"{"launch_plan": {}, "launchPlan": {}}"#),
        Reason::ScopeAmbiguous
    );
    assert_eq!(
        reason(r#"{"launchPlan": {"resource_type": 1, "resourceType": 3}}"#),
        Reason::ScopeAmbiguous
    );
}

#[test]
fn t_json_03_escapes_in_keys_are_decoded_before_they_are_compared() {
    let read = read_json(br#"{"\u0070roject": "\u0061"}"#).unwrap();
    assert_eq!(read, [occurrence(OWN, &[(Part::Project, "a")])]);
    assert_eq!(
        reason(r#"{"project": "a", "\u0070roject": "b"}"#),
        Reason::ScopeAmbiguous
    );
    assert_eq!(reason(r#"{"extra": {"a": 1, "\u0061": 2}}"#), Reason::BodyMalformed);
}

#[test]
fn t_json_04_what_is_not_exactly_one_json_object_is_refused() {
    for body in [
        "\u{feff}{}",
        "{} {}",
        "{}x",
        "{\"project\": \"a\",}",
        "{/**/}",
        "{'project': 'a'}",
        r#"{"project": "\ud800"}"#,
        r#"{"note": "\ud800"}"#,
        r#"{"extra": {"\udc00": 1}}"#,
        r#"{"extra": NaN}"#,
        r#"{"extra": 1e999}"#,
        r#"{"extra": 01}"#,
        "{\"note\": \"a\nb\"}",
        "null",
        "\"\"",
        " ",
    ] {
        assert_eq!(reason(body), Reason::BodyMalformed, "{body}");
    }
    for body in [
        &b"{\"project\": \"\xff\"}"[..],
        b"{\"note\": \"\xff\"}",
        b"{\"extra\": {\"\xff\": 1}}",
        b"\xff\xfe{\0}\0",
    ] {
        assert_eq!(read_json(body).unwrap_err().reason, Reason::BodyMalformed);
    }
}

#[test]
fn t_json_05_names_are_case_sensitive() {
    assert_eq!(reason(r#"{"Project": "a"}"#), Reason::FieldUnknown);
    assert_eq!(reason(r#"{"launchplan": {}}"#), Reason::FieldUnknown);
}

#[test]
fn t_json_06_null_is_absent() {
    let body = br#"{"project": null, "launchPlan": null, "nodes": null, "refs": null, "label": null, "flag": true}"#;
    assert_eq!(read_json(body).unwrap(), [occurrence(OWN, &[])]);
    assert_eq!(reason(r#"{"nodes": [null]}"#), Reason::BodyMalformed);
    assert_eq!(reason(r#"{"refs": {"k": null}}"#), Reason::BodyMalformed);
}

#[test]
fn t_json_07_nesting_is_bounded() {
    let judged = format!(
        "{{\"nodes\": [{}{{}}{}]}}",
        r#"{"children": ["#.repeat(10_000),
        "]}".repeat(10_000)
    );
    assert_eq!(reason(&judged), Reason::BodyMalformed);
    let skipped = format!("{{\"extra\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(reason(&skipped), Reason::BodyMalformed);
}

#[test]
fn t_json_08_values_of_another_type_are_refused() {
    for body in [
        r#"{"project": 1}"#,
        r#"{"project": true}"#,
        r#"{"project": ["a"]}"#,
        r#"{"project": {}}"#,
        r#"{"launchPlan": "a"}"#,
        r#"{"launchPlan": []}"#,
        r#"{"nodes": {}}"#,
        r#"{"nodes": [[]]}"#,
        r#"{"refs": []}"#,
        r#"{"refs": {"k": "v"}}"#,
        r#"{"launchPlan": {"resourceType": "task"}}"#,
        r#"{"launchPlan": {"resourceType": "1"}}"#,
        r#"{"launchPlan": {"resourceType": 1.5}}"#,
        r#"{"launchPlan": {"resourceType": 4294967297}}"#,
    ] {
        assert_eq!(reason(body), Reason::BodyMalformed, "{body}");
    }
}

#[test]
fn t_json_09_an_array_is_no_message() {
    assert_eq!(reason("[]"), Reason::BodyMalformed);
    assert_eq!(reason(r#"[{"project": "a"}]"#), Reason::BodyMalformed);
}

#[test]
fn two_members_of_a_oneof_are_refused() {
    assert_eq!(reason(r#"{"label": "a", "target": {}}"#), Reason::ScopeAmbiguous);
    assert_eq!(reason(r#"{"label": "a", "flag": true}"#), Reason::ScopeAmbiguous);
}

#[test]
fn unknown_fields_are_refused_where_the_plan_looks() {
    assert_eq!(reason(r#"{"launchPlan": {"@type": "x"}}"#), Reason::FieldUnknown);
    assert!(read_json(br#"{"extra": {"anything": [1, 2.5, -3, "x", null]}}"#).is_ok());
}

#[test]
fn a_refusal_shows_unchecked_keys_escaped_and_shortened() {
    let body = format!("{{\"a\\n`{}\": 1}}", "x".repeat(500));
    let denial = read_json(body.as_bytes()).unwrap_err();
    assert!(
        denial.message.contains("a\\n'xxx") && denial.message.len() < 200,
        "{}",
        denial.message
    );
}

#[test]
fn fields_are_counted_over_all_messages() {
    let nodes = |count: usize| format!("{{\"nodes\": [{}]}}", vec!["{}"; count].join(","));
    assert!(read_json(nodes(999).as_bytes()).is_ok());
    assert_eq!(reason(&nodes(1000)), Reason::MessageTooLarge);
}

#[test]
fn a_repeated_field_that_is_judged_has_one_value() {
    let read = read_json(br#"{"aliases": ["a"]}"#).unwrap();
    assert_eq!(read, [occurrence(OWN, &[(Part::Name, "a")])]);
    assert_eq!(reason(r#"{"aliases": ["a", "b"]}"#), Reason::ScopeAmbiguous);
    assert_eq!(reason(r#"{"aliases": "a"}"#), Reason::BodyMalformed);
    assert_eq!(reason(r#"{"aliases": [["a"]]}"#), Reason::BodyMalformed);
}
