//! What requests are judged by, replaced as a whole while requests run.

use crate::catalog::Catalog;
use crate::policy::Policy;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// One consistent state. A request takes it once and keeps it to the end.
#[derive(Debug)]
pub struct Snapshot {
    /// Who may do what where.
    pub policy: Arc<Policy>,
    /// The API with the overlays.
    pub catalog: Arc<Catalog>,
    /// 1 for the first, one more for each that replaced it.
    pub generation: u64,
}

/// The snapshot in force.
#[derive(Debug)]
pub struct Live(ArcSwap<Snapshot>);

impl Live {
    /// Puts the first snapshot in force.
    #[must_use]
    pub fn new(policy: Policy, catalog: Catalog) -> Self {
        Self(ArcSwap::from_pointee(Snapshot {
            policy: Arc::new(policy),
            catalog: Arc::new(catalog),
            generation: 1,
        }))
    }

    /// The snapshot in force.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Puts the next snapshot in force. Requests that have begun keep theirs.
    pub fn replace(&self, policy: Policy, catalog: Catalog) {
        let (policy, catalog) = (Arc::new(policy), Arc::new(catalog));
        self.0.rcu(|last| Snapshot {
            policy: Arc::clone(&policy),
            catalog: Arc::clone(&catalog),
            generation: last.generation + 1,
        });
    }
}
