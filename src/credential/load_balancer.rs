//! What an AWS Application Load Balancer says of the person that it has logged in: the header `x-amzn-oidc-data`, which is a
//! JWT but for the padding of its segments, read in one strict way.
//!
//! Every load balancer of a region publishes its keys at the same place, those of other customers too: what tells them
//! apart is the `signer` in the signed header.

use super::claims::ClaimMapping;
use super::json;
use super::rules::{begun, expiry, invalid, missing};
use super::token::{malformed, refuse_extensions, text, type_refused};
use crate::document::is_deceptive;
use crate::model::denial::Denial;
use crate::model::principal::Principal;
use crate::model::reason::Reason;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use http::HeaderName;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// The header.
pub static HEADER: HeaderName = HeaderName::from_static("x-amzn-oidc-data");

/// What the header must be like. Every check is always made.
#[derive(Clone, Debug)]
pub struct LoadBalancerRules {
    /// The load balancers trusted, by their exact ARN. Never empty.
    pub signers: Vec<String>,
    /// The clients as which they log people in, exactly. Never empty.
    pub client_ids: Vec<String>,
    /// Where they log people in: the exact `iss`.
    pub issuer: Arc<str>,
    /// How far clocks may differ, in seconds.
    pub leeway: u64,
    /// Which claims name the caller.
    pub mapping: ClaimMapping,
}

/// The id of a key, safe in a URL and as the name of a file: 1 to 64 letters, digits and dashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(Box<str>);

impl KeyId {
    /// `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        ((1..=64).contains(&text.len()) && text.bytes().all(plain)).then(|| Self(text.into()))
    }

    /// The id as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A public key that load balancers sign with: P-256, for ES256 and nothing else.
#[derive(Debug)]
pub struct SignerKey(ParsedPublicKey);

impl SignerKey {
    /// The largest document accepted, in bytes.
    pub const MAX_BYTES: usize = 4096;

    /// Reads a document with exactly one public key, in PEM form (RFC 7468 section 13).
    ///
    /// # Errors
    /// Says what else the document is.
    pub fn from_pem(document: &[u8]) -> Result<Self, &'static str> {
        let mut keys = SubjectPublicKeyInfoDer::pem_slice_iter(document);
        let (Some(Ok(key)), None) = (keys.next(), keys.next()) else {
            return Err("it is not exactly one public key in PEM form");
        };
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.as_ref())
            .map(Self)
            .map_err(|_| "it is not a key on the curve P-256")
    }
}

/// A header that was read but not verified: nothing in it may be relied on, except to find the key that it has to be
/// verified with.
pub struct UnverifiedData<'h> {
    key_id: KeyId,
    expires_at: u64,
    claims: Arc<Map<String, Value>>,
    /// Header and claims as they were sent, padding included: what the signature covers.
    signed: &'h str,
    signature: Vec<u8>,
}

impl fmt::Debug for UnverifiedData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedData").finish_non_exhaustive()
    }
}

impl<'h> UnverifiedData<'h> {
    /// Reads a header of at most `max_bytes` bytes and checks all that can be checked without a key, so that nobody brings
    /// about a fetch who does not at least name load balancer, client and issuer. `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// `token_malformed` for anything but three base64url segments with padding whose first two are JSON objects without
    /// duplicate keys, for a `kid` that is no [`KeyId`], and for members that change what the rest means; `token_type_refused`,
    /// `algorithm_refused`, `signer_refused`, `audience_mismatch`, `issuer_unknown`, `token_expired` for members of the
    /// JOSE header that are not those wanted; `claim_missing` and `claim_invalid` for members that are not there, or no text.
    pub fn parse(value: &'h str, max_bytes: usize, rules: &LoadBalancerRules, now: u64) -> Result<Self, Denial> {
        if value.len() > max_bytes {
            return Err(malformed(&format!("it has more than {max_bytes} bytes")));
        }
        let (signed, signature) = value.rsplit_once('.').ok_or(Reason::TokenMalformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Reason::TokenMalformed)?;
        let header = json::object(&decode(header)?)
            .map_err(|_| malformed("its header is not a JSON object with distinct keys"))?;
        let claims = json::object(&decode(claims)?)
            .map_err(|_| malformed("its claims are not a JSON object with distinct keys"))?;
        let signature = decode(signature)?;
        refuse_extensions(&header)?;
        if text(&header, "alg")? != Some("ES256") {
            let message = "load balancers sign with ES256, and nothing else is accepted";
            return Err(Denial::new(Reason::AlgorithmRefused, message));
        }
        if text(&header, "typ")?.is_some_and(|kind| !kind.eq_ignore_ascii_case("JWT")) {
            return Err(type_refused("its `typ` is not `JWT`"));
        }
        let key_id = text(&header, "kid")?.and_then(KeyId::parse);
        let key_id = key_id.ok_or_else(|| malformed("its `kid` is not 1 to 64 letters, digits and dashes"))?;
        rules.check_origin(&header)?;
        Ok(Self {
            key_id,
            expires_at: expiry(&header, rules.leeway, now)?,
            claims: Arc::new(claims),
            signed,
            signature,
        })
    }

    /// The key it claims to be signed with.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Verifies what was read with the key of that id, at the time `now` (seconds since the Unix epoch).
    ///
    /// # Errors
    /// `token_signature_invalid`; then `issuer_unknown`, `claim_invalid`, `token_expired` and `token_not_yet_valid` if the claims
    /// contradict the JOSE header or the clock; then those of [`ClaimMapping::principal`].
    pub fn verify(&self, rules: &LoadBalancerRules, key: &SignerKey, now: u64) -> Result<Principal, Denial> {
        key.0
            .verify_sig(self.signed.as_bytes(), &self.signature)
            .map_err(|_| Reason::TokenSignatureInvalid)?;
        match self.claims.get("iss") {
            None => {}
            Some(Value::String(issuer)) if **issuer == *rules.issuer => {}
            Some(Value::String(issuer)) => return Err(issuer_unknown(issuer)),
            Some(_) => return Err(invalid("iss", "a string")),
        }
        if self.claims.contains_key("exp") && expiry(&self.claims, rules.leeway, now)? != self.expires_at {
            return Err(invalid("exp", "that of its header"));
        }
        begun(&self.claims, rules.leeway, now)?;
        rules
            .mapping
            .principal(&rules.issuer, &self.claims, Some(self.expires_at))
    }
}

impl LoadBalancerRules {
    /// Whether the JOSE header names a load balancer, a client and an issuer that are wanted.
    fn check_origin(&self, header: &Map<String, Value>) -> Result<(), Denial> {
        let signer = text(header, "signer")?.ok_or_else(|| missing("signer"))?;
        if !self.signers.iter().any(|accepted| accepted == signer) {
            let message = format!(
                "it was signed by the load balancer {}, which is not configured, letter for letter",
                shown(signer)
            );
            return Err(Denial::new(Reason::SignerRefused, message));
        }
        let client = text(header, "client")?.ok_or_else(|| missing("client"))?;
        if !self.client_ids.iter().any(|accepted| accepted == client) {
            let message = format!(
                "the login was for the client {}, which is not configured, letter for letter",
                shown(client)
            );
            return Err(Denial::new(Reason::AudienceMismatch, message));
        }
        match text(header, "iss")?.ok_or_else(|| missing("iss"))? {
            issuer if *issuer == *self.issuer => Ok(()),
            issuer => Err(issuer_unknown(issuer)),
        }
    }
}

fn issuer_unknown(issuer: &str) -> Denial {
    let message = format!(
        "the login was at the issuer {}, which is not configured, letter for letter",
        shown(issuer)
    );
    Denial::new(Reason::IssuerUnknown, message)
}

/// A name to show in a refusal; a slash too many is the usual cause.
fn shown(name: &str) -> String {
    if name.len() > 300 || name.chars().any(is_deceptive) {
        "of a name that cannot be shown".to_owned()
    } else {
        format!("`{name}`")
    }
}

/// RFC 4648 section 5 with the padding of section 3.2, which RFC 7515 leaves out and load balancers write. Bits that are
/// left over must be 0.
fn decode(segment: &str) -> Result<Vec<u8>, Denial> {
    URL_SAFE
        .decode(segment)
        .map_err(|_| malformed("it does not consist of three base64url segments with padding"))
}

#[cfg(test)]
mod tests;
