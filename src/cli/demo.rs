//! Under construction.

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

pub(super) fn run(_: &Arguments) -> u8 {
    0
}
