//! From a principal to its rights: every grant and deny whose rule is for it. Done once a token.

use super::decide::Rights;
use super::grant::Plan;
use super::pattern::Captures;
use super::subject::{Condition, Subject};
use super::trace::{Step, Trace};
use super::wording::new_token;
use super::{Policy, Rule};
use crate::model::principal::{Principal, PrincipalKind};
use std::sync::Arc;

impl Policy {
    /// The rights of a principal. The anonymous one has none, and so has a revoked one, whatever the rules say.
    pub fn resolve<T: Trace>(&self, principal: &Principal, trace: &mut T) -> Rights {
        let mut rights = Rights::none(Arc::clone(&self.domains), principal.kind == PrincipalKind::Anonymous);
        if rights.anonymous {
            return rights;
        }
        rights.own = [Some(Arc::clone(&principal.subject)), principal.email.clone()];
        let revoked = self.revoked.iter().find(|item| item.subject.matches(principal).is_ok());
        if let Some(revocation) = revoked {
            trace.record(|| Step::Revoked {
                rule: revocation.name.clone(),
            });
            trace.record(|| Step::Advice {
                text: new_token(revocation),
            });
            rights.revoked = Some(revocation.name.clone());
            return rights;
        }
        if T::EXPLAINS {
            for rule in &self.rules {
                self.apply(rule, principal, &mut rights, trace);
            }
        } else {
            for position in self.index.candidates(principal) {
                if let Some(rule) = self.rules.get(position) {
                    self.apply(rule, principal, &mut rights, trace);
                }
            }
        }
        rights
    }

    fn apply<T: Trace>(&self, rule: &Rule, principal: &Principal, rights: &mut Rights, trace: &mut T) {
        let captures = match matching(&rule.subjects, principal) {
            Ok(captures) => captures,
            Err(failed) => {
                trace.record(|| Step::RuleSkipped {
                    rule: rule.name.clone(),
                    why: failed.iter().map(ToString::to_string).collect(),
                });
                return;
            }
        };
        trace.record(|| Step::RuleApplies {
            rule: rule.name.clone(),
            captures: captures.clone(),
        });
        rights.rules.push(rule.name.clone());
        for plan in &rule.allow {
            match plan {
                Plan::Fixed(grant) => rights.grants.push(Arc::clone(grant)),
                Plan::Variable(template) => {
                    let mut dropped = |why| {
                        trace.record(|| Step::ExpansionDropped {
                            rule: rule.name.clone(),
                            why,
                        });
                    };
                    let grants = template.expand(principal, &captures, &self.roles, &mut dropped);
                    rights.grants.extend(grants.into_iter().map(Arc::new));
                }
            }
        }
        if rule.deny.is_empty() {
            return;
        }
        if matching(&rule.unless, principal).is_ok() {
            trace.record(|| Step::DenyExempted {
                rule: rule.name.clone(),
            });
        } else {
            rights.denies.extend(rule.deny.iter().cloned());
        }
    }
}

/// What the items that match capture, without repetition; if none matches, the condition that fails in each.
fn matching<'a>(subjects: &'a [Subject], principal: &Principal) -> Result<Vec<Captures>, Vec<&'a Condition>> {
    let mut captured = Vec::new();
    let mut failed = Vec::new();
    for subject in subjects {
        match subject.matches(principal) {
            Ok(sets) => captured.extend(sets),
            Err(condition) => failed.push(condition),
        }
    }
    if captured.is_empty() {
        return Err(failed);
    }
    captured.sort_unstable();
    captured.dedup();
    Ok(captured)
}

#[cfg(test)]
mod tests;
