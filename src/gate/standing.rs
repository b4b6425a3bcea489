//! Whether a call that is under way may go on: its credential must not have expired, and the policy in force must still
//! permit it. Short calls end before the first look.

use super::authenticate::Caller;
use super::certificate::PeerCertificate;
use super::filter;
use crate::audit::{AuditGuard, Recorder};
use crate::catalog::{Access, WritePlace};
use crate::held::Hold;
use crate::live::{Live, Snapshot};
use crate::model::action::Action;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::model::scope::Target;
use crate::model::setting::{Asked, Written};
use crate::policy::decide::enforcement::Enforcement;
use crate::policy::decide::{Call, Permit, Refusal, Rights};
use std::sync::Arc;

/// A call as it was judged, to be judged again.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) live: Arc<Live>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) enforcement: Enforcement,
    pub(super) caller: Caller,
    /// The certificate of the connection, if it has one.
    pub(super) certificate: Option<Arc<PeerCertificate>>,
    pub(super) access: Access,
    pub(super) action: Action,
    pub(super) targets: Vec<Target>,
    pub(super) asked: Vec<Asked>,
    pub(super) writes: Arc<[WritePlace]>,
    /// The settings that were written into the request.
    pub(super) written: Box<[Written]>,
    /// Whether the permit held for a filtered answer only.
    pub(super) filtered: bool,
    /// Whether the answer passes unfiltered because the caller administers the platform.
    pub(super) platform: bool,
    /// The caller's rights when the call was last judged, and under which policy that was.
    pub(super) rights: Arc<Rights>,
    pub(super) generation: u64,
    /// Counts the targets and settings.
    pub(super) _kept: Hold,
}

impl Standing {
    /// Looks whether the call may go on, and judges it again if the policy was replaced.
    ///
    /// # Errors
    /// `token_expired_in_flight`, `certificate_expired`, `certificate_refused`, `token_revoked`, `right_withdrawn`.
    pub(super) fn look(&mut self, audit: &mut AuditGuard) -> Result<(), Denial> {
        let now = self.recorder.clock.unix_seconds();
        self.caller.unexpired(now)?;
        if let Some(certificate) = &self.certificate {
            certificate.stands(now)?;
        }
        let snapshot = self.live.load();
        if snapshot.generation == self.generation {
            return Ok(());
        }
        self.generation = snapshot.generation;
        self.rights = self.caller.rights(&snapshot);
        let call = Call {
            access: self.access,
            action: self.action,
            targets: &self.targets,
            asked: &self.asked,
            writes: &self.writes,
        };
        let decision = self.rights.decide(&call, &mut ()).enforced(self.enforcement);
        let enforcing = self.enforcement == Enforcement::Enforce;
        match decision.map(|passed| passed.permit) {
            // What is passed on unfiltered would show what is now to be left out.
            Ok(permit) if enforcing && self.is_narrowed(&permit) => Err(narrowed(&permit, &snapshot, audit)),
            // It was sent, or is to be, with others than those with which alone it is now permitted.
            Ok(permit) if enforcing && permit.written() != &*self.written => {
                Err(set_otherwise(&permit, &snapshot, audit))
            }
            Ok(_) => Ok(()),
            Err(refusal) => Err(withdrawn(refusal, &snapshot, audit)),
        }
    }

    /// Whether an answer that passes unfiltered would now be filtered.
    fn is_narrowed(&self, permit: &Permit) -> bool {
        permit.is_filtered() && !self.filtered || self.platform && !filter::shows_platform(&self.rights)
    }
}

fn narrowed(permit: &Permit, snapshot: &Snapshot, audit: &mut AuditGuard) -> Denial {
    let message = "the policy was changed while the call was running and allows only part of the answer; call again";
    replaced(permit, snapshot, audit, message)
}

fn set_otherwise(permit: &Permit, snapshot: &Snapshot, audit: &mut AuditGuard) -> Denial {
    let message = "the policy was changed while the call was running and sets otherwise how executions run; call again";
    replaced(permit, snapshot, audit, message)
}

fn replaced(permit: &Permit, snapshot: &Snapshot, audit: &mut AuditGuard, message: &'static str) -> Denial {
    audit.policy(snapshot.policy.version(), snapshot.generation);
    audit.rules(permit.rules().iter().map(|rule| rule.name().into()));
    Denial::new(Reason::RightWithdrawn, message)
}

fn withdrawn(refusal: Refusal, snapshot: &Snapshot, audit: &mut AuditGuard) -> Denial {
    let denial = super::by_policy(refusal, snapshot, audit);
    if denial.reason == Reason::TokenRevoked {
        return denial;
    }
    let message = format!("the policy was changed while the call was running: {}", denial.message);
    Denial::new(Reason::RightWithdrawn, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::authenticate::FixedCaller;
    use crate::issuer::VerifiedToken;
    use crate::live::RightsCell;
    use crate::model::principal::Principal;

    #[test]
    fn a_call_outlives_neither_its_token_nor_its_certificate() {
        let token = Caller::Token(Arc::new(VerifiedToken {
            principal: Arc::new(Principal::anonymous()),
            rights: RightsCell::default(),
            expired_from: 100,
        }));
        assert_eq!(token.unexpired(99), Ok(()));
        assert_eq!(token.unexpired(100), Err(Reason::TokenExpiredInFlight.into()));
        let certificate = Principal {
            expires_at: Some(100),
            ..Principal::anonymous()
        };
        // The last second of a certificate is within its validity (RFC 5280, section 4.1.2.5).
        let certificate = Caller::Fixed(Arc::new(FixedCaller::new(certificate, false)));
        assert_eq!(certificate.unexpired(100), Ok(()));
        assert_eq!(certificate.unexpired(101), Err(Reason::CertificateExpired.into()));
        let listener = Caller::Fixed(Arc::new(FixedCaller::anonymous()));
        assert_eq!(listener.unexpired(u64::MAX), Ok(()));
    }
}
