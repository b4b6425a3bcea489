//! See `flyte_authz_proxy_fuzz::classify_lookup`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flyte_authz_proxy_fuzz::classify_lookup::check(input));
