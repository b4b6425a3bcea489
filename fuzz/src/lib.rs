//! What the fuzz targets assert, one module a target, as plain functions: libFuzzer calls them with inputs of its own, and a test
//! with those that are kept in `corpus`. Each panics if what it asserts does not hold.

pub mod canonical;
pub mod classify_lookup;
pub mod cookie;
pub mod diff_gateway;
pub mod diff_json;
pub mod diff_wire;
pub mod grpc_frame;
pub mod json_walk;
pub mod policy_document;
pub mod response_filter;
pub mod seeds;
pub mod token;
pub mod wire_walk;

mod assembled;
mod first_wins;
pub mod gateway;
pub mod head;
#[path = "../../tests/it/reference.rs"]
mod reference;
mod routes;

/// Asserts what holds of an input.
pub type Check = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Check); 12] = [
    ("canonical", canonical::check),
    ("classify_lookup", classify_lookup::check),
    ("cookie", cookie::check),
    ("diff_gateway", diff_gateway::check),
    ("diff_json", diff_json::check),
    ("diff_wire", diff_wire::check),
    ("grpc_frame", grpc_frame::check),
    ("json_walk", json_walk::check),
    ("policy_document", policy_document::check),
    ("response_filter", response_filter::check),
    ("token", token::check),
    ("wire_walk", wire_walk::check),
];
