//! Differences between policies: by example, and that none is missed.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::model::principal::Principal;
use crate::model::scope::{Scope, Target};
use crate::policy::pattern::{CapturePattern, Glob};
use crate::policy::subject::claim_values;
use crate::policy::tests::{
    Generated, caller, generated_caller, generated_rule, generated_target, outcome, policy, text_of,
};
use crate::policy::who::{Term, Who};
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;

fn lines(old: &str, new: &str) -> Vec<String> {
    let lines = diff(&policy(old), &policy(new));
    lines.iter().map(ToString::to_string).collect()
}

fn rule(subjects: &str, effect: &str) -> String {
    format!("version: 1\nrules: [{{ name: r, subjects: [{subjects}], {effect} }}]\n")
}

const ML: &str = "allow: [{ projects: [ml], domains: [staging, production], role: viewer }]";
const ALL_VIEWS: &str = "view_inventory, view_executions, view_data";

#[test]
fn the_same_rights_written_differently_are_no_difference() {
    let one = "version: 1
rules:
  - name: team
    subjects: [{ groups: [a, b] }]
    allow:
      - { projects: [ml, data], domains: [staging, development], role: viewer }
      - { projects: [ml], domains: [staging], tasks: [t, u], launch_plans: [], actions: [create_executions] }
  - name: freeze
    subjects: [{ anyone: true }]
    deny: [{ actions: [register_inventory], domains: [production] }]
    unless: [{ groups: [x, y] }]
";
    let other = "version: 1
roles: { looks: [view_data, view_executions, view_inventory] }
rules:
  - name: stop
    subjects: [{ anyone: true }]
    deny: [{ role: registers, projects: [\"*\"], domains: [production] }]
    unless: [{ groups: [y] }, { groups: [x] }]
  - name: b
    subjects: [{ groups: [b] }]
    allow:
      - { projects: [ml], domains: [staging, development], role: looks }
      - { projects: [data], domains: [staging, development], actions: [view_inventory, view_data, view_executions] }
      - { projects: [ml], domains: [\"stag*\"], launch_plans: [], tasks: [u, t], actions: [create_executions] }
  - name: a
    subjects: [{ groups: [a] }]
    allow:
      - { projects: [data, ml], domains: [staging], role: looks }
      - { projects: [data, ml], domains: [development], role: looks }
      - { projects: [ml], domains: [staging], launch_plans: [], tasks: [u, t], actions: [create_executions] }
";
    let other = other.replace("roles: {", "roles: { registers: [register_inventory],");
    assert_eq!(lines(one, &other), [""; 0]);
    assert_eq!(lines(&other, one), [""; 0]);
}

#[test]
fn what_is_allowed_elsewhere_is_told_in_its_direction_with_its_rule() {
    let old = rule("{ groups: [ml] }", ML);
    for (new, told) in [
        (
            rule("{ groups: [ml] }", &ML.replace("production", "development")),
            vec![
                format!("gained: groups: ml: {ALL_VIEWS} in project ml, domain development (allowed by rule r (policy.yaml:2))"),
                format!("lost: groups: ml: {ALL_VIEWS} in project ml, domain production (was allowed by rule r (policy.yaml:2))"),
            ],
        ),
        // What is wider is told alone.
        (
            rule("{ groups: [\"m*\"] }", &ML.replace("[ml]", "[\"*\"]").replace("role: viewer", "actions: [\"*\"]")),
            vec!["gained: groups: m*: every action in project *, domain production, staging (allowed by rule r (policy.yaml:2))".to_owned()],
        ),
        (
            rule("{ groups: [ml], issuer: i }", ML),
            vec![format!(
                "lost: groups: ml: {ALL_VIEWS} in project ml, domain production, staging (was allowed by rule r (policy.yaml:2))"
            )],
        ),
        (
            rule("{ groups: [ml] }", &ML.replace("role: viewer", "role: viewer, tasks: [t]")),
            vec![format!(
                "lost: groups: ml: {ALL_VIEWS} in project ml, domain production, staging (was allowed by rule r (policy.yaml:2))"
            )],
        ),
        (
            rule("{ groups: [ml] }", "allow: [{ projects: [\"*\"], domains: [\"*\"], role: viewer }]"),
            vec![format!(
                "gained: groups: ml: {ALL_VIEWS} in project *, domain development, production, staging and on the platform (allowed by rule r (policy.yaml:2))"
            )],
        ),
    ] {
        let told: Vec<String> = told;
        if new.contains("issuer") || new.contains("tasks") {
            // Less is left: the narrower piece that is there is covered by the one that was.
            assert_eq!(lines(&old, &new), told, "{new}");
        } else {
            assert_eq!(lines(&old, &new), told, "{new}");
        }
    }
}

#[test]
fn denies_and_revocations_count_the_other_way_round() {
    let deny =
        "deny: [{ domains: [production], actions: [register_inventory], tasks: [t] }], unless: [{ groups: [x] }]";
    let (with, none) = (rule("{ anyone: true }", deny), "version: 1\n".to_owned());
    let what = "anyone (but not groups: x): register_inventory in project *, domain production; only task t";
    assert_eq!(
        lines(&none, &with),
        [format!("lost: {what} (denied by rule r (policy.yaml:2))")]
    );
    assert_eq!(
        lines(&with, &none),
        [format!("gained: {what} (was denied by rule r (policy.yaml:2))")]
    );
    // Sparing more gives rights, sparing less takes them.
    let more = with.replace("[x]", "[x, y]");
    assert_eq!(lines(&with, &more).len(), 1);
    assert!(
        lines(&with, &more)
            .concat()
            .starts_with("gained: anyone (but not groups: x): ")
    );
    assert!(
        lines(&more, &with)
            .concat()
            .starts_with("lost: anyone (but not groups: x): ")
    );
    // Without a list a deny is wider.
    let wide = with.replace(", tasks: [t]", "");
    assert!(lines(&with, &wide).concat().starts_with("lost: ") && lines(&wide, &with).concat().starts_with("gained: "));
    let revoked = "version: 1\nrevoked: [{ groups: [a, b], issued_before: 2026-11-20T08:00:00Z }]\n";
    assert_eq!(
        lines(&none, revoked),
        ["a", "b"].map(|group| format!(
            "lost: groups: {group} and issued before 2026-11-20T08:00:00Z: every call (revoked by revoked[0] (policy.yaml:2))"
        ))
    );
    assert_eq!(lines(revoked, &revoked.replace("-20T", "-19T")).len(), 2);
    assert!(
        lines(revoked, &revoked.replace("-20T", "-19T"))
            .concat()
            .starts_with("gained")
    );
}

#[test]
fn what_is_completed_from_claims_is_compared_as_it_is_written() {
    let by_name = rule(
        r#"{ claim: groups, pattern: "flyte-(?<p>[a-z]+)-(?<r>viewer|publisher)" }"#,
        r#"allow: [{ projects: ["${p}"], domains: [staging], role: "${r}" }]"#,
    );
    let with_role = format!("{by_name}roles: {{ publisher: [upload_data] }}\n");
    assert_eq!(lines(&by_name, &by_name), [""; 0]);
    assert_eq!(
        lines(&by_name, &with_role),
        [
            "gained: claim groups like flyte-(?<p>[a-z]+)-(?<r>viewer|publisher) with project ${p}, role ${r} = publisher: \
          upload_data in project ${p}, domain staging (allowed by rule r (policy.yaml:2))"
        ]
    );
    // A pattern that matches otherwise is another.
    let wider = by_name.replace("[a-z]+)", "[a-z-]+)");
    let told = lines(&by_name, &wider);
    assert!(told.iter().any(|line| line.starts_with("gained: ")) && told.iter().any(|line| line.starts_with("lost: ")));
    // Everywhere is also where the claim says.
    let everywhere = rule(
        "{ anyone: true }",
        r#"allow: [{ projects: ["*"], domains: ["*"], actions: ["*"] }]"#,
    );
    assert!(
        lines(&by_name, &everywhere)
            .iter()
            .all(|line| line.starts_with("gained: anyone: "))
    );
    // Another text that must be completed is a reason more to count for nothing.
    let entry = |more: &str| {
        rule(
            "{ anyone: true }",
            &format!(r#"allow: [{{ projects: [x{more}], domains: ["*"], role: viewer }}]"#),
        )
    };
    let told = lines(&entry(""), &entry(r#", "${claims.team}""#));
    assert!(
        told.iter().any(|line| line.starts_with("lost: anyone: view_inventory")),
        "{told:#?}"
    );
}

#[test]
fn differences_are_documents_for_programs_too() {
    let told = diff(&policy("version: 1\n"), &policy(&rule("{ groups: [ml] }", ML)));
    let rule = json!({"name": "r", "file": "policy.yaml", "line": 2});
    let actions = ["view_inventory", "view_executions", "view_data"];
    assert_eq!(
        serde_json::to_value(told).unwrap(),
        json!([{"change": "gained", "by": "allow", "subject": "groups: ml", "project": "ml",
            "domains": ["production", "staging"], "platform": false, "actions": actions, "rule": rule}])
    );
}

/// Rules with what the other generator leaves out: names from claims, patterns, revocations.
fn generated_text() -> impl Strategy<Value = String> {
    let claims = prop_oneof![
        Just(
            r#"{ name: N, subjects: [{ anyone: true }], allow: [{ projects: ["${claims.team}"], domains: ["*"], role: viewer }] }"#
        ),
        Just(
            r#"{ name: N, subjects: [{ anyone: true }], allow: [{ projects: ["${claims.team}", q], domains: [staging], role: viewer }] }"#
        ),
        Just(
            r#"{ name: N, subjects: [{ groups: [a] }], allow: [{ projects: ["${claims.team}"], domains: ["${claims.domain}"], actions: ["*"] }] }"#
        ),
        Just(
            r#"{ name: N, subjects: [{ claim: team, pattern: "(?<p>[pq])" }], allow: [{ projects: ["${p}"], domains: [staging, production], role: "${claims.role}" }] }"#
        ),
        Just(
            r#"{ name: N, subjects: [{ claim: team, pattern: "(?<p>[pq]|pq)" }], allow: [{ projects: ["${p}"], domains: [staging], role: contributor }] }"#
        ),
        Just(
            r#"{ name: N, subjects: [{ claim: team, values: ["p*"] }], allow: [{ projects: [p], domains: ["*"], role: contributor, tasks: ["${claims.team}"] }] }"#
        ),
    ];
    let revoked = prop_oneof![
        4 => Just(""),
        1 => Just("revoked: [{ groups: [a] }]\n"),
        1 => Just("revoked: [{ groups: [a, b] }, { email: [a] }]\n"),
    ];
    let rules = (
        proptest::collection::vec(generated_rule(), 0..3),
        proptest::collection::vec(claims, 0..2),
        revoked,
    );
    (rules, any::<bool>()).prop_map(|((rules, claims, revoked), role)| {
        let mut text = text_of(rules.iter().map(|rule: &Generated| rule).enumerate());
        for (number, rule) in claims.iter().enumerate() {
            text.push_str(&format!("  - {}\n", rule.replace('N', &format!("claims-{number}"))));
        }
        if rules.is_empty() && claims.is_empty() {
            text = "version: 1\n".to_owned();
        }
        text.push_str(revoked);
        if role {
            text.push_str("roles: { custom: [view_data] }\n");
        }
        text
    })
}

fn generated_claims() -> impl Strategy<Value = Principal> {
    let word = |words: &'static [&'static str]| proptest::option::of(proptest::sample::select(words));
    let claims = (
        word(&["p", "q", "pq", "*", "t"]),
        word(&["staging", "production"]),
        word(&["viewer", "custom", "none"]),
    );
    (generated_caller(), claims).prop_map(|(principal, (team, domain, role))| {
        let claims = [("team", team), ("domain", domain), ("role", role)];
        let claims = claims
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        Principal {
            claims: Arc::new(claims.collect()),
            ..principal
        }
    })
}

fn is_about(who: &Who, principal: &Principal) -> bool {
    let any = |values: &[String], value: &str| values.iter().any(|glob| Glob::new(glob).matches(value));
    who.terms().iter().all(|term| match term {
        Term::Anyone => true,
        Term::Attribute("groups", values) => principal.groups.iter().any(|group| any(values, group)),
        Term::Attribute(_, values) => principal.email.iter().any(|email| any(values, email)),
        Term::Claim(path, values) => claim_values(principal, path).iter().any(|value| any(values, value)),
        Term::Pattern(path, pattern) => {
            let pattern = CapturePattern::new(pattern).unwrap();
            claim_values(principal, path)
                .iter()
                .any(|value| pattern.captures(value).is_some())
        }
        Term::Issuer(_) | Term::IssuedBefore(..) => false,
    })
}

/// Whether a piece that was found is about this caller and a place and action of the call.
fn accounts_for(found: &Found<'_>, principal: &Principal, targets: &[Target]) -> bool {
    let project = |name: &str| {
        crate::policy::pattern::Template::new(&found.piece.project)
            .unwrap()
            .widened()
            .matches(name)
    };
    is_about(&found.piece.who, principal)
        && targets.iter().any(|target| {
            found.by == By::Revoked
                || found.actions.intersects(target.needs)
                    && match (&target.scope, &found.piece.domain) {
                        (Scope::Global, domain) => domain.is_none(),
                        (Scope::ProjectDomain { project: name, domain }, Some(there)) => {
                            project(name) && **domain == **there
                        }
                        (Scope::Project(name) | Scope::ProjectInSomeDomain(name), Some(_)) => project(name),
                        (_, None) => false,
                    }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_is_decided_otherwise_is_told_in_its_direction_and_nothing_of_the_same_policy(
        old in generated_text(),
        new in generated_text(),
        shared in generated_text(),
        principal in generated_claims(),
        targets in proptest::collection::vec(generated_target(), 1..4),
    ) {
        // Policies that have rules in common, as those before and after a change do.
        let with = |own: &str| {
            let (_, own_rules) = own.split_once("rules:\n").unwrap_or(("", ""));
            let own_rules: String = own_rules.lines().filter(|line| line.starts_with("  - ")).map(|line| format!("{}\n", line.replace("name: ", "name: own-"))).collect();
            let tail: String = own.lines().filter(|line| line.starts_with("revoked:")).map(|line| format!("{line}\n")).collect();
            let shared: String = shared.lines().filter(|line| !line.starts_with("revoked:")).map(|line| format!("{line}\n")).collect();
            let shared = if shared.contains("rules:\n") { shared.replace("rules:\n", &format!("rules:\n{own_rules}")) }
                else if own_rules.is_empty() { shared } else { format!("{shared}rules:\n{own_rules}") };
            policy(&format!("{shared}{tail}"))
        };
        let (old, new) = (with(&old), with(&new));
        let (before, after) = (Pieces::of(&old), Pieces::of(&new));
        let all = found(&before, &after);
        let allowed = |policy: &Policy| outcome(&policy.resolve(&principal, &mut ()), &targets).is_ok();
        let change = match (allowed(&old), allowed(&new)) {
            (false, true) => Some(Change::Gained),
            (true, false) => Some(Change::Lost),
            _ => None,
        };
        if let Some(change) = change {
            let accounted = all.iter().any(|found| found.change == change && accounts_for(found, &principal, &targets));
            prop_assert!(accounted, "{change:?} of {principal:?}: {:#?}", diff(&old, &new));
        }
        prop_assert_eq!(diff(&old, &new).is_empty(), all.is_empty());
        prop_assert!(diff(&old, &old).is_empty());
        // Backwards everything is the other way round.
        prop_assert_eq!(found(&after, &before).len(), all.len());
    }
}

#[test]
fn twenty_thousand_rules_are_compared_in_time() {
    let text = |from: usize| {
        let rules: String = (from..from + 10_000)
            .map(|n| format!("  - {{ name: r{n}, subjects: [{{ groups: [g{n}] }}], allow: [{{ projects: [p{n}], domains: [\"*\"], role: viewer }}] }}\n"))
            .collect();
        policy(&format!("version: 1\nrules:\n{rules}"))
    };
    let told = diff(&text(0), &text(1));
    assert_eq!(told.len(), 2);
    assert_eq!(
        (told[0].subject.as_str(), told[1].subject.as_str()),
        ("groups: g10000", "groups: g0")
    );
    assert_eq!(caller(&[]).groups.len(), 0);
}
