//! Path segments and query keys on routes of the built-in catalogue, attack by attack.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::{apply, typed};
use crate::catalog::{Catalog, Part, ScalarKind, SlotRole};
use crate::extract::WalkLimits;
use crate::extract::targets::{Input, Payload, RestInput, read};
use crate::extract::values::Values;
use crate::model::denial::Denial;
use crate::model::reason::Reason;

/// The parts of the call's own scope: project, domain, name.
fn get(target: &str) -> Result<[String; 3], Denial> {
    send("GET", target, Payload::None)
}

fn send(method: &str, target: &str, payload: Payload<'_>) -> Result<[String; 3], Denial> {
    let catalog = Catalog::builtin().unwrap();
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(path, query)| (path, Some(query)));
    let matched = catalog.lookup_rest(&method.parse().unwrap(), path).unwrap();
    let rest = Some(RestInput {
        binding: matched.binding,
        segments: matched.segments(),
        query,
    });
    let values = read(matched.route, &Input { payload, rest }, &WalkLimits::default())?;
    let slots = matched.route.plan.slots();
    let own = slots
        .iter()
        .position(|slot| matches!(slot.role, SlotRole::Scope { .. }))
        .unwrap();
    let occurrence = values
        .occurrences
        .iter()
        .find(|occurrence| occurrence.slot == own)
        .unwrap();
    Ok([Part::Project, Part::Domain, Part::Name].map(|part| occurrence.part(part).to_owned()))
}

fn refusal(target: &str) -> Denial {
    get(target).unwrap_err()
}

#[test]
fn the_path_gives_the_scope() {
    let read = get("/api/v1/tasks/ml/development/a.b/v1").unwrap();
    assert_eq!(read, ["ml", "development", "a.b"]);
}

#[test]
fn segments_are_decoded_once() {
    assert_eq!(get("/api/v1/tasks/ml/development/a%20b+c/v1").unwrap()[2], "a b+c");
}

#[test]
fn t_path_07_to_14_segments_with_two_readings_are_refused() {
    for segment in [
        "%2e%2e", "%2E.", "..", ".", "a%2Fb", "a%5Cb", "a\\b", "%00", "%0a", "%7f", "%2561", "%25", "%zz", "%", "%4",
        "%ff", "%c0%ae",
    ] {
        let denial = refusal(&format!("/api/v1/tasks/ml/development/{segment}/v1"));
        assert_eq!(denial.reason, Reason::PathNotCanonical, "{segment}");
    }
}

#[test]
fn enum_segments_go_by_name_or_number() {
    for kind in ["TASK", "1"] {
        assert!(get(&format!("/api/v1/named_entities/{kind}/ml/development/n")).is_ok());
    }
    for kind in ["task", "99", "01", "0x1", "-1", "+1"] {
        let denial = refusal(&format!("/api/v1/named_entities/{kind}/ml/development/n"));
        assert_eq!(denial.reason, Reason::FieldInvalid, "{kind}");
    }
}

#[test]
fn integer_segments_are_plain_decimal_numbers() {
    let path = |attempt| format!("/api/v1/task_executions/ml/development/e/n/ml/development/t/v/{attempt}");
    assert!(get(&path("0")).is_ok() && get(&path("12")).is_ok());
    for attempt in ["010", "0x10", "-1", "1.0", "18446744073709551616", "x"] {
        assert_eq!(refusal(&path(attempt)).reason, Reason::FieldInvalid, "{attempt}");
    }
}

#[test]
fn truth_values_are_words_and_messages_have_no_text() {
    for (kind, text, accepted) in [
        (ScalarKind::Bool, "true", true),
        (ScalarKind::Bool, "false", true),
        (ScalarKind::Bool, "True", false),
        (ScalarKind::Bool, "1", false),
        (ScalarKind::Bool, "", false),
        (ScalarKind::Message, "x", false),
        (ScalarKind::Bytes, "x", false),
        (ScalarKind::Fixed32, "1", false),
        (ScalarKind::Fixed64, "1", false),
    ] {
        assert_eq!(typed(&kind, text.into()).is_ok(), accepted, "{kind:?} {text}");
    }
}

#[test]
fn listed_query_keys_are_accepted_in_both_spellings() {
    let list = "/api/v1/tasks/ml/development";
    for query in [
        "",
        "limit=10&token=x&filters=eq(a,b)%2Bne(c,d)",
        "sort_by.key=created_at&sort_by.direction=DESCENDING",
        "sortBy.key=a+b&sortBy.direction=1",
        "token=",
        "s%6frt_by.key=x",
    ] {
        assert_eq!(
            get(&format!("{list}?{query}")).unwrap(),
            ["ml", "development", ""],
            "{query}"
        );
    }
}

#[test]
fn t_json_11_and_12_query_keys_that_could_override_or_confuse_are_refused() {
    let list = "/api/v1/tasks/ml/development";
    for query in [
        "id.project=other",
        "id.domain=production",
        "id.name=",
        "i%64.project=other",
        "id%2Eproject=other",
        "ID.PROJECT=other",
        "limit=1&limit=1",
        "sort_by.key=a&sortBy.key=b",
        "limit[0]=1",
        "limit=1;id.project=other",
        "limit",
        "&limit=1",
        "limit=1&",
        "=x",
        "=",
        "&",
        "limit=x",
        "limit=0x1",
        "limit=",
        "sort_by.direction=down",
        "token=%zz",
        "token=%z4",
        "token=%4z",
        "token=%4",
        "token=%ff",
        "token=%00",
        "access_token=secret",
        "limit%00=1",
    ] {
        assert_eq!(
            refusal(&format!("{list}?{query}")).reason,
            Reason::QueryRefused,
            "{query}"
        );
    }
}

#[test]
fn a_refused_key_is_named_escaped_and_shortened_and_its_value_is_not() {
    let denial = refusal(&format!("/api/v1/tasks/ml/development?{}%0a=secret", "k".repeat(100)));
    assert!(denial.message.contains("`kkk") && denial.message.contains("`limit`"));
    assert!(
        !denial.message.contains("secret") && denial.message.len() < 300,
        "{}",
        denial.message
    );
}

#[test]
fn t_json_11_a_body_that_disagrees_with_the_path_is_refused() {
    let target = "/api/v1/executions/ml/development/e1";
    let put = |body: &str| send("PUT", target, Payload::Json(body.as_bytes()));
    let expected = ["ml", "development", "e1"].map(str::to_owned);
    for body in [
        "",
        "{}",
        r#"{"id": {}}"#,
        r#"{"id": {"project": "ml"}, "state": "EXECUTION_ARCHIVED"}"#,
        r#"{"id": {"project": "", "name": "e1"}}"#,
    ] {
        assert_eq!(put(body), Ok(expected.clone()), "{body}");
    }
    for body in [
        r#"{"id": {"project": "other"}}"#,
        r#"{"id": {"domain": "production"}}"#,
        r#"{"id": {"name": "e2"}}"#,
        r#"{"id": {"name": "0"}}"#,
    ] {
        assert_eq!(put(body).unwrap_err().reason, Reason::ScopeAmbiguous, "{body}");
    }
}

#[test]
fn t_json_11_a_kind_in_the_body_is_that_of_the_path_or_none() {
    let put = |kind: &str| {
        let body = format!(r#"{{"resourceType": {kind}}}"#);
        let target = "/api/v1/named_entities/TASK/ml/development/n";
        send("PUT", target, Payload::Json(body.as_bytes()))
    };
    for kind in ["null", "0", "\"UNSPECIFIED\"", "1", "\"TASK\""] {
        assert!(put(kind).is_ok(), "{kind}");
    }
    for kind in ["2", "\"WORKFLOW\"", "3"] {
        assert_eq!(put(kind).unwrap_err().reason, Reason::ScopeAmbiguous, "{kind}");
    }
}

#[test]
fn bindings_with_a_body_take_no_query() {
    let outcome = send("PUT", "/api/v1/executions/ml/development/e1?limit=1", Payload::None);
    assert_eq!(outcome.unwrap_err().reason, Reason::QueryRefused);
}

#[test]
fn a_path_that_does_not_fit_its_binding_is_an_internal_fault() {
    let catalog = Catalog::builtin().unwrap();
    let matched = catalog
        .lookup_rest(&http::Method::GET, "/api/v1/tasks/ml/development")
        .unwrap();
    let outcome = apply(matched.binding, &["ml"], None, &mut Values::default());
    assert_eq!(outcome.unwrap_err().reason, Reason::Internal);
}
