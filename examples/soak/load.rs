//! Callers of every kind, who note what they asked, when, and what they were told.

use crate::Failure;
use crate::dice::Dice;
use crate::oracle::{Ability, CALLERS, DOMAINS, PROJECTS};
use crate::world::World;
use bytes::Bytes;
use flyte_authz_proxy::demo::client::{Client, Reply};
use flyte_authz_proxy::protocol::envelope;
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No call may take longer: what is slower is stuck.
const PATIENCE: Duration = Duration::from_secs(25);

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// `ListExecutions`.
    Executions,
    /// `ListTasks`.
    Tasks,
    /// `TerminateExecution`.
    Terminate,
    /// `ListProjects`, of which only what the caller may see is shown.
    Projects,
    /// `ListWorkflows`, whose answer takes long to begin.
    Late,
    /// `ListLaunchPlans`, whose answer comes in pieces.
    Long,
    /// `ListExecutions` with a credential that is none; this is the reason for the refusal.
    Bad(&'static str),
    /// A public page of the control plane.
    Page,
    /// A method that is not in the catalogue.
    Unknown,
}

impl Kind {
    pub(crate) fn ability(self) -> Option<Ability> {
        match self {
            Self::Executions => Some(Ability::ViewExecutions),
            Self::Tasks | Self::Late | Self::Long => Some(Ability::ViewInventory),
            Self::Terminate => Some(Ability::Terminate),
            Self::Projects | Self::Bad(_) | Self::Page | Self::Unknown => None,
        }
    }

    fn rpc(self) -> &'static str {
        match self {
            Self::Executions | Self::Bad(_) => "AdminService/ListExecutions",
            Self::Tasks => "AdminService/ListTasks",
            Self::Terminate => "AdminService/TerminateExecution",
            Self::Projects => "AdminService/ListProjects",
            Self::Late => "AdminService/ListWorkflows",
            Self::Long => "AdminService/ListLaunchPlans",
            Self::Page => "AuthMetadataService/GetPublicClientConfig",
            Self::Unknown => "AdminService/DropEverything",
        }
    }
}

/// How a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Manner {
    Grpc,
    Rest,
    /// By REST, piece by piece.
    Slowly,
    /// By gRPC; the caller leaves before the answer is complete.
    Leaving,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) manner: Manner,
    pub(crate) caller: usize,
    pub(crate) project: &'static str,
    pub(crate) domain: &'static str,
}

/// What the caller saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Saw {
    /// The proxy refused, or failed: the reason.
    Refusal { id: String, reason: String },
    /// The control plane's answer; of a list of projects, which.
    Answer {
        id: String,
        projects: Option<BTreeSet<String>>,
    },
    /// No complete answer, and why.
    Nothing(String),
}

/// A request that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) asked: Asked,
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    pub(crate) saw: Saw,
}

/// One caller after the other, by chance, until the time is over.
pub(crate) struct Load {
    world: Arc<World>,
    /// Encodes messages.
    schema: Client,
    authorities: String,
    count: AtomicU64,
}

impl Load {
    pub(crate) fn new(world: &Arc<World>) -> Result<Self, Failure> {
        let [one, other] = &world.certificates;
        Ok(Self {
            schema: Client::new(world.plain, None, &world.descriptors)?,
            authorities: format!("{}{}", one.authority, other.authority),
            count: AtomicU64::new(0),
            world: Arc::clone(world),
        })
    }

    /// Both clients anew: their connections are made with whatever certificate is there.
    fn clients(&self) -> Result<[Client; 2], Failure> {
        Ok([
            Client::new(self.world.tls, Some(&self.authorities), &[])?,
            Client::new(self.world.plain, None, &[])?,
        ])
    }

    pub(crate) async fn run(&self, mut dice: Dice, until: Instant) -> Result<Vec<Done>, Failure> {
        let mut all = Vec::new();
        let mut clients = self.clients()?;
        while Instant::now() < until {
            if dice.below(60) == 0 {
                clients = self.clients()?;
            }
            let asked = self.ask(&mut dice);
            let client = &clients[dice.below(2)];
            let start = Instant::now();
            let saw = match asked.manner {
                Manner::Slowly => timely(self.slowly(&asked, &mut dice)).await,
                Manner::Leaving => {
                    let patience = dice.between(1, 900);
                    let call = self.send(&asked, client);
                    match tokio::time::timeout(patience, call).await {
                        Ok(saw) => saw,
                        Err(_) => Saw::Nothing("left".to_owned()),
                    }
                }
                Manner::Grpc | Manner::Rest => timely(self.send(&asked, client)).await,
            };
            all.push(Done {
                asked,
                start,
                end: Instant::now(),
                saw,
            });
            tokio::time::sleep(dice.between(0, 30)).await;
        }
        Ok(all)
    }

    fn ask(&self, dice: &mut Dice) -> Asked {
        let kind = match dice.below(40) {
            0..=11 => Kind::Executions,
            12..=19 => Kind::Tasks,
            20..=23 => Kind::Terminate,
            24..=29 => Kind::Projects,
            30 => Kind::Late,
            31..=32 => Kind::Long,
            33 => Kind::Bad("credential_missing"),
            34 => Kind::Bad("token_malformed"),
            35 => Kind::Bad("token_expired"),
            36 => Kind::Bad("token_signature_invalid"),
            37..=38 => Kind::Page,
            _ => Kind::Unknown,
        };
        let manner = match dice.below(20) {
            0..=9 => Manner::Grpc,
            10..=16 => Manner::Rest,
            17 => Manner::Slowly,
            _ => Manner::Leaving,
        };
        Asked {
            number: self.count.fetch_add(1, Ordering::Relaxed),
            manner: match (kind, manner) {
                // It would be a path that is not known, which has another reason.
                (Kind::Unknown, Manner::Slowly | Manner::Rest) => Manner::Grpc,
                (Kind::Terminate, Manner::Slowly) => Manner::Rest,
                _ => manner,
            },
            caller: dice.below(CALLERS.len()),
            project: dice.one(&PROJECTS),
            domain: dice.one(&DOMAINS),
            kind,
        }
    }

    fn credential(&self, asked: &Asked) -> Option<String> {
        let token = self.world.token(asked.caller);
        let token = match asked.kind {
            Kind::Page | Kind::Bad("credential_missing") => return None,
            Kind::Bad("token_malformed") => "not.a.token".to_owned(),
            Kind::Bad("token_expired") => self.world.expired.clone(),
            // Another's signature.
            Kind::Bad(_) => {
                let other = self.world.token((asked.caller + 1) % CALLERS.len());
                let (claims, _) = token.rsplit_once('.').unwrap_or_default();
                let (_, signature) = other.rsplit_once('.').unwrap_or_default();
                format!("{claims}.{signature}")
            }
            _ => token,
        };
        Some(format!("Bearer {token}"))
    }

    async fn send(&self, asked: &Asked, client: &Client) -> Saw {
        let credential = self.credential(asked);
        let number = asked.number.to_string();
        let mut headers = vec![("x-request-id", number.as_str())];
        if asked.kind == Kind::Terminate && asked.manner == Manner::Rest {
            headers.push(("content-type", "application/json"));
        }
        headers.extend(credential.iter().map(|value| ("authorization", value.as_str())));
        let reply = if asked.manner == Manner::Rest {
            let (method, target, body) = rest(asked);
            client.rest(method, &target, &headers, body).await
        } else {
            let message = match asked.kind {
                Kind::Unknown => Ok(Vec::new()),
                _ => self.schema.encode(asked.kind.rpc(), message(asked)),
            };
            let path = format!("/flyteidl.service.{}", asked.kind.rpc());
            match message {
                Ok(message) => client.grpc(&path, &headers, envelope::frame(&message)).await,
                Err(error) => Err(error),
            }
        };
        match reply {
            Ok(reply) => saw(asked, &reply),
            Err(error) => Saw::Nothing(format!("{error:?}")),
        }
    }

    /// By HTTP/1.1 in pieces, both ways.
    async fn slowly(&self, asked: &Asked, dice: &mut Dice) -> Saw {
        let (method, target, _) = rest(asked);
        let credential = self.credential(asked);
        let credential = credential
            .map(|value| format!("authorization: {value}\r\n"))
            .unwrap_or_default();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\nx-request-id: {}\r\n{credential}connection: close\r\n\r\n",
            asked.number
        );
        let exchange = async {
            let mut stream = TcpStream::connect(self.world.plain).await?;
            for piece in request.as_bytes().chunks(request.len() / 4 + 1) {
                stream.write_all(piece).await?;
                tokio::time::sleep(dice.between(10, 200)).await;
            }
            let (mut all, mut bytes) = (Vec::new(), [0; 64]);
            loop {
                match stream.read(&mut bytes).await? {
                    0 => return Ok::<_, std::io::Error>(all),
                    count => all.extend_from_slice(&bytes[..count]),
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        match exchange.await {
            Ok(bytes) => match parse(&bytes) {
                Some(reply) => saw(asked, &reply),
                None => Saw::Nothing(format!("cut: {}", String::from_utf8_lossy(&bytes))),
            },
            Err(error) => Saw::Nothing(format!("{error:?}")),
        }
    }
}

fn saw(asked: &Asked, reply: &Reply) -> Saw {
    let id = reply.headers.get("x-request-id").and_then(|id| id.to_str().ok());
    let Some(id) = id.map(str::to_owned) else {
        return Saw::Nothing(format!("an answer without an identifier: {reply:?}"));
    };
    let message = reply.message();
    if let Some((_, told)) = message.rsplit_once('[')
        && let Some((reason, named)) = told.split_once("; request ")
    {
        // After the head of an answer the status comes in the trailers.
        if named.trim_end_matches(']') == id {
            let reason = reason.to_owned();
            return Saw::Refusal { id, reason };
        }
    }
    let projects = (asked.kind == Kind::Projects).then(|| projects(reply)).flatten();
    Saw::Answer { id, projects }
}

async fn timely(call: impl Future<Output = Saw>) -> Saw {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(saw) => saw,
        Err(_) => Saw::Nothing("stuck".to_owned()),
    }
}

fn message(asked: &Asked) -> Value {
    let id = json!({"project": asked.project, "domain": asked.domain});
    match asked.kind {
        Kind::Projects | Kind::Page | Kind::Unknown => json!({}),
        Kind::Terminate => {
            json!({"id": {"project": asked.project, "domain": asked.domain, "name": "e1"}, "cause": "soak"})
        }
        _ => json!({"id": id, "limit": 5}),
    }
}

fn rest(asked: &Asked) -> (Method, String, Bytes) {
    let place = format!("{}/{}", asked.project, asked.domain);
    let target = match asked.kind {
        Kind::Executions | Kind::Bad(_) | Kind::Unknown => format!("/api/v1/executions/{place}?limit=5"),
        Kind::Tasks => format!("/api/v1/tasks/{place}?limit=5"),
        Kind::Terminate => {
            let target = format!("/api/v1/executions/{place}/e1");
            return (Method::DELETE, target, Bytes::from_static(b"{\"cause\":\"soak\"}"));
        }
        Kind::Projects => "/api/v1/projects".to_owned(),
        Kind::Late => format!("/api/v1/workflows/{place}?limit=5"),
        Kind::Long => format!("/api/v1/launch_plans/{place}?limit=5"),
        Kind::Page => "/config/v1/flyte_client".to_owned(),
    };
    (Method::GET, target, Bytes::new())
}

/// The projects in an answer that has some; nothing if it is an error or makes no sense.
fn projects(reply: &Reply) -> Option<BTreeSet<String>> {
    if reply.grpc_status().is_some() {
        if reply.grpc_status() != Some(0) {
            return None;
        }
        // `Project` is field 1 of the list, `id` field 1 of a project.
        let message = reply.body.get(5..).filter(|_| reply.body[0] == 0)?;
        let mut all = BTreeSet::new();
        for (field, value) in fields(message)? {
            if field == 1 {
                let (_, id) = fields(value)?.into_iter().find(|(field, _)| *field == 1)?;
                all.insert(String::from_utf8(id.to_vec()).ok()?);
            }
        }
        return Some(all);
    }
    if reply.status != 200 {
        return None;
    }
    let body: Value = serde_json::from_slice(&reply.body).ok()?;
    match body.get("projects") {
        Some(Value::Array(all)) => all
            .iter()
            .map(|project| project["id"].as_str().map(str::to_owned))
            .collect(),
        _ => Some(BTreeSet::new()),
    }
}

/// The fields of a message that have a length; others are passed over.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        match key & 7 {
            0 => _ = varint(&mut bytes)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                all.push((key >> 3, value));
                bytes = rest;
            }
            _ => return None,
        }
    }
    Some(all)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        shift += 7;
        if first & 0x80 == 0 {
            return Some(value);
        }
        if shift > 63 {
            return None;
        }
    }
}

/// A whole answer of HTTP/1.1, with its length or in chunks.
fn parse(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut body = &bytes[end + 4..];
    let mut headers = http::HeaderMap::new();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        headers.append(http::HeaderName::try_from(name).ok()?, value.parse().ok()?);
    }
    let mut whole = Vec::new();
    if headers.contains_key("transfer-encoding") {
        loop {
            let end = body.windows(2).position(|two| two == b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).ok()?, 16).ok()?;
            whole.extend_from_slice(body.get(end + 2..end + 2 + size)?);
            body = body.get(end + 2 + size + 2..)?;
            if size == 0 {
                break;
            }
        }
    } else {
        let length: usize = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
        whole.extend_from_slice(body.get(..length)?);
    }
    Some(Reply {
        status: http::StatusCode::from_u16(status).ok()?,
        headers,
        body: whole.into(),
        trailers: None,
    })
}
