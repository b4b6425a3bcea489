//! The proxy as a process, with everything around it.

use crate::Failure;
use crate::oracle::{CALLERS, VERSIONS};
use crate::relay::{Relay, Way};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flyte_authz_proxy::clock::{Clock, SystemClock};
use flyte_authz_proxy::demo::certificates::Certificates;
use flyte_authz_proxy::demo::control_plane::{Arrival, ControlPlane, Fault, Options, Script};
use flyte_authz_proxy::demo::issuer::DemoIssuer;
use flyte_authz_proxy::demo::stack::replace;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What somebody is doing to the proxy's surroundings, which explains what callers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Upstream,
    Issuer,
}

/// What has happened around the proxy, and when.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Which version of the policy may have been in force from when until when; the last has no end.
    policies: Vec<(usize, Instant, Option<Instant>)>,
    troubles: Vec<(Trouble, Instant, Option<Instant>)>,
}

impl History {
    /// The versions that may have been in force at some time between two.
    pub(crate) fn versions(&self, start: Instant, end: Instant) -> Vec<usize> {
        let overlaps = |(_, from, until): &&(usize, Instant, Option<Instant>)| {
            *from <= end && until.is_none_or(|until| until >= start)
        };
        let found = self.policies.iter().filter(overlaps);
        found.map(|(version, ..)| *version).collect()
    }

    /// Whether there was such trouble at some time between two, or a moment before.
    pub(crate) fn trouble(&self, what: Trouble, start: Instant, end: Instant) -> bool {
        self.troubles.iter().any(|(trouble, from, until)| {
            let after = match what {
                Trouble::Upstream => Duration::from_secs(5),
                // A key that a fetch has not brought is not asked for again for a while.
                Trouble::Issuer => Duration::from_secs(15),
            };
            *trouble == what && *from <= end && until.is_none_or(|until| until + after >= start)
        })
    }
}

/// Everything that runs.
pub(crate) struct World {
    pub(crate) directory: PathBuf,
    pub(crate) issuer: DemoIssuer,
    pub(crate) control_plane: ControlPlane,
    pub(crate) relays: [Relay; 2],
    pub(crate) certificates: [Certificates; 2],
    pub(crate) tls: SocketAddr,
    pub(crate) plain: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) descriptors: Vec<u8>,
    /// What the proxy calls each version of the policy.
    pub(crate) labels: Mutex<Vec<(String, usize)>>,
    history: Mutex<History>,
    tokens: Mutex<Vec<String>>,
    /// One that had expired before the start.
    pub(crate) expired: String,
    arrivals: Mutex<Vec<Arrived>>,
    child: Mutex<Child>,
    rotations: Mutex<usize>,
}

/// What counts of a request that arrived at the control plane.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) target: String,
    /// Its identifiers; there should be one.
    pub(crate) ids: Vec<String>,
    /// Whose tokens it carried.
    pub(crate) subjects: Vec<Option<String>>,
    /// The project and domain of its message, once that had come.
    pub(crate) place: Option<[Option<String>; 2]>,
}

impl Arrived {
    fn of(arrival: &Arrival) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let place = |request: &Value| ["project", "domain"].map(|part| text(&request["id"][part]));
        Self {
            target: arrival.target.clone(),
            ids: arrival.header("x-request-id").into_iter().map(str::to_owned).collect(),
            subjects: arrival.header("authorization").into_iter().map(subject).collect(),
            place: arrival.request.as_ref().map(place),
        }
    }
}

/// Whose token it is.
fn subject(authorization: &str) -> Option<String> {
    let claims = authorization.strip_prefix("Bearer ")?.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    claims["sub"].as_str().map(str::to_owned)
}

/// How many keys the issuer makes at a time, one of each kind, and how many it publishes besides its first ones.
const NEW_KEYS: usize = 3;
const MOST_KEYS: usize = 10 * NEW_KEYS;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn configuration(issuer: &DemoIssuer, relays: &[Relay; 2]) -> String {
    format!(
        "version: 1
listeners:
  - {{name: public, address: \"127.0.0.1:0\", tls: {{certificate: tls.crt, key: tls.key}}}}
  - {{name: plain, address: \"127.0.0.1:0\"}}
admin: {{address: \"127.0.0.1:0\"}}
upstream:
  grpc: \"http://127.0.0.1:{}\"
  http: \"http://127.0.0.1:{}\"
  connect_timeout: 1s
  response_timeout: 3s
  idle_timeout: 3s
issuers: [{{issuer: \"{}\", audiences: [flyte], allow_http: true, refresh: 10s}}]
policy: {{path: policy.yaml, poll: 1s}}
workers: 2
shutdown: {{delay: 200ms, drain: 10s}}
audit: {{output: audit.jsonl}}
",
        relays[0].port,
        relays[1].port,
        issuer.url()
    )
}

impl World {
    /// Starts everything, and waits until the proxy is ready.
    pub(crate) async fn start(program: &Path, directory: &Path, descriptors: Vec<u8>) -> Result<Self, Failure> {
        let issuer = DemoIssuer::start().await?;
        let control_plane = ControlPlane::start(&descriptors, Options::default()).await?;
        let relays = [
            Relay::start(control_plane.grpc).await?,
            Relay::start(control_plane.http).await?,
        ];
        let certificates = [Certificates::generate()?, Certificates::generate()?];
        for (name, text) in [
            ("config.yaml", configuration(&issuer, &relays)),
            ("policy.yaml", VERSIONS[0].yaml()),
            ("tls.crt", certificates[0].certificate.clone()),
            ("tls.key", certificates[0].key.clone()),
        ] {
            fs::write(directory.join(name), text)?;
        }
        let child = Command::new(program)
            .args(["serve", "--config"])
            .arg(directory.join("config.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.join("stderr"))?)
            .spawn()?;
        let [tls, plain, admin] = addresses(directory).await?;
        let expired = SystemClock.unix_seconds() - 7200;
        let world = Self {
            expired: issuer
                .mint(&json!({"sub": "alice", "groups": ["ml-team"], "iat": expired, "exp": expired + 3600})),
            directory: directory.to_owned(),
            issuer,
            control_plane,
            relays,
            certificates,
            tls,
            plain,
            admin,
            descriptors,
            labels: Mutex::default(),
            history: Mutex::default(),
            tokens: Mutex::default(),
            arrivals: Mutex::default(),
            child: Mutex::new(child),
            rotations: Mutex::default(),
        };
        world.mint();
        world.usual_faults();
        world
            .wait(|status| status.contains("\"ready\":true"), "/readyz")
            .await?;
        Ok(world)
    }

    /// The issuer signs with new keys from now on, and gives all callers new tokens. As with a real one, old keys go, long
    /// after the last token that was signed with them; but for the first ones, with one of which the expired token is.
    pub(crate) fn rotate_keys(&self) -> Result<(), Failure> {
        self.issuer.rotate()?;
        let published = self.issuer.key_ids();
        let first = published.len().saturating_sub(NEW_KEYS);
        for old in published.iter().take(first).skip(MOST_KEYS) {
            self.issuer.remove_key(old);
        }
        self.mint();
        Ok(())
    }

    /// New tokens for all callers, with the key that the issuer signs with now.
    fn mint(&self) {
        let mint = |(name, group): &(&str, &str)| self.issuer.mint(&json!({"sub": name, "groups": [group]}));
        *locked(&self.tokens) = CALLERS.iter().map(mint).collect();
    }

    pub(crate) fn token(&self, caller: usize) -> String {
        locked(&self.tokens)[caller].clone()
    }

    /// Two RPCs are always slow: one before its answer, one within.
    pub(crate) fn usual_faults(&self) {
        self.control_plane.clear_scripts();
        for (rpc, fault) in [
            ("ListWorkflows", Fault::Delay { milliseconds: 1200 }),
            (
                "ListLaunchPlans",
                Fault::Slow {
                    piece: 1,
                    milliseconds: 250,
                },
            ),
        ] {
            self.control_plane.script(Script::on(rpc, fault));
        }
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        locked(&self.history)
    }

    /// Notes that a trouble begins; what is returned notes its end.
    pub(crate) fn trouble(&self, what: Trouble) -> impl FnOnce() + '_ {
        let mut history = self.history();
        let number = history.troubles.len();
        history.troubles.push((what, Instant::now(), None));
        move || self.history().troubles[number].2 = Some(Instant::now())
    }

    /// Puts a version of the policy into force and learns its label.
    pub(crate) async fn enact(&self, version: usize, hang_up: bool) -> Result<(), Failure> {
        let earlier = {
            let mut history = self.history();
            let earlier = history.policies.len();
            history.policies.push((version, Instant::now(), None));
            earlier
        };
        let known = locked(&self.labels)
            .iter()
            .find(|(_, known)| *known == version)
            .cloned();
        let before = self.policy_label().await?;
        replace(&self.directory.join("policy.yaml"), &VERSIONS[version].yaml())?;
        if hang_up {
            self.hang_up()?;
        }
        let start = Instant::now();
        loop {
            let label = self.policy_label().await?;
            let there = match &known {
                Some((known, _)) => label == *known,
                None => label != before || earlier == 0,
            };
            if there {
                if known.is_none() {
                    locked(&self.labels).push((label, version));
                }
                break;
            }
            if start.elapsed() > Duration::from_secs(20) {
                return Err(format!("version {version} of the policy is not in force after 20 s").into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for (_, _, until) in &mut self.history().policies[..earlier] {
            until.get_or_insert(Instant::now());
        }
        Ok(())
    }

    pub(crate) async fn policy_label(&self) -> Result<String, Failure> {
        let status: Value = serde_json::from_str(&self.ask("/status").await?)?;
        Ok(status["policy"]["version"].as_str().unwrap_or_default().to_owned())
    }

    /// What the admin listener says.
    pub(crate) async fn ask(&self, path: &str) -> Result<String, Failure> {
        let mut stream = TcpStream::connect(self.admin).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("no answer of the admin listener")?;
        Ok(body.to_owned())
    }

    pub(crate) async fn wait(&self, condition: impl Fn(&str) -> bool, path: &str) -> Result<(), Failure> {
        let start = Instant::now();
        loop {
            let text = self.ask(path).await?;
            let compact: String = text.chars().filter(|character| !character.is_whitespace()).collect();
            if condition(&compact) {
                return Ok(());
            }
            if start.elapsed() > Duration::from_secs(30) {
                return Err(format!("{path} is still\n{text}").into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The sum of a metric's series that have this label, if one is given.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> Result<usize, Failure> {
        let text = self.ask("/metrics").await?;
        let series = text.lines().filter(|line| {
            line.split(['{', ' ']).next() == Some(&format!("flyte_authz_{name}")) && line.contains(label)
        });
        let values = series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
        Ok(values.sum::<f64>() as usize)
    }

    pub(crate) fn id(&self) -> u32 {
        locked(&self.child).id()
    }

    pub(crate) fn signal(&self, name: &str) -> Result<(), Failure> {
        let status = Command::new("kill")
            .args(["-s", name, &self.id().to_string()])
            .status()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("kill -s {name} failed").into())
        }
    }

    /// Renames the audit file, as rotation does, and sends SIGHUP.
    pub(crate) fn hang_up(&self) -> Result<(), Failure> {
        let mut rotations = locked(&self.rotations);
        let current = self.directory.join("audit.jsonl");
        // Until the program has opened it again there is nothing to rename.
        if current.exists() {
            fs::rename(&current, self.directory.join(format!("audit.{}.jsonl", *rotations)))?;
            *rotations += 1;
        }
        self.signal("HUP")
    }

    /// How the process has ended, if it has.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        locked(&self.child).try_wait().ok().flatten()
    }

    /// All files of the audit log.
    pub(crate) fn audit(&self) -> Result<Vec<PathBuf>, Failure> {
        let entries = fs::read_dir(&self.directory)?.collect::<Result<Vec<_>, _>>()?;
        let paths = entries.into_iter().map(|entry| entry.path());
        Ok(paths
            .filter(|path| path.extension().is_some_and(|name| name == "jsonl"))
            .collect())
    }

    /// Takes what has arrived at the control plane since the last time.
    pub(crate) fn gather_arrivals(&self) {
        let ended = self.control_plane.take_ended();
        locked(&self.arrivals).extend(ended.iter().map(Arrived::of));
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrived> {
        self.gather_arrivals();
        std::mem::take(&mut locked(&self.arrivals))
    }

    /// Ends every connection between proxy and control plane.
    pub(crate) fn cut(&self, number: u32) {
        for relay in &self.relays {
            relay.set(Way::Open(number));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let mut child = locked(&self.child);
        _ = (child.kill(), child.wait());
    }
}

/// The addresses of both listeners and the admin listener, from the log.
async fn addresses(directory: &Path) -> Result<[SocketAddr; 3], Failure> {
    let start = Instant::now();
    loop {
        let log = fs::read_to_string(directory.join("stderr"))?;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let found: Vec<SocketAddr> = lines
            .filter_map(|line| line["address"].as_str()?.parse().ok())
            .collect();
        if let Ok(all) = <[SocketAddr; 3]>::try_from(found) {
            return Ok(all);
        }
        if start.elapsed() > Duration::from_secs(30) {
            return Err(format!("the proxy does not listen:\n{log}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
