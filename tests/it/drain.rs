//! Shutting down: what runs may finish for a while, nothing new begins, and every request is recorded.

use crate::proxy::{AuditLines, Proxy};
use crate::sockets::{admin, eventually, get, h2, rpc, soon, status, tcp, tls};
use flyte_authz_proxy::app::App;
use flyte_authz_proxy::demo::control_plane::{Fault, Outcome, Script};
use flyte_authz_proxy::demo::stack::{Entry, Stack};
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const LIST: &str = "AdminService/ListExecutions";

fn shut_down(app: App) -> JoinHandle<()> {
    tokio::task::spawn_blocking(move || app.shut_down())
}

/// Sends a request that the control plane will not answer soon and waits until it is there. Returns the answer to come.
async fn begin(proxy: &Proxy, fault: Fault) -> JoinHandle<Option<u16>> {
    proxy.control_plane.script(Script::on("ListExecutions", fault));
    let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 10});
    let message = proxy.client.encode(LIST, message).unwrap();
    let request = rpc(&proxy.ml(), LIST, &message);
    let mut requests = h2(tcp(proxy, Entry::Plain).await).await;
    let answer = tokio::spawn(async move {
        match requests.send_request(request).await {
            Ok(response) => status(response).await,
            Err(_) => None,
        }
    });
    eventually("the request arrives", || proxy.control_plane.count() == 1).await;
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_is_about_to_end_is_not_ready_and_serves_as_before() {
    let proxy = Proxy::start().await;
    proxy.app.leave();
    let ready = admin(proxy.app.admin, "/readyz").await;
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("\"draining\": true"),
        "{ready}"
    );
    assert!(admin(proxy.app.admin, "/healthz").await.starts_with("HTTP/1.1 200"));
    for reply in [crate::upstream::grpc(&proxy).await, crate::upstream::rest(&proxy).await] {
        assert_eq!(reply.unwrap().status, 200);
    }
    assert_eq!(proxy.control_plane.count(), 2);
}

async fn refused(address: SocketAddr) {
    let start = Instant::now();
    while TcpStream::connect(address).await.is_ok() {
        assert!(start.elapsed() < Duration::from_secs(10), "{address} still accepts");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn only_record(audit: &AuditLines) -> serde_json::Value {
    let records = audit.records();
    assert_eq!(records.len(), 1, "{records:#?}");
    records.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_request_finishes_while_nothing_new_is_accepted() {
    let proxy = Proxy::start().await;
    assert!(admin(proxy.app.admin, "/readyz").await.starts_with("HTTP/1.1 200"));
    let answer = begin(&proxy, Fault::Delay { milliseconds: 1500 }).await;
    let (Stack { app, control_plane, .. }, audit) = proxy.take();
    let (admin_address, addresses) = (app.admin, app.addresses.clone());
    let down = shut_down(app);
    for address in addresses {
        refused(address).await;
    }
    let ready = admin(admin_address, "/readyz").await;
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("\"draining\": true"),
        "{ready}"
    );
    assert!(admin(admin_address, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(!answer.is_finished(), "the request was meant to take longer");
    assert_eq!(soon("the answer comes", answer).await.unwrap(), Some(0));
    soon("everything ends", down).await.unwrap();
    refused(admin_address).await;
    let record = only_record(&audit);
    assert_eq!(
        (&record["outcome"], &record["grpc_status"]),
        (&json!("forwarded"), &json!(0))
    );
    assert_eq!(control_plane.arrivals()[0].outcome, Outcome::Answered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hangs_is_cut_off_at_the_deadline_and_recorded() {
    let proxy = Proxy::start_with(|setup| setup.configuration = "workers: 1\nshutdown: {drain: 500ms}\n".into()).await;
    let answer = begin(&proxy, Fault::Hang).await;
    let (Stack { app, control_plane, .. }, audit) = proxy.take();
    let start = Instant::now();
    soon("everything ends", shut_down(app)).await.unwrap();
    assert!(
        start.elapsed() >= Duration::from_millis(500),
        "it was not given its time"
    );
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(soon("the client hears of it", answer).await.unwrap(), None);
    assert_eq!(only_record(&audit)["outcome"], "aborted");
    eventually("the control plane hears of it", || {
        control_plane.arrivals()[0].outcome == Outcome::Abandoned
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_a_request_do_not_hold_up_the_shutdown() {
    let proxy = Proxy::start().await;
    let mut kept = tcp(&proxy, Entry::Plain).await;
    let request = get("/healthcheck").replace("connection: close\r\n", "");
    kept.write_all(request.as_bytes()).await.unwrap();
    assert!(kept.read(&mut [0; 1024]).await.unwrap() > 0);
    let idle = h2(tcp(&proxy, Entry::Plain).await).await;
    let silent = (tcp(&proxy, Entry::Plain).await, tcp(&proxy, Entry::Tls).await);
    let greeted = tls(&proxy, &[b"h2"], crate::sockets::VERSIONS).await.unwrap();
    let mut half = tcp(&proxy, Entry::Plain).await;
    half.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    eventually("all are open", || proxy.metric("connections_open") >= 6.0).await;
    let (Stack { app, .. }, audit) = proxy.take();
    let start = Instant::now();
    soon("everything ends", shut_down(app)).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(only_record(&audit)["outcome"], "forwarded");
    drop((kept, idle, silent, greeted, half));
}
