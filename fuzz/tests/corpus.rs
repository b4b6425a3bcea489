//! What is kept in `corpus`: every input passes its target, and those called `seed-*` are made here from fixtures of the tests.
//! `UPDATE=1 cargo test` writes them.

use flyte_authz_proxy_fuzz::{TARGETS, seeds};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

#[test]
fn every_input_passes_its_target() {
    for (target, check) in TARGETS {
        let mut count = 0;
        for entry in fs::read_dir(corpus(target)).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            check(&fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 2, "{target} has {count} inputs");
    }
}

#[test]
fn the_corpus_is_small() {
    let sizes = TARGETS
        .iter()
        .flat_map(|(target, _)| fs::read_dir(corpus(target)).unwrap());
    let size: u64 = sizes.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(size < 1 << 20, "{size} bytes");
}

#[test]
fn the_seeds_are_those_of_the_fixtures() {
    for (target, inputs) in seeds::all() {
        let directory = corpus(target);
        let wanted: BTreeMap<String, Vec<u8>> = inputs
            .into_iter()
            .enumerate()
            .map(|(index, input)| (format!("seed-{index:03}"), input))
            .collect();
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(&directory).unwrap();
            for name in kept(&directory) {
                fs::remove_file(directory.join(name)).unwrap();
            }
            for (name, input) in &wanted {
                fs::write(directory.join(name), input).unwrap();
            }
        }
        assert_eq!(
            kept(&directory),
            wanted.keys().cloned().collect(),
            "{target}: run with UPDATE=1"
        );
        for (name, input) in wanted {
            assert!(
                fs::read(directory.join(&name)).unwrap() == input,
                "{target}/{name} is another: run with UPDATE=1"
            );
        }
    }
}

/// The seeds that are in a directory.
fn kept(directory: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("seed-")).collect()
}
