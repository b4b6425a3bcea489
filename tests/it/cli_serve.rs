//! `serve` as a process: it starts, logs, reloads, drains and ends, and refuses to start on what is not right.

use crate::cli::{PROGRAM, Ran, run, text};
use crate::descriptors;
use flyte_authz_proxy::demo::client::Client;
use flyte_authz_proxy::demo::control_plane::{ControlPlane, Options};
use flyte_authz_proxy::demo::issuer::DemoIssuer;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const POLICY: &str = include_str!("../../policies/demo.yaml");
const DEADLINE: Duration = Duration::from_secs(20);

/// What a proxy needs around it, with its files in a directory.
pub(crate) struct Surroundings {
    directory: TempDir,
    issuer: DemoIssuer,
    _control_plane: ControlPlane,
}

impl Surroundings {
    pub(crate) async fn start(address: &str, workers: usize) -> Self {
        let issuer = DemoIssuer::start().await.unwrap();
        let control_plane = ControlPlane::start(&descriptors::bytes(), Options::default())
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let configuration = format!(
            "version: 1
listeners: [{{name: public, address: \"{address}\"}}]
admin: {{address: 127.0.0.1:0}}
upstream: {{grpc: \"http://{}\", http: \"http://{}\"}}
issuers: [{{issuer: \"{}\", audiences: [flyte], allow_http: true}}]
policy: {{path: policy.yaml, poll: 1h}}
workers: {workers}
shutdown: {{delay: 100ms, drain: 10s}}
",
            control_plane.grpc,
            control_plane.http,
            issuer.url()
        );
        fs::write(directory.path().join("config.yaml"), configuration).unwrap();
        fs::write(directory.path().join("policy.yaml"), POLICY).unwrap();
        Self {
            directory,
            issuer,
            _control_plane: control_plane,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn serve(&self) -> Serving {
        self.serve_by(&[PROGRAM])
    }

    /// The same by a command that ends with the program.
    pub(crate) fn serve_by(&self, command: &[&str]) -> Serving {
        let file = |name: &str| File::create(self.path(name)).unwrap();
        let child = Command::new(command[0])
            .args(&command[1..])
            .args(["serve", "--config", text(&self.path("config.yaml"))])
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap();
        Serving { child }
    }

    /// A start that is expected to fail.
    fn serve_in_vain(&self) -> Ran {
        run(&["serve", "--config", text(&self.path("config.yaml"))])
    }

    /// The lines of the log or of the audit output so far, each of them JSON.
    pub(crate) fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        complete
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// Waits for a line.
    pub(crate) async fn line(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let lines = self.lines(name);
            if let Some(line) = lines.iter().find(|line| wanted(line)) {
                return line.clone();
            }
            assert!(start.elapsed() < DEADLINE, "no such line in {name}: {lines:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A client of the proxy, once that listens.
    pub(crate) async fn client(&self) -> Client {
        Client::new(self.address().await, None, &descriptors::bytes()).unwrap()
    }

    /// Where the proxy listens, once it does.
    async fn address(&self) -> SocketAddr {
        let line = self.line("stderr", |line| line["message"] == "listening").await;
        assert_eq!((&line["level"], &line["listener"]), (&json!("INFO"), &json!("public")));
        line["address"].as_str().unwrap().parse().unwrap()
    }

    /// The gRPC status of a list of executions, tried again until the keys are there.
    pub(crate) async fn list(&self, client: &Client, token: &str, project: &str) -> u16 {
        let start = Instant::now();
        loop {
            let message = json!({"id": {"project": project, "domain": "development"}, "limit": 1});
            let reply = client
                .call(Some(token), "AdminService/ListExecutions", message)
                .await
                .unwrap();
            match reply.grpc_status().unwrap() {
                14 if start.elapsed() < DEADLINE => tokio::time::sleep(Duration::from_millis(50)).await,
                status => return status,
            }
        }
    }

    pub(crate) fn ml(&self) -> String {
        self.issuer.mint(&json!({"sub": "alice", "groups": ["ml-team"]}))
    }
}

/// A running proxy. It is killed when a test fails.
pub(crate) struct Serving {
    child: Child,
}

impl Serving {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    pub(crate) async fn exit_code(mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < DEADLINE, "still running");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_reloads_on_sighup_and_drains_on_sigterm() {
    let around = Surroundings::start("127.0.0.1:0", 2).await;
    let serving = around.serve();
    let client = around.client().await;
    assert_eq!(around.list(&client, &around.ml(), "ml").await, 0);
    assert_eq!(around.list(&client, &around.ml(), "fraud").await, 7);
    let record = around.line("stdout", |line| line["reason"] == "no_matching_rule").await;
    assert_eq!(record["principal"]["subject"], "alice");

    fs::write(
        around.path("policy.yaml"),
        POLICY.replace("projects: [ml]", "projects: [moved]"),
    )
    .unwrap();
    serving.signal("HUP");
    let start = Instant::now();
    while around.list(&client, &around.ml(), "ml").await == 0 {
        assert!(start.elapsed() < DEADLINE, "the policy was not loaded again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    serving.signal("TERM");
    assert_eq!(serving.exit_code().await, Some(0));
    let log = around.lines("stderr");
    let last = log
        .iter()
        .rev()
        .take(3)
        .map(|line| line["message"].as_str().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(last, ["stopped", "draining", "not ready from now on"]);
    let token = around.ml();
    let signature = token.rsplit('.').next().unwrap();
    for name in ["stdout", "stderr"] {
        assert!(!fs::read_to_string(around.path(name)).unwrap().contains(signature));
    }
    assert!(around.lines("stdout").iter().all(|line| line["request_id"].is_string()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigint_ends_it_as_well_and_sighup_before_does_not() {
    let around = Surroundings::start("127.0.0.1:0", 1).await;
    let serving = around.serve();
    let client = around.client().await;
    serving.signal("HUP");
    assert_eq!(around.list(&client, &around.ml(), "ml").await, 0);
    serving.signal("INT");
    assert_eq!(serving.exit_code().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_proxy_cannot_share_the_address_of_the_first() {
    for workers in [(2, 2), (2, 1), (1, 2)] {
        let first = Surroundings::start("127.0.0.1:0", workers.0).await;
        let serving = first.serve();
        let client = first.client().await;
        let taken = first.address().await.to_string();
        let second = Surroundings::start(&taken, workers.1).await;
        let ran = second.serve_in_vain().exited(3);
        let told = format!("listener public: error: cannot listen on {taken}: Address already in use");
        assert!(ran.stderr.contains(&told), "{}", ran.stderr);
        assert_eq!(first.list(&client, &first.ml(), "ml").await, 0);
        serving.signal("TERM");
        assert_eq!(serving.exit_code().await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_broken_is_told_completely_and_nothing_starts() {
    let around = Surroundings::start("127.0.0.1:0", 1).await;
    let good = fs::read_to_string(around.path("config.yaml")).unwrap();
    fs::write(
        around.path("config.yaml"),
        good.replace("version: 1", "version: 2").replace("10s", "2h"),
    )
    .unwrap();
    let ran = around.serve_in_vain().exited(3);
    for place in [
        "config.yaml:1:10: error: version 2",
        "config.yaml:8:33: error: `2h` is out of range",
        "2 errors",
    ] {
        assert!(ran.stderr.contains(place), "{}", ran.stderr);
    }
    assert_eq!(ran.stdout, "");

    let tls = "\"127.0.0.1:0\", tls: {certificate: tls.crt, key: tls.key}";
    let more = good.replace("\"127.0.0.1:0\"", tls) + "catalog: {overlays: [overlay.yaml]}\n";
    fs::write(around.path("config.yaml"), more).unwrap();
    fs::write(
        around.path("policy.yaml"),
        POLICY.replace("role: viewer", "role: looker"),
    )
    .unwrap();
    let ran = around.serve_in_vain().exited(3);
    for place in [
        "policy.yaml:14:15: error: ",
        "policy.yaml:24:15: error: ",
        "tls.crt: error: ",
        "tls.key: error: ",
        "overlay.yaml: error: ",
    ] {
        assert!(ran.stderr.contains(place), "{place} is not in\n{}", ran.stderr);
    }
    assert_eq!(ran.stdout, "", "standard output is for audit records");

    let ran = run(&["serve", "--config", text(&around.path("none.yaml"))]).exited(3);
    assert!(
        ran.stderr.contains("none.yaml: error: cannot be read: No such file"),
        "{}",
        ran.stderr
    );
}
