//! The client certificate of a connection: read once, then what every request on it goes by.

use super::authenticate::{FixedCaller, Identity};
use crate::config::CertificatePrincipal;
use crate::credential::certificate::{ClientCertificate, NameKind};
use crate::model::denial::Denial;
use crate::model::principal::{Principal, PrincipalKind};
use crate::model::reason::Reason;
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

    fn caller(&self, certificate: &ClientCertificate<'_>) -> Result<Arc<FixedCaller>, Denial> {
        let principal = Principal {
            subject: certificate.name(&self.names)?.into(),
            expires_at: Some(certificate.expires_at()),
            ..self.common()
        };
        Ok(Arc::new(FixedCaller::new(principal, self.pass_credential)))
    }
}

/// A verified certificate that a connection was made with.
#[derive(Debug)]
pub struct PeerCertificate {
    expires_at: u64,
    /// Whom it names, or why nobody; `None` where callers are not identified by certificates.
    caller: Option<Result<Arc<FixedCaller>, Denial>>,
}

impl PeerCertificate {
    /// Reads a certificate in DER form as a listener with this identity does.
    ///
    /// # Errors
    /// `certificate_refused` if it is not well-formed. That it names nobody is for the requests to be told.
    pub fn read(der: &[u8], identity: &Identity) -> Result<Self, Denial> {
        let certificate = ClientCertificate::parse(der)?;
        Ok(Self {
            expires_at: certificate.expires_at(),
            caller: match identity {
                Identity::Certificate(identity) => Some(identity.caller(&certificate)),
                Identity::Tokens | Identity::Fixed(_) => None,
            },
        })
    }

    /// How long a connection with it is kept: nine tenths of what is left of its life, so that clients come back with
    /// their next one before requests are refused. At most a year, which is as good as forever.
    #[must_use]
    pub fn keep_for(&self, now: u64) -> Duration {
        let left = Duration::from_secs(self.expires_at.saturating_sub(now));
        (left * 9 / 10).min(Duration::from_hours(365 * 24))
    }

    /// Whom it names; `None` where callers are not identified by certificates.
    ///
    /// # Errors
    /// `certificate_expired` once its time is over; `certificate_refused` if it names nobody.
    pub(super) fn caller(&self, now: u64) -> Result<Option<&Arc<FixedCaller>>, Denial> {
        if now > self.expires_at {
            return Err(Reason::CertificateExpired.into());
        }
        match &self.caller {
            Some(Ok(caller)) => Ok(Some(caller)),
            Some(Err(denial)) => Err(denial.clone()),
            None => Ok(None),
        }
    }
}
