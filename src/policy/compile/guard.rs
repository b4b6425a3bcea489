//! Guards and what is set beside them: from the document to templates.

use super::grant::Surroundings;
use crate::model::action::{Action, ActionSet};
use crate::model::setting::Setting;
use crate::policy::document::{AllowDocument, At, Word, Words};
use crate::policy::guard::{Guards, is_of_the_call};
use crate::policy::object::tells_its_project;
use crate::policy::pattern::Template;

impl Surroundings<'_, '_> {
    /// What an entry of `allow` says about settings of executions.
    pub(super) fn guards(&mut self, entry: &AllowDocument) -> Guards {
        let written = [
            (Setting::ServiceAccount, &entry.service_accounts),
            (Setting::IamRole, &entry.iam_roles),
            (Setting::RawOutputPrefix, &entry.raw_output_prefixes),
            (Setting::ClusterPool, &entry.clusters),
            (Setting::ClusterResource, &entry.cluster_resources),
            (Setting::Secret, &entry.secrets),
        ];
        let mut guards = Guards {
            impersonate: entry.impersonate.as_ref().is_some_and(|word| *word.value()),
            ..Guards::default()
        };
        for (setting, words) in written {
            if let Some(words) = words {
                guards.lists.insert(setting.guard(), self.guard(setting, words));
            }
        }
        if let Some(words) = &entry.download_prefixes {
            guards.download_prefixes = self.download_prefixes(words);
        }
        let Some(set) = &entry.set else { return guards };
        let texts = [
            (Setting::ServiceAccount, &set.value().service_account),
            (Setting::IamRole, &set.value().iam_role),
            (Setting::RawOutputPrefix, &set.value().raw_output_prefix),
            (Setting::ClusterPool, &set.value().cluster_pool),
            (Setting::ClusterLabel, &set.value().cluster_label),
        ];
        if texts.iter().all(|(_, text)| text.is_none()) {
            self.report.error(
                set.place(),
                "`set: {}` sets nothing; name a setting or leave the key out",
            );
        }
        for (setting, text) in texts {
            if let Some(template) = text
                .as_ref()
                .and_then(|text| self.guarded(setting, setting.label(), text))
            {
                guards.set.insert(setting, template);
            }
        }
        guards
    }

    /// Guards matter only where something about executions can be asked for.
    pub(super) fn check_guards(&mut self, entry: &AllowDocument, actions: ActionSet) {
        let asking = [
            Action::CreateExecutions,
            Action::RegisterInventory,
            Action::EditExecutionAttributes,
            Action::EditClusterAttributes,
            // Labels of a project become those of its executions.
            Action::AdministerProject,
        ];
        if actions.intersects(ActionSet::of(&asking)) {
            return;
        }
        let lists = [
            &entry.service_accounts,
            &entry.iam_roles,
            &entry.raw_output_prefixes,
            &entry.clusters,
            &entry.cluster_resources,
            &entry.secrets,
        ];
        let lists = lists.into_iter().flatten().map(At::place);
        let others = entry
            .impersonate
            .iter()
            .map(At::place)
            .chain(entry.set.iter().map(|set| set.place()));
        if let Some(place) = lists.chain(others).next() {
            self.report.warning(
                place,
                "nothing about executions can be asked for with these actions: it guards and sets nothing here",
            );
        }
    }

    fn download_prefixes(&mut self, words: &Words) -> Vec<Template> {
        let mut prefixes = Vec::new();
        for word in self
            .report
            .filled("download_prefixes", words, "gives nothing; leave the key out")
        {
            let Some(prefix) = self.guarded(Setting::RawOutputPrefix, "download_prefixes", word) else {
                continue;
            };
            if !tells_its_project(&prefix) {
                let text = word.value();
                self.report.error(
                    word.place(),
                    format!(
                        "`{text}`: `${{project}}` must stand alone between slashes, to be told from other projects"
                    ),
                );
            }
            prefixes.push(prefix);
        }
        prefixes
    }

    fn guard(&mut self, setting: Setting, words: &Words) -> Vec<Template> {
        let words = words.value().iter();
        words
            .filter_map(|word| self.guarded(setting, setting.guard(), word))
            .collect()
    }

    fn guarded(&mut self, setting: Setting, key: &str, word: &Word) -> Option<Template> {
        let text = word.value();
        let fault = if text.is_empty() || text.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
            Some(format!("`{text}` in `{key}` is no value; write one without spaces"))
        } else if text.contains('*') {
            Some(format!(
                "`{text}`: `{key}` holds exact values, and `*` stands for nothing in it"
            ))
        } else if setting == Setting::RawOutputPrefix && !is_location(text) {
            Some(format!(
                "`{text}` in `{key}` is no place in an object store; write one such as `s3://bucket/${{project}}/${{domain}}`"
            ))
        } else {
            None
        };
        if let Some(fault) = fault {
            self.report.error(word.place(), fault);
            return None;
        }
        self.template_with(word, is_of_the_call)
    }
}

/// Whether it is `SCHEME://PLACE`, without anything that could lead elsewhere.
fn is_location(text: &str) -> bool {
    let Some((scheme, place)) = text.split_once("://") else {
        return false;
    };
    let scheme = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let clean = !place.contains(['\\', '%', '?', '#']) && place.split('/').all(|part| !matches!(part, "." | ".."));
    scheme && clean && !place.trim_matches('/').is_empty()
}
