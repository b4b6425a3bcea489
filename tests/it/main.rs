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
mod audit_log;
mod balancers;
mod candidate;
mod carriers;
mod catalog;
mod cli;
mod cli_catalog;
mod cli_check;
mod cli_explain;
mod cli_healthcheck;
mod cli_policy;
mod cli_serve;
mod cli_test;
mod client_certificates;
mod client_certificates_tls;
mod credentials;
mod data_proxy;
mod descriptors;
mod documents;
mod documents_threats;
mod downloads;
mod drain;
mod extract;
mod gateway_vectors;
mod gateway_vectors_live;
mod guards;
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
mod hostile_policy;
mod hostile_protobuf;
mod identity_providers;
mod ingress;
mod introspection;
mod judged_fields;
mod limits;
mod listeners;
mod long_calls;
mod lists;
mod load_balancer;
mod lookups;
mod mesh;
mod monitoring;
mod projects;
mod no_oracle;
mod prometheus;
mod proxy;
mod proxy_protocol;
mod raw;
mod redirect;
mod reference;
mod replicas;
mod replicas_repeat;
mod reload;
mod server_names;
mod service_accounts;
mod revocation;
mod session;
mod shadow;
mod smoke;
mod sockets;
mod tracing;
mod upgrade;
mod upstream;
mod upstream_links;
mod whoami;
