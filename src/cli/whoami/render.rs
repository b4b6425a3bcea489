//! What a token is taken for, as text, the verdict first, and as JSON.

use super::Answer;
use crate::cli::explain::render::{block, names, section, some_of};
use crate::credential::locate::Scheme;
use crate::credential::rules::seconds;
use crate::document::is_deceptive;
use crate::model::denial::Denial;
use crate::model::principal::Principal;
use crate::model::reason::Reason;
use crate::policy::summary::{EntrySummary, RuleSummary};
use crate::whoami::{self, Whoami};
use serde_json::{Value, json};

impl Answer {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        match &self.found {
            Err(denial) => block(&mut text, "REFUSED", refused(denial, &self.advice)),
            Ok(whoami) => self.accepted(&mut text, whoami),
        }
        text
    }

    fn accepted(&self, text: &mut String, whoami: &Whoami) {
        let summary = &whoami.summary;
        match &summary.revoked {
            None => block(text, "ACCEPTED", ["the token is verified as for a request".to_owned()]),
            Some(item) => block(
                text,
                "REFUSED",
                refused(&Reason::TokenRevoked.into(), &[format!("by {item}")]),
            ),
        }
        text.push('\n');
        block(text, "caller", names(&whoami.principal));
        block(text, "token", self.token(whoami));
        block(text, "claims", self.claims(&whoami.principal));
        block(text, "policy", [format!("version {}", whoami.policy)]);
        if summary.revoked.is_none() {
            let rules: Vec<String> = summary.rules.iter().flat_map(rule).collect();
            let none = rules
                .is_empty()
                .then(|| "none: every call that needs a right is refused".to_owned());
            section(text, "Rules for this caller", none.into_iter().chain(rules));
        }
        section(text, "To be let in", summary.advice.iter().cloned());
    }

    fn token(&self, whoami: &Whoami) -> Vec<String> {
        let scheme = match whoami.scheme {
            Scheme::Bearer => "Bearer: taken for an access token",
            Scheme::IdToken => "IDToken: taken for an ID token",
            Scheme::LoadBalancer => "signed by a load balancer",
        };
        let issued = issued_at(&whoami.principal).map(|at| format!("issued {}", self.dated(at)));
        let expires = whoami
            .principal
            .expires_at
            .map(|at| format!("expires {}", self.dated(at)));
        [scheme.to_owned()].into_iter().chain(issued).chain(expires).collect()
    }

    /// A point in time, and how far away it is.
    fn dated(&self, at: u64) -> String {
        let shown = i64::try_from(at)
            .ok()
            .and_then(|at| jiff::Timestamp::from_second(at).ok());
        let shown = shown.map_or_else(|| format!("second {at}"), |time| time.to_string());
        if at > self.now {
            format!("{shown}, in {}", span(at - self.now))
        } else {
            format!("{shown}, {} ago", span(self.now - at))
        }
    }

    fn claims(&self, principal: &Principal) -> Vec<String> {
        if self.with_values {
            let claims = principal.claims.iter();
            return claims.map(|(name, value)| plain(&format!("{name}: {value}"))).collect();
        }
        let names: Vec<String> = principal.claims.keys().map(|name| plain(name)).collect();
        vec![format!("{} (--claims shows their values)", names.join(", "))]
    }

    /// For programs: as the admin listener answers, with what only somebody at the command line is to see.
    pub(super) fn json(&self) -> Value {
        let whoami = match &self.found {
            Ok(whoami) => whoami,
            Err(denial) => {
                let mut refusal = whoami::refusal(denial);
                refusal.insert("advice".to_owned(), json!(self.advice));
                return refusal.into();
            }
        };
        let claims = &whoami.principal.claims;
        let mut answer = whoami.json();
        answer.insert("issued_at".to_owned(), json!(issued_at(&whoami.principal)));
        answer.insert("claim_names".to_owned(), claims.keys().cloned().collect());
        if self.with_values {
            answer.insert("claims".to_owned(), json!(claims));
        }
        answer.into()
    }
}

fn refused(denial: &Denial, more: &[String]) -> Vec<String> {
    let lines = [denial.message.to_string(), format!("reason: {}", denial.reason.label())];
    lines.into_iter().chain(more.iter().cloned()).collect()
}

fn issued_at(principal: &Principal) -> Option<u64> {
    principal.claims.get("iat").and_then(seconds)
}

/// A length of time in its two largest units.
fn span(length: u64) -> String {
    let (days, hours, minutes) = (length / 86_400, length / 3600 % 24, length / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{length} s"),
        (0, 0, _) => format!("{minutes} min {} s", length % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// A text that cannot turn the line around or move the cursor.
fn plain(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        if is_deceptive(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

fn rule(rule: &RuleSummary) -> Vec<String> {
    let allows = rule
        .allows
        .iter()
        .map(|granted| format!("  + allows {}", entry(granted)));
    let denies = rule.denies.iter().map(|denied| format!("  - denies {}", entry(denied)));
    let omitted = (rule.omitted > 0).then(|| format!("    and {} more", rule.omitted));
    let notes = rule.notes.iter().map(|note| format!("    {note}"));
    [rule.rule.to_string()]
        .into_iter()
        .chain(allows)
        .chain(denies)
        .chain(omitted)
        .chain(notes)
        .collect()
}

fn entry(entry: &EntrySummary) -> String {
    let what = match &entry.role {
        Some(role) => format!("role {role}"),
        None => entry.actions.join(", "),
    };
    let lists = [
        ("tasks", &entry.tasks),
        ("workflows", &entry.workflows),
        ("launch plans", &entry.launch_plans),
    ];
    let listed = lists.into_iter().filter_map(|(kind, names)| {
        Some(match words(names.as_ref()?) {
            none if none.is_empty() => format!("; no {kind}"),
            names => format!("; of the {kind} only {names}"),
        })
    });
    let listed: String = listed.collect();
    let (projects, domains) = (words(&entry.projects), words(&entry.domains));
    format!(
        "{what}: projects {projects}; domains {domains}{listed}{}",
        guards(entry)
    )
}

/// What an entry says about how executions run.
fn guards(entry: &EntrySummary) -> String {
    let guards = entry.guards.iter().map(|(key, values)| {
        let key = key.replace('_', " ");
        match words(values) {
            none if none.is_empty() => format!("; no {key}"),
            values => format!("; of the {key} only {values}"),
        }
    });
    let set = entry.set.iter();
    let set = set.map(|(label, value)| format!("; sets {} {value}", label.replace('_', " ")));
    let others = entry.impersonate.then(|| "; also in the name of others".to_owned());
    let prefixes = &entry.download_prefixes;
    let links = (!prefixes.is_empty()).then(|| format!("; links to what lies below {}", words(prefixes)));
    guards.chain(set).chain(others).chain(links).collect()
}

fn words(names: &[String]) -> String {
    some_of(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_told_in_their_largest_units() {
        for (length, told) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (3599, "59 min 59 s"),
            (3600, "1 h 0 min"),
            (86_399, "23 h 59 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(span(length), told);
        }
    }

    #[test]
    fn what_turns_a_line_around_is_shown_by_its_number() {
        assert_eq!(plain("a\u{202E}b\u{1b}[2J"), "a\\u{202e}b\\u{1b}[2J");
    }
}
