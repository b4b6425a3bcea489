//! Whatever would make the proxy hold bytes: bombs, large messages and answers in parallel, pipelines, giant headers.

use crate::flood::{Hostile, Target, head, headers, stream};
use crate::proxy::Proxy;
use crate::raw::frame;
use crate::sockets::{admin, eventually};
use flate2::Compression;
use flate2::write::GzEncoder;
use flyte_authz_proxy::demo::control_plane::{Fault, Script};
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http::Method;
use serde_json::json;
use std::io::Write;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

const LIST: &str = "AdminService/ListExecutions";
const PROJECTS: &str = "AdminService/ListProjects";
const MEBIBYTE: usize = 1 << 20;

/// A gRPC frame that decompresses to four times the default limit on messages, and fits into the window of a stream.
pub(crate) fn bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; 16 * MEBIBYTE]).unwrap();
    let mut framed = envelope::frame(&encoder.finish().unwrap()).to_vec();
    framed[0] = 1;
    framed
}

/// Sends so many bombs on one connection.
pub(crate) async fn gzip_bombs(target: &Target, bomb: &[u8], count: u32) -> Hostile {
    let mut hostile = Hostile::connect(target, &[]).await;
    let gzip = crate::raw::literal(b"grpc-encoding", b"gzip");
    let block = [head(crate::flood::LIST, &target.token), gzip].concat();
    let requests = (0..count).map(|number| {
        let id = stream(number);
        let mut pieces = bomb.chunks(16_000).peekable();
        let mut bytes = headers(id, &block, false);
        while let Some(piece) = pieces.next() {
            bytes.extend(frame(0, u8::from(pieces.peek().is_none()), id, piece));
        }
        bytes
    });
    hostile.flood(requests).await;
    hostile
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_grpc_04_bombs_in_parallel_are_refused_within_bounds() {
    let target = Target::start("body_bytes: 512KiB, decompressed_bytes: 512KiB").await;
    let arrivals = target.control_plane.count();
    let bomb = bomb();
    let mut attacks = Vec::new();
    for _ in 0..3 {
        attacks.push(gzip_bombs(&target, &bomb, 3).await);
    }
    for hostile in &attacks {
        hostile
            .until("every bomb is answered", |seen| seen.frames[1] >= 3)
            .await;
    }
    assert_eq!(target.control_plane.count(), arrivals);
    let neighbour = target.neighbour();
    gzip_bombs(&target, &bomb, 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    neighbour.was_served().await;
    target.stayed_below(160);
}

/// A message of about so many bytes.
fn message(proxy: &Proxy, bytes: usize) -> Vec<u8> {
    let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1, "token": "x".repeat(bytes)});
    proxy.client.encode(LIST, message).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_time_messages_beyond_what_may_be_held_are_refused_and_small_ones_pass() {
    let limits = "limits: {held_bytes: 8MiB, body_bytes: 2MiB, decompressed_bytes: 2MiB}\n";
    let proxy = Proxy::start_with(|setup| setup.configuration.push_str(limits)).await;
    let held = || async {
        let metrics = admin(proxy.app.admin, "/metrics").await;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("flyte_authz_held_bytes "))
            .unwrap();
        line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap()
    };
    let large = envelope::frame(&message(&proxy, MEBIBYTE));
    let bearer = format!("Bearer {}", proxy.ml());
    let path = format!("/flyteidl.service.{LIST}");
    let mut hanging = JoinSet::new();
    let mut hang = |subject: &str, times: usize| {
        proxy
            .control_plane
            .script(Script::on("ListExecutions", Fault::Hang).times(times));
        let bearer = format!("Bearer {}", proxy.token(subject, "ml-team"));
        for _ in 0..times {
            let (client, bearer, path, large) = (proxy.client.clone(), bearer.clone(), path.clone(), large.clone());
            hanging.spawn(async move { _ = client.grpc(&path, &[("authorization", &bearer)], large).await });
        }
        proxy.control_plane.count() + times
    };
    let there = hang("carol", 3);
    eventually("three are held", || proxy.control_plane.count() >= there).await;
    assert!((3 * MEBIBYTE..4 * MEBIBYTE).contains(&held().await), "{}", held().await);
    // Four are half of what may be held, and all that one caller may.
    let carols = format!("Bearer {}", proxy.token("carol", "ml-team"));
    let before = proxy.before();
    let reply = proxy
        .client
        .grpc(&path, &[("authorization", &carols)], large.clone())
        .await
        .unwrap();
    proxy.refused(&before, &reply, Reason::CallerMemoryFull).await;
    assert_eq!(reply.grpc_status(), Some(8));
    let before = proxy.before();
    let headers = [("authorization", carols.as_str()), ("content-type", "application/json")];
    let body = format!("{{\"project\": \"ml\"{}}}", " ".repeat(MEBIBYTE));
    let reply = proxy
        .client
        .rest(Method::POST, "/api/v1/executions", &headers, body)
        .await
        .unwrap();
    proxy.refused(&before, &reply, Reason::CallerMemoryFull).await;
    assert_eq!(reply.status.as_u16(), 429);
    let there = hang("dave", 2);
    eventually("five are held", || proxy.control_plane.count() >= there).await;
    assert!((5 * MEBIBYTE..6 * MEBIBYTE).contains(&held().await), "{}", held().await);
    // Six are three quarters of what may be held.
    for by_grpc in [true, false] {
        let before = proxy.before();
        let reply = if by_grpc {
            proxy
                .client
                .grpc(&path, &[("authorization", &bearer)], large.clone())
                .await
        } else {
            let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
            let body = format!("{{\"project\": \"ml\"{}}}", " ".repeat(MEBIBYTE));
            proxy
                .client
                .rest(Method::POST, "/api/v1/executions", &headers, body)
                .await
        };
        let reply = reply.unwrap();
        proxy.refused(&before, &reply, Reason::MemoryFull).await;
        assert_eq!(
            reply.grpc_status().unwrap_or(reply.status.as_u16()),
            if by_grpc { 14 } else { 503 }
        );
    }
    let before = proxy.before();
    let small = envelope::frame(&message(&proxy, 50_000));
    let reply = proxy
        .client
        .grpc(&path, &[("authorization", &bearer)], small)
        .await
        .unwrap();
    proxy.forwarded(&before, &reply).await;
    hanging.shutdown().await;
    let mut left = held().await;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        left = held().await;
        if left == 0 {
            break;
        }
    }
    assert_eq!(left, 0, "what is given up is not held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_time_filtered_answers_that_nobody_takes_are_held_within_bounds() {
    let target = Target::start("held_bytes: 8MiB, body_bytes: 2MiB, decompressed_bytes: 2MiB, stall_timeout: 2s").await;
    let huge = Fault::Huge {
        bytes: 3 * MEBIBYTE / 2,
    };
    target.control_plane.script(Script::on("ListProjects", huge));
    let mut hostile = Hostile::connect(&target, &[(4, 0)]).await;
    let block = head(&format!("/flyteidl.service.{PROJECTS}"), &target.token);
    let ask = |number| {
        [
            headers(stream(number), &block, false),
            frame(0, 1, stream(number), &[0; 5]),
        ]
        .concat()
    };
    hostile.flood((0..2).map(ask)).await;
    hostile.until("two answers wait", |seen| seen.frames[1] >= 2).await;
    let neighbour = target.neighbour();
    let reply = target.call(PROJECTS, json!({})).await;
    // A caller may hold half.
    assert!(reply.message().contains("caller_memory_full"), "{reply:?}");
    assert_eq!(reply.grpc_status(), Some(8));
    // When nobody has taken them for long enough, they are given up, and there is room again.
    hostile.until("both are reset", |seen| seen.frames[3] >= 2).await;
    let reply = target.call(PROJECTS, json!({})).await;
    assert_eq!(reply.grpc_status(), Some(0), "{}", reply.message());
    neighbour.was_served().await;
    target.stayed_below(200);
}

/// Sends requests one behind the other, and reads no answer.
pub(crate) async fn pipelined(target: &Target, lasting: Duration) {
    let mut stream = target.tls(false).await.unwrap();
    let request = format!(
        "GET /api/v1/executions/ml/development?limit=1 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n",
        target.token
    );
    let batch = request.repeat(50);
    let flood = async { while stream.write_all(batch.as_bytes()).await.is_ok() {} };
    _ = tokio::time::timeout(lasting, flood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_time_pipelined_requests_wait_outside() {
    let target = Target::start("").await;
    let neighbour = target.neighbour();
    pipelined(&target, Duration::from_secs(3)).await;
    neighbour.was_served().await;
    target.stayed_below(160);
}

/// Requests with tokens and cookies as large as headers may be.
pub(crate) async fn giant_headers(target: &Target, count: u32) {
    let mut requests = JoinSet::new();
    for number in 0..4 {
        let value = "x".repeat(15_000);
        let values = [
            ("authorization", format!("Bearer {value}.{value}.{value}")),
            (
                "cookie",
                format!("flyte_idt={value}; flyte_at_1={value}; flyte_at_2={value}"),
            ),
            ("flyte-authorization", format!("Bearer {value}")),
        ];
        let (name, value) = &values[number % values.len()];
        let client = target.client().clone();
        let (name, value) = (*name, value.clone());
        requests.spawn(async move {
            for _ in 0..count / 4 {
                let target = "/api/v1/executions/ml/development?limit=1";
                let reply = client.rest(Method::GET, target, &[(name, &value)], "").await.unwrap();
                assert!(reply.status.is_client_error(), "{reply:?}");
            }
        });
    }
    while let Some(done) = requests.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_jwt_13_t_hdr_14_giant_tokens_and_cookies_cost_no_memory() {
    let target = Target::start("").await;
    target.served_beside(async || giant_headers(&target, 100).await).await;
    target.stayed_below(160);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_time_filtered_answers_that_are_taken_bit_by_bit_are_broken_off() {
    let target = Target::start("stall_timeout: 1s").await;
    let bytes = 256 << 10;
    target
        .control_plane
        .script(Script::on("ListProjects", Fault::Huge { bytes }).times(1));
    let mut hostile = Hostile::connect(&target, &[(4, 16 << 10)]).await;
    let block = head(&format!("/flyteidl.service.{PROJECTS}"), &target.token);
    let request = [headers(1, &block, false), frame(0, 1, 1, &[0; 5])].concat();
    assert!(hostile.send(&request).await);
    // Each piece in time, but all of them only in eleven seconds.
    while hostile.seen().frames[3] == 0 {
        assert!(hostile.seen().data < bytes, "{:?}", hostile.seen());
        let room: u32 = 16 << 10;
        let windows = [frame(8, 0, 1, &room.to_be_bytes()), frame(8, 0, 0, &room.to_be_bytes())];
        assert!(hostile.send(&windows.concat()).await);
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    assert!(hostile.seen().data > 16 << 10, "{:?}", hostile.seen());
    assert_eq!(target.recorded("aborted"), 1);
}
