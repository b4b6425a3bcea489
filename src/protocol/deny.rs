//! Renders a refusal in the caller's own protocol, so that real clients show its text and do not log in again.

use super::Protocol;
use super::request_id::{REQUEST_ID, RequestId};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::borrow::Cow;

/// Everything outside printable ASCII, and the percent sign
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses>).
const GRPC_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// How much of a message is shown, in bytes as they are percent-encoded. Clients refuse answers with long headers: gRPC's C
/// core, which Python uses, takes 8 KiB for certain.
const MAX_SHOWN: usize = 4000;

/// The answer to a refused request.
#[must_use]
pub fn respond(protocol: Protocol, denial: &Denial, request_id: &RequestId) -> Response<Full<Bytes>> {
    let text = text(denial, request_id);
    let mut response = match protocol {
        Protocol::Grpc => grpc(denial.reason, &text),
        Protocol::Rest => rest(denial.reason, "application/json", json_status(denial.reason, &text)),
        Protocol::RestProto => rest(
            denial.reason,
            "application/octet-stream",
            proto_status(denial.reason, &text),
        ),
    };
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, request_id.header());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The trailers that end a gRPC answer which had begun.
#[must_use]
pub fn trailers(denial: &Denial, request_id: &RequestId) -> HeaderMap {
    let text = text(denial, request_id);
    let mut trailers = HeaderMap::new();
    status(&mut trailers, denial.reason, &text);
    trailers
}

fn text(denial: &Denial, request_id: &RequestId) -> String {
    let message = shown(&denial.message);
    format!("{message} [{}; request {request_id}]", denial.reason.label())
}

/// The message, or its beginning.
fn shown(message: &str) -> Cow<'_, str> {
    let mut encoded = 0;
    let too_long = message.char_indices().find(|(_, character)| {
        let is_plain = matches!(character, ' '..='~') && *character != '%';
        encoded += if is_plain { 1 } else { 3 * character.len_utf8() };
        encoded > MAX_SHOWN
    });
    match too_long.and_then(|(end, _)| message.get(..end)) {
        Some(beginning) => Cow::Owned(format!("{beginning}…")),
        None => Cow::Borrowed(message),
    }
}

/// Trailers-Only: the status travels in the headers and no body follows.
fn grpc(reason: Reason, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    status(headers, reason, text);
    if reason == Reason::EncodingUnsupported {
        headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity,gzip"));
    }
    response
}

fn status(headers: &mut HeaderMap, reason: Reason, text: &str) {
    headers.insert("grpc-status", HeaderValue::from(u16::from(reason.status().grpc)));
    let encoded = utf8_percent_encode(text, GRPC_MESSAGE).to_string();
    if let Ok(value) = HeaderValue::from_str(&encoded) {
        headers.insert("grpc-message", value);
    }
}

fn rest(reason: Reason, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = StatusCode::from_u16(reason.status().http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if reason.status().http == 401 {
        let challenge = match reason {
            Reason::CredentialMissing => r#"Bearer realm="flyte""#,
            _ => r#"Bearer realm="flyte", error="invalid_token""#,
        };
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

fn json_status(reason: Reason, text: &str) -> Vec<u8> {
    serde_json::json!({"code": reason.status().body, "message": text, "details": []})
        .to_string()
        .into_bytes()
}

/// `google.rpc.Status` with `message` (2) before `code` (1): the console first tries the body as another message type
/// whose field 1 is a text, and shows its "403" page only if that fails, which this order makes sure of.
fn proto_status(reason: Reason, text: &str) -> Vec<u8> {
    let mut body = vec![0x12];
    let mut length = text.len();
    while length >= 0x80 {
        body.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    body.push(u8::try_from(length).unwrap_or(0));
    body.extend_from_slice(text.as_bytes());
    body.extend([0x08, reason.status().body]);
    body
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

    use super::*;
    use http_body_util::BodyExt;

    fn body(protocol: Protocol, denial: &Denial) -> (Response<()>, Vec<u8>) {
        let (parts, body) = respond(protocol, denial, &RequestId::new(1, 2)).into_parts();
        let mut collected = std::pin::pin!(body.collect());
        let mut task = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(Ok(bytes)) = collected.as_mut().poll(&mut task) else {
            panic!("a full body is ready")
        };
        (Response::from_parts(parts, ()), bytes.to_bytes().to_vec())
    }

    #[test]
    fn every_reason_is_answered_in_every_protocol() {
        for reason in Reason::ALL {
            let denial = Denial::from(*reason);
            let (grpc, empty) = body(Protocol::Grpc, &denial);
            assert_eq!(grpc.status(), 200);
            assert_eq!(grpc.headers()["grpc-status"], reason.status().grpc.to_string().as_str());
            assert!(empty.is_empty());
            let (rest, json) = body(Protocol::Rest, &denial);
            assert_eq!(rest.status(), reason.status().http);
            assert_eq!(
                rest.headers().contains_key("www-authenticate"),
                reason.status().http == 401
            );
            let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(json["code"], reason.status().body);
            assert!(json["message"].as_str().unwrap().contains(reason.label()));
            let (proto, bytes) = body(Protocol::RestProto, &denial);
            assert_eq!(proto.status(), reason.status().http);
            assert_eq!(bytes[0], 0x12);
            assert_eq!(bytes[bytes.len() - 2..], [0x08, reason.status().body]);
            for response in [grpc, rest, proto] {
                assert_eq!(response.headers()["x-request-id"], "000000000000000100000002");
            }
        }
    }

    #[test]
    fn a_policy_refusal_never_says_the_words_that_make_clients_log_in() {
        for reason in Reason::ALL.iter().filter(|reason| reason.status().grpc != 16) {
            let text = format!("{} {}", reason.help(), reason.label()).to_lowercase();
            assert!(
                !text.contains("unauthorized") && !text.contains("unauthenticated"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_grpc_message_is_percent_encoded() {
        let denial = Denial::new(Reason::NoMatchingRule, "100% né\nx");
        let (response, _) = body(Protocol::Grpc, &denial);
        assert_eq!(
            response.headers()["grpc-message"],
            "100%25 n%C3%A9%0Ax [no_matching_rule; request 000000000000000100000002]"
        );
    }

    #[test]
    fn a_long_message_is_cut_between_characters_and_keeps_its_reason() {
        for (letter, encoded) in [("é", 6), ("ж", 6), ("€", 9), ("𝕏", 12), ("%", 3), ("\n", 3), ("x", 1)] {
            let denial = Denial::new(Reason::PrincipalRefused, letter.repeat(10_000));
            let id = RequestId::new(1, 2);
            let end = "… [principal_refused; request 000000000000000100000002]";
            let cut = format!("{}{end}", letter.repeat(4000 / encoded));
            let trailers = trailers(&denial, &id);
            let (response, _) = body(Protocol::Grpc, &denial);
            for headers in [&trailers, response.headers()] {
                let message = headers["grpc-message"].to_str().unwrap();
                assert!(message.len() < 4 << 10, "{} bytes", message.len());
                assert_eq!(
                    percent_encoding::percent_decode_str(message).decode_utf8().unwrap(),
                    cut
                );
            }
            let (_, json) = body(Protocol::Rest, &denial);
            let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(json["message"], cut);
            let (_, octets) = body(Protocol::RestProto, &denial);
            assert!(octets.windows(cut.len()).any(|window| window == cut.as_bytes()));
        }
        let longest = "x".repeat(4000);
        let (response, _) = body(Protocol::Grpc, &Denial::new(Reason::NoMatchingRule, longest.clone()));
        let message = response.headers()["grpc-message"].to_str().unwrap();
        assert!(message.starts_with(&format!("{longest} [no_matching_rule; ")));
    }

    #[test]
    fn the_console_reads_a_length_of_two_bytes() {
        let denial = Denial::new(Reason::NoMatchingRule, "x".repeat(300));
        let (_, bytes) = body(Protocol::RestProto, &denial);
        let length = usize::from(bytes[1] & 0x7f) | usize::from(bytes[2]) << 7;
        assert_eq!(bytes.len(), 3 + length + 2);
    }
}
