//! One listener as it is written.

use super::Placed;
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
    #[serde(default)]
    pub tls: Option<TlsDocument>,
    /// How callers are identified.
    #[serde(default)]
    pub identity: IdentityDocument,
}

/// The listener's own certificate. Both files are watched.
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
