//! The client certificate of a connection: read once, then what every request on it goes by.

use super::authenticate::{FixedCaller, Identity};
use crate::clock::Clock;
use crate::config::CertificatePrincipal;
use crate::credential::certificate::{ClientCertificate, NameKind};
use crate::model::denial::Denial;
use crate::model::principal::{Principal, PrincipalKind};
use crate::model::reason::Reason;
use crate::tls::ClientChain;
use std::sync::Arc;
use std::time::Duration;

/// How a listener takes its callers from client certificates.
#[derive(Debug)]
pub struct CertificateIdentity {
    issuer: Arc<str>,
    names: Box<[NameKind]>,
    groups: Vec<Arc<str>>,
    pass_credential: bool,
}

impl CertificateIdentity {
    /// That of the listener with this name.
    #[must_use]
    pub fn of_listener(name: &str, settings: &CertificatePrincipal) -> Self {
        Self {
            issuer: format!("listener:{name}").into(),
            names: settings.names.as_slice().into(),
            groups: settings.groups.iter().map(|group| Arc::from(&**group)).collect(),
            pass_credential: settings.pass_credential,
        }
    }

    /// What its callers have in common: all but their names.
    #[must_use]
    pub fn common(&self) -> Principal {
        Principal {
            kind: PrincipalKind::Certificate,
            issuer: Arc::clone(&self.issuer),
            groups: self.groups.clone(),
            ..Principal::anonymous()
        }
    }

    fn caller(&self, certificate: &ClientCertificate<'_>, expires_at: u64) -> Result<Arc<FixedCaller>, Denial> {
        let principal = Principal {
            subject: certificate.name(&self.names)?.into(),
            expires_at: Some(expires_at),
            ..self.common()
        };
        Ok(Arc::new(FixedCaller::new(principal, self.pass_credential)))
    }
}

/// A verified certificate that a connection was made with.
#[derive(Debug)]
pub struct PeerCertificate {
    chain: ClientChain,
    /// The last second in which it is valid, and all that vouches for it, since the Unix epoch.
    expires_at: u64,
    /// Whom it names, or why nobody; `None` where callers are not identified by certificates.
    caller: Option<Result<Arc<FixedCaller>, Denial>>,
}

impl PeerCertificate {
    /// Reads what was shown at the time `now` (seconds since the Unix epoch), as a listener with this identity does.
    ///
    /// # Errors
    /// `certificate_refused` if it is not well-formed. That it names nobody is for the requests to be told.
    pub fn read(chain: ClientChain, identity: &Identity, now: u64) -> Result<Self, Denial> {
        let (expires_at, caller) = {
            let mut shown = chain.shown().map(ClientCertificate::parse);
            let own = shown.next().ok_or(Reason::CertificateRefused)??;
            let mut expires_at = own.expires_at();
            for other in shown {
                let end = other?.expires_at();
                // What had expired already has not vouched for anything.
                if end >= now {
                    expires_at = expires_at.min(end);
                }
            }
            let caller = match identity {
                Identity::Certificate(identity) => Some(identity.caller(&own, expires_at)),
                Identity::Tokens | Identity::Fixed(_) => None,
            };
            (expires_at, caller)
        };
        Ok(Self {
            chain,
            expires_at,
            caller,
        })
    }

    /// How long a connection with it is kept: nine tenths of what is left of its life, so that clients come back with
    /// their next one before requests are refused. At most a year, which is as good as forever.
    fn keep_for(&self, now: u64) -> Duration {
        let left = Duration::from_secs(self.expires_at.saturating_sub(now));
        (left * 9 / 10).min(Duration::from_hours(365 * 24))
    }

    /// Waits for the end of the time for which a connection with it is kept, or until its authority is withdrawn.
    pub async fn kept(&self, clock: &dyn Clock) {
        tokio::select! {
            () = tokio::time::sleep(self.keep_for(clock.unix_seconds())) => {}
            () = self.chain.withdrawn(clock) => {}
        }
    }

    /// Whether it is still as good as in the handshake.
    ///
    /// # Errors
    /// `certificate_expired` once its time is over; `certificate_refused` once the listener's authorities are others that do
    /// not vouch for it.
    pub(super) fn stands(&self, now: u64) -> Result<(), Denial> {
        if now > self.expires_at {
            return Err(Reason::CertificateExpired.into());
        }
        if !self.chain.stands(now) {
            let message =
                "the authority of the connection's client certificate was withdrawn; connect with another certificate";
            return Err(Denial::new(Reason::CertificateRefused, message));
        }
        Ok(())
    }

    /// Whom it names; `None` where callers are not identified by certificates.
    ///
    /// # Errors
    /// Those of [`Self::stands`]; `certificate_refused` if it names nobody.
    pub(super) fn caller(&self, now: u64) -> Result<Option<&Arc<FixedCaller>>, Denial> {
        self.stands(now)?;
        match &self.caller {
            Some(Ok(caller)) => Ok(Some(caller)),
            Some(Err(denial)) => Err(denial.clone()),
            None => Ok(None),
        }
    }
}
