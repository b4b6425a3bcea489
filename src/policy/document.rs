//! The YAML shape of a policy file, and its JSON Schema. What the words mean is in `compile`.

use crate::document::LineColumn;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The only version of the format so far.
pub const VERSION: u64 = 1;

/// A value with its place in the file.
#[derive(Clone, Debug)]
pub struct At<T> {
    value: T,
    place: LineColumn,
}

impl<T> At<T> {
    /// The value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Where it was written.
    pub fn place(&self) -> LineColumn {
        self.place
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::deserialize(deserializer)?;
        Ok(Self {
            value,
            place: referenced.into(),
        })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A key that may be left out, but not left empty: in YAML `groups:` alone would read as "not there" and widen.
pub(crate) fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// A list in which every item keeps its place. No larger than it must be: a policy has hundreds of thousands.
pub type Items<T> = At<Box<[At<T>]>>;

/// A word with its place.
pub type Word = At<Box<str>>;

/// A list of words.
pub type Words = Items<Box<str>>;

/// A policy file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "flyte-authz-proxy policy", rename = "Policy")]
pub struct PolicyDocument {
    /// The version of the format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: At<u64>,
    /// Bundles of actions with a name, beside the built-in ones (viewer, operator, contributor, `project_admin`, engine,
    /// `platform_admin`). Names count in every file of the policy.
    #[serde(default)]
    #[schemars(extend("additionalProperties" = { "type": "array", "minItems": 1, "items": { "type": "string" } }))]
    pub roles: BTreeMap<String, Words>,
    /// The rules, in any order: a matching deny wins, and what no rule allows is refused.
    #[serde(default)]
    pub rules: Vec<RuleDocument>,
    /// Callers whose tokens count no more: any one of the items. They are refused whatever the rules say.
    #[serde(default)]
    #[schemars(with = "Vec<SubjectDocument>")]
    pub revoked: Vec<At<SubjectDocument>>,
}

/// A rule: who, and what they may or may not do where.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Rule")]
pub struct RuleDocument {
    /// The rule's name, unique in the policy: appears in audit records and in `explain`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"))]
    pub name: Word,
    /// Whom the rule is for: any one of the items.
    #[schemars(length(min = 1))]
    pub subjects: Items<SubjectDocument>,
    /// What they may do.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<AllowDocument>", length(min = 1))]
    pub allow: Option<Items<AllowDocument>>,
    /// What they may not do, whatever other rules allow.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<DenyDocument>", length(min = 1))]
    pub deny: Option<Items<DenyDocument>>,
    /// To whom the rule's `deny` does not apply.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<SubjectDocument>", length(min = 1))]
    pub unless: Option<Items<SubjectDocument>>,
}

impl RuleDocument {
    /// The roles that its entries name.
    pub(super) fn roles(&self) -> impl Iterator<Item = &str> {
        let allowed = self.allow.iter().flat_map(At::value).map(|entry| &entry.value().role);
        let denied = self.deny.iter().flat_map(At::value).map(|entry| &entry.value().role);
        allowed.chain(denied).flatten().map(|role| &**role.value())
    }
}

/// One description of callers: all of its conditions must hold. In lists of values any one does; `*` stands for any
/// run of characters.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Subject", extend("minProperties" = 1))]
pub struct SubjectDocument {
    /// Every verified caller. Stands alone, or with `issued_before`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "bool", extend("const" = true))]
    pub anyone: Option<At<bool>>,
    /// Groups, as the issuer's claim mapping finds them.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>", length(min = 1), inner(length(min = 1)))]
    pub groups: Option<Words>,
    /// E-mail addresses, as the issuer's claim mapping finds them.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>", length(min = 1), inner(length(min = 1)))]
    pub email: Option<Words>,
    /// Client ids, as the issuer's claim mapping finds them.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>", length(min = 1), inner(length(min = 1)))]
    pub client_id: Option<Words>,
    /// Subjects, as the issuer's claim mapping finds them.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>", length(min = 1), inner(length(min = 1)))]
    pub subject: Option<Words>,
    /// The issuer, exactly; `listener:NAME` for a principal that a listener gives.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "String", length(min = 1))]
    pub issuer: Option<Word>,
    /// A claim of the token: a dotted path, or a list of its parts where names contain dots. Needs `values` or `pattern`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "ClaimDocument")]
    pub claim: Option<At<ClaimDocument>>,
    /// Values of the claim.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>", length(min = 1), inner(length(min = 1)))]
    pub values: Option<Words>,
    /// A regular expression that a whole value of the claim must match. Its named groups, such as `(?<project>[a-z]+)`,
    /// can be used in `allow` as `${project}`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "String", length(min = 1))]
    pub pattern: Option<Word>,
    /// Tokens issued (`iat`) before this time, RFC 3339 to the second; callers without such a claim, too. Only in `revoked`
    /// and in the `subjects` of rules that only deny, beside another condition.
    #[serde(default, deserialize_with = "present")]
    #[schemars(
        with = "String",
        regex(pattern = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2})$")
    )]
    pub issued_before: Option<Word>,
}

/// Where a claim is: the names from the outside in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaimDocument(pub Vec<String>);

impl<'de> Deserialize<'de> for ClaimDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Path;
        impl<'de> Visitor<'de> for Path {
            type Value = ClaimDocument;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a dotted path such as `realm_access.roles`, or a list of its parts")
            }
            fn visit_str<E>(self, path: &str) -> Result<ClaimDocument, E> {
                Ok(ClaimDocument(path.split('.').map(str::to_owned).collect()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<ClaimDocument, A::Error> {
                let mut path = Vec::new();
                while let Some(part) = parts.next_element()? {
                    path.push(part);
                }
                Ok(ClaimDocument(path))
            }
        }
        deserializer.deserialize_any(Path)
    }
}

impl JsonSchema for ClaimDocument {
    fn schema_name() -> Cow<'static, str> {
        "Claim".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "anyOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1 } },
            ]
        })
    }
}

/// What is allowed, and where. Exactly one of `role` and `actions`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Allow", extend("oneOf" = [{ "required": ["role"] }, { "required": ["actions"] }]))]
pub struct AllowDocument {
    /// Projects; `*` stands for any run of characters, `${NAME}` for what the subject's pattern or `claims.PATH` holds.
    #[schemars(length(min = 1))]
    pub projects: Words,
    /// Domains, in the same way.
    #[schemars(length(min = 1))]
    pub domains: Words,
    /// A role: all of its actions.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "String", length(min = 1))]
    pub role: Option<Word>,
    /// Actions; `"*"` for all.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub actions: Option<Words>,
    /// Only these tasks: `name`, `project/name` or `domain/project/name`. Absent: all; `[]`: none.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>")]
    pub tasks: Option<Words>,
    /// Only these workflows, in the same way.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>")]
    pub workflows: Option<Words>,
    /// Only these launch plans, in the same way.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>")]
    pub launch_plans: Option<Words>,
    /// Only these apps, by name (Flyte 2: no call of Flyte 1 concerns an app).
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>")]
    pub apps: Option<Words>,
    /// Only these triggers: `trigger` or `task/trigger` (Flyte 2: no call of Flyte 1 concerns a trigger).
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>")]
    pub triggers: Option<Words>,
    /// The Kubernetes service accounts that callers may have executions run as. Absent: any; `[]`: they may not choose.
    /// In guards and in `set`, `${project}` and `${domain}` are those of the call.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>")]
    pub service_accounts: Option<Words>,
    /// The cloud roles that callers may have executions assume, in the same way.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>")]
    pub iam_roles: Option<Words>,
    /// The object-store prefixes at or below which callers may have raw outputs written, in the same way.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>")]
    pub raw_output_prefixes: Option<Words>,
    /// The cluster pools, cluster labels and queue tags that callers may choose, in the same way.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>")]
    pub clusters: Option<Words>,
    /// The names of cluster resource attributes that callers may write. Absent: any, but none beside another guard or
    /// `set`; `[]`: none.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>")]
    pub cluster_resources: Option<Words>,
    /// The secrets that tasks may ask for: `GROUP` for every key of it, or `GROUP/KEY`; in the same way.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>")]
    pub secrets: Option<Words>,
    /// The object-store prefixes at or below which callers may obtain links to objects (`CreateDownloadLocation`), with
    /// `view_data` in the project and domain that `${project}` and `${domain}` stand for; where they are not in it, in every
    /// place that the grant is about. Absent: none, but for who may `administer_platform`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub download_prefixes: Option<Words>,
    /// Whether callers may have executions run in the name of others. Absent: no, except for who may `report_events`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "bool")]
    pub impersonate: Option<At<bool>>,
    /// What is written into executions and launch plans that these callers create. Where there is no guard beside it, it
    /// replaces what they ask for.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "SetDocument")]
    pub set: Option<Box<At<SetDocument>>>,
}

/// Settings of executions, each as a text in which `${project}` and `${domain}` are those of the call.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Set", extend("minProperties" = 1))]
pub struct SetDocument {
    /// The Kubernetes service account.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "String", length(min = 1))]
    pub service_account: Option<Word>,
    /// The cloud role.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "String", length(min = 1))]
    pub iam_role: Option<Word>,
    /// The object-store prefix below which raw outputs are written.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "String", length(min = 1))]
    pub raw_output_prefix: Option<Word>,
    /// The cluster pool.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "String", length(min = 1))]
    pub cluster_pool: Option<Word>,
    /// The cluster label.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "String", length(min = 1))]
    pub cluster_label: Option<Word>,
}

/// What is denied, and where. Exactly one of `role` and `actions`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Deny", extend("oneOf" = [{ "required": ["role"] }, { "required": ["actions"] }]))]
pub struct DenyDocument {
    /// Projects; `*` stands for any run of characters. Absent: all.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub projects: Option<Words>,
    /// Domains, in the same way. Absent: all.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub domains: Option<Words>,
    /// A role: all of its actions.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "String", length(min = 1))]
    pub role: Option<Word>,
    /// Actions; `"*"` for all.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub actions: Option<Words>,
    /// Only these tasks (and calls that do not name what they act on): `name`, `project/name` or `domain/project/name`.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub tasks: Option<Words>,
    /// Only these workflows, in the same way.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub workflows: Option<Words>,
    /// Only these launch plans, in the same way.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Vec<String>", length(min = 1))]
    pub launch_plans: Option<Words>,
}

/// The JSON Schema of policy files, for editors. It is looser than the compiler, which also checks what words mean.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(PolicyDocument).to_value()
}
