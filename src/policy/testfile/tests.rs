//! A decision test that is wrong says where and how; one that is right counts.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::catalog::{Extent, Plan, ResourceSource, Route, Slot, SlotRole};
use crate::policy::tests::policy;

const POLICY: &str = r#"
version: 1
rules:
  - name: team
    subjects: [{ groups: [team] }]
    allow: [{ projects: [ml], domains: ["*"], role: viewer }]
  - name: freeze
    subjects: [{ anyone: true }]
    deny: [{ domains: [production], actions: [view_data] }]
"#;

fn report(cases: &str) -> TestReport {
    run(
        &policy(POLICY),
        Path::new("p.test.yaml"),
        &format!("cases:\n{cases}"),
        None,
    )
}

/// The only failure of a case with these lines: `line:column: message`.
fn failure(lines: &[&str]) -> String {
    let report = report(&format!(
        "  - name: c\n    principal: {{ groups: [team] }}\n    {}\n",
        lines.join("\n    ")
    ));
    assert_eq!(report.failures.len(), 1, "{report:#?}");
    let problem = &report.failures[0];
    assert!(problem.snippet.contains('^'), "{problem}");
    format!("{}:{}: {}", problem.line, problem.column, problem.message)
}

#[test]
fn decisions_that_come_out_as_expected_are_counted() {
    let report = report(
        r#"
  - { name: a, principal: { groups: [team] }, action: view_data, project: ml, domain: staging, expect: allow, rule: team }
  - { name: b, principal: { groups: [team] }, action: view_data, project: ml, domain: production, expect: deny, reason: denied_by_rule, rule: freeze }
  - { name: c, principal: {}, action: view_data, project: ml, domain: staging, expect: deny, reason: no_matching_rule }
  - { name: d, principal: { groups: [team] }, project: ml, domain: staging, allow: [view_data, view_inventory, view_executions], deny: ["*"] }
  - { name: e, principal: { groups: [team] }, action: view_inventory, project: ml, domain: staging, resource: { every: task }, expect: allow }
  - { name: f, principal: { groups: [team] }, action: view_inventory, project: ml, domain: staging, resource: unnamed, expect: allow }
"#,
    );
    assert_eq!(
        report,
        TestReport {
            passed: 5 + Action::ALL.len(),
            failures: Vec::new()
        }
    );
}

#[test]
fn decisions_that_come_out_differently_say_how() {
    let staging = "project: ml\n    domain: staging";
    for (lines, expected) in [
        (
            vec!["action: upload_data", staging, "expect: allow"],
            "2:11: case `c`, upload_data: expected allow, but it is refused: no_matching_rule: no rule allows upload_data in project ml, domain staging",
        ),
        (
            vec![
                "action: view_data",
                "project: ml",
                "domain: production",
                "expect: allow",
            ],
            "2:11: case `c`, view_data: expected allow, but it is refused by rule freeze (policy.yaml:7): denied_by_rule: a rule denies view_data in project ml, domain production",
        ),
        (
            vec!["action: view_data", staging, "expect: deny"],
            "2:11: case `c`, view_data: expected deny, but it is allowed by rule team (policy.yaml:4)",
        ),
        (
            vec!["action: upload_data", staging, "expect: deny", "reason: denied_by_rule"],
            "2:11: case `c`, upload_data: expected reason `denied_by_rule`, but it is `no_matching_rule`",
        ),
        (
            vec!["action: view_data", staging, "expect: allow", "rule: freeze"],
            "2:11: case `c`, view_data: expected rule `freeze`, but it is team (policy.yaml:4)",
        ),
        (
            vec!["action: upload_data", staging, "expect: deny", "rule: freeze"],
            "2:11: case `c`, upload_data: expected rule `freeze`, but it is none",
        ),
        (
            vec![staging, "allow: [upload_data]"],
            "2:11: case `c`, upload_data: expected allow, but it is refused: no_matching_rule: no rule allows upload_data in project ml, domain staging",
        ),
    ] {
        assert_eq!(failure(&lines), expected);
    }
}

#[test]
fn mistakes_in_a_case_are_reported_at_their_place() {
    for (lines, expected) in [
        (
            vec!["action: view_dato", "expect: deny"],
            "4:13: case `c`: unknown action `view_dato`",
        ),
        (
            vec!["action: view_data", "expect: deny", "reason: nope"],
            "6:13: case `c`: unknown reason `nope`",
        ),
        (
            vec!["action: view_data", "domain: staging", "expect: deny"],
            "2:11: case `c`: `domain` needs a `project`",
        ),
        (
            vec!["rpc: /a/b", "expect: deny"],
            "4:10: case `c`: `rpc` needs a catalogue; write `action`",
        ),
        (
            vec!["action: view_data", "expect: allow", "sets: {}"],
            "2:11: case `c`: `asks_for` and `sets` are about a request: name its `rpc`",
        ),
        (
            vec!["action: view_data", "expect: allow", "asks_for: { secret: s }"],
            "6:25: case `c`: `asks_for` and `sets` are about a request: name its `rpc`",
        ),
        (
            vec!["allow: []"],
            "2:11: case `c`: `allow` and `deny` are empty and test nothing; name an action",
        ),
    ] {
        assert_eq!(failure(&lines), expected);
    }
    for lines in [
        vec!["action: view_data"],
        vec!["expect: deny"],
        vec!["action: view_data", "rpc: /a/b", "expect: deny"],
        vec!["action: view_data", "expect: deny", "allow: [view_data]"],
        vec!["allow: [view_data]", "rule: team"],
    ] {
        assert!(
            failure(&lines).starts_with("2:11: case `c`: write either one of"),
            "{lines:?}"
        );
    }
    for lines in [
        vec!["action: view_data", "expect: maybe"],
        vec!["acton: view_data"],
        vec!["resource: { app: x }"],
    ] {
        assert_eq!(
            report(&format!(
                "  - name: c\n    principal: {{}}\n    {}\n",
                lines.join("\n    ")
            ))
            .failures
            .len(),
            1
        );
    }
    assert!(report("  []\n").failures[0].message.contains("tests nothing"));
}

#[test]
fn a_case_says_when_the_token_was_issued_and_without_that_it_counts_as_old() {
    let policy = policy(
        "version: 1
rules:
  - { name: team, subjects: [{ groups: [team] }], allow: [{ projects: [ml], domains: [\"*\"], role: viewer }] }
revoked:
  - { groups: [team], issued_before: 2026-11-20T08:00:00Z }
",
    );
    let run = |principal: &str, expect: &str| {
        let case = format!(
            "cases: [{{ name: c, principal: {{ groups: [team], {principal} }}, action: view_data, project: ml, domain: staging, expect: {expect} }}]"
        );
        run(&policy, Path::new("p.test.yaml"), &case, None)
    };
    let refused = "deny, reason: token_revoked, rule: \"revoked[0]\"";
    for (principal, expect) in [
        ("issued_at: 2026-11-20T07:59:59Z", refused),
        ("subject: alice", refused),
        ("claims: { iat: 1795161599 }", refused),
        ("issued_at: 2026-11-20T08:00:00Z", "allow, rule: team"),
        ("claims: { iat: 1795161600 }", "allow, rule: team"),
    ] {
        let report = run(principal, expect);
        assert_eq!((report.passed, report.failures), (1, Vec::new()), "{principal}");
    }
    let allowed = run("issued_at: 2026-11-20T07:59:59Z", "allow");
    assert_eq!(
        allowed.failures[0].message,
        "case `c`, view_data: expected allow, but it is refused by rule revoked[0] (policy.yaml:5): token_revoked: \
         the token was revoked; log in again"
    );
    for (principal, fault) in [
        ("issued_at: now", "case `c`: `now` is no point in time"),
        (
            "issued_at: 2026-11-20T08:00:00Z, claims: { iat: 1 }",
            "case `c`: `issued_at` is the claim `iat`; write one of them",
        ),
    ] {
        let report = run(principal, "allow");
        assert!(report.failures[0].message.starts_with(fault), "{:?}", report.failures);
    }
}

#[test]
fn the_scope_of_an_rpc_is_what_its_route_says() {
    let case =
        |text: &str| -> CaseDocument { parse(Path::new("x"), &format!("name: c\nprincipal: {{}}\n{text}\n")).unwrap() };
    let of = |extent, resource| Route {
        index: 0,
        rpc: "/s/M".into(),
        request: "R".into(),
        access: Access::Scoped,
        action: Action::ViewInventory,
        choices: Vec::new(),
        plan: Plan::new(
            Vec::new(),
            vec![Slot {
                at: "".into(),
                parts: Vec::new(),
                required: true,
                filled: Vec::new(),
                accept: Vec::new(),
                role: SlotRole::Scope { extent, resource },
            }],
        ),
        bindings: Vec::new(),
        ignored: Vec::new(),
        answer: None,
        writes: [].into(),
    };
    let target = |text: &str, extent, resource| {
        let route = of(extent, resource);
        let question = route::question(&case(text), &route, Expected::Allow);
        let targets = question.ok()?.targets;
        assert_eq!(targets.len(), 1, "{targets:?}");
        targets.into_iter().next().map(|target| (target.scope, target.resource))
    };
    let both = Scope::ProjectDomain {
        project: "p".into(),
        domain: "d".into(),
    };
    let tasks = ResourceSource::Always(ResourceKind::Task);
    let named = Resource::Named {
        kind: ResourceKind::Task,
        name: "t".into(),
    };
    let (domain, project) = ("project: p\ndomain: d", "project: p");
    assert_eq!(
        target(domain, Extent::Domain, ResourceSource::None),
        Some((both.clone(), None))
    );
    assert_eq!(
        target(domain, Extent::Domain, tasks),
        Some((both.clone(), Some(Resource::Every(ResourceKind::Task))))
    );
    assert_eq!(
        target(domain, Extent::Domain, ResourceSource::Stored { again: false }),
        Some((both.clone(), Some(route::run_by(None, &both, false))))
    );
    assert_eq!(
        target("project: p\ndomain: d\nresource: { task: t }", Extent::Domain, tasks),
        Some((both, Some(named)))
    );
    assert_eq!(
        target(project, Extent::Project, ResourceSource::None),
        Some((Scope::Project("p".into()), None))
    );
    assert_eq!(
        target(project, Extent::SomeDomain, ResourceSource::None),
        Some((Scope::ProjectInSomeDomain("p".into()), None))
    );
    assert_eq!(
        target("", Extent::Platform, ResourceSource::None),
        Some((Scope::Global, None))
    );
    assert_eq!(target(project, Extent::Domain, ResourceSource::None), None);
    assert_eq!(target(domain, Extent::Project, ResourceSource::None), None);
    assert_eq!(target("", Extent::SomeDomain, ResourceSource::None), None);
}

const LISTS: &str = r#"
version: 1
rules:
  - name: hook
    subjects: [{ groups: [hook] }]
    allow: [{ projects: [ml], domains: [staging], role: viewer, tasks: [t], launch_plans: [] }]
  - name: team
    subjects: [{ groups: [team] }]
    allow: [{ projects: [ml], domains: ["*"], role: viewer }]
"#;

#[test]
fn a_call_whose_answer_is_filtered_is_neither_allowed_nor_denied() {
    let catalog = Catalog::builtin().unwrap();
    let report = |group: &str, rpc: &str, rest: &str| {
        let case = format!(
            "cases:\n  - {{ name: c, principal: {{ groups: [{group}] }}, rpc: /flyteidl.service.AdminService/{rpc}, \
             project: ml, domain: staging, {rest} }}\n"
        );
        let report = run(&policy(LISTS), Path::new("p.test.yaml"), &case, Some(&catalog));
        report.failures.first().map(|problem| problem.message.clone())
    };
    for rpc in ["ListTasks", "ListNamedEntities", "ListExecutions"] {
        assert_eq!(report("hook", rpc, "expect: filtered, rule: hook"), None, "{rpc}");
        assert_eq!(report("team", rpc, "expect: allow"), None, "{rpc}");
    }
    assert_eq!(
        report("hook", "ListWorkflows", "expect: allow"),
        None,
        "workflows are not restricted"
    );
    assert_eq!(
        report("hook", "ListTasks", "resource: { task: t }, expect: allow"),
        None
    );
    assert_eq!(
        report(
            "hook",
            "ListTasks",
            "resource: { task: x }, expect: deny, reason: resource_not_listed"
        ),
        None
    );
    // Descriptions are found whatever kind is asked for: what is listed as a task is not as a launch plan.
    let (list, get) = ("ListDescriptionEntities", "GetDescriptionEntity");
    assert_eq!(report("hook", list, "expect: filtered"), None);
    assert_eq!(report("team", list, "expect: allow"), None);
    let refused = "resource: { task: t }, expect: deny, reason: resource_not_listed";
    for rpc in [list, get] {
        assert_eq!(report("hook", rpc, refused), None);
        assert_eq!(report("team", rpc, "resource: { task: t }, expect: allow"), None);
    }
    let told = |group: &str, expect: &str| report(group, "ListTasks", &format!("expect: {expect}")).unwrap();
    assert!(
        told("hook", "allow").contains("write `expect: filtered`"),
        "{}",
        told("hook", "allow")
    );
    assert!(told("hook", "deny").contains("expected deny, but it is allowed by rule hook"));
    assert!(told("team", "filtered").contains("write `expect: allow`"));
    assert!(told("nobody", "filtered").contains("expected filtered, but it is refused"));
}

#[test]
fn a_case_that_says_what_is_set_says_all_of_it() {
    let setting = "version: 1
rules:
  - name: team
    subjects: [{ groups: [team] }]
    allow: [{ projects: [ml], domains: [staging], role: operator, set: { service_account: a, cluster_pool: p } }]
";
    let (policy, catalog) = (policy(setting), Catalog::builtin().unwrap());
    let report = |rest: &str| {
        let case = format!(
            "cases:\n  - {{ name: c, principal: {{ groups: [team] }}, rpc: /flyteidl.service.AdminService/CreateExecution, \
             project: ml, domain: staging, expect: allow{rest} }}\n"
        );
        let report = run(&policy, Path::new("p.test.yaml"), &case, Some(&catalog));
        report.failures.first().map(|problem| problem.message.clone())
    };
    for right in ["", ", sets: { service_account: a, cluster_pool: p }"] {
        assert_eq!(report(right), None);
    }
    for wrong in [
        "{}",
        "{ service_account: a }",
        "{ service_account: b, cluster_pool: p }",
        "{ service_account: a, cluster_pool: p, iam_role: r }",
    ] {
        let told = report(&format!(", sets: {wrong}")).unwrap();
        assert!(
            told.contains("expected other `sets`, but it is given { "),
            "{wrong}: {told}"
        );
        assert!(
            told.contains("service_account: a") && told.contains("cluster_pool: p"),
            "{told}"
        );
    }
}

#[test]
fn a_case_that_starts_something_and_does_not_say_what_starts_what_no_list_names() {
    let catalog = Catalog::builtin().unwrap();
    let outcome = |entry: &str, more: &str, call: &str, resource: &str| {
        let policy = policy(&format!(
            "version: 1
rules:
  - {{ name: r, subjects: [{{ anyone: true }}], allow: [{{ projects: [ml], domains: [staging], role: operator{entry} }}]{more} }}
"
        ));
        let case = format!(
            "cases: [{{ name: c, principal: {{}}, {call}, project: ml, domain: staging, expect: allow{resource} }}]"
        );
        let report = run(&policy, Path::new("p.test.yaml"), &case, Some(&catalog));
        report.failures.first().map(|problem| problem.message.clone())
    };
    let lists = ", launch_plans: [l], tasks: []";
    let calls = [
        "rpc: /flyteidl.service.AdminService/CreateExecution",
        "action: create_executions",
    ];
    for call in calls {
        for entry in [lists, ", launch_plans: []", ", tasks: [], workflows: []"] {
            let told = outcome(entry, "", call, "").unwrap();
            assert!(
                told.contains("resource_not_listed") && told.contains(" `*` in project ml"),
                "{told}"
            );
        }
        assert_eq!(outcome(lists, "", call, ", resource: { launch_plan: l }"), None);
        // Nothing is started of a workflow, other things than those denied by name can be, and what is set is no matter.
        for entry in ["", ", workflows: []", ", set: { service_account: a }"] {
            assert_eq!(outcome(entry, "", call, ""), None, "{entry}");
        }
        let deny = ", deny: [{ actions: [create_executions], launch_plans: [broken] }]";
        assert_eq!(outcome("", deny, call, ""), None);
    }
    // Other actions are not about one thing.
    assert_eq!(outcome(lists, "", "action: terminate_executions", ""), None);
}
