//! What rules write into a request about how an execution runs.

use super::Rights;
use super::judge::Settings;
use crate::model::scope::{Scope, Target};
use crate::model::setting::{Asked, Setting, Written};
use crate::policy::grant::{Grant, Place};
use crate::policy::guard::Choice;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Two rules that set one setting to different values.
pub(in crate::policy) struct Conflict {
    pub(in crate::policy) setting: Setting,
    pub(in crate::policy) values: BTreeSet<String>,
}

impl Rights {
    /// What the grants that allow a call write into it. What some of them lets the caller choose stays; where nothing is
    /// asked for, whatever any of them sets is written.
    ///
    /// # Errors
    /// They set different values.
    pub(super) fn written(
        &self,
        grants: &[&Arc<Grant>],
        scope: &Scope,
        settings: Settings<'_>,
    ) -> Result<Vec<Written>, Conflict> {
        let Scope::ProjectDomain { project, domain } = scope else {
            return Ok(Vec::new());
        };
        let place = Place::Domain { project, domain };
        let mut written = Vec::new();
        for write in settings.writes {
            let setting = write.setting;
            let own: Vec<&Asked> = settings.own(setting).collect();
            let keeps = |grant: &&Arc<Grant>| {
                let choice = |asked: &&Asked| grant.choice(asked, place, true, &self.own);
                own.iter().all(|asked| choice(asked) == Choice::Kept)
            };
            if let Some(first) = own.first().filter(|_| grants.iter().any(keeps)) {
                // In an older field it would count for nothing beside a newer one that names somebody else.
                let is_set = grants.iter().any(|grant| grant.guards.set.contains_key(&setting));
                if is_set && own.iter().all(|asked| asked.field != write.field) {
                    written.push(Written {
                        setting,
                        value: first.value.clone(),
                    });
                }
                continue;
            }
            let values = grants.iter().filter_map(|grant| grant.guards.set(setting, place));
            let values: BTreeSet<String> = values.collect();
            if values.len() > 1 {
                return Err(Conflict { setting, values });
            }
            written.extend(values.into_iter().map(|value| Written {
                setting,
                value: value.into(),
            }));
        }
        carry_over(settings, &mut written);
        Ok(written)
    }

    /// The values that the rules for the caller allow in place of one that is refused.
    pub(super) fn may_ask(&self, asked: &Asked, target: &Target, settings: Settings<'_>) -> BTreeSet<String> {
        let Scope::ProjectDomain { project, domain } = &target.scope else {
            return BTreeSet::new();
        };
        let place = Place::Domain { project, domain };
        let covering = |grant: &&Arc<Grant>| {
            grant.is_about(place)
                && grant.actions.intersects(target.needs)
                && grant.allows(place, place, target.resource.as_ref())
                && settings.named_are_covered_by(grant, place)
        };
        let grants = self.grants.iter().filter(covering);
        grants
            .flat_map(|grant| grant.guards.listed(asked.setting, place))
            .collect()
    }
}

/// `FlyteAdmin` reads either the security context or, without one, the older fields: when one of its two settings is
/// written, the other one that the caller asked for in an older field has to come along.
fn carry_over(settings: Settings<'_>, written: &mut Vec<Written>) {
    let pair = [Setting::ServiceAccount, Setting::IamRole];
    let is_written = |setting, written: &[Written]| written.iter().any(|one| one.setting == setting);
    if !pair.iter().any(|setting| is_written(*setting, written)) {
        return;
    }
    for setting in pair {
        let Some(write) = settings.writes.iter().find(|write| write.setting == setting) else {
            continue;
        };
        if is_written(setting, written) {
            continue;
        }
        let mut own = settings.own(setting);
        let in_place = own.clone().any(|asked| asked.field == write.field);
        if let Some(asked) = own.next().filter(|_| !in_place) {
            written.push(Written {
                setting,
                value: asked.value.clone(),
            });
        }
    }
}
