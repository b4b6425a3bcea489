//! Leaves out of an answer what the caller may not see. Works on the bytes as they came: what stays is unchanged, with
//! every field that newer servers may have added, in its order. An answer that cannot be understood yields nothing.

use crate::catalog::answer::ItemPart;
use std::borrow::Cow;
use std::ops::Range;

pub mod json;
pub mod page;
pub mod protobuf;

#[cfg(test)]
mod tests;

/// What of an answer is not shown. Nothing, unless items were found that are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withheld {
    /// How many items.
    pub items: usize,
    /// Their bytes, with those that separate them; in order.
    cuts: Vec<Range<usize>>,
}

impl Withheld {
    /// Adds bytes, which lie behind all others.
    fn cut(&mut self, bytes: Range<usize>) {
        match self.cuts.last_mut() {
            Some(last) if last.end == bytes.start => last.end = bytes.end,
            _ if bytes.is_empty() => {}
            _ => self.cuts.push(bytes),
        }
    }

    /// Takes it out of the answer in which it was found; what stays moves together at the front. How long that is, in
    /// bytes.
    #[must_use]
    pub fn take_out(&self, answer: &mut [u8]) -> usize {
        let mut end = self.cuts.first().map_or(answer.len(), |cut| cut.start);
        let behind = self.cuts.iter().skip(1).map(|cut| cut.start);
        let behind = behind.chain([answer.len()]);
        for (stays, until) in self.cuts.iter().map(|cut| cut.end).zip(behind) {
            answer.copy_within(stays..until, end);
            end += until - stays;
        }
        end
    }
}

/// Which fields of a message have come.
#[derive(Debug, Default)]
struct Seen(u64);

impl Seen {
    /// Adds a field by its place among those that are read. A second time yields nothing.
    fn first(&mut self, index: usize) -> Option<()> {
        let bit = 1_u64.checked_shl(u32::try_from(index).ok()?)?;
        let met = self.0 & bit != 0;
        self.0 |= bit;
        (!met).then_some(())
    }
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
        // The numbers there are need no memory of their own.
        const DIGITS: &str = "0123456789";
        let digit = usize::try_from(number).ok().and_then(|at| DIGITS.get(at..=at));
        let text = digit.map_or_else(|| number.to_string().into(), Cow::Borrowed);
        self.set(ItemPart::Kind, text)
    }
}
