//! Stand-ins for what surrounds the proxy, on loopback: for the `demo` command and the tests.

pub mod issuer;
pub mod signing;
