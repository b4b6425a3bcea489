//! `whoami`, as a command and at the admin listener: what the proxy makes of a token is what it does with it.

use crate::cli::{PROGRAM, Ran, run, text};
use crate::proxy::Proxy;
use crate::sockets::{admin, eventually, exchange};
use flyte_authz_proxy::credential::key_set::Algorithm;
use flyte_authz_proxy::demo::issuer::Fault;
use flyte_authz_proxy::demo::stack::POLICY;
use flyte_authz_proxy::model::reason::Reason;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use tokio::net::TcpStream;

const HIDDEN: &str = "value-nobody-is-to-see";

async fn start() -> Proxy {
    Proxy::start_with(|setup| {
        setup.edit = Box::new(|text| {
            text.replace(
                "admin: { address: 127.0.0.1:0 }",
                "admin: { address: 127.0.0.1:0, whoami: true }",
            )
        });
    })
    .await
}

fn alice(proxy: &Proxy) -> Value {
    json!({
        "iss": proxy.issuer.url(),
        "sub": "alice",
        "email": "alice@example.com",
        "client_id": "laptop",
        "groups": ["ml-team", "staff"],
        "jti": "one",
        "secret_claim": HIDDEN,
    })
}

/// What the admin listener answers to these header lines.
async fn ask(proxy: &Proxy, headers: &str) -> (u16, String, Value) {
    let stream = TcpStream::connect(proxy.app.admin).await.unwrap();
    let request = format!("GET /whoami HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    let answer = exchange(stream, request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(head.contains("cache-control: no-store"), "{head}");
    (status, head.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

/// Asks the command about what a file holds.
fn command(proxy: &Proxy, content: &str, more: &[&str]) -> Ran {
    let file = proxy.directory().join("token");
    fs::write(&file, content).unwrap();
    let config = text(&proxy.configuration);
    run(&[&["whoami", "--config", config, "--token-file", text(&file)], more].concat())
}

/// Checks that nothing of a token is in a text: neither it nor one of its parts.
fn holds_nothing_of(shown: &str, token: &str) {
    for part in token.split('.').chain([token]) {
        assert!(!shown.contains(part), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_tells_who_the_token_names_and_what_the_policy_gives() {
    let proxy = start().await;
    let token = proxy.issuer.mint(&alice(&proxy));
    let (status, _, told) = ask(&proxy, &format!("authorization: Bearer {token}\r\n")).await;
    assert_eq!(status, 200);
    let expires_at = told["principal"]["expires_at"].as_u64().unwrap();
    assert!(expires_at > 1_700_003_600);
    assert_eq!(
        told["principal"],
        json!({
            "kind": "token",
            "issuer": proxy.issuer.url(),
            "subject": "alice",
            "email": "alice@example.com",
            "client_id": "laptop",
            "groups": ["ml-team", "staff"],
            "expires_at": expires_at,
        })
    );
    assert_eq!((&told["revoked"], &told["revocation"]), (&json!(false), &Value::Null));
    assert_eq!(told["scheme"], "Bearer");
    assert_eq!(told["policy"]["version"], **proxy.app.live.load().policy.version());
    assert_eq!(told["rules"][0]["name"], "ml-team");
    assert_eq!(told["rules"][0]["allows"][0]["projects"], json!(["ml"]));
    assert_eq!(told["rules"][0]["allows"][0]["role"], "contributor");
    assert_eq!(told["rules"][1]["name"], "shared-library");
    assert_eq!(told["rules"].as_array().unwrap().len(), 2);
    assert!(!told.to_string().contains(HIDDEN));
    holds_nothing_of(&told.to_string(), &token);

    // The command says the same, and what only its user is to see.
    let mut same = command(&proxy, &token, &["--format", "json"]).exited(0).json();
    let members = same.as_object_mut().unwrap();
    assert_eq!(members.remove("issued_at").unwrap().as_u64(), Some(expires_at - 3600));
    let names = members.remove("claim_names").unwrap();
    assert!(names.as_array().unwrap().contains(&json!("secret_claim")), "{names}");
    assert_eq!(same, told);

    // It answers from the policy in force.
    let generation = proxy.app.live.load().generation;
    proxy
        .write_policy(&format!("{POLICY}revoked: [{{ claim: jti, values: [one] }}]\n"))
        .unwrap();
    eventually("the policy is replaced", || {
        proxy.app.live.load().generation > generation
    })
    .await;
    let (status, _, told) = ask(&proxy, &format!("authorization: Bearer {token}\r\n")).await;
    assert_eq!(
        (status, &told["revoked"], &told["rules"]),
        (200, &json!(true), &json!([]))
    );
    assert_eq!(told["revocation"]["name"], "revoked[0]");
    assert_eq!(told["principal"]["subject"], "alice");
    assert_eq!((proxy.control_plane.count(), proxy.records().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_is_off_by_default_and_then_like_any_path_that_is_not_there() {
    let proxy = Proxy::start().await;
    let token = proxy.ml();
    let (status, _, _) = ask(&proxy, &format!("authorization: Bearer {token}\r\n")).await;
    assert_eq!(status, 404);
    let body = |answer: String| answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    assert_eq!(
        body(admin(proxy.app.admin, "/whoami").await),
        body(admin(proxy.app.admin, "/nothing").await)
    );
    // Whoever asks cannot tell a good token from a bad one.
    assert!(proxy.metric("token_cache_total").abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_looks_at_one_authorization_header_and_nothing_else() {
    let proxy = start().await;
    let token = proxy.ml();
    for (headers, status, reason) in [
        (String::new(), 401, "credential_missing"),
        (
            format!("flyte-authorization: Bearer {token}\r\n"),
            401,
            "credential_missing",
        ),
        (format!("cookie: flyte_idt={token}\r\n"), 401, "credential_missing"),
        (format!("authorization: {token}\r\n"), 401, "credential_malformed"),
        (format!("authorization: Basic {token}\r\n"), 401, "credential_malformed"),
        ("authorization: Bearer x.y.z\r\n".to_owned(), 401, "token_malformed"),
        (
            format!("authorization: Bearer {token}\r\nauthorization: Bearer {token}\r\n"),
            400,
            "credential_conflict",
        ),
    ] {
        let (answered, head, told) = ask(&proxy, &headers).await;
        assert_eq!((answered, &told["reason"]), (status, &json!(reason)), "{told:#}");
        assert_eq!(told.as_object().unwrap().len(), 2, "{told:#}");
        assert!(!told["message"].as_str().unwrap().is_empty());
        assert_eq!(head.contains("www-authenticate: Bearer"), status == 401, "{head}");
        holds_nothing_of(&format!("{head}{told}"), &token);
    }
    let (status, _, _) = ask(&proxy, &format!("authorization: IDToken {token}\r\n")).await;
    assert_eq!(status, 200);
    for method in ["POST", "PUT"] {
        let stream = TcpStream::connect(proxy.app.admin).await.unwrap();
        let sent = format!(
            "{method} /whoami HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-length: 0\r\n\r\n"
        );
        assert!(exchange(stream, sent).await.starts_with("HTTP/1.1 405"), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_endpoint_and_proxy_refuse_the_same_tokens_for_the_same_reasons() {
    let proxy = start().await;
    let mint = |change: Value| {
        let mut claims = alice(&proxy);
        claims
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        proxy.issuer.mint(&claims)
    };
    let good = mint(json!({}));
    let (head, _) = good.rsplit_once('.').unwrap();
    let other = mint(json!({"sub": "bob"}));
    let (_, swapped) = other.rsplit_once('.').unwrap();
    let at_jwt = proxy
        .issuer
        .mint_with(&alice(&proxy), Algorithm::Rs256, &json!({"typ": "at+jwt"}));
    let unknown_key = proxy
        .issuer
        .mint_with(&alice(&proxy), Algorithm::Rs256, &json!({"kid": "gone"}));
    let cases = [
        (format!("Bearer {good}"), None, ""),
        (format!("IDToken {good}"), None, ""),
        (
            format!("Bearer {}", mint(json!({"exp": 1_600_000_000}))),
            Some(Reason::TokenExpired),
            "log in again",
        ),
        (
            format!("Bearer {}", mint(json!({"aud": "others"}))),
            Some(Reason::AudienceMismatch),
            "under `audiences`",
        ),
        (
            format!("Bearer {}", mint(json!({"iss": format!("{}/", proxy.issuer.url())}))),
            Some(Reason::IssuerUnknown),
            "also a `/` at the end",
        ),
        (
            format!("Bearer {}", mint(json!({"sub": null}))),
            Some(Reason::ClaimMissing),
            "`required_claims`",
        ),
        (
            format!("Bearer {}", mint(json!({"groups": 7}))),
            Some(Reason::ClaimInvalid),
            "`claims` in the configuration",
        ),
        (
            format!("Bearer {head}.{swapped}"),
            Some(Reason::TokenSignatureInvalid),
            "changed or cut",
        ),
        (
            format!("Bearer {head}"),
            Some(Reason::TokenMalformed),
            "copy the whole token",
        ),
        (
            format!("IDToken {at_jwt}"),
            Some(Reason::TokenTypeRefused),
            "send it as `Bearer TOKEN`",
        ),
        (format!("Bearer {unknown_key}"), Some(Reason::KeyUnknown), ""),
        (
            format!("Basic {good}"),
            Some(Reason::CredentialMalformed),
            "copy the whole token",
        ),
    ];
    for (header, reason, advice) in cases {
        let before = proxy.before();
        let (method, path) = (http::Method::GET, "/api/v1/executions/ml/development?limit=1");
        let headers = [("authorization", header.as_str())];
        let reply = proxy.plain.rest(method, path, &headers, "").await.unwrap();
        match reason {
            None => drop(proxy.forwarded(&before, &reply).await),
            Some(reason) => drop(proxy.refused(&before, &reply, reason).await),
        }
        let label = reason.map_or(Value::Null, |reason| json!(reason.label()));
        let (status, _, told) = ask(&proxy, &format!("authorization: {header}\r\n")).await;
        assert_eq!(
            (status, &told["reason"]),
            (reason.map_or(200, |reason| reason.status().http), &label)
        );
        let ran = command(&proxy, &header, &["--format", "json"]);
        let shown = ran.exited(if reason.is_some() { 2 } else { 0 }).json();
        assert_eq!(shown["reason"], label);
        // That of an expired token tells for how long, and time goes on.
        if reason != Some(Reason::TokenExpired) {
            assert_eq!(shown["message"], told["message"]);
        }
        let ran = command(&proxy, &header, &[]);
        let first = if reason.is_some() { "REFUSED  " } else { "ACCEPTED " };
        assert!(
            ran.stdout.starts_with(first) && ran.stdout.contains(advice),
            "{}",
            ran.stdout
        );
        let token = header.split_once(' ').unwrap().1;
        holds_nothing_of(&format!("{told}{shown}{}{}", ran.stdout, ran.stderr), token);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_reads_from_the_verdict_to_what_each_rule_gives() {
    let proxy = Proxy::start_with(|setup| {
        setup.policy = format!(
            "{POLICY}
  - name: staff
    subjects: [{{ claim: groups, pattern: \"(?<team>[a-z]+)-team\" }}]
    allow:
      - {{ projects: [\"${{team}}-lab\"], domains: [\"*\"], actions: [view_data, create_executions], tasks: [t1, t2], workflows: [] }}
    deny: [{{ domains: [production], actions: [register_inventory] }}]
  - name: guarded
    subjects: [{{ groups: [staff] }}]
    allow:
      - projects: [shop]
        domains: [staging]
        role: operator
        iam_roles: []
        secrets: [\"${{project}}\", shared]
        impersonate: true
        set: {{ service_account: \"${{project}}-runner\" }}
        download_prefixes: [\"s3://data/${{project}}\"]
"
        );
    })
    .await;
    let token = proxy.issuer.mint(&alice(&proxy));
    let ran = command(&proxy, &format!("  {token}\n"), &[]).exited(0);
    let policy = proxy.policy.display();
    let line = |name: &str| {
        let text = fs::read_to_string(&proxy.policy).unwrap();
        let at = text.lines().position(|line| line == format!("  - name: {name}"));
        format!("  {name} ({policy}:{})\n", at.unwrap() + 1)
    };
    for part in [
        "ACCEPTED the token is verified as for a request\n\n".to_owned(),
        format!(
            "caller   alice, vouched for by `{}`\n         groups: ml-team, staff\n",
            proxy.issuer.url()
        ),
        "         email: alice@example.com\n         client: laptop\n".to_owned(),
        "token    Bearer: taken for an access token\n         issued 20".to_owned(),
        " s ago\n         expires 20".to_owned(),
        ", in ".to_owned(),
        "claims   aud, client_id, email, exp, groups, iat, iss, jti, secret_claim, sub (--claims shows their values)\n"
            .to_owned(),
        format!("policy   version {}\n", proxy.app.live.load().policy.version()),
        format!("Rules for this caller\n{}", line("ml-team")),
        "    + allows role contributor: projects ml; domains development, staging\n".to_owned(),
        format!(
            "{}    + allows view_data, create_executions: projects ml-lab; domains *; of the tasks only t1, t2; no workflows\n\
             \x20   - denies register_inventory: projects *; domains production\n",
            line("staff")
        ),
        format!(
            "{}    + allows role operator: projects shop; domains staging; no iam roles; of the secrets only ${{project}}, shared; \
             sets service account ${{project}}-runner; also in the name of others; links to what lies below s3://data/${{project}}\n",
            line("guarded")
        ),
    ] {
        assert!(ran.stdout.contains(&part), "{part}\n{}", ran.stdout);
    }
    assert!(
        !ran.stdout.contains(HIDDEN) && !ran.stdout.contains("fraud-team"),
        "{}",
        ran.stdout
    );
    assert_eq!(ran.stderr, "");
    holds_nothing_of(&ran.stdout, &token);
    // Values are shown to who asks for them.
    let values = command(&proxy, &token, &["--claims"]).exited(0).stdout;
    assert!(
        values.contains(&format!("         secret_claim: \"{HIDDEN}\"\n")),
        "{values}"
    );
    let values = command(&proxy, &token, &["--claims", "--format", "json"])
        .exited(0)
        .json();
    assert_eq!(values["claims"]["secret_claim"], HIDDEN);
    // Somebody for whom there is no rule of their own.
    proxy.write_policy("version: 1\n").unwrap();
    let ran = command(&proxy, &token, &[]).exited(0);
    let nothing = "\nRules for this caller\n  none: every call that needs a right is refused\n";
    assert!(ran.stdout.ends_with(nothing), "{}", ran.stdout);
    // Somebody who is revoked.
    proxy
        .write_policy("version: 1\nrevoked: [{ subject: [alice], issued_before: 2100-01-01T00:00:00Z }]\n")
        .unwrap();
    let ran = command(&proxy, &token, &[]).exited(2);
    let start = format!(
        "REFUSED  the token was revoked; log in again\n         reason: token_revoked\n         by revoked[0] ({policy}:2)\n\ncaller   alice"
    );
    assert!(ran.stdout.starts_with(&start), "{}", ran.stdout);
    let end = "\nTo be let in\n  a token issued at or after 2100-01-01T00:00:00Z: log in again\n";
    assert!(ran.stdout.ends_with(end), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_reads_standard_input_and_tells_what_it_cannot_do() {
    let proxy = Proxy::start().await;
    let token = proxy.issuer.mint(&alice(&proxy));
    let config = text(&proxy.configuration).to_owned();
    for more in [&[][..], &["--token-file", "-"]] {
        let mut child = Command::new(PROGRAM)
            .args(["whoami", "--config", &config])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(format!("{token}\n").as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stdout.starts_with(b"ACCEPTED "));
    }
    let failed = |arguments: &[&str], fault: &str| {
        let ran = run(&[&["whoami", "--config", &config], arguments].concat()).exited(1);
        assert!(ran.stderr.starts_with(fault) && ran.stdout.is_empty(), "{ran:?}");
    };
    failed(&[], "error: -: there is no token in it\n");
    failed(&["--token-file", "none"], "error: none: No such file or directory");
    let ran = command(&proxy, "a\nb", &[]).exited(1);
    assert!(
        ran.stderr
            .ends_with("what is in it is no token, nor a header with one\n"),
        "{ran:?}"
    );
    let ran = run(&["whoami", "--config", "none.yaml"]).exited(3);
    assert!(ran.stderr.starts_with("none.yaml: error: cannot be read"), "{ran:?}");
    // Without keys it cannot be told, and why there are none is.
    proxy.issuer.fail(Fault::Status(503));
    let ran = command(&proxy, &token, &[]).exited(1);
    assert!(ran.stdout.contains("reason: keys_unavailable\n"), "{ran:?}");
    let why = format!("the keys of {} could not be fetched: ", proxy.issuer.url());
    assert!(ran.stdout.contains(&why), "{ran:?}");
    holds_nothing_of(&ran.stdout, &token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_warns_when_tokens_would_be_sent_to_an_open_address() {
    let proxy = Proxy::start().await;
    let configuration = fs::read_to_string(&proxy.configuration).unwrap();
    let warned = |admin: &str| {
        let changed = configuration.replace("admin: { address: 127.0.0.1:0 }", admin);
        assert!(changed.contains(admin));
        fs::write(&proxy.configuration, changed).unwrap();
        let checked = run(&["check", "--config", text(&proxy.configuration)]).exited(0).stdout;
        checked.contains("warning: tokens that are sent to `/whoami` cross the network in plain text here")
    };
    assert!(warned("admin: { address: 0.0.0.0:0, whoami: true }"));
    assert!(!warned("admin: { address: 0.0.0.0:0, whoami: false }"));
    assert!(!warned("admin: { address: \"[::1]:0\", whoami: true }"));
}
