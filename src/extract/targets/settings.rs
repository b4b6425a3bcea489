//! The settings of executions that a request asks for.

use super::Judge;
use crate::catalog::{Part, SlotRole};
use crate::extract::values::Values;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::model::setting::{Asked, Setting};

impl Judge<'_> {
    /// Lists the settings that are asked for, in the order of the message. An empty value asks for nothing.
    pub(super) fn settings(&self, values: &Values<'_>) -> Result<Vec<Asked>, Denial> {
        let mut asked = Vec::new();
        for occurrence in &values.occurrences {
            let slot = self.slot(occurrence)?;
            let (key, value) = (occurrence.part(Part::Key), occurrence.part(Part::Value));
            let (setting, value, field) = match slot.role {
                SlotRole::Setting(Setting::Secret) if key.is_empty() && value.is_empty() => continue,
                SlotRole::Setting(Setting::Secret) => {
                    (Setting::Secret, format!("{key}/{value}").into(), (&*slot.at).into())
                }
                SlotRole::Setting(_) | SlotRole::KeyedSetting if value.is_empty() => continue,
                SlotRole::Setting(setting) => {
                    let field = slot.parts.first().map_or(&*slot.at, |(field, _)| field);
                    (setting, value.into(), field.into())
                }
                SlotRole::KeyedSetting => {
                    let setting = Setting::of_label(occurrence.part(Part::Kind)).ok_or(Reason::Internal)?;
                    (setting, value.into(), format!("{} {key}", slot.at).into())
                }
                _ => continue,
            };
            asked.push(Asked { setting, value, field });
        }
        Ok(asked)
    }
}
