//! What is written about load balancers.

use super::{ClaimsDocument, Placed, one_minute};
use crate::policy::document::present;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// AWS Application Load Balancers that log people in.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadBalancerDocument {
    /// The load balancers trusted, by their exact ARN; at least one.
    pub signers: Placed<Vec<Placed<String>>>,
    /// The client ids with which they log people in; at least one.
    pub client_ids: Placed<Vec<Placed<String>>>,
    /// The exact `iss` of the issuer at which they log people in, compared byte by byte.
    pub issuer: Placed<String>,
    /// Where the public keys of load balancers are, each in a document of its own.
    pub keys: LoadBalancerKeysDocument,
    /// PEM file with the authorities trusted for fetching; without it those of the system.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Placed<String>")]
    pub ca: Option<Placed<String>>,
    /// Whether keys may be fetched in plain text: whoever is on the way can then be anybody.
    #[serde(default)]
    pub allow_http: bool,
    /// Which claims say who the caller is, as for issuers.
    #[serde(default)]
    pub claims: ClaimsDocument,
    /// How far the clocks may differ.
    #[serde(default = "one_minute")]
    pub leeway: Placed<String>,
}

/// Where the keys of load balancers are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadBalancerKeysDocument {
    /// Below this URL: `https://public-keys.auth.elb.REGION.amazonaws.com/`.
    Url(Placed<String>),
    /// In this directory, in files named by the key's id, with or without `.pem`.
    Directory(Placed<String>),
}
