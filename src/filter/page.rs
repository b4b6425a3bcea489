//! One page of what is shown of a list, counted after the list was filtered: its token says nothing of what is not shown.

use crate::catalog::answer::Label;

/// Which page of the items that are shown, and what was counted so far.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// The field of the answer with the token of the next page.
    pub next: &'a Label,
    /// How many items lie before it.
    pub offset: usize,
    /// How many items it has at most; zero means no limit.
    pub limit: usize,
    /// How many items were counted.
    pub counted: usize,
}

impl<'a> Page<'a> {
    /// The first page, of all items.
    #[must_use]
    pub fn first(next: &'a Label) -> Self {
        Self {
            next,
            offset: 0,
            limit: 0,
            counted: 0,
        }
    }

    /// Counts an item that is shown on some page, and tells whether this is the page.
    pub fn takes(&mut self) -> bool {
        let index = self.counted;
        self.counted += 1;
        index >= self.offset && (self.limit == 0 || index - self.offset < self.limit)
    }

    /// The token of the next page, if there is one. As `FlyteAdmin` does it, a full page has one.
    pub(super) fn token(&self) -> Option<String> {
        let end = self.offset.saturating_add(self.limit);
        (self.limit > 0 && self.counted >= end).then(|| end.to_string())
    }
}

#[cfg(test)]
mod tests;
