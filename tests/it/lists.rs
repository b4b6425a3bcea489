//! Lists for callers whose rules list names: which items are shown, and how pages stay full.

use crate::answers::POLICY;
use crate::descriptors;
use crate::proxy::Proxy;
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::model::reason::Reason;
use http::Method;
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};

/// A proxy in front of a control plane in which things of several names are registered.
async fn start() -> Proxy {
    let proxy = Proxy::start_with(|setup| POLICY.clone_into(&mut setup.policy)).await;
    let id = |kind: &str, name: &str| json!({"resource_type": kind, "project": "ml", "domain": "development", "name": name, "version": "v1"});
    for name in ["t1", "t2", "t3", "t4", "hidden", "t6"] {
        let task = json!({"id": id("TASK", name), "spec": {"template": {"type": "t"}}});
        create(&proxy, "CreateTask", task).await;
    }
    for name in ["w1", "w2"] {
        create(
            &proxy,
            "CreateWorkflow",
            json!({"id": id("WORKFLOW", name), "spec": {"template": {}}}),
        )
        .await;
    }
    for (name, workflow) in [("lp1", "w1"), ("lp2", "w2")] {
        let plan = json!({"id": id("LAUNCH_PLAN", name), "spec": {"workflow_id": id("WORKFLOW", workflow)}});
        create(&proxy, "CreateLaunchPlan", plan).await;
        let active = json!({"id": id("LAUNCH_PLAN", name), "state": "ACTIVE"});
        create(&proxy, "UpdateLaunchPlan", active).await;
    }
    for (name, kind, thing) in [
        ("e1", "TASK", "t1"),
        ("e2", "TASK", "t2"),
        ("e3", "LAUNCH_PLAN", "lp1"),
        ("e4", "LAUNCH_PLAN", "lp2"),
    ] {
        let execution =
            json!({"project": "ml", "domain": "development", "name": name, "spec": {"launch_plan": id(kind, thing)}});
        create(&proxy, "CreateExecution", execution).await;
    }
    proxy.control_plane.clear();
    proxy
}

async fn create(proxy: &Proxy, method: &str, message: Value) {
    let reply = proxy
        .direct
        .call(None, &format!("AdminService/{method}"), message)
        .await
        .unwrap();
    assert_eq!(reply.grpc_status(), Some(0), "{method}: {}", reply.message());
}

/// The last part of the names under `at` in each item of a list.
fn names(list: &Value, items: &str, at: &str) -> Vec<String> {
    let items = list[items].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|item| item.pointer(at).unwrap().as_str().unwrap().to_owned())
        .collect()
}

/// A decoded gRPC answer, with the names of the protobuf files.
fn decoded(reply: &Reply, message: &str) -> Value {
    assert_eq!(reply.grpc_status(), Some(0), "{}", reply.message());
    let bytes = &reply.body[5..];
    let message = DynamicMessage::decode(descriptors::message(message), bytes).unwrap();
    let options = prost_reflect::SerializeOptions::new().use_proto_field_name(true);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .unwrap()
}

/// A list of named things.
struct List {
    rpc: &'static str,
    request: Value,
    target: &'static str,
    /// The response message.
    message: &'static str,
    /// Its field with the items, and where in an item the name is.
    items: (&'static str, &'static str),
    /// The names that the caller sees, in order.
    shown: &'static [&'static str],
}

impl List {
    fn of(
        (rpc, request, target): (&'static str, &Value, &'static str),
        message: &'static str,
        items: (&'static str, &'static str),
        shown: &'static [&'static str],
    ) -> Self {
        Self {
            rpc,
            request: request.clone(),
            target,
            message,
            items,
            shown,
        }
    }
}

fn lists() -> Vec<List> {
    let by_id = &json!({"id": {"project": "ml", "domain": "development"}, "limit": 50});
    let plain = &json!({"project": "ml", "domain": "development", "limit": 50});
    let of = |kind: &str| json!({"resource_type": kind, "project": "ml", "domain": "development", "limit": 50});
    let (entities, ids) = (("entities", "/id/name"), ("entities", "/name"));
    let plans = ("launch_plans", "/id/name");
    let (tasks, workflows) = (&of("TASK"), &of("WORKFLOW"));
    vec![
        List::of(
            ("ListTasks", by_id, "tasks/ml/development"),
            "TaskList",
            ("tasks", "/id/name"),
            &["t3", "t1"],
        ),
        List::of(
            ("ListTaskIds", plain, "task_ids/ml/development"),
            "NamedEntityIdentifierList",
            ids,
            &["t1", "t3"],
        ),
        List::of(
            ("ListWorkflows", by_id, "workflows/ml/development"),
            "WorkflowList",
            ("workflows", "/id/name"),
            &["w1"],
        ),
        List::of(
            ("ListWorkflowIds", plain, "workflow_ids/ml/development"),
            "NamedEntityIdentifierList",
            ids,
            &["w1"],
        ),
        List::of(
            ("ListLaunchPlans", by_id, "launch_plans/ml/development"),
            "LaunchPlanList",
            plans,
            &["lp1"],
        ),
        List::of(
            ("ListLaunchPlanIds", plain, "launch_plan_ids/ml/development"),
            "NamedEntityIdentifierList",
            ids,
            &["lp1"],
        ),
        List::of(
            ("ListActiveLaunchPlans", plain, "active_launch_plans/ml/development"),
            "LaunchPlanList",
            plans,
            &["lp1"],
        ),
        List::of(
            ("ListNamedEntities", tasks, "named_entities/TASK/ml/development"),
            "NamedEntityList",
            entities,
            &["t1", "t3"],
        ),
        List::of(
            ("ListNamedEntities", workflows, "named_entities/WORKFLOW/ml/development"),
            "NamedEntityList",
            entities,
            &["w1"],
        ),
        List::of(
            ("ListExecutions", by_id, "executions/ml/development"),
            "ExecutionList",
            ("executions", "/id/name"),
            &["e3", "e1"],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_01_lists_show_only_listed_names_in_every_encoding() {
    let proxy = start().await;
    let token = proxy.token("hook", "hook");
    let bearer = format!("Bearer {token}");
    for list in lists() {
        let List {
            rpc,
            request,
            target,
            message,
            items: (items, at),
            shown: expected,
        } = list;
        let before = proxy.before();
        let reply = proxy
            .client
            .call(Some(&token), &format!("AdminService/{rpc}"), request)
            .await
            .unwrap();
        let shown = decoded(&reply, &format!("flyteidl.admin.{message}"));
        assert_eq!(names(&shown, items, at), expected, "{rpc}");
        let record = proxy.forwarded(&before, &reply).await;
        assert_eq!(record["rules"], json!(["hook"]));
        for accept in ["application/json", "*/*", "application/octet-stream"] {
            let headers = [("authorization", bearer.as_str()), ("accept", accept)];
            let target = format!("/api/v1/{target}?limit=50");
            let reply = proxy.client.rest(Method::GET, &target, &headers, "").await.unwrap();
            proxy.written(&reply).await;
            let list = match accept {
                "application/octet-stream" => {
                    let mut framed = reply.clone();
                    framed.body = flyte_authz_proxy::protocol::envelope::frame(&reply.body);
                    framed.trailers = Some(
                        [("grpc-status".parse().unwrap(), "0".parse().unwrap())]
                            .into_iter()
                            .collect(),
                    );
                    decoded(&framed, &format!("flyteidl.admin.{message}"))
                }
                _ => reply.json(),
            };
            let camel = if items == "launch_plans" && accept == "*/*" {
                "launchPlans"
            } else {
                items
            };
            assert_eq!(names(&list, camel, at), expected, "{target} as {accept}: {list}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_whole_for_who_may_see_all_and_refused_where_no_rule_allows_them() {
    let proxy = start().await;
    let all = json!({"id": {"project": "ml", "domain": "development"}, "limit": 50});
    let admin = proxy.token("root", "admins");
    let reply = proxy
        .client
        .call(Some(&admin), "AdminService/ListTasks", all.clone())
        .await
        .unwrap();
    proxy.written(&reply).await;
    let shown = decoded(&reply, "flyteidl.admin.TaskList");
    assert_eq!(
        names(&shown, "tasks", "/id/name"),
        ["t6", "hidden", "t4", "t3", "t2", "t1"]
    );
    let asked = proxy.control_plane.arrivals().pop().unwrap().request.unwrap();
    assert_eq!(asked, all, "nothing was added");

    proxy.written(&reply).await;
    let hook = proxy.token("hook", "hook");
    for domain in ["production", "staging"] {
        let before = proxy.before();
        let request = json!({"id": {"project": "ml", "domain": domain}, "limit": 50});
        let reply = proxy
            .client
            .call(Some(&hook), "AdminService/ListTasks", request)
            .await
            .unwrap();
        proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
    }
    let before = proxy.before();
    let request = json!({"id": {"project": "ml", "domain": "development", "name": "t2"}, "limit": 50});
    let reply = proxy
        .client
        .call(Some(&hook), "AdminService/ListTasks", request)
        .await
        .unwrap();
    proxy.refused(&before, &reply, Reason::ResourceNotListed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deny_hides_its_names_from_who_may_see_all_others() {
    let proxy = start().await;
    let viewer = proxy.token("victor", "viewers");
    let target = "/api/v1/tasks/ml/development?limit=50";
    let before = proxy.before();
    let reply = proxy.client.get(Some(&viewer), target).await.unwrap();
    assert_eq!(
        names(&reply.json(), "tasks", "/id/name"),
        ["t6", "t4", "t3", "t2", "t1"]
    );
    assert_eq!(proxy.forwarded(&before, &reply).await["withheld"], 1);
    assert_eq!(asked(&proxy), "", "all but one cannot be asked for");
    // Where nothing is denied the answer passes as it is.
    let reply = proxy
        .client
        .get(Some(&viewer), "/api/v1/workflows/ml/development?limit=50")
        .await
        .unwrap();
    assert_eq!(names(&reply.json(), "workflows", "/id/name"), ["w2", "w1"]);
}

/// The filters of the last request that arrived.
fn asked(proxy: &Proxy) -> String {
    let request = proxy.control_plane.arrivals().pop().unwrap().request.unwrap();
    request["filters"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_01_pages_of_a_list_are_full_and_their_tokens_lead_through_all_that_is_shown() {
    let proxy = start().await;
    let token = proxy.token("hook", "hook");
    let mut pages = Vec::new();
    let mut next = String::new();
    loop {
        let request = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1, "token": next});
        let before = proxy.before();
        let reply = proxy
            .client
            .call(Some(&token), "AdminService/ListTasks", request)
            .await
            .unwrap();
        let page = decoded(&reply, "flyteidl.admin.TaskList");
        assert_eq!(
            proxy.forwarded(&before, &reply).await["withheld"],
            Value::Null,
            "nothing else came"
        );
        assert_eq!(asked(&proxy), "value_in(name,t1;t3)");
        pages.push(names(&page, "tasks", "/id/name"));
        next = page["token"].as_str().unwrap_or_default().to_owned();
        if next.is_empty() {
            break;
        }
    }
    assert_eq!(pages, [vec!["t3"], vec!["t1"], vec![]]);

    // Named entities are counted into pages before FlyteAdmin filters them: they are filtered here alone.
    let target = "/api/v1/named_entities/TASK/ml/development?limit=2&token=3";
    let records = proxy.record_count();
    let reply = proxy.client.get(Some(&token), target).await.unwrap();
    assert_eq!(
        names(&reply.json(), "entities", "/id/name"),
        [""; 0],
        "a page of others only"
    );
    assert_eq!(reply.json()["token"], "5", "and still not the last");
    assert_eq!(asked(&proxy), "");
    assert_eq!(proxy.records_after(records, 1).await[0]["withheld"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_own_filters_still_hold() {
    let proxy = start().await;
    let token = proxy.token("hook", "hook");
    let target = "/api/v1/tasks/ml/development?filters=eq(name,t1)%2Bne(version,v2)&limit=5";
    let reply = proxy.client.get(Some(&token), target).await.unwrap();
    assert_eq!(names(&reply.json(), "tasks", "/id/name"), ["t1"]);
    assert_eq!(asked(&proxy), "eq(name,t1)+ne(version,v2)+value_in(name,t1;t3)");
    let request = json!({"id": {"project": "ml", "domain": "development"}, "limit": 5, "filters": "eq(name,t2)"});
    let reply = proxy
        .client
        .call(Some(&token), "AdminService/ListTasks", request)
        .await
        .unwrap();
    assert_eq!(
        names(&decoded(&reply, "flyteidl.admin.TaskList"), "tasks", "/id/name"),
        [""; 0]
    );
    // What FlyteAdmin refuses it still refuses, in its own words.
    for broken in ["broken", "eq(name,t1)%2B", "eq(secret,x)"] {
        let reply = proxy
            .client
            .get(
                Some(&token),
                &format!("/api/v1/tasks/ml/development?limit=5&filters={broken}"),
            )
            .await
            .unwrap();
        assert_eq!(reply.status, 400, "{broken}: {reply:?}");
        assert!(reply.message().contains("filter"), "{broken}: {}", reply.message());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_projects_asks_for_the_visible_projects_only() {
    let proxy = start().await;
    let archived = json!({"id": "shared-lib", "state": "ARCHIVED"});
    let ids = |reply: &Reply| names(&reply.json(), "projects", "/id");
    let hook = proxy.token("hook", "hook");
    let reply = proxy.client.get(Some(&hook), "/api/v1/projects?limit=2").await.unwrap();
    assert_eq!(
        (ids(&reply), &reply.json()["token"]),
        (vec!["ml".to_owned(), "shared-lib".to_owned()], &json!("2"))
    );
    assert_eq!(asked(&proxy), "value_in(identifier,ml;shared-lib)+ne(state,1)");
    let reply = proxy
        .client
        .get(Some(&hook), "/api/v1/projects?limit=1&token=1")
        .await
        .unwrap();
    assert_eq!(ids(&reply), ["shared-lib"], "the second page");

    create(&proxy, "UpdateProject", archived).await;
    let reply = proxy.client.get(Some(&hook), "/api/v1/projects").await.unwrap();
    assert_eq!(ids(&reply), ["ml"], "archived projects stay out as without a filter");
    let reply = proxy
        .client
        .get(Some(&hook), "/api/v1/projects?filters=eq(state,1)")
        .await
        .unwrap();
    assert_eq!(ids(&reply), ["shared-lib"], "unless they are asked for");
    let request = json!({"filters": "value_in(identifier,fraud;ml)", "limit": 10});
    let reply = proxy
        .client
        .call(Some(&hook), "AdminService/ListProjects", request)
        .await
        .unwrap();
    let shown = decoded(&reply, "flyteidl.admin.Projects");
    assert_eq!(names(&shown, "projects", "/id"), ["ml"]);

    let stranger = proxy.token("mallory", "strangers");
    let reply = proxy.client.get(Some(&stranger), "/api/v1/projects").await.unwrap();
    assert_eq!((reply.status.as_u16(), ids(&reply)), (200, Vec::new()));
    assert_eq!(asked(&proxy), "value_in(identifier,-)+ne(state,1)");
    let admin = proxy.token("root", "admins");
    let reply = proxy.client.get(Some(&admin), "/api/v1/projects").await.unwrap();
    assert_eq!(ids(&reply), ["flytesnacks", "fraud", "ml"]);
    assert_eq!(asked(&proxy), "", "who may see every project is asked nothing about");
}

const DESCRIPTIONS: &str = r#"
version: 1
rules:
  - name: viewers
    subjects: [{ groups: [viewers] }]
    allow: [{ projects: [ml], domains: ["*"], role: viewer }]
  - name: analysts
    subjects: [{ groups: [analysts] }]
    allow: [{ projects: [ml], domains: ["*"], actions: [view_inventory], workflows: [], launch_plans: [] }]
  - name: hidden
    subjects: [{ groups: [viewers] }]
    deny: [{ projects: [ml], actions: [view_inventory], workflows: [payroll] }]
"#;

/// `FlyteAdmin` finds descriptions by name alone, whatever kind is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_is_had_under_no_kind_where_its_name_is_not_allowed_under_another() {
    let proxy = Proxy::start_with(|setup| DESCRIPTIONS.clone_into(&mut setup.policy)).await;
    let (get, list) = (
        "AdminService/GetDescriptionEntity",
        "AdminService/ListDescriptionEntities",
    );
    for kind in ["TASK", "WORKFLOW", "LAUNCH_PLAN"] {
        for (group, name, refused) in [
            ("viewers", "payroll", Some(Reason::DeniedByRule)),
            ("viewers", "other", None),
            ("analysts", "payroll", Some(Reason::ResourceNotListed)),
        ] {
            let token = proxy.token("alice", group);
            let id = json!({"project": "ml", "domain": "development", "name": name});
            let mut one = id.clone();
            one["resource_type"] = json!(kind);
            one["version"] = json!("v1");
            let target = format!("/api/v1/description_entities/{kind}/ml/development/{name}");
            for (rpc, message, target) in [
                (get, json!({"id": one}), format!("{target}/v1")),
                (
                    list,
                    json!({"resource_type": kind, "id": id, "limit": 5}),
                    format!("{target}?limit=5"),
                ),
            ] {
                for by_grpc in [true, false] {
                    let before = proxy.before();
                    let reply = if by_grpc {
                        proxy.client.call(Some(&token), rpc, message.clone()).await
                    } else {
                        proxy.client.get(Some(&token), &target).await
                    };
                    let reply = reply.unwrap();
                    match refused {
                        Some(reason) => _ = proxy.refused(&before, &reply, reason).await,
                        None => _ = proxy.forwarded(&before, &reply).await,
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn matchable_attributes_are_shown_where_the_caller_may_view_the_inventory() {
    let proxy = start().await;
    let matching = json!({"cluster_assignment": {"cluster_pool_name": "p"}});
    for (method, place) in [
        (
            "UpdateProjectDomainAttributes",
            json!({"project": "ml", "domain": "development"}),
        ),
        (
            "UpdateProjectDomainAttributes",
            json!({"project": "fraud", "domain": "development"}),
        ),
        ("UpdateProjectAttributes", json!({"project": "ml"})),
        ("UpdateProjectAttributes", json!({"project": "shared-lib"})),
        (
            "UpdateWorkflowAttributes",
            json!({"project": "ml", "domain": "development", "workflow": "w1"}),
        ),
        (
            "UpdateWorkflowAttributes",
            json!({"project": "ml", "domain": "development", "workflow": "w2"}),
        ),
    ] {
        let mut attributes = place;
        attributes["matching_attributes"] = matching.clone();
        create(&proxy, method, json!({"attributes": attributes})).await;
    }
    let target = "/api/v1/matchable_attributes?resource_type=CLUSTER_ASSIGNMENT";
    let shown = async |group: &str| {
        let reply = proxy.client.get(Some(&proxy.token("x", group)), target).await.unwrap();
        let list = reply.json()["configurations"].as_array().unwrap().clone();
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let place = |row: &Value| ["project", "domain", "workflow"].map(|name| text(row, name)).join("/");
        list.iter().map(place).collect::<Vec<_>>()
    };
    // Only all domains together are a whole project.
    assert_eq!(
        shown("hook").await,
        ["ml/development/", "ml/development/w1", "shared-lib//"]
    );
    assert_eq!(shown("strangers").await, [""; 0]);
    assert_eq!(shown("admins").await.len(), 6);
}
