//! Traces: what goes upstream, what a collector is sent, and that no request depends on one.

use crate::proxy::Proxy;
use crate::sockets::eventually;
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::demo::control_plane::{Fault, Script};
use flyte_authz_proxy::protocol::envelope;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const LIST: &str = "AdminService/ListExecutions";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// How a collector behaves.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Takes,
    Refuses,
    NeverAnswers,
}

/// Stands in for a collector: OTLP over HTTP, decoded by the published messages.
struct Collector {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    async fn start(manner: Manner) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let received = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                tokio::spawn(answer(stream, manner, Arc::clone(&received)));
            }
        });
        Self { address, requests }
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.requests.lock().unwrap();
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.iter().cloned()).collect()
    }

    /// The spans of requests, once there are so many.
    async fn servers(&self, count: usize) -> Vec<Span> {
        let servers = || {
            self.spans()
                .into_iter()
                .filter(|span| span.kind() == SpanKind::Server)
                .collect::<Vec<_>>()
        };
        eventually("the spans arrive", || servers().len() >= count).await;
        servers()
    }

    fn children(&self, server: &Span) -> BTreeMap<String, Span> {
        let children = self
            .spans()
            .into_iter()
            .filter(|span| span.parent_span_id == server.span_id);
        children.map(|span| (span.name.clone(), span)).collect()
    }
}

async fn answer(stream: TcpStream, manner: Manner, received: Arc<Mutex<Vec<ExportTraceServiceRequest>>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = head.to_lowercase();
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
        let length = head
            .split("content-length: ")
            .nth(1)
            .unwrap()
            .split('\r')
            .next()
            .unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        if manner == Manner::NeverAnswers {
            tokio::time::sleep(Duration::from_mins(10)).await;
        }
        let status = if manner == Manner::Takes {
            received
                .lock()
                .unwrap()
                .push(ExportTraceServiceRequest::decode(&*body).unwrap());
            "200 OK"
        } else {
            "503 Service Unavailable"
        };
        let text = format!("HTTP/1.1 {status}\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
    }
}

async fn proxy(address: SocketAddr, more: &str) -> Proxy {
    let tracing = format!("tracing: {{otlp_endpoint: \"http://{address}\"{more}}}\n");
    Proxy::start_with(|setup| setup.configuration.push_str(&tracing)).await
}

/// A gRPC list with trace headers of the caller's.
async fn list(proxy: &Proxy, project: &str, headers: &[(&str, &str)]) -> Reply {
    let message = json!({"id": {"project": project, "domain": "development"}, "limit": 1});
    let message = proxy.plain.encode(LIST, message).unwrap();
    let bearer = format!("Bearer {}", proxy.ml());
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend(headers);
    let path = format!("/flyteidl.service.{LIST}");
    proxy.plain.grpc(&path, &all, envelope::frame(&message)).await.unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn said(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let text = |pair: &KeyValue| match pair.value.clone().unwrap().value.unwrap() {
        AnyValue::StringValue(text) => text,
        AnyValue::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.as_str(), text(pair))).collect()
}

fn arrived(proxy: &Proxy, header: &str) -> Vec<String> {
    let arrivals = proxy.control_plane.arrivals();
    arrivals
        .last()
        .unwrap()
        .header(header)
        .into_iter()
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_traced_call_has_a_span_for_each_stage_below_the_callers_and_the_control_plane_below_ours() {
    let collector = Collector::start(Manner::Takes).await;
    let proxy = proxy(collector.address, "").await;
    let (token, before) = (proxy.ml(), proxy.before());
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let reply = list(&proxy, "ml", &[("traceparent", &parent), ("tracestate", "vendor=1")]).await;
    let record = proxy.forwarded(&before, &reply).await;
    assert_eq!(record["trace_id"], TRACE);

    let server = collector.servers(1).await.remove(0);
    assert_eq!(
        (hex(&server.trace_id), hex(&server.parent_span_id)),
        (TRACE.to_owned(), PARENT.to_owned())
    );
    assert_eq!(server.name, "flyteidl.service.AdminService/ListExecutions");
    assert_eq!(server.trace_state, "vendor=1");
    let stages = collector.children(&server);
    assert_eq!(
        stages.keys().collect::<Vec<_>>(),
        ["forward", "judge", "receive", "verify"]
    );
    for stage in stages.values() {
        assert_eq!(hex(&stage.trace_id), TRACE);
        assert!(server.start_time_unix_nano <= stage.start_time_unix_nano, "{stage:#?}");
        assert!(stage.start_time_unix_nano <= stage.end_time_unix_nano, "{stage:#?}");
        assert!(stage.end_time_unix_nano <= server.end_time_unix_nano, "{stage:#?}");
        assert_eq!(stage.status, None);
    }
    let order = ["verify", "receive", "judge", "forward"].map(|name| stages[name].start_time_unix_nano);
    assert!(order.is_sorted(), "{order:?}");
    let ids: BTreeSet<_> = collector.spans().into_iter().map(|span| span.span_id).collect();
    assert_eq!(ids.len(), 5, "every span has an identifier of its own");

    // The control plane's spans belong below the forwarded call.
    let forward = &stages["forward"];
    assert_eq!(forward.kind(), SpanKind::Client);
    assert_eq!(
        arrived(&proxy, "traceparent"),
        [format!("00-{TRACE}-{}-01", hex(&forward.span_id))]
    );
    assert_eq!(arrived(&proxy, "tracestate"), ["vendor=1"]);
    assert_eq!(said(&forward.attributes)["rpc.method"], "ListExecutions");

    let attributes = said(&server.attributes);
    for (name, value) in [
        ("rpc.system", "grpc"),
        ("rpc.service", "flyteidl.service.AdminService"),
        ("rpc.method", "ListExecutions"),
        ("rpc.grpc.status_code", "0"),
        ("network.peer.address", "127.0.0.1"),
        ("flyte_authz.decision", "forwarded"),
        ("flyte_authz.action", "view_executions"),
        ("flyte_authz.listener", "plain"),
        ("flyte_authz.request_id", record["request_id"].as_str().unwrap()),
    ] {
        assert_eq!(attributes[name], value, "{name}");
    }
    let everything = format!("{:?}", collector.requests.lock().unwrap());
    let signature = token.rsplit('.').next().unwrap();
    for secret in ["Bearer", "eyJ", signature, "alice", "ml-team"] {
        assert!(!everything.contains(secret), "{secret} was exported");
    }
    let request = collector.requests.lock().unwrap()[0].clone();
    let resource = request.resource_spans[0].resource.clone().unwrap();
    assert_eq!(said(&resource.attributes)["service.name"], "flyte-authz-proxy");
    // Counted once the collector's answer has been read.
    let exported = || (proxy.metric("traces_total{result=\"exported\"}") - 1.0).abs() < f64::EPSILON;
    eventually("the trace is counted", exported).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_failures_filtered_answers_and_rest_are_told_apart_in_their_spans() {
    let collector = Collector::start(Manner::Takes).await;
    let proxy = proxy(collector.address, ", subject: true").await;
    let denied = list(&proxy, "fraud", &[]).await;
    assert_eq!(denied.grpc_status(), Some(7));
    proxy
        .control_plane
        .script(Script::on("ListExecutions", Fault::Reset).times(1));
    let failed = list(&proxy, "ml", &[]).await;
    assert_eq!(failed.grpc_status(), Some(14));
    let token = proxy.ml();
    let projects = proxy.plain.get(Some(&token), "/api/v1/projects").await.unwrap();
    assert_eq!(projects.status, 200);
    let unknown = proxy.plain.get(Some(&token), "/api/v1/secret-path").await.unwrap();
    assert_eq!(unknown.status, 404);

    let servers = collector.servers(4).await;
    let of = |reply: &Reply| {
        let id = reply.headers["x-request-id"].to_str().unwrap();
        let is_it = |span: &&Span| said(&span.attributes)["flyte_authz.request_id"] == id;
        servers.iter().find(is_it).unwrap()
    };
    let is_error = |span: &Span| span.status.as_ref().is_some_and(|status| status.code == 2);
    let span = of(&denied);
    let attributes = said(&span.attributes);
    assert_eq!(
        (
            attributes["flyte_authz.decision"].as_str(),
            attributes["flyte_authz.reason"].as_str()
        ),
        ("denied", "no_matching_rule")
    );
    assert_eq!(attributes["enduser.id"], "alice");
    assert!(!is_error(span) && span.parent_span_id.is_empty());
    assert_eq!(
        collector.children(span).keys().collect::<Vec<_>>(),
        ["judge", "receive", "verify"]
    );

    let span = of(&failed);
    assert!(is_error(span));
    assert_eq!(said(&span.attributes)["error.type"], "upstream_failed");
    assert!(is_error(&collector.children(span)["forward"]) && !is_error(&collector.children(span)["judge"]));

    let span = of(&projects);
    let attributes = said(&span.attributes);
    assert_eq!(span.name, "GET flyteidl.service.AdminService/ListProjects");
    assert_eq!(
        (
            attributes["http.request.method"].as_str(),
            attributes["http.response.status_code"].as_str()
        ),
        ("GET", "200")
    );
    let stages = collector.children(span);
    let (forward, filter) = (&stages["forward"], &stages["filter"]);
    assert!(forward.end_time_unix_nano <= filter.start_time_unix_nano);
    assert_eq!(
        filter.end_time_unix_nano, span.end_time_unix_nano,
        "it lasts until the answer is made"
    );

    let span = of(&unknown);
    assert_eq!(span.name, "GET unknown");
    assert!(!format!("{span:?}").contains("secret-path"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_a_trusted_hop_can_have_every_request_traced() {
    let collector = Collector::start(Manner::Takes).await;
    for (hops, by_hop) in [("", false), ("trusted_hops: [127.0.0.1/32]", true)] {
        let tracing = format!(
            "tracing: {{otlp_endpoint: \"http://{}\", sample_ratio: 0.0}}\n",
            collector.address
        );
        let proxy = Proxy::start_with(|setup| {
            setup.configuration.push_str(&tracing);
            let plain = format!("- name: plain\n    {hops}");
            setup.edit = Box::new(move |text| text.replace("- name: plain", &plain));
        })
        .await;
        for _ in 0..5 {
            let sampled = format!("00-{TRACE}-{PARENT}-01");
            list(&proxy, "ml", &[("traceparent", &sampled)]).await;
            let outgoing = arrived(&proxy, "traceparent").remove(0);
            let flag = if by_hop { "-01" } else { "-00" };
            assert!(outgoing.contains(TRACE) && outgoing.ends_with(flag), "{outgoing}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_caller_decides_whether_its_trace_is_recorded_and_the_ratio_decides_for_the_others() {
    let collector = Collector::start(Manner::Takes).await;
    let proxy = proxy(collector.address, ", sample_ratio: 0.25, callers_decide: true").await;
    for _ in 0..200 {
        list(&proxy, "ml", &[]).await;
        let outgoing = arrived(&proxy, "traceparent").remove(0);
        assert!(outgoing.len() == 55 && outgoing.starts_with("00-"), "{outgoing}");
    }
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    for _ in 0..20 {
        list(&proxy, "ml", &[("traceparent", &unsampled)]).await;
        let outgoing = arrived(&proxy, "traceparent").remove(0);
        assert!(outgoing.contains(TRACE) && outgoing.ends_with("-00"), "{outgoing}");
    }
    let sampled = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for _ in 0..20 {
        list(&proxy, "ml", &[("traceparent", sampled)]).await;
    }
    // What is not well-formed starts a new trace, and what came with it is left behind.
    list(&proxy, "ml", &[("traceparent", "00-xyz"), ("tracestate", "vendor=1")]).await;
    assert!(arrived(&proxy, "traceparent")[0].len() == 55 && arrived(&proxy, "tracestate").is_empty());
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let spans = collector.servers(20).await;
    let count = |id: &str| spans.iter().filter(|span| hex(&span.trace_id) == id).count();
    assert_eq!((count(TRACE), count("1af7651916cd43dd8448eb211c80319c")), (0, 20));
    let roots = spans.iter().filter(|span| span.parent_span_id.is_empty()).count();
    assert!((25..80).contains(&roots), "{roots}");
    let traces: BTreeSet<_> = spans
        .iter()
        .filter(|span| span.parent_span_id.is_empty())
        .map(|span| span.trace_id.clone())
        .collect();
    assert_eq!(traces.len(), roots, "every trace has an identifier of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_down_or_slow_or_refuses_costs_spans_and_no_request() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refusing = Collector::start(Manner::Refuses).await;
    let silent = Collector::start(Manner::NeverAnswers).await;
    for (address, result) in [
        (nobody, "failed"),
        (refusing.address, "failed"),
        (silent.address, "dropped"),
    ] {
        let proxy = proxy(address, ", queue: 8").await;
        let start = Instant::now();
        for _ in 0..60 {
            assert_eq!(list(&proxy, "ml", &[]).await.grpc_status(), Some(0));
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        eventually("spans are counted", || {
            proxy.metric(&format!("traces_total{{result=\"{result}\"}}")) > 0.0
        })
        .await;
        assert!(proxy.metric("traces_total{result=\"exported\"}").abs() < f64::EPSILON);
        let start = Instant::now();
        drop(proxy);
        assert!(start.elapsed() < Duration::from_secs(10), "it ends all the same");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_spans_are_exported_at_the_end() {
    let collector = Collector::start(Manner::Takes).await;
    let proxy = proxy(collector.address, "").await;
    for _ in 0..10 {
        list(&proxy, "ml", &[]).await;
    }
    let (stack, _) = proxy.take();
    tokio::task::spawn_blocking(move || stack.app.shut_down())
        .await
        .unwrap();
    assert_eq!(collector.servers(10).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tracing_the_callers_context_passes_unchanged() {
    let proxy = Proxy::start().await;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    list(
        &proxy,
        "ml",
        &[("traceparent", &parent), ("tracestate", "vendor=1,other=2")],
    )
    .await;
    assert_eq!(arrived(&proxy, "traceparent"), [parent]);
    assert_eq!(arrived(&proxy, "tracestate"), ["vendor=1,other=2"]);
    list(&proxy, "ml", &[]).await;
    assert_eq!(arrived(&proxy, "traceparent"), Vec::<String>::new());
}
