//! From a matched request to the targets it touches, reading path, query and body by the route's plan.
//!
//! One strict reading: what two decoders could read differently is refused, never resolved.

pub mod json;
pub mod protobuf;
pub mod targets;
pub mod url;
pub mod values;
