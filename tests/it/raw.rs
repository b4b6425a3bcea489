//! Clients that send what no well-behaved client sends: HTTP/1.1 byte by byte, HTTP/2 frame by frame.

use crate::proxy::Proxy;
use bytes::Bytes;
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::demo::stack::Entry;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

async fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address(Entry::Plain).unwrap()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// An HTTP/1.1 connection, to the plain text listener unless said otherwise.
pub(crate) struct Http1 {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Http1 {
    pub(crate) async fn connect(proxy: &Proxy) -> Self {
        Self::over(connect(proxy).await)
    }

    /// The same over a connection that is there.
    pub(crate) fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// Sends bytes as they are. Whether the proxy still listens shows in what it answers.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// The next answer; `None` when the connection ends without one.
    pub(crate) async fn reply(&mut self) -> Option<Reply> {
        let end = loop {
            if let Some(position) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                break position + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.received.drain(..end).collect()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            headers.append(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        let body = if headers.get("transfer-encoding").is_some() {
            self.chunks().await?
        } else {
            let length = headers
                .get("content-length")
                .map_or("0", |value| value.to_str().unwrap());
            self.exactly(length.parse().unwrap()).await?
        };
        Some(Reply {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: body.into(),
            trailers: None,
        })
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match self.received.windows(2).position(|two| two == b"\r\n") {
                    Some(position) => break position,
                    None => self.more().await?,
                }
            };
            let line = self.exactly(end + 2).await?;
            let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
            body.extend(self.exactly(size).await?);
            self.exactly(2).await?;
            if size == 0 {
                return Some(body);
            }
        }
    }

    async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.received.len() < count {
            self.more().await?;
        }
        Some(self.received.drain(..count).collect())
    }

    async fn more(&mut self) -> Option<()> {
        let mut bytes = [0; 4096];
        let reading = self.stream.read(&mut bytes);
        match tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("an answer in time")
        {
            Ok(0) | Err(_) => None,
            Ok(count) => {
                self.received.extend(bytes.iter().take(count));
                Some(())
            }
        }
    }
}

/// Sends one HTTP/1.1 request as written on a connection of its own. `None` when it ends without an answer.
pub(crate) async fn http1(proxy: &Proxy, request: impl AsRef<[u8]>) -> Option<Reply> {
    let mut connection = Http1::connect(proxy).await;
    connection.send(request).await;
    connection.reply().await
}

/// What becomes of an HTTP/2 request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Answered; with the whole answer in the headers, or more to come.
    Answered {
        /// Whether the headers are all there is.
        headers_only: bool,
    },
    /// The stream was reset.
    Reset,
    /// The connection was ended.
    Ended,
}

/// Sends one HTTP/2 request, its header fields and the frames behind them as given, on a connection of its own.
async fn sent(proxy: &Proxy, fields: &[(&[u8], &[u8])], data: Option<&[u8]>) -> TcpStream {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    // END_HEADERS, and END_STREAM where no data follows.
    let flags = if data.is_none() { 0x5 } else { 0x4 };
    bytes.extend(frame(1, flags, 1, &block));
    if let Some(data) = data {
        bytes.extend(frame(0, 0x1, 1, data));
    }
    let mut stream = connect(proxy).await;
    stream.write_all(&bytes).await.unwrap();
    stream
}

/// The kind, flags and payload of the next frame; `None` when the connection ends.
async fn next_frame(stream: &mut TcpStream) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, payload))
}

/// Sends one HTTP/2 request, and returns the header block and the body of its answer, which must end.
pub(crate) async fn http2_answer(proxy: &Proxy, fields: &[(&[u8], &[u8])], data: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
    let mut stream = sent(proxy, fields, data).await;
    let answer = async {
        let (mut block, mut body) = (Vec::new(), Vec::new());
        loop {
            let (kind, flags, payload) = next_frame(&mut stream).await.expect("the connection lasts");
            match kind {
                0 => body.extend(payload),
                1 => block.extend(payload),
                3 => panic!("the stream was reset before its end"),
                _ => continue,
            }
            if flags & 1 == 1 {
                return (block, body);
            }
        }
    };
    tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time")
}

/// Sends one HTTP/2 request, and looks at the beginning of its answer.
pub(crate) async fn http2(proxy: &Proxy, fields: &[(&[u8], &[u8])], data: Option<&[u8]>) -> Fate {
    let mut stream = sent(proxy, fields, data).await;
    let fate = async {
        while let Some((kind, flags, _)) = next_frame(&mut stream).await {
            match kind {
                1 => {
                    return Fate::Answered {
                        headers_only: flags & 1 == 1,
                    };
                }
                3 => return Fate::Reset,
                7 => return Fate::Ended,
                _ => {}
            }
        }
        Fate::Ended
    };
    tokio::time::timeout(PATIENCE, fate).await.expect("an answer in time")
}

/// A frame (RFC 9113, section 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length.get(1..).unwrap().to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A literal header field, not indexed and not compressed (RFC 7541, section 6.2.2).
pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let text = |text: &[u8]| {
        let mut bytes = Vec::new();
        match u8::try_from(text.len()) {
            Ok(length) if length < 127 => bytes.push(length),
            _ => {
                bytes.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                bytes.push(u8::try_from(rest).unwrap());
            }
        }
        bytes.extend(text);
        bytes
    };
    [vec![0], text(name), text(value)].concat()
}

/// A request body in the pieces given, each in a frame of its own.
#[derive(Debug)]
pub(crate) struct Pieces {
    frames: VecDeque<Frame<Bytes>>,
    stalls: bool,
}

impl Pieces {
    /// These bytes, piece by piece.
    pub(crate) fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let frames = pieces
            .into_iter()
            .map(|piece| Frame::data(Bytes::copy_from_slice(piece)));
        Self {
            frames: frames.collect(),
            stalls: false,
        }
    }

    /// And then trailers.
    pub(crate) fn with_trailer(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).unwrap();
        if let Some(trailers) = self.frames.back_mut().and_then(Frame::trailers_mut) {
            trailers.insert(name, value);
        } else {
            self.frames.push_back(Frame::trailers(HeaderMap::from_iter([(
                HeaderName::from_static(name),
                value,
            )])));
        }
        self
    }

    /// And then nothing more, without an end.
    pub(crate) fn stalled(mut self) -> Self {
        self.stalls = true;
        self
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.frames.pop_front() {
            None if self.stalls => Poll::Pending,
            frame => Poll::Ready(frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && !self.stalls
    }
}

/// Sends a gRPC request with the body as given, over HTTP/2 in plain text. The error when it is reset.
pub(crate) async fn pieces(
    proxy: &Proxy,
    path: &str,
    headers: &[(&str, &str)],
    body: Pieces,
) -> Result<Reply, hyper::Error> {
    let io = TokioIo::new(connect(proxy).await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
    let driver = tokio::spawn(connection);
    let mut request = Request::post(format!("http://localhost{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answered = async {
        let (parts, body) = sender.send_request(request.body(body).unwrap()).await?.into_parts();
        let collected = body.collect().await?;
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            trailers: collected.trailers().cloned(),
            body: collected.to_bytes(),
        })
    };
    let reply = tokio::time::timeout(PATIENCE, answered)
        .await
        .expect("an answer in time");
    driver.abort();
    reply
}
