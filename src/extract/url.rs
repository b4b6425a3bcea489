//! Reads path segments and query keys by a REST binding, as strictly as the body: each value is decoded once, is of the
//! field's type, and never disagrees with another place that sets the same field.

use super::names::quote;
use super::values::{Occurrence, Values};
use crate::catalog::{Binding, Part, QueryKey, ScalarKind, Variable};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use percent_encoding::percent_decode;
use std::borrow::Cow;
use std::iter::repeat_n;

#[cfg(test)]
mod tests;

/// Adds what the path segments and the query set to `values`, which hold what the body sets.
///
/// `segments` are the raw texts of the binding's variables, in order; `query` is the raw query without `?`.
///
/// # Errors
/// - `path_not_canonical`: a segment has more than one reading or none;
/// - `field_invalid`: a segment is not of its field's type;
/// - `query_refused`: a key that the binding does not list, a key that occurs twice, or a value not of its type;
/// - `scope_ambiguous`: path, query and body disagree on a field that is judged.
pub fn apply<'a>(
    binding: &Binding,
    segments: &[&'a str],
    query: Option<&'a str>,
    values: &mut Values<'a>,
) -> Result<(), Denial> {
    if segments.len() != binding.variables.len() {
        return Err(Reason::Internal.into());
    }
    for (variable, segment) in binding.variables.iter().zip(segments) {
        path_variable(variable, segment, values)?;
    }
    // An empty query names no key.
    match query {
        None | Some("") => Ok(()),
        Some(query) => query_keys(binding, query, values),
    }
}

fn path_variable<'a>(variable: &Variable, segment: &'a str, values: &mut Values<'a>) -> Result<(), Denial> {
    let field = &variable.field;
    let text = decode(segment).filter(|text| is_one_segment(text)).ok_or_else(|| {
        let text = format!(
            "the path segment for `{field}` is {}, which has more than one reading; write a plain name",
            quote(segment)
        );
        Denial::new(Reason::PathNotCanonical, text)
    })?;
    let value = typed(&variable.kind, text).map_err(|wanted| {
        let text = format!("the path segment for `{field}` is {}; write {wanted}", quote(segment));
        Denial::new(Reason::FieldInvalid, text)
    })?;
    set(&variable.sets, field, value, values)
}

/// Whether a decoded segment is still one: nothing in it separates, climbs, hides or has to be decoded again.
fn is_one_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(|c: char| c.is_control() || matches!(c, '/' | '\\' | '%'))
}

fn query_keys<'a>(binding: &Binding, query: &'a str, values: &mut Values<'a>) -> Result<(), Denial> {
    // FlyteAdmin's gateway refuses `;`, others take it for `&`.
    if query.contains(';') {
        return Err(refused("the query contains `;`; separate keys by `&`, or write `%3B`"));
    }
    let mut seen: Vec<&str> = Vec::new();
    for pair in query.split('&') {
        let (raw_key, raw_value) = pair.split_once('=').ok_or_else(|| {
            refused(format!(
                "the query has {} without a value; write `key=value`",
                quote(pair)
            ))
        })?;
        let key = form_decode(raw_key)
            .and_then(|name| {
                binding
                    .query
                    .iter()
                    .find(|key| *key.field == *name || *key.json == *name)
            })
            .ok_or_else(|| unknown_key(binding, raw_key))?;
        if !key.repeated {
            if seen.contains(&&*key.field) {
                return Err(refused(format!("query key `{}` occurs twice; send it once", key.field)));
            }
            seen.push(&key.field);
        }
        query_value(key, raw_value, values)?;
    }
    Ok(())
}

fn query_value<'a>(key: &QueryKey, raw: &'a str, values: &mut Values<'a>) -> Result<(), Denial> {
    let field = &key.field;
    let text = form_decode(raw)
        .filter(|text| !text.contains(char::is_control))
        .ok_or_else(|| refused(format!("query key `{field}` has a value that is no text in UTF-8")))?;
    let value = typed(&key.kind, text)
        .map_err(|wanted| refused(format!("query key `{field}` is {}; write {wanted}", quote(raw))))?;
    set(&key.sets, field, value, values)
}

fn unknown_key(binding: &Binding, key: &str) -> Denial {
    let known: Vec<String> = binding.query.iter().map(|key| format!("`{}`", key.field)).collect();
    let advice = if known.is_empty() {
        "this route takes none".to_owned()
    } else {
        format!("this route takes {}", known.join(", "))
    };
    refused(format!("query key {} is not accepted; {advice}", quote(key)))
}

fn refused(text: impl Into<Cow<'static, str>>) -> Denial {
    Denial::new(Reason::QueryRefused, text)
}

/// Sets the parts a path segment or query key stands for, beginning the occurrence where the body has none.
fn set<'a>(sets: &[(usize, Part)], field: &str, value: Cow<'a, str>, values: &mut Values<'a>) -> Result<(), Denial> {
    for ((slot, part), value) in sets.iter().zip(repeat_n(value, sets.len())) {
        let mut places = values.occurrences.iter_mut().filter(|place| place.slot == *slot);
        let before = match (places.next(), places.next()) {
            (Some(place), None) => place.set(*part, value.clone()),
            (None, _) => {
                let mut place = Occurrence::new(*slot);
                place.set(*part, value.clone());
                values.occurrences.push(place);
                None
            }
            (Some(_), Some(_)) => return Err(disagreement(field)),
        };
        // An absent enum is its default, 0.
        let absent = |text: &str| text.is_empty() || *part == Part::Kind && text == "0";
        if before.is_some_and(|before| !absent(&before) && before != value) {
            return Err(disagreement(field));
        }
    }
    Ok(())
}

fn disagreement(field: &str) -> Denial {
    let text = format!("path, query and body disagree on field `{field}`; send one value");
    Denial::new(Reason::ScopeAmbiguous, text)
}

/// Checks a text against a field's type. Enums become their number. The error says what to write.
fn typed<'a>(kind: &ScalarKind, text: Cow<'a, str>) -> Result<Cow<'a, str>, String> {
    match kind {
        ScalarKind::String => Ok(text),
        ScalarKind::Bool if matches!(&*text, "true" | "false") => Ok(text),
        ScalarKind::Bool => Err("`true` or `false`".to_owned()),
        ScalarKind::Varint if is_integer(&text) => Ok(text),
        ScalarKind::Varint => Err("an integer in decimal digits".to_owned()),
        ScalarKind::Enum(shape) => {
            let mut known = shape.values.iter();
            known
                .find(|(name, number)| **name == *text || is_integer(&text) && number.to_string() == text)
                .map(|(_, number)| Cow::Owned(number.to_string()))
                .ok_or_else(|| format!("a name or number of the enum `{}`", shape.name))
        }
        // Durations and times, which have a text form, are texts to the catalogue.
        ScalarKind::Bytes | ScalarKind::Fixed32 | ScalarKind::Fixed64 | ScalarKind::Message => {
            Err("nothing: this field cannot be set in a URL".to_owned())
        }
    }
}

/// Digits only: `0x10` and `010` are 16 and 8 to the gateway.
fn is_integer(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u64>().is_ok()
        && (text == "0" || !text.starts_with('0'))
}

/// Decodes a form-encoded text (<https://url.spec.whatwg.org/#concept-urlencoded-parser>): `+` is a space.
pub(crate) fn form_decode(raw: &str) -> Option<Cow<'_, str>> {
    if raw.contains('+') {
        let spaced = raw.replace('+', " ");
        return decode(&spaced).map(|text| Cow::Owned(text.into_owned()));
    }
    decode(raw)
}

/// Decodes percent signs once. None for a percent sign without two digits, and for what is no UTF-8.
fn decode(raw: &str) -> Option<Cow<'_, str>> {
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' && !(is_hex(bytes.next()) && is_hex(bytes.next())) {
            return None;
        }
    }
    percent_decode(raw.as_bytes()).decode_utf8().ok()
}

fn is_hex(byte: Option<u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_hexdigit())
}
