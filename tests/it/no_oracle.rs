//! T-RESP-09: no refusal tells whether something exists. The calls are made from the catalogue, so that every scoped RPC is
//! among them.

use crate::descriptors;
use crate::hostile::show;
use crate::proxy::Proxy;
use flyte_authz_proxy::catalog::{Access, Binding, Catalog, Extent, Part, ResourceSource, Route, Slot, SlotRole};
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::demo::control_plane::{Fault, Script};
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, MapKey, MessageDescriptor, ReflectMessage, Value};
use serde_json::json;

/// `own` may do everything in ml, `lister` in fraud with the names `mine` only; `patterns` sees every project but fraud, and
/// `all` every one.
const POLICY: &str = r#"
version: 1
rules:
  - name: own
    subjects: [{ groups: [own] }]
    allow: [{ projects: [ml], domains: ["*"], actions: ["*"] }]
  - name: lister
    subjects: [{ groups: [lister] }]
    allow:
      - { projects: [fraud], domains: ["*"], actions: ["*"], tasks: [mine], workflows: [mine], launch_plans: [mine] }
  - name: patterns
    subjects: [{ groups: [patterns] }]
    allow: [{ projects: ["m*", "*-lib", "*snacks"], domains: [staging], actions: [view_data] }]
  - name: all
    subjects: [{ groups: [all, but-one] }]
    allow: [{ projects: ["*"], domains: ["*"], role: viewer }]
  - name: but-one
    subjects: [{ groups: [but-one] }]
    deny: [{ projects: [fraud], domains: ["*"], actions: ["*"] }]
"#;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/octet-stream";

/// A place and a name in it. The texts of one part are equally long, so that answers have to be, too.
#[derive(Clone, Copy, Debug)]
struct Thing {
    project: &'static str,
    name: &'static str,
}

const fn thing(project: &'static str, name: &'static str) -> Thing {
    Thing { project, name }
}

const HOME: Thing = thing("ml", "mine");
/// What is there, and what is not: the project `ghost` and whatever is called `other`.
const KNOWN: Thing = thing("fraud", "known");
const ABSENT: [Thing; 3] = [
    thing("fraud", "other"),
    thing("ghost", "known"),
    thing("ghost", "other"),
];

impl Thing {
    /// The value that stands for it in a part of a slot.
    fn value(self, slot: &Slot, path: &str, part: Part) -> Option<Value> {
        let text = match part {
            Part::Project => self.project.to_owned(),
            Part::Domain => "development".to_owned(),
            Part::Name => self.name.to_owned(),
            Part::Org | Part::Key => return None,
            Part::Kind => return Some(Value::EnumNumber(slot.accept.first().copied().unwrap_or(1))),
            Part::Value => match slot.role {
                SlotRole::FlyteUrl => format!("flyte://v1/{}/development/{}/n0/0/o/x", self.project, self.name),
                SlotRole::Required if path.ends_with("name") => self.name.to_owned(),
                SlotRole::Required | SlotRole::Reference { .. } => "v1".to_owned(),
                SlotRole::NativeUrl => format!("s3://data/{}/{}", self.project, self.name),
                SlotRole::Scope { .. }
                | SlotRole::Choice
                | SlotRole::Name
                | SlotRole::StoredName
                | SlotRole::StoredVersion
                | SlotRole::ArtifactUri
                | SlotRole::ChosenName
                | SlotRole::UploadPath
                | SlotRole::Setting(_)
                | SlotRole::KeyedSetting => return None,
            },
        };
        Some(Value::String(text))
    }
}

/// A proxy before a control plane that has everything called `known` in fraud, and in ml.
async fn start() -> Proxy {
    let proxy = Proxy::start_with(|setup| POLICY.clone_into(&mut setup.policy)).await;
    for project in ["fraud", "ml"] {
        let id = |kind: &str| json!({"resource_type": kind, "project": project, "domain": "development", "name": "known", "version": "v1"});
        let execution =
            json!({"project": project, "domain": "development", "name": "known", "spec": {"launch_plan": id("TASK")}});
        for (method, message) in [
            (
                "CreateTask",
                json!({"id": id("TASK"), "spec": {"template": {"type": "t"}}}),
            ),
            (
                "CreateWorkflow",
                json!({"id": id("WORKFLOW"), "spec": {"template": {}}}),
            ),
            (
                "CreateLaunchPlan",
                json!({"id": id("LAUNCH_PLAN"), "spec": {"workflow_id": id("WORKFLOW")}}),
            ),
            ("CreateExecution", execution),
        ] {
            let rpc = format!("AdminService/{method}");
            let reply = proxy.direct.call(None, &rpc, message).await.unwrap();
            assert_eq!(reply.grpc_status(), Some(0), "{method}: {}", reply.message());
        }
    }
    proxy
}

/// Sets what a path leads to, with one entry in every list and map on the way and no nesting.
fn put(message: &mut DynamicMessage, path: &[&str], value: Value) {
    let (first, rest) = path.split_first().unwrap();
    if *first == "**" {
        return put(message, rest, value);
    }
    let name = first.trim_end_matches(['[', ']', '{', '}']);
    let field = message.descriptor().get_field_by_name(name).unwrap();
    if rest.is_empty() {
        return message.set_field(&field, value);
    }
    let empty = |descriptor: &MessageDescriptor| Value::Message(DynamicMessage::new(descriptor.clone()));
    let Kind::Message(inner) = field.kind() else {
        panic!("{first} is no message")
    };
    let place = match message.get_field_mut(&field) {
        Value::List(list) => {
            if list.is_empty() {
                list.push(empty(&inner));
            }
            list.first_mut().unwrap()
        }
        Value::Map(map) => {
            let value = inner.map_entry_value_field().kind();
            let entry = map.entry(MapKey::String("key".to_owned()));
            entry.or_insert_with(|| empty(value.as_message().unwrap()))
        }
        single => single,
    };
    let Value::Message(place) = place else {
        panic!("{first} is no message")
    };
    put(place, rest, value);
}

/// Fills a slot of a message.
fn fill(message: &mut DynamicMessage, slot: &Slot, thing: Thing) {
    for (path, part) in &slot.parts {
        if let Some(value) = thing.value(slot, path, *part) {
            put(message, &path.split('.').collect::<Vec<_>>(), value);
        }
    }
}

/// A request of a route that acts on a thing, and refers to one in the given slot.
fn message(route: &Route, acts: Thing, refers: Option<(usize, Thing)>) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptors::message(&route.request));
    for (index, slot) in route.plan.slots().iter().enumerate() {
        match (refers, &slot.role) {
            (Some((referring, thing)), _) if referring == index => fill(&mut message, slot, thing),
            (_, SlotRole::Scope { .. } | SlotRole::FlyteUrl | SlotRole::NativeUrl | SlotRole::Required) => {
                fill(&mut message, slot, acts);
            }
            (_, SlotRole::Reference { .. }) if slot.required => fill(&mut message, slot, acts),
            (
                _,
                SlotRole::Reference { .. }
                | SlotRole::Choice
                | SlotRole::Name
                | SlotRole::StoredName
                | SlotRole::StoredVersion
                | SlotRole::ArtifactUri
                | SlotRole::ChosenName
                | SlotRole::UploadPath
                | SlotRole::Setting(_)
                | SlotRole::KeyedSetting,
            ) => {}
        }
    }
    // What a path needs besides and nobody judges.
    for variable in route.bindings.iter().flat_map(|binding| &binding.variables) {
        if text(&message, &variable.field).is_empty() {
            put(
                &mut message,
                &variable.field.split('.').collect::<Vec<_>>(),
                Value::String("v1".to_owned()),
            );
        }
    }
    message
}

/// One way to make a call.
enum Way<'r> {
    Grpc,
    Rest(&'r Binding, &'static str),
}

/// Every way to make a call of a route.
fn ways(route: &Route) -> impl Iterator<Item = Way<'_>> {
    let rest = route.bindings.iter().flat_map(|binding| {
        [JSON, PROTOBUF].map(|form| Way::Rest(binding, form)) // of the answer, and of the body if there is one
    });
    std::iter::once(Way::Grpc).chain(rest)
}

/// What a dotted path leads to in a message, for a URL.
fn text(message: &DynamicMessage, path: &str) -> String {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    match &*message.get_field_by_name(first).unwrap() {
        Value::Message(inner) => text(inner, rest),
        Value::String(text) => utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
        Value::EnumNumber(number) => number.to_string(),
        Value::U32(number) => number.to_string(),
        other => panic!("{path} is {other:?}"),
    }
}

async fn send(proxy: &Proxy, token: &str, route: &Route, message: &DynamicMessage, way: &Way<'_>) -> Reply {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("authorization", bearer.as_str())];
    let Way::Rest(binding, form) = way else {
        show(&format!("{} {message}", route.rpc));
        let frame = envelope::frame(&message.encode_to_vec());
        return proxy.plain.grpc(&route.rpc, &headers, frame).await.unwrap();
    };
    headers.push(("accept", form));
    let mut target = binding.template.to_string();
    for variable in &binding.variables {
        target = target.replace(&format!("{{{}}}", variable.field), &text(message, &variable.field));
    }
    for url in ["flyte_url", "native_url"] {
        if binding.query.iter().any(|key| &*key.field == url) {
            target = format!("{target}?{url}={}", text(message, url));
        }
    }
    show(&format!("{} {target} {form}", binding.method));
    let body = match (binding.body, *form) {
        (false, _) => Vec::new(),
        (true, JSON) => serde_json::to_vec(message).unwrap(),
        (true, _) => message.encode_to_vec(),
    };
    if binding.body {
        headers.push(("content-type", form));
    }
    proxy
        .plain
        .rest(binding.method.clone(), &target, &headers, body)
        .await
        .unwrap()
}

/// All that a caller can see of an answer, but for what is different in every answer, with the names it was asked by.
fn seen(reply: &Reply) -> String {
    let id = reply.headers["x-request-id"].to_str().unwrap().to_owned();
    let mut headers: Vec<String> = reply
        .headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    let body = String::from_utf8_lossy(&reply.body);
    assert!(reply.trailers.is_none());
    let all = format!(
        "{}\n{}\n{}\n\n{body}",
        reply.status,
        headers.join("\n"),
        reply.message()
    );
    all.replace(&id, "ID")
        .replace("ghost", "fraud")
        .replace("other", "known")
}

/// Makes a call about what is there and about what is not. The refusals are the same and nothing arrives. Gives how many
/// were made.
async fn indistinguishable(
    proxy: &Proxy,
    token: &str,
    route: &Route,
    reason: Reason,
    request: impl Fn(Thing) -> DynamicMessage,
) -> usize {
    let mut made = 0;
    for way in ways(route) {
        let before = proxy.before();
        let known = send(proxy, token, route, &request(KNOWN), &way).await;
        let known_seen = seen(&known);
        assert!(
            known_seen.contains(&format!("[{}; request ID]", reason.label())),
            "{known_seen}"
        );
        proxy.recorded(&before, reason).await;
        for thing in ABSENT {
            let before = proxy.before();
            let absent = send(proxy, token, route, &request(thing), &way).await;
            assert_eq!(seen(&absent), known_seen, "{} {thing:?}", route.rpc);
            proxy.recorded(&before, reason).await;
            made += 1;
        }
    }
    made
}

fn scoped(catalog: &Catalog) -> impl Iterator<Item = &Route> {
    catalog.routes.iter().filter(|route| route.access == Access::Scoped)
}

/// What a route acts on: how its scope is made, and the kind of thing.
fn acts(route: &Route) -> (Extent, ResourceSource) {
    let mut slots = route.plan.slots().iter();
    let scope = slots.find_map(|slot| match slot.role {
        SlotRole::Scope { extent, resource } => Some((extent, resource)),
        SlotRole::FlyteUrl => Some((Extent::Domain, ResourceSource::None)),
        _ => None,
    });
    scope.unwrap_or((Extent::Platform, ResourceSource::None))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_09_a_refused_call_looks_the_same_whether_project_and_thing_exist() {
    let proxy = start().await;
    let catalog = Catalog::builtin().unwrap();
    let token = proxy.token("alice", "own");
    let mut made = 0;
    for route in scoped(&catalog) {
        let request = |thing| message(route, thing, None);
        made += indistinguishable(&proxy, &token, route, Reason::NoMatchingRule, request).await;
    }
    assert!(made > 300, "{made}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_09_a_name_that_is_not_listed_looks_the_same_whether_it_exists() {
    let proxy = start().await;
    let catalog = Catalog::builtin().unwrap();
    let token = proxy.token("alice", "lister");
    let mut routes = 0;
    for route in scoped(&catalog) {
        // What a stored thing is the request does not say.
        let named = matches!(
            acts(route).1,
            ResourceSource::Always(_) | ResourceSource::ByKind | ResourceSource::OfAnyKind
        );
        let Some(name) = name_of(route).filter(|_| named) else {
            continue;
        };
        for way in ways(route) {
            if matches!(way, Way::Rest(binding, _) if !carries(binding, name)) {
                continue;
            }
            let mut answers = Vec::new();
            for name in ["known", "other"] {
                let before = proxy.before();
                let request = message(route, thing("fraud", name), None);
                let reply = send(&proxy, &token, route, &request, &way).await;
                proxy.recorded(&before, Reason::ResourceNotListed).await;
                answers.push(seen(&reply));
            }
            assert!(
                answers[0].contains("[resource_not_listed; request ID]"),
                "{}",
                answers[0]
            );
            assert_eq!(answers[0], answers[1]);
        }
        routes += 1;
    }
    assert!(routes > 10, "{routes}");
}

/// The field with the name of what a route acts on.
fn name_of(route: &Route) -> Option<&str> {
    let mut parts = route.plan.slots().iter().filter_map(|slot| match slot.role {
        SlotRole::Scope { .. } => slot.parts.iter().find(|(_, part)| *part == Part::Name),
        _ => None,
    });
    parts.next().map(|(path, _)| &**path)
}

/// Whether a field can be said by a binding.
fn carries(binding: &Binding, field: &str) -> bool {
    binding.body || binding.variables.iter().any(|variable| *variable.field == *field)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_09_a_refused_reference_looks_the_same_whether_it_exists() {
    let proxy = start().await;
    let catalog = Catalog::builtin().unwrap();
    let token = proxy.token("alice", "own");
    let mut references = 0;
    for route in scoped(&catalog) {
        for (index, slot) in route.plan.slots().iter().enumerate() {
            if !matches!(slot.role, SlotRole::Reference { .. }) {
                continue;
            }
            show(&format!("{} {}", route.rpc, slot.at));
            let request = |thing| message(route, HOME, Some((index, thing)));
            let made = indistinguishable(&proxy, &token, route, Reason::ReferenceRefused, request).await;
            references += usize::from(made > 0);
        }
    }
    assert!(references > 10, "{references}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_04_what_the_control_plane_says_reaches_only_who_may_make_the_call() {
    let proxy = start().await;
    let catalog = Catalog::builtin().unwrap();
    let token = proxy.token("alice", "own");
    let told = "entry fraud/development/known not found: 100 %";
    let fault = Fault::Status {
        code: 5,
        message: told.to_owned(),
        details: None,
    };
    proxy.control_plane.script(Script::on("*", fault));
    for route in scoped(&catalog) {
        // This also shows that what the tests above send is refused for nothing but where it acts.
        let allowed = acts(route).0 != Extent::Platform;
        for way in ways(route) {
            let before = proxy.before();
            let reply = send(&proxy, &token, route, &message(route, KNOWN, None), &way).await;
            proxy.recorded(&before, Reason::NoMatchingRule).await;
            assert!(!seen(&reply).contains("not found"), "{}", seen(&reply));
            if !allowed {
                continue;
            }
            let before = proxy.before();
            let reply = send(&proxy, &token, route, &message(route, HOME, None), &way).await;
            if ["/RelaunchExecution", "/RecoverExecution"]
                .iter()
                .any(|method| route.rpc.ends_with(method))
            {
                // What is started again is looked up, and there is none.
                proxy.recorded(&before, Reason::ExecutionUnknown).await;
                assert!(seen(&reply).contains("[execution_unknown; "), "{}", seen(&reply));
                continue;
            }
            proxy.forwarded(&before, &reply).await;
            match way {
                Way::Grpc => assert_eq!((reply.grpc_status(), reply.message()), (Some(5), told.to_owned())),
                Way::Rest(_, JSON) => assert_eq!((reply.status.as_u16(), reply.message()), (404, told.to_owned())),
                Way::Rest(..) => assert!(String::from_utf8_lossy(&reply.body).contains(told), "{reply:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_09_a_list_of_projects_is_the_same_whether_a_hidden_one_exists() {
    let proxy = start().await;
    for group in ["own", "patterns", "but-one"] {
        let token = proxy.token("alice", group);
        let (hidden, absent) = (
            listed(&proxy, &token, "fraud").await,
            listed(&proxy, &token, "ghost").await,
        );
        assert_eq!(hidden, absent, "{group}");
        assert!(hidden.len() > 30);
    }
}

/// The answers to whoever looks for a project among those listed: by filters, limits, pages and order, in every encoding.
async fn listed(proxy: &Proxy, token: &str, project: &str) -> Vec<Vec<u8>> {
    let bearer = format!("Bearer {token}");
    let long = vec![format!("eq(identifier,{project})"); 300].join("+");
    let filters = [
        "",
        &format!("eq(identifier,{project})"),
        &format!("value_in(identifier,ml;{project})"),
        &format!("contains(identifier,{project})"),
        &format!("ne(identifier,{project})+eq(state,0)"),
        &long,
    ];
    let mut answers = Vec::new();
    for (filters, limit, page) in filters.iter().flat_map(|filters| {
        [(0, ""), (0, "1"), (1, ""), (1, "1"), (2, "1"), (4, "")].map(|(limit, page)| (filters, limit, page))
    }) {
        let request = json!({"filters": filters, "limit": limit, "token": page});
        let reply = proxy
            .plain
            .call(Some(token), "AdminService/ListProjects", request)
            .await
            .unwrap();
        assert_eq!(reply.grpc_status(), Some(0));
        answers.push(reply.body.to_vec());
        let filters = utf8_percent_encode(filters, NON_ALPHANUMERIC);
        let target = format!("/api/v1/projects?limit={limit}&token={page}&filters={filters}");
        for form in [JSON, PROTOBUF] {
            let headers = [("authorization", bearer.as_str()), ("accept", form)];
            let reply = proxy.plain.rest(Method::GET, &target, &headers, "").await.unwrap();
            assert_eq!(reply.status, 200);
            answers.push(reply.body.to_vec());
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_01_pages_of_projects_by_pattern_are_of_what_is_shown() {
    let proxy = start().await;
    let page = async |token: &str, query: &str| {
        let reply = proxy
            .plain
            .get(Some(token), &format!("/api/v1/projects?{query}"))
            .await
            .unwrap();
        let list = reply.json();
        let ids = list["projects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|project| project["id"].as_str().unwrap().to_owned());
        let asked = proxy.control_plane.arrivals().pop().unwrap().request.unwrap();
        (
            ids.collect::<Vec<_>>(),
            list["token"].as_str().unwrap().to_owned(),
            asked,
        )
    };
    for group in ["patterns", "but-one"] {
        let token = proxy.token("alice", group);
        for (query, ids, next, asked) in [
            ("", &["flytesnacks", "ml", "shared-lib"][..], "", json!({})),
            ("limit=1", &["flytesnacks"], "1", json!({})),
            ("limit=1&token=1", &["ml"], "2", json!({})),
            ("token=2&limit=1", &["shared-lib"], "3", json!({})),
            ("limit=1&token=3", &[], "", json!({})),
            ("limit=2", &["flytesnacks", "ml"], "2", json!({})),
            ("limit=4", &["flytesnacks", "ml", "shared-lib"], "", json!({})),
            (
                "limit=1&filters=ne(identifier,ml)&token=1",
                &["shared-lib"],
                "2",
                json!({"filters": "ne(identifier,ml)"}),
            ),
        ] {
            let before = proxy.record_count();
            assert_eq!(
                page(&token, query).await,
                (ids.iter().map(|id| (*id).to_owned()).collect(), next.to_owned(), asked),
                "{query}"
            );
            assert_eq!(proxy.records_after(before, 1).await[0]["withheld"], 1, "fraud");
        }
    }
    // Nothing is hidden from this one, so that pages are the control plane's own.
    let token = proxy.token("alice", "all");
    assert_eq!(
        page(&token, "limit=1&token=1").await,
        (
            vec!["fraud".to_owned()],
            "2".to_owned(),
            json!({"limit": 1, "token": "1"})
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_04_an_error_about_filters_says_nothing_of_those_that_were_added() {
    let proxy = start().await;
    // The first is asked for the names of its grant besides, the second for nothing.
    let (lister, own) = (proxy.token("alice", "lister"), proxy.token("bob", "own"));
    for filters in [
        "broken",
        "eq(name,a)+",
        "+eq(name,a)",
        "eq(name,a)+broken",
        "eq(secret,a)",
        "eq(name)",
        "eq(name,a)+eq(fraud.name,a)",
        "near(name,a)",
    ] {
        let mut answers = Vec::new();
        for (token, project) in [(&lister, "fraud"), (&own, "ml")] {
            let request = json!({"id": {"project": project, "domain": "development"}, "limit": 5, "filters": filters});
            let reply = proxy
                .plain
                .call(Some(token), "AdminService/ListTasks", request)
                .await
                .unwrap();
            answers.push((reply.grpc_status(), reply.message()));
            let filters = utf8_percent_encode(filters, NON_ALPHANUMERIC);
            let target = format!("/api/v1/tasks/{project}/development?limit=5&filters={filters}");
            let reply = proxy.plain.get(Some(token), &target).await.unwrap();
            answers.push((Some(reply.status.as_u16()), reply.message()));
        }
        let (narrowed, plain) = answers.split_at(2);
        assert_eq!(narrowed, plain, "{filters}");
        assert_eq!((narrowed[0].0, narrowed[1].0), (Some(3), Some(400)), "{filters}");
        assert!(!narrowed[0].1.contains("mine"), "{}", narrowed[0].1);
    }
}
