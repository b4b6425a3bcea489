//! Looks through annotations, labels and pod specifications for keys that stand for settings, and lists maps in which
//! every key does.
//!
//! Everything that any decoder could take for such a setting is found: of keys that occur twice every value, since it is
//! only refused more. It costs time by the length of the message, however its keys and values lie.

use super::frame::MAX_DEPTH;
use super::names::quote;
use super::values::{Occurrence, Values};
use super::wire::{Value, tag, value};
use crate::catalog::{Part, Plan, SlotRole};
use crate::model::setting::{Meaning, Setting};
use std::borrow::Cow;
use std::{mem, str};

/// The most settings that are noted. Who asks for more is refused, whatever they are.
pub(super) const MOST: usize = 10_000;

/// Why a search stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It is not what its type says, or nested too deep.
    Malformed,
    /// More entries than may be read.
    TooMany,
    /// An entry with two keys or two values.
    Twice,
}

/// What a slot says of all that lies in it.
pub(super) fn meaning(plan: &Plan, slot: usize) -> Meaning {
    match plan.slots().get(slot).map(|slot| &slot.role) {
        Some(SlotRole::Setting(setting)) => Meaning::whole(*setting),
        _ => Meaning::default(),
    }
}

/// A key, understood once for all that lies under it: there can be as much of that as the key is long.
pub(super) struct Key<'k> {
    text: &'k str,
    pub(super) meaning: Meaning,
    /// Whether the key says itself which secret it is: annotations that ask the webhooks for secrets encode or only point to
    /// them, and Spark's values are where they are mounted.
    is_secret: bool,
    /// Whether that was noted.
    noted: bool,
}

impl<'k> Key<'k> {
    pub(super) fn new(around: Meaning, text: &'k str) -> Self {
        let meaning = Meaning::of(around, text);
        Self {
            text,
            meaning,
            is_secret: meaning.setting == Some(Setting::Secret) && text.contains(['/', '.']),
            noted: false,
        }
    }

    /// Notes that a key is there without a value, if that is something else than that it is not there.
    pub(super) fn note_null(&mut self, slot: usize, values: &mut Values<'_>) {
        let counts = match self.meaning.setting {
            // An annotation that is there without a value is one that `FlyteAdmin` does not write itself.
            Some(Setting::Identity) => true,
            // Not the map itself.
            Some(Setting::ClusterResource) => !self.text.is_empty(),
            _ => false,
        };
        if counts {
            self.note(slot, Cow::Borrowed(""), values);
        }
    }

    /// Notes a text under the key, if the key stands for a setting.
    pub(super) fn note<'a>(&mut self, slot: usize, text: Cow<'a, str>, values: &mut Values<'a>) {
        let Some(setting) = self.meaning.setting else {
            return;
        };
        if self.is_secret && mem::replace(&mut self.noted, true) {
            return;
        }
        values.noted += 1;
        if values.noted > MOST {
            return;
        }
        let text = if self.is_secret {
            Cow::Owned(self.text.to_owned())
        } else {
            text
        };
        // The attributes of clusters are compared by their keys.
        let key = if setting == Setting::ClusterResource {
            self.text.to_owned()
        } else {
            quote(self.text)
        };
        let mut found = Occurrence::new(slot);
        found.set(Part::Kind, Cow::Borrowed(setting.label()));
        found.set(Part::Key, Cow::Owned(key));
        found.set(Part::Value, text);
        values.occurrences.push(found);
    }
}

/// A search through one value in protobuf.
pub(super) struct Search<'w, 'a> {
    pub(super) slot: usize,
    /// What the slot says of all that lies in it.
    pub(super) meaning: Meaning,
    pub(super) values: &'w mut Values<'a>,
    pub(super) fields_left: &'w mut usize,
}

impl<'a> Search<'_, 'a> {
    /// One entry of a map of texts.
    pub(super) fn text_entry(&mut self, entry: &'a [u8]) -> Result<(), Stopped> {
        let (key, content) = self.entry(entry)?;
        let text = text(content.unwrap_or_default())?;
        Key::new(self.meaning, key).note(self.slot, Cow::Borrowed(text), self.values);
        Ok(())
    }

    /// One element of a list of texts.
    pub(super) fn element(&mut self, element: &'a [u8]) -> Result<(), Stopped> {
        Key::new(self.meaning, "").note(self.slot, Cow::Borrowed(text(element)?), self.values);
        Ok(())
    }

    /// A `google.protobuf.Struct`: field 1 is a map to values.
    pub(super) fn object(&mut self, around: Meaning, mut object: &'a [u8], depth: usize) -> Result<(), Stopped> {
        if depth > MAX_DEPTH {
            return Err(Stopped::Malformed);
        }
        while !object.is_empty() {
            if let (1, Value::Bytes(entry)) = self.field(&mut object)? {
                let (key, content) = self.entry(entry)?;
                if let Some(content) = content {
                    self.content(&mut Key::new(around, key), content, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    /// A `google.protobuf.Value`: field 3 a text, 5 an object, 6 a list of values.
    fn content(&mut self, key: &mut Key<'_>, mut content: &'a [u8], depth: usize) -> Result<(), Stopped> {
        if depth > MAX_DEPTH {
            return Err(Stopped::Malformed);
        }
        while !content.is_empty() {
            match self.field(&mut content)? {
                (3, Value::Bytes(bytes)) => key.note(self.slot, Cow::Borrowed(text(bytes)?), self.values),
                (5, Value::Bytes(object)) => self.object(key.meaning, object, depth + 1)?,
                (6, Value::Bytes(mut list)) => {
                    while !list.is_empty() {
                        if let (1, Value::Bytes(element)) = self.field(&mut list)? {
                            self.content(key, element, depth + 1)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The key of an entry of a map, without one the empty one, and the value if there is one. No encoder writes two of
    /// either, and decoders need not agree on which counts.
    fn entry(&mut self, mut entry: &'a [u8]) -> Result<(&'a str, Option<&'a [u8]>), Stopped> {
        let (mut key, mut content) = (None, None);
        while !entry.is_empty() {
            let again = match self.field(&mut entry)? {
                (1, Value::Bytes(bytes)) => key.replace(text(bytes)?).is_some(),
                (2, Value::Bytes(bytes)) => content.replace(bytes).is_some(),
                _ => return Err(Stopped::Malformed),
            };
            if again {
                return Err(Stopped::Twice);
            }
        }
        Ok((key.unwrap_or_default(), content))
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
