//! Reads the header of the PROXY protocol that a trusted hop begins a connection with: exactly its bytes, under a deadline.

use super::HandshakeFailure;
use crate::protocol::proxy_header::{self, FIXED, MAX_LINE, SIGNATURE, Source};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads the header and nothing behind it.
///
/// # Errors
/// `ProxyHeaderTimeout` when it is too slow, `ProxyHeader` when there is none that can be read.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S, deadline: Duration) -> Result<Source, HandshakeFailure> {
    match tokio::time::timeout(deadline, header(stream)).await {
        Ok(source) => source.ok_or(HandshakeFailure::ProxyHeader),
        Err(_) => Err(HandshakeFailure::ProxyHeaderTimeout),
    }
}

/// `None` when it is none, or the stream ends.
async fn header<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Source> {
    // Shorter than any header of either version.
    let mut begin = [0; SIGNATURE.len()];
    stream.read_exact(&mut begin).await.ok()?;
    if begin != SIGNATURE {
        return line(stream, &begin).await;
    }
    let mut fixed = [0; FIXED];
    let (signature, rest) = fixed.split_at_mut(begin.len());
    signature.copy_from_slice(&begin);
    stream.read_exact(rest).await.ok()?;
    let mut rest = vec![0; proxy_header::rest_length(&fixed)?];
    stream.read_exact(&mut rest).await.ok()?;
    proxy_header::binary(&fixed, &rest)
}

/// Reads on to the end of the line, byte by byte: what follows belongs to the client.
async fn line<S: AsyncRead + Unpin>(stream: &mut S, begin: &[u8]) -> Option<Source> {
    if !begin.starts_with(b"PROXY ") || begin.contains(&b'\n') {
        return None;
    }
    let mut line = Vec::with_capacity(MAX_LINE);
    line.extend_from_slice(begin);
    while !line.ends_with(b"\n") {
        if line.len() == MAX_LINE {
            return None;
        }
        line.push(stream.read_u8().await.ok()?);
    }
    proxy_header::line(&line)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use tokio::io::AsyncWriteExt;

    const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 203.0.113.1 56324 443\r\n";
    const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x07\xcb\0\x71\x01\xdd\xd5\x01\xbb\x04\0\0";

    fn client() -> Source {
        Source::Client([192, 0, 2, 7].into())
    }

    /// What is read of bytes sent in two pieces, and what is left of them.
    async fn after(first: &[u8], second: &[u8]) -> (Result<Source, HandshakeFailure>, Vec<u8>) {
        let (mut sender, mut stream) = tokio::io::duplex(8192);
        sender.write_all(first).await.unwrap();
        let second = second.to_vec();
        let sending = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            sender.write_all(&second).await.unwrap();
        });
        let source = read(&mut stream, Duration::from_secs(10)).await;
        sending.await.unwrap();
        let mut left = Vec::new();
        stream.read_to_end(&mut left).await.unwrap();
        (source, left)
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_is_read_wherever_it_is_split_and_nothing_behind_it() {
        for header in [LINE, BINARY] {
            let bytes = [header, b"\x16\x03\x01"].concat();
            for split in 0..=bytes.len() {
                let (first, second) = bytes.split_at(split);
                assert_eq!(
                    after(first, second).await,
                    (Ok(client()), b"\x16\x03\x01".to_vec()),
                    "{split}"
                );
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_is_cut_off_is_none() {
        for header in [LINE, BINARY] {
            for length in 0..header.len() {
                let cut = header.get(..length).unwrap();
                assert_eq!(after(cut, b"").await.0, Err(HandshakeFailure::ProxyHeader), "{length}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_does_not_come_is_waited_for_until_the_deadline() {
        for header in [LINE, BINARY] {
            for length in 0..header.len() {
                let (mut sender, mut stream) = tokio::io::duplex(8192);
                sender.write_all(header.get(..length).unwrap()).await.unwrap();
                let begun = tokio::time::Instant::now();
                let source = read(&mut stream, Duration::from_secs(10)).await;
                assert_eq!(source, Err(HandshakeFailure::ProxyHeaderTimeout), "{length}");
                assert_eq!(begun.elapsed(), Duration::from_secs(10));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_else_a_connection_begins_with_is_refused_before_more_is_read() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0",
            b"PROXY\r\n\r\n\r\n\r\n",
            b"PROXY TCP4\r\n\r\n",
            b"\r\n\r\n\0\r\nQUIT\r\x21\x11\0\x0c",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        ] {
            let (mut sender, mut stream) = tokio::io::duplex(8192);
            sender.write_all(bytes).await.unwrap();
            let source = read(&mut stream, Duration::from_secs(10)).await;
            assert_eq!(source, Err(HandshakeFailure::ProxyHeader), "{bytes:?}");
        }
        let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 4096]].concat();
        let (source, left) = after(&endless, b"").await;
        assert_eq!(
            (source, left.len()),
            (Err(HandshakeFailure::ProxyHeader), endless.len() - MAX_LINE)
        );
    }
}
