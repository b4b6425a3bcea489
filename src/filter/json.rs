//! Filters an answer in JSON, as the gateway writes it: with the names of the protobuf files, or in lowerCamelCase.

use super::{Item, Seen, Withheld};
use crate::catalog::EnumShape;
use crate::catalog::answer::{ItemShape, ItemStep, Items, Label};
use scan::Scan;
use std::{mem, str};

mod scan;

/// What of the document is not shown. `None` if it is not well-formed, or has more than one reading.
pub fn filter(document: &[u8], items: &Items, mut shown: impl FnMut(&Item<'_>) -> bool) -> Option<Withheld> {
    let mut scan = Scan::new(str::from_utf8(document).ok()?);
    let mut withheld = Withheld::default();
    let mut met = false;
    if scan.token()? != b'{' {
        return None;
    }
    scan.members(|scan, key| {
        if !is(&items.list, &scan.text(&key)?) {
            return scan.skip();
        }
        if mem::replace(&mut met, true) {
            return None;
        }
        match scan.token()? {
            b'[' => list(scan, &items.shape, &mut shown, &mut withheld),
            b'n' => scan.null(),
            _ => None,
        }
    })?;
    scan.is_at_end().then_some(withheld)
}

/// Reads the list behind its bracket. What is shown stays with one comma in between, unless everything is.
fn list(
    scan: &mut Scan<'_>,
    shape: &ItemShape,
    shown: &mut impl FnMut(&Item<'_>) -> bool,
    withheld: &mut Withheld,
) -> Option<()> {
    // Where what stays has come to an end, and whether that was an item.
    let (mut end, mut any) = (scan.at(), false);
    // `FlyteAdmin` writes the same domains into every project.
    let mut same = "";
    scan.elements(|scan, first, comma| {
        let start = scan.at() - 1;
        let mut item = Item::default();
        if first != b'{' {
            return None;
        }
        read(scan, shape, &mut item, &mut same)?;
        if !shown(&item) {
            withheld.items += 1;
            return Some(());
        }
        match comma.filter(|_| any) {
            Some(comma) => {
                withheld.cut(end..comma);
                withheld.cut(comma + 1..start);
            }
            None => withheld.cut(end..start),
        }
        (end, any) = (scan.at(), true);
        Some(())
    })?;
    if withheld.items == 0 {
        *withheld = Withheld::default();
    } else {
        withheld.cut(end..scan.at() - 1);
    }
    Some(())
}

/// Reads a message behind its brace, and of it the fields that say what an item is. Each may occur once, in either
/// spelling.
fn read<'a>(scan: &mut Scan<'a>, shape: &ItemShape, item: &mut Item<'a>, same: &mut &'a str) -> Option<()> {
    let mut seen = Seen::default();
    scan.members(|scan, key| {
        let key = scan.text(&key)?;
        let Some(index) = shape.fields.iter().position(|field| is(&field.label, &key)) else {
            return scan.skip_repeated(same);
        };
        seen.first(index)?;
        match (scan.token()?, &shape.fields.get(index)?.step) {
            (b'n', _) => scan.null(),
            (b'{', ItemStep::Descend(deeper)) => read(scan, deeper, item, same),
            (b'"', ItemStep::Keep(part)) => item.set(*part, scan.read_text()?),
            (b'"', ItemStep::Kind(shape)) => item.kind(known(&scan.read_text()?, shape)?),
            (first, ItemStep::Kind(_)) => item.kind(serde_json::from_str(scan.number(first)?).ok()?),
            _ => None,
        }
    })
}

fn is(label: &Label, key: &str) -> bool {
    *label.name == *key || *label.json == *key
}

fn known(name: &str, shape: &EnumShape) -> Option<i32> {
    let known = shape.values.iter().find(|(known, _)| **known == *name);
    known.map(|(_, number)| *number)
}

#[cfg(test)]
mod tests;
