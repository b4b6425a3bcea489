//! Where credentials are looked for, as it is written.

use super::{LoadBalancerDocument, Placed, SessionDocument};
use crate::policy::document::present;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How credentials are looked for and cached.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CredentialsDocument {
    /// The header looked at after `authorization` and the session, as FlyteAdmin's `grpcAuthorizationHeader` and `httpAuthorizationHeader`.
    pub header: Placed<String>,
    /// How many verified tokens are remembered, and as many opaque ones; 0 for none.
    pub cache_entries: Placed<u64>,
    /// The longest token accepted, in bytes.
    pub max_token_bytes: Placed<String>,
    /// FlyteAdmin's own keys, to accept the sessions of people who logged in at the console; without it, session cookies are ignored.
    #[serde(deserialize_with = "present")]
    #[schemars(with = "SessionDocument")]
    pub session: Option<SessionDocument>,
    /// AWS Application Load Balancers whose header `x-amzn-oidc-data` is a credential; without it, the header means nothing.
    #[serde(deserialize_with = "present")]
    #[schemars(with = "LoadBalancerDocument")]
    pub load_balancer: Option<LoadBalancerDocument>,
}

impl Default for CredentialsDocument {
    fn default() -> Self {
        Self {
            header: Placed::default_of("flyte-authorization"),
            cache_entries: Placed::default_of(10_000_u64),
            max_token_bytes: Placed::default_of("16KiB"),
            session: None,
            load_balancer: None,
        }
    }
}
