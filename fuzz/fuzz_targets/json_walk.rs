//! See `flyte_authz_proxy_fuzz::json_walk`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flyte_authz_proxy_fuzz::json_walk::check(input));
