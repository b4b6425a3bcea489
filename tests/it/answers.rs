//! What comes back is shown only as far as the caller may see it, however the control plane sends it.

use crate::proxy::Proxy;
use crate::raw::Pieces;
use crate::upstream_links::{listen, upstream};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use flyte_authz_proxy::catalog::{Catalog, Route};
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

/// A caller who may see some names of one project, and of another everything.
pub(crate) const POLICY: &str = r#"
version: 1
rules:
  - name: hook
    subjects: [{ groups: [hook] }]
    allow:
      - projects: [ml]
        domains: [development]
        actions: [view_inventory, view_executions]
        tasks: [t1, ml/t3, hidden]
        workflows: [w1]
        launch_plans: [lp1]
      - { projects: [shared-lib], domains: ["*"], actions: [view_inventory] }
  - name: secret
    subjects: [{ anyone: true }]
    deny: [{ projects: [ml], actions: [view_inventory, view_executions], tasks: [hidden] }]
    unless: [{ groups: [admins] }]
  - name: admins
    subjects: [{ groups: [admins] }]
    allow: [{ projects: ["*"], domains: ["*"], role: platform_admin }]
  - name: viewers
    subjects: [{ groups: [viewers] }]
    allow: [{ projects: ["*"], domains: ["*"], role: viewer }]
"#;

/// The calls whose answers are kept under `tests/fixtures/answers`, and how many items are left out of each. They were
/// encoded by Google's protobuf library from the published descriptors; in protobuf every item, and in every encoding the
/// answer itself, has a field that the catalogue does not know.
const CALLS: [(&str, &str, &str, usize); 4] = [
    ("projects", "ListProjects", "/api/v1/projects", 3),
    ("tasks", "ListTasks", "/api/v1/tasks/ml/development?limit=5", 4),
    (
        "attributes",
        "ListMatchableAttributes",
        "/api/v1/matchable_attributes",
        7,
    ),
    (
        "executions",
        "ListExecutions",
        "/api/v1/executions/ml/development?limit=5",
        3,
    ),
];

/// What the control plane answers, whatever it is asked.
#[derive(Clone, Debug)]
struct Scripted {
    status: u16,
    headers: Vec<(&'static str, String)>,
    pieces: Vec<Vec<u8>>,
    trailers: Vec<(&'static str, &'static str)>,
}

impl Scripted {
    fn of(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", content_type.to_owned())],
            pieces: vec![body.into()],
            trailers: if content_type == GRPC {
                vec![("grpc-status", "0"), ("x-note", "kept")]
            } else {
                Vec::new()
            },
        }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn response(&self) -> Response<Pieces> {
        let mut body = Pieces::of(self.pieces.iter().map(Vec::as_slice));
        for (name, value) in &self.trailers {
            body = body.with_trailer(name, value);
        }
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        for (name, value) in &self.headers {
            let value = HeaderValue::from_str(value).unwrap();
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
        response
    }
}

const GRPC: &str = "application/grpc";
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/octet-stream";

/// A proxy in front of a control plane that answers as scripted.
struct Bench {
    proxy: Proxy,
    scripted: Arc<Mutex<Scripted>>,
    requests: Arc<Mutex<Vec<HeaderMap>>>,
    _servers: JoinSet<()>,
}

impl Bench {
    async fn start() -> Self {
        let scripted = Arc::new(Mutex::new(Scripted::of(JSON, "{}")));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut servers = JoinSet::new();
        let mut ports = Vec::new();
        for grpc in [true, false] {
            let (listener, port) = listen(0).await;
            ports.push(port);
            let (scripted, requests) = (Arc::clone(&scripted), Arc::clone(&requests));
            servers.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    let (scripted, requests) = (Arc::clone(&scripted), Arc::clone(&requests));
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (scripted, requests) = (Arc::clone(&scripted), Arc::clone(&requests));
                        async move {
                            let (head, body) = request.into_parts();
                            body.collect().await.unwrap();
                            requests.lock().unwrap().push(head.headers);
                            Ok::<_, Infallible>(scripted.lock().unwrap().response())
                        }
                    });
                    connections.spawn(async move {
                        // A connection ends when the proxy has had enough of it.
                        if grpc {
                            let server = http2::Builder::new(TokioExecutor::new());
                            _ = server.serve_connection(TokioIo::new(stream), service).await;
                        } else {
                            let server = http1::Builder::new();
                            _ = server.serve_connection(TokioIo::new(stream), service).await;
                        }
                    });
                }
            });
        }
        let line = format!(
            "upstream: {{ grpc: 'http://127.0.0.1:{}', http: 'http://127.0.0.1:{}' }}",
            ports[0], ports[1]
        );
        let proxy = Proxy::start_with(|setup| {
            POLICY.clone_into(&mut setup.policy);
            upstream(setup, line);
        })
        .await;
        Self {
            proxy,
            scripted,
            requests,
            _servers: servers,
        }
    }

    /// The proxy's answer to a call by a caller of the group when the control plane answers so, and the audit record.
    async fn answer(&self, call: (&str, &str), scripted: Scripted, group: &str) -> (Reply, Value) {
        let accept = scripted.headers[0].1.clone();
        *self.scripted.lock().unwrap() = scripted;
        let (rpc, target) = call;
        let token = self.proxy.token("hook", group);
        let records = self.proxy.record_count();
        let reply = if accept.starts_with(GRPC) {
            let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 5});
            let message = if target.contains("development") {
                message
            } else {
                json!({})
            };
            let rpc = format!("AdminService/{rpc}");
            self.proxy.client.call(Some(&token), &rpc, message).await.unwrap()
        } else {
            let bearer = format!("Bearer {token}");
            let headers = [("authorization", bearer.as_str()), ("accept", accept.as_str())];
            self.proxy.client.rest(Method::GET, target, &headers, "").await.unwrap()
        };
        let record = self.proxy.records_after(records, 1).await.pop().unwrap();
        (reply, record)
    }

    /// The same for an answer that must not be passed on.
    async fn unreadable(&self, call: (&str, &str), scripted: Scripted, what: &str) {
        let by_grpc = scripted.headers[0].1.starts_with(GRPC);
        let counted = self.proxy.metric("refusals_total");
        let (reply, record) = self.answer(call, scripted, "hook").await;
        let reason = Reason::AnswerUnreadable;
        let told = format!("{} {}", reply.message(), String::from_utf8_lossy(&reply.body));
        assert!(told.contains("[answer_unreadable; request "), "{what}: {reply:?}");
        if by_grpc {
            assert_eq!(reply.grpc_status(), Some(u16::from(reason.status().grpc)), "{what}");
            assert!(reply.body.is_empty(), "{what}");
        } else {
            assert_eq!(reply.status, reason.status().http, "{what}");
        }
        assert!(!String::from_utf8_lossy(&reply.body).contains("fraud"), "{what}");
        let told = (&record["outcome"], &record["reason"]);
        assert_eq!(told, (&json!("failed"), &json!("answer_unreadable")), "{what}");
        let counted = self.proxy.metric("refusals_total") - counted;
        assert!((counted - 1.0).abs() < f64::EPSILON, "{what}: {counted}");
    }
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("tests/fixtures/answers/{name}")).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A call in one encoding: what the control plane sends and what must come through.
struct Golden {
    call: (&'static str, &'static str),
    content_type: &'static str,
    sent: Vec<u8>,
    shown: Vec<u8>,
    withheld: usize,
    what: String,
}

fn golden() -> Vec<Golden> {
    let encodings = [(GRPC, "grpc"), (JSON, "json"), (PROTOBUF, "binpb")];
    let each = |(name, rpc, target, withheld): (&str, &'static str, &'static str, usize)| {
        encodings.map(|(content_type, suffix)| Golden {
            call: (rpc, target),
            content_type,
            sent: fixture(&format!("{name}.{suffix}")),
            shown: fixture(&format!("{name}.shown.{suffix}")),
            withheld,
            what: format!("{rpc} as {content_type}"),
        })
    };
    CALLS.into_iter().flat_map(each).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_01_what_the_caller_may_not_see_is_left_out_in_every_encoding() {
    let bench = Bench::start().await;
    for golden in golden() {
        let Golden {
            call,
            content_type,
            sent,
            shown,
            withheld,
            what,
        } = golden;
        let (reply, record) = bench
            .answer(call, Scripted::of(content_type, sent.clone()), "hook")
            .await;
        assert_eq!(reply.body, shown, "{what}: {}", String::from_utf8_lossy(&reply.body));
        assert_eq!(
            (&record["outcome"], &record["withheld"]),
            (&json!("forwarded"), &json!(withheld)),
            "{what}"
        );
        assert_eq!(record["response_bytes"], shown.len(), "{what}");
        assert!(!String::from_utf8_lossy(&reply.body).contains("fraud"), "{what}");
        if content_type == GRPC {
            let trailers = reply.trailers.unwrap();
            assert_eq!(
                (&trailers["grpc-status"], &trailers["x-note"]),
                (&"0".parse().unwrap(), &"kept".parse().unwrap())
            );
        }
        // Who administers the platform is shown everything; a stranger nothing, if the call is permitted at all.
        let (reply, record) = bench
            .answer(call, Scripted::of(content_type, sent.clone()), "admins")
            .await;
        assert_eq!(reply.body, sent, "{what}");
        assert_eq!(record["withheld"], Value::Null, "{what}");
        let (reply, record) = bench.answer(call, Scripted::of(content_type, sent), "strangers").await;
        if ["ListProjects", "ListMatchableAttributes"].contains(&call.0) {
            assert!(
                !String::from_utf8_lossy(&reply.body).contains("ml"),
                "{what}: {reply:?}"
            );
        } else {
            assert_eq!(record["reason"], "no_matching_rule", "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_02_answers_in_any_pieces_are_filtered_alike_and_measured_anew() {
    let bench = Bench::start().await;
    for golden in golden() {
        let Golden {
            call,
            content_type,
            sent,
            shown,
            what,
            ..
        } = golden;
        let mut scripted = Scripted::of(content_type, Vec::new())
            .with("etag", "\"of the whole answer\"")
            .with("content-encoding", "identity");
        scripted.pieces = sent.iter().map(|byte| vec![*byte]).collect();
        let (reply, _) = bench.answer(call, scripted, "hook").await;
        assert_eq!(reply.body, shown, "{what}");
        assert!(
            reply.headers.get("etag").is_none(),
            "T-RESP-05: it named the whole answer"
        );
        let whole = Scripted::of(content_type, sent.clone()).with("content-length", &sent.len().to_string());
        let (reply, _) = bench.answer(call, whole, "hook").await;
        assert_eq!(reply.body, shown, "T-RESP-05: {what}");
        let length = reply
            .headers
            .get("content-length")
            .map(|length| length.to_str().unwrap().to_owned());
        assert!(
            length.is_none_or(|length| length == shown.len().to_string()),
            "T-RESP-05: {what}"
        );
    }
    let asked = bench.requests.lock().unwrap();
    assert!(asked.iter().all(|headers| headers.get("accept-encoding").is_none()));
    let by_grpc = asked.iter().filter(|headers| headers.get("te").is_some());
    for headers in by_grpc {
        assert_eq!(headers["grpc-accept-encoding"], "identity");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_02_and_03_an_answer_that_cannot_be_read_is_not_passed_on() {
    let bench = Bench::start().await;
    for golden in golden() {
        let Golden {
            call,
            content_type,
            sent,
            ..
        } = golden;
        let what = |how: &str| format!("{}, {how}", golden.what);
        let mut compressed = Scripted::of(content_type, gzip(&sent)).with("content-encoding", "gzip");
        bench.unreadable(call, compressed.clone(), &what("compressed")).await;
        compressed
            .headers
            .insert(1, ("content-encoding", "identity".to_owned()));
        bench
            .unreadable(call, compressed, &what("compressed, in the second header"))
            .await;
        if content_type == GRPC {
            let mut frame = envelope::frame(&gzip(&sent[envelope::PREFIX..])).to_vec();
            frame[0] = 1;
            let frame = Scripted::of(content_type, frame).with("grpc-encoding", "gzip");
            bench.unreadable(call, frame, &what("in a compressed frame")).await;
            let two = Scripted::of(content_type, [sent.clone(), sent.clone()].concat());
            bench.unreadable(call, two, &what("twice")).await;
        }
        let cut = Scripted::of(content_type, sent.get(..sent.len() - 1).unwrap());
        bench.unreadable(call, cut, &what("cut")).await;
        let garbage = Scripted::of(content_type, &b"\xff<html>\x00 fraud"[..]);
        bench.unreadable(call, garbage, &what("garbage")).await;
        for other in ["text/html", "application/x-protobuf", ""] {
            let mut scripted = Scripted::of(content_type, sent.clone()).with("content-type", other);
            scripted.headers.swap_remove(0);
            scripted.headers.insert(0, ("x-asked", content_type.to_owned()));
            if content_type != GRPC {
                bench.unreadable(call, scripted, &what("of another type")).await;
            }
        }
        // Any status of success is one of an answer with items.
        let mut partial = Scripted::of(content_type, &b"\xff fraud"[..]);
        partial.status = 203;
        bench.unreadable(call, partial, &what("with another status")).await;
    }
    let call = ("ListProjects", "/api/v1/projects");
    let spelled_twice = br#"{"projects":[],"Projects":[],"projects":[{"id":"fraud"}]}"#;
    bench
        .unreadable(call, Scripted::of(JSON, &spelled_twice[..]), "with two lists")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_02_an_answer_above_the_bound_is_not_passed_on() {
    let bench = Bench::start().await;
    let mut huge = Scripted::of(JSON, "{\"projects\":[]");
    let blank = vec![b' '; 1 << 20];
    huge.pieces.extend(std::iter::repeat_n(blank, 65));
    huge.pieces.push(b"}".to_vec());
    bench
        .unreadable(("ListProjects", "/api/v1/projects"), huge, "larger than 64 MiB")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_04_and_08_errors_and_empty_answers_pass_unchanged() {
    let bench = Bench::start().await;
    let call = ("ListProjects", "/api/v1/projects");
    let error = r#"{"code":5,"message":"no such thing","details":[]}"#;
    for status in [400, 404, 500, 503] {
        let mut scripted = Scripted::of(JSON, error);
        scripted.status = status;
        let (reply, record) = bench.answer(call, scripted, "hook").await;
        assert_eq!((reply.status.as_u16(), &reply.body[..]), (status, error.as_bytes()));
        assert_eq!(record["outcome"], "forwarded");
    }
    let mut trailers_only = Scripted::of(GRPC, Vec::new())
        .with("grpc-status", "5")
        .with("grpc-message", "no such thing");
    trailers_only.pieces.clear();
    trailers_only.trailers.clear();
    let (reply, record) = bench.answer(call, trailers_only, "hook").await;
    assert_eq!(
        (reply.grpc_status(), reply.message()),
        (Some(5), "no such thing".to_owned())
    );
    assert_eq!(record["grpc_status"], 5);
    let mut late = Scripted::of(GRPC, Vec::new());
    late.pieces.clear();
    late.trailers = vec![("grpc-status", "8"), ("grpc-message", "too much")];
    let (reply, _) = bench.answer(call, late, "hook").await;
    assert_eq!((reply.grpc_status(), reply.message()), (Some(8), "too much".to_owned()));
    let mut nothing = Scripted::of(JSON, Vec::new());
    nothing.status = 204;
    nothing.pieces.clear();
    let (reply, _) = bench.answer(call, nothing, "hook").await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (204, 0));
}

/// FlyteAdmin finds them by name alone: what is not allowed under one kind must not be had under another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_01_descriptions_are_shown_where_their_name_is_allowed_as_every_kind() {
    let bench = Bench::start().await;
    let page = |kind: &str, names: &[&str]| {
        let id = |name: &&str| json!({"id": {"resource_type": kind, "project": "ml", "domain": "development", "name": name, "version": "v"}});
        json!({"descriptionEntities": names.iter().map(id).collect::<Vec<_>>(), "token": ""}).to_string()
    };
    for kind in ["TASK", "WORKFLOW", "LAUNCH_PLAN"] {
        let target = format!("/api/v1/description_entities/{kind}/ml/development?limit=5");
        let call = ("ListDescriptionEntities", target.as_str());
        let whole = page(kind, &["w1", "hidden", "lp1"]);
        // `hidden` is denied as a task; `hook` has tasks, workflows and launch plans listed that have no name in common.
        for (group, shown) in [
            ("viewers", &["w1", "lp1"][..]),
            ("hook", &[]),
            ("admins", &["w1", "hidden", "lp1"]),
        ] {
            let (reply, _) = bench.answer(call, Scripted::of(JSON, whole.clone()), group).await;
            let expected: Value = serde_json::from_str(&page(kind, shown)).unwrap();
            assert_eq!(reply.json(), expected, "{group} {kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_01_a_page_of_which_nothing_is_shown_keeps_its_token() {
    let bench = Bench::start().await;
    let call = ("ListProjects", "/api/v1/projects");
    let page = r#"{"projects":[{"id":"fraud"},{"id":"other"}],"token":"2"}"#;
    let (reply, record) = bench.answer(call, Scripted::of(JSON, page), "hook").await;
    assert_eq!(reply.body, r#"{"projects":[],"token":"2"}"#);
    assert_eq!(record["withheld"], 2);
    let empty = r#"{"projects":[], "token":"2"}"#;
    let (reply, record) = bench.answer(call, Scripted::of(JSON, empty), "hook").await;
    assert_eq!(
        (reply.body, &record["withheld"]),
        (Bytes::from_static(empty.as_bytes()), &Value::Null)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_05_lengths_and_tags_are_of_what_is_shown_and_messages_pass_as_they_are() {
    let bench = Bench::start().await;
    for golden in golden() {
        let (call, content_type, what) = (golden.call, golden.content_type, golden.what);
        let scripted = Scripted::of(content_type, golden.sent.clone())
            .with("content-length", &golden.sent.len().to_string())
            .with("etag", "\"of the whole answer\"");
        let (reply, record) = bench.answer(call, scripted, "hook").await;
        assert_eq!(reply.body, golden.shown, "{what}");
        let length = reply.headers.get("content-length");
        assert!(
            length.is_none_or(|length| *length == golden.shown.len().to_string()),
            "{what}: {length:?}"
        );
        assert!(!reply.headers.contains_key("etag"), "{what}");
        assert_eq!(record["response_bytes"], golden.shown.len(), "{what}");
        // An answer that says how it went beside its items says it in the client's trailers, unchanged.
        if content_type == GRPC {
            let mut noted = Scripted::of(content_type, golden.sent.clone());
            noted.trailers.push(("grpc-message", "two%20of%20ten"));
            let (reply, _) = bench.answer(call, noted, "hook").await;
            assert_eq!(reply.trailers.unwrap()["grpc-message"], "two%20of%20ten", "{what}");
        }
    }
}

/// What a filtered answer says of items that are not shown would be told by other fields beside the list, such as a total.
#[test]
fn t_resp_06_no_filtered_answer_counts_its_items() {
    let catalog = Catalog::builtin().unwrap();
    let mut filtered = 0;
    for items in catalog.routes.iter().filter_map(Route::items) {
        filtered += 1;
        let message = crate::descriptors::message(&items.response);
        for field in message.fields() {
            let known = field.number() == items.list.number || field.name() == "token";
            assert!(known, "{}.{} is passed on unfiltered", items.response, field.name());
        }
    }
    assert!(filtered > 5, "only {filtered} answers are filtered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_08_redirects_and_cookies_of_the_control_plane_pass_and_are_not_followed() {
    let bench = Bench::start().await;
    for call in [
        ("ListProjects", "/api/v1/projects"),
        ("GetExecution", "/api/v1/executions/ml/development/e1"),
    ] {
        for status in [301, 302, 303, 307, 308] {
            let asked = bench.requests.lock().unwrap().len();
            let mut scripted = Scripted::of(JSON, "")
                .with("location", "http://169.254.169.254/latest")
                .with("set-cookie", "a=1; HttpOnly")
                .with("set-cookie", "b=2")
                .with("connection", "x-hop")
                .with("keep-alive", "timeout=5");
            scripted.status = status;
            let (reply, record) = bench.answer(call, scripted, "admins").await;
            assert_eq!(reply.status.as_u16(), status, "{call:?}");
            assert_eq!(reply.headers["location"], "http://169.254.169.254/latest");
            let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
            assert_eq!(cookies, ["a=1; HttpOnly", "b=2"]);
            assert!(
                !reply.headers.contains_key("keep-alive"),
                "it belongs to the connection upstream"
            );
            assert_eq!(record["outcome"], "forwarded");
            let asked = bench.requests.lock().unwrap().len() - asked;
            // What an execution runs is asked for beforehand, where rules list names.
            assert_eq!(asked, 1, "{call:?}: it is not followed");
        }
    }
}

/// Interim answers are the HTTP library's business: the final one counts, and an upgrade that nobody asked for is a fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_08_interim_answers_are_no_answers_and_nobody_is_upgraded() {
    let (listener, port) = listen(0).await;
    let proxy = Proxy::start_with(|setup| {
        upstream(
            setup,
            format!("upstream: {{ grpc: 'http://127.0.0.1:{port}', http: 'http://127.0.0.1:{port}' }}"),
        );
    })
    .await;
    let end = "content-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    let answers = [
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n{end}"),
        format!("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\nset-cookie: early=1\r\n\r\nHTTP/1.1 200 OK\r\n{end}"),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nfraud".to_owned(),
    ];
    let serving = tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let target = "/api/v1/tasks/ml/development?limit=1";
    let records = proxy.record_count();
    for _ in 0..2 {
        let reply = proxy.client.get(Some(&proxy.ml()), target).await.unwrap();
        assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"{}"[..]));
        assert!(!reply.headers.contains_key("link") && !reply.headers.contains_key("set-cookie"));
    }
    let reply = proxy.client.get(Some(&proxy.ml()), target).await.unwrap();
    assert_eq!(reply.status, Reason::UpstreamFailed.status().http, "{reply:?}");
    assert!(reply.message().contains("[upstream_failed; request "), "{reply:?}");
    let record = proxy.records_after(records, 3).await.pop().unwrap();
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&json!("failed"), &json!("upstream_failed"))
    );
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_resp_07_head_of_a_list_is_refused() {
    let proxy = Proxy::start().await;
    let bearer = format!("Bearer {}", proxy.ml());
    let headers = [("authorization", bearer.as_str())];
    let before = proxy.before();
    let reply = proxy
        .client
        .rest(Method::HEAD, "/api/v1/projects", &headers, "")
        .await
        .unwrap();
    assert_eq!(reply.status, Reason::RouteUnknown.status().http);
    proxy.recorded(&before, Reason::RouteUnknown).await;
}
