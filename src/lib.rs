//! Project isolation for Flyte: an authorizing reverse proxy in front of FlyteAdmin.
//!
//! Modules are listed bottom-up: one may use only those listed above it (`tests/it/architecture.rs` checks).

// Words: what everything else speaks.
pub mod clock;
pub mod model;
pub mod secret;

// Engines: bytes and values in, values out; no I/O, no clock, no environment.
pub mod document;
pub mod protocol;
pub mod catalog;
pub mod extract;
pub mod credential;
pub mod policy;

// Effects: files, sockets and timers.
pub mod files;
pub mod policy_files;
pub mod issuer;
pub mod config;
pub mod live;
pub mod reload;

// Stand-ins for the demo and the tests.
#[cfg(any(test, feature = "demo"))]
pub mod demo;
