//! What costs the proxy memory or connections, and what real clients need of it beyond single calls.

use crate::proxy::Proxy;
use bytes::Bytes;
use flyte_authz_proxy::app::App;
use flyte_authz_proxy::audit::output::Output;
use flyte_authz_proxy::clock::SystemClock;
use flyte_authz_proxy::config::{AuditOutput, Config};
use flyte_authz_proxy::demo::stack::Entry;
use flyte_authz_proxy::model::reason::Reason;
use http::Method;
use serde_json::json;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_without_a_credential_makes_the_proxy_hold_a_large_body() {
    let proxy = Proxy::start().await;
    for path in [
        "/flyteidl.service.AuthMetadataService/GetPublicClientConfig",
        "/grpc.health.v1.Health/Check",
    ] {
        let before = proxy.before();
        let length = 1_u32 << 20;
        let mut body = vec![0];
        body.extend(length.to_be_bytes());
        body.resize(body.len() + length as usize, 0);
        let reply = proxy.client.grpc(path, &[], Bytes::from(body)).await.unwrap();
        proxy.refused(&before, &reply, Reason::MessageTooLarge).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_answer_head_and_the_api_does_not() {
    let proxy = Proxy::start().await;
    let before = proxy.before();
    let reply = proxy.client.rest(Method::HEAD, "/healthcheck", &[], "").await.unwrap();
    assert_eq!(reply.status, 200);
    proxy.forwarded(&before, &reply).await;

    let before = proxy.before();
    let bearer = format!("Bearer {}", proxy.ml());
    let headers = [("authorization", bearer.as_str())];
    let reply = proxy
        .client
        .rest(Method::HEAD, "/api/v1/executions/ml/development", &headers, "")
        .await
        .unwrap();
    assert_eq!(reply.status, Reason::RouteUnknown.status().http);
    proxy.recorded(&before, Reason::RouteUnknown).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_survives_a_pause_after_a_request_with_a_body() {
    let proxy = Proxy::start_with(|setup| {
        setup
            .configuration
            .push_str("limits: {headers_timeout: 1s, idle: 60s}\n");
    })
    .await;
    let mut stream = TcpStream::connect(proxy.address(Entry::Plain).unwrap()).await.unwrap();
    let head = format!(
        "POST /api/v1/executions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 2\r\n\r\n",
        proxy.ml()
    );
    for _ in 0..2 {
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(b"{}").await.unwrap();
        let mut answer = [0; 4096];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 400"),
            "{}",
            String::from_utf8_lossy(answer.split_at(read).0)
        );
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_of_a_call_with_countless_references_stays_short() {
    let proxy = Proxy::start().await;
    let before = proxy.before();
    let mut nodes = String::new();
    for number in 0..5_000 {
        let comma = if number == 0 { "" } else { "," };
        write!(
            nodes,
            r#"{comma}{{"id":"n","task_node":{{"reference_id":{{"resource_type":"TASK","project":"fraud","domain":"development","name":"t{number}","version":"1"}}}}}}"#
        )
        .unwrap();
    }
    let nodes: serde_json::Value = serde_json::from_str(&format!("[{nodes}]")).unwrap();
    let message = json!({
        "id": {"resource_type": "WORKFLOW", "project": "ml", "domain": "development", "name": "w", "version": "1"},
        "spec": {"template": {"nodes": nodes}},
    });
    let reply = proxy
        .client
        .call(Some(&proxy.ml()), "AdminService/CreateWorkflow", message)
        .await
        .unwrap();
    let record = proxy.refused(&before, &reply, Reason::ReferenceRefused).await;
    assert_eq!(record["targets"].as_array().unwrap().len(), 100);
    assert_eq!(record["targets_omitted"], 4_901);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_issuers_the_admin_listener_and_reloading_still_work() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.yaml");
    let rule =
        "  - {name: engine, subjects: [{anyone: true}], allow: [{projects: [ml], domains: [\"*\"], role: engine}]}\n";
    std::fs::write(&policy, format!("version: 1\nrules:\n{rule}")).unwrap();
    let configuration = "version: 1
workers: 1
listeners:
  - {name: engine, address: 127.0.0.1:0, identity: {principal: {subject: flytepropeller}}}
admin: {address: 127.0.0.1:0}
upstream: {grpc: \"http://127.0.0.1:1\", http: \"http://127.0.0.1:1\"}
policy: {path: policy.yaml, poll: 1s}
";
    let (config, _) = Config::parse(&directory.path().join("config.yaml"), configuration).unwrap();
    let app = App::start(
        config,
        Arc::new(SystemClock),
        Output::open(&AuditOutput::File("/dev/null".into())).unwrap(),
    )
    .unwrap();
    std::fs::write(
        &policy,
        format!("version: 1\nrules:\n{rule}{}", rule.replace("engine,", "more,")),
    )
    .unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while app.live.load().generation == 1 {
        assert!(std::time::Instant::now() < deadline, "the new policy is not in force");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut stream = TcpStream::connect(app.admin).await.unwrap();
    let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    std::thread::spawn(move || app.shut_down()).join().unwrap();
}
