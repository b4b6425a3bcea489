//! Tells how a caller speaks, before anything about the request is checked. Total: every request has a protocol.

use super::Protocol;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Method, Version};

/// The protocol in which even a malformed request is answered.
///
/// gRPC is HTTP/2 with `application/grpc` or `application/grpc+…`
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>). The console asks for protobuf with an `Accept`
/// of exactly `application/octet-stream`, which is how the control plane's gateway compares it too. CONNECT is never gRPC:
/// the status 200 of a gRPC refusal would say that there is a tunnel now (RFC 9110, section 9.3.6).
#[must_use]
pub fn classify(method: &Method, version: Version, headers: &HeaderMap) -> Protocol {
    if version == Version::HTTP_2
        && method != Method::CONNECT
        && headers.get(CONTENT_TYPE).is_some_and(|value| is_grpc(value.as_bytes()))
    {
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
        classify(&Method::POST, version, &headers)
    }

    #[test]
    fn connect_is_never_grpc() {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static("application/grpc"))]);
        assert_eq!(classify(&Method::CONNECT, Version::HTTP_2, &headers), Protocol::Rest);
        assert_eq!(classify(&Method::GET, Version::HTTP_2, &headers), Protocol::Grpc);
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
