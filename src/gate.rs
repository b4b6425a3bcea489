//! One request, top-down: what it says, who sends it, what it touches, whether that is allowed, and only then forward.

use crate::audit::{AuditGuard, Recorder};
use crate::catalog::answer::Show;
use crate::catalog::lookup::Matched;
use crate::catalog::{Access, Route};
use crate::config::{AuditClaims, Limits};
use crate::credential::cookie::CookieKeys;
use crate::extract::WalkLimits;
use crate::extract::targets::{self, Extracted, Input, RestInput, ScopeRules};
use crate::held::{HeldBytes, Hold};
use crate::issuer::Issuers;
use crate::live::{Live, Snapshot};
use crate::metrics::Outcome;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::policy::Subjects;
use crate::policy::decide::enforcement::Enforcement;
use crate::policy::decide::{Call, Refusal};
use crate::protocol::hops::Provenance;
use crate::protocol::request_id::RequestId;
use crate::protocol::{Protocol, RequestHead, canonical, classify, deny};
use crate::spans::Stage;
use crate::upstream::received::Received;
use crate::upstream::{LOOK, Upstream};
use authenticate::{FixedCaller, Identity};
use body::JudgedBody;
use decision::Decided;
use destination::{Destination, destination};
use filter::Filter;
use http::header::HeaderName;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use request_id::RequestIds;
use shadow::Tally;
use standing::Standing;
use std::sync::Arc;
use whole::Whole;

pub mod answer;
pub mod authenticate;
pub mod body;
mod candidate;
pub mod certificate;
mod connection;
mod decision;
mod destination;
mod filter;
mod filtered;
pub mod forward;
mod lookup;
pub mod page;
mod panicking;
mod push_down;
pub mod redirect;
pub mod request_id;
mod set;
pub mod shadow;
mod standing;
mod watch;
mod whole;

pub use answer::Body;
pub use connection::{ConnectionInfo, Service};

/// The gRPC health check, answered by the proxy itself.
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// Judges and forwards the requests of one listener. Each worker has its own, with its own upstream connections.
#[derive(Debug)]
pub struct Gate {
    /// The listener's name.
    pub listener: Arc<str>,
    /// How callers are identified.
    pub identity: Identity,
    /// The callers that are accepted; without it, all.
    pub accept: Option<Arc<Subjects>>,
    /// Whoever makes a public call.
    pub anonymous: Arc<FixedCaller>,
    /// The policy and catalogue in force.
    pub live: Arc<Live>,
    /// Verifies tokens.
    pub issuers: Arc<Issuers>,
    /// The way to the control plane.
    pub upstream: Upstream,
    /// Records every request.
    pub recorder: Arc<Recorder>,
    /// Which domains and organizations exist.
    pub scope_rules: Arc<ScopeRules>,
    /// Bounds on requests.
    pub limits: Limits,
    /// The bytes that all requests hold.
    pub held: Arc<HeldBytes>,
    /// Whether the policy's refusals are acted on.
    pub enforcement: Enforcement,
    /// What is recorded of callers.
    pub audit_claims: AuditClaims,
    /// The header looked at for a credential after `authorization` and the session.
    pub credential_header: HeaderName,
    /// The keys of session cookies; none if sessions are not accepted.
    pub cookie_keys: Arc<[CookieKeys]>,
    /// Names requests.
    pub request_ids: Arc<RequestIds>,
}

/// One request's constant surroundings, as every stage may look at them.
#[derive(Clone, Copy, Debug)]
struct Surroundings<'a> {
    info: &'a ConnectionInfo,
    provenance: &'a Provenance,
    request_id: &'a RequestId,
    snapshot: &'a Arc<Snapshot>,
}

/// A request that ended well.
enum Answer {
    /// With what tells whether it may go on, in shadow mode what enforcing would leave out, and what it holds.
    Forwarded(Response<Received>, Option<Standing>, Option<Box<Tally>>, Hold),
    /// The control plane's, read whole and changed, with what tells whether it may go on.
    Filtered(Response<Box<Whole>>, Option<Standing>),
    /// The proxy's own.
    Local(Box<Response<Body>>),
}

impl Gate {
    /// Answers a request. Never fails; the only place that renders a refusal. Leaves exactly one audit record.
    pub async fn handle(&self, request: Request<Incoming>, info: &ConnectionInfo) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let mut body = Some(body);
        let protocol = classify::classify(&parts.method, parts.version, &parts.headers);
        let request_id = self.request_ids.next();
        let recorder = Arc::clone(&self.recorder);
        let mut audit = AuditGuard::start(recorder, protocol, request_id.clone(), self.listener.clone(), info.peer);
        request_id::correlate(&parts.headers, &mut audit);
        audit.trace(&mut parts.headers, info.hops.is_some(), &parts.method);
        let snapshot = self.live.load();
        let judged = match provenance(info, &parts.headers, &mut audit) {
            Ok(provenance) => {
                let around = Surroundings {
                    info,
                    provenance: &provenance,
                    request_id: &request_id,
                    snapshot: &snapshot,
                };
                // Boxed where it is made: a variable for it would be part of the state of what calls this, which is moved
                // several times.
                let judging = Box::pin(self.judge_and_forward(parts, &mut body, protocol, around, &mut audit));
                panicking::caught(judging).await
            }
            Err(denial) => Err(denial),
        };
        match judged {
            Ok(Answer::Forwarded(response, standing, tally, hold)) => {
                let ahead = (self.upstream.idle_timeout(), hold);
                answer::follow(response, protocol, request_id, (standing, tally), ahead, audit)
            }
            Ok(Answer::Filtered(response, standing)) => {
                let patience = self.limits.stall_timeout;
                filtered::hand_on(response, protocol, request_id, standing, patience, audit)
            }
            Ok(Answer::Local(response)) => {
                audit.finish(Outcome::Answered);
                answer::identified(*response, &request_id)
            }
            Err(denial) => {
                audit.refuse(&denial);
                body::discard(body);
                deny::respond(protocol, &denial, &request_id).map(Body::Full)
            }
        }
    }

    /// Judges one request and forwards it if allowed. Every `?` is a refusal with a reason.
    async fn judge_and_forward(
        &self,
        parts: http::request::Parts,
        body: &mut Option<Incoming>,
        protocol: Protocol,
        around: Surroundings<'_>,
        audit: &mut AuditGuard,
    ) -> Result<Answer, Denial> {
        let snapshot = around.snapshot;
        let head = canonical::accept(parts, protocol, self.limits.headers)?;
        let (route, rest) = match destination(&snapshot.catalog, &head)? {
            Destination::Rpc { route, rest } => (route, rest),
            // Boxed like all that is seldom and large: every call has room in its state for the largest of what it may wait for.
            Destination::Page(page) => return Box::pin(self.forward_page(page, &head, body, around, audit)).await,
            Destination::Preflight => return Box::pin(self.forward_preflight(&head, around, audit)).await,
            Destination::HealthCheck => return self.answer_health(&head, body, around, audit).await,
        };
        audit.route(
            Arc::clone(&route.rpc),
            (route.access == Access::Scoped).then_some(route.action),
        );
        audit.stage(Stage::Verify);
        let authenticated = self.authenticate(&head, route.access, around).await?;
        self.record_caller(&authenticated, snapshot, audit);
        self.accept(authenticated.caller.principal(), route.access)?;
        let rights = authenticated.caller.rights(snapshot);
        rights
            .admit(route.access)
            .map_err(|refusal| by_policy(refusal, snapshot, audit))?;
        let binding = rest.map(|rest| rest.binding);
        audit.stage(Stage::Receive);
        let holder = self
            .held
            .holder(authenticated.caller.principal(), around.provenance.client);
        let hold = self.held.hold(holder);
        let body = body::judged(&head, route.access, binding, body, &self.limits, hold).await?;
        audit.request_bytes(body.len());
        audit.stage(Stage::Judge);
        let touched = self.touched(route, rest.as_ref(), &head, &body)?;
        let mut kept = self.held.hold(holder);
        kept.set(touched.bytes())?;
        if route.access == Access::Scoped {
            audit.targets(touched.action, &touched.targets);
            audit.asks_for(&touched.asked);
        }
        audit.policy(snapshot.policy.version(), snapshot.generation);
        let call = Call {
            access: route.access,
            action: touched.action,
            targets: &touched.targets,
            asked: &touched.asked,
            writes: &route.writes,
        };
        let origin = page::origin(&head, around);
        let asking = lookup::Asking {
            head: &head,
            origin,
            authenticated: &authenticated,
            chosen: touched.chosen.as_ref(),
        };
        let Decided { permit, targets } = self.decide(&call, &rights, asking, snapshot, audit).await?;
        let late = audit.elapsed() >= LOOK;
        let filter = Filter::of(route, &touched, &rights, &permit);
        if permit.is_filtered() && filter.is_none() {
            return Err(Reason::Internal.into());
        }
        let enforcing = self.enforcement == Enforcement::Enforce;
        let written = if enforcing { permit.written() } else { &[] };
        let body = set::set(route, written, protocol, body)?;
        audit.set(written);
        let written = written.into();
        let acting = filter.as_ref().filter(|_| enforcing);
        let (narrowed, page) = push_down::narrow(acting, &head, body);
        let outgoing = forward::Outgoing {
            head: &head,
            origin,
            holder,
            credential: authenticated.credential,
            narrowed,
            filtered: acting.is_some(),
        };
        // Who makes a public call has nothing that could be taken away.
        let mut standing = (route.access != Access::Public).then(|| Standing {
            live: Arc::clone(&self.live),
            recorder: Arc::clone(&self.recorder),
            enforcement: self.enforcement,
            caller: authenticated.caller,
            certificate: around.info.certificate.clone(),
            access: route.access,
            action: touched.action,
            targets: targets.unwrap_or(touched.targets),
            asked: touched.asked,
            writes: Arc::clone(&route.writes),
            written,
            filtered: acting.is_some(),
            platform: filter.is_none()
                && route
                    .items()
                    .is_some_and(|items| matches!(items.show, Show::Allowed(_))),
            rights,
            generation: snapshot.generation,
            _kept: kept,
        });
        let mut look = || standing.as_mut().map_or(Ok(()), |standing| standing.look(audit));
        // A message that took its time to arrive was judged by what was in force when it began to.
        if late {
            look()?;
        }
        let response = forward::call(&self.upstream, permit, outgoing, look).await?;
        match filter {
            Some(filter) if enforcing => {
                audit.stage(Stage::Filter);
                let filtered = filter
                    .apply(
                        response,
                        self.upstream.idle_timeout(),
                        self.held.hold(holder),
                        page,
                        &mut standing,
                        audit,
                    )
                    .await?;
                Ok(Answer::Filtered(filtered, standing))
            }
            filter => {
                let tally = filter.map(|filter| {
                    let hold = self.held.hold(holder);
                    Box::new(Tally::of(&filter, &route.rpc, snapshot, &response, hold))
                });
                Ok(Answer::Forwarded(response, standing, tally, self.held.hold(holder)))
            }
        }
    }

    /// Reads what the call touches from its path, query and message.
    fn touched(
        &self,
        route: &Route,
        rest: Option<&Matched<'_>>,
        head: &RequestHead,
        body: &JudgedBody,
    ) -> Result<Extracted, Denial> {
        let rest = rest.map(|matched| RestInput {
            binding: matched.binding,
            segments: matched.segments(),
            query: head.query(),
        });
        let limits = WalkLimits {
            max_fields: self.limits.message_fields,
        };
        targets::targets(
            route,
            &Input {
                payload: body.payload(),
                rest,
            },
            &self.scope_rules,
            &limits,
        )
    }
}

/// Finds out where a request came from, and records it.
fn provenance(info: &ConnectionInfo, headers: &HeaderMap, audit: &mut AuditGuard) -> Result<Provenance, Denial> {
    audit.client(info.source);
    let provenance = info.provenance(headers)?;
    audit.client(provenance.client);
    Ok(provenance)
}

/// Records which policy refuses, and by which rule.
fn by_policy(refusal: Refusal, snapshot: &Snapshot, audit: &mut AuditGuard) -> Denial {
    audit.policy(snapshot.policy.version(), snapshot.generation);
    audit.rules(refusal.rule.iter().map(|rule| rule.name().into()));
    refusal.denial
}
