//! Calls on stored executions, which do not say what those run, and calls that choose the name of a new one: whether it matters
//! to the decision.

use super::decide::{Call, Decision, Rights};
use crate::model::action::Action;
use crate::model::scope::{ChosenName, Resource, ResourceKind, Scope, StoredExecution, Target, TargetRole};
use std::sync::Arc;

/// Whether a call starts stored executions again of which it is not known what they run: that can lie in another project or
/// domain, and has to be allowed there.
#[must_use]
pub fn starts_again(targets: &[Target]) -> bool {
    let unknown = |target: &Target| matches!(&target.resource, Some(Resource::RunBy(execution)) if execution.again && execution.runs.is_none());
    targets.iter().any(unknown)
}

/// What executions run that a call starts again, as far as it lies elsewhere than they do: to be judged there, as if
/// `CreateExecution` named it.
#[must_use]
pub fn started_elsewhere(targets: &[Target]) -> Vec<Target> {
    let mut elsewhere = Vec::new();
    for target in targets {
        let Some(Resource::RunBy(execution)) = &target.resource else {
            continue;
        };
        let Some(run) = execution.runs.as_ref().filter(|_| execution.again) else {
            continue;
        };
        let scope = Scope::ProjectDomain {
            project: run.project.clone(),
            domain: run.domain.clone(),
        };
        if scope == target.scope {
            continue;
        }
        let needs: &[Action] = match run.kind {
            ResourceKind::Task => &[Action::UseInventory, Action::RegisterInventory],
            ResourceKind::Workflow | ResourceKind::LaunchPlan => &[Action::UseInventory],
        };
        elsewhere.extend(needs.iter().map(|action| Target {
            scope: scope.clone(),
            needs: (*action).into(),
            resource: Some(Resource::Named {
                kind: run.kind,
                name: run.name.clone(),
            }),
            field: Arc::clone(&target.field),
            role: TargetRole::Refers,
        }));
    }
    elsewhere
}

impl Rights {
    /// Whether a call that is refused would be allowed for some of the things that its stored executions can run. Then it
    /// is to be decided again once it is known what they run.
    #[must_use]
    pub fn depends_on_runs(&self, call: &Call<'_>) -> bool {
        let (mut stored, mut again) = (false, false);
        // What is listed is allowed exactly if some name can be.
        let any_run = |target: &Target| match &target.resource {
            Some(Resource::RunBy(execution)) if execution.runs.is_none() => {
                stored = true;
                again |= execution.again;
                Target {
                    resource: Some(Resource::Listed(None)),
                    ..target.clone()
                }
            }
            _ => target.clone(),
        };
        let targets: Vec<Target> = call.targets.iter().map(any_run).collect();
        let call = Call {
            targets: &targets,
            ..*call
        };
        let decide = || {
            if again {
                self.without_set().decide(&call, &mut ())
            } else {
                self.decide(&call, &mut ())
            }
        };
        stored && matches!(decide(), Decision::Allow(_))
    }

    /// The stored execution, if there is one, that has the name already that a call chooses for a new one: to be looked up,
    /// since the caller may start only some things where that is, or not all.
    #[must_use]
    pub fn depends_on_name(&self, call: &Call<'_>, chosen: &ChosenName) -> Option<Target> {
        let mut all = self.grants.iter().chain(&self.denies);
        if all.all(|grant| grant.lists.are_absent()) {
            return None;
        }
        let acts = call.targets.iter().find(|target| target.role == TargetRole::Acts)?;
        let target = Target {
            scope: acts.scope.clone(),
            needs: call.action.into(),
            resource: Some(Resource::RunBy(Box::new(StoredExecution {
                name: Arc::clone(&chosen.name),
                organization: chosen.organization.clone(),
                again: false,
                runs: None,
            }))),
            field: Arc::clone(&chosen.field),
            role: TargetRole::Refers,
        };
        (!self.allows(&target, None)).then_some(target)
    }

    /// What is left without the grants that set how executions run: they never start one again as it was stored.
    fn without_set(&self) -> Self {
        let grants = self.grants.iter().filter(|grant| grant.guards.set.is_empty());
        Self {
            grants: grants.cloned().collect(),
            denies: self.denies.clone(),
            rules: self.rules.clone(),
            anonymous: self.anonymous,
            revoked: self.revoked.clone(),
            own: self.own.clone(),
            domains: Arc::clone(&self.domains),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::catalog::Access;
    use crate::policy::tests::{caller, policy};

    const POLICY: &str = "
version: 1
rules:
  - name: open
    subjects: [{ groups: [open, frozen, busy] }]
    allow: [{ projects: [p], domains: [development], actions: [create_executions, view_data] }]
  - name: listed
    subjects: [{ groups: [listed] }]
    allow:
      - { projects: [p], domains: [development], actions: [create_executions], launch_plans: [x] }
      - { projects: [q], domains: [development], actions: [create_executions] }
  - name: setting
    subjects: [{ groups: [setting] }]
    allow: [{ projects: [p], domains: [development], actions: [create_executions], set: { service_account: s } }]
  - name: frozen
    subjects: [{ groups: [frozen] }]
    deny: [{ actions: [create_executions], tasks: [x] }]
  - name: busy
    subjects: [{ groups: [busy] }]
    deny: [{ actions: [view_data], tasks: [x] }]
";

    #[test]
    fn it_matters_what_has_a_chosen_name_only_where_names_are_listed() {
        let table: &[(&[&str], &str, bool)] = &[
            (&["open"], "p", false),
            (&["setting"], "p", false),
            (&["listed"], "p", true),
            (&["listed"], "q", false),
            (&["listed", "open"], "p", false),
            // Denied by name; where other actions are, it does not matter.
            (&["frozen"], "p", true),
            (&["busy"], "p", false),
        ];
        let chosen = ChosenName {
            name: "e".into(),
            organization: "acme".into(),
            field: "name".into(),
        };
        for (groups, project, matters) in table {
            let acts = Target {
                scope: Scope::ProjectDomain {
                    project: (*project).into(),
                    domain: "development".into(),
                },
                needs: Action::CreateExecutions.into(),
                resource: None,
                field: Arc::default(),
                role: TargetRole::Acts,
            };
            let call = Call {
                access: Access::Scoped,
                action: Action::CreateExecutions,
                targets: std::slice::from_ref(&acts),
                asked: &[],
                writes: &[],
            };
            let rights = policy(POLICY).resolve(&caller(groups), &mut ());
            let holder = rights.depends_on_name(&call, &chosen);
            assert_eq!(holder.is_some(), *matters, "{groups:?} {project}");
            if *matters {
                let expected = Target {
                    resource: Some(Resource::RunBy(Box::new(StoredExecution {
                        name: "e".into(),
                        organization: "acme".into(),
                        again: false,
                        runs: None,
                    }))),
                    field: "name".into(),
                    role: TargetRole::Refers,
                    ..acts.clone()
                };
                assert_eq!(holder.unwrap(), expected);
            }
        }
    }
}
