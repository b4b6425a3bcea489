//! Compiles the settings of executions that an RPC's request can ask for.

use super::shape::{Segment, Shapes, segments, split_last};
use super::slot::{Slots, fits};
use crate::catalog::answer::Label;
use crate::catalog::document::{RpcDocument, SettingDocument};
use crate::catalog::{Cardinality, Part, ScalarKind, SlotRole, WritePlace};
use crate::model::setting::Setting;
use std::sync::Arc;

/// A JSON object in protobuf.
const STRUCT: &str = "google.protobuf.Struct";

impl Slots<'_, '_> {
    /// Adds a slot for every place of a setting. Gives the places where settings are written.
    pub(super) fn settings(&mut self, rpc: &RpcDocument) -> Vec<WritePlace> {
        let writes = rpc
            .settings
            .iter()
            .filter_map(|setting| self.setting(setting))
            .collect();
        for path in &rpc.searched {
            if self
                .check(path, searched(self.shapes, self.request, &path.value))
                .is_some()
            {
                self.push(&path.value, Vec::new(), SlotRole::KeyedSetting);
            }
        }
        writes
    }

    fn setting(&mut self, document: &SettingDocument) -> Option<WritePlace> {
        let word = &document.setting;
        let setting = self.check(word, known(&word.value))?;
        for field in &document.at {
            let parts = match setting {
                Setting::Secret => secret(self.shapes, self.request, &field.value),
                Setting::ClusterResource => texts(self.shapes, self.request, &field.value, Cardinality::Map),
                Setting::QueueTag => texts(self.shapes, self.request, &field.value, Cardinality::Repeated),
                _ => {
                    let found = self.shapes.scalar_at(self.request, &field.value);
                    found
                        .and_then(|shape| fits(&field.value, shape, Part::Value))
                        .map(|_| vec![(field.value.as_str().into(), Part::Value)])
                }
            };
            let Some(parts) = self.check(field, parts) else {
                continue;
            };
            let at = match setting {
                Setting::Secret | Setting::ClusterResource | Setting::QueueTag => &field.value,
                _ => split_last(&field.value).0,
            };
            self.push(at, parts, SlotRole::Setting(setting));
        }
        let write = document.write.as_ref()?;
        let is_text = !matches!(setting, Setting::Secret | Setting::ClusterResource | Setting::QueueTag);
        if !document.at.iter().any(|field| field.value == write.value) || !is_text {
            self.fault(write, "`write` must be one of the text fields in `at`");
            return None;
        }
        Some(WritePlace {
            setting,
            field: write.value.as_str().into(),
            steps: self.check(write, labels(self.shapes, self.request, &write.value))?,
        })
    }
}

fn known(word: &str) -> Result<Setting, String> {
    Setting::of_label(word).ok_or_else(|| {
        let known = Setting::ALL.map(Setting::label).join(", ");
        format!("unknown setting `{word}`: write one of {known}")
    })
}

/// The group and key of the secret at a path.
fn secret(shapes: &Shapes, request: &str, path: &str) -> Result<Vec<(Arc<str>, Part)>, String> {
    let message = shapes.message_at(request, path)?;
    let part = |name: &str, part| -> Result<(Arc<str>, Part), String> {
        let path = format!("{path}.{name}");
        fits(&path, shapes.scalar_at(message, name)?, part)?;
        Ok((path.into(), part))
    };
    Ok(vec![part("group", Part::Key)?, part("key", Part::Value)?])
}

/// Checks that a path ends at a map or list of texts, which has no parts: it is looked through as a whole.
fn texts(shapes: &Shapes, request: &str, path: &str, wanted: Cardinality) -> Result<Vec<(Arc<str>, Part)>, String> {
    let (parent, name) = split_last(path);
    let field = shapes.field(shapes.message_at(request, parent)?, name)?;
    let of_texts = match wanted {
        Cardinality::Map => field.message.is_none(),
        Cardinality::Repeated | Cardinality::Single => field.kind == ScalarKind::String,
    };
    if field.cardinality == wanted && of_texts {
        return Ok(Vec::new());
    }
    let wanted = if wanted == Cardinality::Map { "map" } else { "list" };
    Err(format!("`{path}` must be a {wanted} of texts"))
}

/// Checks that a path ends at a map of scalars or at a `google.protobuf.Struct`.
fn searched(shapes: &Shapes, request: &str, path: &str) -> Result<(), String> {
    let (parent, name) = split_last(path);
    let field = shapes.field(shapes.message_at(request, parent)?, name)?;
    match (field.cardinality, field.message.as_deref()) {
        (Cardinality::Map, None) | (Cardinality::Single, Some(STRUCT)) => Ok(()),
        _ => Err(format!("`{path}` must be a map of texts or a `{STRUCT}`")),
    }
}

/// The fields on a path through single messages.
fn labels(shapes: &Shapes, request: &str, path: &str) -> Result<Vec<Label>, String> {
    let mut message = Some(request);
    let mut labels = Vec::new();
    for segment in segments(path) {
        let (Segment::Field(name, _), Some(current)) = (segment, message) else {
            return Err(format!("`{path}` must go through single fields only"));
        };
        let field = shapes.field(current, name)?;
        labels.push(Label {
            number: field.number,
            name: field.name.clone(),
            json: field.json.clone(),
        });
        message = field.message.as_deref();
    }
    Ok(labels)
}
