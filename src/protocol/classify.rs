//! Tells how a caller speaks, before anything about the request is checked. Total: every request has a protocol.

use super::Protocol;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Version};

/// The protocol in which even a malformed request is answered.
///
/// gRPC is HTTP/2 with `application/grpc` or `application/grpc+…`
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>). The console asks for protobuf with an `Accept`
/// of exactly `application/octet-stream`, which is how the control plane's gateway compares it too.
#[must_use]
pub fn classify(version: Version, headers: &HeaderMap) -> Protocol {
    if version == Version::HTTP_2 && headers.get(CONTENT_TYPE).is_some_and(|value| is_grpc(value.as_bytes())) {
        return Protocol::Grpc;
    }
    let mut accepted = headers.get_all(ACCEPT).iter();
    if accepted.any(|value| value.as_bytes() == b"application/octet-stream") {
        return Protocol::RestProto;
    }
    Protocol::Rest
}

fn is_grpc(content_type: &[u8]) -> bool {
    const PREFIX: &[u8] = b"application/grpc";
    let Some((head, rest)) = content_type.split_at_checked(PREFIX.len()) else {
        return false;
    };
    head.eq_ignore_ascii_case(PREFIX) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(version: Version, pairs: &[(&'static str, &'static str)]) -> Protocol {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        classify(version, &headers)
    }

    #[test]
    fn grpc_needs_http2_and_its_content_type() {
        let h2 = Version::HTTP_2;
        assert_eq!(of(h2, &[("content-type", "application/grpc")]), Protocol::Grpc);
        assert_eq!(of(h2, &[("content-type", "Application/GRPC+proto")]), Protocol::Grpc);
        assert_eq!(of(h2, &[("content-type", "application/grpc;x")]), Protocol::Grpc);
        assert_eq!(of(h2, &[("content-type", "application/grpc-web")]), Protocol::Rest);
        assert_eq!(of(h2, &[("content-type", "application/json")]), Protocol::Rest);
        assert_eq!(
            of(Version::HTTP_11, &[("content-type", "application/grpc")]),
            Protocol::Rest
        );
    }

    #[test]
    fn the_console_is_known_by_its_exact_accept() {
        let h1 = Version::HTTP_11;
        assert_eq!(of(h1, &[("accept", "application/octet-stream")]), Protocol::RestProto);
        assert_eq!(of(h1, &[("accept", "application/octet-stream, */*")]), Protocol::Rest);
    }
}
