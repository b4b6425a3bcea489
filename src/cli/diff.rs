//! `diff`: what one policy allows and the other does not.

use super::source::DomainArguments;
use super::{FAILED, Format, INVALID, OK, counted, listed, print, print_error};
use crate::policy::diff::{Change, Difference, diff};
use serde_json::json;
use std::fmt::Write;
use std::path::PathBuf;

/// Which policies to compare.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A policy file or directory.
    old: PathBuf,
    /// What it is to become.
    new: PathBuf,
    #[command(flatten)]
    domains: DomainArguments,
    /// Exit 1 if rights differ.
    #[arg(long)]
    exit_code: bool,
    /// The form of the output.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Compares two policies.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let (old, new) = match arguments.domains.both(&arguments.old, &arguments.new) {
        Ok(both) => both,
        Err(problems) => {
            print_error(&listed(&problems));
            return INVALID;
        }
    };
    let differences = diff(&old, &new);
    match arguments.format {
        Format::Text => print(&text(&differences)),
        Format::Json => print(&format!("{:#}\n", json!({"differences": differences}))),
    }
    if arguments.exit_code && !differences.is_empty() {
        FAILED
    } else {
        OK
    }
}

fn text(differences: &[Difference]) -> String {
    let mut text = String::new();
    for difference in differences {
        // Writing to a String cannot fail.
        _ = writeln!(text, "{difference}");
    }
    let gained = differences.iter().filter(|one| one.change == Change::Gained).count();
    let lost = counted(differences.len() - gained, "line");
    if differences.is_empty() {
        text.push_str("no difference\n");
    } else {
        _ = writeln!(text, "{} gained, {lost} lost", counted(gained, "line"));
    }
    text
}
