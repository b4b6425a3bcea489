//! Calls on stored executions, which do not say what those run: whether it matters to the decision.

use super::decide::{Call, Decision, Rights};
use crate::model::scope::{Resource, Target};

impl Rights {
    /// Whether a call that is refused would be allowed for some of the things that its stored executions can run. Then it
    /// is to be decided again once it is known what they run.
    #[must_use]
    pub fn depends_on_runs(&self, call: &Call<'_>) -> bool {
        let mut stored = false;
        // What is listed is allowed exactly if some name can be.
        let any_run = |target: &Target| match &target.resource {
            Some(Resource::RunBy(execution)) if execution.runs.is_none() => {
                stored = true;
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
        stored && matches!(self.decide(&call, &mut ()), Decision::Allow(_))
    }
}
