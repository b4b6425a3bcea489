//! What rules that list names mean for things of the same name elsewhere, for what is generated, and for what has no name.

use crate::proxy::Proxy;
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::model::reason::Reason;
use http::Method;
use serde_json::{Value, json};

const POLICY: &str = r#"
version: 1
rules:
  - name: operator
    subjects: [{ groups: [hook] }]
    allow:
      - projects: [ml]
        domains: [production]
        actions: [create_executions]
        tasks: []
        workflows: []
        launch_plans: [daily, ml/nightly, production/shared-lib/clean]
      - { projects: [ml], domains: [development], role: contributor }
      - { projects: [shared-lib], domains: ["*"], role: contributor }
  - name: frozen
    subjects: [{ groups: [frozen] }]
    allow: [{ projects: [ml], domains: ["*"], role: project_admin }]
    deny: [{ projects: [ml], actions: ["*"], tasks: [secret], workflows: [payroll], launch_plans: [] }]
  - name: one-workflow
    subjects: [{ groups: [one-workflow] }]
    allow: [{ projects: [ml], domains: ["*"], role: project_admin, workflows: [payroll], tasks: [], launch_plans: [] }]
  - name: admin
    subjects: [{ groups: [admin] }]
    allow: [{ projects: [ml], domains: ["*"], role: project_admin }]
"#;

const GRPC: bool = true;

async fn start() -> Proxy {
    Proxy::start_with(|setup| POLICY.clone_into(&mut setup.policy)).await
}

/// Starts a launch plan in ml, production, by gRPC or REST.
async fn run(proxy: &Proxy, group: &str, place: (&str, &str), name: &str, by_grpc: bool) -> Reply {
    let (project, domain) = place;
    let plan =
        json!({"resource_type": "LAUNCH_PLAN", "project": project, "domain": domain, "name": name, "version": "v"});
    let message = json!({"project": "ml", "domain": "production", "name": "e", "spec": {"launch_plan": plan}});
    send(
        proxy,
        group,
        "CreateExecution",
        (Method::POST, "/api/v1/executions"),
        message,
        by_grpc,
    )
    .await
}

async fn send(
    proxy: &Proxy,
    group: &str,
    rpc: &str,
    (method, target): (Method, &str),
    message: Value,
    by_grpc: bool,
) -> Reply {
    let token = proxy.token("x", group);
    if by_grpc {
        let rpc = format!("AdminService/{rpc}");
        return proxy.client.call(Some(&token), &rpc, message).await.unwrap();
    }
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    proxy
        .client
        .rest(method, target, &headers, message.to_string())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_name_is_not_that_of_a_launch_plan_in_another_project_or_domain() {
    let proxy = start().await;
    for by_grpc in [GRPC, !GRPC] {
        for (project, name) in [("ml", "daily"), ("ml", "nightly"), ("shared-lib", "clean")] {
            let before = proxy.before();
            let reply = run(&proxy, "hook", (project, "production"), name, by_grpc).await;
            proxy.forwarded(&before, &reply).await;
        }
        for (project, domain, name) in [
            ("shared-lib", "production", "daily"),
            ("shared-lib", "development", "clean"),
            ("ml", "development", "daily"),
            ("ml", "development", "nightly"),
        ] {
            let before = proxy.before();
            let reply = run(&proxy, "hook", (project, domain), name, by_grpc).await;
            let record = proxy.refused(&before, &reply, Reason::ResourceNotListed).await;
            let message = record["message"].as_str().unwrap();
            let whole = format!("launch_plan `{domain}/{project}/{name}`");
            assert!(message.contains(&whole), "what to list: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_denied_is_denied_as_the_launch_plan_that_is_generated_for_it() {
    let proxy = start().await;
    for by_grpc in [GRPC, !GRPC] {
        for name in [".flytegen.secret", ".FlyteGen.Secret"] {
            let before = proxy.before();
            let reply = run(&proxy, "frozen", ("ml", "production"), name, by_grpc).await;
            proxy.refused(&before, &reply, Reason::DeniedByRule).await;
        }
        for name in [".flytegen.other", "secret"] {
            let before = proxy.before();
            let reply = run(&proxy, "frozen", ("ml", "production"), name, by_grpc).await;
            proxy.forwarded(&before, &reply).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_of_a_whole_project_or_domain_are_those_of_every_workflow_in_it() {
    let proxy = start().await;
    let matching = json!({"task_resource_attributes": {"defaults": {"cpu": "1"}}});
    let domain = json!({"attributes": {"project": "ml", "domain": "production", "matching_attributes": matching}});
    let project = json!({"attributes": {"project": "ml", "matching_attributes": matching}});
    let calls = [
        (
            "UpdateProjectDomainAttributes",
            Method::PUT,
            "/api/v1/project_domain_attributes/ml/production",
            domain,
        ),
        (
            "UpdateProjectAttributes",
            Method::PUT,
            "/api/v1/project_attributes/ml",
            project,
        ),
        (
            "DeleteProjectDomainAttributes",
            Method::DELETE,
            "/api/v1/project_domain_attributes/ml/production",
            json!({"project": "ml", "domain": "production"}),
        ),
        (
            "DeleteProjectAttributes",
            Method::DELETE,
            "/api/v1/project_attributes/ml",
            json!({"project": "ml"}),
        ),
    ];
    for (rpc, method, target, message) in calls {
        for by_grpc in [GRPC, !GRPC] {
            // By REST the path says where.
            let message = if by_grpc {
                message.clone()
            } else if method == Method::PUT {
                json!({"attributes": {"matching_attributes": matching}})
            } else {
                json!({})
            };
            for (group, reason) in [
                ("frozen", Some(Reason::DeniedByRule)),
                ("one-workflow", Some(Reason::ResourceNotListed)),
                ("admin", None),
            ] {
                let before = proxy.before();
                let reply = send(&proxy, group, rpc, (method.clone(), target), message.clone(), by_grpc).await;
                _ = match reason {
                    Some(reason) => proxy.refused(&before, &reply, reason).await,
                    None => proxy.forwarded(&before, &reply).await,
                };
            }
        }
    }
}
