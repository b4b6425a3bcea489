//! Checks where the configuration says that secrets are, and reads the keys of sessions.

use super::check::Check;
use super::document::{Placed, SecretDocument, SessionDocument};
use crate::credential::cookie::{BlockKey, CookieKeys, HashKey};
use crate::credential::rules::TokenType;
use crate::issuer::IssuerSettings;
use crate::model::problem::Problem;
pub use crate::named_secret::{NamedSecret, SecretSource};

/// A pair of keys for session cookies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCookieKeys {
    /// FlyteAdmin's `cookie_hash_key`.
    pub hash_key: NamedSecret,
    /// FlyteAdmin's `cookie_block_key`.
    pub block_key: NamedSecret,
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
            pair.hash_key.read(HashKey::from_base64),
            pair.block_key.read(BlockKey::from_base64),
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
            hash_key: named(check, hash_key),
            block_key: named(check, block_key),
        })
        .collect()
}

/// Where a secret is, as it is written.
pub(super) fn named(check: &mut Check<'_>, written: &Placed<SecretDocument>) -> NamedSecret {
    let place = written.place();
    let source = match written.value() {
        SecretDocument::File { file } if !file.is_empty() => SecretSource::File(check.beside(file)),
        SecretDocument::Env { env } if !env.is_empty() && !env.contains(['=', '\0']) => {
            SecretSource::Variable(env.as_str().into())
        }
        _ => {
            check.error_unseen(
                place,
                "this does not say where the secret is; write `{file: PATH}` or `{env: VARIABLE}`, and the secret only there",
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
