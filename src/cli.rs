//! The command line: argument types, exit codes, dispatch.

use crate::model::problem::{Problem, Severity};
use clap::{CommandFactory, Parser, Subcommand};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub mod call;
pub mod catalog;
pub mod check;
#[cfg(feature = "demo")]
pub mod demo;
pub mod diff;
pub mod explain;
pub mod healthcheck;
pub mod replay;
pub mod schema;
pub mod serve;
pub mod source;
pub mod test;
pub mod who_can;
pub mod whoami;

/// Done as asked.
pub const OK: u8 = 0;
/// It could not be done.
pub const FAILED: u8 = 1;
/// `explain`: the call would be refused; `whoami`: every call with the token would be.
pub const DENIED: u8 = 2;
/// A configuration, policy or test file is not right.
pub const INVALID: u8 = 3;
/// The command line is not right (`EX_USAGE`).
pub const USAGE: u8 = 64;

/// Shown below every help text.
const EXIT_CODES: &str = "\
Exit codes:
  0   done as asked; for `explain`: the call is allowed; for `whoami`: the token is accepted
  1   it could not be done, and the message tells why; `diff` and `replay` with `--exit-code`: something differs
  2   `explain`: the call is refused; `whoami`: the token is refused
  3   a file is not right, a decision test failed, or an address cannot be listened on; every problem is listed
  64  the command line is not right";

/// Project isolation for Flyte: an authorizing reverse proxy in front of FlyteAdmin.
#[derive(Debug, Parser)]
#[command(name = "flyte-authz-proxy", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT; SIGHUP looks at every file now and opens the audit file again.
    ///
    /// The log goes to standard error, and audit records to standard output unless the configuration names a file. At
    /// SIGTERM or SIGINT running requests may finish, then the exit code is 0.
    Serve {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check the configuration and everything it names, and print every problem.
    ///
    /// Policy, decision tests, catalogue overlays, certificates and key files are read as by `serve`; nothing is listened
    /// on and nothing fetched. Exit 0 if all is well, if with warnings; 3 if there is an error.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Run the decision tests (`*.test.yaml`) beside policies. Exit 3 if one fails or there is none.
    Test(test::Arguments),
    /// Tell why a call would be permitted or refused, rule by rule. Exit 0 if permitted, 2 if refused.
    Explain(explain::Arguments),
    /// Tell what the proxy makes of a token, and what the policy says about its owner.
    ///
    /// The token is verified as for a request, fetching the issuer's keys. It is never printed. Exit 0 if it is accepted; 2 if
    /// it is refused or revoked; 1 if that cannot be told, since the keys cannot be fetched, say.
    Whoami(whoami::Arguments),
    /// Ask a running proxy on this host how it is: for the probes of an image without a shell.
    ///
    /// The admin listener of the configuration is asked, on loopback if it listens on every address. Exit 0 if it answers that
    /// all is well, 1 if not.
    Healthcheck(healthcheck::Arguments),
    /// List every right that one policy gives and the other does not: whose, which actions, where.
    ///
    /// Policies are compared as they are written, without asking anybody in particular; how exactly is told in
    /// docs/rollout.md. Exit 0, or with `--exit-code` 1 if rights differ; 3 if a policy is not right.
    Diff(diff::Arguments),
    /// Judge recorded calls again by another policy, and list those that it would decide otherwise.
    ///
    /// Records tell enough of their callers if `audit.claims: policy` was set, or if the policy looks at neither groups nor
    /// claims. Those that cannot be judged again are counted by the reason. Exit 0, or with `--exit-code` 1 if a decision
    /// differs; 3 if the policy is not right.
    Replay(replay::Arguments),
    /// Tell who may do something in a place: the subjects of rules that allow it, and of those that deny it.
    WhoCan(who_can::Arguments),
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
        Command::Whoami(arguments) => whoami::run(&arguments),
        Command::Healthcheck(arguments) => healthcheck::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::WhoCan(arguments) => who_can::run(&arguments),
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

/// Writes to standard error.
pub(crate) fn print_error(text: &str) {
    use std::io::Write;
    _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// How many of the problems are errors.
pub(crate) fn errors(problems: &[Problem]) -> usize {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    errors.count()
}

/// The problems as text, errors first, and how many of each there are.
pub(crate) fn listed(problems: &[Problem]) -> String {
    let mut sorted: Vec<Problem> = problems.to_vec();
    sorted.sort_by_key(|problem| problem.severity != Severity::Error);
    // Several problems of one place show its lines once, below the last.
    let places: Vec<_> = sorted.iter().skip(1).map(place).map(Some).chain([None]).collect();
    let repeats: Vec<bool> = sorted
        .iter()
        .zip(places)
        .map(|(problem, next)| next == Some(place(problem)))
        .collect();
    for (problem, repeats) in sorted.iter_mut().zip(repeats) {
        if repeats {
            problem.snippet.clear();
        }
    }
    let mut text = String::new();
    for problem in &sorted {
        // Writing to a String cannot fail.
        _ = writeln!(text, "{problem}");
    }
    let errors = errors(problems);
    let counts = [(errors, "error"), (problems.len() - errors, "warning")];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, word)| counted(count, word)).collect();
    if !counts.is_empty() {
        text.push_str(&counts.join(", "));
        text.push('\n');
    }
    text
}

fn place(problem: &Problem) -> (&Path, u64, u64) {
    (&problem.file, problem.line, problem.column)
}

/// A number and what it counts: `1 rule`, `2 rules`.
pub(crate) fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}
