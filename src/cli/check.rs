//! `check`: everything the configuration names, every problem, no socket opened.

use super::{INVALID, OK, counted, errors, listed, print, test};
use crate::app::issuers;
use crate::catalog::Catalog;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Enforcement, Identity, secrets};
use crate::gate::authenticate::FixedCaller;
use crate::gate::certificate::CertificateIdentity;
use crate::model::problem::{Problem, Severity};
use crate::policy::compile::compile;
use crate::policy::{Policy, RuleName};
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
        problems.extend(match LiveTls::load(tls) {
            Ok(tls) => tls.warnings(SystemClock.unix_seconds()),
            Err(problems) => problems,
        });
    }
    problems.extend(trust::client_config(config.upstream.ca.as_deref()).err());
    problems.extend(
        secrets::cookie_keys(&config.credentials.cookie_keys)
            .err()
            .into_iter()
            .flatten(),
    );
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    problems.extend(issuers::load(&config, &clock, Arc::new(())).err().into_iter().flatten());
    let judged = check_policy(&config, &mut problems);
    let candidate = check_candidate(&config, &mut problems);
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
    let mut summary = format!("ok: {}, {}", counts.join(", "), judged.unwrap_or_default());
    summary.extend(candidate);
    if config.enforcement == Enforcement::Shadow {
        summary.push_str("; SHADOW MODE: calls that the policy refuses are forwarded");
    }
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
    problems.extend(doubtful_revocations(config, &policy));
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

/// Checks the candidate, if there is one. Its decision tests are its own affair.
fn check_candidate(config: &Config, problems: &mut Vec<Problem>) -> Option<String> {
    let path = config.policy.candidate.as_ref()?;
    match policy_files::read(path).and_then(|read| compile(&read, &config.flyte.domains)) {
        Ok((candidate, warnings)) => {
            problems.extend(warnings);
            Some(format!("; candidate: {}", counted(candidate.rules().len(), "rule")))
        }
        Err(faults) => {
            problems.extend(faults);
            None
        }
    }
}

/// Revocations that probably shut out more than was intended.
fn doubtful_revocations(config: &Config, policy: &Policy) -> Vec<Problem> {
    let warning = |item: &RuleName, message: String| Problem {
        severity: Severity::Warning,
        ..Problem::error(item.file(), item.line(), 1, message)
    };
    let mut warnings = Vec::new();
    let now = SystemClock.unix_seconds();
    for (item, _) in policy.dated_revocations().filter(|(_, time)| *time > now) {
        let message =
            "`issued_before` is in the future: until then new tokens are refused, too; write the present time";
        warnings.push(warning(item, message.to_owned()));
    }
    for listener in &config.listeners {
        let name = &listener.name;
        let (principal, whom) = match &listener.identity {
            Identity::Tokens => continue,
            Identity::Principal(settings) => {
                let caller = FixedCaller::of_listener(name, settings);
                (caller.principal().clone(), "of the listener")
            }
            Identity::ClientCertificate(settings) => {
                let identity = CertificateIdentity::of_listener(name, settings);
                (identity.common(), "with a certificate at the listener")
            }
        };
        if let Some(item) = policy.resolve(&principal, &mut ()).revoked() {
            let message = format!(
                "{} shuts out every caller {whom} `{name}`, who cannot log in again; name the `issuer` of the tokens it is about",
                item.name(),
            );
            warnings.push(warning(item, message));
        }
    }
    warnings
}
