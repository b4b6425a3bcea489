//! Tokens of the form that each identity provider documents, read as `docs/identity-providers.md` says: its examples of
//! configuration and policy are taken from the page as they stand. Only where the keys come from is replaced.

use crate::cli::{run, text};
use crate::proxy::Proxy;
use flyte_authz_proxy::clock::{Clock, SystemClock};
use flyte_authz_proxy::config::Config;
use flyte_authz_proxy::credential::key_set::Algorithm;
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::demo::session::SessionKeys;
use flyte_authz_proxy::demo::signing::{SigningKey, jwks};
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::policy::compile::compile;
use flyte_authz_proxy::protocol::envelope;
use http::Method;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const LIST: &str = "AdminService/ListExecutions";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The headings of the page and the YAML below each.
fn documented() -> Vec<(String, Vec<String>)> {
    let page = read("docs/identity-providers.md");
    let sections = page.split("\n## ").skip(1).map(|section| {
        let blocks = section.split("```yaml\n").skip(1);
        let blocks = blocks.map(|block| block.split("```").next().unwrap().to_owned());
        (section.lines().next().unwrap().to_owned(), blocks.collect())
    });
    sections.collect()
}

/// The name of the fixture for a heading.
fn fixture_name(heading: &str) -> String {
    match heading {
        "FlyteAdmin's own authorization server" => "flyteadmin".to_owned(),
        other => other.to_lowercase().replace(' ', "-"),
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// What one provider's tokens look like, and how they are to be read.
struct Provider {
    fixture: Value,
    issuer: Value,
    policy: String,
    key: SigningKey,
}

impl Provider {
    fn named(name: &str) -> Self {
        let fixture: Value =
            serde_json::from_str(&read(&format!("tests/fixtures/identity_providers/{name}.json"))).unwrap();
        let section = documented()
            .into_iter()
            .find(|(heading, _)| fixture_name(heading) == name);
        let (issuer, policy) = match section {
            Some((_, blocks)) => (yaml(&blocks[0])["issuers"][0].clone(), blocks[1].clone()),
            None => (fixture["issuer"].clone(), fixture["policy"].to_string()),
        };
        let kind = if fixture["access_token"].is_null() {
            "id_token"
        } else {
            "access_token"
        };
        let header = &fixture[kind]["header"];
        let id = header["kid"].as_str().or(header["key_id"].as_str()).unwrap();
        let key = SigningKey::generate(id, Algorithm::Rs256).unwrap();
        Self {
            fixture,
            issuer,
            policy,
            key,
        }
    }

    async fn start(&self) -> Proxy {
        self.start_with(None).await
    }

    async fn start_with(&self, session: Option<SessionKeys>) -> Proxy {
        Proxy::start_with(|setup| {
            fs::create_dir_all(&setup.directory).unwrap();
            fs::write(setup.directory.join("keys.json"), jwks([&self.key]).to_string()).unwrap();
            setup.policy.clone_from(&self.policy);
            setup.session_keys = session;
            let issuers = json!([with(&self.issuer, &json!({"jwks": {"file": "keys.json"}}))]);
            setup.edit = Box::new(move |configuration| {
                let (before, rest) = configuration.split_once("issuers:\n").unwrap();
                let (_, after) = rest.split_once("policy:").unwrap();
                format!("{before}issuers: {issuers}\npolicy:{after}")
            });
        })
        .await
    }

    /// A token of the fixture, of now, with changed claims and header.
    fn token_with(&self, kind: &str, claims: &Value, header: &Value) -> String {
        let fixture = &self.fixture[kind];
        assert!(fixture.is_object(), "no {kind}");
        let now = SystemClock.unix_seconds();
        let mut times = Map::new();
        for (name, value) in fixture["claims"].as_object().unwrap() {
            if matches!(name.as_str(), "iat" | "nbf" | "exp" | "auth_time") {
                times.insert(name.clone(), (now + value.as_u64().unwrap()).into());
            }
        }
        let claims = with(&with(&fixture["claims"], &times.into()), claims);
        // The header is that of the fixture, without what the demonstration adds.
        let usual = json!({"typ": null, "kid": null});
        self.key
            .token(&claims, &with_null(&with_null(&usual, &fixture["header"]), header))
    }

    fn token(&self, kind: &str, claims: &Value) -> String {
        self.token_with(kind, claims, &json!({}))
    }
}

/// Members of `changes` take the place of those of `object`; `null` removes one.
fn with(object: &Value, changes: &Value) -> Value {
    let mut result = with_null(object, changes);
    let members = result.as_object_mut().unwrap();
    members.retain(|name, value| !value.is_null() || changes.get(name).is_none());
    result
}

/// The same, but keeps `null`.
fn with_null(object: &Value, changes: &Value) -> Value {
    let mut result = object.clone();
    for (name, value) in changes.as_object().unwrap() {
        result[name] = value.clone();
    }
    result
}

fn scheme(kind: &str) -> &'static str {
    if kind == "id_token" { "IDToken" } else { "Bearer" }
}

async fn ask(proxy: &Proxy, project: &str, headers: &[(&str, &str)]) -> Reply {
    let request = json!({"id": {"project": project, "domain": "development"}, "limit": 1});
    let body = envelope::frame(&proxy.client.encode(LIST, request).unwrap());
    let path = format!("/flyteidl.service.{LIST}");
    proxy.client.grpc(&path, headers, body).await.unwrap()
}

/// Asks for the team's own project, which is allowed, and for another's, which is not. Returns the records' principals.
async fn is_of_the_ml_team(proxy: &Proxy, headers: &[(&str, &str)]) -> Value {
    let before = proxy.before();
    let reply = ask(proxy, "ml", headers).await;
    let allowed = proxy.forwarded(&before, &reply).await;
    assert_eq!(allowed["rules"], json!(["ml-team"]));
    let before = proxy.before();
    let reply = ask(proxy, "fraud", headers).await;
    let refused = proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
    assert_eq!(allowed["principal"], refused["principal"]);
    allowed["principal"].clone()
}

/// Sends a token that has to be refused, by gRPC and REST. Returns the message.
async fn refused(proxy: &Proxy, scheme: &str, token: &str, reason: Reason) -> String {
    let value = format!("{scheme} {token}");
    let headers = [("authorization", value.as_str())];
    let before = proxy.before();
    let reply = ask(proxy, "ml", &headers).await;
    let record = proxy.refused(&before, &reply, reason).await;
    assert!(!record.to_string().contains(token), "{record}");
    let before = proxy.before();
    let target = "/api/v1/executions/ml/development?limit=1";
    let reply = proxy.client.rest(Method::GET, target, &headers, "").await.unwrap();
    proxy.refused(&before, &reply, reason).await;
    reply.message()
}

#[test]
fn every_example_of_the_page_is_accepted_and_is_tested_by_a_fixture() {
    let mut fixtures: Vec<_> =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/identity_providers"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
    fixtures.sort();
    let mut documented_providers = 0;
    for (heading, blocks) in documented() {
        if blocks.is_empty() {
            continue;
        }
        documented_providers += 1;
        assert!(fixtures.contains(&fixture_name(&heading)), "{heading} has no fixture");
        assert_eq!(blocks.len(), 2, "{heading} has an issuer and a policy");
        let config = format!(
            "version: 1\nlisteners: [{{name: public, address: 127.0.0.1:8443}}]\n\
             upstream: {{grpc: http://127.0.0.1:8089, http: http://127.0.0.1:8088}}\npolicy: {{path: policy.yaml}}\n{}",
            blocks[0]
        );
        let (config, warnings) = Config::parse(Path::new("config.yaml"), &config).unwrap();
        assert_eq!((config.issuers.len(), warnings), (1, vec![]), "{heading}");
        let policy = [(PathBuf::from("policy.yaml"), blocks[1].clone())];
        let (_, warnings) = compile(&policy, &config.flyte.domains).unwrap();
        assert_eq!(warnings, [], "{heading}");
    }
    assert_eq!(documented_providers, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_may_do_the_same_with_every_token_of_every_provider_and_is_one_subject() {
    for (name, kinds) in [
        ("okta", ["id_token", "access_token"].as_slice()),
        ("microsoft-entra-id", &["id_token", "access_token"]),
        ("google", &["id_token"]),
        ("dex", &["id_token", "access_token"]),
        ("flyteadmin", &["access_token"]),
        ("keycloak", &["id_token", "access_token"]),
        ("kubernetes", &["access_token"]),
    ] {
        let provider = Provider::named(name);
        let session = kinds.contains(&"id_token").then(|| SessionKeys::generate().unwrap());
        let proxy = provider.start_with(session.clone()).await;
        let mut values = Vec::new();
        for kind in kinds {
            let value = format!("{} {}", scheme(kind), provider.token(kind, &json!({})));
            let principal = is_of_the_ml_team(&proxy, &[("authorization", &value)]).await;
            assert_eq!(principal["subject"], provider.fixture["subject"], "{name}: {kind}");
            values.push(value);
        }
        if let [id_token, access_token] = &*values {
            // Both at once, as by a client that has a fresh and an older credential.
            is_of_the_ml_team(
                &proxy,
                &[("authorization", access_token), ("flyte-authorization", id_token)],
            )
            .await;
        }
        if let Some(session) = session {
            let id_token = provider.token("id_token", &json!({}));
            let cookies = session
                .cookies(&id_token, "opaque", SystemClock.unix_seconds())
                .unwrap();
            let before = proxy.before();
            let headers = [("cookie", cookies.as_str())];
            let target = "/api/v1/executions/ml/development?limit=1";
            let reply = proxy.client.rest(Method::GET, target, &headers, "").await.unwrap();
            let record = proxy.forwarded(&before, &reply).await;
            assert_eq!(record["principal"]["subject"], provider.fixture["subject"], "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_reads_each_kind_of_token_as_it_is_read_when_serving() {
    for (name, kinds) in [
        ("okta", ["id_token", "access_token"].as_slice()),
        ("google", &["id_token"]),
    ] {
        let provider = Provider::named(name);
        let proxy = provider.start().await;
        for kind in kinds {
            let token = proxy.directory().join("token");
            fs::write(&token, provider.token(kind, &json!({}))).unwrap();
            let claims = proxy.directory().join("claims.json");
            fs::write(&claims, provider.fixture[kind]["claims"].to_string()).unwrap();
            for (option, file) in [("--token", &token), ("--claims", &claims)] {
                let caller = ["explain", "--config", text(&proxy.configuration), option, text(file)];
                let call = ["--rpc", "ListExecutions", "--project", "ml", "--domain", "development"];
                let ran = run(&[&caller[..], &call].concat()).exited(0);
                let subject = provider.fixture["subject"].as_str().unwrap();
                assert!(ran.stdout.contains(subject), "{name} {kind} {option}:\n{}", ran.stdout);
            }
        }
        let elsewhere = proxy.directory().join("token");
        fs::write(&elsewhere, provider.token(kinds[0], &json!({"aud": "another"}))).unwrap();
        let explain = [
            "explain",
            "--config",
            text(&proxy.configuration),
            "--token",
            text(&elsewhere),
            "--rpc",
            "GetVersion",
        ];
        let ran = run(&explain).exited(2);
        assert!(ran.stdout.contains("audience_mismatch"), "{name}:\n{}", ran.stdout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn okta_tokens_of_another_server_application_or_kind_are_refused() {
    let okta = Provider::named("okta");
    let proxy = okta.start().await;
    let machine = format!("Bearer {}", okta.token("machine", &json!({})));
    let principal = is_of_the_ml_team(&proxy, &[("authorization", &machine)]).await;
    assert_eq!(principal["client_id"], "0oamachine1example");

    for (kind, other) in [("access_token", "IDToken"), ("id_token", "Bearer")] {
        let token = okta.token(kind, &json!({}));
        let message = refused(&proxy, other, &token, Reason::AudienceMismatch).await;
        assert!(
            message.contains(&format!("send it as `{} TOKEN`", scheme(kind))),
            "{message}"
        );
        let both = okta.token(kind, &json!({"aud": ["api://flyte", "0oaconsole1example"]}));
        refused(&proxy, scheme(kind), &both, Reason::AudienceMismatch).await;
        let elsewhere = okta.token(kind, &json!({"aud": "0oapayroll1example"}));
        refused(&proxy, scheme(kind), &elsewhere, Reason::AudienceMismatch).await;
        for server in ["https://example.okta.com/oauth2/default", "https://example.okta.com"] {
            let token = okta.token(kind, &json!({"iss": server}));
            let message = refused(&proxy, scheme(kind), &token, Reason::IssuerUnknown).await;
            assert!(message.contains(server), "{message}");
        }
    }
    let without_scope = okta.token("access_token", &json!({"scp": ["openid"]}));
    refused(&proxy, "Bearer", &without_scope, Reason::ClaimMissing).await;
    // The org authorization server's own access tokens.
    let own = json!({"typ": "application/okta-internal-at+jwt"});
    let token = okta.token_with("access_token", &json!({}), &own);
    refused(&proxy, "Bearer", &token, Reason::TokenTypeRefused).await;
    let message = refused(&proxy, "Bearer", "00invented-opaque_token", Reason::TokenMalformed).await;
    assert!(
        message.contains("opaque") && message.contains("ask the issuer"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entra_tokens_without_their_groups_are_refused_so_that_clients_do_not_log_in_again() {
    let mut entra = Provider::named("microsoft-entra-id");
    let many = json!({"groups": null, "_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.microsoft.com/v1.0/users/x/getMemberObjects"}}});
    // A rule can name `groups` even where application roles are what the mapping finds.
    for path in ["groups", "roles"] {
        entra.issuer["claims"]["groups"] = path.into();
        let session = SessionKeys::generate().unwrap();
        let proxy = entra.start_with(Some(session.clone())).await;
        let id_token = entra.token("id_token", &many);
        let cookies = session
            .cookies(&id_token, "opaque", SystemClock.unix_seconds())
            .unwrap();
        let before = proxy.before();
        let headers = [("cookie", cookies.as_str())];
        let target = "/api/v1/executions/ml/development?limit=1";
        let reply = proxy.client.rest(Method::GET, target, &headers, "").await.unwrap();
        proxy.refused(&before, &reply, Reason::GroupsOverage).await;
        for kind in ["id_token", "access_token"] {
            for claims in [&many, &json!({"groups": null, "hasgroups": true})] {
                let token = entra.token(kind, claims);
                let message = refused(&proxy, scheme(kind), &token, Reason::GroupsOverage).await;
                assert!(message.contains("assigned to this application"), "{message}");
            }
        }
    }
    assert_eq!(
        (Reason::GroupsOverage.status().grpc, Reason::GroupsOverage.status().http),
        (7, 403)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entra_application_roles_work_for_people_and_machines_alike() {
    let mut entra = Provider::named("microsoft-entra-id");
    entra.issuer["claims"]["groups"] = "roles".into();
    let proxy = entra.start().await;
    let machine = format!("Bearer {}", entra.token("machine", &json!({})));
    let principal = is_of_the_ml_team(&proxy, &[("authorization", &machine)]).await;
    assert_eq!(principal["client_id"], "dddddddd-0000-4000-8000-000000000004");
    for kind in ["id_token", "access_token"] {
        let token = entra.token(kind, &json!({"groups": null, "roles": ["flyte.ml"]}));
        let value = format!("{} {token}", scheme(kind));
        is_of_the_ml_team(&proxy, &[("authorization", &value)]).await;
        // Without a role there are no rights.
        let token = entra.token(kind, &json!({"groups": null}));
        refused(&proxy, scheme(kind), &token, Reason::NoMatchingRule).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entra_tokens_of_version_1_of_another_tenant_or_application_are_refused() {
    let entra = Provider::named("microsoft-entra-id");
    let proxy = entra.start().await;
    let message = refused(
        &proxy,
        "Bearer",
        &entra.token("version_1", &json!({})),
        Reason::IssuerUnknown,
    )
    .await;
    assert!(message.contains("https://sts.windows.net/"), "{message}");
    for tenant in [
        "99999999-2222-3333-4444-555555555555",
        "common",
        "organizations",
        "{tenantid}",
    ] {
        // Microsoft signs for all tenants with the same keys.
        let issuer = format!("https://login.microsoftonline.com/{tenant}/v2.0");
        for kind in ["id_token", "access_token"] {
            let token = entra.token(kind, &json!({"iss": issuer}));
            refused(&proxy, scheme(kind), &token, Reason::IssuerUnknown).await;
        }
    }
    for kind in ["id_token", "access_token"] {
        for audience in [
            "00000003-0000-0000-c000-000000000000",
            "api://66666666-7777-8888-9999-000000000000",
        ] {
            let token = entra.token(kind, &json!({"aud": audience}));
            refused(&proxy, scheme(kind), &token, Reason::AudienceMismatch).await;
        }
        let without_oid = entra.token(kind, &json!({"oid": null}));
        refused(&proxy, scheme(kind), &without_oid, Reason::ClaimMissing).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_entra_does_not_verify_gives_no_rights() {
    let mut entra = Provider::named("microsoft-entra-id");
    let rule = "  - name: by-address\n    subjects: [{email: [\"ceo@example.com\"]}]\n    allow: [{projects: [fraud], domains: [\"*\"], role: contributor}]\n";
    entra.policy.push_str(rule);
    let proxy = entra.start().await;
    let token = entra.token("id_token", &json!({"email": "ceo@example.com"}));
    let principal = is_of_the_ml_team(&proxy, &[("authorization", &format!("IDToken {token}"))]).await;
    assert_eq!(principal["email"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn google_tokens_count_only_for_the_console_of_people_of_the_domain() {
    let google = Provider::named("google");
    let proxy = google.start().await;
    for (claims, reason) in [
        (
            json!({"aud": "1234567890-other.apps.googleusercontent.com"}),
            Reason::AudienceMismatch,
        ),
        (json!({"hd": null}), Reason::ClaimMissing),
        (json!({"hd": "example.org"}), Reason::ClaimInvalid),
        (json!({"hd": "EXAMPLE.COM"}), Reason::ClaimInvalid),
        (json!({"email_verified": false}), Reason::ClaimInvalid),
        (json!({"email_verified": null}), Reason::ClaimMissing),
        (json!({"iss": "accounts.google.com"}), Reason::IssuerUnknown),
        (json!({"email": "mallory@example.com"}), Reason::NoMatchingRule),
        (json!({"email": null}), Reason::NoMatchingRule),
    ] {
        refused(&proxy, "IDToken", &google.token("id_token", &claims), reason).await;
    }
    let id_token = google.token("id_token", &json!({}));
    let message = refused(&proxy, "Bearer", &id_token, Reason::TokenTypeRefused).await;
    assert!(message.contains("send an ID token as `IDToken TOKEN`"), "{message}");
    let message = refused(&proxy, "Bearer", "ya29.invented-access-token", Reason::TokenMalformed).await;
    assert!(message.contains("opaque"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dex_tokens_without_groups_or_of_another_client_give_no_rights() {
    let dex = Provider::named("dex");
    let proxy = dex.start().await;
    for kind in ["id_token", "access_token"] {
        let without_groups = dex.token(kind, &json!({"groups": null}));
        refused(&proxy, scheme(kind), &without_groups, Reason::NoMatchingRule).await;
        let other_client = dex.token(kind, &json!({"aud": "argo-cd"}));
        refused(&proxy, scheme(kind), &other_client, Reason::AudienceMismatch).await;
        // A token that one client got for another names both.
        let for_both = dex.token(kind, &json!({"aud": ["flytectl", "portal"], "azp": "portal"}));
        let value = format!("{} {for_both}", scheme(kind));
        let principal = is_of_the_ml_team(&proxy, &[("authorization", &value)]).await;
        assert_eq!(principal["client_id"], "portal");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_flyteadmins_own_server_signs_only_the_access_tokens_of_people_count() {
    let mut flyteadmin = Provider::named("flyteadmin");
    let proxy = flyteadmin.start().await;
    for kind in ["refresh_token", "code"] {
        let token = flyteadmin.token(kind, &json!({}));
        let message = refused(&proxy, "Bearer", &token, Reason::ClaimMissing).await;
        assert!(message.contains("lacks the scope `all`"), "{message}");
        refused(&proxy, "IDToken", &token, Reason::TokenTypeRefused).await;
    }
    let machine = flyteadmin.token("machine", &json!({}));
    let message = refused(&proxy, "Bearer", &machine, Reason::ClaimMissing).await;
    for advice in [
        "leaves out issuer and subject",
        "external authorization server",
        "fixed principal",
    ] {
        assert!(message.contains(advice), "{message}");
    }
    // Nor does it help to have only one of both.
    let with_issuer = flyteadmin.token("machine", &json!({"iss": "https://flyte.example.com"}));
    refused(&proxy, "Bearer", &with_issuer, Reason::ClaimMissing).await;

    // What FlyteAdmin copied from the ID token counts as if it was said there.
    let copied = |claims: &Value| {
        let info = &flyteadmin.fixture["access_token"]["claims"]["user_info"];
        let claims = with(&info["additional_claims"], claims);
        json!({"user_info": with(info, &json!({"additional_claims": claims}))})
    };
    let by_address = copied(&json!({"groups": null, "email": "bob@example.com"}));
    let value = format!("Bearer {}", flyteadmin.token("access_token", &by_address));
    is_of_the_ml_team(&proxy, &[("authorization", &value)]).await;
    for (claims, reason) in [
        (
            json!({"groups": null, "email": "bob@example.com", "email_verified": false}),
            Reason::NoMatchingRule,
        ),
        (json!({"groups": null}), Reason::NoMatchingRule),
        (
            json!({"groups": null, "_claim_names": {"groups": "src1"}}),
            Reason::GroupsOverage,
        ),
        (json!({"groups": null, "hasgroups": true}), Reason::GroupsOverage),
    ] {
        let token = flyteadmin.token("access_token", &copied(&claims));
        refused(&proxy, "Bearer", &token, reason).await;
    }

    // A token that was given for another one of FlyteAdmin's has the whole of that where the claims of the ID token belong.
    let fixture = &flyteadmin.fixture["access_token"]["claims"];
    let exchanged = json!({"user_info": with(&fixture["user_info"], &json!({"additional_claims": fixture}))});
    let token = flyteadmin.token("access_token", &exchanged);
    let message = refused(&proxy, "Bearer", &token, Reason::ClaimInvalid).await;
    assert!(message.contains("user_info.additional_claims.iss"), "{message}");
    for without in [json!({"additional_claims": null}), json!({"additional_claims": {}})] {
        let without = json!({"user_info": with(&fixture["user_info"], &without)});
        let token = flyteadmin.token("access_token", &without);
        refused(&proxy, "Bearer", &token, Reason::ClaimMissing).await;
    }

    // Behind Google, what the page says to require of its ID tokens can be required here.
    let in_domain = flyteadmin.token("access_token", &copied(&json!({"hd": "example.com"})));
    let without = flyteadmin.token("access_token", &json!({}));
    flyteadmin.issuer["required_claims"]["user_info.additional_claims.hd"] = json!("example.com");
    let proxy = flyteadmin.start().await;
    is_of_the_ml_team(&proxy, &[("authorization", &format!("Bearer {in_domain}"))]).await;
    refused(&proxy, "Bearer", &without, Reason::ClaimMissing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keycloak_and_kubernetes_tokens_for_others_are_refused() {
    let keycloak = Provider::named("keycloak");
    let proxy = keycloak.start().await;
    for (kind, claims, reason) in [
        ("access_token", json!({"aud": "account"}), Reason::AudienceMismatch),
        ("access_token", json!({"aud": null}), Reason::ClaimMissing),
        ("access_token", json!({"groups": ["/ml-team"]}), Reason::NoMatchingRule),
        ("id_token", json!({"aud": "other-console"}), Reason::AudienceMismatch),
        // As it gives to a client that is configured for DPoP or mutual TLS.
        (
            "access_token",
            json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}),
            Reason::TokenTypeRefused,
        ),
        (
            "id_token",
            json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
            Reason::TokenTypeRefused,
        ),
        (
            "id_token",
            json!({"iss": "https://keycloak.example.com/realms/master"}),
            Reason::IssuerUnknown,
        ),
    ] {
        refused(&proxy, scheme(kind), &keycloak.token(kind, &claims), reason).await;
    }

    let kubernetes = Provider::named("kubernetes");
    let proxy = kubernetes.start().await;
    for (claims, reason) in [
        (
            json!({"aud": ["https://kubernetes.default.svc.cluster.local"]}),
            Reason::AudienceMismatch,
        ),
        (
            json!({"kubernetes.io": {"namespace": "fraud-development"}}),
            Reason::NoMatchingRule,
        ),
        (
            json!({"iss": "https://oidc.example.com/other-cluster"}),
            Reason::IssuerUnknown,
        ),
        // Tokens from secrets, as older clusters made them, have no expiry and no audience.
        (
            json!({"aud": null, "exp": null, "iss": "kubernetes/serviceaccount"}),
            Reason::IssuerUnknown,
        ),
        (json!({"exp": null}), Reason::ClaimMissing),
    ] {
        refused(&proxy, "Bearer", &kubernetes.token("access_token", &claims), reason).await;
    }
    refused(
        &proxy,
        "IDToken",
        &kubernetes.token("access_token", &json!({})),
        Reason::TokenTypeRefused,
    )
    .await;
}
