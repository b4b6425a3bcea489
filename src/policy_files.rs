//! Which files make up a policy, for every command that reads one.

use crate::files;
use crate::model::problem::Problem;
use std::path::{Path, PathBuf};

/// Reads a policy: one file, or every `*.yaml` of a directory in the order of their names. What is hidden (Kubernetes
/// keeps `..data` beside them) and `*.test.yaml` is left out.
///
/// # Errors
/// Every file that cannot be read; a directory without policies; what would be left out and looks like a policy, since
/// it may be one that denies: `*.yml`, other spellings of the ending, and policies in subdirectories.
pub fn read(path: &Path) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
    if !path.is_dir() {
        let text = files::read(path).map_err(|problem| vec![problem])?;
        return Ok(vec![(path.to_owned(), text)]);
    }
    let mut problems = Vec::new();
    let mut read = Vec::new();
    for found in policies_in(path).map_err(|problem| vec![problem])? {
        match found {
            Found::Policy(file) => match files::read(&file) {
                Ok(text) => read.push((file, text)),
                Err(problem) => problems.push(problem),
            },
            Found::Overlooked(file, why) => problems.push(Problem::error(file, 0, 0, why)),
        }
    }
    if read.is_empty() && problems.is_empty() {
        problems.push(Problem::error(
            path,
            0,
            0,
            "there is no policy in this directory; add a file that ends in `.yaml`",
        ));
    }
    if problems.is_empty() { Ok(read) } else { Err(problems) }
}

/// Something in the directory of a policy.
enum Found {
    Policy(PathBuf),
    /// It looks like a policy and would be left out: why.
    Overlooked(PathBuf, &'static str),
}

const OTHER_ENDING: &str = "policies end in `.yaml`; rename it, or it would be left out";
const IN_SUBDIRECTORY: &str =
    "subdirectories are left out: move it up to the other policies, or out of their directory";

fn policies_in(directory: &Path) -> Result<Vec<Found>, Problem> {
    let unreadable = |error: std::io::Error| Problem::error(directory, 0, 0, format!("cannot be read: {error}"));
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if is_left_out(&name) {
            continue;
        }
        if name.ends_with(".yaml") {
            all.push(Found::Policy(path));
        } else if is_policy(&name) {
            all.push(Found::Overlooked(path, OTHER_ENDING));
        } else if path.is_dir() {
            all.extend(policy_below(&path).map(|file| Found::Overlooked(file, IN_SUBDIRECTORY)));
        }
    }
    all.sort_by(|one, other| one.path().cmp(other.path()));
    Ok(all)
}

impl Found {
    fn path(&self) -> &Path {
        match self {
            Self::Policy(path) | Self::Overlooked(path, _) => path,
        }
    }
}

/// The first policy in a subdirectory. One that cannot be read (`lost+found` of a volume) holds none.
fn policy_below(directory: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?.filter_map(Result::ok);
    let policy = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if is_left_out(&name) {
            return None;
        }
        if is_policy(&name) {
            return Some(entry.path());
        }
        // Links are not followed: they can lead round in a circle.
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        is_directory.then(|| policy_below(&entry.path())).flatten()
    };
    entries.filter_map(policy).min()
}

fn is_left_out(name: &str) -> bool {
    name.starts_with('.') || name.ends_with(".test.yaml") || name.ends_with(".test.yml")
}

/// However the ending is written.
fn is_policy(name: &str) -> bool {
    let ending = Path::new(name).extension().unwrap_or_default();
    ending.eq_ignore_ascii_case("yaml") || ending.eq_ignore_ascii_case("yml")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::fs::{self, File};

    #[test]
    fn a_directory_is_read_in_order_without_what_is_hidden_and_tests() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yaml", "a.test.yaml", ".c.yaml", "..d.yaml", "README.md"] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        for name in ["more/tests", "..data", ".git", "more/.git"] {
            fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        for name in [
            "more/README.md",
            "more/tests/a.test.yaml",
            "..data/a.yaml",
            ".git/e.yaml",
            "more/.git/f.yaml",
        ] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        // A link that leads round in a circle.
        std::os::unix::fs::symlink(directory.path(), directory.path().join("more/again")).unwrap();
        let read = read(directory.path()).unwrap();
        let expected = ["a.yaml", "b.yaml"].map(|name| (directory.path().join(name), name.to_owned()));
        assert_eq!(read, expected);
    }

    #[test]
    fn what_looks_like_a_policy_is_not_left_out_without_a_word() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("more/still")).unwrap();
        fs::create_dir(directory.path().join("teams")).unwrap();
        for name in [
            "a.yaml",
            "deny.YAML",
            "deny.Yml",
            "deny.test.YAML",
            "more/still/b.yaml",
            "teams/c.YML",
            "teams/d.yaml",
        ] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let told = read(directory.path()).unwrap_err();
        let told: Vec<_> = told
            .into_iter()
            .map(|problem| (problem.file, problem.message))
            .collect();
        let expected = [
            ("deny.YAML", OTHER_ENDING),
            ("deny.Yml", OTHER_ENDING),
            ("deny.test.YAML", OTHER_ENDING),
            ("more/still/b.yaml", IN_SUBDIRECTORY),
            ("teams/c.YML", IN_SUBDIRECTORY),
        ];
        assert_eq!(
            told,
            expected.map(|(name, why)| (directory.path().join(name), why.to_owned()))
        );
    }

    #[test]
    fn everything_that_cannot_be_read_is_a_problem() {
        let directory = tempfile::tempdir().unwrap();
        let faults = |path: &Path| {
            read(path)
                .unwrap_err()
                .into_iter()
                .map(|problem| problem.message)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            faults(directory.path()),
            ["there is no policy in this directory; add a file that ends in `.yaml`"]
        );
        fs::create_dir(directory.path().join("a.yaml")).unwrap();
        fs::write(directory.path().join("b.yaml"), [0xFF]).unwrap();
        fs::write(directory.path().join("c.yml"), "").unwrap();
        File::create(directory.path().join("d.yaml"))
            .unwrap()
            .set_len((16 << 20) + 1)
            .unwrap();
        std::os::unix::fs::symlink("nowhere", directory.path().join("e.yaml")).unwrap();
        fs::write(directory.path().join("f.yaml"), "").unwrap();
        assert_eq!(
            faults(directory.path()),
            [
                "is no regular file",
                "is not UTF-8 text",
                "policies end in `.yaml`; rename it, or it would be left out",
                "has more than 16777216 bytes",
                "cannot be read: No such file or directory (os error 2)",
            ]
        );
        assert_eq!(
            faults(&directory.path().join("none")),
            ["cannot be read: No such file or directory (os error 2)"]
        );
    }
}
