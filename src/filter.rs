//! Leaves out of an answer what the caller may not see. Works on the bytes as they came: what stays is unchanged, with
//! every field that newer servers may have added, in its order. An answer that cannot be understood yields nothing.

use crate::catalog::answer::ItemPart;
use std::borrow::Cow;

pub mod json;
pub mod page;
pub mod protobuf;

#[cfg(test)]
mod tests;

/// An answer without the items that are not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filtered {
    /// The answer.
    pub answer: Vec<u8>,
    /// How many items were left out.
    pub withheld: usize,
}

/// What an item says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Item<'a> {
    parts: [Option<Cow<'a, str>>; ItemPart::COUNT],
}

impl<'a> Item<'a> {
    /// The value of a part; an empty text where the item has none.
    #[must_use]
    pub fn part(&self, part: ItemPart) -> &str {
        self.parts.get(part as usize).and_then(Option::as_deref).unwrap_or("")
    }

    /// Sets a part. A second value yields nothing: which one counts would be a matter of who reads it.
    fn set(&mut self, part: ItemPart, value: Cow<'a, str>) -> Option<()> {
        let place = self.parts.get_mut(part as usize)?;
        place.replace(value).is_none().then_some(())
    }

    fn kind(&mut self, number: i32) -> Option<()> {
        self.set(ItemPart::Kind, number.to_string().into())
    }
}
