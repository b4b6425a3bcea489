//! What the walkers collect: occurrences of a plan's slots with the values of their parts.

use crate::catalog::Part;
use std::borrow::Cow;

/// Everything collected from one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Values<'a> {
    /// In the order of appearance.
    pub occurrences: Vec<Occurrence<'a>>,
    /// How many settings were found by their keys; beyond a bound they are counted and not collected.
    pub noted: usize,
}

/// One occurrence of a slot.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Occurrence<'a> {
    /// The slot's index in the plan.
    pub slot: usize,
    parts: [Option<Cow<'a, str>>; Part::COUNT],
}

impl<'a> Occurrence<'a> {
    /// An occurrence without values.
    #[must_use]
    pub fn new(slot: usize) -> Self {
        Self {
            slot,
            parts: Default::default(),
        }
    }

    /// The value of a part; an empty text where the message has none.
    #[must_use]
    pub fn part(&self, part: Part) -> &str {
        self.parts.get(part as usize).and_then(Option::as_deref).unwrap_or("")
    }

    /// Sets a part. Returns the value it had before, if any.
    pub fn set(&mut self, part: Part, value: Cow<'a, str>) -> Option<Cow<'a, str>> {
        self.parts.get_mut(part as usize).and_then(|place| place.replace(value))
    }
}
