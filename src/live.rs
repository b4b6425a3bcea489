//! What is in force: policy and catalogue as one snapshot, replaced as a whole, loaded once a request.

use crate::catalog::Catalog;
use crate::model::principal::Principal;
use crate::policy::Policy;
use crate::policy::decide::Rights;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One consistent version of everything a request is judged by. A request keeps the one it began with.
#[derive(Debug)]
pub struct Snapshot {
    /// The policy.
    pub policy: Arc<Policy>,
    /// The API catalogue.
    pub catalog: Arc<Catalog>,
    /// Counts the policies and catalogues of this process, from 1.
    pub generation: u64,
    /// A policy that is tried beside the one in force, if there is one.
    pub candidate: Option<Candidate>,
}

/// A policy that decides nothing: its decisions are only compared.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Counts the candidates of this process, from 1.
    pub generation: u64,
}

/// The snapshot in force.
#[derive(Debug)]
pub struct Live {
    current: ArcSwap<Snapshot>,
    /// Earlier ones that requests still had when they were replaced. Freeing a large policy takes longer than a request
    /// may wait: kept here, the last request that lets go of one frees nothing.
    earlier: Mutex<Vec<Arc<Snapshot>>>,
}

impl Live {
    /// Puts the first policy in force.
    #[must_use]
    pub fn new(policy: Policy, catalog: Catalog) -> Self {
        Self {
            current: ArcSwap::from_pointee(Snapshot {
                policy: Arc::new(policy),
                catalog: Arc::new(catalog),
                generation: 1,
                candidate: None,
            }),
            earlier: Mutex::default(),
        }
    }

    /// The snapshot in force now.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts the next snapshot in force. Requests that have begun keep theirs.
    pub fn replace(&self, policy: Policy, catalog: Catalog) {
        let (policy, catalog) = (Arc::new(policy), Arc::new(catalog));
        let last = self.current.rcu(|last| Snapshot {
            policy: Arc::clone(&policy),
            catalog: Arc::clone(&catalog),
            generation: last.generation + 1,
            candidate: last.candidate.clone(),
        });
        self.earlier().push(last);
        self.free_unused();
    }

    /// Puts a policy beside the one in force, in place of the last candidate.
    pub fn put_beside(&self, candidate: Policy) {
        let candidate = Arc::new(candidate);
        let last = self.current.rcu(|last| Snapshot {
            policy: Arc::clone(&last.policy),
            catalog: Arc::clone(&last.catalog),
            generation: last.generation,
            candidate: Some(Candidate {
                policy: Arc::clone(&candidate),
                generation: last.candidate.as_ref().map_or(1, |last| last.generation + 1),
            }),
        });
        self.earlier().push(last);
        self.free_unused();
    }

    /// Frees the earlier snapshots that no request has any more. Called by who replaces them, now and then, never by a
    /// request.
    pub fn free_unused(&self) {
        // Who has the only reference to one is the only one who could make another.
        let unused = |earlier: &mut Arc<Snapshot>| Arc::strong_count(earlier) == 1;
        let freed: Vec<_> = self.earlier().extract_if(.., unused).collect();
        drop(freed);
    }

    fn earlier(&self) -> MutexGuard<'_, Vec<Arc<Snapshot>>> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A principal's rights, kept until another snapshot is in force; under a candidate, until there is another one.
#[derive(Debug, Default)]
pub struct RightsCell {
    in_force: Kept,
    candidate: Kept,
}

/// Rights with the generation of what they were resolved from.
#[derive(Debug, Default)]
struct Kept(ArcSwapOption<(u64, Arc<Rights>)>);

impl RightsCell {
    /// The principal's rights under the snapshot: those kept, or resolved now.
    pub fn under(&self, snapshot: &Snapshot, principal: &Principal) -> Arc<Rights> {
        self.in_force.of(&snapshot.policy, snapshot.generation, principal)
    }

    /// The same under a candidate.
    pub fn under_candidate(&self, candidate: &Candidate, principal: &Principal) -> Arc<Rights> {
        self.candidate.of(&candidate.policy, candidate.generation, principal)
    }
}

impl Kept {
    fn of(&self, policy: &Policy, generation: u64, principal: &Principal) -> Arc<Rights> {
        if let Some(kept) = &*self.0.load()
            && kept.0 == generation
        {
            return Arc::clone(&kept.1);
        }
        let rights = Arc::new(policy.resolve(principal, &mut ()));
        self.0.store(Some(Arc::new((generation, Arc::clone(&rights)))));
        rights
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::policy::compile::compile;

    #[test]
    fn no_request_frees_the_policy_that_it_had() {
        let policy = || compile(&[], &["staging".into()]).unwrap().0;
        let live = Live::new(policy(), Catalog::builtin().unwrap());
        let request = live.load();
        let first = Arc::downgrade(&request.policy);
        live.replace(policy(), Catalog::builtin().unwrap());
        let second = Arc::downgrade(&live.load().policy);
        live.replace(policy(), Catalog::builtin().unwrap());
        assert!(
            second.upgrade().is_none(),
            "what no request has is freed as it is replaced"
        );
        live.free_unused();
        assert!(first.upgrade().is_some(), "a request has it");
        drop(request);
        assert!(first.upgrade().is_some(), "the request does not free it");
        live.free_unused();
        assert!(first.upgrade().is_none());
        assert_eq!(live.load().generation, 3);
    }
}
