//! A call described on the command line, read by the same code as a request.

use crate::catalog::{Access, Catalog, Part, Route, Slot, SlotRole};
use crate::extract::WalkLimits;
use crate::extract::targets::{self, Extracted, Input, Payload, ScopeRules};
use crate::model::denial::Denial;
use clap::Args;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// What to call. Fields the call needs and nobody gives are filled in: names with `any`, kinds with a launch plan.
#[derive(Debug, Args)]
pub struct CallArguments {
    /// The RPC: `CreateExecution`, `AdminService/CreateExecution` or the whole gRPC path.
    #[arg(long, value_name = "NAME")]
    rpc: String,
    /// The project the call acts in.
    #[arg(long)]
    project: Option<String>,
    /// The domain the call acts in.
    #[arg(long)]
    domain: Option<String>,
    /// Another field of the message, by its path: `spec.launch_plan.name=daily`.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// A file with the whole message in JSON, instead of the fields.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["project", "domain", "set"])]
    body: Option<PathBuf>,
}

/// Why the arguments describe no call.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No RPC has the name.
    #[error("the catalogue has no RPC `{0}`; `flyte-authz-proxy catalog` lists them")]
    UnknownRpc(String),
    /// A `--set` is not of its form, or its field lies in another one's value.
    #[error("`--set {0}` is not of the form FIELD=VALUE with a field that can be set")]
    Field(String),
    /// The body file cannot be read.
    #[error("{0}: {1}")]
    Body(PathBuf, std::io::Error),
}

impl CallArguments {
    /// Finds the route.
    ///
    /// # Errors
    /// `UnknownRpc`.
    pub fn route<'c>(&self, catalog: &'c Catalog) -> Result<&'c Route, CallError> {
        let wanted = self.rpc.trim_start_matches('/');
        let is_it = |route: &&Route| {
            let rpc = route.rpc.trim_start_matches('/');
            rpc.strip_suffix(wanted)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with(['.', '/']))
        };
        catalog
            .routes
            .iter()
            .find(is_it)
            .ok_or_else(|| CallError::UnknownRpc(self.rpc.clone()))
    }

    /// The message in JSON.
    ///
    /// # Errors
    /// `Field`, `Body`.
    pub fn message(&self, route: &Route) -> Result<Vec<u8>, CallError> {
        if let Some(path) = &self.body {
            return std::fs::read(path).map_err(|error| CallError::Body(path.clone(), error));
        }
        let mut message = Map::new();
        for assignment in &self.set {
            let malformed = || CallError::Field(assignment.clone());
            let (field, value) = assignment.split_once('=').ok_or_else(malformed)?;
            set(&mut message, field, value, true).ok_or_else(malformed)?;
        }
        if route.access == Access::Scoped {
            for slot in &route.plan.slots {
                self.fill(&mut message, slot);
            }
        }
        Ok(Value::Object(message).to_string().into_bytes())
    }

    /// Fills in what the slot needs and the arguments have not set. A field that lies in something set otherwise stays.
    fn fill(&self, message: &mut Map<String, Value>, slot: &Slot) {
        let repeated = slot.at.contains(['[', '{', '*']);
        let needed = slot.required || matches!(slot.role, SlotRole::Scope { .. } | SlotRole::Required);
        if repeated || !needed {
            return;
        }
        for (field, part) in &slot.parts {
            let value = match part {
                Part::Project => self.project.as_deref(),
                Part::Domain => self.domain.as_deref(),
                Part::Kind => Some("LAUNCH_PLAN"),
                Part::Name | Part::Value => slot.filled.contains(part).then_some("any"),
                Part::Org => None,
            };
            if let Some(value) = value {
                // A field that cannot be set stays unset, and the walk says what is missing.
                _ = set(message, field, value, false);
            }
        }
    }
}

/// Reads the message by the route's plan, as for a request.
///
/// # Errors
/// The refusal a request with this message gets.
pub fn touched(route: &Route, message: &[u8], rules: &ScopeRules) -> Result<Extracted, Denial> {
    let input = Input {
        payload: Payload::Json(message),
        rest: None,
    };
    targets::targets(route, &input, rules, &WalkLimits::default())
}

fn set(message: &mut Map<String, Value>, field: &str, value: &str, replace: bool) -> Option<()> {
    let (parents, name) = field.rsplit_once('.').unwrap_or(("", field));
    let mut place = message;
    for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
        place = place
            .entry(parent)
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()?;
    }
    if replace || !place.contains_key(name) {
        place.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    Some(())
}
