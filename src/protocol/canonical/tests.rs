//! Request heads that are accepted, and every kind that has two readings.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::time::Duration;

type Pair = (&'static str, &'static [u8]);

fn rest(method: &str, target: &str, headers: &[Pair]) -> Result<RequestHead, Reason> {
    request(Version::HTTP_11, method, target, headers, Protocol::Rest)
}

fn grpc(target: &str, headers: &[Pair]) -> Result<RequestHead, Reason> {
    let url = format!("https://flyte.example.com{target}");
    let mut all: Vec<Pair> = headers.to_vec();
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        all.push(("content-type", b"application/grpc"));
    }
    request(Version::HTTP_2, "POST", &url, &all, Protocol::Grpc)
}

fn request(
    version: Version,
    method: &str,
    target: &str,
    headers: &[Pair],
    protocol: Protocol,
) -> Result<RequestHead, Reason> {
    let mut builder = http::Request::builder().version(version).method(method).uri(target);
    if version == Version::HTTP_11 && !headers.iter().any(|(name, _)| *name == "host") {
        builder = builder.header("host", "flyte.example.com");
    }
    for (name, value) in headers {
        builder = builder.header(*name, http::HeaderValue::from_bytes(value).unwrap());
    }
    let (parts, ()) = builder.body(()).unwrap().into_parts();
    accept(parts, protocol, 100).map_err(|denial| denial.reason)
}

#[test]
fn plain_requests_are_accepted() {
    let head = rest("GET", "/api/v1/tasks/ml/development/a.b%3Ac?limit=10", &[]).unwrap();
    assert_eq!(head.path(), "/api/v1/tasks/ml/development/a.b%3Ac");
    assert_eq!(head.query(), Some("limit=10"));
    assert_eq!(head.host(), "flyte.example.com");
    assert!(grpc("/flyteidl.service.AdminService/GetTask", &[("grpc-timeout", b"10S")]).is_ok());
    assert!(rest("GET", "/console/", &[]).is_ok());
    assert!(rest("GET", "/api/v1/version?", &[]).unwrap().query().is_none());
}

#[test]
fn t_path_02_to_20_paths_with_two_readings_are_refused() {
    for path in [
        "*",
        "//api/v1/projects",
        "/api//v1/projects",
        "/api/./v1",
        "/api/../v1",
        "/api/%2e%2e/v1",
        "/api/%2E./v1",
        "/api/v1/tasks/a%2Fdevelopment/x",
        "/api/v1/a%5Cb",
        "/api/v1/a;b=c",
        "/api/..;/v1",
        "/api/v1/a%00",
        "/api/v1/a%0a",
        "/api/v1/%2541",
        "/api/v1/%zz",
        "/api/v1/%",
        "/api/v1/%4",
        "/api/v1/a%20b",
        "/api/v1/%ef%bc%8f",
        "/api/v1/caf%C3%A9",
        "http://evil.example.com/api/v1/projects",
    ] {
        let refused = rest("GET", path, &[]).unwrap_err();
        assert_eq!(refused, Reason::PathNotCanonical, "{path}");
    }
}

#[test]
fn paths_and_queries_are_accepted_up_to_their_greatest_length() {
    let path = |length: usize| format!("/{}", "a".repeat(length - 1));
    let query = |length: usize| format!("/api/v1/projects?{}", "a".repeat(length));
    assert!(rest("GET", &path(MAX_PATH), &[]).is_ok());
    assert_eq!(
        rest("GET", &path(MAX_PATH + 1), &[]).unwrap_err(),
        Reason::PathNotCanonical
    );
    assert!(grpc(&path(MAX_RPC_PATH), &[]).is_ok());
    for length in [MAX_RPC_PATH + 1, 2 * MAX_RPC_PATH] {
        assert_eq!(grpc(&path(length), &[]).unwrap_err(), Reason::PathNotCanonical);
    }
    assert!(rest("GET", &query(MAX_QUERY), &[]).is_ok());
    for length in [MAX_QUERY + 1, 2 * MAX_QUERY] {
        assert_eq!(rest("GET", &query(length), &[]).unwrap_err(), Reason::QueryRefused);
    }
}

#[test]
fn t_path_16_a_grpc_path_has_no_query_and_no_escapes() {
    for path in [
        "/flyteidl.service.AdminService/GetTask?x=y",
        "/flyteidl.service.AdminService/GetTas%6B",
        "/a/b?",
    ] {
        assert_eq!(grpc(path, &[]).unwrap_err(), Reason::PathNotCanonical, "{path}");
    }
}

#[test]
fn t_method_06_other_methods_are_refused() {
    for method in ["TRACE", "PATCH", "get", "head", "PURGE"] {
        let refused = rest(method, "/api/v1/projects", &[]).unwrap_err();
        assert_eq!(refused, Reason::HttpMethodRefused, "{method}");
    }
    let connect = request(Version::HTTP_11, "CONNECT", "evil:443", &[], Protocol::Rest).unwrap_err();
    assert_eq!(connect, Reason::HttpMethodRefused);
}

#[test]
fn t_method_01_07_overrides_and_upgrades_are_refused() {
    for name in ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"] {
        let refused = rest("POST", "/api/v1/projects", &[(name, b"PUT")]).unwrap_err();
        assert_eq!(refused, Reason::MethodOverride, "{name}");
    }
    for headers in [
        [("upgrade", &b"h2c"[..])],
        [("connection", b"Upgrade")],
        [("connection", b"close, HTTP2-Settings")],
    ] {
        assert_eq!(
            rest("GET", "/healthcheck", &headers).unwrap_err(),
            Reason::UpgradeRefused
        );
    }
}

#[test]
fn t_hdr_05_06_07_ambiguous_headers_are_refused() {
    for headers in [
        &[
            ("content-type", &b"application/json"[..]),
            ("content-type", b"application/octet-stream"),
        ][..],
        &[("content-length", b"5"), ("content-length", b"5")],
        &[("content-encoding", b"gzip"), ("content-encoding", b"gzip")],
        &[("content-type", b"application/json\xff")],
        &[("connection", b"close, authorization")],
        &[("transfer-encoding", b"gzip, chunked")],
    ] {
        let refused = rest("POST", "/api/v1/executions", headers).unwrap_err();
        assert_eq!(refused, Reason::HeaderAmbiguous, "{headers:?}");
    }
    for value in [&b"chunked"[..], b"Chunked"] {
        assert!(rest("POST", "/api/v1/executions", &[("transfer-encoding", value)]).is_ok());
    }
    // Empty elements of a list are none (RFC 9110, section 5.6.1).
    for value in [&b"Keep-Alive"[..], b"", b"close, ", b"close,,te"] {
        assert!(rest("POST", "/api/v1/executions", &[("connection", value)]).is_ok());
    }
}

#[test]
fn t_hdr_09_hosts_that_disagree_or_hide_something_are_refused() {
    assert_eq!(
        rest("GET", "/x", &[("host", b"a"), ("host", b"b")]).unwrap_err(),
        Reason::HeaderAmbiguous
    );
    for host in [&b""[..], b"user@host", b"a b", b"a/b", b"h\xe9"] {
        assert!(rest("GET", "/x", &[("host", host)]).is_err(), "{host:?}");
    }
    assert_eq!(
        grpc("/a/b", &[("host", b"other.example.com")]).unwrap_err(),
        Reason::HostInvalid
    );
    let same = grpc("/a/b", &[("host", b"FLYTE.example.com")]).unwrap();
    assert_eq!(same.host(), "flyte.example.com");
    let none = request(Version::HTTP_2, "GET", "/api/v1/version", &[], Protocol::Rest).unwrap_err();
    assert_eq!(none, Reason::HostInvalid);
}

#[test]
fn t_hdr_14_too_many_headers_are_refused() {
    // With `host` one more.
    let with = |fillers| {
        let fillers: Vec<Pair> = std::iter::repeat_n(("x-filler", &b"1"[..]), fillers).collect();
        rest("GET", "/healthcheck", &fillers)
    };
    assert!(with(99).is_ok());
    assert_eq!(with(100).unwrap_err(), Reason::HeadersTooLarge);
}

#[test]
fn t_grpc_content_types_and_timeouts_are_exact() {
    for content_type in [
        &b"application/grpc+json"[..],
        b"application/grpc;x",
        b"APPLICATION/GRPC",
        b"application/grpc ",
    ] {
        let refused = grpc("/a/b", &[("content-type", content_type)]).unwrap_err();
        assert_eq!(refused, Reason::ContentTypeUnsupported, "{content_type:?}");
    }
    for timeout in [&b""[..], b"S", b"1", b"123456789S", b"-1S", b"1s", b"1.5S", b" 1S"] {
        assert_eq!(
            grpc("/a/b", &[("grpc-timeout", timeout)]).unwrap_err(),
            Reason::TimeoutInvalid,
            "{timeout:?}"
        );
        let by_rest = rest("GET", "/api/v1/version", &[("grpc-timeout", timeout)]);
        assert_eq!(by_rest.unwrap_err(), Reason::TimeoutInvalid, "{timeout:?}");
    }
    rest("GET", "/api/v1/version", &[("grpc-timeout", b"10S")]).unwrap();
    assert_eq!(parse_timeout(b"99999999H"), Some(Duration::from_hours(99_999_999)));
    for (written, read) in [
        ("7H", Duration::from_hours(7)),
        ("7M", Duration::from_mins(7)),
        ("7S", Duration::from_secs(7)),
        ("250m", Duration::from_millis(250)),
        ("250u", Duration::from_micros(250)),
        ("250n", Duration::from_nanos(250)),
    ] {
        assert_eq!(parse_timeout(written.as_bytes()), Some(read), "{written}");
    }
}
