//! A strict reader of the protobuf wire format (<https://protobuf.dev/programming-guides/encoding/>) that visits only
//! what the plan names. Copies nothing; the rest of a message costs its tags and lengths.

use super::WalkLimits;
use super::frame::{Frame, must_be_single};
use super::search::{self, Search, Stopped};
use super::values::Values;
use super::wire::{Value, tag, value};
use crate::catalog::{Cardinality, Field, Part, Plan, ScalarKind, Step};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// Reads an encoded message by the plan and adds what it finds to `values`.
///
/// # Errors
/// - `body_malformed`: not the wire format, a field of another type, or nested deeper than [`super::frame::MAX_DEPTH`];
/// - `field_unknown`: a message that is looked into has a field that the catalogue does not know;
/// - `scope_ambiguous`: a field that is judged, or an entry of a map that is looked through, has two values;
/// - `message_too_large`: more fields than the limit.
pub fn walk<'a>(plan: &Plan, message: &'a [u8], limits: &WalkLimits, values: &mut Values<'a>) -> Result<(), Denial> {
    if plan.states.is_empty() {
        return Ok(());
    }
    let mut walk = Walk {
        plan,
        values,
        fields_left: limits.max_fields,
    };
    walk.message(Plan::START, None, message)
}

struct Walk<'w, 'p, 'a> {
    plan: &'p Plan,
    values: &'w mut Values<'a>,
    fields_left: usize,
}

impl<'p, 'a> Walk<'_, 'p, 'a> {
    fn message(&mut self, state: usize, outer: Option<&Frame<'p, '_>>, bytes: &'a [u8]) -> Result<(), Denial> {
        let mut frame = Frame::enter(self.plan, state, outer, self.values)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            self.fields_left = self.fields_left.checked_sub(1).ok_or_else(too_many_fields)?;
            let (number, wire_type) = tag(&mut rest).ok_or_else(|| malformed(&frame))?;
            let (index, field) = frame.by_number(number)?;
            let value = value(&mut rest, wire_type).ok_or_else(|| malformed(&frame))?;
            if !fits(&value, field) {
                return Err(frame.mistyped(field));
            }
            let again = frame.note(index)?;
            if again && must_be_single(field) {
                return Err(frame.ambiguous(field));
            }
            if let Some(rival) = frame.rival(index, field)
                && (field.step != Step::Skip || rival.step != Step::Skip)
            {
                return Err(frame.rivals(field, rival));
            }
            match (&field.step, value) {
                (Step::Skip, _) => {}
                (Step::Descend(inner), Value::Bytes(bytes)) => {
                    let content = match field.cardinality {
                        Cardinality::Map => map_value(bytes).map_err(|fault| fault.denial(&frame, field))?,
                        Cardinality::Single | Cardinality::Repeated => bytes,
                    };
                    self.message(*inner, Some(&frame), content)?;
                }
                (Step::Search(slot), Value::Bytes(bytes)) => self.search(&frame, field, *slot, bytes)?,
                (Step::Descend(_) | Step::Search(_), _) => return Err(Reason::Internal.into()),
                (Step::Keep(parts), value) => self.keep(&frame, field, parts, value)?,
            }
        }
        Ok(())
    }

    /// Looks through an entry of a map of texts, an element of a list of them, or a `google.protobuf.Struct`.
    fn search(&mut self, frame: &Frame<'p, '_>, field: &Field, slot: usize, bytes: &'a [u8]) -> Result<(), Denial> {
        let mut search = Search {
            slot,
            meaning: search::meaning(self.plan, slot),
            values: &mut *self.values,
            fields_left: &mut self.fields_left,
        };
        let outcome = match field.cardinality {
            Cardinality::Map => search.text_entry(bytes),
            Cardinality::Repeated => search.element(bytes),
            Cardinality::Single => search.object(search.meaning, bytes, 1),
        };
        outcome.map_err(|stopped| match stopped {
            Stopped::Malformed => frame.mistyped(field),
            Stopped::TooMany => too_many_fields(),
            Stopped::Twice => frame.ambiguous(field),
        })
    }

    fn keep(
        &mut self,
        frame: &Frame<'p, '_>,
        field: &Field,
        parts: &[(usize, Part)],
        value: Value<'a>,
    ) -> Result<(), Denial> {
        let text = match (&field.kind, value) {
            (ScalarKind::String, Value::Bytes(bytes)) => {
                Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| frame.mistyped(field))?)
            }
            // An enum is an int32, sign-extended; decoders differ on what to do with higher bits.
            (ScalarKind::Enum(_), Value::Varint(number)) => {
                let number = i32::try_from(number.cast_signed()).map_err(|_| frame.mistyped(field))?;
                Cow::Owned(number.to_string())
            }
            // The catalogue compiler keeps no fields of other types.
            _ => return Err(Reason::Internal.into()),
        };
        frame.keep(field, parts, text, self.values)
    }
}

/// Whether a field may have this wire type; repeated numbers come packed or one by one.
fn fits(value: &Value<'_>, field: &Field) -> bool {
    match (&field.kind, value) {
        (ScalarKind::String | ScalarKind::Bytes | ScalarKind::Message, Value::Bytes(_))
        | (ScalarKind::Bool | ScalarKind::Varint | ScalarKind::Enum(_), Value::Varint(_))
        | (ScalarKind::Fixed32, Value::Fixed32)
        | (ScalarKind::Fixed64, Value::Fixed64) => true,
        (_, Value::Bytes(_)) => field.cardinality == Cardinality::Repeated,
        _ => false,
    }
}

/// What is wrong with an entry of a map field.
enum EntryFault {
    Malformed,
    Twice,
}

impl EntryFault {
    fn denial(&self, frame: &Frame<'_, '_>, field: &Field) -> Denial {
        match self {
            Self::Malformed => frame.mistyped(field),
            Self::Twice => frame.ambiguous(field),
        }
    }
}

/// The value of an entry of a map field, itself a message: key 1, value 2
/// (<https://protobuf.dev/programming-guides/encoding/#maps>). A missing value is an empty message.
fn map_value(mut entry: &[u8]) -> Result<&[u8], EntryFault> {
    let (mut key, mut content) = (None, None);
    while !entry.is_empty() {
        let (number, wire_type) = tag(&mut entry).ok_or(EntryFault::Malformed)?;
        let found = value(&mut entry, wire_type).ok_or(EntryFault::Malformed)?;
        let again = match (number, found) {
            (1, _) => key.replace(()).is_some(),
            (2, Value::Bytes(bytes)) => content.replace(bytes).is_some(),
            _ => return Err(EntryFault::Malformed),
        };
        if again {
            return Err(EntryFault::Twice);
        }
    }
    Ok(content.unwrap_or_default())
}

fn malformed(frame: &Frame<'_, '_>) -> Denial {
    let message = &frame.state().message;
    let text = format!("the body is not a well-formed `{message}`: it breaks the protobuf wire format");
    Denial::new(Reason::BodyMalformed, text)
}

/// The refusal of a message with more fields than the limit.
pub(in crate::extract) fn too_many_fields() -> Denial {
    // Clients look for "larger than max" in the text of this status.
    let text = "the message has more fields than are read: message larger than max; send a smaller one";
    Denial::new(Reason::MessageTooLarge, text)
}
