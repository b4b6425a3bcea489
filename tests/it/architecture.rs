//! The shape of the source: the order of modules, engines without input and output, files of readable length.

use std::fs;
use std::path::{Path, PathBuf};

/// The longest file, in lines without its tests.
const CEILING: usize = 400;

/// What words and engines do without, so that all they decide can be tested with values alone.
const OUTSIDE_WORLD: [&str; 8] = [
    "tokio",
    "hyper",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "SystemTime::now",
    "Instant::now",
];

/// Where the outside world is the point.
const EXCEPTIONS: [(&str, &str, &str); 1] =
    [("src/clock.rs", "SystemTime::now", "it is the clock that all else takes")];

/// A source file: its path below the package and its production lines.
struct Source {
    path: PathBuf,
    lines: Vec<String>,
}

impl Source {
    /// The module of the crate's root that it belongs to.
    fn module(&self) -> String {
        let below = self.path.strip_prefix("src").unwrap();
        let first = below.components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
    }

    /// Its lines of code with their numbers, without those that are comments only.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.lines.iter().enumerate();
        let code = numbered.map(|(index, line)| (index + 1, line.trim()));
        code.filter(|(_, line)| !line.starts_with("//"))
    }
}

/// A module of the crate's root, as `src/lib.rs` lists it.
struct Listed {
    name: String,
    layer: String,
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Every file of the program but those that hold only tests.
fn sources() -> Vec<Source> {
    let is_test = |path: &Path| {
        path.components().any(|part| {
            part.as_os_str() == "tests" || part.as_os_str() == "tests.rs" || part.as_os_str() == "example.rs"
        })
    };
    let files = files_below(&package().join("src")).into_iter();
    let sources = files.filter(|path| !is_test(path)).map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let production = text.lines().take_while(|line| *line != "mod tests {");
        Source {
            path: path.strip_prefix(package()).unwrap().to_owned(),
            lines: production.map(str::to_owned).collect(),
        }
    });
    sources.collect()
}

/// The modules in the order of `src/lib.rs`, each with the first word of the comment above its group.
fn listed() -> Vec<Listed> {
    let text = fs::read_to_string(package().join("src/lib.rs")).unwrap();
    let mut layer = String::new();
    let mut modules = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("// ") {
            comment.split(':').next().unwrap().clone_into(&mut layer);
        } else if let Some(name) = line.strip_prefix("pub mod ") {
            modules.push(Listed {
                name: name.trim_end_matches(';').to_owned(),
                layer: layer.clone(),
            });
        }
    }
    modules
}

/// The root modules a line of code refers to: `crate::x::…` and `crate::{x, y}`.
fn used(line: &str) -> Vec<String> {
    let name = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let mut names = Vec::new();
    for rest in line.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(list) => names.extend(list.split('}').next().unwrap().split(',').map(|item| name(item.trim()))),
            None => names.push(name(rest)),
        }
    }
    names
}

#[test]
fn a_module_uses_only_modules_listed_above_it() {
    let listed = listed();
    let place = |name: &str| listed.iter().position(|module| module.name == name);
    let mut faults = Vec::new();
    for source in sources() {
        let module = source.module();
        if module == "lib" || module == "main" {
            continue;
        }
        let own = place(&module).unwrap_or_else(|| panic!("src/lib.rs does not list {module}"));
        for (number, line) in source.code() {
            // `in crate::x` says who may see an item; it is no use of x.
            let line = line.replace("(in crate::", "(in ");
            for name in used(&line) {
                match place(&name) {
                    Some(other) if other <= own => {}
                    Some(_) => faults.push(format!(
                        "{}:{number} uses {name}, listed below {module}",
                        source.path.display()
                    )),
                    None => faults.push(format!(
                        "{}:{number} uses {name}, which is no module",
                        source.path.display()
                    )),
                }
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn modules_reach_the_root_by_its_name_only() {
    for source in sources() {
        let depth = source.path.components().count() - 1;
        for (number, line) in source.code() {
            let too_far = "super::".repeat(depth);
            assert!(
                !line.contains(&too_far),
                "{}:{number}: write `crate::` for `{too_far}`, so that the order of modules can be checked",
                source.path.display()
            );
        }
    }
}

#[test]
fn words_and_engines_do_nothing_but_compute() {
    let listed = listed();
    let pure: Vec<&str> = listed
        .iter()
        .filter(|module| module.layer == "Words" || module.layer == "Engines")
        .map(|module| module.name.as_str())
        .collect();
    assert!(pure.contains(&"model") && pure.contains(&"policy"), "{pure:?}");
    let mut faults = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| pure.contains(&source.module().as_str()))
    {
        let path = source.path.to_str().unwrap();
        for (number, line) in source.code() {
            for word in OUTSIDE_WORLD.iter().filter(|word| line.contains(**word)) {
                let excepted = EXCEPTIONS.iter().any(|(file, what, _)| *file == path && what == word);
                if !excepted {
                    faults.push(format!("{path}:{number} has {word}"));
                }
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new());
    for (file, what, why) in EXCEPTIONS {
        let text = fs::read_to_string(package().join(file)).unwrap();
        assert!(text.contains(what), "{file} needs no exception any more ({why})");
    }
}

#[test]
fn no_file_is_longer_than_can_be_read_at_once() {
    for source in sources() {
        let lines = source.lines.len();
        assert!(
            lines <= CEILING,
            "{} has {lines} lines; split it by what it owns",
            source.path.display()
        );
    }
}

#[test]
fn every_file_says_first_what_it_owns() {
    let mut files = files_below(&package().join("src"));
    files.extend(files_below(&package().join("tests")));
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} does not begin with `//!`", file.display());
    }
}

/// The lint holds for every target of the package; nothing can allow again what is forbidden.
#[test]
fn unsafe_code_is_forbidden_and_there_is_none() {
    let manifest = fs::read_to_string(package().join("Cargo.toml")).unwrap();
    let lints = manifest.split("[lints.rust]\n").nth(1).unwrap();
    let lints = lints.split("\n[").next().unwrap();
    assert!(lints.lines().any(|line| line == "unsafe_code = \"forbid\""), "{lints}");
    let word = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        code.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
            .any(|word| word == "unsafe" || word == "unsafe_code")
    };
    assert!(word("    unsafe { x() }") && word("#![allow(unsafe_code)]") && !word("let unsafe_letter = 1; // unsafe"));
    for directory in ["src", "examples"] {
        for file in files_below(&package().join(directory)) {
            let text = fs::read_to_string(&file).unwrap();
            for (number, line) in (1..).zip(text.lines()) {
                assert!(!word(line), "{}:{number}: {line}", file.display());
            }
        }
    }
}
