//! Tokens, good and bad: ids such as T-JWT-01 are those of the threat catalogue.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::credential::claims::{ClaimMapping, ClaimPath};
use crate::credential::rules::{IdTokenRules, RequiredClaim};
use crate::demo::signing::{SigningKey, jwks};
use aws_lc_rs::hmac;
use serde_json::json;
use std::sync::LazyLock;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://idp.example.com";

struct Keys {
    signing: Vec<SigningKey>,
    set: KeySet,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let signing = Algorithm::ALL.map(|algorithm| SigningKey::generate(algorithm.label(), algorithm).unwrap());
    let set = KeySet::parse(jwks(&signing).to_string().as_bytes()).unwrap();
    Keys {
        signing: signing.into(),
        set,
    }
});

fn key(algorithm: Algorithm) -> &'static SigningKey {
    KEYS.signing.iter().find(|key| key.algorithm() == algorithm).unwrap()
}

fn rules() -> IssuerRules {
    IssuerRules {
        algorithms: Algorithm::ALL.to_vec(),
        ..IssuerRules::new(ISSUER, vec!["flyte".to_owned()])
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "flyte", "sub": "alice", "exp": NOW + 600, "iat": NOW, "groups": ["ml"]})
}

/// The usual claims with changes; `null` removes one.
fn claims_with(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        let members = claims.as_object_mut().unwrap();
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    claims
}

fn verify(token: &str) -> Result<Principal, Reason> {
    verify_by(token, Scheme::Bearer, &rules(), &KEYS.set)
}

fn verify_by(token: &str, scheme: Scheme, rules: &IssuerRules, keys: &KeySet) -> Result<Principal, Reason> {
    let outcome = UnverifiedToken::parse(token, MAX_BYTES).and_then(|parsed| parsed.verify(scheme, rules, keys, NOW));
    outcome.map_err(|denial| {
        let told = token
            .split('.')
            .any(|segment| segment.len() > 8 && denial.message.contains(segment));
        assert!(!told, "{}", denial.message);
        denial.reason
    })
}

fn verify_claims(changes: &Value) -> Result<Principal, Reason> {
    verify(&key(Algorithm::EdDsa).token(&claims_with(changes), &Value::Null))
}

fn verify_header(changes: &Value) -> Result<Principal, Reason> {
    verify(&key(Algorithm::EdDsa).token(&claims(), changes))
}

#[test]
fn a_good_token_of_every_algorithm_is_accepted() {
    for key in &KEYS.signing {
        let principal = verify(&key.token(&claims(), &Value::Null)).unwrap();
        assert_eq!(&*principal.issuer, ISSUER);
        assert_eq!(&*principal.subject, "alice");
        assert_eq!(principal.expires_at, Some(NOW + 600));
        assert_eq!(principal.groups.len(), 1);
    }
}

#[test]
fn t_jwt_01_symmetric_and_missing_algorithms_are_refused_even_when_signed_with_the_public_key() {
    let jwk = key(Algorithm::Rs256).jwk();
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    for secret in [
        jwk.to_string().into_bytes(),
        modulus,
        jwk["n"].as_str().unwrap().as_bytes().to_vec(),
        Vec::new(),
    ] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": "RS256"}).to_string());
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims().to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
        assert_eq!(verify(&token), Err(Reason::AlgorithmRefused));
    }
    for name in [
        "none", "None", "NONE", "", "HS384", "HS512", "RS384", "RS512", "rs256", "ES512", "ES256K", "RSA-OAEP",
    ] {
        assert_eq!(
            verify_header(&json!({"alg": name})),
            Err(Reason::AlgorithmRefused),
            "{name}"
        );
    }
    assert_eq!(verify_header(&json!({"alg": null})), Err(Reason::TokenMalformed));
    assert_eq!(verify_header(&json!({"alg": ["EdDSA"]})), Err(Reason::TokenMalformed));
    let unsigned = key(Algorithm::EdDsa).token(&claims(), &json!({"alg": "none"}));
    let (signed, _) = unsigned.rsplit_once('.').unwrap();
    assert_eq!(verify(&format!("{signed}.")), Err(Reason::TokenMalformed));
}

#[test]
fn t_jwt_01_05_a_header_cannot_make_a_key_serve_another_algorithm() {
    for signer in &KEYS.signing {
        for claimed in Algorithm::ALL
            .into_iter()
            .filter(|claimed| *claimed != signer.algorithm())
        {
            let token = signer.token(&claims(), &json!({"alg": claimed.label()}));
            assert_eq!(
                verify(&token),
                Err(Reason::AlgorithmRefused),
                "{signer:?} as {claimed:?}"
            );
            let token = signer.token(&claims(), &json!({"alg": claimed.label(), "kid": claimed.label()}));
            assert_eq!(
                verify(&token),
                Err(Reason::TokenSignatureInvalid),
                "{signer:?} as {claimed:?}"
            );
        }
    }
}

#[test]
fn algorithms_that_are_not_configured_are_refused() {
    let only = IssuerRules {
        algorithms: vec![Algorithm::Es256],
        ..rules()
    };
    let accepted = |algorithm| {
        verify_by(
            &key(algorithm).token(&claims(), &Value::Null),
            Scheme::Bearer,
            &only,
            &KEYS.set,
        )
        .map(drop)
    };
    assert_eq!(accepted(Algorithm::Es256), Ok(()));
    assert_eq!(accepted(Algorithm::Rs256), Err(Reason::AlgorithmRefused));
}

#[test]
fn t_jwt_02_keys_are_found_by_id_or_by_being_the_only_one() {
    for id in [
        "unknown",
        "",
        "../../etc/passwd",
        "' OR 1=1 --",
        "https://evil/jwks",
        "eddsa",
        "EdDSA ",
    ] {
        assert_eq!(verify_header(&json!({"kid": id})), Err(Reason::KeyUnknown), "{id}");
    }
    for id in [json!(1), json!(["EdDSA"]), json!({}), json!(true)] {
        assert_eq!(verify_header(&json!({"kid": id})), Err(Reason::TokenMalformed));
    }
    // One Ed25519 key: no id needed. Two: it could be either.
    assert!(verify_header(&json!({"kid": null})).is_ok());
    let second = SigningKey::generate("second", Algorithm::EdDsa).unwrap();
    let two = jwks([key(Algorithm::EdDsa), &second]).to_string();
    let token = second.token(&claims(), &json!({"kid": null}));
    let two = KeySet::parse(two.as_bytes()).unwrap();
    assert_eq!(
        verify_by(&token, Scheme::Bearer, &rules(), &two),
        Err(Reason::KeyUnknown)
    );
}

#[test]
fn flyteadmins_key_id_header_is_understood() {
    assert!(verify_header(&json!({"kid": null, "key_id": "EdDSA"})).is_ok());
    assert!(verify_header(&json!({"key_id": "EdDSA"})).is_ok());
    assert_eq!(verify_header(&json!({"key_id": "other"})), Err(Reason::TokenMalformed));
    assert_eq!(
        verify_header(&json!({"kid": null, "key_id": "other"})),
        Err(Reason::KeyUnknown)
    );
    assert_eq!(
        verify_header(&json!({"kid": null, "key_id": 1})),
        Err(Reason::TokenMalformed)
    );
}

#[test]
fn t_jwt_03_keys_that_the_token_brings_along_are_ignored() {
    let evil = SigningKey::generate("EdDSA", Algorithm::EdDsa).unwrap();
    let header = json!({"jwk": evil.jwk(), "jku": "https://evil/jwks", "x5u": "https://evil/cert", "x5c": ["AAAA"]});
    assert_eq!(
        verify(&evil.token(&claims(), &header)),
        Err(Reason::TokenSignatureInvalid)
    );
    assert!(verify_header(&header).is_ok());
}

#[test]
fn t_jwt_04_only_fixed_width_ecdsa_signatures_that_match_are_accepted() {
    let token = key(Algorithm::Es256).token(&claims(), &Value::Null);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let good = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert_eq!(good.len(), 64);
    let with = |signature: &[u8]| verify(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)));
    assert!(with(&good).is_ok());
    let mut flipped = good.clone();
    flipped[10] ^= 1;
    let integer = |bytes: &[u8]| [&[2, 33, 0], bytes].concat();
    let der = [&[0x30, 70], integer(&good[..32]).as_slice(), &integer(&good[32..])].concat();
    let zero_r = [&[0; 32], &good[32..]].concat();
    let zero_s = [&good[..32], &[0; 32]].concat();
    let longer = [good.as_slice(), &[0]].concat();
    for bad in [
        &flipped[..],
        &der,
        &zero_r,
        &zero_s,
        &[0; 64],
        &longer,
        &good[..63],
        &[0xff; 64],
        &[0; 96],
    ] {
        assert_eq!(with(bad), Err(Reason::TokenSignatureInvalid), "{bad:?}");
    }
}

#[test]
fn a_signature_covers_header_and_claims() {
    for algorithm in Algorithm::ALL {
        let token = key(algorithm).token(&claims(), &Value::Null);
        let other = key(algorithm).token(&claims_with(&json!({"sub": "mallory"})), &Value::Null);
        let (signed, _) = token.rsplit_once('.').unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        assert_eq!(
            verify(&format!("{signed}.{signature}")),
            Err(Reason::TokenSignatureInvalid)
        );
        let (header, rest) = token.split_once('.').unwrap();
        let respelled = URL_SAFE_NO_PAD.encode(format!(
            " {}",
            String::from_utf8(URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
        ));
        assert_eq!(
            verify(&format!("{respelled}.{rest}")),
            Err(Reason::TokenSignatureInvalid)
        );
    }
}

#[test]
fn t_jwt_06_encrypted_nested_unencoded_and_detached_tokens_are_malformed() {
    for member in ["crit", "b64", "zip", "enc"] {
        for value in [json!(["x"]), json!([]), json!(false), json!("DEF")] {
            assert_eq!(
                verify_header(&json!({member: value})),
                Err(Reason::TokenMalformed),
                "{member}"
            );
        }
    }
    let token = key(Algorithm::EdDsa).token(&claims(), &Value::Null);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let nested = key(Algorithm::EdDsa).token_from_text(r#"{"alg":"EdDSA","kid":"EdDSA","cty":"JWT"}"#, &token);
    for bad in [
        format!("{header}..{signature}"),
        format!("{token}.{signature}"),
        format!("{token}.{signature}.{signature}"),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!(".{payload}.{signature}"),
        format!("{header}=.{payload}.{signature}"),
        format!("{token}="),
        format!("{token}=="),
        format!(" {token}"),
        format!("{token}\n"),
        token.replacen('.', ". ", 1),
        format!("{header}.{payload}.+/{signature}"),
        nested,
        String::new(),
        "..".to_owned(),
        "a".to_owned(),
        "\u{e9}.\u{e9}.\u{e9}".to_owned(),
    ] {
        assert_eq!(verify(&bad), Err(Reason::TokenMalformed), "{bad}");
    }
}

#[test]
fn base64_that_has_a_second_spelling_is_malformed() {
    // 64 bytes leave four bits of the last character unused; they must be zero.
    let token = key(Algorithm::EdDsa).token(&claims(), &Value::Null);
    let last = token.chars().last().unwrap();
    let sibling = char::from(u8::try_from(last).unwrap() + 1);
    assert!("AQgw".contains(last));
    assert_eq!(
        verify(&format!("{}{sibling}", token.strip_suffix(last).unwrap())),
        Err(Reason::TokenMalformed)
    );
}

#[test]
fn duplicate_keys_in_header_or_claims_are_malformed() {
    let signer = key(Algorithm::EdDsa);
    let header = r#"{"alg":"EdDSA","kid":"EdDSA"}"#;
    let text = claims().to_string();
    assert!(verify(&signer.token_from_text(header, &text)).is_ok());
    for doubled in [
        text.replacen('{', r#"{"groups":["admin"],"#, 1),
        text.replacen('{', r#"{"iss":"https://evil","#, 1),
        text.replacen('{', r#"{"exp":1,"#, 1),
        text.replacen('{', r#"{"deep":[{"a":{"b":1,"b":2}}],"#, 1),
    ] {
        assert_eq!(
            verify(&signer.token_from_text(header, &doubled)),
            Err(Reason::TokenMalformed),
            "{doubled}"
        );
    }
    for doubled in [
        r#"{"alg":"EdDSA","alg":"EdDSA","kid":"EdDSA"}"#,
        r#"{"alg":"EdDSA","kid":"EdDSA","kid":"x"}"#,
        "[]",
        "{}{}",
        "",
    ] {
        assert_eq!(
            verify(&signer.token_from_text(doubled, &text)),
            Err(Reason::TokenMalformed),
            "{doubled}"
        );
    }
}

#[test]
fn the_issuer_must_be_one_string_equal_to_the_configured_one() {
    for issuer in [
        "https://evil",
        "https://idp.example.com/",
        "HTTPS://idp.example.com",
        "http://idp.example.com",
        "",
        " https://idp.example.com",
    ] {
        assert_eq!(
            verify_claims(&json!({"iss": issuer})),
            Err(Reason::IssuerUnknown),
            "{issuer}"
        );
    }
    for issuer in [
        json!(1),
        json!(["https://evil", ISSUER]),
        json!([ISSUER]),
        json!({}),
        json!(true),
    ] {
        assert_eq!(
            verify_claims(&json!({"iss": issuer})),
            Err(Reason::ClaimInvalid),
            "{issuer}"
        );
    }
    assert_eq!(verify_claims(&json!({"iss": null})), Err(Reason::ClaimMissing));
}

#[test]
fn a_refused_issuer_is_named_unless_the_name_deceives() {
    let message = |issuer: &str| {
        let token = key(Algorithm::EdDsa).token(&claims_with(&json!({"iss": issuer})), &Value::Null);
        UnverifiedToken::parse(&token, MAX_BYTES)
            .unwrap()
            .issuer_unknown()
            .message
            .into_owned()
    };
    assert!(message("https://idp.example.com/").contains("`https://idp.example.com/`"));
    assert!(!message("a\u{202E}b").contains('\u{202E}'));
    assert!(message(&"x".repeat(200)).contains("xxx"));
    assert!(!message(&"x".repeat(201)).contains("xxx"));
}

#[test]
fn a_token_without_an_issuer_is_told_from_one_that_flyteadmin_gave_to_a_client() {
    let message = |header: &Value| {
        let token = key(Algorithm::EdDsa).token(&claims_with(&json!({"iss": null})), header);
        let denial = UnverifiedToken::parse(&token, MAX_BYTES).unwrap_err();
        assert_eq!(denial.reason, Reason::ClaimMissing);
        denial.message
    };
    assert_eq!(message(&Value::Null), "the token lacks the claim `iss`");
    let of_a_client = message(&json!({"key_id": "EdDSA"}));
    assert!(
        of_a_client.contains("when a client logs in with its secret"),
        "{of_a_client}"
    );
}

#[test]
fn what_a_token_says_of_its_issuer_and_key_is_known_before_it_is_verified() {
    for (header, key_id) in [
        (json!({"kid": "one"}), "one"),
        (json!({"kid": null, "key_id": "other"}), "other"),
        (json!({"kid": null}), ""),
    ] {
        let token = key(Algorithm::EdDsa).token(&claims(), &header);
        let read = UnverifiedToken::parse(&token, MAX_BYTES).unwrap();
        assert_eq!((read.issuer(), read.key_id()), (ISSUER, key_id));
    }
}

#[test]
fn the_audience_must_be_a_string_or_strings_with_an_accepted_one() {
    for good in [json!("flyte"), json!(["other", "flyte"]), json!(["flyte"])] {
        assert!(verify_claims(&json!({"aud": good})).is_ok(), "{good}");
    }
    for other in [
        json!("Flyte"),
        json!("flyte "),
        json!(""),
        json!([]),
        json!(["other"]),
        json!("flyte,other"),
    ] {
        assert_eq!(
            verify_claims(&json!({"aud": other})),
            Err(Reason::AudienceMismatch),
            "{other}"
        );
    }
    for wrong in [
        json!(1),
        json!({"flyte": true}),
        json!(["flyte", 1]),
        json!([["flyte"]]),
        json!(true),
    ] {
        assert_eq!(
            verify_claims(&json!({"aud": wrong})),
            Err(Reason::ClaimInvalid),
            "{wrong}"
        );
    }
    assert_eq!(verify_claims(&json!({"aud": null})), Err(Reason::ClaimMissing));
}

#[test]
fn t_jwt_11_expiry_holds_to_the_second_with_leeway() {
    assert!(verify_claims(&json!({"exp": NOW - 59})).is_ok());
    assert_eq!(verify_claims(&json!({"exp": NOW - 60})), Err(Reason::TokenExpired));
    assert_eq!(verify_claims(&json!({"exp": 0})), Err(Reason::TokenExpired));
    let exact = IssuerRules { leeway: 0, ..rules() };
    let at = |exp: u64| {
        let token = key(Algorithm::EdDsa).token(&claims_with(&json!({"exp": exp})), &Value::Null);
        verify_by(&token, Scheme::Bearer, &exact, &KEYS.set).map(drop)
    };
    assert_eq!(at(NOW + 1), Ok(()));
    assert_eq!(at(NOW), Err(Reason::TokenExpired));
    assert!(verify_claims(&json!({"exp": 1_800_000_600.0})).is_ok());
}

#[test]
fn t_jwt_11_tokens_from_the_future_are_not_valid_yet() {
    for name in ["nbf", "iat"] {
        assert!(verify_claims(&json!({name: NOW + 60})).is_ok());
        assert!(verify_claims(&json!({name: 1_799_999_999.5})).is_ok());
        assert_eq!(verify_claims(&json!({name: NOW + 61})), Err(Reason::TokenNotYetValid));
    }
}

#[test]
fn times_of_the_wrong_type_are_invalid_and_never_absent() {
    assert_eq!(verify_claims(&json!({"exp": null})), Err(Reason::ClaimMissing));
    for wrong in [
        json!("1900000000"),
        json!(-1),
        json!([]),
        json!({}),
        json!(true),
        json!(1e300),
        json!(u64::MAX),
    ] {
        for name in ["exp", "nbf", "iat"] {
            assert_eq!(
                verify_claims(&json!({name: wrong})),
                Err(Reason::ClaimInvalid),
                "{name}: {wrong}"
            );
        }
    }
    assert_eq!(
        verify_claims(&json!({"exp": 1_800_000_600.5})),
        Err(Reason::ClaimInvalid)
    );
    let signer = key(Algorithm::EdDsa);
    let header = r#"{"alg":"EdDSA","kid":"EdDSA"}"#;
    for (text, reason) in [
        ("1e400", Reason::TokenMalformed),
        ("NaN", Reason::TokenMalformed),
        ("null", Reason::ClaimInvalid),
    ] {
        let text = claims().to_string().replacen(&(NOW + 600).to_string(), text, 1);
        assert_eq!(verify(&signer.token_from_text(header, &text)), Err(reason), "{text}");
    }
    let text = claims().to_string().replacen('{', r#"{"nbf":null,"#, 1);
    assert_eq!(
        verify(&signer.token_from_text(header, &text)),
        Err(Reason::ClaimInvalid)
    );
}

#[test]
fn the_type_of_a_token_must_be_known_and_accepted() {
    let with = |typ: &Value, scheme, types: &[TokenType]| {
        let rules = IssuerRules {
            token_types: types.to_vec(),
            ..rules()
        };
        verify_by(
            &key(Algorithm::EdDsa).token(&claims(), &json!({"typ": typ})),
            scheme,
            &rules,
            &KEYS.set,
        )
        .map(drop)
    };
    let both = [TokenType::IdToken, TokenType::AccessToken];
    for plain in [json!("JWT"), json!("jwt"), json!(null), json!("application/JWT")] {
        assert_eq!(with(&plain, Scheme::Bearer, &both), Ok(()));
        assert_eq!(with(&plain, Scheme::IdToken, &both), Ok(()));
        assert_eq!(
            with(&plain, Scheme::Bearer, &[TokenType::IdToken]),
            Err(Reason::TokenTypeRefused)
        );
        assert_eq!(
            with(&plain, Scheme::IdToken, &[TokenType::AccessToken]),
            Err(Reason::TokenTypeRefused)
        );
    }
    for access in [json!("at+jwt"), json!("application/at+jwt"), json!("AT+JWT")] {
        assert_eq!(with(&access, Scheme::Bearer, &[TokenType::AccessToken]), Ok(()));
        assert_eq!(
            with(&access, Scheme::Bearer, &[TokenType::IdToken]),
            Err(Reason::TokenTypeRefused)
        );
        assert_eq!(with(&access, Scheme::IdToken, &both), Err(Reason::TokenTypeRefused));
    }
    for other in [
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "JOSE",
        "",
        "application/",
        "JWT ",
        "\u{e9}pplication/JWT",
        "aaaaaaaaaaa\u{e9}",
    ] {
        assert_eq!(
            with(&json!(other), Scheme::Bearer, &both),
            Err(Reason::TokenTypeRefused),
            "{other}"
        );
    }
    assert_eq!(
        with(&json!(["JWT"]), Scheme::Bearer, &both),
        Err(Reason::TokenMalformed)
    );
    let logout = json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}});
    assert_eq!(verify_claims(&logout), Err(Reason::TokenTypeRefused));
}

#[test]
fn a_token_that_is_bound_to_a_key_is_no_bearer_token() {
    for proof in [
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
        json!({"kid": "k"}),
        json!({}),
        json!("k"),
        json!([]),
    ] {
        assert_eq!(
            verify_claims(&json!({"cnf": proof})),
            Err(Reason::TokenTypeRefused),
            "{proof}"
        );
    }
}

#[test]
fn a_refresh_token_of_flyteadmin_is_no_access_token() {
    let rules = IssuerRules {
        required_scopes: vec!["all".to_owned()],
        ..rules()
    };
    let with = |changes: &Value| {
        let token = key(Algorithm::EdDsa).token(&claims_with(changes), &Value::Null);
        verify_by(&token, Scheme::Bearer, &rules, &KEYS.set).map(drop)
    };
    for good in [
        json!({"scp": ["all", "offline"]}),
        json!({"scp": "offline all"}),
        json!({"scope": "openid all"}),
    ] {
        assert_eq!(with(&good), Ok(()), "{good}");
    }
    for lacking in [
        json!({}),
        json!({"scp": ["f.all", "access_token", "offline"]}),
        json!({"scp": ["offline all"]}),
        json!({"scope": "ALL"}),
    ] {
        assert_eq!(with(&lacking), Err(Reason::ClaimMissing), "{lacking}");
    }
    for wrong in [
        json!({"scp": {"all": 1}}),
        json!({"scp": ["all", 1]}),
        json!({"scope": ["all"]}),
        json!({"scope": 1}),
    ] {
        assert_eq!(with(&wrong), Err(Reason::ClaimInvalid), "{wrong}");
        assert_eq!(verify_claims(&wrong).map(drop), Err(Reason::ClaimInvalid), "{wrong}");
    }
    let as_id_token = key(Algorithm::EdDsa).token(&claims_with(&json!({"scp": ["offline"]})), &Value::Null);
    assert_eq!(
        verify_by(&as_id_token, Scheme::IdToken, &rules, &KEYS.set),
        Err(Reason::ClaimMissing)
    );
}

#[test]
fn t_jwt_12_required_claims_keep_tenants_apart() {
    let required = RequiredClaim {
        path: ClaimPath::dotted("tid").unwrap(),
        values: vec!["t1".to_owned(), "true".to_owned()],
    };
    let any = RequiredClaim {
        path: ClaimPath::dotted("x.y").unwrap(),
        values: Vec::new(),
    };
    let rules = IssuerRules {
        required_claims: vec![required, any],
        ..rules()
    };
    let with = |changes: &Value| {
        let token = key(Algorithm::EdDsa).token(&claims_with(changes), &Value::Null);
        verify_by(&token, Scheme::Bearer, &rules, &KEYS.set).map(drop)
    };
    for good in [json!("t1"), json!(["t0", "t1"]), json!(true)] {
        assert_eq!(with(&json!({"tid": good, "x": {"y": 0}})), Ok(()), "{good}");
    }
    for other in [
        json!("t2"),
        json!("T1"),
        json!([]),
        json!({"t1": 1}),
        json!(1),
        json!([["t1"]]),
    ] {
        assert_eq!(
            with(&json!({"tid": other, "x": {"y": 0}})),
            Err(Reason::ClaimInvalid),
            "{other}"
        );
    }
    assert_eq!(with(&json!({"x": {"y": 0}})), Err(Reason::ClaimMissing));
    assert_eq!(with(&json!({"tid": "t1", "x": {}})), Err(Reason::ClaimMissing));
    assert_eq!(with(&json!({"tid": "t1", "x": "y"})), Err(Reason::ClaimInvalid));
}

#[test]
fn t_jwt_13_a_token_is_bounded() {
    let token = key(Algorithm::EdDsa).token(&claims_with(&json!({"pad": "x".repeat(MAX_BYTES)})), &Value::Null);
    assert_eq!(verify(&token), Err(Reason::TokenMalformed));
    assert!(UnverifiedToken::parse(&token, token.len()).is_ok());
    assert_eq!(
        UnverifiedToken::parse(&token, token.len() - 1).unwrap_err().reason,
        Reason::TokenMalformed
    );
    assert_eq!(verify(&"a".repeat(1 << 20)), Err(Reason::TokenMalformed));
}

#[test]
fn debug_does_not_print_the_token() {
    let token = key(Algorithm::EdDsa).token(&claims(), &Value::Null);
    let shown = format!("{:?}", UnverifiedToken::parse(&token, MAX_BYTES).unwrap());
    assert!(token.split('.').all(|segment| !shown.contains(segment)), "{shown}");
    assert!(!shown.contains("alice"), "{shown}");
}

#[test]
fn no_single_change_of_a_character_is_accepted() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let token = key(algorithm).token(&claims(), &Value::Null);
        for position in 0..token.len() {
            for replacement in [b'A', b'B', b'.', b'='] {
                let mut changed = token.clone().into_bytes();
                changed[position] = replacement;
                let changed = String::from_utf8(changed).unwrap();
                assert!(changed == token || verify(&changed).is_err(), "{position}: {changed}");
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,200}", header in "[{}\":,a-z0-9 ]{0,60}", claims in "[{}\":,a-z0-9 ]{0,60}") {
        proptest::prop_assert!(verify(&text).is_err());
        let encoded = format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        proptest::prop_assert!(verify(&encoded).is_err());
    }
}

#[test]
fn with_audiences_of_their_own_id_tokens_are_read_by_their_own_mapping_and_no_token_as_either() {
    let rules = IssuerRules {
        id_tokens: Some(IdTokenRules {
            audiences: vec!["console".to_owned()],
            mapping: ClaimMapping {
                subject: ClaimPath::dotted("preferred_username").unwrap(),
                ..ClaimMapping::default()
            },
        }),
        required_scopes: vec!["all".to_owned()],
        ..rules()
    };
    let outcome = |audience: Value, scheme| {
        let changes = json!({"aud": audience, "preferred_username": "alice@example.com", "scp": ["all"]});
        let token = key(Algorithm::Es256).token(&claims_with(&changes), &json!({}));
        verify_by(&token, scheme, &rules, &KEYS.set).map(|principal| principal.subject.to_string())
    };
    assert_eq!(outcome(json!("flyte"), Scheme::Bearer).as_deref(), Ok("alice"));
    assert_eq!(
        outcome(json!(["console"]), Scheme::IdToken).as_deref(),
        Ok("alice@example.com")
    );
    for (audience, scheme) in [
        (json!("flyte"), Scheme::IdToken),
        (json!("console"), Scheme::Bearer),
        (json!(["flyte", "console"]), Scheme::IdToken),
        (json!(["console", "flyte"]), Scheme::Bearer),
        (json!("other"), Scheme::IdToken),
        (json!("other"), Scheme::Bearer),
    ] {
        let refused = outcome(audience.clone(), scheme);
        assert_eq!(refused, Err(Reason::AudienceMismatch), "{audience} {scheme:?}");
    }
    for (claims, expected) in [
        (json!({"aud": "console"}), TokenType::IdToken),
        (json!({"aud": ["other", "console"]}), TokenType::IdToken),
        (json!({"aud": "flyte"}), TokenType::AccessToken),
        (json!({"aud": 1}), TokenType::AccessToken),
        (json!({}), TokenType::AccessToken),
    ] {
        assert_eq!(
            rules.type_by_audience(claims.as_object().unwrap()),
            expected,
            "{claims}"
        );
    }
    for (scheme, accepted) in [(Scheme::IdToken, "`console`"), (Scheme::Bearer, "`flyte`")] {
        let token = key(Algorithm::Es256).token(&claims_with(&json!({"aud": "other"})), &json!({}));
        let parsed = UnverifiedToken::parse(&token, MAX_BYTES).unwrap();
        let denial = parsed.verify(scheme, &rules, &KEYS.set, NOW).unwrap_err();
        assert!(
            denial.message.ends_with(&format!("accepted: {accepted}")),
            "{}",
            denial.message
        );
    }
    // An ID token has no scopes; an access token must have them.
    let without_scope = |audience: &str, scheme| {
        let changes = json!({"aud": audience, "preferred_username": "alice@example.com"});
        let token = key(Algorithm::Es256).token(&claims_with(&changes), &json!({}));
        verify_by(&token, scheme, &rules, &KEYS.set).map(drop)
    };
    assert_eq!(without_scope("console", Scheme::IdToken), Ok(()));
    assert_eq!(without_scope("flyte", Scheme::Bearer), Err(Reason::ClaimMissing));
}
