//! Integration tests, in one binary so that it is linked once.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod catalog;
mod cli;
mod cli_catalog;
mod cli_check;
mod cli_explain;
mod cli_serve;
mod cli_test;
mod descriptors;
mod extract;
mod gateway_vectors;
mod judged_fields;
mod proxy;
mod reference;
mod smoke;
