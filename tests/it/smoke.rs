//! One permitted and one refused call by each protocol: what every other test takes for granted.

use crate::proxy::Proxy;
use flyte_authz_proxy::model::reason::Reason;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_team_reaches_its_own_project_and_no_other_by_grpc_and_rest() {
    let proxy = Proxy::start().await;
    let list = |project: &str| json!({"id": {"project": project, "domain": "development"}, "limit": 10});

    let before = proxy.before();
    let reply = proxy
        .client
        .call(Some(&proxy.ml()), "AdminService/ListExecutions", list("ml"))
        .await
        .unwrap();
    let record = proxy.forwarded(&before, &reply).await;
    assert_eq!(record["principal"]["subject"], "alice");
    assert_eq!(record["rules"], json!(["ml-team"]));
    assert_eq!(record["grpc_status"], 0);

    let before = proxy.before();
    let reply = proxy
        .client
        .call(Some(&proxy.ml()), "AdminService/ListExecutions", list("fraud"))
        .await
        .unwrap();
    let record = proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
    assert_eq!(record["targets"][0]["project"], "fraud");

    let before = proxy.before();
    let reply = proxy
        .client
        .get(Some(&proxy.ml()), "/api/v1/executions/ml/development?limit=10")
        .await
        .unwrap();
    proxy.forwarded(&before, &reply).await;

    let before = proxy.before();
    let reply = proxy
        .client
        .get(Some(&proxy.ml()), "/api/v1/executions/fraud/development?limit=10")
        .await
        .unwrap();
    proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_needs_no_right_is_recorded_without_an_action() {
    let proxy = Proxy::start().await;
    let before = proxy.before();
    let reply = proxy.client.get(Some(&proxy.ml()), "/api/v1/domains").await.unwrap();
    let record = proxy.forwarded(&before, &reply).await;
    assert!(
        record.get("action").is_none() && record.get("targets").is_none(),
        "{record:#}"
    );
}
