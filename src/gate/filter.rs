//! Filters an answer by the caller's rights. The answer is read whole, within a bound; one that cannot be understood is
//! not passed on.

use super::answer::{self, Body};
use super::standing::Standing;
use super::whole::{self, Whole};
use crate::audit::AuditGuard;
use crate::catalog::Route;
use crate::catalog::answer::{ItemPart, Items, Show};
use crate::extract::targets::Extracted;
use crate::filter::page::Page;
use crate::filter::{self, Item};
use crate::held::Hold;
use crate::model::action::{Action, ActionSet};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::model::scope::{Resource, ResourceKind, Scope, TargetRole};
use crate::policy::decide::{Permit, Rights};
use crate::policy::show::Shown;
use crate::protocol::envelope;
use crate::upstream;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;

/// The largest answer that is filtered, in bytes: some hundred thousand projects.
const MAX_BYTES: usize = 64 << 20;
/// How long such an answer may take to arrive.
const DEADLINE: Duration = Duration::from_mins(1);
/// The number of TASK in `flyteidl.core.ResourceType`. What an execution runs is a task or else a launch plan.
const TASK: &str = "1";

/// The scope and kind that a call named, where it named one.
pub(super) type Judged = Option<(Scope, Option<ResourceKind>)>;

/// Which items of one answer are shown.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    pub(super) items: &'a Items,
    pub(super) rights: Arc<Rights>,
    /// What is needed where an item lies.
    pub(super) needs: ActionSet,
    pub(super) judged: Judged,
}

impl<'a> Filter<'a> {
    /// The filter that the answer of a permitted call needs, if it needs one.
    pub(super) fn of(route: &'a Route, touched: &Extracted, rights: &Arc<Rights>, permit: &Permit) -> Option<Self> {
        let items = route.items()?;
        let (needs, judged) = match items.show {
            Show::Viewable => (ActionSet::VIEWS, None),
            Show::Allowed(_) if rights.shows(platform()) => return None,
            Show::Allowed(action) => (action.into(), None),
            Show::Listed if !permit.is_filtered() => return None,
            Show::Listed => {
                let mut targets = touched.targets.iter();
                match targets.find(|target| target.role == TargetRole::Acts) {
                    Some(acts) => (acts.needs, Some((acts.scope.clone(), listed(acts.resource.as_ref())))),
                    // Without an action nothing is shown.
                    None => (ActionSet::EMPTY, None),
                }
            }
        };
        Some(Self {
            items,
            rights: Arc::clone(rights),
            needs,
            judged,
        })
    }

    /// The names that the items shown can have, if they can be told beforehand and are at most so many.
    pub(super) fn names(&self, most: usize) -> Option<Vec<Box<str>>> {
        match (self.items.show, &self.judged) {
            (Show::Viewable, _) => self.rights.visible_projects(most),
            (Show::Listed, Some((Scope::ProjectDomain { project, domain }, Some(kind)))) => {
                self.rights.listed_names(project, domain, self.needs, *kind, most)
            }
            (Show::Listed | Show::Allowed(_), _) => None,
        }
    }

    /// Whether it is plain that nothing will be left out.
    pub(super) fn shows_all(&self) -> bool {
        self.items.show == Show::Viewable && self.rights.sees_every_project()
    }

    fn shows(&self, item: &Item<'_>) -> bool {
        match self.items.show {
            Show::Viewable => self.rights.visible_project(item.part(ItemPart::Project)),
            Show::Allowed(_) => self.shows_setting(item),
            Show::Listed => self.shows_listed(item),
        }
    }

    /// Something that is set for a domain of a project, for a whole project, or for a workflow or launch plan of one.
    fn shows_setting(&self, item: &Item<'_>) -> bool {
        let scope = match (item.part(ItemPart::Project), item.part(ItemPart::Domain)) {
            // Only who administers the platform is shown it, and is shown everything.
            ("", _) => return false,
            (project, "") => Scope::Project(project.into()),
            (project, domain) => Scope::ProjectDomain {
                project: project.into(),
                domain: domain.into(),
            },
        };
        let about = [
            (ItemPart::Workflow, ResourceKind::Workflow),
            (ItemPart::LaunchPlan, ResourceKind::LaunchPlan),
        ];
        let named = about.into_iter().filter_map(|(part, kind)| {
            let name = item.part(part);
            (!name.is_empty()).then(|| named(kind, name))
        });
        let mut resources: Vec<Option<Resource>> = named.map(Some).collect();
        if resources.is_empty() {
            resources.push(None);
        }
        resources.into_iter().all(|resource| {
            self.rights.shows(Shown {
                scope: scope.clone(),
                needs: self.needs,
                resource,
                named_in: None,
            })
        })
    }

    /// A thing, or what ran one: shown exactly if the call would be allowed for its name.
    fn shows_listed(&self, item: &Item<'_>) -> bool {
        let (project, domain, name) = (
            item.part(ItemPart::Project),
            item.part(ItemPart::Domain),
            item.part(ItemPart::Name),
        );
        if name.is_empty() {
            return false;
        }
        let kind = self.judged.as_ref().and_then(|(_, kind)| *kind);
        let kind = kind.unwrap_or(match item.part(ItemPart::Kind) {
            TASK => ResourceKind::Task,
            _ => ResourceKind::LaunchPlan,
        });
        let there = (item.part(ItemPart::NamedProject), item.part(ItemPart::NamedDomain));
        self.rights.shows(Shown {
            scope: Scope::ProjectDomain {
                project: project.into(),
                domain: domain.into(),
            },
            needs: self.needs,
            resource: Some(named(kind, name)),
            named_in: (there != ("", "")).then_some(there),
        })
    }

    /// The answer with only the items that are shown, and of those one page if the list is whole. Errors of the control
    /// plane pass unchanged. If the policy is replaced while the answer arrives, the new one counts.
    ///
    /// # Errors
    /// `answer_unreadable`, `memory_full`, `upstream_timeout`, or why the call may not go on.
    pub(super) async fn apply(
        mut self,
        response: Response<Incoming>,
        mut hold: Hold,
        page: Option<Page<'_>>,
        standing: &mut Option<Standing>,
        audit: &mut AuditGuard,
    ) -> Result<Response<Body>, Denial> {
        let (mut parts, body) = response.into_parts();
        audit.response_head(parts.status.as_u16());
        audit.grpc_status(answer::grpc_status(&parts.headers));
        let collecting = whole::read(body, is_grpc(&parts.headers), MAX_BYTES, &mut hold);
        let look = || standing.as_mut().map_or(Ok(()), |standing| standing.look(audit));
        let whole = upstream::watched(collecting, DEADLINE, look).await??;
        let (mut body, trailers) = whole.ok_or(Reason::AnswerUnreadable)?;
        if let Some(standing) = standing {
            self.rights = Arc::clone(&standing.rights);
        }
        audit.grpc_status(trailers.as_ref().and_then(answer::grpc_status));
        if !passes(parts.status) && !body.is_empty() {
            let withheld = self.withhold(&parts.headers, &mut body, page);
            audit.withheld(withheld.ok_or(Reason::AnswerUnreadable)?);
        }
        audit.response_bytes(body.len());
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.remove(ETAG);
        let whole = Whole::held(body, trailers, hold)?;
        Ok(Response::from_parts(parts, Body::Whole(Box::new(whole))))
    }

    /// Takes out of the body what is not shown, and tells how many items that was.
    pub(super) fn withhold(
        &self,
        headers: &HeaderMap,
        body: &mut Vec<u8>,
        mut page: Option<Page<'_>>,
    ) -> Option<usize> {
        let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
        if encodings.any(|encoding| encoding != "identity") {
            return None;
        }
        let mut items = 0;
        let shows = |item: &Item<'_>| {
            if !self.shows(item) {
                items += 1;
                return false;
            }
            page.as_mut().is_none_or(Page::takes)
        };
        if is_grpc(headers) {
            let message = envelope::plain(body)?;
            let withheld = filter::protobuf::filter(message, self.items, shows)?;
            let length = withheld.take_out(message);
            match page {
                Some(page) => *body = envelope::frame(&page.in_protobuf(message.get(..length)?)?).into(),
                None => envelope::shorten(body, length)?,
            }
            return Some(items);
        }
        let content_type = content_type(headers);
        let is_json = content_type.starts_with(b"application/json");
        let withheld = if is_json {
            filter::json::filter(body, self.items, shows)?
        } else if content_type == b"application/octet-stream" {
            filter::protobuf::filter(body, self.items, shows)?
        } else {
            return None;
        };
        let length = withheld.take_out(body);
        body.truncate(length);
        match page {
            Some(page) if is_json => *body = page.in_json(body)?,
            Some(page) => *body = page.in_protobuf(body)?,
            None => {}
        }
        Some(items)
    }
}

fn content_type(headers: &HeaderMap) -> &[u8] {
    headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    content_type(headers).starts_with(b"application/grpc")
}

/// Whether an answer with this status is an error, which has no items.
fn passes(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

fn platform() -> Shown<'static> {
    Shown {
        scope: Scope::Global,
        needs: Action::AdministerPlatform.into(),
        resource: None,
        named_in: None,
    }
}

/// The kind of the things listed, if they are of one.
fn listed(resource: Option<&Resource>) -> Option<ResourceKind> {
    match resource {
        Some(Resource::Listed(kind)) => *kind,
        Some(
            Resource::Named { .. } | Resource::Every(_) | Resource::Object(_) | Resource::Unnamed | Resource::RunBy(_),
        )
        | None => None,
    }
}

fn named(kind: ResourceKind, name: &str) -> Resource {
    Resource::Named {
        kind,
        name: name.into(),
    }
}
