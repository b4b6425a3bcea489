//! Who may do what, by example and in agreement with the decision.

use super::*;
use crate::policy::tests::{caller, policy};

const POLICY: &str = r#"
version: 1
rules:
  - name: team
    subjects: [{ groups: [ml, "ml-*"] }, { client_id: [ci], issuer: i }]
    allow: [{ projects: [ml], domains: [staging], role: contributor }]
  - name: by-name
    subjects: [{ claim: groups, pattern: "flyte-(?<project>[a-z0-9-]+)-(?<role>viewer|contributor)" }]
    allow: [{ projects: ["${project}"], domains: ["*"], role: "${role}" }]
  - name: odd
    subjects: [{ claim: groups, pattern: "x+-(?<project>[a-z]+)" }]
    allow: [{ projects: ["${project}"], domains: [staging], actions: [view_data] }]
  - name: owners
    subjects: [{ claim: owned, values: ["*"] }]
    allow: [{ projects: ["team-${claims.owned}"], domains: [staging], role: viewer }]
  - name: hook
    subjects: [{ client_id: [hook] }]
    allow: [{ projects: [ml], domains: [staging], actions: [create_executions], tasks: [t], launch_plans: [] }]
  - name: admin
    subjects: [{ groups: [admin] }]
    allow: [{ projects: ["*"], domains: ["*"], role: platform_admin }]
  - name: freeze
    subjects: [{ anyone: true }]
    deny: [{ domains: [production], actions: [register_inventory] }, { projects: [ml], actions: [create_executions], tasks: [bad] }]
    unless: [{ groups: [release] }, { client_id: [ci] }]
revoked: [{ subject: [mallory] }]
"#;

fn shown(action: Action, place: Option<(&str, &str)>, thing: Option<(ResourceKind, &str)>) -> [Vec<String>; 2] {
    let found = policy(POLICY).who_can(&Deed { action, place, thing });
    let line = |callers: &Callers| {
        let with: Vec<String> = callers
            .with
            .iter()
            .map(|with| {
                format!(
                    "{:?}",
                    with.claim.clone().unwrap_or_else(|| format!("{:?}", with.variables))
                )
            })
            .collect();
        format!(
            "{} {} {}{:?}",
            callers.rule.name(),
            callers.subject,
            with.join(" "),
            callers.only
        )
    };
    assert_eq!(found.revoked.len(), 1);
    [&found.allowed, &found.denied].map(|list| list.iter().map(line).collect())
}

#[test]
fn everybody_whom_a_rule_allows_it_is_told_with_a_claim_that_would_do() {
    let [allowed, denied] = shown(Action::ViewData, Some(("ml", "staging")), None);
    assert_eq!(
        allowed,
        [
            "team groups: ml or ml-* {}",
            "team client_id: ci and issuer: i {}",
            "by-name claim groups like flyte-(?<project>[a-z0-9-]+)-(?<role>viewer|contributor) \"flyte-ml-contributor\" \"flyte-ml-viewer\"{}",
            "odd claim groups like x+-(?<project>[a-z]+) \"{\\\"project\\\": \\\"ml\\\"}\"{}",
            "admin groups: admin {}",
        ]
    );
    assert_eq!(denied, [""; 0]);
    let [allowed, _] = shown(Action::ViewData, Some(("team-x", "staging")), None);
    assert!(
        allowed
            .iter()
            .any(|line| line.starts_with("owners") && line.contains("claims.owned\\\": \\\"x")),
        "{allowed:#?}"
    );
    // No group can be called so: the role has no such action.
    let [allowed, denied] = shown(Action::RegisterInventory, Some(("ml", "production")), None);
    assert!(
        allowed.iter().all(|line| !line.contains("flyte-ml-viewer")),
        "{allowed:#?}"
    );
    assert_eq!(denied, ["freeze anyone {}"]);
    let place = Some(("ml", "production"));
    let found = policy(POLICY).who_can(&Deed {
        action: Action::RegisterInventory,
        place,
        thing: None,
    });
    let spared: Vec<_> = found.denied.iter().map(|callers| callers.unless.join(", ")).collect();
    assert_eq!(spared, ["groups: release, client_id: ci"]);
    let [allowed, _] = shown(Action::AdministerPlatform, None, None);
    assert_eq!(allowed, ["admin groups: admin {}"]);
}

#[test]
fn lists_are_told_and_judged_for_one_thing() {
    let place = Some(("ml", "staging"));
    let hook = |thing: Option<&str>| {
        let [allowed, denied] = shown(
            Action::CreateExecutions,
            place,
            thing.map(|name| (ResourceKind::Task, name)),
        );
        let of_hook = allowed.into_iter().find(|line| line.starts_with("hook"));
        (of_hook, denied.len())
    };
    assert_eq!(
        hook(None),
        (
            Some("hook client_id: hook {\"launch_plan\": [], \"task\": [\"t\"]}".to_owned()),
            1
        )
    );
    assert_eq!(hook(Some("t")), (Some("hook client_id: hook {}".to_owned()), 0));
    assert_eq!(hook(Some("bad")), (None, 1));
}

/// Everybody who is told can, and nobody who is not.
#[test]
fn it_agrees_with_the_decision_for_groups() {
    use crate::model::scope::Scope;
    use crate::policy::show::Shown;
    let policy = policy(POLICY);
    for action in Action::ALL {
        for (project, domain) in [("ml", "staging"), ("ml", "production"), ("other", "development")] {
            let deed = Deed {
                action: *action,
                place: Some((project, domain)),
                thing: None,
            };
            let found = policy.who_can(&deed);
            for group in ["ml", "ml-x", "admin", "nobody"] {
                let shown = Shown {
                    scope: Scope::ProjectDomain {
                        project: project.into(),
                        domain: domain.into(),
                    },
                    needs: (*action).into(),
                    resource: None,
                    named_in: None,
                };
                let may = policy.resolve(&caller(&[group]), &mut ()).shows(shown);
                let wanted = if group == "admin" {
                    "groups: admin"
                } else {
                    "groups: ml or ml-*"
                };
                let told = found.allowed.iter().any(|callers| callers.subject == wanted) && group != "nobody";
                let denied = found.denied.iter().any(|callers| callers.only.is_empty());
                assert_eq!(may, told && !denied, "{group} {action} {project} {domain}");
            }
        }
    }
}

const COMPLETED: &str = r#"
version: 1
rules:
  - name: listed
    subjects: [{ claim: team, pattern: "team-(?<p>[a-z]+)" }]
    allow:
      - projects: ["${p}"]
        domains: [staging]
        actions: [create_executions]
        tasks: ["${p}-t", u]
        launch_plans: []
        service_accounts: ["${p}-account"]
  - name: unknown
    subjects: [{ anyone: true }]
    allow:
      - { projects: [ml], domains: [staging], actions: [create_executions], tasks: ["${claims.task}"], launch_plans: [] }
  - name: twice
    subjects: [{ anyone: true }]
    allow:
      - { projects: ["${claims.x}"], domains: ["${claims.x}"], actions: [create_executions], tasks: ["${claims.task}"], launch_plans: [] }
  - name: nested
    subjects: [{ claim: team, pattern: "a-(?<p>(?:x|ml)+)-b" }, { claim: team, pattern: "g-(?<p>[a-z\\)]+)-h" }]
    allow: [{ projects: ["${p}"], domains: [staging], actions: [upload_data] }]
  - name: platform
    subjects: [{ claim: team, pattern: "all-(?<role>[a-z_]+)" }]
    allow: [{ projects: ["*"], domains: ["*"], role: "${role}" }]
  - name: guarded
    subjects: [{ groups: [guarded] }]
    allow: [{ projects: [ml], domains: [staging], actions: [create_executions], impersonate: true }]
"#;

/// The rules that allow it, each with the values of claims, names and guards.
fn completed(action: Action, place: Option<(&str, &str)>, task: Option<&str>) -> Vec<String> {
    let thing = task.map(|name| (ResourceKind::Task, name));
    let found = policy(COMPLETED).who_can(&Deed { action, place, thing });
    let values = |callers: &Callers| {
        let one = |values: &Values| {
            values
                .claim
                .clone()
                .unwrap_or_else(|| format!("{:?}", values.variables))
        };
        callers.with.iter().map(one).collect::<Vec<_>>().join(" ")
    };
    let line = |callers: &Callers| {
        format!(
            "{} {} {:?} {:?}",
            callers.rule.name(),
            values(callers),
            callers.only,
            callers.guards
        )
    };
    found.allowed.iter().map(line).collect()
}

#[test]
fn an_entry_that_is_completed_from_claims_is_told_with_its_names_and_guards_where_it_can_be_about_the_deed() {
    let place = Some(("ml", "staging"));
    let create = Action::CreateExecutions;
    let only = r#"{"launch_plan": [], "task": ["${p}-t", "u"]}"#;
    let unknown = r#"{"launch_plan": [], "task": ["${claims.task}"]}"#;
    assert_eq!(
        completed(create, place, None),
        [
            format!(r#"listed team-ml {only} {{"service_accounts [${{p}}-account]"}}"#),
            format!("unknown {{}} {unknown} {{}}"),
            "platform all-contributor all-engine all-operator all-platform_admin all-project_admin {} {}".to_owned(),
            r#"guarded  {} {"impersonate"}"#.to_owned(),
        ]
    );
    // One value for both.
    let same = completed(create, Some(("staging", "staging")), None);
    assert!(
        same.contains(&format!(r#"twice {{"claims.x": "staging"}} {unknown} {{}}"#)),
        "{same:#?}"
    );
    let rules = |place, task| {
        let lines = completed(create, place, Some(task));
        lines
            .iter()
            .filter_map(|line| line.split(' ').next().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(rules(place, "ml-t"), ["listed", "unknown", "platform", "guarded"]);
    assert_eq!(rules(place, "x-t"), ["unknown", "platform", "guarded"]);
    assert_eq!(rules(Some(("ml", "production")), "ml-t"), ["platform"]);
    let platform = completed(Action::AdministerPlatform, None, None);
    assert_eq!(platform, ["platform all-platform_admin {} {}"]);
}

#[test]
fn a_value_of_a_claim_is_made_for_groups_with_parentheses_in_them() {
    let found = completed(Action::UploadData, Some(("ml", "staging")), None);
    assert_eq!(
        found.first().map(String::as_str),
        Some("nested a-ml-b {} {}"),
        "{found:#?}"
    );
    assert_eq!(
        found.get(1).map(String::as_str),
        Some("nested g-ml-h {} {}"),
        "{found:#?}"
    );
}
