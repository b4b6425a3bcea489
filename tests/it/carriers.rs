//! Everything that can carry an identity, in every combination: the header `authorization`, the session, the header
//! `flyte-authorization`, a load balancer's header, the certificate of the connection, and the principal of the listener.
//! Each time: who was judged, which credential went upstream, and that they are the same.

use crate::descriptors;
use crate::load_balancer::{arrived, trusting_its_issuer};
use crate::mesh::{LIST, PROPELLER, list, with_uris};
use crate::proxy::Proxy;
use flyte_authz_proxy::clock::{Clock, SystemClock};
use flyte_authz_proxy::demo::certificates::Authority;
use flyte_authz_proxy::demo::client::{Client, Reply};
use flyte_authz_proxy::demo::load_balancer::DemoLoadBalancer;
use flyte_authz_proxy::demo::session::SessionKeys;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const OWN: &str = "/api/v1/executions/ml/development?limit=1";
const FOREIGN: &str = "/api/v1/executions/fraud/development?limit=1";

/// More listeners than the demonstration has. All their callers are named alike, and like one who has tokens.
const LISTENERS: &str = r#"
  - name: certified
    address: 127.0.0.1:0
    tls: { certificate: tls.crt, key: tls.key, client_certificates: { ca: clients.pem, required: false } }
    identity: { client_certificate: { groups: [ml-team] } }
  - name: certified-passing
    address: 127.0.0.1:0
    tls: { certificate: tls.crt, key: tls.key, client_certificates: { ca: clients.pem, required: false } }
    identity: { client_certificate: { groups: [ml-team], pass_credential: true } }
  - name: fixed
    address: 127.0.0.1:0
    identity: { principal: { subject: "spiffe://cluster.local/ns/flyte/sa/flytepropeller", groups: [ml-team] } }
  - name: fixed-passing
    address: 127.0.0.1:0
    identity: { principal: { subject: "spiffe://cluster.local/ns/flyte/sa/flytepropeller", groups: [ml-team], pass_credential: true } }
admin:"#;

/// Where a credential is sent, in the order in which they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Authorization,
    Session,
    FlyteAuthorization,
    LoadBalancer,
}

use Place::{Authorization, FlyteAuthorization, LoadBalancer, Session};

const PLACES: [Place; 4] = [Authorization, Session, FlyteAuthorization, LoadBalancer];

impl Place {
    fn header(self) -> &'static str {
        match self {
            Authorization => "authorization",
            Session => "cookie",
            FlyteAuthorization => "flyte-authorization",
            LoadBalancer => "x-amzn-oidc-data",
        }
    }

    /// The audit record's word for it.
    fn word(self) -> &'static str {
        match self {
            Authorization => "authorization",
            Session => "session",
            FlyteAuthorization => "flyte_authorization",
            LoadBalancer => "load_balancer",
        }
    }

    /// The mail address in the token there, which tells whose claims were judged.
    fn email(self) -> String {
        format!("{}@example.com", self.word())
    }
}

/// Whose credential it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    /// Of a person with the same name as the certificate.
    Namesake,
    /// Alice's.
    Alice,
    /// It says that it is alice's, but the signature is not good.
    Forger,
}

use Whose::{Alice, Forger, Namesake};

impl Whose {
    fn subject(self) -> &'static str {
        match self {
            Namesake => PROPELLER,
            Alice | Forger => "alice",
        }
    }
}

/// What a request carries: in the order of places; one of them twice means a header that comes twice.
type Sent = Vec<(Place, Whose)>;

/// By which listener a request comes, and whether with a certificate.
#[derive(Clone, Copy, Debug)]
struct Door {
    listener: &'static str,
    /// Its place among the addresses.
    index: usize,
    encrypted: bool,
    /// What the audit record calls a caller who is known without a token; `None` where only tokens count.
    known_as: Option<&'static str>,
    /// Whether a token beside that is somebody else's.
    exclusive: bool,
    /// Whether `authorization` is passed on unverified.
    passes: bool,
}

const TOKENS: Door = Door {
    listener: "public",
    index: 0,
    encrypted: true,
    known_as: None,
    exclusive: false,
    passes: false,
};

const WITHOUT_CERTIFICATE: [Door; 2] = [
    Door {
        listener: "certified",
        index: 3,
        ..TOKENS
    },
    Door {
        listener: "certified-passing",
        index: 4,
        ..TOKENS
    },
];

const WITH_CERTIFICATE: [Door; 2] = [
    Door {
        known_as: Some("certificate"),
        exclusive: true,
        ..WITHOUT_CERTIFICATE[0]
    },
    Door {
        known_as: Some("certificate"),
        passes: true,
        ..WITHOUT_CERTIFICATE[1]
    },
];

const FIXED: [Door; 2] = [
    Door {
        listener: "fixed",
        index: 5,
        encrypted: false,
        known_as: Some("listener"),
        ..TOKENS
    },
    Door {
        listener: "fixed-passing",
        index: 6,
        encrypted: false,
        known_as: Some("listener"),
        passes: true,
        ..TOKENS
    },
];

/// What must become of a request.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Refused(Reason),
    /// Judged by this token, and it alone goes upstream.
    ByToken(Place, Whose),
    /// Judged by what is known without, and these go upstream.
    Without(Sent),
}

/// What docs/identity.md says.
fn fate(door: Door, grpc: bool, sent: &[(Place, Whose)]) -> Fate {
    // FlyteAdmin reads no cookies by gRPC, and load balancers log nobody in there.
    let looked_at = |(place, _): &(Place, Whose)| !grpc || [Authorization, FlyteAuthorization].contains(place);
    let read: Sent = sent.iter().copied().filter(looked_at).collect();
    let twice = |read: &[(Place, Whose)]| read.windows(2).any(|two| two[0].0 == two[1].0);
    if door.known_as.is_none() {
        let Some(first) = read.first() else {
            return Fate::Refused(Reason::CredentialMissing);
        };
        if twice(&read) {
            return Fate::Refused(Reason::CredentialConflict);
        }
        let bad = read.iter().find(|(_, whose)| *whose == Forger || *whose != first.1);
        return match bad {
            Some((_, Forger)) => Fate::Refused(Reason::TokenSignatureInvalid),
            Some(_) => Fate::Refused(Reason::CredentialConflict),
            None => Fate::ByToken(first.0, first.1),
        };
    }
    if door.exclusive && !read.is_empty() {
        return Fate::Refused(Reason::CredentialConflict);
    }
    let passed = read
        .into_iter()
        .filter(|(place, _)| door.passes && *place == Authorization);
    let passed: Sent = passed.collect();
    if twice(&passed) {
        return Fate::Refused(Reason::CredentialConflict);
    }
    Fate::Without(passed)
}

/// Nothing or somebody's credential in each place, in every combination.
fn combinations(people: &[Whose]) -> Vec<Sent> {
    let mut all = vec![Sent::new()];
    for place in PLACES {
        let longer = |sent: &Sent| {
            let one_more = |whose: &Whose| [&sent[..], &[(place, *whose)]].concat();
            people.iter().map(one_more).collect::<Vec<_>>()
        };
        let more: Vec<Sent> = all.iter().flat_map(longer).collect();
        all.extend(more);
    }
    all
}

/// The same for gRPC, where two of the places do not count: they are empty, or both are alice's.
fn grpc_combinations(people: &[Whose]) -> Vec<Sent> {
    let ignored = |sent: &Sent, whose| sent.contains(&(Session, whose)) && sent.contains(&(LoadBalancer, whose));
    let without = |sent: &Sent| {
        sent.iter()
            .all(|(place, _)| [Authorization, FlyteAuthorization].contains(place))
    };
    let all = combinations(people).into_iter();
    all.filter(|sent| without(sent) || ignored(sent, people[1])).collect()
}

/// Each place with two values, alone and beside one credential in another place.
fn twice() -> Vec<Sent> {
    let mut all = Vec::new();
    for place in PLACES {
        for (one, other) in [(Namesake, Namesake), (Namesake, Alice), (Alice, Namesake)] {
            let both = [(place, one), (place, other)];
            let beside = if place == Authorization {
                FlyteAuthorization
            } else {
                Authorization
            };
            let mut three = [&both[..], &[(beside, Namesake)]].concat();
            three.sort_by_key(|(place, _)| *place);
            all.extend([both.to_vec(), three]);
        }
    }
    all
}

/// How many of the requests, by REST and by gRPC, carry credentials of one person only, of two persons: some in the four
/// places; some in two places without and with what does not count, and that twice beside `authorization`.
const ONE_PERSON: (usize, usize) = (2 * 15, 2 * 3 * 2 + 6);

/// How many requests there are for two people, the ones with a header twice included.
const ALL: (usize, usize) = (81 + 24, 18 + 24);

/// How many of them have `authorization` twice.
const TWO_AUTHORIZATIONS: usize = 6;

/// A proxy with all these listeners that accepts sessions and trusts a load balancer.
struct World {
    proxy: Proxy,
    authority: Authority,
    values: BTreeMap<(Place, Whose), String>,
    _balancer: DemoLoadBalancer,
}

impl World {
    async fn start() -> Self {
        let balancer = DemoLoadBalancer::start().await.unwrap();
        let keys_url = balancer.url().to_owned();
        let authority = Authority::generate("the clients' authority").unwrap();
        let keys = SessionKeys::generate().unwrap();
        let proxy = Proxy::start_with(|setup| {
            std::fs::write(setup.directory.join("clients.pem"), &authority.certificate).unwrap();
            setup.session_keys = Some(keys.clone());
            setup.edit = Box::new(move |text| trusting_its_issuer(&text, &keys_url).replace("\nadmin:", LISTENERS));
        })
        .await;
        let mut values = BTreeMap::new();
        for place in PLACES {
            for whose in [Namesake, Alice, Forger] {
                values.insert((place, whose), value(&proxy, &balancer, &keys, place, whose));
            }
        }
        Self {
            proxy,
            authority,
            values,
            _balancer: balancer,
        }
    }

    fn client(&self, door: Door) -> Client {
        let trusted = door
            .encrypted
            .then(|| std::fs::read_to_string(&self.proxy.authority).unwrap());
        let certificate = (door.known_as == Some("certificate")).then(|| {
            let named = self
                .authority
                .client(|certificate| with_uris(certificate, &[PROPELLER]));
            named.unwrap()
        });
        let address = self.proxy.app.addresses[door.index];
        Client::with_identity(address, trusted.as_deref(), certificate.as_ref(), &descriptors::bytes()).unwrap()
    }

    fn headers(&self, sent: &[(Place, Whose)]) -> Vec<(&'static str, String)> {
        let header = |one: &(Place, Whose)| (one.0.header(), self.values[one].clone());
        sent.iter().map(header).collect()
    }

    async fn send(&self, client: &Client, grpc: bool, target: &str, sent: &[(Place, Whose)]) -> Reply {
        let headers = self.headers(sent);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if !grpc {
            return client.rest(Method::GET, target, &headers, "").await.unwrap();
        }
        let message = envelope::frame(&client.encode(LIST, list("ml")).unwrap());
        let path = format!("/flyteidl.service.{LIST}");
        client.grpc(&path, &headers, message).await.unwrap()
    }

    /// Sends each and checks its fate. Returns how many were let through.
    async fn check(&self, door: Door, grpc: bool, requests: Vec<Sent>) -> usize {
        let client = self.client(door);
        let mut through = 0;
        for sent in requests {
            self.proxy.control_plane.clear();
            let what = format!("{} {:?} grpc={grpc} {sent:?}", door.listener, door.known_as);
            let before = self.proxy.before();
            let reply = self.send(&client, grpc, OWN, &sent).await;
            let (principal, credential, forwarded) = match fate(door, grpc, &sent) {
                Fate::Refused(reason) => {
                    assert!(reply.message().contains(reason.label()), "{what}: {}", reply.message());
                    let record = self.proxy.refused(&before, &reply, reason).await;
                    assert!(
                        record["principal"].is_null() && record["credential"].is_null(),
                        "{what}: {record:#}"
                    );
                    continue;
                }
                Fate::ByToken(place, whose) => {
                    let (issuer, subject) = (self.proxy.issuer.url(), whose.subject());
                    let principal =
                        json!({"kind": "token", "issuer": issuer, "subject": subject, "email": place.email()});
                    (principal, json!(place.word()), vec![(place, whose)])
                }
                Fate::Without(passed) => {
                    let issuer = format!("listener:{}", door.listener);
                    let principal = json!({"kind": door.known_as, "issuer": issuer, "subject": PROPELLER});
                    (principal, Value::Null, passed)
                }
            };
            assert!(!reply.message().contains("; request "), "{what}: {}", reply.message());
            let record = self.proxy.forwarded(&before, &reply).await;
            assert_eq!(record["listener"], door.listener, "{what}");
            assert_eq!(record["principal"], principal, "{what}");
            assert_eq!(record["credential"], credential, "{what}");
            let arrival = self.proxy.control_plane.arrivals().pop().unwrap();
            assert_eq!(arrived(&arrival), self.headers(&forwarded), "{what}");
            through += 1;
        }
        through
    }

    /// Every combination of these people's credentials, and every header twice. Returns how many requests were let through by
    /// REST and by gRPC.
    async fn check_all(&self, door: Door, people: &[Whose]) -> (usize, usize) {
        let rest = [combinations(people), twice()].concat();
        let grpc = [grpc_combinations(people), twice()].concat();
        (self.check(door, false, rest).await, self.check(door, true, grpc).await)
    }
}

/// Somebody's credential as it is sent in a place.
fn value(proxy: &Proxy, balancer: &DemoLoadBalancer, keys: &SessionKeys, place: Place, whose: Whose) -> String {
    let issuer = proxy.issuer.url();
    let claims = json!({"iss": issuer, "sub": whose.subject(), "groups": ["ml-team"], "email": place.email()});
    let now = SystemClock.unix_seconds();
    let genuine = match place {
        LoadBalancer => balancer.header(&claims, &json!({ "iss": issuer }), now),
        _ => proxy.issuer.mint(&claims),
    };
    let token = match whose {
        Forger => forged(&genuine),
        Namesake | Alice => genuine,
    };
    match place {
        Authorization | FlyteAuthorization => format!("Bearer {token}"),
        Session => keys.cookies(&token, "access", now).unwrap(),
        LoadBalancer => token,
    }
}

/// The same token with another signature.
fn forged(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (first, rest) = signature.split_at(1);
    let other = if first == "A" { "B" } else { "A" };
    format!("{message}.{other}{rest}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_token_is_judged_and_alone_forwarded_and_all_must_name_one_person() {
    let world = World::start().await;
    let through = world.check_all(TOKENS, &[Namesake, Alice, Forger]).await;
    assert_eq!(through, ONE_PERSON);
    // A token of one who is then refused is told, too.
    let client = world.client(TOKENS);
    for place in PLACES {
        let before = world.proxy.before();
        let reply = world.send(&client, false, FOREIGN, &[(place, Alice)]).await;
        let record = world.proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
        assert_eq!(record["principal"]["email"], place.email());
        assert_eq!(record["credential"], place.word());
    }
    let before = world.proxy.before();
    let reply = world
        .send(&client, false, "/healthcheck", &[(Authorization, Alice)])
        .await;
    let record = world.proxy.forwarded(&before, &reply).await;
    assert!(record["credential"].is_null(), "{record:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_certificate_a_token_of_its_namesake_too_is_somebody_elses_unless_passed_on() {
    let world = World::start().await;
    for door in WITHOUT_CERTIFICATE {
        assert_eq!(world.check_all(door, &[Namesake, Alice]).await, ONE_PERSON, "{door:?}");
    }
    let [exclusive, passing] = WITH_CERTIFICATE;
    let through = world.check_all(exclusive, &[Namesake, Forger]).await;
    assert_eq!(
        through,
        (1, 2 + 6),
        "nothing, and by gRPC also what does not count there"
    );
    let (rest, grpc) = world.check_all(passing, &[Namesake, Forger]).await;
    assert_eq!((rest + TWO_AUTHORIZATIONS, grpc + TWO_AUTHORIZATIONS), ALL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_listener_with_a_principal_of_its_own_no_token_is_looked_at_or_forwarded_unless_passed_on() {
    let world = World::start().await;
    let [fixed, passing] = FIXED;
    assert_eq!(world.check_all(fixed, &[Namesake, Forger]).await, ALL);
    let (rest, grpc) = world.check_all(passing, &[Namesake, Forger]).await;
    assert_eq!((rest + TWO_AUTHORIZATIONS, grpc + TWO_AUTHORIZATIONS), ALL);
}
