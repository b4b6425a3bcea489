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

/// How many RPCs with a similar name are told.
const SUGGESTED: usize = 4;

/// Why the arguments describe no call.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No RPC has the name; some are similar.
    #[error(
        "the catalogue has no RPC `{name}`; {}`flyte-authz-proxy catalog` lists them",
        did_you_mean(nearest)
    )]
    UnknownRpc {
        /// The name.
        name: String,
        /// The most similar ones, best first.
        nearest: Vec<String>,
    },
    /// Several RPCs have the name.
    #[error("`{name}` is the name of several RPCs; write one of {}", candidates.join(", "))]
    AmbiguousRpc {
        /// The name.
        name: String,
        /// The RPCs.
        candidates: Vec<String>,
    },
    /// A `--set` is not of its form, or its field lies in another one's value.
    #[error("`--set {0}` is not of the form FIELD=VALUE with a field that can be set")]
    Field(String),
    /// The body file cannot be read.
    #[error("{}: {error}", file.display())]
    Body {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

impl CallArguments {
    /// Finds the route by its path, or by the end of it if no other route ends so.
    ///
    /// # Errors
    /// `UnknownRpc`, `AmbiguousRpc`.
    pub fn route<'c>(&self, catalog: &'c Catalog) -> Result<&'c Route, CallError> {
        let wanted = self.rpc.trim_start_matches('/');
        let ends_so = |route: &&Route| {
            let rest = path(route).strip_suffix(wanted);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with(['.', '/']))
        };
        let found: Vec<&Route> = catalog.routes.iter().filter(ends_so).collect();
        match found.as_slice() {
            [] => Err(CallError::UnknownRpc {
                name: self.rpc.clone(),
                nearest: nearest(catalog, wanted),
            }),
            [only] => Ok(only),
            several => several
                .iter()
                .find(|route| path(route) == wanted)
                .copied()
                .ok_or_else(|| CallError::AmbiguousRpc {
                    name: self.rpc.clone(),
                    candidates: several.iter().map(|route| path(route).to_owned()).collect(),
                }),
        }
    }

    /// The message in JSON.
    ///
    /// # Errors
    /// `Field`, `Body`.
    pub fn message(&self, route: &Route) -> Result<Vec<u8>, CallError> {
        if let Some(path) = &self.body {
            return std::fs::read(path).map_err(|error| CallError::Body {
                file: path.clone(),
                error,
            });
        }
        let mut message = Map::new();
        for assignment in &self.set {
            let malformed = || CallError::Field(assignment.clone());
            let (field, value) = assignment.split_once('=').ok_or_else(malformed)?;
            set(&mut message, field, value, true).ok_or_else(malformed)?;
        }
        if route.access == Access::Scoped {
            for slot in route.plan.slots() {
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
                Part::Kind => Some(kind(&slot.accept)),
                Part::Name | Part::Value => slot.filled.contains(part).then_some("any"),
                Part::Org | Part::Key => None,
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
pub fn touched(route: &Route, message: &[u8], rules: &ScopeRules, limits: &WalkLimits) -> Result<Extracted, Denial> {
    let input = Input {
        payload: Payload::Json(message),
        rest: None,
    };
    targets::targets(route, &input, rules, limits)
}

fn path(route: &Route) -> &str {
    route.rpc.trim_start_matches('/')
}

/// A kind the slot accepts: a launch plan if it may be one.
fn kind(accept: &[i32]) -> &'static str {
    let accepts = |number| accept.is_empty() || accept.contains(&number);
    match () {
        () if accepts(3) => "LAUNCH_PLAN",
        () if accepts(1) => "TASK",
        () => "WORKFLOW",
    }
}

/// The RPCs whose method is most like the one wanted, best first: those with the word in their name, and those that
/// differ in few letters.
fn nearest(catalog: &Catalog, wanted: &str) -> Vec<String> {
    let method = |path: &str| path.rsplit('/').next().unwrap_or_default().to_lowercase();
    let wanted = method(wanted);
    let mut ranked: Vec<(usize, &str)> = catalog
        .routes
        .iter()
        .filter_map(|route| {
            let known = method(path(route));
            let letters = distance(&wanted, &known);
            let similar = letters <= wanted.chars().count() / 3;
            let contained = wanted.len() > 2 && known.contains(&wanted);
            (similar || contained).then_some((letters, path(route)))
        })
        .collect();
    ranked.sort_unstable();
    ranked
        .into_iter()
        .take(SUGGESTED)
        .map(|(_, path)| path.to_owned())
        .collect()
}

/// How many letters have to be put in, left out or replaced to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut left = above + 1;
        let mut next = vec![left];
        for ((&diagonal, &over), known) in row.iter().zip(row.iter().skip(1)).zip(&other) {
            left = (left + 1).min(over + 1).min(diagonal + usize::from(letter != *known));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

fn did_you_mean(nearest: &[String]) -> String {
    if nearest.is_empty() {
        return String::new();
    }
    format!("did you mean {}? ", nearest.join(", "))
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
