//! The head of a request: brought into its one accepted form, and looked up in the catalogue.

use crate::samples;
use divan::{Bencher, black_box};
use flyte_authz_proxy::protocol::{Protocol, RequestHead, canonical, classify};
use http::request::Parts;
use http::{Request, Version};

/// As configured unless something else is.
const MAX_HEADERS: usize = 128;

#[divan::bench]
fn grpc(bencher: Bencher<'_, '_>) {
    let parts = head(
        "POST",
        samples::RPC,
        Version::HTTP_2,
        &[("content-type", "application/grpc"), ("te", "trailers")],
    );
    bencher.with_inputs(|| parts.clone()).bench_local_values(|parts| {
        let head = accept(parts, Protocol::Grpc);
        black_box(samples::catalog().lookup_rpc(head.path()).unwrap());
        head
    });
}

#[divan::bench]
fn rest(bencher: Bencher<'_, '_>) {
    let target = "/api/v1/executions/team-0/development?limit=10&filters=ne(execution.phase,SUCCEEDED)";
    let parts = head(
        "GET",
        target,
        Version::HTTP_11,
        &[("host", "flyte.example.com"), ("accept", "*/*")],
    );
    bencher.with_inputs(|| parts.clone()).bench_local_values(|parts| {
        let head = accept(parts, Protocol::Rest);
        let matched = samples::catalog().lookup_rest(head.method(), head.path());
        black_box(matched.is_ok_and(|matched| matched.segments().len() == 2));
        head
    });
}

fn accept(parts: Parts, expected: Protocol) -> RequestHead {
    let protocol = classify::classify(&parts.method, parts.version, &parts.headers);
    assert_eq!(protocol, expected);
    canonical::accept(parts, protocol, MAX_HEADERS).unwrap()
}

fn head(method: &str, target: &str, version: Version, headers: &[(&str, &str)]) -> Parts {
    let target = match version {
        Version::HTTP_2 => format!("https://flyte.example.com{target}"),
        _ => target.to_owned(),
    };
    let mut request = Request::builder().method(method).uri(target).version(version);
    let token = format!("Bearer {}", "x".repeat(850));
    for (name, value) in headers
        .iter()
        .chain(&[("authorization", token.as_str()), ("user-agent", "measured")])
    {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}
