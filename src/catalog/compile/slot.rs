//! Compiles what is collected from the requests of one RPC.

use super::fault::{Faults, Place};
use super::route::action;
use super::shape::{FieldShape, Shapes, join, split_last};
use crate::catalog::document::{ExtentDocument, ReferenceDocument, ResourceDocument, RpcDocument, ScopeDocument};
use crate::catalog::{Extent, Part, ResourceSource, ScalarKind, Slot, SlotRole};
use crate::model::action::Action;
use crate::model::scope::ResourceKind;
use serde_saphyr::Spanned;
use std::sync::Arc;

/// The slots of one RPC as they come together.
pub(super) struct Slots<'a, 'f> {
    document: usize,
    pub(super) request: &'a str,
    pub(super) shapes: &'a Shapes,
    faults: &'a mut Faults<'f>,
    found: Vec<Slot>,
}

impl<'a, 'f> Slots<'a, 'f> {
    pub(super) fn new(document: usize, request: &'a str, shapes: &'a Shapes, faults: &'a mut Faults<'f>) -> Self {
        Self {
            document,
            request,
            shapes,
            faults,
            found: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Vec<Slot> {
        self.found
    }

    /// Everything but choices.
    pub(super) fn scoped(&mut self, rpc: &RpcDocument) {
        if let Some(scope) = &rpc.scope {
            self.scope(scope);
        }
        if let Some(url) = &rpc.flyte_url {
            self.value(url, SlotRole::FlyteUrl, true);
        }
        if let Some(url) = &rpc.native_url {
            self.value(url, SlotRole::NativeUrl, true);
        }
        for field in &rpc.required {
            self.required(field);
        }
        for field in &rpc.names {
            self.value(field, SlotRole::Name, false);
        }
        if let Some(stored) = &rpc.stored_as {
            self.value(&stored.name, SlotRole::StoredName, false);
            self.value(&stored.version, SlotRole::StoredVersion, false);
        }
        for field in &rpc.artifact_uris {
            self.artifact_uri(field);
        }
        if let Some(field) = &rpc.chosen_name {
            let is_domain = |scope: &Spanned<ScopeDocument>| scope.value.extent == ExtentDocument::Domain;
            if !rpc.scope.as_ref().is_some_and(is_domain) {
                self.fault(
                    field,
                    "`chosen_name` needs a `scope` with `project` and `domain`, in which the execution is to be",
                );
            }
            self.value(field, SlotRole::ChosenName, false);
        }
        for field in &rpc.upload_paths {
            self.value(field, SlotRole::UploadPath, false);
        }
        for reference in &rpc.references {
            for at in &reference.value.at {
                self.reference(at, &reference.value);
            }
        }
    }

    pub(super) fn fault<T>(&mut self, at: &Spanned<T>, message: impl Into<String>) {
        self.faults.add(Place::of(self.document, at), message);
    }

    pub(super) fn check<T, V>(&mut self, at: &Spanned<T>, result: Result<V, String>) -> Option<V> {
        self.faults.check(Place::of(self.document, at), result)
    }

    /// Adds a slot from which nothing is demanded. Gives its index.
    pub(super) fn push(&mut self, at: &str, parts: Vec<(Arc<str>, Part)>, role: SlotRole) -> usize {
        self.found.push(Slot {
            at: at.into(),
            parts,
            required: false,
            filled: Vec::new(),
            accept: Vec::new(),
            role,
        });
        self.found.len() - 1
    }

    fn scope(&mut self, place: &Spanned<ScopeDocument>) {
        let scope = &place.value;
        let extent = extent(scope.extent);
        let (project, domain) = match extent {
            Extent::Domain => (true, true),
            Extent::Project | Extent::SomeDomain => (true, false),
            Extent::Platform => (scope.project.is_some(), false),
        };
        if scope.project.is_some() != project || scope.domain.is_some() != domain {
            self.fault(place, "give `project` and `domain`; with `extent: project` or `some_domain` only `project`; with `platform` no `domain`");
        }
        let reads_kind = matches!(scope.resource, ResourceDocument::ByKind | ResourceDocument::OfAnyKind);
        if reads_kind != scope.kind.is_some() {
            self.fault(place, "`kind` and `resource: by_kind` or `of_any_kind` belong together");
        }
        let mut parts = Vec::new();
        let fields = [
            (&scope.project, Part::Project),
            (&scope.domain, Part::Domain),
            (&scope.name, Part::Name),
            (&scope.kind, Part::Kind),
        ];
        let mut kind = None;
        for (field, part) in fields
            .into_iter()
            .filter_map(|(field, part)| Some((field.as_ref()?, part)))
        {
            let found = self.scalar(&field.value, part);
            if let Some(shape) = self.check(field, found) {
                parts.push((field.value.as_str().into(), part));
                kind = (part == Part::Kind).then(|| shape.kind.clone()).or(kind);
            }
        }
        if let Some(project) = &scope.project {
            let org = join(split_last(&project.value).0, "org");
            if self.scalar(&org, Part::Org).is_ok() {
                parts.push((org.into(), Part::Org));
            }
        }
        let at = common_parent(&parts);
        let accept = self.accepted(kind.as_ref(), &scope.accept);
        // An execution without a name would be any.
        let stored = matches!(
            scope.resource,
            ResourceDocument::Stored | ResourceDocument::StartedAgain
        );
        let filled = parts
            .iter()
            .map(|(_, part)| *part)
            .filter(|part| matches!(part, Part::Project | Part::Domain) || stored && *part == Part::Name);
        self.found.push(Slot {
            at: at.into(),
            required: true,
            filled: filled.collect(),
            accept,
            role: SlotRole::Scope {
                extent,
                resource: resource(scope.resource),
            },
            parts,
        });
    }

    /// A field that must not be empty: a part of the scope if it is one, else a slot of its own.
    fn required(&mut self, field: &Spanned<String>) {
        for slot in &mut self.found {
            let known = slot.parts.iter().find(|(path, _)| **path == *field.value);
            if let Some((_, part)) = known {
                if !slot.filled.contains(part) {
                    slot.filled.push(*part);
                }
                return;
            }
        }
        self.value(field, SlotRole::Required, true);
    }

    /// A slot for one text field.
    fn value(&mut self, field: &Spanned<String>, role: SlotRole, filled: bool) {
        let found = self.scalar(&field.value, Part::Value);
        if self.check(field, found).is_none() {
            return;
        }
        let at = split_last(&field.value).0;
        let slot = self.push(at, vec![(field.value.as_str().into(), Part::Value)], role);
        if let Some(slot) = self.found.get_mut(slot).filter(|_| filled) {
            slot.required = true;
            slot.filled.push(Part::Value);
        }
    }

    /// A slot for a text field that may lie in maps and lists.
    fn artifact_uri(&mut self, field: &Spanned<String>) {
        let (at, name) = split_last(&field.value);
        let message = self.shapes.message_at(self.request, at);
        let found = message.and_then(|message| self.part_of(message, name, Part::Value));
        if self.check(field, found).is_some() {
            let parts = vec![(field.value.as_str().into(), Part::Value)];
            self.push(at, parts, SlotRole::ArtifactUri);
        }
    }

    fn reference(&mut self, at: &Spanned<String>, reference: &ReferenceDocument) {
        let base = join(&at.value, reference.within.as_deref().unwrap_or(""));
        let Some(message) = self.check(at, self.shapes.message_at(self.request, &base)) else {
            return;
        };
        if (reference.resource == ResourceDocument::ByKind) != reference.kind.is_some() {
            self.fault(at, "`kind` and `resource: by_kind` belong together");
        }
        if reference.resource == ResourceDocument::OfAnyKind {
            self.fault(at, "`resource: of_any_kind` is for a `scope`; write `by_kind`");
        }
        let (names, filled) = self.names_and_filled(message, reference);
        let mut parts: Vec<(Arc<str>, Part)> = Vec::new();
        let mut kind = None;
        for (name, part) in names {
            let found = self.part_of(message, name, part);
            if let Some(shape) = self.check(at, found) {
                parts.push((join(&base, name).into(), part));
                kind = (part == Part::Kind).then(|| shape.kind.clone()).or(kind);
            }
        }
        if parts.iter().filter(|(_, part)| *part == Part::Value).count() > 1 {
            self.fault(at, "besides project, domain and name at most one field can be `filled`");
        }
        let accept = self.accepted(kind.as_ref(), &reference.accept);
        let role = SlotRole::Reference {
            label: reference.label.as_str().into(),
            foreign: self.actions(&reference.foreign),
            foreign_task: self.actions(&reference.foreign_task),
            always: self.actions(&reference.always),
            resource: resource(reference.resource),
        };
        if reference.foreign.is_empty() && reference.always.is_empty() {
            self.fault(
                at,
                "a reference without `foreign` or `always` would not be judged: list it under `ignored`",
            );
        }
        self.found.push(Slot {
            at: at.value.as_str().into(),
            parts,
            required: reference.required,
            filled,
            accept,
            role,
        });
    }

    /// The fields of the reference's message that are kept, and which of them must not be empty.
    fn names_and_filled<'r>(
        &self,
        message: &str,
        reference: &'r ReferenceDocument,
    ) -> (Vec<(&'r str, Part)>, Vec<Part>) {
        let mut names = vec![("project", Part::Project), ("domain", Part::Domain)];
        let optional = [("name", Part::Name), ("org", Part::Org)];
        names.extend(
            optional
                .into_iter()
                .filter(|(name, _)| self.shapes.field(message, name).is_ok()),
        );
        names.extend(reference.kind.as_deref().map(|kind| (kind, Part::Kind)));
        let mut filled = Vec::new();
        for name in &reference.filled {
            let known = names.iter().find(|(known, _)| *known == name.value);
            let part = known.map_or(Part::Value, |(_, part)| *part);
            if part == Part::Value {
                names.push((&name.value, part));
            }
            filled.push(part);
        }
        (names, filled)
    }

    fn accepted(&mut self, kind: Option<&ScalarKind>, names: &[Spanned<String>]) -> Vec<i32> {
        if names.is_empty() {
            Vec::new()
        } else {
            self.numbers(kind, names)
        }
    }

    fn actions(&mut self, words: &[Spanned<String>]) -> Vec<Action> {
        words.iter().filter_map(|word| self.check(word, action(word))).collect()
    }

    fn scalar(&self, path: &str, part: Part) -> Result<&'a FieldShape, String> {
        fits(path, self.shapes.scalar_at(self.request, path)?, part)
    }

    fn part_of(&self, message: &str, name: &str, part: Part) -> Result<&'a FieldShape, String> {
        fits(name, self.shapes.scalar_at(message, name)?, part)
    }
}

/// The field if it can hold the part: a kind is an enum, all else is text.
pub(super) fn fits<'a>(path: &str, field: &'a FieldShape, part: Part) -> Result<&'a FieldShape, String> {
    match (part, &field.kind) {
        (Part::Kind, ScalarKind::Enum(_)) => Ok(field),
        (Part::Kind, _) => Err(format!("`{path}` must be an enum")),
        (_, ScalarKind::String) => Ok(field),
        _ => Err(format!("`{path}` must be a string")),
    }
}

/// The path of the innermost message that all parts lie in.
fn common_parent(parts: &[(Arc<str>, Part)]) -> String {
    let mut parents = parts.iter().map(|(path, _)| split_last(path).0);
    let mut common: Vec<&str> = parents.next().unwrap_or("").split('.').collect();
    for parent in parents {
        let same = common
            .iter()
            .zip(parent.split('.'))
            .take_while(|(one, other)| **one == *other);
        let length = same.count();
        common.truncate(length);
    }
    common.join(".")
}

fn extent(document: ExtentDocument) -> Extent {
    match document {
        ExtentDocument::Domain => Extent::Domain,
        ExtentDocument::Project => Extent::Project,
        ExtentDocument::SomeDomain => Extent::SomeDomain,
        ExtentDocument::Platform => Extent::Platform,
    }
}

fn resource(document: ResourceDocument) -> ResourceSource {
    match document {
        ResourceDocument::None => ResourceSource::None,
        ResourceDocument::Task => ResourceSource::Always(ResourceKind::Task),
        ResourceDocument::Workflow => ResourceSource::Always(ResourceKind::Workflow),
        ResourceDocument::LaunchPlan => ResourceSource::Always(ResourceKind::LaunchPlan),
        ResourceDocument::ByKind => ResourceSource::ByKind,
        ResourceDocument::OfAnyKind => ResourceSource::OfAnyKind,
        ResourceDocument::Stored => ResourceSource::Stored { again: false },
        ResourceDocument::StartedAgain => ResourceSource::Stored { again: true },
    }
}
