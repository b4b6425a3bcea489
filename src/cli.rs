//! The command line: argument types, exit codes, dispatch.

use crate::model::problem::{Problem, Severity};
use clap::{CommandFactory, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

pub mod call;
pub mod catalog;
pub mod check;
#[cfg(feature = "demo")]
pub mod demo;
pub mod explain;
pub mod schema;
pub mod serve;
pub mod test;

/// Done as asked.
pub const OK: u8 = 0;
/// It could not be done.
pub const FAILED: u8 = 1;
/// `explain`: the call would be refused.
pub const DENIED: u8 = 2;
/// A configuration, policy or test file is not right.
pub const INVALID: u8 = 3;
/// The command line is not right (`EX_USAGE`).
pub const USAGE: u8 = 64;

/// Project isolation for Flyte: an authorizing reverse proxy in front of FlyteAdmin.
#[derive(Debug, Parser)]
#[command(name = "flyte-authz-proxy", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; SIGHUP looks at every file now.
    Serve {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check the configuration and everything it names, and print every problem. Exit 3 if there is one.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Run the decision tests (`*.test.yaml`) beside policies. Exit 3 if one fails.
    Test(test::Arguments),
    /// Tell why a call would be permitted or refused, rule by rule. Exit 0 if permitted, 2 if refused.
    Explain(explain::Arguments),
    /// Print the API catalogue: every RPC, the action it needs, where its scope is.
    Catalog {
        /// The form of the output.
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// Catalogue overlay files to add.
        #[arg(long = "overlay", value_name = "FILE")]
        overlays: Vec<PathBuf>,
    },
    /// Print the JSON Schema of a document.
    Schema {
        /// Which document.
        #[arg(value_enum)]
        document: schema::Document,
    },
    /// Show the proxy at work on this machine: an issuer, a control plane, allowed and refused calls.
    #[cfg(feature = "demo")]
    Demo(demo::Arguments),
}

/// The form of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; printing them can fail only if nobody reads.
            _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { OK });
        }
    };
    ExitCode::from(match arguments.command {
        Command::Serve { config } => serve::run(&config),
        Command::Check { config } => check::run(&config),
        Command::Test(arguments) => test::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Catalog { format, overlays } => catalog::run(format, &overlays),
        Command::Schema { document } => schema::run(document),
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => demo::run(&arguments),
    })
}

/// The command line's own description, for its documentation.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Writes to standard output. Nobody reading any more (`| head`) is no error.
pub(crate) fn print(text: &str) {
    use std::io::Write;
    _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Prints problems, errors first, and how many there are. Returns whether one of them is an error.
pub(crate) fn report(problems: &[Problem]) -> bool {
    let errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    let mut sorted: Vec<&Problem> = problems.iter().collect();
    sorted.sort_by_key(|problem| problem.severity != Severity::Error);
    for problem in &sorted {
        print(&format!("{problem}\n"));
    }
    if errors > 0 {
        print(&format!("{errors} {}\n", if errors == 1 { "error" } else { "errors" }));
    }
    errors > 0
}
