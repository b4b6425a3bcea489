//! Checks where FlyteAdmin is said to be.

use super::check::{Check, HOUR, MILLISECOND, SECOND};
use super::document::{EndpointsDocument, Placed, UpstreamDocument};
use super::{Endpoint, Upstream};
use http::uri::{Authority, Scheme};

/// The most hosts of one port.
const MAX_HOSTS: usize = 16;

pub(super) fn check(check: &mut Check<'_>, written: &UpstreamDocument) -> Upstream {
    let grpc = endpoints(check, &written.grpc);
    let http = endpoints(check, &written.http);
    let ca = written.ca.as_ref().map(|ca| {
        if grpc
            .iter()
            .chain(&http)
            .all(|endpoint| endpoint.scheme != Scheme::HTTPS)
        {
            check.warning(
                ca.place(),
                "nothing uses these authorities; `grpc` and `http` are both `http://`",
            );
        }
        check.path(ca)
    });
    Upstream {
        grpc,
        http,
        http_connections: check.count(&written.http_connections, 8..=100_000),
        resolve: check.duration(&written.resolve, SECOND..=HOUR),
        ca,
        connect_timeout: check.duration(&written.connect_timeout, MILLISECOND..=HOUR),
        response_timeout: check.duration(&written.response_timeout, MILLISECOND..=HOUR),
        idle_timeout: check.duration(&written.idle_timeout, MILLISECOND..=HOUR),
    }
}

fn endpoints(check: &mut Check<'_>, written: &Placed<EndpointsDocument>) -> Vec<Endpoint> {
    let hosts = match written.value() {
        EndpointsDocument::One(host) => std::slice::from_ref(host),
        EndpointsDocument::Several(hosts) => hosts,
    };
    if hosts.is_empty() || hosts.len() > MAX_HOSTS {
        let message = format!("the list has {} addresses; write 1 to {MAX_HOSTS}", hosts.len());
        check.error(written.place(), message);
    }
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for host in hosts {
        match endpoint(host) {
            None => {
                let message = format!(
                    "`{host}` is no address of a server; write `http://HOST:PORT` or `https://HOST:PORT` and nothing more"
                );
                check.error(written.place(), message);
            }
            Some(endpoint) if endpoints.contains(&endpoint) => {
                check.error(written.place(), format!("`{host}` is listed twice; write it once"));
            }
            Some(endpoint) => endpoints.push(endpoint),
        }
    }
    if endpoints
        .iter()
        .any(|endpoint| Some(&endpoint.scheme) != endpoints.first().map(|first| &first.scheme))
    {
        check.error(
            written.place(),
            "some addresses are `http://` and others `https://`; write one of them for all",
        );
    }
    endpoints
}

/// One address of a server; a made-up one, and an error, if it is none.
pub(super) fn single(check: &mut Check<'_>, written: &Placed<String>) -> Endpoint {
    endpoint(written.value()).unwrap_or_else(|| {
        let message = format!(
            "`{}` is no address of a server; write `http://HOST:PORT` or `https://HOST:PORT` and nothing more",
            written.value()
        );
        check.error(written.place(), message);
        Endpoint {
            scheme: Scheme::HTTP,
            authority: Authority::from_static("invalid"),
        }
    })
}

fn endpoint(written: &str) -> Option<Endpoint> {
    let parts = written.parse::<http::Uri>().ok()?.into_parts();
    let bare = parts.path_and_query.is_none_or(|path| path == "/");
    let (scheme, authority): (Scheme, Authority) = (parts.scheme?, parts.authority?);
    let known = scheme == Scheme::HTTP || scheme == Scheme::HTTPS;
    (bare && known && !authority.as_str().contains('@')).then_some(Endpoint { scheme, authority })
}
