//! What names and values must look like, and how a value that is not checked yet is shown in a message.

use crate::model::denial::Denial;
use crate::model::reason::Reason;

/// The longest name of a task, workflow, launch plan or execution, in bytes: FlyteAdmin's columns hold no more.
const MAX_NAME: usize = 255;

/// The longest project identifier, in bytes: a DNS label (RFC 1123 section 2.1).
const MAX_PROJECT: usize = 63;

/// How much of an unchecked value is shown, in characters.
const MAX_SHOWN: usize = 40;

/// A value that is not checked yet, safe to show: escaped, shortened, in backticks.
pub(in crate::extract) fn quote(value: &str) -> String {
    let mut shown: String = value.chars().take(MAX_SHOWN).flat_map(char::escape_default).collect();
    if value.chars().nth(MAX_SHOWN).is_some() {
        shown.push_str("...");
    }
    // A backtick of the value's own would end the quotation.
    format!("`{}`", shown.replace('`', "'"))
}

/// Checks a project identifier: FlyteAdmin registers DNS labels only.
pub(in crate::extract) fn check_project(field: &str, project: &str) -> Result<(), Denial> {
    let bytes = project.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    let label = bytes.len() <= MAX_PROJECT
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if label {
        return Ok(());
    }
    let text = format!(
        "field `{field}` is {}, which is no project identifier; write at most {MAX_PROJECT} lower-case letters, \
         digits and inner hyphens",
        quote(project)
    );
    Err(Denial::new(Reason::ScopeInvalid, text))
}

/// Checks a name that ends up in database queries and object-store paths.
pub(in crate::extract) fn check_name(field: &str, name: &str) -> Result<(), Denial> {
    if name.len() <= MAX_NAME && stays_in_place(name, Component::MayBeEmpty) {
        return Ok(());
    }
    let text = format!(
        "field `{field}` is {}, which is no name; write at most {MAX_NAME} bytes without control characters, \
         `\\`, `%`, `?`, `#` and without `.` or `..` between slashes",
        quote(name)
    );
    Err(Denial::new(Reason::FieldInvalid, text))
}

/// Checks a value that FlyteAdmin joins into the path of an upload, as a relative URL reference (RFC 3986 section 5.2).
pub(in crate::extract) fn check_upload_path(field: &str, path: &str) -> Result<(), Denial> {
    if path.is_empty() || stays_in_place(path, Component::MustBeFilled) {
        return Ok(());
    }
    let text = format!(
        "field `{field}` is {}, which could leave its place in the bucket; write a relative path without empty, `.` \
         or `..` parts and without control characters, `\\`, `%`, `?` and `#`",
        quote(path)
    );
    Err(Denial::new(Reason::FieldInvalid, text))
}

/// Checks a name that `FlyteAdmin` joins with slashes into the key of what it stores and overwrites: it leaves out those at the
/// edges of each part, so that other names come to the same key.
pub(in crate::extract) fn check_stored_name(field: &str, name: &str) -> Result<(), Denial> {
    if name.split('/').all(|part| !part.is_empty()) {
        return Ok(());
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
    let text = format!(
        "field `{field}` is {}, which FlyteAdmin would store in the place of another name; write {}",
        quote(name),
        quote(&parts.join("/"))
    );
    Err(Denial::new(Reason::FieldInvalid, text))
}

/// Checks the version behind such a name: with a slash in it, a part of the name could be meant.
pub(in crate::extract) fn check_stored_version(field: &str, version: &str) -> Result<(), Denial> {
    if !version.contains('/') {
        return Ok(());
    }
    let text = format!(
        "field `{field}` is {}, which FlyteAdmin would store in the place of another name's version; write it without \
         slashes, such as {}",
        quote(version),
        quote(&version.replace('/', "-"))
    );
    Err(Denial::new(Reason::FieldInvalid, text))
}

/// Checks a text that the cluster resource controller puts into Kubernetes manifests as it is: one with line breaks, as
/// YAML 1.1 (section 5.4) knows them, would add what it likes.
pub(in crate::extract) fn check_line(field: &str, text: &str) -> Result<(), Denial> {
    let breaks = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
    if !text.contains(breaks) {
        return Ok(());
    }
    let text = format!(
        "field `{field}` holds {}, which would add lines to Kubernetes manifests; write it without line breaks and other \
         control characters",
        quote(text)
    );
    Err(Denial::new(Reason::FieldInvalid, text))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Component {
    MayBeEmpty,
    MustBeFilled,
}

fn stays_in_place(path: &str, empty: Component) -> bool {
    let forbidden = |character: char| character.is_control() || matches!(character, '\\' | '%' | '?' | '#');
    let leaves = |component: &str| match component {
        "." | ".." => true,
        "" => empty == Component::MustBeFilled,
        _ => false,
    };
    !path.contains(forbidden) && !path.split('/').any(leaves)
}
