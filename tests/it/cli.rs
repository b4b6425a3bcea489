//! The program as people run it: its commands, what they print and how they exit.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_flyte-authz-proxy");

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks how the command ended.
    pub(crate) fn exited(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// Runs a command to its end, in the directory of the package.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn help_tells_the_commands_and_exit_codes_and_the_version_is_one_line() {
    let help = run(&["--help"]).exited(0).stdout;
    for word in [
        "serve",
        "check",
        "test",
        "explain",
        "whoami",
        "healthcheck",
        "diff",
        "replay",
        "who-can",
        "catalog",
        "schema",
    ] {
        assert!(help.contains(&format!("\n  {word} ")), "{help}");
        let own = run(&[word, "--help"]).exited(0).stdout;
        assert!(own.contains(&format!("Usage: flyte-authz-proxy {word} ")), "{own}");
    }
    for code in ["0 ", "1 ", "2 ", "3 ", "64 "] {
        assert!(help.contains(&format!("\n  {code}")), "exit code {code} in {help}");
    }
    let version = run(&["--version"]).exited(0).stdout;
    assert_eq!(version, format!("flyte-authz-proxy {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_command_line_that_is_not_right_exits_64_and_tells_on_standard_error() {
    for arguments in [
        &[][..],
        &["sreve"],
        &["serve"],
        &["serve", "--config", "a.yaml", "--verbose"],
        &["check", "a.yaml"],
        &["test"],
        &["schema", "token"],
        &["whoami"],
        &["whoami", "--config", "c.yaml", "token"],
        &["catalog", "--format", "xml"],
        &["explain", "--rpc", "GetTask"],
        &["explain", "--policy", "p.yaml", "--rpc", "GetTask"],
        &["explain", "--policy", "p.yaml", "--token", "t", "--rpc", "GetTask"],
        &[
            "explain", "--policy", "p.yaml", "--config", "c.yaml", "--claims", "c", "--rpc", "GetTask",
        ],
        &[
            "explain",
            "--policy",
            "p",
            "--claims",
            "c",
            "--rpc",
            "GetTask",
            "--body",
            "b",
            "--project",
            "ml",
        ],
    ] {
        let ran = run(arguments).exited(64);
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert!(
            ran.stderr.contains("--help") || ran.stderr.contains("Usage: "),
            "{arguments:?}: {}",
            ran.stderr
        );
    }
}
