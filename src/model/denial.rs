//! A refusal as a value: one reason from the closed table and a text that is safe to show the caller.

use super::reason::Reason;
use std::borrow::Cow;

/// Why one request is not forwarded. Rendered for the caller in one place only (`protocol::deny`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The reason: decides status, metric and audit label.
    pub reason: Reason,
    /// What was wrong, where, and what to do about it. Built from checked values: never holds a credential, and says
    /// nothing about whether an object exists. Shown to the caller and recorded.
    pub message: Cow<'static, str>,
}

impl Denial {
    /// A denial with a text of its own.
    pub fn new(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        Self::new(reason, reason.help())
    }
}
