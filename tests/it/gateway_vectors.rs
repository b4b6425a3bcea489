//! Requests recorded at FlyteAdmin's REST gateway, with the gRPC request that came out of it: whatever is not refused
//! was read here as it was read there.

use crate::descriptors::message;
use crate::reference::{decoded, walked};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flyte_authz_proxy::catalog::Catalog;
use flyte_authz_proxy::extract::WalkLimits;
use flyte_authz_proxy::extract::targets::{Input, Payload, RestInput, read};
use flyte_authz_proxy::model::reason::Reason;
use prost_reflect::DynamicMessage;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Vector {
    group: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body_b64: String,
    status: u16,
    grpc_path: Option<String>,
    request_b64: Option<String>,
}

#[derive(Debug)]
enum Outcome {
    /// Nothing of it would have been forwarded; with the reason where the reading gave one.
    Refused(Option<Reason>),
    /// Read as the gateway did.
    Same,
}

impl Vector {
    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.as_str())
    }

    /// What is refused before a request is read: paths, methods and headers with more than one reading.
    fn is_canonical(&self, path: &str) -> bool {
        let path = path.to_ascii_lowercase();
        let climbs = |segment: &str| matches!(segment.replace("%2e", ".").as_str(), "." | "..");
        !path.contains("%2f")
            && !path.contains("%5c")
            && !path.contains("//")
            && !path.split('/').any(climbs)
            && self.header("x-http-method-override").is_none()
    }

    fn judge(&self, catalog: &Catalog) -> Outcome {
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.target.as_str(), None),
        };
        let method: http::Method = self.method.parse().unwrap();
        let matched = match catalog.lookup_rest(&method, path) {
            Ok(matched) if self.is_canonical(path) => matched,
            _ => return Outcome::Refused(None),
        };
        let body = STANDARD.decode(&self.body_b64).unwrap();
        let payload = match (matched.binding.body, self.header("content-type")) {
            (false, _) if body.is_empty() => Payload::None,
            (true, Some("application/json")) => Payload::Json(&body),
            (true, Some("application/octet-stream")) => Payload::Protobuf(&body),
            _ => return Outcome::Refused(None),
        };
        let rest = RestInput {
            binding: matched.binding,
            segments: matched.segments(),
            query,
        };
        let input = Input {
            payload,
            rest: Some(rest),
        };
        let values = match read(matched.route, &input, &WalkLimits::default()) {
            Ok(values) => values,
            Err(denial) => return Outcome::Refused(Some(denial.reason)),
        };
        let what = format!("{} {} {:?}", self.method, self.target, String::from_utf8_lossy(&body));
        assert_eq!(Some(&*matched.route.rpc), self.grpc_path.as_deref(), "{what}");
        let request = STANDARD.decode(self.request_b64.as_ref().unwrap()).unwrap();
        let request = DynamicMessage::decode(message(&matched.route.request), &*request).unwrap();
        assert_eq!(walked(&values), decoded(&matched.route.plan, &request), "{what}");
        Outcome::Same
    }
}

#[test]
fn recorded_requests_are_refused_or_read_as_the_gateway_did() {
    let catalog = Catalog::builtin().unwrap();
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../fixtures/gateway-vectors.json")).unwrap();
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for vector in &vectors {
        let outcome = vector.judge(&catalog);
        let count = counts.entry(&vector.group).or_default();
        match outcome {
            Outcome::Refused(_) => count.0 += 1,
            Outcome::Same => count.1 += 1,
        }
        match (vector.group.as_str(), &outcome) {
            ("query-override" | "query-override-empty", Outcome::Refused(Some(Reason::QueryRefused))) => {}
            ("query-override" | "query-override-empty", _) => panic!("{}: {outcome:?}", vector.target),
            ("pct-slash" | "post-form-as-get", Outcome::Same) => panic!("{} was read", vector.target),
            ("plain", Outcome::Refused(reason)) => panic!("{} was refused: {reason:?}", vector.target),
            (_, Outcome::Same) => assert_eq!(vector.status, 200, "{}", vector.target),
            _ => {}
        }
    }
    // Refused, read the same.
    let expected = [
        ("auth-headers", (0, 4)),
        ("body-vs-path", (7, 0)),
        ("content-type", (8, 2)),
        ("json-strict", (15, 4)),
        ("json-wildcard", (16, 0)),
        ("method-override", (6, 0)),
        ("path", (21, 7)),
        ("pct-slash", (33, 0)),
        ("plain", (0, 46)),
        ("post-form-as-get", (35, 0)),
        ("query-override", (116, 0)),
        ("query-override-empty", (34, 0)),
    ];
    assert_eq!(counts, BTreeMap::from(expected));
}
