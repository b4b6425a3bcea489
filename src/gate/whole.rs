//! Answers that are read whole: within a bound of their own, and counted among the bytes that all requests hold.

use crate::filter::pieces::Pieces;
use crate::held::Hold;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::upstream::received::Received;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Frame;
use std::collections::VecDeque;
use std::time::Duration;

/// The most that is handed on at one time, in bytes. Whoever takes little of it at a time takes it slowly, and is noticed.
const PIECE: usize = 64 << 10;

/// How an answer is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The most that is read, in bytes.
    pub(super) bytes: usize,
    /// How long it may pause.
    pub(super) patience: Duration,
}

/// The whole body, added to `pieces`, and its trailers.
///
/// # Errors
/// `answer_unreadable` for one above the bound, `upstream_failed` for one that breaks off, `upstream_timeout` for one that
/// pauses for too long, `memory_full`.
pub(super) async fn gathered(
    body: Received,
    mut pieces: Pieces,
    bounds: Bounds,
    hold: &mut Hold,
) -> Result<(Pieces, Option<HeaderMap>), Denial> {
    let mut body = Limited::new(body, bounds.bytes);
    let mut trailers = None;
    loop {
        let coming = tokio::time::timeout(bounds.patience, body.frame()).await;
        let Some(frame) = coming.map_err(|_| Reason::UpstreamTimeout)? else {
            return Ok((pieces, trailers));
        };
        let frame = frame.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Reason::AnswerUnreadable
            } else {
                Reason::UpstreamFailed
            }
        })?;
        match frame.into_data() {
            Ok(data) => {
                hold.set(pieces.len() + data.len())?;
                pieces.push(data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
}

/// A body that is there whole, with its trailers, on its way to the client.
#[derive(Debug)]
pub struct Whole {
    pieces: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    /// Counts the data until it has been handed on.
    _hold: Option<Hold>,
}

impl Whole {
    /// A short one, which nobody counts.
    pub(super) fn short(data: Bytes, trailers: HeaderMap) -> Self {
        Self {
            pieces: [data].into(),
            trailers: Some(trailers),
            _hold: None,
        }
    }

    /// One that was read whole, or what is left of it: slices of it keep all of it.
    pub(super) fn held(pieces: Vec<Bytes>, trailers: Option<HeaderMap>, hold: Hold) -> Self {
        Self {
            pieces: pieces.into(),
            trailers,
            _hold: Some(hold),
        }
    }

    pub(super) fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        let Some(first) = self.pieces.front_mut() else {
            return self.trailers.take().map(Frame::trailers);
        };
        if first.len() > PIECE {
            return Some(Frame::data(first.split_to(PIECE)));
        }
        self.pieces.pop_front().map(Frame::data)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.trailers.is_none()
    }
}
