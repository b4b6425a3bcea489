//! Looks up what stored executions run, for callers whose rights depend on it. The question goes upstream by gRPC as the
//! caller's own would, and its answer goes no further than here.

use super::Gate;
use super::answer::grpc_status;
use super::authenticate::Authenticated;
use super::whole::{self, Bounds};
use crate::audit::AuditGuard;
use crate::extract::execution::{self, ExecutionId};
use crate::filter::pieces::Pieces;
use crate::held::{Hold, LARGE};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::model::scope::{ChosenName, Resource, Run, Scope, Target};
use crate::policy::decide::{Call, Decision, Refusal, Rights};
use crate::policy::stored::{started_elsewhere, starts_again};
use crate::protocol::envelope::{self, Encoding};
use crate::protocol::{RequestHead, canonical};
use crate::upstream::Port;
use crate::upstream::headers::{self, Origin};
use crate::upstream::received::Received;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use std::time::Duration;

const GET_EXECUTION: &str = "/flyteidl.service.AdminService/GetExecution";
/// The largest answer that is read, in bytes. Inputs of executions lie elsewhere.
const MAX_BYTES: usize = 16 << 20;
/// How long all look-ups of one request may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Why an execution is not started again. What it runs is in the record.
const ELSEWHERE: &str = "the execution runs something of another project or domain, where no rule allows use_inventory (of a task \
                         also register_inventory), which starting it there by name would need";
/// The same, where that is not known.
const WITHHELD: &str = "what the execution runs is not known: the control plane does not tell the caller";
/// The most executions that are looked up for one request, besides one of a chosen name. No RPC of Flyte 1 names more than two.
const MOST: usize = 8;

/// Numbers of gRPC status codes (<https://grpc.io/docs/guides/status-codes/>).
const GRPC_OK: u16 = 0;
const INVALID_ARGUMENT: u16 = 3;
const DEADLINE_EXCEEDED: u16 = 4;
const NOT_FOUND: u16 = 5;
const PERMISSION_DENIED: u16 = 7;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;

/// The request on whose behalf is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub(super) head: &'a RequestHead,
    pub(super) origin: Origin<'a>,
    /// Who asks.
    pub(super) authenticated: &'a Authenticated,
    /// The name that it chooses for a new execution.
    pub(super) chosen: Option<&'a ChosenName>,
}

/// What the control plane says of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    /// It runs this.
    Runs(Run),
    /// Another one is found under that name, as by a database that compares loosely.
    Another,
    /// There is none.
    Nothing,
    /// The caller is not told.
    Withheld,
}

impl Gate {
    /// The decision on a call, and what it touches with what its executions run, where it depends on that: for one that
    /// `first` refuses as long as nobody says what they run, if they run what the caller may; for one that starts them
    /// again; and for one that chooses the name of a new one, where names matter. Nothing where `first` counts: a refusal
    /// that says nothing of what they run, nor whether they exist.
    ///
    /// # Errors
    /// Why the control plane could not be asked: `upstream_unreachable`, `upstream_timeout`, `upstream_failed`,
    /// `answer_unreadable`, `credential_refused`, `memory_full`.
    pub(super) async fn decide_by_runs(
        &self,
        call: &Call<'_>,
        rights: &Rights,
        first: &Decision,
        asking: Asking<'_>,
        audit: &mut AuditGuard,
    ) -> Result<Option<(Decision, Vec<Target>)>, Denial> {
        let refused = matches!(first, Decision::Deny(_));
        if refused && !rights.depends_on_runs(call) {
            return Ok(None);
        }
        let limit = deadline(asking.head).map_or(DEADLINE, |deadline| deadline.min(DEADLINE));
        let decided = self.decide_by_answers(call, rights, refused, asking, audit);
        tokio::time::timeout(limit, decided)
            .await
            .map_err(|_| failed(Reason::UpstreamTimeout))?
    }

    /// The same, once it is known that the answers matter.
    async fn decide_by_answers(
        &self,
        call: &Call<'_>,
        rights: &Rights,
        refused: bool,
        asking: Asking<'_>,
        audit: &mut AuditGuard,
    ) -> Result<Option<(Decision, Vec<Target>)>, Denial> {
        let (mut targets, mut lacking) = (call.targets.to_vec(), None);
        if refused || starts_again(call.targets) {
            (targets, lacking) = self.look_up(asking, call.targets, audit).await?;
            targets.extend(started_elsewhere(&targets));
            audit.targets(call.action, &targets);
        }
        let judged = Call {
            targets: &targets,
            ..*call
        };
        let decision = match rights.decide(&judged, &mut ()) {
            Decision::Deny(_) if refused => return Ok(None),
            Decision::Allow(_) if lacking.is_some() || starts_again(&targets) => {
                if refused {
                    return Ok(None);
                }
                // FlyteAdmin would start again what it finds, whatever that runs, and by then there may be something.
                let denial = match lacking {
                    Some(Found::Nothing) => Reason::ExecutionUnknown.into(),
                    Some(Found::Another) => Denial::new(Reason::ReferenceRefused, ELSEWHERE),
                    Some(Found::Withheld | Found::Runs(_)) | None => Denial::new(Reason::ReferenceRefused, WITHHELD),
                };
                Decision::Deny(Refusal { denial, rule: None })
            }
            // Who may start executions here need not know what others have started.
            Decision::Deny(refusal) => Decision::Deny(Refusal {
                denial: Denial::new(Reason::ReferenceRefused, ELSEWHERE),
                ..refusal
            }),
            allowed @ Decision::Allow(_) => self
                .decide_by_name(call, rights, &mut targets, asking, audit)
                .await?
                .unwrap_or(allowed),
        };
        Ok(Some((decision, targets)))
    }

    /// The decision on a call that is allowed as far as `targets` go, and chooses a name for a new execution: with the one,
    /// if there is one, that has this name already. Nothing if that does not matter, or there is none.
    async fn decide_by_name(
        &self,
        call: &Call<'_>,
        rights: &Rights,
        targets: &mut Vec<Target>,
        asking: Asking<'_>,
        audit: &mut AuditGuard,
    ) -> Result<Option<Decision>, Denial> {
        let holder = asking.chosen.and_then(|chosen| rights.depends_on_name(call, chosen));
        let Some(holder) = holder else {
            return Ok(None);
        };
        targets.push(holder.clone());
        audit.targets(call.action, targets);
        let decide = |targets: &[Target]| rights.decide(&Call { targets, ..*call }, &mut ());
        // Whoever is refused is told what does not depend on the answer.
        let unknown = decide(targets);
        let id = stored(&holder).ok_or(Reason::Internal)?;
        audit.looks_up();
        let found = self.ask(asking, id).await?;
        targets.pop();
        if found == Found::Nothing {
            audit.targets(call.action, targets);
            return Ok(None);
        }
        targets.push(running(&holder, found.runs()));
        audit.targets(call.action, targets);
        Ok(Some(match (decide(targets), unknown) {
            (Decision::Deny(_), unknown @ Decision::Deny(_)) => unknown,
            (decision, _) => decision,
        }))
    }

    /// The targets with what their stored executions run. What does not exist stays as it is, and is refused like what is not
    /// listed. Besides, what was found instead of one that is to be started again, or that another than the named one was found.
    async fn look_up(
        &self,
        asking: Asking<'_>,
        targets: &[Target],
        audit: &mut AuditGuard,
    ) -> Result<(Vec<Target>, Option<Found>), Denial> {
        let mut known: Vec<(ExecutionId<'_>, Found)> = Vec::new();
        let mut lacking = None;
        for target in targets {
            let Some(id) = stored(target) else { continue };
            if known.len() < MOST && !known.iter().any(|(other, _)| *other == id) {
                audit.looks_up();
                let found = self.ask(asking, id).await?;
                let is_lacking = match found {
                    Found::Runs(_) => false,
                    Found::Another => true,
                    Found::Nothing | Found::Withheld => starts_again(std::slice::from_ref(target)),
                };
                lacking = lacking.or_else(|| is_lacking.then(|| found.clone()));
                known.push((id, found));
            }
        }
        let named = |target: &Target| {
            let found = stored(target).and_then(|id| known.iter().find(|(other, _)| *other == id));
            running(target, found.and_then(|(_, found)| found.clone().runs()))
        };
        Ok((targets.iter().map(named).collect(), lacking))
    }

    /// What the caller gets that asks for the execution.
    async fn ask(&self, asking: Asking<'_>, id: ExecutionId<'_>) -> Result<Found, Denial> {
        // Taken before it is known whether there is an answer: being full must not tell that there is one.
        let caller = asking.authenticated.caller.principal();
        let holder = self.held.holder(caller, asking.origin.client);
        let mut hold = self.held.hold(holder);
        hold.set(LARGE).map_err(|denial| failed(denial.reason))?;
        let message = envelope::frame(&id.request());
        let mut request = Request::new(message);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static(GET_EXECUTION);
        *request.headers_mut() = request_headers(asking);
        let response = self
            .upstream
            .send(Port::Grpc, request, holder, deadline(asking.head), || Ok(()))
            .await
            .map_err(|denial| failed(denial.reason))?;
        let (message, _hold) = match read(response, self.upstream.idle_timeout(), hold).await? {
            Ok(answer) => answer,
            Err(found) => return Ok(found),
        };
        let found = execution::read(&message).ok_or_else(|| failed(Reason::AnswerUnreadable))?;
        // A database that compares loosely finds another one than the call names.
        Ok(if found.id.is_same(&id) {
            Found::Runs(found.runs)
        } else {
            Found::Another
        })
    }
}

impl Found {
    /// What the execution runs, if it is known.
    fn runs(self) -> Option<Run> {
        match self {
            Self::Runs(run) => Some(run),
            Self::Another | Self::Nothing | Self::Withheld => None,
        }
    }
}

/// The target with what its stored execution runs.
fn running(target: &Target, run: Option<Run>) -> Target {
    let mut target = target.clone();
    if let Some(Resource::RunBy(execution)) = &mut target.resource {
        execution.runs = run;
    }
    target
}

/// The execution that a target is about, if it is about one.
fn stored(target: &Target) -> Option<ExecutionId<'_>> {
    match (&target.scope, &target.resource) {
        (Scope::ProjectDomain { project, domain }, Some(Resource::RunBy(execution))) => Some(ExecutionId {
            project,
            domain,
            name: &execution.name,
            organization: &execution.organization,
        }),
        _ => None,
    }
}

/// As for a call that is forwarded, but always gRPC and never compressed.
fn request_headers(asking: Asking<'_>) -> HeaderMap {
    let mut headers = headers::for_api(asking.head.headers(), asking.origin, Port::Grpc);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    if let Some((name, value)) = asking.authenticated.by_grpc() {
        headers.insert(name, value);
    }
    headers
}

/// The message of the answer, or what there is instead of one.
async fn read(
    response: Response<Received>,
    patience: Duration,
    mut hold: Hold,
) -> Result<Result<(Bytes, Hold), Found>, Denial> {
    let (parts, body) = response.into_parts();
    if parts.status != StatusCode::OK {
        return Err(failed(Reason::UpstreamFailed));
    }
    let bounds = Bounds {
        bytes: MAX_BYTES,
        patience,
    };
    let gathered = whole::gathered(body, Pieces::in_one(0), bounds, &mut hold).await;
    let (message, trailers) = gathered.map_err(|denial| failed(denial.reason))?;
    let status = trailers.as_ref().and_then(grpc_status);
    match status.or_else(|| grpc_status(&parts.headers)) {
        Some(GRPC_OK) => {}
        Some(NOT_FOUND) => return Ok(Err(Found::Nothing)),
        Some(INVALID_ARGUMENT | PERMISSION_DENIED) => return Ok(Err(Found::Withheld)),
        Some(UNAUTHENTICATED) => return Err(failed(Reason::CredentialRefused)),
        Some(DEADLINE_EXCEEDED) => return Err(failed(Reason::UpstreamTimeout)),
        Some(UNAVAILABLE) => return Err(failed(Reason::UpstreamUnreachable)),
        Some(_) | None => return Err(failed(Reason::UpstreamFailed)),
    }
    let opened = envelope::open(message.joined(), Encoding::Identity, MAX_BYTES);
    let opened = opened.map_err(|_| failed(Reason::AnswerUnreadable))?;
    Ok(Ok((opened.message, hold)))
}

/// The caller's own deadline, if it sends one.
fn deadline(head: &RequestHead) -> Option<Duration> {
    let header = head.headers().get(&canonical::GRPC_TIMEOUT)?;
    canonical::parse_timeout(header.as_bytes())
}

fn failed(reason: Reason) -> Denial {
    let message = format!("what the execution runs could not be looked up: {}", reason.help());
    Denial::new(reason, message)
}
