//! The way to the control plane: gone and back, through TLS, and pages that pass unchanged.

use crate::proxy::Proxy;
use crate::upstream::{grpc, rest};
use bytes::Bytes;
use flyte_authz_proxy::demo::certificates::Certificates;
use flyte_authz_proxy::demo::stack::Setup;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// Replaces the `upstream` of the configuration.
pub(crate) fn upstream(setup: &mut Setup, line: String) {
    setup.edit = Box::new(move |text| {
        let lines = text.lines();
        let lines = lines.map(|old| if old.starts_with("upstream:") { &line } else { old });
        lines.collect::<Vec<_>>().join(
            "
",
        )
    });
}

/// Stands between the proxy and the control plane; its connections end when the task is aborted.
pub(crate) fn relay(listener: TcpListener, target: SocketAddr, tls: Option<TlsAcceptor>) -> JoinHandle<()> {
    async fn copy(mut from: impl AsyncRead + AsyncWrite + Unpin, target: SocketAddr) {
        let mut to = TcpStream::connect(target).await.unwrap();
        _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
    }
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            connections.spawn(async move {
                match tls {
                    None => copy(stream, target).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            copy(stream, target).await;
                        }
                    }
                }
            });
        }
    })
}

pub(crate) async fn listen(port: u16) -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_control_plane_is_gone_callers_are_told_and_afterwards_all_is_well() {
    let ((grpc_listener, grpc_port), (http_listener, http_port)) = (listen(0).await, listen(0).await);
    let line = format!("upstream: {{ grpc: 'http://127.0.0.1:{grpc_port}', http: 'http://127.0.0.1:{http_port}' }}");
    let proxy = Proxy::start_with(|setup| upstream(setup, line)).await;
    let (grpc_target, http_target) = (proxy.control_plane.grpc, proxy.control_plane.http);
    let mut relays = [
        relay(grpc_listener, grpc_target, None),
        relay(http_listener, http_target, None),
    ];
    for _ in 0..3 {
        for by_grpc in [true, false] {
            let before = proxy.before();
            let reply = if by_grpc {
                grpc(&proxy).await
            } else {
                rest(&proxy).await
            }
            .unwrap();
            proxy.forwarded(&before, &reply).await;
        }
        for relay in &mut relays {
            relay.abort();
            assert!(relay.await.unwrap_err().is_cancelled());
        }
        for by_grpc in [true, false] {
            let before = proxy.before();
            let reply = if by_grpc {
                grpc(&proxy).await
            } else {
                rest(&proxy).await
            }
            .unwrap();
            proxy.refused(&before, &reply, Reason::UpstreamUnreachable).await;
        }
        let (grpc_listener, http_listener) = (listen(grpc_port).await.0, listen(http_port).await.0);
        relays = [
            relay(grpc_listener, grpc_target, None),
            relay(http_listener, http_target, None),
        ];
    }
}

pub(crate) fn acceptor(certificates: &Certificates, alpn: &[u8]) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(certificates.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(certificates.key.as_bytes()).unwrap();
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_to_the_control_plane_needs_a_certificate_of_the_configured_authority() {
    let certificates = Certificates::generate().unwrap();
    for trusted in [true, false] {
        let ((grpc_listener, grpc_port), (http_listener, http_port)) = (listen(0).await, listen(0).await);
        let authority = if trusted {
            certificates.authority.clone()
        } else {
            Certificates::generate().unwrap().authority
        };
        let proxy = Proxy::start_with(|setup| {
            std::fs::write(setup.directory.join("upstream-ca.pem"), authority).unwrap();
            let (grpc, http) = (
                format!("https://localhost:{grpc_port}"),
                format!("https://localhost:{http_port}"),
            );
            upstream(
                setup,
                format!("upstream: {{ grpc: '{grpc}', http: '{http}', ca: upstream-ca.pem }}"),
            );
        })
        .await;
        let _relays = [
            relay(
                grpc_listener,
                proxy.control_plane.grpc,
                Some(acceptor(&certificates, b"h2")),
            ),
            relay(
                http_listener,
                proxy.control_plane.http,
                Some(acceptor(&certificates, b"http/1.1")),
            ),
        ];
        for by_grpc in [true, false] {
            let before = proxy.before();
            let reply = if by_grpc {
                grpc(&proxy).await
            } else {
                rest(&proxy).await
            }
            .unwrap();
            if trusted {
                proxy.forwarded(&before, &reply).await;
            } else {
                proxy.refused(&before, &reply, Reason::UpstreamUnreachable).await;
            }
        }
    }
}

/// An answer with one message and an error after it.
async fn fail_late(_: Request<Incoming>) -> Result<Response<impl Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let trailers = [
        ("grpc-status", "13"),
        ("grpc-message", "late %E2%9C%97"),
        ("grpc-status-details-bin", "CA0SBGxhdGU"),
        ("x-own-bin", "AAEC/w"),
    ];
    let trailers = trailers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let body =
        Full::from(envelope::frame(b"\x0a\x00")).with_trailers(async { Some(Ok(trailers.into_iter().collect())) });
    let content_type = ("content-type", "application/grpc");
    Ok(Response::builder()
        .header(content_type.0, content_type.1)
        .body(body)
        .unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_after_a_message_arrive_byte_for_byte() {
    let (listener, port) = listen(0).await;
    let proxy = Proxy::start_with(|setup| {
        upstream(
            setup,
            format!("upstream: {{ grpc: 'http://127.0.0.1:{port}', http: 'http://127.0.0.1:{port}' }}"),
        );
    })
    .await;
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let builder = http2::Builder::new(TokioExecutor::new());
        _ = builder
            .serve_connection(TokioIo::new(stream), service_fn(fail_late))
            .await;
    });
    let reply = grpc(&proxy).await.unwrap();
    assert_eq!(reply.body, envelope::frame(b"\x0a\x00"));
    assert!(!reply.headers.contains_key("grpc-status"));
    let trailers = reply.trailers.unwrap();
    assert_eq!(trailers.len(), 4);
    assert_eq!(trailers["grpc-status"], "13");
    assert_eq!(trailers["grpc-message"], "late %E2%9C%97");
    assert_eq!(trailers["grpc-status-details-bin"], "CA0SBGxhdGU");
    assert_eq!(trailers["x-own-bin"], "AAEC/w");
    let record = proxy.records().pop().unwrap();
    assert_eq!(
        (&record["outcome"], &record["grpc_status"]),
        (&"forwarded".into(), &13.into())
    );
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_keep_their_status_redirects_and_cookies() {
    let (listener, port) = listen(0).await;
    let proxy = Proxy::start_with(|setup| {
        upstream(
            setup,
            format!("upstream: {{ grpc: 'http://127.0.0.1:{port}', http: 'http://127.0.0.1:{port}' }}"),
        );
    })
    .await;
    let answers = [
        "HTTP/1.1 302 Found\r\nlocation: https://idp.example.com/x?y=z\r\nset-cookie: a=1; HttpOnly\r\nset-cookie: b=2\r\ncontent-length: 0\r\n",
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.1 304 Not Modified\r\netag: \"v1\"\r\n",
        "HTTP/1.1 418 Teapot\r\ncontent-length: 3\r\nkeep-alive: timeout=5\r\nx-own: yes\r\n",
    ];
    let serving = tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            let body = if answer.contains("Teapot") { "tea" } else { "" };
            let answer = format!("{answer}connection: close\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let mut replies = Vec::new();
    for _ in answers {
        replies.push(proxy.client.get(None, "/login").await.unwrap());
    }
    serving.await.unwrap();
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!(statuses, [302, 204, 304, 418]);
    assert_eq!(replies[0].headers["location"], "https://idp.example.com/x?y=z");
    let cookies: Vec<_> = replies[0].headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1; HttpOnly", "b=2"]);
    assert_eq!(replies[2].headers["etag"], "\"v1\"");
    assert_eq!(
        (&replies[3].body[..], &replies[3].headers["x-own"]),
        (&b"tea"[..], &"yes".parse().unwrap())
    );
    assert!(!replies[3].headers.contains_key("keep-alive"));
    assert!(
        proxy
            .records_after(0, 4)
            .await
            .iter()
            .all(|record| record["outcome"] == "forwarded")
    );
}
