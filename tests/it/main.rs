//! Integration tests, in one binary so that it is linked once.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod accepted_principals;
mod admin;
mod answers;
mod architecture;
mod audit;
mod carriers;
mod catalog;
mod cli;
mod cli_catalog;
mod cli_check;
mod cli_explain;
mod cli_healthcheck;
mod cli_serve;
mod cli_test;
mod client_certificates;
mod client_certificates_tls;
mod credentials;
mod descriptors;
mod documents;
mod drain;
mod extract;
mod gateway_vectors;
mod gateway_vectors_live;
mod hardening;
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
mod identity_providers;
mod introspection;
mod judged_fields;
mod limits;
mod listeners;
mod lists;
mod load_balancer;
mod mesh;
mod projects;
mod proxy;
mod raw;
mod reference;
mod reload;
mod service_accounts;
mod revocation;
mod session;
mod smoke;
mod sockets;
mod upstream;
mod upstream_links;
mod whoami;
