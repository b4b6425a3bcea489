//! Whether the policy's refusals are acted on. In shadow mode a call that it refuses goes on all the same, and only the
//! record says so.

use super::{Decision, Permit, Refusal};
use crate::model::reason::Reason;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of a call that the policy refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Enforcement {
    /// It is refused.
    #[default]
    Enforce,
    /// It is forwarded, and the record says that it would have been refused.
    Shadow,
}

impl Enforcement {
    /// The word used in the configuration and in `/status`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }
}

/// The refusals that shadow mode does not act on: those of a known caller's well-understood call, which only the rules
/// are against. Whoever is unknown or revoked, and whatever cannot be read in one way, is refused in every mode.
pub const BY_RULES: [Reason; 6] = [
    Reason::NoMatchingRule,
    Reason::DeniedByRule,
    Reason::ReferenceRefused,
    Reason::ResourceNotListed,
    Reason::SettingRefused,
    Reason::SettingConflict,
];

/// A call that goes on.
#[derive(Debug)]
pub struct Passed {
    /// The right to forward it.
    pub permit: Permit,
    /// The refusal in spite of which it goes on, in shadow mode.
    pub would_refuse: Option<Refusal>,
}

impl Decision {
    /// What becomes of the call.
    ///
    /// # Errors
    /// The refusal, unless this is shadow mode and only rules are against the call.
    pub fn enforced(self, enforcement: Enforcement) -> Result<Passed, Refusal> {
        match (self.into_permit(), enforcement) {
            (Ok(permit), _) => Ok(Passed {
                permit,
                would_refuse: None,
            }),
            (Err(refusal), Enforcement::Shadow) if BY_RULES.contains(&refusal.denial.reason) => Ok(Passed {
                permit: Permit {
                    rules: Vec::new(),
                    filtered: false,
                    written: Vec::new(),
                },
                would_refuse: Some(refusal),
            }),
            (Err(refusal), _) => Err(refusal),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::denial::Denial;

    fn refused(reason: Reason) -> Decision {
        Decision::Deny(Refusal {
            denial: reason.into(),
            rule: None,
        })
    }

    #[test]
    fn shadow_mode_lets_pass_what_only_rules_are_against_and_nothing_else() {
        for reason in Reason::ALL {
            let by_rules = [
                "no_matching_rule",
                "denied_by_rule",
                "reference_refused",
                "resource_not_listed",
                "setting_refused",
                "setting_conflict",
            ]
            .contains(&reason.label());
            assert!(refused(*reason).enforced(Enforcement::Enforce).is_err(), "{reason:?}");
            let shadowed = refused(*reason).enforced(Enforcement::Shadow);
            assert_eq!(shadowed.is_ok(), by_rules, "{reason:?}");
            if let Ok(passed) = shadowed {
                assert_eq!(passed.would_refuse.unwrap().denial, Denial::from(*reason));
                assert!(passed.permit.rules().is_empty() && !passed.permit.is_filtered());
            }
        }
    }

    #[test]
    fn the_modes_are_called_as_in_the_configuration() {
        let modes = [Enforcement::Enforce, Enforcement::Shadow];
        assert_eq!(modes.map(Enforcement::label), ["enforce", "shadow"]);
    }

    #[test]
    fn what_is_allowed_passes_in_both_modes_without_a_refusal() {
        for enforcement in [Enforcement::Enforce, Enforcement::Shadow] {
            let allowed = Decision::Allow(Permit {
                rules: Vec::new(),
                filtered: true,
                written: Vec::new(),
            });
            let passed = allowed.enforced(enforcement).unwrap();
            assert!(passed.permit.is_filtered() && passed.would_refuse.is_none());
        }
    }
}
