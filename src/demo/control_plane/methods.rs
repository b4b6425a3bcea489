//! Which method does what: the one place that lists the RPCs.

use super::Options;
use super::executions::Executions;
use super::inventory::{Inventory, Kind};
use super::pages::UPLOADS;
use super::projects::Projects;
use super::status::Status;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use serde::Serialize;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// The one moment at which everything happens: answers do not depend on the clock.
pub(super) const MOMENT: &str = "2026-01-01T00:00:00Z";
/// When pre-signed addresses expire.
const EXPIRY: &str = "2036-01-01T00:00:00Z";

/// An upload address that was given out, and what was put there.
#[derive(Debug, Serialize)]
pub(super) struct Upload {
    path: String,
    content_md5: String,
    /// The size of what was put, in bytes; `None` until then.
    bytes: Option<usize>,
}

/// The control plane's state and methods.
#[derive(Debug)]
pub(super) struct Methods {
    pub(super) options: Options,
    http: SocketAddr,
    inventory: Inventory,
    executions: Executions,
    projects: Projects,
    pub(super) uploads: Vec<Upload>,
}

/// The text at a JSON pointer; empty if there is none.
pub(super) fn text<'value>(value: &'value Value, pointer: &str) -> &'value str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The value at a JSON pointer; null if there is none.
pub(super) fn at<'value>(value: &'value Value, pointer: &str) -> &'value Value {
    static NULL: Value = Value::Null;
    value.pointer(pointer).unwrap_or(&NULL)
}

/// One page of a list, by `limit` and by `token`, which is the number of items already seen. As `FlyteAdmin` does it, a
/// full page has a token, also when nothing follows.
pub(super) fn page(request: &Value, name: &str, items: Vec<Value>) -> Value {
    let limit = request
        .get("limit")
        .and_then(Value::as_u64)
        .and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.filter(|limit| *limit > 0).unwrap_or(100);
    let start = text(request, "/token").parse().unwrap_or(0_usize);
    let shown: Vec<Value> = items.into_iter().skip(start).take(limit).collect();
    let token = if shown.len() == limit {
        start.saturating_add(limit).to_string()
    } else {
        String::new()
    };
    json!({ name: shown, "token": token })
}

/// The same where no limit means none. As `FlyteAdmin` does it, an empty list is then a full page.
fn whole_or_page(request: &Value, name: &str, items: Vec<Value>) -> Value {
    let limit = request.get("limit").and_then(Value::as_u64).unwrap_or_default();
    if limit > 0 {
        return page(request, name, items);
    }
    let start = text(request, "/token").parse().unwrap_or(0_usize);
    let shown: Vec<Value> = items.into_iter().skip(start).collect();
    let token = if shown.is_empty() {
        start.to_string()
    } else {
        String::new()
    };
    json!({ name: shown, "token": token })
}

/// The token that a request carries.
pub(super) fn credential(headers: &HeaderMap) -> Option<&str> {
    let value = headers
        .get("authorization")
        .or_else(|| headers.get("flyte-authorization"))?;
    value.to_str().ok()?.split_once(' ').map(|(_, token)| token)
}

impl Methods {
    pub(super) fn new(options: Options, http: SocketAddr) -> Self {
        Self {
            http,
            inventory: Inventory::default(),
            executions: Executions::new(options.executions_keep_running),
            projects: Projects::new(&options.projects),
            uploads: Vec::new(),
            options,
        }
    }

    /// Answers one call; request and response are in the stored spelling.
    pub(super) fn call(&mut self, method: &str, request: &Value, credential: Option<&str>) -> Result<Value, Status> {
        match method {
            "CreateTask" => self.create(Kind::Task, request),
            "CreateWorkflow" => self.create(Kind::Workflow, request),
            "CreateLaunchPlan" => self.create(Kind::LaunchPlan, request),
            "GetTask" => self.inventory.get(Kind::Task, request),
            "GetWorkflow" => self.inventory.get(Kind::Workflow, request),
            "GetLaunchPlan" => self.inventory.get(Kind::LaunchPlan, request),
            "ListTasks" => Ok(page(request, "tasks", self.inventory.list(Kind::Task, request)?)),
            "ListWorkflows" => Ok(page(
                request,
                "workflows",
                self.inventory.list(Kind::Workflow, request)?,
            )),
            "ListLaunchPlans" => Ok(page(
                request,
                "launch_plans",
                self.inventory.list(Kind::LaunchPlan, request)?,
            )),
            "ListTaskIds" => Ok(page(request, "entities", self.inventory.names(Kind::Task, request))),
            "ListWorkflowIds" => Ok(page(request, "entities", self.inventory.names(Kind::Workflow, request))),
            "ListLaunchPlanIds" => Ok(page(
                request,
                "entities",
                self.inventory.names(Kind::LaunchPlan, request),
            )),
            "UpdateLaunchPlan" => self.inventory.update_launch_plan(request),
            "GetActiveLaunchPlan" => self.inventory.active_launch_plan(request),
            "ListActiveLaunchPlans" => Ok(page(
                request,
                "launch_plans",
                self.inventory.active_launch_plans(request),
            )),
            "ListNamedEntities" => Ok(page(request, "entities", self.inventory.named_entities(request)?)),
            "GetNamedEntity" => self.inventory.named_entity(request),
            "UpdateNamedEntity" => self.inventory.update_named_entity(request),
            "GetDescriptionEntity" => Err(Status::not_found("no such description")),

            "CreateExecution" => {
                self.projects
                    .require(text(request, "/project"), text(request, "/domain"))?;
                self.executions.create(request, &self.inventory)
            }
            "RelaunchExecution" | "RecoverExecution" => self.executions.again(request, &self.inventory),
            "GetExecution" => self.executions.get(request),
            "UpdateExecution" => self.executions.update(request),
            "GetExecutionData" => self.executions.data(request),
            "ListExecutions" => Ok(page(request, "executions", self.executions.list(request))),
            "TerminateExecution" => self.executions.terminate(request),
            "GetNodeExecution" => self.executions.node(request),
            "ListNodeExecutions" => self
                .executions
                .nodes(request)
                .map(|nodes| page(request, "node_executions", nodes)),
            "GetTaskExecution" => Ok(json!({ "id": at(request, "/id"), "closure": { "phase": "SUCCEEDED" } })),
            "GetOrCreateSignal" => Ok(json!({ "id": at(request, "/id"), "type": at(request, "/type") })),

            "ListProjects" => self
                .projects
                .list(request)
                .map(|projects| whole_or_page(request, "projects", projects)),
            "GetProject" => self.projects.get(text(request, "/id")),
            "RegisterProject" => self.projects.register(request),
            "UpdateProject" => self.projects.update(request),
            "GetDomains" => Ok(json!({ "domains": Projects::domains() })),
            "UpdateProjectAttributes" | "UpdateProjectDomainAttributes" | "UpdateWorkflowAttributes" => {
                self.projects.set_attributes(request)
            }
            "GetProjectAttributes" | "GetProjectDomainAttributes" | "GetWorkflowAttributes" => {
                self.projects.attributes(request)
            }
            "DeleteProjectAttributes" | "DeleteProjectDomainAttributes" | "DeleteWorkflowAttributes" => {
                self.projects.delete_attributes(request)
            }
            "ListMatchableAttributes" => Ok(json!({ "configurations": self.projects.all_attributes(request) })),

            "GetVersion" => Ok(json!({ "control_plane_version": { "Version": "v1.16.8", "Build": "demo" } })),
            "GetOAuth2Metadata" => Ok(self.oauth2_metadata()),
            "GetPublicClientConfig" => Ok(self.client_config()),
            "UserInfo" => Ok(user_info(credential)),
            "CreateUploadLocation" => self.upload_location(request),
            "CreateDownloadLocation" => {
                Ok(json!({ "signed_url": self.signed(text(request, "/native_url")), "expires_at": EXPIRY }))
            }
            "CreateDownloadLink" => {
                let url = self.signed(text(request, "/node_execution_id/node_id"));
                Ok(json!({ "signed_url": [url], "expires_at": EXPIRY }))
            }
            "GetData" => Ok(self.data(text(request, "/flyte_url"))),

            // Accepted and not kept, or asked for and never there.
            "CreateWorkflowEvent"
            | "CreateNodeEvent"
            | "CreateTaskEvent"
            | "SetSignal"
            | "ListSignals"
            | "ListDescriptionEntities"
            | "ListNodeExecutionsForTask"
            | "ListTaskExecutions"
            | "GetDynamicNodeWorkflow"
            | "GetNodeExecutionData"
            | "GetTaskExecutionData"
            | "GetExecutionMetrics" => Ok(json!({})),
            _ => Err(Status::unimplemented(format!("method {method} not implemented"))),
        }
    }

    fn create(&mut self, kind: Kind, request: &Value) -> Result<Value, Status> {
        self.projects
            .require(text(request, "/id/project"), text(request, "/id/domain"))?;
        self.inventory.create(kind, request)
    }

    fn oauth2_metadata(&self) -> Value {
        json!({
            "issuer": self.options.issuer,
            "authorization_endpoint": self.options.authorization_endpoint,
            "token_endpoint": self.options.token_endpoint,
            "jwks_uri": self.options.jwks_uri,
            "scopes_supported": self.options.scopes,
            "response_types_supported": ["code", "token"],
            "grant_types_supported": ["client_credentials", "authorization_code"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
        })
    }

    fn client_config(&self) -> Value {
        json!({
            "client_id": self.options.client_id,
            "redirect_uri": self.options.redirect_uri,
            "scopes": self.options.scopes,
            "authorization_metadata_key": self.options.authorization_metadata_key,
            "audience": self.options.audience,
        })
    }

    fn signed(&self, what: &str) -> String {
        format!("http://{}{UPLOADS}{}", self.http, what.trim_start_matches("s3://"))
    }

    /// What a `flyte://` URL leads to: a deck, one value, or all of them. Every value is 42.
    fn data(&self, url: &str) -> Value {
        let value = json!({ "scalar": { "primitive": { "integer": 42 } } });
        let mut segments = url.rsplit('/');
        match (segments.next(), segments.next()) {
            (Some("d"), _) => {
                let deck = self.signed(url.trim_start_matches("flyte://"));
                json!({ "pre_signed_urls": { "signed_url": [deck], "expires_at": EXPIRY } })
            }
            (Some("i" | "o"), _) => json!({ "literal_map": { "literals": { "o0": value } } }),
            _ => json!({ "literal": value }),
        }
    }

    fn upload_location(&mut self, request: &Value) -> Result<Value, Status> {
        let [project, domain, name] = ["/project", "/domain", "/filename"].map(|field| text(request, field));
        self.projects.require(project, domain)?;
        let folder = match text(request, "/filename_root") {
            "" => self.uploads.len().to_string(),
            root => root.to_owned(),
        };
        let key = format!("{project}/{domain}/{folder}/{name}");
        self.uploads.push(Upload {
            path: format!("{UPLOADS}{key}"),
            content_md5: text(request, "/content_md5").to_owned(),
            bytes: None,
        });
        Ok(json!({ "signed_url": self.signed(&key), "native_url": format!("s3://demo/{key}"), "expires_at": EXPIRY }))
    }

    /// Takes in an upload, as an object store does: only to an address that was given out, and with the digest agreed.
    pub(super) fn upload(&mut self, path: &str, content_md5: &str, bytes: usize) -> Result<(), &'static str> {
        let uploads = self.uploads.iter_mut().rev();
        let upload = uploads
            .into_iter()
            .find(|upload| upload.path == path)
            .ok_or("SignatureDoesNotMatch")?;
        if upload.content_md5 != content_md5 {
            return Err("BadDigest");
        }
        upload.bytes = Some(bytes);
        Ok(())
    }
}

/// What the token says, unverified: the control plane that is stood in for verifies it, the stand-in only repeats it.
fn user_info(credential: Option<&str>) -> Value {
    let payload = credential.and_then(|token| token.split('.').nth(1));
    let claims = payload.and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    let claims: Value = claims
        .and_then(|claims| serde_json::from_slice(&claims).ok())
        .unwrap_or_default();
    json!({ "subject": text(&claims, "/sub"), "name": text(&claims, "/name"), "email": text(&claims, "/email") })
}
