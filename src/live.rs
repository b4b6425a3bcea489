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
    pub policy: Arc<Policy>,
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
    pub fn new(policy: Policy, catalog: Catalog) -> Self {
        Self(ArcSwap::from_pointee(Snapshot {
            policy: Arc::new(policy),
            catalog: Arc::new(catalog),
            generation: 1,
        }))
    }

    /// The snapshot in force now.
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
