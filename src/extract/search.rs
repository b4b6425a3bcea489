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
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::extract::example::bytes;

    /// Looks through a `google.protobuf.Struct`: the settings found and their values.
    fn found(object: &[u8]) -> Result<Vec<(String, String)>, Stopped> {
        let mut values = Values::default();
        let mut search = Search {
            slot: 0,
            values: &mut values,
            fields_left: &mut 1000,
        };
        search.object("", object, 1)?;
        let part = |occurrence: &Occurrence<'_>, part| occurrence.part(part).to_owned();
        let found = values.occurrences.iter();
        Ok(found
            .map(|one| (part(one, Part::Kind), part(one, Part::Value)))
            .collect())
    }

    fn member(key: &str, value: &[u8]) -> Vec<u8> {
        bytes(1, [bytes(1, key), bytes(2, value)].concat())
    }

    fn account(value: &str) -> (String, String) {
        ("service_account".to_owned(), value.to_owned())
    }

    #[test]
    fn what_comes_twice_is_found_twice() {
        let key = "serviceAccountName";
        let text = |text: &str| bytes(3, text);
        let two = [account("a"), account("b")];
        // Two members, two values in one member, two texts in one value, two keys, two objects in one value.
        assert_eq!(
            found(&[member(key, &text("a")), member(key, &text("b"))].concat()).unwrap(),
            two
        );
        let twice = bytes(1, [bytes(1, key), bytes(2, text("a")), bytes(2, text("b"))].concat());
        assert_eq!(found(&twice).unwrap(), two);
        assert_eq!(found(&member(key, &[text("a"), text("b")].concat())).unwrap(), two);
        let keys = bytes(1, [bytes(1, "x"), bytes(1, key), bytes(2, text("a"))].concat());
        assert_eq!(found(&keys).unwrap(), [account("a")]);
        let inner = [bytes(5, member(key, &text("a"))), bytes(5, member(key, &text("b")))].concat();
        assert_eq!(found(&member("spec", &inner)).unwrap(), two);
        // In lists, also without order of key and value.
        let element = bytes(1, bytes(5, bytes(1, [bytes(2, text("a")), bytes(1, key)].concat())));
        assert_eq!(found(&member("list", &bytes(6, element))).unwrap(), [account("a")]);
    }

    #[test]
    fn what_is_no_object_or_too_deep_is_not_passed_over() {
        let key = "serviceAccountName";
        for broken in [
            vec![0x0a],
            bytes(1, [0x0a, 0x05, b'a']),
            bytes(1, bytes(3, "x")),
            bytes(1, [0x08, 0x01]),
            member(key, &[0x1a, 0x02, 0xff, 0xfe]),
            bytes(1, bytes(1, [0xff])),
            member("a", &bytes(5, [0x0a])),
            member("a", &bytes(6, [0x0a])),
        ] {
            assert_eq!(found(&broken), Err(Stopped::Malformed), "{broken:?}");
        }
        let nested = |levels| (0..levels).fold(bytes(3, "x"), |inner, _| bytes(5, member("a", &inner)));
        assert!(found(&member("a", &nested(40))).is_ok());
        assert_eq!(found(&member("a", &nested(60))), Err(Stopped::Malformed));
    }

    #[test]
    fn a_search_ends_when_it_has_read_as_much_as_may_be_read() {
        let many: Vec<u8> = (0..400).flat_map(|_| member("a", &[])).collect();
        assert_eq!(found(&many), Err(Stopped::TooMany));
    }
}
