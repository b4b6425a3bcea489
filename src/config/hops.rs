//! Checks what a listener says of the hops before it, and where it leads browsers.

use super::check::Check;
use super::document::{HopHeadersWord, IdentityDocument, ListenerDocument, Placed, RedirectDocument};
use super::{RedirectToHttps, TrustedHops};
use crate::model::network::{Network, NetworkError};
use crate::protocol::hops::HopHeaders;
use std::sync::Arc;

/// The shortest prefixes accepted: nobody's load balancers have more addresses than `10.0.0.0/8` or `fc00::/7` hold.
const SHORTEST_IPV4: u8 = 8;
const SHORTEST_IPV6: u8 = 7;

pub(super) fn check(check: &mut Check<'_>, written: &ListenerDocument) -> Option<Arc<TrustedHops>> {
    let mut networks: Vec<Network> = Vec::new();
    for text in &written.trusted_hops {
        let Some(network) = network(check, text) else { continue };
        if networks.contains(&network) {
            check.error(text.place(), format!("`{network}` is listed twice; keep one of them"));
        }
        networks.push(network);
    }
    let headers = match written.hop_headers.value() {
        HopHeadersWord::XForwarded => HopHeaders::XForwarded,
        HopHeadersWord::Forwarded => HopHeaders::Forwarded,
    };
    if !written.trusted_hops.is_empty() {
        return Some(Arc::new(TrustedHops { networks, headers }));
    }
    if *written.proxy_protocol.value() {
        check.error(
            written.proxy_protocol.place(),
            "every connection would be refused: only trusted hops may send the header of the PROXY protocol; write the networks \
             of your load balancers as `trusted_hops`",
        );
    }
    if headers != HopHeaders::XForwarded {
        check.warning(
            written.hop_headers.place(),
            "`hop_headers` has no effect without `trusted_hops`; write those, or leave it out",
        );
    }
    None
}

fn network(check: &mut Check<'_>, written: &Placed<String>) -> Option<Network> {
    let text = written.value();
    let message = match text.parse::<Network>() {
        Ok(network) => {
            let shortest = if network.is_ipv4() {
                SHORTEST_IPV4
            } else {
                SHORTEST_IPV6
            };
            if network.prefix() >= shortest {
                return Some(network);
            }
            if network.prefix() == 0 {
                format!(
                    "with `{text}` every client would be believed to be whoever it says; write the networks of your load \
                     balancers and ingresses only, such as `10.20.0.0/16`"
                )
            } else {
                format!(
                    "`{text}` is wider than any network of load balancers; write those of yours, with a prefix of {shortest} \
                     bits or more"
                )
            }
        }
        Err(NetworkError::Form) => {
            format!("`{text}` is no network; write an address and a prefix, such as `10.20.0.0/16` or `fd00:20::/64`")
        }
        Err(NetworkError::Address(network)) => format!("`{text}` has no prefix; write `{network}`"),
        Err(NetworkError::HostBits(network)) => {
            format!("`{text}` has bits beyond its prefix; write `{network}`, or a longer prefix")
        }
        Err(NetworkError::Prefix(bits)) => format!("the prefix of `{text}` is too long; write at most {bits} bits"),
        Err(NetworkError::Mapped) => {
            format!("`{text}` holds IPv4 addresses; write the network in IPv4 form, which is found in both forms")
        }
    };
    check.error(written.place(), message);
    None
}

pub(super) fn redirect(check: &mut Check<'_>, listener: &ListenerDocument) -> Option<RedirectToHttps> {
    let written = listener.redirect_to_https.as_ref()?;
    let place = written.hosts.place();
    let unfit: Vec<&str> = [
        (listener.tls.is_some(), "`tls`"),
        (!matches!(listener.identity, IdentityDocument::Tokens), "`identity`"),
        (listener.accept.is_some(), "`accept`"),
    ]
    .into_iter()
    .filter_map(|(written, key)| written.then_some(key))
    .collect();
    if !unfit.is_empty() {
        let message = format!(
            "a listener with `redirect_to_https` does nothing but that, in plain text; leave out {}",
            unfit.join(", ")
        );
        check.error(place, message);
    }
    if written.hosts.value().is_empty() {
        check.error(
            place,
            "there is no host to which browsers may be led; write the public host names, such as `flyte.example.com`",
        );
    }
    Some(RedirectToHttps {
        hosts: host_names(check, written.hosts.value()),
        port: port(check, written),
    })
}

/// Host names, each once.
pub(super) fn host_names(check: &mut Check<'_>, written: &[Placed<String>]) -> Vec<Box<str>> {
    let mut hosts: Vec<Box<str>> = Vec::new();
    for host in written {
        let Some(name) = host_name(host.value()) else {
            let message = format!(
                "`{}` is no host name; write one such as `flyte.example.com`, without scheme, port or wildcard",
                host.value()
            );
            check.error(host.place(), message);
            continue;
        };
        if hosts.contains(&name) {
            check.error(host.place(), format!("`{name}` is listed twice; keep one of them"));
        }
        hosts.push(name);
    }
    hosts
}

/// A host name (RFC 1123, section 2.1) in lower case.
fn host_name(text: &str) -> Option<Box<str>> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    (text.len() <= 253 && text.split('.').all(is_label)).then(|| text.to_ascii_lowercase().into())
}

fn port(check: &mut Check<'_>, written: &RedirectDocument) -> u16 {
    check.count(&written.port, 1..=65535)
}
