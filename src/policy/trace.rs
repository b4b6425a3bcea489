//! What was looked at on the way to a decision: nothing when serving, every step when explaining.

use super::RuleName;
use super::pattern::Captures;
use serde::{Serialize, Serializer};
use std::fmt::Write;

/// Receives the steps of a decision.
pub trait Trace {
    /// Whether steps are kept: then every rule is looked at, not only those the index finds.
    const EXPLAINS: bool;

    /// Receives a step. It is made only if it is kept.
    fn record(&mut self, step: impl FnOnce() -> Step);
}

/// Keeps nothing: for serving.
impl Trace for () {
    const EXPLAINS: bool = false;

    fn record(&mut self, _: impl FnOnce() -> Step) {}
}

/// Keeps every step, in order: for explaining.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Steps(pub Vec<Step>);

impl Trace for Steps {
    const EXPLAINS: bool = true;

    fn record(&mut self, step: impl FnOnce() -> Step) {
        self.0.push(step());
    }
}

/// One step on the way to a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// An item of `revoked` is about this caller: nothing else is looked at.
    Revoked {
        /// The item.
        rule: RuleName,
    },
    /// A rule is not for this caller.
    RuleSkipped {
        /// The rule.
        rule: RuleName,
        /// For each item of `subjects`, the condition that fails.
        why: Vec<String>,
    },
    /// A rule is for this caller.
    RuleApplies {
        /// The rule.
        rule: RuleName,
        /// What its pattern captured, once for each value that matched.
        captures: Vec<Captures>,
    },
    /// A rule's denies do not apply: its `unless` names this caller.
    DenyExempted {
        /// The rule.
        rule: RuleName,
    },
    /// An entry of `allow` with variables allows less than written, or nothing.
    ExpansionDropped {
        /// The rule.
        rule: RuleName,
        /// Why.
        why: String,
    },
    /// A grant was looked at and does not cover a target.
    GrantPassed {
        /// The rule.
        rule: RuleName,
        /// What had to be covered.
        target: String,
        /// Why it is not.
        why: String,
    },
    /// A grant covers a target.
    GrantAllows {
        /// The rule.
        rule: RuleName,
        /// What is covered.
        target: String,
    },
    /// A deny covers a target.
    DenyHits {
        /// The rule.
        rule: RuleName,
        /// What is covered.
        target: String,
    },
    /// A setting of executions is written into the request.
    Written {
        /// Which.
        setting: &'static str,
        /// The value.
        value: Box<str>,
    },
    /// The decision.
    Decided {
        /// Whether it is permitted.
        allowed: bool,
        /// The reason and message of a refusal, or what permits it.
        why: String,
    },
    /// What would have to be added to the policy to allow it.
    Advice {
        /// The text.
        text: String,
    },
}

impl Serialize for RuleName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            name: &'a str,
            file: std::borrow::Cow<'a, str>,
            line: u64,
        }
        let file = self.file().to_string_lossy();
        Shown {
            name: self.name(),
            file,
            line: self.line(),
        }
        .serialize(serializer)
    }
}

/// The steps as text for people, one a line.
#[must_use]
pub fn render_steps(steps: &Steps) -> String {
    let mut text = String::new();
    for step in &steps.0 {
        // Writing to a String cannot fail.
        _ = match step {
            Step::Revoked { rule } => writeln!(text, "- {rule} revokes the token of this caller"),
            Step::RuleSkipped { rule, why } => {
                writeln!(text, "  rule {rule} is not for this caller: {}", why.join("; or: "))
            }
            Step::RuleApplies { rule, captures } => {
                writeln!(text, "* rule {rule} is for this caller{}", render_captures(captures))
            }
            Step::DenyExempted { rule } => {
                writeln!(text, "  rule {rule} denies nothing here: `unless` names this caller")
            }
            Step::ExpansionDropped { rule, why } => writeln!(text, "  rule {rule} has a grant that is left out: {why}"),
            Step::GrantPassed { rule, target, why } => {
                writeln!(text, "  rule {rule} does not allow {target}: {why}")
            }
            Step::GrantAllows { rule, target } => writeln!(text, "+ rule {rule} allows {target}"),
            Step::DenyHits { rule, target } => writeln!(text, "- rule {rule} denies {target}"),
            Step::Written { setting, value } => writeln!(text, "= the request is given {setting} `{value}`"),
            Step::Decided { allowed: true, why } => writeln!(text, "ALLOWED: {why}"),
            Step::Decided { allowed: false, why } => writeln!(text, "REFUSED: {why}"),
            Step::Advice { text: advice } => writeln!(text, "To allow it: {advice}"),
        };
    }
    text
}

fn render_captures(captures: &[Captures]) -> String {
    let sets: Vec<String> = captures
        .iter()
        .filter(|set| !set.is_empty())
        .map(|set| {
            set.iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    if sets.is_empty() {
        String::new()
    } else {
        format!(" with {}", sets.join("; "))
    }
}
