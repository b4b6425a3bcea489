//! Fetching over TLS: only an issuer whose certificate is vouched for is believed.

use super::*;
use crate::demo::signing::jwks;
use bytes::Bytes;
use http::{Response, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::CertifiedKey;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use std::convert::Infallible;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Serves one document over TLS for `localhost`; returns its URL.
async fn serve(document: String, identity: &CertifiedKey<rcgen::KeyPair>) -> String {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der()).unwrap();
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("https://localhost:{}/jwks", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let service = service_fn(|_| {
                let response = Response::builder().header(CONTENT_TYPE, "application/jwk-set+json; charset=utf-8");
                let response = response.body(Full::<Bytes>::from(document.clone())).unwrap();
                async move { Ok::<_, Infallible>(response) }
            });
            _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    });
    url
}

#[tokio::test]
async fn keys_are_fetched_over_tls_only_from_a_host_that_the_ca_file_vouches_for() {
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let elsewhere = rcgen::generate_simple_self_signed(["idp.example.com".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::generate("key", Algorithm::EdDsa).unwrap();
    let document = jwks([&key]).to_string();
    let url = serve(document.clone(), &identity).await;
    let wrong_name = serve(document, &elsewhere).await;
    let fetch = async |url: &str, trusted: &CertifiedKey<rcgen::KeyPair>| {
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, trusted.cert.pem()).unwrap();
        let mut settings = settings("https://idp.example.com");
        settings.allow_http = false;
        settings.keys = KeySource::Url(url.to_owned());
        settings.ca_file = Some(ca_file);
        let clock = Arc::new(ManualClock::at(NOW));
        let issuers = Issuers::new(vec![settings], TokenLimits::default(), clock, Arc::new(())).unwrap();
        issuers.refresh_all().await;
        let status = issuers.status().remove(0);
        (status.keys, status.last_error.unwrap_or_default())
    };
    assert_eq!(fetch(&url, &identity).await, (1, String::new()));
    for (url, trusted) in [(&url, &stranger), (&wrong_name, &elsewhere)] {
        let (keys, error) = fetch(url, trusted).await;
        assert!(keys == 0 && error.contains("certificate"), "{error}");
    }
}
