//! Paths and queries: what is accepted has one reading, however often and by whom it is decoded.

use crate::routes::catalog;
use flyte_authz_proxy::catalog::{Binding, ScalarKind};
use flyte_authz_proxy::extract::url;
use flyte_authz_proxy::extract::values::Values;
use flyte_authz_proxy::protocol::canonical::accept;
use flyte_authz_proxy::protocol::{Protocol, RequestHead};
use http::header::HOST;
use http::{Method, Request, Uri, Version};

/// The input is a target: a path and a query.
pub fn check(input: &[u8]) {
    let Ok(uri) = Uri::try_from(input) else {
        return;
    };
    if let Some(head) = accepted(&uri, Protocol::Rest) {
        path_has_one_reading(&head);
        if let Ok(matched) = catalog().lookup_rest(head.method(), head.path()) {
            query_has_one_reading(matched.binding, matched.segments(), head.query());
        }
    }
    if let Some(head) = accepted(&uri, Protocol::Grpc) {
        assert!(head.query().is_none() && !head.path().contains('%'));
        assert!(head.path().starts_with('/') && head.path() == uri.path());
    }
}

fn accepted(uri: &Uri, protocol: Protocol) -> Option<RequestHead> {
    let (method, version) = match protocol {
        Protocol::Grpc => (Method::POST, Version::HTTP_2),
        Protocol::Rest | Protocol::RestProto => (Method::GET, Version::HTTP_11),
    };
    let request = Request::builder().method(method).version(version).uri(uri.clone());
    let parts = request.header(HOST, "flyte.example.com").body(()).ok()?.into_parts().0;
    accept(parts, protocol, 100).ok()
}

fn path_has_one_reading(head: &RequestHead) {
    let path = head.path();
    let decoded = decode(path).expect("an accepted path can be decoded");
    assert!(path.starts_with('/') && !path.contains("//"), "{path}");
    assert_eq!(
        decode(&decoded).as_deref(),
        Some(&*decoded),
        "{path} can be decoded twice"
    );
    assert_eq!(
        path.split('/').count(),
        decoded.split('/').count(),
        "{path} has hidden slashes"
    );
    assert!(
        !decoded.split('/').any(|segment| matches!(segment, "." | "..")),
        "{path} climbs"
    );
    let plain = |c: char| c.is_ascii_graphic() && !r#"\;?#%"<>^`{|}"#.contains(c);
    assert!(decoded.chars().all(plain), "{path}");
    // What it means is itself a path that is accepted, and means the same.
    let again =
        accepted(&decoded.parse().expect("a target"), Protocol::Rest).expect("the decoded path is accepted, too");
    assert_eq!(again.path(), decoded);
}

/// The values of the query, read as Go's `url.ParseQuery` does.
fn query_has_one_reading(binding: &Binding, segments: &[&str], query: Option<&str>) {
    let (mut with, mut without) = (Values::default(), Values::default());
    if url::apply(binding, segments, None, &mut without).is_err()
        || url::apply(binding, segments, query, &mut with).is_err()
    {
        return;
    }
    let mut seen = Vec::new();
    for (key, value) in parse_query(query.unwrap_or_default()).expect("an accepted query can be parsed") {
        let known = |known: &&flyte_authz_proxy::catalog::QueryKey| *known.field == *key || *known.json == *key;
        let key = binding
            .query
            .iter()
            .find(known)
            .unwrap_or_else(|| panic!("{key} is no key of {}", binding.template));
        assert!(key.repeated || !seen.contains(&&key.field), "{} came twice", key.field);
        seen.push(&key.field);
        assert!(
            !binding.variables.iter().any(|variable| variable.field == key.field),
            "{} is in the path",
            key.field
        );
        for (slot, part) in &key.sets {
            let found = with.occurrences.iter().any(|place| {
                let part = place.part(*part);
                place.slot == *slot && (part == value || matches!(key.kind, ScalarKind::Enum(_)) && !part.is_empty())
            });
            assert!(found, "{} is not {value}", key.field);
        }
    }
    // A query adds to what the path says and changes nothing of it.
    for place in &without.occurrences {
        for variable in &binding.variables {
            for (_, part) in variable.sets.iter().filter(|(slot, _)| *slot == place.slot) {
                let mut of_slot = with.occurrences.iter().filter(|other| other.slot == place.slot);
                assert!(
                    of_slot.any(|other| other.part(*part) == place.part(*part)),
                    "{:?}",
                    variable.field
                );
            }
        }
    }
}

/// The pairs of a form-encoded query as Go reads them. `None` where Go has an error.
pub(crate) fn parse_query(query: &str) -> Option<Vec<(String, String)>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        if pair.contains(';') {
            return None;
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(&key.replace('+', " "))?, decode(&value.replace('+', " "))?))
    });
    pairs.collect()
}

/// Decodes percent signs once, by hand. `None` for what is no escape or no UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        decoded.push(u8::try_from(high << 4 | low).ok()?);
    }
    String::from_utf8(decoded).ok()
}
