//! Console sessions through the whole proxy: who is judged, and which one credential goes upstream.

#![expect(clippy::indexing_slicing, reason = "tests")]

use crate::proxy::Proxy;
use flyte_authz_proxy::clock::{Clock, SystemClock};
use flyte_authz_proxy::demo::client::{Client, Reply};
use flyte_authz_proxy::demo::control_plane::Arrival;
use flyte_authz_proxy::demo::session::SessionKeys;
use flyte_authz_proxy::demo::stack::Entry;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http::Method;
use serde_json::{Value, json};
use std::process::Command;

const OWN: &str = "/api/v1/executions/ml/development?limit=10";
const FOREIGN: &str = "/api/v1/executions/fraud/development?limit=10";
const PROTOBUF: (&str, &str) = ("accept", "application/octet-stream");

fn now() -> u64 {
    SystemClock.unix_seconds()
}

/// A proxy that accepts sessions, and the keys they are made with.
async fn start() -> (Proxy, SessionKeys) {
    let keys = SessionKeys::generate().unwrap();
    let proxy = Proxy::start_with(|setup| setup.session_keys = Some(keys.clone())).await;
    (proxy, keys)
}

/// The cookies of somebody of the ml team who is logged in. FlyteAdmin does not verify the access token, nor does the proxy.
fn session(proxy: &Proxy, keys: &SessionKeys, subject: &str) -> String {
    keys.cookies(&proxy.token(subject, "ml-team"), "an opaque access token", now())
        .unwrap()
}

async fn get(proxy: &Proxy, target: &str, headers: &[(&str, &str)]) -> Reply {
    proxy.client.rest(Method::GET, target, headers, "").await.unwrap()
}

fn last_arrival(proxy: &Proxy) -> Arrival {
    proxy.control_plane.arrivals().pop().unwrap()
}

/// The values of every header that could carry an identity, as they arrived.
fn credentials(arrival: &Arrival) -> Vec<(&str, &str)> {
    ["authorization", "cookie", "flyte-authorization"]
        .into_iter()
        .flat_map(|name| arrival.header(name).into_iter().map(move |value| (name, value)))
        .collect()
}

async fn refused(proxy: &Proxy, headers: &[(&str, &str)], reason: Reason) -> Value {
    let before = proxy.before();
    let reply = get(proxy, OWN, headers).await;
    proxy.refused(&before, &reply, reason).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_judged_by_its_id_token_and_forwarded_as_it_came_and_nothing_else_is() {
    let (proxy, keys) = start().await;
    let session = session(&proxy, &keys, "alice");
    let refresh = keys.cookie("flyte_rt", "refresh", now()).unwrap();
    let browser = format!("theme=dark; flyte_rt={refresh}; {session}; _ga=GA1.2.3");
    for accept in [("accept", "*/*"), PROTOBUF] {
        let headers = [("cookie", browser.as_str()), accept];
        let before = proxy.before();
        let reply = get(&proxy, OWN, &headers).await;
        assert_eq!(reply.status, 200);
        let record = proxy.forwarded(&before, &reply).await;
        assert_eq!(record["principal"]["subject"], "alice");
        assert_eq!(record["rules"], json!(["ml-team"]));
        assert_eq!(record["credential"], "session");
        assert!(!record.to_string().contains("flyte_idt"), "{record}");
        assert_eq!(credentials(&last_arrival(&proxy)), [("cookie", session.as_str())]);

        let before = proxy.before();
        let reply = get(&proxy, FOREIGN, &headers).await;
        assert_eq!(reply.status, 403);
        let record = proxy.recorded(&before, Reason::NoMatchingRule).await;
        assert_eq!(record["principal"]["subject"], "alice");
        assert_eq!(record["credential"], "session");
        assert_eq!(record["targets"][0]["project"], "fraud");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_may_write_and_come_in_several_cookie_headers_and_with_the_older_access_token() {
    let (proxy, keys) = start().await;
    let id_token = keys
        .cookie("flyte_idt", &proxy.token("alice", "ml-team"), now())
        .unwrap();
    let access_token = keys.cookie("flyte_at", "opaque", now()).unwrap();
    let (id_token, access_token) = (format!("flyte_idt={id_token}"), format!("flyte_at={access_token}"));
    let headers = [
        ("cookie", access_token.as_str()),
        ("cookie", "theme=dark"),
        ("cookie", id_token.as_str()),
        ("content-type", "application/json"),
    ];
    let execution = |project: &str| {
        let launch_plan = json!({"resource_type": "LAUNCH_PLAN", "project": project, "domain": "development", "name": "train", "version": "v1"});
        json!({"project": project, "domain": "development", "name": "fromconsole", "spec": {"launch_plan": launch_plan}, "inputs": {}}).to_string()
    };
    // Over HTTP/2 browsers send every cookie in a header of its own.
    for http2 in [false, true] {
        let create = async |project: &str| {
            let (path, body) = ("/api/v1/executions", execution(project));
            if http2 {
                return proxy.client.grpc(path, &headers, body.into()).await.unwrap();
            }
            proxy.client.rest(Method::POST, path, &headers, body).await.unwrap()
        };
        let before = proxy.before();
        let reply = create("ml").await;
        let record = proxy.forwarded(&before, &reply).await;
        assert_eq!(record["protocol"], "rest");
        let arrival = last_arrival(&proxy);
        assert_eq!(
            credentials(&arrival),
            [("cookie", format!("{access_token}; {id_token}").as_str())]
        );
        assert_eq!(arrival.request.unwrap()["project"], "ml");

        let before = proxy.before();
        let reply = create("fraud").await;
        proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_claims_of_the_credential_that_is_forwarded_count_and_no_other() {
    let (proxy, keys) = start().await;
    let in_team = proxy.token("alice", "ml-team");
    let outside = proxy.token("alice", "visitors");
    let bearer = format!("Bearer {outside}");
    let cookie = keys.cookies(&in_team, "access", now()).unwrap();
    let both = [("authorization", bearer.as_str()), ("cookie", cookie.as_str())];
    refused(&proxy, &both, Reason::NoMatchingRule).await;

    let cookie = keys.cookies(&outside, "access", now()).unwrap();
    let bearer = format!("Bearer {in_team}");
    let both = [("flyte-authorization", bearer.as_str()), ("cookie", cookie.as_str())];
    refused(&proxy, &both, Reason::NoMatchingRule).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_cannot_be_read_counts_as_none_and_says_to_log_in_again() {
    let (proxy, keys) = start().await;
    let token = proxy.token("alice", "ml-team");
    let other = SessionKeys::generate().unwrap();
    let long = json!({"sub": "alice", "groups": ["ml-team"], "note": "z".repeat(2500)});
    let long = keys.cookies(&proxy.issuer.mint(&long), "access", now()).unwrap();
    assert!(long.split("; ").any(|cookie| cookie.len() > 4096 + "flyte_idt=".len()));
    let id_token = keys.cookie("flyte_idt", &token, now()).unwrap();
    for unreadable in [
        "flyte_idt=garbage; flyte_at=garbage".to_owned(),
        "flyte_idt=; flyte_at_1=; flyte_at_2=".to_owned(),
        format!("flyte_idt={id_token}"),
        format!("flyte_idt={id_token}; flyte_at={id_token}"),
        other.cookies(&token, "access", now()).unwrap(),
        keys.cookies(&token, "access", now() - 30 * 86_400 - 60).unwrap(),
        long,
    ] {
        let record = refused(&proxy, &[("cookie", &unreadable)], Reason::CredentialMissing).await;
        let message = record["message"].as_str().unwrap();
        assert!(
            message.contains("session") && message.contains("log in again"),
            "{message}"
        );

        // Then the next credential counts, alone.
        let bearer = format!("Bearer {}", proxy.token("bob", "ml-team"));
        let headers = [
            ("cookie", unreadable.as_str()),
            ("flyte-authorization", bearer.as_str()),
        ];
        let before = proxy.before();
        let reply = get(&proxy, OWN, &headers).await;
        let record = proxy.forwarded(&before, &reply).await;
        assert_eq!(record["principal"]["subject"], "bob");
        assert_eq!(
            credentials(&last_arrival(&proxy)),
            [("flyte-authorization", bearer.as_str())]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_in_a_session_is_verified_like_any_other() {
    let (proxy, keys) = start().await;
    let valid = json!({"sub": "alice", "groups": ["ml-team"]});
    let with = |name: &str, value: Value| {
        let mut claims = valid.clone();
        claims[name] = value;
        proxy.issuer.mint(&claims)
    };
    let mut forged = proxy.token("alice", "ml-team");
    forged.truncate(forged.len() - 8);
    forged.push_str("AAAAAAAA");
    let access_token = proxy.issuer.mint_with(
        &valid,
        flyte_authz_proxy::credential::key_set::Algorithm::Rs256,
        &json!({"typ": "at+jwt"}),
    );
    for (token, reason) in [
        (with("exp", json!(now() - 300)), Reason::TokenExpired),
        (with("aud", json!("another service")), Reason::AudienceMismatch),
        (with("iss", json!("https://other.example.com")), Reason::IssuerUnknown),
        (forged, Reason::TokenSignatureInvalid),
        (access_token, Reason::TokenTypeRefused),
        ("no token".to_owned(), Reason::TokenMalformed),
    ] {
        let cookie = keys.cookies(&token, "access", now()).unwrap();
        let before = proxy.before();
        let reply = get(&proxy, OWN, &[("cookie", &cookie)]).await;
        assert_eq!(reply.status, 401);
        proxy.refused(&before, &reply, reason).await;

        let before = proxy.before();
        let reply = get(&proxy, OWN, &[("cookie", &cookie), PROTOBUF]).await;
        assert_eq!(reply.status, 401);
        proxy.recorded(&before, reason).await;

        // A good credential beside it does not make it good.
        let bearer = format!("Bearer {}", proxy.token("alice", "ml-team"));
        refused(&proxy, &[("cookie", &cookie), ("authorization", &bearer)], reason).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_cookie_of_a_session_is_refused() {
    let (proxy, keys) = start().await;
    let (alice, bob) = (session(&proxy, &keys, "alice"), session(&proxy, &keys, "bob"));
    let bearer = format!("Bearer {}", proxy.token("alice", "ml-team"));
    for second in [bob.as_str(), "flyte_idt=", "flyte_at_2=garbage", alice.as_str()] {
        let together = format!("{alice}; {second}");
        refused(&proxy, &[("cookie", &together)], Reason::CredentialConflict).await;
        let apart = [("cookie", second), ("cookie", alice.as_str())];
        refused(&proxy, &apart, Reason::CredentialConflict).await;
        let with_header = [("authorization", bearer.as_str()), ("cookie", together.as_str())];
        refused(&proxy, &with_header, Reason::CredentialConflict).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_ignores_cookies_as_flyteadmin_does() {
    let (proxy, keys) = start().await;
    let alice = session(&proxy, &keys, "alice");
    let twice = format!("{alice}; {alice}");
    let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 10});
    let body = envelope::frame(&proxy.client.encode("AdminService/ListExecutions", message).unwrap());
    let path = "/flyteidl.service.AdminService/ListExecutions";
    let bearer = format!("Bearer {}", proxy.token("bob", "ml-team"));
    for cookie in [alice.as_str(), twice.as_str(), "flyte_idt=garbage"] {
        let before = proxy.before();
        let reply = proxy
            .client
            .grpc(path, &[("cookie", cookie)], body.clone())
            .await
            .unwrap();
        let record = proxy.refused(&before, &reply, Reason::CredentialMissing).await;
        assert_eq!(record["message"], Reason::CredentialMissing.help());

        let headers = [("cookie", cookie), ("authorization", bearer.as_str())];
        let before = proxy.before();
        let reply = proxy.client.grpc(path, &headers, body.clone()).await.unwrap();
        let record = proxy.forwarded(&before, &reply).await;
        assert_eq!(record["principal"]["subject"], "bob");
        assert_eq!(credentials(&last_arrival(&proxy)), [("authorization", bearer.as_str())]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_keep_their_cookies_whatever_they_are() {
    let (proxy, keys) = start().await;
    let alice = session(&proxy, &keys, "alice");
    for cookie in [
        format!("{alice}; flyte_rt=r; flyte_csrf_state=s"),
        format!("{alice}; {alice}"),
        "flyte_idt=garbage".to_owned(),
    ] {
        for page in ["/console", "/oauth2/authorize", "/callback", "/logout"] {
            let before = proxy.before();
            let reply = get(&proxy, page, &[("cookie", &cookie)]).await;
            proxy.forwarded(&before, &reply).await;
            assert_eq!(last_arrival(&proxy).header("cookie"), [cookie.as_str()], "{page}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_make_something_of_a_session_get_only_one_that_is_known() {
    let (proxy, keys) = start().await;
    let alice = session(&proxy, &keys, "alice");
    let of = |claims: &Value| keys.cookies(&proxy.issuer.mint(claims), "access", now()).unwrap();
    let expired = of(&json!({"sub": "alice", "exp": now() - 300}));
    let elsewhere = of(&json!({"sub": "alice", "aud": "another service"}));
    let strange = SessionKeys::generate().unwrap();
    let strange = session(&proxy, &strange, "alice");
    let garbage = "flyte_idt=garbage; flyte_at=garbage".to_owned();
    for (cookie, renewed, exchanged) in [
        (format!("theme=dark; {alice}; flyte_auth_code=c"), true, true),
        ("theme=dark; flyte_auth_code=c".to_owned(), true, true),
        (format!("{expired}; flyte_rt=r"), true, false),
        (elsewhere, true, false),
        (format!("{alice}; {alice}"), false, false),
        (format!("{alice}; flyte_idt="), false, false),
        (format!("flyte_at=; {alice}"), true, true),
        (strange, false, false),
        (garbage, false, false),
    ] {
        for (page, kept) in [
            ("/login?redirect_url=/console", renewed),
            ("/oauth2/authorize_callback", exchanged),
        ] {
            let before = proxy.before();
            let reply = get(&proxy, page, &[("cookie", &cookie)]).await;
            proxy.forwarded(&before, &reply).await;
            let expected = if kept { vec![cookie.as_str()] } else { Vec::new() };
            assert_eq!(last_arrival(&proxy).header("cookie"), expected, "{page} {cookie}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_gets_a_token_that_it_could_exchange_and_clients_log_in_with_their_secret() {
    let (proxy, _) = start().await;
    let token = proxy.token("alice", "ml-team");
    for scheme in ["Bearer", "bearer", "IDToken"] {
        let value = format!("{scheme} {token}");
        for page in ["/oauth2/authorize_callback", "/login", "/console"] {
            let headers = [("authorization", value.as_str()), ("flyte-authorization", &value)];
            let before = proxy.before();
            let reply = get(&proxy, page, &headers).await;
            proxy.forwarded(&before, &reply).await;
            assert_eq!(credentials(&last_arrival(&proxy)), [], "{page}");
        }
    }
    let form = ("content-type", "application/x-www-form-urlencoded");
    let login = ("authorization", "Basic cHJvcGVsbGVyOnNlY3JldA==");
    let before = proxy.before();
    let (page, headers) = ("/oauth2/token", [form, login]);
    let asked = proxy
        .client
        .rest(Method::POST, page, &headers, "grant_type=client_credentials");
    proxy.forwarded(&before, &asked.await.unwrap()).await;
    assert_eq!(credentials(&last_arrival(&proxy)), [login]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_revoked_at_the_console_comes_to_the_login_without_the_old_session() {
    let (proxy, keys) = start().await;
    let old = session(&proxy, &keys, "alice");
    let other = session(&proxy, &keys, "bob");
    let renewed = json!({"sub": "alice", "groups": ["ml-team"], "iat": now() + 30});
    let renewed = keys.cookies(&proxy.issuer.mint(&renewed), "access", now()).unwrap();
    let time = jiff::Timestamp::from_second(i64::try_from(now() + 30).unwrap()).unwrap();
    let policy = std::fs::read_to_string(&proxy.policy).unwrap();
    let revoked = format!("{policy}\nrevoked: [{{ subject: [alice], issued_before: {time} }}]\n");
    proxy.write_policy(&revoked).unwrap();
    crate::sockets::eventually("the policy is replaced", || proxy.app.live.load().generation == 2).await;
    refused(&proxy, &[("cookie", &old)], Reason::TokenRevoked).await;
    // FlyteAdmin takes a session that has not expired for good, and would send the browser back to be refused again.
    let with_more = format!("theme=dark; {old}; flyte_rt=r");
    let twice = format!("{old}; {renewed}");
    for (cookie, page, kept) in [
        (&with_more, "/login?redirect_url=/console", false),
        (&with_more, "/oauth2/authorize_callback", false),
        (&with_more, "/console", true),
        (&with_more, "/callback", true),
        (&with_more, "/logout", true),
        (&twice, "/login", false),
        (&twice, "/oauth2/authorize_callback", false),
        (&other, "/login", true),
        (&other, "/oauth2/authorize_callback", true),
        (&renewed, "/login", true),
        (&renewed, "/oauth2/authorize_callback", true),
    ] {
        let before = proxy.before();
        let reply = get(&proxy, page, &[("cookie", cookie)]).await;
        proxy.forwarded(&before, &reply).await;
        let expected = if kept { vec![cookie.as_str()] } else { Vec::new() };
        assert_eq!(last_arrival(&proxy).header("cookie"), expected, "{page}");
    }
    // Nor may another listener, which goes by no sessions, give a token of now for the old one.
    let engine = proxy.address(Entry::Engine).unwrap();
    let engine = Client::new(engine, None, &crate::descriptors::bytes()).unwrap();
    let page = "/oauth2/authorize_callback";
    let headers = [("cookie", with_more.as_str())];
    let before = proxy.before();
    let reply = engine.rest(Method::GET, page, &headers, "").await.unwrap();
    proxy.forwarded(&before, &reply).await;
    assert_eq!(credentials(&last_arrival(&proxy)), []);
    // With the session that the login gives, the console goes on.
    let before = proxy.before();
    let reply = get(&proxy, OWN, &[("cookie", &renewed)]).await;
    proxy.forwarded(&before, &reply).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_with_a_fixed_principal_neither_reads_nor_forwards_sessions() {
    let (proxy, keys) = start().await;
    let address = proxy.address(Entry::Engine).unwrap();
    let client = Client::new(address, None, &crate::descriptors::bytes()).unwrap();
    let alice = session(&proxy, &keys, "alice");
    for cookie in [alice.clone(), format!("{alice}; {alice}")] {
        let before = proxy.before();
        let reply = client
            .rest(Method::GET, FOREIGN, &[("cookie", &cookie)], "")
            .await
            .unwrap();
        let record = proxy.forwarded(&before, &reply).await;
        assert_eq!(record["principal"]["subject"], "flytepropeller");
        assert_eq!(credentials(&last_arrival(&proxy)), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_keys_sessions_are_not_accepted_and_cookies_mean_nothing() {
    let proxy = Proxy::start().await;
    let keys = SessionKeys::generate().unwrap();
    let alice = session(&proxy, &keys, "alice");
    let twice = format!("{alice}; {alice}");
    let bearer = format!("Bearer {}", proxy.token("bob", "ml-team"));
    for cookie in [alice.as_str(), twice.as_str()] {
        let record = refused(&proxy, &[("cookie", cookie)], Reason::CredentialMissing).await;
        assert_eq!(record["message"], Reason::CredentialMissing.help());
        let before = proxy.before();
        let reply = get(&proxy, OWN, &[("cookie", cookie), ("authorization", &bearer)]).await;
        proxy.forwarded(&before, &reply).await;
        assert_eq!(credentials(&last_arrival(&proxy)), [("authorization", bearer.as_str())]);
    }
}

#[test]
fn the_check_command_reads_the_keys_from_file_and_environment_and_shows_none() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let keys = SessionKeys::generate().unwrap();
    write("policy.yaml", flyte_authz_proxy::demo::stack::POLICY);
    write("hash_key", &keys.hash_key());
    write(
        "config.yaml",
        "version: 1
listeners: [{name: public, address: 127.0.0.1:0}]
upstream: {grpc: http://127.0.0.1:1, http: http://127.0.0.1:1}
issuers: [{issuer: https://idp.example.com, audiences: [flyte]}]
policy: {path: policy.yaml}
credentials:
  session:
    hash_key: {file: hash_key}
    block_key: {env: TEST_COOKIE_BLOCK_KEY}
",
    );
    let check = |block_key: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flyte-authz-proxy"));
        command
            .args(["check", "--config"])
            .arg(directory.path().join("config.yaml"));
        match block_key {
            Some(key) => command.env("TEST_COOKIE_BLOCK_KEY", key),
            None => command.env_remove("TEST_COOKIE_BLOCK_KEY"),
        };
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, said) = check(Some(&keys.block_key()));
    assert_eq!(code, Some(0), "{said}");
    for (block_key, fault) in [
        (None, "is not set"),
        (Some(""), "has 0 bytes"),
        (Some(&*keys.hash_key()), "has 64 bytes, but needs 32"),
    ] {
        let (code, said) = check(block_key);
        assert_eq!(code, Some(3), "{said}");
        let place = format!("config.yaml:9:16: error: the environment variable that is named here {fault}");
        assert!(said.contains(&place), "{said}");
        assert!(!said.contains(&keys.hash_key()), "{said}");
    }
}
