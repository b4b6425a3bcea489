//! The calls of the demonstration, what each should come to, and the table that shows what it came to.

use crate::cli::print;
use crate::demo::client::{Failure, Reply};
use crate::demo::stack::{POLICY, Stack};
use http::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What a call should come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Allowed,
    /// With this reason.
    Refused(&'static str),
}

/// Prints calls as they are made and remembers whether all came out as expected.
#[derive(Debug)]
pub(super) struct Table {
    good: bool,
    rows: usize,
    forwarded: usize,
    ml: String,
    fraud: String,
}

impl Table {
    pub(super) fn begin(stack: &Stack) -> Self {
        print("\nThe ml team has project ml and may refer to shared-lib; the fraud team has project fraud.\n\n");
        print(&format!("{:>2}  {:<5} {:<5} {:<62} {}\n", "", "who", "by", "call", "answer"));
        Self {
            good: true,
            rows: 0,
            forwarded: stack.control_plane.count(),
            ml: stack.token("alice", "ml-team"),
            fraud: stack.token("bob", "fraud-team"),
        }
    }

    pub(super) fn finish(&self) -> bool {
        let verdict = if self.good { "Every call came out as it should." } else { "SOME CALLS DID NOT COME OUT AS THEY SHOULD." };
        print(&format!("\n{verdict} {} calls reached the control plane.\n", self.forwarded));
        self.good
    }

    fn row(&mut self, stack: &Stack, who: &str, by: &str, call: &str, reply: &Reply, expected: Expected) {
        let message = reply.message();
        let arrived = stack.control_plane.count() - self.forwarded;
        self.forwarded += arrived;
        let (right, answer) = match expected {
            Expected::Allowed => (arrived == 1 && message.is_empty(), format!("allowed ({})", status(reply))),
            Expected::Refused(reason) => {
                (arrived == 0 && message.contains(&format!("[{reason};")), format!("refused ({}): {message}", status(reply)))
            }
        };
        self.rows += 1;
        self.good &= right;
        let mark = if right { "" } else { "  <-- NOT AS EXPECTED" };
        let answer = if right || !message.is_empty() { answer } else { format!("{answer}, {arrived} arrived") };
        print(&format!("{:>2}  {who:<5} {by:<5} {call:<62} {answer}{mark}\n", self.rows));
    }
}

fn status(reply: &Reply) -> String {
    reply.grpc_status().map_or_else(|| format!("HTTP {}", reply.status.as_u16()), |status| format!("gRPC {status}"))
}

fn identifier(kind: &str, project: &str, domain: &str, name: &str) -> Value {
    json!({"resource_type": kind, "project": project, "domain": domain, "name": name, "version": "v1"})
}

fn execution(project: &str, domain: &str, launch_plan: Value) -> Value {
    json!({"project": project, "domain": domain, "spec": {"launch_plan": launch_plan, "metadata": {}}})
}

/// Makes every call.
pub(super) async fn make_all(table: &mut Table, stack: &Stack) -> Result<(), Failure> {
    by_grpc(table, stack).await?;
    by_rest(table, stack).await?;
    references(table, stack).await?;
    credentials(table, stack).await?;
    reload(table, stack).await
}

async fn by_grpc(table: &mut Table, stack: &Stack) -> Result<(), Failure> {
    let (ml, fraud) = (table.ml.clone(), table.fraud.clone());
    let list = |project: &str| json!({"id": {"project": project, "domain": "development"}, "limit": 10});
    let reply = stack.client.call(Some(&ml), "AdminService/ListExecutions", list("ml")).await?;
    table.row(stack, "ml", "gRPC", "ListExecutions ml/development", &reply, Expected::Allowed);
    let reply = stack.client.call(Some(&ml), "AdminService/ListExecutions", list("fraud")).await?;
    table.row(stack, "ml", "gRPC", "ListExecutions fraud/development", &reply, Expected::Refused("no_matching_rule"));
    let reply = stack.client.call(Some(&fraud), "AdminService/ListExecutions", list("fraud")).await?;
    table.row(stack, "fraud", "gRPC", "ListExecutions fraud/development", &reply, Expected::Allowed);
    let own = execution("ml", "development", identifier("LAUNCH_PLAN", "ml", "development", "train"));
    let reply = stack.client.call(Some(&ml), "AdminService/CreateExecution", own).await?;
    table.row(stack, "ml", "gRPC", "CreateExecution ml/development", &reply, Expected::Allowed);
    let production = execution("ml", "production", identifier("LAUNCH_PLAN", "ml", "production", "train"));
    let reply = stack.client.call(Some(&ml), "AdminService/CreateExecution", production).await?;
    table.row(stack, "ml", "gRPC", "CreateExecution ml/production", &reply, Expected::Refused("no_matching_rule"));
    let empty = json!({"id": {"project": "", "domain": "", "name": "", "version": ""}});
    let reply = stack.client.call(Some(&ml), "AdminService/GetTask", empty).await?;
    table.row(stack, "ml", "gRPC", "GetTask with empty names (a wildcard to the database)", &reply, Expected::Refused("scope_missing"));
    Ok(())
}

async fn by_rest(table: &mut Table, stack: &Stack) -> Result<(), Failure> {
    let (ml, fraud) = (table.ml.clone(), table.fraud.clone());
    let own = "/api/v1/executions/ml/development?limit=10";
    let reply = stack.client.get(Some(&ml), own).await?;
    table.row(stack, "ml", "REST", &format!("GET {own}"), &reply, Expected::Allowed);
    let reply = stack.client.get(Some(&fraud), own).await?;
    table.row(stack, "fraud", "REST", &format!("GET {own}"), &reply, Expected::Refused("no_matching_rule"));
    for (target, reason) in [
        ("/api/v1/tasks/ml/development/t/v1?id.project=fraud", "query_refused"),
        ("/api/v1/tasks/ml%2Fdevelopment/t/v1", "path_not_canonical"),
    ] {
        let reply = stack.client.get(Some(&ml), target).await?;
        table.row(stack, "ml", "REST", &format!("GET {target}"), &reply, Expected::Refused(reason));
    }
    let twice = r#"{"project":"ml","project":"fraud","domain":"development"}"#;
    let bearer = format!("Bearer {ml}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let reply = stack.client.rest(Method::POST, "/api/v1/executions", &headers, twice).await?;
    table.row(stack, "ml", "REST", "POST /api/v1/executions with the project twice", &reply, Expected::Refused("scope_ambiguous"));
    let body = execution("ml", "staging", identifier("LAUNCH_PLAN", "ml", "staging", "train")).to_string();
    let reply = stack.client.rest(Method::POST, "/api/v1/executions", &headers, body).await?;
    table.row(stack, "ml", "REST", "POST /api/v1/executions for ml/staging", &reply, Expected::Allowed);
    Ok(())
}

async fn references(table: &mut Table, stack: &Stack) -> Result<(), Failure> {
    let ml = table.ml.clone();
    let shared = execution("ml", "development", identifier("LAUNCH_PLAN", "shared-lib", "production", "clean"));
    let reply = stack.client.call(Some(&ml), "AdminService/CreateExecution", shared).await?;
    table.row(stack, "ml", "gRPC", "CreateExecution in ml of shared-lib's launch plan", &reply, Expected::Allowed);
    let foreign = execution("ml", "development", identifier("LAUNCH_PLAN", "fraud", "development", "score"));
    let reply = stack.client.call(Some(&ml), "AdminService/CreateExecution", foreign).await?;
    table.row(stack, "ml", "gRPC", "CreateExecution in ml of fraud's launch plan", &reply, Expected::Refused("reference_refused"));
    Ok(())
}

async fn credentials(table: &mut Table, stack: &Stack) -> Result<(), Failure> {
    let domains = "/api/v1/domains";
    let reply = stack.client.get(None, domains).await?;
    table.row(stack, "-", "REST", &format!("GET {domains} without a token"), &reply, Expected::Refused("credential_missing"));
    let stale = stack.issuer.mint(&json!({"sub": "alice", "groups": ["ml-team"], "iat": 1000, "exp": 2000}));
    let reply = stack.client.call(Some(&stale), "AdminService/GetDomains", json!({})).await?;
    table.row(stack, "ml", "gRPC", "GetDomains with an expired token", &reply, Expected::Refused("token_expired"));
    let reply = stack.client.get(None, "/config/v1/flyte_client").await?;
    table.row(stack, "-", "REST", "GET /config/v1/flyte_client (public: clients read it first)", &reply, Expected::Allowed);
    Ok(())
}

/// A refusal becomes a permission while the proxy runs and requests go on.
async fn reload(table: &mut Table, stack: &Stack) -> Result<(), Failure> {
    let ml = table.ml.clone();
    let production = || execution("ml", "production", identifier("LAUNCH_PLAN", "ml", "production", "train"));
    let wider = POLICY.replacen("[development, staging]", "[development, staging, production]", 1);
    stack.write_policy(&wider)?;
    let began = Instant::now();
    let mut background = 0;
    let last = loop {
        let reply = stack.client.call(Some(&ml), "AdminService/CreateExecution", production()).await?;
        // Requests of others go on meanwhile, and none of them may fail.
        let other = stack.plain.get(Some(&ml), "/api/v1/domains").await?;
        background += 1;
        if other.status != 200 {
            return Err(format!("a request failed during the reload: {}", other.message()).into());
        }
        if reply.grpc_status() == Some(0) || began.elapsed() > Duration::from_secs(10) {
            break reply;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    print(&format!("    policy changed: ml may now run in production; in force after {} ms, {background} other requests went on\n", began.elapsed().as_millis()));
    table.forwarded = stack.control_plane.count() - usize::from(last.message().is_empty());
    table.row(stack, "ml", "gRPC", "CreateExecution ml/production", &last, Expected::Allowed);
    Ok(())
}
