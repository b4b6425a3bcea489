//! Reading the files that the configuration names: text, bounded, regular files only.

use crate::document;
use crate::model::problem::Problem;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Reads a file as UTF-8 text.
///
/// # Errors
/// If it is missing, no regular file (a pipe would never end), over [`document::MAX_BYTES`], or not UTF-8.
pub fn read(path: &Path) -> Result<String, Problem> {
    String::from_utf8(bytes(path)?).map_err(|_| Problem::error(path, 0, 0, "is not UTF-8 text"))
}

/// Reads a PEM file. What is not ASCII stands outside of its blocks and means nothing (RFC 7468 section 2): it may be in
/// any encoding, and is replaced where it is not UTF-8.
///
/// # Errors
/// If it is missing, no regular file, or over [`document::MAX_BYTES`].
pub fn read_pem(path: &Path) -> Result<String, Problem> {
    bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn bytes(path: &Path) -> Result<Vec<u8>, Problem> {
    let refused = |message: String| Problem::error(path, 0, 0, message);
    let unreadable = |error: io::Error| refused(format!("cannot be read: {error}"));
    // Looked at before opening: opening a pipe waits for somebody to write.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(refused("is no regular file".to_owned()));
    }
    let limit = document::MAX_BYTES as u64 + 1;
    // One more than there is, so that the end is found without growing.
    let expected = metadata.len().saturating_add(1).min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    File::open(path)
        .map_err(unreadable)?
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > document::MAX_BYTES {
        return Err(refused(format!("has more than {} bytes", document::MAX_BYTES)));
    }
    Ok(bytes)
}

/// Reads several files of text.
///
/// # Errors
/// Every file that cannot be read.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
    read_each(paths, read)
}

/// Reads several files, each in this way.
///
/// # Errors
/// Every file that cannot be read.
pub fn read_each(
    paths: &[PathBuf],
    read: impl Fn(&Path) -> Result<String, Problem>,
) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        match read(path) {
            Ok(text) => files.push((path.clone(), text)),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}
