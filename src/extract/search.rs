//! Looks through annotations, labels and pod specifications for keys that stand for settings.
//!
//! Everything that any decoder could take for such a setting is found: of keys that occur twice every value, since it is
//! only refused more.

use super::frame::MAX_DEPTH;
use super::names::quote;
use super::values::{Occurrence, Values};
use super::wire::{Value, tag, value};
use crate::catalog::Part;
use crate::model::setting::Setting;
use std::borrow::Cow;
use std::str;

/// Why a search stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It is not what its type says, or nested too deep.
    Malformed,
    /// More entries than may be read.
    TooMany,
}

/// Notes what an entry stands for, if for a setting.
pub(super) fn note<'a>(slot: usize, around: &str, key: &str, text: Cow<'a, str>, values: &mut Values<'a>) {
    let Some(setting) = Setting::of_key(around, key) else {
        return;
    };
    let mut found = Occurrence::new(slot);
    found.set(Part::Kind, Cow::Borrowed(setting.label()));
    found.set(Part::Key, Cow::Owned(quote(key)));
    // Annotations that ask the webhooks for secrets encode or only point to them, and Spark's values are where they are
    // mounted: their keys say what they are.
    let text = if setting == Setting::Secret && key.contains(['/', '.']) {
        Cow::Owned(key.to_owned())
    } else {
        text
    };
    found.set(Part::Value, text);
    values.occurrences.push(found);
}

/// A search through one value in protobuf.
pub(super) struct Search<'w, 'a> {
    pub(super) slot: usize,
    pub(super) values: &'w mut Values<'a>,
    pub(super) fields_left: &'w mut usize,
}

impl<'a> Search<'_, 'a> {
    /// One entry of a map of texts.
    pub(super) fn text_entry(&mut self, entry: &'a [u8]) -> Result<(), Stopped> {
        let (keys, mut contents) = self.entry(entry)?;
        if contents.is_empty() {
            contents.push(&[]);
        }
        for key in keys {
            for content in &contents {
                note(self.slot, "", key, Cow::Borrowed(text(content)?), self.values);
            }
        }
        Ok(())
    }

    /// A `google.protobuf.Struct`: field 1 is a map to values.
    pub(super) fn object(&mut self, around: &str, mut object: &'a [u8], depth: usize) -> Result<(), Stopped> {
        if depth > MAX_DEPTH {
            return Err(Stopped::Malformed);
        }
        while !object.is_empty() {
            if let (1, Value::Bytes(entry)) = self.field(&mut object)? {
                let (keys, contents) = self.entry(entry)?;
                for key in keys {
                    for content in &contents {
                        self.content(around, key, content, depth + 1)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A `google.protobuf.Value`: field 3 a text, 5 an object, 6 a list of values.
    fn content(&mut self, around: &str, key: &str, mut content: &'a [u8], depth: usize) -> Result<(), Stopped> {
        if depth > MAX_DEPTH {
            return Err(Stopped::Malformed);
        }
        while !content.is_empty() {
            match self.field(&mut content)? {
                (3, Value::Bytes(bytes)) => note(self.slot, around, key, Cow::Borrowed(text(bytes)?), self.values),
                (5, Value::Bytes(object)) => self.object(key, object, depth + 1)?,
                (6, Value::Bytes(mut list)) => {
                    while !list.is_empty() {
                        if let (1, Value::Bytes(element)) = self.field(&mut list)? {
                            self.content(around, key, element, depth + 1)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Every key and every value of one entry of a map; without a key, the empty one.
    fn entry(&mut self, mut entry: &'a [u8]) -> Result<(Vec<&'a str>, Vec<&'a [u8]>), Stopped> {
        let (mut keys, mut contents) = (Vec::with_capacity(1), Vec::with_capacity(1));
        while !entry.is_empty() {
            match self.field(&mut entry)? {
                (1, Value::Bytes(key)) => keys.push(text(key)?),
                (2, Value::Bytes(content)) => contents.push(content),
                _ => return Err(Stopped::Malformed),
            }
        }
        if keys.is_empty() {
            keys.push("");
        }
        Ok((keys, contents))
    }

    fn field(&mut self, rest: &mut &'a [u8]) -> Result<(u32, Value<'a>), Stopped> {
        *self.fields_left = self.fields_left.checked_sub(1).ok_or(Stopped::TooMany)?;
        let (number, wire_type) = tag(rest).ok_or(Stopped::Malformed)?;
        let value = value(rest, wire_type).ok_or(Stopped::Malformed)?;
        Ok((number, value))
    }
}

fn text(bytes: &[u8]) -> Result<&str, Stopped> {
    str::from_utf8(bytes).map_err(|_| Stopped::Malformed)
}

#[cfg(test)]
mod tests;
