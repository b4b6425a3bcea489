//! Which policy a command is about, and what it is judged with.

use crate::config::Config;
use crate::model::problem::Problem;
use crate::policy::Policy;
use crate::policy::compile::compile;
use crate::policy_files;
use std::path::{Path, PathBuf};

/// Domains: those of a configuration, or as told.
#[derive(Debug, clap::Args)]
pub struct DomainArguments {
    /// The configuration file: its domains are used.
    #[arg(long, value_name = "FILE", conflicts_with = "domains")]
    config: Option<PathBuf>,
    /// The domains that exist.
    #[arg(long, value_delimiter = ',', default_value = "development,staging,production")]
    domains: Vec<String>,
}

/// A policy by itself, or that of a configuration.
#[derive(Debug, clap::Args)]
pub struct PolicyArguments {
    /// The configuration file: its domains are used, and its policy unless `--policy` names another.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "policy",
        conflicts_with = "domains"
    )]
    config: Option<PathBuf>,
    /// A policy file or directory.
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    /// The domains that exist, without a configuration.
    #[arg(long, value_delimiter = ',', default_value = "development,staging,production")]
    domains: Vec<String>,
}

fn boxed(domains: &[String]) -> Vec<Box<str>> {
    domains.iter().map(|domain| domain.as_str().into()).collect()
}

fn load(path: &Path, domains: &[Box<str>]) -> Result<Policy, Vec<Problem>> {
    let (policy, _) = compile(&policy_files::read(path)?, domains)?;
    Ok(policy)
}

impl DomainArguments {
    /// Reads both policies.
    ///
    /// # Errors
    /// Every problem of the configuration, or of both policies.
    pub(super) fn both(&self, old: &Path, new: &Path) -> Result<(Policy, Policy), Vec<Problem>> {
        let domains = match &self.config {
            Some(config) => Config::load(config)?.0.flyte.domains,
            None => boxed(&self.domains),
        };
        match (load(old, &domains), load(new, &domains)) {
            (Ok(old), Ok(new)) => Ok((old, new)),
            (old, new) => Err([old.err(), new.err()].into_iter().flatten().flatten().collect()),
        }
    }
}

impl PolicyArguments {
    /// Reads the policy.
    ///
    /// # Errors
    /// Every problem of the configuration, or of the policy.
    pub(super) fn policy(&self) -> Result<Policy, Vec<Problem>> {
        let config = self
            .config
            .as_deref()
            .map(Config::load)
            .transpose()?
            .map(|(config, _)| config);
        let domains = match &config {
            Some(config) => config.flyte.domains.clone(),
            None => boxed(&self.domains),
        };
        let configured = config.map(|config| config.policy.path);
        load(&self.policy.clone().or(configured).unwrap_or_default(), &domains)
    }
}
