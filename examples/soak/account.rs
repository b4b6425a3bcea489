//! The reckoning: every request once, and every decision right under a version of the policy that was in force.

use crate::Failure;
use crate::load::{Asked, Done, Kind, Manner, Saw};
use crate::oracle::{CALLERS, VERSIONS};
use crate::world::{Arrived, History, Trouble, World};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Instant;

/// What an audit record says.
#[derive(Debug)]
pub(crate) struct Record {
    id: String,
    number: Option<u64>,
    pub(crate) outcome: String,
    pub(crate) reason: Option<String>,
    subject: Option<String>,
    version: Option<Result<usize, String>>,
}

/// Every record of the audit log.
pub(crate) fn records(world: &World) -> Result<Vec<Record>, Failure> {
    let labels = world.labels.lock().map_err(|_| "a task has panicked")?;
    let mut all = Vec::new();
    for path in world.audit()? {
        read(&path, &labels, &mut all)?;
    }
    Ok(all)
}

fn read(path: &PathBuf, labels: &[(String, usize)], all: &mut Vec<Record>) -> Result<(), Failure> {
    for line in std::fs::read_to_string(path)?.lines() {
        let record: Value =
            serde_json::from_str(line).map_err(|error| format!("{}: {error}: {line}", path.display()))?;
        let text = |name: &str| record[name].as_str().map(str::to_owned);
        let version = record["policy"]["version"].as_str().map(|label| {
            let known = labels.iter().find(|(known, _)| known == label);
            known.map(|(_, version)| *version).ok_or_else(|| label.to_owned())
        });
        all.push(Record {
            id: text("request_id").ok_or("a record without request_id")?,
            number: text("client_request_id").and_then(|number| number.parse().ok()),
            outcome: text("outcome").ok_or("a record without outcome")?,
            reason: text("reason"),
            subject: record["principal"]["subject"].as_str().map(str::to_owned),
            version,
        });
    }
    Ok(())
}

/// Refusals by the policy, upon which nothing may have been forwarded.
const BY_POLICY: [&str; 2] = ["no_matching_rule", "denied_by_rule"];
/// What the control plane is to blame for.
const BY_UPSTREAM: [&str; 4] = [
    "upstream_unreachable",
    "upstream_failed",
    "upstream_timeout",
    "answer_unreadable",
];

/// What is known when everything has ended.
pub(crate) struct Reckoning<'a> {
    pub(crate) history: &'a History,
    /// When the proxy was told to end.
    pub(crate) ending: Instant,
}

impl Reckoning<'_> {
    /// Every disagreement between callers, audit log, control plane and oracle.
    pub(crate) fn disagreements(&self, done: &[Done], records: &[Record], arrivals: &[Arrived]) -> Vec<String> {
        let mut problems = Vec::new();
        let mut by_number: HashMap<u64, &Record> = HashMap::new();
        let mut by_id: HashMap<&str, &Record> = HashMap::new();
        for record in records {
            match record.number {
                None => problems.push(format!("nobody sent the request of {record:?}")),
                Some(number) => {
                    if let Some(other) = by_number.insert(number, record) {
                        problems.push(format!("request {number} has two records: {other:?}, {record:?}"));
                    }
                }
            }
            if by_id.insert(&record.id, record).is_some() {
                problems.push(format!("the identifier of {record:?} is there twice"));
            }
        }
        let mut asked: HashMap<u64, &Done> = HashMap::new();
        for done in done {
            asked.insert(done.asked.number, done);
            let record = by_number.get(&done.asked.number).copied();
            if let Err(problem) = self.agrees(done, record) {
                problems.push(format!("{problem}: {done:?} {record:?}"));
            }
        }
        for number in by_number.keys().filter(|number| !asked.contains_key(number)) {
            problems.push(format!("nobody sent request {number}"));
        }
        arrived(arrivals, records, &by_id, &asked, &mut problems);
        problems
    }

    fn agrees(&self, done: &Done, record: Option<&Record>) -> Result<(), String> {
        let Some(record) = record else {
            return match &done.saw {
                Saw::Nothing(_) if done.asked.manner == Manner::Leaving || done.end >= self.ending => Ok(()),
                _ => Err("there is no record".to_owned()),
            };
        };
        self.decided_rightly(done, record)?;
        let reason = record.reason.as_deref();
        match &done.saw {
            Saw::Refusal { id, reason: told } => {
                if record.id != *id || reason != Some(told) {
                    return Err("the record has another reason than the answer".to_owned());
                }
            }
            Saw::Answer { id, projects } => {
                if record.id != *id || record.outcome != "forwarded" {
                    return Err("the record does not say that it was forwarded".to_owned());
                }
                if done.asked.kind == Kind::Projects {
                    let versions = self.history.versions(done.start, done.end);
                    let visible = |version: &usize| VERSIONS[*version].visible(done.asked.caller);
                    // What is asked for under one version may be shown under the next.
                    let right = |version: &usize| {
                        let shown = |other: &usize| Some(&visible(version) & &visible(other)) == *projects;
                        versions.iter().any(shown)
                    };
                    let broken = projects.is_none() && self.explained(Trouble::Upstream, done);
                    if !broken && !versions.iter().any(right) {
                        return Err(format!("WRONG LIST of projects under versions {versions:?}"));
                    }
                }
            }
            Saw::Nothing(why) => {
                let explained = done.asked.manner == Manner::Leaving
                    || reason == Some("right_withdrawn")
                    || self.explained(Trouble::Upstream, done);
                if why == "stuck" || !explained {
                    return Err("no answer, for no reason".to_owned());
                }
            }
        }
        Ok(())
    }

    fn explained(&self, trouble: Trouble, done: &Done) -> bool {
        done.end >= self.ending || self.history.trouble(trouble, done.start, done.end)
    }

    /// Whether the proxy decided as the oracle would have, or had another reason that something explains.
    fn decided_rightly(&self, done: &Done, record: &Record) -> Result<(), String> {
        let asked = &done.asked;
        let reason = record.reason.as_deref();
        if record
            .subject
            .as_deref()
            .is_some_and(|subject| subject != CALLERS[asked.caller].0)
        {
            return Err("WRONG CALLER".to_owned());
        }
        match (asked.kind, reason) {
            (Kind::Bad(expected), Some(reason)) if reason == expected => return Ok(()),
            (Kind::Unknown, Some("method_unknown")) => return Ok(()),
            (_, None) if record.outcome == "aborted" && record.version.is_none() => return Ok(()),
            (_, Some("body_aborted")) if asked.manner == Manner::Leaving => return Ok(()),
            (
                Kind::Bad("credential_missing" | "token_malformed" | "token_expired") | Kind::Unknown | Kind::Page,
                Some("key_unknown"),
            )
            | (Kind::Bad(_) | Kind::Unknown, None) => return Err("WRONG ALLOW or reason".to_owned()),
            (_, Some("key_unknown")) if self.explained(Trouble::Issuer, done) => return Ok(()),
            (_, Some(reason)) if BY_UPSTREAM.contains(&reason) && !self.explained(Trouble::Upstream, done) => {
                return Err("the control plane was well".to_owned());
            }
            _ => {}
        }
        let versions = self.history.versions(done.start, done.end);
        let Some(ability) = asked.kind.ability() else {
            let known = reason.is_none_or(|reason| {
                BY_UPSTREAM.contains(&reason) || (reason == "right_withdrawn" && versions.len() > 1)
            });
            return if known {
                Ok(())
            } else {
                Err("refused for no reason".to_owned())
            };
        };
        let version = match &record.version {
            Some(Ok(version)) => *version,
            Some(Err(label)) => return Err(format!("nobody wrote the policy {label}")),
            None => return Err("no policy is recorded".to_owned()),
        };
        if !versions.contains(&version) {
            return Err(format!("version {version} was not in force then, but {versions:?}"));
        }
        let allows = |version: usize| VERSIONS[version].allows(asked.caller, ability, asked.project, asked.domain);
        match reason {
            Some(reason) if BY_POLICY.contains(&reason) && allows(version) => {
                Err(format!("WRONG DENY under {version}"))
            }
            Some(reason) if BY_POLICY.contains(&reason) => Ok(()),
            Some("right_withdrawn") if allows(version) => Err(format!("WRONG DENY later under {version}")),
            Some("right_withdrawn") if !versions.iter().any(|version| allows(*version)) => {
                Err(format!("WRONG ALLOW at first under {versions:?}"))
            }
            Some("right_withdrawn") => Ok(()),
            Some(reason) if !BY_UPSTREAM.contains(&reason) => Err("refused for no reason".to_owned()),
            _ if !allows(version) => Err(format!("WRONG ALLOW under {version}")),
            _ => Ok(()),
        }
    }
}

/// What the control plane has seen: each request at most once, as its caller sent it, and none that was refused.
fn arrived(
    arrivals: &[Arrived],
    records: &[Record],
    by_id: &HashMap<&str, &Record>,
    asked: &HashMap<u64, &Done>,
    problems: &mut Vec<String>,
) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for arrival in arrivals {
        let [id] = arrival.ids.as_slice() else {
            problems.push(format!("a request arrived without one identifier: {arrival:?}"));
            continue;
        };
        *seen.entry(id).or_default() += 1;
        let record = by_id.get(&**id);
        let done = record.and_then(|record| asked.get(&record.number?));
        let (Some(record), Some(done)) = (record, done) else {
            problems.push(format!("{} arrived as {id} without a record", arrival.target));
            continue;
        };
        if let Err(problem) = arrived_rightly(arrival, record, &done.asked) {
            problems.push(format!("{problem}: {} for {done:?}, {record:?}", arrival.target));
        }
    }
    for (id, _) in seen.iter().filter(|(_, times)| **times > 1) {
        problems.push(format!("request {id} arrived more than once"));
    }
    let forwarded = records.iter().filter(|record| record.outcome == "forwarded");
    for record in forwarded.filter(|record| !seen.contains_key(&*record.id)) {
        problems.push(format!("{record:?} was forwarded and did not arrive"));
    }
}

fn arrived_rightly(arrival: &Arrived, record: &Record, asked: &Asked) -> Result<(), String> {
    let after_forwarding = |reason: &str| BY_UPSTREAM.contains(&reason) || reason == "right_withdrawn";
    if !record.reason.as_deref().is_none_or(after_forwarding) {
        return Err("WRONG ALLOW: it was refused and arrived".to_owned());
    }
    if asked.kind != Kind::Page && arrival.subjects != [Some(CALLERS[asked.caller].0.to_owned())] {
        return Err(format!("WRONG CREDENTIAL of {:?} arrived", arrival.subjects));
    }
    if let (Some(place), Some(_)) = (&arrival.place, asked.kind.ability()) {
        let right = [asked.project, asked.domain].map(|part| Some(part.to_owned()));
        if *place != right {
            return Err(format!("WRONG PLACE {place:?} arrived"));
        }
    }
    Ok(())
}
