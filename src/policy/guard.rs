//! Execution guards: which settings of executions a grant lets its callers choose, and which it sets itself.

use super::grant::Place;
use super::pattern::{Template, Variable};
use crate::model::setting::{Asked, Setting};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

/// What a grant says about settings. In its texts `${project}` and `${domain}` are those the call acts in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::policy) struct Guards {
    /// The values that callers may ask for, by [`Setting::guard`]; absent: any.
    pub lists: BTreeMap<&'static str, Vec<Template>>,
    /// Whether callers may have executions run in the name of others.
    pub impersonate: bool,
    /// What is set.
    pub set: BTreeMap<Setting, Template>,
    /// The prefixes of the object store below which links to objects are given to who may view data in the places that
    /// `${project}` and `${domain}` stand for.
    pub download_prefixes: Vec<Template>,
}

/// What becomes of a setting that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Choice {
    /// It stays as it is.
    Kept,
    /// It is replaced by what the grant sets.
    Replaced,
    /// The grant does not allow it.
    Refused,
}

/// The names that are the caller's own: its subject and e-mail address.
pub(in crate::policy) type OwnNames = [Option<Arc<str>>; 2];

impl Guards {
    /// The same, to be kept by a grant. Most guard nothing and have one in common.
    pub(super) fn shared(self) -> Arc<Self> {
        static NONE: LazyLock<Arc<Guards>> = LazyLock::new(Arc::default);
        if self == **NONE {
            Arc::clone(&NONE)
        } else {
            Arc::new(self)
        }
    }

    /// What becomes of a setting. `writable`: whether the request can be made to ask for something else.
    pub(super) fn choice(&self, asked: &Asked, place: Place<'_>, writable: bool, own: &OwnNames) -> Choice {
        let value = &*asked.value;
        if asked.setting == Setting::Identity {
            // Nobody's is not the caller's, even of a caller without a name.
            let is_own = !value.is_empty() && own.iter().flatten().any(|name| **name == *value);
            return if self.impersonate || is_own {
                Choice::Kept
            } else {
                Choice::Refused
            };
        }
        let set = self.set(asked.setting, place);
        if set.as_deref() == Some(value) {
            return Choice::Kept;
        }
        match (
            self.lists.get(asked.setting.guard()),
            self.set.contains_key(&asked.setting),
        ) {
            // Which of the other settings it becomes, manifests say.
            (None, false) if asked.setting == Setting::ClusterResource && self.restrict() => Choice::Refused,
            (None, false) => Choice::Kept,
            // Without a value to replace it by it would stay.
            (None, true) if writable && set.is_some() => Choice::Replaced,
            (None, true) => Choice::Refused,
            (Some(list), _) => {
                let mut entries = list.iter().filter_map(|entry| completed(entry, place));
                if entries.any(|entry| covers(asked.setting, &entry, value)) {
                    Choice::Kept
                } else {
                    Choice::Refused
                }
            }
        }
    }

    /// Whether some setting is not the callers' choice.
    fn restrict(&self) -> bool {
        !(self.lists.is_empty() && self.set.is_empty())
    }

    /// What is written of guards, a text for each key: two grants with the same texts guard and set the same.
    pub(super) fn texts(&self) -> BTreeSet<String> {
        let words = |list: &[Template]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let lists = self.lists.iter().map(|(key, list)| format!("{key} [{}]", words(list)));
        let set = self
            .set
            .iter()
            .map(|(setting, text)| format!("set {} {text}", setting.label()));
        let impersonate = self.impersonate.then(|| Setting::Identity.guard().to_owned());
        let prefixes = &self.download_prefixes;
        let downloads = (!prefixes.is_empty()).then(|| format!("download_prefixes [{}]", words(prefixes)));
        lists.chain(set).chain(impersonate).chain(downloads).collect()
    }

    /// Every text in it.
    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        let lists = self.lists.values().flatten();
        lists.chain(self.set.values()).chain(&self.download_prefixes)
    }

    /// What is set in a place.
    pub(super) fn set(&self, setting: Setting, place: Place<'_>) -> Option<String> {
        completed(self.set.get(&setting)?, place)
    }

    /// The values that may be asked for in a place, as far as they are listed.
    pub(super) fn listed(&self, setting: Setting, place: Place<'_>) -> Vec<String> {
        let list = self.lists.get(setting.guard()).into_iter().flatten();
        list.chain(self.set.get(&setting))
            .filter_map(|entry| completed(entry, place))
            .collect()
    }
}

/// A text with the project and domain of the place put in; `None` if it has other variables.
pub(in crate::policy) fn completed(template: &Template, place: Place<'_>) -> Option<String> {
    template.expand(&|variable| match (variable, place) {
        (Variable::Capture(name), Place::Domain { project, domain }) => match &**name {
            "project" => Some(project.into()),
            "domain" => Some(domain.into()),
            _ => None,
        },
        (Variable::Capture(_) | Variable::Claim(_), _) => None,
    })
}

/// Whether a variable of a guard is the call's own project or domain.
pub(in crate::policy) fn is_of_the_call(variable: &Variable) -> bool {
    matches!(variable, Variable::Capture(name) if matches!(&**name, "project" | "domain"))
}

/// Whether an entry covers a value: prefixes of the object store cover what lies below them, groups of secrets the keys in
/// them, and no groups that lie below them where groups are paths, as in Vault.
fn covers(setting: Setting, entry: &str, value: &str) -> bool {
    match setting {
        Setting::RawOutputPrefix => lies_below(entry, value),
        Setting::Secret => {
            let parts = |path: &str| path.trim_end_matches('/').split('/').count();
            lies_below(entry, value) && parts(value) <= parts(entry) + 1
        }
        Setting::ServiceAccount
        | Setting::IamRole
        | Setting::ClusterPool
        | Setting::ClusterLabel
        | Setting::QueueTag
        | Setting::ClusterResource
        | Setting::Identity => entry == value,
    }
}

/// Whether a path is the prefix or lies below it, whoever reads it: nothing in it may lead up or be decoded.
pub(in crate::policy) fn lies_below(prefix: &str, path: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    let unsafe_letter = |letter: char| letter.is_control() || matches!(letter, '\\' | '%' | '?' | '#');
    let below = path
        .strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    !prefix.is_empty()
        && below
        && !path.contains(unsafe_letter)
        && path.split('/').all(|part| !matches!(part, "." | ".."))
}

#[cfg(test)]
mod tests;
