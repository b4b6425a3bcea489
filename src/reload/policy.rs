//! The policy and the catalogue overlays: read together, compiled together, replaced together.

use super::{Fingerprint, Reloadable, What};
use crate::catalog::Catalog;
use crate::config::Config;
use crate::live::Live;
use crate::model::problem::Problem;
use crate::policy::Policy;
use crate::policy::compile::compile;
use crate::{files, policy_files};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of the policy and the overlays, and the snapshot that is made of them.
#[derive(Debug)]
pub struct PolicyFiles {
    inputs: PolicyInputs,
    live: Arc<Live>,
}

/// Where a policy and its overlays are, and the domains they are checked against.
#[derive(Clone, Debug)]
pub struct PolicyInputs {
    policy: PathBuf,
    overlays: Vec<PathBuf>,
    domains: Vec<Box<str>>,
}

/// Files with their texts.
pub type Texts = Vec<(PathBuf, String)>;

/// A policy, a catalogue, and what probably does not mean what was intended.
pub type Compiled = (Policy, Catalog, Vec<Problem>);

/// A policy that was loaded for the first time.
#[derive(Debug)]
pub struct Loaded {
    /// The snapshot in force.
    pub live: Arc<Live>,
    /// What reloads it.
    pub files: PolicyFiles,
    /// What it was made of.
    pub fingerprint: Fingerprint,
    /// What probably does not mean what was intended.
    pub warnings: Vec<Problem>,
}

impl PolicyFiles {
    /// Reads and compiles what the configuration names.
    ///
    /// # Errors
    /// Every problem.
    pub fn load(config: &Config) -> Result<Loaded, Vec<Problem>> {
        let inputs = PolicyInputs::of(config);
        let (read, (policy, catalog, warnings)) = inputs.load()?;
        let fingerprint = Fingerprint::of(&read);
        let live = Arc::new(Live::new(policy, catalog));
        let files = Self {
            inputs,
            live: Arc::clone(&live),
        };
        Ok(Loaded {
            live,
            files,
            fingerprint,
            warnings,
        })
    }
}

impl PolicyInputs {
    /// Those that the configuration names.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            policy: config.policy.path.clone(),
            overlays: config.overlays.clone(),
            domains: config.flyte.domains.clone(),
        }
    }

    /// A policy by itself, without a configuration.
    #[must_use]
    pub fn alone(policy: &Path, domains: Vec<Box<str>>) -> Self {
        Self {
            policy: policy.to_owned(),
            overlays: Vec::new(),
            domains,
        }
    }

    /// Reads and compiles. Returns the files, too. A file that cannot be read hides no problem of the others.
    ///
    /// # Errors
    /// Every file that cannot be read, and every problem of the policy and of the overlays.
    pub fn load(&self) -> Result<(Texts, Compiled), Vec<Problem>> {
        let overlays = files::read_all(&self.overlays);
        let policy = policy_files::read(&self.policy);
        match (overlays, policy) {
            (Ok(overlays), Ok(policy)) => {
                let read = together(overlays, policy);
                let compiled = self.compile(&read)?;
                Ok((read, compiled))
            }
            (overlays, policy) => {
                let overlays = overlays.and_then(|read| Catalog::with_overlays(&read).map(drop));
                let policy = policy.and_then(|read| compile(&read, &self.domains).map(drop));
                Err([overlays.err(), policy.err()].into_iter().flatten().flatten().collect())
            }
        }
    }

    /// Reads the overlays in their order, then the files of the policy.
    ///
    /// # Errors
    /// Every file that cannot be read.
    pub fn read(&self) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
        let policy = policy_files::read(&self.policy);
        match (files::read_all(&self.overlays), policy) {
            (Ok(overlays), Ok(policy)) => Ok(together(overlays, policy)),
            (overlays, policy) => Err([overlays.err(), policy.err()].into_iter().flatten().flatten().collect()),
        }
    }

    /// Compiles what was read, and returns warnings besides.
    ///
    /// # Errors
    /// Every problem of the policy and of the overlays.
    pub fn compile(&self, read: &[(PathBuf, String)]) -> Result<Compiled, Vec<Problem>> {
        let (overlays, policy) = read.split_at(self.overlays.len().min(read.len()));
        match (Catalog::with_overlays(overlays), compile(policy, &self.domains)) {
            (Ok(catalog), Ok((policy, warnings))) => Ok((policy, catalog, warnings)),
            (catalog, policy) => Err([catalog.err(), policy.err()].into_iter().flatten().flatten().collect()),
        }
    }
}

fn together(mut overlays: Texts, policy: Texts) -> Texts {
    overlays.extend(policy);
    overlays
}

impl Reloadable for PolicyFiles {
    fn what(&self) -> What {
        What::Policy
    }

    fn paths(&self) -> Vec<PathBuf> {
        let mut paths = self.inputs.overlays.clone();
        paths.push(self.inputs.policy.clone());
        paths
    }

    fn read(&self) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
        self.inputs.read()
    }

    fn free_unused(&self) {
        self.live.free_unused();
    }

    fn apply(&self, files: &[(PathBuf, String)]) -> Result<Vec<Problem>, Vec<Problem>> {
        let (policy, catalog, warnings) = self.inputs.compile(files)?;
        self.live.replace(policy, catalog);
        Ok(warnings)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::reload::Reloader;
    use std::fs;
    use std::path::Path;
    use std::time::{Duration, Instant};

    const CONFIG: &str = "\
version: 1
listeners: [{name: public, address: 127.0.0.1:0}]
upstream: {grpc: http://127.0.0.1:8089, http: http://127.0.0.1:8088}
issuers: [{issuer: https://idp.example.com, audiences: [flyte]}]
policy: {path: policy, poll: 1h}
catalog: {overlays: [overlay.yaml]}
";

    const OVERLAY: &str = "version: 1\ngeneration: flyte1\npages: [{path: /our-plugin, methods: [GET]}]\n";

    fn policy(rule: &str) -> String {
        format!(
            "version: 1\nrules:\n  - name: {rule}\n    subjects: [{{groups: [ml]}}]\n    allow: [{{projects: [ml], domains: [development], role: viewer}}]\n"
        )
    }

    fn load(directory: &Path) -> Result<Loaded, Vec<Problem>> {
        let (config, _) = Config::parse(&directory.join("config.yaml"), CONFIG).unwrap();
        PolicyFiles::load(&config)
    }

    #[test]
    fn every_problem_of_policy_and_overlays_is_reported_at_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let count = || load(directory.path()).unwrap_err().len();
        assert_eq!(count(), 2);
        fs::create_dir(directory.path().join("policy")).unwrap();
        fs::write(directory.path().join("policy/a.yaml"), "version: 1\nrules: 7\n").unwrap();
        fs::write(directory.path().join("overlay.yaml"), "nonsense: 1\n").unwrap();
        let problems = load(directory.path()).unwrap_err();
        assert_eq!(problems.first().unwrap().file, directory.path().join("overlay.yaml"));
        assert_eq!(problems.last().unwrap().file, directory.path().join("policy/a.yaml"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn requests_always_find_a_policy_while_it_is_replaced_broken_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy/a.yaml");
        fs::create_dir(directory.path().join("policy")).unwrap();
        fs::write(&file, policy("rule-0")).unwrap();
        fs::write(directory.path().join("overlay.yaml"), OVERLAY).unwrap();
        let Loaded {
            live,
            files,
            fingerprint,
            warnings,
        } = load(directory.path()).unwrap();
        assert_eq!(warnings, []);
        let reloader = Reloader::new(
            vec![(Arc::new(files), fingerprint)],
            Duration::from_hours(1),
            Arc::new(()),
        );
        let task = tokio::spawn(reloader.run());
        let before = live.load();
        assert!(before.catalog.lookup_page("/our-plugin").is_some());
        for generation in 1..4 {
            fs::write(&file, "version: 1\nrules: [").unwrap();
            fs::remove_file(&file).unwrap();
            fs::write(&file, policy(&format!("rule-{generation}"))).unwrap();
            let deadline = Instant::now() + Duration::from_secs(20);
            loop {
                let snapshot = live.load();
                let rule = snapshot.policy.rules().next().unwrap().name().to_owned();
                assert_eq!(rule, format!("rule-{}", snapshot.generation - 1));
                if snapshot.generation == generation + 1 {
                    break;
                }
                assert!(Instant::now() < deadline);
                tokio::task::yield_now().await;
            }
        }
        // What a request has begun with, it keeps.
        assert_eq!(before.generation, 1);
        task.abort();
    }
}
