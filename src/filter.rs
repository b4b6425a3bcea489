//! Leaves out of an answer what the caller may not see. Works on the bytes as they came: what stays is unchanged, with
//! every field that newer servers may have added, in its order. An answer that cannot be understood yields nothing.

use crate::catalog::answer::ItemPart;
use std::borrow::Cow;
use std::ops::Range;

pub mod json;
pub mod page;
pub mod pieces;
pub mod protobuf;

#[cfg(test)]
mod tests;

/// How an answer is changed before it is passed on. Not at all, unless it has items that are not shown, or pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// How many items are not shown on any page.
    pub withheld: usize,
    /// What is taken out, with what separates it; in order.
    cuts: Vec<Range<usize>>,
    /// What takes the place of one of the cuts, which may be empty.
    inserted: Option<(usize, Vec<u8>)>,
}

impl Edits {
    /// Takes out bytes, which lie behind all others.
    fn cut(&mut self, bytes: Range<usize>) {
        match self.cuts.last_mut() {
            Some(last) if last.end == bytes.start => last.end = bytes.end,
            _ if bytes.is_empty() => {}
            _ => self.cuts.push(bytes),
        }
    }

    /// Takes out bytes, which lie behind all others, for something else to be put there.
    fn cut_for_more(&mut self, bytes: Range<usize>) -> usize {
        self.cuts.push(bytes);
        self.cuts.len() - 1
    }

    /// The length of an answer of this length when it is changed, in bytes.
    #[must_use]
    pub fn length(&self, answer: usize) -> usize {
        let cut: usize = self.cuts.iter().map(Range::len).sum();
        let inserted = self.inserted.as_ref().map_or(0, |(_, text)| text.len());
        answer.saturating_sub(cut) + inserted
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
