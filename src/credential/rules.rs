//! What an issuer's tokens must be like to be accepted.

use super::claims::{ClaimMapping, ClaimPath};
use super::key_set::Algorithm;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use serde_json::{Map, Value};
use std::sync::Arc;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenType {
    /// Says who logged in (OpenID Connect Core).
    IdToken,
    /// Grants access to an API (RFC 9068, or a plain JWT).
    AccessToken,
}

/// A claim that must be there.
#[derive(Clone, Debug)]
pub struct RequiredClaim {
    /// Which.
    pub path: ClaimPath,
    /// The values accepted: the claim must be one of them, or a list that has one of them. Empty: any value.
    pub values: Vec<String>,
}

/// What is different in an issuer's ID tokens.
#[derive(Clone, Debug)]
pub struct IdTokenRules {
    /// The audiences of ID tokens; access tokens must have none of them, and ID tokens none of
    /// [`IssuerRules::audiences`], so that no token can be read by the mapping that is meant for the other kind.
    pub audiences: Vec<String>,
    /// Which claims of an ID token name the caller.
    pub mapping: ClaimMapping,
}

/// What one issuer's tokens must be like. Every check is always made: there is no way to leave out issuer, audience,
/// expiry or signature.
#[derive(Clone, Debug)]
pub struct IssuerRules {
    /// The exact `iss`.
    pub issuer: Arc<str>,
    /// The audiences accepted: `aud` must have one of them. Never empty.
    pub audiences: Vec<String>,
    /// What is different in ID tokens, if anything is.
    pub id_tokens: Option<IdTokenRules>,
    /// The signature algorithms accepted.
    pub algorithms: Vec<Algorithm>,
    /// The types of token accepted.
    pub token_types: Vec<TokenType>,
    /// Claims that must be there.
    pub required_claims: Vec<RequiredClaim>,
    /// Scopes that must all be granted, in `scp` or `scope`, whatever the type of token; with [`Self::id_tokens`] to
    /// access tokens only. FlyteAdmin's own authorization server needs `all` here: it signs its refresh tokens and codes
    /// with the same key.
    pub required_scopes: Vec<String>,
    /// How far clocks may differ, in seconds.
    pub leeway: u64,
    /// Which claims name the caller.
    pub mapping: ClaimMapping,
}

impl IssuerRules {
    /// The rules for an issuer with every default: RS256, ES256 and EdDSA, both types of token, 60 s leeway.
    #[must_use]
    pub fn new(issuer: &str, audiences: Vec<String>) -> Self {
        Self {
            issuer: Arc::from(issuer),
            audiences,
            id_tokens: None,
            algorithms: Algorithm::DEFAULT.to_vec(),
            token_types: vec![TokenType::IdToken, TokenType::AccessToken],
            required_claims: Vec::new(),
            required_scopes: Vec::new(),
            leeway: 60,
            mapping: ClaimMapping::default(),
        }
    }

    /// Checks the claims of a token whose signature is good; returns `exp`.
    ///
    /// # Errors
    /// `token_type_refused` for a token that is bound to a key; the first claim that is missing, of the wrong type, or not
    /// accepted.
    pub(super) fn check(&self, token_type: TokenType, claims: &Map<String, Value>, now: u64) -> Result<u64, Denial> {
        refuse_bound(claims)?;
        let expires_at = expiry(claims, self.leeway, now)?;
        begun(claims, self.leeway, now)?;
        self.check_audience(token_type, claims)?;
        for required in &self.required_claims {
            required.check(claims)?;
        }
        if self.id_tokens.is_none() || token_type == TokenType::AccessToken {
            self.check_scopes(claims)?;
        }
        Ok(expires_at)
    }

    /// Which claims name the caller in this type of token.
    #[must_use]
    pub fn mapping(&self, token_type: TokenType) -> &ClaimMapping {
        match (&self.id_tokens, token_type) {
            (Some(id_tokens), TokenType::IdToken) => &id_tokens.mapping,
            _ => &self.mapping,
        }
    }

    /// What type of token has these claims, as far as the audience tells.
    #[must_use]
    pub fn type_by_audience(&self, claims: &Map<String, Value>) -> TokenType {
        let audiences = claims.get("aud").and_then(strings).unwrap_or_default();
        match &self.id_tokens {
            Some(id_tokens) if any_of(&audiences, &id_tokens.audiences) => TokenType::IdToken,
            _ => TokenType::AccessToken,
        }
    }

    fn check_audience(&self, token_type: TokenType, claims: &Map<String, Value>) -> Result<(), Denial> {
        let audiences = match claims.get("aud") {
            None => return Err(missing("aud")),
            Some(value) => strings(value).ok_or_else(|| invalid("aud", "a string or a list of strings"))?,
        };
        let for_access_tokens = any_of(&audiences, &self.audiences);
        let for_id_tokens = match &self.id_tokens {
            Some(id_tokens) => any_of(&audiences, &id_tokens.audiences),
            None if for_access_tokens => return Ok(()),
            None => false,
        };
        let message = match (token_type, for_access_tokens, for_id_tokens) {
            (TokenType::AccessToken, true, false) | (TokenType::IdToken, false, true) => return Ok(()),
            (_, true, true) => {
                "the token names an audience of ID tokens and one of access tokens and could be read as either".into()
            }
            (TokenType::AccessToken, false, true) => {
                "the token has the audience of ID tokens; send it as `IDToken TOKEN`".into()
            }
            (TokenType::IdToken, true, false) => {
                "the token has the audience of access tokens; send it as `Bearer TOKEN`".into()
            }
            (_, false, false) => {
                let accepted = match (&self.id_tokens, token_type) {
                    (Some(id_tokens), TokenType::IdToken) => &id_tokens.audiences,
                    _ => &self.audiences,
                };
                format!(
                    "the token was issued for another audience; accepted: `{}`",
                    accepted.join("`, `")
                )
            }
        };
        Err(Denial::new(Reason::AudienceMismatch, message))
    }

    fn check_scopes(&self, claims: &Map<String, Value>) -> Result<(), Denial> {
        let mut granted = Vec::new();
        for (name, list_allowed) in [("scp", true), ("scope", false)] {
            match claims.get(name) {
                None => {}
                Some(Value::String(words)) => granted.extend(words.split(' ')),
                Some(value) if list_allowed => {
                    granted.extend(strings(value).ok_or_else(|| invalid(name, "a string or a list of strings"))?);
                }
                Some(_) => return Err(invalid(name, "a string")),
            }
        }
        match self
            .required_scopes
            .iter()
            .find(|scope| !granted.contains(&scope.as_str()))
        {
            None => Ok(()),
            Some(scope) => Err(Denial::new(
                Reason::ClaimMissing,
                format!("the token lacks the scope `{scope}`"),
            )),
        }
    }
}

impl RequiredClaim {
    fn check(&self, claims: &Map<String, Value>) -> Result<(), Denial> {
        let value = self.path.find(claims)?.ok_or_else(|| missing(&self.path))?;
        if self.values.is_empty() {
            return Ok(());
        }
        let accepted = match value {
            Value::Array(items) => items.iter().any(|item| self.accepts(item)),
            other => self.accepts(other),
        };
        if accepted {
            Ok(())
        } else {
            Err(invalid(&self.path, "one of the values accepted"))
        }
    }

    fn accepts(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.values.iter().any(|accepted| accepted == text),
            // `true` and `1` are written as such in the configuration.
            Value::Bool(_) | Value::Number(_) => self.values.contains(&value.to_string()),
            _ => false,
        }
    }
}

/// `cnf` (RFC 7800) binds a token to a key: with `DPoP` (RFC 9449) or mutual TLS (RFC 8705) it counts only together with a
/// proof of that key, so that whoever has got hold of it alone has nothing. No proof is looked at here.
fn refuse_bound(claims: &Map<String, Value>) -> Result<(), Denial> {
    if !claims.contains_key("cnf") {
        return Ok(());
    }
    Err(Denial::new(
        Reason::TokenTypeRefused,
        "the token is bound to a key (`cnf`, as for DPoP or mutual TLS), of which no proof can be sent here; ask the issuer for \
         a bearer token",
    ))
}

/// `exp` (RFC 7519 section 4.1.4), which must be there and not over, give or take the leeway.
pub(super) fn expiry(claims: &Map<String, Value>, leeway: u64, now: u64) -> Result<u64, Denial> {
    let expires_at = match claims.get("exp") {
        None => return Err(missing("exp")),
        Some(value) => seconds(value)
            .filter(|_| is_whole(value))
            .ok_or_else(|| invalid("exp", "a whole number of seconds"))?,
    };
    if now >= expires_at.saturating_add(leeway) {
        let message = format!("the token expired {} s ago; log in again", now - expires_at);
        return Err(Denial::new(Reason::TokenExpired, message));
    }
    Ok(expires_at)
}

/// `nbf` and `iat` (RFC 7519 sections 4.1.5 and 4.1.6) must not be in the future, give or take the leeway.
pub(super) fn begun(claims: &Map<String, Value>, leeway: u64, now: u64) -> Result<(), Denial> {
    for name in ["nbf", "iat"] {
        let Some(value) = claims.get(name) else { continue };
        let from = seconds(value).ok_or_else(|| invalid(name, "a number of seconds"))?;
        if from > now.saturating_add(leeway) {
            let message = format!(
                "the token's `{name}` is {} s in the future; check the clocks",
                from - now
            );
            return Err(Denial::new(Reason::TokenNotYetValid, message));
        }
    }
    Ok(())
}

/// The refusal for a claim that is not there.
pub(super) fn missing(name: impl std::fmt::Display) -> Denial {
    Denial::new(Reason::ClaimMissing, format!("the token lacks the claim `{name}`"))
}

/// The refusal for a claim that is not what it must be.
pub(super) fn invalid(name: impl std::fmt::Display, wanted: &str) -> Denial {
    Denial::new(
        Reason::ClaimInvalid,
        format!("the token's claim `{name}` is not {wanted}"),
    )
}

fn any_of(audiences: &[&str], accepted: &[String]) -> bool {
    accepted.iter().any(|accepted| audiences.contains(&accepted.as_str()))
}

/// A list of strings, or one string. `None` for anything else.
fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(items) => items.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn is_whole(value: &Value) -> bool {
    value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// A point in time, fractions cut off. `None` unless it is a number from 0 to 2^53, which every sender can write.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked and the fraction is meant to go"
)]
pub(crate) fn seconds(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    (0.0..=9_007_199_254_740_992.0)
        .contains(&number)
        .then_some(number as u64)
}
