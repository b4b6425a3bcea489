//! Integration tests, in one binary so that it is linked once.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod admin;
mod audit;
mod catalog;
mod credentials;
mod descriptors;
mod drain;
mod extract;
mod gateway_vectors;
mod judged_fields;
mod limits;
mod listeners;
mod proxy;
mod raw;
mod reference;
mod reload;
mod smoke;
mod upstream;
mod upstream_links;
