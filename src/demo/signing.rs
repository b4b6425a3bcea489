//! Signing keys and the tokens made with them.

use crate::credential::key_set::Algorithm;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

/// A private key with its id and algorithm.
#[derive(Debug)]
pub struct SigningKey {
    id: String,
    algorithm: Algorithm,
    private: Private,
}

#[derive(Debug)]
enum Private {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Makes a new key: RSA with 2048 bits, P-256, P-384 or Ed25519, as the algorithm needs.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate(id: &str, algorithm: Algorithm) -> Result<Self, Unspecified> {
        let private = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => Private::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048)?)),
            Algorithm::Es256 => Private::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?),
            Algorithm::Es384 => Private::Ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)?),
            Algorithm::EdDsa => Private::Ed25519(Ed25519KeyPair::generate()?),
        };
        Ok(Self {
            id: id.to_owned(),
            algorithm,
            private,
        })
    }

    /// The id it is published under.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The algorithm it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key as a member of a JWKS document.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let encoded = |bytes: Option<&[u8]>| URL_SAFE_NO_PAD.encode(bytes.unwrap_or_default());
        let mut jwk = match &self.private {
            // DER of RSAPublicKey (RFC 8017 appendix A.1.1) with 2048 bits: 9 bytes, the modulus, then 65537.
            Private::Rsa(pair) => {
                json!({"kty": "RSA", "n": encoded(pair.public_key().as_ref().get(9..265)), "e": "AQAB"})
            }
            Private::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let width = point.len() / 2;
                let curve = if width == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": curve, "x": encoded(point.get(1..=width)), "y": encoded(point.get(width + 1..))})
            }
            Private::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(Some(pair.public_key().as_ref()))})
            }
        };
        if let Value::Object(members) = &mut jwk {
            members.insert("kid".to_owned(), self.id.clone().into());
            members.insert("use".to_owned(), "sig".into());
            members.insert("alg".to_owned(), self.algorithm.label().into());
        }
        jwk
    }

    /// The public key in PEM form, as load balancers publish it.
    #[must_use]
    pub fn public_pem(&self) -> String {
        let spki = match &self.private {
            Private::Rsa(pair) => pair.public_key().as_der(),
            Private::Ec(pair) => pair.public_key().as_der(),
            Private::Ed25519(pair) => pair.public_key().as_der(),
        };
        let body = STANDARD.encode(spki.map(|spki| spki.as_ref().to_vec()).unwrap_or_default());
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for (index, character) in body.chars().enumerate() {
            if index > 0 && index % 64 == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem + "\n-----END PUBLIC KEY-----\n"
    }

    /// Signs a message with the key's algorithm. An empty signature, which nothing accepts, if the system gives no
    /// randomness.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding = if self.algorithm == Algorithm::Ps256 {
                    &RSA_PSS_SHA256
                } else {
                    &RSA_PKCS1_SHA256
                };
                pair.sign(padding, &random, message, &mut signature)
                    .map(|()| signature)
                    .unwrap_or_default()
            }
            Private::Ec(pair) => pair
                .sign(&random, message)
                .map(|signed| signed.as_ref().to_vec())
                .unwrap_or_default(),
            Private::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with these claims. `header` changes the header: its members replace the usual ones, `null` removes one.
    #[must_use]
    pub fn token(&self, claims: &Value, header: &Value) -> String {
        let mut members = Map::new();
        members.insert("alg".to_owned(), self.algorithm.label().into());
        members.insert("kid".to_owned(), self.id.clone().into());
        members.insert("typ".to_owned(), "JWT".into());
        replace(&mut members, header);
        self.token_from_text(&Value::Object(members).to_string(), &claims.to_string())
    }

    /// A token whose header and claims are exactly these texts, which need not be JSON.
    #[must_use]
    pub fn token_from_text(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// The segments of a token as load balancers write them: base64url with padding.
#[must_use]
pub fn padded(segment: &[u8]) -> String {
    URL_SAFE.encode(segment)
}

/// A JWKS document of these keys.
#[must_use]
pub fn jwks<'k>(keys: impl IntoIterator<Item = &'k SigningKey>) -> Value {
    let members: Vec<Value> = keys.into_iter().map(SigningKey::jwk).collect();
    json!({ "keys": members })
}

/// Puts the members of `changes` in place of those in `object`; `null` removes one.
pub(super) fn replace(object: &mut Map<String, Value>, changes: &Value) {
    for (name, value) in changes.as_object().into_iter().flatten() {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
}
