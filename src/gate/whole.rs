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
const PIECE: usize = 16 << 10;

/// The most that the library keeps of what was handed on, in bytes, for as long as the client does not take it: over HTTP/2 a send
/// buffer and a piece, over HTTP/1.1 a buffer as long as heads may be by default.
const TAIL: usize = 96 << 10;

/// How much may lie in one allocation with a piece that has come, in bytes.
const SHARED: usize = 64 << 10;

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
    held: Option<Held>,
}

/// What is counted of a body.
#[derive(Debug)]
struct Held {
    hold: Hold,
    /// All that it came in, in bytes.
    all: usize,
    /// What has been handed on.
    gone: usize,
    /// How much more than what has gone may still be there.
    behind: usize,
    /// Whether what is left has been put together.
    joined: bool,
}

impl Held {
    /// The client takes the pieces in order, so what lies before the last ones taken is free.
    fn go(&mut self, bytes: usize) {
        self.gone += bytes;
        // It is never more than before, and so never refused.
        _ = self
            .hold
            .set(self.all - self.gone.saturating_sub(self.behind).min(self.all));
    }
}

impl Whole {
    /// A short one, which nobody counts.
    pub(super) fn short(data: Bytes, trailers: HeaderMap) -> Self {
        Self {
            left: data.len(),
            pieces: [data].into(),
            trailers: Some(trailers),
            held: None,
        }
    }

    /// What is left of one that was read whole, of `gathered` bytes in pieces of so many at most. Where that is little, what it
    /// came in is given back at once, elsewhere as it is handed on.
    ///
    /// # Errors
    /// None that is known: no more is held than before.
    pub(super) fn held(
        pieces: Vec<Bytes>,
        (gathered, longest): (usize, usize),
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
        let pieces: VecDeque<Bytes> = pieces.collect();
        let (all, longest) = if is_little {
            (left, pieces.iter().map(Bytes::len).max().unwrap_or_default())
        } else {
            (gathered, longest)
        };
        hold.set(all)?;
        let counted = Held {
            hold,
            all,
            gone: 0,
            behind: longest + SHARED + TAIL,
            joined: false,
        };
        Ok(Self {
            pieces,
            left,
            trailers,
            held: Some(counted),
        })
    }

    /// The bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Whether all bytes have been handed on, and at most the trailers are left.
    pub(super) fn is_all_handed_on(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Lets go of what is left.
    pub(super) fn give_up(&mut self) {
        self.pieces = VecDeque::new();
        self.left = 0;
        self.trailers = None;
        self.held = None;
    }

    pub(super) fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        if self.left <= TAIL
            && let Some(held) = &mut self.held
            && !std::mem::replace(&mut held.joined, true)
        {
            self.join();
        }
        let Some(first) = self.pieces.front_mut() else {
            return self.trailers.take().map(Frame::trailers);
        };
        let piece = first.split_to(first.len().min(PIECE));
        if first.is_empty() {
            self.pieces.pop_front();
        }
        self.left = self.left.saturating_sub(piece.len());
        if self.pieces.is_empty() {
            self.held = None;
        } else if let Some(held) = &mut self.held {
            held.go(piece.len());
        }
        Some(Frame::data(piece))
    }

    /// Puts together what is left. It is what the library may keep by itself, uncounted: it must not keep all that it is a slice of.
    fn join(&mut self) {
        let mut tail = Vec::with_capacity(self.left);
        for piece in self.pieces.drain(..) {
            tail.extend_from_slice(&piece);
        }
        if !tail.is_empty() {
            self.pieces.push_back(tail.into());
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.trailers.is_none()
    }
}
