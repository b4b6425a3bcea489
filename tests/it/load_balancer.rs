//! People whom an AWS load balancer has logged in, through the whole proxy: who is judged, and which one credential goes
//! upstream.

#![expect(clippy::indexing_slicing, reason = "tests")]

use crate::proxy::Proxy;
use crate::sockets::admin;
use flyte_authz_proxy::clock::{Clock, SystemClock};
use flyte_authz_proxy::credential::key_set::Algorithm;
use flyte_authz_proxy::demo::client::{Client, Reply};
use flyte_authz_proxy::demo::control_plane::Arrival;
use flyte_authz_proxy::demo::load_balancer::{CLIENT, DemoLoadBalancer, ISSUER, KEY_ID, KeyFault, SIGNER, signed};
use flyte_authz_proxy::demo::signing::SigningKey;
use flyte_authz_proxy::demo::stack::Entry;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http::Method;
use serde_json::{Value, json};
use std::process::Command;

const OWN: &str = "/api/v1/executions/ml/development?limit=10";
const FOREIGN: &str = "/api/v1/executions/fraud/development?limit=10";
const DATA: &str = "x-amzn-oidc-data";

/// Every header that could carry an identity.
const CARRIERS: [&str; 7] = [
    "authorization",
    "cookie",
    "flyte-authorization",
    DATA,
    "x-amzn-oidc-identity",
    "x-amzn-oidc-accesstoken",
    "x_amzn_oidc_data",
];

fn now() -> u64 {
    SystemClock.unix_seconds()
}

/// A proxy that trusts a load balancer, which logs people in at the proxy's own issuer.
struct World {
    proxy: Proxy,
    balancer: DemoLoadBalancer,
}

impl World {
    async fn new() -> Self {
        let balancer = DemoLoadBalancer::start().await.unwrap();
        let keys = balancer.url().to_owned();
        let proxy = Proxy::start_with(|setup| {
            setup.edit = Box::new(move |text| trusting_its_issuer(&text, &keys));
        })
        .await;
        Self { proxy, balancer }
    }

    /// What the load balancer sends for somebody, with changes to the JOSE header.
    fn changed(&self, claims: &Value, changes: &Value) -> String {
        let issuer = self.proxy.issuer.url();
        let (mut all, mut header) = (json!({"iss": issuer}), json!({"iss": issuer}));
        for (object, more) in [(&mut all, claims), (&mut header, changes)] {
            let more = more.as_object().cloned().unwrap_or_default();
            object.as_object_mut().unwrap().extend(more);
        }
        self.balancer.header(&all, &header, now())
    }

    /// What it sends for somebody of the ml team.
    fn header(&self, subject: &str) -> String {
        self.changed(&json!({"sub": subject, "groups": ["ml-team"]}), &Value::Null)
    }

    async fn get(&self, target: &str, headers: &[(&str, &str)]) -> Reply {
        self.proxy.client.rest(Method::GET, target, headers, "").await.unwrap()
    }

    async fn refused(&self, headers: &[(&str, &str)], reason: Reason) -> Value {
        let before = self.proxy.before();
        let reply = self.get(OWN, headers).await;
        self.proxy.refused(&before, &reply, reason).await
    }

    /// Makes a request that is forwarded; returns the subject that was judged and what arrived of credentials.
    async fn forwarded(&self, target: &str, headers: &[(&str, &str)]) -> (Value, Vec<(&'static str, String)>) {
        let before = self.proxy.before();
        let reply = self.get(target, headers).await;
        let record = self.proxy.forwarded(&before, &reply).await;
        (record["principal"].clone(), arrived(&self.last_arrival()))
    }

    fn last_arrival(&self) -> Arrival {
        self.proxy.control_plane.arrivals().pop().unwrap()
    }

    async fn status(&self) -> Value {
        let answer = admin(self.proxy.app.admin, "/status").await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<Value>(body).unwrap()["load_balancer"].clone()
    }
}

/// The configuration with a load balancer that is trusted, which logs people in at that issuer.
fn trusting(configuration: &str, issuer: &str, keys: &str) -> String {
    let load_balancer = format!(
        "  load_balancer:
    signers: [\"{SIGNER}\"]
    client_ids: [{CLIENT}]
    issuer: {issuer}
    keys: {{url: \"{keys}\"}}
    allow_http: true
"
    );
    match configuration.split_once("\ncredentials:\n") {
        Some((before, after)) => format!("{before}\ncredentials:\n{load_balancer}{after}"),
        None => format!("{configuration}\ncredentials:\n{load_balancer}"),
    }
}

/// The same with the issuer of the tokens.
pub(crate) fn trusting_its_issuer(configuration: &str, keys: &str) -> String {
    let (_, issuer) = configuration.split_once("- issuer: ").unwrap();
    trusting(configuration, issuer.lines().next().unwrap(), keys)
}

/// Whatever could carry an identity, as it arrived.
pub(crate) fn arrived(arrival: &Arrival) -> Vec<(&'static str, String)> {
    let values = |name: &'static str| {
        arrival
            .header(name)
            .into_iter()
            .map(move |value| (name, value.to_owned()))
    };
    CARRIERS.into_iter().flat_map(values).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_the_load_balancer_names_is_judged_and_its_header_alone_is_forwarded_as_it_came() {
    let world = World::new().await;
    let header = world.changed(
        &json!({"sub": "alice", "groups": ["ml-team"], "email": "alice@example.com", "email_verified": "true"}),
        &Value::Null,
    );
    assert!(header.ends_with("=="), "what the signature covers is padded");
    for accept in ["*/*", "application/octet-stream"] {
        let headers = [
            (DATA, header.as_str()),
            ("x-amzn-oidc-identity", "bob"),
            ("x-amzn-oidc-accesstoken", "an access token"),
            ("x_amzn_oidc_data", "bob"),
            ("cookie", "AWSELBAuthSessionCookie-0=secret"),
            ("accept", accept),
        ];
        let before = world.proxy.before();
        let reply = world.get(OWN, &headers).await;
        assert_eq!(reply.status, 200);
        let record = world.proxy.forwarded(&before, &reply).await;
        assert_eq!(record["principal"]["subject"], "alice");
        assert_eq!(record["principal"]["email"], "alice@example.com");
        assert_eq!(record["principal"]["issuer"], world.proxy.issuer.url());
        assert_eq!(record["rules"], json!(["ml-team"]));
        assert_eq!(record["credential"], "load_balancer");
        assert!(!record.to_string().contains(&header), "{record}");
        assert_eq!(arrived(&world.last_arrival()), [(DATA, header.clone())]);
    }
    let before = world.proxy.before();
    let reply = world.get(FOREIGN, &[(DATA, &header)]).await;
    let record = world.proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
    assert_eq!(record["principal"]["subject"], "alice");
    assert_eq!(record["credential"], "load_balancer");
    assert_eq!(world.balancer.fetches(), [format!("/{KEY_ID}")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_groups_in_the_header_count_only_if_it_is_what_is_judged() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.proxy.token("alice", "visitors"));
    let header = world.header("alice");
    let both = [("authorization", bearer.as_str()), (DATA, header.as_str())];
    world.refused(&both, Reason::NoMatchingRule).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_of_the_same_name_at_another_issuer_is_somebody_else() {
    let balancer = DemoLoadBalancer::start().await.unwrap();
    let keys = balancer.url().to_owned();
    let proxy = Proxy::start_with(|setup| {
        setup.edit = Box::new(move |text| trusting(&text, ISSUER, &keys));
    })
    .await;
    let world = World { proxy, balancer };
    let alice = json!({"sub": "alice", "groups": ["ml-team"]});
    let header = world.balancer.header(&alice, &Value::Null, now());
    let (principal, _) = world.forwarded(OWN, &[(DATA, &header)]).await;
    assert_eq!(principal["issuer"], ISSUER);
    let bearer = format!("Bearer {}", world.proxy.token("alice", "ml-team"));
    let both = [("authorization", bearer.as_str()), (DATA, header.as_str())];
    world.refused(&both, Reason::CredentialConflict).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_not_what_the_load_balancer_sends_is_refused_also_beside_a_good_token() {
    let world = World::new().await;
    let alice = json!({"sub": "alice", "groups": ["ml-team"]});
    let changed = |changes: Value| world.changed(&alice, &changes);
    let claiming = |claims: Value| world.changed(&claims, &Value::Null);
    let good = world.header("alice");
    let (message, _) = good.rsplit_once('.').unwrap();
    let stranger = SigningKey::generate(KEY_ID, Algorithm::Es256).unwrap();
    let issuer = world.proxy.issuer.url();
    let by_stranger = json!({"sub": "alice", "groups": ["ml-team"], "iss": issuer});
    let by_stranger = signed(&stranger, &by_stranger, &json!({"iss": issuer}), now());
    let bearer = format!("Bearer {}", world.proxy.token("alice", "ml-team"));
    for (value, reason) in [
        (String::new(), Reason::TokenMalformed),
        ("alice".to_owned(), Reason::TokenMalformed),
        (good.replace('=', ""), Reason::TokenMalformed),
        (format!("Bearer {good}"), Reason::TokenMalformed),
        (world.proxy.token("alice", "ml-team"), Reason::TokenMalformed),
        (format!("{message}."), Reason::TokenSignatureInvalid),
        (by_stranger, Reason::TokenSignatureInvalid),
        (changed(json!({"alg": "none"})), Reason::AlgorithmRefused),
        (changed(json!({"alg": "HS256"})), Reason::AlgorithmRefused),
        (changed(json!({"kid": "../jwks"})), Reason::TokenMalformed),
        (changed(json!({"kid": "a%2fb"})), Reason::TokenMalformed),
        (changed(json!({"kid": "unknown"})), Reason::KeyUnknown),
        (
            changed(json!({"signer": SIGNER.replace("/flyte/", "/mallory/")})),
            Reason::SignerRefused,
        ),
        (changed(json!({"client": "another"})), Reason::AudienceMismatch),
        (
            changed(json!({"iss": "https://other.example.com"})),
            Reason::IssuerUnknown,
        ),
        (changed(json!({"exp": now() - 61})), Reason::TokenExpired),
        (
            claiming(json!({"sub": "alice", "exp": now() + 600})),
            Reason::ClaimInvalid,
        ),
        (
            claiming(json!({"sub": "alice", "iss": "https://other.example.com"})),
            Reason::IssuerUnknown,
        ),
        (
            claiming(json!({"sub": "alice", "nbf": now() + 600})),
            Reason::TokenNotYetValid,
        ),
        (claiming(json!({"email": "alice@example.com"})), Reason::ClaimMissing),
    ] {
        let record = world.refused(&[(DATA, &value)], reason).await;
        let told = record["message"].as_str().unwrap();
        assert!(told.starts_with("x-amzn-oidc-data: "), "{told}");
        assert!(!record.to_string().contains(message), "{record}");
        world
            .refused(&[("authorization", &bearer), (DATA, &value)], reason)
            .await;
    }
    assert_eq!(world.balancer.fetches().len(), 2, "the good key and the unknown one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_header_twice_is_refused_and_other_spellings_are_no_credential() {
    let world = World::new().await;
    let (alice, bob) = (world.header("alice"), world.header("bob"));
    let bearer = format!("Bearer {}", world.proxy.token("alice", "ml-team"));
    for second in [alice.as_str(), bob.as_str(), ""] {
        for headers in [
            vec![(DATA, alice.as_str()), (DATA, second)],
            vec![(DATA, second), (DATA, alice.as_str())],
        ] {
            world.refused(&headers, Reason::CredentialConflict).await;
            let with_bearer = [vec![("authorization", bearer.as_str())], headers].concat();
            world.refused(&with_bearer, Reason::CredentialConflict).await;
        }
    }
    for other in [
        "x_amzn_oidc_data",
        "x-amzn_oidc-data",
        "x-amzn-oidc-identity",
        "x-amzn-oidc-accesstoken",
    ] {
        world.refused(&[(other, &alice)], Reason::CredentialMissing).await;
        let (principal, arrived) = world.forwarded(OWN, &[(DATA, &alice), (other, &bob)]).await;
        assert_eq!(principal["subject"], "alice");
        assert_eq!(arrived, [(DATA, alice.clone())]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_load_balancer_is_trusted_its_header_means_nothing_and_is_removed() {
    let balancer = DemoLoadBalancer::start().await.unwrap();
    let world = World {
        proxy: Proxy::start().await,
        balancer,
    };
    let header = world.header("alice");
    world.refused(&[(DATA, &header)], Reason::CredentialMissing).await;
    let bearer = format!("Bearer {}", world.proxy.token("bob", "ml-team"));
    for value in [header.as_str(), "garbage"] {
        let headers = [("authorization", bearer.as_str()), (DATA, value), (DATA, "twice")];
        let (principal, arrived) = world.forwarded(OWN, &headers).await;
        assert_eq!(principal["subject"], "bob");
        assert_eq!(arrived, [("authorization", bearer.clone())]);
    }
    assert_eq!(world.status().await, Value::Null);
    assert_eq!(world.balancer.fetches().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_pages_and_listeners_with_a_fixed_principal_neither_read_nor_forward_the_header() {
    let world = World::new().await;
    let header = world.header("alice");
    let headers = [(DATA, header.as_str()), ("x-amzn-oidc-identity", "alice")];
    let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 10});
    let body = envelope::frame(
        &world
            .proxy
            .client
            .encode("AdminService/ListExecutions", message)
            .unwrap(),
    );
    let path = "/flyteidl.service.AdminService/ListExecutions";
    let before = world.proxy.before();
    let reply = world.proxy.client.grpc(path, &headers, body.clone()).await.unwrap();
    world.proxy.refused(&before, &reply, Reason::CredentialMissing).await;

    let bearer = format!("Bearer {}", world.proxy.token("bob", "ml-team"));
    let with_bearer = [("authorization", bearer.as_str()), headers[0], (DATA, "twice")];
    let before = world.proxy.before();
    let reply = world.proxy.client.grpc(path, &with_bearer, body).await.unwrap();
    let record = world.proxy.forwarded(&before, &reply).await;
    assert_eq!(record["principal"]["subject"], "bob");
    assert_eq!(arrived(&world.last_arrival()), [("authorization", bearer.clone())]);

    for page in ["/console", "/login?redirect_url=/console"] {
        let before = world.proxy.before();
        let reply = world.get(page, &headers).await;
        world.proxy.forwarded(&before, &reply).await;
        assert_eq!(arrived(&world.last_arrival()), [], "{page}");
    }

    let address = world.proxy.address(Entry::Engine).unwrap();
    let engine = Client::new(address, None, &crate::descriptors::bytes()).unwrap();
    let before = world.proxy.before();
    let reply = engine.rest(Method::GET, FOREIGN, &headers, "").await.unwrap();
    let record = world.proxy.forwarded(&before, &reply).await;
    assert_eq!(record["principal"]["subject"], "flytepropeller");
    assert_eq!(arrived(&world.last_arrival()), []);
    assert_eq!(world.balancer.fetches().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_made_up_keys_brings_about_few_fetches_and_holds_up_nobody() {
    let world = World::new().await;
    let alice = world.header("alice");
    world.forwarded(OWN, &[(DATA, &alice)]).await;
    for number in 0..60 {
        let made_up = world.changed(&json!({"sub": "mallory"}), &json!({"kid": format!("made-up-{number}")}));
        world.refused(&[(DATA, &made_up)], Reason::KeyUnknown).await;
    }
    let begun = std::time::Instant::now();
    world.forwarded(OWN, &[(DATA, &world.header("bob"))]).await;
    assert!(begun.elapsed().as_secs() < 2);
    // Four at once, of which alice's key was one; one more for each ten seconds that a slow machine takes.
    let fetches = world.balancer.fetches().len();
    assert!((4..=6).contains(&fetches), "{fetches}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_keys_cannot_be_fetched_callers_are_told_to_try_again_and_then_let_in() {
    let world = World::new().await;
    let header = world.header("alice");
    world.balancer.fail(KeyFault::Down);
    let before = world.proxy.before();
    let reply = world.get(OWN, &[(DATA, &header)]).await;
    assert_eq!(reply.status, 503);
    world.proxy.refused(&before, &reply, Reason::KeysUnavailable).await;
    let failed = "key_set_refreshes_total{issuer=\"load_balancer\",result=\"failed\"}";
    assert!((world.proxy.metric(failed) - 1.0).abs() < f64::EPSILON);
    let status = world.status().await;
    assert_eq!(
        (&status["keys"], &status["issuer"]),
        (&json!(0), &json!(world.proxy.issuer.url()))
    );
    assert!(status["last_error"].as_str().unwrap().contains("127.0.0.1"), "{status}");
    // Others do not depend on it.
    let bearer = format!("Bearer {}", world.proxy.token("bob", "ml-team"));
    world.forwarded(OWN, &[("authorization", &bearer)]).await;

    world.balancer.fail(KeyFault::None);
    let (principal, _) = world.forwarded(OWN, &[(DATA, &header)]).await;
    assert_eq!(principal["subject"], "alice");
    let status = world.status().await;
    assert_eq!((&status["keys"], &status["last_error"]), (&json!(1), &Value::Null));
    // Once it is known, the place may be down.
    world.balancer.fail(KeyFault::Down);
    world.forwarded(OWN, &[(DATA, &world.header("carol"))]).await;
}

#[test]
fn the_check_command_says_where_the_keys_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("policy.yaml", flyte_authz_proxy::demo::stack::POLICY);
    let configuration = format!(
        "version: 1
listeners: [{{name: public, address: 127.0.0.1:0}}]
upstream: {{grpc: http://127.0.0.1:1, http: http://127.0.0.1:1}}
policy: {{path: policy.yaml}}
credentials:
  load_balancer:
    signers: [\"{SIGNER}\"]
    client_ids: [{CLIENT}]
    issuer: https://idp.example.com
    keys: {{directory: alb-keys}}
"
    );
    write("config.yaml", &configuration);
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flyte-authz-proxy"));
        let config = directory.path().join("config.yaml");
        let output = command.args(["check", "--config"]).arg(config).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, said) = check();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("alb-keys` is no directory that can be read"), "{said}");
    std::fs::create_dir(directory.path().join("alb-keys")).unwrap();
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
}
