//! The three ways to make one call: gRPC, and REST with a body of JSON or protobuf.

use crate::proxy::Proxy;
use flyte_authz_proxy::demo::client::Reply;
use http::Method;
use serde_json::Value;

/// How a call is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Grpc,
    Json,
    Octets,
}

pub(crate) const WAYS: [Way; 3] = [Way::Grpc, Way::Json, Way::Octets];

impl Way {
    /// Sends a message by gRPC, or a body by REST: one that leaves out what the path says.
    pub(crate) async fn send(
        self,
        proxy: &Proxy,
        token: &str,
        rpc: &str,
        (method, target): (Method, &str),
        (message, body): (Value, Value),
    ) -> Reply {
        let (content_type, body) = match self {
            Self::Grpc => return proxy.client.call(Some(token), rpc, message).await.unwrap(),
            Self::Json => ("application/json", body.to_string().into_bytes()),
            Self::Octets => ("application/octet-stream", proxy.client.encode(rpc, body).unwrap()),
        };
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", content_type)];
        proxy.client.rest(method, target, &headers, body).await.unwrap()
    }
}
