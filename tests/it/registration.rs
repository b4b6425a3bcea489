//! What is registered: the key under which it is stored, and artifacts that it names.

use crate::proxy::Proxy;
use crate::ways::{WAYS, Way};
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::model::reason::Reason;
use http::Method;
use serde_json::{Value, json};

const POLICY: &str = r#"
version: 1
rules:
  - name: ml
    subjects: [{ groups: [ml] }]
    allow: [{ projects: [ml], domains: ["*"], role: project_admin }]
  - name: platform
    subjects: [{ groups: [platform] }]
    allow: [{ projects: ["*"], domains: ["*"], role: platform_admin }]
"#;

async fn send(proxy: &Proxy, group: &str, (rpc, target): (&str, &str), message: &Value, way: Way) -> Reply {
    let token = proxy.token("alice", group);
    let messages = (message.clone(), message.clone());
    way.send(proxy, &token, rpc, (Method::POST, target), messages).await
}

fn id(kind: &str, name: &str, version: &str) -> Value {
    json!({"resource_type": kind, "project": "ml", "domain": "development", "name": name, "version": version})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_workflow_is_stored_in_the_place_of_another() {
    let proxy = Proxy::start_with(|setup| POLICY.clone_into(&mut setup.policy)).await;
    let call = ("AdminService/CreateWorkflow", "/api/v1/workflows");
    for (name, version, instead) in [
        ("secret", "v1", None),
        ("deploy/prod", "v1", None),
        ("secret/", "v1", Some("`secret`")),
        ("/secret", "v1", Some("`secret`")),
        ("secret//", "v1", Some("`secret`")),
        ("deploy//prod", "v1", Some("`deploy/prod`")),
        ("deploy", "prod/v1", Some("`prod-v1`")),
    ] {
        let message = json!({"id": id("WORKFLOW", name, version), "spec": {"template": {}}});
        for way in WAYS {
            for group in ["ml", "platform"] {
                let before = proxy.before();
                let reply = send(&proxy, group, call, &message, way).await;
                let Some(instead) = instead else {
                    proxy.forwarded(&before, &reply).await;
                    continue;
                };
                let record = proxy.refused(&before, &reply, Reason::FieldInvalid).await;
                let message = record["message"].as_str().unwrap();
                assert!(message.contains("in the place of another name"), "{message}");
                assert!(message.contains(instead), "{message}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_artifact_is_named_by_its_uri_by_who_administers_the_platform() {
    let proxy = Proxy::start_with(|setup| POLICY.clone_into(&mut setup.policy)).await;
    let call = ("AdminService/CreateLaunchPlan", "/api/v1/launch_plans");
    for (uri, group, allowed) in [
        ("flyte://av0.1/fraud/production/model@v1", "ml", false),
        ("flyte://av0.1/ml/development/model@v1", "ml", false),
        ("", "ml", true),
        ("flyte://av0.1/fraud/production/model@v1", "platform", true),
    ] {
        let input = json!({"artifact_query": {"uri": uri}});
        for way in WAYS {
            let name = format!("{group}-{way:?}-{}", uri.len());
            let message = json!({
                "id": id("LAUNCH_PLAN", &name, "v"),
                "spec": {"workflow_id": id("WORKFLOW", "w", "v"), "default_inputs": {"parameters": {"x": input}}},
            });
            let before = proxy.before();
            let reply = send(&proxy, group, call, &message, way).await;
            if allowed {
                proxy.forwarded(&before, &reply).await;
                continue;
            }
            let record = proxy.refused(&before, &reply, Reason::ReferenceRefused).await;
            let message = record["message"].as_str().unwrap();
            assert!(message.contains("no rule allows administer_platform"), "{message}");
            assert!(message.contains("artifact_query.uri`"), "{message}");
        }
    }
}
