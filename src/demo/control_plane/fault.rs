//! Scripted faults: how a control plane can fail, for tests of what the proxy makes of it.

use super::answer::{Answer, Step};
use super::arrivals::Visit;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde::Deserialize;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One way to fail. In JSON: `{"delay": {"milliseconds": 200}}`, `"hang"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Answer as usual, but later.
    Delay {
        /// How much later.
        milliseconds: u64,
    },
    /// Read the request and never answer.
    Hang,
    /// Break off before any answer: `RST_STREAM` (gRPC), a closed connection (HTTP/1.1).
    Reset,
    /// Send half of the answer's bytes, then break off.
    ResetMidway,
    /// Send half of the answer's bytes, then nothing more.
    StallMidway,
    /// Answer with status 200 and bytes that are no message.
    Garbage,
    /// A gRPC trailers-only error; the gateway shows it as its HTTP status.
    Status {
        /// The gRPC status code.
        code: u8,
        /// The message, not yet encoded.
        message: String,
        /// The value of `grpc-status-details-bin`, base64.
        #[serde(default)]
        details: Option<String>,
    },
    /// Another message than the usual one, well-formed or not (gRPC only).
    Instead {
        /// The bytes of the message, each a number.
        message: Vec<u8>,
    },
    /// The usual answer followed by an unknown field of this many bytes.
    Huge {
        /// The size of the padding in bytes.
        bytes: usize,
    },
    /// The usual message, but no trailers (gRPC only).
    NoTrailers,
    /// A plain HTTP answer, as from a load balancer.
    Http {
        /// The HTTP status.
        status: u16,
        /// The body, sent as `text/html`.
        body: String,
    },
    /// The usual answer in small pieces.
    Slow {
        /// The size of a piece in bytes.
        piece: usize,
        /// The pause before each piece.
        milliseconds: u64,
    },
}

/// Which requests fail, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The name of an RPC (`GetTask`), a path of a page, or `*`.
    pub on: String,
    /// What happens.
    pub fault: Fault,
    /// How many requests it happens to; absent = all.
    #[serde(default)]
    pub times: Option<usize>,
}

impl Script {
    /// A script for every call of one RPC, or of all (`*`).
    pub fn on(name: impl Into<String>, fault: Fault) -> Self {
        Self {
            on: name.into(),
            fault,
            times: None,
        }
    }

    /// The same for a number of calls.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }
}

/// The scripts in force.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<Script>>);

impl Faults {
    fn scripts(&self) -> MutexGuard<'_, Vec<Script>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, script: Script) {
        self.scripts().push(script);
    }

    pub(super) fn replace(&self, scripts: Vec<Script>) {
        *self.scripts() = scripts;
    }

    /// The fault for a request, counted as used.
    pub(super) fn take(&self, name: &str) -> Option<Fault> {
        let mut scripts = self.scripts();
        let script = scripts
            .iter_mut()
            .find(|script| (script.on == "*" || script.on == name) && script.times != Some(0))?;
        if let Some(times) = &mut script.times {
            *times -= 1;
        }
        Some(script.fault.clone())
    }
}

/// Plays the faults that come before an answer.
///
/// # Errors
/// When the stream is to be reset.
pub(super) async fn before_answer(fault: Option<&Fault>) -> io::Result<()> {
    match fault {
        Some(Fault::Delay { milliseconds }) => tokio::time::sleep(Duration::from_millis(*milliseconds)).await,
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => return Err(io::Error::other("reset as scripted")),
        _ => {}
    }
    Ok(())
}

/// The bytes of an answer as steps, and whether trailers follow.
pub(super) fn play(fault: Option<&Fault>, bytes: Bytes) -> (Vec<Step>, bool) {
    match fault {
        Some(Fault::ResetMidway) => {
            // The pause lets the bytes leave: a reset discards what is still queued.
            let pause = Step::Pause(Duration::from_millis(50));
            let half = bytes.slice(..bytes.len() / 2);
            (vec![Step::Data(half), pause, Step::Break], false)
        }
        Some(Fault::StallMidway) => {
            let half = bytes.slice(..bytes.len() / 2);
            (vec![Step::Data(half), Step::Pause(Duration::from_hours(1))], false)
        }
        Some(Fault::Garbage) => (
            vec![Step::Data(Bytes::from_static(b"\xff<html>\x00 this is no message"))],
            true,
        ),
        Some(Fault::NoTrailers) => (vec![Step::Data(bytes)], false),
        Some(Fault::Slow { piece, milliseconds }) => {
            let pieces = bytes
                .chunks((*piece).max(1))
                .map(|piece| Step::Data(Bytes::copy_from_slice(piece)));
            let pause = || Step::Pause(Duration::from_millis(*milliseconds));
            (pieces.flat_map(|piece| [pause(), piece]).collect(), true)
        }
        _ => (vec![Step::Data(bytes)], true),
    }
}

/// A plain answer as from a load balancer, if that is the fault.
pub(super) fn plain(fault: Option<&Fault>, visit: Visit) -> Result<Response<Answer>, Visit> {
    let Some(Fault::Http { status, body }) = fault else {
        return Err(visit);
    };
    let mut response = Response::new(Answer::new([Step::Data(Bytes::from(body.clone()))], Some(visit)));
    *response.status_mut() = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    Ok(response)
}
