//! From policy files to a [`Policy`]: what the words mean, with every mistake found in one go.

use super::document::{At, Items, PolicyDocument, SubjectDocument, VERSION, Word, Words};
use super::index::Index;
use super::reads::Reads;
use super::role::nearest;
use super::{Policy, Subjects};
use crate::document::{LineColumn, parse, problem_at, warning_at};
use crate::model::action::{Action, ActionSet};
use crate::model::problem::{Problem, Severity};
use aws_lc_rs::digest;
use draft::Draft;
use serde::Deserialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use subject::List;

mod draft;
mod grant;
mod guard;
mod subject;

/// How many errors, and how many warnings, are listed for one file.
const MAX_PROBLEMS: usize = 100;

/// Compiles the files of a policy for a platform with these domains. Returns the policy and warnings about it.
///
/// # Errors
/// Every fault in every file, and the warnings, in the order of the files.
pub fn compile(files: &[(PathBuf, String)], domains: &[Box<str>]) -> Result<(Policy, Vec<Problem>), Vec<Problem>> {
    let mut draft = Draft::new(domains);
    let mut waiting = Vec::new();
    let mut reports = Vec::with_capacity(files.len());
    // One after the other: what a file says takes several times as much memory as what is made of it.
    for (file, text) in files {
        let mut report = Report::new(file, text);
        let later = read(&mut report).map(|document| draft.add(document, &mut report));
        waiting.push(later.unwrap_or_default());
        reports.push(report);
    }
    for (report, rules) in reports.iter_mut().zip(waiting) {
        for rule in rules {
            draft.complete(rule, report);
        }
    }
    let problems: Vec<Problem> = reports.into_iter().flat_map(Report::finish).collect();
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    let (compiled, revoked, roles) = draft.finish();
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
pub fn subjects(file: &Path, text: &str, documents: &Items<SubjectDocument>) -> Result<Subjects, Vec<Problem>> {
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
    /// The same, for the names of its rules.
    name: Arc<Path>,
    text: &'a str,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'a> Report<'a> {
    fn new(file: &'a Path, text: &'a str) -> Self {
        Self {
            file,
            name: file.into(),
            text,
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn error(&mut self, place: LineColumn, message: impl Into<String>) {
        if self.errors.len() < MAX_PROBLEMS {
            self.errors.push(problem_at(self.file, self.text, place, message));
        }
    }

    fn warning(&mut self, place: LineColumn, message: impl Into<String>) {
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
    fn filled<'w>(&mut self, key: &str, words: &'w Words, instead: &str) -> &'w [Word] {
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
            match &**word.value() {
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
