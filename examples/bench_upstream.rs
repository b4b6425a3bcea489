//! What the proxies of `make bench` forward to: fixed answers, as fast as hyper gives them.
//!
//! `bench_upstream GRPC_ADDRESS HTTP_ADDRESS`. `GET /count` on the second says how many requests were answered, so that
//! a run in which calls went missing, or got past a refusal, is noticed.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::net::TcpListener;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A small `ExecutionCreateResponse`, with its gRPC prefix.
const MESSAGE: &[u8] = b"\0\0\0\0\x19\x0a\x17\x0a\x02ml\x12\x0bdevelopment\x22\x04name";
const JSON: &[u8] = br#"{"executions":[],"token":""}"#;

static ANSWERED: AtomicU64 = AtomicU64::new(0);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(grpc), Some(http)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bench_upstream GRPC_ADDRESS HTTP_ADDRESS".into());
    };
    let (grpc, http) = (TcpListener::bind(grpc).await?, TcpListener::bind(http).await?);
    tokio::try_join!(serve_grpc(grpc), serve_http(http))?;
    Ok(())
}

async fn serve_grpc(listener: TcpListener) -> Result<(), Failure> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .max_concurrent_streams(1000)
            .serve_connection(TokioIo::new(stream), service_fn(grpc));
        // How a connection ends is the client's affair.
        tokio::spawn(async { connection.await.ok() });
    }
}

async fn serve_http(listener: TcpListener) -> Result<(), Failure> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(http));
        tokio::spawn(async { connection.await.ok() });
    }
}

/// Reads the whole message, as a server has to, then answers.
async fn grpc(request: Request<Incoming>) -> Result<Response<Message>, Failure> {
    request.into_body().collect().await?;
    ANSWERED.fetch_add(1, Ordering::Relaxed);
    let trailers = HeaderMap::from_iter([("grpc-status".parse()?, HeaderValue::from_static("0"))]);
    let frames = [Frame::data(Bytes::from_static(MESSAGE)), Frame::trailers(trailers)];
    let mut response = Response::new(Message(frames.into_iter()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(response)
}

/// A gRPC answer: its length is not announced.
#[derive(Debug)]
struct Message(std::array::IntoIter<Frame<Bytes>, 2>);

impl Body for Message {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_slice().is_empty()
    }
}

async fn http(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Failure> {
    if request.uri().path() == "/count" {
        return Ok(Response::new(ANSWERED.load(Ordering::Relaxed).to_string().into()));
    }
    request.into_body().collect().await?;
    ANSWERED.fetch_add(1, Ordering::Relaxed);
    let mut response = Response::new(Full::from(JSON));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
