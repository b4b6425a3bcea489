//! Writes a text into a message that has been read by the plan: everything else stays to the letter.

use super::wire::put_bytes;
use crate::catalog::answer::Label;
use serde::de::{Deserializer as _, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Appends a text field below single messages to an encoded message: decoders merge messages that come twice, and of
/// fields the last value counts (<https://protobuf.dev/programming-guides/encoding/#last-one-wins>).
pub(crate) fn in_protobuf(message: &mut Vec<u8>, steps: &[Label], text: &str) {
    let mut content = text.as_bytes().to_vec();
    for step in steps.iter().rev() {
        let mut field = Vec::with_capacity(content.len() + 8);
        put_bytes(step.number, &content, &mut field);
        content = field;
    }
    message.extend_from_slice(&content);
}

/// Puts a text member below single objects into a JSON object. `None` if this is none, or a member on the way occurs
/// twice.
pub(crate) fn in_json(object: &str, steps: &[Label], text: &str) -> Option<String> {
    let (step, rest) = steps.split_first()?;
    let mut deserializer = serde_json::Deserializer::from_str(object);
    let found = deserializer.deserialize_map(Member(step)).ok()?;
    deserializer.end().ok()?;
    let inner = found.raw.map(RawValue::get).filter(|raw| *raw != "null");
    let content = match (inner, rest) {
        (_, []) => serde_json::to_string(text).ok()?,
        (inner, rest) => in_json(inner.unwrap_or("{}"), rest, text)?,
    };
    if let Some(raw) = found.raw.map(RawValue::get) {
        // The value is a part of the object's own text.
        let start = raw.as_ptr().addr().checked_sub(object.as_ptr().addr())?;
        let (before, behind) = (object.get(..start)?, object.get(start + raw.len()..)?);
        return Some(format!("{before}{content}{behind}"));
    }
    let behind = object.trim_start().strip_prefix('{')?;
    let comma = if found.any { "," } else { "" };
    Some(format!("{{\"{}\":{content}{comma}{behind}", step.json))
}

/// One member of an object.
struct Found<'a> {
    raw: Option<&'a RawValue>,
    /// Whether the object has any member.
    any: bool,
}

struct Member<'l>(&'l Label);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Found { raw: None, any: false };
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            found.any = true;
            if *key != *self.0.name && *key != *self.0.json {
                map.next_value::<IgnoredAny>()?;
            } else if found.raw.replace(map.next_value()?).is_some() {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn steps() -> [Label; 2] {
        [("security_context", "securityContext", 10), ("run_as", "runAs", 1)].map(|(name, json, number)| Label {
            number,
            name: name.into(),
            json: json.into(),
        })
    }

    #[test]
    fn a_text_is_put_where_it_belongs_and_nothing_else_changes() {
        for (object, expected) in [
            ("{}", r#"{"securityContext":{"runAs":"x"}}"#),
            (" { } ", r#"{"securityContext":{"runAs":"x"} } "#),
            (r#"{"a": 1.50}"#, r#"{"securityContext":{"runAs":"x"},"a": 1.50}"#),
            (
                r#"{"a": 1, "security_context": {}}"#,
                r#"{"a": 1, "security_context": {"runAs":"x"}}"#,
            ),
            (
                r#"{"securityContext": null, "a": 1}"#,
                r#"{"securityContext": {"runAs":"x"}, "a": 1}"#,
            ),
            (
                r#"{"securityContext": {"runAs": "y", "b": [ 2 ]}}"#,
                r#"{"securityContext": {"runAs": "x", "b": [ 2 ]}}"#,
            ),
            (
                r#"{"security\u0043ontext": {"run_as": null}}"#,
                r#"{"security\u0043ontext": {"run_as": "x"}}"#,
            ),
        ] {
            assert_eq!(in_json(object, &steps(), "x").as_deref(), Some(expected), "{object}");
        }
        let escaped = in_json("{}", &steps(), "a\"\\\n").unwrap();
        let value: Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(value, json!({"securityContext": {"runAs": "a\"\\\n"}}));
    }

    #[test]
    fn what_is_no_object_or_has_two_readings_is_not_written_into() {
        for object in [
            "",
            "[]",
            "1",
            "{",
            "{} {}",
            r#"{"securityContext": 1}"#,
            r#"{"securityContext": []}"#,
            r#"{"securityContext": {}, "security_context": {}}"#,
        ] {
            assert_eq!(in_json(object, &steps(), "x"), None, "{object}");
        }
    }

    #[test]
    fn in_protobuf_the_field_is_appended_in_its_messages() {
        let mut message = vec![0x0a, 0x00];
        in_protobuf(&mut message, &steps(), "xy");
        assert_eq!(message, [0x0a, 0x00, 0x52, 0x04, 0x0a, 0x02, b'x', b'y']);
        let long = "x".repeat(200);
        let mut message = Vec::new();
        in_protobuf(&mut message, &steps(), &long);
        assert_eq!(message.get(..6).unwrap(), [0x52, 0xcb, 0x01, 0x0a, 0xc8, 0x01]);
    }
}
