//! Counts what happens in the background: reloads and fetches of keys.

use crate::clock::Clock;
use crate::config::{Config, Enforcement};
use crate::issuer::{IntrospectionOutcome, IssuerObserver, RefreshOutcome};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::reload::{Outcome, ReloadObserver, What};
use crate::tls::LiveTls;
use std::sync::Arc;
use std::time::Duration;

/// Counts reloads and shows which policy and certificates are in force.
#[derive(Debug)]
pub struct Reloads {
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// What is in force.
    pub live: Arc<Live>,
    /// Dates the versions.
    pub clock: Arc<dyn Clock>,
    /// Whether the policy's refusals are acted on.
    pub enforcement: Enforcement,
    /// The listeners' certificates, by the listeners' names.
    pub certificates: Vec<(Box<str>, Arc<LiveTls>)>,
}

/// The certificates of the listeners that have some.
pub(super) fn certificates(config: &Config, loaded: &[Option<Arc<LiveTls>>]) -> Vec<(Box<str>, Arc<LiveTls>)> {
    let listeners = config.listeners.iter().zip(loaded);
    listeners
        .filter_map(|(listener, tls)| Some((listener.name.clone(), Arc::clone(tls.as_ref()?))))
        .collect()
}

impl Reloads {
    /// Shows what was loaded at the start.
    pub fn started(&self) {
        for what in What::ALL {
            for outcome in Outcome::ALL {
                self.metrics.reloads.with_label_values(&[what.label(), outcome.label()]);
            }
            self.metrics.reload_success.with_label_values(&[what.label()]).set(1);
            self.in_force(what);
        }
        self.metrics
            .enforcing
            .set((self.enforcement == Enforcement::Enforce).into());
        self.warn_of_shadow();
    }

    /// Says what nobody may overlook: at the start, and whenever a policy is put in force.
    fn warn_of_shadow(&self) {
        if self.enforcement == Enforcement::Shadow {
            tracing::warn!(
                enforcement = self.enforcement.label(),
                "SHADOW MODE: calls that the policy refuses are forwarded; they are only recorded and counted. Write \
                 `enforcement: enforce` and restart to refuse them"
            );
        }
    }

    fn in_force(&self, what: What) {
        self.metrics
            .reload_timestamp
            .with_label_values(&[what.label()])
            .set(self.clock.now().as_secs_f64());
        let snapshot = self.live.load();
        self.metrics
            .policy_generation
            .set(i64::try_from(snapshot.generation).unwrap_or(i64::MAX));
        self.metrics
            .policy_rules
            .set(i64::try_from(snapshot.policy.rules().len()).unwrap_or(i64::MAX));
        for (listener, tls) in &self.certificates {
            for facts in tls.certificates() {
                self.metrics
                    .certificate_expiry
                    .with_label_values(&[listener, &*facts.file.to_string_lossy()])
                    .set(Duration::from_secs(facts.expires_at).as_secs_f64());
            }
        }
    }
}

impl ReloadObserver for Reloads {
    fn reloaded(&self, what: What, outcome: Outcome, all_good: bool) {
        self.metrics
            .reloads
            .with_label_values(&[what.label(), outcome.label()])
            .inc();
        self.metrics
            .reload_success
            .with_label_values(&[what.label()])
            .set(all_good.into());
        if outcome == Outcome::Replaced {
            self.in_force(what);
            if what == What::Policy {
                self.warn_of_shadow();
            }
        }
    }
}

/// Counts fetches of keys and look-ups of tokens.
#[derive(Debug)]
pub struct KeySets {
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// Dates the key sets.
    pub clock: Arc<dyn Clock>,
}

impl IssuerObserver for KeySets {
    fn refreshed(&self, issuer: &str, outcome: RefreshOutcome) {
        let result = match outcome {
            RefreshOutcome::Changed => "changed",
            RefreshOutcome::Unchanged => "unchanged",
            RefreshOutcome::Failed => "failed",
        };
        self.metrics
            .key_set_refreshes
            .with_label_values(&[issuer, result])
            .inc();
        if outcome != RefreshOutcome::Failed {
            self.metrics
                .key_set_timestamp
                .with_label_values(&[issuer])
                .set(self.clock.now().as_secs_f64());
        }
    }

    fn key_set(&self, issuer: &str, renewed: bool, usable_until: Option<u64>) {
        self.metrics
            .key_set_refresh_success
            .with_label_values(&[issuer])
            .set(renewed.into());
        if let Some(until) = usable_until {
            self.metrics
                .key_set_expiry
                .with_label_values(&[issuer])
                .set(seconds(until));
        }
    }

    fn cache(&self, hit: bool) {
        self.metrics
            .token_cache
            .with_label_values(&[if hit { "hit" } else { "miss" }])
            .inc();
    }

    fn introspected(&self, issuer: &str, outcome: IntrospectionOutcome) {
        let result = match outcome {
            IntrospectionOutcome::Active => "active",
            IntrospectionOutcome::Refused => "refused",
            IntrospectionOutcome::Failed => "failed",
            IntrospectionOutcome::HeldBack => "held_back",
        };
        self.metrics.introspections.with_label_values(&[issuer, result]).inc();
    }
}

fn seconds(since_1970: u64) -> f64 {
    Duration::from_secs(since_1970).as_secs_f64()
}
