//! Shadow mode: what only rules are against goes on and is recorded; everything else is refused as ever.

use crate::answers::POLICY;
use crate::proxy::Proxy;
use crate::sockets::admin;
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::model::reason::Reason;
use http::Method;
use serde_json::{Value, json};

const LIST: &str = "AdminService/ListExecutions";
const REVOKED: &str = "\nrevoked: [{ subject: [mallory] }]\n";

async fn start(policy: &str) -> Proxy {
    let policy = policy.to_owned();
    Proxy::start_with(move |setup| {
        setup.policy = policy;
        setup.configuration.push_str("enforcement: shadow\n");
    })
    .await
}

async fn demo() -> Proxy {
    let policy = format!("{}{REVOKED}", flyte_authz_proxy::demo::stack::POLICY);
    start(&policy).await
}

fn in_project(project: &str) -> Value {
    json!({"id": {"project": project, "domain": "development"}, "limit": 50})
}

/// Checks that a call was forwarded with its credential although the policy refuses it for this reason.
async fn let_through(proxy: &Proxy, before: &crate::proxy::Before, reply: &Reply, reason: Reason) -> Value {
    let record = proxy.forwarded(before, reply).await;
    assert_eq!(record["would_refuse"]["reason"], reason.label(), "{record:#}");
    assert!(record["would_refuse"]["message"].as_str().unwrap().contains(' '));
    assert_eq!(record["reason"], Value::Null);
    assert!(record["policy"]["version"].is_string());
    let arrival = proxy.control_plane.arrivals().pop().unwrap();
    assert!(
        arrival.headers.iter().any(|(name, _)| name == "authorization"),
        "with the credential that was verified"
    );
    record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rules_are_against_is_forwarded_recorded_and_counted() {
    let proxy = demo().await;
    let ml = proxy.ml();
    let refusals = proxy.metric("refusals_total");
    let counted = |reason: &str| {
        proxy.metric(&format!(
            "shadow_refusals_total{{protocol=\"grpc\",reason=\"{reason}\"}}"
        ))
    };

    let before = proxy.before();
    let reply = proxy.client.call(Some(&ml), LIST, in_project("fraud")).await.unwrap();
    assert_eq!(reply.grpc_status(), Some(0));
    let record = let_through(&proxy, &before, &reply, Reason::NoMatchingRule).await;
    assert_eq!(record["targets"][0]["project"], "fraud");
    assert!((counted("no_matching_rule") - 1.0).abs() < f64::EPSILON);

    let before = proxy.before();
    let plan = json!({"resource_type": "LAUNCH_PLAN", "project": "fraud", "domain": "development", "name": "l", "version": "v1"});
    let execution = json!({"project": "ml", "domain": "development", "name": "e", "spec": {"launch_plan": plan}});
    let reply = proxy
        .client
        .call(Some(&ml), "AdminService/CreateExecution", execution)
        .await
        .unwrap();
    let_through(&proxy, &before, &reply, Reason::ReferenceRefused).await;

    let before = proxy.before();
    let reply = proxy
        .plain
        .get(Some(&ml), "/api/v1/executions/fraud/development?limit=1")
        .await
        .unwrap();
    assert_eq!(reply.status, 200);
    let_through(&proxy, &before, &reply, Reason::NoMatchingRule).await;

    // What is allowed goes on as ever, with the rule that allows it.
    let before = proxy.before();
    let reply = proxy.client.call(Some(&ml), LIST, in_project("ml")).await.unwrap();
    let record = proxy.forwarded(&before, &reply).await;
    assert_eq!(
        (&record["would_refuse"], &record["rules"]),
        (&Value::Null, &json!(["ml-team"]))
    );

    assert!(
        (proxy.metric("refusals_total") - refusals).abs() < f64::EPSILON,
        "nothing was refused"
    );
    assert!((proxy.metric("shadow_refusals_total") - 3.0).abs() < f64::EPSILON);
    assert!((proxy.metric("enforcing ")).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_unknown_or_revoked_and_what_has_two_readings_is_refused_in_shadow_mode_too() {
    let proxy = demo().await;
    let ml = proxy.ml();
    let (mallory, foreign) = (
        proxy.token("mallory", "ml-team"),
        "eyJhbGciOiJub25lIn0.e30.x".to_owned(),
    );
    for (token, reason) in [
        (None, Reason::CredentialMissing),
        (Some(&foreign), Reason::TokenMalformed),
        (Some(&mallory), Reason::TokenRevoked),
    ] {
        let before = proxy.before();
        let reply = proxy
            .client
            .call(token.map(String::as_str), LIST, in_project("ml"))
            .await
            .unwrap();
        let record = proxy.refused(&before, &reply, reason).await;
        assert_eq!(record["would_refuse"], Value::Null);
    }
    for (message, reason) in [
        (
            json!({"id": {"project": "", "domain": "development"}}),
            Reason::ScopeMissing,
        ),
        (
            json!({"id": {"project": "ml", "domain": "nowhere"}}),
            Reason::DomainUnknown,
        ),
        (
            json!({"id": {"project": "ml", "domain": "development", "org": "other"}}),
            Reason::OrganizationRefused,
        ),
    ] {
        let before = proxy.before();
        let reply = proxy.client.call(Some(&ml), LIST, message).await.unwrap();
        proxy.refused(&before, &reply, reason).await;
    }
    for (path, reason) in [
        (
            "/api/v1/executions/ml/development?id.project=fraud",
            Reason::QueryRefused,
        ),
        ("/api/v1/nothing", Reason::RouteUnknown),
        ("/api/v1/executions/ml%2Ffraud/development", Reason::PathNotCanonical),
    ] {
        let before = proxy.before();
        let reply = proxy.client.get(Some(&ml), path).await.unwrap();
        proxy.refused(&before, &reply, reason).await;
    }
    assert!(proxy.metric("shadow_refusals_total").abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_pass_whole_and_the_record_tells_how_many_items_enforcing_would_leave_out() {
    let proxy = start(POLICY).await;
    for name in ["t1", "t2", "t3", "hidden"] {
        let id =
            json!({"resource_type": "TASK", "project": "ml", "domain": "development", "name": name, "version": "v1"});
        let task = json!({"id": id, "spec": {"template": {"type": "t"}}});
        let reply = proxy.direct.call(None, "AdminService/CreateTask", task).await.unwrap();
        assert_eq!(reply.grpc_status(), Some(0));
    }
    proxy.control_plane.clear();
    let hook = proxy.token("hook", "hook");
    let target = "/api/v1/tasks/ml/development?limit=50";
    for (accept, protocol) in [("application/json", "rest"), ("application/octet-stream", "rest_proto")] {
        let bearer = format!("Bearer {hook}");
        let headers = [("authorization", bearer.as_str()), ("accept", accept)];
        let before = proxy.before();
        let reply = proxy.client.rest(Method::GET, target, &headers, "").await.unwrap();
        let record = proxy.forwarded(&before, &reply).await;
        assert_eq!(
            (&record["protocol"], &record["would_withhold"]),
            (&json!(protocol), &json!(2)),
            "{record:#}"
        );
        assert_eq!(
            (&record["withheld"], &record["would_refuse"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(reply.body.len() as u64, record["response_bytes"].as_u64().unwrap());
        if protocol == "rest" {
            assert_eq!(reply.json()["tasks"].as_array().unwrap().len(), 4);
        }
    }
    let before = proxy.before();
    let reply = proxy
        .client
        .call(Some(&hook), "AdminService/ListTasks", in_project("ml"))
        .await
        .unwrap();
    let record = proxy.forwarded(&before, &reply).await;
    assert_eq!(
        (&record["would_withhold"], &record["rules"]),
        (&json!(2), &json!(["hook"]))
    );
    let asked = proxy.control_plane.arrivals().pop().unwrap().request.unwrap();
    assert_eq!(asked, in_project("ml"), "the request was not narrowed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_readiness_say_that_it_is_shadow_mode() {
    let proxy = demo().await;
    for path in ["/status", "/readyz"] {
        let answer = admin(proxy.app.admin, path).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let document: Value = serde_json::from_str(body).unwrap();
        assert_eq!(document["enforcement"], "shadow", "{path}");
    }
}
