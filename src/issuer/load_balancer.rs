//! The keys of AWS load balancers: each is published by itself, under its id, and fetched when a header names it.
//!
//! A request looks here, asks for a key that is not here and waits; one task ([`LoadBalancer::run`]) alone fetches.
//! Whoever makes up ids brings about few fetches ([`Budget`]) and drives out no key that is in use ([`KEPT`]).

use super::missing::MissingKeys;
use super::{IssuerObserver, IssuerStatus, RefreshOutcome};
use crate::clock::Clock;
use crate::credential::load_balancer::{KeyId, LoadBalancerRules, SignerKey, UnverifiedData};
use crate::model::denial::Denial;
use crate::model::principal::Principal;
use crate::model::problem::Problem;
use crate::model::reason::Reason;
use origin::Origin;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

mod origin;

/// The most keys kept. One that has verified nothing yet is driven out first.
const KEPT: usize = 64;
/// How long a key is good for after it was fetched, in seconds.
const LIFETIME: u64 = 24 * 60 * 60;
/// The pause after an attempt to renew a key.
const BETWEEN_RENEWALS: Duration = Duration::from_mins(1);
/// How often is looked for keys to renew.
const LOOK: Duration = Duration::from_secs(30);
/// How long a request waits for a key.
const PATIENCE: Duration = Duration::from_secs(2);
/// What stands for the load balancers in metrics.
const LABEL: &str = "load_balancer";

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadBalancerKeys {
    /// At this URL, followed by a slash and the id.
    Url(String),
    /// In this directory, in files named by the id, or by the id and `.pem`.
    Directory(PathBuf),
}

/// The configuration of load balancers.
#[derive(Clone, Debug)]
pub struct LoadBalancerSettings {
    /// What their header must be like.
    pub rules: LoadBalancerRules,
    /// Where their keys are.
    pub keys: LoadBalancerKeys,
    /// PEM file with the certificate authorities for fetching, in place of those of the system.
    pub ca_file: Option<PathBuf>,
    /// Whether keys may be fetched over plain HTTP. Whoever is on the path can then be anybody: for loopback only.
    pub allow_http: bool,
}

/// The load balancers that are trusted, and their keys.
#[derive(Debug)]
pub struct LoadBalancer {
    rules: LoadBalancerRules,
    origin: Origin,
    state: Mutex<State>,
    /// Counts keys that were replaced or withdrawn: what was verified before is then verified again.
    generation: AtomicU64,
    missing: MissingKeys,
    wanted: Notify,
    /// Counts the attempts that have ended.
    ended: watch::Sender<u64>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn IssuerObserver>,
}

/// A caller that a load balancer has vouched for.
pub(super) struct Vouched {
    pub(super) principal: Principal,
    /// The second from which on it counts as expired.
    pub(super) expired_from: u64,
    /// The second from which on this no longer holds.
    pub(super) valid_until: u64,
    pub(super) generation: u64,
}

#[derive(Debug, Default)]
struct State {
    kept: HashMap<KeyId, Kept>,
    /// Keys that requests wait for, at most as many as the budget allows.
    asked: Vec<KeyId>,
    budget: Budget,
    last_success: Option<u64>,
    last_error: Option<String>,
}

#[derive(Debug)]
struct Kept {
    key: Arc<SignerKey>,
    document: Box<[u8]>,
    /// The second in which it was fetched last.
    fetched: u64,
    tried: Instant,
    /// Whether a signature of a trusted load balancer was verified with it.
    proven: bool,
}

impl State {
    fn usable(&self, id: &KeyId, now: u64) -> Option<&Kept> {
        self.kept.get(id).filter(|kept| now < kept.fetched + LIFETIME)
    }
}

impl LoadBalancer {
    /// Takes the settings over and reads the file of authorities. Fetches nothing: `LoadBalancer::run` does.
    ///
    /// # Errors
    /// A file of authorities or a directory that cannot be used.
    pub fn new(
        settings: LoadBalancerSettings,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn IssuerObserver>,
    ) -> Result<Self, Vec<Problem>> {
        let origin =
            Origin::new(&settings).map_err(|fault| vec![Problem::error("credentials.load_balancer", 0, 0, fault)])?;
        Ok(Self {
            rules: settings.rules,
            origin,
            state: Mutex::default(),
            generation: AtomicU64::new(0),
            missing: MissingKeys::default(),
            wanted: Notify::new(),
            ended: watch::Sender::default(),
            clock,
            observer,
        })
    }

    /// Verifies a header.
    ///
    /// # Errors
    /// Those of [`UnverifiedData::parse`] and [`UnverifiedData::verify`]; `key_unknown` if its key is not published, or
    /// too many others were just asked for; `keys_unavailable` if it could not be fetched in time.
    pub(super) async fn verify(&self, value: &str, max_bytes: usize, now: u64) -> Result<Vouched, Denial> {
        // A caller may have sent tokens, too: the refusal says which of them it is about.
        let named = |denial: Denial| Denial::new(denial.reason, format!("x-amzn-oidc-data: {}", denial.message));
        let data = UnverifiedData::parse(value, max_bytes, &self.rules, now).map_err(named)?;
        let found = self.key(data.key_id(), now).await.map_err(named)?;
        let principal = data.verify(&self.rules, &found.key, now).map_err(named)?;
        let expires_at = principal.expires_at.unwrap_or(now);
        if let Some(kept) = self.state().kept.get_mut(data.key_id()) {
            kept.proven = true;
        }
        let expired_from = expires_at.saturating_add(self.rules.leeway);
        Ok(Vouched {
            principal,
            expired_from,
            valid_until: expired_from.min(found.good_until),
            generation: found.generation,
        })
    }

    /// Changes whenever what was verified before has to be verified again.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    async fn key(&self, id: &KeyId, now: u64) -> Result<Found, Denial> {
        let mut ended = self.ended.subscribe();
        if let Some(found) = self.find_or_ask(id, now)? {
            return Ok(found);
        }
        self.wanted.notify_one();
        let answered = ended.wait_for(|_| !self.state().asked.contains(id));
        // Whether in time or not: what counts is what is there now.
        _ = tokio::time::timeout(PATIENCE, answered).await;
        self.found(&self.state(), id, now).ok_or_else(|| {
            if self.missing.has(id.as_str(), 0) {
                not_published(id)
            } else {
                Reason::KeysUnavailable.into()
            }
        })
    }

    /// The key, or `None` if it is worth waiting for.
    fn find_or_ask(&self, id: &KeyId, now: u64) -> Result<Option<Found>, Denial> {
        let mut state = self.state();
        if let Some(found) = self.found(&state, id, now) {
            return Ok(Some(found));
        }
        if self.missing.has(id.as_str(), 0) {
            return Err(not_published(id));
        }
        if state.asked.contains(id) {
            return Ok(None);
        }
        if state.budget.take() {
            state.asked.push(id.clone());
            return Ok(None);
        }
        if state.last_error.is_some() {
            return Err(Reason::KeysUnavailable.into());
        }
        let message = format!("its key `{id}` is not known, and too many others were asked for just now; try again");
        Err(Denial::new(Reason::KeyUnknown, message))
    }

    fn found(&self, state: &State, id: &KeyId, now: u64) -> Option<Found> {
        state.usable(id, now).map(|kept| Found {
            key: Arc::clone(&kept.key),
            good_until: kept.fetched + LIFETIME,
            generation: self.generation(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches keys that requests wait for, and those in use before they lapse. Never ends.
    pub(super) async fn run(&self) {
        loop {
            let asked = self.state().asked.first().cloned();
            match asked.or_else(|| self.due()) {
                Some(id) => self.fetch(&id).await,
                None => {
                    tokio::select! {
                        () = self.wanted.notified() => {}
                        () = tokio::time::sleep(LOOK) => {}
                    }
                }
            }
        }
    }

    /// A key that is to be renewed. Those that have lapsed go, and those that were never of use before.
    fn due(&self) -> Option<KeyId> {
        let now = self.clock.unix_seconds();
        let renewed_after = self.origin.renewed_after();
        let mut state = self.state();
        state.kept.retain(|_, kept| {
            let keep = if kept.proven { LIFETIME } else { renewed_after };
            now < kept.fetched + keep
        });
        let due = |kept: &Kept| now >= kept.fetched + renewed_after && kept.tried.elapsed() >= BETWEEN_RENEWALS;
        state.kept.iter().find(|(_, kept)| due(kept)).map(|(id, _)| id.clone())
    }

    async fn fetch(&self, id: &KeyId) {
        if let Some(kept) = self.state().kept.get_mut(id) {
            kept.tried = Instant::now();
        }
        let outcome = match self.origin.document(id).await {
            Ok(Some(document)) => self.keep(id, &document),
            Ok(None) => Ok(self.withdraw(id)),
            Err(fault) => Err(fault),
        };
        let result = *outcome.as_ref().unwrap_or(&RefreshOutcome::Failed);
        {
            let mut state = self.state();
            if outcome.is_ok() {
                state.last_success = Some(self.clock.unix_seconds());
            }
            state.last_error = outcome.err();
            if let Some(error) = &state.last_error {
                tracing::warn!(error, "the load balancer's key cannot be fetched");
            }
            state.asked.retain(|asked| asked != id);
        }
        self.observer.refreshed(LABEL, result);
        self.ended.send_modify(|ended| *ended += 1);
    }

    fn keep(&self, id: &KeyId, document: &[u8]) -> Result<RefreshOutcome, String> {
        let now = self.clock.unix_seconds();
        let mut state = self.state();
        if let Some(kept) = state.kept.get_mut(id).filter(|kept| *kept.document == *document) {
            kept.fetched = now;
            return Ok(RefreshOutcome::Unchanged);
        }
        let key = SignerKey::from_pem(document).map_err(|fault| format!("key {id}: {fault}"))?;
        let kept = Kept {
            key: Arc::new(key),
            document: document.into(),
            fetched: now,
            tried: Instant::now(),
            proven: false,
        };
        if state.kept.insert(id.clone(), kept).is_some() {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        if state.kept.len() > KEPT {
            let others = state.kept.iter().filter(|(other, _)| *other != id);
            let least = others.min_by_key(|(_, kept)| (kept.proven, kept.fetched));
            if let Some(least) = least.map(|(least, _)| least.clone()) {
                state.kept.remove(&least);
            }
        }
        tracing::info!(key = %id, "a load balancer's key is new");
        Ok(RefreshOutcome::Changed)
    }

    fn withdraw(&self, id: &KeyId) -> RefreshOutcome {
        self.missing.note(id.as_str(), 0);
        tracing::warn!(key = %id, "a load balancer's key is not published");
        let mut state = self.state();
        if state.kept.remove(id).is_none() {
            return RefreshOutcome::Unchanged;
        }
        self.generation.fetch_add(1, Ordering::AcqRel);
        RefreshOutcome::Changed
    }

    pub(super) fn status(&self, now: u64) -> IssuerStatus {
        let state = self.state();
        let keys = state.kept.keys().filter(|id| state.usable(id, now).is_some()).count();
        IssuerStatus {
            issuer: Arc::clone(&self.rules.issuer),
            kind: "keys",
            keys,
            generation: self.generation(),
            last_success: state.last_success,
            stale: keys > 0 && state.last_error.is_some(),
            last_error: state.last_error.clone(),
            problems: Vec::new(),
        }
    }
}

/// A key that can be used.
struct Found {
    key: Arc<SignerKey>,
    /// The second from which on it is too old.
    good_until: u64,
    generation: u64,
}

fn not_published(id: &KeyId) -> Denial {
    Denial::new(
        Reason::KeyUnknown,
        format!("its key `{id}` is not published where `keys` says"),
    )
}

/// How many keys may be asked for: a few at once, then one an interval.
#[derive(Debug)]
struct Budget {
    left: u32,
    /// Since when nothing was added.
    since: Instant,
}

impl Budget {
    /// The most at once: a few load balancers at the start.
    const MOST: u32 = 4;
    const INTERVAL: Duration = Duration::from_secs(10);

    fn take(&mut self) -> bool {
        let earned = self.since.elapsed().as_secs() / Self::INTERVAL.as_secs();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(earned).min(Self::MOST);
        if earned > 0 {
            self.since = Instant::now();
        }
        let granted = self.left > 0;
        self.left = self.left.saturating_sub(1);
        granted
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            left: Self::MOST,
            since: Instant::now(),
        }
    }
}

#[cfg(test)]
mod tests;
