//! Shadow mode: an answer passes whole, and only how many items enforcing would leave out of it is told.

use super::filter::{Filter, Form, Judged};
use crate::filter::pieces::Pieces;
use crate::held::Hold;
use crate::live::Snapshot;
use crate::model::action::ActionSet;
use crate::policy::decide::Rights;
use bytes::Bytes;
use http::{HeaderMap, Response};
use std::sync::Arc;

/// The longest answer of which items are counted, in bytes. It is kept until it has passed.
const MAX_BYTES: usize = 4 << 20;

/// A filter that only counts, beside the answer on its way to the client.
#[derive(Debug)]
pub struct Tally {
    snapshot: Arc<Snapshot>,
    rights: Arc<Rights>,
    rpc: Box<str>,
    needs: ActionSet,
    judged: Judged,
    headers: HeaderMap,
    // Nothing once it has become too long, or too much is held.
    gathered: Option<Pieces>,
    hold: Hold,
}

impl Tally {
    /// Watches an answer by the filter that enforcing would apply.
    pub(super) fn of<B>(
        filter: &Filter<'_>,
        rpc: &str,
        snapshot: &Arc<Snapshot>,
        response: &Response<B>,
        hold: Hold,
    ) -> Self {
        Self {
            snapshot: Arc::clone(snapshot),
            rights: Arc::clone(&filter.rights),
            rpc: rpc.into(),
            needs: filter.needs,
            judged: filter.judged.clone(),
            headers: response.headers().clone(),
            gathered: response
                .status()
                .is_success()
                .then(|| Form::of(response.headers()).pieces(0)),
            hold,
        }
    }

    /// More of the answer has passed.
    pub(super) fn passed(&mut self, data: &Bytes) {
        self.gathered = self
            .gathered
            .take()
            .filter(|so_far| so_far.len() + data.len() <= MAX_BYTES);
        if let Some(gathered) = &mut self.gathered {
            gathered.push(data.clone());
            if self.hold.set(gathered.len()).is_err() {
                self.gathered = None;
            }
        }
        if self.gathered.is_none() {
            // Giving back cannot fail.
            _ = self.hold.set(0);
        }
    }

    /// How many items would have been left out; `None` if that cannot be told.
    pub(super) fn withheld(&mut self) -> Option<usize> {
        let mut body = self.gathered.take().filter(|body| !body.is_empty())?;
        let filter = Filter {
            items: self.snapshot.catalog.lookup_rpc(&self.rpc)?.items()?,
            rights: Arc::clone(&self.rights),
            needs: self.needs,
            judged: self.judged.clone(),
        };
        filter.edits(&self.headers, &mut body, None).map(|edits| edits.withheld)
    }
}
