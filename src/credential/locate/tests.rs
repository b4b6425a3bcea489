//! Credentials in headers; ids such as T-HDR-01 are those of the threat catalogue.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::credential::cookie::{BlockKey, CookieKeys, HashKey};
use crate::credential::session;
use crate::secret::Secret;

const FLYTE: HeaderName = HeaderName::from_static("flyte-authorization");

fn headers(fields: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

/// What is found where no load balancer is trusted.
fn locate<'h>(
    headers: &'h HeaderMap,
    session: &'h SessionCookies,
    extra: &HeaderName,
) -> Result<Vec<Credential<'h>>, Denial> {
    super::locate(headers, session, extra, LoadBalancerHeader::Ignored)
}

fn refusal(fields: &[(&'static str, &[u8])]) -> Reason {
    locate(&headers(fields), &SessionCookies::Absent, &FLYTE)
        .unwrap_err()
        .reason
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
        assert_eq!(locate(&headers, &SessionCookies::Absent, &FLYTE).unwrap(), [expected]);
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
    let found: Vec<_> = locate(&headers, &SessionCookies::Absent, &FLYTE)
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
fn without_keys_for_sessions_a_request_with_cookies_only_has_no_credential() {
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
fn a_session_comes_between_the_headers_and_an_unreadable_one_is_told_only_when_there_is_nothing_else() {
    let keys = crate::demo::session::SessionKeys::generate().unwrap();
    let pair = CookieKeys {
        hash: HashKey::from_base64(&Secret::new(keys.hash_key())).unwrap(),
        block: BlockKey::from_base64(&Secret::new(keys.block_key())).unwrap(),
    };
    let cookies = keys.cookies("c", "access", 1).unwrap();
    let headers = headers(&[
        ("flyte-authorization", b"Bearer b"),
        ("cookie", cookies.as_bytes()),
        ("authorization", b"Bearer a"),
    ]);
    let session = session::find(&headers, &[pair], 1).unwrap();
    let found: Vec<_> = locate(&headers, &session, &FLYTE)
        .unwrap()
        .iter()
        .map(|one| (one.source.label(), one.scheme, one.token))
        .collect();
    let expected = [
        ("authorization", Scheme::Bearer, "a"),
        ("session", Scheme::IdToken, "c"),
        ("flyte_authorization", Scheme::Bearer, "b"),
    ];
    assert_eq!(found, expected);

    let denial = locate(&HeaderMap::new(), &SessionCookies::Unreadable, &FLYTE).unwrap_err();
    assert_eq!(denial.reason, Reason::CredentialMissing);
    assert!(denial.message.contains("session") && denial.message.contains("log in again"));
    assert_eq!(locate(&headers, &SessionCookies::Unreadable, &FLYTE).unwrap().len(), 2);
}

#[test]
fn the_extra_header_can_be_renamed_even_to_authorization() {
    let other = HeaderName::from_static("x-flyte-auth");
    let carried = headers(&[("x-flyte-auth", b"Bearer a")]);
    assert_eq!(locate(&carried, &SessionCookies::Absent, &other).unwrap().len(), 1);
    let carried = headers(&[("authorization", b"Bearer a")]);
    assert_eq!(
        locate(&carried, &SessionCookies::Absent, &AUTHORIZATION).unwrap().len(),
        1
    );
}

#[test]
fn debug_does_not_print_the_token() {
    let headers = headers(&[("authorization", b"Bearer very-secret")]);
    let shown = format!("{:?}", locate(&headers, &SessionCookies::Absent, &FLYTE).unwrap());
    assert!(shown.contains("Bearer") && !shown.contains("very-secret"), "{shown}");
}

#[test]
fn the_header_of_a_load_balancer_is_the_last_credential_where_one_is_trusted_and_else_nothing() {
    let both = headers(&[("x-amzn-oidc-data", b"a=.b.c="), ("authorization", b"Bearer a")]);
    let absent = SessionCookies::Absent;
    let found = super::locate(&both, &absent, &FLYTE, LoadBalancerHeader::Credential).unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|credential| (credential.source.label(), credential.scheme, credential.token))
        .collect();
    let expected = [
        ("authorization", Scheme::Bearer, "a"),
        ("load_balancer", Scheme::LoadBalancer, "a=.b.c="),
    ];
    assert_eq!(found, expected);
    assert_eq!(locate(&both, &absent, &FLYTE).unwrap().len(), 1);

    let trusting = |fields: &[(&'static str, &[u8])]| {
        super::locate(&headers(fields), &absent, &FLYTE, LoadBalancerHeader::Credential)
            .map(|found| found.len())
            .map_err(|denial| denial.reason)
    };
    assert_eq!(trusting(&[("x-amzn-oidc-data", b"a")]), Ok(1));
    assert_eq!(
        trusting(&[("x-amzn-oidc-data", b"a"), ("x-amzn-oidc-data", b"a")]),
        Err(Reason::CredentialConflict)
    );
    assert_eq!(trusting(&[("x-amzn-oidc-data", b"\xff")]), Err(Reason::TokenMalformed));
    for other in ["x_amzn_oidc_data", "x-amzn-oidc-identity", "x-amzn-oidc-accesstoken"] {
        assert_eq!(trusting(&[(other, b"a")]), Err(Reason::CredentialMissing), "{other}");
    }
    assert_eq!(refusal(&[("x-amzn-oidc-data", b"a")]), Reason::CredentialMissing);
}
