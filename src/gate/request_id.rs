//! Identifiers of requests: ours on every answer, the client's noted for correlation.

use crate::audit::AuditGuard;
use crate::protocol::request_id::{REQUEST_ID, RequestId};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Names requests, differently in every process.
#[derive(Debug)]
pub struct RequestIds {
    process: u64,
    count: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> Self {
        // The standard library seeds its hashers at random: enough to tell replicas and restarts apart.
        Self {
            process: RandomState::new().build_hasher().finish(),
            count: AtomicU64::new(0),
        }
    }
}

impl RequestIds {
    /// A name no other request of this process has.
    pub fn next(&self) -> RequestId {
        RequestId::new(self.process, self.count.fetch_add(1, Ordering::Relaxed))
    }
}

/// Notes the identifiers the client sent, if they are plain.
pub(super) fn correlate(headers: &HeaderMap, audit: &mut AuditGuard) {
    let plain = |value: &HeaderValue| -> Option<Box<str>> {
        let text = value.to_str().ok()?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (!text.is_empty() && text.len() <= 64 && text.bytes().all(is_plain)).then(|| text.into())
    };
    let request = headers.get(REQUEST_ID).and_then(plain);
    let trace = headers.get(&TRACEPARENT).and_then(plain);
    // version-traceid-parentid-flags (W3C Trace Context, section 3.2).
    let trace = trace
        .as_deref()
        .and_then(|parent| parent.split('-').nth(1))
        .filter(|trace| trace.len() == 32);
    audit.correlation(request.as_deref(), trace);
}
