//! Which headers travel. Towards the API only those on a list; towards pages everything but what could carry another
//! identity; and the proxy's own view of where the request came from.

use super::Port;
use crate::protocol::request_id::{REQUEST_ID, RequestId};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};
use std::net::IpAddr;

/// What an API call may bring along besides its credential: nothing from which the control plane learns an identity,
/// a method or an address.
static API: [HeaderName; 8] = [
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::ACCESS_CONTROL_REQUEST_HEADERS,
    header::ACCESS_CONTROL_REQUEST_METHOD,
    header::CONTENT_TYPE,
    HeaderName::from_static("grpc-accept-encoding"),
    header::ORIGIN,
    header::USER_AGENT,
];

/// More of them, whose values seldom come again.
static API_ONCE: [HeaderName; 4] = [
    HeaderName::from_static("baggage"),
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// Headers that belong to one connection (RFC 9110, section 7.6.1), not to the request.
static HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Headers by which the control plane, or something before it, could be told another identity or origin.
const IDENTITY: &[&str] = &[
    "flyte-authorization",
    "forwarded",
    "from_http",
    "host",
    "true-client-ip",
    "userinfo-bin",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
];

/// How the proxy tells where a request came from.
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

const IDENTITY_PREFIXES: &[&str] = &[
    "client-cert",
    "grpc-metadata-",
    "grpcgateway-",
    "ssl-client-",
    "x-actions-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-auth-request-",
    "x-client-cert",
    "x-forwarded-",
    "x-remote-",
    "x-ssl-",
    "x-user-",
];

/// Where a request came from, as the proxy itself or a trusted hop saw it.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The client's address.
    pub client: IpAddr,
    /// Whether the client's connection was encrypted.
    pub encrypted: bool,
    /// The public host.
    pub host: &'a str,
    /// The request's identifier.
    pub request_id: &'a RequestId,
}

/// The headers of an API call to this port: those on the list, and the origin. The credential is added by the caller.
#[must_use]
pub fn for_api(client: &HeaderMap, origin: Origin<'_>, port: Port) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    for name in &API {
        for value in client.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    for name in &API_ONCE {
        for value in client.get_all(name) {
            headers.append(name, once(value.clone()));
        }
    }
    set_origin(&mut headers, origin, port);
    headers
}

/// The headers of a page request: login needs cookies, so all travel but those that could carry another identity, name a
/// hop, or are spelled with an underscore that a server may read as a dash; of `authorization` only a client's login.
#[must_use]
pub fn for_page(client: &HeaderMap, extra_credential: &HeaderName, origin: Origin<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(client.len() + 4);
    for (name, value) in client {
        if name != extra_credential && name != header::AUTHORIZATION && may_reach_a_page(name.as_str()) {
            headers.append(name.clone(), value.clone());
        }
    }
    if let Some(login) = client_login(client) {
        headers.insert(header::AUTHORIZATION, login.clone());
    }
    set_origin(&mut headers, origin, Port::Http);
    headers
}

/// The login of an OAuth client with its secret, as at `/oauth2/token` (RFC 6749, section 2.3.1). No page needs a token, and
/// `/oauth2/authorize_callback` would give a new one for it, whoever has been revoked meanwhile.
fn client_login(client: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = client.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, _) = value.as_bytes().split_at_checked(b"Basic ".len())?;
    scheme.eq_ignore_ascii_case(b"Basic ").then_some(value)
}

fn may_reach_a_page(name: &str) -> bool {
    !(name.contains('_')
        || HOP_BY_HOP.iter().any(|hop| hop == name)
        || IDENTITY.contains(&name)
        || IDENTITY_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

fn set_origin(headers: &mut HeaderMap, origin: Origin<'_>, port: Port) {
    let scheme = if origin.encrypted { "https" } else { "http" };
    headers.insert(&FORWARDED_PROTO, HeaderValue::from_static(scheme));
    if let Ok(host) = HeaderValue::from_str(origin.host) {
        // HTTP/2 has `:authority` for it (RFC 9113, section 8.3.1).
        if port == Port::Http {
            headers.insert(header::HOST, host.clone());
        }
        headers.insert(&FORWARDED_HOST, host);
    }
    headers.insert(REQUEST_ID, origin.request_id.header());
    if let Ok(client) = HeaderValue::try_from(origin.client.to_string()) {
        headers.insert(&FORWARDED_FOR, once(client));
    }
}

/// A value that the compression of HTTP/2 headers does not keep. It searches its table along all values of one name, and one
/// that does not come again drives out one that does.
fn once(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// Removes from an answer what belonged to the upstream connection.
pub fn clean_response(headers: &mut HeaderMap) {
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;
    use std::net::Ipv4Addr;

    fn origin(request_id: &RequestId) -> Origin<'_> {
        Origin {
            client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
            encrypted: true,
            host: "flyte.example.com",
            request_id,
        }
    }

    fn hostile() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in [
            "Grpc-Metadata-Authorization",
            "Grpc-Metadata-Flyte-Authorization",
            "Grpc-Metadata-Userinfo-Bin",
            "grpcgateway-authorization",
            "from_http",
            "userinfo-bin",
            "X-User-Subject",
            "X-Amzn-Oidc-Data",
            "X-Auth-Request-User",
            "x_auth_request_user",
            "X-Actions-Role",
            "X-Remote-User",
            "X-Forwarded-User",
            "X-Forwarded-Host",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "Forwarded",
            "X-Real-Ip",
            "X-Client-Ip",
            "X-Cluster-Client-Ip",
            "True-Client-Ip",
            "Proxy-Authorization",
            "flyte-authorization",
            "x-custom-auth",
            "X-Request-Id",
            "host",
            "connection",
            "te",
        ] {
            headers.insert(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_static("evil"),
            );
        }
        headers
    }

    #[test]
    fn t_hdr_03_04_08_no_header_of_the_client_carries_another_identity_or_origin() {
        let extra = HeaderName::from_static("x-custom-auth");
        let id = RequestId::new(1, 2);
        let origin = origin(&id);
        for headers in [
            for_api(&hostile(), origin, Port::Http),
            for_page(&hostile(), &extra, origin),
        ] {
            assert!(headers.values().all(|value| value != "evil"), "{headers:?}");
            assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
            assert_eq!(headers["x-forwarded-proto"], "https");
            assert_eq!(headers["x-forwarded-host"], "flyte.example.com");
            assert_eq!(headers["host"], "flyte.example.com");
            assert_eq!(headers["x-request-id"], "000000000000000100000002");
        }
    }

    #[test]
    fn of_authorization_only_the_login_of_a_client_reaches_a_page() {
        let extra = HeaderName::from_static("flyte-authorization");
        let id = RequestId::new(1, 2);
        let sent = |values: &[&'static str]| {
            let mut client = HeaderMap::new();
            for value in values {
                client.append("authorization", HeaderValue::from_static(value));
            }
            let page = for_page(&client, &extra, origin(&id));
            let values = page.get_all("authorization").iter();
            values
                .map(|value| value.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        for login in ["Basic eDp5", "basic eDp5", "BASIC eDp5"] {
            assert_eq!(sent(&[login]), [login]);
        }
        for token in [
            "Bearer e30.e30.x",
            "bearer e30.e30.x",
            "IDToken e30.e30.x",
            "Digest username=x",
            "Basic",
            "Basicx eDp5",
            "Basic\teDp5",
            " Basic eDp5",
            "e30.e30.x",
            "",
        ] {
            assert!(sent(&[token]).is_empty(), "{token}");
            for both in [
                [token, "Basic eDp5"],
                ["Basic eDp5", token],
                ["Basic eDp5", "Basic eDp5"],
            ] {
                assert!(sent(&both).is_empty(), "{both:?}");
            }
        }
    }

    #[test]
    fn a_header_in_several_lines_travels_whole_and_in_order() {
        let mut client = HeaderMap::new();
        for vendor in ["a=1", "b=2", "c=3"] {
            client.append("tracestate", HeaderValue::from_static(vendor));
        }
        let extra = HeaderName::from_static("flyte-authorization");
        let id = RequestId::new(1, 2);
        let origin = origin(&id);
        for headers in [for_api(&client, origin, Port::Grpc), for_page(&client, &extra, origin)] {
            assert!(
                headers.get_all("tracestate").iter().eq(["a=1", "b=2", "c=3"]),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn pages_keep_cookies_and_form_credentials_but_the_api_does_not() {
        let mut client = HeaderMap::new();
        client.insert("cookie", HeaderValue::from_static("flyte_idt=x"));
        client.insert("authorization", HeaderValue::from_static("Basic eDp5"));
        client.insert("traceparent", HeaderValue::from_static("00-1-2-01"));
        let extra = HeaderName::from_static("flyte-authorization");
        let id = RequestId::new(1, 2);
        let page = for_page(&client, &extra, origin(&id));
        assert!(page.contains_key("cookie") && page.contains_key("authorization"));
        let api = for_api(&client, origin(&id), Port::Http);
        assert!(!api.contains_key("cookie") && !api.contains_key("authorization"));
        assert_eq!(api["traceparent"], "00-1-2-01");
    }
}
