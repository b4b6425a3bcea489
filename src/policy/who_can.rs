//! Who may do something somewhere: the callers whom rules allow it, with what their claims have to hold, and those whom
//! rules deny it.

use super::grant::{ActionsTemplate, Assignment, Grant, GrantTemplate, Lists, Place, Plan};
use super::pattern::{CapturePattern, Template, Variable};
use super::subject::{Condition, Subject};
use super::who::Who;
use super::{Policy, Rule, RuleName};
use crate::model::action::Action;
use crate::model::scope::{Resource, ResourceKind};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What somebody may do, and where.
#[derive(Clone, Copy, Debug)]
pub struct Deed<'a> {
    /// The action.
    pub action: Action,
    /// The project and domain; without, the platform as a whole.
    pub place: Option<(&'a str, &'a str)>,
    /// The one thing it is about, if it is about one.
    pub thing: Option<(ResourceKind, &'a str)>,
}

/// The callers who may, and those who may not whatever allows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WhoCan {
    /// Whom rules allow it.
    pub allowed: Vec<Callers>,
    /// Whom rules deny it.
    pub denied: Vec<Callers>,
    /// Whose tokens count no more.
    pub revoked: Vec<Callers>,
}

/// Some callers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Callers {
    /// Their conditions, as the rule writes them.
    pub subject: String,
    /// What the names in the rule that come from claims have to be; any one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<Values>,
    /// Who is spared by the deny.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unless: Vec<String>,
    /// The only names it holds for, by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub only: BTreeMap<&'static str, Vec<String>>,
    /// What the entry guards and sets of how executions run, as it is written.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub guards: BTreeSet<String>,
    /// The rule that says so.
    pub rule: RuleName,
}

/// Values with which a rule is about the place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Values {
    /// By the name of the variable.
    pub variables: BTreeMap<String, String>,
    /// A value of the claim that the pattern reads them from, where one could be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
}

impl Policy {
    /// Whom this policy allows the deed, and whom it denies it.
    #[must_use]
    pub fn who_can(&self, deed: &Deed<'_>) -> WhoCan {
        let place = deed.place();
        let resource = deed.resource();
        let mut found = WhoCan::default();
        for rule in &self.rules {
            for plan in &rule.allow {
                match plan {
                    Plan::Fixed(grant) => {
                        if covers(grant, deed) && grant.allows(place, place, resource.as_ref()) {
                            let (only, guards) = (only(&grant.lists, deed), grant.guards.texts());
                            found.allowed.extend(rule.callers().map(|callers| Callers {
                                only: only.clone(),
                                guards: guards.clone(),
                                ..callers
                            }));
                        }
                    }
                    Plan::Variable(template) => found.allowed.extend(self.completed(rule, template, deed)),
                }
            }
            for deny in rule.deny.iter().filter(|deny| covers(deny, deed)) {
                let only = only(&deny.lists, deed);
                if !only.is_empty() || deny.denies(place, resource.as_ref()) {
                    let unless: Vec<String> = rule.unless.iter().map(|item| Who::whole(item).to_string()).collect();
                    let callers = rule.callers().map(|callers| Callers {
                        only: only.clone(),
                        unless: unless.clone(),
                        ..callers
                    });
                    found.denied.extend(callers);
                }
            }
        }
        let revoked = self.revoked.iter().map(|item| Callers::of(&item.subject, &item.name));
        found.revoked.extend(revoked);
        for list in [&mut found.allowed, &mut found.denied] {
            list.dedup();
        }
        found
    }

    /// The callers for whom the entry, completed from their claims, allows the deed.
    fn completed(&self, rule: &Rule, template: &GrantTemplate, deed: &Deed<'_>) -> Vec<Callers> {
        let assignments = self.assignments(template, deed);
        let of_subject = |subject: &Subject| {
            let with: Vec<Values> = assignments
                .iter()
                .filter_map(|values| values_of(subject, values))
                .collect();
            let callers = Callers {
                with,
                only: only_as_written(template, deed),
                guards: template.guards.texts(),
                ..Callers::of(subject, &rule.name)
            };
            (!callers.with.is_empty()).then_some(callers)
        };
        rule.subjects.iter().filter_map(of_subject).collect()
    }

    /// The values with which the entry is about the deed. Variables that are in its lists only may have none.
    fn assignments(&self, template: &GrantTemplate, deed: &Deed<'_>) -> Vec<Assignment> {
        let solved = |templates: &[Template], name: Option<&str>| -> Vec<Assignment> {
            let any = || templates.iter().any(|one| one.to_string() == "*");
            match name {
                Some(name) => templates.iter().flat_map(|one| one.solutions(name)).collect(),
                None => any().then(Assignment::new).into_iter().collect(),
            }
        };
        let projects = solved(&template.projects, deed.place.map(|(project, _)| project));
        let domains = solved(&template.domains, deed.place.map(|(_, domain)| domain));
        let roles: Vec<Assignment> = match &template.actions {
            ActionsTemplate::Fixed(actions) => actions
                .contains(deed.action)
                .then(Assignment::new)
                .into_iter()
                .collect(),
            ActionsTemplate::Role(role) => {
                let fits = |name: &&str| {
                    self.roles
                        .actions(name)
                        .is_some_and(|actions| actions.contains(deed.action))
                };
                self.roles
                    .names()
                    .filter(fits)
                    .flat_map(|name| role.solutions(name))
                    .collect()
            }
        };
        let mut all = BTreeSet::new();
        for project in &projects {
            for domain in &domains {
                for role in &roles {
                    all.extend(joined(&[project, domain, role]).filter(|values| self.suits(template, values, deed)));
                }
            }
        }
        all.into_iter().collect()
    }

    /// Whether the entry, where these values complete it, allows the deed.
    fn suits(&self, template: &GrantTemplate, values: &Assignment, deed: &Deed<'_>) -> bool {
        if !template
            .variables()
            .into_iter()
            .all(|variable| values.contains_key(variable))
        {
            return true;
        }
        let completed = template.complete(values, &self.roles);
        completed.is_ok_and(|grant| {
            covers(&grant, deed) && grant.allows(deed.place(), deed.place(), deed.resource().as_ref())
        })
    }
}

impl<'a> Deed<'a> {
    fn place(&self) -> Place<'a> {
        match self.place {
            Some((project, domain)) => Place::Domain { project, domain },
            None => Place::Platform,
        }
    }

    fn resource(&self) -> Option<Resource> {
        let (kind, name) = self.thing?;
        Some(Resource::Named {
            kind,
            name: name.into(),
        })
    }
}

impl Rule {
    fn callers(&self) -> impl Iterator<Item = Callers> {
        self.subjects.iter().map(|subject| Callers::of(subject, &self.name))
    }
}

impl Callers {
    fn of(subject: &Subject, rule: &RuleName) -> Self {
        Self {
            subject: Who::whole(subject).to_string(),
            with: Vec::new(),
            unless: Vec::new(),
            only: BTreeMap::new(),
            guards: BTreeSet::new(),
            rule: rule.clone(),
        }
    }
}

fn covers(grant: &Grant, deed: &Deed<'_>) -> bool {
    grant.actions.contains(deed.action) && grant.is_about(deed.place())
}

/// The names to which an entry is restricted, if the deed is about nothing in particular.
fn only(lists: &Lists, deed: &Deed<'_>) -> BTreeMap<&'static str, Vec<String>> {
    let kinds = [ResourceKind::Task, ResourceKind::Workflow, ResourceKind::LaunchPlan];
    let kinds = kinds.into_iter().filter(|_| deed.thing.is_none());
    let listed = kinds.filter_map(|kind| {
        let names = lists.of(kind)?.iter().map(|name| (**name).into()).collect();
        Some((kind.label(), names))
    });
    listed.collect()
}

/// The same of an entry that is completed from claims: as it is written.
fn only_as_written(template: &GrantTemplate, deed: &Deed<'_>) -> BTreeMap<&'static str, Vec<String>> {
    let text = |list: &Option<Vec<Template>>| {
        let names = list.as_ref()?.iter();
        Some(names.map(|name| name.to_string().into()).collect())
    };
    let lists = Lists {
        tasks: text(&template.tasks),
        workflows: text(&template.workflows),
        launch_plans: text(&template.launch_plans),
    };
    only(&lists, deed)
}

/// All values together, if they agree.
fn joined(parts: &[&Assignment]) -> impl Iterator<Item = Assignment> + use<> {
    let mut together = Assignment::new();
    let mut agree = true;
    for (variable, value) in parts.iter().copied().flatten() {
        let before = together.insert(variable.clone(), value.clone());
        agree &= before.is_none_or(|before| before == *value);
    }
    agree.then_some(together).into_iter()
}

/// The values as they are shown, unless no value of the subject's claim can hold them.
fn values_of(subject: &Subject, assignment: &Assignment) -> Option<Values> {
    let mut variables = BTreeMap::new();
    let mut captured = BTreeMap::new();
    for (variable, value) in assignment {
        let name = match variable {
            Variable::Capture(name) => {
                captured.insert(name.clone(), value.clone());
                name.to_string()
            }
            Variable::Claim(path) => format!("claims.{}", path.join(".")),
        };
        variables.insert(name, value.to_string());
    }
    let pattern = subject.conditions.iter().find_map(|condition| match condition {
        Condition::Pattern(_, pattern) => Some(pattern),
        Condition::Anyone
        | Condition::Attribute(..)
        | Condition::Issuer(_)
        | Condition::Claim(..)
        | Condition::IssuedBefore(_) => None,
    });
    let claim = match pattern.and_then(|pattern| Some((pattern, example(pattern, &captured)?))) {
        None => None,
        Some((pattern, example)) => {
            let found = pattern.captures(&example)?;
            let agrees = captured.iter().all(|(name, value)| found.get(name) == Some(value));
            agrees.then_some(())?;
            Some(example)
        }
    };
    Some(Values { variables, claim })
}

/// What the pattern matches with these values in place of its named groups; `None` if it has more than those and plain text.
fn example(pattern: &CapturePattern, captured: &BTreeMap<Box<str>, Box<str>>) -> Option<String> {
    let mut text = String::new();
    let mut rest = pattern.text();
    while let Some((before, after)) = rest.split_once('(') {
        text.push_str(before);
        let after = after.strip_prefix("?P<").or_else(|| after.strip_prefix("?<"))?;
        let (name, group) = after.split_once('>')?;
        text.push_str(captured.get(name)?);
        rest = after_group(group)?;
    }
    text.push_str(rest);
    let text = text.replace("\\.", ".").replace("\\-", "-");
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:@ ".contains(character);
    text.chars().all(plain).then_some(text)
}

/// What follows the parenthesis that closes a group. A quantifier behind it is no plain text.
fn after_group(group: &str) -> Option<&str> {
    let mut depth = 1_usize;
    let mut characters = group.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '\\' => _ = characters.next(),
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return group.get(place + 1..);
        }
    }
    None
}

#[cfg(test)]
mod tests;
