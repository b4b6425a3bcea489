//! Asking about opaque tokens: what is asked, how often, and what is made of the answer.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::clock::ManualClock;
use crate::demo::introspection::{DemoIntrospection, Fault};
use crate::issuer::{Issuers, KeySource};
use crate::named_secret::{NamedSecret, SecretSource};
use serde_json::{Value, json};
use std::time::Instant as StdInstant;
use tempfile::TempDir;
use tokio::task::JoinSet;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://idp.example.com";
const ID: &str = "flyte proxy";
const SECRET: &str = "p+s/%&=: ü";

struct World {
    idp: DemoIntrospection,
    issuers: Arc<Issuers>,
    clock: ManualClock,
    folder: TempDir,
}

fn good() -> Value {
    json!({"active": true, "sub": "alice", "aud": ["flyte"], "exp": NOW + 1000, "token_type": "Bearer"})
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut IntrospectionSettings)) -> Self {
        let idp = DemoIntrospection::start(ID, SECRET).await.unwrap();
        idp.say("good", &good());
        let folder = tempfile::tempdir().unwrap();
        let named = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            NamedSecret {
                source: SecretSource::File(path),
                file: "config.yaml".into(),
                place: (1, 2),
            }
        };
        let mut settings = IntrospectionSettings {
            url: idp.url().to_owned(),
            client_id: named("id", &format!("{ID}\n")),
            client_secret: named("secret", &format!("{SECRET}\r\n")),
            cache: Duration::from_mins(1),
            timeout: Duration::from_secs(1),
        };
        change(&mut settings);
        let settings = IssuerSettings {
            keys: KeySource::Introspection(settings),
            allow_http: true,
            ..IssuerSettings::new(IssuerRules::new(ISSUER, vec!["flyte".to_owned()]))
        };
        let clock = ManualClock::at(NOW);
        let shown = Arc::new(clock.clone());
        let issuers = Issuers::new(vec![settings], TokenLimits::default(), shown, Arc::new(())).unwrap();
        Self {
            idp,
            issuers: Arc::new(issuers),
            clock,
            folder,
        }
    }

    async fn reason(&self, token: &str) -> Option<Reason> {
        let verified = self.issuers.verify(Scheme::Bearer, token).await;
        verified.err().map(|denial| denial.reason)
    }

    fn asked(&self) -> usize {
        self.idp.questions().len()
    }

    fn last_error(&self) -> String {
        self.issuers.status().remove(0).last_error.unwrap_or_default()
    }
}

#[tokio::test]
async fn the_question_is_a_form_with_the_token_and_the_client_proves_who_it_is() {
    let world = World::new().await;
    let token = "a+b/c~d==";
    world.idp.say(token, &good());
    let verified = world.issuers.verify(Scheme::Bearer, token).await.unwrap();
    assert_eq!(
        (&*verified.principal.issuer, &*verified.principal.subject),
        (ISSUER, "alice")
    );
    let question = world.idp.questions().remove(0);
    assert_eq!(question.token, token);
    assert_eq!(question.form["token_type_hint"], "access_token");
    assert_eq!(question.client, Some((ID.to_owned(), SECRET.to_owned())));
    let status = world.issuers.status().remove(0);
    assert_eq!(
        (status.kind, status.last_success, status.last_error),
        ("introspection", Some(NOW), None)
    );
    assert!(world.issuers.ready());
}

#[tokio::test]
async fn an_active_token_is_remembered_for_a_while_and_never_beyond_its_end() {
    let world = World::new().await;
    for _ in 0..50 {
        assert_eq!(world.reason("good").await, None);
    }
    assert_eq!(world.asked(), 1);
    world.clock.set(NOW + 59);
    assert_eq!((world.reason("good").await, world.asked()), (None, 1));
    world.clock.set(NOW + 60);
    assert_eq!((world.reason("good").await, world.asked()), (None, 2));
    // It is withdrawn, and that is seen when the answer is too old.
    world.idp.say("good", &json!({"active": false}));
    world.clock.set(NOW + 120);
    assert_eq!(world.reason("good").await, Some(Reason::TokenInactive));
    let mut ending = good();
    ending["exp"] = (NOW + 125).into();
    world.idp.say("ending", &ending);
    assert_eq!(world.reason("ending").await, None);
    world.clock.set(NOW + 125 + 59);
    assert_eq!(world.reason("ending").await, None);
    world.clock.set(NOW + 125 + 60);
    assert_eq!(world.reason("ending").await, Some(Reason::TokenExpired));
}

#[tokio::test]
async fn without_a_cache_every_request_asks() {
    let world = World::with(|settings| settings.cache = Duration::ZERO).await;
    for count in 1..=3 {
        assert_eq!((world.reason("good").await, world.asked()), (None, count));
    }
}

#[tokio::test]
async fn a_refused_token_is_not_asked_about_again_for_a_while() {
    let world = World::new().await;
    let mut other = good();
    other["aud"] = "other".into();
    world.idp.say("other", &other);
    for _ in 0..20 {
        assert_eq!(world.reason("dead").await, Some(Reason::TokenInactive));
        assert_eq!(world.reason("other").await, Some(Reason::AudienceMismatch));
    }
    assert_eq!(world.asked(), 2);
    world.idp.say("dead", &good());
    tokio::time::pause();
    tokio::time::advance(REFUSED_FOR).await;
    tokio::time::resume();
    assert_eq!(world.reason("dead").await, None);
}

#[tokio::test]
async fn requests_with_one_token_share_one_question_even_when_the_first_goes_away() {
    let world = World::with(|settings| settings.timeout = Duration::from_secs(20)).await;
    world.idp.fail(Fault::Slow(Duration::from_millis(200)));
    let first = {
        let issuers = Arc::clone(&world.issuers);
        tokio::spawn(async move { issuers.verify(Scheme::Bearer, "good").await.is_ok() })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    first.abort();
    let mut requests = JoinSet::new();
    for _ in 0..100 {
        let issuers = Arc::clone(&world.issuers);
        requests.spawn(async move { issuers.verify(Scheme::Bearer, "good").await.is_ok() });
    }
    assert!(requests.join_all().await.into_iter().all(|good| good));
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn a_storm_of_tokens_asks_only_so_much_at_one_time() {
    let world = World::with(|settings| settings.timeout = Duration::from_secs(20)).await;
    world.idp.fail(Fault::Slow(Duration::from_millis(50)));
    let mut requests = JoinSet::new();
    for number in 0..300 {
        let issuers = Arc::clone(&world.issuers);
        requests.spawn(async move {
            // Of two clients, since one alone has half of the room.
            let client = std::net::IpAddr::from([192, 0, 2, u8::from(number % 2 == 0)]);
            let token = format!("made-up-{number}");
            let verified = issuers.verify_from(client, Scheme::Bearer, &token).await;
            verified.err().map(|denial| denial.reason)
        });
    }
    let reasons = requests.join_all().await;
    assert!(
        reasons.iter().all(|reason| *reason == Some(Reason::TokenInactive)),
        "{reasons:?}"
    );
    assert_eq!(world.asked(), 300);
    let most = world.idp.most_at_one_time();
    assert!((2..=AT_ONE_TIME).contains(&most), "{most} at one time");
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_left_alone_for_a_while() {
    for (fault, told) in [
        (Fault::Status(503), "answered 503"),
        (Fault::Status(429), "answered 429"),
        (Fault::Status(401), "does not accept `client_id` and `client_secret`"),
        (Fault::Slow(Duration::from_secs(10)), "no complete answer within 300 ms"),
    ] {
        let world = World::with(|settings| settings.timeout = Duration::from_millis(300)).await;
        assert_eq!(world.reason("good").await, None);
        world.idp.fail(fault);
        for number in 0..20 {
            let reason = world.reason(&format!("token-{number}")).await;
            assert_eq!(reason, Some(Reason::IntrospectionUnavailable));
        }
        assert_eq!(world.asked(), 2, "{told}");
        assert!(world.last_error().contains(told), "{}", world.last_error());
        // What is known is known.
        assert_eq!(world.reason("good").await, None);
        world.idp.fail(Fault::None);
        let begun = StdInstant::now();
        while world.reason("new").await == Some(Reason::IntrospectionUnavailable) {
            assert!(begun.elapsed() < Duration::from_secs(10), "it is not asked again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!((world.last_error(), world.asked()), (String::new(), 3));
    }
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_is_unavailable() {
    let world = World::with(|settings| settings.url = "http://127.0.0.1:1/introspect".to_owned()).await;
    assert_eq!(world.reason("good").await, Some(Reason::IntrospectionUnavailable));
    assert!(
        world.last_error().contains("127.0.0.1:1/introspect"),
        "{}",
        world.last_error()
    );
    // Not asking it must not be what keeps the proxy from being asked.
    assert!(world.issuers.ready());
}

#[tokio::test]
async fn nobody_can_make_others_wait_by_a_token_that_the_issuer_stumbles_over() {
    let world = World::new().await;
    let padded = format!("{}{}", " ".repeat(65 << 10), good());
    let mut twice = good().to_string();
    twice.insert_str(1, "\"sub\":\"bob\",");
    for (token, text) in [
        ("big", padded.as_str()),
        ("twice", &twice),
        ("html", "<html>"),
        ("list", "[]"),
    ] {
        world.idp.say_text(token, text);
        assert_eq!(
            world.reason(token).await,
            Some(Reason::IntrospectionUnavailable),
            "{token}"
        );
        assert_eq!(
            world.reason(token).await,
            Some(Reason::IntrospectionUnavailable),
            "{token}"
        );
    }
    assert_eq!(world.asked(), 4);
    for (number, fault) in [
        Fault::Status(500),
        Fault::Status(400),
        Fault::Status(403),
        Fault::Redirect("/elsewhere".to_owned()),
        Fault::ContentType("text/html"),
        Fault::ContentType("application/token-introspection+jwt"),
    ]
    .into_iter()
    .enumerate()
    {
        let (bad, fine) = (format!("bad-{number}"), format!("fine-{number}"));
        world.idp.fail(fault.clone());
        world.idp.say(&bad, &good());
        world.idp.say(&fine, &good());
        assert_eq!(
            world.reason(&bad).await,
            Some(Reason::IntrospectionUnavailable),
            "{fault:?}"
        );
        let asked = world.asked();
        assert_eq!(
            world.reason(&bad).await,
            Some(Reason::IntrospectionUnavailable),
            "{fault:?}"
        );
        assert_eq!(world.asked(), asked, "{fault:?}: asked again at once");
        world.idp.fail(Fault::None);
        assert_eq!(world.reason(&fine).await, None, "{fault:?}");
    }
}

#[tokio::test]
async fn the_secret_is_read_anew_and_what_is_kept_does_not_print_it() {
    let world = World::new().await;
    world.idp.replace_secret("another-secret");
    assert_eq!(world.reason("good").await, Some(Reason::IntrospectionUnavailable));
    std::fs::write(world.folder.path().join("secret"), "another-secret\n").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(world.reason("good").await, None);
    std::fs::remove_file(world.folder.path().join("secret")).unwrap();
    assert_eq!(
        world.reason("opaque-credential").await,
        Some(Reason::IntrospectionUnavailable)
    );
    let told = world.last_error();
    assert!(
        told.starts_with("`client_secret`: config.yaml:1:2: error: the file that is named here cannot be read"),
        "{told}"
    );
    let shown = format!("{:?} {:?}", world.issuers, world.issuers.status());
    for secret in ["another-secret", "opaque-credential", "good"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn secrets_that_cannot_be_used_are_told_at_the_start() {
    let named = |name: &str| NamedSecret {
        source: SecretSource::File(name.into()),
        file: "config.yaml".into(),
        place: (3, 4),
    };
    let settings = IssuerSettings {
        keys: KeySource::Introspection(IntrospectionSettings {
            url: "https://idp.example.com/introspect".to_owned(),
            client_id: named("/absent/id"),
            client_secret: named("/dev/null"),
            cache: Duration::ZERO,
            timeout: Duration::from_secs(1),
        }),
        ca_file: Some("/absent/ca.pem".into()),
        ..IssuerSettings::new(IssuerRules::new(ISSUER, vec!["flyte".to_owned()]))
    };
    let clock = Arc::new(ManualClock::at(NOW));
    let start = |settings| Issuers::new(settings, TokenLimits::default(), clock.clone(), Arc::new(())).unwrap_err();
    let told: Vec<String> = start(vec![settings.clone()]).iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(
        told[0].contains("CA file")
            && told[1].starts_with("config.yaml:3:4: ")
            && told[2].starts_with("config.yaml:3:4: "),
        "{told:#?}"
    );
    let mut other = settings.clone();
    other.rules.issuer = Arc::from("other");
    let told = start(vec![settings, other]);
    assert!(
        told.iter().any(|problem| problem.message.contains("only one issuer")),
        "{told:#?}"
    );
}

#[tokio::test]
async fn only_opaque_bearer_tokens_are_shown_to_the_issuer() {
    let world = World::new().await;
    let too_long = "x".repeat(TokenLimits::default().max_bytes + 1);
    for (scheme, token, expected) in [
        (Scheme::IdToken, "good", Reason::TokenMalformed),
        (Scheme::Bearer, "e30.e30.x", Reason::TokenMalformed),
        (Scheme::Bearer, &too_long, Reason::TokenMalformed),
    ] {
        let denial = world.issuers.verify(scheme, token).await.unwrap_err();
        assert_eq!(denial.reason, expected);
    }
    let key = crate::demo::signing::SigningKey::generate("key", crate::credential::key_set::Algorithm::EdDsa).unwrap();
    let mut claims = good();
    claims["iss"] = ISSUER.into();
    let jwt = key.token(&claims, &Value::Null);
    let denial = world.issuers.verify(Scheme::Bearer, &jwt).await.unwrap_err();
    assert_eq!(denial.reason, Reason::IssuerUnknown);
    assert!(denial.message.contains("opaque tokens only"), "{}", denial.message);
    assert_eq!(world.asked(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_time_made_up_tokens_of_one_client_do_not_hold_up_the_tokens_of_others() {
    let world = World::with(|settings| settings.timeout = Duration::from_secs(2)).await;
    world.idp.fail(Fault::Slow(Duration::from_millis(300)));
    let from = |last: u8| std::net::IpAddr::from([192, 0, 2, last]);
    let mut storm = JoinSet::new();
    for number in 0..1000 {
        let issuers = Arc::clone(&world.issuers);
        storm.spawn(async move {
            let token = format!("made-up-{number}");
            let verified = issuers.verify_from(from(66), Scheme::Bearer, &token).await;
            assert!(verified.is_err());
        });
    }
    while world.asked() < 16 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for number in 0..3 {
        let token = format!("another-{number}");
        world.idp.say(&token, &good());
        let begun = StdInstant::now();
        world
            .issuers
            .verify_from(from(7), Scheme::Bearer, &token)
            .await
            .unwrap();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    assert!(
        world.idp.most_at_one_time() <= AT_ONE_TIME / 2 + 1,
        "half of the room is left to others"
    );
    while let Some(ended) = storm.join_next().await {
        ended.unwrap();
    }
}
