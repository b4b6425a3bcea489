//! The audit log under strain: rotation, a full queue, a full disk, samples, and a process that is killed.

use crate::cli_serve::{Serving, Surroundings};
use crate::proxy::{AuditLines, Proxy};
use crate::sockets::eventually;
use flyte_authz_proxy::demo::client::{Client, Reply};
use flyte_authz_proxy::model::ratio::Ratio;
use flyte_authz_proxy::model::reason::Reason;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LIST: &str = "AdminService/ListExecutions";

fn list(project: &str) -> Value {
    json!({"id": {"project": project, "domain": "development"}, "limit": 1})
}

fn id(reply: &Reply) -> String {
    reply.headers["x-request-id"].to_str().unwrap().to_owned()
}

/// Passes lines on only while it is open; waits otherwise.
struct Gated {
    is_open: Arc<AtomicBool>,
    lines: AuditLines,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        while !self.is_open.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.lines.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_be_allowed_is_refused_while_its_record_would_have_to_wait() {
    let (is_open, lines) = (Arc::new(AtomicBool::new(false)), AuditLines::default());
    let gated = Gated {
        is_open: Arc::clone(&is_open),
        lines: lines.clone(),
    };
    let proxy = Proxy::start_with(|setup| {
        setup.configuration.push_str("audit: {queue: 4, on_full: refuse}\n");
        setup.audit = Box::new(gated);
    })
    .await;
    let ml = proxy.ml();
    for _ in 0..4 {
        let reply = proxy.client.call(Some(&ml), LIST, list("ml")).await.unwrap();
        assert_eq!(reply.grpc_status(), Some(0));
    }
    let arrived = proxy.control_plane.count();
    let grpc = proxy.client.call(Some(&ml), LIST, list("ml")).await.unwrap();
    let rest = proxy
        .client
        .get(Some(&ml), "/api/v1/executions/ml/development?limit=1")
        .await
        .unwrap();
    let page = proxy.client.get(None, "/console").await.unwrap();
    assert_eq!(
        (grpc.grpc_status(), rest.status.as_u16(), page.status.as_u16()),
        (Some(14), 503, 503)
    );
    for reply in [&grpc, &rest, &page] {
        assert!(reply.message().contains("[audit_full; request "), "{}", reply.message());
    }
    // What is refused anyway is refused for its own reason.
    let denied = proxy.client.call(Some(&ml), LIST, list("fraud")).await.unwrap();
    assert_eq!(denied.grpc_status(), Some(7));
    assert_eq!(proxy.control_plane.count(), arrived, "nothing was forwarded");
    assert!(
        (proxy.metric("refusals_total{fault=\"proxy\",protocol=\"grpc\",reason=\"audit_full\"}") - 1.0).abs()
            < f64::EPSILON
    );

    is_open.store(true, Ordering::Relaxed);
    eventually("all are written", || lines.records().len() == 8).await;
    let records = lines.records();
    for reply in [&grpc, &rest, &page] {
        let record = records.iter().find(|record| record["request_id"] == id(reply)).unwrap();
        assert_eq!(
            (&record["reason"], &record["outcome"]),
            (&json!(Reason::AuditFull.label()), &json!("failed"))
        );
    }
    let again = proxy.client.call(Some(&ml), LIST, list("ml")).await.unwrap();
    assert_eq!(again.grpc_status(), Some(0));
    assert!(proxy.metric("audit_dropped_total").abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_what_is_allowed_is_recorded_and_everything_else_always() {
    let proxy = Proxy::start_with(|setup| setup.configuration.push_str("audit: {sample_allowed: 0.25}\n")).await;
    let ml = proxy.ml();
    let ratio = Ratio::new(0.25).unwrap();
    let (mut expected, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..200 {
        let reply = proxy.plain.call(Some(&ml), LIST, list("ml")).await.unwrap();
        if ratio.takes_name(&id(&reply)) {
            expected.insert(id(&reply));
        }
    }
    for _ in 0..40 {
        refused.insert(id(&proxy.plain.call(Some(&ml), LIST, list("fraud")).await.unwrap()));
    }
    assert!((25..80).contains(&expected.len()), "{}", expected.len());
    let records = proxy.records_after(0, expected.len() + refused.len()).await;
    let of = |outcome: &str| -> BTreeSet<String> {
        let records = records.iter().filter(|record| record["outcome"] == outcome);
        records
            .map(|record| record["request_id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!((of("forwarded"), of("denied")), (expected, refused));
    for record in &records {
        let rate = if record["outcome"] == "forwarded" {
            json!(0.25)
        } else {
            Value::Null
        };
        assert_eq!(record["sample_rate"], rate, "{record:#}");
    }
    let counted = proxy.metric("requests_total{outcome=\"forwarded\"");
    assert!((counted - 200.0).abs() < f64::EPSILON, "all are counted: {counted}");
}

/// Several clients that call until they are told to stop, or the proxy is gone.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<Mutex<Vec<String>>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(client: &Client, token: &str) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<String>>>::default());
        let count = Arc::new(AtomicUsize::new(0));
        let clients = (0..8).map(|_| {
            let (client, token) = (client.clone(), token.to_owned());
            let (stop, answered, count) = (Arc::clone(&stop), Arc::clone(&answered), Arc::clone(&count));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let project = if count.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
                        "fraud"
                    } else {
                        "ml"
                    };
                    match client.call(Some(&token), LIST, list(project)).await {
                        Ok(reply) if reply.headers.contains_key("x-request-id") => {
                            answered.lock().unwrap().push(id(&reply));
                        }
                        _ => return,
                    }
                }
            })
        });
        let clients = clients.collect();
        Self {
            stop,
            answered,
            clients,
        }
    }

    fn count(&self) -> usize {
        self.answered.lock().unwrap().len()
    }

    async fn more(&self, requests: usize) {
        let before = self.count();
        eventually("requests are answered", || self.count() >= before + requests).await;
    }

    /// Stops and returns the identifiers of all that was answered.
    async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        Arc::into_inner(self.answered).unwrap().into_inner().unwrap()
    }
}

async fn serve(audit: &str) -> (Surroundings, Serving, Client) {
    let around = Surroundings::start("127.0.0.1:0", 2).await;
    let configuration = fs::read_to_string(around.path("config.yaml")).unwrap();
    fs::write(around.path("config.yaml"), format!("{configuration}audit: {audit}\n")).unwrap();
    let serving = around.serve();
    let client = around.client().await;
    around.list(&client, &around.ml(), "ml").await;
    (around, serving, client)
}

/// The identifiers in a file, every line of which is whole.
fn recorded(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(
        text.ends_with('\n') || text.is_empty(),
        "{} ends within a line",
        path.display()
    );
    let id = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["request_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    text.lines().map(id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_renamed_under_load_have_every_record_once() {
    let (around, serving, client) = serve("{output: audit.jsonl}").await;
    let load = Load::start(&client, &around.ml());
    let mut files = Vec::new();
    for number in 0..12 {
        load.more(50).await;
        let rotated = around.path(&format!("audit.jsonl.{number}"));
        fs::rename(around.path("audit.jsonl"), &rotated).unwrap();
        serving.signal("HUP");
        eventually("the file is there again", || around.path("audit.jsonl").exists()).await;
        files.push(rotated);
    }
    files.push(around.path("audit.jsonl"));
    load.more(50).await;
    let answered = load.end().await;
    serving.signal("TERM");
    assert_eq!(serving.exit_code().await, Some(0));
    let all: Vec<String> = files.iter().flat_map(|file| recorded(file)).collect();
    let once: BTreeSet<&String> = all.iter().collect();
    assert_eq!(once.len(), all.len(), "no record is there twice");
    assert!(
        answered.len() >= 650 && answered.iter().all(|id| once.contains(id)),
        "none is lost"
    );
    assert!(
        files.iter().all(|file| !recorded(file).is_empty()),
        "every file was written to"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_loses_no_more_than_its_queue_and_cuts_only_the_last_line() {
    const QUEUE: usize = 16;
    /// Lines in the batch that is being written, at 64 KiB and more than 400 bytes a line, and those whose answers were
    /// out before they were queued.
    const BATCH: usize = (64 << 10) / 400 + 8;
    let (around, serving, client) = serve(&format!("{{output: audit.jsonl, queue: {QUEUE}}}")).await;
    let load = Load::start(&client, &around.ml());
    load.more(600).await;
    serving.signal("KILL");
    let answered = load.end().await;
    assert_eq!(serving.exit_code().await, None, "killed");
    let text = fs::read_to_string(around.path("audit.jsonl")).unwrap();
    let whole = text.rsplit_once('\n').unwrap().0;
    let there: BTreeSet<String> = whole
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["request_id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let lost = answered.iter().filter(|id| !there.contains(*id)).count();
    assert!(lost <= QUEUE + BATCH, "{lost} of {} are lost", answered.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_reported_and_nothing_is_lost_once_there_is_another() {
    let around = Surroundings::start("127.0.0.1:0", 2).await;
    let configuration = fs::read_to_string(around.path("config.yaml")).unwrap();
    fs::write(
        around.path("config.yaml"),
        configuration + "audit: {output: audit.jsonl}\n",
    )
    .unwrap();
    std::os::unix::fs::symlink("/dev/full", around.path("audit.jsonl")).unwrap();
    let serving = around.serve();
    let client = around.client().await;
    let load = Load::start(&client, &around.ml());
    let told = around.line("stderr", |line| line["level"] == "ERROR").await;
    assert_eq!(
        told["message"],
        "audit records cannot be written; they are kept and tried again"
    );
    load.more(100).await;
    fs::remove_file(around.path("audit.jsonl")).unwrap();
    serving.signal("HUP");
    around
        .line("stderr", |line| line["message"] == "audit records can be written again")
        .await;
    load.more(100).await;
    let answered = load.end().await;
    serving.signal("TERM");
    assert_eq!(serving.exit_code().await, Some(0));
    let there: BTreeSet<String> = recorded(&around.path("audit.jsonl")).into_iter().collect();
    assert!(answered.iter().all(|id| there.contains(id)), "none is lost");
    let failures = around
        .lines("stderr")
        .iter()
        .filter(|line| line["level"] == "ERROR")
        .count();
    assert_eq!(failures, 1, "it is logged once in a while");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_stays_full_stops_no_caller_when_records_may_be_dropped() {
    let (around, serving, client) = serve("{output: /dev/full, queue: 8, on_full: drop_and_count}").await;
    let token = around.ml();
    for _ in 0..60 {
        assert_eq!(around.list(&client, &token, "ml").await, 0);
    }
    serving.signal("TERM");
    assert_eq!(serving.exit_code().await, Some(0));
    let lost = around
        .lines("stderr")
        .into_iter()
        .find(|line| line["lost"].is_number())
        .unwrap();
    assert!(lost["lost"].as_u64().unwrap() >= 1, "{lost}");
}
