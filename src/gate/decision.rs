//! The decision on one call: by the policy in force and what stored executions run, beside the candidate, and as the mode
//! of enforcement has it.

use super::authenticate::Authenticated;
use super::lookup::Asking;
use super::{Gate, by_policy, candidate};
use crate::audit::AuditGuard;
use crate::config::AuditClaims;
use crate::live::Snapshot;
use crate::model::denial::Denial;
use crate::model::principal::PrincipalKind;
use crate::model::scope::Target;
use crate::policy::decide::enforcement::{Enforcement, Passed};
use crate::policy::decide::{Call, Decision, Permit, Rights};
use crate::policy::reads::Reads;
use crate::policy::stored::starts_again;

/// A call that may go on.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) permit: Permit,
    /// What it touches with what its stored executions run, where that was looked up.
    pub(super) targets: Option<Vec<Target>>,
}

impl Gate {
    /// Decides one call.
    ///
    /// # Errors
    /// The refusal, unless this is shadow mode and only rules are against the call.
    pub(super) async fn decide(
        &self,
        call: &Call<'_>,
        rights: &Rights,
        asking: Asking<'_>,
        snapshot: &Snapshot,
        audit: &mut AuditGuard,
    ) -> Result<Decided, Denial> {
        let mut targets = None;
        let mut decision = rights.decide(call, &mut ());
        let names_matter = |chosen| rights.depends_on_name(call, chosen).is_some();
        if matches!(decision, Decision::Deny(_))
            || starts_again(call.targets)
            || asking.chosen.is_some_and(names_matter)
        {
            // Boxed, since it is seldom, and its state is large.
            match Box::pin(self.decide_by_runs(call, rights, &decision, asking, audit)).await {
                Ok(Some((by_runs, looked_up))) => {
                    decision = by_runs;
                    targets = Some(looked_up);
                }
                // Where nothing is refused, nothing is for want of an answer.
                Err(denial) if self.enforcement == Enforcement::Enforce => return Err(denial),
                Ok(None) | Err(_) => {}
            }
        }
        let call = Call {
            targets: targets.as_deref().unwrap_or(call.targets),
            ..*call
        };
        candidate::compare(snapshot, &asking.authenticated.caller, &call, &decision, audit);
        let permit = self.enforced(decision, snapshot, audit)?;
        audit.judged()?;
        Ok(Decided { permit, targets })
    }

    /// Acts on a decision; in shadow mode a refusal by rules is only recorded.
    fn enforced(&self, decision: Decision, snapshot: &Snapshot, audit: &mut AuditGuard) -> Result<Permit, Denial> {
        let Passed { permit, would_refuse } = decision
            .enforced(self.enforcement)
            .map_err(|refusal| by_policy(refusal, snapshot, audit))?;
        match would_refuse {
            None => {
                audit.rules(permit.rules().iter().map(|rule| rule.name().into()));
                audit.filtered(permit.is_filtered());
            }
            Some(refusal) => {
                let denial = by_policy(refusal, snapshot, audit);
                audit.would_refuse(&denial);
            }
        }
        Ok(permit)
    }

    /// Records who is calling, and where that is wanted, what the policies look at.
    pub(super) fn record_caller(&self, authenticated: &Authenticated, snapshot: &Snapshot, audit: &mut AuditGuard) {
        let principal = authenticated.caller.principal();
        audit.principal(principal, authenticated.source);
        if self.audit_claims == AuditClaims::Policy && principal.kind != PrincipalKind::Anonymous {
            let candidate = snapshot.candidate.as_ref().map(|candidate| candidate.policy.reads());
            let reads = snapshot
                .policy
                .reads()
                .clone()
                .and(candidate.unwrap_or(&Reads::default()));
            audit.claims(principal, &reads);
        }
    }
}
