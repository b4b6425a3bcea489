//! The configuration file as it is written, with every default. Doc comments here are the text of the JSON Schema.

use crate::policy::decide::enforcement::Enforcement;
use crate::policy::document::present;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod credentials;
mod introspection;
mod issuer;
mod listener;
mod load_balancer;
mod placed;
mod session;
mod tracing;

pub use credentials::CredentialsDocument;
pub use introspection::IntrospectionDocument;
pub use issuer::{
    ClaimPathDocument, ClaimValue, ClaimsDocument, IdTokensDocument, IssuerDocument, JwksDocument,
    RequiredClaimDocument, TokenTypeWord,
};
pub use listener::{
    CertificateIdentityDocument, CertificateNameWord, ClientCertificatesDocument, FixedPrincipalDocument,
    HopHeadersWord, IdentityDocument, ListenerDocument, RedirectDocument, TlsDocument, TlsVersion,
};
pub use load_balancer::{LoadBalancerDocument, LoadBalancerKeysDocument};
pub use placed::Placed;
pub use session::{CookieKeysDocument, SecretDocument, SessionDocument};
pub use tracing::TracingDocument;

/// Configuration of flyte-authz-proxy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The version of this format: 1.
    pub version: Placed<u64>,
    /// Where callers are accepted; at least one.
    pub listeners: Placed<Vec<ListenerDocument>>,
    /// The listener for metrics and health.
    #[serde(default)]
    pub admin: AdminDocument,
    /// Where FlyteAdmin is.
    pub upstream: UpstreamDocument,
    /// What kind of Flyte it is.
    #[serde(default)]
    pub flyte: FlyteDocument,
    /// Whose tokens are accepted.
    #[serde(default)]
    pub issuers: Vec<IssuerDocument>,
    /// How credentials are looked for and cached.
    #[serde(default)]
    pub credentials: CredentialsDocument,
    /// Who may do what where.
    pub policy: PolicyDocument,
    /// What becomes of a call that the policy refuses: `enforce` refuses it, `shadow` forwards it and only records and
    /// counts that it would be refused.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// Changes to the built-in API catalogue.
    #[serde(default)]
    pub catalog: CatalogDocument,
    /// How much is accepted, and how long is waited.
    #[serde(default)]
    pub limits: LimitsDocument,
    /// The record of every request.
    #[serde(default)]
    pub audit: AuditDocument,
    /// Where traces of requests go; without it, there are none.
    #[serde(default, deserialize_with = "present")]
    pub tracing: Option<TracingDocument>,
    /// The program's own log, on standard error.
    #[serde(default)]
    pub log: LogDocument,
    /// Worker threads; 0 means one per core.
    #[serde(default = "zero")]
    pub workers: Placed<u64>,
    /// What happens on SIGTERM.
    #[serde(default)]
    pub shutdown: ShutdownDocument,
}

fn zero() -> Placed<u64> {
    Placed::default_of(0_u64)
}

/// The listener that serves `/metrics`, `/healthz`, `/readyz`, `/status` and, if wanted, `/whoami` in plain text.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminDocument {
    /// IP address and port.
    pub address: Placed<String>,
    /// Host names it answers for, besides IP addresses and `localhost`: any other is refused, since a page in a browser
    /// could reach a loopback address by a name of its own.
    pub hosts: Vec<Placed<String>>,
    /// Whether `/whoami` tells, for a token sent in `authorization`, what the proxy makes of it.
    pub whoami: Placed<bool>,
}

impl Default for AdminDocument {
    fn default() -> Self {
        Self {
            address: Placed::default_of("127.0.0.1:9090"),
            hosts: Vec::new(),
            whoami: Placed::default_of(false),
        }
    }
}

/// Where FlyteAdmin is and how long it may take.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamDocument {
    /// FlyteAdmin's gRPC port: `http://HOST:PORT` for HTTP/2 in plain text, `https://HOST:PORT` for TLS; or a list of them.
    pub grpc: Placed<EndpointsDocument>,
    /// FlyteAdmin's HTTP port: `http://HOST:PORT` or `https://HOST:PORT`; or a list of them.
    pub http: Placed<EndpointsDocument>,
    /// Requests that run on the HTTP port (REST and pages) at one time, each on a connection of its own: one caller's are at
    /// most half of them, those without a credential together half, and those of one address without a credential a
    /// quarter. What would be more is refused with `requests_full` or `caller_requests_full`.
    #[serde(default = "a_thousand")]
    pub http_connections: Placed<u64>,
    /// How often host names are resolved again; all addresses of all of them share the requests.
    #[serde(default = "ten_seconds")]
    pub resolve: Placed<String>,
    /// PEM file with the authorities trusted for `https://`; without it those of the system.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Placed<String>")]
    pub ca: Option<Placed<String>>,
    /// How long a connection may take to be made, TLS included.
    #[serde(default = "two_seconds")]
    pub connect_timeout: Placed<String>,
    /// How long the answer to a request may take to begin.
    #[serde(default = "one_minute")]
    pub response_timeout: Placed<String>,
    /// How long an answer that has begun may pause.
    #[serde(default = "one_minute")]
    pub idle_timeout: Placed<String>,
}

/// Where one port is served.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected `http://HOST:PORT`, `https://HOST:PORT`, or a list of them"
)]
pub enum EndpointsDocument {
    /// At one host.
    One(String),
    /// At each of these hosts.
    Several(Vec<String>),
}

fn a_thousand() -> Placed<u64> {
    Placed::default_of(1024_u64)
}

fn ten_seconds() -> Placed<String> {
    Placed::default_of("10s")
}

fn two_seconds() -> Placed<String> {
    Placed::default_of("2s")
}

fn one_minute() -> Placed<String> {
    Placed::default_of("60s")
}

/// What kind of Flyte is behind the proxy.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FlyteDocument {
    /// The generation of its API.
    pub generation: Generation,
    /// The domains that exist. Any other is refused, and a right on a whole project means these.
    pub domains: Placed<Vec<Placed<String>>>,
    /// The values of `org` that are accepted besides the empty one.
    pub organizations: Vec<Placed<String>>,
}

impl Default for FlyteDocument {
    fn default() -> Self {
        let domains = ["development", "staging", "production"].map(Placed::default_of);
        Self {
            generation: Generation::default(),
            domains: Placed::default_of(domains),
            organizations: Vec::new(),
        }
    }
}

/// A generation of Flyte's API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// FlyteAdmin of Flyte 1.
    #[default]
    Flyte1,
}

/// Where the policy is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyDocument {
    /// A YAML file, or a directory of `*.yaml` files, which are merged (`*.test.yaml` and hidden ones are left out).
    pub path: Placed<String>,
    /// Another policy, to be tried beside this one: it decides nothing, and where it would decide otherwise is recorded
    /// and counted. A file or directory like `path`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Placed<String>")]
    pub candidate: Option<Placed<String>>,
    /// How often every watched file is compared besides being watched.
    #[serde(default = "half_a_minute")]
    pub poll: Placed<String>,
}

fn half_a_minute() -> Placed<String> {
    Placed::default_of("30s")
}

/// Changes to the built-in API catalogue.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CatalogDocument {
    /// Overlay files, applied in order.
    pub overlays: Vec<Placed<String>>,
}

/// How much is accepted, and how long is waited.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsDocument {
    /// Open connections on all listeners together. A tenth is kept for listeners whose callers are a fixed principal.
    pub connections: Placed<u64>,
    /// Open connections of one client's address, or network of 64 bits in IPv6; half of `connections` if it is left out.
    /// Those of trusted hops do not count, but those of the clients that they tell of by the PROXY protocol do.
    pub connections_per_address: Option<Placed<u64>>,
    /// Concurrent HTTP/2 streams on one connection.
    pub streams_per_connection: Placed<u64>,
    /// Bytes of all headers of a request together.
    pub header_bytes: Placed<String>,
    /// Headers of a request.
    pub headers: Placed<u64>,
    /// Bytes of a request body as sent.
    pub body_bytes: Placed<String>,
    /// Bytes of a request message after decompression; FlyteAdmin's own limit unless changed there.
    pub decompressed_bytes: Placed<String>,
    /// Fields of a request message, nested ones included.
    pub message_fields: Placed<u64>,
    /// Bytes of messages and of answers to be filtered that all requests together may hold in memory; what would hold more
    /// is refused with `memory_full`. The last quarter is kept for those of callers, of at most 64 KiB.
    pub held_bytes: Placed<String>,
    /// How long a TLS handshake may take.
    pub tls_handshake: Placed<String>,
    /// How long a connection may take to show which HTTP version it speaks, and before that to send its PROXY header.
    pub preface: Placed<String>,
    /// How long the headers of a request may take to arrive.
    pub headers_timeout: Placed<String>,
    /// How long the body of a request may take to arrive.
    pub body_timeout: Placed<String>,
    /// How long a client may take none of an answer that waits for it, or read nothing of a connection; what it does not take
    /// is broken off after at most twice as long.
    pub stall_timeout: Placed<String>,
    /// How long a connection may stay without a request; Flyte's clients ping every 30 s.
    pub idle: Placed<String>,
}

impl Default for LimitsDocument {
    fn default() -> Self {
        Self {
            connections: Placed::default_of(10_000_u64),
            connections_per_address: None,
            streams_per_connection: Placed::default_of(100_u64),
            header_bytes: Placed::default_of("64KiB"),
            headers: Placed::default_of(100_u64),
            body_bytes: Placed::default_of("4MiB"),
            decompressed_bytes: Placed::default_of("4MiB"),
            message_fields: Placed::default_of(200_000_u64),
            held_bytes: Placed::default_of("256MiB"),
            tls_handshake: Placed::default_of("10s"),
            preface: Placed::default_of("10s"),
            headers_timeout: Placed::default_of("10s"),
            body_timeout: Placed::default_of("30s"),
            stall_timeout: Placed::default_of("60s"),
            idle: Placed::default_of("5m"),
        }
    }
}

/// The record of every request: one JSON line each.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditDocument {
    /// `stdout`, or the file to append to.
    pub output: Placed<String>,
    /// How many records may wait to be written, of 2 KiB on average at most.
    pub queue: Placed<u64>,
    /// What is recorded of callers beside their names: `none`, or `policy` for the groups and those claims that the policy
    /// and its candidate look at, so that `replay` can judge the records by another policy. They are personal data.
    pub claims: AuditClaims,
    /// What happens when so many wait.
    pub on_full: WhenFull,
    /// The share of allowed requests that are recorded, 0 to 1; what is refused or fails always is.
    pub sample_allowed: Placed<f64>,
}

/// What is recorded of callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditClaims {
    /// Their names only.
    #[default]
    None,
    /// The groups and claims that the policy looks at, too.
    Policy,
}

/// What happens when no more records can wait to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Requests wait: nothing is lost.
    #[default]
    Block,
    /// Records of allowed requests are dropped and counted; those of refused ones wait.
    DropAndCount,
    /// What would be allowed is refused: nothing is forwarded without a record.
    Refuse,
}

impl Default for AuditDocument {
    fn default() -> Self {
        Self {
            output: Placed::default_of("stdout"),
            queue: Placed::default_of(8192_u64),
            claims: AuditClaims::None,
            on_full: WhenFull::default(),
            sample_allowed: Placed::default_of(1.0_f64),
        }
    }
}

/// The program's own log.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogDocument {
    /// Its form.
    pub format: LogFormat,
    /// How much is logged.
    pub level: LogLevel,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// How much is logged: each level includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What stops something from working.
    Error,
    /// What is probably wrong.
    Warn,
    /// What changed.
    #[default]
    Info,
    /// Details of connections and key sets.
    Debug,
    /// Everything.
    Trace,
}

/// What happens on SIGTERM.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownDocument {
    /// How long it goes on as before once it says that it is not ready, so that load balancers send requests elsewhere
    /// before connections are refused: longer than they take to notice.
    pub delay: Placed<String>,
    /// How long requests that run may take to finish.
    pub drain: Placed<String>,
}

impl Default for ShutdownDocument {
    fn default() -> Self {
        Self {
            delay: Placed::default_of("5s"),
            drain: Placed::default_of("30s"),
        }
    }
}
