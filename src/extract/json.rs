//! A strict reader of protojson (<https://protobuf.dev/programming-guides/json/>) that follows the plan.
//!
//! `serde_json` does the parsing: UTF-8, surrogates, numbers, depth. What is added here: no key twice, at any depth and
//! in either spelling; no unknown key where the plan looks; types as the message says.

use super::WalkLimits;
use super::frame::Frame;
use super::protobuf::too_many_fields;
use super::search::{self, Key};
use super::values::Values;
use crate::catalog::{Cardinality, Field, Plan, ScalarKind, Step};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use searched::Searched;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use skipped::{Keys, Presence, Skipped, Text};
use std::borrow::Cow;
use std::fmt;

mod searched;
mod skipped;

#[cfg(test)]
mod tests;

/// Reads a message in JSON by the plan and adds what it finds to `values`. An empty body is an empty message.
///
/// # Errors
/// As [`super::protobuf::walk`]; `body_malformed` also for a key that occurs twice and for anything after the value.
pub fn walk<'a>(plan: &Plan, body: &'a [u8], limits: &WalkLimits, values: &mut Values<'a>) -> Result<(), Denial> {
    if plan.states.is_empty() {
        return Ok(());
    }
    if body.is_empty() {
        return Frame::enter(plan, Plan::START, None, values).map(|_| ());
    }
    let mut walk = Walk {
        plan,
        values,
        fields_left: limits.max_fields,
        denial: None,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let message = Message {
        walk: &mut walk,
        state: Plan::START,
        outer: None,
    };
    let outcome = message.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    outcome.map_err(|error| walk.denial.take().unwrap_or_else(|| malformed(plan, &error)))
}

struct Walk<'w, 'p, 'de> {
    plan: &'p Plan,
    values: &'w mut Values<'de>,
    fields_left: usize,
    /// Why the walk stopped, where that is more than a syntax error.
    denial: Option<Denial>,
}

impl Walk<'_, '_, '_> {
    /// Records the refusal and stops the parser.
    fn refuse<T, E: Error>(&mut self, denial: impl Into<Denial>) -> Result<T, E> {
        self.denial = Some(denial.into());
        Err(E::custom("refused"))
    }

    fn count<E: Error>(&mut self) -> Result<(), E> {
        match self.fields_left.checked_sub(1) {
            Some(left) => {
                self.fields_left = left;
                Ok(())
            }
            None => self.refuse(too_many_fields()),
        }
    }
}

/// A message that is looked into.
struct Message<'r, 'w, 'p, 'f, 'de> {
    walk: &'r mut Walk<'w, 'p, 'de>,
    state: usize,
    outer: Option<&'f Frame<'p, 'f>>,
}

impl<'de> DeserializeSeed<'de> for Message<'_, '_, '_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Message<'_, '_, '_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let walk = self.walk;
        let mut frame = match Frame::enter(walk.plan, self.state, self.outer, walk.values) {
            Ok(frame) => frame,
            Err(denial) => return walk.refuse(denial),
        };
        // Fields of a oneof whose value was not null.
        let mut chosen: Vec<(u8, &Field)> = Vec::new();
        while let Some(key) = map.next_key_seed(Text)? {
            walk.count()?;
            let (index, field) = match frame.by_name(&key) {
                Ok(found) => found,
                Err(denial) => return walk.refuse(denial),
            };
            match frame.note(index) {
                Ok(false) => {}
                Ok(true) => return walk.refuse(frame.ambiguous(field)),
                Err(denial) => return walk.refuse(denial),
            }
            let presence = map.next_value_seed(Content {
                walk: &mut *walk,
                frame: &frame,
                field,
                element: false,
            })?;
            if let (Presence::Set, Some(oneof)) = (presence, field.oneof) {
                if let Some((_, rival)) = chosen.iter().find(|(other, _)| *other == oneof) {
                    return walk.refuse(frame.rivals(field, rival));
                }
                chosen.push((oneof, field));
            }
        }
        Ok(())
    }
}

/// The value of a field, or one element of a repeated one.
struct Content<'r, 'w, 'p, 'f, 'de> {
    walk: &'r mut Walk<'w, 'p, 'de>,
    frame: &'f Frame<'p, 'f>,
    field: &'p Field,
    element: bool,
}

impl<'de> Content<'_, '_, '_, '_, 'de> {
    fn keep<E: Error>(self, value: Option<Cow<'de, str>>) -> Result<Presence, E> {
        let (Step::Keep(parts), Some(value)) = (&self.field.step, value) else {
            return self.mistyped();
        };
        if (self.field.cardinality == Cardinality::Repeated) != self.element {
            return self.mistyped();
        }
        match self.frame.keep(self.field, parts, value, self.walk.values) {
            Ok(()) => Ok(Presence::Set),
            Err(denial) => self.walk.refuse(denial),
        }
    }

    fn keep_text<E: Error>(self, text: Cow<'de, str>) -> Result<Presence, E> {
        let value = match &self.field.kind {
            ScalarKind::String => Some(text),
            ScalarKind::Enum(shape) => shape
                .values
                .iter()
                .find(|(name, _)| **name == *text)
                .map(|(_, number)| Cow::Owned(number.to_string())),
            // The catalogue compiler keeps no fields of other types.
            _ => None,
        };
        self.keep(value)
    }

    fn keep_number<E: Error>(self, number: Option<i64>) -> Result<Presence, E> {
        let value = match &self.field.kind {
            ScalarKind::Enum(_) => number.filter(|number| i32::try_from(*number).is_ok()),
            _ => None,
        };
        self.keep(value.map(|number| Cow::Owned(number.to_string())))
    }

    fn mistyped<T, E: Error>(self) -> Result<T, E> {
        self.walk.refuse(self.frame.mistyped(self.field))
    }

    /// Reads a map field: the plan leads into the values.
    fn entries<A: MapAccess<'de>>(self, state: usize, mut map: A) -> Result<Presence, A::Error> {
        let mut keys = Keys::default();
        while let Some(key) = map.next_key_seed(Text)? {
            if let Err(denial) = keys.add(key) {
                return self.walk.refuse(denial);
            }
            self.walk.count()?;
            map.next_value_seed(Message {
                walk: &mut *self.walk,
                state,
                outer: Some(self.frame),
            })?;
        }
        Ok(Presence::Set)
    }
}

impl<'de> DeserializeSeed<'de> for Content<'_, '_, '_, '_, 'de> {
    type Value = Presence;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Presence, D::Error> {
        match self.field.step {
            Step::Skip => Skipped(&mut self.walk.denial).deserialize(deserializer),
            Step::Search(slot) => Searched {
                slot,
                key: &mut Key::new(search::meaning(self.walk.plan, slot), ""),
                walk: self.walk,
            }
            .deserialize(deserializer),
            Step::Descend(_) | Step::Keep(_) => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Content<'_, '_, '_, '_, 'de> {
    type Value = Presence;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of the field's type")
    }

    fn visit_unit<E: Error>(self) -> Result<Presence, E> {
        if self.element {
            self.mistyped()
        } else {
            Ok(Presence::Absent)
        }
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Presence, E> {
        self.mistyped()
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Presence, E> {
        self.keep_number(Some(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Presence, E> {
        self.keep_number(i64::try_from(number).ok())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Presence, E> {
        self.mistyped()
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Presence, E> {
        self.keep_text(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Presence, E> {
        self.keep_text(Cow::Owned(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Presence, A::Error> {
        if self.element || self.field.cardinality != Cardinality::Repeated {
            return self.mistyped();
        }
        let mut presence = Presence::Absent;
        while let Some(one) = elements.next_element_seed(Content {
            walk: &mut *self.walk,
            frame: self.frame,
            field: self.field,
            element: true,
        })? {
            self.walk.count()?;
            presence = one;
        }
        Ok(presence)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Presence, A::Error> {
        let single = (self.field.cardinality == Cardinality::Repeated) == self.element;
        match (&self.field.step, self.field.cardinality) {
            (Step::Descend(entry), Cardinality::Map) => self.entries(*entry, map),
            (Step::Descend(state), _) if single => Message {
                state: *state,
                outer: Some(self.frame),
                walk: self.walk,
            }
            .visit_map(map)
            .map(|()| Presence::Set),
            _ => self.mistyped(),
        }
    }
}

fn malformed(plan: &Plan, error: &serde_json::Error) -> Denial {
    let message = plan.states.get(Plan::START).map_or("", |state| &state.message);
    let (line, column) = (error.line(), error.column());
    let text = format!("the body is not a `{message}` in JSON: not well-formed at line {line}, column {column}");
    Denial::new(Reason::BodyMalformed, text)
}
