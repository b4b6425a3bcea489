//! `check`: everything the configuration names, every problem, no socket opened.

use super::{INVALID, OK, counted, errors, listed, print, test};
use crate::catalog::Catalog;
use crate::clock::SystemClock;
use crate::config::{Config, secrets};
use crate::issuer::Issuers;
use crate::model::problem::Problem;
use crate::policy::compile::compile;
use crate::tls::LiveTls;
use crate::{files, policy_files, trust};
use std::path::Path;
use std::sync::Arc;

/// Checks the configuration, policy, decision tests, overlays, certificates and key files.
pub(super) fn run(path: &Path) -> u8 {
    let (problems, summary) = check(path);
    print(&listed(&problems));
    print(&format!("{summary}\n"));
    if errors(&problems) > 0 { INVALID } else { OK }
}

/// Every problem, and what to say in closing.
fn check(path: &Path) -> (Vec<Problem>, String) {
    let (config, mut problems) = match Config::load(path) {
        Ok(loaded) => loaded,
        Err(problems) => {
            return (
                problems,
                "not ok: what the configuration names was not looked at".to_owned(),
            );
        }
    };
    for tls in config.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        problems.extend(LiveTls::load(tls).err().into_iter().flatten());
    }
    problems.extend(trust::client_config(config.upstream.ca.as_deref()).err());
    problems.extend(
        secrets::cookie_keys(&config.credentials.cookie_keys)
            .err()
            .into_iter()
            .flatten(),
    );
    let issuers = Issuers::new(
        config.issuers.clone(),
        config.credentials.limits,
        Arc::new(SystemClock),
        Arc::new(()),
    );
    problems.extend(issuers.err().into_iter().flatten());
    let judged = check_policy(&config, &mut problems);
    if errors(&problems) > 0 {
        let summary = match judged {
            Some(_) => "not ok",
            None => "not ok: the policy's decision tests were not run, since it cannot be used",
        };
        return (problems, summary.to_owned());
    }
    let counts = [
        counted(config.listeners.len(), "listener"),
        counted(config.issuers.len(), "issuer"),
    ];
    let summary = format!("ok: {}, {}", counts.join(", "), judged.unwrap_or_default());
    (problems, summary)
}

/// Checks policy, overlays and decision tests, each also when another is broken. Returns what there is; `None` if the
/// policy cannot be used.
fn check_policy(config: &Config, problems: &mut Vec<Problem>) -> Option<String> {
    let overlays = files::read_all(&config.overlays).and_then(|read| Catalog::with_overlays(&read));
    let policy = policy_files::read(&config.policy.path).and_then(|read| compile(&read, &config.flyte.domains));
    // Without its overlays the catalogue still knows the RPCs that most tests name.
    let catalog = overlays.or_else(|faults| {
        problems.extend(faults);
        Catalog::builtin()
    });
    let (policy, catalog) = match (policy, catalog) {
        (Ok((policy, warnings)), Ok(catalog)) => {
            problems.extend(warnings);
            (policy, catalog)
        }
        (policy, catalog) => {
            problems.extend([policy.err(), catalog.err()].into_iter().flatten().flatten());
            return None;
        }
    };
    let mut outcome = test::run_beside(&config.policy.path, &policy, &catalog);
    problems.append(&mut outcome.problems);
    let mut counts = vec![
        counted(policy.rules().len(), "rule"),
        format!("{} passed", counted(outcome.passed, "decision test")),
        format!("{} in the catalogue", counted(catalog.routes.len(), "RPC")),
    ];
    if policy.revocations().len() > 0 {
        counts.insert(1, counted(policy.revocations().len(), "revocation"));
    }
    Some(counts.join(", "))
}
