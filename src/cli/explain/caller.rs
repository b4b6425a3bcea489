//! Who makes the call that is explained: claims as given, or a token verified as for a request.

use super::{Arguments, Fault};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::credential::claims::ClaimMapping;
use crate::credential::locate::Scheme;
use crate::issuer::Issuers;
use crate::model::denial::Denial;
use crate::model::principal::Principal;
use crate::model::reason::Reason;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Runtime;

/// The caller, or why the credential is refused.
pub(super) struct Caller {
    pub(super) principal: Result<Principal, Denial>,
    pub(super) source: Source,
}

/// Where the caller's names come from.
pub(super) enum Source {
    /// Nobody looks at the credential of a public call.
    Nobody,
    /// A token, read as its issuer's configuration says.
    Token,
    /// Claims, read as the configuration of this issuer says. They may leave out `iss` if it is the only one.
    Configured { issuer: Arc<str>, named: bool },
    /// Claims, read by the default names: a policy by itself knows no issuers.
    NoConfiguration,
    /// Claims, read by the default names: their issuer is not configured.
    UnknownIssuer { issuer: Arc<str> },
}

impl Source {
    /// A word for programs.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Nobody => "none",
            Self::Token | Self::Configured { .. } => "configured",
            Self::NoConfiguration | Self::UnknownIssuer { .. } => "default",
        }
    }

    /// What to know about the caller's names.
    pub(super) fn note(&self) -> String {
        const DEFAULTS: &str = "the default names: sub, email, groups, and client_id, azp, cid or appid";
        match self {
            Self::Nobody => "the call is public: no credential is looked at".to_owned(),
            Self::Token => {
                "the token was checked as when serving; its claims are read as configured for its issuer".to_owned()
            }
            Self::Configured { issuer, named: true } => {
                format!("the claims are not verified; they are read as configured for {issuer}")
            }
            Self::Configured { issuer, named: false } => {
                format!(
                    "the claims are not verified; they name no issuer (`iss`) and are read as of the only one configured, {issuer}"
                )
            }
            Self::NoConfiguration => {
                format!("the claims are not verified; without --config they are read by {DEFAULTS}")
            }
            Self::UnknownIssuer { issuer } => format!(
                "CAUTION: the issuer `{issuer}` is not configured, so that `serve` refuses its tokens (issuer_unknown); \
                 here the claims are read by {DEFAULTS}"
            ),
        }
    }
}

impl Caller {
    pub(super) fn anonymous() -> Self {
        Self {
            principal: Ok(Principal::anonymous()),
            source: Source::Nobody,
        }
    }
}

impl Arguments {
    /// Reads the claims, or verifies the token.
    pub(super) fn caller(&self, config: Option<&Config>) -> Result<Caller, Fault> {
        if let (Some(path), Some(config)) = (&self.token, config) {
            let token = read(path)?;
            return Ok(Caller {
                principal: verify(config, token.trim())?,
                source: Source::Token,
            });
        }
        let path = self.claims.clone().unwrap_or_default();
        let claims = serde_json::from_str(&read(&path)?).map_err(|error| fault(&path, &error))?;
        let Value::Object(claims) = claims else {
            return Err(fault(&path, &"claims are a JSON object, such as {\"sub\": \"alice\"}"));
        };
        Ok(given(config, claims))
    }
}

fn read(path: &Path) -> Result<String, Fault> {
    std::fs::read_to_string(path).map_err(|error| fault(path, &error))
}

fn fault(file: &Path, fault: &dyn std::fmt::Display) -> Fault {
    Fault::Caller {
        file: PathBuf::from(file),
        fault: fault.to_string(),
    }
}

/// The caller that claims name, read by the names that go with their issuer.
fn given(config: Option<&Config>, claims: Map<String, Value>) -> Caller {
    let named = claims.get("iss").and_then(Value::as_str).map(str::to_owned);
    let issuers = config.map(|config| config.issuers.as_slice());
    let configured = match (&named, issuers) {
        (Some(name), Some(issuers)) => issuers.iter().find(|issuer| *issuer.rules.issuer == **name),
        (None, Some([only])) => Some(only),
        _ => None,
    };
    let (issuer, mapping): (Arc<str>, ClaimMapping) = match configured {
        Some(settings) => {
            let rules = &settings.rules;
            let token_type = rules.type_by_audience(&claims);
            (Arc::clone(&rules.issuer), rules.mapping(token_type).clone())
        }
        None => (named.as_deref().unwrap_or_default().into(), ClaimMapping::default()),
    };
    let source = match (configured, issuers) {
        (Some(_), _) => Source::Configured {
            issuer: Arc::clone(&issuer),
            named: named.is_some(),
        },
        (None, None) => Source::NoConfiguration,
        (None, Some(_)) => Source::UnknownIssuer {
            issuer: Arc::clone(&issuer),
        },
    };
    Caller {
        principal: mapping.principal(&issuer, &Arc::new(claims), None),
        source,
    }
}

/// The issuers as the server has them, without keys yet, and where they can be asked for some.
///
/// # Errors
/// What cannot be set up.
pub(in crate::cli) fn issuers(config: &Config) -> Result<(Runtime, Issuers), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let limits = config.credentials.limits;
    let issuers = Issuers::new(config.issuers.clone(), limits, Arc::new(SystemClock), Arc::new(()))
        .map_err(|problems| crate::cli::listed(&problems))?;
    Ok((runtime, issuers))
}

/// Verifies a token as the server does, after fetching keys: as an access token, or else as an ID token.
fn verify(config: &Config, token: &str) -> Result<Result<Principal, Denial>, Fault> {
    let (runtime, issuers) = issuers(config).map_err(Fault::Verification)?;
    Ok(runtime.block_on(async {
        issuers.refresh_all().await;
        let mut verified = issuers.verify(Scheme::Bearer, token).await;
        if let Err(Denial { reason: refused, .. }) = verified
            && matches!(refused, Reason::TokenTypeRefused | Reason::AudienceMismatch)
        {
            let id_token = issuers.verify(Scheme::IdToken, token).await;
            let says_more = |denial: &Denial| denial.reason != refused && denial.reason != Reason::TokenTypeRefused;
            if id_token.as_ref().err().is_none_or(says_more) {
                verified = id_token;
            }
        }
        verified.map(|verified| Principal::clone(&verified.principal))
    }))
}
