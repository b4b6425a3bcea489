//! Calls on stored executions, which do not say what those run: whether it matters to the decision.

use super::decide::{Call, Decision, Rights};
use crate::model::action::Action;
use crate::model::scope::{Resource, ResourceKind, Scope, Target, TargetRole};
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
