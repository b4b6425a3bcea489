//! A control plane that fails or is slow: what callers are told, and what passes unchanged.

use crate::proxy::Proxy;
use crate::sockets::{eventually, h2, rpc, soon, tcp};
use flyte_authz_proxy::demo::client::{Failure, Reply};
use flyte_authz_proxy::demo::control_plane::{Fault, Outcome, Script};
use flyte_authz_proxy::demo::stack::Entry;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIST: &str = "AdminService/ListExecutions";
const TARGET: &str = "/api/v1/executions/ml/development?limit=1";

/// A permitted call by gRPC.
pub(crate) async fn grpc(proxy: &Proxy) -> Result<Reply, Failure> {
    let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
    let reply = proxy.client.call(Some(&proxy.ml()), LIST, message).await?;
    proxy.written(&reply).await;
    Ok(reply)
}

/// The same by REST.
pub(crate) async fn rest(proxy: &Proxy) -> Result<Reply, Failure> {
    let reply = proxy.client.get(Some(&proxy.ml()), TARGET).await?;
    proxy.written(&reply).await;
    Ok(reply)
}

/// Checks the answer and the record of a permitted request that could not be completed.
async fn failed(proxy: &Proxy, records: usize, reply: &Reply, reason: Reason) {
    assert!(
        reply.message().contains(&format!("[{}; request ", reason.label())),
        "{reply:?}"
    );
    match reply.grpc_status() {
        Some(status) => assert_eq!(status, u16::from(reason.status().grpc)),
        None => assert_eq!(reply.status, reason.status().http),
    }
    let record = proxy.records_after(records, 1).await.pop().unwrap();
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&json!("failed"), &json!(reason.label()))
    );
    assert_eq!(record["rules"], json!(["ml-team"]), "it was permitted");
}

fn script(proxy: &Proxy, fault: Fault) -> usize {
    proxy.control_plane.clear_scripts();
    proxy.control_plane.script(Script::on("ListExecutions", fault));
    proxy.records().len()
}

async fn abandoned(proxy: &Proxy) {
    eventually("the control plane hears of it", || {
        let last = proxy.control_plane.arrivals().pop();
        last.is_some_and(|arrival| arrival.outcome == Outcome::Abandoned)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_off_before_an_answer_is_told_in_the_callers_protocol() {
    let proxy = Proxy::start().await;
    let records = script(&proxy, Fault::Reset);
    failed(&proxy, records, &grpc(&proxy).await.unwrap(), Reason::UpstreamFailed).await;
    failed(
        &proxy,
        records + 1,
        &rest(&proxy).await.unwrap(),
        Reason::UpstreamFailed,
    )
    .await;
    proxy.control_plane.clear_scripts();
    let before = proxy.before();
    proxy.forwarded(&before, &grpc(&proxy).await.unwrap()).await;
    let before = proxy.before();
    proxy.forwarded(&before, &rest(&proxy).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_off_midway_breaks_off_for_the_client_and_is_recorded() {
    let proxy = Proxy::start().await;
    let records = script(&proxy, Fault::ResetMidway);
    assert!(grpc(&proxy).await.is_err());
    assert!(rest(&proxy).await.is_err());
    for record in proxy.records_after(records, 2).await {
        assert_eq!(
            (&record["outcome"], &record["reason"]),
            (&json!("failed"), &json!("upstream_failed"))
        );
        assert_eq!(record["status"], 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_make_no_sense_are_passed_on_as_they_are() {
    let proxy = Proxy::start().await;
    script(&proxy, Fault::Garbage);
    for reply in [grpc(&proxy).await.unwrap(), rest(&proxy).await.unwrap()] {
        assert_eq!(reply.body, &b"\xff<html>\x00 this is no message"[..]);
    }
    script(&proxy, Fault::NoTrailers);
    let before = proxy.before();
    let reply = grpc(&proxy).await.unwrap();
    let record = proxy.forwarded(&before, &reply).await;
    assert_eq!((reply.grpc_status(), &record["grpc_status"]), (None, &Value::Null));
    script(
        &proxy,
        Fault::Http {
            status: 503,
            body: "<html>busy</html>".into(),
        },
    );
    for reply in [grpc(&proxy).await.unwrap(), rest(&proxy).await.unwrap()] {
        assert_eq!(
            (reply.status.as_u16(), &reply.body[..]),
            (503, &b"<html>busy</html>"[..])
        );
        assert_eq!(reply.headers["content-type"], "text/html");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_the_control_plane_arrive_byte_for_byte() {
    let proxy = Proxy::start().await;
    for (details, message) in [(None, "plain"), (Some("CAkSBWhlbGxvGgA"), "100% wörtlich\nand a line")] {
        let details = details.map(str::to_owned);
        script(
            &proxy,
            Fault::Status {
                code: 9,
                message: message.into(),
                details: details.clone(),
            },
        );
        let list = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
        let direct = proxy.direct.call(None, LIST, list).await.unwrap();
        let before = proxy.before();
        let reply = grpc(&proxy).await.unwrap();
        let record = proxy.forwarded(&before, &reply).await;
        assert_eq!((reply.grpc_status(), &record["grpc_status"]), (Some(9), &json!(9)));
        for name in ["grpc-status", "grpc-message", "grpc-status-details-bin", "content-type"] {
            assert_eq!(reply.headers.get(name), direct.headers.get(name), "{name}");
        }
        assert!(
            reply.body.is_empty() && reply.trailers.is_none(),
            "trailers-only stays so"
        );
        assert_eq!(reply.headers.contains_key("grpc-status-details-bin"), details.is_some());
        let reply = rest(&proxy).await.unwrap();
        assert_eq!(
            (&reply.json()["code"], &reply.json()["message"]),
            (&json!(9), &json!(message))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_that_hangs_is_given_up_after_the_configured_time() {
    let proxy = Proxy::start_with(|setup| {
        setup.edit = Box::new(|text| text.replace("upstream: {", "upstream: { response_timeout: 300ms,"));
    })
    .await;
    let records = script(&proxy, Fault::Hang);
    let start = Instant::now();
    failed(&proxy, records, &grpc(&proxy).await.unwrap(), Reason::UpstreamTimeout).await;
    abandoned(&proxy).await;
    failed(
        &proxy,
        records + 1,
        &rest(&proxy).await.unwrap(),
        Reason::UpstreamTimeout,
    )
    .await;
    abandoned(&proxy).await;
    assert!(start.elapsed() >= Duration::from_millis(600) && start.elapsed() < Duration::from_secs(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_that_hangs_is_given_up_after_the_callers_own_time() {
    let proxy = Proxy::start().await;
    let records = script(&proxy, Fault::Hang);
    let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
    let body = envelope::frame(&proxy.client.encode(LIST, message).unwrap());
    let bearer = format!("Bearer {}", proxy.ml());
    let headers = [("authorization", bearer.as_str()), ("grpc-timeout", "250m")];
    let start = Instant::now();
    let path = "/flyteidl.service.AdminService/ListExecutions";
    let reply = proxy.client.grpc(path, &headers, body).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(250) && start.elapsed() < Duration::from_secs(5));
    failed(&proxy, records, &reply, Reason::UpstreamTimeout).await;
    assert_eq!(proxy.control_plane.arrivals()[0].header("grpc-timeout"), ["250m"]);
    abandoned(&proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_answers_pass_whole_and_slow_ones_piece_by_piece() {
    let proxy = Proxy::start().await;
    script(&proxy, Fault::Huge { bytes: 20 << 20 });
    for by_grpc in [true, false] {
        let before = proxy.before();
        let reply = if by_grpc {
            grpc(&proxy).await
        } else {
            rest(&proxy).await
        }
        .unwrap();
        assert!(reply.body.len() > 20 << 20);
        let record = proxy.forwarded(&before, &reply).await;
        assert_eq!(record["response_bytes"], reply.body.len());
    }
    let records = script(
        &proxy,
        Fault::Slow {
            piece: 1,
            milliseconds: 60,
        },
    );
    let mut body = begin(&proxy).await;
    let first = soon("the first piece", body.frame()).await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap().len(), 1);
    let outcome = proxy.control_plane.arrivals().pop().unwrap().outcome;
    assert_eq!(
        outcome,
        Outcome::Pending,
        "the first piece was held back until the last was sent"
    );
    let rest = soon("the other pieces", body.collect()).await.unwrap();
    assert_eq!(rest.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(proxy.records_after(records, 1).await[0]["outcome"], "forwarded");
}

async fn begin(proxy: &Proxy) -> hyper::body::Incoming {
    let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
    let message = proxy.client.encode(LIST, message).unwrap();
    let mut requests = h2(tcp(proxy, Entry::Plain).await).await;
    let answer = requests.send_request(rpc(&proxy.ml(), LIST, &message)).await;
    answer.unwrap().into_body()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_midway_ends_the_request_upstream_and_is_recorded() {
    let proxy = Proxy::start().await;
    let records = script(
        &proxy,
        Fault::Slow {
            piece: 1,
            milliseconds: 200,
        },
    );
    let mut body = begin(&proxy).await;
    assert!(soon("the first piece", body.frame()).await.unwrap().is_ok());
    drop(body);
    abandoned(&proxy).await;
    let mut stream = tcp(&proxy, Entry::Plain).await;
    let head = format!(
        "GET {TARGET} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n",
        proxy.ml()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(soon("the first piece", stream.read(&mut [0; 1024])).await.unwrap() > 0);
    drop(stream);
    abandoned(&proxy).await;
    for record in proxy.records_after(records, 2).await {
        assert_eq!((&record["outcome"], record.get("reason")), (&json!("aborted"), None));
        assert_eq!(record["status"], 200);
    }
    // One that leaves before any answer.
    script(&proxy, Fault::Hang);
    let mut stream = tcp(&proxy, Entry::Plain).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    eventually("it arrives", || proxy.control_plane.count() == 3).await;
    drop(stream);
    abandoned(&proxy).await;
    assert_eq!(proxy.records_after(records + 2, 1).await[0]["outcome"], "aborted");
}
