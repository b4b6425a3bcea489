//! An explanation as text, the verdict first, and as JSON.

use super::Explanation;
use crate::audit::record::TargetRecord;
use crate::catalog::Access;
use crate::catalog::answer::Show;
use crate::cli::counted;
use crate::model::action::Action;
use crate::model::principal::{Principal, PrincipalKind};
use crate::model::scope::{Resource, Target};
use crate::policy::RuleName;
use crate::policy::pattern::Captures;
use crate::policy::trace::Step;
use serde_json::{Value, json};
use std::fmt::Write;

/// How many names of a list are shown before "and N more".
const SHOWN: usize = 20;
/// How many characters of the message are shown.
const MESSAGE_SHOWN: usize = 300;

/// A rule that is for the caller, and what it says, each thing with how often.
struct Applied<'a> {
    rule: &'a RuleName,
    title: String,
    lines: Vec<(String, usize)>,
}

impl Explanation<'_> {
    /// For people: the verdict, why, who called what, and then rule by rule.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        match &self.denial {
            Some(denial) => block(
                &mut text,
                "REFUSED",
                [denial.message.to_string(), format!("reason: {}", denial.reason.label())]
                    .into_iter()
                    .chain(self.dependence()),
            ),
            None => block(
                &mut text,
                "ALLOWED",
                [self.permission()]
                    .into_iter()
                    .chain(self.dependence())
                    .chain(self.new_name())
                    .chain(self.answer())
                    .chain(self.written()),
            ),
        }
        text.push('\n');
        block(&mut text, "caller", self.caller());
        block(&mut text, "call", [self.route.rpc.to_string(), self.request()]);
        block(
            &mut text,
            "touches",
            self.touched.iter().flat_map(|touched| &touched.targets).map(touches),
        );
        let asked = self.touched.iter().flat_map(|touched| &touched.asked);
        let asked = asked.map(|asked| format!("{} `{}` (field {})", asked.setting, asked.value, asked.field));
        block(&mut text, "asks for", asked);
        self.rules_for_the_caller(&mut text);
        self.rules_for_others(&mut text);
        let advice = self.steps.0.iter().filter_map(|step| match step {
            Step::Advice { text } => Some(text.clone()),
            _ => None,
        });
        section(&mut text, "To allow it", advice);
        text
    }

    fn permission(&self) -> String {
        match self.route.access {
            Access::Public => "anyone may make this call, also without a credential".to_owned(),
            Access::Authenticated => "every caller with a valid credential may make this call".to_owned(),
            Access::Scoped => format!("by rule {}", self.rules.join(" and rule ")),
        }
    }

    /// When it is allowed, if that depends on something else than the request.
    fn dependence(&self) -> Option<String> {
        let text = "allowed if the execution runs something that rules allow by name: a running proxy asks FlyteAdmin what \
                    it runs; tell it here with --runs";
        let elsewhere = "as long as the execution runs something of its own project and domain, or rules allow use_inventory where \
                         that lies: a running proxy asks FlyteAdmin what it runs; tell it here with --runs";
        let elsewhere = self.elsewhere.then_some(elsewhere);
        self.depends.then_some(text).or(elsewhere).map(str::to_owned)
    }

    /// What becomes of the call if its new execution is not the first of that name.
    fn new_name(&self) -> Option<String> {
        let name = self.chosen.as_ref()?;
        Some(format!(
            "as long as no execution is called `{name}` already, or that one runs something that rules allow by name, too: a \
             running proxy asks FlyteAdmin"
        ))
    }

    /// What the answer shows, if not everything.
    fn answer(&self) -> Option<String> {
        let items = self.route.items()?;
        if items.show == Show::Listed && !self.filtered {
            return None;
        }
        let answer = self.route.answer.as_ref()?;
        Some(format!("filtered: the answer shows {}", answer.described()))
    }

    /// What would be written into the request.
    fn written(&self) -> impl Iterator<Item = String> {
        self.steps.0.iter().filter_map(|step| match step {
            Step::Written { setting, value } => Some(format!("the request is given {setting} `{value}`")),
            _ => None,
        })
    }

    fn caller(&self) -> Vec<String> {
        let mut lines = self.principal.as_ref().map(names).unwrap_or_default();
        lines.push(self.source.note());
        lines
    }

    fn request(&self) -> String {
        let message = String::from_utf8_lossy(&self.message);
        let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut shown: String = line.chars().take(MESSAGE_SHOWN).collect();
        if shown.len() < line.len() {
            shown.push('…');
        }
        shown
    }

    /// What each rule that is for the caller says, each thing once.
    fn rules_for_the_caller(&self, text: &mut String) {
        let mut rules: Vec<Applied<'_>> = Vec::new();
        for step in &self.steps.0 {
            if let Step::RuleApplies { rule, captures } = step {
                rules.push(Applied {
                    title: format!("{rule}{}", captured(captures)),
                    rule,
                    lines: Vec::new(),
                });
            }
            if let Step::Revoked { rule } = step {
                rules.push(Applied {
                    title: rule.to_string(),
                    rule,
                    lines: vec![("- revokes the token".to_owned(), 1)],
                });
            }
            let Some((rule, line)) = said(step) else { continue };
            let Some(applied) = rules.iter_mut().find(|applied| applied.rule == rule) else {
                continue;
            };
            match applied.lines.iter_mut().find(|(known, _)| *known == line) {
                Some((_, times)) => *times += 1,
                None => applied.lines.push((line, 1)),
            }
        }
        let lines = rules.into_iter().flat_map(|applied| {
            let said = applied.lines.into_iter().map(|(line, times)| match times {
                1 => format!("  {line}"),
                _ => format!("  {line} ({times} times)"),
            });
            [applied.title].into_iter().chain(said).collect::<Vec<_>>()
        });
        section(text, "Rules for this caller", lines);
    }

    /// The rules that are for others, together where they are for the same cause.
    fn rules_for_others(&self, text: &mut String) {
        let mut causes: Vec<(String, Vec<&str>)> = Vec::new();
        for step in &self.steps.0 {
            let Step::RuleSkipped { rule, why } = step else {
                continue;
            };
            let why = why.join("; or: ");
            match causes.iter_mut().find(|(known, _)| *known == why) {
                Some((_, rules)) => rules.push(rule.name()),
                None => causes.push((why, vec![rule.name()])),
            }
        }
        let lines = causes.into_iter().flat_map(|(why, rules)| {
            [
                format!("{}: {why}", counted(rules.len(), "rule")),
                format!("  {}", some_of(&rules)),
            ]
        });
        section(text, "Rules for others", lines);
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let principal = self.principal.as_ref().map(|principal| {
            json!({
                "kind": principal.kind.label(),
                "issuer": &*principal.issuer,
                "subject": &*principal.subject,
                "email": principal.email,
                "client_id": principal.client_id,
                "groups": principal.groups,
            })
        });
        let targets = self.touched.iter().flat_map(|touched| &touched.targets);
        let asked = self.touched.iter().flat_map(|touched| &touched.asked);
        json!({
            "allowed": self.denial.is_none(),
            "reason": self.denial.as_ref().map(|denial| denial.reason.label()),
            "message": self.denial.as_ref().map(|denial| denial.message.as_ref()),
            "rpc": &*self.route.rpc,
            "request": serde_json::from_slice(&self.message).unwrap_or(Value::Null),
            "action": self.touched.as_ref().map(|touched| touched.action.label()),
            "principal": principal,
            "claims": {"names": self.source.label(), "note": self.source.note()},
            "targets": targets.map(TargetRecord::of).collect::<Vec<_>>(),
            "depends_on_runs": self.depends || self.elsewhere || self.chosen.is_some(),
            "asks_for": asked.map(|asked| json!({
                "setting": asked.setting.label(),
                "value": asked.value,
                "field": asked.field,
            })).collect::<Vec<_>>(),
            "answer": self.denial.is_none().then(|| self.answer()).flatten(),
            "rules": self.rules,
            "steps": self.steps,
        })
    }
}

/// Lines beside a word, or nothing.
pub(in crate::cli) fn block(text: &mut String, word: &str, lines: impl IntoIterator<Item = String>) {
    let mut word = word;
    for line in lines {
        // Writing to a String cannot fail.
        _ = writeln!(text, "{word:<9}{line}");
        word = "";
    }
}

/// Lines below a title, or nothing.
pub(in crate::cli) fn section(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        _ = writeln!(text, "\n{title}");
    }
    for line in lines {
        _ = writeln!(text, "  {line}");
    }
}

pub(in crate::cli) fn names(principal: &Principal) -> Vec<String> {
    if principal.kind == PrincipalKind::Anonymous {
        return vec!["anyone".to_owned()];
    }
    let mut lines = vec![format!("{}, vouched for by `{}`", principal.subject, principal.issuer)];
    let groups: Vec<&str> = principal.groups.iter().map(|group| &**group).collect();
    lines.push(if groups.is_empty() {
        "in no group".to_owned()
    } else {
        format!("groups: {}", some_of(&groups))
    });
    lines.extend(principal.email.iter().map(|email| format!("email: {email}")));
    lines.extend(principal.client_id.iter().map(|client| format!("client: {client}")));
    lines
}

pub(in crate::cli) fn some_of(names: &[&str]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN).copied().collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{}, and {more} more (--format json shows all)", shown.join(", ")),
    }
}

fn touches(target: &Target) -> String {
    let needs: Vec<&str> = target.needs.iter().map(Action::label).collect();
    let thing = match &target.resource {
        None => String::new(),
        Some(Resource::Named { kind, name }) => format!(", {} `{name}`", kind.label()),
        Some(Resource::Every(kind)) => format!(", every {}", kind.label()),
        Some(Resource::Listed(Some(kind))) => format!(", every {} that is listed", kind.label()),
        Some(Resource::Listed(None)) => ", what is listed".to_owned(),
        Some(Resource::Object(url)) => format!(", the object `{url}`"),
        Some(Resource::Unnamed) => ", something the request does not name".to_owned(),
        Some(Resource::RunBy(execution)) => match &execution.runs {
            None => format!(", what execution `{}` runs", execution.name),
            Some(run) => format!(
                ", {} `{}` run by execution `{}`",
                run.kind.label(),
                run.name,
                execution.name
            ),
        },
    };
    let field = if target.field.is_empty() {
        String::new()
    } else {
        format!(" (field {})", target.field)
    };
    format!("{}{thing}: needs {}{field}", target.scope, needs.join(" or "))
}

fn said(step: &Step) -> Option<(&RuleName, String)> {
    Some(match step {
        Step::GrantAllows { rule, target } => (rule, format!("+ allows {target}")),
        Step::DenyHits { rule, target } => (rule, format!("- denies {target}")),
        Step::GrantPassed { rule, target, why } => (rule, format!("  does not allow {target}: {why}")),
        Step::DenyExempted { rule } => (rule, "  denies nothing here: `unless` names this caller".to_owned()),
        Step::ExpansionDropped { rule, why } => (rule, format!("  has a grant that is left out: {why}")),
        Step::Revoked { .. }
        | Step::RuleSkipped { .. }
        | Step::RuleApplies { .. }
        | Step::Written { .. }
        | Step::Decided { .. }
        | Step::Advice { .. } => {
            return None;
        }
    })
}

/// What a pattern captured, once for each value that matched; with a leading comma.
fn captured(captures: &[Captures]) -> String {
    let sets = captures.iter().filter(|set| !set.is_empty()).map(|set| {
        let values: Vec<String> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
        values.join(" ")
    });
    let sets: Vec<String> = sets.collect();
    if sets.is_empty() {
        String::new()
    } else {
        format!(", with {}", sets.join("; "))
    }
}
