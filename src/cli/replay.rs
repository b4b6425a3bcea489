//! `replay`: recorded calls, judged again by another policy.

use super::source::PolicyArguments;
use super::{FAILED, Format, INVALID, OK, counted, listed, print, print_error};
use crate::audit::record::TargetRecord;
use crate::audit::replay::{self, Judged};
use crate::catalog::Catalog;
use crate::policy::Policy;
use crate::policy::decide::Decision;
use crate::policy::extent::Extent;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

const RUNS_UNKNOWN: &str = "what the execution runs is not recorded";

/// Which records, under which policy.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Files of audit records, or `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    policy: PolicyArguments,
    /// Exit 1 if a call would be decided otherwise.
    #[arg(long)]
    exit_code: bool,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Calls that are decided otherwise, all in one way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Difference {
    change: &'static str,
    rpc: String,
    issuer: String,
    subject: String,
    places: Vec<String>,
    why: String,
}

#[derive(Debug, Default)]
struct Replayed {
    records: usize,
    same: usize,
    different: BTreeMap<Difference, usize>,
    not_judged: BTreeMap<String, usize>,
}

/// Judges records again.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let policy = match arguments.policy.policy() {
        Ok(policy) => policy,
        Err(problems) => {
            print_error(&listed(&problems));
            return INVALID;
        }
    };
    // A released build can always read its own.
    let catalog = Catalog::builtin().unwrap_or_default();
    let mut replayed = Replayed::default();
    for file in &arguments.files {
        if let Err(error) = lines(file, |line| replayed.add(line, &policy, &catalog)) {
            print_error(&format!("error: {}: {error}\n", file.display()));
            return FAILED;
        }
    }
    match arguments.format {
        Format::Text => print(&replayed.text()),
        Format::Json => print(&format!("{:#}\n", replayed.json())),
    }
    if arguments.exit_code && !replayed.different.is_empty() {
        FAILED
    } else {
        OK
    }
}

fn lines(file: &Path, mut each: impl FnMut(&str)) -> io::Result<()> {
    let input: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file)?))
    };
    for line in input.split(b'\n') {
        let line = line?;
        if !line.is_empty() {
            each(&String::from_utf8_lossy(&line));
        }
    }
    Ok(())
}

impl Replayed {
    fn add(&mut self, line: &str, policy: &Policy, catalog: &Catalog) {
        self.records += 1;
        let judged = match replay::read(line, policy.reads()) {
            Ok(judged) => judged,
            Err(why) => return *self.not_judged.entry(why).or_default() += 1,
        };
        let rights = policy.resolve(&judged.principal, &mut ());
        let writes = catalog.lookup_rpc(&judged.rpc).map_or(&[][..], |route| &route.writes);
        let call = judged.call(writes);
        let would = rights.decide(&call, &mut ());
        if matches!(would, Decision::Deny(_)) && rights.depends_on_runs(&call) {
            return *self.not_judged.entry(RUNS_UNKNOWN.to_owned()).or_default() += 1;
        }
        let then = Extent::of(&would);
        if then == judged.decided {
            return self.same += 1;
        }
        let change = if then > judged.decided { "gained" } else { "lost" };
        *self
            .different
            .entry(difference(&judged, change, why(would)))
            .or_default() += 1;
    }

    /// How many calls would be gained or lost.
    fn count(&self, change: &str) -> usize {
        let of_change = self.different.iter().filter(|(one, _)| one.change == change);
        of_change.map(|(_, count)| count).sum()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        for (one, count) in &self.different {
            let (change, rpc, subject) = (one.change, &one.rpc, &one.subject);
            _ = writeln!(
                text,
                "{change}: {}: {subject} ({}) {rpc} in {}",
                counted(*count, "call"),
                one.issuer,
                one.places.join(", ")
            );
            _ = writeln!(text, "    {}", one.why);
        }
        let (gained, lost) = (self.count("gained"), self.count("lost"));
        let not_judged: usize = self.not_judged.values().sum();
        let records = counted(self.records, "record");
        _ = writeln!(
            text,
            "{records}: {} decided the same, {gained} gained, {lost} lost, {not_judged} not judged",
            self.same
        );
        for (why, count) in &self.not_judged {
            _ = writeln!(text, "    {count} not judged: {why}");
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let different = self.different.iter().map(|(one, count)| {
            json!({"change": one.change, "count": count, "rpc": one.rpc, "issuer": one.issuer, "subject": one.subject,
                "places": one.places, "why": one.why})
        });
        let not_judged = self
            .not_judged
            .iter()
            .map(|(why, count)| json!({"why": why, "count": count}));
        json!({
            "records": self.records,
            "same": self.same,
            "gained": self.count("gained"),
            "lost": self.count("lost"),
            "differences": different.collect::<Vec<_>>(),
            "not_judged": not_judged.collect::<Vec<_>>(),
        })
    }
}

fn why(decision: Decision) -> String {
    match decision {
        Decision::Allow(permit) => {
            let rules: Vec<String> = permit.rules().iter().map(ToString::to_string).collect();
            let rules = rules.join(" and ");
            if permit.is_filtered() {
                format!("allowed by rule {rules}, which shows only the names that are allowed")
            } else {
                format!("allowed by rule {rules}")
            }
        }
        Decision::Deny(refusal) => {
            let denial = refusal.denial;
            let by = refusal.rule.map(|rule| format!(" by {rule}")).unwrap_or_default();
            format!("{}{by}: {}", denial.reason.label(), denial.message)
        }
    }
}

fn difference(judged: &Judged, change: &'static str, why: String) -> Difference {
    let mut places: Vec<String> = judged
        .targets
        .iter()
        .map(|target| place(&TargetRecord::of(target)))
        .collect();
    places.dedup();
    Difference {
        change,
        rpc: judged.rpc.rsplit('.').next().unwrap_or_default().to_owned(),
        issuer: judged.principal.issuer.to_string(),
        subject: judged.principal.subject.to_string(),
        places,
        why,
    }
}

fn place(target: &TargetRecord) -> String {
    match (&target.project, &target.domain) {
        (None, _) => "the platform".to_owned(),
        (Some(project), None) => project.to_string(),
        (Some(project), Some(domain)) => format!("{project}/{domain}"),
    }
}
