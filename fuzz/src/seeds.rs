//! The inputs that fuzzing begins with, made from fixtures of the tests. `tests/corpus.rs` keeps them in `corpus`.

use crate::response_filter::ANSWERS;
use crate::routes::{message, planned};
use crate::token::{AUDIENCE, ISSUER, NOW};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::GzEncoder;
use flyte_authz_proxy::protocol::envelope::frame;
use prost::Message as _;
use prost_reflect::DynamicMessage;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;

/// The most seeds of a target; more add little to what they cover.
const MOST: usize = 72;

/// The seeds of every target.
pub fn all() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let vectors: Vec<Vector> = read("gateway-vectors.json");
    let targets: Vec<Vec<u8>> = vectors
        .iter()
        .map(|vector| vector.target.clone().into_bytes())
        .collect();
    let heads: Vec<Vec<u8>> = vectors.iter().map(Vector::text).collect();
    let wire: Vec<Vec<u8>> = requests(&vectors)
        .into_iter()
        .map(|(route, request)| [&[route, 0xff][..], &request].concat())
        .collect();
    vec![
        ("canonical", spread(targets)),
        ("classify_lookup", spread([grpc_heads(), heads.clone()].concat())),
        ("cookie", cookies()),
        ("diff_gateway", spread(heads)),
        (
            "diff_json",
            spread([with_mode(&json_bodies(&vectors), 0), assembled(7)].concat()),
        ),
        ("diff_wire", spread([with_mode(&wire, 0), assembled(1)].concat())),
        ("grpc_frame", frames()),
        ("json_walk", spread(json_bodies(&vectors))),
        ("policy_document", policies()),
        ("response_filter", answers()),
        ("token", tokens()),
        ("wire_walk", spread(wire)),
    ]
}

/// Of many inputs some, from all parts of the list.
fn spread(mut inputs: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    inputs.sort();
    inputs.dedup();
    let step = inputs.len().div_ceil(MOST).max(1);
    inputs.into_iter().step_by(step).collect()
}

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()))
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_slice(&fixture(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"))
}

/// A request that was recorded at the gateway.
#[derive(Deserialize)]
struct Vector {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body_b64: String,
    grpc_path: Option<String>,
    request_b64: Option<String>,
}

impl Vector {
    fn text(&self) -> Vec<u8> {
        let mut text = format!("{} {} 1.1\nhost: flyte.example.com\n", self.method, self.target);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\n"));
        }
        let body = STANDARD.decode(&self.body_b64).expect("base64");
        [text.as_bytes(), b"\n", &body].concat()
    }
}

fn grpc_heads() -> Vec<Vec<u8>> {
    let head = |path: &str, headers: &str| {
        format!("POST http://flyte.example.com{path} 2\ncontent-type: application/grpc\nte: trailers\n{headers}\n")
            .into_bytes()
    };
    vec![
        head(
            "/flyteidl.service.AdminService/CreateExecution",
            "grpc-encoding: gzip\ngrpc-timeout: 10S\n",
        ),
        head(
            "/flyteidl.service.AdminService/GetTask",
            "grpc-timeout: 99999999n\nconnection: close\n",
        ),
        head(
            "/flyteidl.service.AdminService/gettask",
            "x-http-method-override: PUT\n",
        ),
        head("/grpc.health.v1.Health/Check", "upgrade: h2c\n"),
        b"GET /console/select-project 1.1\nhost: flyte.example.com\naccept: application/octet-stream\n\n".to_vec(),
        b"OPTIONS /api/v1/projects 1.1\nhost: flyte.example.com\norigin: https://a.example.com\n\n".to_vec(),
        b"GET /login?redirect_url=/console 1.1\nhost: flyte.example.com\n\n".to_vec(),
    ]
}

/// The place of a route among those that are chosen from.
fn place(rpc: &str) -> Option<u8> {
    let place = planned().iter().position(|route| *route.rpc == *rpc)?;
    u8::try_from(place).ok()
}

/// Requests in protobuf, each with its route.
fn requests(vectors: &[Vector]) -> Vec<(u8, Vec<u8>)> {
    let recorded = vectors.iter().filter_map(|vector| {
        let route = place(vector.grpc_path.as_ref()?)?;
        Some((route, STANDARD.decode(vector.request_b64.as_ref()?).expect("base64")))
    });
    let written = written().into_iter().map(|(rpc, body)| {
        let route = place(rpc).expect("a route with a plan");
        let descriptor = message(&planned()[usize::from(route)].request);
        (
            route,
            DynamicMessage::deserialize(descriptor, body)
                .expect("a request")
                .encode_to_vec(),
        )
    });
    written.chain(recorded).collect()
}

/// Requests that have much of what is judged. Their maps have one entry each, so that every run encodes them alike.
fn written() -> Vec<(&'static str, Value)> {
    let id = |kind: &str| json!({"resourceType": kind, "project": "ml", "domain": "development", "name": "n", "version": "1"});
    let task = json!({"taskNode": {"referenceId": id("TASK")}});
    let pod = json!({"metadata": {"annotations": {"iam.amazonaws.com/role": "r"}}, "podSpec": {
        "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s"}}}]}]}});
    vec![
        (
            "/flyteidl.service.AdminService/CreateExecution",
            json!({
            "project": "ml", "domain": "development", "name": "e1", "spec": {
                "launchPlan": id("LAUNCH_PLAN"),
                "metadata": {"referenceExecution": {"project": "o", "domain": "production", "name": "e"}},
                "securityContext": {"runAs": {"k8sServiceAccount": "sa", "iamRole": "role"}},
                "rawOutputDataConfig": {"outputLocationPrefix": "s3://bucket/x"},
                "annotations": {"values": {"flyte.secrets/s0": "v"}},
                "clusterAssignment": {"clusterPoolName": "gpu"}}}),
        ),
        (
            "/flyteidl.service.AdminService/CreateWorkflow",
            json!({"id": id("WORKFLOW"), "spec": {"template": {"nodes": [
            {"branchNode": {"ifElse": {"case": {"thenNode": task}, "other": [{"thenNode": task}], "elseNode": task}}},
            {"arrayNode": {"node": {"workflowNode": {"launchplanRef": id("LAUNCH_PLAN")}}}}]},
            "subWorkflows": [{"failureNode": task}]}}),
        ),
        (
            "/flyteidl.service.AdminService/CreateTask",
            json!({"id": id("TASK"), "spec": {"template": {
            "k8sPod": pod, "config": {"iam.amazonaws.com/role": "r"}, "custom": {"list": [{"serviceAccount": "sa"}, null]},
            "securityContext": {"secrets": [{"group": "g", "key": "k"}]}}}}),
        ),
        (
            "/flyteidl.service.AdminService/CreateLaunchPlan",
            json!({"id": id("LAUNCH_PLAN"), "spec": {
            "workflowId": id("WORKFLOW"), "authRole": {"kubernetesServiceAccount": "sa"}}}),
        ),
        (
            "/flyteidl.service.AdminService/ListTasks",
            json!({"id": {"project": "ml", "domain": "production"}, "limit": 5,
            "token": "3", "filters": "eq(name,x)", "sortBy": {"key": "created_at", "direction": "ASCENDING"}}),
        ),
        (
            "/flyteidl.service.DataProxyService/CreateUploadLocation",
            json!({"project": "ml", "domain": "development",
            "filename": "f", "filenameRoot": "r"}),
        ),
        (
            "/flyteidl.service.DataProxyService/GetData",
            json!({"flyteUrl": "flyte://v1/ml/development/e/n0/i"}),
        ),
    ]
}

/// Bodies in JSON, each behind its route and a limit that does not count.
fn json_bodies(vectors: &[Vector]) -> Vec<Vec<u8>> {
    let recorded = vectors.iter().filter_map(|vector| {
        let route = place(vector.grpc_path.as_ref()?)?;
        let body = STANDARD.decode(&vector.body_b64).expect("base64");
        body.starts_with(b"{").then(|| [&[route, 0xff][..], &body].concat())
    });
    let written = written().into_iter().map(|(rpc, body)| {
        [
            &[place(rpc).expect("a route with a plan"), 0xff][..],
            body.to_string().as_bytes(),
        ]
        .concat()
    });
    written.chain(recorded).collect()
}

fn with_mode(inputs: &[Vec<u8>], mode: u8) -> Vec<Vec<u8>> {
    inputs
        .iter()
        .map(|input| [&input[..1], &[mode], &input[2..]].concat())
        .collect()
}

/// For every route, choices from which a message is put together.
fn assembled(mode: u8) -> Vec<Vec<u8>> {
    let routes = 0..u8::try_from(planned().len()).expect("one byte chooses");
    let choices =
        |route: u8| (0..48_u8).map(move |index| route.wrapping_mul(37) ^ index.wrapping_mul(index).wrapping_mul(11));
    routes
        .map(|route| [route, mode].into_iter().chain(choices(route)).collect())
        .collect()
}

fn frames() -> Vec<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(b"\x0a\x02ml\x12\x0bdevelopment").expect("into memory");
    let mut compressed = frame(&gzip.finish().expect("into memory")).to_vec();
    compressed[0] = 1;
    vec![
        [&[0][..], &frame(b"\x0a\x02ml")].concat(),
        [&[0][..], &frame(b"")].concat(),
        [&[0][..], &frame(b"a"), &frame(b"b")].concat(),
        [&[1][..], &compressed].concat(),
        [&[3][..], &[b'a'; 64]].concat(),
        [&[3 | 8 << 2][..], &[b'a'; 64]].concat(),
        b"\x00gzip".to_vec(),
        b"\x00identity".to_vec(),
    ]
}

fn cookies() -> Vec<Vec<u8>> {
    #[derive(Deserialize)]
    struct Fixture {
        vectors: Vec<Cookie>,
    }
    #[derive(Deserialize)]
    struct Cookie {
        name: String,
        cookie: Option<String>,
    }
    let fixture: Fixture = read("securecookie-vectors.json");
    let pairs = fixture
        .vectors
        .into_iter()
        .filter_map(|one| Some(format!("{}={}", one.name, one.cookie?)));
    let pairs: Vec<String> = pairs.filter(|pair| pair.len() <= 4200).collect();
    let id_tokens = pairs.iter().filter(|pair| pair.starts_with("flyte_idt="));
    let halves: Vec<&str> = ["flyte_at_1=", "flyte_at_2="]
        .into_iter()
        .filter_map(|name| pairs.iter().map(String::as_str).find(|pair| pair.starts_with(name)))
        .collect();
    let mut inputs: Vec<Vec<u8>> = pairs.iter().map(|pair| format!("={pair}").into_bytes()).collect();
    inputs.extend(id_tokens.map(|id_token| format!("={id_token}; a=b\n{}", halves.join("; ")).into_bytes()));
    for text in [
        &b"\x04\x0c\x00\x01a"[..],
        b"\x05\x0c\x00\x01a",
        b"\x03\x0c\x00\x00",
        b"\x04\x0c\x00\x01\xff",
    ] {
        inputs.push([b"\x001795301903|", text].concat());
        inputs.push([b"\x011|", text].concat());
    }
    let long = [b"\x021795301903|\xff\xcc\x0c\x00\xff\xc8", &[b'x'; 200][..]].concat();
    inputs.push(long);
    inputs
}

fn tokens() -> Vec<Vec<u8>> {
    let header = json!({"alg": "EdDSA", "kid": "k1", "typ": "JWT"});
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 60, "iat": NOW - 60, "nbf": NOW - 60,
        "email": "alice@example.com", "email_verified": true, "groups": ["ml-team", "a b"], "azp": "ci", "scp": "all",
    });
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        format!("{header}\n{claims}").into_bytes()
    };
    let mut inputs = vec![
        with("jti", json!("1")),
        with("aud", json!(["other", AUDIENCE])),
        with("groups", json!("ml-team, other")),
        with("exp", json!(1e9)),
        with("nbf", json!(1_800_000_060.5)),
        with("events", json!({})),
        with("email", json!("a@b@c")),
        with("_claim_names", json!({"groups": "src1"})),
        format!("{}\n{claims}", json!({"alg": "EdDSA", "key_id": "k1", "typ": "at+jwt"})).into_bytes(),
        format!("{}\n{claims}", json!({"alg": "none"})).into_bytes(),
        format!("{}\n{claims}", json!({"alg": "EdDSA", "crit": ["b64"], "b64": false})).into_bytes(),
        format!(
            "{header}\n{}",
            claims
                .to_string()
                .replace("\"aud\"", "\"iss\":\"https://evil.example.com\",\"aud\"")
        )
        .into_bytes(),
    ];
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    inputs.push(format!("{header}.{claims}.AAAA").into_bytes());
    inputs.push(format!("{header}.{claims}.").into_bytes());
    inputs.push(b"an-opaque-token".to_vec());
    inputs
}

fn policies() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .expect("it is there")
        .map(|entry| entry.expect("a file").path())
        .collect();
    paths.retain(|path| {
        path.extension().is_some_and(|extension| extension == "yaml") && !path.to_string_lossy().contains(".test.")
    });
    paths.sort();
    let mut inputs: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).expect("a file")).collect();
    inputs.push(b"version: 1\nrules: [{name: a, subjects: [{anyone: true}], allow: [{projects: [ml], domains: [production], role: viewer}]}]\n".to_vec());
    inputs.push(
        b"version: 1\nroles: {r: [view_executions]}\nrules:\n- name: a\n  subjects: [{claim: team, pattern: \"(?<project>.+)\"}]\n  unless: [{email: [x@example.com]}]\n  allow: [{projects: [\"${project}\"], domains: [\"*\"], role: r, tasks: [t]}]\n  deny: [{projects: [\"f*\"]}]\nrevoked: [{subject: [alice], issued_before: 2026-01-01T00:00:00Z}]\n"
            .to_vec(),
    );
    inputs
}

fn answers() -> Vec<Vec<u8>> {
    let files = [
        ("projects", "flyteidl.admin.Projects"),
        ("tasks", "flyteidl.admin.TaskList"),
        ("attributes", "flyteidl.admin.ListMatchableAttributesResponse"),
        ("executions", "flyteidl.admin.ExecutionList"),
    ];
    let mut inputs = Vec::new();
    for (index, items) in ANSWERS.iter().enumerate() {
        let which = u8::try_from(index << 1).expect("there are few");
        let file = files.iter().find(|(_, response)| **response == *items.response);
        let (protobuf, json) = match file {
            Some((name, _)) => (
                fixture(&format!("answers/{name}.binpb")),
                fixture(&format!("answers/{name}.json")),
            ),
            None => (
                Vec::new(),
                format!(
                    "{{\"{}\":[{{}},{{\"id\":{{\"project\":\"ml\"}}}}],\"token\":\"\"}}",
                    items.list.json
                )
                .into_bytes(),
            ),
        };
        for choice in [0x2a, 0xff] {
            inputs.push([&[which, choice][..], &protobuf].concat());
            inputs.push([&[which | 1, choice][..], &json].concat());
        }
    }
    inputs
}
