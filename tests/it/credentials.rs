//! Credentials through the whole proxy: where they are found and how they travel on, keys that change, clocks.

use crate::proxy::Proxy;
use crate::sockets::{admin, eventually};
use flyte_authz_proxy::clock::{Clock, ManualClock, SystemClock};
use flyte_authz_proxy::credential::key_set::Algorithm;
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::demo::issuer::{DemoIssuer, Fault};
use flyte_authz_proxy::demo::signing::{SigningKey, jwks};
use flyte_authz_proxy::demo::stack::replace;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use tokio::task::JoinSet;

const LIST: &str = "AdminService/ListExecutions";

fn list(project: &str) -> Value {
    json!({"id": {"project": project, "domain": "development"}, "limit": 1})
}

/// Asks by gRPC or REST with these headers.
async fn ask(proxy: &Proxy, by_grpc: bool, headers: &[(&str, &str)]) -> Reply {
    let reply = if by_grpc {
        let body = envelope::frame(&proxy.client.encode(LIST, list("ml")).unwrap());
        let path = format!("/flyteidl.service.{LIST}");
        proxy.client.grpc(&path, headers, body).await
    } else {
        let target = "/api/v1/executions/ml/development?limit=1";
        proxy.client.rest(Method::GET, target, headers, "").await
    };
    reply.unwrap()
}

/// Asks with a token, by gRPC.
async fn bearer(proxy: &Proxy, token: &str) -> Reply {
    proxy.client.call(Some(token), LIST, list("ml")).await.unwrap()
}

async fn accepted(proxy: &Proxy, token: &str) -> bool {
    let reply = bearer(proxy, token).await;
    proxy.written(&reply).await;
    reply.grpc_status() == Some(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_spelling_of_the_scheme_works_in_both_headers_and_one_credential_travels_on() {
    let proxy = Proxy::start().await;
    let token = proxy.ml();
    for by_grpc in [true, false] {
        for (name, other) in [
            ("authorization", "flyte-authorization"),
            ("flyte-authorization", "authorization"),
        ] {
            for (word, spelled) in [
                ("Bearer", "Bearer"),
                ("bearer", "Bearer"),
                ("BEARER", "Bearer"),
                ("IDToken", "IDToken"),
                ("idtoken", "IDToken"),
            ] {
                let before = proxy.before();
                let reply = ask(&proxy, by_grpc, &[(name, &format!("{word} {token}"))]).await;
                proxy.forwarded(&before, &reply).await;
                let arrival = proxy.control_plane.arrivals().pop().unwrap();
                assert_eq!(arrival.header(name), [format!("{spelled} {token}")]);
                assert!(arrival.header(other).is_empty());
            }
            let before = proxy.before();
            let reply = ask(&proxy, by_grpc, &[(name, &format!("Basic {token}"))]).await;
            proxy.refused(&before, &reply, Reason::CredentialMalformed).await;
        }
        let before = proxy.before();
        let reply = ask(&proxy, by_grpc, &[]).await;
        proxy.refused(&before, &reply, Reason::CredentialMissing).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_credentials_must_name_one_subject_and_the_first_travels_on() {
    let proxy = Proxy::start().await;
    // Two tokens of the same subject differ, as those of two logins do.
    let again = proxy
        .issuer
        .mint(&json!({"sub": "alice", "groups": ["ml-team"], "jti": "2"}));
    let value = |token: &str| format!("Bearer {token}");
    let (first, again, bob) = (value(&proxy.ml()), value(&again), value(&proxy.fraud()));
    for by_grpc in [true, false] {
        let before = proxy.before();
        let reply = ask(
            &proxy,
            by_grpc,
            &[("authorization", &first), ("flyte-authorization", &again)],
        )
        .await;
        proxy.forwarded(&before, &reply).await;
        let arrival = proxy.control_plane.arrivals().pop().unwrap();
        assert_eq!(arrival.header("authorization"), [first.as_str()]);
        assert!(arrival.header("flyte-authorization").is_empty());
        for pair in [
            [("authorization", &first), ("flyte-authorization", &bob)],
            [("authorization", &bob), ("flyte-authorization", &first)],
            [("authorization", &first), ("authorization", &first)],
            [("flyte-authorization", &first), ("flyte-authorization", &bob)],
        ] {
            let before = proxy.before();
            let headers = pair.map(|(name, value)| (name, value.as_str()));
            let reply = ask(&proxy, by_grpc, &headers).await;
            proxy.refused(&before, &reply, Reason::CredentialConflict).await;
        }
        // One good and one bad credential are not one good credential.
        let before = proxy.before();
        let bad = [
            ("authorization", first.as_str()),
            ("flyte-authorization", "Bearer not.a.token"),
        ];
        let reply = ask(&proxy, by_grpc, &bad).await;
        proxy.refused(&before, &reply, Reason::TokenMalformed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_during_traffic_without_a_failed_request() {
    const ISSUER: &str = "https://idp.example.com";
    let key = |id: &str| SigningKey::generate(id, Algorithm::Es256).unwrap();
    let (old, new) = (key("old"), key("new"));
    let published = jwks([&old]).to_string();
    let proxy = Proxy::start_with(|setup| {
        std::fs::write(setup.directory.join("keys.json"), published).unwrap();
        let added = format!("  - issuer: {ISSUER}\n    audiences: [flyte]\n    jwks: {{ file: keys.json }}\npolicy:");
        setup.edit = Box::new(move |text| text.replace("policy:", &added));
    })
    .await;
    let proxy = Arc::new(proxy);
    let token = |key: &SigningKey, subject: &str| {
        let exp = SystemClock.unix_seconds() + 600;
        let claims = json!({"iss": ISSUER, "aud": "flyte", "exp": exp, "sub": subject, "groups": ["ml-team"]});
        key.token(&claims, &Value::Null)
    };
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for client in 0..3 {
        let (proxy, stop, count) = (Arc::clone(&proxy), Arc::clone(&stop), Arc::clone(&count));
        let tokens: Vec<String> = (0..20)
            .map(|number| token(&old, &format!("{client}-{number}")))
            .collect();
        clients.spawn(async move {
            for token in tokens.iter().cycle() {
                assert!(accepted(&proxy, token).await);
                count.fetch_add(1, Ordering::Relaxed);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
    }
    let goes_on = async || {
        let so_far = count.load(Ordering::Relaxed);
        eventually("traffic goes on", || count.load(Ordering::Relaxed) > so_far + 30).await;
    };
    let replaced = || proxy.metric("reloads_total{result=\"replaced\",what=\"key_set\"}");
    let publish = |keys: &Value| replace(&proxy.directory().join("keys.json"), &keys.to_string()).unwrap();
    goes_on().await;
    let before = token(&new, "alice");
    assert!(!accepted(&proxy, &before).await);
    publish(&jwks([&new, &old]));
    eventually("the new key is read", || replaced() >= 1.0).await;
    assert!(accepted(&proxy, &before).await);
    goes_on().await;
    stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    // A key that is withdrawn counts no more, also for tokens verified before.
    let withdrawn = token(&old, "alice");
    assert!(accepted(&proxy, &withdrawn).await);
    publish(&jwks([&new]));
    eventually("the withdrawal is read", || replaced() >= 2.0).await;
    let before = proxy.before();
    let reply = bearer(&proxy, &withdrawn).await;
    proxy.refused(&before, &reply, Reason::KeyUnknown).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_down_at_the_start_is_waited_for() {
    let proxy = Proxy::start_with(|setup| setup.issuer_fault = Fault::Down).await;
    for by_grpc in [true, false] {
        let before = proxy.before();
        let reply = ask(&proxy, by_grpc, &[("authorization", &format!("Bearer {}", proxy.ml()))]).await;
        let record = proxy.refused(&before, &reply, Reason::KeysUnavailable).await;
        assert_eq!(record["outcome"], "failed");
    }
    let ready = admin(proxy.app.admin, "/readyz").await;
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains("\"keys\": 0"),
        "{ready}"
    );
    assert!(admin(proxy.app.admin, "/healthz").await.starts_with("HTTP/1.1 200"));
    proxy.issuer.fail(Fault::None);
    let start = Instant::now();
    while !accepted(&proxy, &proxy.ml()).await {
        assert!(start.elapsed().as_secs() < 10, "the keys are not fetched again");
    }
    assert!(admin(proxy.app.admin, "/readyz").await.starts_with("HTTP/1.1 200"));
    // Down again, it is not missed: the keys stay.
    proxy.issuer.fail(Fault::Down);
    assert!(accepted(&proxy, &proxy.token("carol", "ml-team")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_unknown_keys_costs_at_most_one_fetch_and_a_new_key_is_found() {
    let proxy = Arc::new(Proxy::start().await);
    let fetched = proxy.issuer.fetches();
    let storm = async |from: usize| {
        let mut requests = JoinSet::new();
        for number in from..from + 200 {
            let proxy = Arc::clone(&proxy);
            requests.spawn(async move {
                let header = json!({"kid": format!("unknown-{number}")});
                let claims = json!({"sub": "mallory", "groups": ["ml-team"]});
                let token = proxy.issuer.mint_with(&claims, Algorithm::Es256, &header);
                let reply = bearer(&proxy, &token).await;
                assert!(reply.message().contains("[key_unknown; "), "{reply:?}");
            });
        }
        requests.join_all().await;
    };
    storm(0).await;
    let after = proxy.issuer.fetches();
    assert!(
        after.key_set <= fetched.key_set + 1 && after.discovery <= fetched.discovery + 1,
        "{after:?}"
    );
    assert!(
        proxy
            .records_after(0, 200)
            .await
            .iter()
            .all(|record| record["reason"] == "key_unknown")
    );
    assert_eq!(proxy.control_plane.count(), 0);
    // A new key is fetched once the last fetch is long enough ago; the refresh interval is longer.
    proxy.issuer.rotate().unwrap();
    let token = proxy.ml();
    let start = Instant::now();
    while !accepted(&proxy, &token).await {
        assert!(start.elapsed().as_secs() < 20, "the new key is not fetched");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    storm(200).await;
    let last = proxy.issuer.fetches();
    assert_eq!(last.key_set, after.key_set + 1, "{last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_expires_while_it_is_remembered_is_refused() {
    let now = SystemClock.unix_seconds();
    let clock = ManualClock::at(now);
    let shown = clock.clone();
    let proxy = Proxy::start_with(|setup| setup.clock = Arc::new(shown)).await;
    let token = proxy
        .issuer
        .mint(&json!({"sub": "alice", "groups": ["ml-team"], "iat": now, "exp": now + 100}));
    let hits = || proxy.metric("token_cache_total{result=\"hit\"}");
    assert!(accepted(&proxy, &token).await && accepted(&proxy, &token).await);
    assert!((hits() - 1.0).abs() < f64::EPSILON);
    // Up to the leeway of 60 s clocks may differ.
    clock.set(now + 159);
    assert!(accepted(&proxy, &token).await);
    clock.set(now + 160);
    let before = proxy.before();
    let reply = bearer(&proxy, &token).await;
    let record = proxy.refused(&before, &reply, Reason::TokenExpired).await;
    assert!(record["time"].as_str().unwrap().ends_with(".000000Z"), "{record}");
    assert!((hits() - 2.0).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_two_issuers_vouches_only_for_its_own_tokens() {
    let second = DemoIssuer::start().await.unwrap();
    let third = DemoIssuer::start().await.unwrap();
    let added = format!(
        "  - issuer: {}\n    audiences: [other]\n    allow_http: true\npolicy:",
        second.url()
    );
    let proxy = Proxy::start_with(|setup| {
        setup.edit = Box::new(move |text| text.replace("policy:", &added));
    })
    .await;
    let claims = |audience: &str| json!({"sub": "alice", "groups": ["ml-team"], "aud": audience});
    // Ready means that one issuer has keys; the other follows.
    let start = Instant::now();
    while !accepted(&proxy, &second.mint(&claims("other"))).await {
        assert!(
            start.elapsed().as_secs() < 10,
            "the second issuer's keys are not fetched"
        );
    }
    let before = proxy.before();
    let reply = bearer(&proxy, &second.mint(&claims("other"))).await;
    let record = proxy.forwarded(&before, &reply).await;
    assert_eq!(record["principal"]["issuer"], second.url());
    assert!(accepted(&proxy, &proxy.ml()).await);
    let as_first = json!({"sub": "alice", "groups": ["ml-team"], "iss": proxy.issuer.url()});
    for (token, reason) in [
        // The keys have the same names: each is looked for in the set of the issuer the token names.
        (second.mint(&as_first), Reason::TokenSignatureInvalid),
        (second.mint(&claims("flyte")), Reason::AudienceMismatch),
        (proxy.issuer.mint(&claims("other")), Reason::AudienceMismatch),
        (third.mint(&claims("flyte")), Reason::IssuerUnknown),
    ] {
        let before = proxy.before();
        let reply = bearer(&proxy, &token).await;
        proxy.refused(&before, &reply, reason).await;
    }
    // The same subject of two issuers is two callers.
    let (one, other) = (
        format!("Bearer {}", proxy.ml()),
        format!("Bearer {}", second.mint(&claims("other"))),
    );
    let before = proxy.before();
    let reply = ask(
        &proxy,
        true,
        &[("authorization", &one), ("flyte-authorization", &other)],
    )
    .await;
    proxy.refused(&before, &reply, Reason::CredentialConflict).await;
}
