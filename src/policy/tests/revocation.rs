//! Who is revoked: by identifiers of tokens, by callers, by the time of issue; and where that may be written.

use super::*;
use crate::model::reason::Reason;
use crate::policy::decide::Refusal;
use crate::policy::trace::render_steps;
use serde_json::{Value, json};

/// 2026-11-20T08:00:00Z
const MORNING: u64 = 1_795_161_600;

fn token(claims: &Value) -> Principal {
    Principal {
        issuer: "https://a/".into(),
        subject: "alice".into(),
        email: Some("alice@example.com".into()),
        client_id: Some("flytectl".into()),
        claims: Arc::new(claims.as_object().cloned().unwrap()),
        ..caller(&["team"])
    }
}

fn revoking(items: &str) -> Policy {
    policy(&format!(
        "version: 1
rules:
  - {{ name: team, subjects: [{{ groups: [team] }}], allow: [{{ projects: [\"*\"], domains: [\"*\"], role: platform_admin }}] }}
revoked: [{items}]
"
    ))
}

fn decision(policy: &Policy, principal: &Principal, access: Access) -> Result<(), Refusal> {
    let targets = [Target {
        scope: Scope::Global,
        needs: Action::AdministerPlatform.into(),
        resource: None,
        field: "".into(),
        role: TargetRole::Acts,
    }];
    let call = Call {
        access,
        action: Action::AdministerPlatform,
        targets: &targets,
        asked: &[],
        writes: &[],
    };
    let rights = policy.resolve(principal, &mut ());
    rights.decide(&call, &mut ()).into_permit().map(|_| ())
}

/// Whether an item revokes the principal; then for every kind of call that needs a credential, explained and served.
fn revokes(item: &str, principal: &Principal) -> bool {
    let policy = revoking(item);
    assert!(decision(&policy, principal, Access::Public).is_ok(), "{item}");
    let scoped = decision(&policy, principal, Access::Scoped);
    assert_eq!(scoped, decision(&policy, principal, Access::Authenticated), "{item}");
    let rights = policy.resolve(principal, &mut Steps::default());
    assert_eq!(rights.revoked().is_some(), scoped.is_err());
    assert_eq!(rights.visible_project("ml"), scoped.is_ok());
    match scoped {
        Ok(()) => false,
        Err(refusal) => {
            assert_eq!(refusal.denial, Reason::TokenRevoked.into());
            assert_eq!(refusal.rule.unwrap().to_string(), "revoked[0] (policy.yaml:4)");
            true
        }
    }
}

#[test]
fn an_item_revokes_whom_all_of_its_conditions_are_about() {
    let principal = token(&json!({"jti": "0b9c", "sid": "s-1", "iat": MORNING, "roles": ["a", "b"]}));
    for (item, expected) in [
        ("{ claim: jti, values: [\"0b9c\", other] }", true),
        ("{ claim: jti, values: [\"0B9C\"] }", false),
        ("{ claim: jti, values: [\"0b9\"] }", false),
        ("{ claim: jti, values: [\"0b9*\"] }", true),
        ("{ claim: sid, values: [s-1] }", true),
        ("{ claim: uti, values: [\"*\"] }", false),
        ("{ claim: roles, pattern: \"(?<x>a)\" }", true),
        ("{ client_id: [flytectl] }", true),
        ("{ client_id: [leaked-ci] }", false),
        ("{ subject: [alice] }", true),
        ("{ subject: [alice], issuer: \"https://a/\" }", true),
        ("{ subject: [alice], issuer: \"https://b/\" }", false),
        ("{ email: [\"*@example.com\"], groups: [team] }", true),
        ("{ email: [\"*@example.com\"], groups: [others] }", false),
        ("{ issuer: \"https://a/\" }", true),
    ] {
        assert_eq!(revokes(item, &principal), expected, "{item}");
    }
}

#[test]
fn values_that_yaml_takes_for_something_else_are_compared_as_they_are_written() {
    for text in [
        "12345",
        "007",
        "0x1f",
        "0o17",
        "1e5",
        "12e45",
        "1.50",
        "1_000",
        "true",
        "yes",
        "12345678901234567890123456789",
        "2026-11-20",
        ".inf",
        "+1",
    ] {
        let principal = token(&json!({"jti": text, "sid": text}));
        for claim in ["jti", "sid"] {
            assert!(
                revokes(&format!("{{ claim: {claim}, values: [{text}] }}"), &principal),
                "{text}"
            );
            assert!(
                revokes(&format!("{{ claim: {claim}, values: [\"{text}\"] }}"), &principal),
                "{text}"
            );
        }
        let named = Principal {
            subject: text.into(),
            client_id: Some(text.into()),
            ..token(&json!({}))
        };
        assert!(revokes(&format!("{{ subject: [{text}] }}"), &named), "{text}");
        assert!(revokes(&format!("{{ client_id: [{text}] }}"), &named), "{text}");
    }
    // A claim that is a number, as some issuers write it.
    assert!(revokes(
        "{ claim: sid, values: [12345] }",
        &token(&json!({"sid": 12345}))
    ));
    assert!(!revokes(
        "{ claim: sid, values: [12345] }",
        &token(&json!({"sid": "012345"}))
    ));
    for nothing in ["~", "null", ""] {
        let text = format!("version: 1\nrevoked: [{{ claim: jti, values: [{nothing}] }}]\n");
        let files = [(PathBuf::from("p"), text)];
        assert!(compile(&files, &domains()).is_err(), "{nothing}");
    }
}

#[test]
fn issued_before_is_exact_to_the_second_and_whoever_does_not_say_when_counts_as_old() {
    let item = "{ subject: [alice], issued_before: 2026-11-20T08:00:00Z }";
    for (claims, expected) in [
        (json!({"iat": MORNING - 1}), true),
        (json!({"iat": MORNING}), false),
        (json!({"iat": MORNING + 1}), false),
        (json!({"iat": 1_795_161_599.9}), true),
        (json!({"iat": 1_795_161_600.1}), false),
        (json!({"iat": 1.795e9}), true),
        (json!({"iat": 0}), true),
        (json!({}), true),
        (json!({"iat": null}), true),
        (json!({"iat": "1795161601"}), true),
        (json!({"iat": -5}), true),
        (json!({"auth_time": MORNING + 1, "exp": MORNING + 600}), true),
    ] {
        assert_eq!(revokes(item, &token(&claims)), expected, "{claims}");
    }
    let offset = "{ subject: [alice], issued_before: \"2026-11-20T09:00:00+01:00\" }";
    assert!(revokes(offset, &token(&json!({"iat": MORNING - 1}))));
    assert!(!revokes(offset, &token(&json!({"iat": MORNING}))));
    let other = Principal {
        subject: "bob".into(),
        ..token(&json!({"iat": 1}))
    };
    assert!(!revokes(item, &other));
    let everyone = "{ anyone: true, issued_before: 2026-11-20T08:00:00Z }";
    assert!(revokes(everyone, &other));
    assert!(!revokes(everyone, &token(&json!({"iat": MORNING}))));
}

#[test]
fn a_listeners_principal_is_revoked_by_what_is_about_it_since_it_has_no_token_to_renew() {
    let engine = Principal {
        kind: PrincipalKind::Listener,
        issuer: "listener:engine".into(),
        subject: "flytepropeller".into(),
        ..caller(&["team"])
    };
    for (item, expected) in [
        ("{ issuer: \"listener:engine\" }", true),
        (
            "{ subject: [flytepropeller], issued_before: 2026-11-20T08:00:00Z }",
            true,
        ),
        ("{ anyone: true, issued_before: 2026-11-20T08:00:00Z }", true),
        ("{ issuer: \"https://a/\", issued_before: 2026-11-20T08:00:00Z }", false),
        ("{ claim: jti, values: [\"*\"] }", false),
    ] {
        assert_eq!(revokes(item, &engine), expected, "{item}");
    }
}

#[test]
fn nobody_in_particular_is_asked_for_a_credential_and_not_told_of_a_revocation() {
    let policy = revoking("{ anyone: true, issued_before: 2026-11-20T08:00:00Z }");
    let refusal = decision(&policy, &Principal::anonymous(), Access::Scoped).unwrap_err();
    assert_eq!((refusal.denial.reason, refusal.rule), (Reason::CredentialMissing, None));
    assert!(decision(&policy, &Principal::anonymous(), Access::Public).is_ok());
}

#[test]
fn items_are_counted_through_the_files_and_the_first_that_matches_is_told() {
    let files = [
        ("a.yaml", "version: 1\nrevoked:\n  - subject: [x]\n  - client_id: [y]\n"),
        ("b.yaml", "version: 1\nrevoked:\n  - claim: jti\n    values: [z]\n"),
    ]
    .map(|(file, text)| (PathBuf::from(file), text.to_owned()));
    let (policy, warnings) = compile(&files, &domains()).unwrap();
    assert_eq!(warnings, []);
    let names: Vec<String> = policy.revocations().map(ToString::to_string).collect();
    assert_eq!(
        names,
        [
            "revoked[0] (a.yaml:3)",
            "revoked[1] (a.yaml:4)",
            "revoked[2] (b.yaml:3)"
        ]
    );
    let rights = policy.resolve(&token(&json!({"jti": "z"})), &mut ());
    assert_eq!(rights.revoked().unwrap().name(), "revoked[2]");
}

#[test]
fn those_that_are_about_old_tokens_are_told_with_their_time() {
    let policy = revoking(
        "{ subject: [x] }, { groups: [a], issued_before: 2026-11-20T08:00:00Z }, { anyone: true, issued_before: 2026-11-20T08:00:01Z }",
    );
    let dated: Vec<_> = policy
        .dated_revocations()
        .map(|(name, time)| (name.name(), time))
        .collect();
    assert_eq!(dated, [("revoked[1]", MORNING), ("revoked[2]", MORNING + 1)]);
}

#[test]
fn explaining_tells_the_item_and_what_would_help() {
    let explained = |item: &str| {
        let mut steps = Steps::default();
        revoking(item).resolve(&token(&json!({"jti": "secret-id"})), &mut steps);
        render_steps(&steps)
    };
    assert_eq!(
        explained("{ subject: [alice], issued_before: 2026-11-20T08:00:00Z }"),
        "- revoked[0] (policy.yaml:4) revokes the token of this caller\n\
         To allow it: a token issued at or after 2026-11-20T08:00:00Z: log in again\n"
    );
    assert_eq!(
        explained("{ claim: jti, values: [secret-id] }"),
        "- revoked[0] (policy.yaml:4) revokes the token of this caller\n\
         To allow it: a token that revoked[0] (policy.yaml:4) is not about, or a policy without that item\n"
    );
}

#[test]
fn a_deny_for_old_tokens_spares_new_ones() {
    let policy = policy(
        "version: 1
rules:
  - { name: team, subjects: [{ groups: [team] }], allow: [{ projects: [\"*\"], domains: [\"*\"], role: platform_admin }] }
  - name: old
    subjects: [{ groups: [team], issued_before: 2026-11-20T08:00:00Z }]
    deny: [{ actions: [administer_platform] }]
    unless: [{ subject: [bob] }]
",
    );
    let reason = |claims: &Value| {
        let decided = decision(&policy, &token(claims), Access::Scoped);
        decided.map_err(|refusal| (refusal.denial.reason, refusal.rule.unwrap().name().to_owned()))
    };
    let denied = Err((Reason::DeniedByRule, "old".to_owned()));
    assert_eq!(reason(&json!({"iat": MORNING - 1})), denied);
    assert_eq!(reason(&json!({})), denied);
    assert_eq!(reason(&json!({"iat": MORNING})), Ok(()));
}

#[test]
fn what_would_widen_or_lock_everybody_out_is_an_error_that_says_what_to_write() {
    const DATED: &str = "issued_before: 2026-11-20T08:00:00Z";
    for (text, line, column, message) in [
        (
            format!(
                "rules: [{{ name: r, subjects: [{{ groups: [a], {DATED} }}], allow: [{{ projects: [a], domains: [staging], role: viewer }}] }}]"
            ),
            2,
            61,
            "would let old tokens do more than new ones; use it in `revoked`",
        ),
        (
            format!(
                "rules: [{{ name: r, subjects: [{{ groups: [a], {DATED} }}], allow: [{{ projects: [a], domains: [staging], role: viewer }}], deny: [{{ actions: [view_data] }}] }}]"
            ),
            2,
            61,
            "would let old tokens do more than new ones",
        ),
        (
            format!(
                "rules: [{{ name: r, subjects: [{{ groups: [a] }}], deny: [{{ actions: [view_data] }}], unless: [{{ groups: [b], {DATED} }}] }}]"
            ),
            2,
            122,
            "would let old tokens do more than new ones",
        ),
        (
            "revoked: [{ anyone: true }]".into(),
            2,
            21,
            "every caller would be refused for good; add `issued_before`",
        ),
        (
            format!("revoked: [{{ {DATED} }}]"),
            2,
            11,
            "`issued_before` does not say whose tokens",
        ),
        (
            format!("revoked: [{{ anyone: true, groups: [a], {DATED} }}]"),
            2,
            21,
            "`anyone: true` stands alone",
        ),
        (
            "revoked: [{}]".into(),
            2,
            11,
            "an item of `revoked` without conditions matches nobody",
        ),
        (
            "revoked: [{ claim: jti }]".into(),
            2,
            20,
            "`claim` needs `values` or a `pattern`",
        ),
        (
            "revoked: [{ claim: jti, values: [] }]".into(),
            2,
            33,
            "`values: []` matches nobody",
        ),
        ("revoked: [{ jti: [a] }]".into(), 2, 13, "unknown field `jti`"),
        ("revoked: { subject: [a] }".into(), 2, 10, "expected sequence"),
        (
            "revoked: [{ subject: [a], issued_before: 2026-11-20 }]".into(),
            2,
            42,
            "`2026-11-20` is no point in time; write one to the second",
        ),
        (
            "revoked: [{ subject: [a], issued_before: }]".into(),
            2,
            40,
            "cannot deserialize null",
        ),
        (
            "revoked: [{ subject: [a], issued_before: 1795161600 }]".into(),
            2,
            42,
            "is no point in time",
        ),
    ] {
        let files = [(PathBuf::from("p.yaml"), format!("version: 1\n{text}\n"))];
        let problems = compile(&files, &domains()).unwrap_err();
        let found = problems
            .iter()
            .any(|problem| problem.message.contains(message) && (problem.line, problem.column) == (line, column));
        assert!(found, "{text}: {message}\n{problems:#?}");
    }
    let empty = compile(
        &[(PathBuf::from("p"), "version: 1\nrevoked: []\n".to_owned())],
        &domains(),
    );
    assert_eq!(empty.unwrap().0.revocations().len(), 0);
}

#[test]
fn the_schema_knows_revocations() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (text, valid) in [
        ("[{ subject: [a] }, { claim: jti, values: [b] }]", true),
        ("[{ anyone: true, issued_before: \"2026-11-20T08:00:00Z\" }]", true),
        ("[{ issuer: a, issued_before: \"2026-11-20T08:00:00+01:00\" }]", true),
        ("[]", true),
        ("[{}]", false),
        ("[{ jti: [a] }]", false),
        ("[{ issuer: a, issued_before: \"2026-11-20\" }]", false),
        ("[{ issuer: a, issued_before: \"tomorrow\" }]", false),
        ("{}", false),
    ] {
        let document = yaml(&format!("version: 1\nrevoked: {text}\n"));
        assert_eq!(validator.is_valid(&document), valid, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_revocation_never_allows_what_was_refused_and_refuses_only_whom_it_is_about(
        rules in proptest::collection::vec(generated_rule(), 0..5),
        group in "[abcx]",
        principal in generated_caller(),
        targets in proptest::collection::vec(generated_target(), 1..3),
    ) {
        let text = if rules.is_empty() { "version: 1\n".to_owned() } else { text_of(rules.iter().enumerate()) };
        let before = decided(&policy(&text), &principal, &targets);
        let after = decided(&policy(&format!("{text}revoked: [{{ groups: [{group}] }}]\n")), &principal, &targets);
        if principal.groups.iter().any(|one| **one == *group) {
            prop_assert_eq!(after, Err("token_revoked"));
        } else {
            prop_assert_eq!(after, before);
        }
    }
}
