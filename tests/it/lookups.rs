//! Stored executions under allow-lists: the control plane is asked what they run, and nobody who may not know learns it.

use crate::proxy::Proxy;
use flyte_authz_proxy::catalog::{Binding, Catalog, ResourceSource, Route, SlotRole};
use flyte_authz_proxy::clock::{Clock, SystemClock};
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::demo::control_plane::{Arrival, Fault, Script};
use flyte_authz_proxy::demo::session::SessionKeys;
use flyte_authz_proxy::model::reason::Reason;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

const POLICY: &str = r"
version: 1
rules:
  - name: hook
    subjects: [{ groups: [hook] }]
    allow:
      - projects: [ml]
        domains: [development]
        role: engine
        tasks: [t1]
        workflows: []
        launch_plans: [lp1, production/shared-lib/lp3]
      - { projects: [shared-lib], domains: [production], role: viewer }
      - { projects: [shared-lib], domains: [production], actions: [use_inventory] }
  - name: open
    subjects: [{ groups: [open] }]
    allow: [{ projects: [ml], domains: [development], role: engine }]
  - name: frozen
    subjects: [{ groups: [frozen] }]
    allow: [{ projects: [ml], domains: [development], role: engine }]
    deny: [{ projects: [ml], domains: [development], actions: [terminate_executions, create_executions], launch_plans: [LP2] }]
";

/// The executions of ml in development by what they run.
const STORED: [(&str, &str, &str, &str); 6] = [
    ("listed-task", "TASK", "ml/development", "t1"),
    ("listed-plan", "LAUNCH_PLAN", "ml/development", "lp1"),
    ("foreign-plan", "LAUNCH_PLAN", "shared-lib/production", "lp3"),
    ("other-task", "TASK", "ml/development", "t2"),
    ("other-plan", "LAUNCH_PLAN", "ml/development", "lp2"),
    ("own-lp3", "LAUNCH_PLAN", "ml/development", "lp3"),
];
/// Those that the hook may touch.
const LISTED: [&str; 3] = ["listed-task", "listed-plan", "foreign-plan"];
/// Those it may not, and one that does not exist.
const HIDDEN: [&str; 4] = ["other-task", "other-plan", "own-lp3", "nowhere"];

pub(crate) async fn start() -> Proxy {
    start_with("").await
}

/// The same with more configuration.
pub(crate) async fn start_with(configuration: &'static str) -> Proxy {
    let proxy = Proxy::start_with(|setup| {
        POLICY.clone_into(&mut setup.policy);
        setup.configuration.push_str(configuration);
    })
    .await;
    for (_, kind, place, name) in STORED {
        let id = thing(kind, place, name);
        let (rpc, spec) = if kind == "TASK" {
            ("CreateTask", json!({"template": {"type": "t"}}))
        } else {
            (
                "CreateLaunchPlan",
                json!({"workflow_id": workflow(&proxy, place, name).await}),
            )
        };
        create(&proxy, rpc, json!({"id": id, "spec": spec})).await;
    }
    for (execution, kind, place, name) in STORED {
        let spec = json!({"launch_plan": thing(kind, place, name)});
        let message = json!({"project": "ml", "domain": "development", "name": execution, "spec": spec});
        create(&proxy, "CreateExecution", message).await;
    }
    proxy.control_plane.clear();
    proxy
}

pub(crate) fn thing(kind: &str, place: &str, name: &str) -> Value {
    let (project, domain) = place.split_once('/').unwrap();
    json!({"resource_type": kind, "project": project, "domain": domain, "name": name, "version": "v1"})
}

async fn create(proxy: &Proxy, method: &str, message: Value) {
    let rpc = format!("AdminService/{method}");
    let reply = proxy.direct.call(None, &rpc, message).await.unwrap();
    assert_eq!(reply.grpc_status(), Some(0), "{method}: {}", reply.message());
}

/// Registers a workflow and gives its identifier.
async fn workflow(proxy: &Proxy, place: &str, name: &str) -> Value {
    let id = thing("WORKFLOW", place, name);
    create(proxy, "CreateWorkflow", json!({"id": id, "spec": {"template": {}}})).await;
    id
}

pub(crate) fn id(name: &str) -> Value {
    json!({"project": "ml", "domain": "development", "name": name})
}

/// A call of the method about an execution.
fn message(method: &str, name: &str) -> Value {
    let id = id(name);
    let node = json!({"execution_id": id, "node_id": "n0"});
    let task = json!({"node_execution_id": node, "task_id": thing("TASK", "lib/staging", "t"), "retry_attempt": 0});
    let signal = json!({"execution_id": id, "signal_id": "s"});
    match method {
        "GetNodeExecution" | "GetDynamicNodeWorkflow" | "GetNodeExecutionData" => json!({"id": node}),
        "ListNodeExecutions" | "ListSignals" => json!({"workflow_execution_id": id}),
        "ListNodeExecutionsForTask" => json!({"task_execution_id": task}),
        "GetTaskExecution" | "GetTaskExecutionData" => json!({"id": task}),
        "ListTaskExecutions" | "CreateDownloadLink" => json!({"node_execution_id": node}),
        "CreateWorkflowEvent" => json!({"event": {"execution_id": id}}),
        "CreateNodeEvent" => json!({"event": {"id": node}}),
        "CreateTaskEvent" => json!({"event": {"parent_node_execution_id": node}}),
        "GetOrCreateSignal" | "SetSignal" => json!({"id": signal}),
        "GetData" => json!({"flyte_url": format!("flyte://v1/ml/development/{name}/n0/o")}),
        _ => json!({"id": id}),
    }
}

/// Every route that acts on a stored execution.
fn routes(catalog: &Catalog) -> Vec<&Route> {
    let is_stored = |role: &SlotRole| {
        *role == SlotRole::FlyteUrl
            || matches!(
                role,
                SlotRole::Scope {
                    resource: ResourceSource::Stored { .. },
                    ..
                }
            )
    };
    let routes = catalog.routes.iter();
    routes
        .filter(|route| route.plan.slots().iter().any(|slot| is_stored(&slot.role)))
        .collect()
}

fn method(route: &Route) -> &str {
    route.rpc.rsplit('/').next().unwrap()
}

async fn by_grpc(proxy: &Proxy, token: &str, route: &Route, message: &Value) -> Reply {
    let rpc = route.rpc.rsplit('.').next().unwrap();
    proxy.client.call(Some(token), rpc, message.clone()).await.unwrap()
}

/// The same by a REST binding: path, query and body hold what the message does.
async fn by_rest(proxy: &Proxy, token: &str, binding: &Binding, message: &Value) -> Reply {
    let mut target = binding.template.to_string();
    for variable in &binding.variables {
        let pointer = format!("/{}", variable.field.replace('.', "/"));
        let value = match message.pointer(&pointer).unwrap() {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        target = target.replace(&format!("{{{}}}", variable.field), &value);
    }
    if let Some(url) = message["flyte_url"].as_str() {
        target = format!("{target}?flyte_url={}", utf8_percent_encode(url, NON_ALPHANUMERIC));
    }
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("authorization", bearer.as_str())];
    let mut body = String::new();
    if binding.body {
        headers.push(("content-type", "application/json"));
        body = message.to_string();
    }
    let method = binding.method.clone();
    proxy.client.rest(method, &target, &headers, body).await.unwrap()
}

/// What the caller is told, without the request's identifier.
pub(crate) fn told(reply: &Reply) -> String {
    let message = reply.message();
    let (before, id) = message.split_once("request ").unwrap_or((&message, ""));
    format!(
        "{} {:?} {before} {}",
        reply.status,
        reply.grpc_status(),
        id.split_once(']').map_or("", |(_, after)| after)
    )
}

/// What arrived since the last time, by method.
fn arrived(proxy: &Proxy) -> Vec<Arrival> {
    let arrivals = proxy.control_plane.arrivals();
    proxy.control_plane.clear();
    arrivals
}

pub(crate) fn rpcs(arrivals: &[Arrival]) -> Vec<&str> {
    arrivals.iter().map(|arrival| arrival.rpc.as_deref().unwrap()).collect()
}

/// Makes one call and gives its answer, what arrived for it, and its record.
pub(crate) async fn made(proxy: &Proxy, call: impl Future<Output = Reply>) -> (Reply, Vec<Arrival>, Value) {
    let before = proxy.record_count();
    let reply = call.await;
    let mut records = proxy.records_after(before, 1).await;
    assert_eq!(records.len(), 1);
    (reply, arrived(proxy), records.remove(0))
}

/// Checks the outcomes of the hook's calls about every execution, by one way of calling.
async fn outcomes(proxy: &Proxy, method: &str, call: impl AsyncFn(Value) -> Reply) {
    for name in LISTED {
        let (reply, arrivals, record) = made(proxy, call(message(method, name))).await;
        assert!(!reply.message().contains("; request "), "{method} {name}: {reply:?}");
        assert_eq!(rpcs(&arrivals), ["GetExecution", method], "{name}");
        assert_eq!(arrivals[0].request, Some(json!({"id": id(name)})), "{method}");
        assert_eq!(
            (record["outcome"].as_str(), record["lookups"].as_u64()),
            (Some("forwarded"), Some(1)),
            "{record:#}"
        );
        assert_eq!(record["rules"], json!(["hook"]));
        let (_, kind, place, thing) = STORED.iter().find(|(stored, ..)| *stored == name).unwrap();
        let (project, domain) = place.split_once('/').unwrap();
        let runs = json!({"resource": kind.to_lowercase(), "project": project, "domain": domain, "name": thing});
        assert_eq!(record["targets"][0]["execution"], name, "{method}");
        assert_eq!(record["targets"][0]["runs"], runs, "{method}");
    }
    let mut texts = Vec::new();
    for name in HIDDEN {
        let (reply, arrivals, record) = made(proxy, call(message(method, name))).await;
        assert_eq!(rpcs(&arrivals), ["GetExecution"], "{method} {name}");
        assert_eq!(record["reason"], "resource_not_listed", "{method} {name}: {record:#}");
        assert_eq!(record["outcome"], "denied");
        assert_eq!(
            record["targets"][0].get("runs").is_some(),
            name != "nowhere",
            "{record:#}"
        );
        match reply.grpc_status() {
            Some(status) => assert_eq!(status, 7, "{method}"),
            None => assert_eq!(reply.status, 403, "{method}"),
        }
        texts.push(told(&reply));
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{method}: refusals differ: {texts:#?}");
    assert!(texts[0].contains("for what the execution runs"), "{}", texts[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_lists_reaches_what_runs_something_listed_and_cannot_tell_the_rest_from_nothing() {
    let proxy = start().await;
    let catalog = Catalog::builtin().unwrap();
    let routes = routes(&catalog);
    assert_eq!(routes.len(), 23);
    let token = &proxy.token("hook", "hook");
    let mut ways = 0_u32;
    for route in routes {
        let method = method(route);
        outcomes(&proxy, method, async |message| {
            by_grpc(&proxy, token, route, &message).await
        })
        .await;
        ways += 1;
        for binding in &route.bindings {
            ways += 1;
            outcomes(&proxy, method, async |message| {
                by_rest(&proxy, token, binding, &message).await
            })
            .await;
        }
    }
    let asked = f64::from(ways) * 7.0;
    assert!(
        (proxy.metric("lookups_total") - asked).abs() < f64::EPSILON,
        "{ways} times 7 executions"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_looked_up_for_callers_without_lists_nor_for_those_without_rights() {
    let proxy = start().await;
    let catalog = Catalog::builtin().unwrap();
    let (open, nobody) = (proxy.token("open", "open"), proxy.token("nobody", "nobody"));
    for route in routes(&catalog) {
        let method = method(route);
        for name in ["other-plan", "nowhere"] {
            let message = message(method, name);
            let (reply, arrivals, record) = made(&proxy, by_grpc(&proxy, &open, route, &message)).await;
            if ["RelaunchExecution", "RecoverExecution"].contains(&method) {
                // What is started again may lie elsewhere, and must be there.
                let expected = ["GetExecution", method];
                let expected = if name == "nowhere" { &expected[..1] } else { &expected };
                assert_eq!(rpcs(&arrivals), expected, "{reply:?}");
            } else {
                assert_eq!(rpcs(&arrivals), [method], "{reply:?}");
                assert!(record.get("lookups").is_none(), "{record:#}");
            }
            assert_eq!(record["targets"][0]["execution"], name);

            let before = proxy.before();
            let reply = by_grpc(&proxy, &nobody, route, &message).await;
            proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
        }
    }
    // Where lists do not matter, because nothing is allowed anyway, nobody is asked.
    let hook = proxy.token("hook", "hook");
    for (rpc, project, domain) in [
        ("AdminService/GetExecution", "ml", "production"),
        ("AdminService/GetExecution", "fraud", "development"),
        ("AdminService/TerminateExecution", "shared-lib", "production"),
    ] {
        let message = json!({"id": {"project": project, "domain": domain, "name": "listed-task"}});
        let before = proxy.before();
        let reply = proxy.client.call(Some(&hook), rpc, message).await.unwrap();
        proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_execution_runs_elsewhere_is_started_again_only_by_who_may_start_it_there() {
    let proxy = start().await;
    let catalog = Catalog::builtin().unwrap();
    let open = proxy.token("open", "open");
    let again = |route: &&Route| ["RelaunchExecution", "RecoverExecution"].contains(&method(route));
    let mut ways = 0;
    for route in routes(&catalog).into_iter().filter(again) {
        let method = method(route);
        for name in ["foreign-plan", "other-plan", "nowhere"] {
            let message = message(method, name);
            for binding in route.bindings.iter().map(Some).chain([None]) {
                let call = async {
                    match binding {
                        Some(binding) => by_rest(&proxy, &open, binding, &message).await,
                        None => by_grpc(&proxy, &open, route, &message).await,
                    }
                };
                let (reply, arrivals, record) = made(&proxy, call).await;
                ways += 1;
                if name == "other-plan" {
                    assert_eq!(rpcs(&arrivals), ["GetExecution", method], "{reply:?}");
                    continue;
                }
                assert_eq!(rpcs(&arrivals), ["GetExecution"], "{reply:?}");
                if name == "nowhere" {
                    // By the time it arrived there might be one.
                    assert_eq!(record["reason"], "execution_unknown", "{record:#}");
                    let status = if binding.is_some() { 404 } else { 200 };
                    assert_eq!(reply.status.as_u16(), status, "{reply:?}");
                    assert_eq!(reply.grpc_status(), binding.is_none().then_some(5), "{reply:?}");
                    continue;
                }
                assert_eq!(record["reason"], "reference_refused", "{record:#}");
                assert_eq!(record["targets"][1]["project"], "shared-lib", "{record:#}");
                // The caller is not told what it runs.
                assert!(
                    !reply.message().contains("shared-lib") && !reply.message().contains("lp3"),
                    "{reply:?}"
                );
                assert!(reply.message().contains("another project or domain"), "{reply:?}");
            }
        }
    }
    assert_eq!(ways, 12);
    // A database that compares loosely finds another execution than the one that is named, and would start that.
    let message = execution(&json!({"project": "ml", "domain": "development", "name": "OTHER-PLAN"}));
    proxy
        .control_plane
        .script(Script::on("GetExecution", Fault::Instead { message }));
    let relaunch = async || {
        let message = json!({"id": id("other-plan")});
        let call = proxy
            .client
            .call(Some(&open), "AdminService/RelaunchExecution", message);
        made(&proxy, async { call.await.unwrap() }).await
    };
    let (reply, arrivals, record) = relaunch().await;
    assert_eq!(rpcs(&arrivals), ["GetExecution"], "{reply:?}");
    assert_eq!(record["reason"], "reference_refused", "{record:#}");
    // What the control plane does not tell is not started again either.
    for code in [3, 7] {
        let withheld = Fault::Status {
            code,
            message: "no".to_owned(),
            details: None,
        };
        proxy.control_plane.clear_scripts();
        proxy.control_plane.script(Script::on("GetExecution", withheld));
        let (reply, arrivals, record) = relaunch().await;
        assert_eq!(rpcs(&arrivals), ["GetExecution"], "{reply:?}");
        assert_eq!(record["reason"], "reference_refused", "{record:#}");
        assert!(reply.message().contains("does not tell"), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deny_by_name_holds_for_what_executions_run() {
    let proxy = start().await;
    let token = proxy.token("frozen", "frozen");
    let terminate = async |name: &str| {
        let call = proxy
            .client
            .call(Some(&token), "AdminService/TerminateExecution", json!({"id": id(name)}));
        made(&proxy, async { call.await.unwrap() }).await
    };
    for name in ["other-task", "listed-plan", "own-lp3"] {
        let (reply, arrivals, _) = terminate(name).await;
        assert_eq!(reply.grpc_status(), Some(0), "{name}: {}", reply.message());
        assert_eq!(rpcs(&arrivals), ["GetExecution", "TerminateExecution"]);
    }
    let mut texts = Vec::new();
    for name in ["other-plan", "nowhere"] {
        let (reply, arrivals, record) = terminate(name).await;
        assert_eq!(rpcs(&arrivals), ["GetExecution"]);
        assert_eq!(
            (&record["reason"], &record["rules"]),
            (&json!("denied_by_rule"), &json!(["frozen"]))
        );
        texts.push(told(&reply));
    }
    assert_eq!(texts[0], texts[1]);
    // What runs already goes on: its children are started for it, and it is not started by that.
    let parent = json!({"parent_node_execution": {"execution_id": id("other-plan"), "node_id": "n0"}});
    let spec = json!({"launch_plan": thing("LAUNCH_PLAN", "ml/development", "lp1"), "metadata": parent});
    let message = json!({"project": "ml", "domain": "development", "spec": spec});
    let call = proxy.client.call(Some(&token), "AdminService/CreateExecution", message);
    let (reply, arrivals, _) = made(&proxy, async { call.await.unwrap() }).await;
    assert_eq!(reply.grpc_status(), Some(0), "{}", reply.message());
    assert_eq!(rpcs(&arrivals), ["CreateExecution"]);
    // What the deny is not about needs no look-up.
    let get = proxy.client.call(
        Some(&token),
        "AdminService/GetExecution",
        json!({"id": id("other-plan")}),
    );
    let (reply, arrivals, _) = made(&proxy, async { get.await.unwrap() }).await;
    assert_eq!((reply.grpc_status(), rpcs(&arrivals)), (Some(0), vec!["GetExecution"]));
}

/// An encoded execution that runs the launch plan `lp1` of ml in development.
pub(crate) fn execution(id: &Value) -> Vec<u8> {
    let spec = json!({"launch_plan": thing("LAUNCH_PLAN", "ml/development", "lp1")});
    let message = crate::descriptors::message("flyteidl.admin.Execution");
    let message = prost_reflect::DynamicMessage::deserialize(message, json!({"id": id, "spec": spec})).unwrap();
    prost_reflect::prost::Message::encode_to_vec(&message)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_looked_up_is_refused_for_that_reason_and_not_called() {
    let proxy = start().await;
    let token = proxy.token("hook", "hook");
    let status = |code| Fault::Status {
        code,
        message: "secret".to_owned(),
        details: None,
    };
    let whole = execution(&id("listed-plan"));
    let instead = |message: Vec<u8>| Fault::Instead { message };
    let other = |project: &str, domain: &str, name: &str| {
        instead(execution(&json!({"project": project, "domain": domain, "name": name})))
    };
    let http = |status| Fault::Http {
        status,
        body: "<html>".to_owned(),
    };
    let table = [
        (status(14), Reason::UpstreamUnreachable),
        (status(4), Reason::UpstreamTimeout),
        (status(13), Reason::UpstreamFailed),
        (status(2), Reason::UpstreamFailed),
        (status(8), Reason::UpstreamFailed),
        (status(12), Reason::UpstreamFailed),
        (status(16), Reason::CredentialRefused),
        // As if it did not exist.
        (status(5), Reason::ResourceNotListed),
        (status(3), Reason::ResourceNotListed),
        (status(7), Reason::ResourceNotListed),
        (http(503), Reason::UpstreamFailed),
        (http(200), Reason::UpstreamFailed),
        (Fault::Reset, Reason::UpstreamFailed),
        (Fault::ResetMidway, Reason::UpstreamFailed),
        (Fault::NoTrailers, Reason::UpstreamFailed),
        (Fault::Garbage, Reason::AnswerUnreadable),
        (Fault::Huge { bytes: 17 << 20 }, Reason::AnswerUnreadable),
        (instead(Vec::new()), Reason::AnswerUnreadable),
        (instead(b"\xff".to_vec()), Reason::AnswerUnreadable),
        (
            instead([whole.clone(), whole.clone()].concat()),
            Reason::AnswerUnreadable,
        ),
        (instead(whole[..whole.len() - 1].to_vec()), Reason::AnswerUnreadable),
        // Another execution than was asked for, as from a database that compares loosely.
        (other("ml", "development", "LISTED-PLAN"), Reason::ResourceNotListed),
        (other("ml", "development", "listed-plan "), Reason::ResourceNotListed),
        (other("ml", "production", "listed-plan"), Reason::ResourceNotListed),
        (other("ML", "development", "listed-plan"), Reason::ResourceNotListed),
        (other("", "", ""), Reason::ResourceNotListed),
    ];
    for (fault, reason) in table {
        proxy.control_plane.script(Script::on("GetExecution", fault.clone()));
        for grpc in [true, false] {
            let refusals = proxy.metric("refusals_total");
            let call = async {
                if grpc {
                    let message = json!({"id": id("listed-plan")});
                    let call = proxy
                        .client
                        .call(Some(&token), "AdminService/GetExecutionData", message);
                    call.await.unwrap()
                } else {
                    let target = "/api/v1/data/executions/ml/development/listed-plan";
                    proxy.client.get(Some(&token), target).await.unwrap()
                }
            };
            let (reply, arrivals, record) = made(&proxy, call).await;
            assert_eq!(rpcs(&arrivals), ["GetExecution"], "{fault:?}");
            assert_eq!(record["reason"], reason.label(), "{fault:?}: {record:#}");
            let message = reply.message();
            assert!(message.contains(&format!("[{}; request ", reason.label())), "{message}");
            assert!(!message.contains("secret"), "{message}");
            match reply.grpc_status() {
                Some(status) => assert_eq!(status, u16::from(reason.status().grpc)),
                None => assert_eq!(reply.status, reason.status().http),
            }
            assert!((proxy.metric("refusals_total") - refusals - 1.0).abs() < f64::EPSILON);
        }
        proxy.control_plane.clear_scripts();
    }
    // The answer that all of them are changes of.
    proxy
        .control_plane
        .script(Script::on("GetExecution", instead(whole)).times(1));
    let message = json!({"id": id("listed-plan")});
    let reply = proxy
        .client
        .call(Some(&token), "AdminService/GetExecutionData", message)
        .await
        .unwrap();
    assert_eq!(reply.grpc_status(), Some(0), "{}", reply.message());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_takes_no_longer_than_the_caller_waits() {
    let proxy = start().await;
    let bearer = format!("Bearer {}", proxy.token("hook", "hook"));
    let headers = [("authorization", bearer.as_str()), ("grpc-timeout", "300m")];
    for fault in [
        Fault::Hang,
        Fault::Slow {
            piece: 1,
            milliseconds: 100,
        },
    ] {
        proxy.control_plane.script(Script::on("GetExecution", fault).times(1));
        let message = proxy
            .client
            .encode("AdminService/GetExecutionData", json!({"id": id("listed-plan")}));
        let frame = flyte_authz_proxy::protocol::envelope::frame(&message.unwrap());
        let path = "/flyteidl.service.AdminService/GetExecutionData";
        let call = proxy.client.grpc(path, &headers, frame);
        let (reply, arrivals, record) = made(&proxy, async { call.await.unwrap() }).await;
        assert_eq!(record["reason"], "upstream_timeout", "{record:#}");
        assert_eq!((reply.grpc_status(), rpcs(&arrivals)), (Some(4), vec!["GetExecution"]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_goes_as_the_callers_own_question() {
    let proxy = start().await;
    let bearer = format!("Bearer {}", proxy.token("hook", "hook"));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [
        ("authorization", bearer.as_str()),
        ("traceparent", trace),
        ("x-request-id", "mine"),
        ("x-user-subject", "root"),
        ("x-forwarded-for", "1.2.3.4"),
        ("grpc-accept-encoding", "gzip"),
        ("accept", "application/json"),
    ];
    let call = async {
        let target = "/api/v1/data/executions/ml/development/listed-plan";
        proxy.client.rest(Method::GET, target, &headers, "").await.unwrap()
    };
    let (reply, arrivals, record) = made(&proxy, call).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let [lookup, forwarded] = arrivals.as_slice() else {
        panic!("{arrivals:#?}");
    };
    assert_eq!((lookup.protocol, forwarded.protocol), ("grpc", "http"));
    assert_eq!(lookup.target, "/flyteidl.service.AdminService/GetExecution");
    for name in [
        "authorization",
        "traceparent",
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-host",
    ] {
        assert_eq!(lookup.header(name).len(), 1, "{name}");
        assert_eq!(lookup.header(name), forwarded.header(name), "{name}");
    }
    assert_eq!(lookup.header("authorization"), [bearer.as_str()]);
    assert_eq!(lookup.header("x-request-id"), [record["request_id"].as_str().unwrap()]);
    assert_eq!(lookup.header("grpc-accept-encoding"), ["identity"]);
    assert_eq!(lookup.header("content-type"), ["application/grpc"]);
    assert_eq!(lookup.header("te"), ["trailers"]);
    assert!(lookup.header("x-user-subject").is_empty() && lookup.header("host").is_empty());
    assert!(lookup.authority.starts_with("127.0.0.1:"), "{}", lookup.authority);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_somebody_at_the_console_the_look_up_carries_the_token_of_the_session() {
    let keys = SessionKeys::generate().unwrap();
    let proxy = Proxy::start_with(|setup| {
        POLICY.clone_into(&mut setup.policy);
        setup.session_keys = Some(keys.clone());
    })
    .await;
    let token = proxy.token("hook", "hook");
    let cookies = keys
        .cookies(&token, "an access token", SystemClock.unix_seconds())
        .unwrap();
    let call = async {
        let target = "/api/v1/executions/ml/development/e";
        let headers = [("cookie", cookies.as_str())];
        proxy.client.rest(Method::GET, target, &headers, "").await.unwrap()
    };
    let (_, arrivals, record) = made(&proxy, call).await;
    assert_eq!(
        (&record["credential"], &record["lookups"]),
        (&json!("session"), &json!(1)),
        "{record:#}"
    );
    // FlyteAdmin takes cookies by HTTP only.
    assert_eq!(arrivals[0].protocol, "grpc");
    assert_eq!(arrivals[0].header("authorization"), [format!("IDToken {token}")]);
    assert!(arrivals[0].header("cookie").is_empty());

    let bearer = format!("Bearer {token}");
    let call = async {
        let message = proxy
            .client
            .encode("AdminService/GetExecution", json!({"id": id("e")}))
            .unwrap();
        let frame = flyte_authz_proxy::protocol::envelope::frame(&message);
        let headers = [("flyte-authorization", bearer.as_str())];
        let path = "/flyteidl.service.AdminService/GetExecution";
        proxy.client.grpc(path, &headers, frame).await.unwrap()
    };
    let (_, arrivals, _) = made(&proxy, call).await;
    assert_eq!(arrivals[0].header("flyte-authorization"), [bearer.as_str()]);
    assert!(arrivals[0].header("authorization").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organization_that_is_accepted_is_asked_for_too() {
    let proxy = Proxy::start_with(|setup| {
        POLICY.clone_into(&mut setup.policy);
        setup.configuration.push_str("flyte: { organizations: [acme] }\n");
    })
    .await;
    let token = proxy.token("hook", "hook");
    let mut id = id("e");
    id["org"] = json!("acme");
    let call = proxy
        .client
        .call(Some(&token), "AdminService/GetExecution", json!({"id": id}));
    let (_, arrivals, _) = made(&proxy, async { call.await.unwrap() }).await;
    assert_eq!(arrivals.len(), 1);
    assert_eq!(arrivals[0].request, Some(json!({"id": id})));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_execution_recovers_or_belongs_to_is_looked_up_too() {
    let proxy = start().await;
    let token = proxy.token("hook", "hook");
    for (name, plan) in [("lib-listed", "lp3"), ("lib-other", "lp9")] {
        let plan_id = thing("LAUNCH_PLAN", "shared-lib/production", plan);
        if plan == "lp9" {
            let spec = json!({"workflow_id": workflow(&proxy, "shared-lib/production", plan).await});
            create(&proxy, "CreateLaunchPlan", json!({"id": plan_id, "spec": spec})).await;
        }
        let spec = json!({"launch_plan": plan_id});
        let message = json!({"project": "shared-lib", "domain": "production", "name": name, "spec": spec});
        create(&proxy, "CreateExecution", message).await;
    }
    proxy.control_plane.clear();
    let lib = |name: &str| json!({"project": "shared-lib", "domain": "production", "name": name});
    let reference = |id: Value| json!({"mode": "RECOVERED", "reference_execution": id});
    let parent = |id: Value| json!({"parent_node_execution": {"execution_id": id, "node_id": "n0"}});
    let create = async |plan: &str, metadata: Value| {
        let spec = json!({"launch_plan": thing("LAUNCH_PLAN", "ml/development", plan), "metadata": metadata});
        let message = json!({"project": "ml", "domain": "development", "spec": spec});
        let call = proxy.client.call(Some(&token), "AdminService/CreateExecution", message);
        made(&proxy, async { call.await.unwrap() }).await
    };
    for metadata in [
        reference(id("listed-task")),
        reference(id("foreign-plan")),
        parent(id("listed-plan")),
        reference(lib("lib-listed")),
    ] {
        let (reply, arrivals, record) = create("lp1", metadata.clone()).await;
        assert_eq!(reply.grpc_status(), Some(0), "{metadata}: {}", reply.message());
        assert_eq!(rpcs(&arrivals), ["GetExecution", "CreateExecution"], "{metadata}");
        assert_eq!(record["lookups"], 1);
    }
    let mut texts = Vec::new();
    for name in HIDDEN {
        let (reply, arrivals, _) = create("lp1", reference(id(name))).await;
        assert_eq!(rpcs(&arrivals), ["GetExecution"], "{name}");
        texts.push(told(&reply));
        let (_, arrivals, _) = create("lp1", parent(id(name))).await;
        assert_eq!(rpcs(&arrivals), ["GetExecution"], "{name}");
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:#?}");
    // It may view everything in the library, but brings from there only what it may run here.
    let (_, arrivals, record) = create("lp1", reference(lib("lib-other"))).await;
    assert_eq!(rpcs(&arrivals), ["GetExecution"]);
    assert_eq!(record["reason"], "resource_not_listed", "{record:#}");
    // What is refused whatever it refers to, is refused without asking.
    let (_, arrivals, record) = create("lp2", reference(id("listed-task"))).await;
    assert!(arrivals.is_empty(), "{arrivals:#?}");
    assert_eq!(record["reason"], "resource_not_listed");

    // Two executions are two questions, and one twice is one.
    for (other, expected) in [("foreign-plan", 2), ("listed-task", 1)] {
        let message = json!({"id": id("listed-task"), "metadata": parent(id(other))});
        let call = proxy
            .client
            .call(Some(&token), "AdminService/RecoverExecution", message);
        let (reply, arrivals, record) = made(&proxy, async { call.await.unwrap() }).await;
        assert_eq!(reply.grpc_status(), Some(0), "{}", reply.message());
        assert_eq!((&record["lookups"], arrivals.len()), (&json!(expected), expected + 1));
    }
    let message = json!({"id": id("listed-task"), "metadata": parent(id("other-task"))});
    let call = proxy
        .client
        .call(Some(&token), "AdminService/RecoverExecution", message);
    let (_, arrivals, _) = made(&proxy, async { call.await.unwrap() }).await;
    assert_eq!(rpcs(&arrivals), ["GetExecution", "GetExecution"]);
}
