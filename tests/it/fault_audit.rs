//! A disk that is full for good, by each setting that waits or refuses: what callers are told, and that the process still
//! ends when it is told to.

use crate::cli_serve::{Serving, Surroundings};
use crate::sockets::soon;
use flyte_authz_proxy::demo::client::{Client, Reply};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The real program with an audit file on a full disk.
async fn start(on_full: &str) -> (Surroundings, Serving, Client) {
    let around = Surroundings::start("127.0.0.1:0", 2).await;
    let configuration = fs::read_to_string(around.path("config.yaml")).unwrap();
    let audit = format!("audit: {{output: audit.jsonl, queue: 8, on_full: {on_full}}}\n");
    fs::write(around.path("config.yaml"), configuration + &audit).unwrap();
    std::os::unix::fs::symlink("/dev/full", around.path("audit.jsonl")).unwrap();
    let serving = around.serve();
    let client = around.client().await;
    (around, serving, client)
}

async fn call(client: &Client, token: &str, project: &str) -> Reply {
    let message = json!({"id": {"project": project, "domain": "development"}, "limit": 1});
    let call = client.call(Some(token), "AdminService/ListExecutions", message);
    soon("the answer", call).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_what_it_could_not_record_and_nothing_that_was_answered_is_missing_afterwards() {
    let (around, serving, client) = start("refuse").await;
    let token = around.ml();
    let mut answered = BTreeSet::new();
    let start = Instant::now();
    loop {
        let reply = call(&client, &token, "ml").await;
        answered.insert(reply.headers["x-request-id"].to_str().unwrap().to_owned());
        if reply.message().contains("[audit_full; ") {
            assert_eq!(reply.grpc_status(), Some(14), "clients try again");
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nothing is refused");
    }

    fs::remove_file(around.path("audit.jsonl")).unwrap();
    serving.signal("HUP");
    let start = Instant::now();
    while call(&client, &token, "ml").await.grpc_status() != Some(0) {
        assert!(start.elapsed() < Duration::from_secs(20), "still refused");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(call(&client, &token, "fraud").await.grpc_status(), Some(7));
    serving.signal("TERM");
    assert_eq!(serving.exit_code().await, Some(0));
    let recorded: Vec<String> = around
        .lines("audit.jsonl")
        .iter()
        .map(|record| record["request_id"].as_str().unwrap().to_owned())
        .collect();
    let once: BTreeSet<String> = recorded.iter().cloned().collect();
    assert_eq!(once.len(), recorded.len(), "no record is there twice");
    assert!(answered.is_subset(&once), "{answered:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_callers_wait_for_a_full_disk_ends_when_it_is_told_to() {
    let (around, serving, client) = start("block").await;
    let token = around.ml();
    let mut waiting = JoinSet::new();
    for _ in 0..60 {
        let (client, token) = (client.clone(), token.clone());
        waiting.spawn(async move {
            let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
            _ = client.call(Some(&token), "AdminService/ListExecutions", message).await;
        });
    }
    around
        .line("stderr", |line| {
            line["message"] == "audit records cannot be written; they are kept and tried again"
        })
        .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    serving.signal("TERM");
    assert_eq!(serving.exit_code().await, Some(0));
    soon("nobody waits any more", async {
        while waiting.join_next().await.is_some() {}
    })
    .await;
    let lost = around
        .lines("stderr")
        .into_iter()
        .filter_map(|line| line["lost"].as_u64());
    assert!(lost.sum::<u64>() >= 1, "what could not be written is told");
}
