//! The keys of console sessions as they are written.

use super::Placed;
use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// The keys of FlyteAdmin's session cookies.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionDocument {
    /// The key that session cookies are signed with: FlyteAdmin's secret `cookie_hash_key`, in base64 without padding. It is read at the start only.
    pub hash_key: Placed<SecretDocument>,
    /// The key that session cookies are encrypted with: FlyteAdmin's secret `cookie_block_key`, in base64 without padding. It is read at the start only.
    pub block_key: Placed<SecretDocument>,
    /// Keys that FlyteAdmin had before: sessions made with them are accepted, too.
    #[serde(default)]
    pub previous: Vec<CookieKeysDocument>,
}

/// An earlier pair of keys.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CookieKeysDocument {
    /// The earlier `cookie_hash_key`.
    pub hash_key: Placed<SecretDocument>,
    /// The earlier `cookie_block_key`.
    pub block_key: Placed<SecretDocument>,
}

/// Where a secret is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum SecretDocument {
    /// In a file.
    File {
        /// The file that holds it.
        file: String,
    },
    /// In an environment variable.
    Env {
        /// The environment variable that holds it.
        env: String,
    },
    /// Anything else, which is not kept: it may be the secret itself.
    #[serde(skip_serializing)]
    #[schemars(skip)]
    Other(IgnoredAny),
}
