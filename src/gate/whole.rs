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

/// The most that is handed on at one time, in bytes. Whoever takes little of it at a time takes it slowly, and is noticed. The
/// library keeps the last one for as long as the client does not take it, which nobody notices.
const PIECE: usize = 16 << 10;

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
                hold.at_least(pieces.len() + data.len())?;
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
    /// The bytes in them.
    left: usize,
    trailers: Option<HeaderMap>,
    /// Counts what is left.
    hold: Option<Hold>,
}

impl Whole {
    /// A short one, which nobody counts.
    pub(super) fn short(data: Bytes, trailers: HeaderMap) -> Self {
        Self {
            left: data.len(),
            pieces: [data].into(),
            trailers: Some(trailers),
            hold: None,
        }
    }

    /// What is left of one that was read whole, of `gathered` bytes. Where that is little, what it came in is given back.
    ///
    /// # Errors
    /// None that is known: no more is held than before.
    pub(super) fn held(
        pieces: Vec<Bytes>,
        gathered: usize,
        trailers: Option<HeaderMap>,
        mut hold: Hold,
    ) -> Result<Self, Denial> {
        let left = pieces.iter().map(Bytes::len).sum();
        let is_little = left <= gathered / 2;
        let pieces = pieces.into_iter().map(|piece| {
            if is_little {
                Bytes::copy_from_slice(&piece)
            } else {
                piece
            }
        });
        let pieces = pieces.collect();
        hold.set(if is_little { left } else { gathered })?;
        Ok(Self {
            pieces,
            left,
            trailers,
            hold: Some(hold),
        })
    }

    pub(super) fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        let Some(first) = self.pieces.front_mut() else {
            return self.trailers.take().map(Frame::trailers);
        };
        let mut piece = first.split_to(first.len().min(PIECE));
        if first.is_empty() {
            self.pieces.pop_front();
        }
        self.left = self.left.saturating_sub(piece.len());
        if self.pieces.is_empty() {
            // The library keeps it by itself: it must not keep all that it is a slice of.
            piece = Bytes::copy_from_slice(&piece);
            self.hold = None;
        }
        Some(Frame::data(piece))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.trailers.is_none()
    }
}
