//! See `flyte_authz_proxy_fuzz::grpc_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flyte_authz_proxy_fuzz::grpc_frame::check(input));
