//! Where a request came from, as the load balancers and ingresses on its way tell: `X-Forwarded-*`, or `Forwarded`
//! (RFC 7239). Only what trusted hops wrote is believed: lists are read from the right, where the nearest hop wrote, and
//! nothing is looked at beyond the first address that is no trusted hop's.

use super::canonical;
use crate::model::denial::Denial;
use crate::model::network::Network;
use crate::model::reason::Reason;
// The addresses of `core` are values and nothing more.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use http::{HeaderMap, HeaderName};

/// The most hops followed from the nearest on, and the most elements that `Forwarded` may have.
const MAX_HOPS: usize = 32;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The headers in which hops tell. A hop passes the others on as the client made them up, so that only one kind counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopHeaders {
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    XForwarded,
    /// `Forwarded`.
    Forwarded,
}

/// The hops that are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedHops {
    /// The networks of their addresses.
    pub networks: Vec<Network>,
    /// Where they tell.
    pub headers: HopHeaders,
}

/// What is known of where a request came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The client's address, or that of the outermost hop that is known.
    pub client: IpAddr,
    /// Whether the client's connection was encrypted, if a hop tells.
    pub encrypted: Option<bool>,
    /// The host and port that the client asked for, if a hop tells; well-formed.
    pub host: Option<Box<str>>,
}

impl Provenance {
    /// That of a request of which no hop tells anything.
    #[must_use]
    pub fn of(client: IpAddr) -> Self {
        Self {
            client: client.to_canonical(),
            encrypted: None,
            host: None,
        }
    }
}

impl TrustedHops {
    /// Whether the address is a trusted hop's.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// Follows a request back from the nearest hop, which is trusted.
    ///
    /// # Errors
    /// `forwarded_invalid` when what a trusted hop wrote cannot be read.
    pub fn provenance(&self, headers: &HeaderMap, nearest: IpAddr) -> Result<Provenance, Denial> {
        match self.headers {
            HopHeaders::XForwarded => self.by_x_forwarded(headers, nearest),
            HopHeaders::Forwarded => self.by_forwarded(headers, nearest),
        }
    }

    fn by_x_forwarded(&self, headers: &HeaderMap, nearest: IpAddr) -> Result<Provenance, Denial> {
        let mut provenance = Provenance::of(nearest);
        let mut hops = 0;
        for entry in from_the_right(headers, &FORWARDED_FOR) {
            let Node::Address(address) = node(entry?).ok_or_else(|| unreadable(&FORWARDED_FOR))? else {
                break;
            };
            provenance.client = address;
            if !self.trusts(address) {
                break;
            }
            hops += 1;
            if hops > MAX_HOPS {
                return Err(unreadable(&FORWARDED_FOR));
            }
        }
        // Each hop either adds what it saw at the right, or leaves what an outer one wrote.
        provenance.encrypted = nth_or_last(headers, &FORWARDED_PROTO, hops)?
            .map(|scheme| encrypted(scheme).ok_or_else(|| unreadable(&FORWARDED_PROTO)))
            .transpose()?;
        provenance.host = nth_or_last(headers, &FORWARDED_HOST, hops)?
            .map(|host| accept_host(host).ok_or_else(|| unreadable(&FORWARDED_HOST)))
            .transpose()?;
        Ok(provenance)
    }

    fn by_forwarded(&self, headers: &HeaderMap, nearest: IpAddr) -> Result<Provenance, Denial> {
        let malformed = || unreadable(&http::header::FORWARDED);
        let mut elements = Vec::new();
        for value in headers.get_all(http::header::FORWARDED) {
            let mut rest = value.to_str().map_err(|_| malformed())?;
            loop {
                let (element, more) = element(rest).ok_or_else(malformed)?;
                elements.push(element);
                if elements.len() > MAX_HOPS {
                    return Err(malformed());
                }
                match more {
                    Some(more) => rest = more,
                    None => break,
                }
            }
        }
        let mut provenance = Provenance::of(nearest);
        for element in elements.into_iter().rev() {
            provenance.encrypted = element.encrypted.or(provenance.encrypted);
            provenance.host = element.host.or(provenance.host);
            let Some(Node::Address(address)) = element.node else {
                break;
            };
            provenance.client = address;
            if !self.trusts(address) {
                break;
            }
        }
        Ok(provenance)
    }
}

fn unreadable(header: &HeaderName) -> Denial {
    let message = format!("a trusted hop passed on the header {header} in a form that cannot be read");
    Denial::new(Reason::ForwardedInvalid, message)
}

/// The entries of a list, which may be in several headers, from the last to the first.
fn from_the_right<'h>(
    headers: &'h HeaderMap,
    name: &'static HeaderName,
) -> impl Iterator<Item = Result<&'h str, Denial>> {
    headers.get_all(name).iter().rev().flat_map(move |value| {
        let text = value.to_str();
        let malformed = text.is_err().then(|| Err(unreadable(name)));
        let entries = text.unwrap_or_default().rsplit(',').map(|entry| Ok(entry.trim_ascii()));
        malformed.into_iter().chain(entries)
    })
}

/// The entry this far from the right, or the first where there are fewer.
fn nth_or_last<'h>(headers: &'h HeaderMap, name: &'static HeaderName, index: usize) -> Result<Option<&'h str>, Denial> {
    from_the_right(headers, name)
        .take(index + 1)
        .try_fold(None, |_, entry| entry.map(Some))
}

fn encrypted(scheme: &str) -> Option<bool> {
    [("https", true), ("http", false)]
        .into_iter()
        .find_map(|(known, encrypted)| scheme.eq_ignore_ascii_case(known).then_some(encrypted))
}

fn accept_host(host: &str) -> Option<Box<str>> {
    canonical::is_host(host).then(|| host.into())
}

/// Who sent a request to a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Address(IpAddr),
    /// The hop does not know, or does not say (RFC 7239, section 6).
    Hidden,
}

/// Reads an address with or without a port, `unknown`, or an identifier that hides one (RFC 7239, section 6); an IPv6 address
/// also without brackets, as in `X-Forwarded-For`.
fn node(text: &str) -> Option<Node> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Node::Address(address.to_canonical()));
    }
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return accept_port(port).then_some(Node::Address(IpAddr::V6(address).to_canonical()));
    }
    let (name, port) = text
        .find(':')
        .and_then(|colon| text.split_at_checked(colon))
        .unwrap_or((text, ""));
    if !accept_port(port) {
        return None;
    }
    if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
        return Some(Node::Hidden);
    }
    let address: Ipv4Addr = name.parse().ok()?;
    Some(Node::Address(IpAddr::V4(address)))
}

/// Accepts nothing, or a colon and a port.
fn accept_port(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix(':').is_some_and(|port| {
            let number =
                port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
            number || is_obfuscated(port)
        })
}

fn is_obfuscated(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.strip_prefix('_')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(plain))
}

/// What one hop wrote in `Forwarded`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    node: Option<Node>,
    encrypted: Option<bool>,
    host: Option<Box<str>>,
}

/// Reads an element (RFC 7239, section 4), and what follows its comma, if there is one.
fn element(text: &str) -> Option<(Element, Option<&str>)> {
    let mut element = Element::default();
    let mut seen: Vec<&str> = Vec::new();
    let mut rest = text;
    loop {
        let (name, value, more) = parameter(rest.trim_ascii_start())?;
        if seen.iter().any(|other| other.eq_ignore_ascii_case(name)) || seen.len() == 8 {
            return None;
        }
        seen.push(name);
        match name.to_ascii_lowercase().as_str() {
            "for" => element.node = Some(node(&value)?),
            "proto" => element.encrypted = Some(encrypted(&value)?),
            "host" => element.host = Some(accept_host(&value)?),
            _ => {}
        }
        let more = more.trim_ascii_start();
        if more.is_empty() {
            return Some((element, None));
        }
        if let Some(more) = more.strip_prefix(',') {
            return Some((element, Some(more)));
        }
        rest = more.strip_prefix(';')?;
    }
}

/// Reads `name=token` or `name="quoted"`, and returns what follows.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let (name, rest) = text.split_once('=')?;
    if name.is_empty() || !name.chars().all(is_token) {
        return None;
    }
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find(|character| !is_token(character)).unwrap_or(rest.len());
        let (value, rest) = rest.split_at_checked(end)?;
        return (!value.is_empty()).then(|| (name, value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some((name, value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            character => value.push(character),
        }
    }
}

/// A character of a token (RFC 9110, section 5.6.2).
fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

#[cfg(test)]
mod tests;
