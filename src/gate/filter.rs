//! Applies a route's response filter to an answer. The answer is read whole, within a bound; one that cannot be
//! understood is not passed on.

use super::answer::{self, Body};
use crate::audit::AuditGuard;
use crate::catalog::ResponseFilter;
use crate::filter;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::policy::decide::Rights;
use crate::protocol::envelope::{self, Encoding};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, Incoming};
use std::time::Duration;

/// The largest answer that is filtered, in bytes: some hundred thousand projects.
const MAX_BYTES: usize = 64 << 20;
/// How long such an answer may take to arrive.
const DEADLINE: Duration = Duration::from_mins(1);

/// The answer with only what the rights make visible. Errors of the control plane pass unchanged.
pub(super) async fn apply(
    filter: ResponseFilter,
    rights: &Rights,
    response: Response<Incoming>,
    audit: &mut AuditGuard,
) -> Result<Response<Body>, Denial> {
    let unreadable = || Denial::from(Reason::AnswerUnreadable);
    let (mut parts, body) = response.into_parts();
    audit.response_head(parts.status.as_u16());
    audit.grpc_status(answer::grpc_status(&parts.headers));
    let collected = tokio::time::timeout(DEADLINE, Limited::new(body, MAX_BYTES).collect()).await;
    let collected = collected
        .map_err(|_| Reason::UpstreamTimeout)?
        .map_err(|_| unreadable())?;
    let trailers = collected.trailers().cloned();
    audit.grpc_status(trailers.as_ref().and_then(answer::grpc_status));
    let body = collected.to_bytes();
    if parts
        .headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
    {
        return Err(unreadable());
    }
    let ResponseFilter::Projects = filter;
    let visible = |project: &str| rights.visible_project(project);
    let content_type = parts.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let body = if parts.status != StatusCode::OK || body.is_empty() {
        Some(body)
    } else if content_type.starts_with(b"application/grpc") {
        let message = envelope::open(body, Encoding::Identity, MAX_BYTES)
            .map_err(|_| unreadable())?
            .message;
        filter::projects_in_protobuf(&message, visible).map(|kept| envelope::frame(&kept))
    } else if content_type.starts_with(b"application/json") {
        filter::projects_in_json(&body, visible).map(Bytes::from)
    } else if content_type == b"application/octet-stream" {
        filter::projects_in_protobuf(&body, visible).map(Bytes::from)
    } else {
        None
    };
    let body = body.ok_or_else(unreadable)?;
    audit.response_bytes(body.len());
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.remove(ETAG);
    let data = (!body.is_empty()).then(|| Frame::data(body));
    let frames: Vec<Frame<Bytes>> = data.into_iter().chain(trailers.map(Frame::trailers)).collect();
    Ok(Response::from_parts(parts, Body::Frames(frames.into_iter())))
}
