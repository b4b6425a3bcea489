//! Filters an answer in protobuf.

use super::{Item, Seen, Withheld};
use crate::catalog::answer::{ItemShape, ItemStep, Items};
use crate::extract::wire::{Value, tag, value};
use std::borrow::Cow;
use std::str;

/// What of the encoded answer is not shown. `None` if it is not well-formed, or has more than one reading.
pub fn filter(message: &[u8], items: &Items, mut shown: impl FnMut(&Item<'_>) -> bool) -> Option<Withheld> {
    let mut withheld = Withheld::default();
    let mut rest = message;
    while !rest.is_empty() {
        let start = message.len() - rest.len();
        let (number, wire_type) = tag(&mut rest)?;
        let content = value(&mut rest, wire_type)?;
        if number == items.list.number {
            let mut item = Item::default();
            read(bytes(content)?, &items.shape, &mut item)?;
            if !shown(&item) {
                withheld.items += 1;
                withheld.cut(start..message.len() - rest.len());
            }
        }
    }
    Some(withheld)
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
