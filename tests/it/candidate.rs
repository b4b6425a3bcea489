//! A candidate policy beside the one in force: it decides nothing, and where it differs is recorded and counted.

use crate::proxy::Proxy;
use crate::sockets::{admin, eventually};
use flyte_authz_proxy::demo::stack::{POLICY, replace};
use flyte_authz_proxy::model::reason::Reason;
use serde_json::{Value, json};
use std::fs;

const LIST: &str = "AdminService/ListExecutions";
const LIST_RPC: &str = "/flyteidl.service.AdminService/ListExecutions";

/// As in force, but the teams have changed places.
fn candidate() -> String {
    POLICY
        .replace("[ml-team]", "[x]")
        .replace("[fraud-team]", "[ml-team]")
        .replace("[x]", "[fraud-team]")
}

async fn start(text: Option<String>) -> Proxy {
    Proxy::start_with(move |setup| {
        if let Some(text) = text {
            fs::write(setup.directory.join("next.yaml"), text).unwrap();
        }
        setup.edit = Box::new(|text| text.replace("path: policy.yaml", "path: policy.yaml, candidate: next.yaml"));
    })
    .await
}

fn in_project(project: &str) -> Value {
    json!({"id": {"project": project, "domain": "development"}, "limit": 1})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_in_force_decides_and_every_difference_is_recorded_and_counted() {
    let proxy = start(Some(candidate())).await;
    let ml = proxy.ml();
    let counted = |direction: &str| {
        proxy.metric(&format!(
            "candidate_differences_total{{direction=\"{direction}\",rpc=\"{LIST_RPC}\"}}"
        ))
    };

    let before = proxy.before();
    let reply = proxy.client.call(Some(&ml), LIST, in_project("ml")).await.unwrap();
    let record = proxy.forwarded(&before, &reply).await;
    let different = &record["candidate"];
    assert_eq!(
        (&different["decision"], &different["direction"]),
        (&json!("refuse"), &json!("lost"))
    );
    assert_eq!(
        (&different["reason"], &different["rules"]),
        (&json!("no_matching_rule"), &Value::Null)
    );
    assert_eq!(record["rules"], json!(["ml-team"]));
    assert_ne!(different["version"], record["policy"]["version"]);

    let before = proxy.before();
    let reply = proxy.client.call(Some(&ml), LIST, in_project("fraud")).await.unwrap();
    let record = proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
    let different = &record["candidate"];
    assert_eq!(
        (&different["decision"], &different["direction"]),
        (&json!("allow"), &json!("gained"))
    );
    assert_eq!(
        (&different["rules"], &different["reason"]),
        (&json!(["fraud-team"]), &Value::Null)
    );

    // Both decide alike: nothing is recorded.
    let library = json!({"id": {"project": "shared-lib", "domain": "production"}, "limit": 1});
    let before = proxy.before();
    let reply = proxy
        .client
        .call(Some(&ml), "AdminService/ListTasks", library)
        .await
        .unwrap();
    assert_eq!(proxy.forwarded(&before, &reply).await["candidate"], Value::Null);

    assert!((counted("lost") - 1.0).abs() < f64::EPSILON && (counted("gained") - 1.0).abs() < f64::EPSILON);
    assert!((proxy.metric("candidate_decisions_total{result=\"same\"") - 1.0).abs() < f64::EPSILON);
    assert!((proxy.metric("candidate_decisions_total{result=\"different\"") - 2.0).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_would_revoke_or_narrow_is_told_apart() {
    let narrow = POLICY.replace(
        "domains: [development, staging]\n        role: contributor",
        "domains: [development, staging]\n        role: contributor\n        tasks: [t]\n        launch_plans: []",
    );
    let proxy = start(Some(format!("{narrow}revoked: [{{ subject: [mallory] }}]\n"))).await;
    let before = proxy.before();
    let reply = proxy
        .client
        .call(Some(&proxy.ml()), "AdminService/ListTasks", in_project("ml"))
        .await
        .unwrap();
    let record = proxy.forwarded(&before, &reply).await;
    assert_eq!(record["candidate"]["decision"], "filter");
    assert_eq!(
        (&record["candidate"]["direction"], &record["withheld"]),
        (&json!("lost"), &Value::Null)
    );

    let before = proxy.before();
    let mallory = proxy.token("mallory", "ml-team");
    let reply = proxy.client.call(Some(&mallory), LIST, in_project("ml")).await.unwrap();
    let record = proxy.forwarded(&before, &reply).await;
    assert_eq!(
        (&record["candidate"]["reason"], &record["candidate"]["rules"]),
        (&json!("token_revoked"), &json!(["revoked[0]"]))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_comes_and_changes_while_running_and_a_broken_one_touches_nothing() {
    let proxy = start(None).await;
    let ml = proxy.ml();
    let path = proxy.directory().join("next.yaml");
    let status = async || {
        let answer = admin(proxy.app.admin, "/status").await;
        serde_json::from_str::<Value>(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let failed = "reloads_total{result=\"failed\",what=\"candidate\"}";
    eventually("the missing candidate is reported", || proxy.metric(failed) > 0.0).await;
    assert_eq!(status().await["candidate"], Value::Null);
    let before = proxy.before();
    let reply = proxy.client.call(Some(&ml), LIST, in_project("ml")).await.unwrap();
    assert_eq!(proxy.forwarded(&before, &reply).await["candidate"], Value::Null);
    assert!(proxy.metric("candidate_decisions_total").abs() < f64::EPSILON);

    replace(&path, &candidate()).unwrap();
    eventually("the candidate is loaded", || proxy.app.live.load().candidate.is_some()).await;
    let shown = status().await;
    assert_eq!(
        (&shown["candidate"]["rules"], &shown["candidate"]["generation"]),
        (&json!(4), &json!(1))
    );
    assert_eq!(shown["policy"]["generation"], 1);
    let before = proxy.before();
    let reply = proxy.client.call(Some(&ml), LIST, in_project("ml")).await.unwrap();
    assert_eq!(proxy.forwarded(&before, &reply).await["candidate"]["direction"], "lost");

    let failures = proxy.metric(failed);
    replace(&path, "version: 1\nrules: 7\n").unwrap();
    eventually("the broken one is reported", || proxy.metric(failed) > failures).await;
    assert!(proxy.metric("reload_success{what=\"candidate\"}").abs() < f64::EPSILON);
    assert!((proxy.metric("reload_success{what=\"policy\"}") - 1.0).abs() < f64::EPSILON);
    let before = proxy.before();
    let reply = proxy.client.call(Some(&ml), LIST, in_project("ml")).await.unwrap();
    assert_eq!(
        proxy.forwarded(&before, &reply).await["candidate"]["direction"],
        "lost",
        "the last good one"
    );

    // The same as in force: no difference any more, for the same token.
    replace(&path, POLICY).unwrap();
    eventually("the next candidate is loaded", || {
        proxy
            .app
            .live
            .load()
            .candidate
            .as_ref()
            .is_some_and(|candidate| candidate.generation == 2)
    })
    .await;
    let before = proxy.before();
    let reply = proxy.client.call(Some(&ml), LIST, in_project("ml")).await.unwrap();
    assert_eq!(proxy.forwarded(&before, &reply).await["candidate"], Value::Null);
}
