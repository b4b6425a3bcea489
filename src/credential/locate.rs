//! Finds the credentials a request carries. Nothing here is verified yet.

use super::session::{Session, SessionCookies};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use std::fmt;

/// Where a credential was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialSource<'h> {
    /// The `authorization` header: what FlyteAdmin looks at first.
    AuthorizationHeader,
    /// The cookies of a console session: what FlyteAdmin looks at next, on HTTP only.
    Session(&'h Session),
    /// FlyteAdmin's own header (`flyte-authorization` unless configured otherwise), which passes through ingresses that
    /// use `authorization` themselves.
    FlyteAuthorizationHeader,
}

impl CredentialSource<'_> {
    /// The word used in audit records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::AuthorizationHeader => "authorization",
            Self::Session(_) => "session",
            Self::FlyteAuthorizationHeader => "flyte_authorization",
        }
    }
}

/// What the caller says the token is, in the words of FlyteAdmin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `Bearer`: an access token (RFC 6750).
    Bearer,
    /// `IDToken`: an OIDC ID token.
    IdToken,
}

impl Scheme {
    /// The spelling in which the credential goes upstream.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::IdToken => "IDToken",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Bearer, Self::IdToken]
            .into_iter()
            .find(|scheme| word.eq_ignore_ascii_case(scheme.label()))
    }
}

/// One credential of a request, not verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credential<'h> {
    /// Where it was found.
    pub source: CredentialSource<'h>,
    /// What it is said to be.
    pub scheme: Scheme,
    /// The token. Never write it anywhere.
    pub token: &'h str,
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("source", &self.source)
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

/// The credentials in `authorization`, in the session and in the `extra` header, in that order, which is FlyteAdmin's
/// order of precedence: at least one, at most three. Each must be verified, and all must name the same caller.
///
/// # Errors
/// `credential_missing` if there is none, also if a session cannot be read; `credential_conflict` if a header has two values, even equal ones;
/// `credential_malformed` if a value is not exactly `Bearer TOKEN` or `IDToken TOKEN`, with one space and a token68
/// (RFC 9110 section 11.2). A header that is present but empty is malformed, not missing.
pub fn locate<'h>(
    headers: &'h HeaderMap,
    session: &'h SessionCookies,
    extra: &HeaderName,
) -> Result<Vec<Credential<'h>>, Denial> {
    let mut found = Vec::with_capacity(1);
    found.extend(single(headers, &AUTHORIZATION, CredentialSource::AuthorizationHeader)?);
    if let SessionCookies::Session(session) = session {
        found.push(Credential {
            source: CredentialSource::Session(session),
            scheme: Scheme::IdToken,
            token: session.id_token(),
        });
    }
    if extra != AUTHORIZATION {
        found.extend(single(headers, extra, CredentialSource::FlyteAuthorizationHeader)?);
    }
    match (found.is_empty(), session) {
        (false, _) => Ok(found),
        (true, SessionCookies::Unreadable) => Err(Denial::new(
            Reason::CredentialMissing,
            "the session in the cookies could not be read; log in again",
        )),
        (true, _) => Err(Reason::CredentialMissing.into()),
    }
}

fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    source: CredentialSource<'h>,
) -> Result<Option<Credential<'h>>, Denial> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        let message = format!("the header `{name}` came more than once; send exactly one credential");
        return Err(Denial::new(Reason::CredentialConflict, message));
    }
    let malformed = || {
        let message = format!("the header `{name}` is not of the form `Bearer TOKEN` or `IDToken TOKEN`");
        Denial::new(Reason::CredentialMalformed, message)
    };
    let (word, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(malformed)?;
    match Scheme::from_word(word) {
        Some(scheme) if is_token68(token) => Ok(Some(Credential { source, scheme, token })),
        _ => Err(malformed()),
    }
}

fn is_token68(token: &str) -> bool {
    let unpadded = token.trim_end_matches('=').as_bytes();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    // Without stopping at the first bad byte, so that many are looked at with one instruction: tokens are long.
    !unpadded.is_empty() && unpadded.iter().fold(true, |all, byte| all & plain(*byte))
}

#[cfg(test)]
mod tests;
