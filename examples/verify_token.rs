//! What verifying a token costs by itself, for `make bench`: read, signature, claims and mapping to a principal.
//!
//! `verify_token JWKS TOKEN…` prints a JSON object: nanoseconds for one verification, by file name of the token.

use flyte_authz_proxy::clock::{Clock, SystemClock};
use flyte_authz_proxy::credential::key_set::KeySet;
use flyte_authz_proxy::credential::locate::Scheme;
use flyte_authz_proxy::credential::rules::IssuerRules;
use flyte_authz_proxy::credential::token::{MAX_BYTES, UnverifiedToken};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Verifications of one measurement, and of the warm-up before.
const MEASURED: u32 = 5_000;
const WARM_UP: u32 = 500;

fn main() -> Result<(), Failure> {
    let mut files = std::env::args().skip(1);
    let key_set = files.next().ok_or("usage: verify_token JWKS TOKEN…")?;
    let keys = KeySet::parse(&std::fs::read(key_set)?)?;
    let rules = IssuerRules::new("https://idp.example.com", vec!["flyte".to_owned()]);
    let mut nanoseconds = BTreeMap::new();
    for file in files {
        let token = std::fs::read_to_string(&file)?;
        verify(&token, &rules, &keys, WARM_UP)?;
        let started = Instant::now();
        verify(&token, &rules, &keys, MEASURED)?;
        let name = Path::new(&file)
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        nanoseconds.insert(name, started.elapsed().as_nanos() / u128::from(MEASURED));
    }
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&nanoseconds)?)?;
    Ok(())
}

fn verify(token: &str, rules: &IssuerRules, keys: &KeySet, times: u32) -> Result<(), Failure> {
    let now = SystemClock.unix_seconds();
    for _ in 0..times {
        let verified = UnverifiedToken::parse(token, MAX_BYTES)
            .and_then(|parsed| parsed.verify(Scheme::Bearer, rules, keys, now))
            .map_err(|denial| denial.message)?;
        std::hint::black_box(verified);
    }
    Ok(())
}
