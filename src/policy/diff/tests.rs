//! Differences between policies: by example, and that none is missed.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::model::principal::Principal;
use crate::model::scope::{Resource, ResourceKind, Scope, Target, TargetRole};
use crate::policy::decide::Rights;
use crate::policy::pattern::{CapturePattern, Glob};
use crate::policy::subject::claim_values;
use crate::policy::tests::{caller, generated_rule, generated_target, outcome, policy, text_of};
use crate::policy::who::{Term, Who};
use proptest::prelude::*;
use serde_json::json;
use std::fmt::Write;
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
        assert_eq!(lines(&old, &new), told, "{new}");
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
fn an_entry_that_sets_something_takes_from_others_too() {
    let rules = |entries: &[&str]| {
        let entries = entries
            .iter()
            .map(|entry| format!("{{ projects: [ml], domains: [staging], {entry} }}"));
        rule(
            "{ groups: [ml] }",
            &format!("allow: [{}]", entries.collect::<Vec<_>>().join(", ")),
        )
    };
    let [a, b] = ["a", "b"].map(|value| format!("actions: [create_executions], set: {{ service_account: {value} }}"));
    let refused = "setting_conflict";
    let create = |text: &str| {
        let call = format!(
            "cases: [{{ name: c, principal: {{ groups: [ml] }}, rpc: /flyteidl.service.AdminService/CreateExecution, \
             project: ml, domain: staging, expect: deny, reason: {refused} }}]"
        );
        let catalog = crate::catalog::Catalog::builtin().unwrap();
        crate::policy::testfile::run(&policy(text), std::path::Path::new("t"), &call, Some(&catalog)).failures
    };
    let (one, both) = (rules(&[&a]), rules(&[&a, &b]));
    assert!(create(&both).is_empty() && !create(&one).is_empty());
    let what = "groups: ml: create_executions in project ml, domain staging; set service_account b";
    assert_eq!(
        lines(&both, &one),
        [
            format!("gained: {what} (where others set something else, no longer refused for rule r (policy.yaml:2))"),
            format!("lost: {what} (was allowed by rule r (policy.yaml:2))"),
        ]
    );
    assert_eq!(
        lines(&one, &both),
        [
            format!("gained: {what} (allowed by rule r (policy.yaml:2))"),
            format!("lost: {what} (where others set something else, refused for rule r (policy.yaml:2))"),
        ]
    );
    // One in place of the other is told once in each direction, and what sets nothing is in nobody's way.
    assert_eq!(lines(&one, &rules(&[&b])).len(), 2);
    let views = a.replace("[create_executions]", "[view_data]");
    assert_eq!(lines(&one, &rules(&[&a, &views])).len(), 1);
    assert_eq!(lines(&one, &rules(&[&a, "actions: [create_executions]"])).len(), 1);
}

#[test]
fn an_entry_in_which_two_actions_free_identities_is_told() {
    let of = |entries: &[&str]| {
        let entries = entries
            .iter()
            .map(|entry| format!("{{ projects: [\"*\"], domains: [staging], {entry} }}"));
        rule(
            "{ groups: [ml] }",
            &format!("allow: [{}]", entries.collect::<Vec<_>>().join(", ")),
        )
    };
    let (create, report) = ("actions: [create_executions]", "actions: [report_events]");
    let (apart, joined) = (
        of(&[create, report]),
        of(&["actions: [report_events, create_executions]"]),
    );
    let what = "groups: ml: create_executions in project *, domain staging; impersonate";
    assert_eq!(
        lines(&apart, &joined),
        [format!("gained: {what} (allowed by rule r (policy.yaml:2))")]
    );
    assert_eq!(
        lines(&joined, &apart),
        [format!("lost: {what} (was allowed by rule r (policy.yaml:2))")]
    );
    assert_eq!(lines(&joined, &joined), [""; 0]);
    // Of what is new as a whole that is no news, and with one action come identities.
    assert_eq!(lines(&of(&[report]), &joined).len(), 1);
    assert_eq!(lines(&of(&[create]), &joined).len(), 2);
    // One way or the other they are free.
    let written = of(&["actions: [create_executions], impersonate: true", report]);
    let told = lines(&joined, &written);
    assert!(
        told.iter().all(|line| line.contains("create_executions in")) && told.len() == 2,
        "{told:#?}"
    );
}

#[test]
fn places_that_count_together_for_links_are_told_together() {
    let text = |projects: &str, domains: &str, prefix: &str| {
        let allow = format!(
            "{{ projects: [{projects}], domains: [{domains}], role: viewer, download_prefixes: [\"{prefix}\"] }}"
        );
        let deny = "  - { name: d, subjects: [{ anyone: true }], deny: [{ projects: [b], domains: [staging], actions: [view_data] }] }\n";
        format!("version: 1\nrules:\n  - {{ name: r, subjects: [{{ anyone: true }}], allow: [{allow}] }}\n{deny}")
    };
    let reads = |text: &str, url: &str| policy(text).resolve(&caller(&[]), &mut ()).grants_object(url).is_some();
    for (wide, narrow, prefix, url) in [
        (
            ["a, b", "staging"],
            ["a", "staging"],
            "s3://shared/${domain}",
            "s3://shared/staging/x",
        ),
        (
            ["b", "staging, development"],
            ["b", "development"],
            "s3://shared/${project}",
            "s3://shared/b/x",
        ),
    ] {
        let [wide, narrow] = [wide, narrow].map(|[projects, domains]| text(projects, domains, prefix));
        assert!(!reads(&wide, url) && reads(&narrow, url), "{prefix}");
        for (old, new) in [(&wide, &narrow), (&narrow, &wide)] {
            let told = lines(old, new);
            let both = ["gained: ", "lost: "].map(|change| told.iter().any(|line| line.starts_with(change)));
            assert_eq!(both, [true; 2], "{told:#?}");
        }
    }
    // A path that tells its place is about that place alone.
    let [wide, narrow] = ["a, b", "a"].map(|projects| text(projects, "staging", "s3://data/${project}/${domain}"));
    let told = lines(&wide, &narrow);
    assert!(told.len() == 1 && told[0].starts_with("lost: "), "{told:#?}");
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

#[test]
fn only_the_actions_that_nothing_else_covers_are_told() {
    let of = |actions: &str| rule("{ groups: [ml] }", &ML.replace("role: viewer", actions));
    let one = |change: &str, action: &str| {
        let was = if change == "lost" { "was " } else { "" };
        format!(
            "{change}: groups: ml: {action} in project ml, domain production, staging ({was}allowed by rule r (policy.yaml:2))"
        )
    };
    assert_eq!(
        lines(
            &of("actions: [view_data, use_inventory]"),
            &of("actions: [upload_data, view_data]")
        ),
        [one("gained", "upload_data"), one("lost", "use_inventory")]
    );
}

#[test]
fn a_pattern_covers_the_projects_that_it_matches_and_what_is_written_alike() {
    let of = |group: &str, project: &str| {
        let subject = format!("{{ groups: [\"{group}\"] }}");
        rule(&subject, &ML.replace("[ml]", &format!("[\"{project}\"]")))
    };
    let changes = |old: &str, new: &str| {
        let told = diff(&policy(old), &policy(new));
        told.iter().map(|difference| difference.change).collect::<Vec<_>>()
    };
    let (gained, lost) = (Change::Gained, Change::Lost);
    assert_eq!(changes(&of("ml", "data-*"), &of("ml", "data-a")), [lost]);
    assert_eq!(changes(&of("ml", "data-*"), &of("ml", "ml")), [gained, lost]);
    assert_eq!(changes(&of("ml", "data-*"), &of("ml", "d*")), [gained]);
    let from_claims = |group: &str| of(group, "${claims.team}");
    assert_eq!(changes(&from_claims("ml"), &from_claims("m*")), [gained]);
    assert_eq!(
        changes(&from_claims("ml"), &of("ml", "${claims.other}")),
        [gained, lost]
    );
}

#[test]
fn a_kind_that_is_not_listed_beside_one_that_is_is_wholly_allowed_and_not_denied() {
    let with = |effect: &str, lists: &str| {
        rule(
            "{ anyone: true }",
            &format!("{effect}: [{{ projects: [ml], domains: [staging], actions: [view_inventory], {lists} }}]"),
        )
    };
    let (less, more) = ("tasks: [t]", "tasks: [t], workflows: [w]");
    for (effect, old, new, starts) in [
        ("allow", less, more, "lost: "),
        ("allow", more, less, "gained: "),
        ("deny", less, more, "lost: "),
        ("deny", more, less, "gained: "),
    ] {
        let told = lines(&with(effect, old), &with(effect, new));
        assert!(
            told.len() == 1 && told[0].starts_with(starts),
            "{effect} {old}: {told:#?}"
        );
    }
}

#[test]
fn what_guards_need_of_the_claims_is_told_and_not_what_they_take_from_the_call() {
    let guarded = rule(
        "{ anyone: true }",
        "allow: [{ projects: [ml], domains: [staging], role: operator, service_accounts: [\"${claims.team}-a\", \"${project}-b\"] }]",
    );
    let told = diff(&policy("version: 1\n"), &policy(&guarded));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].given, ["setting ${claims.team}-a"]);
    assert!(
        told[0]
            .guards
            .contains("service_accounts [${claims.team}-a, ${project}-b]")
    );
}

/// Rules, one a line, with what the other generator leaves out: names from claims, patterns.
fn generated_rules() -> impl Strategy<Value = Vec<String>> {
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
    let plain = generated_rule().prop_map(|rule| {
        let text = text_of([(0, &rule)]);
        text.lines()
            .last()
            .unwrap()
            .trim_start_matches("  - ")
            .replace("name: r0", "name: N")
    });
    proptest::collection::vec(prop_oneof![3 => plain, 1 => claims.prop_map(str::to_owned)], 0..4)
}

/// A policy and what becomes of it: some rules change, and what is custom or revoked.
fn generated_change() -> impl Strategy<Value = (String, String)> {
    let rest = prop_oneof![
        6 => Just(""),
        1 => Just("revoked: [{ groups: [a] }]\n"),
        1 => Just("revoked: [{ groups: [a, b] }, { email: [a] }]\n"),
        1 => Just("roles: { custom: [view_data] }\n"),
        1 => Just("roles: { custom: [view_data, create_executions] }\n"),
    ];
    let rules = (generated_rules(), generated_rules(), generated_rules());
    (rules, rest.clone(), rest).prop_map(|((kept, gone, come), before, after)| {
        let text = |rules: Vec<String>, rest: &str| {
            let numbered = rules.iter().enumerate();
            let lines = numbered.map(|(n, rule)| format!("  - {}\n", rule.replace("name: N", &format!("name: r{n}"))));
            let lines: String = lines.collect();
            let rules = if lines.is_empty() {
                String::new()
            } else {
                format!("rules:\n{lines}")
            };
            format!("version: 1\n{rules}{rest}")
        };
        (
            text([kept.clone(), gone].concat(), before),
            text([come, kept].concat(), after),
        )
    })
}

/// Callers who differ in all that the generated rules look at.
fn callers() -> Vec<Principal> {
    let all_groups: [&[&str]; 5] = [&[], &["a"], &["b"], &["a", "c"], &["other"]];
    let claims = [
        json!({}),
        json!({"team": "p", "domain": "staging", "role": "viewer"}),
        json!({"team": ["q", "p"], "domain": "production", "role": "custom"}),
        json!({"team": "pq", "role": "none"}),
        json!({"team": ["*", "t"]}),
    ];
    let each = all_groups.iter().zip(&claims).flat_map(|(groups, claims)| {
        let email = [None, Some("a"), Some("x")].into_iter();
        email.map(|email| Principal {
            email: email.map(Arc::from),
            claims: Arc::new(claims.as_object().unwrap().clone()),
            ..caller(groups)
        })
    });
    each.collect()
}

/// One of each kind of target.
fn targets() -> Vec<Target> {
    let named = |kind, name: &str| {
        Some(Resource::Named {
            kind,
            name: name.into(),
        })
    };
    let resources = [
        None,
        named(ResourceKind::Task, "t"),
        named(ResourceKind::LaunchPlan, "l"),
        Some(Resource::Every(ResourceKind::Workflow)),
        Some(Resource::Every(ResourceKind::Task)),
        Some(Resource::Unnamed),
        Some(Resource::Listed(None)),
    ];
    let mut scopes = vec![Scope::Global];
    for project in ["p", "q", "pq"] {
        scopes.extend([
            Scope::Project(project.into()),
            Scope::ProjectInSomeDomain(project.into()),
        ]);
        scopes.extend(["staging", "production", "unknown"].map(|domain| Scope::ProjectDomain {
            project: project.into(),
            domain: domain.into(),
        }));
    }
    let needs = [Action::ViewData, Action::ViewInventory, Action::CreateExecutions];
    let each = scopes.iter().flat_map(|scope| {
        let needs = needs.iter();
        needs.flat_map(|action| {
            resources.iter().map(|resource| Target {
                scope: scope.clone(),
                needs: (*action).into(),
                resource: resource.clone(),
                field: "".into(),
                role: TargetRole::Acts,
            })
        })
    });
    each.collect()
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

/// Checks that a decision that changes is told in its direction.
fn is_told(found: &[Found<'_>], rights: [&Rights; 2], principal: &Principal, targets: &[Target]) -> bool {
    let [before, after] = rights.map(|rights| outcome(rights, targets).is_ok());
    let change = match (before, after) {
        (false, true) => Change::Gained,
        (true, false) => Change::Lost,
        _ => return true,
    };
    let accounts = |one: &Found<'_>| one.change == change && accounts_for(one, principal, targets);
    found.iter().any(accounts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn whatever_is_decided_otherwise_is_told_in_its_direction_and_nothing_of_the_same_policy(
        (old, new) in generated_change(),
        several in proptest::collection::vec(generated_target(), 2..4),
    ) {
        let (old_policy, new_policy) = (policy(&old), policy(&new));
        let (before, after) = (Pieces::of(&old_policy), Pieces::of(&new_policy));
        let all = found(&before, &after);
        let single = targets();
        for principal in callers() {
            let rights = [old_policy.resolve(&principal, &mut ()), new_policy.resolve(&principal, &mut ())];
            let rights = [&rights[0], &rights[1]];
            prop_assert!(is_told(&all, rights, &principal, &several), "{principal:?} {several:?}\n{old}{new}");
            for target in &single {
                let target = std::slice::from_ref(target);
                prop_assert!(is_told(&all, rights, &principal, target), "{principal:?} {target:?}\n{old}{new}");
            }
        }
        prop_assert_eq!(diff(&old_policy, &new_policy).is_empty(), all.is_empty());
        prop_assert!(diff(&old_policy, &old_policy).is_empty());
        // Backwards everything is the other way round.
        prop_assert_eq!(found(&after, &before).len(), all.len());
    }
}

#[test]
fn twenty_thousand_rules_are_compared_in_time() {
    let text = |from: usize| {
        let mut rules = String::new();
        for n in from..from + 10_000 {
            let entry = format!("{{ projects: [p{n}], domains: [\"*\"], role: viewer }}");
            writeln!(
                rules,
                "  - {{ name: r{n}, subjects: [{{ groups: [g{n}] }}], allow: [{entry}] }}"
            )
            .unwrap();
        }
        policy(&format!("version: 1\nrules:\n{rules}"))
    };
    let told = diff(&text(0), &text(1));
    assert_eq!(told.len(), 2);
    assert_eq!(
        (told[0].subject.as_str(), told[1].subject.as_str()),
        ("groups: g10000", "groups: g0")
    );
}
