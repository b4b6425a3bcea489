//! A new version without a lost request: two proxies behind `HAProxy`, each stopped and started again under load.

#![expect(clippy::print_stdout, reason = "the counts are the result")]

use crate::cli::{PROGRAM, text};
use crate::descriptors;
use crate::sockets::{admin, eventually, soon};
use crate::upstream_links::listen;
use flyte_authz_proxy::demo::client::{Client, Reply};
use flyte_authz_proxy::demo::control_plane::{ControlPlane, Fault, Options, Script};
use flyte_authz_proxy::demo::issuer::DemoIssuer;
use flyte_authz_proxy::demo::stack::POLICY;
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const RESTARTS: usize = 4;

/// A process that is killed when a test fails.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

impl Process {
    /// Asks it to end and waits until it has.
    async fn stop(mut self) {
        let id = self.0.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", "TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                assert_eq!(status.code(), Some(0));
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "it does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// One of the two proxies: always at the same addresses.
struct Place {
    name: &'static str,
    listener: SocketAddr,
    admin: SocketAddr,
}

impl Place {
    async fn new(name: &'static str) -> Self {
        Self {
            name,
            listener: free().await,
            admin: free().await,
        }
    }

    fn serve(&self, directory: &Path) -> Process {
        let append = |what: &str| {
            let path = directory.join(format!("{}.{what}", self.name));
            OpenOptions::new().create(true).append(true).open(path).unwrap()
        };
        let config = directory.join(format!("{}.yaml", self.name));
        let child = Command::new(PROGRAM)
            .args(["serve", "--config", text(&config)])
            .stdin(Stdio::null())
            .stdout(append("audit"))
            .stderr(append("log"))
            .spawn();
        Process(child.unwrap())
    }

    async fn ready(&self) {
        let start = Instant::now();
        loop {
            if tokio::net::TcpStream::connect(self.admin).await.is_ok()
                && admin(self.admin, "/readyz").await.starts_with("HTTP/1.1 200")
            {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{} is not ready", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many requests it has recorded as forwarded.
    fn forwarded(&self, directory: &Path) -> usize {
        let records = fs::read_to_string(directory.join(format!("{}.audit", self.name))).unwrap();
        let records = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.filter(|record| record["outcome"] == "forwarded").count()
    }
}

async fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], listen(0).await.1))
}

/// `HAProxy` as an operator would set it up: the health check asks `/readyz` of the admin listener.
fn haproxy(directory: &Path, frontend: SocketAddr, places: &[Place; 2]) -> Process {
    let servers = |protocol: &str| {
        let servers = places.iter().map(|place| {
            format!(
                "    server {} {} {protocol} check port {} check-proto h1 inter 200ms fall 2 rise 2\n",
                place.name,
                place.listener,
                place.admin.port()
            )
        });
        servers.collect::<String>()
    };
    let configuration = format!(
        "defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    option redispatch 1
frontend flyte
    bind {frontend}
    use_backend grpc if {{ req.hdr(content-type) -m beg application/grpc }}
    default_backend rest
backend grpc
    balance roundrobin
    option httpchk GET /readyz
{}backend rest
    balance roundrobin
    option httpchk GET /readyz
{}",
        servers("proto h2"),
        servers("")
    );
    let path = directory.join("haproxy.cfg");
    fs::write(&path, configuration).unwrap();
    let log = |name: &str| File::create(directory.join(name)).unwrap();
    let child = Command::new("haproxy")
        .args(["-db", "-f", text(&path)])
        .stdin(Stdio::null())
        .stdout(log("haproxy.out"))
        .stderr(log("haproxy.log"))
        .spawn();
    Process(child.expect("haproxy must be installed: run `make test-upgrade`"))
}

/// What was sent, and what came of it.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    sent: AtomicUsize,
    answered: AtomicUsize,
}

impl Load {
    async fn run(&self, client: &Client, token: &str, by_grpc: bool) {
        while !self.over.load(Ordering::SeqCst) {
            self.sent.fetch_add(1, Ordering::SeqCst);
            match call(client, token, by_grpc).await {
                Ok(()) => self.answered.fetch_add(1, Ordering::SeqCst),
                Err(lost) => panic!("lost a request: {lost}"),
            };
        }
    }
}

async fn call(client: &Client, token: &str, by_grpc: bool) -> Result<(), String> {
    let list = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
    let reply: Result<Reply, _> = if by_grpc {
        client.call(Some(token), "AdminService/ListExecutions", list).await
    } else {
        client
            .get(Some(token), "/api/v1/executions/ml/development?limit=1")
            .await
    };
    let reply = reply.map_err(|error| format!("{error:?}"))?;
    let good = reply.status == 200 && (!by_grpc || reply.grpc_status() == Some(0));
    if good { Ok(()) } else { Err(format!("{reply:?}")) }
}

#[ignore = "needs HAProxy: make test-upgrade"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_two_proxies_behind_haproxy_are_restarted_in_turn() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let issuer = DemoIssuer::start().await.unwrap();
    let control_plane = ControlPlane::start(&descriptors::bytes(), Options::default())
        .await
        .unwrap();
    let places = [Place::new("one").await, Place::new("two").await];
    fs::write(directory.join("policy.yaml"), POLICY).unwrap();
    for place in &places {
        let configuration = format!(
            "version: 1
listeners: [{{name: public, address: \"{}\"}}]
admin: {{address: \"{}\"}}
upstream: {{grpc: \"http://{}\", http: \"http://{}\"}}
issuers: [{{issuer: \"{}\", audiences: [flyte], allow_http: true}}]
policy: {{path: policy.yaml}}
workers: 2
shutdown: {{delay: 1500ms, drain: 10s}}
",
            place.listener,
            place.admin,
            control_plane.grpc,
            control_plane.http,
            issuer.url()
        );
        fs::write(directory.join(format!("{}.yaml", place.name)), configuration).unwrap();
    }
    let mut running = places
        .iter()
        .map(|place| Some(place.serve(directory)))
        .collect::<Vec<_>>();
    for place in &places {
        place.ready().await;
    }
    let frontend = free().await;
    let _haproxy = haproxy(directory, frontend, &places);
    let token = issuer.mint(&json!({"sub": "alice", "groups": ["ml-team"], "exp": 4_000_000_000_u64}));
    let client = || Arc::new(Client::new(frontend, None, &descriptors::bytes()).unwrap());
    let first = client();
    let start = Instant::now();
    while call(&first, &token, true).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "HAProxy does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eventually("both have what they were sent", || {
        places.iter().map(|place| place.forwarded(directory)).sum::<usize>() == control_plane.count()
    })
    .await;
    let before = control_plane.count();
    // Some calls take longer than a health check.
    control_plane.script(Script::on("ListExecutions", Fault::Delay { milliseconds: 700 }).times(40));

    let load = Arc::new(Load::default());
    let mut callers = JoinSet::new();
    for number in 0..12 {
        let (load, client, token) = (Arc::clone(&load), client(), token.clone());
        callers.spawn(async move { load.run(&client, &token, number % 2 == 0).await });
    }
    for turn in 0..RESTARTS {
        tokio::time::sleep(Duration::from_secs(1)).await;
        control_plane.script(Script::on("ListExecutions", Fault::Delay { milliseconds: 2500 }).times(6));
        let (place, process) = (&places[turn % 2], &mut running[turn % 2]);
        let begun = load.answered.load(Ordering::SeqCst);
        process.take().unwrap().stop().await;
        *process = Some(place.serve(directory));
        place.ready().await;
        println!(
            "{}: restarted while {} requests were answered",
            place.name,
            load.answered.load(Ordering::SeqCst) - begun
        );
        // Until HAProxy has seen it twice.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    load.over.store(true, Ordering::SeqCst);
    soon("the last calls end", async {
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
    })
    .await;
    let (sent, answered) = (load.sent.load(Ordering::SeqCst), load.answered.load(Ordering::SeqCst));
    println!("{sent} requests sent, {answered} answered, {RESTARTS} restarts");
    assert_eq!(
        (sent, control_plane.count() - before),
        (answered, sent),
        "each arrived exactly once"
    );
    assert!(sent > 500, "too few to tell: {sent}");
    eventually("every request is recorded", || {
        places.iter().map(|place| place.forwarded(directory)).sum::<usize>() == before + sent
    })
    .await;
}
