//! How a caller speaks: gRPC, REST or a page for a browser. Decides how it is answered.

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Version};

pub mod canonical;
pub mod classify;
pub mod deny;
pub mod envelope;
pub mod hops;
pub mod proxy_header;
pub mod request_id;

/// The form in which a request came and its answer has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// REST answered in JSON.
    Rest,
    /// REST answered in protobuf (`Accept: application/octet-stream`), as the console asks.
    RestProto,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: &'static [Self] = &[Self::Grpc, Self::Rest, Self::RestProto];

    /// The word used in metrics and audit records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Rest => "rest",
            Self::RestProto => "rest_proto",
        }
    }
}

/// A request's head in its one accepted spelling. Made only by [`canonical::accept`]; every later stage, and the
/// request that goes upstream, reads this and nothing else.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub(in crate::protocol) method: Method,
    pub(in crate::protocol) target: PathAndQuery,
    pub(in crate::protocol) host: Box<str>,
    pub(in crate::protocol) version: Version,
    pub(in crate::protocol) headers: HeaderMap,
    pub(in crate::protocol) protocol: Protocol,
}

impl RequestHead {
    /// The HTTP method: upper case, one of those FlyteAdmin serves.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path as it was sent: starts with `/`, has no empty or dot segments and no encoding that hides one.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// The query without `?`, as it was sent.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.target.query()
    }

    /// Path and query, as they go upstream.
    #[must_use]
    pub fn target(&self) -> &PathAndQuery {
        &self.target
    }

    /// The public host and port the caller used.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The HTTP version of the client connection.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The headers, as they were sent.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// How the caller speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }
}
