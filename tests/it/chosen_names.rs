//! Names that callers choose for new executions, under allow-lists: FlyteAdmin writes the inputs of a new execution over those
//! of one that has the name already, so that what that runs counts, too.

use crate::lookups::{execution, id, made, rpcs, start, start_with, thing, told};
use crate::proxy::Proxy;
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::demo::control_plane::{Arrival, Fault, Script};
use flyte_authz_proxy::model::reason::Reason;
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The calls that choose a name, with their REST bindings and how many stored executions they name besides.
const METHODS: [(&str, &str, usize); 3] = [
    ("CreateExecution", "/api/v1/executions", 0),
    ("RelaunchExecution", "/api/v1/executions/relaunch", 1),
    ("RecoverExecution", "/api/v1/executions/recover", 1),
];

/// What starts the listed launch plan under a name.
fn message(method: &str, name: &str) -> Value {
    let spec = json!({"launch_plan": thing("LAUNCH_PLAN", "ml/development", "lp1")});
    match method {
        "CreateExecution" => json!({"project": "ml", "domain": "development", "name": name, "spec": spec}),
        _ => json!({"id": id("listed-plan"), "name": name}),
    }
}

async fn by_grpc(proxy: &Proxy, token: &str, method: &str, name: &str) -> (Reply, Vec<Arrival>, Value) {
    let rpc = format!("AdminService/{method}");
    let call = proxy.client.call(Some(token), &rpc, message(method, name));
    made(proxy, async { call.await.unwrap() }).await
}

async fn by_rest(proxy: &Proxy, token: &str, method: &str, name: &str) -> (Reply, Vec<Arrival>, Value) {
    let (_, target, _) = METHODS.iter().find(|(known, ..)| *known == method).unwrap();
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = message(method, name).to_string();
    let call = proxy.client.rest(Method::POST, target, &headers, body);
    made(proxy, async { call.await.unwrap() }).await
}

/// Makes the call both ways.
async fn both(proxy: &Proxy, token: &str, method: &str, name: &str) -> [(Reply, Vec<Arrival>, Value); 2] {
    [
        by_grpc(proxy, token, method, name).await,
        by_rest(proxy, token, method, name).await,
    ]
}

/// So many look-ups, and then perhaps the call.
fn after_lookups(lookups: usize, call: Option<&str>) -> Vec<String> {
    let lookups = std::iter::repeat_n("GetExecution", lookups);
    lookups.chain(call).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_something_else_has_already_is_refused_and_nothing_arrives() {
    let proxy = start().await;
    let token = proxy.token("hook", "hook");
    for (method, _, others) in METHODS {
        let mut texts = BTreeSet::new();
        for name in ["other-task", "other-plan", "own-lp3"] {
            let (refusals, lookups) = (proxy.metric("refusals_total"), proxy.metric("lookups_total"));
            for (reply, arrivals, record) in both(&proxy, &token, method, name).await {
                assert_eq!(rpcs(&arrivals), after_lookups(others + 1, None), "{method} {name}");
                assert_eq!(arrivals[others].request, Some(json!({"id": id(name)})));
                match reply.grpc_status() {
                    Some(status) => assert_eq!(status, 7, "{method}"),
                    None => assert_eq!(reply.status, 403, "{method}"),
                }
                assert_eq!(
                    (&record["outcome"], &record["reason"], &record["lookups"]),
                    (&json!("denied"), &json!("resource_not_listed"), &json!(others + 1)),
                    "{record:#}"
                );
                let holder = record["targets"].as_array().unwrap().last().unwrap();
                assert_eq!(
                    (&holder["execution"], &holder["reference"]),
                    (&json!(name), &json!("name"))
                );
                assert_eq!(holder["needs"], json!(["create_executions"]));
                assert_eq!(holder["runs"]["project"], "ml", "{record:#}");
                texts.insert(told(&reply));
            }
            assert!((proxy.metric("refusals_total") - refusals - 2.0).abs() < f64::EPSILON);
            let asked = f64::from(u32::try_from(2 * (others + 1)).unwrap());
            assert!((proxy.metric("lookups_total") - lookups - asked).abs() < f64::EPSILON);
        }
        assert_eq!(texts.len(), 2, "{method}: one for gRPC and one for REST: {texts:#?}");
        let told =
            "for what the execution runs in project ml, domain development, to which the field `name` refers: only the";
        assert!(texts.iter().all(|text| text.contains(told)), "{texts:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_nothing_has_or_something_listed_is_forwarded_once() {
    let proxy = start().await;
    let token = proxy.token("hook", "hook");
    for (method, _, others) in METHODS {
        for way in ["grpc", "rest"] {
            let fresh = format!("new-{way}-{}", method.to_lowercase());
            for name in [&fresh, "listed-task", "listed-plan", "foreign-plan"] {
                let (reply, arrivals, record) = match way {
                    "grpc" => by_grpc(&proxy, &token, method, name).await,
                    _ => by_rest(&proxy, &token, method, name).await,
                };
                assert_eq!(rpcs(&arrivals), after_lookups(others + 1, Some(method)), "{name}");
                assert_eq!(
                    (&record["outcome"], &record["lookups"]),
                    (&json!("forwarded"), &json!(others + 1)),
                    "{record:#}"
                );
                assert_eq!(record["rules"], json!(["hook"]));
                let targets = record["targets"].as_array().unwrap();
                let holder = targets.iter().find(|target| target["reference"] == "name");
                // What does not exist is nothing that the call touches.
                assert_eq!(
                    holder.map(|holder| &holder["execution"]),
                    (*name != fresh).then_some(&json!(name))
                );
                // FlyteAdmin itself says that the name is taken.
                let (grpc, rest) = if *name == fresh { (0, 200) } else { (6, 409) };
                match reply.grpc_status() {
                    Some(status) => assert_eq!(status, grpc, "{method} {name}: {}", reply.message()),
                    None => assert_eq!(reply.status, rest, "{method} {name}"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_asked_without_lists_without_a_name_or_where_the_call_is_refused_anyway() {
    let proxy = start().await;
    let (open, hook) = (proxy.token("open", "open"), proxy.token("hook", "hook"));
    for (method, _, others) in METHODS {
        // FlyteAdmin gives a name of its own to what has none.
        for (token, name) in [(&open, "other-plan"), (&open, "nowhere"), (&hook, "")] {
            for (_, arrivals, record) in both(&proxy, token, method, name).await {
                assert_eq!(rpcs(&arrivals), after_lookups(others, Some(method)), "{name}");
                assert_eq!(record["outcome"], "forwarded", "{record:#}");
                let targets = record["targets"].as_array().unwrap();
                assert!(targets.iter().all(|target| target["reference"] != "name"), "{record:#}");
            }
        }
    }
    for (plan, other) in [("lp2", "listed-plan"), ("lp2", "other-plan"), ("lp2", "nowhere")] {
        let mut message = message("CreateExecution", other);
        message["spec"]["launch_plan"]["name"] = json!(plan);
        let before = proxy.before();
        let call = proxy.client.call(Some(&hook), "AdminService/CreateExecution", message);
        let reply = call.await.unwrap();
        proxy.refused(&before, &reply, Reason::ResourceNotListed).await;
    }
    // What it may not start again is refused whatever the name is.
    for name in ["other-plan", "nowhere"] {
        let message = json!({"id": id("other-task"), "name": name});
        let call = proxy
            .client
            .call(Some(&hook), "AdminService/RelaunchExecution", message);
        let (_, arrivals, record) = made(&proxy, async { call.await.unwrap() }).await;
        assert_eq!(rpcs(&arrivals), ["GetExecution"]);
        assert_eq!(record["reason"], "resource_not_listed", "{record:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deny_by_name_holds_for_what_has_the_chosen_name() {
    let proxy = start().await;
    let token = proxy.token("frozen", "frozen");
    for (method, _, others) in METHODS {
        for (_, arrivals, record) in both(&proxy, &token, method, "other-plan").await {
            assert_eq!(rpcs(&arrivals), after_lookups(others + 1, None), "{method}");
            assert_eq!(
                (&record["reason"], &record["rules"]),
                (&json!("denied_by_rule"), &json!(["frozen"]))
            );
        }
        for (_, arrivals, _) in both(&proxy, &token, method, "other-task").await {
            assert_eq!(rpcs(&arrivals), after_lookups(others + 1, Some(method)));
        }
        let (reply, arrivals, _) = by_grpc(&proxy, &token, method, &method.to_lowercase()).await;
        assert_eq!(reply.grpc_status(), Some(0), "{}", reply.message());
        assert_eq!(rpcs(&arrivals), after_lookups(others + 1, Some(method)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_where_it_is_said_that_nothing_has_the_name_the_call_goes_on() {
    let proxy = start().await;
    let token = proxy.token("hook", "hook");
    let status = |code| Fault::Status {
        code,
        message: "secret".to_owned(),
        details: None,
    };
    let found = |name: &str| Fault::Instead {
        message: execution(&json!({"project": "ml", "domain": "development", "name": name})),
    };
    let table = [
        (status(14), Reason::UpstreamUnreachable),
        (status(4), Reason::UpstreamTimeout),
        (status(13), Reason::UpstreamFailed),
        (status(12), Reason::UpstreamFailed),
        (status(16), Reason::CredentialRefused),
        (
            Fault::Http {
                status: 404,
                body: "<html>".to_owned(),
            },
            Reason::UpstreamFailed,
        ),
        (Fault::NoTrailers, Reason::UpstreamFailed),
        (Fault::Garbage, Reason::AnswerUnreadable),
        // It may exist.
        (status(3), Reason::ResourceNotListed),
        (status(7), Reason::ResourceNotListed),
        // A database that compares loosely finds what runs something listed under another name.
        (found("LISTED-PLAN"), Reason::ResourceNotListed),
        (found("listed-plan "), Reason::ResourceNotListed),
    ];
    for (fault, reason) in table {
        proxy.control_plane.script(Script::on("GetExecution", fault.clone()));
        for (reply, arrivals, record) in both(&proxy, &token, "CreateExecution", "listed-plan").await {
            assert_eq!(rpcs(&arrivals), ["GetExecution"], "{fault:?}");
            assert_eq!(record["reason"], reason.label(), "{fault:?}: {record:#}");
            assert_eq!(
                record["targets"].as_array().unwrap().last().unwrap()["execution"],
                "listed-plan"
            );
            let message = reply.message();
            assert!(message.contains(&format!("[{}; request ", reason.label())), "{message}");
            match reply.grpc_status() {
                Some(status) => assert_eq!(status, u16::from(reason.status().grpc)),
                None => assert_eq!(reply.status, reason.status().http),
            }
        }
        proxy.control_plane.clear_scripts();
    }
    proxy.control_plane.script(Script::on("GetExecution", status(5)));
    for (_, arrivals, _) in both(&proxy, &token, "CreateExecution", "other-plan").await {
        assert_eq!(rpcs(&arrivals), ["GetExecution", "CreateExecution"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_shadow_mode_a_name_that_is_taken_is_recorded_and_the_call_goes_on() {
    let proxy = start_with("enforcement: shadow\n").await;
    let token = proxy.token("hook", "hook");
    for (name, refusal) in [
        ("other-plan", Some("resource_not_listed")),
        ("listed-plan", None),
        ("fresh", None),
    ] {
        let (_, arrivals, record) = by_grpc(&proxy, &token, "CreateExecution", name).await;
        assert_eq!(rpcs(&arrivals), ["GetExecution", "CreateExecution"]);
        assert_eq!(record["would_refuse"]["reason"].as_str(), refusal, "{record:#}");
    }
    // For want of an answer nothing is held against the call.
    proxy.control_plane.script(Script::on("GetExecution", Fault::Garbage));
    let (_, arrivals, record) = by_grpc(&proxy, &token, "CreateExecution", "other-plan").await;
    assert_eq!(rpcs(&arrivals), ["GetExecution", "CreateExecution"]);
    assert!(record.get("would_refuse").is_none(), "{record:#}");
}
