//! Secrets that the configuration names: where each is, and reading it, from a file or the environment. The only place
//! that reads the environment.

use crate::files;
use crate::model::problem::Problem;
use crate::secret::Secret;
use std::path::PathBuf;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file.
    File(PathBuf),
    /// In an environment variable.
    Variable(Box<str>),
}

/// A secret that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSecret {
    /// Where it is.
    pub source: SecretSource,
    /// The configuration file.
    pub file: PathBuf,
    /// Where that names it: line and column, from 1.
    pub place: (u64, u64),
}

impl NamedSecret {
    /// Reads the secret as it is now and makes something of it.
    ///
    /// # Errors
    /// If it cannot be read or `parse` refuses it, at the place in the configuration that names it.
    pub fn read<K>(&self, parse: impl FnOnce(&Secret) -> Result<K, String>) -> Result<K, Problem> {
        let problem = |what: String| {
            let (line, column) = self.place;
            // Neither is shown: what stands there by mistake may be the secret.
            let source = match &self.source {
                SecretSource::File(_) => "the file that is named here",
                SecretSource::Variable(_) => "the environment variable that is named here",
            };
            Problem::error(&self.file, line, column, format!("{source} {what}"))
        };
        let secret = self.text().map_err(problem)?;
        parse(&secret).map_err(problem)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn text(&self) -> Result<Secret, String> {
        match &self.source {
            SecretSource::File(path) => files::read(path).map(Secret::new).map_err(|problem| problem.message),
            SecretSource::Variable(name) => std::env::var(&**name).map(Secret::new).map_err(|error| match error {
                std::env::VarError::NotPresent => "is not set".to_owned(),
                std::env::VarError::NotUnicode(_) => "is not UTF-8 text".to_owned(),
            }),
        }
    }
}
