//! Filters an answer in protobuf.

use super::{Filtered, Item};
use crate::catalog::answer::{ItemField, ItemShape, ItemStep, Items};
use crate::extract::wire::{Value, tag, value};
use std::borrow::Cow;
use std::str;

/// The encoded answer with only the items that are shown. `None` if it is not well-formed, or has more than one reading.
pub fn filter(message: &[u8], items: &Items, mut shown: impl FnMut(&Item<'_>) -> bool) -> Option<Filtered> {
    let mut answer = Vec::with_capacity(message.len());
    let mut withheld = 0;
    let mut rest = message;
    while !rest.is_empty() {
        let field = rest;
        let (number, wire_type) = tag(&mut rest)?;
        let content = value(&mut rest, wire_type)?;
        if number == items.list.number {
            let mut item = Item::default();
            read(bytes(content)?, &items.shape, &mut item)?;
            if !shown(&item) {
                withheld += 1;
                continue;
            }
        }
        answer.extend_from_slice(field.get(..field.len() - rest.len())?);
    }
    Some(Filtered { answer, withheld })
}

/// Reads the fields of an item that say what it is. Each may occur once: a decoder would merge or replace the others.
fn read<'a>(mut message: &'a [u8], shape: &ItemShape, item: &mut Item<'a>) -> Option<()> {
    let mut seen: Vec<&ItemField> = Vec::new();
    while !message.is_empty() {
        let (number, wire_type) = tag(&mut message)?;
        let content = value(&mut message, wire_type)?;
        let Some(field) = shape.fields.iter().find(|field| field.label.number == number) else {
            continue;
        };
        if seen.iter().any(|other| other.label.number == number) {
            return None;
        }
        seen.push(field);
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
