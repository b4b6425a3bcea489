//! A real Prometheus that scrapes the running proxy: every alert is raised by what it is about, and every query of the
//! dashboard finds data. Run by `scripts/prometheus-test.sh`, which brings `prometheus` and `promtool`.
#![expect(clippy::print_stderr, reason = "what Prometheus complains of")]

use crate::monitoring::{alerts, dashboard};
use crate::proxy::Proxy;
use crate::sockets::{admin, eventually, soon};
use bytes::Bytes;
use flyte_authz_proxy::clock::{Clock, SystemClock};
use flyte_authz_proxy::demo::certificates::ClientIdentity;
use flyte_authz_proxy::demo::client::Client;
use flyte_authz_proxy::demo::control_plane::{Fault, Script};
use flyte_authz_proxy::demo::issuer;
use flyte_authz_proxy::demo::stack::{Entry, replace};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long all alerts together may take.
const PATIENCE: Duration = Duration::from_secs(90);
const LIST: &str = "/api/v1/executions/ml/development?limit=1";

/// An output of audit records that can be stopped and broken.
#[derive(Clone, Default)]
struct Output(Arc<AtomicU8>);

const BLOCKED: u8 = 1;
const BROKEN: u8 = 2;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Not forever: a test that fails meanwhile must end.
        let began = Instant::now();
        while self.0.load(Ordering::Acquire) == BLOCKED && began.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.0.load(Ordering::Acquire) == BROKEN {
            return Err(io::Error::other("the disk is full"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A running Prometheus, for which a minute of the alerts is a second.
struct Prometheus {
    program: Child,
    address: SocketAddr,
}

impl Prometheus {
    fn start(directory: &Path, target: SocketAddr) -> Self {
        let configuration = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yaml"],
            "scrape_configs": [{"job_name": "authz", "static_configs": [{"targets": [target]}]}],
        });
        std::fs::write(directory.join("alerts.yaml"), sixty_times_as_fast(&alerts())).unwrap();
        // JSON is YAML.
        std::fs::write(directory.join("prometheus.yaml"), configuration.to_string()).unwrap();
        let mut program = Command::new("prometheus")
            .current_dir(directory)
            .args(["--config.file=prometheus.yaml", "--storage.tsdb.path=data"])
            .arg("--web.listen-address=127.0.0.1:0")
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus cannot be started; `make test-prometheus` brings it");
        let log = BufReader::new(program.stderr.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        // Read to the end, so that it never waits for room to log.
        std::thread::spawn(move || {
            // Their order is not always the same.
            let (mut address, mut ready) = (None, false);
            for line in log.lines().map_while(Result::ok) {
                if let Some((_, listening)) = line.split_once("msg=\"Listening on\" address=") {
                    address = listening.parse().ok();
                } else if line.contains("Server is ready") {
                    ready = true;
                } else if line.contains("level=error") {
                    eprintln!("{line}");
                }
                if let Some(address) = address.filter(|_| ready) {
                    // Only the first is waited for.
                    _ = sender.send(address);
                }
            }
        });
        let address = receiver
            .recv_timeout(Duration::from_secs(30))
            .expect("prometheus does not begin to serve");
        Self { program, address }
    }

    /// What its HTTP API answers.
    async fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // Version 1.0 is answered in one piece.
        let request = format!("GET /api/v1/{path} HTTP/1.0\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon("prometheus answers", stream.read_to_string(&mut answer))
            .await
            .unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let answer: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// The numbers that a query finds.
    async fn query(&self, expression: &str) -> Vec<f64> {
        let encoded = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let found = self.get(&format!("query?query={encoded}")).await;
        let samples = found["result"].as_array().unwrap().iter();
        samples
            .map(|sample| sample["value"][1].as_str().unwrap().parse().unwrap())
            .collect()
    }

    /// The alerts that are raised, with their summaries.
    async fn raised(&self) -> BTreeMap<String, String> {
        let found = self.get("alerts").await;
        let firing = found["alerts"].as_array().unwrap().iter();
        let firing = firing.filter(|alert| alert["state"] == "firing");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        firing
            .map(|alert| {
                (
                    text(&alert["labels"]["alertname"]),
                    text(&alert["annotations"]["summary"]),
                )
            })
            .collect()
    }

    async fn wait_for_scrapes(&self, count: u32) {
        let query = format!("count_over_time(up[10m]) >= {count}");
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.query(&query).await.is_empty() {
            assert!(Instant::now() < deadline, "prometheus does not scrape");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.program.kill().unwrap();
        self.program.wait().unwrap();
    }
}

/// The rules with every duration divided by sixty.
fn sixty_times_as_fast(rules: &str) -> String {
    let durations = regex::Regex::new(r"\b(\d+)(m|h|d)\b").unwrap();
    let faster = durations.replace_all(rules, |found: &regex::Captures<'_>| {
        let number: u32 = found[1].parse().unwrap();
        match &found[2] {
            "m" => format!("{number}s"),
            "h" => format!("{number}m"),
            _ => format!("{}m", number * 24),
        }
    });
    faster.into_owned()
}

/// Runs promtool on a text.
fn promtool(arguments: &[&str], input: &str) {
    let mut program = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool cannot be started; `make test-prometheus` brings it");
    program.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = program.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.is_empty(),
        "promtool {arguments:?}: {said}"
    );
}

/// The running proxy, and callers of every kind.
struct Callers {
    proxy: Proxy,
    output: Output,
    /// Needs no token, so that it gets on without the issuer.
    engine: Client,
}

impl Callers {
    async fn start() -> Self {
        let output = Output::default();
        let audit = output.clone();
        let proxy = Proxy::start_with(|setup| {
            setup.audit = Box::new(audit);
            setup
                .configuration
                .push_str("audit: {queue: 16, on_full: drop_and_count}\n");
            setup.policy = setup.policy.replace("role: engine", "role: platform_admin");
            setup.edit = Box::new(|text| {
                text.replace(
                    "    allow_http: true",
                    "    allow_http: true\n    refresh: 10s\n    max_stale: 15s",
                )
            });
        })
        .await;
        let engine = proxy.address(Entry::Engine).unwrap();
        let engine = Client::new(engine, None, &crate::descriptors::bytes()).unwrap();
        Self { proxy, output, engine }
    }

    /// Calls that are allowed, by every protocol.
    async fn good(&self) {
        let token = self.proxy.ml();
        for _ in 0..2 {
            let reply = self.proxy.plain.get(Some(&token), LIST).await.unwrap();
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        self.list().await;
        let headers = [("accept", "application/octet-stream")];
        let reply = self.engine.rest(http::Method::GET, LIST, &headers, "").await.unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    /// The engine's list, by gRPC, whatever comes of it.
    async fn list(&self) {
        let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
        _ = self.engine.call(None, "AdminService/ListExecutions", message).await;
    }

    /// Everything that alerts and the dashboard are about and that callers can cause.
    async fn bad(&self) {
        let control_plane = &self.proxy.control_plane;
        self.proxy.plain.get(None, LIST).await.unwrap();
        self.proxy.plain.get(Some(&self.proxy.ml()), LIST).await.unwrap();
        let unknown = "/flyteidl.service.AdminService/TellFortune";
        self.engine.grpc(unknown, &[], Bytes::new()).await.unwrap();
        self.engine.get(None, "/wp-login.php").await.unwrap();
        let status = Fault::Status {
            code: 13,
            message: "no database".to_owned(),
            details: None,
        };
        for fault in [status, Fault::Reset] {
            control_plane.script(Script::on("ListExecutions", fault).times(3));
            for _ in 0..3 {
                self.list().await;
            }
        }
        control_plane.clear_scripts();
        // No TLS at all.
        let mut stream = TcpStream::connect(self.proxy.address(Entry::Tls).unwrap())
            .await
            .unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    }

    /// A caller whose message is long in coming, and a control plane that takes long.
    fn slow(&self) {
        let address = self.proxy.address(Entry::Engine).unwrap();
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = "POST /api/v1/projects HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                        content-length: 2\r\nconnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(600)).await;
            stream.write_all(b"{}").await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        });
        let slow = Fault::Delay { milliseconds: 5500 };
        self.proxy.control_plane.script(Script::on("GetVersion", slow));
        tokio::spawn(async move {
            let request = "GET /api/v1/version HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            // Cut off when the proxy ends.
            _ = stream.read_to_end(&mut Vec::new()).await;
        });
    }

    /// More records than have room, while none can be written; then some that are lost.
    async fn fill_the_queue(&self) {
        let before = self.proxy.metric("audit_queue_full_total");
        self.output.0.store(BLOCKED, Ordering::Release);
        let address = self.proxy.address(Entry::Plain).unwrap();
        let calls: Vec<_> = (0..30)
            .map(|_| tokio::spawn(async move { admin(address, "/healthcheck").await }))
            .collect();
        eventually("the queue is full", || {
            let waiting = self.proxy.metric("audit_queue_records");
            waiting >= 16.0 && self.proxy.metric("audit_queue_full_total") > before
        })
        .await;
        self.output.0.store(BROKEN, Ordering::Release);
        eventually("records are lost", || self.proxy.metric("audit_failures_total") > 0.0).await;
        self.output.0.store(0, Ordering::Release);
        // Not before: what ends as a failure meanwhile waits for room, and its worker with it.
        for call in calls {
            soon("the call is answered", call).await.unwrap();
        }
        eventually("the queue is empty", || {
            self.proxy.metric("audit_queue_records").abs() < 0.5
        })
        .await;
    }
}

/// What an operator gets wrong: a broken policy, a certificate that runs out, an issuer that is gone.
fn break_the_surroundings(proxy: &Proxy) {
    proxy.write_policy("version: 1\nrules: broken\n").unwrap();
    let certificate = ClientIdentity::self_signed(|certificate| {
        let soon = SystemClock.now() + Duration::from_hours(12);
        certificate.not_after = rcgen::date_time_ymd(1970, 1, 1) + soon;
    });
    let ClientIdentity { certificate, key } = certificate.unwrap();
    replace(&proxy.directory().join("tls.crt"), &certificate).unwrap();
    replace(&proxy.directory().join("tls.key"), &key).unwrap();
    proxy.issuer.fail(issuer::Fault::Down);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Prometheus: make test-prometheus"]
async fn every_alert_is_raised_by_what_it_is_about_and_every_panel_has_data() {
    let callers = Callers::start().await;
    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(directory.path(), callers.proxy.app.admin);
    prometheus.wait_for_scrapes(1).await;

    // All is well, and a policy is changed: nothing is raised.
    let policy = std::fs::read_to_string(&callers.proxy.policy).unwrap();
    callers.good().await;
    prometheus.wait_for_scrapes(4).await;
    callers.proxy.write_policy(&format!("{policy}\n# changed\n")).unwrap();
    for scrapes in 5..18 {
        callers.good().await;
        prometheus.wait_for_scrapes(scrapes).await;
        assert_eq!(prometheus.raised().await, BTreeMap::new());
    }

    break_the_surroundings(&callers.proxy);
    let (known, gone): (BTreeSet<String>, BTreeSet<String>) = alert_names()
        .into_iter()
        .partition(|name| !["FlyteAuthzProxyAbsent", "FlyteAuthzProxyDown"].contains(&&**name));
    let mut raised = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    while !known.iter().all(|name| raised.contains_key(name)) {
        let missing: Vec<_> = known.iter().filter(|name| !raised.contains_key(*name)).collect();
        assert!(Instant::now() < deadline, "not raised within {PATIENCE:?}: {missing:?}");
        callers.bad().await;
        callers.slow();
        callers.fill_the_queue().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        raised.extend(prometheus.raised().await);
    }
    for summary in raised.values() {
        assert!(!summary.contains("no value") && !summary.contains("error"), "{summary}");
    }
    every_panel_has_data(&prometheus).await;
    let metrics = admin(callers.proxy.app.admin, "/metrics").await;
    promtool(&["check", "metrics"], metrics.split_once("\r\n\r\n").unwrap().1);
    // What callers write makes no series; this is what all kinds of requests above have made.
    let series = prometheus.query("count({__name__=~\"flyte_authz_.*\"})").await;
    assert!(series[0] < 800.0, "{series:?} series");

    let (stack, _) = callers.proxy.take();
    tokio::task::spawn_blocking(move || stack.app.shut_down())
        .await
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !gone.iter().all(|name| raised.contains_key(name)) {
        assert!(Instant::now() < deadline, "{gone:?} are not raised within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        raised.extend(prometheus.raised().await);
    }
}

fn alert_names() -> BTreeSet<String> {
    let rules = alerts();
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

/// Runs what Grafana would, with every proxy selected.
async fn every_panel_has_data(prometheus: &Prometheus) {
    let dashboard = dashboard();
    for variable in &dashboard.variables {
        let (series, label) = variable
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", "))
            .unwrap();
        let series = utf8_percent_encode(&filled_in(series), NON_ALPHANUMERIC).to_string();
        let values = prometheus.get(&format!("label/{label}/values?match[]={series}")).await;
        assert!(!values.as_array().unwrap().is_empty(), "{variable} has no values");
    }
    for query in &dashboard.queries {
        let found = prometheus.query(&filled_in(query)).await;
        assert!(found.iter().any(|number| number.is_finite()), "{query}: {found:?}");
    }
}

fn filled_in(query: &str) -> String {
    let filled = query
        .replace("$__rate_interval", "2m")
        .replace("$job", ".*")
        .replace("$instance", ".*");
    assert!(!filled.contains('$'), "{filled}");
    filled
}
