//! A client of `make bench`, for what h2load cannot do; prints one JSON object.
//!
//! `bench_client handshakes ADDRESS AUTHORITY COUNT full|resumed`: so many TLS 1.3 handshakes, one after the other.
//! `bench_client tokens ADDRESS AUTHORITY MESSAGE REQUESTS TOKENS HOW_MANY`: gRPC calls that carry the first tokens of a
//! file in turn, on the connections h2load would have.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// As h2load has them in the other measurements.
const CONNECTIONS: usize = 8;
const STREAMS: usize = 16;

/// How a client of HTTP/2 begins: its preface, and settings of which none is changed.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const RPC: &str = "https://localhost/flyteidl.service.AdminService/CreateExecution";

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let printed = match arguments.as_slice() {
        ["handshakes", address, authority, count, kind] => {
            let mut tls = trusting(authority)?;
            if *kind == "full" {
                tls.resumption = Resumption::disabled();
            }
            handshakes(address.parse()?, &Arc::new(tls), count.parse()?)?
        }
        ["tokens", address, authority, message, requests, tokens, how_many] => {
            let tokens = std::fs::read_to_string(tokens)?;
            let tokens = tokens.lines().take(how_many.parse()?);
            let calls = Calls {
                tokens: tokens.map(|token| format!("Bearer {token}")).collect(),
                message: std::fs::read(message)?.into(),
                requests: requests.parse()?,
                sent: AtomicUsize::new(0),
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(all(calls, address.parse()?, trusting(authority)?))?
        }
        _ => return Err("usage: bench_client handshakes|tokens …, see the source".into()),
    };
    writeln!(std::io::stdout(), "{printed}")?;
    Ok(())
}

/// Trusts one authority, and speaks HTTP/2.
fn trusting(authority: &str) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let mut tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(tls)
}

fn handshakes(address: SocketAddr, tls: &Arc<ClientConfig>, count: usize) -> Result<Value, Failure> {
    let started = Instant::now();
    let mut resumed = 0;
    for _ in 0..count {
        let mut socket = std::net::TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut connection = ClientConnection::new(Arc::clone(tls), "localhost".try_into()?)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        // With a ticket the next handshake is shorter. It comes after this one, from some only with what they say next.
        connection.writer().write_all(PREFACE)?;
        while connection.wants_write() {
            connection.write_tls(&mut socket)?;
        }
        while connection.tls13_tickets_received() == 0 {
            if connection.read_tls(&mut socket)? == 0 {
                return Err("the connection ended before a ticket came".into());
            }
            connection.process_new_packets()?;
        }
        resumed += usize::from(connection.handshake_kind() == Some(HandshakeKind::Resumed));
    }
    Ok(json!({"seconds": started.elapsed().as_secs_f64(), "resumed": resumed}))
}

/// The calls that are to be made.
struct Calls {
    tokens: Vec<String>,
    message: Bytes,
    requests: usize,
    sent: AtomicUsize,
}

async fn all(calls: Calls, address: SocketAddr, tls: ClientConfig) -> Result<Value, Failure> {
    let (calls, tls) = (Arc::new(calls), tokio_rustls::TlsConnector::from(Arc::new(tls)));
    let started = Instant::now();
    let mut streams = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let tcp = tokio::net::TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let stream = tls.connect("localhost".try_into()?, tcp).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // How it ends shows in the calls.
        tokio::spawn(async { connection.await.ok() });
        for _ in 0..STREAMS {
            streams.spawn(some(Arc::clone(&calls), sender.clone()));
        }
    }
    while let Some(ended) = streams.join_next().await {
        ended??;
    }
    Ok(json!({"seconds": started.elapsed().as_secs_f64()}))
}

/// Makes one call after the other, until all are made.
async fn some(calls: Arc<Calls>, mut sender: http2::SendRequest<Full<Bytes>>) -> Result<(), Failure> {
    loop {
        let number = calls.sent.fetch_add(1, Ordering::Relaxed);
        if number >= calls.requests {
            return Ok(());
        }
        let token = calls.tokens.get(number % calls.tokens.len()).ok_or("no tokens")?;
        let request = Request::post(RPC)
            .header("authorization", token)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(calls.message.clone()))?;
        let response = sender.send_request(request).await?;
        let whole = response.into_body().collect().await?;
        let status = whole.trailers().and_then(|trailers| trailers.get("grpc-status"));
        if status.is_none_or(|status| status != "0") {
            return Err(format!("a call ended with the status {status:?}").into());
        }
    }
}
