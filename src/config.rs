//! The configuration: what the file says ([`document`]), checked and in the types the rest of the program uses.

use crate::credential::certificate::NameKind;
use crate::issuer::{IssuerSettings, LoadBalancerSettings, TokenLimits};
use crate::model::problem::Problem;
use crate::model::ratio::Ratio;
use crate::policy::Subjects;
use crate::protocol::hops::TrustedHops;
use http::HeaderName;
use http::uri::{Authority, Scheme};
use secrets::NamedCookieKeys;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub mod document;
pub mod quantity;
mod check;
mod hops;
mod introspection;
mod issuers;
mod listeners;
mod load_balancer;
mod policy;
pub mod secrets;
mod tracing;
mod upstream;

pub use crate::policy::decide::enforcement::Enforcement;
pub use document::{AuditClaims, Generation, LogFormat, LogLevel, TlsVersion, WhenFull};

/// A configuration that has passed every check. Paths are absolute or relative to the working directory.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where callers are accepted; never empty.
    pub listeners: Vec<Listener>,
    /// The address for metrics and health.
    pub admin: SocketAddr,
    /// The host names that listener answers for, in lower case.
    pub admin_hosts: Vec<Box<str>>,
    /// Whether it tells what a token is taken for.
    pub admin_whoami: bool,
    /// Where FlyteAdmin is.
    pub upstream: Upstream,
    /// What kind of Flyte it is.
    pub flyte: Flyte,
    /// Whose tokens are accepted.
    pub issuers: Vec<IssuerSettings>,
    /// How credentials are looked for and cached.
    pub credentials: Credentials,
    /// Where the policy is.
    pub policy: PolicySource,
    /// Whether its refusals are acted on.
    pub enforcement: Enforcement,
    /// Catalogue overlay files, applied in order.
    pub overlays: Vec<PathBuf>,
    /// How much is accepted, and how long is waited.
    pub limits: Limits,
    /// Where audit records go.
    pub audit: Audit,
    /// Where traces go, if anywhere.
    pub tracing: Option<Tracing>,
    /// The form of the program's own log.
    pub log_format: LogFormat,
    /// How much of it there is.
    pub log_level: LogLevel,
    /// Worker threads; at least one.
    pub workers: usize,
    /// How long it goes on as before on SIGTERM, not ready.
    pub delay: Duration,
    /// How long running requests may take to finish on shutdown.
    pub drain: Duration,
}

/// One address on which callers are accepted.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The name in logs, metrics and audit records; unique.
    pub name: Box<str>,
    /// Where it listens; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Its certificates; without it, plain text.
    pub tls: Option<ListenerTls>,
    /// How callers are identified.
    pub identity: Identity,
    /// The callers it accepts; without it, all.
    pub accept: Option<Arc<Subjects>>,
    /// The hops before it that are believed; without it, none.
    pub hops: Option<Arc<TrustedHops>>,
    /// Whether every connection begins with a header of the PROXY protocol; only with `hops`.
    pub proxy_protocol: bool,
    /// Where it leads browsers, if that is all it does; only without `tls`.
    pub redirect: Option<RedirectToHttps>,
}

/// Where browsers are led that come in plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectToHttps {
    /// The host names they may ask for, in lower case; never empty.
    pub hosts: Vec<Box<str>>,
    /// The port they are led to.
    pub port: u16,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// A listener's certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// The one for clients that ask for no name, or for one that no other has.
    pub default: KeyPair,
    /// Those for clients that ask for one of their names, the first that has it.
    pub more: Vec<KeyPair>,
    /// The lowest version accepted.
    pub minimum_version: TlsVersion,
    /// What certificates it asks clients for, if any.
    pub client_certificates: Option<ClientCertificates>,
}

/// What certificates a listener asks its clients for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM file with the authorities that vouch for clients.
    pub ca: PathBuf,
    /// Whether there is no connection without one.
    pub required: bool,
}

/// How the callers of a listener are identified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// By the token each request carries.
    Tokens,
    /// Whoever reaches the listener is this principal.
    Principal(FixedPrincipal),
    /// By the client certificate of the connection; by tokens where there is none.
    ClientCertificate(CertificatePrincipal),
}

/// The principal that every caller of a listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedPrincipal {
    /// Its subject.
    pub subject: Box<str>,
    /// Its groups.
    pub groups: Vec<Box<str>>,
    /// Whether credentials that callers send are forwarded, unverified, instead of being removed.
    pub pass_credential: bool,
}

/// How a client certificate says who the caller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePrincipal {
    /// The kinds of name that may be its subject, in order; never empty.
    pub names: Vec<NameKind>,
    /// Its groups.
    pub groups: Vec<Box<str>>,
    /// Whether an `authorization` header is forwarded, unverified, instead of being refused.
    pub pass_credential: bool,
}

/// Where FlyteAdmin is and how long it may take.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Where its gRPC port is served; never empty.
    pub grpc: Vec<Endpoint>,
    /// Where its HTTP port is served; never empty.
    pub http: Vec<Endpoint>,
    /// How many requests may run on the HTTP port at one time; at least 8.
    pub http_connections: usize,
    /// How often host names are resolved again.
    pub resolve: Duration,
    /// PEM file with the authorities trusted for TLS; `None` for those of the system.
    pub ca: Option<PathBuf>,
    /// How long a connection may take to be made, TLS included.
    pub connect_timeout: Duration,
    /// How long an answer may take to begin.
    pub response_timeout: Duration,
    /// How long an answer that has begun may pause.
    pub idle_timeout: Duration,
}

/// A scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port; no user name.
    pub authority: Authority,
}

/// What kind of Flyte is behind the proxy.
#[derive(Clone, Debug)]
pub struct Flyte {
    /// The generation of its API.
    pub generation: Generation,
    /// The domains that exist; never empty.
    pub domains: Vec<Box<str>>,
    /// The values of `org` accepted besides the empty one.
    pub organizations: Vec<Box<str>>,
}

/// How credentials are looked for and cached.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The header looked at after `authorization` and the session.
    pub header: HeaderName,
    /// The keys of session cookies, those in force first; none if sessions are not accepted.
    pub cookie_keys: Vec<NamedCookieKeys>,
    /// The load balancers whose header is a credential, if any.
    pub load_balancer: Option<LoadBalancerSettings>,
    /// Bounds on what tokens may cost.
    pub limits: TokenLimits,
}

/// Where the policy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySource {
    /// A file, or a directory of `*.yaml` files.
    pub path: PathBuf,
    /// The same of a policy that is tried beside it, if there is one.
    pub candidate: Option<PathBuf>,
    /// How often every watched file is compared; at least 1 s.
    pub poll: Duration,
}

/// How much is accepted, and how long is waited. Nothing is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections on all listeners together.
    pub connections: usize,
    /// Open connections of one client's address, unless it is a trusted hop's.
    pub connections_per_address: usize,
    /// Concurrent HTTP/2 streams on one connection.
    pub streams_per_connection: u32,
    /// Bytes of all headers of a request together.
    pub header_bytes: u32,
    /// Headers of a request.
    pub headers: usize,
    /// Bytes of a request body as sent.
    pub body_bytes: usize,
    /// Bytes of a request message after decompression; at least `body_bytes`.
    pub decompressed_bytes: usize,
    /// Fields of a request message, nested ones included.
    pub message_fields: usize,
    /// Bytes that all requests together may hold.
    pub held_bytes: usize,
    /// How long a TLS handshake may take.
    pub tls_handshake: Duration,
    /// How long a connection may take to show which HTTP version it speaks, and before that to send its PROXY header.
    pub preface: Duration,
    /// How long the headers of a request may take to arrive.
    pub headers_timeout: Duration,
    /// How long the body of a request may take to arrive.
    pub body_timeout: Duration,
    /// How long a client may take none of an answer that waits for it, or read nothing of a connection.
    pub stall_timeout: Duration,
    /// How long a connection may stay without a request.
    pub idle: Duration,
}

/// Where audit records go.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// The place.
    pub output: AuditOutput,
    /// How many records may wait to be written.
    pub queue: usize,
    /// What is recorded of callers.
    pub claims: AuditClaims,
    /// What happens when so many wait.
    pub on_full: WhenFull,
    /// The share of allowed requests that are recorded.
    pub sample_allowed: Ratio,
}

/// The place of audit records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditOutput {
    /// Standard output.
    Stdout,
    /// A file that is appended to.
    File(PathBuf),
}

/// Where traces go.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// The collector.
    pub endpoint: Endpoint,
    /// PEM file with the authorities trusted for it; `None` for those of the system.
    pub ca: Option<PathBuf>,
    /// The share of requests that are traced, of those of which nobody who decides says whether they are.
    pub sample_ratio: Ratio,
    /// Whether callers decide, and not only trusted hops.
    pub callers_decide: bool,
    /// How many traces may wait to be exported.
    pub queue: usize,
    /// Whether spans name the caller.
    pub subject: bool,
}

impl Config {
    /// Reads and checks the configuration file, and nothing else: files that it names are read by who needs them.
    ///
    /// # Errors
    /// Every problem; otherwise the warnings come with the configuration.
    pub fn load(path: &Path) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let text = crate::files::read(path).map_err(|problem| vec![problem])?;
        Self::parse(path, &text)
    }

    /// The same for a text; paths in it are relative to the directory of `path`.
    ///
    /// # Errors
    /// Every problem; otherwise the warnings come with the configuration.
    pub fn parse(path: &Path, text: &str) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        check::check(path, text)
    }
}

/// The JSON Schema of the configuration file.
#[must_use]
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(document::Document)
}

#[cfg(test)]
mod tests;
