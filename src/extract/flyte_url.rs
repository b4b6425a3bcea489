//! The `flyte://` URLs that FlyteAdmin's data proxy reads, by a grammar anchored at both ends.
//!
//! FlyteAdmin looks for its patterns anywhere in the text and takes the first that is found, trying those with an
//! organization first. What is accepted here has one reading under all of them.

use super::names::quote;
use crate::model::denial::Denial;
use crate::model::reason::Reason;

const PREFIX: &str = "flyte://v1/";

/// The most digits of an attempt number: FlyteAdmin cuts it to 32 bits.
const MAX_ATTEMPT_DIGITS: usize = 9;

/// The execution a URL carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlExecution<'a> {
    /// The project of the execution.
    pub project: &'a str,
    /// The domain of the execution.
    pub domain: &'a str,
    /// The name of the execution.
    pub execution: &'a str,
}

/// Reads `flyte://v1/PROJECT/DOMAIN/EXECUTION/NODE[/ATTEMPT]/(i|o|d)` or the same with `/(i|o)/NAME` at the end.
///
/// # Errors
/// `field_invalid` for anything else, naming the field.
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
    let mut segments = url.strip_prefix(PREFIX)?.split('/');
    let mut identifier = || segments.next().filter(|segment| is_identifier(segment));
    let (project, domain) = (identifier()?, identifier()?);
    let (execution, _node) = (identifier()?, identifier()?);
    // `org/` begins the form with an organization; a project of that name could be taken for it.
    if project == "org" {
        return None;
    }
    let mut artifact = segments.next()?;
    if is_attempt(artifact) {
        artifact = segments.next()?;
    }
    let served = match (artifact, segments.next()) {
        ("i" | "o" | "d", None) => true,
        ("i" | "o", Some(name)) => is_identifier(name) && segments.next().is_none(),
        _ => false,
    };
    served.then_some(UrlExecution {
        project,
        domain,
        execution,
    })
}

fn is_identifier(segment: &str) -> bool {
    !segment.is_empty()
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn is_attempt(segment: &str) -> bool {
    (1..=MAX_ATTEMPT_DIGITS).contains(&segment.len()) && segment.bytes().all(|byte| byte.is_ascii_digit())
}
