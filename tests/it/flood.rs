//! The program as a process under attack: its surroundings, what it uses of the machine, connections that send what no
//! well-behaved client sends, and a well-behaved client beside them.

use crate::cli::{PROGRAM, text};
use crate::descriptors;
use crate::raw::{frame, literal};
use flyte_authz_proxy::demo::certificates::Certificates;
use flyte_authz_proxy::demo::client::{self, Client, Reply};
use flyte_authz_proxy::demo::control_plane::{ControlPlane, Options};
use flyte_authz_proxy::demo::issuer::DemoIssuer;
use flyte_authz_proxy::demo::stack::POLICY;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The most that a call of the well-behaved client may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long the proxy may take to end a connection that deserves it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const LIST: &str = "/flyteidl.service.AdminService/ListExecutions";
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The error by which HTTP/2 says: too much of it (RFC 9113, section 7).
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A running proxy of its own process, with what it needs around it.
pub(crate) struct Target {
    pub(crate) issuer: DemoIssuer,
    pub(crate) control_plane: ControlPlane,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    tls: Arc<rustls::ClientConfig>,
    client: Client,
    child: Child,
    directory: TempDir,
}

impl Target {
    /// With these limits, in YAML.
    pub(crate) async fn start(limits: &str) -> Self {
        let issuer = DemoIssuer::start().await.unwrap();
        let control_plane = ControlPlane::start(&descriptors::bytes(), Options::default())
            .await
            .unwrap();
        let certificates = Certificates::generate().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let configuration = format!(
            "version: 1
listeners: [{{name: public, address: \"127.0.0.1:0\", tls: {{certificate: tls.crt, key: tls.key}}}}]
admin: {{address: 127.0.0.1:0}}
upstream: {{grpc: \"http://{}\", http: \"http://{}\"}}
issuers: [{{issuer: \"{}\", audiences: [flyte], allow_http: true}}]
policy: {{path: policy.yaml, poll: 1h}}
audit: {{output: audit.log}}
workers: 1
limits: {{{limits}}}
",
            control_plane.grpc,
            control_plane.http,
            issuer.url()
        );
        for (name, text) in [
            ("tls.crt", &certificates.certificate),
            ("tls.key", &certificates.key),
            ("policy.yaml", &POLICY.to_owned()),
            ("config.yaml", &configuration),
        ] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let log = directory.path().join("log");
        // `make floods` measures a program built as it is released.
        #[expect(clippy::disallowed_methods, reason = "the command says which")]
        let program = std::env::var("FLOODS_PROGRAM").unwrap_or_else(|_| PROGRAM.to_owned());
        let child = Command::new(program)
            .args(["serve", "--config", text(&directory.path().join("config.yaml"))])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let began = Instant::now();
        let address = loop {
            let written = fs::read_to_string(&log).unwrap();
            let complete = written.rsplit_once('\n').map_or("", |(lines, _)| lines);
            let mut lines = complete
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap());
            if let Some(line) = lines.find(|line| line["message"] == "listening") {
                break line["address"].as_str().unwrap().parse().unwrap();
            }
            assert!(began.elapsed() < PATIENCE, "it does not start: {written}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let mut tls = client::tls(Some(&certificates.authority), None).unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let target = Self {
            token: issuer.mint(&json!({"sub": "alice", "groups": ["ml-team"]})),
            client: Client::new(address, Some(&certificates.authority), &descriptors::bytes()).unwrap(),
            tls: Arc::new(tls),
            issuer,
            control_plane,
            address,
            child,
            directory,
        };
        let start = Instant::now();
        while target.client.call_list(&target.token).await != Some(0) {
            assert!(start.elapsed() < PATIENCE, "the proxy does not serve");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        target
    }

    /// Resident memory in KiB: now, and at most so far.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (field("VmRSS:"), field("VmHWM:"))
    }

    /// Checks that it has never had more than so many MiB.
    pub(crate) fn stayed_below(&self, mebibytes: u64) {
        let (_, most) = self.memory();
        assert!(most < mebibytes << 10, "{most} KiB were resident");
    }

    /// CPU time so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = |field| fields.split(' ').nth(field).unwrap().parse::<u64>().unwrap();
        // Linux counts hundredths of a second here.
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }

    /// A TCP connection.
    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A TLS connection for HTTP/2, or for HTTP/1.1.
    pub(crate) async fn tls(&self, http2: bool) -> std::io::Result<TlsStream<TcpStream>> {
        self.tls_over(self.tcp().await, http2).await
    }

    /// The same over a TCP connection.
    pub(crate) async fn tls_over(&self, stream: TcpStream, http2: bool) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config = (*self.tls).clone();
        if !http2 {
            config.alpn_protocols.clear();
        }
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// How many requests have been recorded with this outcome.
    pub(crate) fn recorded(&self, outcome: &str) -> usize {
        let records = fs::read_to_string(self.directory.path().join("audit.log")).unwrap();
        records.matches(&format!("\"outcome\":\"{outcome}\"")).count()
    }

    /// The well-behaved client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// A call of it.
    pub(crate) async fn call(&self, rpc: &str, message: Value) -> Reply {
        self.client.call(Some(&self.token), rpc, message).await.unwrap()
    }

    /// The message of an ordinary call.
    pub(crate) fn list_message(&self) -> Vec<u8> {
        let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
        self.client.encode("AdminService/ListExecutions", message).unwrap()
    }

    /// Begins calls of a well-behaved client, one after the other until it is asked how it was served.
    pub(crate) fn neighbour(&self) -> Neighbour {
        let over = Arc::new(AtomicBool::new(false));
        let made = Arc::new(AtomicUsize::new(0));
        let (client, token) = (self.client.clone(), self.token.clone());
        let (stop, count) = (Arc::clone(&over), Arc::clone(&made));
        let calls = tokio::spawn(async move {
            let mut served = Served::default();
            let mut by_grpc = false;
            while !stop.load(Ordering::Relaxed) {
                by_grpc = !by_grpc;
                let begun = Instant::now();
                let call = async {
                    if by_grpc {
                        return client.call_list(&token).await == Some(0);
                    }
                    // On a connection of its own each time.
                    let reply = client
                        .get(Some(&token), "/api/v1/executions/ml/development?limit=1")
                        .await;
                    reply.is_ok_and(|reply| reply.status == 200)
                };
                match tokio::time::timeout(DEADLINE, call).await {
                    Ok(true) => served.took.push(begun.elapsed()),
                    _ => served.errors += 1,
                }
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            served
        });
        Neighbour { over, made, calls }
    }

    /// Attacks, again and again if it is over so soon, until a well-behaved client has made some calls beside it; each of them must succeed.
    pub(crate) async fn served_beside(&self, mut attack: impl AsyncFnMut()) {
        let neighbour = self.neighbour();
        while neighbour.made.load(Ordering::Relaxed) < 4 {
            attack().await;
        }
        neighbour.was_served().await;
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// One ordinary call.
trait CallList {
    async fn call_list(&self, token: &str) -> Option<u16>;
}

impl CallList for Client {
    async fn call_list(&self, token: &str) -> Option<u16> {
        let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
        let called = self.call(Some(token), "AdminService/ListExecutions", message).await;
        called.ok()?.grpc_status()
    }
}

/// A well-behaved client that makes calls.
pub(crate) struct Neighbour {
    over: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
    calls: JoinHandle<Served>,
}

/// How it was served.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub(crate) took: Vec<Duration>,
    pub(crate) errors: usize,
}

impl Neighbour {
    pub(crate) async fn end(self) -> Served {
        self.over.store(true, Ordering::Relaxed);
        self.calls.await.unwrap()
    }

    /// Checks that every call succeeded in time, and that there were some.
    pub(crate) async fn was_served(self) {
        let served = self.end().await;
        assert_eq!(served.errors, 0, "of {} calls", served.took.len() + served.errors);
        assert!(served.took.len() >= 2, "{served:?}");
    }
}

/// An HTTP/2 connection whose frames are made by hand, and whose answers are counted while it sends.
pub(crate) struct Hostile {
    writer: WriteHalf<TlsStream<TcpStream>>,
    seen: Arc<Mutex<Seen>>,
    reader: JoinHandle<()>,
}

/// What the proxy has answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Frames by kind.
    pub(crate) frames: [usize; 16],
    /// Bytes of DATA.
    pub(crate) data: usize,
    /// The error of GOAWAY.
    pub(crate) goaway: Option<u32>,
    /// Whether the connection has ended.
    pub(crate) ended: bool,
}

impl Seen {
    /// Checks that the proxy has ended the connection because there was too much of something.
    pub(crate) fn was_cut_off(&self) {
        assert!(self.ended, "{self:?}");
        // It may close before all that it said is read.
        assert!(self.goaway.is_none_or(|error| error == ENHANCE_YOUR_CALM), "{self:?}");
    }
}

impl Hostile {
    /// Connects and sends the preface and these settings.
    pub(crate) async fn connect(target: &Target, settings: &[(u16, u32)]) -> Self {
        let (reader, mut writer) = tokio::io::split(target.tls(true).await.unwrap());
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        let begin = [PREFACE, &frame(4, 0, 0, &payload), &frame(4, 1, 0, &[])].concat();
        writer.write_all(&begin).await.unwrap();
        writer.flush().await.unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let reader = tokio::spawn(read(reader, Arc::clone(&seen)));
        Self { writer, seen, reader }
    }

    /// Sends bytes; `false` once the proxy has ended the connection.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        let sending = async {
            self.writer.write_all(bytes).await?;
            self.writer.flush().await
        };
        matches!(tokio::time::timeout(PATIENCE, sending).await, Ok(Ok(())))
    }

    /// Sends all of it, as long as the connection lasts.
    pub(crate) async fn flood(&mut self, all: impl IntoIterator<Item = Vec<u8>>) {
        for bytes in all {
            let ended = self.seen().ended;
            if ended || !self.send(&bytes).await {
                return;
            }
        }
    }

    /// What has been answered so far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until something has been seen.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> Seen {
        let begun = Instant::now();
        loop {
            let seen = self.seen();
            if condition(&seen) {
                return seen;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {seen:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(mut stream: ReadHalf<TlsStream<TcpStream>>, seen: Arc<Mutex<Seen>>) {
    let mut head = [0; 9];
    let mut payload = Vec::new();
    while stream.read_exact(&mut head).await.is_ok() {
        let [a, b, c, kind, ..] = head;
        payload.resize(u32::from_be_bytes([0, a, b, c]) as usize, 0);
        if stream.read_exact(&mut payload).await.is_err() {
            break;
        }
        let mut seen = seen.lock().unwrap();
        seen.frames[usize::from(kind).min(15)] += 1;
        match (kind, payload.get(4..8)) {
            (0, _) => seen.data += payload.len(),
            (7, Some(error)) => seen.goaway = Some(u32::from_be_bytes(error.try_into().unwrap())),
            _ => {}
        }
    }
    seen.lock().unwrap().ended = true;
}

/// The header block of a gRPC request to a path.
pub(crate) fn head(path: &str, token: &str) -> Vec<u8> {
    let authorization = format!("Bearer {token}");
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", &authorization),
    ];
    let fields = fields.iter().filter(|(_, value)| *value != "Bearer ");
    fields
        .flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes()))
        .collect()
}

/// HEADERS of a request, with `END_HEADERS` and, if it has no body, `END_STREAM`.
pub(crate) fn headers(stream: u32, block: &[u8], ends: bool) -> Vec<u8> {
    frame(1, 4 | u8::from(ends), stream, block)
}

/// The number of the nth stream of a client.
pub(crate) fn stream(number: u32) -> u32 {
    number * 2 + 1
}
