//! Asking an issuer about opaque tokens, as it is written.

use super::{Placed, SecretDocument, one_minute, two_seconds};
use schemars::JsonSchema;
use serde::Deserialize;

/// How an issuer is asked about opaque tokens (RFC 7662).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntrospectionDocument {
    /// The introspection endpoint.
    pub url: Placed<String>,
    /// The client id as which the proxy asks. It is read anew each time.
    pub client_id: Placed<SecretDocument>,
    /// The secret of this client, sent as `client_secret_basic`. It is read anew each time.
    pub client_secret: Placed<SecretDocument>,
    /// How long the answer that a token is active is relied upon, at most until the token expires; 0s for not at all. A token that is withdrawn works for so long.
    #[serde(default = "one_minute")]
    pub cache: Placed<String>,
    /// How long an answer may take.
    #[serde(default = "two_seconds")]
    pub timeout: Placed<String>,
}
