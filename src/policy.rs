//! The policy: who may do what where. Documents are compiled once; a principal's rights are resolved once a token.

#![deny(clippy::wildcard_enum_match_arm)]

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub mod compile;
pub mod decide;
pub mod diff;
pub mod document;
pub mod extent;
mod grant;
mod guard;
mod index;
mod instant;
mod object;
pub mod pattern;
pub mod reads;
pub mod resolve;
pub mod role;
pub mod show;
pub mod stored;
mod subject;
pub mod summary;
pub mod testfile;
pub mod trace;
mod who;
pub mod who_can;
mod wording;

pub use subject::Subjects;

/// A compiled policy: immutable, shared by every request.
#[derive(Debug)]
pub struct Policy {
    version: Arc<str>,
    rules: Box<[Rule]>,
    revoked: Vec<Revocation>,
    roles: role::Roles,
    index: index::Index,
    reads: reads::Reads,
    domains: Arc<[Box<str>]>,
}

impl Policy {
    /// The SHA-256 of the files it was compiled from, in hexadecimal.
    #[must_use]
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// The domains it was compiled for: in no other is anything allowed.
    #[must_use]
    pub fn domains(&self) -> &[Box<str>] {
        &self.domains
    }

    /// The names of its rules, in the order of the files.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &RuleName> {
        self.rules.iter().map(|rule| &rule.name)
    }

    /// The items of `revoked`, in the order of the files: `revoked[0]` and so on.
    pub fn revocations(&self) -> impl ExactSizeIterator<Item = &RuleName> {
        self.revoked.iter().map(|revocation| &revocation.name)
    }

    /// Those of them that are about tokens issued before a time, with that in seconds since the Unix epoch.
    pub fn dated_revocations(&self) -> impl Iterator<Item = (&RuleName, u64)> {
        self.revoked
            .iter()
            .filter_map(|revocation| Some((&revocation.name, revocation.subject.issued_before()?.seconds())))
    }
}

// A policy may have a hundred thousand rules: here and below, lists are as long as they must be, and what most rules have
// in common is shared.
#[derive(Debug)]
struct Rule {
    name: RuleName,
    subjects: Box<[subject::Subject]>,
    unless: Box<[subject::Subject]>,
    allow: Box<[grant::Plan]>,
    deny: Box<[Arc<grant::Grant>]>,
}

/// Callers whose tokens count no more.
#[derive(Debug)]
struct Revocation {
    name: RuleName,
    subject: subject::Subject,
}

/// A rule's name and where it is written. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleName(Arc<Source>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Source {
    name: Box<str>,
    file: Arc<Path>,
    line: u64,
}

impl RuleName {
    fn new(name: &str, file: &Arc<Path>, line: u64) -> Self {
        Self(Arc::new(Source {
            name: name.into(),
            file: Arc::clone(file),
            line,
        }))
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The file it is written in.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.0.file
    }

    /// The line of its name, from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.0.line
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.name(), self.file().display(), self.line())
    }
}

impl fmt::Debug for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests;
