//! A proxy with one more listener, `mesh`, that asks for client certificates, and clients that have some.

use crate::descriptors;
use crate::proxy::Proxy;
use crate::sockets::{exchange, get};
use flyte_authz_proxy::demo::certificates::{Authority, ClientIdentity};
use flyte_authz_proxy::demo::client::{self, Client};
use flyte_authz_proxy::demo::stack::{POLICY, Setup};
use rcgen::{CertificateParams, SanType};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use std::ops::Deref;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const LIST: &str = "AdminService/ListExecutions";

/// The workload that the policy lets into the project `ml`.
pub(crate) const PROPELLER: &str = "spiffe://cluster.local/ns/flyte/sa/flytepropeller";

/// What the policy says of it.
const RULE: &str = "
  - name: workloads
    subjects: [{ issuer: \"listener:mesh\", subject: [\"spiffe://cluster.local/ns/flyte/sa/*\"] }]
    allow: [{ projects: [ml], domains: [development], role: contributor }]
";

/// The proxy and the authority that its listener trusts, whose certificate is in `clients.pem`.
pub(crate) struct Mesh {
    pub(crate) proxy: Proxy,
    pub(crate) authority: Authority,
}

impl Deref for Mesh {
    type Target = Proxy;

    fn deref(&self) -> &Proxy {
        &self.proxy
    }
}

impl Mesh {
    /// With the listener's `client_certificates` besides `ca`, and the rest of its keys.
    pub(crate) async fn start(certificates: &str, rest: &str) -> Self {
        Self::start_with(certificates, rest, |_| {}).await
    }

    /// The same with more changes.
    pub(crate) async fn start_with(certificates: &str, rest: &str, change: impl FnOnce(&mut Setup)) -> Self {
        let authority = Authority::generate("the clients' authority").unwrap();
        let certificate = authority.certificate.clone();
        let listener = format!(
            "  - name: mesh
    address: 127.0.0.1:0
    tls: {{ certificate: tls.crt, key: tls.key, client_certificates: {{ ca: clients.pem{certificates} }} }}
    {rest}
admin:"
        );
        let proxy = Proxy::start_with(|setup| {
            std::fs::write(setup.directory.join("clients.pem"), certificate).unwrap();
            setup.policy = format!("{POLICY}{RULE}");
            setup.edit = Box::new(move |text| text.replace("admin:", &listener));
            change(setup);
        })
        .await;
        Self { proxy, authority }
    }

    /// A certificate with changes.
    pub(crate) fn identity(&self, change: impl FnOnce(&mut CertificateParams)) -> ClientIdentity {
        self.authority.client(change).unwrap()
    }

    /// A certificate with these URIs.
    pub(crate) fn uris(&self, uris: &[&str]) -> ClientIdentity {
        self.identity(|certificate| with_uris(certificate, uris))
    }

    /// The certificate of the workload that the policy knows.
    pub(crate) fn propeller(&self) -> ClientIdentity {
        self.uris(&[PROPELLER])
    }

    /// A client of the listener.
    pub(crate) fn client(&self, identity: Option<&ClientIdentity>) -> Client {
        let authority = std::fs::read_to_string(&self.proxy.authority).unwrap();
        let address = self.app.addresses[3];
        Client::with_identity(address, Some(&authority), identity, &descriptors::bytes()).unwrap()
    }

    /// The client side of TLS.
    pub(crate) fn tls(&self, identity: Option<&ClientIdentity>) -> ClientConfig {
        let authority = std::fs::read_to_string(&self.proxy.authority).unwrap();
        client::tls(Some(&authority), identity).unwrap()
    }

    /// A connection to the listener. That the certificate is refused may show only when something is read.
    pub(crate) async fn connect(&self, config: &Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.app.addresses[3]).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::clone(config)).connect(name, stream).await
    }

    /// Whether a request over a new connection is answered.
    pub(crate) async fn answers(&self, config: ClientConfig) -> bool {
        self.answers_to(&Arc::new(config)).await
    }

    /// The same for a client that remembers its sessions.
    pub(crate) async fn answers_to(&self, config: &Arc<ClientConfig>) -> bool {
        let Ok(stream) = self.connect(config).await else {
            return false;
        };
        let answer = exchange(stream, get("/healthcheck")).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 200"), "{answer}");
        !answer.is_empty()
    }
}

pub(crate) fn with_uris(certificate: &mut CertificateParams, uris: &[&str]) {
    let names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
    certificate.subject_alt_names.extend(names);
}

pub(crate) fn list(project: &str) -> Value {
    json!({"id": {"project": project, "domain": "development"}, "limit": 1})
}
