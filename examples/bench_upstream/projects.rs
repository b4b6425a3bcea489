//! A long list of projects as `FlyteAdmin` writes it.

use std::fmt::Write;

/// Of these projects the measured caller may see every other one, whose name begins with `own-`.
pub(crate) const PROJECTS: usize = 1000;

/// The answer of `ListProjects`: one message in protobuf, without any framing, and in JSON.
pub(crate) fn projects() -> (Vec<u8>, String) {
    let (mut message, mut json) = (Vec::new(), String::from("{\"projects\":["));
    for number in 0..PROJECTS {
        let id = format!("{}-{number:04}", if number % 2 == 0 { "own" } else { "other" });
        let description = "What the project is for, in one line, as somebody has written it down.";
        let mut project = Vec::new();
        text(1, id.as_bytes(), &mut project);
        text(2, id.as_bytes(), &mut project);
        let mut domains = Vec::new();
        for domain in ["development", "staging", "production"] {
            let mut encoded = Vec::new();
            text(1, domain.as_bytes(), &mut encoded);
            text(2, domain.as_bytes(), &mut encoded);
            text(3, &encoded, &mut project);
            domains.push(format!("{{\"id\":\"{domain}\",\"name\":\"{domain}\"}}"));
        }
        text(4, description.as_bytes(), &mut project);
        text(1, &project, &mut message);
        let comma = if number == 0 { "" } else { "," };
        let domains = domains.join(",");
        // Writing to a String cannot fail.
        _ = write!(
            json,
            "{comma}{{\"id\":\"{id}\",\"name\":\"{id}\",\"domains\":[{domains}],\"description\":\"{description}\",\"state\":\"ACTIVE\"}}"
        );
    }
    json.push_str("],\"token\":\"\"}");
    (message, json)
}

/// Appends a field of bytes.
fn text(number: u8, content: &[u8], message: &mut Vec<u8>) {
    message.push(number << 3 | 2);
    let mut length = content.len();
    while length > 0x7f {
        message.push(0x80 | u8::try_from(length & 0x7f).unwrap_or_default());
        length >>= 7;
    }
    message.push(u8::try_from(length).unwrap_or_default());
    message.extend_from_slice(content);
}
