//! What the engine reports: the names in it become parts of keys of the object store.

use crate::proxy::Proxy;
use crate::ways::{WAYS, Way};
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::model::reason::Reason;
use http::Method;
use serde_json::{Value, json};

const POLICY: &str = r#"
version: 1
rules:
  - name: engine-of-ml
    subjects: [{ groups: [engine] }]
    allow: [{ projects: [ml], domains: ["*"], role: engine }]
"#;

async fn send(proxy: &Proxy, rpc: &str, target: &str, event: &Value, way: Way) -> Reply {
    let token = proxy.token("propeller", "engine");
    let message = json!({"request_id": "r", "event": event});
    let messages = (message.clone(), message);
    way.send(proxy, &token, rpc, (Method::POST, target), messages).await
}

fn id(kind: &str, project: &str) -> Value {
    json!({"resource_type": kind, "project": project, "domain": "production", "name": "a.b-c_d/e", "version": "1.2-x"})
}

/// Each report with an identifier in it, and where that is.
fn reports() -> [(&'static str, &'static str, Value, &'static str); 2] {
    let node = json!({"node_id": "n0", "execution_id": {"project": "ml", "domain": "development", "name": "e1"}});
    let dynamic = json!({"id": id("WORKFLOW", "other"), "compiled_workflow": {}});
    let of_node = json!({
        "id": node, "phase": "RUNNING", "producer_id": "propeller",
        "task_node_metadata": {"cache_status": "CACHE_HIT", "dynamic_workflow": dynamic},
    });
    let of_task = json!({"task_id": id("TASK", "other"), "parent_node_execution_id": node, "phase": "RUNNING"});
    [
        (
            "AdminService/CreateNodeEvent",
            "/api/v1/events/nodes",
            of_node,
            "/task_node_metadata/dynamic_workflow/id",
        ),
        (
            "AdminService/CreateTaskEvent",
            "/api/v1/events/tasks",
            of_task,
            "/task_id",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_names_what_it_ran_wherever_that_lies() {
    let proxy = Proxy::start_with(|setup| POLICY.clone_into(&mut setup.policy)).await;
    for (rpc, target, event, at) in reports() {
        let mut without = event.clone();
        for field in ["project", "domain", "name", "version"] {
            without.pointer_mut(at).unwrap()[field] = json!("");
        }
        for way in WAYS {
            for event in [&event, &without] {
                let before = proxy.before();
                let reply = send(&proxy, rpc, target, event, way).await;
                proxy.forwarded(&before, &reply).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_in_a_report_leads_out_of_the_place_of_its_execution() {
    let proxy = Proxy::start_with(|setup| POLICY.clone_into(&mut setup.policy)).await;
    for (rpc, target, event, at) in reports() {
        for field in ["project", "domain", "name", "version"] {
            for climbing in ["/../../../../../b/production/their_wf", "..", "a/./b"] {
                let mut event = event.clone();
                event.pointer_mut(at).unwrap()[field] = json!(climbing);
                for way in WAYS {
                    let before = proxy.before();
                    let reply = send(&proxy, rpc, target, &event, way).await;
                    let record = proxy.refused(&before, &reply, Reason::FieldInvalid).await;
                    let message = record["message"].as_str().unwrap();
                    let field = format!("event{}.{field}", at.replace('/', "."));
                    assert!(message.contains(&field), "{message}");
                }
            }
        }
    }
}
