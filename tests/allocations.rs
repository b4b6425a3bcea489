//! How often a request makes the proxy allocate. Counted, not timed, so that it is the same on every machine.
//!
//! Client, upstream and proxy are one process, so that a count holds all three; what counts is how much more it is than
//! with the bare pass-through of `make bench` in the proxy's place, or, for what is not forwarded, with a server that
//! answers at once. `ALLOCATIONS=DIRECTORY` writes a profile of each case there, which `scripts/allocations.py` sums up
//! by the place in the code.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use bytes::Bytes;
use floor::{Failure, Floor};
use flyte_authz_proxy::app::App;
use flyte_authz_proxy::clock::{Clock, SystemClock};
use flyte_authz_proxy::config::Config;
use flyte_authz_proxy::credential::key_set::Algorithm;
use flyte_authz_proxy::demo::certificates::Certificates;
use flyte_authz_proxy::demo::signing::{SigningKey, jwks};
use flyte_authz_proxy::protocol::envelope;
use http::header::{AUTHORIZATION, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

#[path = "../examples/bench_upstream/answers.rs"]
mod answers;
#[path = "../examples/pass_through/floor.rs"]
mod floor;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Requests before counting, so that caches and buffers are there, and those that are counted.
const WARM_UP: usize = 50;
const COUNTED: usize = 50;

/// What is asked, and the most allocations a request may cost the proxy more than the pass-through. Lower a bound when a
/// change allows it: `cargo test --features demo --test allocations -- --nocapture` prints what is counted, which differs by
/// less than two from run to run, and where bodies are long by less than ten. Where they are made says `ALLOCATIONS`, see above.
const CASES: &[Case] = &[
    ("gRPC, 1 KiB", 30.0, Over::PassThrough, Ask::Create("ml", 1 << 10)),
    ("gRPC, 100 KiB", 42.0, Over::PassThrough, Ask::Create("ml", 100 << 10)),
    ("gRPC, refused", 44.0, Over::Answer, Ask::Create("fraud", 1 << 10)),
    ("gRPC list of 1000", 517.0, Over::PassThrough, Ask::ListProjects),
    ("REST GET", 35.0, Over::PassThrough, Ask::Get("ml")),
    ("REST GET, refused", 39.0, Over::Answer, Ask::Get("fraud")),
    ("REST POST", 45.0, Over::PassThrough, Ask::Post("ml")),
    ("REST list of 1000", 567.0, Over::PassThrough, Ask::GetProjects),
];

type Case = (&'static str, f64, Over, Ask);

/// What the proxy is compared with.
#[derive(Clone, Copy, PartialEq)]
enum Over {
    /// Forwards everything.
    PassThrough,
    /// Refuses everything.
    Answer,
}

#[derive(Clone, Copy)]
enum Ask {
    /// `CreateExecution` in a project, with inputs of so many bytes.
    Create(&'static str, usize),
    ListProjects,
    /// A list of executions of a project.
    Get(&'static str),
    GetProjects,
    /// `CreateExecution` in JSON.
    Post(&'static str),
}

#[test]
fn a_request_adds_no_more_allocations_than_it_is_known_to() {
    let setup = Setup::new();
    let runtime = current_thread();
    let mut above = Vec::new();
    println!(
        "{:20} {:>8} {:>8} {:>8} {:>8}  (bytes)",
        "", "without", "with", "added", "at most"
    );
    for case in CASES {
        let (name, at_most, over, _) = *case;
        let without = match over {
            Over::PassThrough => setup.pass_through,
            Over::Answer => setup.answering,
        };
        let (without, bytes_without) = count(&runtime, &setup, case, without, "without");
        let (with, bytes_with) = count(&runtime, &setup, case, setup.proxy, "with");
        let (added, bytes) = (with - without, bytes_with - bytes_without);
        println!("{name:20} {without:8.1} {with:8.1} {added:8.1} {at_most:8.1}  ({bytes:+.0})");
        if added > at_most {
            above.push(name);
        }
    }
    setup.app.shut_down();
    assert!(
        above.is_empty(),
        "more allocations than before: {above:?}; see the table above"
    );
}

/// Allocations and bytes of one request, in the whole process.
fn count(runtime: &Runtime, setup: &Setup, case: &Case, server: SocketAddr, which: &str) -> (f64, f64) {
    let (name, _, over, ask) = *case;
    let call = setup.call(ask);
    let expected = if over == Over::Answer { call.refused() } else { "0" };
    runtime.block_on(async {
        let mut connection = Connection::open(server, &setup.authority, call.grpc).await.unwrap();
        for _ in 0..WARM_UP {
            assert_eq!(connection.ask(&call).await, expected, "{name}, {which}");
        }
        settle().await;
        let builder = dhat::Profiler::builder();
        let profiler = match std::env::var_os("ALLOCATIONS") {
            Some(directory) => {
                let file = format!("{name}, {which}.json");
                builder
                    .file_name(Path::new(&directory).join(file))
                    .trim_backtraces(None)
                    .build()
            }
            None => builder.testing().build(),
        };
        for _ in 0..COUNTED {
            assert_eq!(connection.ask(&call).await, expected, "{name}, {which}");
        }
        settle().await;
        let counted = dhat::HeapStats::get();
        drop(profiler);
        let each = |total: u64| f64::from(u32::try_from(total).unwrap()) / f64::from(u32::try_from(COUNTED).unwrap());
        (each(counted.total_blocks), each(counted.total_bytes))
    })
}

/// Lets the other threads finish what the last request left them, such as its record.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// A connection to the proxy, or to what stands in its place.
enum Connection {
    Grpc(http2::SendRequest<Full<Bytes>>),
    Rest(http1::SendRequest<Full<Bytes>>),
}

impl Connection {
    async fn open(server: SocketAddr, authority: &str, grpc: bool) -> Result<Self, Failure> {
        let mut tls = flyte_authz_proxy::demo::client::tls(Some(authority), None)?;
        tls.alpn_protocols = vec![if grpc { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let tcp = TcpStream::connect(server).await?;
        tcp.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(tls))
            .connect("localhost".try_into()?, tcp)
            .await?;
        let io = TokioIo::new(stream);
        Ok(if grpc {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            Self::Grpc(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            Self::Rest(sender)
        })
    }

    /// Makes a call and tells how it ended: the gRPC status, or for REST `0` or the HTTP status.
    async fn ask(&mut self, call: &Call) -> String {
        let request = call.request();
        let response = match self {
            Self::Grpc(sender) => sender.send_request(request).await.unwrap(),
            Self::Rest(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await.unwrap()
            }
        };
        let (parts, body) = response.into_parts();
        let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
        let status = trailers.get("grpc-status").or(parts.headers.get("grpc-status"));
        match status {
            Some(status) => status.to_str().unwrap().to_owned(),
            None if parts.status == StatusCode::OK => "0".to_owned(),
            None => parts.status.as_str().to_owned(),
        }
    }
}

/// A request, as often as it is wanted.
struct Call {
    grpc: bool,
    method: &'static str,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.parse().unwrap();
        let target = if self.grpc {
            format!("https://localhost{}", self.target)
        } else {
            self.target.clone()
        };
        *request.uri_mut() = target.parse().unwrap();
        *request.headers_mut() = self.headers.clone();
        request
    }

    fn refused(&self) -> &'static str {
        if self.grpc { "7" } else { "403" }
    }
}

/// Everything that runs.
struct Setup {
    app: App,
    proxy: SocketAddr,
    pass_through: SocketAddr,
    answering: SocketAddr,
    authority: String,
    token: String,
    _directory: TempDir,
}

impl Setup {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let certificates = Certificates::generate().unwrap();
        let key = SigningKey::generate("counted", Algorithm::Rs256).unwrap();
        let (grpc, http) = upstream();
        for (name, text) in [
            ("tls.crt", certificates.certificate.as_str()),
            ("tls.key", &certificates.key),
            ("jwks.json", &jwks([&key]).to_string()),
            ("policy.yaml", POLICY),
            ("config.yaml", &configuration(grpc, http)),
        ] {
            std::fs::write(path.join(name), text).unwrap();
        }
        let tls = || floor::tls(&path.join("tls.crt"), &path.join("tls.key")).unwrap();
        let (pass_through, answering) = (pass_through(tls(), grpc, http), answering(tls()));
        let (config, _) = Config::load(&path.join("config.yaml")).unwrap();
        let audit: Box<dyn std::io::Write + Send> = Box::new(std::io::sink());
        let app = App::start(config, Arc::new(SystemClock), audit.into()).unwrap();
        let now = SystemClock.unix_seconds();
        let claims = json!({
            "iss": "https://idp.example.com", "aud": "flyte", "sub": "counted", "email": "counted@example.com",
            "iat": now, "exp": now + 3600, "groups": ["ml-team", "everybody"],
        });
        Self {
            proxy: *app.addresses.first().unwrap(),
            app,
            pass_through,
            answering,
            authority: certificates.authority,
            token: key.token(&claims, &json!({})),
            _directory: directory,
        }
    }

    fn call(&self, ask: Ask) -> Call {
        let (grpc, method, target, body) = match ask {
            Ask::Create(project, padding) => {
                let target = "/flyteidl.service.AdminService/CreateExecution".to_owned();
                (true, "POST", target, envelope::frame(&execution(project, padding)))
            }
            Ask::ListProjects => {
                let target = "/flyteidl.service.AdminService/ListProjects".to_owned();
                (true, "POST", target, envelope::frame(&[]))
            }
            Ask::Get(project) => {
                let target = format!("/api/v1/executions/{project}/development?limit=10");
                (false, "GET", target, Bytes::new())
            }
            Ask::GetProjects => (false, "GET", "/api/v1/projects".to_owned(), Bytes::new()),
            Ask::Post(project) => {
                let launch_plan = json!({
                    "resourceType": "LAUNCH_PLAN", "project": project, "domain": "development", "name": "train",
                    "version": "1",
                });
                let execution = json!({
                    "project": project, "domain": "development", "name": "counted", "spec": {"launchPlan": launch_plan},
                    "inputs": {"literals": {}},
                });
                (
                    false,
                    "POST",
                    "/api/v1/executions".to_owned(),
                    execution.to_string().into(),
                )
            }
        };
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {}", self.token).parse().unwrap());
        if grpc {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
        } else {
            headers.insert("host", HeaderValue::from_static("localhost"));
            if !body.is_empty() {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
        }
        Call {
            grpc,
            method,
            target,
            headers,
            body,
        }
    }
}

const POLICY: &str = "version: 1
rules:
  - name: ml
    subjects: [{ groups: [ml-team] }]
    allow:
      - { projects: [ml], domains: [development, staging], role: contributor }
      - { projects: [\"own-*\"], domains: [\"*\"], role: viewer }
";

fn configuration(grpc: SocketAddr, http: SocketAddr) -> String {
    format!(
        "version: 1
listeners:
  - {{ name: public, address: \"127.0.0.1:0\", tls: {{ certificate: tls.crt, key: tls.key }} }}
admin: {{ address: \"127.0.0.1:0\" }}
upstream: {{ grpc: \"http://{grpc}\", http: \"http://{http}\" }}
issuers:
  - {{ issuer: https://idp.example.com, audiences: [flyte], jwks: {{ file: jwks.json }} }}
policy: {{ path: policy.yaml }}
workers: 1
"
    )
}

/// `CreateExecution` of a launch plan in a project, with inputs of so many bytes.
fn execution(project: &str, padding: usize) -> Vec<u8> {
    let field = |number: u8, content: &[u8]| {
        let mut bytes = vec![number << 3 | 2];
        let mut length = content.len();
        while length > 0x7f {
            bytes.push(0x80 | u8::try_from(length & 0x7f).unwrap());
            length >>= 7;
        }
        bytes.push(u8::try_from(length).unwrap());
        [&bytes, content].concat()
    };
    let scope = [field(2, project.as_bytes()), field(3, b"development")].concat();
    let launch_plan = [vec![1 << 3, 3], scope, field(4, b"train"), field(5, b"1")].concat();
    [
        field(1, project.as_bytes()),
        field(2, b"development"),
        field(3, b"counted"),
        field(4, &field(1, &launch_plan)),
        field(
            5,
            &field(1, &[field(1, b"text"), field(2, &vec![b'x'; padding])].concat()),
        ),
    ]
    .concat()
}

/// The control plane's two addresses.
fn upstream() -> (SocketAddr, SocketAddr) {
    let http = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    http.set_nonblocking(true).unwrap();
    let address = http.local_addr().unwrap();
    let grpc = serve(move |grpc| async move { answers::serve(grpc, tokio::net::TcpListener::from_std(http)?).await });
    (grpc, address)
}

/// The bare pass-through. A function of its own, as the next one, by whose name its thread is known in a profile.
fn pass_through(tls: rustls::ServerConfig, grpc: SocketAddr, http: SocketAddr) -> SocketAddr {
    serve(move |listener| async move {
        let floor = Arc::new(Floor::new(&grpc.to_string(), &http.to_string())?);
        let forward = move |request| {
            let floor = Arc::clone(&floor);
            async move { floor.forward(request).await }
        };
        floor::run(listener, tls, forward).await
    })
}

/// The server that answers at once.
fn answering(tls: rustls::ServerConfig) -> SocketAddr {
    serve(move |listener| floor::run(listener, tls, refuse))
}

/// Refuses as the proxy does, without a reason.
async fn refuse(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failure> {
    let grpc = request.headers().contains_key(TE);
    request.into_body().collect().await?;
    let message = "the caller may not do this in project `fraud`, domain `development`";
    let mut response = Response::default();
    let headers = response.headers_mut();
    headers.insert("x-request-id", HeaderValue::from_static("0123456789abcdef"));
    if grpc {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static("7"));
        headers.insert("grpc-message", HeaderValue::from_static(message));
    } else {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *response.status_mut() = StatusCode::FORBIDDEN;
        *response.body_mut() = Full::from(format!("{{\"code\":7,\"message\":\"{message}\"}}"));
    }
    Ok(response)
}

fn current_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Runs a server on a thread of its own, until the process ends, and tells its address.
fn serve<F, R>(server: F) -> SocketAddr
where
    F: FnOnce(tokio::net::TcpListener) -> R + Send + 'static,
    R: Future<Output = Result<(), Failure>>,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        current_thread().block_on(async { server(tokio::net::TcpListener::from_std(listener)?).await })
    });
    address
}
