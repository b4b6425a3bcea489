//! Collects everything that is wrong with the documents of a catalogue, each fault with its place.

use crate::document::problem_at;
use crate::model::problem::Problem;
use serde_saphyr::{Location, Spanned};
use std::path::{Path, PathBuf};

/// The documents being compiled and their faults so far.
pub(super) struct Faults<'a> {
    documents: &'a [(PathBuf, String)],
    problems: Vec<Problem>,
}

/// A place in one of the documents.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The document's index.
    pub(super) document: usize,
    /// Line and column in it.
    pub(super) location: Location,
}

impl Place {
    pub(super) fn of<T>(document: usize, value: &Spanned<T>) -> Self {
        Self {
            document,
            location: value.referenced,
        }
    }
}

impl<'a> Faults<'a> {
    pub(super) fn new(documents: &'a [(PathBuf, String)]) -> Self {
        Self {
            documents,
            problems: Vec::new(),
        }
    }

    /// Notes a fault.
    pub(super) fn add(&mut self, place: Place, message: impl Into<String>) {
        let (file, text) = self.source(place.document);
        self.problems.push(problem_at(file, text, place.location, message));
    }

    /// Notes faults found elsewhere.
    pub(super) fn extend(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
    }

    /// Notes the fault if there is one; the value otherwise.
    pub(super) fn check<T>(&mut self, place: Place, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(place, message)).ok()
    }

    /// Where something was defined first, for messages about a second definition.
    pub(super) fn describe(&self, place: Place) -> String {
        let (file, _) = self.source(place.document);
        format!("{}:{}", file.display(), place.location.line())
    }

    /// The faults, if any.
    pub(super) fn into_result<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.problems.is_empty() {
            Ok(value)
        } else {
            Err(self.problems)
        }
    }

    fn source(&self, document: usize) -> (&'a Path, &'a str) {
        self.documents
            .get(document)
            .map_or((Path::new(""), ""), |(file, text)| (file, text))
    }
}
