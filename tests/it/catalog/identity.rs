//! Every field that names a project, domain, organization, URL, URI or execution is judged, or listed as ignored with the
//! reason.

use super::message_in;
use crate::descriptors::pool;
use flyte_authz_proxy::catalog::{Access, Catalog, Part, ResourceSource, Route, SlotRole, State, Step};
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use std::collections::{BTreeMap, BTreeSet};

/// URIs that are not judged wherever their message lies, and why.
const URIS: [(&str, &str, &str); 9] = [
    ("flyteidl.core.Blob", "uri", OF_DATA),
    ("flyteidl.core.Schema", "uri", OF_DATA),
    ("flyteidl.core.StructuredDataset", "uri", OF_DATA),
    // docs/policy.md tells that guards do not keep a caller from it.
    (
        "flyteidl.core.LiteralOffloadedMetadata",
        "uri",
        "a value like the others; propeller reads it where a workflow looks into it",
    ),
    (
        "flyteidl.core.ExecutionError",
        "error_uri",
        "told by who may report events",
    ),
    (
        "flyteidl.core.TaskLog",
        "uri",
        "a link for people, told by who may report events",
    ),
    (
        "flyteidl.admin.Description",
        "uri",
        "shown with the description, and not read",
    ),
    ("flyteidl.service.OAuth2MetadataResponse", "jwks_uri", OF_LOGIN),
    (
        "flyteidl.service.PublicClientAuthConfigResponse",
        "redirect_uri",
        OF_LOGIN,
    ),
];

const OF_DATA: &str = "a value that tasks are given; their pods read it with their own rights";

const OF_LOGIN: &str = "of the authorization server, no place of Flyte";

/// Whether a field says where something is.
fn is_identity(field: &FieldDescriptor) -> bool {
    let (name, message) = (field.name(), field.parent_message());
    let uri = (name == "uri" || name.ends_with("_uri"))
        && !URIS
            .iter()
            .any(|(of, uri, _)| *of == message.full_name() && *uri == name);
    let told = ["project", "domain", "org"].contains(&name) || name.ends_with("_url") || uri;
    told && matches!(field.kind(), Kind::String)
}

/// Whether a field is the name of a stored execution.
fn is_execution_name(message: &MessageDescriptor, field: &FieldDescriptor) -> bool {
    message.full_name() == "flyteidl.core.WorkflowExecutionIdentifier" && field.name() == "name"
}

/// Whether what is collected for this purpose is judged.
fn judges(role: &SlotRole) -> bool {
    matches!(
        role,
        SlotRole::Scope { .. }
            | SlotRole::Reference { .. }
            | SlotRole::FlyteUrl
            | SlotRole::NativeUrl
            | SlotRole::ArtifactUri
    )
}

/// Whether this part of what is collected names an execution, so that what it runs is judged.
fn names_execution(role: &SlotRole, part: Part) -> bool {
    let (SlotRole::Scope { resource, .. } | SlotRole::Reference { resource, .. }) = role else {
        return false;
    };
    part == Part::Name && matches!(resource, ResourceSource::Stored { .. })
}

/// Message types in which such a field can lie at any depth.
pub(super) fn bearers(pool: &DescriptorPool) -> BTreeSet<String> {
    let mut above: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut pending = Vec::new();
    for message in pool.all_messages() {
        for field in message.fields() {
            if is_identity(&field) {
                pending.push(message.full_name().to_owned());
            }
            if let Some(inner) = message_in(&field) {
                above
                    .entry(inner.full_name().to_owned())
                    .or_default()
                    .push(message.full_name().to_owned());
            }
        }
    }
    let mut bearers = BTreeSet::new();
    while let Some(name) = pending.pop() {
        pending.extend(above.get(&name).cloned().unwrap_or_default());
        if !bearers.insert(name.clone()) {
            above.remove(&name);
        }
    }
    bearers
}

/// Whether a pattern of `ignored` means the path or something it lies in.
fn matches(pattern: &[&str], path: &[String]) -> bool {
    match (pattern, path) {
        ([], _) => true,
        (["**", rest @ ..], _) => {
            matches(rest, path) && !rest.is_empty()
                || rest.is_empty() && !path.is_empty()
                || path.split_first().is_some_and(|(_, deeper)| matches(pattern, deeper))
        }
        ([first, rest @ ..], [name, deeper @ ..]) => first == name && matches(rest, deeper),
        (_, []) => false,
    }
}

struct Search<'a> {
    route: &'a Route,
    bearers: BTreeSet<String>,
    /// Patterns of `ignored` that were of use.
    used: BTreeSet<&'a str>,
    /// Fields that are neither judged nor ignored.
    open: Vec<String>,
    judged: usize,
}

impl<'a> Search<'a> {
    fn visit(
        &mut self,
        message: &MessageDescriptor,
        state: Option<&'a State>,
        path: &mut Vec<String>,
        within: &mut Vec<String>,
    ) {
        // Below a second message of one type nothing is new: the plan has come back to the same state.
        let key = format!("{} {:?}", message.full_name(), state.map(std::ptr::from_ref));
        if within.contains(&key) {
            return;
        }
        within.push(key);
        for field in message.fields() {
            let mark = match (field.is_list(), field.is_map()) {
                (true, _) => "[]",
                (_, true) => "{}",
                _ => "",
            };
            path.push(format!("{}{mark}", field.name()));
            let step = state.and_then(|state| {
                state
                    .fields
                    .iter()
                    .find(|known| known.number == field.number())
                    .map(|known| &known.step)
            });
            match message_in(&field) {
                Some(inner) if self.bearers.contains(inner.full_name()) => {
                    let next = match step {
                        Some(Step::Descend(index)) => self.route.plan.states.get(*index),
                        _ => None,
                    };
                    self.visit(&inner, next, path, within);
                }
                None if is_identity(&field) => self.judge(step, path, |role, _| judges(role)),
                None if is_execution_name(message, &field) => self.judge(step, path, names_execution),
                _ => {}
            }
            path.pop();
        }
        within.pop();
    }

    fn judge(&mut self, step: Option<&Step>, path: &[String], judges: impl Fn(&SlotRole, Part) -> bool) {
        let slots = self.route.plan.slots();
        let is_judged = |(slot, part): &(usize, Part)| judges(&slots[*slot].role, *part);
        if matches!(step, Some(Step::Keep(parts)) if parts.iter().any(is_judged)) {
            self.judged += 1;
            return;
        }
        let patterns = self.route.ignored.iter().map(|ignored| &*ignored.field);
        let found = patterns
            .filter(|pattern| matches(&pattern.split('.').collect::<Vec<_>>(), path))
            .collect::<Vec<_>>();
        if found.is_empty() {
            self.open.push(format!("{} {}", self.route.rpc, path.join(".")));
        }
        self.used.extend(found);
    }
}

#[test]
fn every_field_that_says_where_something_is_is_judged_or_ignored_for_a_reason() {
    let pool = pool();
    let bearers = bearers(pool);
    let catalog = Catalog::builtin().unwrap();
    let mut open = Vec::new();
    let mut judged = 0;
    for route in catalog.routes.iter().filter(|route| route.access == Access::Scoped) {
        let mut search = Search {
            route,
            bearers: bearers.clone(),
            used: BTreeSet::new(),
            open: Vec::new(),
            judged: 0,
        };
        let request = pool.get_message_by_name(&route.request).unwrap();
        search.visit(&request, route.plan.states.first(), &mut Vec::new(), &mut Vec::new());
        let unused = route
            .ignored
            .iter()
            .filter(|ignored| !search.used.contains(&*ignored.field));
        open.extend(unused.map(|ignored| format!("{} ignores `{}`, which is nothing", route.rpc, ignored.field)));
        open.extend(search.open);
        judged += search.judged;
        assert!(route.ignored.iter().all(|ignored| !ignored.why.is_empty()));
    }
    assert_eq!(open, [""; 0]);
    // Project, domain and organization of most calls: the search does look into the plans.
    assert!(judged > 150, "{judged}");
}

#[test]
fn every_uri_that_is_not_judged_exists_and_has_a_reason() {
    for (message, field, why) in URIS {
        let message = pool().get_message_by_name(message).unwrap();
        assert!(
            message.get_field_by_name(field).is_some(),
            "{} {field}",
            message.full_name()
        );
        assert!(!why.is_empty());
    }
}

#[test]
fn patterns_of_ignored_fields_mean_what_lies_below_too() {
    let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    for (pattern, field, expected) in [
        ("spec.id", "spec.id.project", true),
        ("spec.id", "spec.id", true),
        ("spec.id", "spec.ident.project", false),
        ("**.id", "spec.nodes[].id.project", true),
        ("**.id", "spec.nodes[].project", false),
        ("event.**", "event.target.project", true),
        ("event.**", "event", false),
        ("a.**.z", "a.z", true),
    ] {
        let pattern: Vec<&str> = pattern.split('.').collect();
        assert_eq!(matches(&pattern, &path(field)), expected, "{pattern:?} {field}");
    }
}
