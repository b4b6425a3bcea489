//! What rules say of settings holds for the names that they cover: calls as they are read from requests, and the same
//! calls as decision tests name them.

use crate::catalog::Catalog;
use crate::extract::WalkLimits;
use crate::extract::targets::{Input, Payload, ScopeRules, targets};
use crate::policy::decide::{Call, Refusal};
use crate::policy::testfile;
use crate::policy::tests::{caller, domains, policy};
use serde_json::{Value, json};
use std::path::Path;

const POLICY: &str = r"
version: 1
rules:
  - name: engineers
    subjects: [{ groups: [guarded, offered] }]
    allow: [{ projects: [ml], domains: [production], actions: [create_executions], service_accounts: [ml-runner] }]
  - name: one-task
    subjects: [{ groups: [guarded, given, listed] }]
    allow:
      - projects: [ml]
        domains: [production]
        actions: [create_executions]
        tasks: [harmless]
        workflows: []
        launch_plans: []
  - name: guarded-task
    subjects: [{ groups: [offered] }]
    allow:
      - projects: [ml]
        domains: [production]
        actions: [create_executions]
        tasks: [harmless]
        launch_plans: []
        service_accounts: [of-the-task]
  - name: given
    subjects: [{ groups: [given] }]
    allow: [{ projects: [ml], domains: [production], actions: [create_executions], set: { service_account: etl-runner } }]
  - name: etl
    subjects: [{ groups: [two] }]
    allow:
      - projects: [ml]
        domains: [production]
        actions: [create_executions]
        tasks: []
        launch_plans: [etl, shared/etl]
        set: { service_account: etl-runner }
  - name: report
    subjects: [{ groups: [two] }]
    allow:
      - projects: [ml]
        domains: [production]
        actions: [create_executions]
        tasks: []
        launch_plans: [report, shared/report]
        set: { service_account: report-runner }
  - name: elsewhere
    subjects: [{ groups: [guarded, two] }]
    allow: [{ projects: [shared], domains: [production], actions: [use_inventory] }]
  - name: registrars
    subjects: [{ groups: [guarded] }]
    allow: [{ projects: [ml], domains: [production], actions: [register_inventory], service_accounts: [ml-runner] }]
  - name: one-workflow
    subjects: [{ groups: [guarded] }]
    allow: [{ projects: [ml], domains: [production], actions: [register_inventory], workflows: [harmless] }]
  - name: at-home
    subjects: [{ groups: [abroad] }]
    allow: [{ projects: [ml], domains: [production], actions: [create_executions] }]
  - name: guarded-abroad
    subjects: [{ groups: [abroad] }]
    allow:
      - projects: [shared]
        domains: [production]
        actions: [use_inventory, register_inventory]
        service_accounts: [ml-runner]
  - name: plan-only
    subjects: [{ groups: [apart] }]
    allow:
      - { projects: [ml], domains: [production], actions: [register_inventory], launch_plans: [etl], workflows: [], tasks: [] }
  - name: workflow-only
    subjects: [{ groups: [apart] }]
    allow:
      - { projects: [ml], domains: [production], actions: [register_inventory], launch_plans: [], workflows: [flow], tasks: [] }
";

/// Decides a request as it arrives: the settings that are written, or the refusal.
fn decide(group: &str, rpc: &str, body: &Value) -> Result<String, Refusal> {
    let catalog = Catalog::builtin().unwrap();
    let route = catalog
        .lookup_rpc(&format!("/flyteidl.service.AdminService/{rpc}"))
        .unwrap();
    let body = body.to_string();
    let input = Input {
        payload: Payload::Json(body.as_bytes()),
        rest: None,
    };
    let rules = ScopeRules {
        domains: domains(),
        organizations: Vec::new(),
    };
    let touched = targets(route, &input, &rules, &WalkLimits::default()).unwrap();
    let call = Call {
        access: route.access,
        action: touched.action,
        targets: &touched.targets,
        asked: &touched.asked,
        writes: &route.writes,
    };
    let rights = policy(POLICY).resolve(&caller(&[group]), &mut ());
    let permit = rights.decide(&call, &mut ()).into_permit()?;
    let written = permit
        .written()
        .iter()
        .map(|one| format!("{}: {}", one.setting.label(), one.value));
    Ok(written.collect::<Vec<_>>().join(", "))
}

fn told(outcome: Result<String, Refusal>) -> String {
    outcome.unwrap_or_else(|refusal| refusal.denial.reason.label().to_owned())
}

/// An execution of a task or launch plan of this project, as this service account if as one.
fn execution(kind: &str, project: &str, name: &str, account: &str) -> Value {
    let id = json!({
        "resource_type": kind, "project": project, "domain": "production", "name": name, "version": "v1",
    });
    let spec = json!({"launch_plan": id, "security_context": {"run_as": {"k8s_service_account": account}}});
    json!({"project": "ml", "domain": "production", "name": "e", "spec": spec})
}

const TASK: &str = "TASK";
const PLAN: &str = "LAUNCH_PLAN";

/// The caller's group, what is executed, as what, and what is written or why it is refused.
const EXECUTIONS: &[(&str, &str, &str, &str, &str)] = &[
    // A rule for one task lends nothing to others: neither that it guards nothing ...
    ("guarded", PLAN, "etl", "admin", "setting_refused"),
    ("guarded", PLAN, "etl", "ml-runner", ""),
    ("guarded", PLAN, "etl", "", ""),
    ("guarded", TASK, "other", "admin", "setting_refused"),
    ("guarded", TASK, "harmless", "admin", ""),
    // ... nor that the caller may choose ...
    ("given", PLAN, "etl", "admin", "service_account: etl-runner"),
    ("given", PLAN, "etl", "", "service_account: etl-runner"),
    ("given", TASK, "harmless", "admin", ""),
    ("given", TASK, "harmless", "", "service_account: etl-runner"),
    // ... nor what it sets.
    ("two", PLAN, "etl", "", "service_account: etl-runner"),
    ("two", PLAN, "etl", "admin", "service_account: etl-runner"),
    ("two", PLAN, "report", "", "service_account: report-runner"),
    ("two", PLAN, "other", "", "resource_not_listed"),
    ("two", TASK, "etl", "admin", "resource_not_listed"),
    ("listed", TASK, "harmless", "admin", ""),
    ("listed", PLAN, "etl", "", "resource_not_listed"),
    ("listed", PLAN, "etl", "admin", "resource_not_listed"),
    ("nobody", PLAN, "etl", "admin", "no_matching_rule"),
];

#[test]
fn a_rule_for_listed_names_lends_its_settings_to_no_others() {
    for (group, kind, name, account, expected) in EXECUTIONS {
        let outcome = decide(group, "CreateExecution", &execution(kind, "ml", name, account));
        assert_eq!(told(outcome), *expected, "{group} {kind} {name} {account}");
    }
}

#[test]
fn a_decision_test_decides_as_the_call_itself() {
    let catalog = Catalog::builtin().unwrap();
    let policy = policy(POLICY);
    for (group, kind, name, account, expected) in EXECUTIONS {
        let asks = match *account {
            "" => String::new(),
            account => format!("asks_for: {{ service_account: {account} }}, "),
        };
        let refused = expected.contains('_') && !expected.contains(' ');
        let expect = if refused {
            format!("expect: deny, reason: {expected}")
        } else {
            format!("expect: allow, sets: {{ {expected} }}")
        };
        let case = format!(
            "cases:\n  - {{ name: c, principal: {{ groups: [{group}] }}, rpc: /flyteidl.service.AdminService/CreateExecution, \
             project: ml, domain: production, resource: {{ {}: {name} }}, {asks}{expect} }}\n",
            kind.to_lowercase(),
        );
        let report = testfile::run(&policy, Path::new("p.test.yaml"), &case, Some(&catalog));
        assert_eq!((report.passed, report.failures), (1, Vec::new()), "{case}");
    }
}

#[test]
fn what_is_named_in_another_project_is_covered_where_it_lies() {
    let run = |group: &str, name: &str, account: &str| {
        let body = execution(PLAN, "shared", name, account);
        told(decide(group, "CreateExecution", &body))
    };
    assert_eq!(run("guarded", "etl", "admin"), "setting_refused");
    assert_eq!(run("guarded", "etl", "ml-runner"), "");
    assert_eq!(run("two", "etl", "admin"), "service_account: etl-runner");
    assert_eq!(run("two", "report", ""), "service_account: report-runner");
    assert_eq!(run("two", "other", ""), "resource_not_listed");
}

/// `FlyteAdmin` makes a launch plan of what is asked for, beside the task.
#[test]
fn a_task_of_another_project_is_run_only_with_what_may_be_registered_there() {
    let run = |kind: &str, account: &str| {
        told(decide(
            "abroad",
            "CreateExecution",
            &execution(kind, "shared", "etl", account),
        ))
    };
    assert_eq!(run("TASK", "admin"), "setting_refused");
    assert_eq!(run("TASK", "ml-runner"), "");
    assert_eq!(run("TASK", ""), "");
    assert_eq!(run(PLAN, "admin"), "");
}

#[test]
fn a_refusal_names_what_is_not_listed_and_offers_only_what_counts_for_the_name() {
    let refused = |group: &str, name: &str| {
        let body = execution(PLAN, "ml", name, "admin");
        decide(group, "CreateExecution", &body).unwrap_err().denial.message
    };
    let listed = refused("listed", "etl");
    assert!(listed.contains("for launch_plan `etl`"), "{listed}");
    let offered = refused("offered", "etl");
    assert!(
        offered.contains("`ml-runner`") && !offered.contains("of-the-task"),
        "{offered}"
    );
}

#[test]
fn a_launch_plan_asks_for_settings_by_a_rule_that_covers_its_workflow() {
    let plan = |group: &str, workflow: &str, account: &str| {
        let id = |kind: &str, name: &str| json!({"resource_type": kind, "project": "ml", "domain": "production", "name": name, "version": "v1"});
        let run_as = json!({"run_as": {"k8s_service_account": account}});
        let spec = json!({"workflow_id": id("WORKFLOW", workflow), "security_context": run_as});
        decide(group, "CreateLaunchPlan", &json!({"id": id(PLAN, "etl"), "spec": spec}))
    };
    for (group, workflow, account, expected) in [
        ("guarded", "flow", "admin", "setting_refused"),
        ("guarded", "flow", "ml-runner", ""),
        ("guarded", "flow", "", ""),
        ("guarded", "harmless", "admin", ""),
        // A rule for each of them is enough as long as nothing is asked for.
        ("apart", "flow", "", ""),
        ("apart", "flow", "admin", "resource_not_listed"),
        ("apart", "harmless", "", "resource_not_listed"),
    ] {
        assert_eq!(
            told(plan(group, workflow, account)),
            expected,
            "{group} {workflow} {account}"
        );
    }
    let message = plan("apart", "flow", "admin").unwrap_err().denial.message;
    assert!(
        message.starts_with("no rule by itself allows register_inventory"),
        "{message}"
    );
}
