//! Where traces go, as it is written.

use super::Placed;
use crate::policy::document::present;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Traces of requests, exported over OTLP.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TracingDocument {
    /// The collector: `http://HOST:PORT` or `https://HOST:PORT`. Spans are sent to `/v1/traces` there, as OTLP over HTTP in protobuf.
    pub otlp_endpoint: Placed<String>,
    /// PEM file with the authorities trusted for `https://`; without it those of the system.
    #[serde(default, deserialize_with = "present")]
    pub ca: Option<Placed<String>>,
    /// The share of requests that are traced, 0 to 1. Where a trusted hop says whether one is, that counts.
    #[serde(default = "all")]
    pub sample_ratio: Placed<f64>,
    /// Whether every caller decides whether its requests are traced, as trusted hops do, by the flag of its `traceparent`.
    #[serde(default)]
    pub callers_decide: bool,
    /// How many traces may wait to be sent; more are dropped and counted.
    #[serde(default = "some_thousand")]
    pub queue: Placed<u64>,
    /// Whether spans name the caller's subject, as `enduser.id`.
    #[serde(default)]
    pub subject: bool,
}

fn all() -> Placed<f64> {
    Placed::default_of(1.0_f64)
}

fn some_thousand() -> Placed<u64> {
    Placed::default_of(2048_u64)
}
