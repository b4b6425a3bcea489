//! Execution guards: what a caller may ask for about how executions run, and what is written instead.

use crate::descriptors::message;
use crate::proxy::Proxy;
use flyte_authz_proxy::catalog::{Catalog, Part, Route, SlotRole};
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::model::setting::Setting;
use flyte_authz_proxy::protocol::envelope::frame;
use prost::Message as _;
use prost_reflect::DynamicMessage;
use serde_json::{Map, Value, json};

const POLICY: &str = r#"
version: 1
rules:
  - name: guarded
    subjects: [{ groups: [guarded] }]
    allow:
      - projects: [ml]
        domains: ["*"]
        role: project_admin
        service_accounts: ["${project}-runner"]
        iam_roles: []
        raw_output_prefixes: ["s3://data/${project}"]
        clusters: []
        cluster_resources: [projectQuotaCpu]
        secrets: ["${project}"]
  - name: given
    subjects: [{ groups: [given] }]
    allow:
      - projects: [ml]
        domains: ["*"]
        role: project_admin
        set:
          service_account: "${project}-${domain}"
          iam_role: "arn:aws:iam::1:role/${project}"
          raw_output_prefix: "s3://data/${project}/${domain}"
          cluster_pool: pool-ml
          cluster_label: label-ml
  - name: half
    subjects: [{ groups: [half] }]
    allow: [{ projects: [ml], domains: ["*"], role: contributor, set: { service_account: other } }]
  - name: open
    subjects: [{ groups: [open] }]
    allow: [{ projects: [ml], domains: ["*"], role: contributor }]
  - name: engine
    subjects: [{ groups: [engine] }]
    allow: [{ projects: ["*"], domains: ["*"], role: engine }]
"#;

async fn start() -> Proxy {
    Proxy::start_with(|setup| POLICY.clone_into(&mut setup.policy)).await
}

/// How a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Grpc,
    Json,
    Octets,
}

const WAYS: [Way; 3] = [Way::Grpc, Way::Json, Way::Octets];

/// Sends a message by an RPC of the admin service.
async fn send(proxy: &Proxy, group: &str, route: &Route, body: &Value, way: Way) -> Reply {
    let bearer = format!("Bearer {}", proxy.token("alice", group));
    let token = ("authorization", bearer.as_str());
    let encoded = DynamicMessage::deserialize(message(&route.request), body)
        .unwrap()
        .encode_to_vec();
    let binding = route.bindings.iter().find(|binding| binding.body).unwrap();
    let target = binding
        .variables
        .iter()
        .fold(binding.template.to_string(), |target, variable| {
            let value = body.pointer(&format!("/{}", variable.field.replace('.', "/"))).unwrap();
            target.replace(&format!("{{{}}}", variable.field), value.as_str().unwrap())
        });
    let (content_type, content) = match way {
        Way::Grpc => return proxy.client.grpc(&route.rpc, &[token], frame(&encoded)).await.unwrap(),
        // What the path sets, the body leaves out.
        Way::Json => ("application/json", without(body, route).to_string().into_bytes()),
        Way::Octets => {
            let body = without(body, route);
            let message = DynamicMessage::deserialize(message(&route.request), body).unwrap();
            ("application/octet-stream", message.encode_to_vec())
        }
    };
    let headers = [token, ("content-type", content_type)];
    proxy
        .client
        .rest(binding.method.clone(), &target, &headers, content)
        .await
        .unwrap()
}

fn without(body: &Value, route: &Route) -> Value {
    let mut body = body.clone();
    let binding = route.bindings.iter().find(|binding| binding.body).unwrap();
    for variable in &binding.variables {
        let (parent, name) = variable.field.rsplit_once('.').unwrap_or(("", &variable.field));
        let parent = if parent.is_empty() {
            String::new()
        } else {
            format!("/{}", parent.replace('.', "/"))
        };
        body.pointer_mut(&parent).unwrap().as_object_mut().unwrap().remove(name);
    }
    body
}

fn task() -> Value {
    json!({"resource_type": "TASK", "project": "ml", "domain": "staging", "name": "t", "version": "v"})
}

/// A message that asks for nothing.
fn base(route: &Route) -> Value {
    let id =
        |kind: &str| json!({"resource_type": kind, "project": "ml", "domain": "staging", "name": "n", "version": "v"});
    match &*route.rpc {
        rpc if rpc.ends_with("/CreateExecution") => {
            json!({"project": "ml", "domain": "staging", "name": "e", "spec": {"launch_plan": id("LAUNCH_PLAN")}})
        }
        rpc if rpc.ends_with("/CreateLaunchPlan") => {
            json!({"id": id("LAUNCH_PLAN"), "spec": {"workflow_id": id("WORKFLOW")}})
        }
        rpc if rpc.ends_with("/CreateTask") => json!({"id": id("TASK"), "spec": {"template": {"type": "t"}}}),
        rpc if rpc.ends_with("/CreateWorkflow") => json!({"id": id("WORKFLOW"), "spec": {"template": {}}}),
        rpc if rpc.ends_with("/UpdateProject") => json!({"id": "ml"}),
        rpc if rpc.ends_with("/UpdateProjectAttributes") => json!({"attributes": {"project": "ml"}}),
        rpc if rpc.ends_with("/UpdateProjectDomainAttributes") => {
            json!({"attributes": {"project": "ml", "domain": "staging"}})
        }
        rpc if rpc.ends_with("/UpdateWorkflowAttributes") => {
            json!({"attributes": {"project": "ml", "domain": "staging", "workflow": "w"}})
        }
        other => panic!("{other} is not known to ask for settings"),
    }
}

/// The message with a value at a path, in which `[]` is a list of one.
fn with(mut body: Value, path: &str, value: Value) -> Value {
    let mut place = &mut body;
    for segment in path.split('.').filter(|segment| *segment != "**") {
        let name = segment.trim_end_matches(['[', ']']);
        let object = place.as_object_mut().unwrap();
        let empty = if segment.ends_with("[]") {
            json!([{}])
        } else {
            json!({})
        };
        place = object.entry(name).or_insert(empty);
        if segment.ends_with("[]") {
            place = &mut place[0];
        }
    }
    *place = value;
    body
}

/// Every place in which a request can ask for a setting: the route, the path, the setting, and a message that asks there
/// for what the guard does not allow, and for what it does.
fn places(catalog: &Catalog) -> Vec<(&Route, String, Setting, Value, Option<Value>)> {
    let mut places = Vec::new();
    for route in &catalog.routes {
        for slot in route.plan.slots() {
            match slot.role {
                SlotRole::Setting(Setting::Secret) => {
                    let ask = |group: &str| with(base(route), &slot.at, json!({"group": group, "key": "k"}));
                    places.push((
                        route,
                        slot.at.to_string(),
                        Setting::Secret,
                        ask("other"),
                        Some(ask("ml")),
                    ));
                }
                SlotRole::Setting(setting @ (Setting::ClusterResource | Setting::QueueTag)) => {
                    let ask = |value: Value| with(base(route), &slot.at, value);
                    let (refused, allowed) = if setting == Setting::QueueTag {
                        (json!(["gpu"]), None)
                    } else {
                        let refused = json!({"projectQuotaCpu": "8", "defaultIamRole": "arn:aws:iam::1:role/admin"});
                        (refused, Some(ask(json!({"projectQuotaCpu": "8"}))))
                    };
                    places.push((route, slot.at.to_string(), setting, ask(refused), allowed));
                }
                SlotRole::Setting(setting) => {
                    let (path, _) = slot.parts.iter().find(|(_, part)| *part == Part::Value).unwrap();
                    let ask = |value: &str| with(base(route), path, json!(value));
                    let allowed = match setting {
                        Setting::ServiceAccount => Some(ask("ml-runner")),
                        Setting::RawOutputPrefix => Some(ask("s3://data/ml/x")),
                        Setting::Identity => Some(ask("alice")),
                        _ => None,
                    };
                    places.push((route, path.to_string(), setting, ask("s3://data/mlx"), allowed));
                }
                SlotRole::KeyedSetting => {
                    let ask = |key: &str, value: &str| {
                        let mut object = Map::new();
                        object.insert(key.to_owned(), json!(value));
                        let body = with(base(route), &slot.at, Value::Object(object));
                        // A node of a task needs the task.
                        match slot.at.split_once(".overrides") {
                            Some((node, _)) => with(body, &format!("{node}.reference_id"), task()),
                            None => body,
                        }
                    };
                    for (setting, key, allowed) in [
                        (Setting::ServiceAccount, "serviceAccountName", Some("ml-runner")),
                        (Setting::IamRole, "iam.amazonaws.com/role", None),
                        (Setting::Secret, "flyte.secrets/s0", None),
                        (Setting::Identity, "flyte.org/user-email", Some("alice")),
                    ] {
                        let refused = ask(key, "forbidden");
                        places.push((
                            route,
                            slot.at.to_string(),
                            setting,
                            refused,
                            allowed.map(|value| ask(key, value)),
                        ));
                    }
                }
                _ => {}
            }
        }
    }
    assert!(places.len() > 100, "only {} places", places.len());
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guard_does_not_allow_is_refused_wherever_it_is_asked_for() {
    let proxy = start().await;
    let catalog = Catalog::builtin().unwrap();
    for (index, (route, path, setting, refused, allowed)) in places(&catalog).into_iter().enumerate() {
        for (turn, way) in WAYS.into_iter().enumerate() {
            // Each place in one way, and each way in every third place.
            if index % WAYS.len() != turn {
                continue;
            }
            let before = proxy.before();
            let reply = send(&proxy, "guarded", route, &refused, way).await;
            let record = proxy.refused(&before, &reply, Reason::SettingRefused).await;
            let message = reply.message();
            assert!(message.contains(&format!("with {setting} `")), "{message}");
            assert!(message.contains(&path), "{path}: {message}");
            assert_eq!(record["rpc"], &*route.rpc);
            assert_eq!(record.get("set"), None);
        }
        if let Some(allowed) = allowed {
            let before = proxy.before();
            let reply = send(&proxy, "guarded", route, &allowed, Way::Grpc).await;
            proxy.forwarded(&before, &reply).await;
        }
    }
}

/// The request that arrived last at the control plane, decoded.
fn arrived(proxy: &Proxy) -> Value {
    proxy.control_plane.arrivals().pop().unwrap().request.unwrap()
}

fn at<'v>(message: &'v Value, path: &str) -> &'v Value {
    message
        .pointer(&format!("/{}", path.replace('.', "/")))
        .unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_arrives_whatever_the_caller_asked_for() {
    let proxy = start().await;
    let catalog = Catalog::builtin().unwrap();
    let own = json!({
        "security_context": {"run_as": {"k8s_service_account": "mine", "execution_identity": "alice"}, "secrets": [{"group": "g", "key": "k"}]},
        "auth_role": {"assumable_iam_role": "arn:mine"},
        "raw_output_data_config": {"output_location_prefix": "s3://mine"},
        "cluster_assignment": {"cluster_pool_name": "mine"},
        "max_parallelism": 7,
    });
    for rpc in ["CreateExecution", "CreateLaunchPlan"] {
        let route = catalog
            .lookup_rpc(&format!("/flyteidl.service.AdminService/{rpc}"))
            .unwrap();
        let mut asking = base(route);
        asking["spec"]
            .as_object_mut()
            .unwrap()
            .extend(own.as_object().unwrap().clone());
        for (body, asks) in [(base(route), false), (asking, true)] {
            for way in WAYS {
                let before = proxy.before();
                let reply = send(&proxy, "given", route, &body, way).await;
                let record = proxy.forwarded(&before, &reply).await;
                let message = arrived(&proxy);
                for (path, value) in [
                    ("spec.security_context.run_as.k8s_service_account", "ml-staging"),
                    ("spec.security_context.run_as.iam_role", "arn:aws:iam::1:role/ml"),
                    (
                        "spec.raw_output_data_config.output_location_prefix",
                        "s3://data/ml/staging",
                    ),
                    ("spec.cluster_assignment.cluster_pool_name", "pool-ml"),
                ] {
                    assert_eq!(at(&message, path), value, "{rpc} {way:?} {path}");
                }
                assert_eq!(record["set"]["service_account"], "ml-staging");
                assert_eq!(
                    record["set"].as_object().unwrap().len(),
                    if rpc == "CreateExecution" { 5 } else { 4 }
                );
                if rpc == "CreateExecution" {
                    assert_eq!(at(&message, "spec.execution_cluster_label.value"), "label-ml");
                }
                if asks {
                    // Everything else is as it was.
                    assert_eq!(at(&message, "spec.security_context.run_as.execution_identity"), "alice");
                    assert_eq!(at(&message, "spec.security_context.secrets.0.group"), "g");
                    assert_eq!(at(&message, "spec.max_parallelism"), 7);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_guard_or_anything_set_a_request_arrives_to_the_letter() {
    let proxy = start().await;
    let catalog = Catalog::builtin().unwrap();
    let route = catalog
        .lookup_rpc("/flyteidl.service.AdminService/CreateExecution")
        .unwrap();
    let body = with(
        base(route),
        "spec.security_context.run_as.k8s_service_account",
        json!("mine"),
    );
    let before = proxy.before();
    let reply = send(&proxy, "open", route, &body, Way::Grpc).await;
    let record = proxy.forwarded(&before, &reply).await;
    assert_eq!(record.get("set"), None);
    let sent = DynamicMessage::deserialize(message(&route.request), &body)
        .unwrap()
        .encode_to_vec();
    assert_eq!(proxy.control_plane.arrivals().last().unwrap().body, frame(&sent));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rules_that_set_different_things_are_a_refusal() {
    let proxy = Proxy::start_with(|setup| {
        setup.policy = POLICY.replace("groups: [half]", "groups: [given]");
    })
    .await;
    let catalog = Catalog::builtin().unwrap();
    let route = catalog
        .lookup_rpc("/flyteidl.service.AdminService/CreateExecution")
        .unwrap();
    for way in WAYS {
        let before = proxy.before();
        let reply = send(&proxy, "given", route, &base(route), way).await;
        proxy.refused(&before, &reply, Reason::SettingConflict).await;
        let message = reply.message();
        assert!(
            message.contains("service account in project ml, domain staging: `ml-staging` and `other`"),
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_carries_the_identity_of_whom_it_works_for() {
    let proxy = start().await;
    let catalog = Catalog::builtin().unwrap();
    let route = catalog
        .lookup_rpc("/flyteidl.service.AdminService/CreateExecution")
        .unwrap();
    let body = with(
        base(route),
        "spec.security_context.run_as.execution_identity",
        json!("somebody"),
    );
    for (group, allowed) in [("engine", true), ("open", false)] {
        let before = proxy.before();
        let reply = send(&proxy, group, route, &body, Way::Grpc).await;
        if allowed {
            proxy.forwarded(&before, &reply).await;
        } else {
            proxy.refused(&before, &reply, Reason::SettingRefused).await;
            assert!(
                reply.message().contains("with identity `somebody`"),
                "{}",
                reply.message()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_is_not_started_again_where_settings_are_written() {
    let proxy = start().await;
    for (group, rpc) in [("given", "RelaunchExecution"), ("given", "RecoverExecution")] {
        let body = json!({"id": {"project": "ml", "domain": "staging", "name": "e"}});
        let before = proxy.before();
        let token = proxy.token("alice", group);
        let reply = proxy
            .client
            .call(Some(&token), &format!("AdminService/{rpc}"), body)
            .await
            .unwrap();
        proxy.refused(&before, &reply, Reason::SettingRefused).await;
    }
    // Which start nothing.
    let id = json!({"project": "ml", "domain": "staging", "name": "e"});
    for (rpc, body) in [
        ("AdminService/UpdateExecution", json!({"id": id, "state": 1})),
        ("AdminService/TerminateExecution", json!({"id": id})),
        (
            "SignalService/SetSignal",
            json!({"id": {"execution_id": id, "signal_id": "s"}}),
        ),
    ] {
        let before = proxy.before();
        let token = proxy.token("alice", "given");
        let reply = proxy.client.call(Some(&token), rpc, body).await.unwrap();
        proxy.forwarded(&before, &reply).await;
    }
}

/// FlyteAdmin reads the older fields only if the newer ones name nobody.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_as_it_is_set_counts_whatever_stands_beside_it() {
    let proxy = start().await;
    let catalog = Catalog::builtin().unwrap();
    let route = catalog
        .lookup_rpc("/flyteidl.service.AdminService/CreateExecution")
        .unwrap();
    let older = json!({"kubernetes_service_account": "ml-staging", "assumable_iam_role": "arn:aws:iam::1:role/ml"});
    let body = with(base(route), "spec.auth_role", older);
    let body = with(body, "spec.security_context.run_as.execution_identity", json!("alice"));
    for way in WAYS {
        let before = proxy.before();
        let reply = send(&proxy, "given", route, &body, way).await;
        proxy.forwarded(&before, &reply).await;
        let run_as = arrived(&proxy)["spec"]["security_context"]["run_as"].clone();
        assert_eq!(run_as["k8s_service_account"], "ml-staging", "{way:?}");
        assert_eq!(run_as["iam_role"], "arn:aws:iam::1:role/ml", "{way:?}");
    }
}

/// Pods carry annotations as they are, whatever the security context says.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_annotation_asks_for_is_not_replaced_by_what_is_set() {
    let proxy = start().await;
    let catalog = Catalog::builtin().unwrap();
    let route = catalog
        .lookup_rpc("/flyteidl.service.AdminService/CreateExecution")
        .unwrap();
    for way in WAYS {
        let annotated = |role: &str| {
            with(
                base(route),
                "spec.annotations.values",
                json!({"iam.amazonaws.com/role": role}),
            )
        };
        let before = proxy.before();
        let reply = send(&proxy, "given", route, &annotated("admin"), way).await;
        proxy.refused(&before, &reply, Reason::SettingRefused).await;
        // The same as is set does not keep that from being written.
        let before = proxy.before();
        let reply = send(&proxy, "given", route, &annotated("arn:aws:iam::1:role/ml"), way).await;
        let record = proxy.forwarded(&before, &reply).await;
        assert_eq!(record["set"]["iam_role"], "arn:aws:iam::1:role/ml", "{way:?}");
    }
}

/// A pod specification as JSON, the same in each codec.
#[tokio::test(flavor = "multi_thread")]
async fn pods_are_looked_through_to_any_depth() {
    let proxy = start().await;
    let catalog = Catalog::builtin().unwrap();
    let route = catalog.lookup_rpc("/flyteidl.service.AdminService/CreateTask").unwrap();
    let deep = (0..12).fold(json!({"SERVICEACCOUNTNAME": "x"}), |inner, _| json!({"a": [inner]}));
    let mount = json!({"volumes": [{"name": "v", "secret": {"secretName": "other"}}]});
    let variable =
        json!({"containers": [{"env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "other", "key": "k"}}}]}]});
    let own = json!({"containers": [{"env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "ml", "key": "k"}}}]}], "serviceAccountName": "ml-runner"});
    for (pod, allowed) in [(deep, false), (mount, false), (variable, false), (own, true)] {
        for path in ["spec.template.k8s_pod.pod_spec", "spec.template.custom"] {
            for way in WAYS {
                let body = with(base(route), path, pod.clone());
                let before = proxy.before();
                let reply = send(&proxy, "guarded", route, &body, way).await;
                if allowed {
                    proxy.forwarded(&before, &reply).await;
                } else {
                    proxy.refused(&before, &reply, Reason::SettingRefused).await;
                }
            }
        }
    }
}
