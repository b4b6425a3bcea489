//! Tasks, workflows and launch plans: what was registered, and how it is shown.

use super::filters::Filters;
use super::methods::{MOMENT, at, text};
use super::status::Status;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A kind of inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Task,
    Workflow,
    LaunchPlan,
}

impl Kind {
    /// The name in `ResourceType`.
    fn label(self) -> &'static str {
        match self {
            Self::Task => "TASK",
            Self::Workflow => "WORKFLOW",
            Self::LaunchPlan => "LAUNCH_PLAN",
        }
    }

    fn from_label(label: &str) -> Result<Self, Status> {
        let kinds = [Self::Task, Self::Workflow, Self::LaunchPlan];
        let kind = kinds.into_iter().find(|kind| kind.label() == label);
        kind.ok_or_else(|| Status::invalid(format!("invalid resource type {label:?}")))
    }
}

/// Project, domain, name, version. As a pattern, an empty part matches anything: so do `FlyteAdmin`'s queries.
type Id = [String; 4];

#[derive(Debug)]
struct Entry {
    kind: Kind,
    id: Id,
    spec: Value,
    active: bool,
}

/// Everything registered, oldest first.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    entries: Vec<Entry>,
    /// `NamedEntityMetadata` by kind, project, domain and name.
    metadata: BTreeMap<(&'static str, Id), Value>,
}

fn read_id(value: &Value) -> Id {
    ["/project", "/domain", "/name", "/version"].map(|field| text(value, field).to_owned())
}

fn show_id(kind: Kind, [project, domain, name, version]: &Id) -> Value {
    json!({ "resource_type": kind.label(), "project": project, "domain": domain, "name": name, "version": version })
}

fn matches(pattern: &Id, id: &Id) -> bool {
    pattern
        .iter()
        .zip(id)
        .all(|(pattern, part)| pattern.is_empty() || pattern == part)
}

impl Inventory {
    pub(super) fn create(&mut self, kind: Kind, request: &Value) -> Result<Value, Status> {
        let id = read_id(at(request, "/id"));
        if id.iter().any(String::is_empty) {
            return Err(Status::invalid("missing project, domain, name or version in the id"));
        }
        let spec = at(request, "/spec").clone();
        if let Some(entry) = self.entries.iter().find(|entry| entry.kind == kind && entry.id == id) {
            let label = kind.label().to_ascii_lowercase();
            return Err(if entry.spec == spec {
                Status::already_exists(format!(
                    "{label} with identical structure already exists with id {id:?}"
                ))
            } else {
                Status::invalid(format!(
                    "{label} with different structure already exists with id {id:?}"
                ))
            });
        }
        // A launch plan starts inactive.
        self.entries.push(Entry {
            kind,
            id,
            spec,
            active: false,
        });
        Ok(json!({}))
    }

    /// The newest entry that matches: an empty part of the id matches anything.
    fn find(&self, kind: Kind, pattern: &Id) -> Option<&Entry> {
        self.entries
            .iter()
            .rev()
            .find(|entry| entry.kind == kind && matches(pattern, &entry.id))
    }

    pub(super) fn get(&self, kind: Kind, request: &Value) -> Result<Value, Status> {
        let pattern = read_id(at(request, "/id"));
        let found = self.find(kind, &pattern);
        let found = found.ok_or_else(|| {
            Status::not_found(format!(
                "missing entity of type {} with identifier {pattern:?}",
                kind.label()
            ))
        })?;
        Ok(self.show(found))
    }

    /// All that match and pass the filters, newest first.
    pub(super) fn list(&self, kind: Kind, request: &Value) -> Result<Vec<Value>, Status> {
        let pattern = read_id(at(request, "/id"));
        let columns = ["project", "domain", "name", "version"];
        let entity = kind.label().to_ascii_lowercase();
        let filters = Filters::read(text(request, "/filters"), &entity, &columns)?;
        let passes = |[project, domain, name, version]: &Id| {
            filters.pass(|column| match column {
                "project" => project,
                "domain" => domain,
                "name" => name,
                _ => version,
            })
        };
        let found = self
            .entries
            .iter()
            .rev()
            .filter(|entry| entry.kind == kind && matches(&pattern, &entry.id) && passes(&entry.id));
        Ok(found.map(|entry| self.show(entry)).collect())
    }

    /// The distinct names in a project and domain, as `NamedEntityIdentifier`.
    pub(super) fn names(&self, kind: Kind, request: &Value) -> Vec<Value> {
        let mut names = Vec::new();
        for entry in self
            .entries
            .iter()
            .filter(|entry| entry.kind == kind && matches(&read_id(request), &entry.id))
        {
            let [project, domain, name, _] = &entry.id;
            let shown = json!({ "project": project, "domain": domain, "name": name });
            if !names.contains(&shown) {
                names.push(shown);
            }
        }
        names
    }

    pub(super) fn named_entities(&self, request: &Value) -> Result<Vec<Value>, Status> {
        let kind = Kind::from_label(text(request, "/resource_type"))?;
        let ids = self.names(kind, request).into_iter();
        Ok(ids.map(|id| self.show_name(kind, &id)).collect())
    }

    pub(super) fn named_entity(&self, request: &Value) -> Result<Value, Status> {
        let kind = Kind::from_label(text(request, "/resource_type"))?;
        let id = at(request, "/id").clone();
        self.find(kind, &read_id(&id))
            .ok_or_else(|| Status::not_found("no such named entity"))?;
        Ok(self.show_name(kind, &id))
    }

    pub(super) fn update_named_entity(&mut self, request: &Value) -> Result<Value, Status> {
        let kind = Kind::from_label(text(request, "/resource_type"))?;
        self.metadata.insert(
            (kind.label(), read_id(at(request, "/id"))),
            at(request, "/metadata").clone(),
        );
        Ok(json!({}))
    }

    fn show_name(&self, kind: Kind, id: &Value) -> Value {
        let metadata = self.metadata.get(&(kind.label(), read_id(id))).cloned();
        json!({ "resource_type": kind.label(), "id": id, "metadata": metadata.unwrap_or_else(|| json!({})) })
    }

    /// Makes a version the active one, or none.
    pub(super) fn update_launch_plan(&mut self, request: &Value) -> Result<Value, Status> {
        let id = read_id(at(request, "/id"));
        let activate = text(request, "/state") == "ACTIVE";
        self.find(Kind::LaunchPlan, &id)
            .ok_or_else(|| Status::not_found("no such launch plan"))?;
        for entry in self.entries.iter_mut().filter(|entry| entry.kind == Kind::LaunchPlan) {
            if entry.id == id {
                entry.active = activate;
            } else if activate && entry.id.iter().take(3).eq(id.iter().take(3)) {
                entry.active = false;
            }
        }
        Ok(json!({}))
    }

    pub(super) fn active_launch_plan(&self, request: &Value) -> Result<Value, Status> {
        let active = self.active(&read_id(at(request, "/id"))).next();
        active
            .map(|entry| self.show(entry))
            .ok_or_else(|| Status::not_found("no active launch plan could be found"))
    }

    pub(super) fn active_launch_plans(&self, request: &Value) -> Vec<Value> {
        self.active(&read_id(request)).map(|entry| self.show(entry)).collect()
    }

    fn active(&self, pattern: &Id) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .rev()
            .filter(move |entry| entry.active && matches(pattern, &entry.id))
    }

    /// The workflow that a launch plan starts, or the one made up for a single task.
    pub(super) fn workflow_of(&self, launch_plan: &Value) -> Result<Value, Status> {
        let id = read_id(launch_plan);
        if text(launch_plan, "/resource_type") == Kind::Task.label() {
            let task = self
                .find(Kind::Task, &id)
                .ok_or_else(|| Status::not_found("no such task"))?;
            let [project, domain, name, version] = &task.id;
            let name = format!(".flytegen.{name}");
            return Ok(show_id(
                Kind::Workflow,
                &[project.clone(), domain.clone(), name, version.clone()],
            ));
        }
        let found = self
            .find(Kind::LaunchPlan, &id)
            .ok_or_else(|| Status::not_found("no such launch plan"))?;
        Ok(at(&found.spec, "/workflow_id").clone())
    }

    fn show(&self, entry: &Entry) -> Value {
        let id = show_id(entry.kind, &entry.id);
        match entry.kind {
            Kind::Task => {
                let template = with_id(at(&entry.spec, "/template"), &id);
                json!({ "id": id, "closure": { "compiled_task": { "template": template }, "created_at": MOMENT } })
            }
            Kind::Workflow => self.show_workflow(entry, &id),
            Kind::LaunchPlan => {
                let workflow = self.find(Kind::Workflow, &read_id(at(&entry.spec, "/workflow_id")));
                let outputs = workflow.map(|workflow| at(&workflow.spec, "/template/interface/outputs").clone());
                json!({ "id": id, "spec": entry.spec, "closure": {
                    "state": if entry.active { "ACTIVE" } else { "INACTIVE" },
                    "expected_inputs": at(&entry.spec, "/default_inputs").clone(),
                    "expected_outputs": outputs.unwrap_or_default(),
                    "created_at": MOMENT,
                    "updated_at": MOMENT,
                } })
            }
        }
    }

    fn show_workflow(&self, entry: &Entry, id: &Value) -> Value {
        let compiled = |template: &Value| json!({ "template": template, "connections": {} });
        let primary = compiled(&with_id(at(&entry.spec, "/template"), id));
        let inner = at(&entry.spec, "/sub_workflows").clone();
        let inner: Vec<Value> = inner.as_array().into_iter().flatten().map(compiled).collect();
        let mut used = Vec::new();
        task_references(&entry.spec, &mut used);
        let tasks = used.iter().filter_map(|id| self.find(Kind::Task, &read_id(id)));
        let tasks: Vec<Value> = tasks
            .map(|task| at(&self.show(task), "/closure/compiled_task").clone())
            .collect();
        let closure = json!({ "primary": primary, "sub_workflows": inner, "tasks": tasks });
        json!({ "id": id, "closure": { "compiled_workflow": closure, "created_at": MOMENT } })
    }
}

fn with_id(template: &Value, id: &Value) -> Value {
    let mut template = template.clone();
    if let Some(fields) = template.as_object_mut() {
        fields.insert("id".to_owned(), id.clone());
    }
    template
}

/// Collects the distinct ids that task nodes anywhere below refer to.
fn task_references(value: &Value, found: &mut Vec<Value>) {
    if let Some(id) = value.pointer("/task_node/reference_id")
        && !found.contains(id)
    {
        found.push(id.clone());
    }
    match value {
        Value::Object(fields) => fields.values().for_each(|value| task_references(value, found)),
        Value::Array(items) => items.iter().for_each(|value| task_references(value, found)),
        _ => {}
    }
}
