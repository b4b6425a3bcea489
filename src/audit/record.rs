//! The audit record: one JSON object a line. Documented in docs/audit.md; fields are added, never renamed.

use super::{Clock, Protocol, Serialize};
use crate::model::action::ActionSet;
use crate::protocol::request_id::RequestId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

mod shorten;
mod words;

/// One request, as recorded. Holds nothing that a credential could be made from.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The version of this schema: 1.
    pub version: u8,
    /// What kind of record it is: always `request`.
    pub kind: &'static str,
    /// When the request's head had arrived, RFC 3339 in UTC with microseconds.
    pub time: String,
    /// The identifier that the answer carries in `x-request-id`.
    pub request_id: RequestId,
    /// The `x-request-id` the client sent, if it is a plain identifier. Not to be trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_request_id: Option<Box<str>>,
    /// The trace id of a W3C `traceparent` the client sent. Not to be trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<Box<str>>,
    /// How it ended: `forwarded`, `answered`, `denied`, `failed` or `aborted`.
    pub outcome: &'static str,
    /// Why it was refused or failed: a label of docs/reasons.md.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The text the caller was shown with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How the caller speaks: `grpc`, `rest` or `rest_proto`.
    pub protocol: &'static str,
    /// The listener's configured name.
    pub listener: Arc<str>,
    /// The peer's address and port on the connection.
    pub peer: SocketAddr,
    /// The client's address: the peer's, or the one that trusted hops tell.
    pub client: IpAddr,
    /// The RPC's gRPC path, or the page's path, from the catalogue; absent when none was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rpc: Option<Arc<str>>,
    /// The action the call needs in its own scope; absent when it needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
    /// What the call touches: the scope it acts in first, then what it refers to, at most 100 of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetRecord>,
    /// How many more targets there are; absent when none.
    #[serde(skip_serializing_if = "is_zero")]
    pub targets_omitted: usize,
    /// How many stored executions the control plane was asked about to judge the call; absent when none.
    #[serde(skip_serializing_if = "is_zero")]
    pub lookups: usize,
    /// The verified caller; absent when none was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalRecord>,
    /// Where the token was that names the caller: `authorization`, `session`, `flyte_authorization` or `load_balancer`;
    /// absent unless the principal's kind is `token`, because the kind of the others says where they are from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<&'static str>,
    /// The rules that decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Arc<str>>,
    /// Whether they allow it only with an answer that shows nothing but names that rules allow; absent if not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub filtered: bool,
    /// The policy that judged; absent when it did not come to that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRecord>,
    /// The settings of executions that the request asks for, at most 100 of them; absent when none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub asks_for: Vec<AskedRecord>,
    /// The settings of executions that were written into the request, by their labels; absent when none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<&'static str, Box<str>>,
    /// The policy's refusal that was not acted on, in shadow mode; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_refuse: Option<WouldRefuseRecord>,
    /// What the candidate policy would decide; absent where that is the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateRecord>,
    /// The HTTP status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The gRPC status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_status: Option<u16>,
    /// Bytes of the request message.
    pub request_bytes: u64,
    /// Bytes of the answer passed on.
    pub response_bytes: u64,
    /// How many items of the answer were left out; absent when none.
    #[serde(skip_serializing_if = "is_zero")]
    pub withheld: usize,
    /// How many items would have been left out, in shadow mode; absent when none.
    #[serde(skip_serializing_if = "is_zero")]
    pub would_withhold: usize,
    /// Microseconds from the head of the request to the decision.
    pub judge_us: u64,
    /// Microseconds from the head of the request to the end of the answer.
    pub duration_us: u64,
    /// The share of allowed requests that are recorded, of which this is one; absent where all of its kind are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<f64>,
    /// The fields of which a text was cut or items left out, because they were too long; absent when none.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub shortened: BTreeSet<&'static str>,
}

/// The policy a request was judged by.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyRecord {
    /// SHA-256 of the policy files, in hex.
    pub version: Arc<str>,
    /// Counts the policies this process has had in force.
    pub generation: u64,
}

/// A refusal that was not acted on.
#[derive(Clone, Debug, Serialize)]
pub struct WouldRefuseRecord {
    /// Why it would have been refused: a label of docs/reasons.md.
    pub reason: &'static str,
    /// The text that the caller would have been shown.
    pub message: String,
}

/// What the candidate policy would decide otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct CandidateRecord {
    /// `allow`, `filter` (allowed, and the answer shows only names that rules allow) or `refuse`.
    pub decision: &'static str,
    /// `gained` if it allows more than the policy in force, `lost` if less.
    pub direction: &'static str,
    /// Why it would refuse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The rules that would decide.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Arc<str>>,
    /// SHA-256 of the candidate's files, in hex.
    pub version: Arc<str>,
}

/// The caller.
#[derive(Clone, Debug, Serialize)]
pub struct PrincipalRecord {
    /// `token`, `listener`, `certificate` or `anonymous`.
    pub kind: &'static str,
    /// Who vouches for it.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub issuer: Arc<str>,
    /// Its subject.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub subject: Arc<str>,
    /// Its e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Arc<str>>,
    /// Its client id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<Arc<str>>,
    /// Its groups, if they are to be recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<Arc<str>>>,
    /// Those of its claims that the policy looks at, if they are to be recorded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimRecord>,
    /// Whether groups and claims were too long to be recorded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub claims_omitted: bool,
}

/// A claim that the policy looks at.
#[derive(Clone, Debug, Serialize)]
pub struct ClaimRecord {
    /// Where it is: the names from the outside in.
    pub path: Vec<String>,
    /// Its values as the policy compares them; empty if the token has none.
    pub values: Vec<String>,
}

/// Something the call touches.
#[derive(Clone, Debug, Serialize)]
pub struct TargetRecord {
    /// The project; absent for the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<Arc<str>>,
    /// The domain; absent for a whole project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<Arc<str>>,
    /// The actions of which one is needed.
    pub needs: ActionSet,
    /// `task`, `workflow` or `launch_plan`, where the call names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<&'static str>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// The stored execution that the call is about, where it names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<Arc<str>>,
    /// Whether the call starts that execution again; absent if not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// What that execution runs, if it was looked up and is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<RunRecord>,
    /// For things without a name: `every` of them, those that are `listed`, or one that the request does not name
    /// (`unnamed`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub things: Option<&'static str>,
    /// For a project without a domain: whether the action is needed in `every` domain or in `some`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domains: Option<&'static str>,
    /// The request field that refers to it; absent for the scope the call acts in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<Arc<str>>,
}

/// A setting that the request asks for.
#[derive(Clone, Debug, Serialize)]
pub struct AskedRecord {
    /// Its label, such as `service_account`.
    pub setting: &'static str,
    /// The value.
    pub value: Box<str>,
    /// The request field that asks for it.
    pub field: Box<str>,
}

/// What a stored execution runs.
#[derive(Clone, Debug, Serialize)]
pub struct RunRecord {
    /// `task` or `launch_plan`.
    pub resource: &'static str,
    /// The project it lies in.
    pub project: Arc<str>,
    /// The domain it lies in.
    pub domain: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Record {
    pub(super) fn begin(
        clock: &dyn Clock,
        protocol: Protocol,
        request_id: RequestId,
        listener: Arc<str>,
        peer: SocketAddr,
    ) -> Self {
        Self {
            version: 1,
            kind: "request",
            time: timestamp(clock.now()),
            request_id,
            client_request_id: None,
            trace_id: None,
            outcome: "",
            reason: None,
            message: None,
            protocol: protocol.label(),
            listener,
            peer,
            client: peer.ip().to_canonical(),
            rpc: None,
            action: None,
            targets: Vec::new(),
            targets_omitted: 0,
            lookups: 0,
            principal: None,
            credential: None,
            rules: Vec::new(),
            filtered: false,
            policy: None,
            asks_for: Vec::new(),
            set: BTreeMap::new(),
            would_refuse: None,
            candidate: None,
            status: None,
            grpc_status: None,
            request_bytes: 0,
            response_bytes: 0,
            withheld: 0,
            would_withhold: 0,
            judge_us: 0,
            duration_us: 0,
            sample_rate: None,
            shortened: BTreeSet::new(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// RFC 3339 in UTC with microseconds.
fn timestamp(since_epoch: std::time::Duration) -> String {
    let micros = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}
