//! The proxy and all it needs around it, on loopback: certificates, issuer, control plane, policy and clients.

use super::certificates::Certificates;
use super::client::{Client, Failure};
use super::control_plane::{ControlPlane, Options};
use super::issuer::{DemoIssuer, Fault};
use super::session::SessionKeys;
use crate::app::App;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::model::problem::Problem;
use crate::upstream::resolution::{Resolver, SystemResolver};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The policy of the demonstration.
pub const POLICY: &str = include_str!("../../policies/demo.yaml");

/// What the configuration says of sessions.
const SESSION: &str = "
credentials:
  session:
    hash_key: {file: cookie_hash_key}
    block_key: {file: cookie_block_key}
";

/// What to start.
pub struct Setup {
    /// Where certificates, policy and configuration are written.
    pub directory: PathBuf,
    /// The published descriptors of Flyte's API.
    pub descriptors: Vec<u8>,
    /// The policy.
    pub policy: String,
    /// More top-level keys of the configuration, in YAML.
    pub configuration: String,
    /// The last changes to the text of the configuration.
    pub edit: Box<dyn FnOnce(String) -> String + Send>,
    /// How the issuer fails at the start; the proxy is not waited for if it does.
    pub issuer_fault: Fault,
    /// The keys of console sessions, if those are accepted; `credentials` is then not to be in `configuration`.
    pub session_keys: Option<SessionKeys>,
    /// Whether executions keep running until they are terminated.
    pub executions_keep_running: bool,
    /// Where audit records go.
    pub audit: Box<dyn Write + Send>,
    /// Whether the proxy is waited for until it is ready.
    pub wait: bool,
    /// What time it is for the proxy.
    pub clock: Arc<dyn Clock>,
    /// How the proxy finds the control plane's addresses.
    pub resolver: Arc<dyn Resolver>,
}

impl Setup {
    /// The demonstration in a directory, with audit records thrown away.
    #[must_use]
    pub fn new(directory: PathBuf, descriptors: Vec<u8>) -> Self {
        Self {
            directory,
            descriptors,
            policy: POLICY.to_owned(),
            configuration: "workers: 1\n".to_owned(),
            edit: Box::new(|configuration| configuration),
            issuer_fault: Fault::None,
            session_keys: None,
            executions_keep_running: false,
            audit: Box::new(std::io::sink()),
            wait: true,
            clock: Arc::new(SystemClock),
            resolver: Arc::new(SystemResolver),
        }
    }
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// Everything, running.
#[derive(Debug)]
pub struct Stack {
    /// Mints tokens; its clients `ml`, `fraud` and `engine` have the secrets `ml-secret`, `fraud-secret`, `engine-secret`.
    pub issuer: DemoIssuer,
    /// What the proxy forwards to.
    pub control_plane: ControlPlane,
    /// The proxy.
    pub app: App,
    /// A client of the TLS listener.
    pub client: Client,
    /// A client of the plain text listener.
    pub plain: Client,
    /// A client of the control plane itself, past the proxy.
    pub direct: Client,
    /// The file of the policy.
    pub policy: PathBuf,
    /// The file of the certificate authority.
    pub authority: PathBuf,
    /// The configuration file.
    pub configuration: PathBuf,
}

/// The listeners of the stack, in the order of [`App::addresses`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// TLS, callers identified by tokens.
    Tls = 0,
    /// Plain text, callers identified by tokens.
    Plain = 1,
    /// Plain text, every caller is the engine.
    Engine = 2,
}

impl Stack {
    /// Starts everything and waits until the proxy has the issuer's keys.
    ///
    /// # Errors
    /// Whatever cannot be started.
    pub async fn start(setup: Setup) -> Result<Self, Failure> {
        let issuer = DemoIssuer::start().await?;
        issuer.fail(setup.issuer_fault.clone());
        for (team, group) in [("ml", "ml-team"), ("fraud", "fraud-team"), ("engine", "flyte-engine")] {
            let claims = serde_json::json!({"sub": format!("{team}-client"), "groups": [group]});
            issuer.add_client(team, &format!("{team}-secret"), claims);
        }
        let options = Options {
            executions_keep_running: setup.executions_keep_running,
            issuer: issuer.url().to_owned(),
            token_endpoint: format!("{}/token", issuer.url()),
            jwks_uri: format!("{}/jwks", issuer.url()),
            ..Options::default()
        };
        let control_plane = ControlPlane::start(&setup.descriptors, options).await?;
        let certificates = Certificates::generate()?;
        let directory = &setup.directory;
        std::fs::create_dir_all(directory)?;
        let mut configuration = configuration(&issuer, &control_plane, &setup.configuration);
        if let Some(keys) = &setup.session_keys {
            std::fs::write(directory.join("cookie_hash_key"), keys.hash_key())?;
            std::fs::write(directory.join("cookie_block_key"), keys.block_key())?;
            configuration.push_str(SESSION);
        }
        let configuration = (setup.edit)(configuration);
        for (name, text) in [
            ("ca.pem", &certificates.authority),
            ("tls.crt", &certificates.certificate),
            ("tls.key", &certificates.key),
            ("policy.yaml", &setup.policy),
            ("config.yaml", &configuration),
        ] {
            std::fs::write(directory.join(name), text)?;
        }
        let (config, _) = Config::load(&directory.join("config.yaml")).map_err(|problems| listed(&problems))?;
        let app = App::start_resolving(config, setup.clock, setup.audit.into(), setup.resolver)
            .map_err(|problems| listed(&problems))?;
        if setup.issuer_fault == Fault::None && setup.wait {
            ready(app.admin).await?;
        }
        let tls = *app.addresses.first().ok_or("no listener")?;
        let client = Client::new(tls, Some(&certificates.authority), &setup.descriptors)?;
        let plain = *app.addresses.get(1).ok_or("no plain listener")?;
        let plain = Client::new(plain, None, &setup.descriptors)?;
        let direct = Client::new(control_plane.grpc, None, &setup.descriptors)?;
        Ok(Self {
            issuer,
            control_plane,
            app,
            client,
            plain,
            direct,
            policy: directory.join("policy.yaml"),
            authority: directory.join("ca.pem"),
            configuration: directory.join("config.yaml"),
        })
    }

    /// The address of a listener.
    ///
    /// # Errors
    /// When the configuration has fewer listeners.
    pub fn address(&self, entry: Entry) -> Result<SocketAddr, Failure> {
        Ok(*self.app.addresses.get(entry as usize).ok_or("no such listener")?)
    }

    /// A token of somebody in a group.
    #[must_use]
    pub fn token(&self, subject: &str, group: &str) -> String {
        self.issuer
            .mint(&serde_json::json!({"sub": subject, "groups": [group]}))
    }

    /// Replaces the policy file by renaming another over it, as editors do.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_policy(&self, policy: &str) -> std::io::Result<()> {
        replace(&self.policy, policy)
    }
}

/// Writes a file beside another and renames it over that.
///
/// # Errors
/// When it cannot be written.
pub fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)?;
    std::fs::rename(beside, path)
}

fn configuration(issuer: &DemoIssuer, control_plane: &ControlPlane, more: &str) -> String {
    format!(
        "version: 1
listeners:
  - name: public
    address: 127.0.0.1:0
    tls: {{ certificate: tls.crt, key: tls.key }}
    identity: tokens
  - name: plain
    address: 127.0.0.1:0
    identity: tokens
  - name: engine
    address: 127.0.0.1:0
    identity: {{ principal: {{ subject: flytepropeller, groups: [flyte-engine] }} }}
admin: {{ address: 127.0.0.1:0 }}
upstream: {{ grpc: \"http://{}\", http: \"http://{}\" }}
issuers:
  - issuer: {}
    audiences: [flyte]
    allow_http: true
policy: {{ path: policy.yaml, poll: 1s }}
{more}",
        control_plane.grpc,
        control_plane.http,
        issuer.url()
    )
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Asks the admin listener until the proxy is ready.
async fn ready(admin: SocketAddr) -> Result<(), Failure> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for _ in 0..200 {
        let mut stream = tokio::net::TcpStream::connect(admin).await?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        if answer.starts_with(b"HTTP/1.1 200") {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err("the proxy did not become ready within 10 s".into())
}
