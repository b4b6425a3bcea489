//! The real program out of file descriptors: it neither ends nor spins, and recovers by itself.

use crate::cli::PROGRAM;
use crate::cli_serve::{Serving, Surroundings};
use crate::sockets::eventually;
use serde_json::json;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Enough for the program itself, its listeners, and some connections.
const LIMIT: usize = 96;

/// User and system time of a process, in hundredths of a second.
fn cpu(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let times = after_name.split(' ').skip(11).take(2);
    times.map(|time| time.parse::<u64>().unwrap()).sum()
}

fn open(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

fn serve(around: &Surroundings) -> Serving {
    let limited = format!("ulimit -n {LIMIT} && exec \"$0\" \"$@\"");
    around.serve_by(&["sh", "-c", &limited, PROGRAM])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_file_descriptors_it_waits_for_some_and_serves_again() {
    let around = Surroundings::start("127.0.0.1:0", 2).await;
    let policy = fs::read_to_string(around.path("policy.yaml")).unwrap();
    let serving = serve(&around);
    let process = serving.id();
    let client = around.client().await;
    assert_eq!(around.list(&client, &around.ml(), "ml").await, 0);
    let line = around.line("stderr", |line| line["message"] == "listening").await;
    let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();

    let mut idle = Vec::new();
    for _ in 0..2 * LIMIT {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    around
        .line("stderr", |line| line["message"] == "a connection could not be accepted")
        .await;
    assert!(open(process) >= LIMIT - 2, "{}", open(process));
    let before = cpu(process);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = cpu(process) - before;
    assert!(
        used < 60,
        "{used} hundredths of a second of CPU in two seconds of nothing"
    );
    // Who was connected before is served, by connections to the control plane that are there, too.
    assert_eq!(around.list(&client, &around.ml(), "ml").await, 0);
    // What is to be read anew cannot be; what is in force stays.
    fs::write(
        around.path("policy.yaml"),
        policy.replace("projects: [ml]", "projects: [moved]"),
    )
    .unwrap();
    serving.signal("HUP");
    assert_eq!(around.list(&client, &around.ml(), "fraud").await, 7);

    drop(idle);
    eventually("the connections are gone", || open(process) < LIMIT / 2).await;
    serving.signal("HUP");
    let fresh = around.client().await;
    let start = std::time::Instant::now();
    while around.list(&fresh, &around.ml(), "ml").await != 7 {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "the policy was not loaded again"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let warnings = around.lines("stderr").into_iter();
    let warnings = warnings.filter(|line| line["message"] == "a connection could not be accepted");
    assert!(warnings.count() < 10, "it is logged once in a while");
    serving.signal("TERM");
    assert_eq!(serving.exit_code().await, Some(0));
    let records = around.lines("stdout");
    assert!(records.iter().all(|record| record["outcome"] != "aborted"));
    assert_eq!(
        records
            .iter()
            .filter(|record| record["reason"] == json!("internal"))
            .count(),
        0
    );
}
