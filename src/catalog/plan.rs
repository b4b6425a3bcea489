//! What is read of a request, compiled from the catalogue.

use super::{Slot, SlotRole, State};

/// A compiled walk over one request type: a graph of states, one for each message that has to be looked into.
#[derive(Debug, Default)]
pub struct Plan {
    /// The states; recursion in the message type is a cycle here. Empty when nothing has to be read.
    pub states: Vec<State>,
    /// What is collected.
    slots: Vec<Slot>,
    /// Those slots of which every request must have an occurrence, by index: requests are asked for no others.
    needed: Vec<usize>,
}

impl Plan {
    /// The state of the request message itself.
    pub const START: usize = 0;

    /// The plan of these states that collects these slots.
    #[must_use]
    pub fn new(states: Vec<State>, slots: Vec<Slot>) -> Self {
        let is_needed = |slot: &Slot| slot.required || slot.role == SlotRole::Required;
        let all = slots.iter().enumerate();
        let needed = all
            .filter(|(_, slot)| is_needed(slot))
            .map(|(index, _)| index)
            .collect();
        Self { states, slots, needed }
    }

    /// What is collected.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The slots of which every request must have an occurrence, with their indices.
    pub fn needed(&self) -> impl Iterator<Item = (usize, &Slot)> {
        self.needed
            .iter()
            .filter_map(|index| Some((*index, self.slots.get(*index)?)))
    }
}
