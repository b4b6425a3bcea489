//! The settings of executions that a request asks for.

use super::Judge;
use crate::catalog::{Part, SlotRole};
use crate::extract::names::quote;
use crate::extract::search::MOST;
use crate::extract::values::Values;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::model::setting::{Asked, Setting};

impl Judge<'_> {
    /// Lists the settings that are asked for, in the order of the message. An empty value asks for nothing, but for
    /// annotations that say for whom an execution runs: `FlyteAdmin` adds those only that are not there.
    ///
    /// # Errors
    /// `message_too_large` for more than are looked at.
    pub(super) fn settings(&self, values: &Values<'_>) -> Result<Vec<Asked>, Denial> {
        if values.noted > MOST {
            return Err(too_many());
        }
        let mut asked = Vec::new();
        for occurrence in &values.occurrences {
            let slot = self.slot(occurrence)?;
            let (key, value) = (occurrence.part(Part::Key), occurrence.part(Part::Value));
            let (setting, value, field) = match slot.role {
                SlotRole::Setting(Setting::Secret) if key.is_empty() && value.is_empty() => continue,
                SlotRole::Setting(Setting::Secret) => {
                    (Setting::Secret, format!("{key}/{value}").into(), (&*slot.at).into())
                }
                // The name is compared, and counts without a value, too: that replaces one.
                SlotRole::Setting(setting @ Setting::ClusterResource) => {
                    (setting, key.into(), format!("{} {}", slot.at, quote(key)).into())
                }
                SlotRole::Setting(_) if value.is_empty() => continue,
                SlotRole::KeyedSetting
                    if value.is_empty() && occurrence.part(Part::Kind) != Setting::Identity.label() =>
                {
                    continue;
                }
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
            if asked.len() == MOST {
                return Err(too_many());
            }
            asked.push(Asked { setting, value, field });
        }
        Ok(asked)
    }
}

fn too_many() -> Denial {
    let text = format!(
        "the message asks for more than {MOST} service accounts, secrets and other settings of executions: message larger \
         than max; ask for fewer"
    );
    Denial::new(Reason::MessageTooLarge, text)
}
