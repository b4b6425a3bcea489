//! Finds the route of a request by exact gRPC path or REST template.

/// The compiled lookup tables.
#[derive(Debug, Default)]
pub struct Tables {}
