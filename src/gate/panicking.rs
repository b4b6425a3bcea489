//! What becomes of a request whose own work panics: it alone fails, and is answered and recorded like any other.

use crate::model::denial::Denial;
use crate::model::reason::Reason;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// Does the work of one request. A panic in it is a refusal for the reason `internal`.
///
/// Nothing is seen half changed afterwards: the work is dropped, and what requests share is behind atomics and locks that
/// are written in one step.
pub(super) async fn caught<T>(mut work: Pin<Box<impl Future<Output = Result<T, Denial>>>>) -> Result<T, Denial> {
    std::future::poll_fn(|task| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(task)));
        polled.unwrap_or_else(|_| Poll::Ready(Err(Reason::Internal.into())))
    })
    .await
}
