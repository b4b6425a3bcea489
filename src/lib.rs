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
pub mod filter;
pub mod credential;
pub mod policy;

// Effects: files, sockets, threads.
pub mod trust;
pub mod held;
pub mod live;
pub mod files;
pub mod named_secret;
pub mod issuer;
pub mod policy_files;
pub mod config;
pub mod metrics;
pub mod spans;
pub mod audit;
pub mod tls;
pub mod reload;
pub mod upstream;

// Gate: one request.
pub mod gate;

// Edges: sockets, signals, the command line.
pub mod listener;
pub mod whoami;
pub mod admin;
pub mod app;
// A local issuer and a stand-in control plane.
#[cfg(any(test, feature = "demo"))]
pub mod demo;
pub mod cli;
