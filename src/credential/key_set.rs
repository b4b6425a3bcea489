//! Key sets (RFC 7517): the published keys that can verify a signature, each bound to its algorithms.

use super::json;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use thiserror::Error;

/// A signature algorithm (RFC 7518, RFC 8037). Asymmetric only: `none` and HMAC cannot be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm there is.
    pub const ALL: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];
    /// Those accepted unless configured otherwise.
    pub const DEFAULT: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// The name in the `alg` member.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that exact name.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.label() == label)
    }
}

/// Why a document is no key set.
#[derive(Debug, Error)]
pub enum KeySetError {
    /// More bytes than [`KeySet::MAX_BYTES`].
    #[error("the key set has {0} bytes; at most {max} are accepted", max = KeySet::MAX_BYTES)]
    TooLarge(usize),
    /// Not a strict JSON object.
    #[error("the key set is not a JSON object: {0}")]
    NotJson(#[from] serde_json::Error),
    /// No list under `keys`.
    #[error("the key set has no list `keys`")]
    NoKeys,
    /// More usable keys than [`KeySet::MAX_KEYS`].
    #[error("the key set has more than {max} keys", max = KeySet::MAX_KEYS)]
    TooMany,
    /// Nothing in it can verify a signature.
    #[error("the key set has no key that can verify a signature{0}")]
    NothingUsable(String),
}

/// Why a key set has no key for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMiss {
    /// No key has that id; a newer key set may.
    Unknown,
    /// The key with that id is for another algorithm.
    Algorithm,
    /// The token names no key and several could be meant.
    Ambiguous,
}

/// The usable keys of one issuer, parsed once.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    problems: Vec<String>,
}

#[derive(Debug)]
struct Key {
    id: Option<Box<str>>,
    /// An RSA key without `alg` serves two algorithms.
    verifiers: Vec<(Algorithm, ParsedPublicKey)>,
}

impl Key {
    fn verifier(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        self.verifiers
            .iter()
            .find(|(own, _)| *own == algorithm)
            .map(|(_, key)| key)
    }
}

impl KeySet {
    /// The largest document accepted, in bytes.
    pub const MAX_BYTES: usize = 1 << 20;
    /// The most usable keys accepted.
    pub const MAX_KEYS: usize = 100;

    /// Reads a JWKS document. Keys that are not for verifying signatures are passed over; keys that are broken or weak
    /// are left out and listed by [`KeySet::problems`]. Of two keys with the same `kid` the first counts.
    ///
    /// # Errors
    /// The document as a whole cannot be used; see [`KeySetError`]. A set without a usable key is an error, so that
    /// an issuer's slip does not replace its last good keys.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        if document.len() > Self::MAX_BYTES {
            return Err(KeySetError::TooLarge(document.len()));
        }
        let object = json::object(document)?;
        let Some(Value::Array(members)) = object.get("keys") else {
            return Err(KeySetError::NoKeys);
        };
        let mut set = Self {
            keys: Vec::new(),
            problems: Vec::new(),
        };
        for (index, member) in members.iter().enumerate() {
            match read_key(member) {
                Ok(None) => {}
                Ok(Some(key)) if key.id.is_some() && set.keys.iter().any(|other| other.id == key.id) => {
                    set.report(index, "its `kid` is taken by an earlier key");
                }
                Ok(Some(_)) if set.keys.len() == Self::MAX_KEYS => return Err(KeySetError::TooMany),
                Ok(Some(key)) => set.keys.push(key),
                Err(fault) => set.report(index, fault),
            }
        }
        if set.keys.is_empty() {
            let first = set
                .problems
                .first()
                .map(|problem| format!(": {problem}"))
                .unwrap_or_default();
            return Err(KeySetError::NothingUsable(first));
        }
        Ok(set)
    }

    fn report(&mut self, index: usize, fault: &str) {
        // A hostile document must not fill the log.
        if self.problems.len() < Self::MAX_KEYS {
            self.problems.push(format!("key {index} is ignored: {fault}"));
        }
    }

    /// The key with that id for that algorithm. Without an id: the only key for that algorithm.
    ///
    /// # Errors
    /// There is no such key, or no single one.
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&ParsedPublicKey, KeyMiss> {
        if let Some(id) = id {
            let key = self
                .keys
                .iter()
                .find(|key| key.id.as_deref() == Some(id))
                .ok_or(KeyMiss::Unknown)?;
            return key.verifier(algorithm).ok_or(KeyMiss::Algorithm);
        }
        let mut candidates = self.keys.iter().filter_map(|key| key.verifier(algorithm));
        match (candidates.next(), candidates.next()) {
            (Some(key), None) => Ok(key),
            (None, _) => Err(KeyMiss::Unknown),
            (Some(_), Some(_)) => Err(KeyMiss::Ambiguous),
        }
    }

    /// How many keys can be used: at least one.
    #[must_use]
    pub fn usable(&self) -> usize {
        self.keys.len()
    }

    /// Why keys of the document were left out.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

/// Reads one member of `keys`. `Ok(None)`: not a key for verifying signatures, which is nothing to complain about.
fn read_key(member: &Value) -> Result<Option<Key>, &'static str> {
    let jwk = member.as_object().ok_or("it is not an object")?;
    let key_type = text(jwk, "kty")?.ok_or("it has no `kty`")?;
    if !matches!(key_type, "RSA" | "EC" | "OKP") || !is_for_verifying(jwk)? {
        return Ok(None);
    }
    let declared = match text(jwk, "alg")?.map(Algorithm::from_label) {
        Some(None) => return Ok(None),
        Some(algorithm) => algorithm,
        None => None,
    };
    if jwk.contains_key("d") {
        return Err("it is a private key; the issuer has given it away");
    }
    let mut verifiers = match key_type {
        "RSA" => rsa(jwk)?,
        "EC" => ec(jwk)?,
        _ => match ed25519(jwk)? {
            Some(verifier) => vec![verifier],
            None => return Ok(None),
        },
    };
    if let Some(declared) = declared {
        verifiers.retain(|(algorithm, _)| *algorithm == declared);
    }
    if verifiers.is_empty() {
        return Err("its `alg` does not fit its type or curve");
    }
    let id = text(jwk, "kid")?.map(Box::from);
    Ok(Some(Key { id, verifiers }))
}

fn is_for_verifying(jwk: &Map<String, Value>) -> Result<bool, &'static str> {
    let by_use = text(jwk, "use")?.is_none_or(|purpose| purpose == "sig");
    let by_operations = match jwk.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => operations.iter().any(|operation| operation == "verify"),
        Some(_) => return Err("its `key_ops` is not a list"),
    };
    Ok(by_use && by_operations)
}

fn rsa(jwk: &Map<String, Value>) -> Result<Vec<(Algorithm, ParsedPublicKey)>, &'static str> {
    let modulus = bytes(jwk, "n")?;
    let modulus = trim_zeros(&modulus);
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err("its RSA modulus does not have 2048 to 8192 bits");
    }
    let exponent = bytes(jwk, "e")?;
    let exponent = trim_zeros(&exponent);
    let odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
    if !odd || exponent == [1] || exponent.len() > 4 {
        return Err("its RSA exponent is not an odd number from 3 to 4294967295");
    }
    let components = RsaPublicKeyComponents {
        n: modulus,
        e: exponent,
    };
    [
        (Algorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
        (Algorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
    ]
    .into_iter()
    .map(|(algorithm, parameters)| {
        let key = components
            .to_parsed_public_key(parameters)
            .map_err(|_| "its RSA numbers are no key")?;
        Ok((algorithm, key))
    })
    .collect()
}

fn ec(jwk: &Map<String, Value>) -> Result<Vec<(Algorithm, ParsedPublicKey)>, &'static str> {
    let (algorithm, parameters, width): (_, &'static dyn VerificationAlgorithm, usize) = match text(jwk, "crv")? {
        Some("P-256") => (Algorithm::Es256, &ECDSA_P256_SHA256_FIXED, 32),
        Some("P-384") => (Algorithm::Es384, &ECDSA_P384_SHA384_FIXED, 48),
        _ => return Err("its curve is neither P-256 nor P-384"),
    };
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != width || y.len() != width {
        return Err("its coordinates do not have the width of its curve");
    }
    // SEC 1 section 2.3.3: an uncompressed point.
    let point = [&[4], x.as_slice(), &y].concat();
    let key = ParsedPublicKey::new(parameters, point).map_err(|_| "its point is not on its curve")?;
    Ok(vec![(algorithm, key)])
}

/// `Ok(None)`: another curve, such as X25519, which is for encryption.
fn ed25519(jwk: &Map<String, Value>) -> Result<Option<(Algorithm, ParsedPublicKey)>, &'static str> {
    if text(jwk, "crv")? != Some("Ed25519") {
        return Ok(None);
    }
    let x = bytes(jwk, "x")?;
    if x.len() != 32 {
        return Err("its Ed25519 key does not have 32 bytes");
    }
    let key = ParsedPublicKey::new(&ED25519, x).map_err(|_| "its Ed25519 key is not on the curve")?;
    Ok(Some((Algorithm::EdDsa, key)))
}

fn text<'j>(jwk: &'j Map<String, Value>, name: &str) -> Result<Option<&'j str>, &'static str> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err("`kty`, `use`, `alg`, `kid` or `crv` is not a string"),
    }
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, &'static str> {
    let encoded = jwk
        .get(name)
        .and_then(Value::as_str)
        .ok_or("a member of its public key is missing")?;
    URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| "a member of its public key is not base64url without padding")
}

fn trim_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests;
