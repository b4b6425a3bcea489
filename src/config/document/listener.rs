//! One listener as it is written.

use super::Placed;
use crate::policy::document::{At, SubjectDocument, present};
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
    pub accept: Option<At<Vec<At<SubjectDocument>>>>,
}

/// The listener's own certificate, and what it asks of its clients. All files are watched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsDocument {
    /// PEM file with the certificate chain, the listener's own certificate first.
    pub certificate: Placed<String>,
    /// PEM file with the private key.
    pub key: Placed<String>,
    /// The lowest TLS version accepted.
    #[serde(default)]
    pub minimum_version: TlsVersion,
    /// What certificates clients must have; without it, none is asked for.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "ClientCertificatesDocument")]
    pub client_certificates: Option<ClientCertificatesDocument>,
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
