//! Values that are passed over, and keys: read to the end and kept free of duplicates, but not understood.

use crate::extract::names::quote;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// Whether a key's value counts: `null` is as good as no key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Absent,
    Set,
}

/// A value that is passed over: any JSON, but still with every key once.
pub(super) struct Skipped<'r>(pub(super) &'r mut Option<Denial>);

impl<'de> DeserializeSeed<'de> for Skipped<'_> {
    type Value = Presence;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Presence, D::Error> {
        // `IgnoredAny` would not look at what is in texts, nor at keys.
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skipped<'_> {
    type Value = Presence;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Presence, E> {
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

    fn visit_str<E: Error>(self, _: &str) -> Result<Presence, E> {
        Ok(Presence::Set)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Presence, A::Error> {
        while elements.next_element_seed(Skipped(&mut *self.0))?.is_some() {}
        Ok(Presence::Set)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Presence, A::Error> {
        let mut keys = Keys::default();
        while let Some(key) = map.next_key_seed(Text)? {
            if let Err(again) = keys.add(key) {
                *self.0 = Some(again);
                return Err(A::Error::custom("refused"));
            }
            map.next_value_seed(Skipped(&mut *self.0))?;
        }
        Ok(Presence::Set)
    }
}

/// The keys of one object.
#[derive(Default)]
pub(super) struct Keys<'de>(HashSet<Cow<'de, str>, ahash::RandomState>);

impl<'de> Keys<'de> {
    pub(super) fn add(&mut self, key: Cow<'de, str>) -> Result<(), Denial> {
        if !self.0.contains(&key) {
            self.0.insert(key);
            return Ok(());
        }
        let text = format!("key {} occurs twice in an object; send it once", quote(&key));
        Err(Denial::new(Reason::BodyMalformed, text))
    }
}

/// A key, borrowed from the body where it has no escapes.
pub(super) struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
