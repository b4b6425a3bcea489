//! Key set files of issuers.

use super::{Reloadable, What};
use crate::files;
use crate::issuer::Issuers;
use crate::model::problem::Problem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The key set files of every issuer that has one.
#[derive(Debug)]
pub struct KeySetFiles(pub Arc<Issuers>);

impl Reloadable for KeySetFiles {
    fn what(&self) -> What {
        What::KeySet
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.0.files().map(Path::to_owned).collect()
    }

    fn read(&self) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
        files::read_all(&self.paths())
    }

    /// Each issuer reads its own file again; one that is broken does not hold up the others.
    fn apply(&self, _: Vec<(PathBuf, String)>) -> Result<Vec<Problem>, Vec<Problem>> {
        let problems = self.0.reload_files();
        if problems.is_empty() {
            Ok(Vec::new())
        } else {
            Err(problems)
        }
    }
}
