//! Sends a permitted call upstream. Takes the permit by value: one judgement forwards one request.

use super::body::Codec;
use super::push_down::Narrowed;
use crate::held::Holder;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::policy::decide::Permit;
use crate::protocol::{Protocol, RequestHead, canonical};
use crate::upstream::headers::{self, Origin};
use crate::upstream::received::Received;
use crate::upstream::{Port, Upstream};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, TE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri};

/// A call as it was judged.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) head: &'a RequestHead,
    pub(super) origin: Origin<'a>,
    /// On whose account it is.
    pub(super) holder: Holder,
    /// The one verified credential.
    pub(super) credential: Option<(HeaderName, HeaderValue)>,
    pub(super) narrowed: Narrowed,
    /// Whether the answer has to be read.
    pub(super) filtered: bool,
}

/// Forwards a call as it was judged: the canonical head, the judged message, the one verified credential. While it waits for
/// the answer, `look` says whether the call may go on.
pub(super) async fn call(
    upstream: &Upstream,
    _permit: Permit,
    outgoing: Outgoing<'_>,
    look: impl FnMut() -> Result<(), Denial>,
) -> Result<Response<Received>, Denial> {
    let Outgoing {
        head,
        origin,
        holder,
        credential,
        narrowed: Narrowed { body, query },
        filtered,
    } = outgoing;
    let port = match head.protocol() {
        Protocol::Grpc => Port::Grpc,
        Protocol::Rest | Protocol::RestProto => Port::Http,
    };
    let mut headers = headers::for_api(head.headers(), origin, port);
    if let Some((name, value)) = credential {
        headers.insert(name, value);
    }
    if filtered {
        // What is filtered has to be read.
        headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    }
    let codec = match body.codec() {
        Codec::Json => Some("application/json"),
        Codec::Protobuf if head.protocol() != Protocol::Grpc => Some("application/octet-stream"),
        Codec::Protobuf | Codec::Empty => None,
    };
    match codec {
        Some(codec) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(codec));
        }
        // Without a body its type would only choose the form of the answer, or be taken for a form.
        None if head.protocol() != Protocol::Grpc => {
            headers.remove(CONTENT_TYPE);
        }
        None => {}
    }
    let mut deadline = None;
    if port == Port::Grpc {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        deadline = head
            .headers()
            .get(&canonical::GRPC_TIMEOUT)
            .and_then(|value| canonical::parse_timeout(value.as_bytes()));
    }
    // Counted as held until the answer begins; by then it has been sent.
    let (body, _hold) = body.into_forwarded();
    let request = with_query(head, query.as_deref(), headers, body)?;
    upstream.send(port, request, holder, deadline, look).await
}

/// A request with the canonical method and target.
pub(super) fn request(head: &RequestHead, headers: http::HeaderMap, body: Bytes) -> Result<Request<Bytes>, Denial> {
    with_query(head, None, headers, body)
}

/// The same with another query, if there is one.
fn with_query(
    head: &RequestHead,
    query: Option<&str>,
    headers: http::HeaderMap,
    body: Bytes,
) -> Result<Request<Bytes>, Denial> {
    let target = match query {
        None => head.target().clone(),
        Some(query) => {
            let target = format!("{}?{query}", head.path());
            PathAndQuery::try_from(target).map_err(|_| Reason::PathNotCanonical)?
        }
    };
    let mut request = Request::new(body);
    *request.method_mut() = head.method().clone();
    *request.uri_mut() = Uri::from(target);
    *request.headers_mut() = headers;
    Ok(request)
}
