//! Accepts a request head in one spelling only. What a second parser could read differently is refused here, so that
//! everything behind works on one meaning.

use super::{Protocol, RequestHead};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use http::header::{self, HeaderName};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, Version};

/// The longest path accepted, in bytes; the longest in the API has nine names of at most 255.
const MAX_PATH: usize = 8 << 10;
/// The longest gRPC path accepted, in bytes: several times that of the longest method.
const MAX_RPC_PATH: usize = 256;
/// The longest query accepted, in bytes.
const MAX_QUERY: usize = 16 << 10;

/// Headers of which a second value would leave it open which one counts.
static SINGLE: [HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::HOST,
    header::TE,
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-timeout"),
];

/// How long the caller waits for an answer (gRPC over HTTP/2, "Requests").
pub static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Headers that make the gateway run another method than the one on the request line.
static METHOD_OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("x-http-method"),
];

/// Turns a request head into its one accepted form, or says which rule it breaks.
///
/// # Errors
/// `http_method_refused`, `path_not_canonical`, `host_invalid`, `header_ambiguous`, `method_override`,
/// `upgrade_refused`, `content_type_unsupported`, `timeout_invalid`, `headers_too_large`.
pub fn accept(parts: Parts, protocol: Protocol, max_headers: usize) -> Result<RequestHead, Denial> {
    let Parts {
        method,
        uri,
        version,
        headers,
        ..
    } = parts;
    accept_method(&method, protocol)?;
    accept_headers(&headers, max_headers)?;
    let host = accept_host(uri.authority(), &headers, version)?;
    let path = uri.path();
    let query = uri.query();
    match protocol {
        Protocol::Grpc => accept_rpc_path(path, query.is_some())?,
        Protocol::Rest | Protocol::RestProto => accept_path(path)?,
    }
    if query.is_some_and(|query| query.len() > MAX_QUERY) {
        return Err(Denial::new(
            Reason::QueryRefused,
            format!("the query is longer than {MAX_QUERY} bytes"),
        ));
    }
    if protocol == Protocol::Grpc {
        accept_grpc_content_type(&headers)?;
    }
    accept_timeout(&headers)?;
    let target = match query {
        Some("") => PathAndQuery::try_from(path).map_err(|_| Reason::PathNotCanonical)?,
        _ => uri.into_parts().path_and_query.ok_or(Reason::PathNotCanonical)?,
    };
    Ok(RequestHead {
        method,
        target,
        host,
        version,
        headers,
        protocol,
    })
}

fn accept_method(method: &Method, protocol: Protocol) -> Result<(), Denial> {
    let accepted = match protocol {
        Protocol::Grpc => method == Method::POST,
        Protocol::Rest | Protocol::RestProto => {
            let known = [
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::DELETE,
                Method::OPTIONS,
            ];
            known.contains(method)
        }
    };
    if accepted {
        return Ok(());
    }
    Err(Denial::new(
        Reason::HttpMethodRefused,
        "the HTTP method is not accepted; use GET, POST, PUT, DELETE or OPTIONS, HEAD for pages, and POST for gRPC",
    ))
}

fn accept_headers(headers: &HeaderMap, max_headers: usize) -> Result<(), Denial> {
    if headers.len() > max_headers {
        let message = format!(
            "the request has {} headers; at most {max_headers} are accepted",
            headers.len()
        );
        return Err(Denial::new(Reason::HeadersTooLarge, message));
    }
    for name in &SINGLE {
        accept_single(headers, name)?;
    }
    for name in &METHOD_OVERRIDES {
        if headers.contains_key(name) {
            return Err(Denial::new(
                Reason::MethodOverride,
                format!("the header {name} is refused; use the method itself"),
            ));
        }
    }
    if headers.contains_key(header::UPGRADE) {
        return Err(Reason::UpgradeRefused.into());
    }
    for value in headers.get_all(header::CONNECTION) {
        accept_connection(value.as_bytes())?;
    }
    match headers.get(header::TRANSFER_ENCODING) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"chunked") => Err(Denial::new(
            Reason::HeaderAmbiguous,
            "transfer-encoding must be `chunked` or absent",
        )),
        _ => Ok(()),
    }
}

/// Refuses several values of one header, and a value that is not plain ASCII: never "not present".
fn accept_single(headers: &HeaderMap, name: &HeaderName) -> Result<(), Denial> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(());
    };
    if values.next().is_some() {
        return Err(Denial::new(
            Reason::HeaderAmbiguous,
            format!("the header {name} has several values; send one"),
        ));
    }
    if value.to_str().is_err() {
        return Err(Denial::new(
            Reason::HeaderAmbiguous,
            format!("the header {name} is not plain ASCII"),
        ));
    }
    Ok(())
}

/// `Connection` may say whether to keep the connection; it may not name headers to be removed on the way.
fn accept_connection(value: &[u8]) -> Result<(), Denial> {
    for option in value.split(|byte| *byte == b',') {
        let option = option.trim_ascii();
        if option.eq_ignore_ascii_case(b"upgrade") || option.eq_ignore_ascii_case(b"http2-settings") {
            return Err(Reason::UpgradeRefused.into());
        }
        // Lists may have empty members (RFC 9110, section 5.6.1).
        if ![&b""[..], b"close", b"keep-alive", b"te"]
            .iter()
            .any(|known| option.eq_ignore_ascii_case(known))
        {
            return Err(Denial::new(
                Reason::HeaderAmbiguous,
                "the connection header may hold only close, keep-alive or te",
            ));
        }
    }
    Ok(())
}

fn accept_host(authority: Option<&Authority>, headers: &HeaderMap, version: Version) -> Result<Box<str>, Denial> {
    let header = match headers.get(header::HOST) {
        None => None,
        Some(value) => Some(value.to_str().map_err(|_| Denial::from(Reason::HostInvalid))?),
    };
    // On HTTP/1 an authority in the target is the absolute form, which only proxies are sent. No URI has a scheme without.
    if version < Version::HTTP_2 && authority.is_some() {
        return Err(Denial::new(
            Reason::PathNotCanonical,
            "the target must be a path, not an absolute URL",
        ));
    }
    let host = match (authority, header) {
        (Some(authority), Some(header)) if !authority.as_str().eq_ignore_ascii_case(header) => {
            return Err(Denial::new(
                Reason::HostInvalid,
                "the host header and :authority differ",
            ));
        }
        (Some(authority), _) => authority.as_str(),
        (None, Some(header)) => header,
        (None, None) => return Err(Denial::new(Reason::HostInvalid, "the request names no host")),
    };
    if !is_host(host) {
        return Err(Denial::new(
            Reason::HostInvalid,
            "the host is not a plain name or address with an optional port",
        ));
    }
    Ok(host.into())
}

/// Whether it is a plain name or address, with or without a port.
pub(super) fn is_host(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    !host.is_empty() && host.len() <= 261 && host.bytes().all(plain)
}

fn accept_rpc_path(path: &str, has_query: bool) -> Result<(), Denial> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'/' | b'-');
    if path.len() > MAX_RPC_PATH || has_query || !path.starts_with('/') || !path.bytes().all(plain) {
        return Err(Denial::new(
            Reason::PathNotCanonical,
            "a gRPC path is /package.Service/Method and nothing else",
        ));
    }
    Ok(())
}

/// Accepts `/segment/segment`: no empty segment but the last, no dot segment, and nothing, plain or encoded, outside
/// the characters that mean only themselves. `%2F`, `%5C`, `;`, `%25`, controls and non-ASCII text are outside.
fn accept_path(path: &str) -> Result<(), Denial> {
    let refuse = |what: &str| Err(Denial::new(Reason::PathNotCanonical, format!("the path {what}")));
    if path.len() > MAX_PATH {
        return refuse("is too long");
    }
    let Some(relative) = path.strip_prefix('/') else {
        return refuse("does not begin with a slash");
    };
    let mut segments = relative.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() {
            if segments.peek().is_some() {
                return refuse("has an empty segment");
            }
            continue;
        }
        match read(segment.as_bytes()) {
            None => return refuse("has a character or escape that could be read in two ways"),
            Some(Segment::Dots) => return refuse("has a dot segment"),
            Some(Segment::Plain) => {}
        }
    }
    Ok(())
}

/// What a segment is once it is decoded.
enum Segment {
    /// `.` or `..`.
    Dots,
    Plain,
}

/// Reads a segment of characters, plain or encoded, that mean only themselves.
fn read(segment: &[u8]) -> Option<Segment> {
    let (mut length, mut dots) = (0_usize, 0_usize);
    let mut rest = segment;
    loop {
        let (byte, tail) = match rest {
            [] if length == dots && length <= 2 => return Some(Segment::Dots),
            [] => return Some(Segment::Plain),
            [b'%', high, low, tail @ ..] => (hex(*high)? << 4 | hex(*low)?, tail),
            [b'%', ..] => return None,
            [byte, tail @ ..] => (*byte, tail),
        };
        if !(byte.is_ascii_alphanumeric() || b"._~:@!$&'()*+,=-".contains(&byte)) {
            return None;
        }
        length += 1;
        dots += usize::from(byte == b'.');
        rest = tail;
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

fn accept_grpc_content_type(headers: &HeaderMap) -> Result<(), Denial> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], |value| value.as_bytes());
    if [&b"application/grpc"[..], b"application/grpc+proto"].contains(&content_type) {
        return Ok(());
    }
    Err(Denial::new(
        Reason::ContentTypeUnsupported,
        "the content type must be exactly application/grpc or application/grpc+proto",
    ))
}

/// The gateway reads it in REST requests, too, and look-ups carry it on to the gRPC port, which breaks off at a malformed one.
fn accept_timeout(headers: &HeaderMap) -> Result<(), Denial> {
    match headers.get(&GRPC_TIMEOUT) {
        Some(value) if parse_timeout(value.as_bytes()).is_none() => Err(Reason::TimeoutInvalid.into()),
        _ => Ok(()),
    }
}

/// Reads a `grpc-timeout`: one to eight digits and a unit. `None` if it is not of that form.
#[must_use]
pub fn parse_timeout(value: &[u8]) -> Option<std::time::Duration> {
    use std::time::Duration;
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount = digits.iter().try_fold(0u64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
