//! A listener's certificates and keys, and the authorities of its clients.

use super::{Reloadable, What};
use crate::clock::Clock;
use crate::files;
use crate::model::problem::Problem;
use crate::tls::LiveTls;
use std::path::PathBuf;
use std::sync::Arc;

/// The certificate files of one listener.
#[derive(Debug)]
pub struct CertificateFiles {
    /// What they are loaded into.
    pub tls: Arc<LiveTls>,
    /// Tells which are out of their time.
    pub clock: Arc<dyn Clock>,
}

impl Reloadable for CertificateFiles {
    fn what(&self) -> What {
        What::Certificate
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.tls.files()
    }

    fn read(&self) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
        files::read_each(&self.paths(), files::read_pem)
    }

    fn apply(&self, _: &[(PathBuf, String)]) -> Result<Vec<Problem>, Vec<Problem>> {
        self.tls.reload()?;
        Ok(self.tls.warnings(self.clock.unix_seconds()))
    }
}
