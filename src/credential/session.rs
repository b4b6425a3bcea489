//! The console's session: the cookies in which FlyteAdmin keeps a person's tokens.

use super::cookie::CookieKeys;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::secret::Secret;
use http::header::{COOKIE, HeaderMap};

const ID_TOKEN: &str = "flyte_idt";
/// The access token as older releases wrote it.
const ACCESS_TOKEN: &str = "flyte_at";
const ACCESS_TOKEN_HALVES: [&str; 2] = ["flyte_at_1", "flyte_at_2"];

/// The cookies that make a session. No other is read or forwarded.
pub const COOKIES: [&str; 4] = [ID_TOKEN, ACCESS_TOKEN, ACCESS_TOKEN_HALVES[0], ACCESS_TOKEN_HALVES[1]];

/// What a request's cookies say about a session.
#[derive(Debug)]
pub enum SessionCookies {
    /// They are not about one, or sessions are not accepted.
    Absent,
    /// Some are there, but what is needed is not, or cannot be read. FlyteAdmin ignores them, too.
    Unreadable,
    /// They are one. What is in it is not verified yet.
    Session(Session),
}

/// A session as it was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Session {
    id_token: Secret,
    cookies: Secret,
}

impl Session {
    /// The ID token in it, not verified.
    #[must_use]
    pub fn id_token(&self) -> &str {
        self.id_token.expose()
    }

    /// The cookies it was read from, as they came, for one `cookie` header.
    #[must_use]
    pub fn cookies(&self) -> &str {
        self.cookies.expose()
    }
}

/// Looks for a session in the cookies of a request. As for FlyteAdmin, the ID token and the access token, whole or in
/// halves, must be there and be readable with one pair of keys at the time `now` (seconds since the Unix epoch). Without
/// keys, sessions are not accepted and nothing is looked at.
///
/// # Errors
/// `credential_conflict` if one of the cookies came twice: FlyteAdmin would take the first, others the last.
pub fn find(headers: &HeaderMap, keys: &[CookieKeys], now: u64) -> Result<SessionCookies, Denial> {
    if keys.is_empty() {
        return Ok(SessionCookies::Absent);
    }
    let found = cookies(headers)?;
    if found.is_empty() {
        return Ok(SessionCookies::Absent);
    }
    let session = keys.iter().find_map(|pair| open(pair, &found, now));
    Ok(session.map_or(SessionCookies::Unreadable, SessionCookies::Session))
}

/// The cookies of [`COOKIES`] in the order in which they came, in any number of headers (RFC 9113 section 8.2.3).
fn cookies(headers: &HeaderMap) -> Result<Vec<(&'static str, &[u8])>, Denial> {
    let mut found: Vec<(&'static str, &[u8])> = Vec::new();
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    for pair in pairs {
        let mut parts = pair.trim_ascii().splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let Some(name) = COOKIES.into_iter().find(|known| known.as_bytes() == name) else {
            continue;
        };
        if found.iter().any(|(other, _)| *other == name) {
            let message =
                format!("the cookie `{name}` came more than once; delete this site's cookies and log in again");
            return Err(Denial::new(Reason::CredentialConflict, message));
        }
        found.push((name, parts.next().unwrap_or_default()));
    }
    Ok(found)
}

/// The session that the cookies make with this pair of keys. FlyteAdmin takes an empty token for none.
fn open(keys: &CookieKeys, found: &[(&'static str, &[u8])], now: u64) -> Option<Session> {
    let mut readable = Vec::with_capacity(found.len());
    for (name, value) in found {
        let text = std::str::from_utf8(value).ok();
        let opened = text.and_then(|text| Some((*name, text, keys.open(name, text, now)?)));
        readable.extend(opened.filter(|(_, _, token)| !token.expose().is_empty()));
    }
    let has = |wanted: &str| readable.iter().any(|(name, ..)| *name == wanted);
    if !has(ACCESS_TOKEN) && !ACCESS_TOKEN_HALVES.into_iter().all(has) {
        return None;
    }
    let sent: Vec<_> = readable
        .iter()
        .map(|(name, text, _)| format!("{name}={text}"))
        .collect();
    let cookies = Secret::new(sent.join("; "));
    let (.., id_token) = readable.into_iter().find(|(name, ..)| *name == ID_TOKEN)?;
    Some(Session { id_token, cookies })
}

#[cfg(test)]
mod tests;
