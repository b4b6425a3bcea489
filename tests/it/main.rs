//! Integration tests, in one binary so that it is linked once.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod catalog;
mod descriptors;
mod extract;
mod gateway_vectors;
mod hostile;
mod hostile_framing;
mod hostile_grpc;
mod hostile_header;
mod hostile_identity;
mod hostile_json;
mod hostile_method;
mod hostile_mutations;
mod hostile_path;
mod hostile_protobuf;
mod judged_fields;
mod proxy;
mod raw;
mod reference;
mod smoke;
