//! Finds the credentials a request carries. Nothing here is verified yet.

use crate::model::denial::Denial;
use crate::model::reason::Reason;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use std::fmt;

/// Where a credential was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialSource {
    /// The `authorization` header: what FlyteAdmin looks at first.
    AuthorizationHeader,
    /// FlyteAdmin's own header (`flyte-authorization` unless configured otherwise), which passes through ingresses that
    /// use `authorization` themselves.
    FlyteAuthorizationHeader,
}

impl CredentialSource {
    /// The word used in audit records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::AuthorizationHeader => "authorization",
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
    pub source: CredentialSource,
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

/// The credentials in `authorization` and in the `extra` header, in that order, which is FlyteAdmin's order of
/// precedence: at least one, at most two. Each must be verified, and all must name the same caller.
///
/// # Errors
/// `credential_missing` if there is none; `credential_conflict` if a header has two values, even equal ones;
/// `credential_malformed` if a value is not exactly `Bearer TOKEN` or `IDToken TOKEN`, with one space and a token68
/// (RFC 9110 section 11.2). A header that is present but empty is malformed, not missing.
pub fn locate<'h>(headers: &'h HeaderMap, extra: &HeaderName) -> Result<Vec<Credential<'h>>, Denial> {
    let mut found = Vec::with_capacity(1);
    found.extend(single(headers, &AUTHORIZATION, CredentialSource::AuthorizationHeader)?);
    if extra != AUTHORIZATION {
        found.extend(single(headers, extra, CredentialSource::FlyteAuthorizationHeader)?);
    }
    if found.is_empty() {
        return Err(Reason::CredentialMissing.into());
    }
    Ok(found)
}

fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    source: CredentialSource,
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
    let unpadded = token.trim_end_matches('=');
    !unpadded.is_empty()
        && unpadded
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const FLYTE: HeaderName = HeaderName::from_static("flyte-authorization");

    fn headers(fields: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn refusal(fields: &[(&'static str, &[u8])]) -> Reason {
        locate(&headers(fields), &FLYTE).unwrap_err().reason
    }

    #[test]
    fn t_hdr_11_12_both_schemes_are_accepted_in_any_case() {
        for (value, scheme) in [
            ("Bearer a.b.c", Scheme::Bearer),
            ("bearer a.b.c", Scheme::Bearer),
            ("BEARER a.b.c", Scheme::Bearer),
            ("IDToken a.b.c", Scheme::IdToken),
            ("idtoken a.b.c", Scheme::IdToken),
        ] {
            let headers = headers(&[("authorization", value.as_bytes())]);
            let expected = Credential {
                source: CredentialSource::AuthorizationHeader,
                scheme,
                token: "a.b.c",
            };
            assert_eq!(locate(&headers, &FLYTE).unwrap(), [expected]);
        }
    }

    #[test]
    fn t_hdr_07_11_everything_but_one_scheme_and_one_token_is_malformed() {
        for value in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Bearer  a",
            b"Bearer a b",
            b"Bearer a ",
            b" Bearer a",
            b"Bearer\ta",
            b"Bearer a,b",
            b"Bearer a, Bearer b",
            b"Bearer =",
            b"Bearer a=b",
            b"Basic dTpw",
            b"Token a",
            b"a.b.c",
            b"Bearer a\xff",
            b"Bearer \xc3\xa9",
            b"\xffBearer a",
            b"IDToken",
            b"IDTokenX a",
            b"Bearer\xa0a",
        ] {
            for name in ["authorization", "flyte-authorization"] {
                assert_eq!(
                    refusal(&[(name, value)]),
                    Reason::CredentialMalformed,
                    "{name}: {value:?}"
                );
            }
        }
    }

    #[test]
    fn t_hdr_01_two_values_of_one_header_conflict_even_when_equal() {
        for second in [&b"Bearer a"[..], b"Bearer b", b"", b"Basic x"] {
            let twice = [("authorization", &b"Bearer a"[..]), ("authorization", second)];
            assert_eq!(refusal(&twice), Reason::CredentialConflict);
            let twice = [
                ("flyte-authorization", &b"Bearer a"[..]),
                ("flyte-authorization", second),
            ];
            assert_eq!(refusal(&twice), Reason::CredentialConflict);
        }
    }

    #[test]
    fn t_hdr_02_both_headers_are_found_in_the_order_of_precedence_and_others_are_not_looked_at() {
        let headers = headers(&[
            ("proxy-authorization", b"Bearer d"),
            ("flyte-authorization", b"IDToken b"),
            ("cookie", b"flyte_idt=c"),
            ("authorization", b"Bearer a"),
        ]);
        let found: Vec<_> = locate(&headers, &FLYTE)
            .unwrap()
            .iter()
            .map(|one| (one.source, one.token))
            .collect();
        let expected = [
            (CredentialSource::AuthorizationHeader, "a"),
            (CredentialSource::FlyteAuthorizationHeader, "b"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn one_malformed_credential_refuses_the_request_whatever_the_other_is() {
        let fields = [
            ("authorization", &b"Basic dTpw"[..]),
            ("flyte-authorization", b"Bearer a"),
        ];
        assert_eq!(refusal(&fields), Reason::CredentialMalformed);
        let fields = [("authorization", &b"Bearer a"[..]), ("flyte-authorization", b"")];
        assert_eq!(refusal(&fields), Reason::CredentialMalformed);
    }

    #[test]
    fn a_request_with_cookies_only_has_no_credential() {
        assert_eq!(refusal(&[]), Reason::CredentialMissing);
        assert_eq!(
            refusal(&[("cookie", b"flyte_idt=a; flyte_at=b")]),
            Reason::CredentialMissing
        );
        assert_eq!(
            refusal(&[("proxy-authorization", b"Bearer d")]),
            Reason::CredentialMissing
        );
    }

    #[test]
    fn the_extra_header_can_be_renamed_even_to_authorization() {
        let other = HeaderName::from_static("x-flyte-auth");
        let carried = headers(&[("x-flyte-auth", b"Bearer a")]);
        assert_eq!(locate(&carried, &other).unwrap().len(), 1);
        let carried = headers(&[("authorization", b"Bearer a")]);
        assert_eq!(locate(&carried, &AUTHORIZATION).unwrap().len(), 1);
    }

    #[test]
    fn debug_does_not_print_the_token() {
        let headers = headers(&[("authorization", b"Bearer very-secret")]);
        let shown = format!("{:?}", locate(&headers, &FLYTE).unwrap());
        assert!(shown.contains("Bearer") && !shown.contains("very-secret"), "{shown}");
    }
}
