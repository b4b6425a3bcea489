//! Filters an answer by the caller's rights. The answer is read whole, within a bound; one that cannot be understood is
//! not passed on.

use super::answer;
use super::standing::Standing;
use super::whole::{self, Bounds, Whole};
use crate::audit::AuditGuard;
use crate::catalog::Route;
use crate::catalog::answer::{ItemPart, Items, Show};
use crate::extract::targets::Extracted;
use crate::filter::page::Page;
use crate::filter::pieces::Pieces;
use crate::filter::{self, Edits, Item};
use crate::held::Hold;
use crate::model::action::{Action, ActionSet};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::model::scope::{Resource, ResourceKind, Scope, Target, TargetRole};
use crate::policy::decide::{Permit, Rights};
use crate::policy::show::Shown;
use crate::protocol::envelope;
use crate::upstream;
use crate::upstream::received::Received;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use hyper::body::Body as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// The largest answer that is filtered, in bytes: some hundred thousand projects.
const MAX_BYTES: usize = 64 << 20;
/// How long such an answer may take to arrive.
const DEADLINE: Duration = Duration::from_mins(1);
/// The number of TASK in `flyteidl.core.ResourceType`. What an execution runs is a task or else a launch plan.
const TASK: &str = "1";

/// The scope that a call named, where it named one, and the kinds: an item is judged as each of them.
pub(super) type Judged = Option<(Scope, Vec<ResourceKind>)>;

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
            Show::Allowed(_) if shows_platform(rights) => return None,
            Show::Allowed(action) => (action.into(), None),
            Show::Listed if !permit.is_filtered() => return None,
            Show::Listed => {
                let acting = |target: &&Target| target.role == TargetRole::Acts;
                let kinds = touched.targets.iter().filter(acting);
                let kinds = kinds.filter_map(|target| listed(target.resource.as_ref()));
                match touched.targets.iter().find(acting) {
                    Some(acts) => (acts.needs, Some((acts.scope.clone(), kinds.collect()))),
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
            (Show::Listed, Some((Scope::ProjectDomain { project, domain }, kinds))) => match kinds.as_slice() {
                [kind] => self.rights.listed_names(project, domain, self.needs, *kind, most),
                _ => None,
            },
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
        let told = [match item.part(ItemPart::Kind) {
            TASK => ResourceKind::Task,
            _ => ResourceKind::LaunchPlan,
        }];
        let asked = self.judged.as_ref().map(|(_, kinds)| kinds.as_slice());
        let kinds = asked.filter(|kinds| !kinds.is_empty()).unwrap_or(&told);
        let there = (item.part(ItemPart::NamedProject), item.part(ItemPart::NamedDomain));
        kinds.iter().all(|kind| {
            self.rights.shows(Shown {
                scope: Scope::ProjectDomain {
                    project: project.into(),
                    domain: domain.into(),
                },
                needs: self.needs,
                resource: Some(named(*kind, name)),
                named_in: (there != ("", "")).then_some(there),
            })
        })
    }

    /// The answer with only the items that are shown, and of those one page if the list is whole. Errors of the control
    /// plane pass unchanged. If the policy is replaced while the answer arrives, the new one counts.
    ///
    /// # Errors
    /// `answer_unreadable`, `memory_full`, `upstream_timeout`, or why the call may not go on.
    pub(super) async fn apply(
        mut self,
        response: Response<Received>,
        patience: Duration,
        mut hold: Hold,
        page: Option<Page<'_>>,
        standing: &mut Option<Standing>,
        audit: &mut AuditGuard,
    ) -> Result<Response<Box<Whole>>, Denial> {
        let (mut parts, body) = response.into_parts();
        audit.response_head(parts.status.as_u16());
        audit.grpc_status(answer::grpc_status(&parts.headers));
        let form = Form::of(&parts.headers);
        let pieces = form.pieces(body.size_hint().lower());
        let bounds = Bounds {
            bytes: MAX_BYTES,
            patience,
        };
        let look = || standing.as_mut().map_or(Ok(()), |standing| standing.look(audit));
        let (mut body, trailers) = {
            let gathering = pin!(whole::gathered(body, pieces, bounds, &mut hold));
            upstream::watched(gathering, DEADLINE, look).await??
        };
        let gathered = (body.len(), body.longest());
        if let Some(standing) = standing {
            self.rights = Arc::clone(&standing.rights);
        }
        audit.grpc_status(trailers.as_ref().and_then(answer::grpc_status));
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.remove(ETAG);
        let pieces = if passes(parts.status) || body.is_empty() {
            body.edited(&Edits::default(), &[])
        } else {
            let edits = self.edits(&parts.headers, &mut body, page);
            let edits = edits.ok_or(Reason::AnswerUnreadable)?;
            audit.withheld(edits.withheld);
            let length = edits.length(body.len());
            match form {
                Form::Grpc => body.edited(&edits, &envelope::prefix(length)),
                Form::Protobuf | Form::Json | Form::Other => {
                    parts.headers.insert(CONTENT_LENGTH, length.into());
                    body.edited(&edits, &[])
                }
            }
        };
        let whole = Whole::held(pieces, gathered, trailers, hold)?;
        Ok(Response::from_parts(parts, Box::new(whole)))
    }

    /// How a body is changed, of which the prefix of its one message is taken off.
    pub(super) fn edits(&self, headers: &HeaderMap, body: &mut Pieces, page: Option<Page<'_>>) -> Option<Edits> {
        let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
        if encodings.any(|encoding| encoding != "identity") {
            return None;
        }
        let shows = |item: &Item<'_>| self.shows(item);
        match Form::of(headers) {
            Form::Grpc => {
                let prefix = body.take_front()?;
                if prefix != envelope::prefix(body.len()) {
                    return None;
                }
                filter::protobuf::filter(body, self.items, page, shows)
            }
            Form::Protobuf => filter::protobuf::filter(body, self.items, page, shows),
            Form::Json => filter::json::filter(body.one()?, self.items, page, shows),
            Form::Other => None,
        }
    }
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Grpc,
    Protobuf,
    Json,
    Other,
}

impl Form {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes) {
            grpc if grpc.starts_with(b"application/grpc") => Self::Grpc,
            b"application/octet-stream" => Self::Protobuf,
            json if json.starts_with(b"application/json") => Self::Json,
            _ => Self::Other,
        }
    }

    /// What such an answer is gathered in, of which so many bytes are announced.
    pub(super) fn pieces(self, announced: u64) -> Pieces {
        match self {
            Self::Json => Pieces::in_one(usize::try_from(announced).unwrap_or(MAX_BYTES).min(MAX_BYTES)),
            Self::Grpc | Self::Protobuf | Self::Other => Pieces::default(),
        }
    }
}

/// Whether an answer with this status is an error, which has no items.
fn passes(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Whether whoever has these rights administers the platform, and is shown what is set for it and for every project.
pub(super) fn shows_platform(rights: &Rights) -> bool {
    rights.shows(Shown {
        scope: Scope::Global,
        needs: Action::AdministerPlatform.into(),
        resource: None,
        named_in: None,
    })
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
