//! Attributes of projects that are put into Kubernetes manifests as they are.

use crate::proxy::Proxy;
use crate::ways::{WAYS, Way};
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::model::reason::Reason;
use http::Method;
use serde_json::{Value, json};

const POLICY: &str = r#"
version: 1
rules:
  - name: free
    subjects: [{ groups: [free] }]
    allow: [{ projects: [ml], domains: ["*"], role: project_admin }]
  - name: guarded
    subjects: [{ groups: [guarded] }]
    allow: [{ projects: [ml], domains: ["*"], role: project_admin, iam_roles: [] }]
  - name: given
    subjects: [{ groups: [given] }]
    allow: [{ projects: [ml], domains: ["*"], role: project_admin, set: { service_account: ml } }]
  - name: quota
    subjects: [{ groups: [quota] }]
    allow: [{ projects: [ml], domains: ["*"], role: project_admin, iam_roles: [], cluster_resources: [projectQuotaCpu] }]
  - name: queues
    subjects: [{ groups: [queues] }]
    allow: [{ projects: [ml], domains: ["*"], role: project_admin, clusters: [gpu] }]
"#;

/// The calls that change attributes: the RPC, where it is by REST, and what says whose they are.
fn calls() -> [(&'static str, &'static str, Value); 3] {
    [
        (
            "AdminService/UpdateProjectAttributes",
            "/api/v1/project_attributes/ml",
            json!({"project": "ml"}),
        ),
        (
            "AdminService/UpdateProjectDomainAttributes",
            "/api/v1/project_domain_attributes/ml/development",
            json!({"project": "ml", "domain": "development"}),
        ),
        (
            "AdminService/UpdateWorkflowAttributes",
            "/api/v1/workflow_attributes/ml/development/w",
            json!({"project": "ml", "domain": "development", "workflow": "w"}),
        ),
    ]
}

/// Sends a change by one of the calls.
async fn send(proxy: &Proxy, group: &str, call: &(&str, &str, Value), attributes: &Value, way: Way) -> Reply {
    let (rpc, target, whose) = call;
    let token = proxy.token("alice", group);
    let message = |whose: &Value| {
        let mut message = json!({"attributes": whose});
        message["attributes"]["matching_attributes"] = attributes.clone();
        message
    };
    let messages = (message(whose), message(&json!({})));
    way.send(proxy, &token, rpc, (Method::PUT, target), messages).await
}

fn resources(attributes: &Value) -> Value {
    json!({"cluster_resource_attributes": {"attributes": attributes}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_into_manifests_is_no_way_around_a_guard() {
    let proxy = Proxy::start_with(|setup| POLICY.clone_into(&mut setup.policy)).await;
    let role = resources(&json!({"defaultIamRole": "arn:aws:iam::1:role/admin"}));
    let quota = resources(&json!({"projectQuotaCpu": "8"}));
    for call in &calls() {
        for way in WAYS {
            for (group, attributes, allowed) in [
                ("free", &role, true),
                ("free", &quota, true),
                ("guarded", &role, false),
                ("guarded", &quota, false),
                ("given", &role, false),
                ("quota", &role, false),
                ("quota", &quota, true),
            ] {
                let before = proxy.before();
                let reply = send(&proxy, group, call, attributes, way).await;
                if allowed {
                    proxy.forwarded(&before, &reply).await;
                    continue;
                }
                let record = proxy.refused(&before, &reply, Reason::SettingRefused).await;
                let message = record["message"].as_str().unwrap();
                assert!(message.contains("with cluster resource `"), "{message}");
                assert!(message.contains("; leave it out"), "{message}");
                // What could be asked for in every domain is not told.
                let offers = group == "quota" && call.0 != "AdminService/UpdateProjectAttributes";
                assert_eq!(
                    message.contains("or write one of `projectQuotaCpu`"),
                    offers,
                    "{message}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queue_tags_are_guarded_like_clusters() {
    let proxy = Proxy::start_with(|setup| POLICY.clone_into(&mut setup.policy)).await;
    let tags = |tags: Value| json!({"execution_queue_attributes": {"tags": tags}});
    for call in &calls() {
        for way in WAYS {
            for (group, tags, allowed) in [
                ("free", tags(json!(["critical"])), true),
                ("guarded", tags(json!(["critical"])), true),
                ("queues", tags(json!(["gpu"])), true),
                ("queues", tags(json!(["critical"])), false),
                ("queues", tags(json!(["gpu", "critical"])), false),
            ] {
                let before = proxy.before();
                let reply = send(&proxy, group, call, &tags, way).await;
                if allowed {
                    proxy.forwarded(&before, &reply).await;
                    continue;
                }
                let record = proxy.refused(&before, &reply, Reason::SettingRefused).await;
                let message = record["message"].as_str().unwrap();
                assert!(message.contains("with queue tag `critical`"), "{message}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_adds_lines_to_manifests() {
    let proxy = Proxy::start_with(|setup| POLICY.clone_into(&mut setup.policy)).await;
    for call in &calls() {
        for lines in [
            "8\n  injected: true",
            "a\rb",
            "\0",
            "a\u{85}b",
            "a\u{2028}b",
            "a\u{2029}b",
        ] {
            let mut named = json!({});
            named[lines] = json!("8");
            for attributes in [json!({"projectQuotaCpu": lines}), named] {
                for way in WAYS {
                    let before = proxy.before();
                    let reply = send(&proxy, "free", call, &resources(&attributes), way).await;
                    let record = proxy.refused(&before, &reply, Reason::FieldInvalid).await;
                    let message = record["message"].as_str().unwrap();
                    assert!(message.contains("write it without line breaks"), "{message}");
                }
            }
        }
    }
}
