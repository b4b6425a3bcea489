//! What is loaded from files, at the start and whenever they change: one way for `serve`, `check`, `explain` and `test`.

use crate::catalog::Catalog;
use crate::config::Config;
use crate::files;
use crate::issuer::Issuers;
use crate::listener::tls::LiveTls;
use crate::live::Live;
use crate::model::problem::Problem;
use crate::policy::{self, Policy};
use crate::policy_files;
use crate::reload::{Reloadable, What};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The text of files, by path.
pub type Files = Vec<(PathBuf, String)>;

/// Where the policy and the catalogue overlays are, and what they are checked against.
#[derive(Clone, Debug)]
pub struct PolicyFiles {
    path: PathBuf,
    overlays: Vec<PathBuf>,
    domains: Vec<Box<str>>,
}

impl PolicyFiles {
    /// Those that the configuration names.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            path: config.policy.path.clone(),
            overlays: config.overlays.clone(),
            domains: config.flyte.domains.clone(),
        }
    }

    /// A policy by itself, without a configuration.
    #[must_use]
    pub fn alone(path: &Path, domains: Vec<Box<str>>) -> Self {
        Self { path: path.to_owned(), overlays: Vec::new(), domains }
    }

    /// Reads every file.
    ///
    /// # Errors
    /// Every file that cannot be read.
    pub fn read(&self) -> Result<Files, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut read = policy_files::read(&self.path).unwrap_or_else(|more| {
            problems.extend(more);
            Vec::new()
        });
        for overlay in &self.overlays {
            match files::read(overlay) {
                Ok(text) => read.push((overlay.clone(), text)),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(read) } else { Err(problems) }
    }

    /// Compiles what was read, and returns warnings besides.
    ///
    /// # Errors
    /// Every problem of the policy and of the overlays.
    pub fn compile(&self, files: Files) -> Result<(Policy, Arc<Catalog>, Vec<Problem>), Vec<Problem>> {
        let (overlays, policies): (Files, Files) = files.into_iter().partition(|(path, _)| self.overlays.contains(path));
        let catalog = Catalog::with_overlays(&overlays);
        let policy = policy::compile::compile(&policies, &self.domains);
        match (catalog, policy) {
            (Ok(catalog), Ok((policy, warnings))) => Ok((policy, Arc::new(catalog), warnings)),
            (catalog, policy) => Err(catalog.err().into_iter().chain(policy.err()).flatten().collect()),
        }
    }
}

/// Puts a changed policy or overlay in force.
#[derive(Debug)]
pub struct LivePolicy {
    /// What to read.
    pub files: PolicyFiles,
    /// What to replace.
    pub live: Arc<Live>,
}

impl Reloadable for LivePolicy {
    fn what(&self) -> What {
        What::Policy
    }

    fn paths(&self) -> Vec<PathBuf> {
        std::iter::once(&self.files.path).chain(&self.files.overlays).cloned().collect()
    }

    fn read(&self) -> Result<Files, Vec<Problem>> {
        self.files.read()
    }

    fn apply(&self, files: Files) -> Result<Vec<Problem>, Vec<Problem>> {
        let (policy, catalog, warnings) = self.files.compile(files)?;
        let version = policy.version().to_owned();
        let generation = self.live.replace(policy, catalog);
        tracing::info!(generation, version, "a changed policy is in force");
        Ok(warnings)
    }
}

/// Puts a listener's changed certificate in force.
#[derive(Debug)]
pub struct LiveCertificate(pub Arc<LiveTls>);

impl Reloadable for LiveCertificate {
    fn what(&self) -> What {
        What::Certificate
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.0.files().to_vec()
    }

    fn read(&self) -> Result<Files, Vec<Problem>> {
        read_all(&self.paths())
    }

    fn apply(&self, _files: Files) -> Result<Vec<Problem>, Vec<Problem>> {
        self.0.reload().map(|()| Vec::new())
    }
}

/// Puts changed key set files in force.
#[derive(Debug)]
pub struct LiveKeyFiles {
    /// Who uses them.
    pub issuers: Arc<Issuers>,
    /// The files.
    pub paths: Vec<PathBuf>,
}

impl Reloadable for LiveKeyFiles {
    fn what(&self) -> What {
        What::KeySet
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.paths.clone()
    }

    fn read(&self) -> Result<Files, Vec<Problem>> {
        read_all(&self.paths)
    }

    fn apply(&self, _files: Files) -> Result<Vec<Problem>, Vec<Problem>> {
        let problems = self.issuers.reload_files();
        if problems.is_empty() { Ok(Vec::new()) } else { Err(problems) }
    }
}

/// Reads files, reporting every one that cannot be.
///
/// # Errors
/// Every file that cannot be read.
pub fn read_all(paths: &[PathBuf]) -> Result<Files, Vec<Problem>> {
    let (read, failed): (Vec<_>, Vec<_>) = paths
        .iter()
        .map(|path| files::read(path).map(|text| (path.clone(), text)))
        .partition(Result::is_ok);
    let problems: Vec<Problem> = failed.into_iter().filter_map(Result::err).collect();
    if problems.is_empty() { Ok(read.into_iter().filter_map(Result::ok).collect()) } else { Err(problems) }
}
