//! Projects, their domains, and the attributes attached to them.

use super::filters::Filters;
use super::methods::{at, text};
use super::status::Status;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const DOMAINS: [&str; 3] = ["development", "staging", "production"];

/// The oneof cases of `MatchingAttributes` and the resource type each belongs to.
const ATTRIBUTE_KINDS: [(&str, &str); 8] = [
    ("task_resource_attributes", "TASK_RESOURCE"),
    ("cluster_resource_attributes", "CLUSTER_RESOURCE"),
    ("execution_queue_attributes", "EXECUTION_QUEUE"),
    ("execution_cluster_label", "EXECUTION_CLUSTER_LABEL"),
    ("quality_of_service", "QUALITY_OF_SERVICE_SPECIFICATION"),
    ("plugin_overrides", "PLUGIN_OVERRIDE"),
    ("workflow_execution_config", "WORKFLOW_EXECUTION_CONFIG"),
    ("cluster_assignment", "CLUSTER_ASSIGNMENT"),
];

/// Project, domain, workflow (the last two may be empty) and resource type.
type AttributeKey = (String, String, String, String);

#[derive(Debug)]
pub(super) struct Projects {
    projects: BTreeMap<String, Value>,
    attributes: BTreeMap<AttributeKey, Value>,
}

impl Projects {
    pub(super) fn new(names: &[String]) -> Self {
        let project = |id: &String| (id.clone(), json!({ "id": id, "name": id, "domains": Self::domains() }));
        Self {
            projects: names.iter().map(project).collect(),
            attributes: BTreeMap::new(),
        }
    }

    pub(super) fn domains() -> Value {
        DOMAINS.map(|domain| json!({ "id": domain, "name": domain })).into()
    }

    /// Refuses a project or domain that does not exist.
    pub(super) fn require(&self, project: &str, domain: &str) -> Result<(), Status> {
        if self.projects.contains_key(project) && DOMAINS.contains(&domain) {
            return Ok(());
        }
        Err(Status::not_found(format!(
            "failed to validate that project [{project}] and domain [{domain}] are registered"
        )))
    }

    /// The projects that pass the filters. Without any, archived ones are left out.
    pub(super) fn list(&self, request: &Value) -> Result<Vec<Value>, Status> {
        let columns = ["identifier", "name", "description", "state"];
        let filters = Filters::read(text(request, "/filters"), "project", &columns)?;
        let shown = self.projects.iter().filter(|(id, project)| {
            let archived = text(project, "/state") == "ARCHIVED";
            if filters.is_empty() {
                return !archived;
            }
            filters.pass(|column| match column {
                "identifier" => id,
                "state" if archived => "1",
                "state" => "0",
                column => text(project, &format!("/{column}")),
            })
        });
        Ok(shown.map(|(_, project)| project.clone()).collect())
    }

    pub(super) fn get(&self, id: &str) -> Result<Value, Status> {
        self.projects
            .get(id)
            .cloned()
            .ok_or_else(|| Status::not_found(format!("project [{id}] not found")))
    }

    pub(super) fn register(&mut self, request: &Value) -> Result<Value, Status> {
        let mut project = request.get("project").cloned().unwrap_or_default();
        let id = text(&project, "/id").to_owned();
        if id.is_empty() || self.projects.contains_key(&id) {
            return Err(Status::already_exists(format!("project [{id}] is empty or exists")));
        }
        if let Some(fields) = project.as_object_mut() {
            fields.insert("domains".to_owned(), Self::domains());
        }
        self.projects.insert(id, project);
        Ok(json!({}))
    }

    pub(super) fn update(&mut self, request: &Value) -> Result<Value, Status> {
        let id = text(request, "/id");
        let project = self.projects.get_mut(id).and_then(Value::as_object_mut);
        let project = project.ok_or_else(|| Status::not_found(format!("project [{id}] not found")))?;
        let changes = request.as_object().into_iter().flatten();
        project.extend(changes.map(|(name, value)| (name.clone(), value.clone())));
        project.insert("domains".to_owned(), Self::domains());
        Ok(json!({}))
    }

    pub(super) fn set_attributes(&mut self, request: &Value) -> Result<Value, Status> {
        let attributes = request.get("attributes").cloned().unwrap_or_default();
        let matching = attributes.get("matching_attributes").and_then(Value::as_object);
        let kind = matching.and_then(|matching| ATTRIBUTE_KINDS.iter().find(|(case, _)| matching.contains_key(*case)));
        let (_, kind) = kind.ok_or_else(|| Status::invalid("matching_attributes is empty"))?;
        self.attributes.insert(key(&attributes, kind), attributes);
        Ok(json!({}))
    }

    pub(super) fn attributes(&self, request: &Value) -> Result<Value, Status> {
        let found = self.attributes.get(&key(request, requested_kind(request)));
        found
            .map(|attributes| json!({ "attributes": attributes }))
            .ok_or_else(|| Status::not_found("no such attributes"))
    }

    pub(super) fn delete_attributes(&mut self, request: &Value) -> Result<Value, Status> {
        let removed = self.attributes.remove(&key(request, requested_kind(request)));
        removed
            .map(|_| json!({}))
            .ok_or_else(|| Status::not_found("no such attributes"))
    }

    /// The rows of one resource type, of all projects.
    pub(super) fn all_attributes(&self, request: &Value) -> Vec<Value> {
        let kind = requested_kind(request);
        let rows = self.attributes.iter().filter(|((.., row_kind), _)| row_kind == kind);
        rows.map(|((project, domain, workflow, _), attributes)| {
            let mut row = Map::new();
            for (name, value) in [("project", project), ("domain", domain), ("workflow", workflow)] {
                row.insert(name.to_owned(), json!(value));
            }
            row.insert("attributes".to_owned(), at(attributes, "/matching_attributes").clone());
            Value::Object(row)
        })
        .collect()
    }
}

fn requested_kind(request: &Value) -> &str {
    match text(request, "/resource_type") {
        "" => "TASK_RESOURCE",
        kind => kind,
    }
}

fn key(source: &Value, kind: &str) -> AttributeKey {
    let [project, domain, workflow] = ["/project", "/domain", "/workflow"].map(|field| text(source, field).to_owned());
    (project, domain, workflow, kind.to_owned())
}
