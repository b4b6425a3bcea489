//! Tokens that are revoked by the policy while connections are open: refused at once, and only they.

use crate::cli::{run, text};
use crate::mesh::Mesh;
use crate::proxy::Proxy;
use crate::sockets::eventually;
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::demo::stack::POLICY;
use flyte_authz_proxy::model::reason::Reason;
use http::{Method, header};
use serde_json::{Value, json};

/// The seconds since the Unix epoch, now.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A point in time as policies write it.
fn written(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().to_string()
}

/// Puts the policy of the demonstration with more at its end in force.
async fn replace_policy(proxy: &Proxy, more: &str) {
    let generation = proxy.app.live.load().generation;
    proxy.write_policy(&format!("{POLICY}\n{more}\n")).unwrap();
    eventually("the policy is replaced", || {
        proxy.app.live.load().generation > generation
    })
    .await;
}

/// A call that the ml team may make: by gRPC, which keeps one connection.
async fn list(proxy: &Proxy, token: &str) -> Reply {
    let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
    let call = proxy.client.call(Some(token), "AdminService/ListExecutions", message);
    call.await.unwrap()
}

async fn list_by_rest(proxy: &Proxy, token: &str) -> Reply {
    let get = proxy
        .client
        .get(Some(token), "/api/v1/executions/ml/development?limit=1");
    get.await.unwrap()
}

async fn passes(proxy: &Proxy, token: &str) {
    for rest in [false, true] {
        let before = proxy.before();
        let reply = if rest {
            list_by_rest(proxy, token).await
        } else {
            list(proxy, token).await
        };
        proxy.forwarded(&before, &reply).await;
    }
}

/// Checks that a token is refused as revoked by this item, in every protocol and for calls that need no right, too.
async fn is_revoked(proxy: &Proxy, token: &str, item: &str) {
    let before = proxy.before();
    let grpc = list(proxy, token).await;
    assert_eq!(grpc.grpc_status(), Some(16));
    let record = proxy.refused(&before, &grpc, Reason::TokenRevoked).await;
    assert_eq!(record["rules"], json!([item]), "{record:#}");
    assert_eq!(record["outcome"], "denied");
    let generation = proxy.app.live.load().generation;
    assert_eq!(record["policy"]["generation"], generation);
    assert!(!record.to_string().contains(token));

    let before = proxy.before();
    let rest = list_by_rest(proxy, token).await;
    assert_eq!(rest.status, 401);
    assert_eq!(
        rest.headers[header::WWW_AUTHENTICATE],
        "Bearer realm=\"flyte\", error=\"invalid_token\""
    );
    assert!(
        rest.message().contains("was revoked; log in again"),
        "{}",
        rest.message()
    );
    proxy.refused(&before, &rest, Reason::TokenRevoked).await;

    // Calls for which authentication is enough, and one with a body that nobody would understand.
    let before = proxy.before();
    let unlisted = proxy.client.call(Some(token), "AdminService/ListProjects", json!({}));
    let unlisted = unlisted.await.unwrap();
    proxy.refused(&before, &unlisted, Reason::TokenRevoked).await;
    let before = proxy.before();
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let garbage = proxy.client.rest(Method::POST, "/api/v1/executions", &headers, "{{{");
    proxy
        .refused(&before, &garbage.await.unwrap(), Reason::TokenRevoked)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_takes_effect_on_remembered_tokens_and_open_connections_and_its_removal_too() {
    let proxy = Proxy::start().await;
    let issuer = proxy.issuer.url().to_owned();
    let with = |more: Value| {
        let mut claims =
            json!({"sub": "alice", "groups": ["ml-team"], "client_id": "laptop", "jti": "1e5", "sid": "0007"});
        let all = claims.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        proxy.issuer.mint(&claims)
    };
    let token = with(json!({}));
    for (item, other) in [
        ("{ claim: jti, values: [1e5] }".to_owned(), json!({"jti": "100000"})),
        ("{ claim: sid, values: [x, 0007] }".to_owned(), json!({"sid": "7"})),
        ("{ client_id: [laptop] }".to_owned(), json!({"client_id": "desktop"})),
        ("{ subject: [alice] }".to_owned(), json!({"sub": "bob"})),
        (
            format!("{{ subject: [alice], issuer: \"{issuer}\" }}"),
            json!({"sub": "Alice"}),
        ),
        (
            format!("{{ anyone: true, issued_before: {} }}", written(now() + 10)),
            json!({"iat": now() + 11}),
        ),
    ] {
        let other = with(other);
        passes(&proxy, &token).await;
        passes(&proxy, &other).await;
        let hits = proxy.metric("token_cache_total{result=\"miss\"");
        replace_policy(&proxy, &format!("revoked:\n  - {{ subject: [nobody] }}\n  - {item}")).await;
        is_revoked(&proxy, &token, "revoked[1]").await;
        passes(&proxy, &other).await;
        // Both were still remembered: nothing was verified again.
        let misses = proxy.metric("token_cache_total{result=\"miss\"") - hits;
        assert!(misses.abs() < f64::EPSILON, "{item}: {misses}");
        replace_policy(&proxy, "revoked: []").await;
        passes(&proxy, &token).await;
    }
    // The same name at another issuer is somebody else.
    replace_policy(
        &proxy,
        "revoked: [{ subject: [alice], issuer: \"https://idp.example.com\" }]",
    )
    .await;
    passes(&proxy, &token).await;
    // What is broken lifts nothing.
    replace_policy(&proxy, "revoked: [{ subject: [alice] }]").await;
    proxy
        .write_policy(&format!("{POLICY}\nrevoked: [{{ anyone: true }}]\n"))
        .unwrap();
    eventually("the reload fails", || {
        proxy.metric("reload_success{what=\"policy\"}") < 0.5
    })
    .await;
    is_revoked(&proxy, &token, "revoked[0]").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_logs_in_again_after_issued_before_is_let_in_with_the_new_token_only() {
    let proxy = Proxy::start().await;
    let stolen_at = now();
    let token = |claims: Value| {
        let mut all = json!({"sub": "alice", "groups": ["ml-team"]});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        proxy.issuer.mint(&all)
    };
    let old = token(json!({"iat": stolen_at - 60}));
    let last = token(json!({"iat": stolen_at - 1}));
    let renewed = token(json!({"iat": stolen_at}));
    let silent = token(json!({"iat": null}));
    for token in [&old, &last, &renewed, &silent] {
        passes(&proxy, token).await;
    }
    replace_policy(
        &proxy,
        &format!(
            "revoked: [{{ subject: [alice], issued_before: {} }}]",
            written(stolen_at)
        ),
    )
    .await;
    for token in [&old, &last, &silent] {
        is_revoked(&proxy, token, "revoked[0]").await;
    }
    passes(&proxy, &renewed).await;
    // A listener's principal has no token: it is not alice, and goes on.
    let engine = proxy.address(flyte_authz_proxy::demo::stack::Entry::Engine).unwrap();
    let engine = flyte_authz_proxy::demo::client::Client::new(engine, None, &crate::descriptors::bytes()).unwrap();
    let before = proxy.before();
    let reply = engine.get(None, "/api/v1/executions/ml/development?limit=1").await;
    proxy.forwarded(&before, &reply.unwrap()).await;
    // By the issuer that its listener is, it can be shut out.
    replace_policy(&proxy, "revoked: [{ issuer: \"listener:engine\" }]").await;
    let before = proxy.before();
    let reply = engine.get(None, "/api/v1/executions/ml/development?limit=1").await;
    proxy.refused(&before, &reply.unwrap(), Reason::TokenRevoked).await;
    passes(&proxy, &old).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denies_by_token_client_subject_and_time_of_issue_hold_for_remembered_tokens_at_once() {
    let proxy = Proxy::start().await;
    let claims = json!({"sub": "alice", "groups": ["ml-team"], "client_id": "laptop", "jti": "12345", "sid": "s"});
    let token = proxy.issuer.mint(&claims);
    for subject in [
        "{ subject: [alice] }".to_owned(),
        "{ client_id: [laptop] }".to_owned(),
        "{ claim: jti, values: [12345] }".to_owned(),
        "{ claim: sid, values: [s] }".to_owned(),
        format!("{{ groups: [ml-team], issued_before: {} }}", written(now() + 60)),
    ] {
        passes(&proxy, &token).await;
        let rule = format!(
            "  - name: withdrawn\n    subjects: [{subject}]\n    deny: [{{ projects: [ml], actions: [\"*\"] }}]"
        );
        replace_policy(&proxy, &rule).await;
        let before = proxy.before();
        let reply = list(&proxy, &token).await;
        let record = proxy.refused(&before, &reply, Reason::DeniedByRule).await;
        assert_eq!(record["rules"], json!(["withdrawn"]), "{subject}");
        let before = proxy.before();
        let reply = list_by_rest(&proxy, &token).await;
        assert_eq!(reply.status, 403, "a deny makes nobody log in again");
        proxy.refused(&before, &reply, Reason::DeniedByRule).await;
        replace_policy(&proxy, "").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_and_decision_tests_say_what_the_proxy_does_with_a_revoked_token() {
    let proxy = Proxy::start().await;
    let claims = json!({"iss": proxy.issuer.url(), "sub": "alice", "groups": ["ml-team"], "jti": "secret-id"});
    let token = proxy.issuer.mint(&claims);
    replace_policy(&proxy, "revoked:\n  - claim: jti\n    values: [secret-id]").await;
    is_revoked(&proxy, &token, "revoked[0]").await;
    let (token_file, claims_file) = (proxy.directory().join("token"), proxy.directory().join("claims.json"));
    std::fs::write(&token_file, &token).unwrap();
    std::fs::write(&claims_file, claims.to_string()).unwrap();
    let config = text(&proxy.configuration);
    for caller in [["--token", text(&token_file)], ["--claims", text(&claims_file)]] {
        for rpc in ["ListExecutions", "ListProjects"] {
            let call = ["--rpc", rpc, "--project", "ml", "--domain", "development"];
            let explained = run(&[&["explain", "--config", config], &caller[..], &call].concat()).exited(2);
            assert!(
                explained
                    .stdout
                    .starts_with("REFUSED  the token was revoked; log in again\n         reason: token_revoked\n"),
                "{}",
                explained.stdout
            );
            let told = format!("\n  revoked[0] ({}:", text(&proxy.policy));
            assert!(explained.stdout.contains(&told), "{}", explained.stdout);
            assert!(!explained.stdout.contains("secret-id"), "{}", explained.stdout);
        }
    }
    let explained = run(&[
        "explain",
        "--config",
        config,
        "--token",
        text(&token_file),
        "--rpc",
        "ListExecutions",
        "--format",
        "json",
    ])
    .exited(2)
    .json();
    assert_eq!(explained["reason"], "token_revoked");
    assert!(explained["rules"][0].as_str().unwrap().starts_with("revoked[0] ("));
    assert_eq!(explained["steps"][0]["step"], "revoked");
    // The same as a decision test, which `check` runs too.
    let case = |jti: &str, expect: &str| {
        format!(
            "  - {{ name: {jti}, principal: {{ groups: [ml-team], claims: {{ jti: {jti} }} }}, project: ml, domain: development, action: view_executions, {expect} }}\n"
        )
    };
    let refused = case("secret-id", "expect: deny, reason: token_revoked, rule: \"revoked[0]\"");
    let tests = format!("cases:\n{refused}{}", case("other", "expect: allow, rule: ml-team"));
    std::fs::write(proxy.directory().join("policy.test.yaml"), tests).unwrap();
    let tested = run(&["test", text(&proxy.policy)]).exited(0).stdout;
    assert_eq!(tested.lines().last(), Some("2 passed, 0 failed"), "{tested}");
    let checked = run(&["check", "--config", config]).exited(0).stdout;
    assert!(checked.contains("1 revocation, 2 decision tests passed"), "{checked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_warns_of_a_time_that_is_to_come_and_of_listeners_that_are_shut_out() {
    let proxy = Proxy::start().await;
    let line = POLICY.lines().count() + 2;
    let checked = |items: &str| {
        proxy.write_policy(&format!("{POLICY}\nrevoked: [{items}]\n")).unwrap();
        run(&["check", "--config", text(&proxy.configuration)]).exited(0).stdout
    };
    let future = format!(
        "{}:{line}:1: warning: `issued_before` is in the future",
        text(&proxy.policy)
    );
    let shut_out = format!(
        "{}:{line}:1: warning: revoked[0] shuts out every caller of the listener `engine`, who cannot log in again",
        text(&proxy.policy)
    );
    for (item, warns_of_time, warns_of_listener) in [
        ("{ anyone: true, issued_before: 2100-01-01T00:00:00Z }", true, true),
        ("{ anyone: true, issued_before: 2026-01-01T00:00:00Z }", false, true),
        ("{ groups: [flyte-engine] }", false, true),
        (
            "{ issuer: \"https://idp.example.com\", issued_before: 2100-01-01T00:00:00Z }",
            true,
            false,
        ),
        (
            "{ issuer: \"https://idp.example.com\", issued_before: 2026-01-01T00:00:00Z }",
            false,
            false,
        ),
        ("{ subject: [alice] }", false, false),
    ] {
        let checked = checked(item);
        assert_eq!(checked.contains(&future), warns_of_time, "{item}: {checked}");
        assert_eq!(checked.contains(&shut_out), warns_of_listener, "{item}: {checked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_warns_when_everybody_with_a_certificate_is_shut_out() {
    let mesh = Mesh::start("", "identity: { client_certificate: { groups: [workloads] } }").await;
    let warning =
        "revoked[0] shuts out every caller with a certificate at the listener `mesh`, who cannot log in again";
    for (item, warns) in [
        ("{ anyone: true, issued_before: 2026-01-01T00:00:00Z }", true),
        ("{ issuer: \"listener:mesh\" }", true),
        ("{ groups: [workloads] }", true),
        (
            "{ issuer: \"https://idp.example.com\", issued_before: 2026-01-01T00:00:00Z }",
            false,
        ),
        ("{ subject: [\"spiffe://cluster.local/ns/flyte/sa/*\"] }", false),
    ] {
        mesh.write_policy(&format!("{POLICY}\nrevoked: [{item}]\n")).unwrap();
        let checked = run(&["check", "--config", text(&mesh.configuration)]).exited(0).stdout;
        assert_eq!(checked.contains(warning), warns, "{item}: {checked}");
    }
}
