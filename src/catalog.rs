//! The API catalogue: every RPC that is served, what it needs, where its scope is, and its REST bindings.
//!
//! The document (`catalog/flyte1.yaml`) is data; [`compile`] turns it into the tables below, refusing what conflicts.
//! Compiled plans let the walkers in `extract` read a message once, visiting only the fields that matter.

use crate::model::action::Action;
use crate::model::problem::Problem;
use crate::model::scope::ResourceKind;
use crate::model::setting::Setting;
use answer::{Answer, Label};
use std::path::PathBuf;
use std::sync::Arc;

pub mod answer;
pub mod compile;
pub mod document;
pub mod lookup;
mod plan;
pub mod print;

pub use document::SessionUse;
pub use plan::Plan;

/// A compiled catalogue: immutable, shared by every request.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The name of the API generation, such as `flyte1`.
    pub generation: Box<str>,
    /// Every RPC, in document order.
    pub routes: Vec<Route>,
    /// Paths that are no RPC: login, console, health.
    pub pages: Vec<Page>,
    pub(in crate::catalog) tables: lookup::Tables,
}

impl Catalog {
    /// The built-in catalogue of Flyte 1.
    ///
    /// # Errors
    /// None in a released build: a test compiles it.
    pub fn builtin() -> Result<Self, Vec<Problem>> {
        Self::with_overlays(&[])
    }

    /// The built-in catalogue with an operator's additions.
    ///
    /// # Errors
    /// Everything that is wrong with the overlays, each fault with its place.
    pub fn with_overlays(overlays: &[(PathBuf, String)]) -> Result<Self, Vec<Problem>> {
        let (file, text) = document::FLYTE1;
        let mut documents = vec![(file.into(), text.into())];
        documents.extend_from_slice(overlays);
        Self::load(&documents)
    }

    /// Compiles a catalogue. Documents after the first are overlays: they may add, not redefine.
    ///
    /// # Errors
    /// Everything that is wrong with the documents, each fault with its place.
    pub fn load(documents: &[(PathBuf, String)]) -> Result<Self, Vec<Problem>> {
        compile::compile(documents)
    }
}

/// One RPC and all that is known about it.
#[derive(Debug)]
pub struct Route {
    /// Its place in [`Catalog::routes`]: dense, so that tables beside the catalogue can be arrays.
    pub index: usize,
    /// The gRPC path, such as `/flyteidl.service.AdminService/CreateTask`: also its name in logs and metrics.
    pub rpc: Arc<str>,
    /// The full name of the request message.
    pub request: Box<str>,
    /// Who may call it.
    pub access: Access,
    /// The action it needs in its scope; without meaning unless access is scoped.
    pub action: Action,
    /// Other actions it needs instead, by the content of the message.
    pub choices: Vec<ActionChoice>,
    /// How to find the fields that matter in the request message.
    pub plan: Plan,
    /// Its REST bindings.
    pub bindings: Vec<Binding>,
    /// Fields that name a project, domain, organization or URL and are not judged.
    pub ignored: Vec<Ignored>,
    /// What its answers may show; none where they name no project, domain or thing.
    pub answer: Option<Answer>,
    /// Where settings of executions can be written, each at most once.
    pub writes: Arc<[WritePlace]>,
}

/// Where a setting is written: a text field below single messages, which counts before all others for that setting.
#[derive(Clone, Debug)]
pub struct WritePlace {
    /// The setting.
    pub setting: Setting,
    /// The dotted path of the field, as in [`Slot::parts`].
    pub field: Box<str>,
    /// The fields on the way, from the request to the text.
    pub steps: Vec<Label>,
}

/// A field that is not judged although it names a project, domain, organization or URL.
#[derive(Debug)]
pub struct Ignored {
    /// Its path; what lies below is meant too. `**` stands for any fields.
    pub field: Box<str>,
    /// Why it need not be judged.
    pub why: Box<str>,
}

/// Who may call an RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Anybody, without a credential.
    Public,
    /// Any verified principal: the answer belongs to the caller or to everybody.
    Authenticated,
    /// Only who the policy allows, by scope and action.
    Scoped,
}

/// An action that replaces the route's own when a part of the message says so.
#[derive(Debug)]
pub struct ActionChoice {
    /// The slot whose presence or value decides.
    pub slot: usize,
    /// For a slot with a resource type or other enum: the numbers that choose this action. Empty: presence alone does.
    pub values: Vec<i32>,
    /// The action needed instead.
    pub action: Action,
}

/// A path that is no RPC and is forwarded as it is, without a credential being required.
#[derive(Debug)]
pub struct Page {
    /// The exact path, or with `prefix` the path below which everything counts.
    pub path: Box<str>,
    /// Whether everything below `path` counts too.
    pub prefix: bool,
    /// Whether `redirect_url` in the query must stay on this host.
    pub redirects: bool,
    /// What the control plane makes of a session there, if that matters.
    pub session: Option<SessionUse>,
    /// The methods accepted.
    pub methods: Vec<http::Method>,
}

/// One REST binding of an RPC (`google.api.http`).
#[derive(Debug)]
pub struct Binding {
    /// The HTTP method.
    pub method: http::Method,
    /// The template, such as `/api/v1/tasks/{id.project}/{id.domain}`.
    pub template: Box<str>,
    /// The fields the path sets, in order, as dotted proto field paths.
    pub variables: Vec<Variable>,
    /// Whether the body is the message (`body: "*"`); otherwise there is none.
    pub body: bool,
    /// The query keys that may be used, as dotted proto field paths.
    pub query: Vec<QueryKey>,
}

/// A field set by a path segment.
#[derive(Debug)]
pub struct Variable {
    /// The dotted proto field path.
    pub field: Box<str>,
    /// The field's type: decides which segments are accepted.
    pub kind: ScalarKind,
    /// The parts of slots it sets.
    pub sets: Vec<(usize, Part)>,
}

/// A query key that may be used, once, on a binding.
#[derive(Clone, Debug)]
pub struct QueryKey {
    /// The dotted proto field path, such as `sort_by.key`.
    pub field: Box<str>,
    /// The same in the JSON spelling, such as `sortBy.key`.
    pub json: Box<str>,
    /// The field's type.
    pub kind: ScalarKind,
    /// Whether the key may come several times (a repeated field).
    pub repeated: bool,
    /// The parts of slots it sets.
    pub sets: Vec<(usize, Part)>,
}

/// What a field may hold, as far as URLs and walkers need to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScalarKind {
    /// UTF-8 text.
    String,
    /// Raw bytes.
    Bytes,
    /// Truth value.
    Bool,
    /// Any integer in varint encoding.
    Varint,
    /// 32 bits fixed: fixed32, sfixed32, float.
    Fixed32,
    /// 64 bits fixed: fixed64, sfixed64, double.
    Fixed64,
    /// An enum, with its names and numbers.
    Enum(Arc<EnumShape>),
    /// A message (of a map field too: its entries are messages on the wire).
    Message,
}

/// An enum's names and numbers.
#[derive(Debug, PartialEq, Eq)]
pub struct EnumShape {
    /// The full name.
    pub name: Box<str>,
    /// Names and numbers.
    pub values: Vec<(Box<str>, i32)>,
}

/// A message that is looked into. Knows every field of its type, so that an unknown one is noticed.
#[derive(Debug)]
pub struct State {
    /// The full name of the message type.
    pub message: Box<str>,
    /// Every field of the type, in ascending order of number.
    pub fields: Vec<Field>,
    /// The slots of which this message is an occurrence: entering it begins one.
    pub opens: Vec<usize>,
}

/// One field of a message that is looked into.
#[derive(Debug)]
pub struct Field {
    /// The field number.
    pub number: u32,
    /// The proto name.
    pub name: Box<str>,
    /// The JSON name.
    pub json: Box<str>,
    /// Its type.
    pub kind: ScalarKind,
    /// Single, repeated, or a map.
    pub cardinality: Cardinality,
    /// The oneof it belongs to, numbered within the message; proto3 `optional` fields belong to none.
    pub oneof: Option<u8>,
    /// What the walkers do with it.
    pub step: Step,
}

/// How often a field may occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// At most once.
    Single,
    /// Any number of times.
    Repeated,
    /// Any number of times, keys once each.
    Map,
}

/// What the walkers do with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Check its wire type and pass over it.
    Skip,
    /// Go into the message: the state's index.
    Descend(usize),
    /// Keep the value: for each entry the slot and which part of it this is.
    Keep(Vec<(usize, Part)>),
    /// Look through the entries of a map of texts, or all of a `google.protobuf.Struct`, for keys that stand for
    /// settings ([`crate::model::setting::Meaning`]): each is an occurrence of this slot.
    Search(usize),
}

/// The parts of an occurrence that can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Part {
    /// The project.
    Project,
    /// The domain.
    Domain,
    /// The name of the resource, or another name that must not be empty.
    Name,
    /// The organization: always checked where the message has one.
    Org,
    /// The enum that says what kind of resource it is, as its number.
    Kind,
    /// Any other value the slot's role reads: a required field, a URL, a setting, the key of a secret.
    Value,
    /// The key under which a value was found, or the group of a secret.
    Key,
}

impl Part {
    /// How many parts there are.
    pub const COUNT: usize = 7;
}

/// One thing that is collected from a request, and what it is collected for. One slot has at most one occurrence
/// unless it lies in a repeated field, a map or a recursion. Entering the message at `at` begins an occurrence; parts
/// may lie deeper, below single message fields only, and the message never lies in itself: a part belongs to the
/// occurrence of its slot that was begun last.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The dotted path of the message it lies in; empty for the request itself. `[]` marks repeated fields, `{}` maps,
    /// `**` recursion.
    pub at: Arc<str>,
    /// The dotted paths of its parts relative to the request, for messages: `("id.project", Part::Project)`.
    pub parts: Vec<(Arc<str>, Part)>,
    /// Whether the message must be there.
    pub required: bool,
    /// Parts that must not be empty. A reference without any, whose project and domain are empty, names nothing.
    pub filled: Vec<Part>,
    /// The numbers accepted for [`Part::Kind`]; empty: all of the enum.
    pub accept: Vec<i32>,
    /// What it is for.
    pub role: SlotRole,
}

/// What a slot is collected for.
#[derive(Clone, Debug, PartialEq)]
pub enum SlotRole {
    /// The scope the call acts in. Exactly one slot of a scoped route is this or [`SlotRole::FlyteUrl`]. One that acts
    /// on the platform may have no parts.
    Scope {
        /// How the project and domain make a scope.
        extent: Extent,
        /// What kind of named thing the call acts on.
        resource: ResourceSource,
    },
    /// Something the call refers to.
    Reference {
        /// What it is called in messages, such as `launch plan`.
        label: Box<str>,
        /// The actions needed there, all of them, when it lies in another scope than the call's own.
        foreign: Vec<Action>,
        /// Further actions needed there when the kind is a task and it lies in another scope.
        foreign_task: Vec<Action>,
        /// Actions needed there in any case, also in the call's own scope.
        always: Vec<Action>,
        /// What kind of named thing it is.
        resource: ResourceSource,
    },
    /// A field that must not be empty, since FlyteAdmin takes an empty one for any value.
    Required,
    /// Read by an [`ActionChoice`].
    Choice,
    /// A `flyte://` URL that carries the scope, and names a stored execution.
    FlyteUrl,
    /// The URL of an object of the store that a call on the platform is about.
    NativeUrl,
    /// A name (`Part::Value`) that becomes part of a key of the object store, and may be empty.
    Name,
    /// A name (`Part::Value`) under which something is stored and overwritten in the object store.
    StoredName,
    /// The version behind it.
    StoredVersion,
    /// The URI of an artifact, which another service reads.
    ArtifactUri,
    /// The name (`Part::Value`) that the caller chooses for a new execution of the scope; it may be empty.
    ChosenName,
    /// Path components of an upload (`Part::Value`), each checked so that none leaves its place.
    UploadPath,
    /// A setting of executions: its value, the group and key of a secret, or all that lies in a map or list of texts.
    Setting(Setting),
    /// Settings found by their keys: `Part::Kind` is the label of the setting, `Part::Key` where it was found.
    KeyedSetting,
}

/// How a project and domain make a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// One domain of a project.
    Domain,
    /// Every domain of a project.
    Project,
    /// Any domain of a project: whoever may look at something in one of them may look at the project.
    SomeDomain,
    /// The platform; a project may be named for the record.
    Platform,
}

/// Where the kind of a named thing comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceSource {
    /// It is no thing that allow-lists name.
    None,
    /// It is always of this kind; an empty name means every one of the kind.
    Always(ResourceKind),
    /// `Part::Kind` says (`flyteidl.core.ResourceType`: 1 task, 2 workflow, 3 launch plan).
    ByKind,
    /// It is found by its name whatever `Part::Kind` says: it can be of any of the three kinds, and is judged as each.
    OfAnyKind,
    /// It is what a stored execution runs, which the request does not say; `Part::Name` names the execution.
    Stored {
        /// Whether the call starts it again.
        again: bool,
    },
}
