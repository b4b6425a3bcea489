//! Values that know where they stand.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_saphyr::{Location, Spanned};
use std::borrow::Cow;

/// A value with its place in the file; a default has none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Placed<T>(pub Spanned<T>);

impl<T> Placed<T> {
    pub(super) fn default_of(value: impl Into<T>) -> Self {
        Self(Spanned::new(value.into(), Location::UNKNOWN, Location::UNKNOWN))
    }

    /// The value.
    pub fn value(&self) -> &T {
        &self.0.value
    }

    /// Where it stands.
    pub fn place(&self) -> Location {
        self.0.referenced
    }
}

impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
