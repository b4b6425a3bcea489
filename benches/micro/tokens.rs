//! Tokens: verified anew, and remembered.

use divan::Bencher;
use flyte_authz_proxy::clock::{Clock, SystemClock};
use flyte_authz_proxy::credential::key_set::Algorithm;
use flyte_authz_proxy::credential::locate::Scheme;
use flyte_authz_proxy::credential::rules::IssuerRules;
use flyte_authz_proxy::demo::signing::{SigningKey, jwks};
use flyte_authz_proxy::issuer::{IssuerSettings, Issuers, KeySource, TokenLimits, VerifiedToken};
use serde_json::json;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tempfile::TempDir;

#[divan::bench(args = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa])]
fn fresh(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let known = Known::new(algorithm, 1, 0);
    let token = known.token(0, 0);
    bencher.bench_local(|| known.verify(&token));
}

/// One token, of the last of so many issuers.
#[divan::bench(args = [1, 10, 100])]
fn fresh_with_issuers(bencher: Bencher<'_, '_>, issuers: usize) {
    let known = Known::new(Algorithm::Rs256, issuers, 0);
    let token = known.token(issuers - 1, 0);
    bencher.bench_local(|| known.verify(&token));
}

/// The same, remembered.
#[divan::bench(args = [1, 10, 100])]
fn cached_with_issuers(bencher: Bencher<'_, '_>, issuers: usize) {
    let known = Known::new(Algorithm::Rs256, issuers, 10_000);
    let token = known.token(issuers - 1, 0);
    bencher.bench_local(|| known.verify(&token));
}

/// So many tokens in turn, all remembered.
#[divan::bench(args = [1, 100, 1_000])]
fn cached(bencher: Bencher<'_, '_>, tokens: usize) {
    let known = Known::new(Algorithm::Rs256, 1, 10_000);
    let tokens: Vec<String> = (0..tokens).map(|number| known.token(0, number)).collect();
    for token in &tokens {
        known.verify(token);
    }
    let mut turn = tokens.iter().cycle();
    bencher.bench_local(|| known.verify(turn.next().unwrap()));
}

/// Issuers with one key, which is in a file.
struct Known {
    issuers: Issuers,
    key: SigningKey,
    _directory: TempDir,
}

impl Known {
    fn new(algorithm: Algorithm, issuers: usize, cached: usize) -> Self {
        let key = SigningKey::generate("measured", algorithm).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("jwks.json");
        std::fs::write(&file, jwks([&key]).to_string()).unwrap();
        let settings = (0..issuers).map(|number| IssuerSettings {
            keys: KeySource::File(file.clone()),
            ..IssuerSettings::new(IssuerRules::new(&issuer(number), vec!["flyte".to_owned()]))
        });
        let limits = TokenLimits {
            cached,
            ..TokenLimits::default()
        };
        Self {
            issuers: Issuers::new(settings.collect(), limits, Arc::new(SystemClock), Arc::new(())).unwrap(),
            key,
            _directory: directory,
        }
    }

    /// A token of the usual length, 850 bytes with RS256.
    fn token(&self, of: usize, number: usize) -> String {
        let now = SystemClock.unix_seconds();
        let claims = json!({
            "iss": issuer(of), "aud": "flyte", "sub": format!("subject-{number}"), "email": "somebody@example.com",
            "iat": now, "exp": now + 86_400, "groups": ["ml-team", "everybody"], "padding": "x".repeat(165),
        });
        self.key.token(&claims, &json!({}))
    }

    /// Waits for nothing: the keys are there.
    fn verify(&self, token: &str) -> Arc<VerifiedToken> {
        let verifying = pin!(self.issuers.verify(Scheme::Bearer, token));
        let verified = match verifying.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(verified) => verified.ok(),
            Poll::Pending => None,
        };
        verified.unwrap()
    }
}

fn issuer(number: usize) -> String {
    format!("https://idp-{number}.example.com")
}
