//! The sample policies, the JSON Schema, and properties that hold for every policy.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::compile::compile;
use super::decide::{Call, Decision, Rights};
use super::document::schema;
use super::show::Shown;
use super::trace::Steps;
use super::{Policy, testfile};
use crate::catalog::{Access, Catalog};
use crate::model::action::Action;
use crate::model::principal::{Principal, PrincipalKind};
use crate::model::scope::{Resource, ResourceKind, Run, Scope, StoredExecution, Target, TargetRole};
use proptest::prelude::*;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod revocation;

macro_rules! samples {
    ($($name:literal),* $(,)?) => {
        &[$((
            $name,
            include_str!(concat!("../../policies/", $name, ".yaml")),
            include_str!(concat!("../../policies/", $name, ".test.yaml")),
        )),*]
    };
}

/// Name, policy, decision tests.
const SAMPLES: &[(&str, &str, &str)] = samples![
    "teams",
    "naming-convention",
    "webhook",
    "system-identities",
    "release-freeze",
    "keycloak",
    "revocation",
    "data-plane"
];

pub(in crate::policy) fn domains() -> Vec<Box<str>> {
    ["development", "staging", "production"].map(Box::from).to_vec()
}

pub(in crate::policy) fn policy(text: &str) -> Policy {
    match compile(&[(PathBuf::from("policy.yaml"), text.to_owned())], &domains()) {
        Ok((policy, _)) => policy,
        Err(problems) => panic!("{problems:#?}\n{text}"),
    }
}

pub(in crate::policy) fn caller(groups: &[&str]) -> Principal {
    Principal {
        kind: PrincipalKind::Token,
        groups: groups.iter().map(|group| Arc::from(*group)).collect(),
        ..Principal::anonymous()
    }
}

#[test]
fn every_sample_compiles_without_warnings_and_passes_its_tests() {
    let catalog = Catalog::builtin().unwrap();
    for (name, text, tests) in SAMPLES {
        let files = [(PathBuf::from(format!("{name}.yaml")), (*text).to_owned())];
        let (policy, warnings) = compile(&files, &domains()).unwrap_or_else(|problems| panic!("{problems:#?}"));
        assert_eq!(warnings, [], "{name}");
        let report = testfile::run(&policy, Path::new(&format!("{name}.test.yaml")), tests, Some(&catalog));
        let shown: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
        assert!(shown.is_empty(), "{}", shown.join("\n"));
        assert!(report.passed > 4, "{name}");
    }
}

#[test]
fn the_samples_together_are_one_policy() {
    let files: Vec<_> = SAMPLES
        .iter()
        .map(|(name, text, _)| (PathBuf::from(*name), (*text).to_owned()))
        .collect();
    let (policy, _) = compile(&files, &domains()).unwrap();
    assert!(policy.rules().len() > 10);
}

fn yaml(text: &str) -> serde_json::Value {
    crate::document::parse(Path::new("x"), text).unwrap()
}

#[test]
fn the_schema_accepts_every_sample_and_refuses_what_the_compiler_refuses() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (name, text, _) in SAMPLES {
        let faults: Vec<String> = validator
            .iter_errors(&yaml(text))
            .map(|fault| fault.to_string())
            .collect();
        assert!(faults.is_empty(), "{name}: {faults:?}");
    }
    for broken in [
        "rules: []",
        "version: 2",
        "version: 1\nrule: []",
        "version: 1\nroles: { a: [] }",
        "version: 1\nrules: [{ name: r, subjects: [], deny: [{ actions: [view_data] }] }]",
        "version: 1\nrules: [{ name: r, subjects: [{}], deny: [{ actions: [view_data] }] }]",
        "version: 1\nrules: [{ name: r, subjects: [{ groups: [] }], deny: [{ actions: [view_data] }] }]",
        "version: 1\nrules: [{ name: r, subjects: [{ groups: null }], deny: [{ actions: [view_data] }] }]",
        "version: 1\nrules: [{ name: r, subjects: [{ anyone: false }], deny: [{ actions: [view_data] }] }]",
        "version: 1\nrules: [{ name: \"a b\", subjects: [{ anyone: true }], deny: [{ actions: [view_data] }] }]",
        "version: 1\nrules: [{ name: r, subjects: [{ anyone: true }], deny: [{ domains: [production] }] }]",
        "version: 1\nrules: [{ name: r, subjects: [{ anyone: true }], deny: [{ actions: [view_data], role: viewer }] }]",
        "version: 1\nrules: [{ name: r, subjects: [{ anyone: true }], allow: [] }]",
        "version: 1\nrules: [{ name: r, subjects: [{ anyone: true }], allow: [{ projects: [a], role: viewer }] }]",
        "version: 1\nrules: [{ name: r, subjects: [{ anyone: true }], allow: [{ projects: [], domains: [a], role: viewer }] }]",
        "version: 1\nrules: [{ name: r, subjects: [{ anyone: true }], allow: [{ projects: [a], domains: [a], role: viewer, queues: [a] }] }]",
        "version: 1\nrules: [{ name: r, subjects: [{ anyone: true }], allow: [{ projects: [a], domains: [a], role: viewer, set: {} }] }]",
    ] {
        assert!(!validator.is_valid(&yaml(broken)), "accepted by the schema: {broken}");
        let files = [(PathBuf::from("x"), broken.to_owned())];
        assert!(
            compile(&files, &domains()).is_err(),
            "accepted by the compiler: {broken}"
        );
    }
}

#[test]
fn the_published_schema_is_the_generated_one() {
    let generated = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    let published = include_str!("../../docs/policy.schema.json");
    assert!(
        published == generated,
        "write docs/policy.schema.json anew:\n{generated}"
    );
}

#[test]
fn every_policy_in_the_guide_compiles_and_passes_the_tests_beside_it() {
    let guide = include_str!("../../docs/policy.md");
    let blocks: Vec<&str> = guide
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let mut latest = None;
    let catalog = Catalog::builtin().unwrap();
    for block in &blocks {
        if block.starts_with("cases:") {
            let policy = latest.as_ref().unwrap();
            let report = testfile::run(policy, Path::new("guide"), block, Some(&catalog));
            assert_eq!(report.failures, [], "{block}");
        } else {
            let files = [(PathBuf::from("guide"), (*block).to_owned())];
            let (policy, warnings) = compile(&files, &domains()).unwrap_or_else(|problems| panic!("{problems:#?}"));
            assert_eq!(warnings, [], "{block}");
            latest = Some(policy);
        }
    }
    assert!(blocks.len() > 5);
    for action in Action::ALL {
        assert!(
            guide.contains(&format!("| `{action}` | {} |", action.help())),
            "the table lacks {action}"
        );
    }
    for (role, _) in super::role::BUILT_IN {
        assert!(guide.contains(&format!("| `{role}` |")), "the table lacks {role}");
    }
}

/// A rule of a generated policy: groups it is for, whom its deny spares, and entries.
#[derive(Clone, Debug)]
pub(super) struct Generated {
    subject: String,
    unless: Option<String>,
    deny: bool,
    entry: String,
}

pub(super) fn generated_rule() -> impl Strategy<Value = Generated> {
    let subject = prop_oneof![
        4 => "[abc]".prop_map(|group| format!("{{ groups: [{group}, other] }}")),
        1 => "[abc]".prop_map(|group| format!("{{ groups: [\"{group}*\"] }}")),
        1 => Just("{ anyone: true }".to_owned()),
        1 => "[abc]".prop_map(|group| format!("{{ email: [x], groups: [{group}] }}")),
        1 => "[ab]".prop_map(|email| format!("{{ email: [{email}] }}")),
    ];
    let place = |plain: &'static str| prop_oneof![3 => plain.prop_map(String::from), 1 => Just("\"*\"".to_owned()), 1 => Just("\"p*\"".to_owned())];
    let actions = prop_oneof![
        Just("role: viewer"),
        Just("role: contributor"),
        Just("actions: [\"*\"]"),
        Just("actions: [view_data]"),
        Just("actions: [create_executions, view_inventory]"),
    ];
    let lists = prop_oneof![3 => Just(""), 1 => Just(", tasks: [t]"), 1 => Just(", tasks: [p/t], launch_plans: [l]")];
    let domain = prop_oneof![Just("development"), Just("staging"), Just("production"), Just("\"*\"")];
    (
        subject,
        proptest::option::of("[abc]"),
        any::<bool>(),
        place("[pq]"),
        domain,
        actions,
        lists,
    )
        .prop_map(|(subject, unless, deny, project, domain, actions, lists)| Generated {
            subject,
            unless: unless.map(|group| format!("{{ groups: [{group}] }}")),
            deny,
            entry: format!("{{ projects: [{project}], domains: [{domain}], {actions}{lists} }}"),
        })
}

pub(super) fn text_of<'a>(rules: impl IntoIterator<Item = (usize, &'a Generated)>) -> String {
    let mut text = "version: 1\nrules:\n".to_owned();
    for (number, rule) in rules {
        let effect = if rule.deny { "deny" } else { "allow" };
        write!(
            text,
            "  - {{ name: r{number}, subjects: [{}], {effect}: [{}]",
            rule.subject, rule.entry
        )
        .unwrap();
        if let (true, Some(unless)) = (rule.deny, &rule.unless) {
            write!(text, ", unless: [{unless}]").unwrap();
        }
        text.push_str(" }\n");
    }
    text
}

pub(super) fn generated_policy(rules: &[Generated]) -> Policy {
    if rules.is_empty() {
        policy("version: 1\n")
    } else {
        policy(&text_of(rules.iter().enumerate()))
    }
}

pub(super) fn generated_caller() -> impl Strategy<Value = Principal> {
    (proptest::collection::vec("[abcx]", 0..3), proptest::option::of("[abx]")).prop_map(|(groups, email)| {
        let mut principal = caller(&groups.iter().map(String::as_str).collect::<Vec<_>>());
        principal.email = email.map(Arc::from);
        principal
    })
}

pub(super) fn run_by(runs: Option<Run>) -> Resource {
    Resource::RunBy(Box::new(StoredExecution {
        name: "e".into(),
        organization: "".into(),
        again: false,
        runs,
    }))
}

fn generated_run() -> impl Strategy<Value = Run> {
    let kind = prop_oneof![Just(ResourceKind::Task), Just(ResourceKind::LaunchPlan)];
    (kind, "[pq]", "[tl]").prop_map(|(kind, project, name)| Run {
        kind,
        project: project.into(),
        domain: "staging".into(),
        name: name.into(),
    })
}

pub(super) fn generated_target() -> impl Strategy<Value = Target> {
    let scope = prop_oneof![
        1 => Just(Scope::Global),
        2 => "[pq]".prop_map(|project| Scope::Project(project.into())),
        2 => "[pq]".prop_map(|project| Scope::ProjectInSomeDomain(project.into())),
        4 => ("[pq]", prop_oneof![Just("development"), Just("staging"), Just("production"), Just("unknown")])
            .prop_map(|(project, domain)| Scope::ProjectDomain { project: project.into(), domain: domain.into() }),
    ];
    let kind = prop_oneof![
        Just(ResourceKind::Task),
        Just(ResourceKind::Workflow),
        Just(ResourceKind::LaunchPlan)
    ];
    let listed = kind.clone();
    let resource = prop_oneof![
        2 => Just(None),
        2 => (kind.clone(), "[tl]").prop_map(|(kind, name)| Some(Resource::Named { kind, name: name.into() })),
        1 => kind.prop_map(|kind| Some(Resource::Every(kind))),
        1 => Just(Some(Resource::Unnamed)),
        2 => proptest::option::of(generated_run()).prop_map(|run| Some(run_by(run))),
        1 => proptest::option::of(listed).prop_map(|kind| Some(Resource::Listed(kind))),
    ];
    let needs = proptest::sample::subsequence(
        vec![
            Action::ViewData,
            Action::ViewInventory,
            Action::CreateExecutions,
            Action::AdministerPlatform,
        ],
        1..3,
    );
    (scope, resource, needs, any::<bool>()).prop_map(|(scope, resource, needs, acts)| Target {
        scope,
        needs: needs.into_iter().collect(),
        resource,
        field: "f".into(),
        role: if acts { TargetRole::Acts } else { TargetRole::Refers },
    })
}

pub(super) fn outcome(rights: &Rights, targets: &[Target]) -> Result<(), &'static str> {
    let call = Call {
        access: Access::Scoped,
        action: Action::ViewData,
        targets,
        asked: &[],
        writes: &[],
    };
    match rights.decide(&call, &mut ()) {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(refusal) => Err(refusal.denial.reason.label()),
    }
}

fn decided(policy: &Policy, principal: &Principal, targets: &[Target]) -> Result<(), &'static str> {
    outcome(&policy.resolve(principal, &mut ()), targets)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn more_allow_never_turns_allow_into_deny_and_more_deny_never_deny_into_allow(
        rules in proptest::collection::vec(generated_rule(), 0..7),
        extra in generated_rule(),
        principal in generated_caller(),
        targets in proptest::collection::vec(generated_target(), 1..3),
    ) {
        let before = decided(&generated_policy(&rules), &principal, &targets).is_ok();
        let more = [rules, vec![extra.clone()]].concat();
        let after = decided(&generated_policy(&more), &principal, &targets).is_ok();
        if extra.deny { prop_assert!(before || !after) } else { prop_assert!(!before || after) }
    }

    #[test]
    fn what_runs_is_looked_up_wherever_that_can_allow_a_call(
        rules in proptest::collection::vec(generated_rule(), 0..7),
        principal in generated_caller(),
        targets in proptest::collection::vec(generated_target(), 1..3),
        run in generated_run(),
    ) {
        let rights = generated_policy(&rules).resolve(&principal, &mut ());
        let with = |runs: Option<&Run>| -> Vec<Target> {
            targets.iter().map(|target| match target.resource {
                Some(Resource::RunBy(_)) => Target { resource: Some(run_by(runs.cloned())), ..target.clone() },
                _ => target.clone(),
            }).collect()
        };
        let (unknown, known) = (with(None), with(Some(&run)));
        let call = Call { access: Access::Scoped, action: Action::ViewData, targets: &unknown, asked: &[], writes: &[] };
        let (before, after) = (outcome(&rights, &unknown).is_ok(), outcome(&rights, &known).is_ok());
        // Whoever may whatever it runs need not ask, and nobody asks in vain by mistake.
        prop_assert!(!before || after);
        prop_assert!(!after || before || rights.depends_on_runs(&call));
        let known_call = Call { targets: &known, ..call };
        prop_assert!(!rights.depends_on_runs(&known_call), "nothing is looked up twice");
    }

    #[test]
    fn an_execution_may_be_viewed_exactly_if_lists_show_it(
        rules in proptest::collection::vec(generated_rule(), 0..7),
        principal in generated_caller(),
        target in generated_target(),
        run in generated_run(),
    ) {
        let rights = generated_policy(&rules).resolve(&principal, &mut ());
        let shown = rights.shows(Shown {
            scope: target.scope.clone(),
            needs: target.needs,
            resource: Some(Resource::Named { kind: run.kind, name: run.name.clone() }),
            named_in: Some((&run.project, &run.domain)),
        });
        let viewed = Target { resource: Some(run_by(Some(run))), role: TargetRole::Acts, ..target };
        // Lists are of one domain; elsewhere the two do not meet.
        if matches!(viewed.scope, Scope::ProjectDomain { .. }) {
            prop_assert_eq!(outcome(&rights, &[viewed]).is_ok(), shown);
        }
    }

    #[test]
    fn the_order_of_rules_and_files_does_not_matter(
        rules in proptest::collection::vec(generated_rule(), 1..7),
        split in 0usize..7,
        principal in generated_caller(),
        targets in proptest::collection::vec(generated_target(), 1..3),
    ) {
        let forwards = decided(&generated_policy(&rules), &principal, &targets);
        let numbered: Vec<_> = rules.iter().enumerate().rev().collect();
        let (first, second) = numbered.split_at(split.min(numbered.len()));
        let files: Vec<_> = [first, second].iter().enumerate().filter(|(_, part)| !part.is_empty())
            .map(|(number, part)| (PathBuf::from(format!("{number}.yaml")), text_of(part.iter().copied())))
            .collect();
        let (backwards, _) = compile(&files, &domains()).unwrap();
        prop_assert_eq!(forwards, decided(&backwards, &principal, &targets));
    }

    #[test]
    fn the_index_finds_what_looking_at_every_rule_finds(
        rules in proptest::collection::vec(generated_rule(), 0..12),
        principal in generated_caller(),
    ) {
        let policy = generated_policy(&rules);
        let indexed = policy.resolve(&principal, &mut ());
        let scanned = policy.resolve(&principal, &mut Steps::default());
        prop_assert_eq!(format!("{indexed:?}"), format!("{scanned:?}"));
    }

    #[test]
    fn who_has_no_group_or_is_anonymous_gets_nothing_from_group_rules(
        rules in proptest::collection::vec(generated_rule(), 0..7),
        targets in proptest::collection::vec(generated_target(), 1..3),
    ) {
        let by_group: Vec<_> = rules.iter().filter(|rule| rule.subject.contains("groups")).cloned().collect();
        prop_assert!(decided(&generated_policy(&by_group), &caller(&[]), &targets).is_err());
        prop_assert!(decided(&generated_policy(&rules), &Principal::anonymous(), &targets).is_err());
    }

    #[test]
    fn an_empty_policy_refuses_every_scoped_call(
        principal in generated_caller(),
        targets in proptest::collection::vec(generated_target(), 0..3),
    ) {
        prop_assert!(decided(&policy("version: 1\n"), &principal, &targets).is_err());
    }

    #[test]
    fn a_project_is_visible_exactly_if_some_view_of_some_domain_is_allowed(
        rules in proptest::collection::vec(generated_rule(), 0..7),
        principal in generated_caller(),
        project in "[pq]",
    ) {
        let rights = generated_policy(&rules).resolve(&principal, &mut ());
        let views = [Action::ViewInventory, Action::ViewExecutions, Action::ViewData];
        let seen = domains().into_iter().any(|domain| views.iter().any(|view| {
            let scope = Scope::ProjectDomain { project: project.as_str().into(), domain: (&*domain).into() };
            outcome(&rights, &[Target { scope, needs: (*view).into(), resource: None, field: "".into(), role: TargetRole::Acts }]).is_ok()
        }));
        prop_assert_eq!(rights.visible_project(&project), seen);
    }

    #[test]
    fn no_claim_value_widens_a_rule_beyond_the_plain_name_it_is(value in "\\PC{0,8}", project in "[a-z]{1,3}") {
        let policy = policy(CLAIM_POLICY);
        let mut principal = caller(&[]);
        principal.claims = Arc::new(serde_json::Map::from_iter([("team".to_owned(), value.clone().into())]));
        let scope = Scope::ProjectDomain { project: project.as_str().into(), domain: "staging".into() };
        let target = Target { scope, needs: Action::ViewData.into(), resource: None, field: "".into(), role: TargetRole::Acts };
        prop_assert_eq!(decided(&policy, &principal, &[target]).is_ok(), value == project);
    }
}

const CLAIM_POLICY: &str = r#"
version: 1
rules:
  - name: r
    subjects: [{ anyone: true }]
    allow: [{ projects: ["${claims.team}"], domains: ["*"], role: viewer }]
"#;

#[test]
fn twenty_thousand_rules_are_resolved_by_index() {
    let file = |number: usize| {
        let mut text = "version: 1\nrules:\n".to_owned();
        for rule in number * 10_000..(number + 1) * 10_000 {
            let entry = format!("{{ projects: [p{rule}], domains: [staging], role: viewer }}");
            writeln!(
                text,
                "- {{ name: r{rule}, subjects: [{{ groups: [g{rule}] }}], allow: [{entry}] }}"
            )
            .unwrap();
        }
        (PathBuf::from(format!("{number}.yaml")), text)
    };
    let files: Vec<_> = (0..2).map(file).collect();
    let (policy, _) = compile(&files, &domains()).unwrap();
    assert_eq!(policy.rules().len(), 20_000);
    assert_eq!(
        policy.index.candidates(&caller(&["g7", "g19999", "nobody"])),
        [7, 19_999]
    );
    assert_eq!(policy.index.candidates(&caller(&["nobody"])), [0usize; 0]);
    let many: Vec<String> = (0..10_000).map(|number| format!("g{number}")).collect();
    let rights = policy.resolve(&caller(&many.iter().map(String::as_str).collect::<Vec<_>>()), &mut ());
    assert_eq!(rights.applied_rules().len(), 10_000);
    assert!(rights.visible_project("p9999") && !rights.visible_project("p10000"));
}
