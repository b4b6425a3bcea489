//! See `flyte_authz_proxy_fuzz::policy_document`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| flyte_authz_proxy_fuzz::policy_document::check(input));
