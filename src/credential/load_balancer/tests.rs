//! What load balancers send, and what others would like to be taken for it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::credential::key_set::Algorithm;
use crate::credential::token::MAX_BYTES;
use crate::demo::load_balancer::{CLIENT, ISSUER, KEY_ID, SIGNER, signed, signed_text};
use crate::demo::signing::{SigningKey, padded};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use std::sync::LazyLock;

const NOW: u64 = 1_800_000_000;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(KEY_ID, Algorithm::Es256).unwrap());

fn rules() -> LoadBalancerRules {
    LoadBalancerRules {
        signers: vec![SIGNER.to_owned()],
        client_ids: vec![CLIENT.to_owned()],
        issuer: Arc::from(ISSUER),
        leeway: 60,
        mapping: ClaimMapping::default(),
    }
}

fn alice() -> Value {
    json!({"sub": "alice", "email": "alice@example.com", "email_verified": "true", "username": "alice"})
}

fn verify(value: &str) -> Result<Principal, Reason> {
    let key = SignerKey::from_pem(KEY.public_pem().as_bytes()).unwrap();
    let outcome =
        UnverifiedData::parse(value, MAX_BYTES, &rules(), NOW).and_then(|data| data.verify(&rules(), &key, NOW));
    outcome.map_err(|denial| {
        let told = value
            .split('.')
            .any(|segment| segment.len() > 8 && denial.message.contains(segment));
        assert!(!told, "{}", denial.message);
        denial.reason
    })
}

fn with(changes: &Value) -> Result<Principal, Reason> {
    verify(&signed(&KEY, &alice(), changes, NOW))
}

fn claiming(claims: &Value) -> Result<Principal, Reason> {
    verify(&signed(&KEY, claims, &Value::Null, NOW))
}

#[test]
fn what_a_load_balancer_sends_names_the_person_that_it_has_logged_in() {
    let value = signed(&KEY, &alice(), &Value::Null, NOW);
    // 64 bytes of signature are 88 characters, two of them padding.
    assert!(value.ends_with("==") && value.rsplit('.').next().unwrap().len() == 88);
    let principal = verify(&value).unwrap();
    assert_eq!((&*principal.issuer, &*principal.subject), (ISSUER, "alice"));
    assert_eq!(principal.email.as_deref(), Some("alice@example.com"));
    assert_eq!(principal.expires_at, Some(NOW + 120));
    // With one, two and no characters of padding in header and claims.
    for padding in ["", "a", "aa", "aaa"] {
        let claims = json!({"sub": "alice", "note": padding});
        assert!(verify(&signed(&KEY, &claims, &json!({"note": padding}), NOW)).is_ok());
    }
}

#[test]
fn a_person_is_the_same_whether_a_load_balancer_or_a_token_of_the_issuer_says_so() {
    let principal = with(&Value::Null).unwrap();
    let mapping = ClaimMapping::default();
    let claims = Arc::new(json!({"sub": "alice"}).as_object().unwrap().clone());
    let of_token = mapping.principal(&Arc::from(ISSUER), &claims, None).unwrap();
    assert!(crate::credential::same_principal(&principal, &of_token));
}

#[test]
fn the_padding_is_what_load_balancers_write_and_no_other() {
    let value = signed(&KEY, &alice(), &Value::Null, NOW);
    let segments: Vec<&str> = value.split('.').collect();
    for position in 0..3 {
        for change in [
            segments[position].trim_end_matches('=').to_owned()
                + if segments[position].ends_with('=') { "" } else { "=" },
            format!("{}=", segments[position]),
            format!("{}====", segments[position]),
            format!(" {}", segments[position]),
            format!("{}\n", segments[position]),
        ] {
            let mut changed: Vec<String> = segments.iter().map(ToString::to_string).collect();
            changed[position] = change;
            assert_eq!(verify(&changed.join(".")), Err(Reason::TokenMalformed), "{position}");
        }
    }
    // Bits left over in the last character: 64 bytes need 86 characters, of which the last carries 2 bits.
    let (rest, _) = value.split_at(value.len() - 3);
    for other in [b'B', b'R', b'h', b'x'] {
        let changed = format!("{rest}{}==", char::from(other));
        assert_eq!(verify(&changed), Err(Reason::TokenMalformed));
    }
}

#[test]
fn a_signature_over_text_without_padding_is_none() {
    let header =
        json!({"alg": "ES256", "kid": KEY_ID, "signer": SIGNER, "iss": ISSUER, "client": CLIENT, "exp": NOW + 120});
    let (header, claims) = (header.to_string(), json!({"sub": "alice"}).to_string() + " ");
    let padded_message = format!("{}.{}", padded(header.as_bytes()), padded(claims.as_bytes()));
    let bare_message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(&header),
        URL_SAFE_NO_PAD.encode(&claims)
    );
    assert_ne!(padded_message, bare_message);
    let over_bare = padded(&KEY.sign(bare_message.as_bytes()));
    assert_eq!(
        verify(&format!("{padded_message}.{over_bare}")),
        Err(Reason::TokenSignatureInvalid)
    );
    assert_eq!(
        verify(&format!("{bare_message}.{over_bare}")),
        Err(Reason::TokenMalformed)
    );
    let over_padded = padded(&KEY.sign(padded_message.as_bytes()));
    assert!(verify(&format!("{padded_message}.{over_padded}")).is_ok());
}

#[test]
fn every_changed_byte_is_noticed() {
    let value = signed(&KEY, &alice(), &Value::Null, NOW);
    for position in 0..value.len() {
        for change in [1u8, 2, 32, 64] {
            let mut bytes = value.clone().into_bytes();
            bytes[position] ^= change;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            assert!(verify(&changed).is_err(), "byte {position} changed by {change}");
        }
        let mut shorter = value.clone();
        shorter.remove(position);
        assert!(verify(&shorter).is_err(), "byte {position} removed");
    }
}

#[test]
fn only_es256_is_accepted_whatever_the_header_says() {
    for algorithm in ["none", "None", "HS256", "RS256", "ES384", "es256", "EdDSA", ""] {
        assert_eq!(
            with(&json!({"alg": algorithm})),
            Err(Reason::AlgorithmRefused),
            "{algorithm}"
        );
    }
    assert_eq!(with(&json!({"alg": null})), Err(Reason::AlgorithmRefused));
    assert_eq!(with(&json!({"alg": ["ES256"]})), Err(Reason::TokenMalformed));
    let unsigned = signed(&KEY, &alice(), &Value::Null, NOW);
    let unsigned = unsigned.rsplit_once('.').unwrap().0.to_owned() + ".";
    assert_eq!(verify(&unsigned), Err(Reason::TokenSignatureInvalid));
}

#[test]
fn a_signature_in_der_or_of_another_key_is_refused() {
    let value = signed(&KEY, &alice(), &Value::Null, NOW);
    let (message, signature) = value.rsplit_once('.').unwrap();
    let raw = URL_SAFE.decode(signature).unwrap();
    let integer = |number: &[u8]| {
        let number = [&[0], number].concat();
        [&[2, 33][..], &number].concat()
    };
    let body = [integer(&raw[..32]), integer(&raw[32..])].concat();
    let der = [&[0x30, u8::try_from(body.len()).unwrap()][..], &body].concat();
    let longer = [&raw[..], &[0]].concat();
    for signature in [&der[..], &longer, &raw[..63], &[0; 64], &[0xff; 64]] {
        let changed = format!("{message}.{}", padded(signature));
        assert_eq!(verify(&changed), Err(Reason::TokenSignatureInvalid));
    }
    let other = SigningKey::generate(KEY_ID, Algorithm::Es256).unwrap();
    let forged = signed(&other, &alice(), &Value::Null, NOW);
    assert_eq!(verify(&forged), Err(Reason::TokenSignatureInvalid));
}

#[test]
fn a_key_id_is_safe_in_a_url_and_as_a_file_before_it_is_used() {
    let longest = "a".repeat(64);
    for good in [KEY_ID, "a", "A-9", longest.as_str()] {
        assert_eq!(KeyId::parse(good).unwrap().as_str(), good);
    }
    let too_long = "a".repeat(65);
    for bad in [
        "",
        too_long.as_str(),
        "..",
        ".",
        "a/b",
        "/etc/passwd",
        "../a",
        "a%2fb",
        "%2e%2e",
        "a\\b",
        "a b",
        "a?b",
        "a#b",
        "a.pem",
        "a_b",
        "https://evil.example.com/key",
        "//evil.example.com",
        "@evil.example.com",
        "a\n",
        "a\0",
        "\u{430}",
    ] {
        assert_eq!(KeyId::parse(bad), None, "{bad}");
        assert_eq!(with(&json!({"kid": bad})), Err(Reason::TokenMalformed), "{bad}");
    }
    for bad in [Value::Null, json!(7), json!(["a"]), json!({"a": "b"})] {
        assert_eq!(with(&json!({"kid": bad})), Err(Reason::TokenMalformed), "{bad}");
    }
}

#[test]
fn signer_client_and_issuer_are_compared_letter_for_letter_before_a_key_is_looked_for() {
    let parse = |changes: &Value| {
        let value = signed(&KEY, &alice(), changes, NOW);
        let denial = UnverifiedData::parse(&value, MAX_BYTES, &rules(), NOW)
            .map(drop)
            .unwrap_err();
        denial.reason
    };
    let other_account = SIGNER.replace("123456789012", "210987654321");
    for signer in [
        other_account,
        SIGNER.to_uppercase(),
        format!("{SIGNER} "),
        format!("{SIGNER}/x"),
        "*".into(),
        String::new(),
    ] {
        assert_eq!(parse(&json!({"signer": signer})), Reason::SignerRefused, "{signer}");
    }
    for client in ["other", "ALB-client", ""] {
        assert_eq!(parse(&json!({"client": client})), Reason::AudienceMismatch, "{client}");
    }
    for issuer in ["https://idp.example.com/", "https://other.example.com", ""] {
        assert_eq!(parse(&json!({"iss": issuer})), Reason::IssuerUnknown, "{issuer}");
    }
    for name in ["signer", "client", "iss", "exp"] {
        assert_eq!(parse(&json!({name: null})), Reason::ClaimMissing, "{name}");
        let wrong = if name == "exp" {
            Reason::ClaimInvalid
        } else {
            Reason::TokenMalformed
        };
        assert_eq!(parse(&json!({name: ["x"]})), wrong, "{name}");
    }
    assert_eq!(parse(&json!({"exp": NOW - 60})), Reason::TokenExpired);
    for name in ["crit", "b64", "zip", "enc"] {
        assert_eq!(parse(&json!({name: ["exp"]})), Reason::TokenMalformed, "{name}");
    }
    assert_eq!(parse(&json!({"typ": "at+jwt"})), Reason::TokenTypeRefused);
    assert!(with(&json!({"typ": null})).is_ok());
}

#[test]
fn a_refusal_shows_no_name_that_deceives() {
    let evil = format!("{SIGNER}\u{202E}");
    let value = signed(&KEY, &alice(), &json!({"signer": evil}), NOW);
    let denial = UnverifiedData::parse(&value, MAX_BYTES, &rules(), NOW).unwrap_err();
    assert!(!denial.message.contains('\u{202E}'), "{}", denial.message);
    for (length, told) in [(300, true), (301, false), (400, false)] {
        let long = "x".repeat(length);
        let value = signed(&KEY, &alice(), &json!({"signer": long}), NOW);
        let denial = UnverifiedData::parse(&value, MAX_BYTES, &rules(), NOW).unwrap_err();
        assert_eq!(denial.message.contains(&long), told, "{length}");
    }
    let value = signed(&KEY, &alice(), &json!({"iss": "https://idp.example.com/"}), NOW);
    let denial = UnverifiedData::parse(&value, MAX_BYTES, &rules(), NOW).unwrap_err();
    assert!(
        denial.message.contains("`https://idp.example.com/`"),
        "{}",
        denial.message
    );
}

#[test]
fn claims_that_contradict_the_header_or_the_clock_are_refused() {
    for (claims, reason) in [
        (
            json!({"sub": "alice", "iss": "https://other.example.com"}),
            Reason::IssuerUnknown,
        ),
        (json!({"sub": "alice", "iss": 7}), Reason::ClaimInvalid),
        (json!({"sub": "alice", "exp": NOW + 121}), Reason::ClaimInvalid),
        (json!({"sub": "alice", "exp": "soon"}), Reason::ClaimInvalid),
        (json!({"sub": "alice", "exp": NOW - 60}), Reason::TokenExpired),
        (json!({"sub": "alice", "nbf": NOW + 61}), Reason::TokenNotYetValid),
        (json!({"sub": "alice", "iat": NOW + 61}), Reason::TokenNotYetValid),
        (json!({"email": "alice@example.com"}), Reason::ClaimMissing),
        (json!({"sub": ""}), Reason::ClaimInvalid),
        (json!({"sub": ["alice"]}), Reason::ClaimInvalid),
        (json!({"sub": "alice", "groups": 7}), Reason::ClaimInvalid),
    ] {
        assert_eq!(claiming(&claims), Err(reason), "{claims}");
    }
    assert!(claiming(&json!({"sub": "alice", "iss": null, "exp": null, "iat": NOW + 60})).is_ok());
}

#[test]
fn it_is_good_until_it_expires_give_or_take_the_leeway() {
    let key = SignerKey::from_pem(KEY.public_pem().as_bytes()).unwrap();
    let value = signed(&KEY, &alice(), &Value::Null, NOW);
    let at = |now: u64| {
        let data = UnverifiedData::parse(&value, MAX_BYTES, &rules(), now)?;
        data.verify(&rules(), &key, now)
    };
    assert!(at(NOW + 179).is_ok());
    assert_eq!(at(NOW + 180).unwrap_err().reason, Reason::TokenExpired);
}

#[test]
fn what_is_no_json_object_or_too_long_is_malformed() {
    let header =
        json!({"alg": "ES256", "kid": KEY_ID, "signer": SIGNER, "iss": ISSUER, "client": CLIENT, "exp": NOW + 120})
            .to_string();
    let twice = header.replacen('{', "{\"client\":\"other\",", 1);
    for (header, claims) in [
        (header.as_str(), "[]"),
        (&header, "{\"sub\":\"alice\",\"sub\":\"bob\"}"),
        (&header, "{\"sub\":\"alice\"}{}"),
        (&header, ""),
        (&twice, "{\"sub\":\"alice\"}"),
        ("null", "{}"),
    ] {
        let value = signed_text(&KEY, header, claims);
        assert_eq!(verify(&value), Err(Reason::TokenMalformed), "{header} {claims}");
    }
    for value in ["", ".", "..", "...", "a.b", "e30=.e30=.e30=.e30=", "alice"] {
        assert_eq!(verify(value), Err(Reason::TokenMalformed), "{value}");
    }
    let value = signed(&KEY, &alice(), &Value::Null, NOW);
    let denial = UnverifiedData::parse(&value, value.len() - 1, &rules(), NOW).unwrap_err();
    assert_eq!(denial.reason, Reason::TokenMalformed);
    assert!(UnverifiedData::parse(&value, value.len(), &rules(), NOW).is_ok());
}

#[test]
fn a_key_document_is_exactly_one_public_key_on_p256() {
    let good = KEY.public_pem();
    assert!(SignerKey::from_pem(good.as_bytes()).is_ok());
    assert!(SignerKey::from_pem(good.trim_end().as_bytes()).is_ok());
    let other = |algorithm| SigningKey::generate("other", algorithm).unwrap().public_pem();
    for bad in [
        String::new(),
        "<html>".to_owned(),
        format!("{good}{good}"),
        good.replace("PUBLIC", "PRIVATE"),
        good.replacen("MFk", "MFl", 1),
        other(Algorithm::Es384),
        other(Algorithm::Rs256),
        other(Algorithm::EdDsa),
    ] {
        assert!(SignerKey::from_pem(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn debug_prints_nothing_of_it() {
    let value = signed(&KEY, &alice(), &Value::Null, NOW);
    let data = UnverifiedData::parse(&value, MAX_BYTES, &rules(), NOW).unwrap();
    assert_eq!(format!("{data:?}"), "UnverifiedData { .. }");
}
