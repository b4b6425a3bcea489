//! The calls of the demonstration, what each should come to, and the table that shows what it came to.

use crate::cli::print;
use crate::demo::client::{Failure, Reply};
use crate::demo::stack::{POLICY, Stack};
use http::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// One call.
struct Call {
    who: Who,
    title: &'static str,
    by: By,
    /// The reason of the refusal; none when it should be allowed.
    refused: Option<&'static str>,
}

/// Who makes a call.
#[derive(Clone, Copy)]
enum Who {
    Ml,
    Fraud,
    Nobody,
    /// The ml team with a token of long ago.
    Expired,
}

/// How a call is made.
enum By {
    Grpc(&'static str, Value),
    Get(&'static str),
    Post(&'static str, String),
}

const SCENES: fn() -> Vec<Call> = || {
    let grpc = |who, title, rpc, message, refused| Call {
        who,
        title,
        by: By::Grpc(rpc, message),
        refused,
    };
    let get = |who, target, refused| Call {
        who,
        title: target,
        by: By::Get(target),
        refused,
    };
    let post = |who, title, body, refused| Call {
        who,
        title,
        by: By::Post("/api/v1/executions", body),
        refused,
    };
    let (list, create) = ("AdminService/ListExecutions", "AdminService/CreateExecution");
    let own = "/api/v1/executions/ml/development?limit=10";
    vec![
        grpc(Who::Ml, "ListExecutions ml/development", list, listing("ml"), None),
        grpc(
            Who::Ml,
            "ListExecutions fraud/development",
            list,
            listing("fraud"),
            Some("no_matching_rule"),
        ),
        grpc(
            Who::Fraud,
            "ListExecutions fraud/development",
            list,
            listing("fraud"),
            None,
        ),
        grpc(
            Who::Ml,
            "CreateExecution ml/development",
            create,
            run("ml", "development", "ml", "development"),
            None,
        ),
        grpc(
            Who::Ml,
            "CreateExecution ml/production",
            create,
            run("ml", "production", "ml", "production"),
            Some("no_matching_rule"),
        ),
        grpc(
            Who::Ml,
            "GetTask, every name empty: any task, to the database",
            "AdminService/GetTask",
            json!({"id": {}}),
            Some("scope_missing"),
        ),
        get(Who::Ml, own, None),
        get(Who::Fraud, own, Some("no_matching_rule")),
        get(
            Who::Ml,
            "/api/v1/tasks/ml/development/t/v1?id.project=fraud",
            Some("query_refused"),
        ),
        get(
            Who::Ml,
            "/api/v1/tasks/ml%2Fdevelopment/t/v1",
            Some("path_not_canonical"),
        ),
        post(
            Who::Ml,
            "POST executions, the project twice",
            r#"{"project":"ml","project":"fraud","domain":"development"}"#.into(),
            Some("scope_ambiguous"),
        ),
        post(
            Who::Ml,
            "POST executions for ml/staging",
            run("ml", "staging", "ml", "staging").to_string(),
            None,
        ),
        grpc(
            Who::Ml,
            "CreateExecution in ml, launch plan of shared-lib",
            create,
            run("ml", "development", "shared-lib", "production"),
            None,
        ),
        grpc(
            Who::Ml,
            "CreateExecution in ml, launch plan of fraud",
            create,
            run("ml", "development", "fraud", "development"),
            Some("reference_refused"),
        ),
        get(Who::Nobody, "/api/v1/domains", Some("credential_missing")),
        grpc(
            Who::Expired,
            "GetDomains with an old token",
            "AdminService/GetDomains",
            json!({}),
            Some("token_expired"),
        ),
        get(Who::Nobody, "/config/v1/flyte_client", None),
    ]
};

fn listing(project: &str) -> Value {
    json!({"id": {"project": project, "domain": "development"}, "limit": 10})
}

/// Runs the launch plan `train` of one project and domain in another.
fn run(project: &str, domain: &str, plan_project: &str, plan_domain: &str) -> Value {
    let plan = identifier("LAUNCH_PLAN", plan_project, plan_domain);
    json!({"project": project, "domain": domain, "spec": {"launch_plan": plan, "metadata": {}}})
}

fn identifier(kind: &str, project: &str, domain: &str) -> Value {
    json!({"resource_type": kind, "project": project, "domain": domain, "name": "train", "version": "v1"})
}

/// Registers the workflow and launch plan `train` wherever the calls need them, past the proxy.
async fn register(stack: &Stack) -> Result<(), Failure> {
    let places = [
        ("ml", "development"),
        ("ml", "staging"),
        ("ml", "production"),
        ("shared-lib", "production"),
        ("fraud", "development"),
    ];
    for (project, domain) in places {
        let workflow = identifier("WORKFLOW", project, domain);
        let plan = identifier("LAUNCH_PLAN", project, domain);
        let template = json!({"id": workflow, "interface": {}, "nodes": []});
        for (rpc, message) in [
            (
                "AdminService/CreateWorkflow",
                json!({"id": workflow, "spec": {"template": template}}),
            ),
            (
                "AdminService/CreateLaunchPlan",
                json!({"id": plan, "spec": {"workflow_id": workflow}}),
            ),
        ] {
            let reply = stack.direct.call(None, rpc, message).await?;
            if reply.grpc_status() != Some(0) {
                return Err(format!("{rpc} in {project}/{domain}: {}", reply.message()).into());
            }
        }
    }
    Ok(())
}

/// Prints calls as they are made and remembers whether all came out as they should.
struct Table<'s> {
    stack: &'s Stack,
    good: bool,
    rows: usize,
}

/// Makes every call; whether all came out as they should.
pub(super) async fn make_all(stack: &Stack) -> Result<bool, Failure> {
    register(stack).await?;
    print("\nThe ml team has project ml and may use shared-lib; the fraud team has project fraud.\n\n");
    print(&format!("{:>2}  {:<6}{:<6}{:<54}answer\n", "", "who", "by", "call"));
    let mut table = Table {
        stack,
        good: true,
        rows: 0,
    };
    for call in SCENES() {
        table.make(&call).await?;
    }
    table.reload().await?;
    let verdict = if table.good {
        "Every call came out as it should."
    } else {
        "NOT EVERY CALL CAME OUT AS IT SHOULD."
    };
    print(&format!("\n{verdict}\n"));
    Ok(table.good)
}

impl Table<'_> {
    async fn make(&mut self, call: &Call) -> Result<(), Failure> {
        let before = self.stack.control_plane.count();
        let reply = self.send(call).await?;
        let arrived = self.stack.control_plane.count() - before;
        self.row(call, &reply, arrived);
        Ok(())
    }

    async fn send(&self, call: &Call) -> Result<Reply, Failure> {
        let token = self.token(call.who);
        let token = token.as_deref();
        match &call.by {
            By::Grpc(rpc, message) => self.stack.client.call(token, rpc, message.clone()).await,
            By::Get(target) => self.stack.client.get(token, target).await,
            By::Post(target, body) => {
                let bearer = format!("Bearer {}", token.unwrap_or_default());
                let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
                self.stack
                    .client
                    .rest(Method::POST, target, &headers, body.clone())
                    .await
            }
        }
    }

    fn token(&self, who: Who) -> Option<String> {
        match who {
            Who::Ml => Some(self.stack.token("alice", "ml-team")),
            Who::Fraud => Some(self.stack.token("bob", "fraud-team")),
            Who::Expired => Some(
                self.stack
                    .issuer
                    .mint(&json!({"sub": "alice", "iat": 1000, "exp": 2000})),
            ),
            Who::Nobody => None,
        }
    }

    fn row(&mut self, call: &Call, reply: &Reply, arrived: usize) {
        let message = reply.message();
        let status = reply.grpc_status().map_or_else(
            || format!("HTTP {}", reply.status.as_u16()),
            |status| format!("gRPC {status}"),
        );
        let (right, answer) = match call.refused {
            None => (
                arrived == 1 && message.is_empty(),
                format!("allowed ({status}) {message}"),
            ),
            Some(reason) => (
                arrived == 0 && message.contains(&format!("[{reason};")),
                format!("refused ({status}) {message}"),
            ),
        };
        self.rows += 1;
        self.good &= right;
        let who = match call.who {
            Who::Ml | Who::Expired => "ml",
            Who::Fraud => "fraud",
            Who::Nobody => "-",
        };
        let by = if matches!(call.by, By::Grpc(..)) {
            "gRPC"
        } else {
            "REST"
        };
        let mark = if right {
            String::new()
        } else {
            format!("  <-- NOT AS IT SHOULD BE, {arrived} arrived")
        };
        print(&format!(
            "{:>2}  {who:<6}{by:<6}{:<54}{answer}{mark}\n",
            self.rows, call.title
        ));
    }

    /// A refusal becomes a permission while the proxy runs and other requests go on.
    async fn reload(&mut self) -> Result<(), Failure> {
        let message = run("ml", "production", "ml", "production");
        let by = By::Grpc("AdminService/CreateExecution", message);
        let call = Call {
            who: Who::Ml,
            title: "CreateExecution ml/production, as before",
            by,
            refused: None,
        };
        let wider = POLICY.replacen("[development, staging]", "[development, staging, production]", 1);
        self.stack.write_policy(&wider)?;
        let (began, mut others, token) = (Instant::now(), 0, self.token(Who::Ml));
        while self.send(&call).await?.grpc_status() != Some(0) && began.elapsed() < Duration::from_secs(10) {
            let other = self.stack.plain.get(token.as_deref(), "/api/v1/domains").await?;
            if other.status != 200 {
                return Err(format!("a request failed during the reload: {}", other.message()).into());
            }
            others += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let waited = began.elapsed().as_millis();
        print(&format!(
            "    -- policy file changed: ml may run in production; in force after {waited} ms, without a restart; \
             {others} other requests went on meanwhile, none failed\n"
        ));
        self.make(&call).await
    }
}
