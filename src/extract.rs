//! From a matched request to the targets it touches, reading path, query and body by the route's plan.
//!
//! One strict reading: what two decoders could read differently is refused, never resolved.

pub(crate) mod edit;
pub mod execution;
pub mod flyte_url;
pub mod frame;
pub mod json;
pub mod names;
pub mod protobuf;
mod search;
pub mod targets;
pub mod url;
pub mod values;
pub(crate) mod wire;

#[cfg(test)]
mod example;

/// What a walk over one message may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkLimits {
    /// The most fields read in one request, in all messages that are looked into.
    pub max_fields: usize,
}

impl Default for WalkLimits {
    /// 100 000 fields: about a millisecond, and far above the largest workflows.
    fn default() -> Self {
        Self { max_fields: 100_000 }
    }
}
