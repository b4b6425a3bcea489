//! Where a walker is: the message it reads, the messages around it, and the rules on fields common to all encodings.

use super::values::{Occurrence, Values};
use crate::catalog::{Cardinality, Field, Part, Plan, ScalarKind, State, Step};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use std::borrow::Cow;
use std::iter::repeat_n;

/// The deepest nesting of messages that is read: what the strictest common decoder accepts.
pub const MAX_DEPTH: usize = 100;

/// One message being read. Lives on the walker's stack, linked to the message around it.
#[derive(Debug)]
pub(in crate::extract) struct Frame<'p, 'f> {
    state: &'p State,
    outer: Option<&'f Frame<'p, 'f>>,
    /// The occurrences this message opened begin here, one for each of `state.opens`.
    first: usize,
    depth: usize,
    /// The fields met so far, a bit for each index in `state.fields`.
    seen: u128,
}

impl<'p, 'f> Frame<'p, 'f> {
    /// Begins a message, and an occurrence of every slot it opens.
    pub(in crate::extract) fn enter(
        plan: &'p Plan,
        state: usize,
        outer: Option<&'f Frame<'p, 'f>>,
        values: &mut Values<'_>,
    ) -> Result<Self, Denial> {
        let state = plan.states.get(state).ok_or(Reason::Internal)?;
        let depth = outer.map_or(1, |outer| outer.depth + 1);
        if depth > MAX_DEPTH {
            let text = format!("messages are nested deeper than {MAX_DEPTH} in `{}`", state.message);
            return Err(Denial::new(Reason::BodyMalformed, text));
        }
        let first = values.occurrences.len();
        values
            .occurrences
            .extend(state.opens.iter().map(|slot| Occurrence::new(*slot)));
        Ok(Self {
            state,
            outer,
            first,
            depth,
            seen: 0,
        })
    }

    /// The message type.
    pub(in crate::extract) fn state(&self) -> &'p State {
        self.state
    }

    /// A field by its number, with its index.
    pub(in crate::extract) fn by_number(&self, number: u32) -> Result<(usize, &'p Field), Denial> {
        let fields = &self.state.fields;
        // Most messages number their fields from 1 without gaps.
        let guess = (number as usize).wrapping_sub(1);
        if let Some(field) = fields.get(guess).filter(|field| field.number == number) {
            return Ok((guess, field));
        }
        fields
            .binary_search_by_key(&number, |field| field.number)
            .ok()
            .and_then(|index| Some((index, fields.get(index)?)))
            .ok_or_else(|| self.unknown(&format_args!("field number {number}")))
    }

    /// A field by its proto or JSON name, with its index.
    pub(in crate::extract) fn by_name(&self, name: &str) -> Result<(usize, &'p Field), Denial> {
        self.state
            .fields
            .iter()
            .enumerate()
            .find(|(_, field)| *field.name == *name || *field.json == *name)
            .ok_or_else(|| self.unknown(&format_args!("field {}", super::names::quote(name))))
    }

    fn unknown(&self, what: &dyn std::fmt::Display) -> Denial {
        let message = &self.state.message;
        let text = format!("`{message}` has no {what} in this catalogue; add it there if the control plane knows it");
        Denial::new(Reason::FieldUnknown, text)
    }

    /// Notes that a field was met. Returns whether it was met before.
    pub(in crate::extract) fn note(&mut self, index: usize) -> Result<bool, Denial> {
        let bit = bit(index).ok_or(Reason::Internal)?;
        let again = self.seen & bit != 0;
        self.seen |= bit;
        Ok(again)
    }

    /// Another member of the field's oneof that was met before.
    pub(in crate::extract) fn rival(&self, index: usize, field: &Field) -> Option<&'p Field> {
        field.oneof?;
        let others = self.state.fields.iter().enumerate();
        others
            .filter(|(other, _)| *other != index && bit(*other).is_some_and(|bit| self.seen & bit != 0))
            .map(|(_, other)| other)
            .find(|other| other.oneof == field.oneof)
    }

    /// Sets the parts that a kept field stands for, each in the innermost occurrence of its slot.
    pub(in crate::extract) fn keep<'a>(
        &self,
        field: &Field,
        parts: &[(usize, Part)],
        value: Cow<'a, str>,
        values: &mut Values<'a>,
    ) -> Result<(), Denial> {
        for ((slot, part), value) in parts.iter().zip(repeat_n(value, parts.len())) {
            let occurrence = self
                .occurrence(*slot)
                .and_then(|index| values.occurrences.get_mut(index));
            let before = occurrence.ok_or(Reason::Internal)?.set(*part, value);
            if before.is_some() {
                return Err(self.ambiguous(field));
            }
        }
        Ok(())
    }

    fn occurrence(&self, slot: usize) -> Option<usize> {
        match self.state.opens.iter().position(|open| *open == slot) {
            Some(position) => Some(self.first + position),
            None => self.outer?.occurrence(slot),
        }
    }

    /// The refusal of a second value for a field.
    pub(in crate::extract) fn ambiguous(&self, field: &Field) -> Denial {
        let text = format!(
            "field `{}` of `{}` is set twice; send it once",
            field.name, self.state.message
        );
        Denial::new(Reason::ScopeAmbiguous, text)
    }

    /// The refusal of two members of a oneof.
    pub(in crate::extract) fn rivals(&self, one: &Field, other: &Field) -> Denial {
        let message = &self.state.message;
        let text = format!(
            "fields `{}` and `{}` of `{message}` exclude each other; send one of them",
            other.name, one.name
        );
        Denial::new(Reason::ScopeAmbiguous, text)
    }

    /// The refusal of a value of another type than the field's.
    pub(in crate::extract) fn mistyped(&self, field: &Field) -> Denial {
        let message = &self.state.message;
        let expected = expected(field);
        let text = format!(
            "field `{}` of `{message}` has another type; it takes {expected}",
            field.name
        );
        Denial::new(Reason::BodyMalformed, text)
    }
}

/// The bit of a field in [`Frame::seen`]; none beyond the 128th, which no message of Flyte comes near.
fn bit(index: usize) -> Option<u128> {
    1_u128.checked_shl(u32::try_from(index).ok()?)
}

/// Whether a second value changes what is judged.
pub(in crate::extract) fn must_be_single(field: &Field) -> bool {
    field.cardinality == Cardinality::Single && field.step != Step::Skip
}

fn expected(field: &Field) -> String {
    let one = match &field.kind {
        ScalarKind::String => "a text in UTF-8",
        ScalarKind::Bytes => "bytes",
        ScalarKind::Bool => "true or false",
        ScalarKind::Varint => "an integer",
        ScalarKind::Fixed32 | ScalarKind::Fixed64 => "a number",
        ScalarKind::Enum(shape) => return format!("a value of the enum `{}`", shape.name),
        ScalarKind::Message => "a message",
    };
    match field.cardinality {
        Cardinality::Single => one.to_owned(),
        Cardinality::Repeated => format!("a list, each {one}"),
        Cardinality::Map => "a map".to_owned(),
    }
}
