//! Which files make up a policy, for every command that reads one.

use crate::files;
use crate::model::problem::Problem;
use std::path::{Path, PathBuf};

/// Reads a policy: one file, or every `*.yaml` of a directory in the order of their names. Hidden files (Kubernetes
/// keeps `..data` beside them), `*.test.yaml` and subdirectories are left out.
///
/// # Errors
/// Every file that cannot be read; a directory without policies; `*.yml`, which is otherwise easily overlooked.
pub fn read(path: &Path) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
    if !path.is_dir() {
        let text = files::read(path).map_err(|problem| vec![problem])?;
        return Ok(vec![(path.to_owned(), text)]);
    }
    let mut problems = Vec::new();
    let mut read = Vec::new();
    for file in policies_in(path).map_err(|problem| vec![problem])? {
        if file.extension().is_some_and(|extension| extension == "yml") {
            problems.push(Problem::error(
                file,
                0,
                0,
                "policies end in `.yaml`; rename it, or it would be left out",
            ));
            continue;
        }
        match files::read(&file) {
            Ok(text) => read.push((file, text)),
            Err(problem) => problems.push(problem),
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

fn policies_in(directory: &Path) -> Result<Vec<PathBuf>, Problem> {
    let unreadable = |error: std::io::Error| Problem::error(directory, 0, 0, format!("cannot be read: {error}"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let hidden = name.starts_with('.');
        let policy = name.ends_with(".yaml") || name.ends_with(".yml");
        let test = name.ends_with(".test.yaml") || name.ends_with(".test.yml");
        if policy && !hidden && !test {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::fs::{self, File};

    #[test]
    fn a_directory_is_read_in_order_without_hidden_files_tests_and_subdirectories() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yaml", "a.test.yaml", ".c.yaml", "..d.yaml", "README.md"] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        fs::create_dir(directory.path().join("more")).unwrap();
        fs::write(directory.path().join("more/e.yaml"), "").unwrap();
        let read = read(directory.path()).unwrap();
        let expected = ["a.yaml", "b.yaml"].map(|name| (directory.path().join(name), name.to_owned()));
        assert_eq!(read, expected);
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
