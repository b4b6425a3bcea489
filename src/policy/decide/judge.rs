//! Judges one target: by every deny and grant, in every domain it is about.

use super::{Call, Rights};
use crate::catalog::WritePlace;
use crate::model::action::{Action, ActionSet};
use crate::model::scope::{Resource, Scope, Target, TargetRole};
use crate::model::setting::{Asked, Setting};
use crate::policy::RuleName;
use crate::policy::grant::{Grant, Place};
use crate::policy::guard::Choice;
use crate::policy::trace::{Step, Trace};
use crate::policy::wording::described;
use std::sync::Arc;

/// How one place, or one target, was judged.
pub(super) enum Verdict<'a> {
    Denied(&'a RuleName),
    Missing(Lack),
    Allowed(Vec<&'a Arc<Grant>>),
}

/// What the grant that comes nearest lacks, the farthest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) enum Lack {
    /// None covers the place and action.
    Nothing,
    /// It lists other names.
    Listed,
    /// It lists other names than something that the call names beside the target.
    Apart,
    /// It sets how executions run, which a stored one does not take up.
    Stored,
    /// It does not allow a setting: the index among those asked for.
    Setting(usize),
}

/// The settings of a call, for the target in whose scope it acts.
#[derive(Clone, Copy, Default)]
pub(super) struct Settings<'c> {
    pub(super) asked: &'c [Asked],
    pub(super) writes: &'c [WritePlace],
    /// Everything the call touches: what a grant says of settings is about what the call names.
    touched: &'c [Target],
}

impl<'c> Settings<'c> {
    /// Those of a call as far as they concern the target: what it refers to says nothing about how it runs. But a task of
    /// another place that is run by itself gets a launch plan there, with what was asked for.
    pub(super) fn of(call: &Call<'c>, target: &Target) -> Self {
        match target.role {
            TargetRole::Acts if !call.asked.is_empty() || !call.writes.is_empty() => Self {
                asked: call.asked,
                writes: call.writes,
                touched: call.targets,
            },
            TargetRole::Refers
                if call.action == Action::CreateExecutions && target.needs.contains(Action::RegisterInventory) =>
            {
                Self {
                    asked: call.asked,
                    ..Self::default()
                }
            }
            TargetRole::Acts | TargetRole::Refers => Self::default(),
        }
    }

    /// Whether a grant covers, in a place, all that the call names beside the target. One that lists other names must not
    /// lend what it says of settings, nor what it does not say.
    pub(super) fn named_are_covered_by(self, grant: &Grant, place: Place<'_>) -> bool {
        self.touched.iter().all(|other| {
            let Scope::ProjectDomain { project, domain } = &other.scope else {
                return true;
            };
            let names = matches!(
                other.resource,
                Some(Resource::Named { .. } | Resource::Every(_) | Resource::Unnamed)
            );
            let lies_in = Place::Domain { project, domain };
            other.role == TargetRole::Acts || !names || grant.allows(place, lies_in, other.resource.as_ref())
        })
    }

    /// What is asked for in the fields of a setting.
    pub(super) fn own(self, setting: Setting) -> impl Iterator<Item = &'c Asked> + Clone {
        let asked = self.asked.iter();
        asked.filter(move |asked| asked.setting == setting && !asked.is_keyed())
    }

    /// Whether what is written takes the place of a setting that is asked for.
    pub(super) fn can_write(self, asked: &Asked) -> bool {
        !asked.is_keyed() && self.writes.iter().any(|place| place.setting == asked.setting)
    }
}

impl Rights {
    /// Whether a target is allowed. `named_in` is where its resource lies, if not in its scope.
    pub(in crate::policy) fn allows(&self, target: &Target, named_in: Option<Place<'_>>) -> bool {
        let verdict = self.judge(target, named_in, Settings::default(), &mut ());
        matches!(verdict, Verdict::Allowed(_))
    }

    /// Whether one of these is allowed in some domain of a project, as for [`Scope::ProjectInSomeDomain`].
    pub(in crate::policy) fn allows_in_some_domain(&self, project: &str, needs: ActionSet) -> bool {
        let target = Target {
            // Asked for a thousand projects in a row: the name is not copied for it.
            scope: Scope::Global,
            needs,
            resource: None,
            field: Arc::default(),
            role: TargetRole::Acts,
        };
        let verdict = self.judge_some_domain(project, &target, &mut ());
        matches!(verdict, Verdict::Allowed(_))
    }

    /// Judges one target. `named_in` is where its resource lies, if not in its scope.
    pub(super) fn judge<T: Trace>(
        &self,
        target: &Target,
        named_in: Option<Place<'_>>,
        settings: Settings<'_>,
        trace: &mut T,
    ) -> Verdict<'_> {
        match &target.scope {
            Scope::Global => {
                if let Some(Resource::Object(url)) = &target.resource
                    && let Some(grant) = self.grants_object(url)
                {
                    trace.record(|| Step::GrantAllows {
                        rule: grant.rule.clone(),
                        target: described(Place::Platform, target),
                    });
                    return Verdict::Allowed(vec![grant]);
                }
                self.judge_place(Place::Platform, target, named_in, settings, trace)
            }
            Scope::ProjectDomain { project, domain } if self.domains.iter().any(|known| **known == **domain) => {
                let place = Place::Domain { project, domain };
                self.judge_place(place, target, named_in, settings, trace)
            }
            // A domain that is not configured: `*` means the domains that are.
            Scope::ProjectDomain { .. } => Verdict::Missing(Lack::Nothing),
            Scope::Project(project) => self.judge_every_domain(project, target, settings, trace),
            Scope::ProjectInSomeDomain(project) => self.judge_some_domain(project, target, trace),
        }
    }

    fn judge_every_domain<T: Trace>(
        &self,
        project: &str,
        target: &Target,
        settings: Settings<'_>,
        trace: &mut T,
    ) -> Verdict<'_> {
        let mut grants = Vec::new();
        let mut missing = None;
        for domain in &*self.domains {
            let place = Place::Domain { project, domain };
            match self.judge_place(place, target, None, settings, trace) {
                Verdict::Allowed(found) => grants.extend(found),
                Verdict::Missing(lack) => missing = missing.or(Some(lack)),
                denied @ Verdict::Denied(_) => return denied,
            }
        }
        match missing {
            // Without a configured domain nothing was allowed.
            None if !grants.is_empty() => Verdict::Allowed(grants),
            lack => Verdict::Missing(lack.unwrap_or(Lack::Nothing)),
        }
    }

    fn judge_some_domain<T: Trace>(&self, project: &str, target: &Target, trace: &mut T) -> Verdict<'_> {
        let mut denied = None;
        let mut missing = None;
        for domain in &*self.domains {
            let place = Place::Domain { project, domain };
            match self.judge_place(place, target, None, Settings::default(), trace) {
                allowed @ Verdict::Allowed(_) => return allowed,
                Verdict::Missing(lack) => missing = missing.max(Some(lack)),
                Verdict::Denied(rule) => denied = denied.or(Some(rule)),
            }
        }
        match (missing, denied) {
            (None, Some(rule)) => Verdict::Denied(rule),
            (lack, _) => Verdict::Missing(lack.unwrap_or(Lack::Nothing)),
        }
    }

    fn judge_place<T: Trace>(
        &self,
        place: Place<'_>,
        target: &Target,
        named_in: Option<Place<'_>>,
        settings: Settings<'_>,
        trace: &mut T,
    ) -> Verdict<'_> {
        let resource = target.resource.as_ref();
        let named_in = named_in.unwrap_or(place);
        let needs = match self.undenied(place, target, named_in, trace) {
            Ok(needs) => needs,
            Err(rule) => return Verdict::Denied(rule),
        };
        let allows = |grant: &Grant| Step::GrantAllows {
            rule: grant.rule.clone(),
            target: described(place, target),
        };
        let passed = |grant: &Grant, why: &str| Step::GrantPassed {
            rule: grant.rule.clone(),
            target: described(place, target),
            why: why.to_owned(),
        };
        let mut nearest = Lack::Nothing;
        let (mut allowing, mut apart) = (Vec::new(), Vec::new());
        for grant in &self.grants {
            let why = if !grant.is_about(place) {
                "it is about other projects or domains"
            } else if !grant.actions.intersects(needs) {
                "it is about other actions"
            } else if !grant.allows(place, named_in, resource) {
                nearest = nearest.max(Lack::Listed);
                "it lists other names"
            } else if !settings.named_are_covered_by(grant, place) {
                nearest = nearest.max(Lack::Apart);
                apart.push(grant);
                continue;
            } else if let Some(lack) = self.unsettled(grant, place, target, settings) {
                nearest = nearest.max(lack);
                if lack == Lack::Stored {
                    "it sets how executions run, which a stored one does not take up"
                } else {
                    "it does not allow a setting that is asked for"
                }
            } else {
                trace.record(|| allows(grant));
                allowing.push(grant);
                if matches!(resource, Some(Resource::Listed(_))) || !settings.writes.is_empty() {
                    // Each of them may have names to show, or settings to write.
                    continue;
                }
                break;
            };
            trace.record(|| passed(grant, why));
        }
        // Without settings each thing may be allowed by a grant of its own.
        let sets = |grant: &&Arc<Grant>| !grant.guards.set.is_empty();
        if allowing.is_empty() && settings.asked.is_empty() && !apart.iter().any(sets) {
            for grant in &apart {
                trace.record(|| allows(grant));
            }
            allowing = apart;
        } else {
            let why = "it lists other names than what the call refers to";
            for grant in &apart {
                trace.record(|| passed(grant, why));
            }
        }
        if allowing.is_empty() {
            Verdict::Missing(nearest)
        } else {
            Verdict::Allowed(allowing)
        }
    }

    /// What of the needs no rule denies.
    ///
    /// # Errors
    /// The rule that denies the last of them.
    fn undenied<T: Trace>(
        &self,
        place: Place<'_>,
        target: &Target,
        named_in: Place<'_>,
        trace: &mut T,
    ) -> Result<ActionSet, &RuleName> {
        let mut needs = target.needs;
        for deny in &self.denies {
            if deny.actions.intersects(needs) && deny.is_about(place) && deny.denies(named_in, target.resource.as_ref())
            {
                trace.record(|| Step::DenyHits {
                    rule: deny.rule.clone(),
                    target: described(place, target),
                });
                needs = needs.iter().filter(|action| !deny.actions.contains(*action)).collect();
                if needs.is_empty() {
                    return Err(&deny.rule);
                }
            }
        }
        Ok(needs)
    }

    /// What keeps a grant from allowing how an execution would run, if something does.
    fn unsettled(&self, grant: &Grant, place: Place<'_>, target: &Target, settings: Settings<'_>) -> Option<Lack> {
        let again = match &target.resource {
            Some(Resource::RunBy(execution)) => execution.again,
            // Without a name it is not known which it is, nor what becomes of it.
            Some(Resource::Unnamed) => target.needs.contains(Action::CreateExecutions),
            _ => false,
        };
        if again && !grant.guards.set.is_empty() {
            return Some(Lack::Stored);
        }
        let refused = |asked: &Asked| {
            let choice = grant.choice(asked, place, settings.can_write(asked), &self.own);
            choice == Choice::Refused
        };
        settings.asked.iter().position(refused).map(Lack::Setting)
    }
}
