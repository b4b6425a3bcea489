//! `schema`: JSON Schemas, for editors and for checking documents before they are deployed.

use super::{OK, print};
use crate::{config, policy};

/// A document that has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Document {
    /// The configuration file.
    Config,
    /// A policy file.
    Policy,
}

/// Prints a schema.
pub(super) fn run(document: Document) -> u8 {
    match document {
        Document::Config => print(&format!("{:#}\n", config::schema().to_value())),
        Document::Policy => print(&format!("{:#}\n", policy::document::schema())),
    }
    OK
}
