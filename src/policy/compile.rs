//! From policy files to a [`Policy`]: what the words mean, with every mistake found in one go.

use super::document::{At, PolicyDocument, RuleDocument, SubjectDocument, VERSION, Words};
use super::index::Index;
use super::reads::Reads;
use super::role::{BUILT_IN, Roles, nearest};
use super::{Policy, Revocation, Rule, RuleName, Subjects};
use crate::document::{parse, problem_at, warning_at};
use crate::model::action::{Action, ActionSet};
use crate::model::problem::{Problem, Severity};
use ahash::AHashMap;
use aws_lc_rs::digest;
use serde::Deserialize;
use serde_saphyr::Location;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use subject::List;

mod grant;
mod guard;
mod subject;

/// How many errors, and how many warnings, are listed for one file.
const MAX_PROBLEMS: usize = 100;
const MAX_RULE_NAME: usize = 100;

/// Compiles the files of a policy for a platform with these domains. Returns the policy and warnings about it.
///
/// # Errors
/// Every fault in every file, and the warnings, in the order of the files.
pub fn compile(files: &[(PathBuf, String)], domains: &[Box<str>]) -> Result<(Policy, Vec<Problem>), Vec<Problem>> {
    let mut reports: Vec<Report<'_>> = files.iter().map(|(file, text)| Report::new(file, text)).collect();
    let documents: Vec<Option<PolicyDocument>> = reports.iter_mut().map(read).collect();
    let mut roles = Roles::default();
    let mut defined = BTreeMap::new();
    for (report, document) in reports.iter_mut().zip(&documents) {
        for (name, actions) in document.iter().flat_map(|document| &document.roles) {
            define_role(name, actions, &mut roles, &mut defined, report);
        }
    }
    let mut compiled = Vec::new();
    let mut names = AHashMap::new();
    for (report, document) in reports.iter_mut().zip(&documents) {
        for rule in document.iter().flat_map(|document| &document.rules) {
            let name = rule_name(&rule.name, &mut names, report);
            compiled.push(compile_rule(rule, name, &roles, domains, report));
        }
    }
    let mut revoked = Vec::new();
    for (report, document) in reports.iter_mut().zip(&documents) {
        for item in document.iter().flat_map(|document| &document.revoked) {
            let name = RuleName::new(&format!("revoked[{}]", revoked.len()), report.file, item.place().line());
            let subject = subject::compile_one(List::Revoked, item, report);
            revoked.push(Revocation { name, subject });
        }
    }
    let problems: Vec<Problem> = reports.into_iter().flat_map(Report::finish).collect();
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    let index = Index::new(&compiled);
    let reads = Reads::of(&compiled, &revoked);
    Ok((
        Policy {
            version: version(files),
            rules: compiled,
            revoked,
            roles,
            index,
            reads,
            domains: Arc::from(domains),
        },
        problems,
    ))
}

/// Compiles the list `accept` of the configuration, which is written like subjects.
///
/// # Errors
/// Every fault, at its place in the file.
pub fn subjects(file: &Path, text: &str, documents: &At<Vec<At<SubjectDocument>>>) -> Result<Subjects, Vec<Problem>> {
    let mut report = Report::new(file, text);
    let (subjects, _) = subject::compile(List::Accepted, documents, &mut report);
    let problems = report.finish();
    if problems.is_empty() {
        Ok(Subjects(subjects))
    } else {
        Err(problems)
    }
}

/// Collects what is wrong with one file.
struct Report<'a> {
    file: &'a Path,
    text: &'a str,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'a> Report<'a> {
    fn new(file: &'a Path, text: &'a str) -> Self {
        Self {
            file,
            text,
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn error(&mut self, place: Location, message: impl Into<String>) {
        if self.errors.len() < MAX_PROBLEMS {
            self.errors.push(problem_at(self.file, self.text, place, message));
        }
    }

    fn warning(&mut self, place: Location, message: impl Into<String>) {
        if self.warnings.len() < MAX_PROBLEMS {
            self.warnings.push(warning_at(self.file, self.text, place, message));
        }
    }

    fn finish(self) -> Vec<Problem> {
        let mut problems = self.errors;
        problems.extend(self.warnings);
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems
    }

    /// The words of a list that must have some.
    fn filled<'w>(&mut self, key: &str, words: &'w Words, instead: &str) -> &'w [At<String>] {
        if words.value().is_empty() {
            self.error(words.place(), format!("`{key}: []` {instead}"));
        }
        for word in words.value().iter().filter(|word| word.value().is_empty()) {
            self.error(
                word.place(),
                format!("an empty text in `{key}` matches nothing; write a name or leave it out"),
            );
        }
        words.value()
    }

    fn actions(&mut self, words: &Words) -> ActionSet {
        let mut actions = ActionSet::EMPTY;
        for word in self.filled(
            "actions",
            words,
            "covers no action; name at least one, or `\"*\"` for all",
        ) {
            match word.value().as_str() {
                "" => {}
                "*" => actions = ActionSet::all(),
                name => match name.parse::<Action>() {
                    Ok(action) => actions = actions.union(action.into()),
                    Err(_) => self.error(
                        word.place(),
                        unknown("action", name, Action::ALL.iter().map(|known| known.label())),
                    ),
                },
            }
        }
        actions
    }
}

fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let instead = match nearest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "write one of {}",
            known.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        ),
    };
    format!("unknown {what} `{word}`; {instead}")
}

fn read(report: &mut Report<'_>) -> Option<PolicyDocument> {
    /// Only the version: a newer format has keys that this one does not know.
    #[derive(Deserialize)]
    struct Versioned {
        version: At<u64>,
    }
    let newer = |version: u64| {
        format!("version {version} of the format is not known to this program; write `version: {VERSION}`")
    };
    match parse::<PolicyDocument>(report.file, report.text) {
        Ok(document) => {
            if *document.version.value() != VERSION {
                report.error(document.version.place(), newer(*document.version.value()));
            }
            Some(document)
        }
        Err(problems) => {
            match parse::<Versioned>(report.file, report.text) {
                Ok(Versioned { version }) if *version.value() != VERSION => {
                    report.error(version.place(), newer(*version.value()));
                }
                _ => report.errors = problems,
            }
            None
        }
    }
}

fn define_role(
    name: &str,
    actions: &Words,
    roles: &mut Roles,
    defined: &mut BTreeMap<String, String>,
    report: &mut Report<'_>,
) {
    if name.is_empty()
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    {
        report.error(
            actions.place(),
            format!("`{name}` is no name for a role; use letters, digits, `_` and `-`"),
        );
    }
    if BUILT_IN.iter().any(|(built_in, _)| *built_in == name) {
        report.error(
            actions.place(),
            format!("the role `{name}` is built in and cannot be redefined; choose another name"),
        );
        return;
    }
    let place = format!("{}:{}", report.file.display(), actions.place().line());
    if let Some(earlier) = defined.insert(name.to_owned(), place) {
        report.error(
            actions.place(),
            format!("the role `{name}` is already defined at {earlier}"),
        );
    }
    let actions = report.actions(actions);
    roles.define(name, actions);
}

fn rule_name(name: &At<String>, names: &mut AHashMap<String, RuleName>, report: &mut Report<'_>) -> RuleName {
    let text = name.value();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.len() > MAX_RULE_NAME
        || !text.bytes().all(plain)
        || !text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
    {
        let message = format!(
            "`{text}` is no name for a rule; use letters, digits, `.`, `_` and `-`, at most {MAX_RULE_NAME}, the first a letter or digit"
        );
        report.error(name.place(), message);
    }
    let rule = RuleName::new(text, report.file, name.place().line());
    if let Some(earlier) = names.get(text) {
        let place = format!("{}:{}", earlier.file().display(), earlier.line());
        report.error(
            name.place(),
            format!("the rule `{text}` is already defined at {place}; names are unique in the whole policy"),
        );
    } else {
        names.insert(text.clone(), rule.clone());
    }
    rule
}

fn compile_rule(
    document: &RuleDocument,
    name: RuleName,
    roles: &Roles,
    domains: &[Box<str>],
    report: &mut Report<'_>,
) -> Rule {
    let list = if document.allow.is_some() {
        List::Allowed
    } else {
        List::Denied
    };
    let (subjects, captures) = subject::compile(list, &document.subjects, report);
    if document.allow.is_none() && document.deny.is_none() {
        report.error(
            document.name.place(),
            "the rule has neither `allow` nor `deny` and would do nothing; add one",
        );
    }
    let mut surroundings = grant::Surroundings {
        rule: &name,
        roles,
        captures: &captures,
        domains,
        report,
    };
    let allow = document
        .allow
        .as_ref()
        .map(|list| surroundings.allow(list))
        .unwrap_or_default();
    let deny = document
        .deny
        .as_ref()
        .map(|list| surroundings.deny(list))
        .unwrap_or_default();
    let unless = document.unless.as_ref().map(|list| {
        if document.deny.is_none() {
            report.error(
                list.place(),
                "`unless` is about `deny`, and the rule has none; remove it",
            );
        }
        subject::compile(List::Unless, list, report).0
    });
    Rule {
        name,
        subjects,
        unless: unless.unwrap_or_default(),
        allow,
        deny,
    }
}

/// The SHA-256 over every file's name and text, in the order of the names.
fn version(files: &[(PathBuf, String)]) -> Arc<str> {
    let mut files: Vec<_> = files
        .iter()
        .map(|(file, text)| (file.to_string_lossy(), text))
        .collect();
    files.sort_unstable();
    let mut hash = digest::Context::new(&digest::SHA256);
    for (file, text) in &files {
        for part in [file.as_bytes(), text.as_bytes()] {
            // The length first: no two policies run together into the same bytes.
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    let mut version = String::new();
    for byte in hash.finish().as_ref() {
        // Writing to a String cannot fail.
        _ = write!(version, "{byte:02x}");
    }
    version.into()
}

#[cfg(test)]
mod tests;
