//! Credentials: which one counts, whether it is genuine, and whom it names.

pub mod claims;
pub mod key_set;
pub mod locate;
pub mod token;
