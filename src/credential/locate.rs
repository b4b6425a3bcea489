//! Finds the credentials a request carries. Nothing here is verified yet.

use super::load_balancer::HEADER;
use super::session::{Session, SessionCookies};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
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
    /// The header in which an AWS load balancer tells whom it has logged in; on HTTP only, because such a load balancer
    /// logs nobody in to gRPC.
    LoadBalancer,
}

impl CredentialSource<'_> {
    /// The word used in audit records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::AuthorizationHeader => "authorization",
            Self::Session(_) => "session",
            Self::FlyteAuthorizationHeader => "flyte_authorization",
            Self::LoadBalancer => "load_balancer",
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
    /// No word of FlyteAdmin: signed claims of an AWS load balancer.
    LoadBalancer,
}

impl Scheme {
    /// The word before the token as it goes upstream; none for a load balancer's claims.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::IdToken => "IDToken",
            Self::LoadBalancer => "",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Bearer, Self::IdToken]
            .into_iter()
            .find(|scheme| word.eq_ignore_ascii_case(scheme.label()))
    }
}

/// What the header of an AWS load balancer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadBalancerHeader {
    /// A credential.
    Credential,
    /// Nothing: anybody can have written it.
    Ignored,
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
/// order of precedence, and then that of a load balancer, if one is trusted: at least one, at most four. Each must be
/// verified, and all must name the same caller.
///
/// # Errors
/// `credential_missing` if there is none, also if a session cannot be read; `credential_conflict` if a header has two values, even equal ones;
/// `credential_malformed` if a value is not exactly `Bearer TOKEN` or `IDToken TOKEN`, with one space and a token68
/// (RFC 9110 section 11.2). A header that is present but empty is malformed, not missing.
pub fn locate<'h>(
    headers: &'h HeaderMap,
    session: &'h SessionCookies,
    extra: &HeaderName,
    load_balancer: LoadBalancerHeader,
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
    if load_balancer == LoadBalancerHeader::Credential
        && let Some(value) = only(headers, &HEADER)?
    {
        found.push(Credential {
            source: CredentialSource::LoadBalancer,
            scheme: Scheme::LoadBalancer,
            token: value.to_str().map_err(|_| Reason::TokenMalformed)?,
        });
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
    let Some(value) = only(headers, name)? else {
        return Ok(None);
    };
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

/// The value of a header that must not come twice.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Denial> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        let message = format!("the header `{name}` came more than once; send exactly one credential");
        return Err(Denial::new(Reason::CredentialConflict, message));
    }
    Ok(first)
}

fn is_token68(token: &str) -> bool {
    let unpadded = token.trim_end_matches('=').as_bytes();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    // Without stopping at the first bad byte, so that many are looked at with one instruction: tokens are long.
    !unpadded.is_empty() && unpadded.iter().fold(true, |all, byte| all & plain(*byte))
}

#[cfg(test)]
mod tests;
