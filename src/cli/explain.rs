//! `explain`: the decision on one call, with every rule that was looked at; by the code that serves.

use super::call::{self, CallArguments, CallError};
use super::{DENIED, FAILED, Format, INVALID, OK, listed, print, print_error};
use crate::catalog::{Access, Catalog, Route};
use crate::config::Config;
use crate::extract::WalkLimits;
use crate::extract::targets::{Extracted, ScopeRules};
use crate::model::denial::Denial;
use crate::model::principal::Principal;
use crate::model::problem::Problem;
use crate::model::scope::{Resource, ResourceKind, Run, Scope, Target};
use crate::policy::Policy;
use crate::policy::decide::{Call, Decision};
use crate::policy::stored::{started_elsewhere, starts_again};
use crate::policy::trace::Steps;
use crate::reload::policy::PolicyInputs;
use caller::{Caller, Source};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) mod caller;
pub(super) mod render;

/// Whose call to explain, under which policy.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration file: its policy, domains, catalogue and issuers are used.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "policy",
        conflicts_with = "policy"
    )]
    config: Option<PathBuf>,
    /// A policy file or directory by itself, with the default domains and claim names.
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    /// A file with the caller's claims in JSON, such as `{"iss": "https://idp.example.com", "sub": "alice", "groups": ["ml"]}`.
    /// They are not verified.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "token",
        conflicts_with = "token"
    )]
    claims: Option<PathBuf>,
    /// A file with the caller's token. It is verified as for a request, fetching the issuer's keys; needs `--config`.
    #[arg(long, value_name = "FILE", requires = "config", conflicts_with = "policy")]
    token: Option<PathBuf>,
    #[command(flatten)]
    call: CallArguments,
    /// What the stored execution runs that the call is about, which a running proxy looks up where rules list names:
    /// `task=NAME`, `launch_plan=NAME`, or `launch_plan=DOMAIN/PROJECT/NAME` if it lies elsewhere than the execution.
    #[arg(long, value_name = "KIND=NAME", value_parser = told_run)]
    runs: Option<ToldRun>,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What a policy alone is judged with.
const DEFAULT_DOMAINS: [&str; 3] = ["development", "staging", "production"];

struct Setting {
    policy: Policy,
    catalog: Catalog,
    rules: ScopeRules,
    limits: WalkLimits,
    config: Option<Config>,
}

/// What an execution runs, as the arguments tell it: the domain and project only if others than its own.
#[derive(Clone, Debug)]
struct ToldRun {
    kind: ResourceKind,
    place: Option<(Arc<str>, Arc<str>)>,
    name: Arc<str>,
}

/// What came out.
struct Explanation<'a> {
    route: &'a Route,
    message: Vec<u8>,
    source: Source,
    principal: Option<Principal>,
    touched: Option<Extracted>,
    denial: Option<Denial>,
    rules: Vec<String>,
    filtered: bool,
    /// Whether it would be allowed for some things that the execution can run.
    depends: bool,
    /// Whether it is allowed only if what it starts again lies where it may be used.
    elsewhere: bool,
    /// The name it chooses for a new execution, if it is allowed only as long as no other execution has it.
    chosen: Option<Box<str>>,
    steps: Steps,
}

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{}: {fault}", file.display())]
    Caller { file: PathBuf, fault: String },
    #[error("the token cannot be verified: {0}")]
    Verification(String),
}

/// Explains one call.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let setting = match arguments.setting() {
        Ok(setting) => setting,
        Err(problems) => {
            print_error(&listed(&problems));
            return INVALID;
        }
    };
    match arguments.explain(&setting) {
        Ok(explanation) => {
            print(&match arguments.format {
                Format::Text => explanation.text(),
                Format::Json => format!("{:#}\n", explanation.json()),
            });
            if explanation.denial.is_none() { OK } else { DENIED }
        }
        Err(fault) => {
            print_error(&format!("error: {fault}\n"));
            FAILED
        }
    }
}

impl Arguments {
    fn setting(&self) -> Result<Setting, Vec<Problem>> {
        let config = self.config.as_deref().map(Config::load).transpose()?;
        let config = config.map(|(config, _)| config);
        let policy = self.policy.as_deref().unwrap_or(Path::new(""));
        let domains = DEFAULT_DOMAINS.map(Into::into).to_vec();
        let inputs = match &config {
            Some(config) => PolicyInputs::of(config),
            None => PolicyInputs::alone(policy, domains.clone()),
        };
        let (_, (policy, catalog, _)) = inputs.load()?;
        let flyte = config.as_ref().map(|config| &config.flyte);
        let rules = ScopeRules {
            domains: flyte.map_or(domains, |flyte| flyte.domains.clone()),
            organizations: flyte.map(|flyte| flyte.organizations.clone()).unwrap_or_default(),
        };
        let limits = config.as_ref().map(|config| WalkLimits {
            max_fields: config.limits.message_fields,
        });
        Ok(Setting {
            policy,
            catalog,
            rules,
            limits: limits.unwrap_or_default(),
            config,
        })
    }

    fn explain<'a>(&self, setting: &'a Setting) -> Result<Explanation<'a>, Fault> {
        let route = self.call.route(&setting.catalog)?;
        let message = self.call.message(route)?;
        // As when serving, nobody looks at the credential of a public call.
        let Caller { principal, source } = if route.access == Access::Public {
            Caller::anonymous()
        } else {
            self.caller(setting.config.as_ref())?
        };
        let mut explanation = Explanation {
            route,
            message,
            source,
            principal: None,
            touched: None,
            denial: None,
            rules: Vec::new(),
            filtered: false,
            depends: false,
            elsewhere: false,
            chosen: None,
            steps: Steps::default(),
        };
        explanation.denial = explanation.judge(setting, principal, self.runs.as_ref()).err();
        Ok(explanation)
    }
}

impl Explanation<'_> {
    /// The stages of a request, in their order, as far as they get.
    fn judge(
        &mut self,
        setting: &Setting,
        principal: Result<Principal, Denial>,
        runs: Option<&ToldRun>,
    ) -> Result<(), Denial> {
        let principal = self.principal.insert(principal?);
        let rights = setting.policy.resolve(principal, &mut self.steps);
        if let Err(refusal) = rights.admit(self.route.access) {
            self.rules = refusal.rule.iter().map(ToString::to_string).collect();
            return Err(refusal.denial);
        }
        let touched = call::touched(self.route, &self.message, &setting.rules, &setting.limits)?;
        let touched = self.touched.insert(touched);
        if let Some(runs) = runs {
            touched.targets.iter_mut().for_each(|target| runs.tell(target));
            let elsewhere = started_elsewhere(&touched.targets);
            touched.targets.extend(elsewhere);
        }
        let call = Call {
            access: self.route.access,
            action: touched.action,
            targets: &touched.targets,
            asked: &touched.asked,
            writes: &self.route.writes,
        };
        match rights.decide(&call, &mut self.steps) {
            Decision::Allow(permit) => {
                self.rules = permit.rules().iter().map(ToString::to_string).collect();
                self.filtered = permit.is_filtered();
                self.elsewhere = starts_again(call.targets);
                let chosen = touched.chosen.as_ref();
                let chosen = chosen.filter(|chosen| rights.depends_on_name(&call, chosen).is_some());
                self.chosen = chosen.map(|chosen| (&*chosen.name).into());
                Ok(())
            }
            Decision::Deny(refusal) => {
                self.rules = refusal.rule.iter().map(ToString::to_string).collect();
                self.depends = rights.depends_on_runs(&call);
                Err(refusal.denial)
            }
        }
    }
}

fn told_run(text: &str) -> Result<ToldRun, String> {
    let malformed = || "write task=NAME, launch_plan=NAME or launch_plan=DOMAIN/PROJECT/NAME".to_owned();
    let (kind, name) = text.split_once('=').ok_or_else(malformed)?;
    let kind = match kind {
        "task" => ResourceKind::Task,
        "launch_plan" => ResourceKind::LaunchPlan,
        _ => return Err(malformed()),
    };
    let mut parts = name.splitn(3, '/');
    let (place, name) = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, None) => (None, name),
        (Some(domain), Some(project), Some(name)) => (Some((domain.into(), project.into())), name),
        _ => return Err(malformed()),
    };
    if name.is_empty() {
        return Err(malformed());
    }
    Ok(ToldRun {
        kind,
        place,
        name: name.into(),
    })
}

impl ToldRun {
    /// Puts it where a look-up would.
    fn tell(&self, target: &mut Target) {
        let Scope::ProjectDomain { project, domain } = &target.scope else {
            return;
        };
        if let Some(Resource::RunBy(execution)) = &mut target.resource {
            let (domain, project) = self
                .place
                .as_ref()
                .map_or((domain, project), |(domain, project)| (domain, project));
            execution.runs = Some(Run {
                kind: self.kind,
                project: project.clone(),
                domain: domain.clone(),
                name: self.name.clone(),
            });
        }
    }
}
