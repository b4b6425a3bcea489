//! `who-can`: the callers whom a policy allows something somewhere.

use super::source::PolicyArguments;
use super::{FAILED, Format, INVALID, OK, listed, print, print_error};
use crate::model::action::Action;
use crate::model::scope::ResourceKind;
use crate::policy::who_can::{Callers, Deed, Values, WhoCan};
use std::fmt::Write;

/// What, where, under which policy.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The action, such as `create_executions`.
    #[arg(value_parser = clap::builder::ValueParser::new(str::parse::<Action>))]
    action: Action,
    /// The project; without, the platform as a whole.
    #[arg(long, requires = "domain")]
    project: Option<String>,
    /// The domain.
    #[arg(long, requires = "project")]
    domain: Option<String>,
    /// The task it is about.
    #[arg(long, value_name = "NAME", requires = "project", conflicts_with_all = ["workflow", "launch_plan"])]
    task: Option<String>,
    /// The workflow it is about.
    #[arg(long, value_name = "NAME", requires = "project", conflicts_with = "launch_plan")]
    workflow: Option<String>,
    /// The launch plan it is about.
    #[arg(long, value_name = "NAME", requires = "project")]
    launch_plan: Option<String>,
    #[command(flatten)]
    policy: PolicyArguments,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Tells who may.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let policy = match arguments.policy.policy() {
        Ok(policy) => policy,
        Err(problems) => {
            print_error(&listed(&problems));
            return INVALID;
        }
    };
    // Every call there is refused, whatever rules say of `*`.
    if let Some(domain) = &arguments.domain
        && !policy.domains().iter().any(|known| **known == **domain)
    {
        let known = policy.domains().join(", ");
        print_error(&format!(
            "error: `{domain}` is none of the configured domains: {known}\n"
        ));
        return FAILED;
    }
    let found = policy.who_can(&arguments.deed());
    match arguments.format {
        Format::Text => print(&arguments.text(&found)),
        Format::Json => print(&format!("{:#}\n", serde_json::json!(found))),
    }
    OK
}

impl Arguments {
    fn deed(&self) -> Deed<'_> {
        let things = [
            (ResourceKind::Task, &self.task),
            (ResourceKind::Workflow, &self.workflow),
            (ResourceKind::LaunchPlan, &self.launch_plan),
        ];
        Deed {
            action: self.action,
            place: self.project.as_deref().zip(self.domain.as_deref()),
            thing: things
                .into_iter()
                .find_map(|(kind, name)| Some((kind, name.as_deref()?))),
        }
    }

    fn text(&self, found: &WhoCan) -> String {
        let deed = self.deed();
        let mut text = match deed.place {
            Some((project, domain)) => format!("{} in project {project}, domain {domain}", self.action),
            None => format!("{} on the platform", self.action),
        };
        if let Some((kind, name)) = deed.thing {
            // Writing to a String cannot fail.
            _ = write!(text, ", {} {name}", kind.label());
        }
        text.push('\n');
        let allowed = if found.allowed.is_empty() { "nobody may" } else { "may:" };
        list(&mut text, allowed, &found.allowed);
        if !found.denied.is_empty() {
            list(&mut text, "may not, whatever allows it:", &found.denied);
        }
        if !found.revoked.is_empty() {
            list(
                &mut text,
                "may do nothing, since their tokens are revoked:",
                &found.revoked,
            );
        }
        text
    }
}

fn list(text: &mut String, heading: &str, all: &[Callers]) {
    // Writing to a String cannot fail.
    _ = writeln!(text, "\n{heading}");
    for callers in all {
        _ = write!(text, "  {}", callers.subject);
        if !callers.unless.is_empty() {
            _ = write!(text, ", but not {}", callers.unless.join(", nor "));
        }
        for (kind, names) in &callers.only {
            let kind = kind.replace('_', " ");
            _ = match names.as_slice() {
                [] => write!(text, "; no {kind}"),
                names => write!(text, "; only {kind} {}", names.join(", ")),
            };
        }
        for guard in &callers.guards {
            _ = write!(text, "; {guard}");
        }
        _ = writeln!(text, ", by rule {}", callers.rule);
        for with in &callers.with {
            _ = writeln!(text, "    {}", values(with));
        }
    }
}

fn values(with: &Values) -> String {
    let variables: Vec<String> = with
        .variables
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    match &with.claim {
        Some(claim) => format!("such as `{claim}`: {}", variables.join(", ")),
        None => format!("with {}", variables.join(", ")),
    }
}
