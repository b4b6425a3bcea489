//! What an issuer is configured with, and checks of it that need no file and no network.

use super::{IntrospectionSettings, bearer};
use crate::credential::rules::IssuerRules;
use crate::credential::token;
use crate::model::problem::Problem;
use http::Uri;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The discovery document (OpenID Connect Discovery, RFC 8414), whose `issuer` must be the configured one.
    Discovery {
        /// Where it is, unless at `ISSUER/.well-known/openid-configuration`.
        url: Option<String>,
    },
    /// A JWKS document at a URL.
    Url(String),
    /// A JWKS document in a file, read at start and by [`reload_files`](super::Issuers::reload_files).
    File(PathBuf),
    /// None: its tokens are opaque, and it is asked about each.
    Introspection(IntrospectionSettings),
}

/// The configuration of one issuer.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// What its tokens must be like.
    pub rules: IssuerRules,
    /// Where its keys come from.
    pub keys: KeySource,
    /// How often the keys are fetched. They are also fetched when a token names an unknown key.
    pub refresh_interval: Duration,
    /// How long the last keys are used while no newer can be fetched.
    pub max_stale: Duration,
    /// PEM file with the certificate authorities for fetching, in place of those of the system. Read anew for each fetch.
    pub ca_file: Option<PathBuf>,
    /// File with a token to send when fetching, to the origin of the configured address only. Read anew for each fetch.
    pub bearer_token: Option<PathBuf>,
    /// Whether keys may be fetched over plain HTTP. Whoever is on the path can then make tokens: for loopback only.
    pub allow_http: bool,
}

impl IssuerSettings {
    /// Settings with every default: discovery, every 5 minutes, last keys kept for 24 hours.
    #[must_use]
    pub fn new(rules: IssuerRules) -> Self {
        Self {
            rules,
            keys: KeySource::Discovery { url: None },
            refresh_interval: Duration::from_mins(5),
            max_stale: Duration::from_hours(24),
            ca_file: None,
            bearer_token: None,
            allow_http: false,
        }
    }
}

/// Bounds on what tokens may cost.
#[derive(Clone, Copy, Debug)]
pub struct TokenLimits {
    /// The longest token accepted, in bytes.
    pub max_bytes: usize,
    /// How many verified tokens are remembered, and as many opaque ones.
    pub cached: usize,
}

impl Default for TokenLimits {
    fn default() -> Self {
        Self {
            max_bytes: token::MAX_BYTES,
            cached: 10_000,
        }
    }
}

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
