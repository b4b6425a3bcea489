//! Secrets that the configuration names: where they are, and reading them, in a file or the environment. The only place
//! that reads the environment.

use super::check::Check;
use super::document::{Placed, SecretDocument, SessionDocument};
use crate::credential::cookie::{BlockKey, CookieKeys, HashKey};
use crate::credential::rules::TokenType;
use crate::files;
use crate::issuer::IssuerSettings;
use crate::model::problem::Problem;
use crate::secret::Secret;
use std::path::PathBuf;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file.
    File(PathBuf),
    /// In an environment variable.
    Variable(Box<str>),
}

/// A secret that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSecret {
    /// Where it is.
    pub source: SecretSource,
    /// The configuration file.
    pub file: PathBuf,
    /// Where that names it: line and column, from 1.
    pub place: (u64, u64),
}

/// A pair of keys for session cookies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCookieKeys {
    /// FlyteAdmin's `cookie_hash_key`.
    pub hash_key: NamedSecret,
    /// FlyteAdmin's `cookie_block_key`.
    pub block_key: NamedSecret,
}

impl NamedSecret {
    /// Reads the secret and makes a key of it.
    ///
    /// # Errors
    /// If it cannot be read or is no such key, at the place in the configuration that names it.
    fn key<K>(&self, parse: impl FnOnce(&Secret) -> Result<K, String>) -> Result<K, Problem> {
        let problem = |what: String| {
            let (line, column) = self.place;
            // Neither is shown: what stands there by mistake may be the key.
            let source = match &self.source {
                SecretSource::File(_) => "the file that is named here",
                SecretSource::Variable(_) => "the environment variable that is named here",
            };
            Problem::error(&self.file, line, column, format!("{source} {what}"))
        };
        let secret = self.read().map_err(problem)?;
        parse(&secret).map_err(problem)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn read(&self) -> Result<Secret, String> {
        match &self.source {
            SecretSource::File(path) => files::read(path).map(Secret::new).map_err(|problem| problem.message),
            SecretSource::Variable(name) => std::env::var(&**name).map(Secret::new).map_err(|error| match error {
                std::env::VarError::NotPresent => "is not set".to_owned(),
                std::env::VarError::NotUnicode(_) => "is not UTF-8 text".to_owned(),
            }),
        }
    }
}

/// Reads every pair of keys.
///
/// # Errors
/// Every key that cannot be read or used.
pub fn cookie_keys(named: &[NamedCookieKeys]) -> Result<Vec<CookieKeys>, Vec<Problem>> {
    let mut keys = Vec::with_capacity(named.len());
    let mut problems = Vec::new();
    for pair in named {
        match (
            pair.hash_key.key(HashKey::from_base64),
            pair.block_key.key(BlockKey::from_base64),
        ) {
            (Ok(hash), Ok(block)) => keys.push(CookieKeys { hash, block }),
            (hash, block) => problems.extend(hash.err().into_iter().chain(block.err())),
        }
    }
    if problems.is_empty() { Ok(keys) } else { Err(problems) }
}

/// Checks what is written about sessions: the keys in force first.
pub(super) fn check(
    check: &mut Check<'_>,
    written: &SessionDocument,
    issuers: &[IssuerSettings],
) -> Vec<NamedCookieKeys> {
    let no_id_tokens = |issuer: &IssuerSettings| !issuer.rules.token_types.contains(&TokenType::IdToken);
    if !issuers.is_empty() && issuers.iter().all(no_id_tokens) {
        check.error_unseen(
            written.hash_key.place(),
            "a session holds an ID token, but no issuer accepts ID tokens; add `id_token` to the `token_types` of the one that people log in at, or leave `session` out",
        );
    }
    let earlier = written.previous.iter().map(|pair| (&pair.hash_key, &pair.block_key));
    std::iter::once((&written.hash_key, &written.block_key))
        .chain(earlier)
        .map(|(hash_key, block_key)| NamedCookieKeys {
            hash_key: secret(check, hash_key),
            block_key: secret(check, block_key),
        })
        .collect()
}

fn secret(check: &mut Check<'_>, written: &Placed<SecretDocument>) -> NamedSecret {
    let place = written.place();
    let source = match written.value() {
        SecretDocument::File { file } if !file.is_empty() => SecretSource::File(check.beside(file)),
        SecretDocument::Env { env } if !env.is_empty() && !env.contains(['=', '\0']) => {
            SecretSource::Variable(env.as_str().into())
        }
        _ => {
            check.error_unseen(
                place,
                "this does not say where the key is; write `{file: PATH}` or `{env: VARIABLE}`, and the key only there",
            );
            SecretSource::Variable("".into())
        }
    };
    NamedSecret {
        source,
        file: check.file.to_owned(),
        place: (place.line(), place.column()),
    }
}
