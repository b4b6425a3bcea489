//! Which rules are for whom, and what claims can and cannot put into them.
#![expect(clippy::unwrap_used, reason = "tests")]

use crate::model::principal::Principal;
use crate::policy::tests::{caller, policy};
use crate::policy::trace::{Steps, render_steps};
use serde_json::{Value, json};
use std::sync::Arc;

fn with_claims(claims: &Value) -> Principal {
    Principal {
        claims: Arc::new(claims.as_object().cloned().unwrap()),
        ..caller(&[])
    }
}

/// Whether a rule with this subject is for the principal.
fn applies(subject: &str, principal: &Principal) -> bool {
    let text = format!("version: 1\nrules: [{{ name: r, subjects: [{subject}], deny: [{{ actions: [\"*\"] }}] }}]\n");
    !policy(&text).resolve(principal, &mut ()).applied_rules().is_empty()
}

#[test]
fn all_conditions_of_an_item_must_hold_and_any_value_of_a_list_does() {
    let principal = Principal {
        issuer: "https://a/".into(),
        subject: "alice".into(),
        email: Some("alice@example.com".into()),
        client_id: Some("flytectl".into()),
        ..caller(&["ml", "Data"])
    };
    for (subject, expected) in [
        ("{ anyone: true }", true),
        ("{ groups: [x, ml] }", true),
        ("{ groups: [data] }", false),
        ("{ groups: [\"D*\"] }", true),
        ("{ groups: [m] }", false),
        ("{ email: [alice@example.com] }", true),
        ("{ email: [\"*@example.com\"] }", true),
        ("{ email: [\"*@example.co\"] }", false),
        ("{ email: [Alice@example.com] }", false),
        ("{ client_id: [flytectl] }", true),
        ("{ subject: [alice] }", true),
        ("{ subject: [alice, bob], groups: [nobody] }", false),
        ("{ issuer: \"https://a/\" }", true),
        ("{ issuer: \"https://a\" }", false),
        ("{ issuer: \"https://b/\", subject: [alice] }", false),
        ("{ subject: [bob] }, { subject: [alice] }", true),
    ] {
        assert_eq!(applies(subject, &principal), expected, "{subject}");
    }
}

#[test]
fn a_value_that_is_missing_or_empty_matches_nothing_not_even_a_star() {
    for subject in [
        "{ groups: [\"*\"] }",
        "{ email: [\"*\"] }",
        "{ client_id: [\"*\"] }",
        "{ subject: [\"*\"] }",
        "{ claim: a, values: [\"*\"] }",
    ] {
        assert!(!applies(subject, &caller(&[])), "{subject}");
        let empty = Principal {
            email: Some("".into()),
            client_id: Some("".into()),
            groups: vec!["".into()],
            ..with_claims(&json!({ "a": "" }))
        };
        assert!(!applies(subject, &empty), "{subject}");
    }
    assert!(
        !applies("{ anyone: true }", &Principal::anonymous()),
        "nobody in particular is not anyone"
    );
}

#[test]
fn claims_are_found_by_path_and_compared_as_texts_numbers_and_truth_values() {
    let principal = with_claims(&json!({
        "realm_access": { "roles": ["a", 7, true, null, ["nested"], { "x": 1 }, 1.5] },
        "a.b": { "https://c/d": "deep" },
        "flat": "one two",
        "object": { "k": "v" },
        "verified": true,
    }));
    for (subject, expected) in [
        ("{ claim: realm_access.roles, values: [a] }", true),
        ("{ claim: realm_access.roles, values: [\"7\"] }", true),
        ("{ claim: realm_access.roles, values: [\"true\"] }", true),
        ("{ claim: realm_access.roles, values: [nested] }", false),
        ("{ claim: realm_access.roles, values: [\"1.5\"] }", false),
        ("{ claim: realm_access.roles, values: [\"null\"] }", false),
        ("{ claim: [realm_access, roles], values: [a] }", true),
        ("{ claim: [\"realm_access.roles\"], values: [a] }", false),
        ("{ claim: a.b, values: [\"*\"] }", false),
        ("{ claim: [a.b, \"https://c/d\"], values: [deep] }", true),
        ("{ claim: flat, values: [one] }", false),
        ("{ claim: flat, values: [\"one *\"] }", true),
        ("{ claim: object, values: [\"*\"] }", false),
        ("{ claim: object.k.x, values: [\"*\"] }", false),
        ("{ claim: verified, values: [\"true\"] }", true),
        ("{ claim: realm_access.roles, pattern: \"[a-z]\" }", true),
        ("{ claim: realm_access.roles, pattern: \"[b-z]\" }", false),
    ] {
        assert_eq!(applies(subject, &principal), expected, "{subject}");
    }
}

const BY_CLAIM: &str = r#"
version: 1
rules:
  - name: by-claim
    subjects: [{ claim: team, values: ["*"] }]
    allow:
      - { projects: ["${claims.team}"], domains: ["*"], role: viewer }
      - { projects: ["team-${claims.team}-*"], domains: ["*"], role: viewer }
  - name: by-capture
    subjects: [{ claim: team, pattern: "(?<role>[^:]*):(?<project>.*)" }]
    allow:
      - { projects: ["${project}"], domains: ["*"], role: "${role}" }
"#;

#[test]
fn hostile_claim_values_never_become_more_than_a_plain_name() {
    let policy = policy(BY_CLAIM);
    let projects = ["ml", "secret", "team-ml-1", "a", "ML", "team", "team-x"];
    for value in [
        "*",
        "m*",
        "**",
        "a/b",
        "../secret",
        "..",
        ".",
        "ML",
        "ｍｌ",
        "мl",
        "ml ",
        " ml",
        "ml\n",
        "ml\0",
        "${project}",
        "${claims.team}",
        "viewer:*",
        "viewer:ML",
        "viewer:",
        ":ml",
        "root:ml",
        "viewer:ml:x",
        "*:ml",
        "viewer:m l",
    ] {
        let rights = policy.resolve(&with_claims(&json!({ "team": value })), &mut ());
        for project in projects {
            assert!(!rights.visible_project(project), "{value:?} shows {project}");
        }
    }
    let rights = policy.resolve(&with_claims(&json!({ "team": ["ml", "viewer:a", "*"] })), &mut ());
    let seen: Vec<&str> = projects
        .into_iter()
        .filter(|project| rights.visible_project(project))
        .collect();
    assert_eq!(seen, ["ml", "team-ml-1", "a"], "good values count beside bad ones");
}

#[test]
fn an_expansion_that_is_dropped_shows_when_explaining() {
    let mut steps = Steps::default();
    policy(BY_CLAIM).resolve(&with_claims(&json!({ "team": "root:ml" })), &mut steps);
    let text = render_steps(&steps);
    assert!(
        text.contains("rule by-capture (policy.yaml:9) is for this caller with project=ml role=root"),
        "{text}"
    );
    assert!(
        text.contains("rule by-capture (policy.yaml:9) has a grant that is left out: there is no role `root`"),
        "{text}"
    );
    assert!(
        text.contains(
            "rule by-claim (policy.yaml:4) has a grant that is left out: a value put into it is no plain name"
        ),
        "{text}"
    );
}

#[test]
fn ten_thousand_values_are_expanded_and_too_many_combinations_are_not() {
    let values: Vec<String> = (0..10_000).map(|number| format!("p{number}")).collect();
    let principal = with_claims(&json!({ "team": values, "env": ["staging", "production", "development"] }));
    let rights = policy(BY_CLAIM).resolve(&principal, &mut ());
    assert!(rights.visible_project("p9999") && !rights.visible_project("p10000"));
    let product = policy(
        "version: 1\nrules: [{ name: r, subjects: [{ anyone: true }], allow: [{ projects: [\"${claims.team}\"], domains: [\"${claims.env}\"], role: viewer }] }]\n",
    );
    assert!(!product.resolve(&principal, &mut ()).visible_project("p1"));
    // What a pattern captured counts once for each value a grant uses, not once for each value that matched.
    let captured = policy(
        "version: 1\nrules: [{ name: r, subjects: [{ claim: team, pattern: \"(?<x>p)[0-9]+\" }], allow: [{ projects: [\"${claims.team}\"], domains: [\"*\"], role: viewer }, { projects: [\"${x}\"], domains: [\"*\"], role: viewer }] }]\n",
    );
    assert_eq!(captured.resolve(&principal, &mut ()).grants.len(), 10_001);
    let small = with_claims(&json!({ "team": ["p1", "p2"], "env": ["staging"] }));
    assert!(product.resolve(&small, &mut ()).visible_project("p2"));
}

#[test]
fn one_value_fills_every_place_of_its_variable() {
    let policy = policy(
        "version: 1\nrules: [{ name: r, subjects: [{ anyone: true }], allow: [{ projects: [\"${claims.t}\"], domains: [\"*\"], role: viewer, tasks: [\"${claims.t}/run-${claims.t}\"] }] }]\n",
    );
    let mut steps = Steps::default();
    let rights = policy.resolve(&with_claims(&json!({ "t": ["a", "b"] })), &mut steps);
    let lists: Vec<String> = rights
        .grants
        .iter()
        .map(|grant| format!("{:?} {:?}", grant.projects, grant.lists.tasks))
        .collect();
    assert_eq!(
        lists,
        [r#"[Exact("a")] Some(["a/run-a"])"#, r#"[Exact("b")] Some(["b/run-b"])"#]
    );
}
