//! What a connection says about its requests, and who answers them.

use super::Gate;
use super::answer::Body;
use super::certificate::PeerCertificate;
use super::redirect::Redirect;
use crate::audit::Recorder;
use crate::model::denial::Denial;
use crate::protocol::hops::{Provenance, TrustedHops};
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What a connection says about its requests.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// The peer's address and port.
    pub peer: SocketAddr,
    /// Whose connection it is: the peer's, or that of whom the peer says, if that is a trusted hop.
    pub source: IpAddr,
    /// Tells which hops are believed, if the source is one; otherwise none is.
    pub hops: Option<Arc<TrustedHops>>,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
    /// The verified certificate of the client, if the listener asked for one and there is one.
    pub certificate: Option<Arc<PeerCertificate>>,
}

impl ConnectionInfo {
    /// Where a request with these headers came from.
    pub(super) fn provenance(&self, headers: &HeaderMap) -> Result<Provenance, Denial> {
        match &self.hops {
            Some(hops) => hops.provenance(headers, self.source),
            None => Ok(Provenance::of(self.source)),
        }
    }
}

/// What answers the requests of a listener.
#[derive(Clone, Debug)]
pub enum Service {
    /// Judges and forwards them.
    Gate(Arc<Gate>),
    /// Leads browsers to `https://`.
    Redirect(Arc<Redirect>),
}

impl Service {
    /// Answers a request. Never fails.
    pub async fn handle(&self, request: Request<Incoming>, info: &ConnectionInfo) -> Response<Body> {
        match self {
            Self::Gate(gate) => gate.handle(request, info).await,
            Self::Redirect(redirect) => redirect.handle(request, info),
        }
    }

    /// Records every request.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        match self {
            Self::Gate(gate) => &gate.recorder,
            Self::Redirect(redirect) => &redirect.recorder,
        }
    }
}
