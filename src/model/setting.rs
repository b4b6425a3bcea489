//! What a request can ask for about how executions run: as whom, where, with which secrets, and where outputs go.

use std::fmt;

/// Something about how an execution runs that a caller can ask for, and that a grant can guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Setting {
    /// The Kubernetes service account its pods run as.
    ServiceAccount,
    /// The cloud role its pods assume.
    IamRole,
    /// The object-store prefix below which its raw outputs are written.
    RawOutputPrefix,
    /// The pool of clusters it runs on.
    ClusterPool,
    /// The label of the clusters it runs on.
    ClusterLabel,
    /// A tag of the queues it waits in.
    QueueTag,
    /// An attribute that is put into the Kubernetes manifests of its project, by its name.
    ClusterResource,
    /// A secret its pods are given, as `GROUP/KEY`.
    Secret,
    /// Whom it is said to run for.
    Identity,
}

impl Setting {
    /// Every setting.
    pub const ALL: [Self; 9] = [
        Self::ServiceAccount,
        Self::IamRole,
        Self::RawOutputPrefix,
        Self::ClusterPool,
        Self::ClusterLabel,
        Self::QueueTag,
        Self::ClusterResource,
        Self::Secret,
        Self::Identity,
    ];

    /// The word used in catalogues, policies and audit records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::ServiceAccount => "service_account",
            Self::IamRole => "iam_role",
            Self::RawOutputPrefix => "raw_output_prefix",
            Self::ClusterPool => "cluster_pool",
            Self::ClusterLabel => "cluster_label",
            Self::QueueTag => "queue_tag",
            Self::ClusterResource => "cluster_resource",
            Self::Secret => "secret",
            Self::Identity => "identity",
        }
    }

    /// The key of a grant that guards it.
    #[must_use]
    pub const fn guard(self) -> &'static str {
        match self {
            Self::ServiceAccount => "service_accounts",
            Self::IamRole => "iam_roles",
            Self::RawOutputPrefix => "raw_output_prefixes",
            Self::ClusterPool | Self::ClusterLabel | Self::QueueTag => "clusters",
            Self::ClusterResource => "cluster_resources",
            Self::Secret => "secrets",
            Self::Identity => "impersonate",
        }
    }

    /// The setting of that label.
    #[must_use]
    pub fn of_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.label() == label)
    }

    /// The setting that a folded key stands for in an object that holds a secret, or does not.
    fn of_key(in_secret: bool, key: &str) -> Option<Self> {
        let key = match spark(key) {
            Ok(setting) => return Some(setting),
            Err(key) => key,
        };
        let (domain, name) = key.rsplit_once('/').unwrap_or(("", key));
        let setting = match (domain, name) {
            // What kube2iam, kiam, EKS, GKE and Azure read from pods or their service accounts.
            ("iam.amazonaws.com" | "iam.gke.io", _) | ("eks.amazonaws.com", "role-arn") | ("", "aadpodidbinding") => {
                Self::IamRole
            }
            // What asks the secret webhooks of Flyte and Vault for secrets, and what pods read them by.
            ("flyte.secrets" | "vault.hashicorp.com", _) | ("", "secretname" | "secretproviderclass") => Self::Secret,
            ("", "name") if in_secret => Self::Secret,
            // What FlyteAdmin adds about the caller unless it is there; the domain before it is configurable.
            (domain, "user-email" | "user-sub" | "app-email" | "app-sub" | "app-id") if !domain.is_empty() => {
                Self::Identity
            }
            _ => {
                let letters: String = name
                    .chars()
                    .filter(|letter| !matches!(letter, '_' | '-' | '.'))
                    .collect();
                let names = letters.ends_with("serviceaccountname") || letters.ends_with("serviceaccount");
                return names.then_some(Self::ServiceAccount);
            }
        };
        Some(setting)
    }
}

/// What the key of an entry of a map or JSON object stands for, among annotations, labels and the pod specifications of
/// tasks.
///
/// Kubernetes reads pod specifications without regard to case, as Go's `encoding/json` folds it, and plugins spell their own
/// options in several ways: what could be meant, is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meaning {
    /// The setting, if it stands for one.
    pub setting: Option<Setting>,
    /// Whether an object under it names a secret.
    holds_secret: bool,
    /// Whether every key under it stands for the same.
    whole: bool,
}

impl Meaning {
    /// Of a map or list in which everything stands for a setting, whatever its key.
    #[must_use]
    pub const fn whole(setting: Setting) -> Self {
        Self {
            setting: Some(setting),
            holds_secret: false,
            whole: true,
        }
    }

    /// Of a key; `around` is that of the object it lies in, and the default for what lies in none. Costs time by the length
    /// of the key, so that it is to be asked for once, and not for all that lies below.
    #[must_use]
    pub fn of(around: Self, key: &str) -> Self {
        if around.whole {
            return around;
        }
        let key = folded(key);
        Self {
            setting: Setting::of_key(around.holds_secret, &key),
            holds_secret: is_secret(&key),
            whole: false,
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServiceAccount => "service account",
            Self::IamRole => "cloud role",
            Self::RawOutputPrefix => "raw output prefix",
            Self::ClusterPool => "cluster pool",
            Self::ClusterLabel => "cluster label",
            Self::QueueTag => "queue tag",
            Self::ClusterResource => "cluster resource",
            Self::Secret => "secret",
            Self::Identity => "identity",
        })
    }
}

/// Whether an object under this key names a secret: `secretRef`, or one like `nodePublishSecretRef`.
fn is_secret(around: &str) -> bool {
    matches!(around, "secret" | "secretkeyref") || around.ends_with("secretref")
}

/// The setting that an option of Spark stands for by itself, or what it puts on pods
/// (<https://spark.apache.org/docs/latest/running-on-kubernetes.html#configuration>).
fn spark(key: &str) -> Result<Setting, &str> {
    if key.ends_with("fs.s3a.assumed.role.arn") {
        return Ok(Setting::IamRole);
    }
    let Some(option) = key.strip_prefix("spark.kubernetes.") else {
        return Err(key);
    };
    if option.contains(".secrets.") || option.contains(".secretkeyref.") {
        return Ok(Setting::Secret);
    }
    // A whole pod specification, which is not in the request.
    if option.ends_with(".podtemplatefile") {
        return Ok(Setting::ServiceAccount);
    }
    let put = [".annotation.", ".label."]
        .iter()
        .find_map(|word| option.split_once(word));
    Err(put.map_or(key, |(_, name)| name))
}

/// Letters that a decoder of JSON in Go takes for one another, as one: upper case first, so that `ſ` becomes `s`.
fn folded(key: &str) -> String {
    key.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

/// A setting that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which.
    pub setting: Setting,
    /// The value; empty only for an identity, which is then nobody's.
    pub value: Box<str>,
    /// The request field it was read from.
    pub field: Box<str>,
}

impl Asked {
    /// Whether it was found by its key in a map or object: what is written into a field does not take its place. Its field
    /// is then a path and the key behind a space, which paths do not have.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        self.field.contains(' ')
    }
}

/// A setting that is written into a request, in place of what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Which.
    pub setting: Setting,
    /// The value.
    pub value: Box<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_annotations_and_pods_tell_which_setting_they_stand_for() {
        let table: &[(&str, &str, Option<Setting>)] = &[
            ("", "serviceAccountName", Some(Setting::ServiceAccount)),
            ("podSpec", "SERVICEACCOUNTNAME", Some(Setting::ServiceAccount)),
            ("podSpec", "\u{17f}erviceAccount", Some(Setting::ServiceAccount)),
            ("", "service_account_name", Some(Setting::ServiceAccount)),
            (
                "",
                "spark.kubernetes.authenticate.driver.serviceAccountName",
                Some(Setting::ServiceAccount),
            ),
            ("", "automountServiceAccountToken", None),
            (
                "sparkConf",
                "spark.kubernetes.driver.podTemplateFile",
                Some(Setting::ServiceAccount),
            ),
            (
                "sparkConf",
                "spark.kubernetes.executor.annotation.iam.amazonaws.com/role",
                Some(Setting::IamRole),
            ),
            (
                "sparkConf",
                "spark.kubernetes.driver.label.aadpodidbinding",
                Some(Setting::IamRole),
            ),
            (
                "sparkConf",
                "spark.hadoop.fs.s3a.assumed.role.arn",
                Some(Setting::IamRole),
            ),
            (
                "sparkConf",
                "spark.kubernetes.driver.secrets.other",
                Some(Setting::Secret),
            ),
            (
                "sparkConf",
                "spark.kubernetes.executor.secretKeyRef.ENV",
                Some(Setting::Secret),
            ),
            (
                "sparkConf",
                "spark.kubernetes.driver.annotation.flyte.secrets/s0",
                Some(Setting::Secret),
            ),
            ("sparkConf", "spark.kubernetes.driver.label.team", None),
            ("sparkConf", "spark.executor.memory", None),
            ("nodePublishSecretRef", "name", Some(Setting::Secret)),
            ("imagePullSecrets", "name", None),
            ("", "iam.amazonaws.com/role", Some(Setting::IamRole)),
            ("", "eks.amazonaws.com/role-arn", Some(Setting::IamRole)),
            ("", "iam.gke.io/gcp-service-account", Some(Setting::IamRole)),
            ("", "aadpodidbinding", Some(Setting::IamRole)),
            ("", "flyte.secrets/s0", Some(Setting::Secret)),
            ("", "vault.hashicorp.com/agent-inject-secret-x", Some(Setting::Secret)),
            ("secret", "secretName", Some(Setting::Secret)),
            ("secretKeyRef", "name", Some(Setting::Secret)),
            ("SecretRef", "Name", Some(Setting::Secret)),
            ("secretKeyRef", "key", None),
            ("containers", "name", None),
            ("", "flyte.org/user-email", Some(Setting::Identity)),
            ("", "example.com/app-id", Some(Setting::Identity)),
            ("", "user-email", None),
            ("", "team", None),
            ("", "", None),
        ];
        for (around, key, expected) in table {
            let around = Meaning::of(Meaning::default(), around);
            assert_eq!(Meaning::of(around, key).setting, *expected, "{around:?} {key}");
        }
    }

    #[test]
    fn labels_are_read_back() {
        for setting in Setting::ALL {
            assert_eq!(Setting::of_label(setting.label()), Some(setting));
        }
        assert_eq!(Setting::of_label("clusters"), None);
    }
}
