//! Credentials: which one counts, whether it is genuine, and whom it names.

use crate::model::principal::Principal;

pub mod certificate;
pub mod claims;
pub mod cookie;
pub mod introspected;
pub(crate) mod json;
pub mod key_set;
pub mod load_balancer;
pub mod locate;
pub mod rules;
pub mod session;
pub mod token;

/// Whether two verified credentials name the same caller: same issuer and same subject, byte for byte.
#[must_use]
pub fn same_principal(one: &Principal, other: &Principal) -> bool {
    one.issuer == other.issuer && one.subject == other.subject
}
