//! A small plan for the tests of the walkers, and its messages on the wire.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::values::{Occurrence, Values};
use super::{WalkLimits, json, protobuf};
use crate::catalog::{Cardinality, EnumShape, Field, Part, Plan, ScalarKind, Slot, SlotRole, State, Step};
use crate::model::denial::Denial;
use std::borrow::Cow;
use std::sync::Arc;

pub(in crate::extract) const OWN: usize = 0;
pub(in crate::extract) const REFERENCE: usize = 1;
pub(in crate::extract) const SEARCHED: usize = 2;

/// `Request` has a scope of its own and names references: one, in a oneof, in nodes that nest, and in a map. Settings are
/// looked for in a map of texts and in an object.
pub(in crate::extract) fn plan() -> Plan {
    use Cardinality::{Map, Repeated, Single};
    let keep = |slot, part| Step::Keep(vec![(slot, part)]);
    let text = ScalarKind::String;
    let message = ScalarKind::Message;
    let in_oneof = |field| Field {
        oneof: Some(0),
        ..field
    };
    let request = vec![
        field(1, "project", text.clone(), Single, keep(OWN, Part::Project)),
        field(2, "domain", text.clone(), Single, keep(OWN, Part::Domain)),
        field(3, "note", text.clone(), Single, Step::Skip),
        field(4, "counts", ScalarKind::Varint, Repeated, Step::Skip),
        field(5, "launch_plan", message.clone(), Single, Step::Descend(1)),
        field(6, "nodes", message.clone(), Repeated, Step::Descend(2)),
        in_oneof(field(7, "label", text.clone(), Single, Step::Skip)),
        in_oneof(field(8, "target", message.clone(), Single, Step::Descend(1))),
        in_oneof(field(9, "flag", ScalarKind::Bool, Single, Step::Skip)),
        field(10, "refs", message.clone(), Map, Step::Descend(1)),
        field(12, "size", ScalarKind::Fixed64, Single, Step::Skip),
        field(13, "extra", message.clone(), Single, Step::Skip),
        field(15, "aliases", text.clone(), Repeated, keep(OWN, Part::Name)),
        field(16, "annotations", message.clone(), Map, Step::Search(SEARCHED)),
        field(17, "pod_spec", message.clone(), Single, Step::Search(SEARCHED)),
    ];
    let kind = ScalarKind::Enum(Arc::new(EnumShape {
        name: "example.Kind".into(),
        values: vec![("UNSPECIFIED".into(), 0), ("TASK".into(), 1), ("LAUNCH_PLAN".into(), 3)],
    }));
    let reference = vec![
        field(1, "resource_type", kind, Single, keep(REFERENCE, Part::Kind)),
        field(2, "project", text.clone(), Single, keep(REFERENCE, Part::Project)),
        field(3, "domain", text.clone(), Single, keep(REFERENCE, Part::Domain)),
        field(4, "name", text.clone(), Single, keep(REFERENCE, Part::Name)),
    ];
    let node = vec![
        field(1, "id", text, Single, Step::Skip),
        field(2, "reference", message.clone(), Single, Step::Descend(1)),
        field(3, "children", message, Repeated, Step::Descend(2)),
    ];
    let states = vec![
        state("example.Request", request, vec![OWN]),
        state("example.Reference", reference, vec![REFERENCE]),
        state("example.Node", node, vec![]),
    ];
    Plan::new(states, vec![slot(""), slot("launch_plan"), slot("annotations")])
}

fn slot(at: &str) -> Slot {
    Slot {
        at: at.into(),
        parts: Vec::new(),
        required: false,
        filled: Vec::new(),
        accept: Vec::new(),
        role: SlotRole::Choice,
    }
}

fn state(message: &str, fields: Vec<Field>, opens: Vec<usize>) -> State {
    State {
        message: message.into(),
        fields,
        opens,
    }
}

fn field(number: u32, name: &str, kind: ScalarKind, cardinality: Cardinality, step: Step) -> Field {
    let mut words = name.split('_');
    let mut json = words.next().unwrap_or_default().to_owned();
    for word in words {
        json.push_str(&word.get(..1).unwrap().to_uppercase());
        json.push_str(word.get(1..).unwrap());
    }
    Field {
        number,
        name: name.into(),
        json: json.into(),
        kind,
        cardinality,
        oneof: None,
        step,
    }
}

/// A length-delimited field on the wire.
pub(in crate::extract) fn bytes(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut field = Vec::new();
    for mut number in [usize::from(number) << 3 | 2, content.len()] {
        while number >= 0x80 {
            field.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
            number >>= 7;
        }
        field.push(u8::try_from(number).unwrap());
    }
    field.extend_from_slice(content);
    field
}

/// A reference on the wire.
pub(in crate::extract) fn reference(project: &str, name: &str) -> Vec<u8> {
    [vec![0x08, 0x03], bytes(2, project), bytes(3, "dev"), bytes(4, name)].concat()
}

/// What a reference gives.
pub(in crate::extract) fn referred(project: &'static str, name: &'static str) -> Occurrence<'static> {
    let parts = [
        (Part::Kind, "3"),
        (Part::Project, project),
        (Part::Domain, "dev"),
        (Part::Name, name),
    ];
    occurrence(REFERENCE, &parts)
}

/// What asks for a service account, found by its key.
pub(in crate::extract) fn account(value: &'static str) -> Occurrence<'static> {
    let parts = [
        (Part::Kind, "service_account"),
        (Part::Key, "`serviceAccountName`"),
        (Part::Value, value),
    ];
    occurrence(SEARCHED, &parts)
}

pub(in crate::extract) fn occurrence(slot: usize, parts: &[(Part, &'static str)]) -> Occurrence<'static> {
    let mut occurrence = Occurrence::new(slot);
    for (part, value) in parts {
        occurrence.set(*part, Cow::Borrowed(value));
    }
    occurrence
}

/// Reads wire bytes by the plan.
pub(in crate::extract) fn read_wire(message: &[u8]) -> Result<Vec<Occurrence<'_>>, Denial> {
    let mut values = Values::default();
    protobuf::walk(&plan(), message, &WalkLimits { max_fields: 1000 }, &mut values)?;
    Ok(values.occurrences)
}

/// Reads JSON by the plan.
pub(in crate::extract) fn read_json(body: &[u8]) -> Result<Vec<Occurrence<'_>>, Denial> {
    let mut values = Values::default();
    json::walk(&plan(), body, &WalkLimits { max_fields: 1000 }, &mut values)?;
    Ok(values.occurrences)
}
