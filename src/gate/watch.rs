//! Looks now and then whether an answer on its way to the client may still go on, and ends it if not.

use super::answer::BrokenOff;
use super::standing::Standing;
use crate::audit::AuditGuard;
use crate::model::denial::Denial;
use crate::protocol::request_id::RequestId;
use crate::protocol::{Protocol, deny};
use crate::upstream::LOOK;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::time::Instant;

/// Looks now and then whether an answer may still go on.
#[derive(Debug)]
pub(super) struct Watch {
    /// Nothing for public calls.
    standing: Option<Standing>,
    protocol: Protocol,
    request_id: RequestId,
    next: Instant,
}

impl Watch {
    pub(super) fn of(standing: Option<Standing>, protocol: Protocol, request_id: RequestId) -> Self {
        Self {
            standing,
            protocol,
            request_id,
            next: Instant::now() + LOOK,
        }
    }

    /// When it is time to look again.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Looks if it is time to.
    ///
    /// # Errors
    /// Why the call may not go on.
    pub(super) fn look_if_due(&mut self, now: Instant, audit: &mut AuditGuard) -> Result<(), Denial> {
        if now < self.next {
            return Ok(());
        }
        self.next = now + LOOK;
        self.standing.as_mut().map_or(Ok(()), |standing| standing.look(audit))
    }

    /// Ends the answer: with trailers where the protocol has them, otherwise by an error that ends the connection or stream.
    pub(super) fn break_off(&self, audit: &mut Option<AuditGuard>, denial: &Denial) -> Result<Frame<Bytes>, BrokenOff> {
        let by_grpc = self.protocol == Protocol::Grpc;
        if let Some(mut audit) = audit.take() {
            if by_grpc {
                audit.grpc_status(Some(denial.reason.status().grpc.into()));
            }
            audit.fail(denial);
        }
        if by_grpc {
            Ok(Frame::trailers(deny::trailers(denial, &self.request_id)))
        } else {
            Err(BrokenOff::Ended(denial.reason))
        }
    }
}
