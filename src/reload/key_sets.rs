//! Key set files of issuers.

use super::{Reloadable, What};
use crate::files;
use crate::issuer::Issuers;
use crate::model::problem::Problem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The key set files of every issuer that has one.
#[derive(Debug)]
pub struct KeySetFiles(pub Arc<Issuers>);

impl Reloadable for KeySetFiles {
    fn what(&self) -> What {
        What::KeySet
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.0.files().map(Path::to_owned).collect()
    }

    fn read(&self) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
        files::read_all(&self.paths())
    }

    /// Each issuer reads its own file again; one that is broken does not hold up the others.
    fn apply(&self, _: &[(PathBuf, String)]) -> Result<Vec<Problem>, Vec<Problem>> {
        let problems = self.0.reload_files();
        if problems.is_empty() {
            Ok(Vec::new())
        } else {
            Err(problems)
        }
    }
}

#[cfg(all(test, feature = "demo"))]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::clock::SystemClock;
    use crate::credential::key_set::Algorithm;
    use crate::credential::rules::IssuerRules;
    use crate::demo::signing::{SigningKey, jwks};
    use crate::issuer::{IssuerSettings, KeySource, TokenLimits};
    use std::fs;

    #[test]
    fn a_broken_key_set_file_is_a_problem_and_the_last_keys_stay() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keys.json");
        let publish = |id: &str| {
            let key = SigningKey::generate(id, Algorithm::Es256).unwrap();
            fs::write(&file, jwks([&key]).to_string()).unwrap();
        };
        publish("first");
        let mut settings = IssuerSettings::new(IssuerRules::new("https://idp.example.com", vec!["flyte".to_owned()]));
        settings.keys = KeySource::File(file.clone());
        let issuers = Issuers::new(
            vec![settings],
            TokenLimits::default(),
            Arc::new(SystemClock),
            Arc::new(()),
        );
        let files = KeySetFiles(Arc::new(issuers.unwrap()));
        assert_eq!(files.paths(), std::slice::from_ref(&file));
        assert_eq!(files.apply(&files.read().unwrap()), Ok(Vec::new()));
        publish("second");
        assert_eq!(files.apply(&files.read().unwrap()), Ok(Vec::new()));
        fs::write(&file, "{\"keys\": [").unwrap();
        assert_eq!(files.apply(&files.read().unwrap()).unwrap_err().len(), 1);
        fs::remove_file(&file).unwrap();
        assert_eq!(files.read().unwrap_err().len(), 1);
        assert!(files.0.ready());
    }
}
