//! Tokens: signed JWTs in compact form (RFC 7515, RFC 7519, RFC 8725), read in one strict way.

use super::json;
use super::key_set::{Algorithm, KeyMiss, KeySet};
use super::locate::Scheme;
use super::rules::{IssuerRules, TokenType};
use crate::document::is_deceptive;
use crate::model::denial::Denial;
use crate::model::principal::Principal;
use crate::model::reason::Reason;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// The longest token accepted unless configured otherwise, in bytes.
pub const MAX_BYTES: usize = 16 << 10;

/// A token that was read but not verified: nothing in it may be relied on, except to find the issuer and key that it
/// has to be verified with.
pub struct UnverifiedToken<'t> {
    algorithm: Algorithm,
    key_id: Option<String>,
    token_type: Option<String>,
    issuer: String,
    claims: Arc<Map<String, Value>>,
    /// Header and claims as they were sent: what the signature covers.
    signed: &'t str,
    signature: Vec<u8>,
}

impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedToken")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl<'t> UnverifiedToken<'t> {
    /// Reads a token of at most `max_bytes` bytes.
    ///
    /// # Errors
    /// `token_malformed` for anything but three base64url segments without padding whose first two are JSON objects
    /// without duplicate keys; also for header members that change what the rest means (`crit`, `b64`, `zip`, `enc`).
    /// `algorithm_refused` for `none`, HMAC and what is not in [`Algorithm`]. `claim_missing` or `claim_invalid` if
    /// `iss` is not a string.
    pub fn parse(token: &'t str, max_bytes: usize) -> Result<Self, Denial> {
        if token.len() > max_bytes {
            let message = format!("the token has more than {max_bytes} bytes");
            return Err(Denial::new(Reason::TokenMalformed, message));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(opaque)?;
        let (header, claims) = signed.split_once('.').ok_or_else(opaque)?;
        // A dot in any segment, as in an encrypted token, is no base64url character.
        let header = json::object(&decode(header)?)
            .map_err(|_| malformed("its header is not a JSON object with distinct keys"))?;
        let claims = json::object(&decode(claims)?)
            .map_err(|_| malformed("its claims are not a JSON object with distinct keys"))?;
        let signature = decode(signature)?;
        if signature.is_empty() {
            return Err(malformed("it has no signature"));
        }
        let issuer = match claims.get("iss") {
            Some(Value::String(issuer)) => issuer.clone(),
            Some(_) => {
                return Err(Denial::new(
                    Reason::ClaimInvalid,
                    "the token's claim `iss` is not a string",
                ));
            }
            // FlyteAdmin's mark: nobody else names the key so.
            None if header.contains_key("key_id") => {
                let message = "the token lacks the claim `iss`: FlyteAdmin's own authorization server leaves out issuer \
                               and subject when a client logs in with its secret. Such clients need an external \
                               authorization server, or a listener that takes them as a fixed principal";
                return Err(Denial::new(Reason::ClaimMissing, message));
            }
            None => return Err(Denial::new(Reason::ClaimMissing, "the token lacks the claim `iss`")),
        };
        Ok(Self {
            algorithm: algorithm(&header)?,
            key_id: key_id(&header)?,
            token_type: text(&header, "typ")?.map(str::to_owned),
            issuer,
            claims: Arc::new(claims),
            signed,
            signature,
        })
    }

    /// The issuer it claims to be from: tells which rules and keys to verify it with.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key it claims to be signed with; empty if it names none.
    #[must_use]
    pub fn key_id(&self) -> &str {
        self.key_id.as_deref().unwrap_or_default()
    }

    /// The refusal if no such issuer is configured. Names the issuer, because a slash too many is the usual cause.
    #[must_use]
    pub fn issuer_unknown(&self) -> Denial {
        if self.issuer.len() > 200 || self.issuer.chars().any(is_deceptive) {
            return Reason::IssuerUnknown.into();
        }
        let message = format!(
            "the token's issuer `{}` is not configured, letter for letter",
            self.issuer
        );
        Denial::new(Reason::IssuerUnknown, message)
    }

    /// Verifies the token against the rules and keys of its issuer at the time `now` (seconds since the Unix epoch).
    ///
    /// # Errors
    /// The reason of the first check that fails: type, algorithm, key, signature, then the claims.
    pub fn verify(&self, scheme: Scheme, rules: &IssuerRules, keys: &KeySet, now: u64) -> Result<Principal, Denial> {
        if *self.issuer != *rules.issuer {
            return Err(self.issuer_unknown());
        }
        let token_type = self.check_type(scheme, rules)?;
        if !rules.algorithms.contains(&self.algorithm) {
            return Err(self.algorithm_refused("is not accepted from this issuer"));
        }
        let key = keys
            .find(self.key_id.as_deref(), self.algorithm)
            .map_err(|miss| match miss {
                KeyMiss::Unknown => Reason::KeyUnknown.into(),
                KeyMiss::Algorithm => self.algorithm_refused("is not that of the key it names"),
                KeyMiss::Ambiguous => Denial::new(
                    Reason::KeyUnknown,
                    "the token names no key (`kid`) and its issuer has several",
                ),
            })?;
        key.verify_sig(self.signed.as_bytes(), &self.signature)
            .map_err(|_| Reason::TokenSignatureInvalid)?;
        let expires_at = rules.check(token_type, &self.claims, now)?;
        rules
            .mapping(token_type)
            .principal(&rules.issuer, &self.claims, Some(expires_at))
    }

    /// Access token or ID token? `typ: at+jwt` (RFC 9068) is an access token. Of any other the scheme decides:
    /// `IDToken` says ID token, `Bearer` says access token. An access token is never accepted as an ID token.
    fn check_type(&self, scheme: Scheme, rules: &IssuerRules) -> Result<TokenType, Denial> {
        let declared = self.token_type.as_deref().map(|media_type| {
            let short = media_type
                .get(..12)
                .filter(|prefix| prefix.eq_ignore_ascii_case("application/"));
            short
                .and_then(|prefix| media_type.get(prefix.len()..))
                .unwrap_or(media_type)
        });
        let is_access_token = match declared {
            None => false,
            Some(word) if word.eq_ignore_ascii_case("JWT") => false,
            Some(word) if word.eq_ignore_ascii_case("at+jwt") => true,
            Some(_) => return Err(type_refused("the token's `typ` is neither `JWT` nor `at+jwt`")),
        };
        // RFC 8417: a security event, such as a logout token, tells of a subject and grants nothing.
        if self.claims.contains_key("events") {
            return Err(type_refused("the token is a security event, not a credential"));
        }
        let needed = match scheme {
            Scheme::IdToken if is_access_token => {
                return Err(type_refused("the token is an access token; send it as `Bearer TOKEN`"));
            }
            Scheme::IdToken => TokenType::IdToken,
            Scheme::Bearer => TokenType::AccessToken,
            Scheme::LoadBalancer => return Err(type_refused("a token is not what a load balancer sends")),
        };
        if rules.token_types.contains(&needed) {
            return Ok(needed);
        }
        Err(type_refused(match needed {
            TokenType::IdToken => "ID tokens are not accepted from this issuer; send an access token as `Bearer TOKEN`",
            TokenType::AccessToken => {
                "access tokens are not accepted from this issuer; send an ID token as `IDToken TOKEN`"
            }
        }))
    }

    fn algorithm_refused(&self, why: &str) -> Denial {
        let message = format!("the token's signature algorithm {} {why}", self.algorithm.label());
        Denial::new(Reason::AlgorithmRefused, message)
    }
}

fn opaque() -> Denial {
    malformed(
        "it does not have three segments, as the opaque access tokens that some issuers give for their own APIs; ask the \
         issuer for a token for Flyte",
    )
}

pub(super) fn malformed(what: &str) -> Denial {
    Denial::new(
        Reason::TokenMalformed,
        format!("the token is not a well-formed signed JWT: {what}"),
    )
}

pub(super) fn type_refused(message: &'static str) -> Denial {
    Denial::new(Reason::TokenTypeRefused, message)
}

fn decode(segment: &str) -> Result<Vec<u8>, Denial> {
    URL_SAFE_NO_PAD
        .decode(segment)
        .map_err(|_| malformed("it does not consist of three base64url segments without padding"))
}

/// Refuses members that change what the rest of a token means.
pub(super) fn refuse_extensions(header: &Map<String, Value>) -> Result<(), Denial> {
    for name in ["crit", "b64", "zip", "enc"] {
        if header.contains_key(name) {
            return Err(malformed(&format!("the header member `{name}` is not supported")));
        }
    }
    Ok(())
}

fn algorithm(header: &Map<String, Value>) -> Result<Algorithm, Denial> {
    refuse_extensions(header)?;
    let name = text(header, "alg")?.ok_or_else(|| malformed("its header has no `alg`"))?;
    Algorithm::from_label(name).ok_or_else(|| Reason::AlgorithmRefused.into())
}

/// `kid`, or `key_id` as FlyteAdmin's own authorization server writes it. `jku`, `jwk`, `x5u` and `x5c` are not looked
/// at: a token does not choose where its key comes from.
fn key_id(header: &Map<String, Value>) -> Result<Option<String>, Denial> {
    let id = match (text(header, "kid")?, text(header, "key_id")?) {
        (Some(one), Some(other)) if one != other => return Err(malformed("its `kid` and `key_id` differ")),
        (one, other) => one.or(other),
    };
    Ok(id.map(str::to_owned))
}

/// A member of the JOSE header, which must be a string if it is there.
pub(super) fn text<'h>(header: &'h Map<String, Value>, name: &str) -> Result<Option<&'h str>, Denial> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(malformed(&format!("the header member `{name}` is not a string"))),
    }
}

#[cfg(test)]
mod tests;
