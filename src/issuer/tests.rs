//! Issuers against a local one that rotates, fails and lies.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::clock::ManualClock;
use crate::credential::key_set::Algorithm;
use crate::credential::rules::IssuerRules;
use crate::demo::issuer::{DemoIssuer, Fault};
use crate::demo::signing::{SigningKey, jwks};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const NOW: u64 = 1_800_000_000;

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicUsize,
    misses: AtomicUsize,
    changed: AtomicUsize,
    unchanged: AtomicUsize,
    failed: AtomicUsize,
}

impl IssuerObserver for Counts {
    fn refreshed(&self, _issuer: &str, outcome: RefreshOutcome) {
        let counter = match outcome {
            RefreshOutcome::Changed => &self.changed,
            RefreshOutcome::Unchanged => &self.unchanged,
            RefreshOutcome::Failed => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn cache(&self, hit: bool) {
        let counter = if hit { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn count(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}

/// A local issuer, the proxy's view of it, and the time both go by.
struct World {
    idp: DemoIssuer,
    issuers: Arc<Issuers>,
    clock: ManualClock,
    counts: Arc<Counts>,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut IssuerSettings)) -> Self {
        let clock = ManualClock::at(NOW);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let idp = DemoIssuer::start_with(address, Arc::new(clock.clone())).await.unwrap();
        let counts = Arc::new(Counts::default());
        let mut settings = settings(idp.url());
        change(&mut settings);
        let observer: Arc<dyn IssuerObserver> = Arc::<Counts>::clone(&counts);
        let issuers = Issuers::new(
            vec![settings],
            TokenLimits::default(),
            Arc::new(clock.clone()),
            observer,
        )
        .unwrap();
        Self {
            idp,
            issuers: Arc::new(issuers),
            clock,
            counts,
        }
    }

    /// Lets unknown keys bring about fetches at shorter intervals.
    fn hasten(&mut self, pause: Duration) {
        let issuers = Arc::get_mut(&mut self.issuers).unwrap();
        for issuer in &mut issuers.configured {
            Arc::get_mut(issuer).unwrap().set_between_wanted(pause);
        }
    }

    /// Runs the fetching task until dropped, and waits for its first fetch.
    async fn run(&self) -> watch::Sender<bool> {
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(Arc::clone(&self.issuers).run(stopped));
        wait_until(|| self.idp.fetches().key_set > 0 && self.issuers.ready()).await;
        stop
    }

    async fn verify(&self, token: &str) -> Result<Arc<VerifiedToken>, Reason> {
        self.issuers
            .verify(Scheme::Bearer, token)
            .await
            .map_err(|denial| denial.reason)
    }

    async fn subject(&self, token: &str) -> Result<String, Reason> {
        self.verify(token)
            .await
            .map(|verified| verified.principal.subject.to_string())
    }

    fn last_error(&self) -> String {
        self.issuers.status().remove(0).last_error.unwrap_or_default()
    }
}

fn settings(issuer: &str) -> IssuerSettings {
    let rules = IssuerRules::new(issuer, vec!["flyte".to_owned()]);
    IssuerSettings {
        allow_http: true,
        ..IssuerSettings::new(rules)
    }
}

fn alice() -> Value {
    json!({"sub": "alice"})
}

async fn wait_until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(10), "waited in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn keys_are_discovered_and_tokens_verified_then_remembered() {
    let world = World::new().await;
    assert_eq!(
        world.subject(&world.idp.mint(&alice())).await,
        Err(Reason::KeysUnavailable)
    );
    assert!(!world.issuers.ready());
    world.issuers.refresh_all().await;
    assert!(world.issuers.ready());
    for algorithm in Algorithm::DEFAULT {
        let token = world.idp.mint_with(&alice(), algorithm, &Value::Null);
        assert_eq!(world.subject(&token).await.as_deref(), Ok("alice"));
    }
    let token = world.idp.mint(&json!({"sub": "bob"}));
    let first = world.verify(&token).await.unwrap();
    let second = world.verify(&token).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!((count(&world.counts.hits), count(&world.counts.misses)), (1, 5));
    let status = world.issuers.status().remove(0);
    assert_eq!((status.keys, status.generation, status.last_success), (3, 1, Some(NOW)));
    assert_eq!((status.last_error, status.stale), (None, false));
}

#[tokio::test]
async fn a_remembered_token_expires_like_any_other() {
    let world = World::new().await;
    world.issuers.refresh_all().await;
    let token = world.idp.mint(&json!({"sub": "alice", "exp": NOW + 100}));
    assert!(world.verify(&token).await.is_ok());
    world.clock.set(NOW + 159);
    assert!(world.verify(&token).await.is_ok());
    assert_eq!(count(&world.counts.hits), 1);
    world.clock.set(NOW + 160);
    assert_eq!(world.subject(&token).await, Err(Reason::TokenExpired));
}

#[tokio::test]
async fn a_remembered_token_is_not_accepted_by_another_scheme() {
    let world =
        World::with(|settings| settings.rules.token_types = vec![crate::credential::rules::TokenType::AccessToken])
            .await;
    world.issuers.refresh_all().await;
    let token = world.idp.mint(&alice());
    assert!(world.verify(&token).await.is_ok());
    let denial = world.issuers.verify(Scheme::IdToken, &token).await.unwrap_err();
    assert_eq!(denial.reason, Reason::TokenTypeRefused);
}

#[tokio::test]
async fn a_withdrawn_key_ends_remembered_tokens_at_the_next_refresh() {
    let world = World::new().await;
    world.issuers.refresh_all().await;
    let token = world.idp.mint(&alice());
    assert!(world.verify(&token).await.is_ok());
    world.idp.remove_key("rsa-1");
    world.issuers.refresh_all().await;
    assert_eq!(world.subject(&token).await, Err(Reason::KeyUnknown));
    assert_eq!(count(&world.counts.hits), 0);
}

#[tokio::test]
async fn t_jwt_02_a_storm_of_unknown_keys_makes_one_fetch() {
    let mut world = World::new().await;
    world.hasten(Duration::from_millis(300));
    let _running = world.run().await;
    tokio::time::sleep(Duration::from_millis(350)).await;
    let before = world.idp.fetches().key_set;
    let begun = Instant::now();
    let requests: Vec<_> = (0..1000)
        .map(|number| {
            let token = world
                .idp
                .mint_with(&alice(), Algorithm::EdDsa, &json!({"kid": format!("junk-{number}")}));
            let issuers = Arc::clone(&world.issuers);
            tokio::spawn(async move { issuers.verify(Scheme::Bearer, &token).await.map(drop) })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap_err().reason, Reason::KeyUnknown);
    }
    let intervals = 1 + begun.elapsed().as_millis() / 300;
    let fetched = world.idp.fetches().key_set - before;
    assert!(
        fetched >= 1 && fetched as u128 <= intervals,
        "{fetched} fetches in {intervals} intervals"
    );
}

#[tokio::test]
async fn within_the_interval_unknown_keys_are_refused_at_once_without_another_fetch() {
    let world = World::new().await;
    let _running = world.run().await;
    let before = world.idp.fetches();
    let begun = Instant::now();
    for number in 0..20 {
        let token = world
            .idp
            .mint_with(&alice(), Algorithm::EdDsa, &json!({"kid": format!("junk-{number}")}));
        assert_eq!(world.subject(&token).await, Err(Reason::KeyUnknown));
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(world.idp.fetches().key_set, before.key_set + 1);
}

#[tokio::test]
async fn a_key_that_is_new_right_after_a_fetch_by_the_timer_is_fetched_for_its_first_token() {
    let world = World::new().await;
    let _running = world.run().await;
    world.idp.rotate().unwrap();
    assert_eq!(world.subject(&world.idp.mint(&alice())).await.as_deref(), Ok("alice"));
}

#[tokio::test]
async fn a_key_that_a_fetch_has_not_brought_is_not_asked_for_again_until_the_keys_change() {
    let mut world = World::new().await;
    world.hasten(Duration::from_millis(20));
    let _running = world.run().await;
    let outdated = |key: &str| world.idp.mint_with(&alice(), Algorithm::EdDsa, &json!({"kid": key}));
    let fetched = || world.idp.fetches().key_set;
    tokio::time::sleep(Duration::from_millis(40)).await;
    let first = fetched();
    assert_eq!(world.subject(&outdated("junk")).await, Err(Reason::KeyUnknown));
    assert_eq!(fetched(), first + 1);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(40)).await;
        assert_eq!(world.subject(&outdated("junk")).await, Err(Reason::KeyUnknown));
    }
    assert_eq!(fetched(), first + 1, "the key was asked for again");
    world.idp.rotate().unwrap();
    let rotated = world.idp.mint(&alice());
    assert_eq!(
        world.subject(&rotated).await,
        Ok("alice".to_owned()),
        "another key was not asked for"
    );
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert_eq!(world.subject(&outdated("junk")).await, Err(Reason::KeyUnknown));
    assert_eq!(
        fetched(),
        first + 3,
        "the keys have changed, so that it may be there now"
    );
}

#[tokio::test]
async fn a_key_that_is_new_while_a_fetch_is_under_way_is_asked_for_after_it() {
    let mut world = World::new().await;
    world.hasten(Duration::from_millis(20));
    let _running = world.run().await;
    tokio::time::sleep(Duration::from_millis(40)).await;
    let first = world.idp.fetches().key_set;
    let junk = world.idp.mint_with(&alice(), Algorithm::EdDsa, &json!({"kid": "junk"}));
    world.idp.fail(Fault::Slow(Duration::from_millis(300)));
    let (refused, early) = tokio::join!(world.subject(&junk), async {
        wait_until(|| world.idp.fetches().key_set > first).await;
        // What the fetch under way brings was written down before this.
        world.idp.rotate().unwrap();
        world.subject(&world.idp.mint(&alice())).await
    });
    assert_eq!(refused, Err(Reason::KeyUnknown));
    assert_eq!(early, Err(Reason::KeyUnknown), "the fetch was not under way");
    world.idp.fail(Fault::None);
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert_eq!(world.subject(&world.idp.mint(&alice())).await.as_deref(), Ok("alice"));
}

#[tokio::test]
async fn t_jwt_07_keys_that_rotate_during_a_request_are_fetched_once_for_it() {
    let mut world = World::new().await;
    world.hasten(Duration::from_millis(50));
    let _running = world.run().await;
    tokio::time::sleep(Duration::from_millis(80)).await;
    let old = world.idp.mint(&alice());
    world.idp.rotate().unwrap();
    let new = world.idp.mint(&json!({"sub": "bob"}));
    assert_eq!(world.subject(&new).await.as_deref(), Ok("bob"));
    // The older key is still published.
    assert_eq!(world.subject(&old).await.as_deref(), Ok("alice"));
    assert_eq!(world.issuers.status().remove(0).generation, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_keep_verifying_while_keys_rotate() {
    let world = World::new().await;
    world.issuers.refresh_all().await;
    let token = world.idp.mint(&alice());
    let issuers = Arc::clone(&world.issuers);
    let (stop, stopped) = watch::channel(false);
    let asking = tokio::spawn(async move {
        let mut asked = 0;
        while !*stopped.borrow() {
            assert!(issuers.verify(Scheme::Bearer, &token).await.is_ok());
            asked += 1;
        }
        asked
    });
    for _ in 0..3 {
        world.idp.rotate().unwrap();
        world.issuers.refresh_all().await;
    }
    stop.send(true).unwrap();
    assert!(asking.await.unwrap() > 0);
    assert_eq!(world.issuers.status().remove(0).generation, 4);
}

#[tokio::test]
async fn the_last_keys_serve_while_the_issuer_is_down_until_they_are_too_old() {
    let world = World::with(|settings| settings.max_stale = Duration::from_secs(1000)).await;
    world.issuers.refresh_all().await;
    let token = world.idp.mint(&json!({"sub": "alice", "exp": NOW + 5000}));
    assert!(world.verify(&token).await.is_ok());
    world.idp.fail(Fault::Down);
    world.clock.set(NOW + 1000);
    world.issuers.refresh_all().await;
    assert!(world.verify(&token).await.is_ok());
    let status = world.issuers.status().remove(0);
    assert!(
        status.stale && status.keys == 3 && status.last_success == Some(NOW),
        "{status:?}"
    );
    world.clock.set(NOW + 1001);
    assert_eq!(world.subject(&token).await, Err(Reason::KeysUnavailable));
    assert!(!world.issuers.ready());
    assert_eq!(world.issuers.status().remove(0).keys, 0);
    world.idp.fail(Fault::None);
    world.issuers.refresh_all().await;
    assert!(world.verify(&token).await.is_ok());
}

#[tokio::test]
async fn t_jwt_07_08_bad_answers_never_replace_good_keys() {
    let world = World::new().await;
    world.issuers.refresh_all().await;
    let token = world.idp.mint(&alice());
    let other = SigningKey::generate("rsa-1", Algorithm::EdDsa).unwrap();
    let huge: Vec<_> = (0..101)
        .map(|_| other.jwk())
        .map(|mut jwk| {
            jwk.as_object_mut().unwrap().remove("kid");
            jwk
        })
        .collect();
    for (fault, told) in [
        (Fault::Down, "client error"),
        (Fault::Garbage, "not a JSON object"),
        (Fault::Big, "1048576 bytes"),
        (Fault::ContentType("text/html"), "content type"),
        (Fault::Status(304), "304"),
        (Fault::Status(500), "500"),
        (
            Fault::Redirect("http://169.254.169.254/latest".to_owned()),
            "redirects are not followed",
        ),
        (
            Fault::Discovery(json!({"issuer": format!("{}/", world.idp.url())})),
            "letter for letter",
        ),
        (Fault::Discovery(json!({"issuer": "https://evil"})), "letter for letter"),
        (Fault::Discovery(json!({"issuer": null})), "does not say"),
        (Fault::Discovery(json!({"jwks_uri": null})), "no `jwks_uri`"),
        (
            Fault::Discovery(json!({"jwks_uri": "file:///etc/passwd"})),
            "not an absolute URL",
        ),
        (
            Fault::Discovery(json!({"jwks_uri": "ftp://host/jwks"})),
            "not an https URL",
        ),
        (
            Fault::Discovery(json!({"jwks_uri": "https://user:secret@host/"})),
            "no user name",
        ),
        (Fault::Discovery(json!({"jwks_uri": "/jwks"})), "not an absolute URL"),
        (Fault::KeySet(json!({"keys": []})), "no key"),
        (Fault::KeySet(json!({"keys": huge})), "more than 100"),
    ] {
        world.idp.fail(fault.clone());
        world.issuers.refresh_all().await;
        assert!(world.last_error().contains(told), "{fault:?}: {}", world.last_error());
        assert!(world.verify(&token).await.is_ok(), "{fault:?}");
    }
    assert_eq!(count(&world.counts.failed), 17);
    world.idp.fail(Fault::None);
    world.issuers.refresh_all().await;
    assert_eq!((count(&world.counts.changed), count(&world.counts.unchanged)), (1, 1));
    assert_eq!(world.last_error(), "");
}

#[tokio::test]
async fn no_error_tells_the_query_of_an_address() {
    let world = World::with(|settings| {
        let url = format!("{}/.well-known/openid-configuration?key=s3cret", settings.rules.issuer);
        settings.keys = KeySource::Discovery { url: Some(url) };
    })
    .await;
    for fault in [
        Fault::Down,
        Fault::Garbage,
        Fault::Status(500),
        Fault::Discovery(json!({"issuer": "https://evil"})),
        Fault::Discovery(json!({"issuer": null})),
        Fault::Discovery(json!({"jwks_uri": null})),
        Fault::Discovery(json!({"jwks_uri": "/jwks"})),
    ] {
        world.idp.fail(fault.clone());
        world.issuers.refresh_all().await;
        let told = world.last_error();
        assert!(
            told.contains("/.well-known/openid-configuration") && !told.contains("s3cret"),
            "{fault:?}: {told}"
        );
    }
    world.idp.fail(Fault::None);
    world.issuers.refresh_all().await;
    assert_eq!(world.subject(&world.idp.mint(&alice())).await.as_deref(), Ok("alice"));
}

#[tokio::test]
async fn t_jwt_07_a_slow_issuer_does_not_hold_up_those_whose_key_is_known() {
    let mut world = World::new().await;
    world.hasten(Duration::from_millis(20));
    let _running = world.run().await;
    tokio::time::sleep(Duration::from_millis(40)).await;
    let known = world.idp.mint(&alice());
    world.idp.fail(Fault::Slow(Duration::from_mins(1)));
    let unknown = world.idp.mint_with(&alice(), Algorithm::EdDsa, &json!({"kid": "junk"}));
    let begun = Instant::now();
    let (refused, accepted) = tokio::join!(world.subject(&unknown), async {
        let subject = world.subject(&known).await;
        (subject, begun.elapsed())
    });
    assert_eq!(refused, Err(Reason::KeyUnknown));
    assert!(begun.elapsed() >= Duration::from_secs(2) && begun.elapsed() < Duration::from_secs(5));
    assert_eq!(accepted.0.as_deref(), Ok("alice"));
    assert!(accepted.1 < Duration::from_secs(1));
}

#[tokio::test]
async fn the_task_retries_after_failures_and_ends_when_told() {
    let world = World::new().await;
    world.idp.fail(Fault::Status(503));
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(Arc::clone(&world.issuers).run(stopped));
    wait_until(|| count(&world.counts.failed) == 1).await;
    assert!(!world.issuers.ready());
    world.idp.fail(Fault::None);
    wait_until(|| world.issuers.ready()).await;
    assert_eq!(count(&world.counts.changed), 1);
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test]
async fn t_jwt_12_each_issuer_vouches_only_for_its_own_tokens() {
    let (one, other) = (DemoIssuer::start().await.unwrap(), DemoIssuer::start().await.unwrap());
    let both = vec![settings(one.url()), settings(other.url())];
    let issuers = Issuers::new(
        both,
        TokenLimits::default(),
        Arc::new(crate::clock::SystemClock),
        Arc::new(()),
    )
    .unwrap();
    issuers.refresh_all().await;
    let verify = async |token: String| {
        let verified = issuers.verify(Scheme::Bearer, &token).await;
        verified
            .map(|verified| verified.principal.issuer.to_string())
            .map_err(|denial| denial.reason)
    };
    // Both have a key `rsa-1`.
    assert_eq!(verify(one.mint(&alice())).await.as_deref(), Ok(one.url()));
    assert_eq!(verify(other.mint(&alice())).await.as_deref(), Ok(other.url()));
    assert_eq!(
        verify(one.mint(&json!({"sub": "s", "iss": other.url()}))).await,
        Err(Reason::TokenSignatureInvalid)
    );
    assert_eq!(
        verify(one.mint(&json!({"sub": "s", "iss": "https://third"}))).await,
        Err(Reason::IssuerUnknown)
    );
    other.fail(Fault::Down);
    assert!(issuers.ready());
}

#[tokio::test]
async fn key_files_are_read_again_on_demand_and_kept_when_broken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    let issuer = "https://idp.example.com";
    let key = |id: &str| SigningKey::generate(id, Algorithm::EdDsa).unwrap();
    let (first, second) = (key("first"), key("second"));
    let put = |text: &str| std::fs::write(&file, text).unwrap();
    put(&jwks([&first]).to_string());
    let from_file = IssuerSettings {
        keys: KeySource::File(file.clone()),
        allow_http: false,
        ..settings(issuer)
    };
    let clock = ManualClock::at(NOW);
    let issuers = Issuers::new(
        vec![from_file.clone()],
        TokenLimits::default(),
        Arc::new(clock.clone()),
        Arc::new(()),
    )
    .unwrap();
    assert!(issuers.ready());
    assert_eq!(issuers.files().collect::<Vec<_>>(), [file.as_path()]);
    let claims = json!({"iss": issuer, "aud": "flyte", "sub": "s", "exp": NOW + 1_000_000});
    let reason = async |key: &SigningKey| {
        let token = key.token(&claims, &Value::Null);
        issuers
            .verify(Scheme::Bearer, &token)
            .await
            .map(drop)
            .map_err(|denial| denial.reason)
    };
    assert_eq!(reason(&first).await, Ok(()));
    assert_eq!(reason(&second).await, Err(Reason::KeyUnknown));

    put("{\"keys\":");
    let problems = issuers.reload_files();
    assert!(
        problems.len() == 1 && problems.iter().all(|problem| problem.file == file),
        "{problems:?}"
    );
    assert_eq!(reason(&first).await, Ok(()));
    assert!(issuers.status().remove(0).stale);

    put(&jwks([&second]).to_string());
    assert_eq!(issuers.reload_files(), []);
    assert_eq!(reason(&first).await, Err(Reason::KeyUnknown));
    assert_eq!(reason(&second).await, Ok(()));
    // Keys in a file do not age.
    clock.set(NOW + 900_000);
    assert_eq!(reason(&second).await, Ok(()));

    std::fs::remove_file(&file).unwrap();
    assert_eq!(issuers.reload_files().len(), 1);
    assert!(Issuers::new(vec![from_file], TokenLimits::default(), Arc::new(clock), Arc::new(())).is_err());
}

#[test]
fn every_senseless_setting_is_reported_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut plain_http = settings("http://idp.example.com");
    plain_http.allow_http = false;
    let mut empty = settings("https://a.example.com");
    empty.rules.audiences.clear();
    empty.rules.algorithms.clear();
    empty.rules.token_types.clear();
    empty.rules.leeway = 601;
    empty.refresh_interval = Duration::ZERO;
    let mut no_file = settings("https://b.example.com");
    no_file.keys = KeySource::File(folder.path().join("absent.json"));
    let mut no_ca = settings("https://c.example.com");
    no_ca.ca_file = Some(folder.path().join("absent.pem"));
    let mut no_url = settings("https://d.example.com");
    no_url.keys = KeySource::Url("d.example.com/jwks".to_owned());
    let twice = settings("https://d.example.com");
    let all = vec![plain_http, empty, no_file, no_ca, no_url, twice];
    let problems = Issuers::new(
        all,
        TokenLimits::default(),
        Arc::new(ManualClock::at(NOW)),
        Arc::new(()),
    )
    .unwrap_err();
    let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for told in [
        "issuers[0]: error: `http://idp.example.com` is not an https URL",
        "issuers[1]: error: `audiences`",
        "issuers[1]: error: `algorithms`",
        "issuers[1]: error: `token_types`",
        "issuers[1]: error: a leeway of 601 s",
        "issuers[1]: error: the refresh interval",
        "issuers[2]: error: key file",
        "issuers[3]: error: CA file",
        "issuers[4]: error: `d.example.com/jwks` is not",
        "issuers[5]: error: issuer `https://d.example.com` is configured twice",
    ] {
        assert!(text.contains(told), "{told} is not in:\n{text}");
    }
    assert_eq!(problems.len(), 10, "{text}");
}

#[tokio::test]
async fn nothing_that_is_kept_prints_a_token() {
    let world = World::new().await;
    world.issuers.refresh_all().await;
    let token = world.idp.mint(&alice());
    let verified = world.verify(&token).await.unwrap();
    let shown = format!("{:?} {verified:?} {:?}", world.issuers, world.issuers.status());
    assert!(token.split('.').all(|segment| !shown.contains(segment)));
}

#[cfg(feature = "demo")]
mod tls;
