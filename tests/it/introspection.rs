//! Opaque tokens through the whole proxy: their issuer is asked (RFC 7662), and what it says is judged like a JWT.

use crate::cli::{PROGRAM, run, text};
use crate::proxy::Proxy;
use crate::sockets::{admin, eventually};
use flyte_authz_proxy::clock::{Clock, SystemClock};
use flyte_authz_proxy::credential::key_set::Algorithm;
use flyte_authz_proxy::demo::client::{Client, Reply};
use flyte_authz_proxy::demo::introspection::{DemoIntrospection, Fault};
use flyte_authz_proxy::demo::issuer::DemoIssuer;
use flyte_authz_proxy::demo::signing::SigningKey;
use flyte_authz_proxy::issuer::KeySource;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http::Method;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const ISSUER: &str = "https://opaque.example.com";
const CLIENT: &str = "flyte proxy";
const SECRET: &str = "introspection+secret/%&=";
const LIST: &str = "AdminService/ListExecutions";

/// The proxy of the demonstration, with one more issuer, whose tokens are opaque.
struct World {
    proxy: Proxy,
    idp: DemoIntrospection,
}

impl std::ops::Deref for World {
    type Target = Proxy;

    fn deref(&self) -> &Proxy {
        &self.proxy
    }
}

impl World {
    async fn start() -> Self {
        Self::start_with("", "").await
    }

    /// With more keys of the issuer, and of `introspection`.
    async fn start_with(of_issuer: &str, of_introspection: &str) -> Self {
        let idp = DemoIntrospection::start(CLIENT, SECRET).await.unwrap();
        let issuer = format!(
            "  - issuer: {ISSUER}\n    audiences: [flyte]\n    allow_http: true\n{of_issuer}    introspection:\n      \
             url: {}\n      client_id: {{file: client_id}}\n      client_secret: {{file: client_secret}}\n\
             {of_introspection}policy:",
            idp.url()
        );
        let proxy = Proxy::start_with(|setup| {
            fs::write(setup.directory.join("client_id"), CLIENT).unwrap();
            fs::write(setup.directory.join("client_secret"), format!("{SECRET}\n")).unwrap();
            setup.edit = Box::new(move |text| text.replace("policy:", &issuer));
        })
        .await;
        Self { proxy, idp }
    }

    /// Lets the issuer say that a token is active; `changes` replace members of the answer, `null` removes one.
    fn active(&self, token: &str, changes: &Value) {
        let exp = SystemClock.unix_seconds() + 600;
        let mut answer = json!({"active": true, "iss": ISSUER, "aud": "flyte", "sub": "alice", "exp": exp, "groups": ["ml-team"], "token_type": "Bearer"});
        let members = answer.as_object_mut().unwrap();
        members.extend(changes.as_object().unwrap().clone());
        members.retain(|_, value| !value.is_null());
        self.idp.say(token, &answer);
    }

    fn asked(&self) -> usize {
        self.idp.questions().len()
    }

    async fn send(&self, by_grpc: bool, headers: &[(&str, &str)], project: &str) -> Reply {
        let reply = if by_grpc {
            let message = json!({"id": {"project": project, "domain": "development"}, "limit": 1});
            let body = envelope::frame(&self.client.encode(LIST, message).unwrap());
            self.client
                .grpc(&format!("/flyteidl.service.{LIST}"), headers, body)
                .await
        } else {
            let target = format!("/api/v1/executions/{project}/development?limit=1");
            self.client.rest(Method::GET, &target, headers, "").await
        };
        reply.unwrap()
    }

    async fn bearer(&self, by_grpc: bool, token: &str) -> Reply {
        let value = format!("Bearer {token}");
        self.send(by_grpc, &[("authorization", &value)], "ml").await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_active_token_is_judged_by_the_answer_and_travels_on_as_it_is() {
    let world = World::start().await;
    world.active("opaque-1", &json!({}));
    let value = "Bearer opaque-1";
    for by_grpc in [true, false] {
        for (name, other) in [
            ("authorization", "flyte-authorization"),
            ("flyte-authorization", "authorization"),
        ] {
            let before = world.before();
            let reply = world.send(by_grpc, &[(name, value)], "ml").await;
            let record = world.forwarded(&before, &reply).await;
            assert_eq!(
                (&record["principal"]["issuer"], &record["principal"]["subject"]),
                (&json!(ISSUER), &json!("alice"))
            );
            let arrival = world.control_plane.arrivals().pop().unwrap();
            assert_eq!(arrival.header(name), [value]);
            assert!(arrival.header(other).is_empty());
            // What it is good for is up to the policy.
            let before = world.before();
            let reply = world.send(by_grpc, &[(name, value)], "fraud").await;
            world.refused(&before, &reply, Reason::NoMatchingRule).await;
        }
    }
    assert_eq!(world.asked(), 1);
    let question = world.idp.questions().remove(0);
    assert_eq!(question.client, Some((CLIENT.to_owned(), SECRET.to_owned())));
    // A remembered caller is judged by the policy in force.
    world.write_policy("version: 1\nrules: []\n").unwrap();
    eventually("the policy is replaced", || world.app.live.load().generation == 2).await;
    let before = world.before();
    let reply = world.bearer(true, "opaque-1").await;
    world.refused(&before, &reply, Reason::NoMatchingRule).await;
    assert_eq!(world.asked(), 1);
    assert!((world.metric("introspections_total{") - 1.0).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_issuer_does_not_vouch_for_in_every_respect_is_refused() {
    let world = World::start_with(
        "    required_scopes: [all]\n    required_claims: {tenant: research}\n",
        "",
    )
    .await;
    let good = json!({"scope": "openid all", "tenant": "research"});
    let now = SystemClock.unix_seconds();
    for (number, (changes, reason)) in [
        (json!({"active": false}), Reason::TokenInactive),
        (json!({"active": "true"}), Reason::TokenInactive),
        (json!({"active": 1}), Reason::TokenInactive),
        (json!({"active": null}), Reason::TokenInactive),
        (json!({"aud": null}), Reason::ClaimMissing),
        (json!({"aud": "other"}), Reason::AudienceMismatch),
        (json!({"aud": 7}), Reason::ClaimInvalid),
        (json!({"exp": null}), Reason::ClaimMissing),
        (json!({"exp": now - 61}), Reason::TokenExpired),
        (json!({"exp": "later"}), Reason::ClaimInvalid),
        (json!({"nbf": now + 3600}), Reason::TokenNotYetValid),
        (json!({"iss": "https://other.example.com"}), Reason::IssuerUnknown),
        (json!({"iss": null, "sub": null}), Reason::ClaimMissing),
        (json!({"token_type": "DPoP"}), Reason::TokenTypeRefused),
        (json!({"token_use": "refresh_token"}), Reason::TokenTypeRefused),
        (json!({"cnf": {"x5t#S256": "bwcK"}}), Reason::TokenTypeRefused),
        (json!({"scope": "openid"}), Reason::ClaimMissing),
        (json!({"tenant": "other"}), Reason::ClaimInvalid),
        (json!({"groups": [7]}), Reason::ClaimInvalid),
    ]
    .into_iter()
    .enumerate()
    {
        let token = format!("refused-{number}");
        let mut all = good.clone();
        all.as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        world.active(&token, &all);
        for by_grpc in [true, false] {
            let before = world.before();
            let reply = world.bearer(by_grpc, &token).await;
            world.refused(&before, &reply, reason).await;
        }
        assert_eq!(world.asked(), number + 1, "{changes}: asked again at once");
    }
    world.active("accepted", &good);
    let before = world.before();
    let reply = world.bearer(true, "accepted").await;
    world.forwarded(&before, &reply).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_used_is_no_answer() {
    let world = World::start_with("", "      timeout: 300ms\n").await;
    let twice = "{\"active\":true,\"active\":true,\"sub\":\"alice\",\"aud\":\"flyte\",\"exp\":9999999999,\"groups\":[\"ml-team\"]}";
    let big = format!("{}{}", " ".repeat(65 << 10), twice.replacen("\"active\":true,", "", 1));
    for (token, answer) in [("twice", twice), ("big", big.as_str()), ("html", "<html>")] {
        world.idp.say_text(token, answer);
        let before = world.before();
        let reply = world.bearer(true, token).await;
        let record = world.refused(&before, &reply, Reason::IntrospectionUnavailable).await;
        assert_eq!(record["outcome"], "failed");
    }
    let elsewhere = DemoIntrospection::start(CLIENT, SECRET).await.unwrap();
    for (number, fault) in [
        Fault::Redirect(elsewhere.url().to_owned()),
        Fault::Status(500),
        Fault::Status(403),
        Fault::ContentType("text/html"),
        Fault::Slow(Duration::from_secs(5)),
    ]
    .into_iter()
    .enumerate()
    {
        let token = format!("active-{number}");
        world.active(&token, &json!({}));
        world.idp.fail(fault.clone());
        for by_grpc in [true, false] {
            let before = world.before();
            let reply = world.bearer(by_grpc, &token).await;
            world.refused(&before, &reply, Reason::IntrospectionUnavailable).await;
        }
        // Tokens that are signed do not depend on it.
        let before = world.before();
        let reply = world.bearer(true, &world.ml()).await;
        world.forwarded(&before, &reply).await;
    }
    assert_eq!(elsewhere.questions(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_down_is_left_alone_and_found_again() {
    let world = World::start().await;
    world.active("known", &json!({}));
    world.active("new", &json!({}));
    let before = world.before();
    let reply = world.bearer(true, "known").await;
    world.forwarded(&before, &reply).await;
    world.idp.fail(Fault::Status(503));
    for number in 0..20 {
        let before = world.before();
        let reply = world.bearer(number % 2 == 0, "new").await;
        world.refused(&before, &reply, Reason::IntrospectionUnavailable).await;
    }
    // Once, and again only where the machine takes longer for this than the pauses last.
    assert!((2..5).contains(&world.asked()), "{}", world.asked());
    let status = admin(world.app.admin, "/status").await;
    assert!(
        status.contains("\"kind\": \"introspection\"") && status.contains("answered 503"),
        "{status}"
    );
    assert!(admin(world.app.admin, "/readyz").await.starts_with("HTTP/1.1 200"));
    // Who is known stays so meanwhile.
    let before = world.before();
    let reply = world.bearer(true, "known").await;
    world.forwarded(&before, &reply).await;
    world.idp.fail(Fault::None);
    let start = Instant::now();
    loop {
        let reply = world.bearer(true, "new").await;
        world.written(&reply).await;
        if reply.grpc_status() == Some(0) {
            break;
        }
        assert!(start.elapsed().as_secs() < 10, "it is not asked again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!admin(world.app.admin, "/status").await.contains("answered 503"));
    for (result, least) in [("active", 2.0), ("failed", 1.0), ("held_back", 15.0)] {
        let counted = world.metric(&format!(
            "introspections_total{{issuer=\"{ISSUER}\",result=\"{result}\"}}"
        ));
        assert!(counted >= least, "{result}: {counted}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jwt_is_never_shown_to_the_issuer_of_opaque_tokens() {
    let world = World::start().await;
    let stranger = DemoIssuer::start().await.unwrap();
    let alice = json!({"sub": "alice", "groups": ["ml-team"]});
    let mut forged = world.ml();
    forged.truncate(forged.len() - 8);
    forged.push_str("AAAAAAAA");
    let exp = SystemClock.unix_seconds() + 600;
    let key = SigningKey::generate("key", Algorithm::EdDsa).unwrap();
    let of_it = json!({"iss": ISSUER, "aud": "flyte", "sub": "alice", "exp": exp, "groups": ["ml-team"]});
    let of_it = key.token(&of_it, &Value::Null);
    let broken = key.token_from_text("{\"alg\":\"EdDSA\",\"alg\":\"EdDSA\"}", "{}");
    for (token, reason) in [
        (forged, Reason::TokenSignatureInvalid),
        (stranger.mint(&alice), Reason::IssuerUnknown),
        (of_it, Reason::IssuerUnknown),
        (broken, Reason::TokenMalformed),
        ("e30.e30.".to_owned(), Reason::TokenMalformed),
    ] {
        // Not even when it would vouch for it.
        world.active(&token, &json!({}));
        for by_grpc in [true, false] {
            let before = world.before();
            let reply = world.bearer(by_grpc, &token).await;
            world.refused(&before, &reply, reason).await;
        }
    }
    world.active("opaque", &json!({}));
    let before = world.before();
    let reply = world.send(true, &[("authorization", "IDToken opaque")], "ml").await;
    world.refused(&before, &reply, Reason::TokenMalformed).await;
    assert_eq!(world.asked(), 0);
    // One subject of two issuers is two callers.
    let (opaque, signed) = ("Bearer opaque".to_owned(), format!("Bearer {}", world.ml()));
    for (first, second) in [(&opaque, &signed), (&signed, &opaque)] {
        let before = world.before();
        let headers = [
            ("authorization", first.as_str()),
            ("flyte-authorization", second.as_str()),
        ];
        let reply = world.send(true, &headers, "ml").await;
        world.refused(&before, &reply, Reason::CredentialConflict).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_issuer_to_ask_an_opaque_token_is_malformed() {
    let proxy = Proxy::start().await;
    let before = proxy.before();
    let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
    let reply = proxy.client.call(Some("opaque"), LIST, message).await.unwrap();
    proxy.refused(&before, &reply, Reason::TokenMalformed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_with_one_token_asks_once_and_a_storm_of_tokens_a_few_at_a_time() {
    let world = Arc::new(World::start_with("", "      timeout: 20s\n").await);
    world.active("popular", &json!({}));
    world.idp.fail(Fault::Slow(Duration::from_millis(30)));
    let burst = async |token: fn(usize) -> String, expected: &'static str| {
        let mut requests = JoinSet::new();
        for number in 0..200 {
            let world = Arc::clone(&world);
            requests.spawn(async move {
                let reply = world.bearer(true, &token(number)).await;
                if expected.is_empty() {
                    assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
                } else {
                    assert!(reply.message().contains(expected), "{reply:?}");
                }
            });
        }
        requests.join_all().await;
    };
    burst(|_| "popular".to_owned(), "").await;
    assert_eq!(world.asked(), 1);
    let arrived = world.control_plane.count();
    burst(|number| format!("made-up-{number}"), "[token_inactive; ").await;
    assert_eq!(world.asked(), 201);
    assert!(world.idp.most_at_one_time() <= 64, "{}", world.idp.most_at_one_time());
    assert_eq!(world.control_plane.count(), arrived);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_tokens_nor_the_secret_are_written_anywhere() {
    let world = World::start().await;
    world.active("opaque-token-accepted", &json!({}));
    world.active("opaque-token-for-another", &json!({"aud": "other"}));
    let configuration = fs::read_to_string(&world.configuration).unwrap();
    let file = |name: &str| world.directory().join(name);
    fs::write(file("verbose.yaml"), format!("{configuration}log: {{level: trace}}\n")).unwrap();
    let mut serving = Command::new(PROGRAM)
        .args(["serve", "--config", text(&file("verbose.yaml"))])
        .stdin(Stdio::null())
        .stdout(File::create(file("stdout")).unwrap())
        .stderr(File::create(file("stderr")).unwrap())
        .spawn()
        .unwrap();
    let mut address = None;
    eventually("it listens", || {
        let log = fs::read_to_string(file("stderr")).unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut plain = lines.filter(|line| line["message"] == "listening" && line["listener"] == "plain");
        address = plain.next().and_then(|line| line["address"].as_str()?.parse().ok());
        address.is_some()
    })
    .await;
    let client = Client::new(address.unwrap(), None, &crate::descriptors::bytes()).unwrap();
    let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
    let mut answers = String::new();
    let mut ask = async |token: &str| {
        let reply = client.call(Some(token), LIST, message.clone()).await.unwrap();
        answers.push_str(&reply.message());
        reply.grpc_status()
    };
    assert_eq!(ask("opaque-token-accepted").await, Some(0));
    assert_eq!(ask("opaque-token-for-another").await, Some(16));
    assert_eq!(ask("opaque-token-unknown").await, Some(16));
    world.idp.replace_secret("another");
    assert_eq!(ask("opaque-token-new").await, Some(14));
    assert_eq!(ask("opaque-token-held-back").await, Some(14));
    eventually("everything is recorded", || {
        fs::read_to_string(file("stdout")).unwrap().lines().count() == 5
    })
    .await;
    serving.kill().unwrap();
    serving.wait().unwrap();
    let log = fs::read_to_string(file("stderr")).unwrap();
    assert!(log.contains("does not accept `client_id` and `client_secret`"), "{log}");
    let written = format!("{log}{}{answers}", fs::read_to_string(file("stdout")).unwrap());
    for secret in ["opaque-token", SECRET, "introspection%2Bsecret", "Basic "] {
        assert!(!written.contains(secret), "{secret} is written: {written}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_asks_about_an_opaque_token_as_serving_does() {
    let world = World::start().await;
    world.active("opaque-one", &json!({}));
    for (token, code, reason) in [
        ("opaque-one", 0, Value::Null),
        ("opaque-two", 2, json!("token_inactive")),
    ] {
        let path = world.directory().join("token");
        fs::write(&path, token).unwrap();
        let explain = [
            "explain",
            "--config",
            text(&world.configuration),
            "--token",
            text(&path),
        ];
        let call = [
            "--rpc",
            "ListExecutions",
            "--project",
            "ml",
            "--domain",
            "development",
            "--format",
            "json",
        ];
        let ran = run(&[&explain[..], &call].concat()).exited(code);
        assert_eq!(ran.json()["reason"], reason, "{ran:?}");
        assert!(!ran.stdout.contains(token) && !ran.stderr.contains(token));
    }
    let check = ["check", "--config", text(&world.configuration)];
    assert!(run(&check).exited(0).stdout.contains("2 issuers"));
    fs::remove_file(world.directory().join("client_secret")).unwrap();
    let told = run(&check).exited(3).stdout;
    assert!(told.contains("the file that is named here cannot be read"), "{told}");
}

#[test]
fn the_issuer_in_the_documentation_loads() {
    let issuer = crate::documents::issuer_of("docs/identity.md", "Opaque tokens");
    assert!(matches!(issuer.keys, KeySource::Introspection(_)));
}
