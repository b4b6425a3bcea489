//! One integration binary: it links once.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod catalog;
mod descriptors;
mod extract;
mod gateway_vectors;
mod judged_fields;
mod reference;
