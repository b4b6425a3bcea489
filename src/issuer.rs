//! Issuers at run time: their keys, kept fresh, and the tokens verified with them.
//!
//! A request takes [`Issuers::verify`]; one task runs [`Issuers::run`], which alone fetches keys. Keys are replaced
//! whole, and a verified token is forgotten when they change. An issuer of opaque tokens has no keys and is asked.

use crate::clock::Clock;
use crate::credential::introspected::is_opaque;
use crate::credential::locate::Scheme;
use crate::credential::token::UnverifiedToken;
use crate::live::RightsCell;
use crate::model::denial::Denial;
use crate::model::principal::Principal;
use crate::model::problem::Problem;
use crate::model::reason::Reason;
use cache::{Entry, TokenCache};
use introspection::Introspection;
use keys::Issuer;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) mod bearer;
mod cache;
mod fetch;
mod introspection;
mod keys;
mod load_balancer;
mod missing;
mod settings;

pub use introspection::{IntrospectionOutcome, IntrospectionSettings};
pub use load_balancer::{LoadBalancer, LoadBalancerKeys, LoadBalancerSettings};
pub use settings::{IssuerSettings, KeySource, TokenLimits};

/// The most headers of load balancers that are remembered: each is soon followed by another.
const VOUCHED: usize = 1024;

/// How an attempt to fetch keys ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshOutcome {
    /// Other keys than before are in force.
    Changed,
    /// The same keys as before.
    Unchanged,
    /// No usable keys; the last ones stay in force.
    Failed,
}

/// Is told what happens, for metrics.
pub trait IssuerObserver: Send + Sync + fmt::Debug {
    /// An attempt to fetch or read an issuer's keys has ended.
    fn refreshed(&self, issuer: &str, outcome: RefreshOutcome);
    /// After such an attempt of an issuer with one key set: whether it succeeded, and until when the key set in force
    /// counts, in seconds since the Unix epoch; `None` if there is none, or if it comes from a file and does not age.
    fn key_set(&self, _issuer: &str, _renewed: bool, _usable_until: Option<u64>) {}
    /// A token was looked up among those verified before.
    fn cache(&self, hit: bool);
    /// A question about an opaque token has ended.
    fn introspected(&self, _issuer: &str, _outcome: IntrospectionOutcome) {}
}

impl IssuerObserver for () {
    fn refreshed(&self, _issuer: &str, _outcome: RefreshOutcome) {}
    fn cache(&self, _hit: bool) {}
}

/// A token that was verified, and what follows from it.
#[derive(Debug)]
pub struct VerifiedToken {
    /// The caller it names.
    pub principal: Arc<Principal>,
    /// What the caller may do under the policy in force.
    pub rights: RightsCell,
    /// From when on it counts as expired, in seconds since the Unix epoch: its end and the leeway.
    pub expired_from: u64,
}

impl VerifiedToken {
    fn new(principal: Principal, expired_from: u64) -> Arc<Self> {
        Arc::new(Self {
            principal: Arc::new(principal),
            rights: RightsCell::default(),
            expired_from,
        })
    }
}

/// The state of one issuer, for the status page. Holds no secrets.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct IssuerStatus {
    /// The issuer.
    pub issuer: Arc<str>,
    /// `keys`, or `introspection` for the issuer of opaque tokens, which has none.
    pub kind: &'static str,
    /// How many keys are in force; 0 while its tokens cannot be verified.
    pub keys: usize,
    /// Counts the changes of the keys.
    pub generation: u64,
    /// When the keys were last fetched or read, or a question was answered, in seconds since the Unix epoch.
    pub last_success: Option<u64>,
    /// Why the last attempt failed, if it did.
    pub last_error: Option<String>,
    /// Whether keys are in force though the last attempt failed.
    pub stale: bool,
    /// Keys of the set that are left out, and why.
    pub problems: Vec<String>,
}

/// Every configured issuer.
#[derive(Debug)]
pub struct Issuers {
    /// Those that sign their tokens.
    configured: Vec<Arc<Issuer>>,
    /// The load balancers that are trusted besides, if any.
    load_balancer: Option<Arc<LoadBalancer>>,
    introspection: Option<Arc<Introspection>>,
    limits: TokenLimits,
    /// Tokens.
    cache: TokenCache,
    /// What load balancers have signed: it is another every time, and must not drive out tokens.
    vouched: TokenCache,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn IssuerObserver>,
}

impl Issuers {
    /// Takes the settings over and reads key and certificate files. Fetches nothing: [`Issuers::run`] does.
    ///
    /// # Errors
    /// Every setting that makes no sense, every file that cannot be used.
    pub fn new(
        settings: Vec<IssuerSettings>,
        limits: TokenLimits,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn IssuerObserver>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = settings::check(&settings);
        let mut issuers = Vec::with_capacity(settings.len());
        let mut introspection = None;
        for (index, one) in settings.into_iter().enumerate() {
            if let KeySource::Introspection(asked) = &one.keys {
                match Introspection::new(&one, asked, limits, Arc::clone(&clock), Arc::clone(&observer)) {
                    Ok(ready) => introspection = Some(Arc::new(ready)),
                    Err(faults) => problems.extend(faults),
                }
                continue;
            }
            match Issuer::new(one, Arc::clone(&clock), Arc::clone(&observer)) {
                Ok(issuer) => issuers.push(Arc::new(issuer)),
                Err(fault) => problems.push(settings::problem(index, fault)),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            configured: issuers,
            load_balancer: None,
            introspection,
            limits,
            cache: TokenCache::new(limits.cached),
            vouched: TokenCache::new(limits.cached.min(VOUCHED)),
            clock,
            observer,
        })
    }

    /// Trusts load balancers, too.
    #[must_use]
    pub fn with_load_balancer(mut self, load_balancer: Option<LoadBalancer>) -> Self {
        self.load_balancer = load_balancer.map(Arc::new);
        self
    }

    /// Whether load balancers are trusted.
    #[must_use]
    pub fn trusts_load_balancers(&self) -> bool {
        self.load_balancer.is_some()
    }

    /// As [`Issuers::verify_from`], for a token that is not brought by a client.
    ///
    /// # Errors
    /// The same.
    pub async fn verify(&self, scheme: Scheme, token: &str) -> Result<Arc<VerifiedToken>, Denial> {
        self.verify_from(Ipv6Addr::UNSPECIFIED.into(), scheme, token).await
    }

    /// Verifies a token that a client has brought, or asks about it: if it is opaque, a `Bearer`, and an issuer is
    /// configured for that.
    ///
    /// If it names a key that is not known, waits up to two seconds for one attempt to fetch newer keys; such attempts are at least ten seconds apart, however many requests want one, and a key that one has not brought
    /// is not asked for again for a minute, unless the keys change.
    ///
    /// # Errors
    /// Those of [`UnverifiedToken::parse`] and [`UnverifiedToken::verify`]; `issuer_unknown`; `keys_unavailable` while
    /// the issuer has no keys, or none that are fresh enough; for opaque tokens `token_inactive`, those of claims, and
    /// `introspection_unavailable`. For [`Scheme::LoadBalancer`] see `LoadBalancer::verify`.
    pub async fn verify_from(&self, client: IpAddr, scheme: Scheme, token: &str) -> Result<Arc<VerifiedToken>, Denial> {
        let now = self.clock.unix_seconds();
        let cached = self
            .cache(scheme)
            .get(scheme, token)
            .filter(|entry| self.still_holds(entry, now));
        // What is remembered here is not opaque, and need not be looked at again.
        if cached.is_none()
            && let Some(introspection) = &self.introspection
            && scheme == Scheme::Bearer
            && is_opaque(token)
        {
            return introspection.verify(token, client).await;
        }
        self.observer.cache(cached.is_some());
        if let Some(entry) = cached {
            return Ok(Arc::clone(&entry.verified));
        }
        if scheme == Scheme::LoadBalancer {
            return self.verify_of_load_balancer(token, now).await;
        }
        let parsed = UnverifiedToken::parse(token, self.limits.max_bytes)?;
        let found = self
            .configured
            .iter()
            .enumerate()
            .find(|(_, issuer)| *issuer.rules().issuer == *parsed.issuer());
        let (index, issuer) = found.ok_or_else(|| self.without_keys(&parsed))?;
        let mut keys = issuer.usable(now).ok_or(Reason::KeysUnavailable)?;
        let mut outcome = parsed.verify(scheme, issuer.rules(), &keys.set, now);
        if outcome
            .as_ref()
            .is_err_and(|denial| denial.reason == Reason::KeyUnknown)
            && let Some(newer) = issuer.newer_than(keys.generation, parsed.key_id()).await
        {
            keys = newer;
            outcome = parsed.verify(scheme, issuer.rules(), &keys.set, now);
        }
        let principal = outcome?;
        let expires_at = principal.expires_at.unwrap_or(now);
        let valid_until = expires_at.saturating_add(issuer.rules().leeway);
        let verified = VerifiedToken::new(principal, valid_until);
        let entry = Entry::new(
            scheme,
            token,
            index,
            keys.generation,
            valid_until,
            Arc::clone(&verified),
        );
        self.cache.insert(entry);
        Ok(verified)
    }

    async fn verify_of_load_balancer(&self, value: &str, now: u64) -> Result<Arc<VerifiedToken>, Denial> {
        let load_balancer = self.load_balancer.as_ref().ok_or(Reason::IssuerUnknown)?;
        let vouched = load_balancer.verify(value, self.limits.max_bytes, now).await?;
        let verified = VerifiedToken::new(vouched.principal, vouched.expired_from);
        let (generation, valid_until) = (vouched.generation, vouched.valid_until);
        let entry = Entry::new(
            Scheme::LoadBalancer,
            value,
            0,
            generation,
            valid_until,
            Arc::clone(&verified),
        );
        self.vouched.insert(entry);
        Ok(verified)
    }

    fn cache(&self, scheme: Scheme) -> &TokenCache {
        match scheme {
            Scheme::LoadBalancer => &self.vouched,
            Scheme::Bearer | Scheme::IdToken => &self.cache,
        }
    }

    /// The refusal of a token whose issuer has no keys here.
    fn without_keys(&self, token: &UnverifiedToken<'_>) -> Denial {
        match &self.introspection {
            Some(introspection) if *introspection.rules().issuer == *token.issuer() => Denial::new(
                Reason::IssuerUnknown,
                "the token's issuer is configured for opaque tokens only (`introspection`), and this one is a JWT",
            ),
            _ => token.issuer_unknown(),
        }
    }

    /// A verified token holds until it expires or its issuer's keys change or become too old.
    fn still_holds(&self, entry: &Entry, now: u64) -> bool {
        let generation = if entry.scheme == Scheme::LoadBalancer {
            self.load_balancer.as_ref().map(|trusted| trusted.generation())
        } else {
            let issuer = self.configured.get(entry.issuer);
            issuer.and_then(|issuer| issuer.usable(now)).map(|keys| keys.generation)
        };
        now < entry.valid_until && generation == Some(entry.generation)
    }

    /// Fetches keys at once and then keeps them fresh, until told to stop.
    pub async fn run(self: Arc<Self>, shutdown: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        for issuer in &self.configured {
            let (issuer, mut shutdown) = (Arc::clone(issuer), shutdown.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = issuer.keep_fresh() => {}
                    _ = shutdown.wait_for(|stop| *stop) => {}
                }
            });
        }
        if let Some(load_balancer) = &self.load_balancer {
            let (load_balancer, mut shutdown) = (Arc::clone(load_balancer), shutdown);
            tasks.spawn(async move {
                tokio::select! {
                    () = load_balancer.run() => {}
                    _ = shutdown.wait_for(|stop| *stop) => {}
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "the task that keeps an issuer's keys fresh has failed");
            }
        }
    }

    /// Fetches the keys of every issuer once, one after the other: for commands that end.
    pub async fn refresh_all(&self) {
        for issuer in &self.configured {
            issuer.refresh().await;
        }
    }

    /// Reads the key files again. The last good keys stay in force where that fails.
    pub fn reload_files(&self) -> Vec<Problem> {
        self.configured
            .iter()
            .filter_map(|issuer| issuer.reload_file().err())
            .collect()
    }

    /// The key files, for watching.
    pub fn files(&self) -> impl Iterator<Item = &std::path::Path> {
        self.configured.iter().filter_map(|issuer| issuer.file())
    }

    /// The state of every issuer, in the order of the configuration; that of opaque tokens last.
    pub fn status(&self) -> Vec<IssuerStatus> {
        let now = self.clock.unix_seconds();
        let signing = self.configured.iter().map(|issuer| issuer.status(now));
        let opaque = self.introspection.iter().map(|issuer| issuer.status());
        signing.chain(opaque).collect()
    }

    /// The state of the load balancers' keys, if any are trusted.
    pub fn load_balancer_status(&self) -> Option<IssuerStatus> {
        let now = self.clock.unix_seconds();
        self.load_balancer.as_ref().map(|trusted| trusted.status(now))
    }

    /// Whether any issuer's tokens can be verified, or none is configured. One issuer that is down does not take the
    /// others' callers with it: its own tokens get `keys_unavailable`. Whether the issuer of opaque tokens answers does not
    /// matter: it is not asked unless there are requests, which only who is ready gets.
    pub fn ready(&self) -> bool {
        let now = self.clock.unix_seconds();
        self.configured.is_empty() || self.configured.iter().any(|issuer| issuer.usable(now).is_some())
    }
}

#[cfg(test)]
mod tests;
