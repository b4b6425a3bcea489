//! The decision: a principal's rights against what a call touches. Denies win, and what nothing allows is refused.

use super::RuleName;
use super::grant::{Grant, Place};
use super::trace::{Step, Trace};
use super::wording::{advice, denied, described, named, not_allowed};
use crate::catalog::Access;
use crate::model::action::Action;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::model::scope::{Resource, Scope, Target, TargetRole};
use std::sync::Arc;

pub mod enforcement;

/// What one principal may do: the grants and denies of every rule that is for it. Immutable; kept as long as the token
/// and the policy.
#[derive(Debug)]
pub struct Rights {
    pub(in crate::policy) grants: Vec<Arc<Grant>>,
    pub(in crate::policy) denies: Vec<Arc<Grant>>,
    pub(in crate::policy) rules: Vec<RuleName>,
    pub(in crate::policy) anonymous: bool,
    pub(in crate::policy) revoked: Option<RuleName>,
    domains: Arc<[Box<str>]>,
}

/// One call, as far as the decision is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Who may make such a call at all.
    pub access: Access,
    /// The action of the route: for the message of a refusal that has no target.
    pub action: Action,
    /// What it touches: for a scoped call, the scope it acts in and everything it refers to.
    pub targets: &'a [Target],
}

/// The outcome.
#[derive(Debug)]
pub enum Decision {
    /// It may go on.
    Allow(Permit),
    /// It may not.
    Deny(Refusal),
}

/// The right to forward one call. Made here and in shadow mode ([`enforcement`]), and nowhere else.
#[derive(Debug)]
pub struct Permit {
    rules: Vec<RuleName>,
    filtered: bool,
}

impl Permit {
    /// The rules that allow the call, each once; none for calls that need no rule.
    #[must_use]
    pub fn rules(&self) -> &[RuleName] {
        &self.rules
    }

    /// Whether it holds only for an answer that shows nothing but what [`Rights::shows`].
    #[must_use]
    pub fn is_filtered(&self) -> bool {
        self.filtered
    }
}

/// Why a call may not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the caller is told.
    pub denial: Denial,
    /// The rule that denies it, or the item that revokes the token, if one does: for the record, not for the caller.
    pub rule: Option<RuleName>,
}

impl Decision {
    /// The permit, or why there is none.
    ///
    /// # Errors
    /// The refusal.
    pub fn into_permit(self) -> Result<Permit, Refusal> {
        match self {
            Self::Allow(permit) => Ok(permit),
            Self::Deny(refusal) => Err(refusal),
        }
    }
}

/// How one place, or one target, was judged.
enum Verdict<'a> {
    Denied(&'a RuleName),
    // Whether a grant covers the place and action, but lists other names.
    Missing { listed: bool },
    Allowed(Vec<&'a RuleName>),
}

impl Rights {
    pub(in crate::policy) fn none(domains: Arc<[Box<str>]>, anonymous: bool) -> Self {
        Self {
            grants: Vec::new(),
            denies: Vec::new(),
            rules: Vec::new(),
            anonymous,
            revoked: None,
            domains,
        }
    }

    /// The item of the policy's `revoked` that is about the principal, if one is.
    #[must_use]
    pub fn revoked(&self) -> Option<&RuleName> {
        self.revoked.as_ref()
    }

    /// Whether the principal may make any call of this kind: the first part of the decision, for which the call need not
    /// be known.
    ///
    /// # Errors
    /// `credential_missing` for nobody in particular, `token_revoked`; never for public calls.
    pub fn admit(&self, access: Access) -> Result<(), Refusal> {
        let (reason, rule) = match (access, &self.revoked) {
            (Access::Authenticated | Access::Scoped, _) if self.anonymous => (Reason::CredentialMissing, None),
            (Access::Authenticated | Access::Scoped, Some(rule)) => (Reason::TokenRevoked, Some(rule.clone())),
            (Access::Public, _) | (_, None) => return Ok(()),
        };
        Err(Refusal {
            denial: reason.into(),
            rule,
        })
    }

    /// The rules that are for the principal, in the order of the files.
    #[must_use]
    pub fn applied_rules(&self) -> &[RuleName] {
        &self.rules
    }

    /// Decides one call.
    pub fn decide<T: Trace>(&self, call: &Call<'_>, trace: &mut T) -> Decision {
        let outcome = self.admit(call.access).and_then(|()| match call.access {
            Access::Public | Access::Authenticated => Ok((Vec::new(), false)),
            Access::Scoped => self.decide_scoped(call, trace),
        });
        match outcome {
            Ok((mut rules, filtered)) => {
                // A call has few targets, each allowed by few rules.
                let mut seen: Vec<&RuleName> = Vec::new();
                rules.retain(|rule| {
                    !seen.contains(rule) && {
                        seen.push(rule);
                        true
                    }
                });
                trace.record(|| Step::Decided {
                    allowed: true,
                    why: named(&rules, filtered),
                });
                Decision::Allow(Permit {
                    rules: rules.into_iter().cloned().collect(),
                    filtered,
                })
            }
            Err(refusal) => {
                trace.record(|| Step::Decided {
                    allowed: false,
                    why: format!("{}: {}", refusal.denial.reason.label(), refusal.denial.message),
                });
                Decision::Deny(refusal)
            }
        }
    }

    /// The rules that allow the call, and whether its answer must be filtered.
    fn decide_scoped<T: Trace>(&self, call: &Call<'_>, trace: &mut T) -> Result<(Vec<&RuleName>, bool), Refusal> {
        // A scoped call without a scope would otherwise be allowed for want of anything to refuse.
        if !call.targets.iter().any(|target| target.role == TargetRole::Acts) {
            let message = format!("{} needs a scope, and the call names none", call.action);
            return Err(Refusal {
                denial: Denial::new(Reason::NoMatchingRule, message),
                rule: None,
            });
        }
        let mut rules = Vec::new();
        let mut filtered = false;
        let mut missing = None;
        let acts = call.targets.iter().filter(|target| target.role == TargetRole::Acts);
        let brought = acts.flat_map(|acts| call.targets.iter().filter_map(|other| brought_along(acts, other)));
        let brought: Vec<(Target, Place<'_>)> = brought.collect();
        let judged = call.targets.iter().map(|target| (target, None));
        for (target, named_in) in judged.chain(brought.iter().map(|(target, place)| (target, Some(*place)))) {
            let whole = whole(target).filter(|whole| self.allows(whole, named_in));
            filtered |= whole.is_none() && matches!(target.resource, Some(Resource::Listed(_)));
            match self.judge(whole.as_ref().unwrap_or(target), named_in, trace) {
                Verdict::Allowed(names) => rules.extend(names),
                Verdict::Missing { listed } => missing = missing.or(Some((target, listed))),
                Verdict::Denied(rule) => {
                    trace.record(|| Step::Advice {
                        text: format!("narrow the deny of rule {rule}, or name the caller in its `unless`"),
                    });
                    return Err(Refusal {
                        denial: denied(target),
                        rule: Some(rule.clone()),
                    });
                }
            }
        }
        match missing {
            None => Ok((rules, filtered)),
            Some((target, listed)) => {
                trace.record(|| Step::Advice {
                    text: advice(target, listed),
                });
                Err(Refusal {
                    denial: not_allowed(target, listed),
                    rule: None,
                })
            }
        }
    }

    /// Whether a target is allowed. `named_in` is where its resource lies, if not in its scope.
    pub(super) fn allows(&self, target: &Target, named_in: Option<Place<'_>>) -> bool {
        matches!(self.judge(target, named_in, &mut ()), Verdict::Allowed(_))
    }

    /// Judges one target. `named_in` is where its resource lies, if not in its scope.
    fn judge<T: Trace>(&self, target: &Target, named_in: Option<Place<'_>>, trace: &mut T) -> Verdict<'_> {
        match &target.scope {
            Scope::Global => self.judge_place(Place::Platform, target, named_in, trace),
            Scope::ProjectDomain { project, domain } if self.domains.contains(domain) => {
                self.judge_place(Place::Domain { project, domain }, target, named_in, trace)
            }
            // A domain that is not configured: `*` means the domains that are.
            Scope::ProjectDomain { .. } => Verdict::Missing { listed: false },
            Scope::Project(project) => self.judge_every_domain(project, target, trace),
            Scope::ProjectInSomeDomain(project) => self.judge_some_domain(project, target, trace),
        }
    }

    fn judge_every_domain<T: Trace>(&self, project: &str, target: &Target, trace: &mut T) -> Verdict<'_> {
        let mut rules = Vec::new();
        let mut missing = None;
        for domain in &*self.domains {
            match self.judge_place(Place::Domain { project, domain }, target, None, trace) {
                Verdict::Allowed(names) => rules.extend(names),
                Verdict::Missing { listed } => missing = missing.or(Some(listed)),
                denied @ Verdict::Denied(_) => return denied,
            }
        }
        match missing {
            // Without a configured domain nothing was allowed.
            None if !rules.is_empty() => Verdict::Allowed(rules),
            listed => Verdict::Missing {
                listed: listed.unwrap_or(false),
            },
        }
    }

    fn judge_some_domain<T: Trace>(&self, project: &str, target: &Target, trace: &mut T) -> Verdict<'_> {
        let mut denied = None;
        let mut missing = None;
        for domain in &*self.domains {
            match self.judge_place(Place::Domain { project, domain }, target, None, trace) {
                allowed @ Verdict::Allowed(_) => return allowed,
                Verdict::Missing { listed } => missing = Some(listed || missing.unwrap_or(false)),
                Verdict::Denied(rule) => denied = denied.or(Some(rule)),
            }
        }
        match (missing, denied) {
            (None, Some(rule)) => Verdict::Denied(rule),
            (listed, _) => Verdict::Missing {
                listed: listed.unwrap_or(false),
            },
        }
    }

    fn judge_place<T: Trace>(
        &self,
        place: Place<'_>,
        target: &Target,
        named_in: Option<Place<'_>>,
        trace: &mut T,
    ) -> Verdict<'_> {
        let resource = target.resource.as_ref();
        let named_in = named_in.unwrap_or(place);
        let mut needs = target.needs;
        for deny in &self.denies {
            if deny.actions.intersects(needs) && deny.is_about(place) && deny.denies(named_in, resource) {
                trace.record(|| Step::DenyHits {
                    rule: deny.rule.clone(),
                    target: described(place, target),
                });
                needs = needs.iter().filter(|action| !deny.actions.contains(*action)).collect();
                if needs.is_empty() {
                    return Verdict::Denied(&deny.rule);
                }
            }
        }
        let mut listed = false;
        let mut allowing = Vec::new();
        for grant in &self.grants {
            let why = if !grant.is_about(place) {
                "it is about other projects or domains"
            } else if !grant.actions.intersects(needs) {
                "it is about other actions"
            } else if !grant.allows(named_in, resource) {
                listed = true;
                "it lists other names"
            } else {
                trace.record(|| Step::GrantAllows {
                    rule: grant.rule.clone(),
                    target: described(place, target),
                });
                allowing.push(&grant.rule);
                if matches!(resource, Some(Resource::Listed(_))) {
                    // Each of them may have names to show.
                    continue;
                }
                break;
            };
            trace.record(|| Step::GrantPassed {
                rule: grant.rule.clone(),
                target: described(place, target),
                why: why.to_owned(),
            });
        }
        if allowing.is_empty() {
            Verdict::Missing { listed }
        } else {
            Verdict::Allowed(allowing)
        }
    }
}

/// For what shows listed things only, all of them: whoever may have all needs no filter.
fn whole(target: &Target) -> Option<Target> {
    let resource = match target.resource {
        Some(Resource::Listed(Some(kind))) => Resource::Every(kind),
        Some(Resource::Listed(None)) => Resource::Unnamed,
        Some(Resource::Named { .. } | Resource::Every(_) | Resource::Unnamed) | None => return None,
    };
    Some(Target {
        resource: Some(resource),
        ..target.clone()
    })
}

/// What a call brings into its own scope from another one: whoever may act there only on listed names may not act on
/// others by naming them elsewhere. Judged by the rights in the call's own scope, under the name it has where it lies.
fn brought_along<'t>(acts: &Target, other: &'t Target) -> Option<(Target, Place<'t>)> {
    let Scope::ProjectDomain { project, domain } = &other.scope else {
        return None;
    };
    let foreign = other.role == TargetRole::Refers && other.scope != acts.scope && other.resource.is_some();
    foreign.then(|| {
        let target = Target {
            scope: acts.scope.clone(),
            needs: acts.needs,
            ..other.clone()
        };
        (target, Place::Domain { project, domain })
    })
}

#[cfg(test)]
mod tests;
