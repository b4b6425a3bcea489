//! Objects that are looked through for keys that stand for settings: annotations, labels, pod specifications.

use super::Walk;
use super::skipped::{Keys, Presence, Text};
use crate::extract::search::Key;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A value under a key.
pub(super) struct Searched<'r, 'k, 'w, 'p, 'de> {
    pub(super) walk: &'r mut Walk<'w, 'p, 'de>,
    pub(super) slot: usize,
    pub(super) key: &'r mut Key<'k>,
}

impl<'de> DeserializeSeed<'de> for Searched<'_, '_, '_, '_, 'de> {
    type Value = Presence;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Presence, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Searched<'_, '_, '_, '_, 'de> {
    type Value = Presence;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Presence, E> {
        self.key.note_null(self.slot, self.walk.values);
        Ok(Presence::Absent)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Presence, E> {
        Ok(Presence::Set)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Presence, E> {
        Ok(Presence::Set)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Presence, E> {
        Ok(Presence::Set)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Presence, E> {
        Ok(Presence::Set)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Presence, E> {
        self.key.note(self.slot, Cow::Borrowed(text), self.walk.values);
        Ok(Presence::Set)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Presence, E> {
        self.key.note(self.slot, Cow::Owned(text.to_owned()), self.walk.values);
        Ok(Presence::Set)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Presence, A::Error> {
        while elements
            .next_element_seed(Searched {
                walk: &mut *self.walk,
                slot: self.slot,
                key: &mut *self.key,
            })?
            .is_some()
        {
            self.walk.count()?;
        }
        Ok(Presence::Set)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Presence, A::Error> {
        let mut keys = Keys::default();
        while let Some(key) = map.next_key_seed(Text)? {
            self.walk.count()?;
            if let Err(denial) = keys.add(key.clone()) {
                return self.walk.refuse(denial);
            }
            map.next_value_seed(Searched {
                walk: &mut *self.walk,
                slot: self.slot,
                key: &mut Key::new(self.key.meaning, &key),
            })?;
        }
        Ok(Presence::Set)
    }
}
