//! Checks of issuer settings that need no file and no network.

use super::{IssuerSettings, KeySource};
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
        match &one.keys {
            KeySource::Discovery { url } => {
                let url = url.as_deref().unwrap_or(&rules.issuer);
                checked_url(url, one.allow_http).map_or_else(|fault| report(fault), drop);
            }
            KeySource::Url(url) => checked_url(url, one.allow_http).map_or_else(|fault| report(fault), drop),
            KeySource::File(_) => {}
        }
    }
    problems
}

/// A URL that keys may be fetched from.
pub(super) fn checked_url(text: &str, allow_http: bool) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| format!("`{text}` is not a URL"))?;
    let scheme = uri.scheme_str();
    let Some(authority) = uri.authority() else {
        return Err(format!("`{text}` is not an absolute URL"));
    };
    if authority.as_str().contains('@') {
        return Err("a URL for keys must have no user name or password".to_owned());
    }
    match scheme {
        Some("https") => Ok(uri),
        Some("http") if allow_http => Ok(uri),
        _ => Err(format!(
            "`{text}` is not an https URL; keys fetched without TLS can be anyone's"
        )),
    }
}
