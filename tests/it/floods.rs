//! What each attack costs the proxy and a well-behaved client beside it: a table, by `make floods`.

#![expect(clippy::print_stdout, reason = "the table is the result")]

use crate::flood::{Served, Target};
use crate::{flood_bytes, flood_frames, flood_slow, flood_tokens};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

type Attack = fn(Arc<Target>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Each by so many at one time, again and again.
const AT_ONE_TIME: usize = 4;

macro_rules! attack {
    ($($attack:tt)+) => {
        |target| Box::pin(async move { _ = $($attack)+(&target).await; })
    };
}

const ATTACKS: [(&str, Attack); 21] = [
    ("none", |_| Box::pin(std::future::pending())),
    ("rapid reset", attack!(flood_frames::rapid_reset)),
    ("made you reset", attack!(flood_frames::made_you_reset)),
    ("CONTINUATION", attack!(flood_frames::continuation)),
    ("PING", attack!(flood_frames::ping)),
    ("SETTINGS", attack!(flood_frames::settings)),
    ("WINDOW_UPDATE", attack!(flood_frames::window_update)),
    ("PRIORITY", attack!(flood_frames::priority)),
    ("empty DATA", attack!(flood_frames::empty_data)),
    ("one-byte DATA", attack!(flood_frames::one_byte_data)),
    ("indexed header bomb", attack!(flood_frames::indexed_header_bomb)),
    ("1500 headers", attack!(flood_frames::many_headers)),
    ("huge header table", attack!(flood_frames::huge_table)),
    ("100 answers of 2 MiB that nobody takes", |target| {
        Box::pin(async move {
            let _untaken = flood_slow::untaken(&target, 0, 25).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
        })
    }),
    ("1500 silent connections", |target| {
        Box::pin(async move {
            let _silent = flood_slow::silent(&target, 375, b"").await;
            std::future::pending::<()>().await;
        })
    }),
    ("400 half handshakes, again and again", |target| {
        Box::pin(async move { drop(flood_slow::silent(&target, 100, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc").await) })
    }),
    ("TLS handshakes", |target| {
        Box::pin(async move { _ = target.tls(true).await })
    }),
    ("gzip bombs", |target| {
        Box::pin(async move {
            let hostile = flood_bytes::gzip_bombs(&target, &flood_bytes::bomb(), 20).await;
            hostile
                .until("answers", |seen| seen.ended || seen.frames[1] >= 20)
                .await;
        })
    }),
    ("pipelined HTTP/1.1, unread", |target| {
        Box::pin(async move { flood_bytes::pipelined(&target, Duration::from_secs(1)).await })
    }),
    ("giant tokens and cookies", |target| {
        Box::pin(async move { flood_bytes::giant_headers(&target, 40).await })
    }),
    ("unknown keys", |target| {
        Box::pin(async move { flood_tokens::unknown_keys(&target, 40).await })
    }),
];

/// Of calls that are sorted by how long they took, in milliseconds.
fn percentile(served: &Served, hundredths: usize) -> f64 {
    let index = served.took.len() * hundredths / 100;
    served
        .took
        .get(index)
        .map_or(f64::NAN, |took| took.as_secs_f64() * 1000.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long, and its result is a table; run `make floods`"]
#[expect(clippy::disallowed_methods, reason = "the command says how long")]
async fn what_attacks_cost() {
    let seconds = std::env::var("FLOODS_SECONDS").map_or(5, |seconds| seconds.parse().unwrap());
    println!(
        "| attack | calls beside it | failed | p50 ms | p99 ms | CPU of the proxy, % of one core | memory, at most MiB |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, attack) in ATTACKS {
        let target = Arc::new(Target::start("stall_timeout: 2s, tls_handshake: 10s").await);
        if name.contains("answers") {
            use flyte_authz_proxy::demo::control_plane::{Fault, Script};
            // Every other call of the list, as far as the client's own are concerned.
            let large = Fault::Huge { bytes: 2 << 20 };
            target
                .control_plane
                .script(Script::on("ListExecutions", large).times(100));
        }
        let mut attackers = JoinSet::new();
        for _ in 0..AT_ONE_TIME {
            let target = Arc::clone(&target);
            attackers.spawn(async move {
                loop {
                    attack(Arc::clone(&target)).await;
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (begun, cpu) = (Instant::now(), target.cpu());
        let neighbour = target.neighbour();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let mut served = neighbour.end().await;
        served.took.sort_unstable();
        let share = target.cpu().saturating_sub(cpu).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
        let (_, memory) = target.memory();
        println!(
            "| {name} | {} | {} | {:.1} | {:.1} | {share:.0} | {} |",
            served.took.len() + served.errors,
            served.errors,
            percentile(&served, 50),
            percentile(&served, 99),
            memory >> 10
        );
        attackers.shutdown().await;
    }
}
