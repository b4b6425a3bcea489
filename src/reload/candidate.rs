//! The candidate policy: loaded and reloaded by itself, so that a broken one touches nothing else.

use super::{Fingerprint, Reloadable, What};
use crate::config::Config;
use crate::live::Live;
use crate::model::problem::Problem;
use crate::policy::compile::compile;
use crate::policy_files;
use std::path::PathBuf;
use std::sync::Arc;

/// The files of the candidate, and the snapshot that it is put into.
#[derive(Debug)]
pub struct CandidateFiles {
    path: PathBuf,
    domains: Vec<Box<str>>,
    live: Arc<Live>,
}

impl CandidateFiles {
    /// The candidate that the configuration names, tried beside the policy in force from now on. One that cannot be used
    /// yet stops nothing: what is wrong with it is reported at the first look of the reloader, which tries it again.
    #[must_use]
    pub fn load(config: &Config, live: &Arc<Live>) -> Option<(Self, Fingerprint)> {
        let files = Self {
            path: config.policy.candidate.clone()?,
            domains: config.flyte.domains.clone(),
            live: Arc::clone(live),
        };
        let loaded = files.read().and_then(|read| {
            let warnings = files.apply(&read)?;
            Ok((Fingerprint::of(&read), warnings))
        });
        let (fingerprint, warnings) = loaded.unwrap_or_else(|_| (Fingerprint::of(&[]), Vec::new()));
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Some((files, fingerprint))
    }
}

impl Reloadable for CandidateFiles {
    fn what(&self) -> What {
        What::Candidate
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn read(&self) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
        policy_files::read(&self.path)
    }

    fn apply(&self, files: &[(PathBuf, String)]) -> Result<Vec<Problem>, Vec<Problem>> {
        let (policy, warnings) = compile(files, &self.domains)?;
        self.live.put_beside(policy);
        Ok(warnings)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::catalog::Catalog;
    use crate::live::RightsCell;
    use crate::model::principal::{Principal, PrincipalKind};
    use std::fs;
    use std::path::Path;

    const GOOD: &str = "version: 1\nrules: [{name: r, subjects: [{anyone: true}], allow: [{projects: [ml], domains: [staging], role: viewer}]}]\n";

    fn live() -> Arc<Live> {
        let (policy, _) = compile(&[], &["staging".into()]).unwrap();
        Arc::new(Live::new(policy, Catalog::builtin().unwrap()))
    }

    fn config(directory: &Path) -> Config {
        let text = "version: 1\nlisteners: [{name: public, address: 127.0.0.1:0}]\n\
            upstream: {grpc: http://127.0.0.1:8089, http: http://127.0.0.1:8088}\n\
            issuers: [{issuer: https://idp.example.com, audiences: [flyte]}]\npolicy: {path: policy.yaml, candidate: next.yaml}\n";
        Config::parse(&directory.join("config.yaml"), text).unwrap().0
    }

    #[test]
    fn a_candidate_that_is_missing_or_broken_stops_nothing_and_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let live = live();
        for text in [None, Some("version: 1\nrules: 7\n")] {
            if let Some(text) = text {
                fs::write(directory.path().join("next.yaml"), text).unwrap();
            }
            let (files, fingerprint) = CandidateFiles::load(&config(directory.path()), &live).unwrap();
            assert_eq!(fingerprint, Fingerprint::of(&[]));
            assert!(live.load().candidate.is_none());
            assert!(files.read().and_then(|read| files.apply(&read)).is_err());
        }
        fs::write(directory.path().join("next.yaml"), GOOD).unwrap();
        let (files, fingerprint) = CandidateFiles::load(&config(directory.path()), &live).unwrap();
        assert_eq!(fingerprint, Fingerprint::of(&files.read().unwrap()));
        let snapshot = live.load();
        let candidate = snapshot.candidate.as_ref().unwrap();
        assert_eq!((snapshot.generation, candidate.generation), (1, 1));
        assert_eq!((snapshot.policy.rules().len(), candidate.policy.rules().len()), (0, 1));
        // Broken afterwards, the last good one stays.
        let broken = vec![(directory.path().join("next.yaml"), "rules: 7".to_owned())];
        assert!(files.apply(&broken).is_err());
        assert_eq!(live.load().candidate.as_ref().unwrap().policy.rules().len(), 1);
    }

    #[test]
    fn rights_under_both_are_kept_apart_and_resolved_anew_for_another_candidate() {
        let live = live();
        let candidate = |text: &str| {
            let (policy, _) = compile(&[("next.yaml".into(), text.to_owned())], &["staging".into()]).unwrap();
            live.put_beside(policy);
        };
        let caller = Principal {
            kind: PrincipalKind::Token,
            ..Principal::anonymous()
        };
        let cell = RightsCell::default();
        candidate(GOOD);
        for (text, rules) in [(GOOD, 1), ("version: 1\n", 0)] {
            candidate(text);
            let snapshot = live.load();
            let beside = snapshot.candidate.as_ref().unwrap();
            let rights = cell.under_candidate(beside, &caller);
            assert_eq!(rights.applied_rules().len(), rules);
            assert!(Arc::ptr_eq(&rights, &cell.under_candidate(beside, &caller)));
            assert_eq!(cell.under(&snapshot, &caller).applied_rules().len(), 0);
        }
        assert_eq!(live.load().candidate.as_ref().unwrap().generation, 3);
    }
}
