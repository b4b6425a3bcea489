//! Turns what was read from a request into the targets that the policy judges.

use super::WalkLimits;
use super::names::{check_line, check_name, check_stored_name, check_stored_version, check_upload_path, quote};
use super::values::{Occurrence, Values};
use super::{json, protobuf, url};
use crate::catalog::{Access, Binding, Part, ResourceSource, Route, Slot, SlotRole};
use crate::model::action::{Action, ActionSet};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::model::scope::{ChosenName, Resource, ResourceKind, StoredExecution, Target};
use crate::model::setting::{Asked, Setting};
use reference::names_nothing;

mod reference;
mod scope;
mod settings;

#[cfg(test)]
mod tests;

/// Numbers of `flyteidl.core.ResourceType`.
const TASK: &str = "1";
const WORKFLOW: &str = "2";
const LAUNCH_PLAN: &str = "3";

/// What the installation accepts in fields that select a scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeRules {
    /// The domains that exist.
    pub domains: Vec<Box<str>>,
    /// The organizations that may be named. An empty one is always accepted.
    pub organizations: Vec<Box<str>>,
}

/// Everything of a request that can name a scope.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The message.
    pub payload: Payload<'a>,
    /// The REST binding it came by; none for gRPC.
    pub rest: Option<RestInput<'a>>,
}

/// The request message.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// None was sent: every field is empty.
    None,
    /// One encoded message, without any framing.
    Protobuf(&'a [u8]),
    /// One message in protojson.
    Json(&'a [u8]),
}

/// What a REST request says beside its body.
#[derive(Clone, Copy, Debug)]
pub struct RestInput<'a> {
    /// The binding that was matched.
    pub binding: &'a Binding,
    /// The raw path segments of the binding's variables, in order.
    pub segments: &'a [&'a str],
    /// The raw query without `?`.
    pub query: Option<&'a str>,
}

/// What has to be permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extracted {
    /// The action the call is: the route's own, or the one its content chose.
    pub action: Action,
    /// Everything it touches, without repetitions. Empty when the route is not scoped.
    pub targets: Vec<Target>,
    /// The settings of executions that it asks for.
    pub asked: Vec<Asked>,
    /// The name that it chooses for a new execution of its scope.
    pub chosen: Option<ChosenName>,
}

impl Extracted {
    /// About how many bytes it takes, for as long as the call runs.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // A target's names are allocated by themselves.
        let targets = self.targets.len() * (size_of::<Target>() + 128);
        let asked = |asked: &Asked| size_of::<Asked>() + asked.value.len() + asked.field.len();
        let chosen = self.chosen.as_ref().map_or(0, |chosen| chosen.name.len());
        targets + self.asked.iter().map(asked).sum::<usize>() + chosen
    }
}

/// Collects from body, path and query what the route's plan names.
///
/// # Errors
/// The refusals of [`protobuf::walk`], [`json::walk`] and [`url::apply`].
pub fn read<'a>(route: &Route, input: &Input<'a>, limits: &WalkLimits) -> Result<Values<'a>, Denial> {
    let mut values = Values::default();
    match input.payload {
        Payload::None => protobuf::walk(&route.plan, &[], limits, &mut values)?,
        Payload::Protobuf(message) => protobuf::walk(&route.plan, message, limits, &mut values)?,
        Payload::Json(body) => json::walk(&route.plan, body, limits, &mut values)?,
    }
    if let Some(rest) = input.rest {
        url::apply(rest.binding, rest.segments, rest.query, &mut values)?;
    }
    Ok(values)
}

/// Reads a request by its route and lists everything it touches.
///
/// # Errors
/// The refusals of [`read`], and:
/// - `scope_missing`: a field that selects a scope or a thing is empty;
/// - `scope_ambiguous`: the scope is given twice;
/// - `scope_invalid`, `domain_unknown`, `organization_refused`: the project, domain or organization is not acceptable;
/// - `field_invalid`: a name, kind, URL, upload path or attribute of clusters is not.
pub fn targets(route: &Route, input: &Input<'_>, rules: &ScopeRules, limits: &WalkLimits) -> Result<Extracted, Denial> {
    let values = read(route, input, limits)?;
    let judge = Judge { route, rules };
    judge.check(&values)?;
    let actions = judge.actions(&values);
    let action = actions.first().copied().unwrap_or(route.action);
    let mut targets = Vec::new();
    if route.access == Access::Scoped {
        let own = judge.own_scope(&values)?;
        let needing = |target: &Target, action: &Action| Target {
            needs: ActionSet::from(*action),
            ..target.clone()
        };
        targets.extend(actions.iter().map(|action| needing(&own, action)));
        if judge.is_of_any_kind() {
            for other in own.under_other_kinds() {
                targets.extend(actions.iter().map(|action| needing(&other, action)));
            }
        }
        judge.references(&values, action, &own.scope, &mut targets)?;
        targets.extend(judge.artifact_uri(&values)?);
    }
    let asked = judge.settings(&values)?;
    let chosen = judge.chosen_name(&values)?;
    Ok(Extracted {
        action,
        targets,
        asked,
        chosen,
    })
}

struct Judge<'r> {
    route: &'r Route,
    rules: &'r ScopeRules,
}

impl<'r> Judge<'r> {
    fn slot(&self, occurrence: &Occurrence<'_>) -> Result<&'r Slot, Denial> {
        self.route
            .plan
            .slots()
            .get(occurrence.slot)
            .ok_or(Reason::Internal.into())
    }

    /// Checks every value by itself, whatever it is for.
    fn check(&self, values: &Values<'_>) -> Result<(), Denial> {
        for (index, slot) in self.route.plan.needed() {
            if values.occurrences.iter().all(|occurrence| occurrence.slot != index) {
                return Err(missing(
                    slot.filled.first().map_or(&*slot.at, |part| field(slot, *part)),
                ));
            }
        }
        for occurrence in &values.occurrences {
            let slot = self.slot(occurrence)?;
            self.check_organization(field(slot, Part::Org), occurrence.part(Part::Org))?;
            let empty = slot.filled.iter().find(|part| occurrence.part(**part).is_empty());
            if let Some(part) = empty {
                return Err(missing(field(slot, *part)));
            }
            check_name(field(slot, Part::Name), occurrence.part(Part::Name))?;
            if !slot.accept.is_empty() && !is_among(occurrence, &slot.accept) && !names_nothing(slot, occurrence) {
                return Err(kind_refused(slot));
            }
            let value = occurrence.part(Part::Value);
            match slot.role {
                SlotRole::UploadPath => check_upload_path(field(slot, Part::Value), value)?,
                // Versions, nodes and signals: names like any other.
                SlotRole::Required | SlotRole::Name | SlotRole::Reference { .. } => {
                    check_name(field(slot, Part::Value), value)?;
                }
                SlotRole::StoredName => check_stored_name(field(slot, Part::Value), value)?,
                SlotRole::StoredVersion => check_stored_version(field(slot, Part::Value), value)?,
                SlotRole::Setting(Setting::ClusterResource) => {
                    check_line(&slot.at, occurrence.part(Part::Key))?;
                    check_line(&slot.at, value)?;
                }
                // FlyteAdmin checks it before it does anything with it.
                SlotRole::ChosenName
                | SlotRole::Scope { .. }
                | SlotRole::Choice
                | SlotRole::FlyteUrl
                | SlotRole::NativeUrl
                | SlotRole::ArtifactUri
                | SlotRole::Setting(_)
                | SlotRole::KeyedSetting => {}
            }
        }
        Ok(())
    }

    fn check_organization(&self, field: &str, organization: &str) -> Result<(), Denial> {
        if organization.is_empty() || self.rules.organizations.iter().any(|known| **known == *organization) {
            return Ok(());
        }
        let text = format!(
            "field `{field}` names the organization {}, which is not accepted here; leave it empty",
            quote(organization)
        );
        Err(Denial::new(Reason::OrganizationRefused, text))
    }

    /// The actions the content chooses, or the route's own. Several when the content chooses several.
    fn actions(&self, values: &Values<'_>) -> Vec<Action> {
        let mut actions = Vec::with_capacity(1);
        for choice in &self.route.choices {
            let chosen = values
                .occurrences
                .iter()
                .filter(|occurrence| occurrence.slot == choice.slot)
                .any(|occurrence| choice.values.is_empty() || is_among(occurrence, &choice.values));
            if chosen && !actions.contains(&choice.action) {
                actions.push(choice.action);
            }
        }
        if actions.is_empty() {
            actions.push(self.route.action);
        }
        actions
    }
}

fn resource_of(slot: &Slot, occurrence: &Occurrence<'_>, source: ResourceSource) -> Result<Option<Resource>, Denial> {
    let kind = match source {
        ResourceSource::None => return Ok(None),
        ResourceSource::Stored { again } => {
            let (name, organization) = (occurrence.part(Part::Name), occurrence.part(Part::Org));
            return Ok(Some(run_by(name, organization, again)));
        }
        ResourceSource::Always(kind) => kind,
        ResourceSource::ByKind | ResourceSource::OfAnyKind => match occurrence.part(Part::Kind) {
            TASK => ResourceKind::Task,
            WORKFLOW => ResourceKind::Workflow,
            LAUNCH_PLAN => ResourceKind::LaunchPlan,
            _ => return Err(kind_refused(slot)),
        },
    };
    let name = occurrence.part(Part::Name);
    Ok(Some(if name.is_empty() {
        Resource::Every(kind)
    } else {
        Resource::Named {
            kind,
            name: name.into(),
        }
    }))
}

/// What the execution of this name runs. Without a name it can be anything.
fn run_by(name: &str, organization: &str, again: bool) -> Resource {
    if name.is_empty() {
        return Resource::Unnamed;
    }
    Resource::RunBy(Box::new(StoredExecution {
        name: name.into(),
        organization: organization.into(),
        again,
        runs: None,
    }))
}

fn kind_refused(slot: &Slot) -> Denial {
    let text = format!(
        "field `{}` has a kind that is not accepted; write TASK, WORKFLOW or LAUNCH_PLAN, whichever this call takes",
        field(slot, Part::Kind)
    );
    Denial::new(Reason::FieldInvalid, text)
}

/// Whether the kind is one of the numbers. An absent enum is its default, 0.
fn is_among(occurrence: &Occurrence<'_>, numbers: &[i32]) -> bool {
    let kind = match occurrence.part(Part::Kind) {
        "" => Some(0),
        kind => kind.parse().ok(),
    };
    kind.is_some_and(|kind| numbers.contains(&kind))
}

/// The path of the field that holds a part, for messages.
fn field(slot: &Slot, part: Part) -> &str {
    let known = slot.parts.iter().find(|(_, other)| *other == part);
    known.map_or(shown(&slot.at), |(field, _)| field)
}

fn shown(at: &str) -> &str {
    if at.is_empty() { "the request" } else { at }
}

fn missing(field: &str) -> Denial {
    let field = shown(field);
    Denial::new(
        Reason::ScopeMissing,
        format!("field `{field}` is empty; FlyteAdmin would take that for any value: fill it in"),
    )
}
