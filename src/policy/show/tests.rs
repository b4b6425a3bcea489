//! Lists show exactly what calls by name allow.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::catalog::Access;
use crate::model::action::Action;
use crate::policy::decide::{Call, Decision};
use crate::policy::tests::{caller, generated_caller, generated_policy, generated_rule, outcome, policy};
use proptest::prelude::*;

const KINDS: [ResourceKind; 3] = [ResourceKind::Task, ResourceKind::Workflow, ResourceKind::LaunchPlan];

fn shows(rights: &Rights, project: &str, domain: &str, kind: ResourceKind, name: &str) -> bool {
    rights.shows(Shown {
        scope: Scope::ProjectDomain {
            project: project.into(),
            domain: domain.into(),
        },
        needs: Action::ViewInventory.into(),
        resource: Some(Resource::Named {
            kind,
            name: name.into(),
        }),
        named_in: None,
    })
}

/// The decision on a list: `None` refused, else whether it is filtered, and by which rules.
fn list(rights: &Rights, project: &str, domain: &str, kind: Option<ResourceKind>) -> Option<(bool, Vec<String>)> {
    let target = Target {
        scope: Scope::ProjectDomain {
            project: project.into(),
            domain: domain.into(),
        },
        needs: Action::ViewInventory.into(),
        resource: Some(Resource::Listed(kind)),
        field: Arc::default(),
        role: TargetRole::Acts,
    };
    let call = Call {
        access: Access::Scoped,
        action: Action::ViewInventory,
        targets: &[target],
        asked: &[],
        writes: &[],
    };
    match rights.decide(&call, &mut ()) {
        Decision::Allow(permit) => Some((
            permit.is_filtered(),
            permit.rules().iter().map(|rule| rule.name().to_owned()).collect(),
        )),
        Decision::Deny(_) => None,
    }
}

const POLICY: &str = r#"
version: 1
rules:
  - name: one
    subjects: [{ groups: [a, both] }]
    allow:
      - { projects: [ml], domains: [staging], actions: [view_inventory], tasks: [t1, ml/t2, staging/ml/t3, production/ml/t4, staging/ml/a/b], launch_plans: [] }
  - name: two
    subjects: [{ groups: [b, both] }]
    allow:
      - { projects: [ml, x], domains: ["*"], actions: [view_inventory], tasks: [t5], workflows: [w], launch_plans: [lp] }
  - name: hidden
    subjects: [{ groups: [a, both, all] }]
    deny: [{ projects: [ml], actions: [view_inventory], tasks: [T1] }]
  - name: all
    subjects: [{ groups: [all] }]
    allow: [{ projects: ["*"], domains: ["*"], actions: [view_inventory] }]
  - name: frozen
    subjects: [{ groups: [frozen] }]
    deny: [{ projects: [ml], actions: [view_inventory] }]
  - name: otherwise
    subjects: [{ groups: [otherwise] }]
    allow:
      - { projects: [ml], domains: ["*"], actions: [use_inventory] }
      - { projects: [other], domains: ["*"], actions: [view_inventory] }
"#;

fn rights(groups: &[&str]) -> Rights {
    policy(POLICY).resolve(&caller(groups), &mut ())
}

#[test]
fn a_list_is_allowed_with_the_names_that_any_rule_lists() {
    let both = rights(&["both"]);
    let (filtered, rules) = list(&both, "ml", "staging", Some(ResourceKind::Task)).unwrap();
    assert!(filtered);
    assert_eq!(rules, ["one", "two"]);
    let shown: Vec<&str> = ["t1", "t2", "t3", "t4", "t5", "t6", "a/b", "b", "ml/t2", "T5"]
        .into_iter()
        .filter(|name| shows(&both, "ml", "staging", ResourceKind::Task, name))
        .collect();
    assert_eq!(shown, ["t2", "t3", "t5", "a/b"], "t1 is denied under any spelling");
    let names = both.listed_names("ml", "staging", Action::ViewInventory.into(), ResourceKind::Task, 100);
    let names = names.unwrap();
    assert!(
        ["t2", "t3", "t5", "a/b"]
            .iter()
            .all(|name| names.contains(&Box::from(*name))),
        "{names:?}"
    );
    assert!(
        !names.contains(&"t1".into()) && !names.contains(&"t4".into()),
        "{names:?}"
    );
    let beside = rights(&["both", "otherwise"]);
    let same = beside.listed_names("ml", "staging", Action::ViewInventory.into(), ResourceKind::Task, 100);
    assert_eq!(
        same,
        Some(names),
        "what is allowed elsewhere, or of other actions, adds none"
    );
}

#[test]
fn lists_are_by_kind_and_need_the_action_in_the_scope() {
    let one = rights(&["a"]);
    assert_eq!(
        list(&one, "ml", "staging", Some(ResourceKind::Workflow)).map(|(filtered, _)| filtered),
        Some(true),
        "what was generated for the task that is denied is not shown"
    );
    for (name, expected) in [("any", true), (".flytegen.t2", true), (".flytegen.t1", false)] {
        assert_eq!(
            shows(&one, "ml", "staging", ResourceKind::Workflow, name),
            expected,
            "{name}"
        );
    }
    assert_eq!(
        list(
            &rights(&["otherwise"]),
            "other",
            "staging",
            Some(ResourceKind::Workflow)
        )
        .map(|(filtered, _)| filtered),
        Some(false),
        "a rule that lists no workflows allows all"
    );
    assert_eq!(
        list(&one, "ml", "staging", Some(ResourceKind::LaunchPlan)).map(|(filtered, _)| filtered),
        Some(true)
    );
    let none = one.listed_names(
        "ml",
        "staging",
        Action::ViewInventory.into(),
        ResourceKind::LaunchPlan,
        100,
    );
    assert_eq!(none, Some(Vec::new()));
    assert_eq!(list(&one, "ml", "production", Some(ResourceKind::Task)), None);
    assert_eq!(list(&one, "x", "staging", Some(ResourceKind::Task)), None);
    assert_eq!(
        list(&rights(&["frozen", "b"]), "ml", "staging", Some(ResourceKind::Task)),
        None
    );
}

#[test]
fn a_deny_with_a_list_hides_its_names_from_who_may_see_all_others() {
    let all = rights(&["all"]);
    assert_eq!(
        list(&all, "ml", "staging", Some(ResourceKind::Task)).map(|(filtered, _)| filtered),
        Some(true)
    );
    assert!(shows(&all, "ml", "staging", ResourceKind::Task, "t2"));
    assert!(!shows(&all, "ml", "staging", ResourceKind::Task, "t1"));
    let names = all.listed_names("ml", "staging", Action::ViewInventory.into(), ResourceKind::Task, 100);
    assert_eq!(names, None, "all but one cannot be told by name");
    assert_eq!(
        list(&all, "other", "staging", Some(ResourceKind::Task)),
        Some((false, vec!["all".to_owned()]))
    );
}

#[test]
fn visible_projects_can_be_told_unless_a_pattern_allows_them() {
    assert_eq!(
        rights(&["both"]).visible_projects(100),
        Some(vec!["ml".into(), "x".into()])
    );
    assert_eq!(rights(&["all", "both"]).visible_projects(100), None);
    assert_eq!(rights(&[]).visible_projects(100), Some(Vec::new()));
    let hidden = policy(
        "version: 1\nrules:\n- {name: r, subjects: [{anyone: true}], allow: [{projects: [a, b], domains: [staging], role: viewer}], deny: [{projects: [b], actions: [\"*\"]}]}\n",
    );
    assert_eq!(
        hidden.resolve(&caller(&[]), &mut ()).visible_projects(100),
        Some(vec!["a".into()])
    );
}

#[test]
fn whether_every_project_is_visible_is_told_where_it_is_plain() {
    // A deny of names hides no project.
    assert!(rights(&["all"]).sees_every_project());
    assert!(!rights(&["all", "frozen"]).sees_every_project());
    assert!(!rights(&["both"]).sees_every_project());
    assert!(!rights(&[]).sees_every_project());
    let of = |allow: &str| {
        let rule = format!("version: 1\nrules:\n- {{name: r, subjects: [{{anyone: true}}], allow: [{{{allow}}}]}}\n");
        policy(&rule).resolve(&caller(&[]), &mut ()).sees_every_project()
    };
    assert!(of("projects: [\"*\"], domains: [staging], actions: [view_data]"));
    assert!(!of("projects: [\"*\"], domains: [staging], actions: [use_inventory]"));
    assert!(!of("projects: [\"m*\"], domains: [\"*\"], actions: [view_data]"));
}

#[test]
fn more_names_than_are_asked_for_are_not_told() {
    let both = rights(&["both"]);
    assert_eq!(both.visible_projects(1), None);
    assert!(both.visible_projects(2).is_some());
    let names = |most| both.listed_names("ml", "staging", Action::ViewInventory.into(), ResourceKind::Task, most);
    assert_eq!(names(5), None);
    assert!(names(6).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_list_shows_a_name_exactly_if_the_call_for_it_is_allowed(
        rules in proptest::collection::vec(generated_rule(), 0..7),
        principal in generated_caller(),
        project in "[pq]",
        kind in proptest::sample::select(KINDS.to_vec()),
    ) {
        let rights = generated_policy(&rules).resolve(&principal, &mut ());
        let whole = list(&rights, &project, "staging", Some(kind));
        let any = list(&rights, &project, "staging", None);
        let told = rights.listed_names(&project, "staging", Action::ViewInventory.into(), kind, 100);
        for name in ["t", "l", "x", "p/t", "staging/p/t"] {
            let scope = Scope::ProjectDomain { project: project.as_str().into(), domain: "staging".into() };
            let target = Target {
                scope,
                needs: Action::ViewInventory.into(),
                resource: Some(Resource::Named { kind, name: name.into() }),
                field: "".into(),
                role: TargetRole::Acts,
            };
            let allowed = outcome(&rights, &[target]).is_ok();
            prop_assert_eq!(shows(&rights, &project, "staging", kind, name), allowed);
            match &whole {
                None => prop_assert!(!allowed, "what is refused as a whole has nothing to show"),
                Some((false, _)) => prop_assert!(allowed, "what is not filtered has nothing to hide"),
                Some((true, _)) => {}
            }
            if matches!(any, Some((false, _))) {
                prop_assert!(allowed);
            }
            prop_assert!(any.is_some() || !allowed);
            if let Some(told) = &told {
                prop_assert_eq!(told.contains(&Box::from(name)), allowed, "{} of {:?}", name, told);
            }
        }
    }

    #[test]
    fn the_projects_told_are_those_that_are_visible(
        rules in proptest::collection::vec(generated_rule(), 0..7),
        principal in generated_caller(),
    ) {
        let rights = generated_policy(&rules).resolve(&principal, &mut ());
        let told = rights.visible_projects(100);
        for project in ["p", "q", "r"] {
            let visible = rights.visible_project(project);
            if let Some(told) = &told {
                prop_assert_eq!(told.contains(&Box::from(project)), visible);
            }
            prop_assert!(visible || !rights.sees_every_project());
        }
    }
}
