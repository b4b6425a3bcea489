//! The policy: who may do what where. Documents are compiled once; a principal's rights are resolved once a token.

pub mod compile;
pub mod decide;
pub mod document;
pub mod pattern;
pub mod testfile;
pub mod trace;
