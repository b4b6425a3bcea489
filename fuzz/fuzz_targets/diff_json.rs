//! See `flyte_authz_proxy_fuzz::diff_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flyte_authz_proxy_fuzz::diff_json::check(input));
