//! Reads the first bytes of a connection under a deadline, to tell the HTTP version, and gives them back to be read again.

use super::HandshakeFailure;
use super::activity::Activity;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The HTTP version a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1.
    One,
    /// HTTP/2.
    Two,
}

/// Reads until the version is known: as much of the preface as agrees with it, at most all 24 bytes.
///
/// # Errors
/// `PrefaceTimeout` when the client is too slow, `Preface` when it leaves.
pub async fn detect<S: AsyncRead + Unpin>(
    mut stream: S,
    deadline: Duration,
) -> Result<(HttpVersion, Rewound<S>), HandshakeFailure> {
    let mut bytes = [0; PREFACE.len()];
    let mut filled = 0;
    let reading = async {
        while let Some(space) = bytes.get_mut(filled..).filter(|space| !space.is_empty()) {
            let read = stream.read(space).await.ok().filter(|read| *read > 0)?;
            filled += read;
            if bytes.get(..filled) != PREFACE.get(..filled) {
                return Some(HttpVersion::One);
            }
        }
        Some(HttpVersion::Two)
    };
    let version = match tokio::time::timeout(deadline, reading).await {
        Ok(Some(version)) => version,
        Ok(None) => return Err(HandshakeFailure::Preface),
        Err(_) => return Err(HandshakeFailure::PrefaceTimeout),
    };
    let activity = Activity::begin();
    Ok((
        version,
        Rewound {
            bytes,
            start: 0,
            end: filled,
            stream,
            activity,
        },
    ))
}

/// A stream whose first bytes have been read and will be read again. Tells when more arrive, and whether it takes what is written.
#[derive(Debug)]
pub struct Rewound<S> {
    bytes: [u8; PREFACE.len()],
    start: usize,
    end: usize,
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Rewound<S> {
    /// What is told about the stream.
    pub(super) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }

    /// Tells how an attempt to write went, of so many bytes if it succeeded.
    fn tried<T>(&self, polled: Poll<io::Result<T>>, bytes: impl FnOnce(&T) -> usize) -> Poll<io::Result<T>> {
        match &polled {
            Poll::Ready(Ok(written)) => self.activity.wrote(bytes(written)),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.activity.blocks(),
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match this.bytes.get(this.start..this.end) {
            Some(kept) if !kept.is_empty() => {
                let count = kept.len().min(buffer.remaining());
                buffer.put_slice(kept.get(..count).unwrap_or_default());
                this.start += count;
                Poll::Ready(Ok(()))
            }
            _ => {
                ready!(Pin::new(&mut this.stream).poll_read(task, buffer))?;
                this.activity.arrived();
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(task, bytes);
        self.tried(polled, |written| *written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(task, slices);
        self.tried(polled, |written| *written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(task);
        self.tried(polled, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(task);
        self.tried(polled, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use tokio::io::AsyncWriteExt;

    async fn after(sent: &'static [u8], close: bool) -> Result<(HttpVersion, Vec<u8>), HandshakeFailure> {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(sent).await.unwrap();
        let client = (!close).then_some(client);
        let (version, mut stream) = detect(server, Duration::from_secs(10)).await?;
        drop(client);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        Ok((version, all))
    }

    #[tokio::test(start_paused = true)]
    async fn both_versions_are_told_apart_and_nothing_is_lost() {
        for (sent, version) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04"[..], HttpVersion::Two),
            (b"GET / HTTP/1.1\r\n\r\n", HttpVersion::One),
            (b"PRI / HTTP/1.1\r\n\r\n", HttpVersion::One),
            (b"POST /x HTTP/1.1\r\ncontent-length: 0\r\n\r\n", HttpVersion::One),
        ] {
            assert_eq!(after(sent, false).await, Ok((version, sent.to_vec())));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_half_a_preface_end_at_the_deadline() {
        assert_eq!(after(b"", false).await, Err(HandshakeFailure::PrefaceTimeout));
        assert_eq!(
            after(b"PRI * HTTP/2.0\r\n", false).await,
            Err(HandshakeFailure::PrefaceTimeout)
        );
        assert_eq!(after(b"PRI * HT", true).await, Err(HandshakeFailure::Preface));
    }
}
