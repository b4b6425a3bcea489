//! `explain`: the decision on one call, with every rule that was looked at; by the code that serves.

use super::call::{self, CallArguments};
use super::{DENIED, FAILED, Format, INVALID, OK, print, report};
use crate::audit::record::TargetRecord;
use crate::catalog::{Catalog, Route};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::credential::locate::Scheme;
use crate::extract::targets::{Extracted, ScopeRules};
use crate::issuer::Issuers;
use crate::model::denial::Denial;
use crate::model::principal::Principal;
use crate::model::problem::Problem;
use crate::policy::Policy;
use crate::policy::decide::{Call, Decision};
use crate::policy::trace::{Steps, render_steps};
use crate::reload::policy::PolicyInputs;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// A file with the caller's claims in JSON.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "token",
        conflicts_with = "token"
    )]
    claims: Option<PathBuf>,
    /// A file with the caller's token. It is verified as for a request, fetching the issuer's keys; needs `--config`.
    #[arg(long, value_name = "FILE", requires = "config")]
    token: Option<PathBuf>,
    #[command(flatten)]
    call: CallArguments,
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
    config: Option<Config>,
}

/// What came out.
struct Explanation<'a> {
    route: &'a Route,
    principal: Option<Principal>,
    touched: Option<Extracted>,
    denial: Option<Denial>,
    rules: Vec<String>,
    steps: Steps,
}

/// Explains one call.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let setting = match arguments.setting() {
        Ok(setting) => setting,
        Err(problems) => {
            report(&problems);
            return INVALID;
        }
    };
    let route = match arguments.call.route(&setting.catalog) {
        Ok(route) => route,
        Err(error) => return fail(&error),
    };
    let message = match arguments.call.message(route) {
        Ok(message) => message,
        Err(error) => return fail(&error),
    };
    let principal = match arguments.principal(&setting) {
        Ok(principal) => principal,
        Err(error) => return fail(&error),
    };
    let explanation = explain(&setting, route, &message, principal);
    print(&match arguments.format {
        Format::Text => explanation.text(),
        Format::Json => format!("{:#}\n", explanation.json()),
    });
    if explanation.denial.is_none() { OK } else { DENIED }
}

fn fail(error: &dyn std::fmt::Display) -> u8 {
    print(&format!("error: {error}\n"));
    FAILED
}

impl Arguments {
    fn setting(&self) -> Result<Setting, Vec<Problem>> {
        let (config, files) = match (&self.config, &self.policy) {
            (Some(path), _) => {
                let (config, _) = Config::load(path)?;
                let files = PolicyInputs::of(&config);
                (Some(config), files)
            }
            (None, policy) => {
                let domains = DEFAULT_DOMAINS.map(Into::into).to_vec();
                (
                    None,
                    PolicyInputs::alone(policy.as_deref().unwrap_or(Path::new("")), domains),
                )
            }
        };
        let (policy, catalog, _) = files.compile(files.read()?)?;
        let rules = match &config {
            Some(config) => ScopeRules {
                domains: config.flyte.domains.clone(),
                organizations: config.flyte.organizations.clone(),
            },
            None => ScopeRules {
                domains: DEFAULT_DOMAINS.map(Into::into).to_vec(),
                organizations: Vec::new(),
            },
        };
        Ok(Setting {
            policy,
            catalog,
            rules,
            config,
        })
    }

    /// The caller, or why the credential is refused.
    fn principal(&self, setting: &Setting) -> Result<Result<Principal, Denial>, String> {
        if let Some(path) = &self.token {
            let token = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let config = setting.config.as_ref().ok_or("--token needs --config")?;
            return verify(config, token.trim());
        }
        let path = self.claims.as_deref().ok_or("--claims or --token is needed")?;
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let claims: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let Value::Object(claims) = claims else {
            return Err(format!("{}: claims are a JSON object", path.display()));
        };
        let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut configured = setting.config.iter().flat_map(|config| &config.issuers);
        let mapping = configured
            .find(|settings| *settings.rules.issuer == *issuer)
            .map(|settings| settings.rules.mapping.clone());
        Ok(mapping
            .unwrap_or_default()
            .principal(&issuer.into(), &Arc::new(claims), None))
    }
}

/// Verifies a token as the server does, after fetching keys.
fn verify(config: &Config, token: &str) -> Result<Result<Principal, Denial>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let issuers = Issuers::new(
        config.issuers.clone(),
        config.credentials.limits,
        Arc::new(SystemClock),
        Arc::new(()),
    )
    .map_err(|problems| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join(
            "
",
        )
    })?;
    Ok(runtime.block_on(async {
        issuers.refresh_all().await;
        let bearer = issuers.verify(Scheme::Bearer, token).await;
        bearer.map(|verified| Principal::clone(&verified.principal))
    }))
}

fn explain<'a>(
    setting: &'a Setting,
    route: &'a Route,
    message: &[u8],
    principal: Result<Principal, Denial>,
) -> Explanation<'a> {
    let mut explanation = Explanation {
        route,
        principal: None,
        touched: None,
        denial: None,
        rules: Vec::new(),
        steps: Steps::default(),
    };
    let principal = match principal {
        Ok(principal) => explanation.principal.insert(principal),
        Err(denial) => {
            explanation.denial = Some(denial);
            return explanation;
        }
    };
    let touched = match call::touched(route, message, &setting.rules) {
        Ok(touched) => explanation.touched.insert(touched),
        Err(denial) => {
            explanation.denial = Some(denial);
            return explanation;
        }
    };
    let rights = setting.policy.resolve(principal, &mut explanation.steps);
    let call = Call {
        access: route.access,
        action: touched.action,
        targets: &touched.targets,
    };
    match rights.decide(&call, &mut explanation.steps) {
        Decision::Allow(permit) => explanation.rules = permit.rules().iter().map(ToString::to_string).collect(),
        Decision::Deny(refusal) => {
            explanation.rules = refusal.rule.iter().map(ToString::to_string).collect();
            explanation.denial = Some(refusal.denial);
        }
    }
    explanation
}

impl Explanation<'_> {
    fn text(&self) -> String {
        let mut text = String::new();
        let verdict = self.denial.as_ref().map_or("allow".to_owned(), |denial| {
            format!("refuse  {}", denial.reason.label())
        });
        // Writing to a String cannot fail.
        _ = writeln!(text, "{verdict}");
        if let Some(denial) = &self.denial {
            _ = writeln!(text, "  why      {}", denial.message);
        }
        if let Some(principal) = &self.principal {
            let groups: Vec<&str> = principal.groups.iter().map(|group| &**group).collect();
            _ = writeln!(
                text,
                "  caller   {} from `{}`, groups [{}]",
                principal.subject,
                principal.issuer,
                groups.join(", ")
            );
        }
        _ = writeln!(text, "  call     {}", self.route.rpc);
        for target in self.touched.iter().flat_map(|touched| &touched.targets) {
            let needs: Vec<&str> = target.needs.iter().map(crate::model::action::Action::label).collect();
            let field = if target.field.is_empty() {
                String::new()
            } else {
                format!(" (from {})", target.field)
            };
            _ = writeln!(text, "  touches  {}: needs {}{field}", target.scope, needs.join(" or "));
        }
        if !self.steps.0.is_empty() {
            _ = write!(text, "\n{}", render_steps(&self.steps));
        }
        text
    }

    fn json(&self) -> Value {
        let principal = self.principal.as_ref().map(|principal| {
            json!({
                "issuer": &*principal.issuer,
                "subject": &*principal.subject,
                "email": principal.email,
                "client_id": principal.client_id,
                "groups": principal.groups,
            })
        });
        json!({
            "allowed": self.denial.is_none(),
            "reason": self.denial.as_ref().map(|denial| denial.reason.label()),
            "message": self.denial.as_ref().map(|denial| denial.message.as_ref()),
            "rpc": &*self.route.rpc,
            "action": self.touched.as_ref().map(|touched| touched.action.label()),
            "principal": principal,
            "targets": self.touched.iter().flat_map(|touched| &touched.targets).map(TargetRecord::of).collect::<Vec<_>>(),
            "rules": self.rules,
            "steps": self.steps,
        })
    }
}
