//! Checks of issuer settings that need no file and no network.

use super::{IssuerSettings, KeySource, bearer};
use crate::model::problem::Problem;
use http::Uri;
use std::collections::HashSet;
use std::time::Duration;

/// A fault of the issuer at that position. Its file is the place in the configuration.
pub(super) fn problem(index: usize, message: impl Into<String>) -> Problem {
    Problem::error(format!("issuers[{index}]"), 0, 0, message)
}

/// Every setting that makes no sense.
pub(super) fn check(settings: &[IssuerSettings]) -> Vec<Problem> {
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    let opaque = |one: &&IssuerSettings| matches!(one.keys, KeySource::Introspection(_));
    if settings.iter().filter(opaque).count() > 1 {
        let message = "an opaque token does not say whose it is; only one issuer can have `introspection`";
        problems.push(Problem::error("issuers", 0, 0, message));
    }
    for (index, one) in settings.iter().enumerate() {
        let mut report = |message: String| problems.push(problem(index, message));
        let rules = &one.rules;
        if rules.issuer.is_empty() {
            report("`issuer` is empty; write the exact `iss` of its tokens".to_owned());
        }
        if !seen.insert(&rules.issuer) {
            report(format!("issuer `{}` is configured twice; merge the two", rules.issuer));
        }
        for (name, missing) in [
            (
                "audiences",
                rules.audiences.is_empty() || rules.audiences.iter().any(String::is_empty),
            ),
            ("algorithms", rules.algorithms.is_empty()),
            ("token_types", rules.token_types.is_empty()),
        ] {
            if missing {
                report(format!(
                    "`{name}` is empty or has an empty entry; tokens of this issuer would fit nothing"
                ));
            }
        }
        if rules.leeway > 600 {
            report(format!(
                "a leeway of {} s is too long; at most 600 s are accepted",
                rules.leeway
            ));
        }
        if one.refresh_interval < Duration::from_secs(1) || one.max_stale < one.refresh_interval {
            report("the refresh interval must be at least 1 s and at most the time stale keys are kept".to_owned());
        }
        if let Some(fault) = bearer::fault(one) {
            report(fault.to_owned());
        }
        let url = match &one.keys {
            KeySource::Discovery { url } => Some(url.as_deref().unwrap_or(&rules.issuer)),
            KeySource::Url(url) => Some(url.as_str()),
            KeySource::Introspection(asked) => Some(asked.url.as_str()),
            KeySource::File(_) => None,
        };
        if let Some(Err(fault)) = url.map(|url| checked_url(url, one.allow_http)) {
            report(fault);
        }
    }
    problems
}

/// A URL that keys may be fetched from or tokens shown to. It may come from a discovery document, so it is shown escaped and cut.
pub(super) fn checked_url(text: &str, allow_http: bool) -> Result<Uri, String> {
    if text.contains('@') {
        return Err("the URL must have no user name, no password and no `@`".to_owned());
    }
    let shown: String = text.chars().take(200).flat_map(char::escape_debug).collect();
    let uri: Uri = text.parse().map_err(|_| format!("`{shown}` is not an absolute URL"))?;
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if allow_http => Ok(uri),
        Some(_) => Err(format!(
            "`{shown}` is not an https URL; what comes without TLS can be anyone's"
        )),
        None => Err(format!("`{shown}` is not an absolute URL")),
    }
}
