//! Decision tests for a policy (`*.test.yaml`): who asks for what, and what must come out.

use super::Policy;
use super::decide::Call;
use super::document::{At, present};
use super::instant::Instant;
use crate::catalog::{Access, Catalog, WritePlace};
use crate::document::{LineColumn, parse, problem_at};
use crate::model::action::{Action, ActionSet};
use crate::model::principal::{Principal, PrincipalKind};
use crate::model::problem::Problem;
use crate::model::reason::Reason;
use crate::model::scope::{Resource, ResourceKind, Scope, Target, TargetRole};
use crate::model::setting::Asked;
use difference::difference;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

mod difference;
mod route;

/// What came of the tests in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestReport {
    /// How many decisions came out as expected.
    pub passed: usize,
    /// Those that did not, and mistakes in the file, each with its place.
    pub failures: Vec<Problem>,
}

/// A file of decision tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestDocument {
    cases: At<Vec<At<CaseDocument>>>,
}

/// One principal that asks for something. Either `action` or `rpc` with `expect`, or the lists `allow` and `deny`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseDocument {
    name: At<String>,
    principal: PrincipalDocument,
    #[serde(default, deserialize_with = "present")]
    action: Option<At<String>>,
    #[serde(default, deserialize_with = "present")]
    rpc: Option<At<String>>,
    #[serde(default, deserialize_with = "present")]
    project: Option<String>,
    #[serde(default, deserialize_with = "present")]
    domain: Option<String>,
    #[serde(default, deserialize_with = "present")]
    resource: Option<ResourceDocument>,
    /// The settings of executions that the call asks for, by their labels.
    #[serde(default)]
    asks_for: BTreeMap<String, At<String>>,
    /// The settings that are written into it, all of them.
    #[serde(default, deserialize_with = "present")]
    sets: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "present")]
    expect: Option<Expected>,
    #[serde(default, deserialize_with = "present")]
    reason: Option<At<String>>,
    #[serde(default, deserialize_with = "present")]
    rule: Option<At<String>>,
    #[serde(default, deserialize_with = "present")]
    allow: Option<Vec<At<String>>>,
    #[serde(default, deserialize_with = "present")]
    deny: Option<Vec<At<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PrincipalDocument {
    issuer: String,
    subject: String,
    #[serde(deserialize_with = "present")]
    email: Option<String>,
    #[serde(deserialize_with = "present")]
    client_id: Option<String>,
    groups: Vec<String>,
    #[serde(deserialize_with = "present")]
    issued_at: Option<At<String>>,
    claims: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ResourceDocument {
    Task(String),
    Workflow(String),
    LaunchPlan(String),
    Every(KindDocument),
    Unnamed,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindDocument {
    Task,
    Workflow,
    LaunchPlan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expected {
    Allow,
    /// Allowed, and the answer shows only what is allowed by name.
    Filtered,
    Deny,
}

/// One decision to make, and what must come out.
struct Question<'c> {
    access: Access,
    action: Action,
    targets: Vec<Target>,
    asked: Vec<Asked>,
    writes: &'c [WritePlace],
    expect: Expected,
}

/// Runs the tests of one file. `catalog` is needed for cases that name an RPC.
#[must_use]
pub fn run(policy: &Policy, file: &Path, text: &str, catalog: Option<&Catalog>) -> TestReport {
    let mut report = TestReport {
        passed: 0,
        failures: Vec::new(),
    };
    let document: TestDocument = match parse(file, text) {
        Ok(document) => document,
        Err(failures) => return TestReport { failures, ..report },
    };
    if document.cases.value().is_empty() {
        report.failures.push(problem_at(
            file,
            text,
            document.cases.place(),
            "`cases: []` tests nothing; add a case",
        ));
    }
    for case in document.cases.value() {
        let case = case.value();
        let asked = principal(&case.principal).and_then(|principal| Ok((principal, questions(case, catalog)?)));
        let (principal, questions) = match asked {
            Ok(asked) => asked,
            Err((place, fault)) => {
                let message = format!("case `{}`: {fault}", case.name.value());
                report
                    .failures
                    .push(problem_at(file, text, place.unwrap_or(case.name.place()), message));
                continue;
            }
        };
        let rights = policy.resolve(&principal, &mut ());
        for question in questions {
            let call = Call {
                access: question.access,
                action: question.action,
                targets: &question.targets,
                asked: &question.asked,
                writes: question.writes,
            };
            match difference(case, question.expect, rights.decide(&call, &mut ())) {
                None => report.passed += 1,
                Some(difference) => {
                    let message = format!("case `{}`, {}: {difference}", case.name.value(), question.action);
                    report.failures.push(problem_at(file, text, case.name.place(), message));
                }
            }
        }
    }
    report
}

fn principal(document: &PrincipalDocument) -> Result<Principal, Fault> {
    let mut claims = document.claims.clone();
    if let Some(written) = &document.issued_at {
        let time = Instant::parse(written.value()).map_err(|fault| (Some(written.place()), fault))?;
        if claims.insert("iat".to_owned(), time.seconds().into()).is_some() {
            let fault = "`issued_at` is the claim `iat`; write one of them".to_owned();
            return Err((Some(written.place()), fault));
        }
    }
    Ok(Principal {
        kind: PrincipalKind::Token,
        issuer: Arc::from(document.issuer.as_str()),
        subject: Arc::from(document.subject.as_str()),
        email: document.email.as_deref().map(Arc::from),
        client_id: document.client_id.as_deref().map(Arc::from),
        groups: document.groups.iter().map(|group| Arc::from(group.as_str())).collect(),
        claims: Arc::new(claims),
        expires_at: None,
    })
}

/// What is wrong with a case, at the case's own place if at no other.
type Fault = (Option<LineColumn>, String);

fn questions<'c>(case: &CaseDocument, catalog: Option<&'c Catalog>) -> Result<Vec<Question<'c>>, Fault> {
    if let Some(reason) = &case.reason
        && !Reason::ALL.iter().any(|known| known.label() == reason.value())
    {
        return Err((Some(reason.place()), format!("unknown reason `{}`", reason.value())));
    }
    if case.domain.is_some() && case.project.is_none() {
        return Err((None, "`domain` needs a `project`".to_owned()));
    }
    if case.rpc.is_none() && (!case.asks_for.is_empty() || case.sets.is_some()) {
        let fault = "`asks_for` and `sets` are about a request: name its `rpc`";
        return Err((case.asks_for.values().next().map(At::place), fault.to_owned()));
    }
    match (&case.action, &case.rpc, case.expect, case.allow.is_some() || case.deny.is_some()) {
        (Some(word), None, Some(expect), false) => Ok(vec![question(case, action(word)?, expect)]),
        (None, Some(rpc), Some(expect), false) => {
            let catalog = catalog.ok_or_else(|| (Some(rpc.place()), "`rpc` needs a catalogue; write `action`".to_owned()))?;
            let route = catalog.routes.iter().find(|route| *route.rpc == **rpc.value());
            let route = route.ok_or_else(|| {
                (Some(rpc.place()), format!("`{}` is not in the catalogue; write `/PACKAGE.SERVICE/METHOD`", rpc.value()))
            })?;
            Ok(vec![route::question(case, route, expect)?])
        }
        (None, None, None, true) if case.reason.is_none() && case.rule.is_none() => table(case),
        _ => Err((
            None,
            "write either one of `action` and `rpc` with `expect` (and `reason`, `rule`), or the lists `allow` and `deny`"
                .to_owned(),
        )),
    }
}

fn action(word: &At<String>) -> Result<Action, Fault> {
    word.value()
        .parse()
        .map_err(|fault: crate::model::action::UnknownAction| (Some(word.place()), fault.to_string()))
}

/// The questions of `allow` and `deny`; `"*"` in `deny` means every action that is not in `allow`.
fn table(case: &CaseDocument) -> Result<Vec<Question<'static>>, Fault> {
    let mut questions = Vec::new();
    let mut allowed = ActionSet::EMPTY;
    for word in case.allow.iter().flatten() {
        let action = action(word)?;
        allowed = allowed.union(action.into());
        questions.push(question(case, action, Expected::Allow));
    }
    for word in case.deny.iter().flatten() {
        if word.value() == "*" {
            let others = Action::ALL.iter().filter(|action| !allowed.contains(**action));
            questions.extend(others.map(|action| question(case, *action, Expected::Deny)));
        } else {
            questions.push(question(case, action(word)?, Expected::Deny));
        }
    }
    if questions.is_empty() {
        return Err((
            None,
            "`allow` and `deny` are empty and test nothing; name an action".to_owned(),
        ));
    }
    Ok(questions)
}

/// A scoped call in the case's scope: without a domain in every one, without a project on the platform. One that starts
/// something starts what no list names, unless the case says what.
fn question(case: &CaseDocument, action: Action, expect: Expected) -> Question<'static> {
    let scope = match (case.project.as_deref(), case.domain.as_deref()) {
        (Some(project), Some(domain)) => Scope::ProjectDomain {
            project: project.into(),
            domain: domain.into(),
        },
        (Some(project), None) => Scope::Project(project.into()),
        (None, _) => Scope::Global,
    };
    let named = case.resource.as_ref().map(resource);
    let starts = action == Action::CreateExecutions && named.is_none();
    let kinds = STARTED.iter().filter(|_| starts);
    let unlisted: Vec<Target> = kinds
        .map(|kind| refers(&scope, action, unlisted(*kind), "resource".into()))
        .collect();
    Question {
        access: Access::Scoped,
        action,
        targets: [target(scope, action, named)].into_iter().chain(unlisted).collect(),
        asked: Vec::new(),
        writes: &[],
        expect,
    }
}

fn target(scope: Scope, action: Action, resource: Option<Resource>) -> Target {
    Target {
        scope,
        needs: action.into(),
        resource,
        field: Arc::default(),
        role: TargetRole::Acts,
    }
}

/// What executions are started of.
const STARTED: [ResourceKind; 2] = [ResourceKind::Task, ResourceKind::LaunchPlan];

/// Something that no list names, of allow-lists and of denies: an entry with `*` is an error.
fn unlisted(kind: ResourceKind) -> Resource {
    Resource::Named { kind, name: "*".into() }
}

fn refers(scope: &Scope, action: Action, resource: Resource, field: Arc<str>) -> Target {
    Target {
        field,
        role: TargetRole::Refers,
        ..target(scope.clone(), action, Some(resource))
    }
}

fn resource(document: &ResourceDocument) -> Resource {
    let named = |kind, name: &str| Resource::Named {
        kind,
        name: name.into(),
    };
    match document {
        ResourceDocument::Task(name) => named(ResourceKind::Task, name),
        ResourceDocument::Workflow(name) => named(ResourceKind::Workflow, name),
        ResourceDocument::LaunchPlan(name) => named(ResourceKind::LaunchPlan, name),
        ResourceDocument::Every(KindDocument::Task) => Resource::Every(ResourceKind::Task),
        ResourceDocument::Every(KindDocument::Workflow) => Resource::Every(ResourceKind::Workflow),
        ResourceDocument::Every(KindDocument::LaunchPlan) => Resource::Every(ResourceKind::LaunchPlan),
        ResourceDocument::Unnamed => Resource::Unnamed,
    }
}

#[cfg(test)]
mod tests;
