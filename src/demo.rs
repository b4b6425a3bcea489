//! What a demonstration and the tests need around the proxy: an issuer, a control plane, certificates and clients.

#[cfg(feature = "demo")]
pub mod certificates;
#[cfg(feature = "demo")]
pub mod client;
#[cfg(feature = "demo")]
pub mod control_plane;
pub mod introspection;
pub mod issuer;
pub mod load_balancer;
pub mod session;
pub mod signing;
#[cfg(feature = "demo")]
pub mod stack;
