//! Key sets, good and bad.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::demo::signing::{SigningKey, jwks};
use serde_json::json;
use std::sync::LazyLock;

static GOOD: LazyLock<Vec<SigningKey>> = LazyLock::new(|| {
    Algorithm::ALL
        .map(|algorithm| SigningKey::generate(algorithm.label(), algorithm).unwrap())
        .into()
});

fn jwk(algorithm: Algorithm, changes: &Value) -> Value {
    let mut jwk = GOOD.iter().find(|key| key.algorithm() == algorithm).unwrap().jwk();
    for (name, value) in changes.as_object().unwrap() {
        let members = jwk.as_object_mut().unwrap();
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    jwk
}

/// A set of one good key and the given one: how many are usable, and what was reported.
fn beside_a_good_one(other: &Value) -> (usize, Vec<String>) {
    let good = jwk(Algorithm::Es384, &json!({"kid": "good"}));
    let set = KeySet::parse(json!({"keys": [good, other]}).to_string().as_bytes()).unwrap();
    (set.usable(), set.problems().to_vec())
}

#[test]
fn keys_are_found_by_id_and_algorithm() {
    let set = KeySet::parse(jwks(GOOD.iter()).to_string().as_bytes()).unwrap();
    assert_eq!((set.usable(), set.problems().len()), (5, 0));
    for algorithm in Algorithm::ALL {
        assert!(set.find(Some(algorithm.label()), algorithm).is_ok());
    }
    assert_eq!(
        set.find(Some("RS256"), Algorithm::Ps256).unwrap_err(),
        KeyMiss::Algorithm
    );
    assert_eq!(
        set.find(Some("ES256"), Algorithm::Es384).unwrap_err(),
        KeyMiss::Algorithm
    );
    assert_eq!(set.find(Some("nope"), Algorithm::Rs256).unwrap_err(), KeyMiss::Unknown);
    assert!(set.find(None, Algorithm::Es256).is_ok());
}

#[test]
fn an_rsa_key_without_algorithm_serves_both_rsa_algorithms() {
    let open = json!({"keys": [jwk(Algorithm::Rs256, &json!({"alg": null, "use": null}))]});
    let set = KeySet::parse(open.to_string().as_bytes()).unwrap();
    assert!(set.find(None, Algorithm::Rs256).is_ok());
    assert!(set.find(Some("RS256"), Algorithm::Ps256).is_ok());
    assert_eq!(set.find(None, Algorithm::Es256).unwrap_err(), KeyMiss::Unknown);
}

#[test]
fn t_jwt_05_keys_for_other_purposes_are_passed_over_in_silence() {
    for other in [
        jwk(Algorithm::Rs256, &json!({"use": "enc"})),
        jwk(Algorithm::Rs256, &json!({"key_ops": ["encrypt", "wrapKey"]})),
        jwk(Algorithm::Rs256, &json!({"alg": "RSA-OAEP"})),
        jwk(Algorithm::Rs256, &json!({"alg": "RS512"})),
        jwk(Algorithm::EdDsa, &json!({"crv": "X25519", "alg": null})),
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "hmac", "alg": "HS256"}),
        json!({"kty": "AKP", "pub": "AAAA"}),
    ] {
        assert_eq!(beside_a_good_one(&other), (1, vec![]), "{other}");
    }
    let both = jwk(Algorithm::Rs256, &json!({"key_ops": ["sign", "verify"]}));
    assert_eq!(beside_a_good_one(&both).0, 2);
}

#[test]
fn t_jwt_05_weak_and_broken_keys_are_left_out_and_reported() {
    let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
    let padded_short = URL_SAFE_NO_PAD.encode([&[0; 128][..], &[0xff; 128]].concat());
    let barely_short = URL_SAFE_NO_PAD.encode([&[0x7f][..], &[0xff; 255]].concat());
    let huge = URL_SAFE_NO_PAD.encode(vec![0xff; 1025]);
    for (other, told) in [
        (jwk(Algorithm::Rs256, &json!({"n": short})), "2048"),
        (jwk(Algorithm::Rs256, &json!({"n": padded_short})), "2048"),
        (jwk(Algorithm::Rs256, &json!({"n": barely_short})), "2048"),
        (jwk(Algorithm::Rs256, &json!({"n": huge})), "8192"),
        (jwk(Algorithm::Rs256, &json!({"n": ""})), "2048"),
        (jwk(Algorithm::Rs256, &json!({"n": null})), "missing"),
        (jwk(Algorithm::Rs256, &json!({"n": "a+/="})), "base64url"),
        (jwk(Algorithm::Rs256, &json!({"e": "AQ"})), "exponent"),
        (jwk(Algorithm::Rs256, &json!({"e": "Ag"})), "exponent"),
        (jwk(Algorithm::Rs256, &json!({"e": ""})), "exponent"),
        (jwk(Algorithm::Rs256, &json!({"e": "AAAAAAE"})), "exponent"),
        (jwk(Algorithm::Rs256, &json!({"e": "AQAAAAE"})), "exponent"),
        (jwk(Algorithm::Rs256, &json!({"alg": "ES256"})), "`alg`"),
        (jwk(Algorithm::Es256, &json!({"alg": "ES384"})), "`alg`"),
        (jwk(Algorithm::Es256, &json!({"crv": "P-384"})), "width"),
        (
            jwk(Algorithm::Es256, &json!({"x": URL_SAFE_NO_PAD.encode([1; 31])})),
            "width",
        ),
        (
            jwk(Algorithm::Es256, &json!({"y": URL_SAFE_NO_PAD.encode([1; 33])})),
            "width",
        ),
        (
            jwk(Algorithm::Es256, &json!({"crv": "secp256k1", "alg": null})),
            "curve",
        ),
        (
            jwk(Algorithm::Es256, &json!({"y": URL_SAFE_NO_PAD.encode([1; 32])})),
            "not on its curve",
        ),
        (
            jwk(
                Algorithm::Es256,
                &json!({"x": URL_SAFE_NO_PAD.encode([0; 32]), "y": URL_SAFE_NO_PAD.encode([0; 32])}),
            ),
            "not on its curve",
        ),
        (jwk(Algorithm::EdDsa, &json!({"x": "AAAA"})), "32 bytes"),
        (jwk(Algorithm::EdDsa, &json!({"d": "AAAA"})), "private"),
        (jwk(Algorithm::EdDsa, &json!({"kid": 1})), "not a string"),
        (jwk(Algorithm::EdDsa, &json!({"use": ["sig"]})), "not a string"),
        (jwk(Algorithm::EdDsa, &json!({"key_ops": "verify"})), "not a list"),
        (jwk(Algorithm::EdDsa, &json!({"kty": null})), "`kty`"),
        (json!("key"), "object"),
        (jwk(Algorithm::EdDsa, &json!({"kid": "good"})), "taken"),
    ] {
        let (usable, problems) = beside_a_good_one(&other);
        assert_eq!(usable, 1, "{other}");
        assert!(
            problems.len() == 1 && problems.iter().all(|one| one.contains(told)),
            "{other}: {problems:?}"
        );
    }
}

#[test]
fn every_odd_exponent_of_up_to_four_bytes_is_one() {
    for exponent in [&[3][..], &[1, 0, 1], &[0, 1, 0, 1], &[1, 0, 0, 1], &[0xff; 4]] {
        let other = jwk(Algorithm::Rs256, &json!({"e": URL_SAFE_NO_PAD.encode(exponent)}));
        assert_eq!(beside_a_good_one(&other), (2, vec![]), "{exponent:?}");
    }
}

#[test]
fn of_two_keys_with_one_id_the_first_counts() {
    let first = jwk(Algorithm::EdDsa, &json!({"kid": "same"}));
    let second = jwk(Algorithm::Es256, &json!({"kid": "same"}));
    let set = KeySet::parse(json!({"keys": [first, second]}).to_string().as_bytes()).unwrap();
    assert!(set.find(Some("same"), Algorithm::EdDsa).is_ok());
    assert_eq!(
        set.find(Some("same"), Algorithm::Es256).unwrap_err(),
        KeyMiss::Algorithm
    );
}

#[test]
fn t_jwt_07_documents_that_are_no_key_set_are_refused() {
    let error = |document: &[u8]| KeySet::parse(document).unwrap_err().to_string();
    assert!(error(b"<html>").contains("JSON"));
    assert!(error(br#"{"keys":[],"keys":[]}"#).contains("JSON"));
    assert!(error(b"{}").contains("no list `keys`"));
    assert!(error(br#"{"keys":{}}"#).contains("no list `keys`"));
    assert!(error(br#"{"keys":[]}"#).contains("no key"));
    assert!(error(br#"{"keys":[{"kty":"EC","crv":"P-521"}]}"#).contains("curve"));
    let mut longest = jwks(GOOD.iter()).to_string().into_bytes();
    longest.resize(KeySet::MAX_BYTES, b' ');
    assert!(KeySet::parse(&longest).is_ok());
    longest.push(b' ');
    assert!(error(&longest).contains("bytes"));
}

#[test]
fn t_jwt_07_more_than_a_hundred_keys_are_refused() {
    let many = |count: usize| {
        let members: Vec<_> = (0..count)
            .map(|number| jwk(Algorithm::EdDsa, &json!({"kid": number.to_string()})))
            .collect();
        KeySet::parse(json!({"keys": members}).to_string().as_bytes())
    };
    assert_eq!(many(100).unwrap().usable(), 100);
    assert!(matches!(many(101), Err(KeySetError::TooMany)));
    let junk: Vec<_> = (0..10_000).map(|_| json!({"kty": "RSA"})).collect();
    let set = KeySet::parse(
        json!({"keys": [jwk(Algorithm::EdDsa, &json!({})), junk]})
            .to_string()
            .as_bytes(),
    )
    .unwrap();
    assert_eq!(set.usable(), 1);
    let mut members = vec![jwk(Algorithm::EdDsa, &json!({}))];
    members.extend(junk);
    let set = KeySet::parse(json!({"keys": members}).to_string().as_bytes()).unwrap();
    assert_eq!((set.usable(), set.problems().len()), (1, KeySet::MAX_KEYS));
}

#[test]
fn every_algorithm_has_one_name() {
    for algorithm in Algorithm::ALL {
        assert_eq!(Algorithm::from_label(algorithm.label()), Some(algorithm));
    }
    for name in ["none", "HS256", "rs256", "RS384", "EDDSA", ""] {
        assert_eq!(Algorithm::from_label(name), None, "{name}");
    }
}
