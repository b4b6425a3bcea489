//! Where audit lines end up: standard output, or a file that can be opened anew after it was renamed.

use crate::config::AuditOutput;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// An open output.
pub struct Output {
    open: Box<dyn Write + Send>,
    /// The file to open again; none for what has no name.
    path: Option<PathBuf>,
}

impl Output {
    /// Opens the configured output.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(output: &AuditOutput) -> io::Result<Self> {
        Ok(match output {
            AuditOutput::Stdout => Self::from(Box::new(io::stdout()) as Box<dyn Write + Send>),
            AuditOutput::File(path) => Self {
                open: Box::new(append(path)?),
                path: Some(path.clone()),
            },
        })
    }

    #[cfg(test)]
    pub(super) fn of(open: Box<dyn Write + Send>, path: PathBuf) -> Self {
        Self { open, path: Some(path) }
    }

    /// Opens the file of that name again, which may be another one now. What has no name stays as it is.
    ///
    /// # Errors
    /// When it cannot be opened; the one that is open stays.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.open = Box::new(append(path)?);
        }
        Ok(())
    }

    /// Writes some of the bytes, at least one, and says how many.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.open.write(bytes) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            written => written,
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.open.flush()
    }
}

impl From<Box<dyn Write + Send>> for Output {
    fn from(open: Box<dyn Write + Send>) -> Self {
        Self { open, path: None }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}
