//! Every field that is judged, on every route: a second value, or one that cannot be read, is refused wherever it lies.

use crate::descriptors::message;
use flyte_authz_proxy::catalog::{Catalog, Part, Route};
use flyte_authz_proxy::extract::targets::{Input, Payload, ScopeRules, targets};
use flyte_authz_proxy::extract::values::Values;
use flyte_authz_proxy::extract::{WalkLimits, json, protobuf};
use flyte_authz_proxy::model::reason::Reason;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, Value};

/// Every route with the path of every text that is judged and lies in no repeated field.
fn each_text(mut check: impl FnMut(&Route, &[&str], &str)) {
    let catalog = Catalog::builtin().unwrap();
    let mut count = 0;
    for route in &catalog.routes {
        let parts = route.plan.slots().iter().flat_map(|slot| &slot.parts);
        for (path, part) in parts {
            if *part != Part::Kind && !path.contains(['[', '{', '*']) {
                count += 1;
                check(
                    route,
                    &path.split('.').collect::<Vec<_>>(),
                    &format!("{} {path}", route.rpc),
                );
            }
        }
    }
    assert!(count > 200, "only {count} fields");
}

/// A message in which only the text at a path is set.
fn with(descriptor: &MessageDescriptor, path: &[&str], text: &str) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    let (first, rest) = path.split_first().unwrap();
    let field = descriptor.get_field_by_name(first).unwrap();
    let value = if rest.is_empty() {
        Value::String(text.to_owned())
    } else {
        Value::Message(with(field.kind().as_message().unwrap(), rest, text))
    };
    message.set_field(&field, value);
    message
}

fn wire(route: &Route, bytes: &[u8]) -> Option<Reason> {
    let mut values = Values::default();
    let outcome = protobuf::walk(&route.plan, bytes, &WalkLimits::default(), &mut values);
    outcome.err().map(|denial| denial.reason)
}

fn in_json(route: &Route, body: &str) -> Option<Reason> {
    let mut values = Values::default();
    let outcome = json::walk(&route.plan, body.as_bytes(), &WalkLimits::default(), &mut values);
    outcome.err().map(|denial| denial.reason)
}

fn nested(path: &[&str], inner: &str) -> String {
    path.iter()
        .rev()
        .fold(inner.to_owned(), |inner, name| format!("{{\"{name}\": {inner}}}"))
}

#[test]
fn t_pb_01_and_02_every_judged_field_with_two_values_is_refused() {
    each_text(|route, path, what| {
        let descriptor = message(&route.request);
        let [one, other] = ["a", "b"].map(|text| with(&descriptor, path, text).encode_to_vec());
        assert_eq!(wire(route, &one), None, "{what}");
        assert_eq!(
            wire(route, &[one, other].concat()),
            Some(Reason::ScopeAmbiguous),
            "{what}"
        );
    });
}

#[test]
fn t_pb_05_every_judged_text_must_be_utf8() {
    each_text(|route, path, what| {
        let mut bytes = with(&message(&route.request), path, "a").encode_to_vec();
        *bytes.last_mut().unwrap() = 0xff;
        assert_eq!(wire(route, &bytes), Some(Reason::BodyMalformed), "{what}");
    });
}

#[test]
fn t_pb_04_every_judged_text_has_its_wire_type() {
    each_text(|route, path, what| {
        let mut bytes = with(&message(&route.request), path, "a").encode_to_vec();
        // The last three bytes are the tag, the length 1 and the text: the same field as a varint of two bytes.
        let tag = bytes.len() - 3;
        *bytes.get_mut(tag).unwrap() &= !7;
        *bytes.get_mut(tag + 1).unwrap() = 0x81;
        *bytes.get_mut(tag + 2).unwrap() = 0x01;
        assert_eq!(wire(route, &bytes), Some(Reason::BodyMalformed), "{what}");
    });
}

#[test]
fn t_json_01_and_06_every_judged_field_with_two_values_is_refused() {
    each_text(|route, path, what| {
        let (last, parents) = path.split_last().unwrap();
        assert_eq!(in_json(route, &nested(path, "\"a\"")), None, "{what}");
        for twice in ["\"a\", \"X\": \"b\"", "null, \"X\": \"a\"", "\"a\", \"X\": null"] {
            let object = format!("{{\"{last}\": {}}}", twice.replace('X', last));
            assert_eq!(
                in_json(route, &nested(parents, &object)),
                Some(Reason::ScopeAmbiguous),
                "{what}"
            );
        }
        if let Some((first, rest)) = path.split_first().filter(|(_, rest)| !rest.is_empty()) {
            let inner = nested(rest, "\"a\"");
            let body = format!("{{\"{first}\": {{}}, \"{first}\": {inner}}}");
            assert_eq!(in_json(route, &body), Some(Reason::ScopeAmbiguous), "{what}");
        }
    });
}

#[test]
fn t_json_08_every_judged_text_must_be_a_text() {
    each_text(|route, path, what| {
        for other in ["1", "true", "[\"a\"]", "{}", "1.5"] {
            assert_eq!(
                in_json(route, &nested(path, other)),
                Some(Reason::BodyMalformed),
                "{what} {other}"
            );
        }
    });
}

#[test]
fn t_pb_14_one_request_touches_the_same_in_protobuf_and_json() {
    let task = r#""taskNode": {"referenceId": {"resourceType": "TASK", "project": "shared", "domain": "production", "name": "t", "version": "1"}}"#;
    let plan = r#""launchPlan": {"resourceType": "TASK", "project": "shared", "domain": "development", "name": "p", "version": "1"}"#;
    let id = r#""id": {"project": "ml", "domain": "development", "name": "n", "version": "1"}"#;
    let requests = [
        (
            "CreateExecution",
            format!(r#"{{"project": "ml", "domain": "development", "spec": {{{plan}}}}}"#),
            3,
        ),
        (
            "CreateExecution",
            format!(
                r#"{{"project": "ml", "domain": "production", "spec": {{{plan}, "metadata": {{"referenceExecution": {{"project": "o", "domain": "production", "name": "e"}}}}}}}}"#
            ),
            4,
        ),
        (
            "CreateWorkflow",
            format!(
                r#"{{{id}, "spec": {{"template": {{"nodes": [{{"branchNode": {{"ifElse": {{"case": {{"thenNode": {{{task}}}}}}}}}}}]}}}}}}"#
            ),
            2,
        ),
        (
            "CreateWorkflow",
            format!(
                r#"{{{id}, "spec": {{"subWorkflows": [{{"failureNode": {{"arrayNode": {{"node": {{{task}}}}}}}}}]}}}}"#
            ),
            2,
        ),
        (
            "TerminateExecution",
            format!("{{{}}}", id.replace(r#", "version": "1""#, "")),
            1,
        ),
        (
            "ListTasks",
            r#"{"id": {"project": "ml", "domain": "production"}, "limit": 5}"#.to_owned(),
            1,
        ),
    ];
    let catalog = Catalog::builtin().unwrap();
    let rules = ScopeRules {
        domains: ["development", "production"].map(Into::into).into(),
        organizations: Vec::new(),
    };
    for (method, body, count) in requests {
        let route = catalog
            .lookup_rpc(&format!("/flyteidl.service.AdminService/{method}"))
            .unwrap();
        let mut deserializer = serde_json::Deserializer::from_str(&body);
        let bytes = DynamicMessage::deserialize(message(&route.request), &mut deserializer)
            .unwrap()
            .encode_to_vec();
        let [one, other] = [Payload::Json(body.as_bytes()), Payload::Protobuf(&bytes)]
            .map(|payload| targets(route, &Input { payload, rest: None }, &rules, &WalkLimits::default()).unwrap());
        assert_eq!(one, other, "{body}");
        assert_eq!(one.targets.len(), count, "{body}: {one:?}");
    }
}
