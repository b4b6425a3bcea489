//! The scope a call acts in, and where other things lie.

use super::{Judge, field, missing, resource_of, run_by, shown};
use crate::catalog::{Extent, Part, ResourceSource, Slot, SlotRole};
use crate::extract::flyte_url;
use crate::extract::names::{check_project, quote};
use crate::extract::values::{Occurrence, Values};
use crate::model::action::ActionSet;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::model::scope::{ChosenName, Resource, Scope, Target, TargetRole};
use std::sync::Arc;

impl Judge<'_> {
    /// The scope the call acts in, as a target of the route's own action.
    pub(super) fn own_scope(&self, values: &Values<'_>) -> Result<Target, Denial> {
        let gives_scope = |slot: &Slot| matches!(slot.role, SlotRole::Scope { .. } | SlotRole::FlyteUrl);
        let mut own = None;
        for occurrence in &values.occurrences {
            let slot = self.slot(occurrence)?;
            if !gives_scope(slot) {
                continue;
            }
            if own.is_some() {
                let text = format!("the scope in `{}` is given twice; send it once", shown(&slot.at));
                return Err(Denial::new(Reason::ScopeAmbiguous, text));
            }
            own = Some(self.acts(slot, occurrence)?);
        }
        let mut all = values.occurrences.iter();
        let is_url = |slot: &Slot| matches!(slot.role, SlotRole::NativeUrl);
        if let Some(occurrence) = all.find(|occurrence| self.slot(occurrence).is_ok_and(is_url)) {
            own = own.map(|own| Target {
                resource: Some(Resource::Object(occurrence.part(Part::Value).into())),
                ..own
            });
        }
        match (own, self.route.plan.slots().iter().find(|slot| gives_scope(slot))) {
            (Some(own), _) => Ok(own),
            (None, Some(slot)) => Err(missing(slot.parts.first().map_or(&*slot.at, |(field, _)| field))),
            // Without a slot the route acts on the platform.
            (None, None) => Ok(self.target(Scope::Global, None, &Arc::default(), TargetRole::Acts)),
        }
    }

    /// Whether what the call acts on is found by its name alone.
    pub(super) fn is_of_any_kind(&self) -> bool {
        let any = ResourceSource::OfAnyKind;
        let mut slots = self.route.plan.slots().iter();
        slots.any(|slot| matches!(slot.role, SlotRole::Scope { resource, .. } if resource == any))
    }

    /// The name that the request chooses for a new execution, if it chooses one.
    pub(super) fn chosen_name(&self, values: &Values<'_>) -> Result<Option<ChosenName>, Denial> {
        let (mut chosen, mut organization) = (None, "");
        for occurrence in &values.occurrences {
            let slot = self.slot(occurrence)?;
            match slot.role {
                SlotRole::Scope { .. } => organization = occurrence.part(Part::Org),
                SlotRole::ChosenName => chosen = slot.parts.first().zip(Some(occurrence.part(Part::Value))),
                _ => {}
            }
        }
        let chosen = chosen.filter(|(_, name)| !name.is_empty());
        Ok(chosen.map(|((field, _), name)| ChosenName {
            name: name.into(),
            organization: organization.into(),
            field: Arc::clone(field),
        }))
    }

    fn acts(&self, slot: &Slot, occurrence: &Occurrence<'_>) -> Result<Target, Denial> {
        let (scope, resource) = match &slot.role {
            SlotRole::Scope { extent, resource } => (
                self.scope(slot, occurrence, *extent)?,
                resource_of(slot, occurrence, *resource)?,
            ),
            _ => self.execution_of_url(slot, occurrence)?,
        };
        Ok(self.target(scope, self.route.as_listed(resource), &slot.at, TargetRole::Acts))
    }

    pub(super) fn target(
        &self,
        scope: Scope,
        resource: Option<Resource>,
        field: &Arc<str>,
        role: TargetRole,
    ) -> Target {
        Target {
            scope,
            needs: ActionSet::from(self.route.action),
            resource,
            field: Arc::clone(field),
            role,
        }
    }

    pub(super) fn scope(&self, slot: &Slot, occurrence: &Occurrence<'_>, extent: Extent) -> Result<Scope, Denial> {
        if extent == Extent::Platform {
            return Ok(Scope::Global);
        }
        let project = occurrence.part(Part::Project);
        let place = field(slot, Part::Project);
        if project.is_empty() {
            return Err(missing(place));
        }
        check_project(place, project)?;
        Ok(match extent {
            Extent::Project => Scope::Project(project.into()),
            Extent::SomeDomain => Scope::ProjectInSomeDomain(project.into()),
            Extent::Domain | Extent::Platform => {
                let domain = occurrence.part(Part::Domain);
                self.check_domain(field(slot, Part::Domain), domain)?;
                Scope::ProjectDomain {
                    project: project.into(),
                    domain: domain.into(),
                }
            }
        })
    }

    fn execution_of_url(&self, slot: &Slot, occurrence: &Occurrence<'_>) -> Result<(Scope, Option<Resource>), Denial> {
        let place = field(slot, Part::Value);
        let url = occurrence.part(Part::Value);
        if url.is_empty() {
            return Err(missing(place));
        }
        let found = flyte_url::parse(place, url)?;
        self.check_organization(place, found.organization)?;
        check_project(place, found.project)?;
        self.check_domain(place, found.domain)?;
        let scope = Scope::ProjectDomain {
            project: found.project.into(),
            domain: found.domain.into(),
        };
        Ok((scope, Some(run_by(found.execution, found.organization, false))))
    }

    fn check_domain(&self, field: &str, domain: &str) -> Result<(), Denial> {
        if domain.is_empty() {
            return Err(missing(field));
        }
        if self.rules.domains.iter().any(|known| **known == *domain) {
            return Ok(());
        }
        let text = format!(
            "field `{field}` names the domain {}; write one of {}",
            quote(domain),
            self.rules.domains.join(", ")
        );
        Err(Denial::new(Reason::DomainUnknown, text))
    }
}
