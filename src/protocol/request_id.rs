//! The identifier of a request, as text and as the header that carries it.

use http::HeaderValue;
use http::header::HeaderName;
use serde::{Serialize, Serializer};
use std::fmt::{self, Write as _};

/// Carries the request's identifier on every answer and to the control plane.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's identifier: a short text of hexadecimal digits. Cheap to clone, since all clones share the text.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The identifier of the request with this number in a process with this one.
    #[must_use]
    pub fn new(process: u64, number: u64) -> Self {
        let mut text = String::with_capacity(24);
        // Writing to a text does not fail.
        _ = write!(text, "{process:016x}{number:08x}");
        let mut value = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unnamed"));
        // Not a secret, but never the same twice: the compression of HTTP/2 headers would keep each one in its table,
        // where it is searched for among all others of its name and drives out those that come again.
        value.set_sensitive(true);
        Self(value)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The value of [`REQUEST_ID`].
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
