//! What is in force: policy and catalogue as one snapshot, replaced as a whole, loaded once a request.

use crate::catalog::Catalog;
use crate::model::principal::Principal;
use crate::policy::Policy;
use crate::policy::decide::Rights;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::sync::Arc;

/// One consistent version of everything a request is judged by. A request keeps the one it began with.
#[derive(Debug)]
pub struct Snapshot {
    /// The policy.
    pub policy: Policy,
    /// The API catalogue.
    pub catalog: Arc<Catalog>,
    /// Counts the snapshots of this process, from 1.
    pub generation: u64,
}

/// The snapshot in force.
#[derive(Debug)]
pub struct Live(ArcSwap<Snapshot>);

impl Live {
    /// Puts the first policy in force.
    #[must_use]
    pub fn new(policy: Policy, catalog: Arc<Catalog>) -> Self {
        Self(ArcSwap::from_pointee(Snapshot { policy, catalog, generation: 1 }))
    }

    /// The snapshot in force now.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Puts another policy and catalogue in force. Only the reload task calls this, so generations do not race.
    pub fn replace(&self, policy: Policy, catalog: Arc<Catalog>) -> u64 {
        let generation = self.0.load().generation + 1;
        self.0.store(Arc::new(Snapshot { policy, catalog, generation }));
        generation
    }
}

/// A principal's rights, kept until another snapshot is in force.
#[derive(Debug, Default)]
pub struct RightsCell(ArcSwapOption<(u64, Arc<Rights>)>);

impl RightsCell {
    /// The principal's rights under the snapshot: those kept, or resolved now.
    pub fn under(&self, snapshot: &Snapshot, principal: &Principal) -> Arc<Rights> {
        if let Some(kept) = &*self.0.load()
            && kept.0 == snapshot.generation
        {
            return Arc::clone(&kept.1);
        }
        let rights = Arc::new(snapshot.policy.resolve(principal, &mut ()));
        self.0.store(Some(Arc::new((snapshot.generation, Arc::clone(&rights)))));
        rights
    }
}
