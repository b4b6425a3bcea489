//! Opaque tokens: their issuer is asked about each (RFC 7662), a moderate number of times.
//!
//! What is kept of an answer is the caller whom it names after every check, never the answer itself.

use super::cache::{Entry, TokenCache};
use super::{IssuerObserver, IssuerSettings, IssuerStatus, TokenLimits, VerifiedToken};
use crate::clock::Clock;
use crate::credential::introspected::{self, Fault};
use crate::credential::locate::Scheme;
use crate::credential::rules::IssuerRules;
use crate::live::RightsCell;
use crate::model::denial::Denial;
use crate::model::problem::Problem;
use crate::model::reason::Reason;
use crate::named_secret::NamedSecret;
use endpoint::{Endpoint, Failure};
use flights::{Flight, Flights};
use pause::Pause;
use refused::RefusedTokens;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

mod endpoint;
mod flights;
mod pause;
mod refused;

/// The most questions to the issuer at one time.
const AT_ONE_TIME: usize = 64;
/// How long a refused token is not asked about again.
const REFUSED_FOR: Duration = Duration::from_secs(5);
/// The same for one about which no usable answer came.
const FAILED_FOR: Duration = Duration::from_secs(1);

/// How an issuer is asked about opaque tokens (RFC 7662).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntrospectionSettings {
    /// The introspection endpoint.
    pub url: String,
    /// As whom the proxy asks. Read anew for each question.
    pub client_id: NamedSecret,
    /// How it proves that. Read anew for each question.
    pub client_secret: NamedSecret,
    /// How long the answer that a token is active is relied upon, in whole seconds and at most until it expires.
    pub cache: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// How a question about an opaque token ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntrospectionOutcome {
    /// The token is active and names a caller.
    Active,
    /// It is not active, or its claims are not accepted.
    Refused,
    /// There was no usable answer.
    Failed,
    /// The issuer was not asked: it has just failed, or too many wait already.
    HeldBack,
}

/// What is found out about a token.
type Outcome = Result<Arc<VerifiedToken>, Denial>;

/// The issuer of opaque tokens.
#[derive(Debug)]
pub(super) struct Introspection {
    rules: IssuerRules,
    endpoint: Endpoint,
    /// How long an answer is relied upon, in seconds.
    relied_upon: u64,
    /// How long to wait for room to ask.
    patience: Duration,
    max_bytes: usize,
    active: TokenCache,
    refused: RefusedTokens,
    flights: Arc<Flights>,
    room: Semaphore,
    pause: Pause,
    /// Second of the last answer; 0 before the first.
    last_success: AtomicU64,
    last_error: Mutex<Option<String>>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn IssuerObserver>,
}

impl Introspection {
    /// Reads the secrets and the CA file once, to know that they can be used. Asks nothing.
    ///
    /// # Errors
    /// Every one that cannot.
    pub(super) fn new(
        issuer: &IssuerSettings,
        settings: &IntrospectionSettings,
        limits: TokenLimits,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn IssuerObserver>,
    ) -> Result<Self, Vec<Problem>> {
        Ok(Self {
            rules: issuer.rules.clone(),
            endpoint: Endpoint::new(issuer, settings)?,
            relied_upon: settings.cache.as_secs(),
            patience: settings.timeout,
            max_bytes: limits.max_bytes,
            active: TokenCache::new(limits.cached),
            refused: RefusedTokens::default(),
            flights: Arc::default(),
            room: Semaphore::new(AT_ONE_TIME),
            pause: Pause::default(),
            last_success: AtomicU64::new(0),
            last_error: Mutex::default(),
            clock,
            observer,
        })
    }

    pub(super) fn rules(&self) -> &IssuerRules {
        &self.rules
    }

    /// Finds out about an opaque token that a client has brought: as remembered, or by asking.
    ///
    /// # Errors
    /// `token_malformed` if it is too long, those of [`introspected::principal`], and `introspection_unavailable` without
    /// a usable answer.
    pub(super) async fn verify(self: &Arc<Self>, token: &str, client: IpAddr) -> Outcome {
        if token.len() > self.max_bytes {
            let message = format!("the token has more than {} bytes", self.max_bytes);
            return Err(Denial::new(Reason::TokenMalformed, message));
        }
        let remembered = self.remembered(token);
        self.observer.cache(remembered.as_ref().is_some_and(Result::is_ok));
        if let Some(outcome) = remembered {
            return outcome;
        }
        let Some((mut coming, duty)) = self.flights.join(token, client) else {
            return self.held_back();
        };
        if let Some(flight) = duty {
            // In a task of its own: the request that asks first may go away, and others wait for the answer.
            let asked = Arc::clone(self);
            tokio::spawn(async move {
                let outcome = asked.find_out(&flight).await;
                flight.land(outcome);
            });
        }
        let landed = coming.wait_for(Option::is_some).await;
        let outcome = landed.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| Err(Reason::IntrospectionUnavailable.into()))
    }

    fn remembered(&self, token: &str) -> Option<Outcome> {
        let now = self.clock.unix_seconds();
        if let Some(entry) = self.active.get(Scheme::Bearer, token)
            && now < entry.valid_until
        {
            return Some(Ok(Arc::clone(&entry.verified)));
        }
        self.refused.get(token).map(Err)
    }

    async fn find_out(&self, flight: &Flight) -> Outcome {
        let token = flight.token();
        // The answer may have come since the request looked.
        if let Some(outcome) = self.remembered(token) {
            return outcome;
        }
        if self.pause.lasts() {
            return self.held_back();
        }
        // First among the questions of the same client, so that one with many of them does not make all others wait.
        let room = async { (flight.room().acquire().await, self.room.acquire().await) };
        let Ok((Ok(_own), Ok(_room))) = tokio::time::timeout(self.patience, room).await else {
            return self.held_back();
        };
        if self.pause.lasts() {
            return self.held_back();
        }
        let asked = Instant::now();
        match self.endpoint.ask(token).await {
            Ok(answer) => {
                self.pause.end();
                self.judge(token, &answer)
            }
            Err(Failure::Endpoint(fault)) => {
                self.pause.begin(asked);
                self.failed(&fault)
            }
            Err(Failure::Token(fault)) => {
                self.pause.end();
                self.failed_for(token, &fault)
            }
        }
    }

    fn judge(&self, token: &str, answer: &[u8]) -> Outcome {
        let now = self.clock.unix_seconds();
        let principal = match introspected::principal(answer, &self.rules, now) {
            Ok(principal) => principal,
            Err(Fault::Unreadable(what)) => return self.failed_for(token, &format!("the answer about a token {what}")),
            Err(Fault::Refused(denial)) => {
                self.answered(IntrospectionOutcome::Refused, now);
                self.refused.note(token, denial.clone(), REFUSED_FOR);
                return Err(denial);
            }
        };
        self.answered(IntrospectionOutcome::Active, now);
        let expired_from = principal.expires_at.unwrap_or(now).saturating_add(self.rules.leeway);
        let valid_until = expired_from.min(now.saturating_add(self.relied_upon));
        let verified = Arc::new(VerifiedToken {
            principal: Arc::new(principal),
            rights: RightsCell::default(),
            expired_from,
        });
        if valid_until > now {
            let entry = Entry::new(Scheme::Bearer, token, 0, 0, valid_until, Arc::clone(&verified));
            self.active.insert(entry);
        }
        Ok(verified)
    }

    fn answered(&self, outcome: IntrospectionOutcome, now: u64) {
        let issuer = &*self.rules.issuer;
        self.last_success.store(now, Ordering::Release);
        if self.set_error(None).is_some() {
            tracing::info!(issuer, "the issuer answers questions about tokens again");
        }
        self.observer.introspected(issuer, outcome);
    }

    fn failed(&self, fault: &str) -> Outcome {
        let issuer = &*self.rules.issuer;
        // Once for each fault: a storm of tokens must not become one of lines in the log.
        if self.set_error(Some(fault.to_owned())).as_deref() != Some(fault) {
            tracing::warn!(issuer, error = fault, "the issuer could not be asked about a token");
        }
        self.observer.introspected(issuer, IntrospectionOutcome::Failed);
        Err(Reason::IntrospectionUnavailable.into())
    }

    fn failed_for(&self, token: &str, fault: &str) -> Outcome {
        self.refused
            .note(token, Reason::IntrospectionUnavailable.into(), FAILED_FOR);
        self.failed(fault)
    }

    fn held_back(&self) -> Outcome {
        self.observer
            .introspected(&self.rules.issuer, IntrospectionOutcome::HeldBack);
        Err(Reason::IntrospectionUnavailable.into())
    }

    /// Puts another error in place; returns the one before.
    fn set_error(&self, error: Option<String>) -> Option<String> {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *last, error)
    }

    pub(super) fn status(&self) -> IssuerStatus {
        let last_success = self.last_success.load(Ordering::Acquire);
        IssuerStatus {
            issuer: Arc::clone(&self.rules.issuer),
            kind: "introspection",
            keys: 0,
            generation: 0,
            last_success: (last_success > 0).then_some(last_success),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            stale: false,
            problems: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
