//! What is read of a stored execution: the question that fetches it, and the parts of the answer that matter. Strict, as
//! everywhere: an answer with two readings has none.

use super::wire::{Value, put_bytes, put_text, tag, value};
use crate::model::scope::{ResourceKind, Run};
use std::str;

/// Field numbers of `flyteidl.admin.WorkflowExecutionGetRequest` and `flyteidl.admin.Execution`.
const ID: u32 = 1;
const SPEC: u32 = 2;
/// Of `flyteidl.admin.ExecutionSpec`.
const LAUNCH_PLAN: u32 = 1;
/// The number of TASK in `flyteidl.core.ResourceType`. What an execution runs is a task or else a launch plan.
const TASK: u64 = 1;

/// The identifier of an execution (`flyteidl.core.WorkflowExecutionIdentifier`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecutionId<'a> {
    /// The project it lies in.
    pub project: &'a str,
    /// The domain it lies in.
    pub domain: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The organization; mostly empty.
    pub organization: &'a str,
}

impl ExecutionId<'_> {
    const PROJECT: u32 = 1;
    const DOMAIN: u32 = 2;
    const NAME: u32 = 4;
    const ORGANIZATION: u32 = 5;

    /// The message that asks for the execution: `flyteidl.admin.WorkflowExecutionGetRequest`.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        let mut id = Vec::new();
        let fields = [
            (Self::PROJECT, self.project),
            (Self::DOMAIN, self.domain),
            (Self::NAME, self.name),
            (Self::ORGANIZATION, self.organization),
        ];
        for (number, text) in fields.into_iter().filter(|(_, text)| !text.is_empty()) {
            put_text(number, text, &mut id);
        }
        let mut request = Vec::new();
        put_bytes(ID, &id, &mut request);
        request
    }

    /// Whether both name the same execution. `FlyteAdmin` finds one without regard to the organization, and may know one
    /// that the request has left out.
    #[must_use]
    pub fn is_same(&self, other: &ExecutionId<'_>) -> bool {
        let organizations = [self.organization, other.organization];
        (self.project, self.domain, self.name) == (other.project, other.domain, other.name)
            && (self.organization == other.organization || organizations.contains(&""))
    }
}

/// What matters of a stored execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution<'a> {
    /// Which one it is.
    pub id: ExecutionId<'a>,
    /// What it runs.
    pub runs: Run,
}

/// Reads an encoded `flyteidl.admin.Execution`. `None` if it is not well-formed, has more than one reading, or does not say
/// what it runs. Fields that do not matter may be anything.
#[must_use]
pub fn read(message: &[u8]) -> Option<Execution<'_>> {
    let [id, spec] = singles(message, [ID, SPEC])?;
    let id = identifier(bytes(id?)?)?;
    let [launch_plan] = singles(bytes(spec?)?, [LAUNCH_PLAN])?;
    Some(Execution {
        id,
        runs: run(bytes(launch_plan?)?, id)?,
    })
}

fn identifier(message: &[u8]) -> Option<ExecutionId<'_>> {
    let numbers = [
        ExecutionId::PROJECT,
        ExecutionId::DOMAIN,
        ExecutionId::NAME,
        ExecutionId::ORGANIZATION,
    ];
    let [project, domain, name, organization] = singles(message, numbers)?;
    Some(ExecutionId {
        project: text(project)?,
        domain: text(domain)?,
        name: text(name)?,
        organization: text(organization)?,
    })
}

/// Reads a `flyteidl.core.Identifier`. One that does not say where it lies, lies where the execution does.
fn run(message: &[u8], execution: ExecutionId<'_>) -> Option<Run> {
    let [kind, project, domain, name] = singles(message, [1, 2, 3, 4])?;
    let kind = match kind {
        Some(Value::Varint(TASK)) => ResourceKind::Task,
        // Enums are 32 bits wide; more has more than one reading.
        Some(Value::Varint(number)) if i32::try_from(number).is_err() => return None,
        Some(Value::Varint(_)) | None => ResourceKind::LaunchPlan,
        Some(Value::Bytes(_) | Value::Fixed32 | Value::Fixed64) => return None,
    };
    let (project, domain) = match (text(project)?, text(domain)?) {
        ("", "") => (execution.project, execution.domain),
        place => place,
    };
    let name = text(name)?;
    (!name.is_empty()).then(|| Run {
        kind,
        project: project.into(),
        domain: domain.into(),
        name: name.into(),
    })
}

/// The values of these fields, each of which may come once: a decoder would merge or replace the others.
fn singles<const N: usize>(mut message: &[u8], numbers: [u32; N]) -> Option<[Option<Value<'_>>; N]> {
    let mut found = [None; N];
    while !message.is_empty() {
        let (number, wire_type) = tag(&mut message)?;
        let content = value(&mut message, wire_type)?;
        let wanted = numbers.iter().zip(&mut found).find(|(wanted, _)| **wanted == number);
        if let Some((_, place)) = wanted
            && place.replace(content).is_some()
        {
            return None;
        }
    }
    Some(found)
}

fn bytes(content: Value<'_>) -> Option<&[u8]> {
    match content {
        Value::Bytes(bytes) => Some(bytes),
        Value::Varint(_) | Value::Fixed32 | Value::Fixed64 => None,
    }
}

/// A text that is absent is empty.
fn text(content: Option<Value<'_>>) -> Option<&str> {
    content.map_or(Some(""), |content| str::from_utf8(bytes(content)?).ok())
}

#[cfg(test)]
mod tests;
