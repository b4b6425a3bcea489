//! One integration binary: it links once.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod catalog;
