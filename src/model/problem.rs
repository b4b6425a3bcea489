//! What is wrong with a document (configuration, policy, catalogue, key set) and where.

use std::fmt;
use std::path::PathBuf;

/// One fault in a document. Loading collects all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as the user named it.
    pub file: PathBuf,
    /// Line, from 1; 0 when the fault has no place in the file (the file cannot be read, say).
    pub line: u64,
    /// Column, from 1; 0 with line 0.
    pub column: u64,
    /// What is wrong and what to write instead: lower case, no full stop, user input in backticks.
    pub message: String,
    /// The lines around the fault with a marker, or empty.
    pub snippet: String,
    /// Whether the document is unusable because of it.
    pub severity: Severity,
}

/// Whether a document with this fault can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It can not.
    Error,
    /// It can, but probably does not mean what was intended.
    Warning,
}

impl Problem {
    /// An error at a place in a file.
    pub fn error(file: impl Into<PathBuf>, line: u64, column: u64, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line,
            column,
            message: message.into(),
            snippet: String::new(),
            severity: Severity::Error,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, ": {word}: {}", self.message)?;
        if !self.snippet.is_empty() {
            write!(f, "\n{}", self.snippet.trim_end())?;
        }
        Ok(())
    }
}
