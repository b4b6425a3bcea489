//! What several benchmarks judge: a catalogue, policies of any size, callers, messages.

use flyte_authz_proxy::catalog::{Catalog, Route};
use flyte_authz_proxy::extract::WalkLimits;
use flyte_authz_proxy::extract::targets::ScopeRules;
use flyte_authz_proxy::model::principal::{Principal, PrincipalKind};
use flyte_authz_proxy::policy::Policy;
use flyte_authz_proxy::policy::compile::compile;
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

/// The RPC that most benchmarks call.
pub(crate) const RPC: &str = "/flyteidl.service.AdminService/CreateExecution";

/// As configured unless something else is.
pub(crate) const LIMITS: WalkLimits = WalkLimits { max_fields: 200_000 };

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().unwrap());

pub(crate) fn catalog() -> &'static Catalog {
    &CATALOG
}

pub(crate) fn route() -> &'static Route {
    catalog().lookup_rpc(RPC).unwrap()
}

pub(crate) fn domains() -> Vec<Box<str>> {
    ["development", "staging", "production"].map(Box::from).to_vec()
}

pub(crate) fn scope_rules() -> ScopeRules {
    ScopeRules {
        domains: domains(),
        organizations: Vec::new(),
    }
}

/// A policy with a rule for each of so many teams, `team-0` and so on, ten thousand in a file.
pub(crate) fn policy_files(rules: usize) -> Vec<(PathBuf, String)> {
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for team in 0..rules {
        if team % 10_000 == 0 {
            let name = format!("policy-{team}.yaml");
            files.push((name.into(), "version: 1\nrules:\n".to_owned()));
        }
        writeln!(
            files.last_mut().unwrap().1,
            "  - name: team-{team}\n    subjects: [{{ groups: [team-{team}] }}]\n    allow:\n      \
             - {{ projects: [team-{team}, \"own-*\"], domains: [development, staging], role: contributor }}"
        )
        .unwrap();
    }
    files
}

/// The policy with so many rules, compiled once for all benchmarks.
pub(crate) fn policy(rules: usize) -> &'static Policy {
    static COMPILED: Mutex<BTreeMap<usize, &Policy>> = Mutex::new(BTreeMap::new());
    let mut compiled = COMPILED.lock().unwrap();
    compiled
        .entry(rules)
        .or_insert_with(|| Box::leak(Box::new(compile(&policy_files(rules), &domains()).unwrap().0)))
}

/// Somebody in so many teams, `team-0` and so on.
pub(crate) fn caller(groups: usize) -> Principal {
    Principal {
        kind: PrincipalKind::Token,
        subject: Arc::from("somebody"),
        groups: (0..groups).map(|team| Arc::from(format!("team-{team}"))).collect(),
        ..Principal::anonymous()
    }
}

/// `CreateExecution` in a project, with inputs of one long text or with many labels.
pub(crate) fn execution(project: &str, text: usize, labels: usize) -> Value {
    let labels: serde_json::Map<String, Value> = (0..labels)
        .map(|number| (format!("label-{number:06}"), json!("value")))
        .collect();
    json!({
        "project": project, "domain": "development", "name": "measured",
        "spec": {
            "launchPlan": {
                "resourceType": "LAUNCH_PLAN", "project": project, "domain": "development", "name": "train",
                "version": "1",
            },
            "labels": {"values": labels},
        },
        "inputs": {"literals": {"text": {"scalar": {"primitive": {"stringValue": "x".repeat(text)}}}}},
    })
}

/// The same in protobuf.
pub(crate) fn encoded(execution: Value) -> Vec<u8> {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/descriptors/flyteidl-1.16.8.binpb");
        DescriptorPool::decode(std::fs::read(file).unwrap().as_slice()).unwrap()
    });
    let message = POOL
        .get_message_by_name("flyteidl.admin.ExecutionCreateRequest")
        .unwrap();
    DynamicMessage::deserialize(message, execution).unwrap().encode_to_vec()
}
