//! The body of an answer of the control plane, whichever protocol it came by.

use super::multiplexed::STREAM_WINDOW;
use super::places::Place;
use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The body of an answer.
#[derive(Debug)]
pub struct Received {
    source: Source,
    /// Given back with the connection.
    _place: Option<Place>,
}

/// Where it comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// The HTTP port.
    Http(Incoming),
    /// The gRPC port.
    Grpc(GrpcBody),
}

/// What arrives on one HTTP/2 stream. Dropping it before its end resets the stream.
#[derive(Debug)]
pub(super) struct GrpcBody {
    stream: RecvStream,
    data_ended: bool,
    /// Counts the request as running.
    _running: Arc<()>,
}

/// Why the body of an answer breaks off.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// On the HTTP port.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// On the gRPC port. The library that answers the client looks for this source, to end its stream alike.
    #[error("the control plane ended the answer: {0}")]
    Grpc(#[source] h2::Error),
}

impl GrpcBody {
    pub(super) fn new(stream: RecvStream, running: Arc<()>) -> Self {
        Self {
            stream,
            data_ended: false,
            _running: running,
        }
    }

    fn poll_frame(&mut self, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_ended {
            match ready!(self.stream.poll_data(task)) {
                Some(Ok(data)) => {
                    // What has been taken out makes room for more (RFC 9113, section 5.2).
                    let released = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(released.map(|()| Frame::data(data))));
                }
                // The request was not needed to its end, and the answer is complete (RFC 9113, section 8.1).
                Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_ended = true,
            }
        }
        let trailers: Option<HeaderMap> = ready!(self.stream.poll_trailers(task))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

impl Received {
    pub(super) fn new(source: Source, place: Option<Place>) -> Self {
        Self { source, _place: place }
    }

    /// How much may come in before anybody takes it, behind the first part of the body, in bytes: what is announced, within
    /// the window.
    #[must_use]
    pub fn ahead(&self, first: &[u8]) -> usize {
        let rest = match &self.source {
            Source::Http(body) => usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX),
            // Mostly the one frame of a gRPC message, with its length in front.
            Source::Grpc(_) => match first {
                [_, a, b, c, d, message @ ..] => usize::try_from(u32::from_be_bytes([*a, *b, *c, *d]))
                    .unwrap_or(usize::MAX)
                    .saturating_sub(message.len()),
                _ => 0,
            },
        };
        rest.min(STREAM_WINDOW as usize)
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.source {
            Source::Http(body) => Pin::new(body).poll_frame(task).map_err(Broken::Http),
            Source::Grpc(body) => body.poll_frame(task).map_err(Broken::Grpc),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Http(body) => body.is_end_stream(),
            Source::Grpc(body) => body.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Http(body) => body.size_hint(),
            Source::Grpc(body) if body.stream.is_end_stream() => SizeHint::with_exact(0),
            Source::Grpc(_) => SizeHint::default(),
        }
    }
}
