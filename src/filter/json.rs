//! Filters an answer in JSON, as the gateway writes it: with the names of the protobuf files, or in lowerCamelCase.

use super::page::Page;
use super::{Edits, Item, Seen};
use crate::catalog::EnumShape;
use crate::catalog::answer::{ItemShape, ItemStep, Items, Label};
use scan::{Quoted, Scan};
use std::{mem, str};

mod scan;

/// How the document is changed: it keeps the items that are shown, or one page of them with the token of the next in place
/// of its own. `None` if it is not well-formed, or has more than one reading.
pub fn filter(
    document: &[u8],
    items: &Items,
    mut page: Option<Page<'_>>,
    mut shown: impl FnMut(&Item<'_>) -> bool,
) -> Option<Edits> {
    let mut scan = Scan::new(str::from_utf8(document).ok()?);
    let mut edits = Edits::default();
    let next = page.as_ref().map(|page| page.next);
    let (mut met, mut own, mut empty) = (false, None, true);
    if scan.token()? != b'{' {
        return None;
    }
    scan.members(|scan, key| {
        empty = false;
        if next.map_or(Some(false), |next| is(scan, &key, next))? {
            let value = scan.value()?;
            let again = own.replace(edits.cut_for_more(value));
            return again.is_none().then_some(());
        }
        if !is(scan, &key, &items.list)? {
            return scan.skip();
        }
        if mem::replace(&mut met, true) {
            return None;
        }
        match scan.token()? {
            b'[' => list(scan, &items.shape, page.as_mut(), &mut shown, &mut edits),
            b'n' => scan.null(),
            _ => None,
        }
    })?;
    let brace = scan.at() - 1;
    if !scan.is_at_end() {
        return None;
    }
    let token = page.as_ref().and_then(Page::token);
    edits.inserted = match (own, token, next) {
        (Some(own), token, _) => Some((own, format!("\"{}\"", token.unwrap_or_default()).into())),
        (None, Some(token), Some(next)) => {
            let comma = if empty { "" } else { "," };
            let place = edits.cut_for_more(brace..brace);
            Some((place, format!("{comma}\"{}\":\"{token}\"", next.name).into()))
        }
        _ => None,
    };
    Some(edits)
}

/// Reads the list behind its bracket. What is shown stays with one comma in between, unless everything is.
fn list(
    scan: &mut Scan<'_>,
    shape: &ItemShape,
    mut page: Option<&mut Page<'_>>,
    shown: &mut impl FnMut(&Item<'_>) -> bool,
    edits: &mut Edits,
) -> Option<()> {
    // Where what stays has come to an end, and whether that was an item.
    let (mut end, mut any) = (scan.at(), false);
    let before = edits.cuts.len();
    let mut all = true;
    // `FlyteAdmin` writes the same domains into every project.
    let mut same = "";
    scan.elements(|scan, first, comma| {
        let start = scan.at() - 1;
        let mut item = Item::default();
        if first != b'{' {
            return None;
        }
        read(scan, shape, &mut item, &mut same)?;
        let shown = shown(&item);
        edits.withheld += usize::from(!shown);
        if !shown || !page.as_mut().is_none_or(|page| page.takes()) {
            all = false;
            return Some(());
        }
        match comma.filter(|_| any) {
            Some(comma) => {
                edits.cut(end..comma);
                edits.cut(comma + 1..start);
            }
            None => edits.cut(end..start),
        }
        (end, any) = (scan.at(), true);
        Some(())
    })?;
    if all {
        edits.cuts.truncate(before);
    } else {
        edits.cut(end..scan.at() - 1);
    }
    Some(())
}

/// Reads a message behind its brace, and of it the fields that say what an item is. Each may occur once, in either
/// spelling.
fn read<'a>(scan: &mut Scan<'a>, shape: &ItemShape, item: &mut Item<'a>, same: &mut &'a str) -> Option<()> {
    let mut seen = Seen::default();
    scan.members(|scan, key| {
        let mut known = None;
        for (index, field) in shape.fields.iter().enumerate() {
            if is(scan, &key, &field.label)? {
                known = Some((index, field));
                break;
            }
        }
        let Some((index, field)) = known else {
            return scan.skip_repeated(same);
        };
        seen.first(index)?;
        match (scan.token()?, &field.step) {
            (b'n', _) => scan.null(),
            (b'{', ItemStep::Descend(deeper)) => read(scan, deeper, item, same),
            (b'"', ItemStep::Keep(part)) => item.set(*part, scan.read_text()?),
            (b'"', ItemStep::Kind(shape)) => item.kind(number(&scan.read_text()?, shape)?),
            (first, ItemStep::Kind(_)) => item.kind(serde_json::from_str(scan.number(first)?).ok()?),
            _ => None,
        }
    })
}

fn is(scan: &Scan<'_>, key: &Quoted, label: &Label) -> Option<bool> {
    scan.is(key, &label.name, &label.json)
}

fn number(name: &str, shape: &EnumShape) -> Option<i32> {
    let known = shape.values.iter().find(|(known, _)| **known == *name);
    known.map(|(_, number)| *number)
}

#[cfg(test)]
mod tests;
