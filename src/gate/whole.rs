//! Answers that are read whole: within a bound of their own, and counted among the bytes that all requests hold.

use crate::held::Hold;
use crate::model::denial::Denial;
use crate::protocol::envelope;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as _, Frame, Incoming};

/// The most that is handed on at one time, in bytes. Whoever takes little of it at a time takes it slowly, and is noticed.
const PIECE: usize = 64 << 10;

/// The whole body, within `limit` bytes, and its trailers; `None` if it is longer or breaks off. What has come is put
/// together at once, so that the memory it came in is free for what follows.
///
/// # Errors
/// `memory_full`.
pub(super) async fn read(
    body: Incoming,
    grpc: bool,
    limit: usize,
    hold: &mut Hold,
) -> Result<Option<(Vec<u8>, Option<HeaderMap>)>, Denial> {
    let announced = usize::try_from(body.size_hint().lower())
        .unwrap_or(usize::MAX)
        .min(limit);
    let mut body = Limited::new(body, limit);
    hold.set(announced)?;
    let mut whole = Vec::with_capacity(announced);
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Ok(None) };
        match frame.into_data() {
            Ok(data) => {
                if grpc && whole.is_empty() {
                    let announced = envelope::announced(&data).min(limit);
                    hold.set(announced.max(whole.capacity()))?;
                    whole.reserve_exact(announced);
                }
                whole.extend_from_slice(&data);
                hold.set(whole.capacity())?;
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(Some((whole, trailers)))
}

/// A body that is there whole, with its trailers, on its way to the client.
#[derive(Debug)]
pub struct Whole {
    data: Bytes,
    trailers: Option<HeaderMap>,
    /// Counts the data until it has been handed on.
    _hold: Option<Hold>,
}

impl Whole {
    /// A short one, which nobody counts.
    pub(super) fn short(data: Bytes, trailers: HeaderMap) -> Self {
        Self {
            data,
            trailers: Some(trailers),
            _hold: None,
        }
    }

    /// One that was read whole; what is left of it is counted.
    ///
    /// # Errors
    /// `memory_full`.
    pub(super) fn held(mut data: Vec<u8>, trailers: Option<HeaderMap>, mut hold: Hold) -> Result<Self, Denial> {
        // What was left out is not kept for as long as a slow client takes.
        if data.len() < data.capacity() / 2 {
            data.shrink_to_fit();
        }
        hold.set(data.capacity())?;
        Ok(Self {
            data: data.into(),
            trailers,
            _hold: Some(hold),
        })
    }

    pub(super) fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        if self.data.is_empty() {
            return self.trailers.take().map(Frame::trailers);
        }
        let piece = self.data.len().min(PIECE);
        Some(Frame::data(self.data.split_to(piece)))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }
}
