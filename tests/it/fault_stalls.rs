//! A control plane that begins to answer and then stalls: the call ends after `upstream.idle_timeout`, unless it is the
//! client that does not read.

use crate::proxy::Proxy;
use crate::sockets::{eventually, h2, rpc, soon, tcp};
use crate::upstream::{grpc, rest};
use flyte_authz_proxy::demo::control_plane::{Fault, Outcome, Script};
use flyte_authz_proxy::demo::stack::Entry;
use flyte_authz_proxy::model::reason::Reason;
use http_body_util::BodyExt;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn impatient() -> Proxy {
    Proxy::start_with(|setup| {
        setup.edit = Box::new(|text| text.replace("upstream: {", "upstream: { idle_timeout: 400ms,"));
    })
    .await
}

async fn abandoned(proxy: &Proxy) {
    eventually("the control plane hears of it", || {
        let last = proxy.control_plane.arrivals().pop();
        last.is_some_and(|arrival| arrival.outcome == Outcome::Abandoned)
    })
    .await;
}

/// Checks the only record since `records`, and that the proxy goes on.
async fn timed_out(proxy: &Proxy, records: usize, refusals: f64) {
    let all = proxy.records_after(records, 1).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(
        (&all[0]["outcome"], &all[0]["reason"], &all[0]["status"]),
        (&json!("failed"), &json!("upstream_timeout"), &json!(200))
    );
    assert!((proxy.metric("refusals_total") - refusals - 1.0).abs() < f64::EPSILON);
    abandoned(proxy).await;
    proxy.control_plane.clear_scripts();
    for by_grpc in [true, false] {
        let before = proxy.before();
        let reply = if by_grpc { grpc(proxy).await } else { rest(proxy).await };
        proxy.forwarded(&before, &reply.unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_stalls_ends_with_a_status_by_grpc_and_breaks_off_by_rest() {
    let proxy = impatient().await;
    for by_grpc in [true, false] {
        proxy
            .control_plane
            .script(Script::on("ListExecutions", Fault::StallMidway));
        let (records, refusals) = (proxy.record_count(), proxy.metric("refusals_total"));
        let start = Instant::now();
        if by_grpc {
            let reply = soon("the end", grpc(&proxy)).await.unwrap();
            assert_eq!(reply.grpc_status(), Some(Reason::UpstreamTimeout.status().grpc.into()));
            let told = "the control plane began to answer, and then nothing came for 400ms [upstream_timeout; request ";
            assert!(reply.message().starts_with(told), "{}", reply.message());
        } else {
            assert!(
                soon("the end", rest(&proxy)).await.is_err(),
                "it is not taken for whole"
            );
        }
        assert!(start.elapsed() >= Duration::from_millis(400));
        timed_out(&proxy, records, refusals).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_answer_that_stalls_breaks_off_though_no_caller_is_known() {
    let proxy = impatient().await;
    proxy
        .control_plane
        .script(Script::on("GetPublicClientConfig", Fault::StallMidway));
    let (records, refusals) = (proxy.record_count(), proxy.metric("refusals_total"));
    let page = proxy.client.get(None, "/config/v1/flyte_client");
    assert!(soon("the end", page).await.is_err());
    timed_out(&proxy, records, refusals).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_whose_pieces_keep_coming_may_take_longer_than_a_pause() {
    let proxy = impatient().await;
    let slow = Fault::Slow {
        piece: 1,
        milliseconds: 150,
    };
    proxy.control_plane.script(Script::on("ListExecutions", slow));
    let start = Instant::now();
    let before = proxy.before();
    proxy.forwarded(&before, &grpc(&proxy).await.unwrap()).await;
    assert!(start.elapsed() > Duration::from_millis(600), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_for_a_while_gets_the_whole_answer_afterwards() {
    let proxy = impatient().await;
    proxy
        .control_plane
        .script(Script::on("ListExecutions", Fault::Huge { bytes: 24 << 20 }));
    let pause = || tokio::time::sleep(Duration::from_millis(1200));

    let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
    let message = proxy.client.encode("AdminService/ListExecutions", message).unwrap();
    let records = proxy.record_count();
    let mut requests = h2(tcp(&proxy, Entry::Plain).await).await;
    let request = rpc(&proxy.ml(), "AdminService/ListExecutions", &message);
    let answer = requests.send_request(request).await.unwrap().into_body();
    pause().await;
    let whole = soon("the rest", answer.collect()).await.unwrap();
    assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
    assert!(whole.to_bytes().len() > 24 << 20);

    let mut stream = tcp(&proxy, Entry::Plain).await;
    let head = format!(
        "GET /api/v1/executions/ml/development?limit=1 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
        proxy.ml()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    pause().await;
    let mut whole = Vec::new();
    soon("the rest", stream.read_to_end(&mut whole)).await.unwrap();
    assert!(whole.len() > 24 << 20);
    for record in proxy.records_after(records, 2).await {
        assert_eq!(record["outcome"], "forwarded", "{record:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_breaks_off_or_stalls_while_it_is_read_is_the_control_planes_failure() {
    let proxy = impatient().await;
    for (by_grpc, fault, reason) in [
        (true, Fault::ResetMidway, Reason::UpstreamFailed),
        (false, Fault::ResetMidway, Reason::UpstreamFailed),
        (true, Fault::StallMidway, Reason::UpstreamTimeout),
        (false, Fault::StallMidway, Reason::UpstreamTimeout),
    ] {
        proxy.control_plane.script(Script::on("ListProjects", fault).times(1));
        let (records, refusals) = (proxy.record_count(), proxy.metric("refusals_total"));
        let token = proxy.ml();
        let reply = if by_grpc {
            proxy
                .client
                .call(Some(&token), "AdminService/ListProjects", json!({}))
                .await
        } else {
            proxy.client.get(Some(&token), "/api/v1/projects").await
        };
        let reply = reply.unwrap();
        let told = format!("[{}; request ", reason.label());
        assert!(reply.message().contains(&told), "{reply:?}");
        let record = proxy.records_after(records, 1).await.pop().unwrap();
        assert_eq!(record["reason"], reason.label());
        assert!((proxy.metric("refusals_total") - refusals - 1.0).abs() < f64::EPSILON);
    }
}
