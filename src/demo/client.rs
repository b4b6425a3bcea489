//! Clients of the proxy: real gRPC over HTTP/2 and REST over HTTP/1.1, both through TLS.

use super::certificates::ClientIdentity;
use crate::protocol::envelope;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;

type HttpClient = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// What went wrong on the client's side.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The client side of TLS: trusting the authorities of a PEM text if any, with a certificate of its own if any.
///
/// # Errors
/// When an authority or the certificate cannot be read.
pub fn tls(authority: Option<&str>, identity: Option<&ClientIdentity>) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    if let Some(authority) = authority {
        for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
            roots.add(certificate?)?;
        }
    }
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let Some(identity) = identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)?;
    // Sent as it is, also where the library would not let a client send it.
    let identity = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    Ok(builder.with_client_cert_resolver(Arc::new(identity)))
}

/// A client with one HTTP/2 connection and a few HTTP/1.1 ones.
#[derive(Clone, Debug)]
pub struct Client {
    grpc: HttpClient,
    rest: HttpClient,
    base: String,
    descriptors: DescriptorPool,
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The trailers, if any.
    pub trailers: Option<HeaderMap>,
}

impl Reply {
    /// The gRPC status: from the trailers, or from the headers of an answer without body.
    #[must_use]
    pub fn grpc_status(&self) -> Option<u16> {
        self.field("grpc-status")?.parse().ok()
    }

    /// The text with it, decoded; for REST the `message` of the body.
    #[must_use]
    pub fn message(&self) -> String {
        if let Some(text) = self.field("grpc-message") {
            return percent_encoding::percent_decode_str(text)
                .decode_utf8_lossy()
                .into_owned();
        }
        let body: Value = self.json();
        body.get("message")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    fn field(&self, name: &str) -> Option<&str> {
        let trailers = self.trailers.as_ref().and_then(|trailers| trailers.get(name));
        trailers
            .or_else(|| self.headers.get(name))
            .and_then(|value| value.to_str().ok())
    }
}

impl Client {
    /// A client of the proxy at `address`, trusting the authority. With `None`, the proxy is spoken to in plain text.
    ///
    /// # Errors
    /// When the descriptors or the authority cannot be read.
    pub fn new(address: SocketAddr, authority: Option<&str>, descriptors: &[u8]) -> Result<Self, Failure> {
        Self::with_identity(address, authority, None, descriptors)
    }

    /// The same with a certificate of its own, if any.
    ///
    /// # Errors
    /// When the descriptors, the authority or the certificate cannot be read.
    pub fn with_identity(
        address: SocketAddr,
        authority: Option<&str>,
        identity: Option<&ClientIdentity>,
        descriptors: &[u8],
    ) -> Result<Self, Failure> {
        let tls = tls(authority, identity)?;
        let scheme = if authority.is_some() { "https" } else { "http" };
        let connector = || {
            HttpsConnectorBuilder::new()
                .with_tls_config(tls.clone())
                .https_or_http()
        };
        // Otherwise a request in two writes waits for the delayed acknowledgement of the first, 40 ms.
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let mut builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        Ok(Self {
            grpc: builder
                .clone()
                .http2_only(true)
                .build(connector().enable_http2().wrap_connector(tcp.clone())),
            rest: builder
                .pool_max_idle_per_host(0)
                .build(connector().enable_http1().wrap_connector(tcp)),
            base: format!("{scheme}://localhost:{}", address.port()),
            descriptors: DescriptorPool::decode(descriptors)?,
        })
    }

    /// Calls an RPC such as `AdminService/GetTask` with a message in JSON.
    ///
    /// # Errors
    /// When the RPC or its fields are unknown, or no answer comes.
    pub async fn call(&self, token: Option<&str>, rpc: &str, message: Value) -> Result<Reply, Failure> {
        let encoded = self.encode(rpc, message)?;
        let path = format!("/flyteidl.service.{rpc}");
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|value| ("authorization", value.as_str())).collect();
        self.grpc(&path, &headers, envelope::frame(&encoded)).await
    }

    /// Encodes a request message of an RPC.
    ///
    /// # Errors
    /// When the RPC or its fields are unknown.
    pub fn encode(&self, rpc: &str, message: Value) -> Result<Vec<u8>, Failure> {
        let descriptor = self.request(rpc)?;
        Ok(DynamicMessage::deserialize(descriptor, message)?.encode_to_vec())
    }

    fn request(&self, rpc: &str) -> Result<MessageDescriptor, Failure> {
        let (service, method) = rpc.split_once('/').ok_or("an RPC is Service/Method")?;
        let service = self
            .descriptors
            .get_service_by_name(&format!("flyteidl.service.{service}"))
            .ok_or("unknown service")?;
        let mut methods = service.methods();
        let method = methods.find(|known| known.name() == method).ok_or("unknown method")?;
        Ok(method.input())
    }

    /// Sends a gRPC request as given.
    ///
    /// # Errors
    /// When it is no request or no answer comes.
    pub async fn grpc(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Reply, Failure> {
        let mut all = vec![("te", "trailers")];
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            all.push(("content-type", "application/grpc"));
        }
        all.extend(headers);
        self.send(&self.grpc, Method::POST, path, &all, body).await
    }

    /// Sends a REST request over HTTP/1.1 as given.
    ///
    /// # Errors
    /// When it is no request or no answer comes.
    pub async fn rest(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, Failure> {
        self.send(&self.rest, method, target, headers, body.into()).await
    }

    /// Reads a path with a token.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn get(&self, token: Option<&str>, target: &str) -> Result<Reply, Failure> {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|value| ("authorization", value.as_str())).collect();
        self.rest(Method::GET, target, &headers, Bytes::new()).await
    }

    async fn send(
        &self,
        client: &HttpClient,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Reply, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{target}", self.base).parse()?;
        for (name, value) in headers {
            request
                .headers_mut()
                .append(HeaderName::try_from(*name)?, HeaderValue::from_str(value)?);
        }
        let (parts, body) = client.request(request).await?.into_parts();
        let collected = body.collect().await?;
        let trailers = collected.trailers().cloned();
        Ok(Reply {
            status: parts.status,
            headers: parts.headers,
            trailers,
            body: collected.to_bytes(),
        })
    }
}
