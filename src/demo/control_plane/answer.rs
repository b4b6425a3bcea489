//! The body of an answer as a list of steps, so that a scripted fault can pause or break off anywhere.

use super::arrivals::Visit;
use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// One step of an answer.
#[derive(Debug)]
pub(super) enum Step {
    /// Send bytes.
    Data(Bytes),
    /// End with these trailers.
    Trailers(HeaderMap),
    /// Wait.
    Pause(Duration),
    /// Break the stream (gRPC) or the connection (HTTP/1.1).
    Break,
}

/// A body that plays its steps. It carries the request's recording, which ends with it.
#[derive(Debug)]
pub(super) struct Answer {
    steps: VecDeque<Step>,
    pause: Option<Pin<Box<Sleep>>>,
    visit: Option<Visit>,
}

impl Answer {
    pub(super) fn new(steps: impl IntoIterator<Item = Step>, visit: Option<Visit>) -> Self {
        let mut answer = Self {
            steps: steps.into_iter().collect(),
            pause: None,
            visit,
        };
        // A body without steps is never polled.
        if answer.steps.is_empty() {
            answer.finish();
        }
        answer
    }

    fn finish(&mut self) {
        if let Some(mut visit) = self.visit.take() {
            visit.answered();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let frame = match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Pause(duration)) => {
                    self.pause = Some(Box::pin(tokio::time::sleep(duration)));
                    continue;
                }
                Some(Step::Break) => return Poll::Ready(Some(Err(io::Error::other("broken off as scripted")))),
                Some(Step::Data(bytes)) => Frame::data(bytes),
                Some(Step::Trailers(trailers)) => Frame::trailers(trailers),
            };
            if self.steps.is_empty() {
                self.finish();
            }
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let mut total = 0;
        for step in &self.steps {
            match step {
                Step::Data(bytes) => total += u64::try_from(bytes.len()).unwrap_or(u64::MAX),
                Step::Trailers(_) => {}
                Step::Pause(_) | Step::Break => return SizeHint::default(),
            }
        }
        SizeHint::with_exact(total)
    }
}
