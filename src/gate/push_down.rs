//! Asks the control plane for only those items that will be shown, in its own filter language, so that pages are full
//! and their tokens exact. Happens once, after the permit, to the request as it was judged, and adds one filter to it:
//! `FlyteAdmin` joins filters by AND, so that it can only narrow. The answer is filtered all the same; where a request
//! cannot be narrowed, that alone has to do.

use super::body::{Codec, JudgedBody};
use super::filter::Filter;
use crate::catalog::answer::Narrow;
use crate::extract::url::form_decode;
use crate::extract::wire::{self, Value};
use crate::protocol::{Protocol, RequestHead};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::str;

/// The most names that are asked for, and the longest filter in bytes: more makes a slow query of a short answer.
const MAX_NAMES: usize = 200;
const MAX_FILTER: usize = 4 << 10;
/// Asked for where nothing will be shown: an empty list is a syntax error to `FlyteAdmin`. No project can have this name,
/// and what else has it is left out of the answer.
const NO_NAME: &str = "-";

/// A request as it goes upstream.
#[derive(Debug)]
pub(super) struct Narrowed {
    pub(super) body: JudgedBody,
    /// The query instead of the caller's own.
    pub(super) query: Option<String>,
}

/// Narrows a judged request to what the filter will show, if that can be said.
pub(super) fn narrow(filter: Option<&Filter<'_>>, head: &RequestHead, body: JudgedBody) -> Narrowed {
    let expression = filter.and_then(|filter| {
        let narrow = filter.items.narrow.as_ref()?;
        Some((narrow, expression(narrow, &filter.names(MAX_NAMES)?)?))
    });
    let Some((narrow, expression)) = expression else {
        return Narrowed { body, query: None };
    };
    if head.protocol() == Protocol::Grpc {
        return Narrowed {
            body: match in_message(narrow, &expression, body.message()) {
                Some(message) => body.with_message(message, Protocol::Grpc),
                None => body,
            },
            query: None,
        };
    }
    let query = (body.codec() == Codec::Empty).then(|| in_query(narrow, &expression, head.query().unwrap_or("")));
    Narrowed {
        body,
        query: query.flatten(),
    }
}

/// `value_in(COLUMN,NAME;NAME)`; none for a name that the filter language could take for more than a name.
fn expression(narrow: &Narrow, names: &[Box<str>]) -> Option<String> {
    let plain = |name: &str| {
        let byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        !name.is_empty() && name.bytes().all(byte)
    };
    if !names.iter().all(|name| plain(name)) {
        return None;
    }
    let names = if names.is_empty() {
        NO_NAME.to_owned()
    } else {
        names.join(";")
    };
    Some(format!("value_in({},{names})", narrow.column))
}

/// The caller's filters and this one; `FlyteAdmin` splits at every `+`, whatever surrounds it.
fn joined(narrow: &Narrow, own: &str, expression: &str) -> Option<String> {
    let filters = match (own, &narrow.default) {
        ("", None) => expression.to_owned(),
        ("", Some(default)) => format!("{expression}+{default}"),
        (own, _) => format!("{own}+{expression}"),
    };
    (filters.len() <= MAX_FILTER).then_some(filters)
}

/// The message with the filter behind everything else: the last value of a field counts.
fn in_message(narrow: &Narrow, expression: &str, message: &[u8]) -> Option<Vec<u8>> {
    let mut own = "";
    let mut rest = message;
    while !rest.is_empty() {
        let (number, wire_type) = wire::tag(&mut rest)?;
        match wire::value(&mut rest, wire_type)? {
            Value::Bytes(text) if number == narrow.number => own = str::from_utf8(text).ok()?,
            _ if number == narrow.number => return None,
            _ => {}
        }
    }
    let mut narrowed = message.to_vec();
    wire::put_text(narrow.number, &joined(narrow, own, expression)?, &mut narrowed);
    Some(narrowed)
}

/// The query with the filter in place of the caller's own filters; the other keys stay as they are.
fn in_query(narrow: &Narrow, expression: &str, query: &str) -> Option<String> {
    let mut own = String::new();
    let mut pairs: Vec<&str> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=')?;
        if *form_decode(key)? == *narrow.key {
            own = form_decode(value)?.into_owned();
        } else {
            pairs.push(pair);
        }
    }
    let filters = joined(narrow, &own, expression)?;
    let filters = format!("{}={}", narrow.key, utf8_percent_encode(&filters, NON_ALPHANUMERIC));
    pairs.push(&filters);
    Some(pairs.join("&"))
}

#[cfg(test)]
mod tests;
