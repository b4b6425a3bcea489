//! Leaves out of an answer what the caller may not see. Works on the bytes as they came: what stays is unchanged, with
//! every field that newer servers may have added. An answer that cannot be understood yields nothing.

use crate::extract::wire::{Value, tag, value};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// `flyteidl.admin.Projects.projects` and `flyteidl.admin.Project.id`.
const PROJECTS: u32 = 1;
const PROJECT_ID: u32 = 1;

/// An encoded `flyteidl.admin.Projects` with only the projects that are visible. `None` if it is not well-formed.
pub fn projects_in_protobuf(message: &[u8], mut visible: impl FnMut(&str) -> bool) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let field = rest;
        let (number, wire_type) = tag(&mut rest)?;
        let content = value(&mut rest, wire_type)?;
        let keep = match (number, content) {
            (PROJECTS, Value::Bytes(project)) => project_id(project).map(&mut visible)?,
            (PROJECTS, _) => return None,
            _ => true,
        };
        if keep {
            kept.extend_from_slice(field.get(..field.len() - rest.len())?);
        }
    }
    Some(kept)
}

/// The one identifier of a project; an empty one if it has none.
fn project_id(mut project: &[u8]) -> Option<&str> {
    let mut id = None;
    while !project.is_empty() {
        let (number, wire_type) = tag(&mut project)?;
        match (number, value(&mut project, wire_type)?) {
            (PROJECT_ID, Value::Bytes(bytes)) if id.is_none() => id = Some(std::str::from_utf8(bytes).ok()?),
            (PROJECT_ID, _) => return None,
            _ => {}
        }
    }
    Some(id.unwrap_or_default())
}

/// The same in JSON, as the gateway writes it. `None` if it is not well-formed.
pub fn projects_in_json(document: &[u8], mut visible: impl FnMut(&str) -> bool) -> Option<Vec<u8>> {
    #[derive(serde::Deserialize)]
    struct Project {
        #[serde(default)]
        id: String,
    }
    let mut members: BTreeMap<&str, &RawValue> = serde_json::from_slice(document).ok()?;
    let mut kept = Vec::new();
    if let Some(projects) = members.get("projects").filter(|projects| projects.get() != "null") {
        for project in serde_json::from_str::<Vec<&RawValue>>(projects.get()).ok()? {
            // A struct refuses a second `id`.
            let read: Project = serde_json::from_str(project.get()).ok()?;
            if visible(&read.id) {
                kept.push(project);
            }
        }
    }
    let kept = serde_json::value::to_raw_value(&kept).ok()?;
    members.insert("projects", &kept);
    serde_json::to_vec(&members).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        bytes.extend(content);
        bytes
    }

    fn project(id: &str) -> Vec<u8> {
        field(
            1,
            &[field(1, id.as_bytes()), field(2, b"a name"), field(15, b"new")].concat(),
        )
    }

    #[test]
    fn only_visible_projects_stay_and_stay_as_they_are() {
        let message = [
            project("ml"),
            project("fraud"),
            field(2, b"token"),
            project("lib"),
            field(14, b"new"),
        ]
        .concat();
        let kept = projects_in_protobuf(&message, |id| id != "fraud").unwrap();
        assert_eq!(
            kept,
            [project("ml"), field(2, b"token"), project("lib"), field(14, b"new")].concat()
        );
        assert_eq!(
            projects_in_protobuf(&message, |_| false).unwrap(),
            [field(2, b"token"), field(14, b"new")].concat()
        );
        assert_eq!(projects_in_protobuf(&message, |_| true).unwrap(), message);
    }

    #[test]
    fn a_project_without_identifier_has_an_empty_one() {
        assert_eq!(projects_in_protobuf(&field(1, &[]), |id| !id.is_empty()).unwrap(), b"");
    }

    #[test]
    fn what_cannot_be_understood_yields_nothing() {
        let twice = field(1, &[field(1, b"ml"), field(1, b"fraud")].concat());
        let invalid = field(1, &field(1, b"\xff"));
        for message in [
            &twice[..],
            &invalid,
            &[0x08, 1],
            &[0x0a, 5, 1],
            &[0x0b],
            &[0x0a, 4, 0x0a, 9],
        ] {
            assert_eq!(projects_in_protobuf(message, |_| true), None, "{message:?}");
        }
        for document in [
            "",
            "[]",
            "{",
            "{\"projects\": {}}",
            "{\"projects\": [1]}",
            r#"{"projects":[{"id":"ml","id":"fraud"}]}"#,
            r#"{"projects":[{"id":1}]}"#,
        ] {
            assert_eq!(projects_in_json(document.as_bytes(), |_| true), None, "{document}");
        }
    }

    #[test]
    fn json_keeps_every_other_member_to_the_letter() {
        let document = br#"{"projects":[{"id":"ml","n":1.50},{"id":"fraud"},{"name":"x"}],"token":"t","new":[1,  2]}"#;
        let kept = String::from_utf8(projects_in_json(document, |id| id == "ml").unwrap()).unwrap();
        assert_eq!(kept, r#"{"new":[1,  2],"projects":[{"id":"ml","n":1.50}],"token":"t"}"#);
        assert_eq!(projects_in_json(b"{}", |_| true).unwrap(), br#"{"projects":[]}"#);
        assert_eq!(
            projects_in_json(br#"{"projects":null}"#, |_| true).unwrap(),
            br#"{"projects":[]}"#
        );
    }
}
