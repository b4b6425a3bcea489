//! What a client showed in the handshake, verified again whenever the authorities of its listener are replaced.

use super::{InForce, LiveTls};
use crate::clock::Clock;
use arc_swap::ArcSwap;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::sync::Arc;
use std::time::Duration;

/// The certificates that a client showed, its own first: an authority that is withdrawn no longer vouches for connections
/// that were made before.
#[derive(Debug)]
pub struct ClientChain {
    tls: Arc<LiveTls>,
    shown: Box<[CertificateDer<'static>]>,
    /// What it was verified by last.
    verified: ArcSwap<InForce>,
}

impl ClientChain {
    /// What was shown in a handshake that these authorities of the listener let pass.
    #[must_use]
    pub fn new(tls: &Arc<LiveTls>, verified: Arc<InForce>, shown: &[CertificateDer<'static>]) -> Self {
        Self {
            tls: Arc::clone(tls),
            shown: shown.into(),
            verified: ArcSwap::new(verified),
        }
    }

    /// The certificates in DER form, the client's own first.
    pub fn shown(&self) -> impl Iterator<Item = &[u8]> {
        self.shown.iter().map(AsRef::as_ref)
    }

    /// Whether the authorities in force vouch for it at this second since the Unix epoch. Looks at the certificates only
    /// when they were replaced since it last did.
    #[must_use]
    pub fn stands(&self, now: u64) -> bool {
        let current = self.tls.current.load();
        if Arc::ptr_eq(&current, &self.verified.load()) {
            return true;
        }
        let Some((own, others)) = self.shown.split_first() else {
            return false;
        };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let stands = current.verifier.verify_client_cert(own, others, now).is_ok();
        if stands {
            self.verified.store(Arc::clone(&current));
        }
        stands
    }

    /// Waits until the authorities in force no longer vouch for it.
    pub async fn withdrawn(&self, clock: &dyn Clock) {
        let mut replaced = self.tls.replaced.subscribe();
        while self.stands(clock.unix_seconds()) {
            // The sender is not dropped before this.
            _ = replaced.changed().await;
        }
    }
}
