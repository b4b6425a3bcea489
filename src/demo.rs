//! What a demonstration and the tests need around the proxy: an issuer, a control plane, certificates and clients.

pub mod certificates;
pub mod client;
pub mod control_plane;
pub mod issuer;
pub mod signing;
pub mod stack;
