//! The YAML shape of a catalogue file. What the words mean is told at the top of `flyte1.yaml`.

use serde::Deserialize;
use serde_saphyr::Spanned;
use std::collections::BTreeMap;

/// Name and text of the built-in catalogue of Flyte 1.
pub const FLYTE1: (&str, &str) = ("catalog/flyte1.yaml", include_str!("flyte1.yaml"));

/// A catalogue file: the built-in one, or an overlay that adds to it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogDocument {
    /// The version of this format: 1.
    pub version: Spanned<u32>,
    /// The API generation, such as `flyte1`.
    pub generation: Spanned<String>,
    /// The RPCs.
    #[serde(default)]
    pub rpcs: Vec<RpcDocument>,
    /// Paths that are no RPC.
    #[serde(default)]
    pub pages: Vec<PageDocument>,
    /// For each message that can lie in itself, the paths from it to one below.
    #[serde(default)]
    pub recursion: BTreeMap<String, Vec<Spanned<String>>>,
    /// Message types: for each field by name `NUMBER TYPE`.
    #[serde(default)]
    pub messages: BTreeMap<String, Spanned<BTreeMap<String, Spanned<String>>>>,
    /// Enum types: names and numbers.
    #[serde(default)]
    pub enums: BTreeMap<String, Spanned<BTreeMap<String, i32>>>,
}

/// One RPC.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RpcDocument {
    /// Service and method, such as `flyteidl.service.AdminService/CreateTask`.
    pub rpc: Spanned<String>,
    /// The request message.
    pub request: Spanned<String>,
    /// Who may call it without the policy being asked.
    pub access: Option<OpenAccess>,
    /// The action needed in the scope.
    pub action: Option<Spanned<String>>,
    /// REST bindings.
    #[serde(default)]
    pub http: Vec<Spanned<HttpDocument>>,
    /// Query keys accepted on its GET bindings.
    #[serde(default)]
    pub query: Vec<Spanned<String>>,
    /// Where the scope is.
    pub scope: Option<Spanned<ScopeDocument>>,
    /// The field with a `flyte://` URL that carries the scope.
    pub flyte_url: Option<Spanned<String>>,
    /// The field with the URL of an object of the store.
    pub native_url: Option<Spanned<String>>,
    /// Fields that must not be empty.
    #[serde(default)]
    pub required: Vec<Spanned<String>>,
    /// Fields that become part of a key of the object store.
    #[serde(default)]
    pub names: Vec<Spanned<String>>,
    /// The name and version under which what is registered is stored in the object store.
    pub stored_as: Option<StoredAsDocument>,
    /// Fields with URIs of artifacts.
    #[serde(default)]
    pub artifact_uris: Vec<Spanned<String>>,
    /// The field with the name that the caller chooses for a new execution.
    pub chosen_name: Option<Spanned<String>>,
    /// Fields that become part of an upload location.
    #[serde(default)]
    pub upload_paths: Vec<Spanned<String>>,
    /// What else the request names.
    #[serde(default)]
    pub references: Vec<Spanned<ReferenceDocument>>,
    /// Other actions by content.
    #[serde(default)]
    pub choices: Vec<Spanned<ChoiceDocument>>,
    /// Settings of executions that it can ask for.
    #[serde(default)]
    pub settings: Vec<SettingDocument>,
    /// Maps of texts and `google.protobuf.Struct`s that are searched for keys that stand for settings.
    #[serde(default)]
    pub searched: Vec<Spanned<String>>,
    /// Identity fields that are not judged.
    #[serde(default)]
    pub ignored: Vec<IgnoredDocument>,
    /// What its answers may show.
    pub answer: Option<Spanned<AnswerDocument>>,
}

/// See [`super::answer::Answer`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerDocument {
    /// It is what the scope holds that was judged.
    OwnScope,
    /// It passes as it is, for this reason.
    Unfiltered(String),
    /// Each of its items is shown or left out.
    Items(Box<ItemsDocument>),
}

/// The items of an answer. Paths are relative to an item.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemsDocument {
    /// The response message.
    pub response: String,
    /// Its repeated field with the items: `tasks[]`.
    pub at: String,
    /// The field with the project it lies in.
    pub project: Option<String>,
    /// The field with the domain it lies in.
    pub domain: Option<String>,
    /// The field with the name of the thing it is.
    pub name: Option<String>,
    /// The message with kind, project, domain and name of the thing it runs.
    pub runs: Option<String>,
    /// The field with the workflow it is about.
    pub workflow: Option<String>,
    /// The field with the launch plan it is about.
    pub launch_plan: Option<String>,
    /// Who is shown an item.
    pub show: ShowDocument,
    /// How the control plane is asked for only those.
    pub narrow: Option<NarrowDocument>,
}

/// See [`super::answer::Show`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShowDocument {
    /// Whoever may view something in the project.
    Viewable,
    /// Whoever may make the call for the name.
    Listed,
    /// Whoever may do this where it lies.
    Allowed(Spanned<String>),
}

/// See [`super::answer::Narrow`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NarrowDocument {
    /// The field of the request that takes filters.
    pub filters: String,
    /// The column to be compared.
    pub column: String,
    /// The filter that holds where a request has none.
    pub default: Option<String>,
    /// How it is asked for the whole list.
    pub whole: Option<WholeDocument>,
}

/// See [`super::answer::Whole`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WholeDocument {
    /// The field of the request that says how many items a page has at most.
    pub limit: String,
    /// The field of the request, and of the response, with the token of a page.
    pub token: String,
}

/// Access that needs no rule.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OpenAccess {
    /// Without a credential.
    Public,
    /// With any verified credential.
    Authenticated,
}

/// One REST binding, as in `google.api.http`. Exactly one method is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpDocument {
    /// Template of a GET.
    pub get: Option<String>,
    /// Template of a PUT.
    pub put: Option<String>,
    /// Template of a POST.
    pub post: Option<String>,
    /// Template of a DELETE.
    pub delete: Option<String>,
    /// `*` when the body is the message.
    pub body: Option<String>,
}

/// The scope a call acts in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeDocument {
    /// How project and domain make a scope.
    #[serde(default)]
    pub extent: ExtentDocument,
    /// The field with the project.
    pub project: Option<Spanned<String>>,
    /// The field with the domain.
    pub domain: Option<Spanned<String>>,
    /// The field with the name of the resource.
    pub name: Option<Spanned<String>>,
    /// What kind of thing `name` names.
    #[serde(default)]
    pub resource: ResourceDocument,
    /// The field with the kind, for `resource: by_kind`.
    pub kind: Option<Spanned<String>>,
    /// Names of the kinds accepted; none: all.
    #[serde(default)]
    pub accept: Vec<Spanned<String>>,
}

/// See [`super::Extent`].
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ExtentDocument {
    /// One domain of a project.
    #[default]
    Domain,
    /// Every domain of a project.
    Project,
    /// Some domain of a project.
    SomeDomain,
    /// The platform.
    Platform,
}

/// See [`super::ResourceSource`].
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ResourceDocument {
    /// Nothing that allow-lists name.
    #[default]
    None,
    /// A task.
    Task,
    /// A workflow.
    Workflow,
    /// A launch plan.
    LaunchPlan,
    /// As the kind field says.
    ByKind,
    /// Of that name under every kind: the service does not look at the kind field.
    OfAnyKind,
    /// What the execution that `name` names runs.
    Stored,
    /// The same of one that the call starts again as it was stored.
    StartedAgain,
}

/// The fields that make the key of what is stored.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredAsDocument {
    /// The name.
    pub name: Spanned<String>,
    /// The version.
    pub version: Spanned<String>,
}

/// Something a request refers to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceDocument {
    /// Paths of the messages that refer to it.
    pub at: Vec<Spanned<String>>,
    /// The path from there to the message with `project`, `domain` and `name`, when that is another.
    #[serde(default)]
    pub within: Option<String>,
    /// What it is called in messages.
    pub label: String,
    /// Whether it must be there.
    #[serde(default)]
    pub required: bool,
    /// What kind of thing it is.
    #[serde(default)]
    pub resource: ResourceDocument,
    /// The field with the kind, for `resource: by_kind`.
    pub kind: Option<String>,
    /// Names of the kinds accepted; none: all.
    #[serde(default)]
    pub accept: Vec<Spanned<String>>,
    /// Fields that must not be empty.
    #[serde(default)]
    pub filled: Vec<Spanned<String>>,
    /// Actions needed there when it lies in another scope.
    #[serde(default)]
    pub foreign: Vec<Spanned<String>>,
    /// Further ones when it is a task.
    #[serde(default)]
    pub foreign_task: Vec<Spanned<String>>,
    /// Actions needed there in any case.
    #[serde(default)]
    pub always: Vec<Spanned<String>>,
}

/// A setting of executions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingDocument {
    /// Which.
    pub setting: Spanned<String>,
    /// The text fields that ask for it; of secrets the messages with `group` and `key`.
    pub at: Vec<Spanned<String>>,
    /// The one of them that is written when a rule sets it.
    pub write: Option<Spanned<String>>,
}

/// Another action, needed instead of the route's own: when one of `present` is set, or `field` has a value of `among`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChoiceDocument {
    /// The action.
    pub action: Spanned<String>,
    /// Messages whose presence chooses it.
    #[serde(default)]
    pub present: Vec<Spanned<String>>,
    /// The enum field whose value chooses it.
    pub field: Option<Spanned<String>>,
    /// The names of those values.
    #[serde(default)]
    pub among: Vec<Spanned<String>>,
}

/// A field that names a project, domain, organization or URL and is not judged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IgnoredDocument {
    /// Its path; what lies below is meant too. `**` stands for any fields.
    pub field: String,
    /// Why it need not be judged.
    pub why: String,
}

/// A path that is no RPC.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageDocument {
    /// The path.
    pub path: Spanned<String>,
    /// Its methods.
    pub methods: Vec<Spanned<String>>,
    /// Whether everything below counts too.
    #[serde(default)]
    pub below: bool,
    /// Whether `redirect_url` is followed.
    #[serde(default)]
    pub redirects: bool,
    /// What is made of a session.
    pub session: Option<SessionUse>,
}

/// What the control plane makes of a session on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionUse {
    /// It sends a browser with a good session back, and renews one that has expired.
    Renewed,
    /// It gives a token for it, which says anew when it was issued.
    Exchanged,
}

impl SessionUse {
    /// The word used in catalogues.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::Exchanged => "exchanged",
        }
    }
}
