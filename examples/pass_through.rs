//! The floor of `make bench`: what TLS, hyper and a forwarded request cost with the settings of the proxy but without any
//! judgement, record or metric.
//!
//! `pass_through ADDRESS CERTIFICATE KEY GRPC_ADDRESS HTTP_ADDRESS`. HTTP/2 goes to the first upstream in plain HTTP/2,
//! HTTP/1.1 to the second. One current-thread runtime, as each worker of the proxy has.

use http::header::{CONNECTION, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where requests go.
#[derive(Debug)]
struct Floor {
    clear: Client<HttpConnector, Incoming>,
    multiplexed: Client<HttpConnector, Incoming>,
    grpc: Authority,
    http: Authority,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, certificate, key, grpc, http] = arguments.as_slice() else {
        return Err("usage: pass_through ADDRESS CERTIFICATE KEY GRPC_ADDRESS HTTP_ADDRESS".into());
    };
    let tls = TlsAcceptor::from(Arc::new(tls(certificate, key)?));
    let floor = Arc::new(Floor::new(grpc, http)?);
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (tls, floor) = (tls.clone(), Arc::clone(&floor));
        // How a connection ends is the client's affair.
        tokio::spawn(async move { serve(stream, &tls, floor).await.ok() });
    }
}

async fn serve(stream: TcpStream, tls: &TlsAcceptor, floor: Arc<Floor>) -> Result<(), Failure> {
    let stream = tls.accept(stream).await?;
    let multiplexed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| {
        let floor = Arc::clone(&floor);
        async move { floor.forward(request).await.map_err(std::io::Error::other) }
    });
    let stream = TokioIo::new(stream);
    if multiplexed {
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(100)
            .initial_stream_window_size(256 << 10)
            .initial_connection_window_size(1 << 20)
            .max_send_buf_size(256 << 10)
            .serve_connection(stream, service)
            .await?;
    } else {
        http1::Builder::new().serve_connection(stream, service).await?;
    }
    Ok(())
}

impl Floor {
    fn new(grpc: &str, http: &str) -> Result<Self, Failure> {
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

    async fn forward(&self, mut request: Request<Incoming>) -> Result<Response<Incoming>, Failure> {
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

fn tls(certificate: &str, key: &str) -> Result<rustls::ServerConfig, Failure> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
