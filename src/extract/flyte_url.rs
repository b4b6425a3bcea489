//! The `flyte://` URLs that FlyteAdmin's data proxy reads, by a grammar anchored at both ends.
//!
//! FlyteAdmin looks for four patterns anywhere in the text and takes the first that is found, trying those with an
//! organization first. What is accepted here is found by exactly one of them, and read as it reads it.

use super::names::quote;
use crate::model::denial::Denial;
use crate::model::reason::Reason;

const PREFIX: &str = "flyte://v1/";

/// The most digits of an attempt number: FlyteAdmin cuts it to 32 bits.
const MAX_ATTEMPT_DIGITS: usize = 9;

/// The execution a URL carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlExecution<'a> {
    /// The organization; empty in the forms without one.
    pub organization: &'a str,
    /// The project of the execution.
    pub project: &'a str,
    /// The domain of the execution.
    pub domain: &'a str,
    /// The name of the execution.
    pub execution: &'a str,
}

/// Reads `flyte://v1/[org/ORGANIZATION/]PROJECT/DOMAIN/EXECUTION/NODE[/ATTEMPT]/(i|o|d)`, or the same with `/(i|o)/NAME`
/// at the end. Whether the organization, project and domain are acceptable is for the caller to check.
///
/// # Errors
/// `field_invalid` for anything else, and for what is of both forms, naming the field.
pub fn parse<'a>(field: &str, url: &'a str) -> Result<UrlExecution<'a>, Denial> {
    read(url).ok_or_else(|| {
        let text = format!(
            "field `{field}` is {}, which is none of the URLs that are served; write \
             `{PREFIX}PROJECT/DOMAIN/EXECUTION/NODE[/ATTEMPT]/i`, with `o` for outputs or `d` for the deck, and \
             `/NAME` after `i` or `o` for one value",
            quote(url)
        );
        Denial::new(Reason::FieldInvalid, text)
    })
}

fn read(url: &str) -> Option<UrlExecution<'_>> {
    let path = url.strip_prefix(PREFIX)?;
    let in_organization = path.strip_prefix("org/").and_then(|rest| {
        let (organization, rest) = rest.split_once('/')?;
        is_identifier(organization).then_some(())?;
        located(organization, rest)
    });
    // A project may be called `org` too.
    match (in_organization, located("", path)) {
        (Some((found, attempt)), None) | (None, Some((found, attempt))) => {
            (attempt.len() <= MAX_ATTEMPT_DIGITS).then_some(found)
        }
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// The execution of what follows the organization, and the attempt, empty if there is none.
fn located<'a>(organization: &'a str, path: &'a str) -> Option<(UrlExecution<'a>, &'a str)> {
    let mut segments = path.split('/');
    let mut identifier = || segments.next().filter(|segment| is_identifier(segment));
    let (project, domain) = (identifier()?, identifier()?);
    let (execution, _node) = (identifier()?, identifier()?);
    let mut artifact = segments.next()?;
    let mut attempt = "";
    if is_number(artifact) {
        attempt = artifact;
        artifact = segments.next()?;
    }
    let served = match (artifact, segments.next()) {
        ("i" | "o" | "d", None) => true,
        ("i" | "o", Some(name)) => is_identifier(name) && segments.next().is_none(),
        _ => false,
    };
    let found = UrlExecution {
        organization,
        project,
        domain,
        execution,
    };
    served.then_some((found, attempt))
}

fn is_identifier(segment: &str) -> bool {
    !segment.is_empty()
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn is_number(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
