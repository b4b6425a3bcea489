//! `ListProjects` shows only projects in which the caller may view something, in every encoding.

use crate::descriptors;
use crate::proxy::Proxy;
use flyte_authz_proxy::demo::control_plane::{Fault, Script};
use flyte_authz_proxy::demo::stack::Entry;
use flyte_authz_proxy::model::reason::Reason;
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};

/// The identifiers of the projects in an encoded `flyteidl.admin.Projects`.
fn identifiers(message: &[u8]) -> Vec<String> {
    let projects = DynamicMessage::decode(descriptors::message("flyteidl.admin.Projects"), message).unwrap();
    let projects: Value = serde_json::to_value(&projects).unwrap();
    ids(&projects)
}

fn ids(projects: &Value) -> Vec<String> {
    let list = projects["projects"].as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|project| project["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_projects_shows_what_the_caller_may_view_in_every_encoding() {
    let proxy = Proxy::start().await;
    let bearer = format!("Bearer {}", proxy.ml());
    let visible = ["ml", "shared-lib"];

    let before = proxy.before();
    let reply = proxy
        .client
        .call(Some(&proxy.ml()), "AdminService/ListProjects", json!({}))
        .await
        .unwrap();
    assert_eq!(reply.grpc_status(), Some(0));
    assert_eq!(identifiers(&reply.body[5..]), visible);
    let record = proxy.forwarded(&before, &reply).await;
    assert_eq!(record["response_bytes"], reply.body.len());
    assert_eq!(record["grpc_status"], 0);

    let reply = proxy.client.get(Some(&proxy.ml()), "/api/v1/projects").await.unwrap();
    assert_eq!(ids(&reply.json()), visible);
    assert!(!String::from_utf8_lossy(&reply.body).contains("fraud"));

    let headers = [
        ("authorization", bearer.as_str()),
        ("accept", "application/octet-stream"),
    ];
    let reply = proxy
        .client
        .rest(http::Method::GET, "/api/v1/projects", &headers, "")
        .await
        .unwrap();
    assert_eq!(identifiers(&reply.body), visible);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_view_nothing_gets_an_empty_list_and_the_engine_gets_all() {
    let proxy = Proxy::start().await;
    let stranger = proxy.token("mallory", "no-team");
    let reply = proxy.client.get(Some(&stranger), "/api/v1/projects").await.unwrap();
    assert_eq!((reply.status.as_u16(), ids(&reply.json()).len()), (200, 0));

    let engine = flyte_authz_proxy::demo::client::Client::new(
        proxy.address(Entry::Engine).unwrap(),
        None,
        &descriptors::bytes(),
    );
    let reply = engine
        .unwrap()
        .call(None, "AdminService/ListProjects", json!({}))
        .await
        .unwrap();
    assert_eq!(
        identifiers(&reply.body[5..]),
        ["flytesnacks", "fraud", "ml", "shared-lib"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_understood_is_not_passed_on() {
    let proxy = Proxy::start().await;
    proxy
        .control_plane
        .script(Script::on("ListProjects", Fault::Garbage).times(1));
    let reply = proxy
        .client
        .call(Some(&proxy.ml()), "AdminService/ListProjects", json!({}))
        .await
        .unwrap();
    assert_eq!(
        reply.grpc_status(),
        Some(u16::from(Reason::AnswerUnreadable.status().grpc)),
        "{reply:?}"
    );
    assert!(reply.message().contains("[answer_unreadable;"), "{}", reply.message());
    let records = proxy.records_after(0, 1).await;
    assert_eq!(
        (&records[0]["outcome"], &records[0]["reason"]),
        (&json!("failed"), &json!("answer_unreadable"))
    );

    let fault = Fault::Status {
        code: 5,
        message: "no such thing".into(),
        details: None,
    };
    proxy.control_plane.script(Script::on("ListProjects", fault).times(1));
    let reply = proxy
        .client
        .call(Some(&proxy.ml()), "AdminService/ListProjects", json!({}))
        .await
        .unwrap();
    assert_eq!(
        (reply.grpc_status(), reply.message()),
        (Some(5), "no such thing".to_owned())
    );
}
