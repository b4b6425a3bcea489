//! Compiles the other actions that an RPC needs by what its request holds.

use super::route::action;
use super::shape::split_last;
use super::slot::Slots;
use crate::catalog::document::ChoiceDocument;
use crate::catalog::{ActionChoice, EnumShape, Part, ScalarKind, SlotRole};
use serde_saphyr::Spanned;

impl Slots<'_, '_> {
    /// The choices, each with a slot of its own.
    pub(super) fn choices(&mut self, documents: &[Spanned<ChoiceDocument>]) -> Vec<ActionChoice> {
        let mut choices = Vec::new();
        for choice in documents {
            let Some(action) = self.check(&choice.value.action, action(&choice.value.action)) else {
                continue;
            };
            match (
                &choice.value.field,
                choice.value.present.is_empty(),
                choice.value.among.is_empty(),
            ) {
                (Some(field), true, false) => {
                    let Some((slot, kind)) = self.choice_by_value(field) else {
                        continue;
                    };
                    let values = self.numbers(kind.as_ref(), &choice.value.among);
                    choices.push(ActionChoice { slot, values, action });
                }
                (None, false, true) => {
                    for path in &choice.value.present {
                        if let Some(slot) = self.choice_by_presence(path) {
                            let values = Vec::new();
                            choices.push(ActionChoice { slot, values, action });
                        }
                    }
                }
                _ => self.fault(choice, "write either `present`, or `field` with `among`"),
            }
        }
        choices
    }

    /// The numbers of enum values given by name.
    pub(super) fn numbers(&mut self, kind: Option<&ScalarKind>, names: &[Spanned<String>]) -> Vec<i32> {
        let Some(ScalarKind::Enum(shape)) = kind else {
            for name in names {
                self.fault(name, format!("`{}` needs a field that is an enum", name.value));
            }
            return Vec::new();
        };
        names
            .iter()
            .filter_map(|name| self.check(name, number(shape, &name.value)))
            .collect()
    }

    /// A slot for the enum field that chooses an action, and the field's kind.
    fn choice_by_value(&mut self, field: &Spanned<String>) -> Option<(usize, Option<ScalarKind>)> {
        let shape = self.check(field, self.shapes.scalar_at(self.request, &field.value))?;
        let part = (field.value.as_str().into(), Part::Kind);
        let at = split_last(&field.value).0;
        let slot = self.push(at, vec![part], SlotRole::Choice);
        Some((slot, Some(shape.kind.clone())))
    }

    /// A slot for the message whose presence chooses an action.
    fn choice_by_presence(&mut self, path: &Spanned<String>) -> Option<usize> {
        self.check(path, self.shapes.message_at(self.request, &path.value))?;
        Some(self.push(&path.value, Vec::new(), SlotRole::Choice))
    }
}

fn number(shape: &EnumShape, name: &str) -> Result<i32, String> {
    let found = shape.values.iter().find(|(known, _)| &**known == name);
    found
        .map(|(_, number)| *number)
        .ok_or_else(|| format!("unknown value `{name}` of enum `{}`", shape.name))
}
