//! The control plane as hyper clients see it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use super::{Arrival, ControlPlane, Fault, Options, Outcome, Script};
use crate::demo::control_plane::schema::{self, Schema, Spelling};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::time::Duration;
use tokio::net::TcpStream;

const DESCRIPTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/descriptors/flyteidl-1.16.8.binpb");
const ADMIN: &str = "/flyteidl.service.AdminService/";

fn descriptors() -> Vec<u8> {
    std::fs::read(DESCRIPTORS).unwrap_or_else(|error| {
        // Skipping would hide that nothing was tested.
        panic!("cannot read {DESCRIPTORS}: {error}; run scripts/descriptors.sh")
    })
}

async fn start() -> ControlPlane {
    ControlPlane::start(&descriptors(), Options::default()).await.unwrap()
}

/// An answer read to its end.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    trailers: HeaderMap,
}

impl Reply {
    async fn read(response: Response<hyper::body::Incoming>) -> hyper::Result<Self> {
        let (head, body) = response.into_parts();
        let collected = body.collect().await?;
        Ok(Self {
            status: head.status.as_u16(),
            headers: head.headers,
            trailers: collected.trailers().cloned().unwrap_or_default(),
            body: collected.to_bytes(),
        })
    }

    /// The status of a gRPC answer, from the trailers or (Trailers-Only) the headers.
    fn grpc_status(&self) -> &str {
        let status = self
            .trailers
            .get("grpc-status")
            .or_else(|| self.headers.get("grpc-status"));
        status.map_or("none", |status| status.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn encode(method: &str, message: &Value) -> Vec<u8> {
    let schema = Schema::read(&descriptors()).unwrap();
    let shape = schema.method(&format!("{ADMIN}{method}")).unwrap().input();
    schema::to_protobuf(&schema::from_json(shape, message, true).unwrap())
}

fn decode(method: &str, message: &[u8]) -> Value {
    let schema = Schema::read(&descriptors()).unwrap();
    let shape = schema.method(&format!("{ADMIN}{method}")).unwrap().output();
    schema::to_json(&schema::from_protobuf(shape, message).unwrap(), Spelling::Stored).unwrap()
}

fn frame(flag: u8, content: &[u8]) -> Bytes {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], content].concat().into()
}

async fn send_grpc(plane: &ControlPlane, path: &str, body: Bytes, encoding: &str) -> hyper::Result<Reply> {
    let io = TokioIo::new(TcpStream::connect(plane.grpc).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
    tokio::spawn(connection);
    let request = Request::post(format!("http://{}{path}", plane.grpc))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", encoding)
        .header("authorization", "Bearer secret-token")
        .body(Full::new(body));
    Reply::read(sender.send_request(request.unwrap()).await?).await
}

async fn call(plane: &ControlPlane, method: &str, message: &Value) -> Reply {
    let path = format!("{ADMIN}{method}");
    send_grpc(plane, &path, frame(0, &encode(method, message)), "identity")
        .await
        .unwrap()
}

async fn send_http(
    plane: &ControlPlane,
    request: http::request::Builder,
    body: impl Into<Bytes>,
) -> hyper::Result<Reply> {
    let io = TokioIo::new(TcpStream::connect(plane.http).await.unwrap());
    let (mut sender, connection) = http1::handshake(io).await?;
    tokio::spawn(connection);
    let request = request
        .header("host", "flyte.example.com")
        .body(Full::new(body.into()))
        .unwrap();
    Reply::read(sender.send_request(request).await?).await
}

fn task(name: &str, command: &str) -> Value {
    json!({
        "id": { "resource_type": "TASK", "project": "ml", "domain": "development", "name": name, "version": "v1" },
        "spec": { "template": { "type": "container", "container": { "image": "i", "command": [command] } } },
    })
}

#[tokio::test]
async fn a_task_is_stored_and_read_back_through_grpc_and_rest() {
    let plane = start().await;
    assert_eq!(
        call(&plane, "CreateTask", &task("train", "run")).await.grpc_status(),
        "0"
    );
    let id = task("train", "run")["id"].clone();
    let reply = call(&plane, "GetTask", &json!({ "id": id })).await;
    assert_eq!(reply.trailers.get("grpc-status").unwrap(), "0");
    let shown = decode("GetTask", reply.body.get(5..).unwrap());
    assert_eq!(
        shown["closure"]["compiled_task"]["template"]["container"]["command"],
        json!(["run"])
    );
    assert_eq!(shown["closure"]["compiled_task"]["template"]["id"], id);

    let get = || Request::get("/api/v1/tasks/ml/development/train/v1");
    let snake = send_http(&plane, get().header("accept", "application/json"), "")
        .await
        .unwrap();
    assert_eq!(snake.json()["closure"]["compiled_task"]["template"]["id"]["org"], "");
    let camel = send_http(&plane, get().header("accept", "text/html, application/json"), "")
        .await
        .unwrap();
    assert_eq!(
        camel.json()["closure"]["compiledTask"]["template"]["container"]["image"],
        "i"
    );
    let binary = send_http(&plane, get().header("accept", "application/octet-stream"), "")
        .await
        .unwrap();
    assert_eq!(decode("GetTask", &binary.body), shown);
}

#[tokio::test]
async fn registering_again_tells_identical_from_different() {
    let plane = start().await;
    for (command, status) in [("run", "0"), ("run", "6"), ("other", "3")] {
        assert_eq!(
            call(&plane, "CreateTask", &task("train", command)).await.grpc_status(),
            status,
            "{command}"
        );
    }
    let mut elsewhere = task("train", "run");
    elsewhere["id"]["project"] = json!("nowhere");
    assert_eq!(call(&plane, "CreateTask", &elsewhere).await.grpc_status(), "5");
}

#[tokio::test]
async fn an_empty_name_matches_any_and_a_query_overrides_the_path_as_in_flyteadmin() {
    let plane = start().await;
    call(&plane, "CreateTask", &task("train", "run")).await;
    assert_eq!(call(&plane, "GetTask", &json!({})).await.grpc_status(), "0");
    let get = Request::get("/api/v1/tasks/fraud/development/train%2Fv1?id.project=ml&nonsense=1");
    assert_eq!(send_http(&plane, get, "").await.unwrap().status, 200);
    let arrival = plane.arrivals().pop().unwrap();
    assert_eq!(arrival.request.unwrap()["id"]["project"], "ml");
}

#[tokio::test]
async fn services_that_the_control_plane_does_not_have_are_unimplemented() {
    let plane = start().await;
    let path = "/flyteidl.service.AsyncAgentService/GetTask";
    let reply = send_grpc(&plane, path, frame(0, b""), "identity").await.unwrap();
    assert_eq!(reply.grpc_status(), "12");
}

#[tokio::test]
async fn gzip_is_read_and_answered() {
    let plane = start().await;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&encode("CreateTask", &task("train", "run"))).unwrap();
    let body = frame(1, &encoder.finish().unwrap());
    let reply = send_grpc(&plane, &format!("{ADMIN}CreateTask"), body, "gzip")
        .await
        .unwrap();
    assert_eq!(
        (reply.grpc_status(), reply.headers.get("grpc-encoding").unwrap()),
        ("0", &"gzip".parse().unwrap())
    );
    assert_eq!(reply.body.first(), Some(&1));
    let mut plain = Vec::new();
    GzDecoder::new(reply.body.get(5..).unwrap())
        .read_to_end(&mut plain)
        .unwrap();
    assert_eq!(decode("CreateTask", &plain), json!({}));
}

#[tokio::test]
async fn executions_are_created_listed_page_by_page_and_terminated() {
    let plane = start().await;
    call(&plane, "CreateTask", &task("train", "run")).await;
    let launch =
        json!({ "project": "ml", "domain": "development", "spec": { "launch_plan": task("train", "")["id"] } });
    for _ in 0..3 {
        assert_eq!(call(&plane, "CreateExecution", &launch).await.grpc_status(), "0");
    }
    let list = |query: &str| {
        Request::get(format!("/api/v1/executions/ml/development?limit=2{query}")).header("accept", "application/json")
    };
    let first = send_http(&plane, list(""), "").await.unwrap().json();
    assert_eq!(
        (first["executions"].as_array().unwrap().len(), &first["token"]),
        (2, &json!("2"))
    );
    let second = send_http(&plane, list("&token=2"), "").await.unwrap().json();
    assert_eq!(
        (second["executions"].as_array().unwrap().len(), &second["token"]),
        (1, &json!(""))
    );
    let oldest = &second["executions"][0];
    assert_eq!(
        (&oldest["closure"]["phase"], &oldest["closure"]["workflow_id"]["name"]),
        (&json!("SUCCEEDED"), &json!(".flytegen.train"))
    );

    let name = oldest["id"]["name"].as_str().unwrap();
    let path = format!("/api/v1/executions/ml/development/{name}");
    let delete = Request::delete(&path).header("content-type", "application/json");
    assert_eq!(
        send_http(&plane, delete, r#"{"cause":"enough"}"#).await.unwrap().status,
        200
    );
    let after = send_http(&plane, Request::get(&path), "").await.unwrap().json();
    assert_eq!(
        (&after["closure"]["phase"], &after["closure"]["abortMetadata"]["cause"]),
        (&json!("ABORTED"), &json!("enough"))
    );
}

#[tokio::test]
async fn the_gateway_reads_bodies_by_content_type_and_reports_errors_by_accept() {
    let plane = start().await;
    let post = |content_type: &str| Request::post("/api/v1/tasks").header("content-type", content_type);
    let extended = r#"{"unknownField": 1}"#;
    assert_eq!(
        send_http(&plane, post("application/json"), extended)
            .await
            .unwrap()
            .status,
        400
    );
    let binary = encode("CreateTask", &task("train", "run"));
    assert_eq!(
        send_http(&plane, post("application/octet-stream"), binary)
            .await
            .unwrap()
            .status,
        200
    );
    let identical = task("train", "run").to_string();
    let conflict = send_http(&plane, post("application/json; charset=utf-8"), identical)
        .await
        .unwrap();
    assert_eq!((conflict.status, &conflict.json()["code"]), (409, &json!(6)));
    let get = Request::get("/api/v1/projects/none").header("accept", "application/octet-stream");
    let missing = send_http(&plane, get, "").await.unwrap();
    assert_eq!((missing.status, missing.body.get(..2)), (404, Some(&[8, 5][..])));
    assert_eq!(
        send_http(&plane, Request::get("/api/v1/unknown"), "")
            .await
            .unwrap()
            .status,
        404
    );
    assert_eq!(
        send_http(&plane, Request::options("/api/v1/tasks"), "")
            .await
            .unwrap()
            .status,
        200
    );
    assert_eq!(
        send_http(&plane, Request::get("/healthcheck"), "")
            .await
            .unwrap()
            .status,
        200
    );
}

#[tokio::test]
async fn arrivals_tell_what_was_received_and_can_be_read_and_cleared_over_http() {
    let plane = start().await;
    call(&plane, "GetProject", &json!({ "id": "ml" })).await;
    let [arrival]: [Arrival; 1] = plane.arrivals().try_into().unwrap();
    assert_eq!(
        (arrival.protocol, arrival.target.as_str()),
        ("grpc", "/flyteidl.service.AdminService/GetProject")
    );
    assert_eq!(
        (arrival.rpc.as_deref(), arrival.request.as_ref()),
        (Some("GetProject"), Some(&json!({ "id": "ml" })))
    );
    assert_eq!(
        (arrival.header("authorization"), arrival.outcome),
        (vec!["Bearer secret-token"], Outcome::Answered)
    );
    let shown = send_http(&plane, Request::get("/__arrivals"), "").await.unwrap().json();
    assert_eq!(
        (shown.as_array().unwrap().len(), &shown[0]["outcome"]),
        (1, &json!("answered"))
    );
    assert_eq!(
        send_http(&plane, Request::delete("/__arrivals"), "")
            .await
            .unwrap()
            .status,
        204
    );
    assert_eq!(plane.count(), 0);
}

#[tokio::test]
async fn uploads_go_only_to_addresses_given_out_and_with_the_digest_agreed() {
    let plane = start().await;
    let post = Request::post("/api/v1/dataproxy/artifact_urn").header("content-type", "application/json");
    let body = r#"{"project":"ml","domain":"development","filename":"code.tgz","content_md5":"aGVsbG8="}"#;
    let location = send_http(&plane, post, body).await.unwrap().json();
    let path = location["signed_url"].as_str().unwrap().split_once("/__").unwrap().1;
    let put = |digest: &str| Request::put(format!("/__{path}")).header("content-md5", digest);
    assert_eq!(send_http(&plane, put("b3RoZXI="), "x").await.unwrap().status, 400);
    assert_eq!(send_http(&plane, put("aGVsbG8="), "archive").await.unwrap().status, 200);
    assert_eq!(
        send_http(&plane, Request::put("/__uploads/other"), "x")
            .await
            .unwrap()
            .status,
        400
    );
    let uploads = send_http(&plane, Request::get("/__uploads"), "").await.unwrap().json();
    assert_eq!(uploads[0]["bytes"], 7);
}

#[tokio::test]
async fn scripted_faults_are_what_they_say_and_last_as_long_as_told() {
    let plane = start().await;
    let path = format!("{ADMIN}GetVersion");
    let get_version = || send_grpc(&plane, &path, frame(0, b""), "identity");
    let on = |fault| plane.script(Script::on("GetVersion", fault).times(1));

    on(Fault::Status {
        code: 9,
        message: "50 % off\n".to_owned(),
        details: Some("CAk".to_owned()),
    });
    let refused = get_version().await.unwrap();
    assert_eq!(refused.headers.get("grpc-status").unwrap(), "9");
    assert_eq!(refused.headers.get("grpc-message").unwrap(), "50 %25 off%0A");
    assert_eq!(refused.headers.get("grpc-status-details-bin").unwrap(), "CAk");

    on(Fault::Reset);
    assert!(get_version().await.is_err());
    on(Fault::ResetMidway);
    assert!(get_version().await.is_err());
    on(Fault::NoTrailers);
    assert_eq!(get_version().await.unwrap().grpc_status(), "none");
    on(Fault::Garbage);
    assert_eq!(get_version().await.unwrap().body.first(), Some(&0xff));
    on(Fault::Http {
        status: 502,
        body: "<html>".to_owned(),
    });
    assert_eq!(get_version().await.unwrap().status, 502);
    on(Fault::Huge { bytes: 5 << 20 });
    assert!(get_version().await.unwrap().body.len() > 5 << 20);
    on(Fault::Slow {
        piece: 4,
        milliseconds: 1,
    });
    assert_eq!(get_version().await.unwrap().grpc_status(), "0");
    on(Fault::Delay { milliseconds: 1 });
    assert_eq!(get_version().await.unwrap().grpc_status(), "0");

    let healthy = get_version().await.unwrap();
    assert_eq!(
        decode("GetVersion", healthy.body.get(5..).unwrap())["control_plane_version"]["Version"],
        "v1.16.8"
    );
}

#[tokio::test]
async fn a_caller_that_leaves_is_recorded_as_such() {
    let plane = start().await;
    let put = Request::put("/__faults");
    let scripts = r#"[{"on": "*", "fault": "hang"}]"#;
    assert_eq!(send_http(&plane, put, scripts).await.unwrap().status, 204);
    let path = format!("{ADMIN}GetVersion");
    let waiting = send_grpc(&plane, &path, frame(0, b""), "identity");
    assert!(tokio::time::timeout(Duration::from_millis(200), waiting).await.is_err());
    let left = async {
        while plane
            .arrivals()
            .iter()
            .any(|arrival| arrival.outcome != Outcome::Abandoned)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), left).await.unwrap();
    assert_eq!(plane.count(), 1);
    plane.clear_scripts();
    assert_eq!(
        send_grpc(&plane, &path, frame(0, b""), "identity")
            .await
            .unwrap()
            .grpc_status(),
        "0"
    );
}
