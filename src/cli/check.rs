//! `check`: everything the configuration names, every problem, no socket opened.

use super::{INVALID, OK, print, report, test};
use crate::clock::SystemClock;
use crate::config::{Config, secrets};
use crate::issuer::Issuers;
use crate::model::problem::{Problem, Severity};
use crate::reload::policy::PolicyInputs;
use crate::tls::LiveTls;
use crate::trust;
use std::path::Path;
use std::sync::Arc;

/// Checks the configuration, policy, decision tests, overlays, certificates and key files.
pub(super) fn run(path: &Path) -> u8 {
    let (problems, summary) = check(path);
    if report(&problems) {
        return INVALID;
    }
    print(&summary);
    OK
}

fn check(path: &Path) -> (Vec<Problem>, String) {
    let (config, mut problems) = match Config::load(path) {
        Ok(loaded) => loaded,
        Err(problems) => return (problems, String::new()),
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
    let files = PolicyInputs::of(&config);
    let mut summary = String::new();
    match files.read().and_then(|read| files.compile(read)) {
        Ok((policy, catalog, warnings)) => {
            problems.extend(warnings);
            let mut outcome = test::run_beside(&config.policy.path, &policy, &catalog);
            summary = format!(
                "ok: {} listeners, {} issuers, {} rules, {} decision tests passed, {} RPCs in the catalogue\n",
                config.listeners.len(),
                config.issuers.len(),
                policy.rules().len(),
                outcome.passed,
                catalog.routes.len(),
            );
            problems.append(&mut outcome.problems);
        }
        Err(more) => problems.extend(more),
    }
    problems.sort_by_key(|problem| problem.severity != Severity::Error);
    (problems, summary)
}
