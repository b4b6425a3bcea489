//! A clock that jumps: tokens are judged by the time it shows, durations are not.

use crate::proxy::Proxy;
use crate::sockets::soon;
use crate::upstream::{grpc, rest};
use flyte_authz_proxy::clock::{Clock, ManualClock, SystemClock};
use flyte_authz_proxy::demo::control_plane::{Fault, Script};
use flyte_authz_proxy::model::reason::Reason;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

const HOUR: u64 = 3600;

async fn start(edit: fn(String) -> String) -> (Proxy, ManualClock, u64) {
    let now = SystemClock.unix_seconds();
    let clock = ManualClock::at(now);
    let own = clock.clone();
    let proxy = Proxy::start_with(|setup| {
        setup.clock = Arc::new(own);
        setup.edit = Box::new(edit);
    })
    .await;
    (proxy, clock, now)
}

/// A permitted call with one and the same token, so that the cache of verified tokens is asked, too.
async fn call(proxy: &Proxy, token: &str) -> flyte_authz_proxy::demo::client::Reply {
    let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
    let reply = proxy
        .client
        .call(Some(token), "AdminService/ListExecutions", message)
        .await;
    let reply = reply.unwrap();
    proxy.written(&reply).await;
    reply
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_judged_by_the_time_the_clock_shows_after_each_jump() {
    let (proxy, clock, now) = start(|text| text).await;
    // Each time another token: one that was verified has been valid, and stays so until it expires.
    let kept = proxy.ml();
    for (number, (time, refusal)) in [
        (now, None),
        (now + 2 * HOUR, Some(Reason::TokenExpired)),
        (now, None),
        (now - 2 * HOUR, Some(Reason::TokenNotYetValid)),
        (now + 1, None),
        (0, Some(Reason::TokenNotYetValid)),
        (now, None),
    ]
    .into_iter()
    .enumerate()
    {
        clock.set(time);
        let before = proxy.before();
        let reply = call(&proxy, &proxy.token(&format!("alice-{number}"), "ml-team")).await;
        match refusal {
            Some(reason) => drop(proxy.refused(&before, &reply, reason).await),
            None => drop(proxy.forwarded(&before, &reply).await),
        }
        let before = proxy.before();
        let reply = call(&proxy, &kept).await;
        if time > now + HOUR {
            proxy.refused(&before, &reply, Reason::TokenExpired).await;
        } else {
            proxy.forwarded(&before, &reply).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_a_jump_makes_too_old_are_fetched_and_callers_told_to_try_again_until_then() {
    let (proxy, clock, now) = start(|text| {
        text.replace(
            "allow_http: true",
            "allow_http: true\n    max_stale: 1h\n    refresh: 10s",
        )
    })
    .await;
    let later = now + 48 * HOUR;
    let token = proxy
        .issuer
        .mint(&json!({"sub": "alice", "groups": ["ml-team"], "iat": later, "exp": later + HOUR}));
    clock.set(later);
    let start = Instant::now();
    loop {
        let reply = call(&proxy, &token).await;
        match reply.grpc_status() {
            Some(0) => break,
            status => assert_eq!(status, Some(Reason::KeysUnavailable.status().grpc.into()), "{reply:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(20), "the keys were not fetched");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_do_not_move_with_the_clock() {
    let (proxy, clock, now) = start(|text| {
        text.replace(
            "upstream: {",
            "upstream: { response_timeout: 900ms, idle_timeout: 900ms,",
        )
    })
    .await;
    // Callers without a token have nothing that could expire.
    for fault in [Fault::Hang, Fault::StallMidway] {
        proxy.control_plane.script(Script::on("GetPublicClientConfig", fault));
        for jump in [now + 24 * HOUR, now - 24 * HOUR] {
            let records = proxy.record_count();
            let start = Instant::now();
            let page = async {
                _ = proxy.plain.get(None, "/config/v1/flyte_client").await;
            };
            let jumps = async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                clock.set(jump);
            };
            soon("the end", async { tokio::join!(page, jumps) }).await;
            let took = start.elapsed();
            assert!(
                took >= Duration::from_millis(900) && took < Duration::from_secs(8),
                "{took:?}"
            );
            let record = proxy.records_after(records, 1).await.pop().unwrap();
            assert_eq!(record["reason"], "upstream_timeout");
        }
        clock.set(now);
        proxy.control_plane.clear_scripts();
    }
    let before = proxy.before();
    proxy.forwarded(&before, &grpc(&proxy).await.unwrap()).await;
    let before = proxy.before();
    proxy.forwarded(&before, &rest(&proxy).await.unwrap()).await;
}
