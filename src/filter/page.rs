//! One page of what is shown of a list, counted after the list was filtered: its token says nothing of what is not shown.

use crate::catalog::answer::Label;
use crate::extract::wire::{put_text, tag, value};
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::{fmt, str};

/// Which page of the items that are shown, and what was counted so far.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// The field of the answer with the token of the next page.
    pub next: &'a Label,
    /// How many items lie before it.
    pub offset: usize,
    /// How many items it has at most; zero means no limit.
    pub limit: usize,
    /// How many items were counted.
    pub counted: usize,
}

impl<'a> Page<'a> {
    /// The first page, of all items.
    #[must_use]
    pub fn first(next: &'a Label) -> Self {
        Self {
            next,
            offset: 0,
            limit: 0,
            counted: 0,
        }
    }

    /// Counts an item that is shown on some page, and tells whether this is the page.
    pub fn takes(&mut self) -> bool {
        let index = self.counted;
        self.counted += 1;
        index >= self.offset && (self.limit == 0 || index - self.offset < self.limit)
    }

    /// The token of the next page, empty if there is none. As `FlyteAdmin` does it, a full page has one.
    fn token(&self) -> String {
        let end = self.offset.saturating_add(self.limit);
        if self.limit > 0 && self.counted >= end {
            end.to_string()
        } else {
            String::new()
        }
    }

    /// The encoded answer with the token of the next page in place of its own. `None` if it is not well-formed.
    #[must_use]
    pub fn in_protobuf(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut answer = Vec::with_capacity(message.len());
        let mut rest = message;
        while !rest.is_empty() {
            let field = rest;
            let (number, wire_type) = tag(&mut rest)?;
            value(&mut rest, wire_type)?;
            if number != self.next.number {
                answer.extend_from_slice(field.get(..field.len() - rest.len())?);
            }
        }
        let token = self.token();
        if !token.is_empty() {
            put_text(self.next.number, &token, &mut answer);
        }
        Some(answer)
    }

    /// The same in JSON.
    #[must_use]
    pub fn in_json(&self, document: &[u8]) -> Option<Vec<u8>> {
        let document = str::from_utf8(document).ok()?;
        let token = self.token();
        let own = members(document, &[self.next])?.pop().flatten();
        let answer = match own {
            Some(own) => {
                let start = own.as_ptr().addr().checked_sub(document.as_ptr().addr())?;
                let (before, behind) = (document.get(..start)?, document.get(start + own.len()..)?);
                format!("{before}\"{token}\"{behind}")
            }
            None if token.is_empty() => document.to_owned(),
            None => {
                let open = document.trim_end().strip_suffix('}')?;
                let comma = if open.trim_end().ends_with('{') { "" } else { "," };
                format!("{open}{comma}\"{}\":\"{token}\"}}", self.next.name)
            }
        };
        Some(answer.into_bytes())
    }
}

/// For each label the value of that member, in either spelling; null is none. `None` if this is no object, or a member
/// occurs twice.
fn members<'a>(object: &'a str, labels: &[&Label]) -> Option<Vec<Option<&'a str>>> {
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

#[cfg(test)]
mod tests;
