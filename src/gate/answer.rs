//! Answers on their way to the client, followed to their end so that the record says how they ended.

use super::shadow::Watch;
use crate::audit::AuditGuard;
use crate::metrics::Outcome;
use crate::model::reason::Reason;
use crate::protocol::deny::REQUEST_ID;
use crate::upstream::headers;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// The proxy's own.
    Full(Full<Bytes>),
    /// The proxy's own, with trailers.
    Frames(std::vec::IntoIter<Frame<Bytes>>),
    /// The upstream's, passed on as it comes.
    Followed(Box<Followed>),
}

/// An upstream answer that takes its audit record along.
#[derive(Debug)]
pub struct Followed {
    inner: Incoming,
    audit: Option<AuditGuard>,
    watch: Option<Box<Watch>>,
}

/// Passes an upstream answer on, watched in shadow mode.
pub(super) fn follow(
    response: Response<Incoming>,
    watch: Option<Box<Watch>>,
    request_id: &str,
    mut audit: AuditGuard,
) -> Response<Body> {
    audit.response_head(response.status().as_u16());
    audit.grpc_status(grpc_status(response.headers()));
    let mut response = response.map(|inner| {
        Body::Followed(Box::new(Followed {
            inner,
            audit: Some(audit),
            watch,
        }))
    });
    headers::clean_response(response.headers_mut());
    identified(response, request_id)
}

/// Puts the request's identifier on an answer.
pub(super) fn identified<B>(mut response: Response<B>, request_id: &str) -> Response<B> {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

pub(super) fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Full(full) => Pin::new(full).poll_frame(task).map_err(|never| match never {}),
            Self::Frames(frames) => Poll::Ready(frames.next().map(Ok)),
            Self::Followed(followed) => followed.poll_frame(task),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(full) => full.is_end_stream(),
            Self::Frames(frames) => frames.as_slice().is_empty(),
            Self::Followed(followed) => followed.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(full) => full.size_hint(),
            Self::Frames(_) => SizeHint::default(),
            Self::Followed(followed) => followed.inner.size_hint(),
        }
    }
}

impl Followed {
    fn poll_frame(&mut self, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = ready!(Pin::new(&mut self.inner).poll_frame(task));
        match (&polled, &mut self.audit) {
            (Some(Ok(frame)), Some(audit)) => {
                if let Some(data) = frame.data_ref() {
                    audit.response_bytes(data.len());
                    if let Some(watch) = &mut self.watch {
                        watch.passed(data);
                    }
                }
                if let Some(trailers) = frame.trailers_ref() {
                    audit.grpc_status(grpc_status(trailers));
                }
            }
            (Some(Err(_)), Some(audit)) => {
                audit.fail(&Reason::UpstreamFailed.into());
                self.audit = None;
            }
            (None, _) => self.end(),
            (Some(_), None) => {}
        }
        Poll::Ready(polled)
    }

    fn end(&mut self) {
        if let Some(mut audit) = self.audit.take() {
            if let Some(withheld) = self.watch.as_mut().and_then(|watch| watch.withheld()) {
                audit.would_withhold(withheld);
            }
            audit.finish(Outcome::Forwarded);
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        // The server stops asking once the announced length has gone out; then the answer is complete too. Otherwise the
        // client has left, and dropping the guard says so.
        if self.inner.is_end_stream() {
            self.end();
        }
    }
}
