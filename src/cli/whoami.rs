//! `whoami`: what the proxy makes of a token, and what the policy says about its owner; by the code that serves.

use super::{DENIED, FAILED, Format, INVALID, OK, explain, listed, print, print_error};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::issuer::Issuers;
use crate::model::denial::Denial;
use crate::model::problem::Problem;
use crate::model::reason::{Blame, Reason};
use crate::policy::Policy;
use crate::reload::policy::PolicyInputs;
use crate::whoami::{self, Whoami};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

mod render;

/// More than any token that a configuration can accept.
const MAX_INPUT: u64 = 2 << 20;

/// Whose token to look at.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration file: its issuers, policy and domains are used.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A file with the token, `-` for standard input: alone, or as it is sent in `authorization`, such as `IDToken TOKEN`.
    /// A token alone is taken for a bearer token.
    #[arg(long, value_name = "FILE", default_value = "-")]
    token_file: PathBuf,
    /// Show the values of all claims, too, not only their names. Who reads them learns what the issuer knows of the caller.
    #[arg(long)]
    claims: bool,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What came out.
struct Answer {
    found: Result<Whoami, Denial>,
    /// What the operator can do about a refusal.
    advice: Vec<String>,
    /// In seconds since the Unix epoch.
    now: u64,
    with_values: bool,
}

/// Looks at one token.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let (config, policy) = match arguments.setting() {
        Ok(setting) => setting,
        Err(problems) => {
            print_error(&listed(&problems));
            return INVALID;
        }
    };
    match arguments.ask(&config, &policy) {
        Ok(answer) => {
            print(&match arguments.format {
                Format::Text => answer.text(),
                Format::Json => format!("{:#}\n", answer.json()),
            });
            answer.exit_code()
        }
        Err(fault) => {
            print_error(&format!("error: {fault}\n"));
            FAILED
        }
    }
}

impl Arguments {
    fn setting(&self) -> Result<(Config, Policy), Vec<Problem>> {
        let (config, _) = Config::load(&self.config)?;
        let (_, (policy, _, _)) = PolicyInputs::of(&config).load()?;
        Ok((config, policy))
    }

    fn ask(&self, config: &Config, policy: &Policy) -> Result<Answer, String> {
        let headers = headers(&self.token_file)?;
        let (runtime, issuers) = explain::caller::issuers(config)?;
        let found = runtime.block_on(async {
            issuers.refresh_all().await;
            whoami::whoami(&headers, &issuers, policy).await
        });
        let advice = found.as_ref().err().map(|denial| advice(denial.reason, &issuers));
        Ok(Answer {
            found,
            advice: advice.unwrap_or_default(),
            now: SystemClock.unix_seconds(),
            with_values: self.claims,
        })
    }
}

impl Answer {
    fn exit_code(&self) -> u8 {
        match &self.found {
            Ok(whoami) if whoami.summary.revoked.is_none() => OK,
            Err(denial) if denial.reason.blame() != Blame::Client => FAILED,
            Ok(_) | Err(_) => DENIED,
        }
    }
}

/// The headers of a request with the token that a file holds.
fn headers(path: &Path) -> Result<HeaderMap, String> {
    let fault = |fault: &dyn std::fmt::Display| format!("{}: {fault}", path.display());
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| fault(&error))?)
    };
    let mut text = String::new();
    input
        .take(MAX_INPUT)
        .read_to_string(&mut text)
        .map_err(|error| fault(&error))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(fault(&"there is no token in it"));
    }
    let value = if text.contains(' ') {
        text.to_owned()
    } else {
        format!("Bearer {text}")
    };
    let mut value =
        HeaderValue::from_str(&value).map_err(|_| fault(&"what is in it is no token, nor a header with one"))?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
}

/// What to look at or change, where the message of the refusal does not say.
fn advice(reason: Reason, issuers: &Issuers) -> Vec<String> {
    let status = issuers.status();
    let advice = match reason {
        Reason::IssuerUnknown => {
            let known: Vec<&str> = status.iter().map(|issuer| &*issuer.issuer).collect();
            return vec![format!(
                "configured under `issuers` are: {}; every letter counts, also a `/` at the end",
                known.join(", ")
            )];
        }
        Reason::KeysUnavailable | Reason::KeyUnknown => {
            let failed = status.into_iter().filter_map(|issuer| {
                let error = issuer.last_error?;
                Some(format!("the keys of {} could not be fetched: {error}", issuer.issuer))
            });
            return failed.collect();
        }
        Reason::CredentialMalformed | Reason::TokenMalformed => {
            "copy the whole token, without quotes and line breaks: three parts with dots between them"
        }
        Reason::TokenSignatureInvalid => "the token was changed or cut, or signed by somebody else; get a new one",
        Reason::AudienceMismatch => {
            "let the issuer put an accepted audience into the token's `aud`, or accept the token's own under `audiences`"
        }
        Reason::AlgorithmRefused => "the issuer's `algorithms` in the configuration say what is accepted",
        Reason::ClaimMissing | Reason::ClaimInvalid => {
            "the issuer's `required_claims`, `required_scopes` and `claims` in the configuration say what is looked at"
        }
        _ => return Vec::new(),
    };
    vec![advice.to_owned()]
}
