//! How much of a call a decision allows, to compare decisions.

use super::decide::Decision;

/// What a decision comes to, from the least to the most that it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// Refused.
    Refuse,
    /// Allowed, and the answer shows only names that rules allow.
    Filter,
    /// Allowed.
    Allow,
}

impl Extent {
    /// That of a decision.
    #[must_use]
    pub fn of(decision: &Decision) -> Self {
        match decision {
            Decision::Deny(_) => Self::Refuse,
            Decision::Allow(permit) if permit.is_filtered() => Self::Filter,
            Decision::Allow(_) => Self::Allow,
        }
    }

    /// The word used in audit records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Filter => "filter",
            Self::Allow => "allow",
        }
    }
}
