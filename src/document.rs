//! Strict YAML: one document, no duplicate or merge keys, no control or bidirectional characters, every fault with its place.

use crate::model::problem::{Problem, Severity};
use serde::de::DeserializeOwned;
use serde_saphyr::Location;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use std::path::Path;

/// The largest document accepted, in bytes.
pub const MAX_BYTES: usize = 16 << 20;

/// Reads a document into `T` (whose types deny unknown fields).
///
/// # Errors
/// Every fault that can be told apart: all characters that are refused, else the first fault of the grammar.
pub fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, Vec<Problem>> {
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; at most {MAX_BYTES} are accepted", text.len());
        return Err(vec![Problem::error(file, 0, 0, message)]);
    }
    let refused = refused_characters(file, text);
    if !refused.is_empty() {
        return Err(refused);
    }
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| vec![syntax_problem(file, text, &error)])
}

/// A line and a column, each from 1; 0 where there is none. A quarter of what the library keeps of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineColumn {
    line: u32,
    column: u32,
}

impl LineColumn {
    /// The line.
    #[must_use]
    pub fn line(self) -> u64 {
        self.line.into()
    }

    /// The column, in characters.
    #[must_use]
    pub fn column(self) -> u64 {
        self.column.into()
    }
}

impl From<Location> for LineColumn {
    fn from(place: Location) -> Self {
        // A document has fewer lines than bytes: [`MAX_BYTES`] at most.
        let short = |number: u64| u32::try_from(number).unwrap_or_default();
        Self {
            line: short(place.line()),
            column: short(place.column()),
        }
    }
}

/// A fault of meaning at a place in the document, with the line shown.
#[must_use]
pub fn problem_at(file: &Path, text: &str, place: impl Into<LineColumn>, message: impl Into<String>) -> Problem {
    let place = place.into();
    let mut problem = Problem::error(file, place.line(), place.column(), message);
    problem.snippet = snippet(text, place.line(), place.column());
    problem
}

/// The same as a warning.
#[must_use]
pub fn warning_at(file: &Path, text: &str, place: impl Into<LineColumn>, message: impl Into<String>) -> Problem {
    Problem {
        severity: Severity::Warning,
        ..problem_at(file, text, place, message)
    }
}

fn syntax_problem(file: &Path, text: &str, error: &serde_saphyr::Error) -> Problem {
    // The library's advice is for programmers, and the place is told apart from the message.
    let message = error.without_snippet().to_string();
    let message = message
        .replace(
            ", set DuplicateKeyPolicy in Options if acceptable",
            "; keep one of them",
        )
        .replace("; use Option<String>", "; write a text, or leave the key out");
    match error.location() {
        Some(place) => {
            let suffix = format!(" at line {}, column {}", place.line(), place.column());
            problem_at(file, text, place, message.strip_suffix(&suffix).unwrap_or(&message))
        }
        None => Problem::error(file, 0, 0, message),
    }
}

/// Characters that make a line read differently from what it means: controls, and those that turn text around.
#[must_use]
pub fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2028}' | '\u{2029}'
            | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' | '\u{061C}' | '\u{00AD}')
}

fn refused_characters(file: &Path, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        for (column, character) in (1..).zip(line.chars()) {
            if is_deceptive(character) {
                let message = format!(
                    "character U+{:04X} is not accepted: it is invisible or turns text around; use spaces and plain letters",
                    u32::from(character)
                );
                problems.push(Problem::error(file, number, column, message));
            }
        }
    }
    problems
}

fn snippet(text: &str, line: u64, column: u64) -> String {
    use std::fmt::Write;
    let mut shown = String::new();
    for (number, content) in (1u64..).zip(text.lines()) {
        if number + 1 >= line && number <= line {
            // Writing to a String cannot fail.
            _ = writeln!(shown, "{number:>5} | {content}");
        }
        if number == line {
            let indent = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
            _ = writeln!(shown, "      | {:indent$}^", "");
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        roles: std::collections::BTreeMap<String, Vec<String>>,
        #[serde(default)]
        flag: bool,
    }

    fn fault(text: &str) -> Problem {
        let mut problems = parse::<Sample>(Path::new("policy.yaml"), text).unwrap_err();
        problems.remove(0)
    }

    #[test]
    fn a_good_document_is_read() {
        let sample: Sample = parse(Path::new("x"), "name: a\nroles: {r: [x]}\n").unwrap();
        assert_eq!(sample.name, "a");
    }

    #[test]
    fn duplicate_keys_are_refused_at_every_level_with_their_line() {
        assert_eq!(fault("name: a\nname: b\n").line, 2);
        let nested = fault("name: a\nroles:\n  r: [x]\n  r: [y]\n");
        assert_eq!(nested.line, 4);
        assert!(nested.snippet.contains("r: [y]"), "{nested}");
    }

    #[test]
    fn ambiguous_and_deceptive_documents_are_refused() {
        for text in [
            "name: a\nunknown: 1\n",
            "name: a\n---\nname: b\n",
            "name: a\nflag: yes\n",
            "name: a\nroles:\n",
            "\u{FEFF}name: a\n",
            "name: \"a\u{202E}b\"\n",
            "name: a\u{0007}\n",
            "name: a\n\troles: {}\n",
            "base: &b {name: a}\n<<: *b\n",
            "name: a\nroles:\n  r: [x",
        ] {
            assert!(parse::<Sample>(Path::new("x"), text).is_err(), "accepted: {text:?}");
        }
    }
}
