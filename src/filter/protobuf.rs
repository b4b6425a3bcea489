//! Filters an answer in protobuf.

use super::page::Page;
use super::pieces::Pieces;
use super::{Edits, Item, Seen};
use crate::catalog::answer::{ItemShape, ItemStep, Items};
use crate::extract::wire::{Value, put_text, tag, value, varint};
use std::borrow::Cow;
use std::ops::Range;
use std::str;

/// The longest a tag and the number behind it can be, in bytes.
const MAX_HEAD: usize = 20;

/// How the encoded answer is changed: it keeps the items that are shown, or one page of them with the token of the next
/// in place of its own. `None` if it is not well-formed, or has more than one reading.
pub fn filter(
    message: &Pieces,
    items: &Items,
    mut page: Option<Page<'_>>,
    mut shown: impl FnMut(&Item<'_>) -> bool,
) -> Option<Edits> {
    let mut edits = Edits::default();
    let next = page.as_ref().map(|page| page.next.number);
    fields(message, |place, number, content| {
        if number == items.list.number {
            let mut item = Item::default();
            read(bytes(content)?, &items.shape, &mut item)?;
            if !shown(&item) {
                edits.withheld += 1;
                edits.cut(place);
            } else if !page.as_mut().is_none_or(Page::takes) {
                edits.cut(place);
            }
        } else if Some(number) == next {
            edits.cut(place);
        }
        Some(())
    })?;
    if let Some(token) = page.as_ref().and_then(Page::token) {
        let mut field = Vec::new();
        put_text(next?, &token, &mut field);
        let place = edits.cut_for_more(message.len()..message.len());
        edits.inserted = Some((place, field));
    }
    Some(edits)
}

/// Reads the fields of a message, each with where it lies. One that goes on in another piece is put together.
fn fields(message: &Pieces, mut field: impl FnMut(Range<usize>, u32, Value<'_>) -> Option<()>) -> Option<()> {
    let mut start = 0;
    let mut parted = Vec::new();
    for mut rest in message.iter() {
        while !parted.is_empty() && !rest.is_empty() {
            let missing = missing(&parted)?;
            if missing > message.len() - start - parted.len() {
                return None;
            }
            let (more, behind) = rest.split_at_checked(missing).unwrap_or((rest, &[]));
            parted.extend_from_slice(more);
            rest = behind;
            let mut whole = &parted[..];
            if let Some((number, content)) = one(&mut whole) {
                field(start..start + parted.len(), number, content)?;
                start += parted.len();
                parted.clear();
            }
        }
        while !rest.is_empty() {
            let mut behind = rest;
            let Some((number, content)) = one(&mut behind) else {
                // It goes on in the next piece, or is not well-formed, which shows there or at the end.
                parted.extend_from_slice(rest);
                break;
            };
            let end = start + rest.len() - behind.len();
            field(start..end, number, content)?;
            (start, rest) = (end, behind);
        }
    }
    parted.is_empty().then_some(())
}

fn one<'a>(rest: &mut &'a [u8]) -> Option<(u32, Value<'a>)> {
    let (number, wire_type) = tag(rest)?;
    Some((number, value(rest, wire_type)?))
}

/// How many bytes at least a field needs besides its beginning.
fn missing(beginning: &[u8]) -> Option<usize> {
    let mut rest = beginning;
    let length = match tag(&mut rest) {
        Some((_, 1)) => Some(8),
        Some((_, 2)) => varint(&mut rest),
        Some((_, 5)) => Some(4),
        Some((_, 0)) | None => None,
        // Groups, or nothing.
        Some(_) => return None,
    };
    match length {
        Some(length) => usize::try_from(length)
            .ok()?
            .checked_sub(rest.len())
            .filter(|missing| *missing > 0),
        None => (beginning.len() < MAX_HEAD).then_some(1),
    }
}

/// Reads the fields of an item that say what it is. Each may occur once: a decoder would merge or replace the others.
fn read<'a>(mut message: &'a [u8], shape: &ItemShape, item: &mut Item<'a>) -> Option<()> {
    let mut seen = Seen::default();
    while !message.is_empty() {
        let (number, wire_type) = tag(&mut message)?;
        let content = value(&mut message, wire_type)?;
        let mut fields = shape.fields.iter().enumerate();
        let Some((index, field)) = fields.find(|(_, field)| field.label.number == number) else {
            continue;
        };
        seen.first(index)?;
        match &field.step {
            ItemStep::Descend(deeper) => read(bytes(content)?, deeper, item)?,
            ItemStep::Keep(part) => item.set(*part, Cow::Borrowed(str::from_utf8(bytes(content)?).ok()?))?,
            ItemStep::Kind(_) => item.kind(kind(content)?)?,
        }
    }
    Some(())
}

fn bytes(content: Value<'_>) -> Option<&[u8]> {
    match content {
        Value::Bytes(bytes) => Some(bytes),
        Value::Varint(_) | Value::Fixed32 | Value::Fixed64 => None,
    }
}

/// Enums are 32 bits wide; more has more than one reading.
fn kind(content: Value<'_>) -> Option<i32> {
    match content {
        Value::Varint(number) => i32::try_from(number).ok(),
        Value::Bytes(_) | Value::Fixed32 | Value::Fixed64 => None,
    }
}
