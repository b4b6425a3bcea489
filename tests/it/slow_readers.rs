//! Filtered answers that the client takes slowly: looked at again on their way, given back as they go out, and recorded as they
//! ended.

use crate::proxy::Proxy;
use crate::sockets::{admin, h2, rpc, soon, tcp};
use bytes::Bytes;
use flyte_authz_proxy::clock::{Clock, ManualClock, SystemClock};
use flyte_authz_proxy::demo::control_plane::{Fault, Script};
use flyte_authz_proxy::demo::stack::Entry;
use flyte_authz_proxy::model::reason::Reason;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PROJECTS: &str = "AdminService/ListProjects";
/// More than the window of a client, four times over.
const BYTES: usize = 8 << 20;

/// A list that is longer than its client has room for.
async fn list(proxy: &Proxy, token: &str) -> Incoming {
    let huge = Fault::Huge { bytes: BYTES };
    proxy.control_plane.script(Script::on("ListProjects", huge).times(1));
    let message = proxy.client.encode(PROJECTS, json!({})).unwrap();
    let mut requests = h2(tcp(proxy, Entry::Plain).await).await;
    let asked = requests.send_request(rpc(token, PROJECTS, &message));
    soon("the answer", asked).await.unwrap().into_body()
}

/// Reads at least so many bytes.
async fn take(body: &mut Incoming, bytes: usize) {
    let mut taken = 0;
    while taken < bytes {
        let frame: Frame<Bytes> = soon("a part", body.frame()).await.unwrap().unwrap();
        taken += frame.into_data().unwrap().len();
    }
}

async fn held(proxy: &Proxy) -> usize {
    let metrics = admin(proxy.app.admin, "/metrics").await;
    let mut lines = metrics.lines();
    let line = lines.find(|line| line.starts_with("flyte_authz_held_bytes ")).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filtered_answer_on_its_way_ends_when_the_token_expires() {
    let now = SystemClock.unix_seconds();
    let clock = ManualClock::at(now);
    let told_by = clock.clone();
    let proxy = Proxy::start_with(|setup| setup.clock = Arc::new(told_by)).await;
    let claims = json!({"sub": "alice", "groups": ["ml-team"], "exp": now + 100});
    let records = proxy.record_count();
    let mut body = list(&proxy, &proxy.issuer.mint(&claims)).await;
    take(&mut body, 1).await;
    assert_eq!(proxy.record_count(), records, "it has not ended");
    // With the leeway.
    clock.set(now + 160);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let rest = soon("the end", body.collect()).await.unwrap();
    let reason = Reason::TokenExpiredInFlight;
    assert_eq!(
        rest.trailers().unwrap()["grpc-status"],
        reason.status().grpc.to_string().as_str()
    );
    assert!(rest.to_bytes().len() < BYTES / 2);
    let record = proxy.records_after(records, 1).await.pop().unwrap();
    assert_eq!(
        (&record["outcome"], &record["reason"], &record["grpc_status"]),
        (&json!("denied"), &json!(reason.label()), &json!(reason.status().grpc))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_a_filtered_answer_is_recorded_so() {
    let proxy = Proxy::start().await;
    let records = proxy.record_count();
    let mut body = list(&proxy, &proxy.ml()).await;
    take(&mut body, 1).await;
    drop(body);
    let record = proxy.records_after(records, 1).await.pop().unwrap();
    assert_eq!(record["outcome"], "aborted", "{record:#}");
    let passed = record["response_bytes"].as_u64().unwrap();
    assert!(passed > 0 && passed < BYTES as u64, "{passed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_gone_out_of_a_filtered_answer_is_held_no_more() {
    let proxy = Proxy::start().await;
    let records = proxy.record_count();
    let mut body = list(&proxy, &proxy.ml()).await;
    take(&mut body, 1).await;
    let before = held(&proxy).await;
    assert!(before > BYTES / 2, "{before}");
    take(&mut body, BYTES / 2).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let after = held(&proxy).await;
    assert!(after > 0 && after < before - BYTES / 4, "{before} {after}");
    let rest = soon("the end", body.collect()).await.unwrap();
    assert_eq!(rest.trailers().unwrap()["grpc-status"], "0");
    let record = proxy.records_after(records, 1).await.pop().unwrap();
    assert_eq!(record["outcome"], "forwarded", "{record:#}");
    assert!(record["response_bytes"].as_u64().unwrap() > BYTES as u64);
    assert_eq!(held(&proxy).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_slowly_is_not_taken_for_one_that_does_not_read() {
    let limits = "workers: 1\nlimits: {stall_timeout: 1s}\n";
    let proxy = Proxy::start_with(|setup| setup.configuration = limits.into()).await;
    let huge = Fault::Huge { bytes: 4 * BYTES };
    proxy.control_plane.script(Script::on("ListExecutions", huge).times(1));
    let mut stream = tcp(&proxy, Entry::Plain).await;
    let request = format!(
        "GET /api/v1/executions/ml/development HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n",
        proxy.ml()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut part = vec![0; 64 << 10];
    for _ in 0..24 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        soon("a part", stream.read_exact(&mut part)).await.unwrap();
    }
    assert_eq!(proxy.record_count(), 0, "it has not ended");
}
