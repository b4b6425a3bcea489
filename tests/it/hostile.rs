//! Hostile input through the whole proxy: what the modules `hostile_*` share, and what none of them tests.
//!
//! Every test carries the ids of the attacks it tries. Each attack is sent by a caller who would be allowed to make the
//! well-formed call, so that nothing but the attack itself can be the reason of the refusal. These ids are missing, since
//! FlyteAdmin does not speak what they attack, or since they are tested elsewhere:
//!
//! | id | why |
//! |---|---|
//! | T-METHOD-08 | FlyteAdmin has no Connect GET; that such a request is an unknown route is in `hostile_method` |
//! | T-PB-11 | no field that is judged is a repeated number, so that none can be packed |
//! | T-GRPC-08 | no RPC of FlyteAdmin streams requests; two messages are T-GRPC-02 |
//! | T-GRPC-12 | FlyteAdmin has no gRPC-Web; that its content types are refused is in `hostile_grpc` |
//! | T-JSON-14 | FlyteAdmin has no Connect GET; repeated query keys are T-JSON-12 |
//! | T-JWT | tokens have a suite of their own beside `credential` |
//! | T-RESP, T-H2, T-TIME, T-CONF | not about the content of a request |

use crate::proxy::Proxy;
use crate::raw::{self, Fate};
use bytes::Bytes;
use flyte_authz_proxy::demo::stack::Setup;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http::Method;
use serde_json::{Value, json};

/// The path of a gRPC call that the caller may make, with [`Attack::message`].
pub(crate) const RPC: &str = "/flyteidl.service.AdminService/ListExecutions";
/// The same call by REST.
pub(crate) const TARGET: &str = "/api/v1/executions/ml/development?limit=1";

/// A proxy, and an ml team member who attacks it.
pub(crate) struct Attack {
    pub(crate) proxy: Proxy,
    pub(crate) bearer: String,
}

impl Attack {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Setup)) -> Self {
        let proxy = Proxy::start_with(change).await;
        let bearer = format!("Bearer {}", proxy.ml());
        Self { proxy, bearer }
    }

    /// The message of [`RPC`] for a project.
    pub(crate) fn message(&self, project: &str) -> Vec<u8> {
        let request = json!({"id": {"project": project, "domain": "development"}, "limit": 1});
        self.proxy
            .client
            .encode("AdminService/ListExecutions", request)
            .unwrap()
    }

    /// The same in a gRPC frame.
    pub(crate) fn framed(&self, project: &str) -> Bytes {
        envelope::frame(&self.message(project))
    }

    /// An HTTP/1.1 head with the caller's token and more headers, each with its line end.
    pub(crate) fn head(&self, line: &str, headers: &str) -> String {
        format!(
            "{line} HTTP/1.1\r\nhost: localhost\r\nauthorization: {}\r\n{headers}\r\n",
            self.bearer
        )
    }

    /// Sends REST with the caller's token and more headers. It must be refused for this reason.
    pub(crate) async fn rest(
        &self,
        (method, target): (Method, &str),
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
        reason: Reason,
    ) -> Value {
        show(&format!("{method} {target} {headers:?}"));
        let before = self.proxy.before();
        let headers = [&[("authorization", self.bearer.as_str())], headers].concat();
        let reply = self.proxy.plain.rest(method, target, &headers, body).await.unwrap();
        self.proxy.refused(&before, &reply, reason).await
    }

    /// Sends gRPC with the caller's token and more headers. It must be refused for this reason.
    pub(crate) async fn grpc(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
        reason: Reason,
    ) -> Value {
        show(&format!("gRPC {path} {headers:?}"));
        let before = self.proxy.before();
        let headers = [&[("authorization", self.bearer.as_str())], headers].concat();
        let reply = self.proxy.plain.grpc(path, &headers, body.into()).await.unwrap();
        self.proxy.refused(&before, &reply, reason).await
    }

    /// Sends an HTTP/1.1 request as written. It must be refused for this reason.
    pub(crate) async fn http1(&self, request: impl AsRef<[u8]>, reason: Reason) -> Value {
        show(&String::from_utf8_lossy(request.as_ref()));
        let before = self.proxy.before();
        let reply = raw::http1(&self.proxy, request).await.expect("an answer");
        self.proxy.refused(&before, &reply, reason).await
    }

    /// Sends an HTTP/1.1 request as written. The HTTP library must answer it with this status and no body.
    pub(crate) async fn http1_no_request(&self, request: impl AsRef<[u8]>, status: u16) {
        show(&String::from_utf8_lossy(request.as_ref()));
        let before = self.proxy.before();
        let reply = raw::http1(&self.proxy, request).await.expect("an answer");
        assert_eq!(reply.status, status);
        assert!(reply.body.is_empty() && !reply.headers.contains_key("x-request-id"));
        self.proxy.untouched(&before).await;
    }

    /// The header fields of a gRPC call with the caller's token, some replaced and others added.
    pub(crate) fn fields<'a>(&'a self, changes: &[(&'a [u8], &'a [u8])]) -> Vec<(&'a [u8], &'a [u8])> {
        for (name, value) in changes {
            show(&format!("{}: {}", name.escape_ascii(), value.escape_ascii()));
        }
        let usual: [(&[u8], &[u8]); 7] = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":authority", b"localhost"),
            (b":path", RPC.as_bytes()),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"authorization", self.bearer.as_bytes()),
        ];
        let replaced = |name: &[u8]| changes.iter().any(|(changed, _)| *changed == name);
        // Pseudo-headers come first; one with an empty value is left out.
        let kept = usual.into_iter().filter(|(name, _)| !replaced(name));
        let mut fields: Vec<_> = kept
            .chain(changes.iter().copied().filter(|(_, value)| !value.is_empty()))
            .collect();
        fields.sort_by_key(|(name, _)| !name.starts_with(b":"));
        fields
    }

    /// Sends gRPC with header fields changed, frame by frame. The gate must refuse it for this reason.
    pub(crate) async fn http2(&self, changes: &[(&[u8], &[u8])], reason: Reason) -> Value {
        let before = self.proxy.before();
        let fate = raw::http2(&self.proxy, &self.fields(changes), Some(&self.framed("ml"))).await;
        assert!(matches!(fate, Fate::Answered { .. }), "{fate:?}");
        self.proxy.recorded(&before, reason).await
    }

    /// The same, but the HTTP library must not let it become a request.
    pub(crate) async fn http2_no_request(&self, changes: &[(&[u8], &[u8])], expected: Fate) {
        let before = self.proxy.before();
        let fate = raw::http2(&self.proxy, &self.fields(changes), Some(&self.framed("ml"))).await;
        assert_eq!(fate, expected);
        self.proxy.untouched(&before).await;
    }
}

/// Says which case of a table is tried; shown when the test fails.
#[expect(clippy::print_stderr, reason = "the test harness shows it when a case fails")]
pub(crate) fn show(case: &str) {
    let start: String = case.chars().take(200).collect();
    eprintln!("case: {start}");
}
