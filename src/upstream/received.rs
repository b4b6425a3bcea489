//! The body of an answer of the control plane, whichever protocol it came by.

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The body of an answer.
#[derive(Debug)]
pub enum Received {
    /// From the HTTP port.
    Http(Incoming),
    /// From the gRPC port.
    Grpc(GrpcBody),
}

/// What arrives on one HTTP/2 stream. Dropping it before its end resets the stream.
#[derive(Debug)]
pub struct GrpcBody {
    stream: RecvStream,
    data_ended: bool,
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

impl From<RecvStream> for GrpcBody {
    fn from(stream: RecvStream) -> Self {
        Self {
            stream,
            data_ended: false,
        }
    }
}

impl GrpcBody {
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

impl Body for Received {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Http(body) => Pin::new(body).poll_frame(task).map_err(Broken::Http),
            Self::Grpc(body) => body.poll_frame(task).map_err(Broken::Grpc),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http(body) => body.is_end_stream(),
            Self::Grpc(body) => body.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http(body) => body.size_hint(),
            Self::Grpc(body) if body.stream.is_end_stream() => SizeHint::with_exact(0),
            Self::Grpc(_) => SizeHint::default(),
        }
    }
}
