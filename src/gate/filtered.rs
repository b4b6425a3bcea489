//! Filtered answers on their way to the client: looked at as those that are passed on are, and for a bounded time.

use super::answer::{self, Body, BrokenOff};
use super::standing::Standing;
use super::watch::Watch;
use super::whole::Whole;
use crate::audit::AuditGuard;
use crate::metrics::Outcome;
use crate::protocol::Protocol;
use crate::protocol::request_id::RequestId;
use crate::upstream::headers;
use bytes::Bytes;
use http::Response;
use hyper::body::Frame;
use std::time::Duration;
use tokio::time::Instant;

/// How much of an answer a client takes in a second at least, in bytes, once `limits.stall_timeout` is over.
const RATE: usize = 64 << 10;

/// A filtered answer that takes its audit record along.
#[derive(Debug)]
pub struct Filtered {
    whole: Whole,
    /// Nothing once it has ended or was broken off.
    audit: Option<AuditGuard>,
    watch: Watch,
    /// When all of it has to have been taken.
    end: Instant,
}

/// Hands an answer on, as long as its call may go on and the client takes it fast enough.
pub(super) fn hand_on(
    response: Response<Box<Whole>>,
    protocol: Protocol,
    request_id: RequestId,
    standing: Option<Standing>,
    stall_timeout: Duration,
    audit: AuditGuard,
) -> Response<Body> {
    let (mut parts, whole) = response.into_parts();
    headers::clean_response(&mut parts.headers);
    let response = answer::identified(Response::from_parts(parts, ()), &request_id);
    let seconds = whole.left().div_ceil(RATE) as u64;
    let filtered = Filtered {
        end: Instant::now() + stall_timeout + Duration::from_secs(seconds),
        whole: *whole,
        audit: Some(audit),
        watch: Watch::of(standing, protocol, request_id),
    };
    response.map(|()| Body::Filtered(Box::new(filtered)))
}

impl Filtered {
    pub(super) fn next_frame(&mut self) -> Option<Result<Frame<Bytes>, BrokenOff>> {
        let audit = self.audit.as_mut()?;
        if !self.whole.is_all_handed_on() {
            let now = Instant::now();
            if now >= self.end {
                // Dropping the guard says that the client left: it does not take what it asked for.
                self.audit = None;
                self.whole.give_up();
                return Some(Err(BrokenOff::Untaken));
            }
            if let Err(denial) = self.watch.look_if_due(now, audit) {
                self.whole.give_up();
                return Some(self.watch.break_off(&mut self.audit, &denial));
            }
        }
        let frame = self.whole.next_frame();
        match &frame {
            Some(frame) => audit.response_bytes(frame.data_ref().map_or(0, Bytes::len)),
            None => self.finish(),
        }
        frame.map(Ok)
    }

    fn finish(&mut self) {
        if let Some(audit) = self.audit.take() {
            audit.finish(Outcome::Forwarded);
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.whole.is_end_stream()
    }
}

impl Drop for Filtered {
    fn drop(&mut self) {
        // As with those that are passed on: the server does not ask for more than there is.
        if self.is_end_stream() {
            self.finish();
        }
    }
}
