//! How much is accepted: message sizes on both sides of the limit, headers, streams, compression.

use crate::proxy::Proxy;
use crate::sockets::{Undeclared, eventually, exchange, h2, rpc, status, tcp};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use flyte_authz_proxy::demo::control_plane::{Fault, Script};
use flyte_authz_proxy::demo::stack::Entry;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http::Method;
use http_body_util::Full;
use serde_json::json;
use std::io::Write;
use tokio::task::JoinSet;

const LIST: &str = "AdminService/ListExecutions";
const LIST_PATH: &str = "/flyteidl.service.AdminService/ListExecutions";
const UPLOAD: &str = "/api/v1/dataproxy/artifact_urn";
const LIMIT: usize = 4096;

async fn small() -> Proxy {
    Proxy::start_with(|setup| {
        setup.configuration = "workers: 1
limits: {body_bytes: 4KiB, decompressed_bytes: 4KiB, header_bytes: 8KiB, headers: 20, streams_per_connection: 5}
"
        .into();
    })
    .await
}

/// A `ListExecutions` message of exactly this many bytes.
fn message(proxy: &Proxy, bytes: usize) -> Vec<u8> {
    let encode = |padding: usize| {
        let token = "x".repeat(padding);
        let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1, "token": token});
        proxy.client.encode(LIST, message).unwrap()
    };
    let sized = encode(bytes - (encode(bytes).len() - bytes));
    assert_eq!(sized.len(), bytes);
    sized
}

/// An upload request of exactly this many bytes.
fn upload(bytes: usize) -> Bytes {
    let text = r#"{"project": "ml", "domain": "development", "filename": "code.tar.gz"}"#;
    format!("{text}{}", " ".repeat(bytes - text.len())).into()
}

fn gzipped(message: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(message).unwrap();
    let mut framed = envelope::frame(&encoder.finish().unwrap()).to_vec();
    framed[0] = 1;
    framed.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_the_limit_pass_and_one_byte_more_is_refused_declared_or_not() {
    let proxy = small().await;
    let bearer = format!("Bearer {}", proxy.ml());
    let headers = [("authorization", bearer.as_str())];
    let json = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    for more in [0, 1, 100_000] {
        let framed = envelope::frame(&message(&proxy, LIMIT + more));
        let before = proxy.before();
        let reply = proxy.client.grpc(LIST_PATH, &headers, framed.clone()).await.unwrap();
        if more == 0 {
            proxy.forwarded(&before, &reply).await;
            assert_eq!(proxy.control_plane.arrivals().pop().unwrap().body, framed);
        } else {
            proxy.refused(&before, &reply, Reason::MessageTooLarge).await;
            assert!(
                reply.message().contains("message larger than max"),
                "{}",
                reply.message()
            );
            assert_eq!(reply.grpc_status(), Some(8));
        }
        let before = proxy.before();
        let body = upload(LIMIT + more);
        let reply = proxy
            .client
            .rest(Method::POST, UPLOAD, &json, body.clone())
            .await
            .unwrap();
        if more == 0 {
            proxy.forwarded(&before, &reply).await;
            assert_eq!(proxy.control_plane.arrivals().pop().unwrap().body, body);
        } else {
            proxy.refused(&before, &reply, Reason::MessageTooLarge).await;
            assert_eq!(reply.status, 413);
        }
    }
    let mut requests = h2(tcp(&proxy, Entry::Plain).await).await;
    for (more, expected) in [(0, 0), (1, 8), (100_000, 8)] {
        let request = rpc(&proxy.ml(), LIST, &message(&proxy, LIMIT + more));
        let answer = requests.send_request(request).await.unwrap();
        assert_eq!(status(answer).await, Some(expected), "{more} bytes more");
        let body = upload(LIMIT + more);
        let size = body.len();
        let sent = [
            format!("POST {UPLOAD} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: {bearer}\r\n"),
            "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
            format!("{size:x}\r\n{}\r\n0\r\n\r\n", String::from_utf8_lossy(&body)),
        ];
        let answer = exchange(tcp(&proxy, Entry::Plain).await, sent.concat()).await;
        let expected = if more == 0 { "HTTP/1.1 200" } else { "HTTP/1.1 413" };
        assert!(answer.starts_with(expected), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_messages_are_forwarded_decompressed_and_bombs_are_refused() {
    let proxy = small().await;
    let bearer = format!("Bearer {}", proxy.ml());
    let headers = [("authorization", bearer.as_str()), ("grpc-encoding", "gzip")];
    for bytes in [1200, LIMIT] {
        let plain = message(&proxy, bytes);
        let before = proxy.before();
        let reply = proxy.client.grpc(LIST_PATH, &headers, gzipped(&plain)).await.unwrap();
        proxy.forwarded(&before, &reply).await;
        let arrival = proxy.control_plane.arrivals().pop().unwrap();
        assert_eq!(arrival.body, envelope::frame(&plain));
        assert!(arrival.header("grpc-encoding").is_empty());
        assert_eq!(reply.grpc_status(), Some(0));
    }
    for bytes in [LIMIT + 1, 1 << 20] {
        let bomb = gzipped(&message(&proxy, bytes));
        assert!(bomb.len() < LIMIT);
        let before = proxy.before();
        let reply = proxy.client.grpc(LIST_PATH, &headers, bomb).await.unwrap();
        proxy.refused(&before, &reply, Reason::MessageTooLarge).await;
    }
    let before = proxy.before();
    let brotli = [("authorization", bearer.as_str()), ("grpc-encoding", "br")];
    let body = envelope::frame(&message(&proxy, 1200));
    let reply = proxy.client.grpc(LIST_PATH, &brotli, body).await.unwrap();
    proxy.refused(&before, &reply, Reason::EncodingUnsupported).await;
    assert_eq!(reply.headers["grpc-accept-encoding"], "identity,gzip");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_beyond_their_number_or_size_are_refused() {
    let proxy = small().await;
    let target = "/api/v1/executions/ml/development?limit=1";
    let bearer = format!("Bearer {}", proxy.ml());
    let names: Vec<String> = (0..40).map(|number| format!("x-more-{number}")).collect();
    let headers = |count: usize| {
        let more = names.iter().take(count).map(|name| (name.as_str(), "x"));
        [("authorization", bearer.as_str())]
            .into_iter()
            .chain(more)
            .collect::<Vec<_>>()
    };
    let before = proxy.before();
    // `host` is one of the twenty.
    let reply = proxy.client.rest(Method::GET, target, &headers(18), "").await.unwrap();
    proxy.forwarded(&before, &reply).await;
    let arrivals = proxy.control_plane.count();
    // HTTP/1.1 refuses while reading the head, before there is a request that could be recorded.
    let reply = proxy.client.rest(Method::GET, target, &headers(19), "").await.unwrap();
    assert_eq!(reply.status, 431);
    let body = envelope::frame(&message(&proxy, 1200));
    let before = proxy.before();
    let reply = proxy.client.grpc(LIST_PATH, &headers(30), body.clone()).await.unwrap();
    proxy.refused(&before, &reply, Reason::HeadersTooLarge).await;
    let large = "x".repeat(20_000);
    let large = [("authorization", bearer.as_str()), ("x-large", large.as_str())];
    let reply = proxy.client.rest(Method::GET, target, &large, "").await.unwrap();
    assert_eq!(reply.status, 431);
    // HTTP/2 answers 431 by itself, which is not gRPC, but never forwards.
    match proxy.client.grpc(LIST_PATH, &large, body).await {
        Ok(reply) => assert_eq!(reply.status, 431),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    assert_eq!(proxy.control_plane.count(), arrivals);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_streams_than_the_limit_wait_their_turn_and_all_are_answered() {
    let proxy = small().await;
    let slow = Fault::Delay { milliseconds: 100 };
    proxy.control_plane.script(Script::on("ListExecutions", slow));
    let requests = h2(tcp(&proxy, Entry::Plain).await).await;
    let encoded = message(&proxy, 1200);
    let mut running = JoinSet::new();
    for _ in 0..23 {
        let (mut requests, request) = (requests.clone(), rpc(&proxy.ml(), LIST, &encoded));
        running.spawn(async move { status(requests.send_request(request).await.unwrap()).await });
    }
    let pending = || {
        let arrivals = proxy.control_plane.arrivals();
        let open = |arrival: &&_| is_pending(arrival);
        arrivals.iter().filter(open).count()
    };
    let mut most = 0;
    eventually("all are answered", || {
        most = most.max(pending());
        proxy.control_plane.count() == 23 && pending() == 0
    })
    .await;
    assert!((1..=5).contains(&most), "{most} at once");
    assert_eq!(running.join_all().await, [Some(0); 23]);
}

fn is_pending(arrival: &flyte_authz_proxy::demo::control_plane::Arrival) -> bool {
    arrival.outcome == flyte_authz_proxy::demo::control_plane::Outcome::Pending
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_a_refusal_after_its_time() {
    let proxy =
        Proxy::start_with(|setup| setup.configuration = "workers: 1\nlimits: {body_timeout: 300ms}\n".into()).await;
    let head = format!(
        "POST {UPLOAD} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        proxy.ml()
    );
    let before = proxy.before();
    let answer = exchange(tcp(&proxy, Entry::Plain).await, head).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let record = proxy.recorded(&before, Reason::BodyTimeout).await;
    assert_eq!((&record["outcome"], &record["status"]), (&json!("denied"), &json!(408)));
    // A request whose credential is refused is answered before its body has come.
    let before = proxy.before();
    let framed = http::Request::post(format!("http://localhost{LIST_PATH}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Undeclared(Full::new(Bytes::from_static(b"\0"))))
        .unwrap();
    let answer = h2(tcp(&proxy, Entry::Plain).await)
        .await
        .send_request(framed)
        .await
        .unwrap();
    assert_eq!(status(answer).await, Some(16));
    proxy.recorded(&before, Reason::CredentialMissing).await;
}
