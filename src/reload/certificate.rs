//! A listener's certificate and key, and the authorities of its clients.

use super::{Reloadable, What};
use crate::files;
use crate::model::problem::Problem;
use crate::tls::LiveTls;
use std::path::PathBuf;
use std::sync::Arc;

/// The certificate files of one listener.
#[derive(Debug)]
pub struct CertificateFiles(pub Arc<LiveTls>);

impl Reloadable for CertificateFiles {
    fn what(&self) -> What {
        What::Certificate
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.0.files()
    }

    fn read(&self) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
        files::read_each(&self.paths(), files::read_pem)
    }

    fn apply(&self, _: Vec<(PathBuf, String)>) -> Result<Vec<Problem>, Vec<Problem>> {
        self.0.reload().map(|()| Vec::new())
    }
}
