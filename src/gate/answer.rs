//! Answers on their way to the client, followed to their end so that the record says how they ended.

use super::filtered::Filtered;
use super::shadow::Tally;
use super::standing::Standing;
use super::watch::Watch;
use super::whole::Whole;
use crate::audit::AuditGuard;
use crate::held::Hold;
use crate::metrics::Outcome;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::protocol::Protocol;
use crate::protocol::request_id::{REQUEST_ID, RequestId};
use crate::upstream::headers;
use crate::upstream::received::{Broken, Received};
use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, Response};
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// The proxy's own.
    Full(Full<Bytes>),
    /// The proxy's own, with trailers.
    Whole(Box<Whole>),
    /// The upstream's, read whole and filtered.
    Filtered(Box<Filtered>),
    /// The upstream's, passed on as it comes.
    Followed(Box<Followed>),
}

/// An upstream answer that takes its audit record along.
#[derive(Debug)]
pub struct Followed {
    /// Nothing once it was broken off, which ends the request upstream.
    inner: Option<Received>,
    audit: Option<AuditGuard>,
    watch: Watch,
    pause: Pause,
    /// In shadow mode, of answers that enforcing would filter.
    tally: Option<Box<Tally>>,
    /// What the library has taken from the control plane, or may yet take, before the client takes anything.
    hold: Hold,
    begun: bool,
}

/// Whether anything of an answer comes.
#[derive(Debug)]
struct Pause {
    /// How long the answer may pause.
    patience: Duration,
    /// Since when it has to be waited for. A client that does not read is not the control plane's pause.
    waiting_since: Option<Instant>,
    /// Made when an answer has to be waited for: most come at once.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Why the body of an answer ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum BrokenOff {
    /// The control plane's own body does.
    #[error(transparent)]
    Upstream(#[from] Broken),
    /// The call may not go on; in HTTP nothing else can tell that once an answer has begun.
    #[error("the call may not go on: {}", .0.label())]
    Ended(Reason),
    /// The client has not taken it for too long.
    #[error("the client takes too long for the answer")]
    Untaken,
}

/// Passes an upstream answer on, as long as its call may go on and it pauses no longer than `patience`.
pub(super) fn follow(
    response: Response<Received>,
    protocol: Protocol,
    request_id: RequestId,
    (standing, tally): (Option<Standing>, Option<Box<Tally>>),
    (patience, hold): (Duration, Hold),
    mut audit: AuditGuard,
) -> Response<Body> {
    audit.response_head(response.status().as_u16());
    audit.grpc_status(grpc_status(response.headers()));
    let (mut parts, inner) = response.into_parts();
    headers::clean_response(&mut parts.headers);
    parts.headers.insert(REQUEST_ID, request_id.header());
    let pause = Pause {
        patience,
        waiting_since: None,
        timer: None,
    };
    let followed = Followed {
        inner: Some(inner),
        audit: Some(audit),
        watch: Watch::of(standing, protocol, request_id),
        pause,
        tally,
        hold,
        begun: false,
    };
    Response::from_parts(parts, Body::Followed(Box::new(followed)))
}

/// Puts the request's identifier on an answer.
pub(super) fn identified<B>(mut response: Response<B>, request_id: &RequestId) -> Response<B> {
    response.headers_mut().insert(REQUEST_ID, request_id.header());
    response
}

pub(super) fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get(&GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut *self {
            Self::Full(full) => Pin::new(full).poll_frame(task).map_err(|never| match never {}),
            Self::Whole(whole) => Poll::Ready(whole.next_frame().map(Ok)),
            Self::Filtered(filtered) => Poll::Ready(filtered.next_frame()),
            Self::Followed(followed) => followed.poll_frame(task),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(full) => full.is_end_stream(),
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Filtered(filtered) => filtered.is_end_stream(),
            Self::Followed(followed) => followed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(full) => full.size_hint(),
            Self::Whole(_) | Self::Filtered(_) => SizeHint::default(),
            Self::Followed(followed) => followed
                .inner
                .as_ref()
                .map_or_else(SizeHint::default, HttpBody::size_hint),
        }
    }
}

impl Followed {
    fn poll_frame(&mut self, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(inner).poll_frame(task);
        // With its trailers the call has ended as the control plane says.
        let goes_on = match &polled {
            Poll::Pending => true,
            Poll::Ready(frame) => matches!(frame, Some(Ok(frame)) if frame.is_data()),
        };
        if goes_on
            && let Some(audit) = &mut self.audit
            && let Err(denial) = self
                .pause
                .look_if_due(&mut self.watch, polled.is_pending(), task, audit)
        {
            return Poll::Ready(Some(self.break_off(&denial)));
        }
        let polled = ready!(polled);
        if let Some(Ok(frame)) = &polled
            && let Some(data) = frame.data_ref()
            && !std::mem::replace(&mut self.begun, true)
            && let Some(inner) = &self.inner
            && let Err(denial) = self.hold.set(inner.ahead(data))
        {
            return Poll::Ready(Some(self.break_off(&denial)));
        }
        match (&polled, &mut self.audit) {
            (Some(Ok(frame)), Some(audit)) => {
                if let Some(data) = frame.data_ref() {
                    audit.response_bytes(data.len());
                    if let Some(tally) = &mut self.tally {
                        tally.passed(data);
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
        Poll::Ready(polled.map(|frame| frame.map_err(BrokenOff::Upstream)))
    }

    fn break_off(&mut self, denial: &Denial) -> Result<Frame<Bytes>, BrokenOff> {
        self.inner = None;
        self.watch.break_off(&mut self.audit, denial)
    }

    fn end(&mut self) {
        if let Some(mut audit) = self.audit.take() {
            if let Some(withheld) = self.tally.as_mut().and_then(|tally| tally.withheld()) {
                audit.would_withhold(withheld);
            }
            audit.finish(Outcome::Forwarded);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }
}

impl Pause {
    /// Looks if it is time to. If the answer has to be waited for, makes sure that the task is woken for the next look.
    fn look_if_due(
        &mut self,
        watch: &mut Watch,
        waiting: bool,
        task: &mut Context<'_>,
        audit: &mut AuditGuard,
    ) -> Result<(), Denial> {
        loop {
            let now = Instant::now();
            watch.look_if_due(now, audit)?;
            if !waiting {
                self.waiting_since = None;
                return Ok(());
            }
            let end = *self.waiting_since.get_or_insert(now) + self.patience;
            if now >= end {
                return Err(paused(self.patience));
            }
            let next = watch.next().min(end);
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
            if timer.deadline() != next {
                timer.as_mut().reset(next);
            }
            if timer.as_mut().poll(task).is_pending() {
                return Ok(());
            }
        }
    }
}

fn paused(patience: Duration) -> Denial {
    let message = format!("the control plane began to answer, and then nothing came for {patience:?}");
    Denial::new(Reason::UpstreamTimeout, message)
}

impl Drop for Followed {
    fn drop(&mut self) {
        // The server stops asking once the announced length has gone out; then the answer is complete too. Otherwise the
        // client has left, and dropping the guard says so.
        if self.is_end_stream() {
            self.end();
        }
    }
}
