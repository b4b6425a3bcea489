//! Integration tests, in one binary so that it is linked once.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod catalog;
mod descriptors;
mod extract;
mod gateway_vectors;
mod judged_fields;
mod projects;
mod proxy;
mod reference;
mod session;
mod smoke;
