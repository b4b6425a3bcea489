//! Connections below the level of requests: bytes, TLS versions, HTTP/2 streams; and waiting for what must come.

use crate::proxy::Proxy;
use bytes::Bytes;
use flyte_authz_proxy::demo::stack::Entry;
use flyte_authz_proxy::protocol::envelope;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::SupportedProtocolVersion;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Both versions that are accepted.
pub(crate) const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

/// Waits for something that must come.
pub(crate) async fn soon<T>(what: &str, coming: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, coming).await;
    waited.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// A TCP connection to a listener.
pub(crate) async fn tcp(proxy: &Proxy, entry: Entry) -> TcpStream {
    TcpStream::connect(proxy.address(entry).unwrap()).await.unwrap()
}

/// A TLS connection to the TLS listener, trusting the authority of the stack.
pub(crate) async fn tls(
    proxy: &Proxy,
    alpn: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&proxy.authority).unwrap())
        .unwrap();
    let mut config = rustls::ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = tcp(proxy, Entry::Tls).await;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Everything until the other side closes or resets the connection.
pub(crate) async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut all = Vec::new();
    // A reset is an end too; what came before it is in `all`.
    _ = soon("the connection closes", stream.read_to_end(&mut all)).await;
    all
}

/// Sends bytes and returns all that comes until the connection closes.
pub(crate) async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, sent: impl AsRef<[u8]>) -> String {
    stream.write_all(sent.as_ref()).await.unwrap();
    String::from_utf8_lossy(&until_closed(&mut stream).await).into_owned()
}

/// The head and body of what the admin listener answers.
pub(crate) async fn admin(address: SocketAddr, path: &str) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    exchange(stream, get(path)).await
}

/// A request for a path after which the connection closes.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

/// A body that does not say how long it is.
#[derive(Debug)]
pub(crate) struct Undeclared(pub(crate) Full<Bytes>);

impl Body for Undeclared {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(task)
    }
}

/// One HTTP/2 connection over a stream.
pub(crate) async fn h2<S>(stream: S) -> SendRequest<Undeclared>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(async move { _ = connection.await });
    requests
}

/// A gRPC request with an encoded message.
pub(crate) fn rpc(token: &str, name: &str, message: &[u8]) -> Request<Undeclared> {
    Request::post(format!("http://localhost/flyteidl.service.{name}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {token}"))
        .body(Undeclared(Full::new(envelope::frame(message))))
        .unwrap()
}

/// Reads an answer to its end and returns the gRPC status in its headers or trailers.
pub(crate) async fn status(response: Response<Incoming>) -> Option<u16> {
    use http_body_util::BodyExt;
    let (head, body) = response.into_parts();
    let trailers = body.collect().await.ok()?.trailers().cloned().unwrap_or_default();
    let value = trailers.get("grpc-status").or_else(|| head.headers.get("grpc-status"));
    value?.to_str().ok()?.parse().ok()
}
