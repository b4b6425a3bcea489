//! Executions: created, looked at, and terminated. Nothing ever runs.

use super::inventory::Inventory;
use super::methods::{MOMENT, at, text};
use super::status::Status;
use serde_json::{Value, json};

#[derive(Debug)]
struct Execution {
    /// Project, domain, name.
    id: [String; 3],
    spec: Value,
    inputs: Value,
    workflow: Value,
    phase: &'static str,
    cause: Option<String>,
    archived: bool,
}

/// All executions, oldest first.
#[derive(Debug)]
pub(super) struct Executions {
    all: Vec<Execution>,
    keep_running: bool,
}

fn read_id(value: &Value) -> [String; 3] {
    ["/project", "/domain", "/name"].map(|field| text(value, field).to_owned())
}

fn show_id([project, domain, name]: &[String; 3]) -> Value {
    json!({ "project": project, "domain": domain, "name": name })
}

fn matches(pattern: &[String; 3], id: &[String; 3]) -> bool {
    pattern
        .iter()
        .zip(id)
        .all(|(pattern, part)| pattern.is_empty() || pattern == part)
}

impl Executions {
    pub(super) fn new(keep_running: bool) -> Self {
        Self {
            all: Vec::new(),
            keep_running,
        }
    }

    pub(super) fn create(&mut self, request: &Value, inventory: &Inventory) -> Result<Value, Status> {
        let [project, domain, name] = read_id(request);
        self.start(
            [project, domain, name],
            at(request, "/spec").clone(),
            at(request, "/inputs").clone(),
            inventory,
        )
    }

    /// Relaunch and recover: the stored spec under a new name, in the project of the original.
    pub(super) fn again(&mut self, request: &Value, inventory: &Inventory) -> Result<Value, Status> {
        let original = self.find(at(request, "/id"))?;
        let [project, domain, _] = original.id.clone();
        let (spec, inputs) = (original.spec.clone(), original.inputs.clone());
        self.start(
            [project, domain, text(request, "/name").to_owned()],
            spec,
            inputs,
            inventory,
        )
    }

    fn start(&mut self, id: [String; 3], spec: Value, inputs: Value, inventory: &Inventory) -> Result<Value, Status> {
        let [project, domain, name] = id;
        let name = if name.is_empty() {
            format!("f{:019}", self.all.len() + 1)
        } else {
            name
        };
        let id = [project, domain, name];
        if self.all.iter().any(|execution| execution.id == id) {
            return Err(Status::already_exists(format!("execution {id:?} already exists")));
        }
        let workflow = inventory.workflow_of(at(&spec, "/launch_plan"))?;
        let shown = show_id(&id);
        self.all.push(Execution {
            id,
            spec,
            inputs,
            workflow,
            phase: if self.keep_running { "RUNNING" } else { "SUCCEEDED" },
            cause: None,
            archived: false,
        });
        Ok(json!({ "id": shown }))
    }

    /// The first that matches: an empty part of the id matches anything.
    fn find(&self, id: &Value) -> Result<&Execution, Status> {
        let pattern = read_id(id);
        let found = self.all.iter().find(|execution| matches(&pattern, &execution.id));
        found.ok_or_else(|| Status::not_found(format!("missing entity of type execution with identifier {pattern:?}")))
    }

    fn find_mut(&mut self, id: &Value) -> Result<&mut Execution, Status> {
        let pattern = read_id(id);
        let found = self.all.iter_mut().find(|execution| matches(&pattern, &execution.id));
        found.ok_or_else(|| Status::not_found(format!("missing entity of type execution with identifier {pattern:?}")))
    }

    pub(super) fn get(&self, request: &Value) -> Result<Value, Status> {
        self.find(at(request, "/id")).map(show)
    }

    pub(super) fn list(&self, request: &Value) -> Vec<Value> {
        let pattern = read_id(at(request, "/id"));
        let found = self
            .all
            .iter()
            .rev()
            .filter(|execution| matches(&pattern, &execution.id));
        found.map(show).collect()
    }

    pub(super) fn update(&mut self, request: &Value) -> Result<Value, Status> {
        self.find_mut(at(request, "/id"))?.archived = text(request, "/state") == "EXECUTION_ARCHIVED";
        Ok(json!({}))
    }

    pub(super) fn terminate(&mut self, request: &Value) -> Result<Value, Status> {
        let execution = self.find_mut(at(request, "/id"))?;
        execution.phase = "ABORTED";
        execution.cause = Some(text(request, "/cause").to_owned());
        Ok(json!({}))
    }

    pub(super) fn data(&self, request: &Value) -> Result<Value, Status> {
        let execution = self.find(at(request, "/id"))?;
        Ok(json!({ "full_inputs": execution.inputs, "full_outputs": {} }))
    }

    pub(super) fn node(&self, request: &Value) -> Result<Value, Status> {
        self.find(at(request, "/id/execution_id"))?;
        Ok(show_node(at(request, "/id/execution_id"), text(request, "/id/node_id")))
    }

    pub(super) fn nodes(&self, request: &Value) -> Result<Vec<Value>, Status> {
        let execution = self.find(&request["workflow_execution_id"])?;
        let id = show_id(&execution.id);
        Ok(["start-node", "end-node"].map(|node| show_node(&id, node)).to_vec())
    }
}

fn show(execution: &Execution) -> Value {
    let mut closure = json!({
        "phase": execution.phase,
        "created_at": MOMENT,
        "started_at": MOMENT,
        "updated_at": MOMENT,
        "duration": "1s",
        "workflow_id": execution.workflow,
        "computed_inputs": execution.inputs,
        "state_change_details": { "state": if execution.archived { "EXECUTION_ARCHIVED" } else { "EXECUTION_ACTIVE" } },
    });
    if let (Some(cause), Some(fields)) = (&execution.cause, closure.as_object_mut()) {
        fields.insert("abort_metadata".to_owned(), json!({ "cause": cause }));
    }
    json!({ "id": show_id(&execution.id), "spec": execution.spec, "closure": closure })
}

fn show_node(execution: &Value, node: &str) -> Value {
    json!({
        "id": { "execution_id": execution, "node_id": node },
        "metadata": { "spec_node_id": node },
        "closure": { "phase": "SUCCEEDED", "created_at": MOMENT, "started_at": MOMENT, "updated_at": MOMENT, "duration": "1s" },
    })
}
