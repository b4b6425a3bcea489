//! Tokens: what is read has one reading, and what is accepted says so in a claim of the right type.

use crate::first_wins;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flyte_authz_proxy::credential::key_set::KeySet;
use flyte_authz_proxy::credential::locate::Scheme;
use flyte_authz_proxy::credential::rules::IssuerRules;
use flyte_authz_proxy::credential::token::{MAX_BYTES, UnverifiedToken};
use flyte_authz_proxy::model::principal::Principal;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// The time of the checks, in seconds since the Unix epoch.
pub const NOW: u64 = 1_800_000_000;
/// The issuer that is accepted.
pub const ISSUER: &str = "https://issuer.example.com";
/// The audience that is accepted.
pub const AUDIENCE: &str = "flyte";

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key"));

static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let x = URL_SAFE_NO_PAD.encode(KEY.public_key().as_ref());
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "k1", "use": "sig", "x": x}]});
    KeySet::parse(set.to_string().as_bytes()).expect("a key set")
});

static RULES: LazyLock<IssuerRules> = LazyLock::new(|| IssuerRules::new(ISSUER, vec![AUDIENCE.to_owned()]));

/// An input with a line end is a header and, behind it, claims, of which a signed token is made. Any other is a token.
pub fn check(input: &[u8]) {
    match input.iter().position(|byte| *byte == b'\n') {
        None => {
            if let Ok(token) = std::str::from_utf8(input) {
                // Nobody but the issuer can sign.
                assert!(verified(token, Scheme::Bearer).is_none() && verified(token, Scheme::IdToken).is_none());
            }
        }
        Some(end) => signed(&input[..end], &input[end + 1..]),
    }
}

fn signed(header: &[u8], claims: &[u8]) {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(KEY.sign(signed.as_bytes()).as_ref());
    let token = format!("{signed}.{signature}");
    for scheme in [Scheme::Bearer, Scheme::IdToken] {
        if let Some(principal) = verified(&token, scheme) {
            is_accepted_rightly(header, claims, scheme, &principal);
            // Not so with another signature, or with none.
            let changed = if signature.starts_with('A') { 'B' } else { 'A' };
            assert!(verified(&format!("{signed}.{changed}{}", &signature[1..]), scheme).is_none());
            assert!(UnverifiedToken::parse(&format!("{signed}."), MAX_BYTES).is_err());
        }
    }
    assert!(verified(&token, Scheme::LoadBalancer).is_none());
}

/// Whom a token names, if it is accepted. What can be read has one reading.
fn verified(token: &str, scheme: Scheme) -> Option<Principal> {
    let read = UnverifiedToken::parse(token, MAX_BYTES).ok()?;
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("a token has three parts");
    };
    let [header, claims, _] = [header, claims, signature].map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("it was read before");
        assert_eq!(URL_SAFE_NO_PAD.encode(&bytes), part, "two texts are one token");
        bytes
    });
    let (header, claims) = (one_reading(&header), one_reading(&claims));
    assert_eq!(claims["iss"], *read.issuer());
    for name in ["crit", "b64", "zip", "enc"] {
        assert!(header.get(name).is_none(), "{name} was accepted");
    }
    let algorithm = header["alg"].as_str().expect("an algorithm");
    assert!(
        ["RS256", "PS256", "ES256", "ES384", "EdDSA"].contains(&algorithm),
        "{algorithm}"
    );
    for name in ["kid", "key_id"] {
        assert!(header.get(name).is_none_or(|id| *id == *read.key_id()), "{header}");
    }
    let shown = format!("{read:?}");
    assert!(shown.len() < 60, "a token is never shown: {shown}");
    read.verify(scheme, &RULES, &KEYS, NOW).ok()
}

/// The document, which is the same whichever of two equal keys a reader keeps.
fn one_reading(document: &[u8]) -> Value {
    let last: Value = serde_json::from_slice(document).expect("it was read before");
    assert_eq!(first_wins::read(document).as_ref(), Some(&last));
    assert!(last.is_object());
    last
}

fn is_accepted_rightly(header: &[u8], claims: &[u8], scheme: Scheme, principal: &Principal) {
    let (header, claims) = (one_reading(header), one_reading(claims));
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(claims["iss"], ISSUER);
    let audience = &claims["aud"];
    let listed = audience
        .as_array()
        .is_some_and(|list| list.iter().all(Value::is_string) && list.contains(&AUDIENCE.into()));
    assert!(*audience == AUDIENCE || listed, "{audience}");
    let time = |name: &str| claims.get(name).map(|value| value.as_f64().expect("a number"));
    let (now, leeway) = (NOW as f64, RULES.leeway as f64);
    let expires_at = time("exp").expect("a time");
    assert!(
        expires_at + leeway > now && principal.expires_at.map(|at| at as f64) == Some(expires_at),
        "{expires_at}"
    );
    for name in ["nbf", "iat"] {
        // Fractions are cut off.
        assert!(time(name).is_none_or(|from| from.floor() <= now + leeway), "{name}");
    }
    assert!(claims.get("events").is_none());
    let media_type = header
        .get("typ")
        .map(|media_type| media_type.as_str().expect("a text").to_ascii_lowercase());
    match media_type.as_deref() {
        None | Some("jwt" | "application/jwt") => {}
        Some("at+jwt" | "application/at+jwt") => assert_eq!(scheme, Scheme::Bearer),
        Some(other) => panic!("{other} was accepted"),
    }
    assert_eq!(claims["sub"], *principal.subject);
    assert!(!principal.subject.is_empty() && *principal.issuer == *ISSUER);
    if let Some(email) = &principal.email {
        assert_eq!(claims["email"], **email);
        assert_eq!(email.matches('@').count(), 1);
        assert_ne!(claims["email_verified"], false);
    }
    if let Some(client_id) = &principal.client_id {
        assert!(
            ["client_id", "azp", "cid", "appid"]
                .iter()
                .any(|name| claims[name] == **client_id),
            "{client_id}"
        );
    }
    for group in &principal.groups {
        let groups = &claims["groups"];
        let named = groups.as_array().is_some_and(|list| list.contains(&(**group).into()));
        let split = groups
            .as_str()
            .is_some_and(|text| text.split([' ', ',']).any(|one| one == &**group));
        assert!(named || split || *groups == **group, "{group}");
    }
    assert_eq!(Value::Object((*principal.claims).clone()), claims);
}
