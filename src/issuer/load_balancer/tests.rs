//! Keys that come, change, go and fail, and callers who make them up.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::clock::ManualClock;
use crate::credential::claims::ClaimMapping;
use crate::credential::key_set::Algorithm;
use crate::credential::locate::Scheme;
use crate::credential::rules::IssuerRules;
use crate::demo::issuer::DemoIssuer;
use crate::demo::load_balancer::{CLIENT, DemoLoadBalancer, ISSUER, KEY_ID, KeyFault, SIGNER, signed};
use crate::demo::signing::SigningKey;
use crate::issuer::{IssuerSettings, Issuers, TokenLimits, VerifiedToken};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::atomic::AtomicUsize;

const NOW: u64 = 1_800_000_000;

#[derive(Debug, Default)]
struct Counts {
    refreshed: Mutex<Vec<(String, RefreshOutcome)>>,
    hits: AtomicUsize,
}

impl IssuerObserver for Counts {
    fn refreshed(&self, issuer: &str, outcome: RefreshOutcome) {
        self.refreshed.lock().unwrap().push((issuer.to_owned(), outcome));
    }

    fn cache(&self, hit: bool) {
        self.hits.fetch_add(hit.into(), Ordering::Relaxed);
    }
}

/// A load balancer, the proxy's view of it, and the time.
struct World {
    balancer: DemoLoadBalancer,
    issuers: Arc<Issuers>,
    clock: ManualClock,
    counts: Arc<Counts>,
    _stop: watch::Sender<bool>,
}

fn settings(keys: LoadBalancerKeys) -> LoadBalancerSettings {
    LoadBalancerSettings {
        rules: LoadBalancerRules {
            signers: vec![SIGNER.to_owned()],
            client_ids: vec![CLIENT.to_owned()],
            issuer: Arc::from(ISSUER),
            leeway: 60,
            mapping: ClaimMapping::default(),
        },
        keys,
        ca_file: None,
        allow_http: true,
    }
}

impl World {
    async fn new() -> Self {
        Self::with(|balancer| LoadBalancerKeys::Url(balancer.url().to_owned())).await
    }

    async fn with(keys: impl FnOnce(&DemoLoadBalancer) -> LoadBalancerKeys) -> Self {
        Self::beside(Vec::new(), keys).await
    }

    /// Beside issuers of tokens, with little room to remember.
    async fn beside(signing: Vec<IssuerSettings>, keys: impl FnOnce(&DemoLoadBalancer) -> LoadBalancerKeys) -> Self {
        let balancer = DemoLoadBalancer::start().await.unwrap();
        let clock = ManualClock::at(NOW);
        let counts = Arc::new(Counts::default());
        let observer: Arc<dyn IssuerObserver> = Arc::<Counts>::clone(&counts);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let trusted = LoadBalancer::new(settings(keys(&balancer)), Arc::clone(&shared), Arc::clone(&observer)).unwrap();
        let limits = TokenLimits {
            cached: 320,
            ..TokenLimits::default()
        };
        let issuers = Issuers::new(signing, limits, shared, observer).unwrap();
        let issuers = Arc::new(issuers.with_load_balancer(Some(trusted)));
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(Arc::clone(&issuers).run(stopped));
        Self {
            balancer,
            issuers,
            clock,
            counts,
            _stop: stop,
        }
    }

    fn header(&self, subject: &str) -> String {
        let now = self.clock.unix_seconds();
        self.balancer.header(&json!({"sub": subject}), &Value::Null, now)
    }

    /// A header that names a key which need not exist.
    fn made_up(&self, key: &str) -> String {
        let now = self.clock.unix_seconds();
        self.balancer
            .header(&json!({"sub": "mallory"}), &json!({"kid": key}), now)
    }

    async fn verify(&self, value: &str) -> Result<Arc<VerifiedToken>, Denial> {
        self.issuers.verify(Scheme::LoadBalancer, value).await
    }

    async fn subject(&self, value: &str) -> Result<String, Reason> {
        let verified = self.verify(value).await.map_err(|denial| denial.reason)?;
        Ok(verified.principal.subject.to_string())
    }

    fn fetches(&self) -> usize {
        self.balancer.fetches().len()
    }

    fn status(&self) -> IssuerStatus {
        self.issuers.load_balancer_status().unwrap()
    }

    fn outcomes(&self) -> Vec<RefreshOutcome> {
        let refreshed = self.counts.refreshed.lock().unwrap();
        assert!(refreshed.iter().all(|(issuer, _)| issuer == "load_balancer"));
        refreshed.iter().map(|(_, outcome)| *outcome).collect()
    }

    fn trusted(&self) -> &LoadBalancer {
        self.issuers.load_balancer.as_ref().unwrap()
    }
}

#[tokio::test]
async fn a_key_is_fetched_once_when_a_header_names_it_and_then_known() {
    let world = World::new().await;
    assert_eq!((world.fetches(), world.status().keys), (0, 0));
    let (alice, bob) = (world.header("alice"), world.header("bob"));
    let together = tokio::join!(world.subject(&alice), world.subject(&bob));
    assert_eq!(together, (Ok("alice".to_owned()), Ok("bob".to_owned())));
    assert_eq!(world.subject(&world.header("carol")).await.unwrap(), "carol");
    assert_eq!(world.balancer.fetches(), [format!("/{KEY_ID}")]);
    assert_eq!(world.outcomes(), [RefreshOutcome::Changed]);
    let status = world.status();
    assert_eq!(
        (status.keys, status.last_success, status.last_error),
        (1, Some(NOW), None)
    );
}

#[tokio::test]
async fn what_was_verified_is_remembered_as_that_kind_only_and_not_beyond_its_end() {
    let world = World::new().await;
    let value = world.header("alice");
    let first = world.verify(&value).await.unwrap();
    let second = world.verify(&value).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(world.counts.hits.load(Ordering::Relaxed), 1);
    for scheme in [Scheme::Bearer, Scheme::IdToken] {
        let refused = world.issuers.verify(scheme, &value).await.unwrap_err();
        assert_eq!(refused.reason, Reason::TokenMalformed);
    }
    world.clock.set(NOW + 180);
    assert_eq!(world.subject(&value).await, Err(Reason::TokenExpired));
}

#[tokio::test]
async fn many_headers_of_load_balancers_drive_no_token_out() {
    let idp = DemoIssuer::start_with((Ipv4Addr::LOCALHOST, 0).into(), Arc::new(ManualClock::at(NOW)));
    let idp = idp.await.unwrap();
    let settings = IssuerSettings {
        allow_http: true,
        ..IssuerSettings::new(IssuerRules::new(idp.url(), vec!["flyte".to_owned()]))
    };
    let world = World::beside(vec![settings], |balancer| {
        LoadBalancerKeys::Url(balancer.url().to_owned())
    })
    .await;
    let token = idp.mint(&json!({"sub": "carol"}));
    world.issuers.refresh_all().await;
    let first = world.issuers.verify(Scheme::Bearer, &token).await.unwrap();
    for number in 0..1000 {
        world.subject(&world.header(&format!("user-{number}"))).await.unwrap();
    }
    let second = world.issuers.verify(Scheme::Bearer, &token).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second), "the token was verified anew");
}

#[tokio::test]
async fn nobody_brings_about_a_fetch_who_does_not_name_signer_client_and_issuer_with_a_plain_key_id() {
    let world = World::new().await;
    for (changes, reason) in [
        (json!({"signer": "arn:aws:other"}), Reason::SignerRefused),
        (json!({"client": "other"}), Reason::AudienceMismatch),
        (json!({"iss": "https://other.example.com"}), Reason::IssuerUnknown),
        (json!({"exp": NOW - 60}), Reason::TokenExpired),
        (json!({"alg": "RS256"}), Reason::AlgorithmRefused),
        (json!({"kid": "../a"}), Reason::TokenMalformed),
        (json!({"kid": "http://127.0.0.1/a"}), Reason::TokenMalformed),
    ] {
        let value = world.balancer.header(&json!({"sub": "mallory"}), &changes, NOW);
        let denial = world.verify(&value).await.unwrap_err();
        assert_eq!(denial.reason, reason);
        assert!(denial.message.starts_with("x-amzn-oidc-data: "), "{}", denial.message);
    }
    assert_eq!(world.fetches(), 0);
}

#[tokio::test]
async fn a_storm_of_made_up_keys_brings_about_few_fetches_and_leaves_known_keys_alone() {
    let world = World::new().await;
    assert!(world.subject(&world.header("alice")).await.is_ok());
    for number in 0..200 {
        let refused = world.subject(&world.made_up(&format!("made-up-{number}"))).await;
        assert_eq!(refused, Err(Reason::KeyUnknown));
        assert!(world.subject(&world.header(&format!("user-{number}"))).await.is_ok());
    }
    // The burst is four, and the first key was one of them.
    assert_eq!(world.fetches(), 4);
    // One that is known to be missing needs no fetch, whatever the budget.
    assert_eq!(
        world.subject(&world.made_up("made-up-0")).await,
        Err(Reason::KeyUnknown)
    );
    assert_eq!(world.fetches(), 4);
    assert_eq!(world.status().last_error, None);
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_a_few_at_once_and_then_one_an_interval() {
    let mut budget = Budget::default();
    let granted = |budget: &mut Budget| (0..100).filter(|_| budget.take()).count();
    assert_eq!(granted(&mut budget), 4);
    for _ in 0..3 {
        tokio::time::advance(Duration::from_millis(9_900)).await;
        assert_eq!(granted(&mut budget), 0);
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!(granted(&mut budget), 1);
    }
    tokio::time::advance(Duration::from_hours(1)).await;
    assert_eq!(granted(&mut budget), 4);
}

#[tokio::test]
async fn while_keys_cannot_be_fetched_the_answer_is_to_try_again_and_then_it_goes_on() {
    let world = World::new().await;
    for (fault, told) in [
        (KeyFault::Down, "127.0.0.1"),
        (KeyFault::Status(500), "answered 500"),
        (
            KeyFault::Redirect(format!("{}{KEY_ID}", world.balancer.url())),
            "redirects are not followed",
        ),
    ] {
        world.balancer.fail(fault);
        assert_eq!(
            world.subject(&world.header("alice")).await,
            Err(Reason::KeysUnavailable)
        );
        let error = world.status().last_error.unwrap();
        assert!(error.contains(told), "{error}");
    }
    world.balancer.fail(KeyFault::None);
    assert_eq!(world.subject(&world.header("alice")).await.unwrap(), "alice");
    assert_eq!(world.status().last_error, None);
    // The budget is spent now: what is not known cannot be asked for, but what is known serves on.
    world.balancer.fail(KeyFault::Down);
    assert_eq!(world.subject(&world.made_up("other")).await, Err(Reason::KeyUnknown));
    assert_eq!(world.subject(&world.header("bob")).await.unwrap(), "bob");
}

#[tokio::test]
async fn a_document_that_is_no_key_is_a_failure_and_nothing_of_it_is_kept() {
    let world = World::new().await;
    let other = SigningKey::generate("other", Algorithm::Es384).unwrap();
    for document in ["<html>".to_owned(), other.public_pem(), "a".repeat(5000)] {
        world.balancer.fail(KeyFault::Document(document));
        assert_eq!(
            world.subject(&world.header("alice")).await,
            Err(Reason::KeysUnavailable)
        );
    }
    assert_eq!(world.outcomes(), [RefreshOutcome::Failed; 3]);
    assert_eq!(world.status().keys, 0);
}

#[tokio::test]
async fn a_request_does_not_wait_long_for_a_key_that_comes_late() {
    let world = World::new().await;
    world.balancer.fail(KeyFault::Slow(Duration::from_secs(3)));
    let begun = std::time::Instant::now();
    assert_eq!(
        world.subject(&world.header("alice")).await,
        Err(Reason::KeysUnavailable)
    );
    let waited = begun.elapsed();
    assert!((1900..2900).contains(&waited.as_millis()), "{waited:?}");
    // It is still being fetched: this waits for the same fetch.
    assert_eq!(world.subject(&world.header("alice")).await.unwrap(), "alice");
    assert_eq!(world.fetches(), 1);
}

#[tokio::test]
async fn a_key_is_good_for_a_day_after_it_was_fetched_and_is_then_fetched_again() {
    let world = World::new().await;
    assert!(world.subject(&world.header("alice")).await.is_ok());
    world.balancer.withdraw(KEY_ID);
    world.clock.set(NOW + LIFETIME - 1);
    let late = world.header("alice");
    assert_eq!(world.subject(&late).await.unwrap(), "alice");
    // What was verified with it does not outlast it.
    world.clock.set(NOW + LIFETIME);
    assert_eq!(world.subject(&late).await, Err(Reason::KeyUnknown));
    assert_eq!(world.status().keys, 0);
}

#[tokio::test]
async fn a_key_in_use_is_renewed_before_it_lapses_and_one_that_is_withdrawn_or_changed_ends_what_it_vouched_for() {
    let world = World::new().await;
    let trusted = world.trusted();
    let value = world.header("alice");
    assert!(world.subject(&value).await.is_ok());
    assert_eq!(trusted.due(), None);
    let renew = |at: u64| {
        world.clock.set(at);
        if let Some(kept) = trusted.state().kept.get_mut(&KeyId::parse(KEY_ID).unwrap()) {
            kept.tried = kept.tried.checked_sub(BETWEEN_RENEWALS).unwrap();
        }
        trusted.due()
    };
    let id = renew(NOW + LIFETIME / 2).unwrap();
    trusted.fetch(&id).await;
    assert_eq!(trusted.due(), None);
    assert_eq!(world.outcomes(), [RefreshOutcome::Changed, RefreshOutcome::Unchanged]);
    let generation = trusted.generation();

    let value = world.header("alice");
    assert!(world.subject(&value).await.is_ok());
    let other = SigningKey::generate(KEY_ID, Algorithm::Es256).unwrap();
    world.balancer.publish(KEY_ID, &other.public_pem());
    let id = renew(NOW + LIFETIME).unwrap();
    world.clock.set(NOW + LIFETIME / 2 + 60);
    trusted.fetch(&id).await;
    assert!(trusted.generation() > generation);
    assert_eq!(world.subject(&value).await, Err(Reason::TokenSignatureInvalid));
    let of_other = signed(&other, &json!({"sub": "alice"}), &Value::Null, NOW + LIFETIME / 2 + 60);
    assert!(world.subject(&of_other).await.is_ok());

    world.balancer.withdraw(KEY_ID);
    trusted.fetch(&id).await;
    assert_eq!(world.subject(&of_other).await, Err(Reason::KeyUnknown));
}

#[tokio::test]
async fn keys_of_others_never_drive_out_one_that_is_in_use_and_are_not_renewed() {
    let world = World::new().await;
    assert!(world.subject(&world.header("alice")).await.is_ok());
    let trusted = world.trusted();
    let pem = SigningKey::generate("other", Algorithm::Es256).unwrap().public_pem();
    for number in 0..3 * KEPT {
        world.clock.set(NOW + 1 + number as u64);
        let id = KeyId::parse(&format!("other-{number}")).unwrap();
        assert_eq!(trusted.keep(&id, pem.as_bytes()), Ok(RefreshOutcome::Changed));
        assert!(trusted.state().kept.contains_key(&id));
    }
    assert_eq!(world.status().keys, KEPT);
    assert!(world.subject(&world.header("bob")).await.is_ok());
    assert_eq!(world.fetches(), 1);
    world.clock.set(NOW + LIFETIME / 2 + 3 * KEPT as u64);
    trusted.due();
    assert_eq!(
        trusted.state().kept.keys().map(KeyId::as_str).collect::<Vec<_>>(),
        [KEY_ID]
    );
}

#[tokio::test]
async fn keys_are_read_from_a_directory_by_their_id_with_or_without_pem() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_owned();
    let world = World::with(|_| LoadBalancerKeys::Directory(directory.clone())).await;
    let pem = world.balancer.key().public_pem();
    std::fs::write(directory.join("one"), &pem).unwrap();
    std::fs::write(directory.join("two.pem"), &pem).unwrap();
    std::fs::create_dir(directory.join("three")).unwrap();
    for (key, outcome) in [
        ("one", Ok("mallory".to_owned())),
        ("two", Ok("mallory".to_owned())),
        ("three", Err(Reason::KeysUnavailable)),
        ("four", Err(Reason::KeyUnknown)),
    ] {
        assert_eq!(world.subject(&world.made_up(key)).await, outcome, "{key}");
    }
    assert_eq!((world.fetches(), world.status().keys), (0, 2));

    // One that is taken away is gone at the next look.
    let trusted = world.trusted();
    let value = world.made_up("one");
    assert!(world.subject(&value).await.is_ok());
    std::fs::remove_file(directory.join("one")).unwrap();
    trusted.fetch(&KeyId::parse("one").unwrap()).await;
    assert_eq!(world.subject(&value).await, Err(Reason::KeyUnknown));
}

#[tokio::test]
async fn a_directory_that_is_not_there_and_a_bad_file_of_authorities_are_problems_at_the_start() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOW));
    let fault = |settings| {
        let problems = LoadBalancer::new(settings, Arc::clone(&clock), Arc::new(())).unwrap_err();
        problems[0].to_string()
    };
    let missing = fault(settings(LoadBalancerKeys::Directory("/nonexistent/keys".into())));
    assert!(
        missing.contains("credentials.load_balancer") && missing.contains("is no directory"),
        "{missing}"
    );
    let ca = LoadBalancerSettings {
        ca_file: Some("/nonexistent/ca.pem".into()),
        ..settings(LoadBalancerKeys::Url("https://keys.example.com/".to_owned()))
    };
    assert!(fault(ca).contains("/nonexistent/ca.pem"));
    let plain = LoadBalancerSettings {
        allow_http: false,
        ..settings(LoadBalancerKeys::Url("http://keys.example.com/".to_owned()))
    };
    assert!(fault(plain).contains("is not an https URL"));
}
