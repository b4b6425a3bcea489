//! `demo`: the proxy at work on this machine. Everything is real but small: TLS, gRPC, REST, an issuer, a control plane
//! that speaks Flyte's published protocol, and the policy `policies/demo.yaml`.

use super::{FAILED, OK, print};
use crate::demo::client::Failure;
use crate::demo::control_plane::{ControlPlane, Options};
use crate::demo::stack::{Entry, Setup, Stack};
use serde_json::json;
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

mod calls;

/// How to show it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The descriptors of Flyte's API; `make descriptors` makes them.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/descriptors/flyteidl-1.16.8.binpb"
    )]
    descriptors: PathBuf,
    /// Where certificates, policy and configuration are written.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/demo")]
    directory: PathBuf,
    /// Stay until standard input ends or SIGTERM comes, for trying calls by hand.
    #[arg(long)]
    stay: bool,
    /// Make no calls; print where everything is as one line of JSON.
    #[arg(long)]
    json: bool,
    /// Start nothing but the control plane, for a proxy and an issuer of your own; print where it is as one line of JSON and
    /// stay as with `--stay`. The JSON file says what it tells clients (`token_endpoint`, `client_id`, …); `{}` will do.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["directory", "stay", "json"])]
    control_plane: Option<PathBuf>,
}

/// Starts everything, makes the calls, prints what came.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let outcome = runtime.block_on(demonstrate(arguments));
    // Nothing ends a read of standard input that is under way: after a signal it is left behind.
    runtime.shutdown_background();
    match outcome {
        Ok(true) => OK,
        Ok(false) => FAILED,
        Err(error) => fail(&*error),
    }
}

fn fail(error: &dyn std::error::Error) -> u8 {
    print(&format!("error: {error}\n"));
    FAILED
}

async fn demonstrate(arguments: &Arguments) -> Result<bool, Failure> {
    let descriptors = std::fs::read(&arguments.descriptors)
        .map_err(|error| format!("{}: {error}; run `make descriptors`", arguments.descriptors.display()))?;
    if let Some(options) = &arguments.control_plane {
        return control_plane_alone(options, &descriptors).await;
    }
    let mut setup = Setup::new(arguments.directory.clone(), descriptors);
    setup.executions_keep_running = true;
    let audit = arguments.directory.join("audit.jsonl");
    std::fs::create_dir_all(&arguments.directory)?;
    setup.audit = Box::new(std::fs::File::create(&audit)?);
    let stack = Stack::start(setup).await?;
    let mut good = true;
    if arguments.json {
        print(&format!("{}\n", places(&stack)?));
    } else {
        good = calls::make_all(&stack).await?;
        print(&by_hand(&stack, &audit)?);
    }
    if arguments.stay {
        wait().await?;
    }
    tokio::task::spawn_blocking(move || stack.app.shut_down()).await?;
    Ok(good)
}

/// Serves only what stands in for FlyteAdmin, until told to stop.
async fn control_plane_alone(options: &Path, descriptors: &[u8]) -> Result<bool, Failure> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", options.display());
    let text = std::fs::read(options).map_err(|error| named(&error))?;
    let options: Options = serde_json::from_slice(&text).map_err(|error| named(&error))?;
    let control_plane = ControlPlane::start(descriptors, options).await?;
    let (grpc, http) = (control_plane.grpc, control_plane.http);
    let places = json!({
        "grpc": format!("http://{grpc}"),
        "http": format!("http://{http}"),
        "control_plane_arrivals_url": format!("http://{http}/__arrivals"),
    });
    print(&format!("{places}\n"));
    wait().await?;
    Ok(true)
}

/// Where everything is, for programs.
fn places(stack: &Stack) -> Result<serde_json::Value, Failure> {
    let tls = stack.address(Entry::Tls)?;
    let client = |name: &str, group: &str| json!({"id": name, "secret": format!("{name}-secret"), "groups": [group]});
    Ok(json!({
        "proxy_https": format!("https://localhost:{}", tls.port()),
        "grpc": format!("localhost:{}", tls.port()),
        "plain": format!("http://{}", stack.address(Entry::Plain)?),
        "engine": format!("http://{}", stack.address(Entry::Engine)?),
        "admin": format!("http://{}", stack.app.admin),
        "ca_file": std::path::absolute(&stack.authority)?,
        "policy_file": std::path::absolute(&stack.policy)?,
        "config_file": std::path::absolute(&stack.configuration)?,
        "issuer": stack.issuer.url(),
        "token_endpoint": format!("{}/token", stack.issuer.url()),
        "clients": {"ml": client("ml", "ml-team"), "fraud": client("fraud", "fraud-team")},
        "control_plane_arrivals_url": format!("http://{}/__arrivals", stack.control_plane.http),
    }))
}

/// Lines to try, while `--stay` keeps everything running.
fn by_hand(stack: &Stack, audit: &std::path::Path) -> Result<String, Failure> {
    let url = format!("https://localhost:{}", stack.address(Entry::Tls)?.port());
    let authority = stack.authority.display();
    let curl = format!("curl -s --cacert {authority}");
    let token = format!(
        "$(curl -s -u ml:ml-secret -d grant_type=client_credentials {}/token | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')",
        stack.issuer.url()
    );
    Ok(format!(
        "
To try by hand, keep it running with `make demo-stay` (ports and tokens change with every start) and in another shell:

  TOKEN={token}
  {curl} -H \"Authorization: Bearer $TOKEN\" {url}/api/v1/executions/ml/development?limit=10
  {curl} -H \"Authorization: Bearer $TOKEN\" {url}/api/v1/executions/fraud/development?limit=10
  curl -s http://{admin}/status
  curl -s http://{admin}/metrics | grep flyte_authz_refusals_total | grep -v ' 0$'
  target/debug/flyte-authz-proxy explain --config {config} --claims policies/demo.claims.json --rpc CreateExecution --project ml --domain production
  $EDITOR {policy}     # takes effect when saved
  tail -f {audit}

",
        admin = stack.app.admin,
        config = stack.configuration.display(),
        policy = stack.policy.display(),
        audit = audit.display(),
    ))
}

/// Returns when standard input ends or the process is to stop.
async fn wait() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut nothing = Vec::new();
    let mut input = tokio::io::stdin();
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        read = input.read_to_end(&mut nothing) => {
            read?;
        }
    }
    Ok(())
}
