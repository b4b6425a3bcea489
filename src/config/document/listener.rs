//! One listener as it is written.

use super::Placed;
use crate::policy::document::{Items, SubjectDocument, present};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One address on which callers are accepted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerDocument {
    /// The name used in logs, metrics and audit records; unique.
    pub name: Placed<String>,
    /// IP address and port, such as `0.0.0.0:8443` or `[::]:8443`.
    pub address: Placed<String>,
    /// Certificate and key; without it the listener speaks HTTP/1.1 and HTTP/2 with prior knowledge in plain text.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "TlsDocument")]
    pub tls: Option<TlsDocument>,
    /// How callers are identified.
    #[serde(default)]
    pub identity: IdentityDocument,
    /// Who may use the listener: callers of whom one of the items holds, written as `subjects` of a policy's rules
    /// (docs/policy.md); without it, every caller that can be identified.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<SubjectDocument>", length(min = 1))]
    pub accept: Option<Items<SubjectDocument>>,
    /// Networks (such as `10.20.0.0/16`) of the load balancers and ingresses before the listener. Only what these say of
    /// where a request came from is believed.
    #[serde(default)]
    pub trusted_hops: Vec<Placed<String>>,
    /// The headers in which these hops say it: `x_forwarded` (`X-Forwarded-For`, `-Proto`, `-Host`) or `forwarded`
    /// (RFC 7239). The others mean nothing.
    #[serde(default = "x_forwarded")]
    pub hop_headers: Placed<HopHeadersWord>,
    /// Whether every connection begins with a header of the PROXY protocol, version 1 or 2. Then only trusted hops may
    /// connect.
    #[serde(default = "no")]
    pub proxy_protocol: Placed<bool>,
    /// For a listener in plain text that only leads browsers to `https://`: what is needed for that.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "RedirectDocument")]
    pub redirect_to_https: Option<RedirectDocument>,
}

fn no() -> Placed<bool> {
    Placed::default_of(false)
}

fn x_forwarded() -> Placed<HopHeadersWord> {
    Placed::default_of(HopHeadersWord::XForwarded)
}

/// Headers in which hops say where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HopHeadersWord {
    /// `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`.
    XForwarded,
    /// `Forwarded`.
    Forwarded,
}

/// Where browsers are led.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedirectDocument {
    /// The public host names, without ports; requests for any other are refused. At least one.
    pub hosts: Placed<Vec<Placed<String>>>,
    /// The public port for `https://`.
    #[serde(default = "https_port")]
    pub port: Placed<u64>,
}

fn https_port() -> Placed<u64> {
    Placed::default_of(443u64)
}

/// The listener's own certificate, and what it asks of its clients. All files are watched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsDocument {
    /// PEM file with the certificate chain, the listener's own certificate first.
    pub certificate: Placed<String>,
    /// PEM file with the private key.
    pub key: Placed<String>,
    /// More certificates. The one that has the name a client asks for (SNI) is shown, exactly or by a wildcard for one
    /// label; without such a one, `certificate`.
    #[serde(default)]
    pub certificates: Vec<CertificateDocument>,
    /// The lowest TLS version accepted.
    #[serde(default)]
    pub minimum_version: TlsVersion,
    /// What certificates clients must have; without it, none is asked for.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "ClientCertificatesDocument")]
    pub client_certificates: Option<ClientCertificatesDocument>,
}

/// A certificate besides the first.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateDocument {
    /// PEM file with its chain, the listener's own certificate first.
    pub certificate: Placed<String>,
    /// PEM file with its private key.
    pub key: Placed<String>,
}

/// The certificates of a listener's clients.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificatesDocument {
    /// PEM file with the authorities that vouch for clients.
    pub ca: Placed<String>,
    /// Whether every client must have a certificate; otherwise one may come without.
    #[serde(default = "yes")]
    pub required: Placed<bool>,
}

fn yes() -> Placed<bool> {
    Placed::default_of(true)
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

/// How the callers of a listener are identified.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IdentityDocument {
    /// By the token each request carries.
    #[default]
    Tokens,
    /// Whoever reaches the listener is this principal.
    Principal(FixedPrincipalDocument),
    /// By the client certificate of the connection.
    ClientCertificate(CertificateIdentityDocument),
}

/// The principal that every caller of a listener is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedPrincipalDocument {
    /// Its subject.
    pub subject: Placed<String>,
    /// Its groups.
    #[serde(default)]
    pub groups: Vec<Placed<String>>,
    /// Whether credentials that callers send are forwarded to FlyteAdmin, unverified, instead of being removed.
    #[serde(default)]
    pub pass_credential: bool,
}

/// How a client certificate says who the caller is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CertificateIdentityDocument {
    /// Which names may be the subject: the first of these kinds that the certificate has.
    pub name: Placed<Vec<CertificateNameWord>>,
    /// Groups that every such caller has.
    pub groups: Vec<Placed<String>>,
    /// Whether the `authorization` header that callers send is forwarded to FlyteAdmin, unverified; otherwise a
    /// credential beside the certificate is refused.
    pub pass_credential: bool,
}

impl Default for CertificateIdentityDocument {
    fn default() -> Self {
        Self {
            name: Placed::default_of([CertificateNameWord::Spiffe]),
            groups: Vec::new(),
            pass_credential: false,
        }
    }
}

/// A kind of name in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateNameWord {
    /// The one URI among the alternative names, a SPIFFE ID.
    Spiffe,
    /// The one DNS name among the alternative names.
    Dns,
    /// The one common name of the subject.
    CommonName,
}
