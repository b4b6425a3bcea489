//! From requests to targets, on routes of the built-in catalogue.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unnecessary_wraps,
    reason = "tests"
)]

use super::{Extracted, Input, Payload, RestInput, ScopeRules, targets};
use crate::catalog::{Access, Catalog, Extent, Plan, ResourceSource, Route, SlotRole};
use crate::extract::{WalkLimits, example};
use crate::model::action::{Action, ActionSet};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::model::scope::{Resource, ResourceKind, Scope, StoredExecution, Target, TargetRole};
use std::sync::OnceLock;

mod references;
mod settings;

fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| Catalog::builtin().unwrap())
}

fn rules() -> ScopeRules {
    ScopeRules {
        domains: ["development", "production"].map(Into::into).into(),
        organizations: vec!["acme".into()],
    }
}

fn call(method: &str, body: &str) -> Result<Extracted, Denial> {
    let paths = ["AdminService", "SignalService", "DataProxyService", "IdentityService"];
    let route = paths
        .iter()
        .find_map(|service| catalog().lookup_rpc(&format!("/flyteidl.service.{service}/{method}")))
        .unwrap();
    let input = Input {
        payload: Payload::Json(body.as_bytes()),
        rest: None,
    };
    targets(route, &input, &rules(), &WalkLimits::default())
}

fn refusal(method: &str, body: &str) -> Denial {
    match call(method, body) {
        Ok(extracted) => panic!("{body} gave {extracted:?}"),
        Err(denial) => denial,
    }
}

fn reason(method: &str, body: &str) -> Reason {
    refusal(method, body).reason
}

fn place(project: &str, domain: &str) -> Scope {
    Scope::ProjectDomain {
        project: project.into(),
        domain: domain.into(),
    }
}

fn named(kind: ResourceKind, name: &str) -> Option<Resource> {
    Some(Resource::Named {
        kind,
        name: name.into(),
    })
}

fn run_by(name: &str, organization: &str) -> Option<Resource> {
    stored(name, organization, false)
}

fn stored(name: &str, organization: &str, again: bool) -> Option<Resource> {
    Some(Resource::RunBy(Box::new(StoredExecution {
        name: name.into(),
        organization: organization.into(),
        again,
        runs: None,
    })))
}

fn acts(scope: Scope, action: Action, resource: Option<Resource>, field: &str) -> Target {
    Target {
        scope,
        needs: ActionSet::from(action),
        resource,
        field: field.into(),
        role: TargetRole::Acts,
    }
}

fn refers(scope: Scope, action: Action, resource: Option<Resource>, field: &str) -> Target {
    Target {
        role: TargetRole::Refers,
        ..acts(scope, action, resource, field)
    }
}

fn execution(launch_plan: &str, metadata: &str) -> String {
    format!(
        r#"{{"project": "ml", "domain": "development", "name": "e", "spec": {{"launchPlan": {{{launch_plan}}}, "metadata": {{{metadata}}}}}}}"#
    )
}

const OWN_PLAN: &str =
    r#""resourceType": "LAUNCH_PLAN", "project": "ml", "domain": "development", "name": "p", "version": "1""#;

#[test]
fn a_get_acts_on_the_named_thing_in_its_scope() {
    let extracted = call(
        "GetTask",
        r#"{"id": {"project": "ml", "domain": "development", "name": "t", "version": "1"}}"#,
    );
    let expected = Extracted {
        action: Action::ViewInventory,
        targets: vec![acts(
            place("ml", "development"),
            Action::ViewInventory,
            named(ResourceKind::Task, "t"),
            "id",
        )],
        asked: Vec::new(),
        chosen: None,
    };
    assert_eq!(extracted, Ok(expected));
}

#[test]
fn the_name_of_a_new_execution_is_told_with_the_organization_of_its_scope() {
    let chosen = |method: &str, body: &str| {
        let chosen = call(method, body).unwrap().chosen?;
        Some([&*chosen.name, &*chosen.organization, &*chosen.field].map(str::to_owned))
    };
    let named = |name: &str, organization: &str| Some([name, organization, "name"].map(str::to_owned));
    let create = |fields: &str| {
        let spec = format!(r#""spec": {{"launchPlan": {{{OWN_PLAN}}}}}"#);
        let body = format!(r#"{{"project": "ml", "domain": "development", {spec}{fields}}}"#);
        chosen("CreateExecution", &body)
    };
    assert_eq!(create(""), None);
    assert_eq!(create(r#", "name": """#), None);
    assert_eq!(create(r#", "name": null"#), None);
    assert_eq!(create(r#", "name": "e""#), named("e", ""));
    assert_eq!(create(r#", "name": "e", "org": "acme""#), named("e", "acme"));
    // Whatever it is: FlyteAdmin says which names there can be.
    assert_eq!(create(r#", "name": "../e""#), named("../e", ""));
    let id = r#""id": {"project": "ml", "domain": "development", "name": "old", "org": "acme"}"#;
    for method in ["RelaunchExecution", "RecoverExecution"] {
        assert_eq!(chosen(method, &format!("{{{id}}}")), None);
        assert_eq!(
            chosen(method, &format!(r#"{{{id}, "name": "new"}}"#)),
            named("new", "acme")
        );
    }
    assert_eq!(chosen("TerminateExecution", &format!("{{{id}}}")), None);
}

#[test]
fn a_list_without_a_name_acts_on_every_one_of_the_kind() {
    let extracted = call("ListTasks", r#"{"id": {"project": "ml", "domain": "development"}}"#).unwrap();
    assert_eq!(
        extracted.targets[0].resource,
        Some(Resource::Listed(Some(ResourceKind::Task)))
    );
}

#[test]
fn what_is_found_whatever_kind_is_asked_for_is_judged_as_every_kind() {
    use ResourceKind::{LaunchPlan, Task, Workflow};
    let resources = |method: &str, body: &str| {
        let targets = call(method, body).unwrap().targets;
        let acts = |target: &Target| {
            target.role == TargetRole::Acts
                && target.needs == ActionSet::from(Action::ViewInventory)
                && target.scope == place("ml", "development")
        };
        assert!(targets.iter().all(acts), "{targets:?}");
        targets.into_iter().map(|target| target.resource).collect::<Vec<_>>()
    };
    for (kind, order) in [
        ("TASK", [Task, Workflow, LaunchPlan]),
        ("WORKFLOW", [Workflow, Task, LaunchPlan]),
        ("LAUNCH_PLAN", [LaunchPlan, Task, Workflow]),
    ] {
        let name = r#""project": "ml", "domain": "development", "name": "n""#;
        let one = format!(r#"{{"id": {{"resource_type": "{kind}", {name}, "version": "v1"}}}}"#);
        assert_eq!(
            resources("GetDescriptionEntity", &one),
            order.map(|kind| named(kind, "n"))
        );
        let some = format!(r#"{{"resource_type": "{kind}", "id": {{{name}}}}}"#);
        assert_eq!(
            resources("ListDescriptionEntities", &some),
            order.map(|kind| named(kind, "n"))
        );
        let all = format!(r#"{{"resource_type": "{kind}", "id": {{"project": "ml", "domain": "development"}}}}"#);
        let listed = order.map(|kind| Some(Resource::Listed(Some(kind))));
        assert_eq!(resources("ListDescriptionEntities", &all), listed);
        assert_eq!(resources("GetNamedEntity", &some), [named(order[0], "n")]);
    }
    for kind in ["DATASET", "UNSPECIFIED"] {
        let body = format!(r#"{{"resource_type": "{kind}", "id": {{"project": "ml", "domain": "development"}}}}"#);
        assert_eq!(reason("ListDescriptionEntities", &body), Reason::FieldInvalid);
    }
}

#[test]
fn t_pb_03_an_empty_part_of_the_scope_is_refused_by_name() {
    for (body, field) in [
        ("{}", "id.project"),
        (r#"{"id": {}}"#, "id.project"),
        (
            r#"{"id": {"project": "", "domain": "development", "name": "t", "version": "1"}}"#,
            "id.project",
        ),
        (r#"{"id": {"project": "ml", "name": "t", "version": "1"}}"#, "id.domain"),
        (
            r#"{"id": {"project": "ml", "domain": "development", "version": "1"}}"#,
            "id.name",
        ),
        (
            r#"{"id": {"project": "ml", "domain": "development", "name": "t"}}"#,
            "id.version",
        ),
    ] {
        let denial = refusal("GetTask", body);
        assert_eq!(denial.reason, Reason::ScopeMissing, "{body}");
        assert!(denial.message.contains(&format!("`{field}`")), "{}", denial.message);
    }
}

#[test]
fn t_pb_17_projects_are_dns_labels_and_domains_are_those_configured() {
    let list = |project: &str, domain: &str| {
        call(
            "ListTaskIds",
            &format!(r#"{{"project": "{project}", "domain": "{domain}"}}"#),
        )
    };
    let long = "a".repeat(64);
    for project in [
        "ML",
        "a/b",
        "a b",
        "-a",
        "a-",
        "a\\u0000",
        "a.b",
        "a_b",
        "..",
        "ä",
        long.as_str(),
        "*",
        "a\\n",
    ] {
        assert_eq!(
            list(project, "development").unwrap_err().reason,
            Reason::ScopeInvalid,
            "{project}"
        );
    }
    for project in ["a", "0", "a-b", &long[1..]] {
        assert!(list(project, "production").is_ok(), "{project}");
    }
    for domain in ["Development", "staging", "development ", "development/../production"] {
        assert_eq!(
            list("ml", domain).unwrap_err().reason,
            Reason::DomainUnknown,
            "{domain}"
        );
    }
}

#[test]
fn an_unchecked_value_is_shown_escaped_and_shortened() {
    let body = format!(
        r#"{{"project": "{}\u0007", "domain": "development"}}"#,
        "<A>".repeat(1_000)
    );
    let denial = refusal("ListTaskIds", &body);
    assert!(
        denial.message.len() < 300 && !denial.message.contains('\u{7}'),
        "{}",
        denial.message
    );
}

#[test]
fn t_pb_16_an_organization_must_be_configured() {
    let list = |org: &str| {
        call(
            "ListTaskIds",
            &format!(r#"{{"project": "ml", "domain": "development", "org": "{org}"}}"#),
        )
    };
    assert!(list("").is_ok() && list("acme").is_ok());
    assert_eq!(list("other").unwrap_err().reason, Reason::OrganizationRefused);
    let body = execution(&format!(r#"{OWN_PLAN}, "org": "other""#), "");
    assert_eq!(reason("CreateExecution", &body), Reason::OrganizationRefused);
}

#[test]
fn names_that_leave_their_place_are_refused() {
    for name in [
        "..",
        ".",
        "a/../b",
        "a\\\\b",
        "a%2e",
        "a?b",
        "a#b",
        "a\\u0000b",
        "a\\nb",
        &"a".repeat(256),
    ] {
        let body =
            format!(r#"{{"id": {{"project": "ml", "domain": "development", "name": "{name}", "version": "1"}}}}"#);
        assert_eq!(reason("CreateTask", &body), Reason::FieldInvalid, "{name}");
        let body =
            format!(r#"{{"id": {{"project": "ml", "domain": "development", "name": "t", "version": "{name}"}}}}"#);
        assert_eq!(reason("CreateTask", &body), Reason::FieldInvalid, "{name}");
    }
}

#[test]
fn t_pb_14_a_launch_plan_at_home_needs_the_same_action_and_is_named() {
    let home = place("ml", "development");
    let plan = named(ResourceKind::LaunchPlan, "p");
    let expected = vec![
        acts(home.clone(), Action::CreateExecutions, None, ""),
        refers(home, Action::CreateExecutions, plan, "spec.launch_plan"),
    ];
    assert_eq!(
        call("CreateExecution", &execution(OWN_PLAN, "")).unwrap().targets,
        expected
    );
}

#[test]
fn t_pb_14_a_launch_plan_of_another_project_or_domain_is_judged_there() {
    let abroad = |project: &str, domain: &str, kind: &str| {
        let plan = format!(
            r#""resourceType": "{kind}", "project": "{project}", "domain": "{domain}", "name": "p", "version": "1""#
        );
        call("CreateExecution", &execution(&plan, "")).unwrap().targets
    };
    for (project, domain) in [("shared", "development"), ("ml", "production")] {
        let plan = named(ResourceKind::LaunchPlan, "p");
        let expected = refers(place(project, domain), Action::UseInventory, plan, "spec.launch_plan");
        assert_eq!(abroad(project, domain, "LAUNCH_PLAN")[1..], [expected]);
    }
    let needs: Vec<ActionSet> = abroad("shared", "development", "TASK")
        .iter()
        .map(|target| target.needs)
        .collect();
    let expected = [
        Action::CreateExecutions,
        Action::UseInventory,
        Action::RegisterInventory,
    ]
    .map(ActionSet::from);
    assert_eq!(needs, expected);
}

#[test]
fn t_pb_18_kinds_that_cannot_be_launched_are_refused() {
    for kind in ["0", "2", "4", "99", "-1", "\"WORKFLOW\""] {
        let plan =
            format!(r#""resourceType": {kind}, "project": "ml", "domain": "development", "name": "p", "version": "1""#);
        assert_eq!(
            reason("CreateExecution", &execution(&plan, "")),
            Reason::FieldInvalid,
            "{kind}"
        );
    }
}

#[test]
fn an_execution_without_a_complete_launch_plan_is_refused() {
    let spec = r#"{"project": "ml", "domain": "development", "spec": {}}"#;
    assert_eq!(reason("CreateExecution", spec), Reason::ScopeMissing);
    for part in ["project", "domain", "name", "version"] {
        let others = OWN_PLAN
            .split(", ")
            .filter(|other| !other.contains(&format!("\"{part}\"")));
        let denial = refusal(
            "CreateExecution",
            &execution(&others.collect::<Vec<_>>().join(", "), ""),
        );
        assert_eq!(denial.reason, Reason::ScopeMissing, "{part}");
        assert!(
            denial.message.contains(&format!("`spec.launch_plan.{part}`")),
            "{}",
            denial.message
        );
    }
}

#[test]
fn what_an_execution_recovers_from_or_belongs_to_is_judged() {
    let reference = r#""referenceExecution": {"project": "other", "domain": "development", "name": "e"}"#;
    let judged = call("CreateExecution", &execution(OWN_PLAN, reference))
        .unwrap()
        .targets;
    let field = "spec.metadata.reference_execution";
    assert_eq!(
        judged[2..],
        [refers(
            place("other", "development"),
            Action::ViewData,
            run_by("e", ""),
            field
        )]
    );
    // In the call's own scope what it ran has to be something that the caller may run.
    let at_home = reference.replace("other", "ml");
    let judged = call("CreateExecution", &execution(OWN_PLAN, &at_home)).unwrap().targets;
    assert_eq!(
        judged[2..],
        [refers(
            place("ml", "development"),
            Action::CreateExecutions,
            run_by("e", ""),
            field
        )]
    );
    let parent = r#""parentNodeExecution": {"executionId": {"project": "ml", "domain": "development", "name": "e"}}"#;
    let judged = call("CreateExecution", &execution(OWN_PLAN, parent)).unwrap().targets;
    let field = "spec.metadata.parent_node_execution";
    // Whoever acts for the parent need not be allowed to start what that runs.
    assert_eq!(
        judged[2..],
        [refers(
            place("ml", "development"),
            Action::ReportEvents,
            run_by("e", ""),
            field
        )]
    );
    let partial = r#""referenceExecution": {"project": "other", "name": "e"}"#;
    assert_eq!(
        reason("CreateExecution", &execution(OWN_PLAN, partial)),
        Reason::ScopeMissing
    );
}

fn workflow(template: &str, sub_workflows: &str) -> String {
    format!(
        r#"{{"id": {{"resourceType": "WORKFLOW", "project": "ml", "domain": "development", "name": "w", "version": "1"}},
            "spec": {{"template": {{{template}}}, "subWorkflows": [{sub_workflows}]}}}}"#
    )
}

fn task_node(project: &str) -> String {
    format!(
        r#""taskNode": {{"referenceId": {{"project": "{project}", "domain": "development", "name": "t", "version": "1"}}}}"#
    )
}

#[test]
fn t_pb_14_tasks_of_a_workflow_are_found_wherever_nodes_nest() {
    let task = task_node("shared");
    for (template, sub_workflows, field) in [
        (
            format!(r#""nodes": [{{{task}}}]"#),
            String::new(),
            "spec.template.nodes[].**.task_node",
        ),
        (
            format!(r#""nodes": [{{"branchNode": {{"ifElse": {{"case": {{"thenNode": {{{task}}}}}}}}}}}]"#),
            String::new(),
            "spec.template.nodes[].**.task_node",
        ),
        (
            format!(r#""nodes": [{{"branchNode": {{"ifElse": {{"other": [{{"thenNode": {{{task}}}}}]}}}}}}]"#),
            String::new(),
            "spec.template.nodes[].**.task_node",
        ),
        (
            format!(r#""nodes": [{{"branchNode": {{"ifElse": {{"elseNode": {{{task}}}}}}}}}]"#),
            String::new(),
            "spec.template.nodes[].**.task_node",
        ),
        (
            format!(r#""nodes": [{{"arrayNode": {{"node": {{"arrayNode": {{"node": {{{task}}}}}}}}}}}]"#),
            String::new(),
            "spec.template.nodes[].**.task_node",
        ),
        (
            format!(r#""failureNode": {{{task}}}"#),
            String::new(),
            "spec.template.failure_node.**.task_node",
        ),
        (
            String::new(),
            format!(r#"{{"nodes": [{{{task}}}]}}"#),
            "spec.sub_workflows[].nodes[].**.task_node",
        ),
        (
            String::new(),
            format!(r#"{{}}, {{"failureNode": {{{task}}}}}"#),
            "spec.sub_workflows[].failure_node.**.task_node",
        ),
    ] {
        let body = workflow(&template, &sub_workflows);
        let judged = call("CreateWorkflow", &body).unwrap().targets;
        let task = named(ResourceKind::Task, "t");
        let expected = refers(place("shared", "development"), Action::UseInventory, task, field);
        assert_eq!(judged[1..], [expected], "{body}");
    }
}

#[test]
fn the_same_reference_in_many_nodes_is_one_target() {
    let nodes = vec![format!("{{{}}}", task_node("shared")); 50].join(",");
    let body = workflow(&format!(r#""nodes": [{nodes}]"#), "");
    assert_eq!(call("CreateWorkflow", &body).unwrap().targets.len(), 2);
}

#[test]
fn a_task_node_without_a_task_is_refused() {
    for node in [
        r#"{"taskNode": {}}"#,
        r#"{"taskNode": {"referenceId": {"project": "ml"}}}"#,
    ] {
        let body = workflow(&format!(r#""nodes": [{node}]"#), "");
        assert_eq!(reason("CreateWorkflow", &body), Reason::ScopeMissing, "{node}");
    }
}

#[test]
fn content_chooses_the_action() {
    let update = |attributes: &str| {
        let body = format!(
            r#"{{"attributes": {{"project": "ml", "domain": "development", "matchingAttributes": {{{attributes}}}}}}}"#
        );
        call("UpdateProjectDomainAttributes", &body).unwrap().action
    };
    assert_eq!(
        update(r#""taskResourceAttributes": {}"#),
        Action::EditExecutionAttributes
    );
    assert_eq!(
        update(r#""clusterResourceAttributes": {}"#),
        Action::EditClusterAttributes
    );
    let delete = |kind: &str| {
        let body = format!(r#"{{"project": "ml", "domain": "development", "resourceType": {kind}}}"#);
        let extracted = call("DeleteProjectDomainAttributes", &body).unwrap();
        assert_eq!(extracted.targets[0].needs, ActionSet::from(extracted.action));
        extracted.action
    };
    assert_eq!(delete("\"CLUSTER_RESOURCE\""), Action::EditClusterAttributes);
    assert_eq!(delete("\"TASK_RESOURCE\""), Action::EditExecutionAttributes);
}

#[test]
fn a_stored_execution_is_named_and_what_it_runs_is_not() {
    let id = |organization: &str| {
        format!(r#"{{"project": "ml", "domain": "development", "name": "e", "org": "{organization}"}}"#)
    };
    let resource = |method: &str, body: &str| call(method, body).unwrap().targets[0].resource.clone();
    for (method, again) in [
        ("RelaunchExecution", true),
        ("RecoverExecution", true),
        ("UpdateExecution", false),
        ("GetExecution", false),
        ("GetExecutionData", false),
        ("TerminateExecution", false),
    ] {
        for organization in ["", "acme"] {
            let body = format!(r#"{{"id": {}}}"#, id(organization));
            assert_eq!(resource(method, &body), stored("e", organization, again), "{method}");
        }
        let unnamed = r#"{"id": {"project": "ml", "domain": "development"}}"#;
        assert_eq!(reason(method, unnamed), Reason::ScopeMissing, "{method}");
    }
    let node = format!(r#"{{"id": {{"executionId": {}, "nodeId": "n0"}}}}"#, id(""));
    assert_eq!(resource("GetNodeExecution", &node), run_by("e", ""));
    let task = format!(
        r#"{{"id": {{"nodeExecutionId": {{"executionId": {}, "nodeId": "n0"}}}}}}"#,
        id("")
    );
    assert_eq!(resource("GetTaskExecution", &task), run_by("e", ""));
}

#[test]
fn a_named_entity_is_of_the_kind_that_the_call_says() {
    for (word, kind) in [
        ("TASK", ResourceKind::Task),
        ("WORKFLOW", ResourceKind::Workflow),
        ("LAUNCH_PLAN", ResourceKind::LaunchPlan),
    ] {
        let body =
            format!(r#"{{"resourceType": "{word}", "id": {{"project": "ml", "domain": "development", "name": "n"}}}}"#);
        let judged = call("GetNamedEntity", &body).unwrap().targets;
        assert_eq!(judged[0].resource, named(kind, "n"), "{word}");
    }
    let unsaid = r#"{"id": {"project": "ml", "domain": "development", "name": "n"}}"#;
    assert_eq!(reason("GetNamedEntity", unsaid), Reason::FieldInvalid);
}

#[test]
fn calls_on_whole_projects_and_on_the_platform_have_such_scopes() {
    let scope = |method: &str, body: &str| call(method, body).unwrap().targets[0].scope.clone();
    assert_eq!(scope("UpdateProject", r#"{"id": "ml"}"#), Scope::Project("ml".into()));
    assert_eq!(
        scope("GetProject", r#"{"id": "ml"}"#),
        Scope::ProjectInSomeDomain("ml".into())
    );
    assert_eq!(scope("RegisterProject", r#"{"project": {"id": "ml"}}"#), Scope::Global);
    let download = call("CreateDownloadLocation", r#"{"native_url": "s3://b/x"}"#).unwrap();
    let object = Some(Resource::Object("s3://b/x".into()));
    assert_eq!(
        download.targets,
        [acts(Scope::Global, Action::AdministerPlatform, object, "")]
    );
    assert_eq!(reason("CreateDownloadLocation", "{}"), Reason::ScopeMissing);
    assert_eq!(reason("UpdateProject", "{}"), Reason::ScopeMissing);
}

#[test]
fn a_call_that_needs_no_scope_has_no_targets() {
    assert_eq!(call("UserInfo", "{}").unwrap().targets, []);
}

#[test]
fn t_pb_15_flyte_urls_give_the_scope_and_the_execution() {
    for tail in ["i", "o", "d", "0/i", "12/d", "i/x", "0/o/x_1", "o/o"] {
        let body = format!(r#"{{"flyteUrl": "flyte://v1/ml/development/e1/n0/{tail}"}}"#);
        let expected = acts(place("ml", "development"), Action::ViewData, run_by("e1", ""), "");
        assert_eq!(call("GetData", &body).unwrap().targets, [expected], "{tail}");
    }
    let with_organization = r#"{"flyteUrl": "flyte://v1/org/acme/ml/development/e1/n0/0/o"}"#;
    let expected = acts(place("ml", "development"), Action::ViewData, run_by("e1", "acme"), "");
    assert_eq!(call("GetData", with_organization).unwrap().targets, [expected]);
}

#[test]
fn t_pb_15_flyte_urls_with_another_reading_are_refused() {
    for url in [
        "flyte://v1/ml/development/e/n/x/flyte://v1/other/development/e/n/i",
        "flyte://v1/ml/development/e/n/i/flyte://v1/other/development/e/n/i",
        "flyte://v1/org/ml/development/e/n/i",
        "flyte://v1/org/development/e/n/1/i/o",
        "flyte://av1/ml/development/e",
        "flyte://v2/ml/development/e/n/i",
        "s3://bucket/ml",
        "flyte://v1/ml/development/e/n",
        "flyte://v1/ml/development/e/n/",
        "flyte://v1/ml/development/e/n/x",
        "flyte://v1/ml/development/e/n/i/",
        "flyte://v1/ml/development/e/n/d/x",
        "flyte://v1/ml/development/e/n/1/2/i",
        "flyte://v1/ml/development/e/n/1234567890/i",
        "flyte://v1//development/e/n/i",
        "flyte://v1/ml/development/../n/i",
        "flyte://v1/ml/development/e/n/i?x",
        " flyte://v1/ml/development/e/n/i",
        "flyte://v1/ml/development/e/n/i\\n",
    ] {
        let body = format!(r#"{{"flyteUrl": "{url}"}}"#);
        assert_eq!(reason("GetData", &body), Reason::FieldInvalid, "{url}");
    }
    assert_eq!(reason("GetData", "{}"), Reason::ScopeMissing);
    for (url, expected) in [
        ("flyte://v1/ml/staging/e/n/i", Reason::DomainUnknown),
        ("flyte://v1/ML/development/e/n/i", Reason::ScopeInvalid),
        ("flyte://v1/org/other/ml/development/e/n/i", Reason::OrganizationRefused),
    ] {
        let body = format!(r#"{{"flyteUrl": "{url}"}}"#);
        assert_eq!(reason("GetData", &body), expected, "{url}");
    }
}

#[test]
fn uploads_stay_in_their_place() {
    let upload = |field: &str, path: &str| {
        call(
            "CreateUploadLocation",
            &format!(r#"{{"project": "ml", "domain": "development", "{field}": "{path}"}}"#),
        )
    };
    for field in ["filename", "filenameRoot"] {
        for path in ["", "a", "a/b.tar.gz", "..a", "a..b", "ä b"] {
            assert!(upload(field, path).is_ok(), "{path}");
        }
        for path in [
            "..",
            ".",
            "../a",
            "a/../b",
            "a/..",
            "a/./b",
            "/a",
            "a//b",
            "a/",
            "a%2e",
            "a\\\\..\\\\b",
            "a?b",
            "a#b",
            "a\\u0000",
            "a\\nb",
        ] {
            assert_eq!(upload(field, path).unwrap_err().reason, Reason::FieldInvalid, "{path}");
        }
    }
}

#[test]
fn a_rest_path_gives_the_scope_where_the_body_has_none() {
    let path = "/api/v1/executions/ml/production/e1";
    let matched = catalog().lookup_rest(&http::Method::DELETE, path).unwrap();
    let rest = Some(RestInput {
        binding: matched.binding,
        segments: matched.segments(),
        query: None,
    });
    for body in ["", "{}", r#"{"cause": "late"}"#, r#"{"id": {"project": "ml"}}"#] {
        let input = Input {
            payload: Payload::Json(body.as_bytes()),
            rest,
        };
        let extracted = targets(matched.route, &input, &rules(), &WalkLimits::default()).unwrap();
        assert_eq!(extracted.action, Action::TerminateExecutions);
        assert_eq!(extracted.targets[0].scope, place("ml", "production"));
    }
    let input = Input {
        payload: Payload::Json(br#"{"id": {"org": "other"}}"#),
        rest,
    };
    let outcome = targets(matched.route, &input, &rules(), &WalkLimits::default());
    assert_eq!(outcome.unwrap_err().reason, Reason::OrganizationRefused);
}

/// The role of a slot with the scope of a call in one domain.
const OWN_SCOPE: SlotRole = SlotRole::Scope {
    extent: Extent::Domain,
    resource: ResourceSource::None,
};

/// Judges a message by a plan like that of the example.
fn judge_by(plan: Plan, message: &[u8]) -> Result<Extracted, Denial> {
    let route = Route {
        index: 0,
        rpc: "/example.Service/Call".into(),
        request: "example.Request".into(),
        access: Access::Scoped,
        action: Action::ViewData,
        choices: Vec::new(),
        plan,
        bindings: Vec::new(),
        ignored: Vec::new(),
        answer: None,
        writes: [].into(),
    };
    let input = Input {
        payload: Payload::Protobuf(message),
        rest: None,
    };
    let rules = ScopeRules {
        domains: vec!["dev".into()],
        organizations: Vec::new(),
    };
    targets(&route, &input, &rules, &WalkLimits::default())
}

#[test]
fn a_scope_that_is_given_twice_is_refused() {
    let judge = |nodes: &[&str]| {
        let plan = example::plan();
        let mut slots = plan.slots().to_vec();
        slots[example::REFERENCE].role = OWN_SCOPE;
        let message: Vec<u8> = nodes
            .iter()
            .flat_map(|project| example::bytes(6, example::bytes(2, example::reference(project, "n"))))
            .collect();
        judge_by(Plan::new(plan.states, slots), &message)
    };
    assert_eq!(judge(&[]).unwrap_err().reason, Reason::ScopeMissing);
    assert_eq!(judge(&["a"]).unwrap().targets[0].scope, place("a", "dev"));
    assert_eq!(judge(&["a", "a"]).unwrap_err().reason, Reason::ScopeAmbiguous);
}

#[test]
fn no_two_workflows_come_to_one_key_of_the_store() {
    let judged = |name: &str, version: &str| {
        let id = format!(r#"{{"project": "ml", "domain": "development", "name": "{name}", "version": "{version}"}}"#);
        call("CreateWorkflow", &format!(r#"{{"id": {id}}}"#))
    };
    for (name, version) in [("secret", "v1"), ("a.b/c d", "1.2-x_y+z"), ("a/b/c", "v"), (" a", "v ")] {
        assert!(judged(name, version).is_ok(), "{name} {version}");
    }
    for (name, instead) in [
        ("secret/", "secret"),
        ("/secret", "secret"),
        ("secret//", "secret"),
        ("a//b", "a/b"),
        ("///a/b//", "a/b"),
    ] {
        let denial = judged(name, "v1").unwrap_err();
        assert_eq!(denial.reason, Reason::FieldInvalid, "{name}");
        let message = &denial.message;
        assert!(message.contains("`id.name`"), "{message}");
        assert!(message.ends_with(&format!("write `{instead}`")), "{message}");
    }
    assert_eq!(judged("/", "v1").unwrap_err().reason, Reason::FieldInvalid);
    for (version, instead) in [("prod/v1", "prod-v1"), ("v1/", "v1-"), ("/", "-")] {
        let denial = judged("deploy", version).unwrap_err();
        assert_eq!(denial.reason, Reason::FieldInvalid, "{version}");
        let message = &denial.message;
        assert!(message.contains("`id.version`"), "{message}");
        assert!(message.ends_with(&format!("such as `{instead}`")), "{message}");
    }
    // Others are not stored under keys.
    let id =
        r#"{"id": {"resourceType": "TASK", "project": "ml", "domain": "development", "name": "a/", "version": "b/c"}}"#;
    for method in ["CreateTask", "GetWorkflow", "GetTask"] {
        assert!(call(method, id).is_ok(), "{method}");
    }
}
