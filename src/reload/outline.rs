//! What is remembered of the texts of a policy to find out whether one was cut off: a thirtieth of them, for they can be long.

use ahash::RandomState;
use std::path::{Path, PathBuf};

/// How many bytes are compared by one hash.
const BLOCK: usize = 256;

/// The lengths of texts, and a hash of each of their blocks.
#[derive(Debug, Default)]
pub(super) struct Outline {
    hasher: RandomState,
    files: Vec<(PathBuf, Text)>,
}

#[derive(Debug)]
struct Text {
    length: usize,
    blocks: Box<[u64]>,
}

impl Outline {
    pub(super) fn of(files: &[(PathBuf, String)]) -> Self {
        let hasher = RandomState::new();
        let outlined = |(path, text): &(PathBuf, String)| {
            let blocks = blocks(&hasher, text).collect();
            (
                path.clone(),
                Text {
                    length: text.len(),
                    blocks,
                },
            )
        };
        let files = files.iter().map(outlined).collect();
        Self { hasher, files }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether one of the files is shorter than it was, and begins as it did: but for less than a block at its end, which is
    /// not compared.
    pub(super) fn has_a_longer_one(&self, files: &[(PathBuf, String)]) -> bool {
        files.iter().any(|(path, text)| self.is_cut(path, text))
    }

    fn is_cut(&self, path: &Path, text: &str) -> bool {
        let known = self.files.iter().find(|(known, _)| known == path);
        known.is_some_and(|(_, known)| {
            text.len() < known.length
                && blocks(&self.hasher, text).eq(known.blocks.iter().copied().take(text.len() / BLOCK))
        })
    }
}

/// The hashes of all whole blocks.
fn blocks(hasher: &RandomState, text: &str) -> impl Iterator<Item = u64> {
    text.as_bytes().chunks_exact(BLOCK).map(|block| hasher.hash_one(block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_if_it_is_shorter_and_begins_as_before() {
        let whole = (b'a'..=b'z')
            .map(|letter| char::from(letter).to_string().repeat(100))
            .collect::<String>();
        let outline = Outline::of(&[("a".into(), whole.clone()), ("b".into(), "short".into())]);
        let cut = |path: &str, text: &str| {
            outline.has_a_longer_one(&[("other".into(), String::new()), (path.into(), text.into())])
        };
        for length in [0, 1, BLOCK - 1, BLOCK, 3 * BLOCK, 3 * BLOCK + 1, whole.len() - 1] {
            let text: String = whole.chars().take(length).collect();
            assert!(cut("a", &text), "{length}");
            assert!(!cut("c", &text), "a new file");
        }
        assert!(!cut("a", &whole));
        assert!(!cut("a", &format!("{whole}x")));
        let changed: String = whole.chars().skip(1).collect();
        assert!(!cut("a", &changed), "shorter, but otherwise");
        assert!(cut("b", "shor") && !cut("b", "shorter"));
        // What is not a block is not compared.
        assert!(cut("b", "x"));
    }
}
