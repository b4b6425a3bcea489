//! TLS, hyper and a forwarded request, with the settings of the proxy, and nothing else: what the stack itself costs.

use bytes::Bytes;
use http::header::{CONNECTION, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where requests go.
#[derive(Debug)]
pub(crate) struct Floor {
    clear: Client<HttpConnector, Incoming>,
    multiplexed: Client<HttpConnector, Incoming>,
    grpc: Authority,
    http: Authority,
}

impl Floor {
    pub(crate) fn new(grpc: &str, http: &str) -> Result<Self, Failure> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.timer(TokioTimer::new()).pool_timer(TokioTimer::new());
        Ok(Self {
            clear: builder.build(tcp.clone()),
            multiplexed: builder
                .http2_only(true)
                .http2_initial_stream_window_size(1 << 20)
                .http2_initial_connection_window_size(4 << 20)
                .build(tcp),
            grpc: grpc.parse()?,
            http: http.parse()?,
        })
    }

    pub(crate) async fn forward(&self, mut request: Request<Incoming>) -> Result<Response<Incoming>, Failure> {
        let multiplexed = request.version() == Version::HTTP_2;
        let (client, authority) = if multiplexed {
            (&self.multiplexed, &self.grpc)
        } else {
            (&self.clear, &self.http)
        };
        let target = request.uri().path_and_query();
        *request.uri_mut() = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(authority.clone())
            .path_and_query(target.map_or("/", PathAndQuery::as_str))
            .build()?;
        request.headers_mut().remove(CONNECTION);
        if multiplexed {
            request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        }
        let mut response = client.request(request).await?;
        response.headers_mut().remove(CONNECTION);
        Ok(response)
    }
}

/// Accepts connections for ever and answers their requests.
pub(crate) async fn run<A, R, B>(listener: TcpListener, tls: rustls::ServerConfig, answer: A) -> Result<(), Failure>
where
    A: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Result<Response<B>, Failure>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Failure>> + Send + 'static,
{
    let tls = TlsAcceptor::from(Arc::new(tls));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (tls, answer) = (tls.clone(), answer.clone());
        // How a connection ends is the client's affair.
        tokio::spawn(async move { serve(stream, &tls, answer).await.ok() });
    }
}

async fn serve<A, R, B>(stream: TcpStream, tls: &TlsAcceptor, answer: A) -> Result<(), Failure>
where
    A: Fn(Request<Incoming>) -> R + Send,
    R: Future<Output = Result<Response<B>, Failure>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Failure>> + Send + 'static,
{
    let stream = tls.accept(stream).await?;
    let multiplexed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    if multiplexed {
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(100)
            .initial_stream_window_size(256 << 10)
            .initial_connection_window_size(1 << 20)
            .max_send_buf_size(256 << 10)
            .serve_connection(stream, service_fn(answer))
            .await?;
    } else {
        http1::Builder::new()
            .serve_connection(stream, service_fn(answer))
            .await?;
    }
    Ok(())
}

/// The TLS settings of the proxy: tickets, and both versions of HTTP.
pub(crate) fn tls(certificate: &Path, key: &Path) -> Result<rustls::ServerConfig, Failure> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
