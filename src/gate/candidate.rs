//! The candidate policy decides beside the one in force; where it would decide otherwise is recorded and counted, and
//! nothing else comes of it.

use super::authenticate::Caller;
use crate::audit::AuditGuard;
use crate::audit::record::CandidateRecord;
use crate::live::Snapshot;
use crate::policy::decide::{Call, Decision};
use crate::policy::extent::Extent;
use std::sync::Arc;

/// Compares what the policy in force decides with what the candidate would, if there is one.
pub(super) fn compare(
    snapshot: &Snapshot,
    caller: &Caller,
    call: &Call<'_>,
    decided: &Decision,
    audit: &mut AuditGuard,
) {
    let Some(candidate) = &snapshot.candidate else {
        return;
    };
    let rights = caller.rights_under(candidate);
    let would = rights.decide(call, &mut ());
    // The control plane is not asked on its behalf.
    if matches!(would, Decision::Deny(_)) && rights.depends_on_runs(call) {
        return;
    }
    let (now, then) = (Extent::of(decided), Extent::of(&would));
    if now == then {
        audit.candidate(None);
        return;
    }
    let (reason, rules) = match would {
        Decision::Allow(permit) => (None, permit.rules().to_vec()),
        Decision::Deny(refusal) => (Some(refusal.denial.reason.label()), refusal.rule.into_iter().collect()),
    };
    audit.candidate(Some(CandidateRecord {
        decision: then.label(),
        direction: if then > now { "gained" } else { "lost" },
        reason,
        rules: rules.iter().map(|rule| rule.name().into()).collect(),
        version: Arc::clone(candidate.policy.version()),
    }));
}
