//! What a request refers to: judged where it lies, by what the catalogue asks for it there.

use super::{Judge, field, resource_of};
use crate::catalog::{Extent, Part, Slot, SlotRole};
use crate::extract::values::{Occurrence, Values};
use crate::model::action::{Action, ActionSet};
use crate::model::denial::Denial;
use crate::model::scope::{Resource, ResourceKind, Scope, Target, TargetRole};
use std::collections::HashSet;
use std::sync::Arc;

impl Judge<'_> {
    /// Adds what the request refers to.
    pub(super) fn references(
        &self,
        values: &Values<'_>,
        action: Action,
        own: &Scope,
        targets: &mut Vec<Target>,
    ) -> Result<(), Denial> {
        // A workflow names the same task in many nodes.
        let mut seen: HashSet<&Occurrence<'_>, ahash::RandomState> = HashSet::default();
        for occurrence in &values.occurrences {
            let slot = self.slot(occurrence)?;
            let SlotRole::Reference { resource, .. } = &slot.role else {
                continue;
            };
            if names_nothing(slot, occurrence) || !seen.insert(occurrence) {
                continue;
            }
            let resource = resource_of(slot, occurrence, *resource)?;
            let scope = self.scope(slot, occurrence, Extent::Domain)?;
            let needed = needed(slot, resource.as_ref(), action, scope == *own);
            let target = self.target(scope, resource, &slot.at, TargetRole::Refers);
            targets.extend(needed.iter().map(|action| Target {
                needs: ActionSet::from(action),
                ..target.clone()
            }));
        }
        Ok(())
    }

    /// What the URI of an artifact needs: which project it names is up to the service that reads it, so that it can be any.
    pub(super) fn artifact_uri(&self, values: &Values<'_>) -> Result<Option<Target>, Denial> {
        for occurrence in &values.occurrences {
            let slot = self.slot(occurrence)?;
            if slot.role == SlotRole::ArtifactUri && !occurrence.part(Part::Value).is_empty() {
                let at = Arc::from(field(slot, Part::Value));
                let target = self.target(Scope::Global, None, &at, TargetRole::Refers);
                return Ok(Some(Target {
                    needs: ActionSet::from(Action::AdministerPlatform),
                    ..target
                }));
            }
        }
        Ok(None)
    }
}

/// The actions needed on something referred to.
fn needed(slot: &Slot, resource: Option<&Resource>, action: Action, at_home: bool) -> ActionSet {
    let SlotRole::Reference {
        foreign,
        foreign_task,
        always,
        ..
    } = &slot.role
    else {
        return action.into();
    };
    let always: ActionSet = always.iter().copied().collect();
    if at_home {
        // The call's own target covers the scope; the name is for allow-lists. Where something else is always asked of an
        // execution, nothing of what it runs is started by the call.
        let is_acted_for = matches!(resource, Some(Resource::RunBy(_))) && !always.is_empty();
        return if resource.is_some() && !is_acted_for {
            always.union(action.into())
        } else {
            always
        };
    }
    let task = matches!(
        resource,
        Some(
            Resource::Named {
                kind: ResourceKind::Task,
                ..
            } | Resource::Every(ResourceKind::Task)
        )
    );
    let abroad = foreign.iter().chain(foreign_task.iter().filter(|_| task)).copied();
    let needed = abroad.collect::<ActionSet>().union(always);
    // What is foreign is never free.
    if needed.is_empty() { action.into() } else { needed }
}

/// Whether an occurrence that need not be there refers to nothing.
pub(super) fn names_nothing(slot: &Slot, occurrence: &Occurrence<'_>) -> bool {
    let empty = |part| occurrence.part(part).is_empty();
    !slot.required && slot.filled.is_empty() && empty(Part::Project) && empty(Part::Domain)
}
