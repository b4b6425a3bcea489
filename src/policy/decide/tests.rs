//! Who may do what: tables of single decisions.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::model::action::ActionSet;
use crate::model::principal::Principal;
use crate::model::scope::{Resource, ResourceKind, Run};
use crate::policy::tests::{caller, policy, run_by};
use crate::policy::trace::{Steps, render_steps};

mod named;
mod settings;

const POLICY: &str = r#"
version: 1
rules:
  - name: team
    subjects: [{ groups: [team] }]
    allow:
      - { projects: [ml, "x-*"], domains: [development], role: contributor }
      - { projects: [ml], domains: [staging, production], actions: [view_inventory] }
  - name: listed
    subjects: [{ groups: [listed] }]
    allow:
      - projects: [ml, other]
        domains: ["*"]
        actions: [create_executions, view_inventory]
        tasks: [production/ml/core, ml/shared, anywhere, staging/ml/a/b/c]
        launch_plans: []
  - name: half-1
    subjects: [{ groups: [halves] }]
    allow: [{ projects: ["*"], domains: [development], actions: [view_data] }]
  - name: half-2
    subjects: [{ groups: [halves] }]
    allow: [{ projects: [ml], domains: [staging, production], actions: [view_data] }]
  - name: admin
    subjects: [{ groups: [admin, frozen] }]
    allow: [{ projects: ["*"], domains: ["*"], role: platform_admin }]
  - name: freeze
    subjects: [{ groups: [frozen] }]
    deny:
      - { domains: [production], actions: [register_inventory, view_data] }
      - { projects: [locked], actions: ["*"] }
      - { actions: [administer_platform] }
      - { projects: [ml], actions: [terminate_executions], tasks: [ml/core, staging/ml/full, production/ml/far], workflows: [wf] }
    unless: [{ groups: [exempt] }]
"#;

fn scope(text: &str) -> Scope {
    match text.split_once('/') {
        _ if text == "platform" => Scope::Global,
        None => Scope::Project(text.into()),
        Some((project, "some")) => Scope::ProjectInSomeDomain(project.into()),
        Some((project, domain)) => Scope::ProjectDomain {
            project: project.into(),
            domain: domain.into(),
        },
    }
}

fn target(place: &str, needs: &[Action], resource: Option<Resource>) -> Target {
    Target {
        scope: scope(place),
        needs: ActionSet::of(needs),
        resource,
        field: "spec.launch_plan".into(),
        role: TargetRole::Acts,
    }
}

fn decide(principal: &Principal, targets: &[Target]) -> Result<Vec<String>, Refusal> {
    let rights = policy(POLICY).resolve(principal, &mut ());
    let call = Call {
        access: Access::Scoped,
        action: Action::ViewData,
        targets,
        asked: &[],
        writes: &[],
    };
    let permit = rights.decide(&call, &mut ()).into_permit()?;
    Ok(permit.rules().iter().map(|rule| rule.name().to_owned()).collect())
}

fn outcome(groups: &[&str], targets: &[Target]) -> String {
    match decide(&caller(groups), targets) {
        Ok(rules) => rules.join("+"),
        Err(refusal) => refusal.denial.reason.label().to_owned(),
    }
}

fn named(kind: ResourceKind, name: &str) -> Resource {
    Resource::Named {
        kind,
        name: name.into(),
    }
}

/// What runs a task, given with its domain and project.
fn ran(task: &str) -> Resource {
    ran_one(ResourceKind::Task, task)
}

fn ran_plan(launch_plan: &str) -> Resource {
    ran_one(ResourceKind::LaunchPlan, launch_plan)
}

fn ran_one(kind: ResourceKind, named: &str) -> Resource {
    let parts: Vec<&str> = named.split('/').collect();
    run_by(Some(Run {
        kind,
        project: parts[1].into(),
        domain: parts[0].into(),
        name: parts[2].into(),
    }))
}

#[test]
fn scopes_are_covered_or_refused() {
    use Action::{AdministerPlatform, AdministerProject, CreateExecutions, RegisterInventory, ViewData, ViewInventory};
    let (none, denied) = ("no_matching_rule", "denied_by_rule");
    let table: &[(&[&str], &str, &[Action], &str)] = &[
        (&["team"], "ml/development", &[CreateExecutions], "team"),
        (&["team"], "ml/production", &[CreateExecutions], none),
        (&["team"], "ml/production", &[ViewInventory], "team"),
        (&["team"], "x-1/development", &[CreateExecutions], "team"),
        (&["team"], "x/development", &[CreateExecutions], none),
        (&["team"], "other/development", &[ViewInventory], none),
        (&["team"], "ML/development", &[ViewInventory], none),
        (&["TEAM"], "ml/development", &[ViewInventory], none),
        (&[], "ml/development", &[ViewInventory], none),
        // A set of needs: any one does.
        (&["team"], "ml/production", &[CreateExecutions, ViewInventory], "team"),
        (&["team"], "ml/production", &[], none),
        // Every domain of a project.
        (&["team"], "ml", &[ViewInventory], "team"),
        (&["team"], "ml", &[CreateExecutions], none),
        (&["halves"], "ml", &[ViewData], "half-1+half-2"),
        (&["halves"], "other", &[ViewData], none),
        // Some domain of a project.
        (&["halves"], "other/some", &[ViewData], "half-1"),
        (&["team"], "ml/some", &[CreateExecutions], "team"),
        (&["team"], "other/some", &[ViewData], none),
        // The platform.
        (&["team"], "platform", &[ViewInventory], none),
        (&["halves"], "platform", &[ViewData], none),
        (&["admin"], "platform", &[AdministerPlatform], "admin"),
        (&["admin"], "ml", &[AdministerProject], "admin"),
        // A domain that is not configured is none of `*`.
        (&["admin"], "ml/prod", &[ViewData], none),
        (&["admin"], "ml/", &[ViewData], none),
        (&["admin"], "/production", &[ViewData], none),
        (&["admin"], "", &[ViewData], none),
        // Denies.
        (&["frozen"], "ml/production", &[RegisterInventory], denied),
        (&["frozen"], "ml/staging", &[RegisterInventory], "admin"),
        (&["frozen"], "ml/production", &[CreateExecutions], "admin"),
        (
            &["frozen"],
            "ml/production",
            &[RegisterInventory, CreateExecutions],
            "admin",
        ),
        (&["frozen"], "ml/production", &[RegisterInventory, ViewData], denied),
        (&["frozen"], "ml", &[RegisterInventory], denied),
        (&["frozen"], "ml/some", &[ViewData], "admin"),
        (&["frozen"], "locked/some", &[ViewData], denied),
        (&["frozen"], "locked", &[ViewData], denied),
        (&["frozen"], "platform", &[AdministerPlatform], denied),
        (&["frozen"], "platform", &[RegisterInventory], "admin"),
        (&["frozen", "exempt"], "ml/production", &[RegisterInventory], "admin"),
        (&["frozen", "exempt"], "platform", &[AdministerPlatform], "admin"),
        (&["exempt"], "ml/production", &[RegisterInventory], none),
    ];
    for (groups, place, needs, expected) in table {
        assert_eq!(
            outcome(groups, &[target(place, needs, None)]),
            *expected,
            "{groups:?} {place} {needs:?}"
        );
    }
}

#[test]
fn allow_lists_cover_the_listed_names_and_nothing_that_is_not_named() {
    let unlisted = "resource_not_listed";
    let table: &[(&str, Option<Resource>, &str)] = &[
        ("ml/production", Some(named(ResourceKind::Task, "core")), "listed"),
        ("ml/staging", Some(named(ResourceKind::Task, "core")), unlisted),
        ("other/production", Some(named(ResourceKind::Task, "core")), unlisted),
        ("ml/staging", Some(named(ResourceKind::Task, "shared")), "listed"),
        ("other/staging", Some(named(ResourceKind::Task, "shared")), unlisted),
        ("other/staging", Some(named(ResourceKind::Task, "anywhere")), "listed"),
        ("ml/staging", Some(named(ResourceKind::Task, "Anywhere")), unlisted),
        ("ml/staging", Some(named(ResourceKind::Task, "anywher")), unlisted),
        ("ml/staging", Some(named(ResourceKind::Task, "xanywhere")), unlisted),
        ("ml/staging", Some(named(ResourceKind::Task, "where")), unlisted),
        ("ml/staging", Some(named(ResourceKind::Task, "")), unlisted),
        // A name with slashes is listed with its domain and project; its end is not another name of it.
        ("ml/staging", Some(named(ResourceKind::Task, "a/b/c")), "listed"),
        ("ml/staging", Some(named(ResourceKind::Task, "b/c")), unlisted),
        ("ml/staging", Some(named(ResourceKind::Task, "c")), unlisted),
        ("ml/staging", Some(named(ResourceKind::Task, "ml/shared")), unlisted),
        // Lists are by kind: none of the launch plans, all of the workflows.
        (
            "ml/staging",
            Some(named(ResourceKind::LaunchPlan, "anywhere")),
            unlisted,
        ),
        ("ml/staging", Some(named(ResourceKind::Workflow, "w")), "listed"),
        ("ml/staging", Some(Resource::Every(ResourceKind::Task)), unlisted),
        ("ml/staging", Some(Resource::Every(ResourceKind::Workflow)), "listed"),
        ("ml/staging", Some(Resource::Unnamed), unlisted),
        // What an execution runs is compared where that lies.
        ("ml/staging", Some(run_by(None)), unlisted),
        ("ml/staging", Some(ran("production/ml/core")), "listed"),
        ("ml/production", Some(ran("staging/ml/core")), unlisted),
        ("ml/staging", Some(ran("staging/ml/anywhere")), "listed"),
        ("ml/staging", Some(ran("staging/other/anywhere")), unlisted),
        ("ml/staging", Some(ran("production/ml/anywhere")), unlisted),
        ("ml/staging", Some(ran("production/ml/shared")), unlisted),
        ("ml/staging", Some(ran("staging/other/shared")), unlisted),
        ("other/staging", Some(ran("staging/ml/shared")), "listed"),
        ("x/staging", Some(ran("staging/ml/shared")), "no_matching_rule"),
        ("ml/staging", None, "listed"),
        ("ml", Some(named(ResourceKind::Task, "anywhere")), "listed"),
        ("ml", Some(named(ResourceKind::Task, "core")), unlisted),
        ("ml/some", Some(named(ResourceKind::Task, "core")), "listed"),
    ];
    for (place, resource, expected) in table {
        let target = target(place, &[Action::CreateExecutions], resource.clone());
        assert_eq!(outcome(&["listed"], &[target]), *expected, "{place} {resource:?}");
    }
}

#[test]
fn a_deny_with_a_list_covers_the_listed_names_and_what_is_not_named() {
    let table: &[(Option<Resource>, &str)] = &[
        (Some(named(ResourceKind::Task, "core")), "denied_by_rule"),
        (Some(named(ResourceKind::Task, "CoRe ")), "denied_by_rule"),
        (Some(named(ResourceKind::Task, "other")), "admin"),
        (Some(named(ResourceKind::Task, "full")), "denied_by_rule"),
        (Some(named(ResourceKind::Task, "far")), "admin"),
        (Some(named(ResourceKind::Workflow, "wf")), "denied_by_rule"),
        (Some(named(ResourceKind::Workflow, "core")), "admin"),
        (Some(named(ResourceKind::LaunchPlan, "core")), "admin"),
        (Some(Resource::Every(ResourceKind::Task)), "denied_by_rule"),
        // What FlyteAdmin generates for a task, when that is first run by itself, is another way to run it.
        (
            Some(named(ResourceKind::LaunchPlan, ".flytegen.core")),
            "denied_by_rule",
        ),
        (Some(named(ResourceKind::Workflow, ".FlyteGen.Core ")), "denied_by_rule"),
        (Some(named(ResourceKind::LaunchPlan, ".flytegen.other")), "admin"),
        (Some(named(ResourceKind::LaunchPlan, "flytegen.core")), "admin"),
        (Some(named(ResourceKind::Task, ".flytegen.core")), "admin"),
        (Some(ran_plan("staging/ml/.flytegen.core")), "denied_by_rule"),
        (Some(ran_plan("staging/ml/core")), "admin"),
        (Some(Resource::Every(ResourceKind::LaunchPlan)), "denied_by_rule"),
        (Some(Resource::Unnamed), "denied_by_rule"),
        (Some(run_by(None)), "denied_by_rule"),
        (Some(ran("staging/ml/CORE")), "denied_by_rule"),
        (Some(ran("staging/other/core")), "admin"),
        (Some(ran("staging/ml/other")), "admin"),
        (None, "admin"),
    ];
    for (resource, expected) in table {
        let target = target("ml/staging", &[Action::TerminateExecutions], resource.clone());
        assert_eq!(outcome(&["frozen"], &[target]), *expected, "{resource:?}");
    }
}

#[test]
fn every_target_must_be_covered_and_a_deny_on_any_wins() {
    let acts = target("ml/development", &[Action::CreateExecutions], None);
    let refers = |place: &str| Target {
        role: TargetRole::Refers,
        ..target(place, &[Action::UseInventory], None)
    };
    assert_eq!(outcome(&["team"], &[acts.clone(), refers("x-1/development")]), "team");
    assert_eq!(
        outcome(&["team"], &[acts.clone(), refers("other/development")]),
        "reference_refused"
    );
    assert_eq!(
        outcome(&["frozen"], &[acts, refers("locked/staging")]),
        "denied_by_rule"
    );
    let listed = Target {
        role: TargetRole::Refers,
        ..target(
            "ml/staging",
            &[Action::CreateExecutions],
            Some(named(ResourceKind::Task, "x")),
        )
    };
    let acts = target("ml/staging", &[Action::CreateExecutions], None);
    assert_eq!(outcome(&["listed"], &[acts, listed]), "resource_not_listed");
    // A call that refers to things and acts nowhere, or touches nothing at all, is not allowed for want of a refusal.
    assert_eq!(outcome(&["admin"], &[refers("ml/staging")]), "no_matching_rule");
    assert_eq!(outcome(&["admin"], &[]), "no_matching_rule");
}

#[test]
fn access_decides_before_rules_do() {
    let policy = policy(POLICY);
    let decide = |principal: &Principal, access| {
        let call = Call {
            access,
            action: Action::ViewData,
            targets: &[target("ml/staging", &[Action::ViewData], None)],
            asked: &[],
            writes: &[],
        };
        policy
            .resolve(principal, &mut ())
            .decide(&call, &mut ())
            .into_permit()
            .map_err(|refusal| refusal.denial.reason)
    };
    let anonymous = Principal::anonymous();
    assert!(decide(&anonymous, Access::Public).is_ok());
    assert_eq!(
        decide(&anonymous, Access::Authenticated).unwrap_err(),
        Reason::CredentialMissing
    );
    assert_eq!(
        decide(&anonymous, Access::Scoped).unwrap_err(),
        Reason::CredentialMissing
    );
    assert!(decide(&caller(&[]), Access::Authenticated).is_ok_and(|permit| permit.rules().is_empty()));
    assert_eq!(
        decide(&caller(&[]), Access::Scoped).unwrap_err(),
        Reason::NoMatchingRule
    );
}

#[test]
fn nobody_is_let_in_when_no_domain_is_configured() {
    let text = "version: 1\nrules: [{ name: r, subjects: [{ anyone: true }], allow: [{ projects: [\"*\"], domains: [\"*\"], role: platform_admin }] }]\n";
    let (policy, _) = crate::policy::compile::compile(&[("p".into(), text.to_owned())], &[]).unwrap();
    let rights = policy.resolve(&caller(&[]), &mut ());
    for place in ["ml", "ml/some", "ml/staging"] {
        let targets = [target(place, &[Action::ViewData], None)];
        let call = Call {
            access: Access::Scoped,
            action: Action::ViewData,
            targets: &targets,
            asked: &[],
            writes: &[],
        };
        assert!(rights.decide(&call, &mut ()).into_permit().is_err(), "{place}");
    }
}

#[test]
fn refusals_say_what_is_missing_where_and_nothing_more() {
    let message = |groups: &[&str], targets: &[Target]| decide(&caller(groups), targets).unwrap_err();
    let create = |place: &str| target(place, &[Action::CreateExecutions], None);
    let refusal = message(&["team"], &[create("ml/production")]);
    assert_eq!(
        refusal.denial.message,
        "no rule allows create_executions in project ml, domain production"
    );
    assert_eq!(refusal.rule, None);
    assert_eq!(
        message(&["team"], &[create("ml")]).denial.message,
        "no rule allows create_executions in project ml (every domain)"
    );
    assert_eq!(
        message(&["team"], &[create("platform")]).denial.message,
        "no rule allows create_executions on the platform"
    );
    let reference = Target {
        role: TargetRole::Refers,
        ..target("q/staging", &[Action::UseInventory], None)
    };
    assert_eq!(
        message(&["team"], &[create("ml/development"), reference])
            .denial
            .message,
        "no rule allows use_inventory in project q, domain staging, to which the field `spec.launch_plan` refers"
    );
    // One field can refer to many things: those are told apart by name.
    let plan = Some(named(ResourceKind::LaunchPlan, "nightly"));
    let reference = Target {
        role: TargetRole::Refers,
        ..target("q/staging", &[Action::UseInventory], plan)
    };
    assert_eq!(
        message(&["team"], &[create("ml/development"), reference])
            .denial
            .message,
        "no rule allows use_inventory for launch_plan `nightly` in project q, domain staging, to which the field \
         `spec.launch_plan` refers"
    );
    assert_eq!(
        message(
            &["listed"],
            &[target(
                "ml/staging",
                &[Action::CreateExecutions],
                Some(named(ResourceKind::Task, "secret"))
            )]
        )
        .denial
        .message,
        "no rule allows create_executions for task `secret` in project ml, domain staging: only the names that rules list"
    );
    let refusal = message(
        &["frozen"],
        &[target("ml/production", &[Action::RegisterInventory], None)],
    );
    assert_eq!(
        refusal.denial.message,
        "a rule denies register_inventory in project ml, domain production"
    );
    assert_eq!(refusal.rule.as_ref().map(RuleName::name), Some("freeze"));
    assert_eq!(refusal.rule.map(|rule| rule.line()), Some(26));
}

#[test]
fn explaining_looks_at_every_rule_and_says_what_would_help() {
    let policy = policy(POLICY);
    let mut steps = Steps::default();
    let rights = policy.resolve(&caller(&["team"]), &mut steps);
    let targets = [target("ml/production", &[Action::CreateExecutions], None)];
    let call = Call {
        access: Access::Scoped,
        action: Action::CreateExecutions,
        targets: &targets,
        asked: &[],
        writes: &[],
    };
    assert!(rights.decide(&call, &mut steps).into_permit().is_err());
    let text = render_steps(&steps);
    for rule in policy.rules() {
        assert!(text.contains(&rule.to_string()), "{rule} is missing in {text}");
    }
    for line in [
        "* rule team (policy.yaml:4) is for this caller\n",
        "  rule freeze (policy.yaml:26) is not for this caller: no value of `groups` is among those listed\n",
        "  rule team (policy.yaml:4) does not allow create_executions in project ml, domain production: it is about other projects or domains\n",
        "  rule team (policy.yaml:4) does not allow create_executions in project ml, domain production: it is about other actions\n",
        "REFUSED: no_matching_rule: no rule allows create_executions in project ml, domain production\n",
        "To allow it: a rule for this caller with projects: [ml], domains: [production], actions: [create_executions]\n",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    let json = serde_json::to_value(&steps).unwrap();
    assert_eq!(json[0]["step"], "rule_applies");
    assert_eq!(
        json[0]["rule"],
        serde_json::json!({ "name": "team", "file": "policy.yaml", "line": 4 })
    );
}

#[test]
fn explaining_and_serving_decide_alike_and_show_the_rule_that_counts() {
    let policy = policy(POLICY);
    for (groups, place, action, line) in [
        (
            ["frozen"],
            "ml/production",
            Action::RegisterInventory,
            "- rule freeze (policy.yaml:26) denies register_inventory",
        ),
        (
            ["admin"],
            "ml/production",
            Action::RegisterInventory,
            "+ rule admin (policy.yaml:23) allows register_inventory",
        ),
    ] {
        let mut steps = Steps::default();
        let targets = [target(place, &[action], None)];
        let call = Call {
            access: Access::Scoped,
            action,
            targets: &targets,
            asked: &[],
            writes: &[],
        };
        let explained = policy
            .resolve(&caller(&groups), &mut steps)
            .decide(&call, &mut steps)
            .into_permit()
            .is_ok();
        let served = policy
            .resolve(&caller(&groups), &mut ())
            .decide(&call, &mut ())
            .into_permit()
            .is_ok();
        assert_eq!(explained, served);
        assert!(render_steps(&steps).contains(line), "{}", render_steps(&steps));
    }
}

#[test]
fn who_may_run_only_listed_names_brings_no_others_along_from_elsewhere() {
    const WEBHOOK: &str = r#"
version: 1
rules:
  - name: webhook
    subjects: [{ groups: [webhook] }]
    allow:
      - projects: [ml]
        domains: [production]
        actions: [create_executions]
        launch_plans: [daily, production/lib/clean]
  - name: team
    subjects: [{ groups: [team] }]
    allow: [{ projects: [ml], domains: [production], actions: [create_executions] }]
  - name: library
    subjects: [{ groups: [webhook, team] }]
    allow: [{ projects: [lib], domains: ["*"], actions: [use_inventory] }]
  - name: home
    subjects: [{ groups: [home] }]
    allow: [{ projects: [ml], domains: ["*"], actions: [use_inventory] }]
  - name: frozen
    subjects: [{ groups: [frozen] }]
    deny: [{ projects: [ml], actions: [create_executions], launch_plans: [lib/drop] }]
"#;
    let policy = policy(WEBHOOK);
    let outcome = |groups: &[&str], place: &str, name: &str| {
        let acts = target("ml/production", &[Action::CreateExecutions], None);
        let refers = Target {
            role: TargetRole::Refers,
            ..target(
                place,
                &[Action::UseInventory],
                Some(named(ResourceKind::LaunchPlan, name)),
            )
        };
        let call = Call {
            access: Access::Scoped,
            action: Action::CreateExecutions,
            targets: &[acts, refers],
            asked: &[],
            writes: &[],
        };
        let decision = policy.resolve(&caller(groups), &mut ()).decide(&call, &mut ());
        decision
            .into_permit()
            .map(drop)
            .map_err(|refusal| refusal.denial.reason)
    };
    assert_eq!(outcome(&["webhook"], "lib/production", "clean"), Ok(()));
    // Whoever may put a launch plan of that name into another project or domain is not to have it run here.
    for place in ["lib/production", "ml/staging"] {
        assert_eq!(
            outcome(&["webhook", "home"], place, "daily"),
            Err(Reason::ResourceNotListed),
            "{place}"
        );
    }
    assert_eq!(
        outcome(&["webhook"], "lib/production", "drop"),
        Err(Reason::ResourceNotListed)
    );
    assert_eq!(
        outcome(&["webhook"], "lib/staging", "clean"),
        Err(Reason::ResourceNotListed)
    );
    assert_eq!(outcome(&["team"], "lib/production", "drop"), Ok(()));
    // At home nothing is brought along: what it refers to needs there what it needs, and no more.
    assert_eq!(outcome(&["webhook", "home"], "ml/production", "drop"), Ok(()));
    assert_eq!(
        outcome(&["team", "frozen"], "lib/production", "drop"),
        Err(Reason::DeniedByRule)
    );
    assert_eq!(
        outcome(&["team"], "other/production", "drop"),
        Err(Reason::ReferenceRefused)
    );
}

#[test]
fn it_matters_what_an_execution_runs_only_where_names_are_listed() {
    let table: &[(&[&str], &str, &[Action], bool)] = &[
        (&["listed"], "ml/staging", &[Action::CreateExecutions], true),
        (&["listed"], "ml/staging", &[Action::ViewData], false),
        (&["listed"], "x/staging", &[Action::CreateExecutions], false),
        // Allowed without asking.
        (&["listed", "admin"], "ml/staging", &[Action::CreateExecutions], true),
        (&["team"], "ml/development", &[Action::CreateExecutions], true),
        // Denied by name, or altogether.
        (&["frozen"], "ml/staging", &[Action::TerminateExecutions], true),
        (&["frozen"], "ml/production", &[Action::ViewData], false),
    ];
    let allowed = |groups: &[&str], target: &Target| decide(&caller(groups), std::slice::from_ref(target)).is_ok();
    for (groups, place, needs, expected) in table {
        let target = target(place, needs, Some(run_by(None)));
        let rights = policy(POLICY).resolve(&caller(groups), &mut ());
        let call = Call {
            access: Access::Scoped,
            action: needs[0],
            targets: std::slice::from_ref(&target),
            asked: &[],
            writes: &[],
        };
        assert_eq!(rights.depends_on_runs(&call), *expected, "{groups:?} {place}");
        let without_asking = groups.contains(&"admin") || groups.contains(&"team");
        assert_eq!(allowed(groups, &target), without_asking, "{groups:?} {place}");
    }
    // Neither a call on no execution nor one on an execution of which it is known what it runs.
    let rights = policy(POLICY).resolve(&caller(&["listed"]), &mut ());
    for resource in [Resource::Unnamed, ran("staging/ml/secret"), ran("staging/ml/anywhere")] {
        let call = Call {
            access: Access::Scoped,
            action: Action::CreateExecutions,
            targets: &[target("ml/staging", &[Action::CreateExecutions], Some(resource))],
            asked: &[],
            writes: &[],
        };
        assert!(!rights.depends_on_runs(&call), "{call:?}");
    }
}

#[test]
fn a_refusal_never_tells_what_an_execution_runs() {
    let target = |runs| target("ml/staging", &[Action::CreateExecutions], Some(runs));
    let refused = |runs| decide(&caller(&["listed"]), &[target(runs)]).unwrap_err().denial;
    let unknown = refused(run_by(None));
    assert_eq!(refused(ran("staging/ml/secret")), unknown);
    assert_eq!(
        unknown.message,
        "no rule allows create_executions for what the execution runs in project ml, domain staging: only the names \
         that rules list"
    );
}
