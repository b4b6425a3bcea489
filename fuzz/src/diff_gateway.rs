//! REST requests against the gateway: what is accepted reaches the call that was judged, with the values that were judged.

use crate::diff_wire::agrees;
use crate::gateway::{self, Outcome};
use crate::head;
use crate::routes::catalog;
use flyte_authz_proxy::extract::WalkLimits;
use flyte_authz_proxy::extract::targets::{Input, Payload, RestInput, read};
use flyte_authz_proxy::protocol::canonical::accept;
use flyte_authz_proxy::protocol::classify::classify;
use http::header::CONTENT_TYPE;

/// The input is a request as [`head::read`] reads it.
pub fn check(input: &[u8]) {
    let Some((parts, body)) = head::read(input) else {
        return;
    };
    let protocol = classify(&parts.method, parts.version, &parts.headers);
    let Ok(accepted) = accept(parts.clone(), protocol, 100) else {
        return;
    };
    let Ok(matched) = catalog().lookup_rest(accepted.method(), accepted.path()) else {
        return;
    };
    // As `gate::body` does.
    let content_type = accepted
        .headers()
        .get(CONTENT_TYPE)
        .map(|value| value.as_bytes().to_ascii_lowercase());
    let payload = match (matched.binding.body, content_type.as_deref()) {
        (false, _) if body.is_empty() => Payload::None,
        (true, Some(b"application/json" | b"application/json;charset=utf-8" | b"application/json; charset=utf-8")) => {
            Payload::Json(body)
        }
        (true, Some(b"application/octet-stream")) => Payload::Protobuf(body),
        (true, media_type) if body.is_empty() && media_type != Some(b"application/x-www-form-urlencoded") => {
            Payload::None
        }
        _ => return,
    };
    let rest = RestInput {
        binding: matched.binding,
        segments: matched.segments(),
        query: accepted.query(),
    };
    if read(
        matched.route,
        &Input {
            payload,
            rest: Some(rest),
        },
        &WalkLimits::default(),
    )
    .is_err()
    {
        return;
    }
    match gateway::read(&parts, body) {
        Outcome::Call { rpc, message } => {
            assert_eq!(*rpc, *matched.route.rpc);
            agrees(matched.route, payload, Some(rest), &message);
        }
        Outcome::Overridden => panic!("{} {} has two readings", parts.method, parts.uri),
        // It makes no call.
        Outcome::Refused => {}
    }
}
