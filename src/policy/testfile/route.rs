//! Cases that name an RPC: what such a call touches, as its route in the catalogue says.

use super::{CaseDocument, Expected, Fault, Question, refers, resource, target, unlisted};
use crate::catalog::{Extent, ResourceSource, Route, Slot, SlotRole};
use crate::model::scope::{Resource, ResourceKind, Run, Scope, StoredExecution, Target};
use crate::model::setting::{Asked, Setting};
use crate::policy::document::At;
use std::sync::Arc;

/// A call of this RPC, as its route in the catalogue says. Actions chosen by the content of the message are not
/// considered: test those by `action`.
pub(super) fn question<'c>(case: &CaseDocument, route: &'c Route, expect: Expected) -> Result<Question<'c>, Fault> {
    let found = route.plan.slots().iter().find_map(|slot| match &slot.role {
        SlotRole::Scope { extent, resource } => Some((*extent, *resource)),
        SlotRole::FlyteUrl => Some((Extent::Domain, ResourceSource::Stored { again: false })),
        SlotRole::Reference { .. }
        | SlotRole::Required
        | SlotRole::Name
        | SlotRole::StoredName
        | SlotRole::StoredVersion
        | SlotRole::ArtifactUri
        // As if no execution had it.
        | SlotRole::ChosenName
        | SlotRole::Choice
        | SlotRole::UploadPath
        | SlotRole::NativeUrl
        | SlotRole::Setting(_)
        | SlotRole::KeyedSetting => None,
    });
    let (extent, source) = found.unwrap_or((Extent::Platform, ResourceSource::None));
    let scope = match (extent, case.project.as_deref(), case.domain.as_deref()) {
        (Extent::Platform, _, _) => Scope::Global,
        (Extent::Domain, Some(project), Some(domain)) => Scope::ProjectDomain {
            project: project.into(),
            domain: domain.into(),
        },
        (Extent::Project, Some(project), None) => Scope::Project(project.into()),
        (Extent::SomeDomain, Some(project), None) => Scope::ProjectInSomeDomain(project.into()),
        (Extent::Domain, _, _) => return Err((None, "this RPC needs `project` and `domain`".to_owned())),
        (Extent::Project | Extent::SomeDomain, _, _) => {
            return Err((None, "this RPC needs `project` and no `domain`".to_owned()));
        }
    };
    let named = case.resource.as_ref().map(resource);
    let acts = |resource| target(scope.clone(), route.action, route.as_listed(resource));
    let mut targets = match (source, reference(route)) {
        (ResourceSource::None, Some(reference)) => {
            let referred = named.map_or_else(|| reference_to_unlisted(reference), |named| vec![named]);
            let refers = |named| refers(&scope, route.action, named, Arc::clone(&reference.at));
            [acts(None)]
                .into_iter()
                .chain(referred.into_iter().map(refers))
                .collect()
        }
        (ResourceSource::Stored { again }, _) => vec![acts(Some(run_by(named, &scope, again)))],
        (_, _) if named.is_some() => vec![acts(named)],
        (ResourceSource::None, None) => vec![acts(None)],
        (ResourceSource::Always(kind), _) => vec![acts(Some(Resource::Every(kind)))],
        (ResourceSource::ByKind, _) => vec![acts(Some(Resource::Unnamed))],
        (ResourceSource::OfAnyKind, _) => vec![acts(Some(Resource::Every(ResourceKind::Task)))],
    };
    if source == ResourceSource::OfAnyKind {
        let others: Vec<Target> = targets.iter().flat_map(Target::under_other_kinds).collect();
        targets.extend(others);
    }
    Ok(Question {
        access: route.access,
        action: route.action,
        targets,
        asked: asked(case, route)?,
        writes: &route.writes,
        expect,
    })
}

/// What a call must name beside its own scope, which names nothing: what it is about.
fn reference(route: &Route) -> Option<&Slot> {
    let names = |source: &ResourceSource| matches!(source, ResourceSource::Always(_) | ResourceSource::ByKind);
    route
        .plan
        .slots()
        .iter()
        .find(|slot| matches!(&slot.role, SlotRole::Reference { resource, .. } if slot.required && names(resource)))
}

/// Something that no list names, of each kind that the reference can be to.
fn reference_to_unlisted(reference: &Slot) -> Vec<Resource> {
    let always = if let SlotRole::Reference {
        resource: ResourceSource::Always(kind),
        ..
    } = &reference.role
    {
        Some(*kind)
    } else {
        None
    };
    let accepted = |number: i32, kind: ResourceKind| match always {
        Some(only) => kind == only,
        None => reference.accept.is_empty() || reference.accept.contains(&number),
    };
    // Numbers of `flyteidl.core.ResourceType`.
    let kinds = (1..).zip(ResourceKind::ALL);
    kinds
        .filter(|(number, kind)| accepted(*number, *kind))
        .map(|(_, kind)| unlisted(kind))
        .collect()
}

/// What an execution runs that lies beside it, if the case names something.
pub(super) fn run_by(named: Option<Resource>, scope: &Scope, again: bool) -> Resource {
    let runs = match (named, scope) {
        (None | Some(Resource::Unnamed), _) => None,
        (Some(Resource::Named { kind, name }), Scope::ProjectDomain { project, domain }) => Some(Run {
            kind,
            project: project.clone(),
            domain: domain.clone(),
            name,
        }),
        (Some(other), _) => return other,
    };
    Resource::RunBy(Box::new(StoredExecution {
        name: Arc::default(),
        organization: Box::default(),
        again,
        runs,
    }))
}

/// The settings that a case asks for, each in the field that counts before the others.
fn asked(case: &CaseDocument, route: &Route) -> Result<Vec<Asked>, Fault> {
    let one = |(label, value): (&String, &At<String>)| {
        let setting = Setting::of_label(label).ok_or_else(|| {
            let known = Setting::ALL.map(Setting::label).join(", ");
            (
                Some(value.place()),
                format!("unknown setting `{label}`; write one of {known}"),
            )
        })?;
        let write = route.writes.iter().find(|write| write.setting == setting);
        Ok(Asked {
            setting,
            value: value.value().as_str().into(),
            field: write.map_or_else(|| setting.label().into(), |write| write.field.clone()),
        })
    };
    case.asks_for.iter().map(one).collect()
}
