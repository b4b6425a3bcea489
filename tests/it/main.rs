//! Integration tests, in one binary so that it is linked once.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod architecture;
mod catalog;
mod descriptors;
mod documents;
mod extract;
mod gateway_vectors;
mod hardening;
mod judged_fields;
mod projects;
mod proxy;
mod reference;
mod smoke;
