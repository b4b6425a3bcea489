//! Asks the control plane for only those items that will be shown, in its own filter language, so that pages are full
//! and their tokens exact. Happens once, after the permit, to the request as it was judged, and adds one filter to it:
//! `FlyteAdmin` joins filters by AND, so that it can only narrow. The answer is filtered all the same; where a request
//! cannot be narrowed, that alone has to do. Where whoever pages through the list must not learn of what is left out, it
//! is then asked for whole, and parted into pages after it was filtered.

use super::body::{Codec, JudgedBody};
use super::filter::Filter;
use crate::catalog::answer::{Label, Narrow, Whole};
use crate::extract::url::form_decode;
use crate::extract::wire::{self, Value};
use crate::filter::page::Page;
use crate::protocol::{Protocol, RequestHead};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::str;

/// The most names that are asked for, and the longest filter for them in bytes: more makes a slow query of a short answer.
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

/// Narrows a judged request to what the filter will show, if that can be said. If not, the request may be made to ask for
/// the whole list, of which the answer is to show the page that is returned too.
pub(super) fn narrow<'f>(
    filter: Option<&Filter<'f>>,
    head: &RequestHead,
    body: JudgedBody,
) -> (Narrowed, Option<Page<'f>>) {
    let Some(ask) = filter.and_then(Ask::of) else {
        return (Narrowed { body, query: None }, None);
    };
    if head.protocol() == Protocol::Grpc {
        let Some((message, page)) = ask.in_message(body.message()) else {
            return (Narrowed { body, query: None }, ask.first_page());
        };
        let body = body.with_message(message, Protocol::Grpc);
        return (Narrowed { body, query: None }, page);
    }
    let query = (body.codec() == Codec::Empty).then(|| ask.in_query(head.query().unwrap_or("")));
    match query.flatten() {
        Some((query, page)) => {
            let query = Some(query);
            (Narrowed { body, query }, page)
        }
        None => (Narrowed { body, query: None }, ask.first_page()),
    }
}

/// What the control plane is asked for in place of what the caller asked for.
enum Ask<'f> {
    /// Only what passes one more filter.
    Only(&'f Narrow, String),
    /// Everything, in one page.
    Whole(&'f Whole),
}

impl<'f> Ask<'f> {
    fn of(filter: &Filter<'f>) -> Option<Self> {
        let narrow = filter.items.narrow.as_ref()?;
        let names = filter.names(MAX_NAMES);
        match (names.and_then(|names| expression(narrow, &names)), &narrow.whole) {
            (Some(expression), _) => Some(Self::Only(narrow, expression)),
            (None, Some(whole)) if !filter.shows_all() => Some(Self::Whole(whole)),
            (None, _) => None,
        }
    }

    /// The page shown if the request could not be changed: all that came, without a token.
    fn first_page(&self) -> Option<Page<'f>> {
        match self {
            Self::Only(..) => None,
            Self::Whole(whole) => Some(Page::first(&whole.next)),
        }
    }

    fn in_message(&self, message: &[u8]) -> Option<(Vec<u8>, Option<Page<'f>>)> {
        match self {
            Self::Only(narrow, expression) => Some((in_message(narrow, expression, message)?, None)),
            Self::Whole(whole) => whole_in_message(whole, message).map(|(message, page)| (message, Some(page))),
        }
    }

    fn in_query(&self, query: &str) -> Option<(String, Option<Page<'f>>)> {
        match self {
            Self::Only(narrow, expression) => Some((in_query(narrow, expression, query)?, None)),
            Self::Whole(whole) => whole_in_query(whole, query).map(|(query, page)| (query, Some(page))),
        }
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
    let expression = format!("value_in({},{names})", narrow.column);
    (expression.len() <= MAX_FILTER).then_some(expression)
}

/// The caller's filters, however long, and this one; `FlyteAdmin` splits at every `+`, whatever surrounds it.
fn joined(narrow: &Narrow, own: &str, expression: &str) -> String {
    match (own, &narrow.default) {
        ("", None) => expression.to_owned(),
        ("", Some(default)) => format!("{expression}+{default}"),
        (own, _) => format!("{own}+{expression}"),
    }
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
    wire::put_text(narrow.number, &joined(narrow, own, expression), &mut narrowed);
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
    let filters = joined(narrow, &own, expression);
    let filters = format!("{}={}", narrow.key, utf8_percent_encode(&filters, NON_ALPHANUMERIC));
    pairs.push(&filters);
    Some(pairs.join("&"))
}

/// The message without a limit and token, behind everything else. What is no number of items stays, to be refused.
fn whole_in_message<'f>(whole: &'f Whole, message: &[u8]) -> Option<(Vec<u8>, Page<'f>)> {
    let mut page = Page::first(&whole.next);
    let mut token = "";
    let mut rest = message;
    while !rest.is_empty() {
        let (number, wire_type) = wire::tag(&mut rest)?;
        match wire::value(&mut rest, wire_type)? {
            // What does not fit is cut.
            Value::Varint(limit) if number == whole.limit.number => {
                page.limit = usize::try_from(limit & u64::from(u32::MAX)).ok()?;
            }
            Value::Bytes(text) if number == whole.token.number => token = str::from_utf8(text).ok()?,
            _ => {}
        }
    }
    let mut asked = message.to_vec();
    wire::put_number(whole.limit.number, 0, &mut asked);
    if let Ok(offset) = token.parse() {
        page.offset = offset;
        wire::put_text(whole.token.number, "", &mut asked);
    }
    Some((asked, page))
}

/// The same for a query.
fn whole_in_query<'f>(whole: &'f Whole, query: &str) -> Option<(String, Page<'f>)> {
    let mut page = Page::first(&whole.next);
    let mut pairs: Vec<&str> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=')?;
        let (key, value) = (form_decode(key)?, form_decode(value)?);
        let is = |label: &Label| *key == *label.name || *key == *label.json;
        let place = match () {
            () if is(&whole.limit) => &mut page.limit,
            () if is(&whole.token) => &mut page.offset,
            () => {
                pairs.push(pair);
                continue;
            }
        };
        match value.parse() {
            Ok(number) => *place = number,
            Err(_) => pairs.push(pair),
        }
    }
    Some((pairs.join("&"), page))
}

#[cfg(test)]
mod tests;
