//! The whole configuration document: what is read, what is refused, and that its documentation is true.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::credential::claims::{ClaimMapping, ClaimPath};
use crate::credential::rules::{IssuerRules, TokenType};
use crate::issuer::KeySource;
use std::fmt::Write;

mod deployment;
mod documentation;
mod load_balancer;
mod secrets;

const SMALLEST: &str = "\
version: 1
listeners:
  - {name: public, address: 127.0.0.1:8443}
upstream: {grpc: http://127.0.0.1:8089, http: http://127.0.0.1:8088}
issuers:
  - {issuer: https://idp.example.com, audiences: [flyte]}
policy: {path: policy.yaml}
";

fn parse(text: &str) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    Config::parse(Path::new("/etc/flyte-authz/config.yaml"), text)
}

#[test]
fn the_smallest_configuration_has_safe_defaults_and_no_warning() {
    let (config, warnings) = parse(SMALLEST).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.listeners[0].identity, Identity::Tokens);
    assert!(config.admin.ip().is_loopback());
    assert_eq!(
        config.flyte.domains,
        ["development", "staging", "production"].map(Box::from)
    );
    assert_eq!(config.flyte.organizations, []);
    let issuer = &config.issuers[0];
    let defaults = IssuerSettings::new(IssuerRules::new("https://idp.example.com", vec!["flyte".to_owned()]));
    assert_eq!(issuer.keys, defaults.keys);
    assert_eq!(issuer.rules.algorithms, defaults.rules.algorithms);
    assert_eq!(issuer.rules.leeway, defaults.rules.leeway);
    assert_eq!(issuer.rules.mapping, defaults.rules.mapping);
    assert_eq!(issuer.rules.token_types, [TokenType::AccessToken, TokenType::IdToken]);
    assert_eq!(
        (issuer.refresh_interval, issuer.max_stale),
        (defaults.refresh_interval, defaults.max_stale)
    );
    assert!(!issuer.allow_http);
    assert_eq!(config.credentials.header, "flyte-authorization");
    assert_eq!(config.limits.decompressed_bytes, 4 << 20);
    assert_eq!(config.policy.poll, Duration::from_secs(30));
    assert!(config.workers >= 1);
    let audit = Audit {
        output: AuditOutput::Stdout,
        queue: 8192,
        on_full: WhenFull::Block,
        claims: AuditClaims::None,
        sample_allowed: Ratio::ALL,
    };
    assert_eq!(config.audit, audit);
    assert!(config.tracing.is_none());
}

#[test]
fn paths_are_relative_to_the_directory_of_the_file() {
    let (config, _) = parse(&SMALLEST.replace("policy.yaml", "policy")).unwrap();
    assert_eq!(config.policy.path, Path::new("/etc/flyte-authz/policy"));
    let (config, _) = parse(&SMALLEST.replace("policy.yaml", "/srv/policy")).unwrap();
    assert_eq!(config.policy.path, Path::new("/srv/policy"));
    let (config, _) = Config::parse(Path::new("config.yaml"), SMALLEST).unwrap();
    assert_eq!(config.policy.path, Path::new("policy.yaml"));
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let problems = Config::load(Path::new("/nonexistent/config.yaml")).unwrap_err();
    assert!(
        problems[0]
            .to_string()
            .starts_with("/nonexistent/config.yaml: error: cannot be read")
    );
}

#[test]
fn what_is_written_about_an_issuer_is_what_its_tokens_must_be_like() {
    let issuer = "  - issuer: https://idp.example.com
    audiences: [flyte]
    jwks: {discovery_url: https://idp.example.com/oauth-authorization-server}
    required_claims: {tenant: [a, 7], email_verified: true, realm_access.roles: present}
    claims: {groups: [https://example.com/groups], split_groups: false, client_id: azp, subject: a.b}
";
    let text = SMALLEST.replace("  - {issuer: https://idp.example.com, audiences: [flyte]}\n", issuer);
    let (config, _) = parse(&text).unwrap();
    let IssuerSettings { rules, keys, .. } = &config.issuers[0];
    let url = Some("https://idp.example.com/oauth-authorization-server".to_owned());
    assert_eq!(*keys, KeySource::Discovery { url });
    let required: Vec<_> = rules
        .required_claims
        .iter()
        .map(|claim| (claim.path.to_string(), claim.values.clone()))
        .collect();
    let list = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected = [
        ("email_verified", list(&["true"])),
        ("realm_access.roles", list(&[])),
        ("tenant", list(&["a", "7"])),
    ];
    assert_eq!(required, expected.map(|(path, values)| (path.to_owned(), values)));
    assert_eq!(
        rules.mapping.groups,
        ClaimPath::from_names(list(&["https://example.com/groups"]))
    );
    assert!(!rules.mapping.split_groups);
    assert_eq!(Some(&rules.mapping.subject), ClaimPath::dotted("a.b").as_ref());
    assert_eq!(rules.mapping.client_id, [ClaimPath::dotted("azp").unwrap()]);
}

#[test]
fn what_is_different_in_id_tokens_is_taken_over_and_the_rest_is_as_in_access_tokens() {
    let issuer = "  - issuer: https://idp.example.com
    audiences: [flyte]
    claims: {email: null, groups: roles, client_id: cid, split_groups: false}
    id_tokens: {audiences: [console], claims: {subject: preferred_username}}
";
    let text = SMALLEST.replace("  - {issuer: https://idp.example.com, audiences: [flyte]}\n", issuer);
    let (config, _) = parse(&text).unwrap();
    let rules = &config.issuers[0].rules;
    assert_eq!(rules.id_tokens.as_ref().unwrap().audiences, ["console"]);
    let access = rules.mapping(TokenType::AccessToken).clone();
    assert_eq!((&access.email, access.split_groups), (&None, false));
    let expected = ClaimMapping {
        subject: ClaimPath::dotted("preferred_username").unwrap(),
        ..access
    };
    assert_eq!(*rules.mapping(TokenType::IdToken), expected);
}

/// Each `NAME.yaml` in `tests/fixtures/config` has in `NAME.problems` all that is wrong with it.
#[test]
fn every_broken_configuration_is_answered_with_all_its_problems() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    assert!(files.len() >= 10);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = Path::new(file.file_name().unwrap());
        let problems = match Config::parse(name, &text) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems,
        };
        let mut shown = String::new();
        for problem in problems {
            let problem = Problem {
                snippet: String::new(),
                ..problem
            };
            writeln!(shown, "{problem}").unwrap();
        }
        let expected = file.with_extension("problems");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&expected, &shown).unwrap();
        }
        assert_eq!(shown, std::fs::read_to_string(expected).unwrap(), "{}", file.display());
    }
}

/// In YAML a key whose lines below are commented out is there and empty.
#[test]
fn a_key_that_may_be_left_out_may_not_be_left_empty() {
    let text = "\
version: 1
listeners:
  - name: public
    address: 127.0.0.1:8443
    accept: [{anyone: true}]
    tls: {certificate: a.pem, key: a.key, client_certificates: {ca: clients.pem}}
  - name: http
    address: 127.0.0.1:8080
    redirect_to_https: {hosts: [a.example.com]}
upstream: {grpc: https://127.0.0.1:8089, http: https://127.0.0.1:8088, ca: flyte.pem}
credentials:
  session: {hash_key: {env: HASH}, block_key: {env: BLOCK}}
  load_balancer:
    signers: [arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/flyte/0123456789abcdef]
    client_ids: [a]
    issuer: https://i.example.com
    keys: {url: https://public-keys.auth.elb.eu-west-1.amazonaws.com/}
    ca: l.pem
issuers:
  - issuer: https://a.example.com
    audiences: [flyte]
    bearer_token: token
    ca: i.pem
    claims: {client_id: cid}
    id_tokens: {audiences: [console], claims: {subject: s, email: e, groups: g, client_id: c}}
    jwks: {url: https://a.example.com/keys}
  - issuer: https://b.example.com
    audiences: [flyte]
    introspection: {url: https://b.example.com/i, client_id: {env: A}, client_secret: {env: B}}
policy: {path: policy.yaml}
";
    parse(text).unwrap();
    for written in [
        "accept: [{anyone: true}]",
        "tls: {certificate: a.pem, key: a.key, client_certificates: {ca: clients.pem}}",
        "client_certificates: {ca: clients.pem}",
        "redirect_to_https: {hosts: [a.example.com]}",
        "ca: clients.pem",
        "ca: flyte.pem",
        "session: {hash_key: {env: HASH}, block_key: {env: BLOCK}}",
        "load_balancer:\n    signers: [arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/flyte/0123456789abcdef]\n    client_ids: [a]\n    issuer: https://i.example.com\n    keys: {url: https://public-keys.auth.elb.eu-west-1.amazonaws.com/}\n    ca: l.pem",
        "ca: l.pem",
        "bearer_token: token",
        "ca: i.pem",
        "client_id: cid",
        "id_tokens: {audiences: [console], claims: {subject: s, email: e, groups: g, client_id: c}}",
        "subject: s",
        "email: e",
        "groups: g",
        "client_id: c}",
        "introspection: {url: https://b.example.com/i, client_id: {env: A}, client_secret: {env: B}}",
    ] {
        assert_eq!(text.matches(written).count(), 1, "{written}");
        let (key, _) = written.split_once(':').unwrap();
        let end = if written.ends_with("c}") { "}" } else { "" };
        for empty in ["", "null", "~"] {
            let nothing = format!("{key}: {empty}{end}");
            let text = text.replace(written, &nothing);
            let problems = parse(&text).err().unwrap_or_default();
            let lines: Vec<_> = (1..)
                .zip(text.lines())
                .filter(|(_, line)| line.contains(&nothing))
                .collect();
            assert_eq!(problems.len(), 1, "{nothing}");
            assert!(
                lines.iter().any(|(line, _)| *line == problems[0].line),
                "{nothing}: {problems:?}"
            );
        }
    }
}
