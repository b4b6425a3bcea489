//! Filters an answer in JSON, as the gateway writes it: with the names of the protobuf files, or in lowerCamelCase.

use super::{Filtered, Item};
use crate::catalog::EnumShape;
use crate::catalog::answer::{ItemShape, ItemStep, Items, Label};
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::str;

/// The document with only the items that are shown; everything else stays to the letter. `None` if it is not
/// well-formed, or has more than one reading.
pub fn filter(document: &[u8], items: &Items, mut shown: impl FnMut(&Item<'_>) -> bool) -> Option<Filtered> {
    let document = str::from_utf8(document).ok()?;
    let unchanged = || Filtered {
        answer: document.as_bytes().to_vec(),
        withheld: 0,
    };
    let Some(list) = members(document, std::slice::from_ref(&&items.list))?.pop().flatten() else {
        return Some(unchanged());
    };
    let mut kept = Vec::new();
    let mut withheld = 0;
    for raw in serde_json::from_str::<Vec<&RawValue>>(list).ok()? {
        let mut item = Item::default();
        read(raw.get(), &items.shape, &mut item)?;
        if shown(&item) {
            kept.push(raw.get());
        } else {
            withheld += 1;
        }
    }
    if withheld == 0 {
        return Some(unchanged());
    }
    // The list is a part of the document itself: what surrounds it is what lies before and behind.
    let start = list.as_ptr().addr().checked_sub(document.as_ptr().addr())?;
    let (before, behind) = (document.get(..start)?, document.get(start + list.len()..)?);
    Some(Filtered {
        answer: format!("{before}[{}]{behind}", kept.join(",")).into_bytes(),
        withheld,
    })
}

/// Reads the fields of an item that say what it is.
fn read<'a>(message: &'a str, shape: &ItemShape, item: &mut Item<'a>) -> Option<()> {
    let labels: Vec<&Label> = shape.fields.iter().map(|field| &field.label).collect();
    for (field, value) in shape.fields.iter().zip(members(message, &labels)?) {
        let Some(value) = value else { continue };
        match &field.step {
            ItemStep::Descend(deeper) => read(value, deeper, item)?,
            ItemStep::Keep(part) => item.set(*part, text(value)?)?,
            ItemStep::Kind(shape) => item.kind(kind(value, shape)?)?,
        }
    }
    Some(())
}

fn text(value: &str) -> Option<Cow<'_, str>> {
    let mut deserializer = serde_json::Deserializer::from_str(value);
    deserializer.deserialize_str(Text).ok()
}

fn kind(value: &str, shape: &EnumShape) -> Option<i32> {
    if let Ok(number) = serde_json::from_str(value) {
        return Some(number);
    }
    let name = text(value)?;
    let known = shape.values.iter().find(|(known, _)| **known == *name);
    known.map(|(_, number)| *number)
}

/// For each label the value of that member, in either spelling; null is none. `None` if this is no object, or a member
/// occurs twice.
pub(super) fn members<'a>(object: &'a str, labels: &[&Label]) -> Option<Vec<Option<&'a str>>> {
    let mut deserializer = serde_json::Deserializer::from_str(object);
    let found = deserializer.deserialize_map(Members(labels)).ok()?;
    deserializer.end().ok()?;
    let value = |raw: Option<&'a RawValue>| raw.map(RawValue::get).filter(|raw| *raw != "null");
    Some(found.into_iter().map(value).collect())
}

struct Members<'l>(&'l [&'l Label]);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found: Self::Value = vec![None; self.0.len()];
        while let Some(key) = map.next_key::<Key<'de>>()? {
            let known = self
                .0
                .iter()
                .position(|label| *label.name == *key.0 || *label.json == *key.0);
            let Some(place) = known.and_then(|index| found.get_mut(index)) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if place.replace(map.next_value()?).is_some() {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(found)
    }
}

/// A key with its escapes undone.
struct Key<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text).map(Self)
    }
}

/// A text, borrowed where it has no escapes.
struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
