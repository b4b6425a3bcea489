//! Opaque tokens: which they are, and what an issuer that was asked about one answers (RFC 7662), read in one strict way.

use super::json;
use super::rules::{IssuerRules, TokenType, invalid};
use crate::model::denial::Denial;
use crate::model::principal::Principal;
use crate::model::reason::Reason;
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::IgnoredAny;
use serde_json::Value;
use std::sync::Arc;

/// Lenient, so that a JWT with something odd about it is still known for one.
const SEGMENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why an answer names no caller.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no answer: what was said about the token is not known.
    Unreadable(&'static str),
    /// The token is not accepted.
    Refused(Denial),
}

impl From<Denial> for Fault {
    fn from(denial: Denial) -> Self {
        Self::Refused(denial)
    }
}

/// Whether only its issuer can tell what a token says: it is not of the form of a JWT, three segments of which the first
/// is a JSON object. What has that form, good or bad, is verified by its signature and never shown to anybody.
#[must_use]
pub fn is_opaque(token: &str) -> bool {
    let mut segments = token.split('.');
    let (Some(header), Some(_), Some(_), None) = (segments.next(), segments.next(), segments.next(), segments.next())
    else {
        return true;
    };
    let header = SEGMENT.decode(header).unwrap_or_default();
    !header.trim_ascii_start().starts_with(b"{") || serde_json::from_slice::<IgnoredAny>(&header).is_err()
}

/// The caller that the issuer's answer names at the time `now` (seconds since the Unix epoch). The claims have to pass all
/// that those of a JWT of this issuer would have to; only `iss` may be left out (RFC 7662 section 2.2).
///
/// # Errors
/// What is not a JSON object with distinct keys is unreadable. Refused: `token_inactive` unless `active` is `true`,
/// `token_type_refused` for all that is not a bearer access token, and the reasons of claims.
pub fn principal(answer: &[u8], rules: &IssuerRules, now: u64) -> Result<Principal, Fault> {
    let claims = json::object(answer).map_err(|_| Fault::Unreadable("is not a JSON object with distinct keys"))?;
    if claims.get("active") != Some(&Value::Bool(true)) {
        return Err(Fault::Refused(Reason::TokenInactive.into()));
    }
    match claims.get("iss") {
        None => {}
        Some(Value::String(issuer)) if **issuer == *rules.issuer => {}
        Some(Value::String(_)) => {
            let message = format!(
                "the token is of another issuer than `{}`, letter for letter",
                rules.issuer
            );
            return Err(Denial::new(Reason::IssuerUnknown, message).into());
        }
        Some(_) => return Err(invalid("iss", "a string").into()),
    }
    // `token_use` tells refresh tokens apart at Ory Hydra, and ID tokens elsewhere.
    for (name, accepted) in [
        ("token_type", ["bearer", "bearer"]),
        ("token_use", ["access_token", "access"]),
    ] {
        match claims.get(name) {
            None => {}
            Some(Value::String(word)) if accepted.iter().any(|known| word.eq_ignore_ascii_case(known)) => {}
            Some(_) => {
                let message = format!("the token's `{name}` is not that of a bearer access token");
                return Err(Denial::new(Reason::TokenTypeRefused, message).into());
            }
        }
    }
    let expires_at = rules.check(TokenType::AccessToken, &claims, now)?;
    Ok(rules
        .mapping
        .principal(&rules.issuer, &Arc::new(claims), Some(expires_at))?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use serde_json::json;

    const NOW: u64 = 1_800_000_000;
    const ISSUER: &str = "https://idp.example.com";

    fn rules() -> IssuerRules {
        IssuerRules::new(ISSUER, vec!["flyte".to_owned()])
    }

    fn good() -> Value {
        json!({"active": true, "sub": "alice", "aud": "flyte", "exp": NOW + 60, "iss": ISSUER, "token_type": "Bearer", "groups": ["ml"]})
    }

    /// The answer with changed members; `null` removes one.
    fn changed(changes: &Value) -> String {
        let mut answer = good();
        let members = answer.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            members.insert(name.clone(), value.clone());
        }
        members.retain(|_, value| !value.is_null());
        answer.to_string()
    }

    fn reason(answer: &str) -> Reason {
        match principal(answer.as_bytes(), &rules(), NOW) {
            Err(Fault::Refused(denial)) => denial.reason,
            other => panic!("{answer}: {other:?}"),
        }
    }

    #[test]
    fn an_active_token_names_its_caller_by_the_claims_of_the_answer() {
        for changes in [
            json!({}),
            json!({"iss": null}),
            json!({"token_type": null}),
            json!({"token_type": "bearer", "token_use": "access_token"}),
            json!({"aud": ["other", "flyte"]}),
        ] {
            let caller = principal(changed(&changes).as_bytes(), &rules(), NOW).unwrap();
            assert_eq!((&*caller.issuer, &*caller.subject), (ISSUER, "alice"), "{changes}");
            assert_eq!(
                (caller.groups, caller.expires_at),
                (vec![Arc::from("ml")], Some(NOW + 60))
            );
        }
    }

    #[test]
    fn only_the_truth_value_true_is_active() {
        for active in [
            json!(false),
            json!("true"),
            json!(1),
            json!([true]),
            json!({}),
            Value::Null,
        ] {
            assert_eq!(reason(&changed(&json!({"active": active}))), Reason::TokenInactive);
        }
        assert_eq!(reason("{}"), Reason::TokenInactive);
    }

    #[test]
    fn an_active_token_has_to_pass_every_check_of_claims() {
        for (changes, expected) in [
            (json!({"iss": "https://idp.example.com/"}), Reason::IssuerUnknown),
            (json!({"iss": [ISSUER]}), Reason::ClaimInvalid),
            (json!({"token_type": "DPoP"}), Reason::TokenTypeRefused),
            (json!({"token_type": 1}), Reason::TokenTypeRefused),
            (json!({"token_use": "refresh_token"}), Reason::TokenTypeRefused),
            (
                json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}),
                Reason::TokenTypeRefused,
            ),
            (
                json!({"cnf": {"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}}),
                Reason::TokenTypeRefused,
            ),
            (json!({"exp": null}), Reason::ClaimMissing),
            (json!({"exp": "never"}), Reason::ClaimInvalid),
            (json!({"exp": NOW - 60}), Reason::TokenExpired),
            (json!({"nbf": NOW + 61}), Reason::TokenNotYetValid),
            (json!({"iat": NOW + 61}), Reason::TokenNotYetValid),
            (json!({"aud": null}), Reason::ClaimMissing),
            (json!({"aud": "other"}), Reason::AudienceMismatch),
            (json!({"aud": {"flyte": true}}), Reason::ClaimInvalid),
            (json!({"sub": null}), Reason::ClaimMissing),
            (json!({"sub": "a\u{200b}"}), Reason::ClaimInvalid),
            (json!({"groups": {"ml": true}}), Reason::ClaimInvalid),
        ] {
            assert_eq!(reason(&changed(&changes)), expected, "{changes}");
        }
        let scoped = IssuerRules {
            required_scopes: vec!["all".to_owned()],
            ..rules()
        };
        let scope = |words: &str| principal(changed(&json!({"scope": words})).as_bytes(), &scoped, NOW);
        assert!(scope("openid all").is_ok() && scope("openid allies").is_err());
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_no_answer() {
        let twice = good().to_string().replacen('{', "{\"active\":true,", 1);
        for answer in [
            "",
            "[]",
            "true",
            "<html>",
            "{}{}",
            twice.as_str(),
            "{\"active\":false,\"active\":true}",
        ] {
            let fault = principal(answer.as_bytes(), &rules(), NOW).unwrap_err();
            assert!(matches!(fault, Fault::Unreadable(_)), "{answer}");
        }
    }

    #[test]
    fn whatever_has_the_form_of_a_jwt_is_not_opaque() {
        let encode = |text: &str| SEGMENT.encode(text);
        for header in ["{}", "{\"alg\":\"none\"}", " {\"alg\":\"HS256\"}", "{\"a\":1,\"a\":2}"] {
            for rest in ["x.y", "..", ".", "e30."] {
                let token = format!("{}.{rest}", encode(header));
                assert_eq!(is_opaque(&token), token.matches('.').count() != 2, "{token}");
            }
        }
        // Bits behind the last byte that say nothing.
        assert!(!is_opaque("e31.e30.x"));
        let nested = format!("{}.a.b", encode("[{}]"));
        for token in [
            "",
            "opaque",
            "ory_at_x.y",
            "a.b.c",
            "e.e.e",
            "eyJhbGciOiJub25l.b.c",
            "2YotnFZFEjr1zCsicMWpAA==",
            nested.as_str(),
        ] {
            assert!(is_opaque(token), "{token}");
        }
    }
}
