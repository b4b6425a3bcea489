//! Heads of requests: every one is classified and answered, and what is accepted has one route, the one its path spells.

use crate::head;
use crate::routes::catalog;
use flyte_authz_proxy::catalog::Binding;
use flyte_authz_proxy::catalog::lookup::Unmatched;
use flyte_authz_proxy::protocol::canonical::accept;
use flyte_authz_proxy::protocol::classify::classify;
use flyte_authz_proxy::protocol::request_id::RequestId;
use flyte_authz_proxy::protocol::{Protocol, RequestHead, deny};
use http::header::{CONNECTION, CONTENT_TYPE, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{Method, StatusCode, Version};

/// The input is a request as [`head::read`] reads it.
pub fn check(input: &[u8]) {
    let Some((parts, _)) = head::read(input) else {
        return;
    };
    let protocol = classify(&parts.method, parts.version, &parts.headers);
    let grpc = parts.version == Version::HTTP_2
        && parts
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"application/grpc"));
    assert!(grpc || protocol != Protocol::Grpc, "{:?}", parts.headers);
    match accept(parts.clone(), protocol, 40) {
        Ok(head) => {
            is_what_came(&head, &parts);
            has_one_route(&head);
        }
        Err(denial) => {
            let answer = deny::respond(protocol, &denial, &RequestId::new(1, 2));
            let grpc_status = answer.headers().get("grpc-status");
            match protocol {
                Protocol::Grpc => {
                    assert!(answer.status() == StatusCode::OK && grpc_status.is_some_and(|status| status != "0"))
                }
                Protocol::Rest | Protocol::RestProto => assert!(answer.status().is_client_error()),
            }
            let plain = |value: &http::HeaderValue| value.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte));
            assert!(answer.headers().values().all(plain), "{:?}", answer.headers());
        }
    }
}

fn is_what_came(head: &RequestHead, parts: &Parts) {
    assert_eq!(
        (head.method(), head.path(), head.version()),
        (&parts.method, parts.uri.path(), parts.version)
    );
    assert_eq!(head.query().unwrap_or_default(), parts.uri.query().unwrap_or_default());
    assert_eq!(*head.headers(), parts.headers);
    assert!(head.method() != Method::CONNECT && head.method() != Method::TRACE && head.method() != Method::PATCH);
    for name in [
        "content-type",
        "content-length",
        "transfer-encoding",
        "host",
        "te",
        "grpc-encoding",
    ] {
        assert!(head.headers().get_all(name).iter().count() <= 1, "{name}");
    }
    for name in [
        UPGRADE.as_str(),
        "x-http-method-override",
        "x-method-override",
        "x-http-method",
    ] {
        assert!(!head.headers().contains_key(name), "{name}");
    }
    let options = head
        .headers()
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    for option in options {
        let option = option.trim_ascii().to_ascii_lowercase();
        assert!(
            [&b""[..], b"close", b"keep-alive", b"te"].contains(&&*option),
            "{option:?}"
        );
    }
    let encoding = head.headers().get(TRANSFER_ENCODING);
    assert!(encoding.is_none_or(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"chunked")));
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let host = head
        .headers()
        .get(HOST)
        .map(|host| host.to_str().expect("a host is ASCII"));
    for said in [authority, host].into_iter().flatten() {
        assert!(said.eq_ignore_ascii_case(head.host()), "{said} is not {}", head.host());
    }
    assert!(!head.host().is_empty() && !head.host().contains(['@', '/', ' ', ',']));
}

fn has_one_route(head: &RequestHead) {
    let (path, method) = (head.path(), head.method());
    if head.protocol() == Protocol::Grpc {
        let route = catalog().lookup_rpc(path);
        assert_eq!(
            route.is_some(),
            catalog().routes.iter().any(|route| *route.rpc == *path),
            "{path}"
        );
        assert!(route.is_none_or(|route| *route.rpc == *path), "{path}");
        return;
    }
    let bindings = catalog().routes.iter().flat_map(|route| &route.bindings);
    let of_path: Vec<&Binding> = bindings.filter(|binding| fits(&binding.template, path)).collect();
    let of_method: Vec<&&Binding> = of_path.iter().filter(|binding| binding.method == *method).collect();
    match (catalog().lookup_rest(method, path), of_method.as_slice()) {
        (Ok(matched), [binding]) => {
            assert!(std::ptr::eq(matched.binding, **binding), "{method} {path}");
            assert!(
                matched.route.bindings.iter().any(|own| std::ptr::eq(own, **binding)),
                "{method} {path}"
            );
            assert_eq!(filled(&binding.template, matched.segments()), path);
            assert!(catalog().lookup_page(path).is_none(), "{path} is a page, too");
        }
        (Err(Unmatched::Path), []) => assert!(of_path.is_empty(), "{path}"),
        (Err(Unmatched::Method), []) => assert!(!of_path.is_empty(), "{path}"),
        (found, wanted) => panic!("{method} {path}: {found:?}, not {wanted:?}"),
    }
    let pages = catalog().pages.iter();
    let of_page = |page: &&flyte_authz_proxy::catalog::Page| {
        *page.path == *path || page.prefix && path.starts_with(&format!("{}/", page.path))
    };
    assert_eq!(
        catalog().lookup_page(path).is_some(),
        pages.filter(of_page).count() > 0,
        "{path}"
    );
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    let fits = |(own, segment): (&&str, &&str)| own == segment || own.starts_with('{') && !segment.is_empty();
    template.len() == path.len() && template.iter().zip(&path).all(fits)
}

fn filled(template: &str, segments: &[&str]) -> String {
    let mut segments = segments.iter();
    let filled = template.split('/').map(|own| {
        let segment = if own.starts_with('{') { segments.next() } else { None };
        segment.copied().unwrap_or(own)
    });
    filled.collect::<Vec<_>>().join("/")
}
