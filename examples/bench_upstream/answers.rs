//! Fixed answers of a control plane: gRPC over plain HTTP/2, REST over HTTP/1.1.

use bytes::Bytes;
use flyte_authz_proxy::protocol::envelope;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::net::TcpListener;

#[path = "projects.rs"]
mod projects;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A small `ExecutionCreateResponse`, with its gRPC prefix.
const MESSAGE: &[u8] = b"\0\0\0\0\x19\x0a\x17\x0a\x02ml\x12\x0bdevelopment\x22\x04name";
const JSON: &[u8] = br#"{"executions":[],"token":""}"#;

/// Many projects, in protobuf with their gRPC prefix and in JSON.
static LIST: LazyLock<(Bytes, Bytes)> = LazyLock::new(|| {
    let (message, json) = projects::projects();
    (envelope::frame(&message), json.into())
});

static ANSWERED: AtomicU64 = AtomicU64::new(0);

/// Answers on both until one fails.
pub(crate) async fn serve(grpc: TcpListener, http: TcpListener) -> Result<(), Failure> {
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
    let list = request.uri().path().ends_with("/ListProjects");
    request.into_body().collect().await?;
    ANSWERED.fetch_add(1, Ordering::Relaxed);
    let trailers = HeaderMap::from_iter([("grpc-status".parse()?, HeaderValue::from_static("0"))]);
    let message = if list {
        LIST.0.clone()
    } else {
        Bytes::from_static(MESSAGE)
    };
    let frames = [Frame::data(message), Frame::trailers(trailers)];
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
    let list = request.uri().path() == "/api/v1/projects";
    request.into_body().collect().await?;
    ANSWERED.fetch_add(1, Ordering::Relaxed);
    let body = if list { LIST.1.clone() } else { Bytes::from_static(JSON) };
    let mut response = Response::new(Full::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
