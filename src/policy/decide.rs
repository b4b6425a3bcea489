//! The decision: a principal's rights against what a call touches. Denies win, and what nothing allows is refused.

use super::RuleName;
use super::grant::{Grant, Place};
use super::guard::OwnNames;
use super::trace::{Step, Trace};
use super::wording::{advice, denied, named, not_allowed, set_differently};
use crate::catalog::{Access, WritePlace};
use crate::model::action::Action;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::model::scope::{Resource, Scope, Target, TargetRole};
use crate::model::setting::{Asked, Written};
use judge::{Settings, Verdict};
use std::borrow::Cow;
use std::sync::Arc;

pub mod enforcement;
mod judge;
mod set;

pub(in crate::policy) use judge::Lack;
pub(in crate::policy) use set::Conflict;

/// What one principal may do: the grants and denies of every rule that is for it. Immutable; kept as long as the token
/// and the policy.
#[derive(Debug)]
pub struct Rights {
    pub(in crate::policy) grants: Vec<Arc<Grant>>,
    pub(in crate::policy) denies: Vec<Arc<Grant>>,
    pub(in crate::policy) rules: Vec<RuleName>,
    pub(in crate::policy) anonymous: bool,
    pub(in crate::policy) revoked: Option<RuleName>,
    /// The names that are the principal's own.
    pub(in crate::policy) own: OwnNames,
    pub(in crate::policy) domains: Arc<[Box<str>]>,
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
    /// The settings of executions that it asks for.
    pub asked: &'a [Asked],
    /// Where settings can be written into it.
    pub writes: &'a [WritePlace],
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
    written: Vec<Written>,
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

    /// The settings with which alone it holds: to be written into the request.
    #[must_use]
    pub fn written(&self) -> &[Written] {
        &self.written
    }
}

/// What allows a call.
#[derive(Default)]
struct Grounds<'a> {
    rules: Vec<&'a RuleName>,
    filtered: bool,
    written: Vec<Written>,
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

impl Rights {
    pub(in crate::policy) fn none(domains: Arc<[Box<str>]>, anonymous: bool) -> Self {
        Self {
            grants: Vec::new(),
            denies: Vec::new(),
            rules: Vec::new(),
            anonymous,
            revoked: None,
            own: [None, None],
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
            Access::Public | Access::Authenticated => Ok(Grounds::default()),
            Access::Scoped => self.decide_scoped(call, trace),
        });
        match outcome {
            Ok(Grounds {
                mut rules,
                filtered,
                written,
            }) => {
                // A call has few targets, each allowed by few rules.
                let mut seen: Vec<&RuleName> = Vec::new();
                rules.retain(|rule| {
                    !seen.contains(rule) && {
                        seen.push(rule);
                        true
                    }
                });
                for setting in &written {
                    trace.record(|| Step::Written {
                        setting: setting.setting.label(),
                        value: setting.value.clone(),
                    });
                }
                trace.record(|| Step::Decided {
                    allowed: true,
                    why: named(&rules, filtered),
                });
                Decision::Allow(Permit {
                    rules: rules.into_iter().cloned().collect(),
                    filtered,
                    written,
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

    /// What allows the call: rules, and what they demand of its request and answer.
    fn decide_scoped<T: Trace>(&self, call: &Call<'_>, trace: &mut T) -> Result<Grounds<'_>, Refusal> {
        // A scoped call without a scope would otherwise be allowed for want of anything to refuse.
        if !call.targets.iter().any(|target| target.role == TargetRole::Acts) {
            let message = format!("{} needs a scope, and the call names none", call.action);
            return Err(Refusal {
                denial: Denial::new(Reason::NoMatchingRule, message),
                rule: None,
            });
        }
        let mut grounds = Grounds::default();
        let (mut missing, mut apart) = (None, None);
        let acts = call.targets.iter().filter(|target| target.role == TargetRole::Acts);
        let brought = acts.flat_map(|acts| call.targets.iter().filter_map(|other| brought_along(acts, other)));
        let brought: Vec<(Target, Place<'_>)> = brought.collect();
        let judged = call.targets.iter().map(|target| (target, None));
        for (target, named_in) in judged.chain(brought.iter().map(|(target, place)| (target, Some(*place)))) {
            let whole = whole(target).filter(|whole| self.allows(whole, named_in));
            grounds.filtered |= whole.is_none() && matches!(target.resource, Some(Resource::Listed(_)));
            let settings = Settings::of(call, target);
            match self.judge(whole.as_ref().unwrap_or(target), named_in, settings, trace) {
                Verdict::Allowed(grants) => {
                    let written = self.written(&grants, &target.scope, settings);
                    grounds.written.extend(written.map_err(|conflict| Refusal {
                        denial: set_differently(target, &conflict),
                        rule: None,
                    })?);
                    grounds.rules.extend(grants.iter().map(|grant| &grant.rule));
                }
                // A name that no rule lists says more.
                Verdict::Missing(Lack::Apart) => apart = apart.or(Some((target, named_in, Lack::Apart))),
                Verdict::Missing(lack) => missing = missing.or(Some((target, named_in, lack))),
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
        match missing.or(apart) {
            None => Ok(grounds),
            Some((target, named_in, lack)) => Err(self.refusal(call, &named_whole(target, named_in), lack, trace)),
        }
    }

    fn refusal<T: Trace>(&self, call: &Call<'_>, target: &Target, lack: Lack, trace: &mut T) -> Refusal {
        let asked = match lack {
            Lack::Setting(index) => call.asked.get(index),
            Lack::Nothing | Lack::Listed | Lack::Apart | Lack::Stored => None,
        };
        trace.record(|| Step::Advice {
            text: advice(target, lack, asked),
        });
        let settings = Settings::of(call, target);
        let may_ask = asked.map(|asked| self.may_ask(asked, target, settings));
        Refusal {
            denial: not_allowed(target, lack, asked, &may_ask.unwrap_or_default()),
            rule: None,
        }
    }
}

/// For what shows listed things only, all of them: whoever may have all needs no filter.
fn whole(target: &Target) -> Option<Target> {
    let resource = match target.resource {
        Some(Resource::Listed(Some(kind))) => Resource::Every(kind),
        Some(Resource::Listed(None)) => Resource::Unnamed,
        Some(
            Resource::Named { .. } | Resource::Every(_) | Resource::Object(_) | Resource::Unnamed | Resource::RunBy(_),
        )
        | None => {
            return None;
        }
    };
    Some(Target {
        resource: Some(resource),
        ..target.clone()
    })
}

/// What lies elsewhere, with the name by which rules can list it.
fn named_whole<'t>(target: &'t Target, named_in: Option<Place<'_>>) -> Cow<'t, Target> {
    let (Some(Place::Domain { project, domain }), Some(Resource::Named { kind, name })) = (named_in, &target.resource)
    else {
        return Cow::Borrowed(target);
    };
    Cow::Owned(Target {
        resource: Some(Resource::Named {
            kind: *kind,
            name: format!("{domain}/{project}/{name}").into(),
        }),
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
