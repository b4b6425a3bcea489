//! All the wiring: from a configuration to a running proxy with its threads, and back down.
//!
//! Every worker is a thread with a runtime, listening sockets and upstream connections of its own, so that requests
//! share nothing that has to be locked. One more thread watches files, refreshes keys and serves the admin listener.

use crate::admin::Admin;
use crate::audit::Recorder;
use crate::audit::output::Output;
use crate::audit::sink::{Sink, Writer};
use crate::clock::Clock;
use crate::config::{self, Config, secrets};
use crate::credential::cookie::CookieKeys;
use crate::extract::targets::ScopeRules;
use crate::gate::authenticate::{FixedCaller, Identity};
use crate::gate::redirect::Redirect;
use crate::gate::request_id::RequestIds;
use crate::gate::{Gate, Service};
use crate::held::HeldBytes;
use crate::issuer::Issuers;
use crate::listener::Room;
use crate::listener::{self, Listener};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::model::problem::Problem;
use crate::reload::candidate::CandidateFiles;
use crate::reload::certificate::CertificateFiles;
use crate::reload::key_sets::KeySetFiles;
use crate::reload::policy::{self, PolicyFiles};
use crate::reload::{Fingerprint, ReloadNow, Reloadable, Reloader};
use crate::spans;
use crate::tls::LiveTls;
use crate::trust;
use crate::upstream::Upstream;
use crate::upstream::places::Places;
use crate::upstream::replica::Replicas;
use crate::upstream::resolution::{Resolution, Resolver, SystemResolver};
use observe::{KeySets, Reloads};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime;
use tokio::sync::watch;

mod bind;
mod control;
pub mod issuers;
pub mod observe;

/// A running proxy. Dropping it without [`App::shut_down`] leaves its threads running.
#[derive(Debug)]
pub struct App {
    /// The addresses that are listened on, in the order of the configuration.
    pub addresses: Vec<SocketAddr>,
    /// The admin listener's address.
    pub admin: SocketAddr,
    /// The policy and catalogue in force.
    pub live: Arc<Live>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Makes every file be looked at now.
    pub reload: ReloadNow,
    leave: watch::Sender<bool>,
    drain: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    control: JoinHandle<()>,
    audit: Writer,
}

/// What every worker shares.
struct Shared {
    config: Config,
    live: Arc<Live>,
    issuers: Arc<Issuers>,
    recorder: Arc<Recorder>,
    scope_rules: Arc<ScopeRules>,
    request_ids: Arc<RequestIds>,
    anonymous: Arc<FixedCaller>,
    identities: Vec<Identity>,
    certificates: Vec<Option<Arc<LiveTls>>>,
    upstream_tls: Arc<rustls::ClientConfig>,
    replicas: [Arc<Replicas>; 2],
    places: Arc<Places>,
    cookie_keys: Arc<[CookieKeys]>,
    /// For listeners with a fixed principal, and for the others.
    room: (Room, Room),
    held: Arc<HeldBytes>,
}

impl App {
    /// Loads everything the configuration names, binds every address and starts to serve. Requests that need keys not
    /// fetched yet are answered with "unavailable" meanwhile.
    ///
    /// # Errors
    /// Every problem of every file and address; nothing is left running.
    pub fn start(config: Config, clock: Arc<dyn Clock>, audit_output: Output) -> Result<Self, Vec<Problem>> {
        Self::start_resolving(config, clock, audit_output, Arc::new(SystemResolver))
    }

    /// The same with another way to find the control plane's addresses.
    ///
    /// # Errors
    /// As [`App::start`].
    pub fn start_resolving(
        config: Config,
        clock: Arc<dyn Clock>,
        audit_output: Output,
        resolver: Arc<dyn Resolver>,
    ) -> Result<Self, Vec<Problem>> {
        let fault = |what: &str, error: &dyn std::fmt::Display| vec![Problem::error(what, 0, 0, error.to_string())];
        let metrics = Arc::new(Metrics::new().map_err(|error| fault("metrics", &error))?);
        let loaded = Loaded::of(&config, &clock, &metrics)?;
        let started = config.tracing.as_ref().map(|settings| spans::start(settings, &metrics));
        let (tracer, exporter) = started.transpose().map_err(|problem| vec![problem])?.unzip();
        let bound = bind::bind(&config)?;
        let (sink, audit) =
            Sink::start(audit_output, &config.audit, Arc::clone(&metrics)).map_err(|error| fault("audit", &error))?;
        let (leave, leaving) = watch::channel(false);
        let (drain, draining) = watch::channel(false);
        let (stop, stopping) = watch::channel(false);
        metrics
            .held_bytes_limit
            .set(i64::try_from(config.limits.held_bytes).unwrap_or(i64::MAX));
        let live = Arc::clone(&loaded.live);
        let (replicas, resolution) = Resolution::of(&config.upstream, resolver, &metrics);
        let shared = Arc::new(Shared {
            live: Arc::clone(&live),
            issuers: Arc::clone(&loaded.issuers),
            recorder: Arc::new(Recorder::new(
                Arc::clone(&metrics),
                clock,
                sink,
                config.audit.sample_allowed,
                tracer,
            )),
            scope_rules: Arc::new(ScopeRules {
                domains: config.flyte.domains.clone(),
                organizations: config.flyte.organizations.clone(),
            }),
            request_ids: Arc::default(),
            anonymous: Arc::new(FixedCaller::anonymous()),
            identities: config.listeners.iter().map(Identity::of_listener).collect(),
            certificates: loaded.certificates,
            upstream_tls: loaded.upstream_tls,
            replicas,
            places: Arc::new(Places::new(config.upstream.http_connections)),
            cookie_keys: loaded.cookie_keys,
            room: Room::of(&config.limits),
            held: Arc::new(HeldBytes::new(config.limits.held_bytes)),
            config,
        });
        let reloads = Reloads {
            metrics: Arc::clone(&metrics),
            live: Arc::clone(&live),
            clock: Arc::clone(&shared.recorder.clock),
            enforcement: shared.config.enforcement,
            certificates: observe::certificates(&shared.config, &shared.certificates),
        };
        reloads.started();
        let reloader = Reloader::new(loaded.sources, shared.config.policy.poll, Arc::new(reloads));
        let reload = reloader.now();
        let admin = Admin {
            metrics: Arc::clone(&metrics),
            live: Arc::clone(&live),
            issuers: loaded.issuers,
            replicas: shared.replicas.clone(),
            hosts: shared.config.admin_hosts.clone(),
            held: Arc::clone(&shared.held),
            whoami: shared.config.admin_whoami,
            enforcement: shared.config.enforcement,
            leaving,
        };
        let workers = bound
            .workers
            .into_iter()
            .map(|sockets| spawn_worker(Arc::clone(&shared), sockets, draining.clone()))
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(|error| fault("worker thread", &error))?;
        let background = control::Background { resolution, exporter };
        let control = control::spawn(admin, bound.admin_socket, reloader, background, stopping)
            .map_err(|error| fault("control thread", &error))?;
        Ok(Self {
            addresses: bound.addresses,
            admin: bound.admin,
            live,
            metrics,
            reload,
            leave,
            drain,
            stop,
            workers,
            control,
            audit,
        })
    }

    /// Says from now on that it is not ready. Everything else goes on, until [`App::shut_down`].
    pub fn leave(&self) {
        self.leave.send_replace(true);
    }

    /// Opens the audit log's file again: by then it may be another one.
    pub fn reopen_audit(&self) {
        self.audit.reopen();
    }

    /// Accepts nothing more, lets running requests finish for the configured time, writes the last records and ends.
    pub fn shut_down(self) {
        self.leave();
        self.drain.send_replace(true);
        // A worker that waits for the audit log would otherwise wait for ever when that is broken.
        self.audit.end_soon();
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("a worker had failed");
            }
        }
        self.stop.send_replace(true);
        if self.control.join().is_err() {
            tracing::error!("the control thread had failed");
        }
        self.audit.join();
    }
}

/// Everything that is read from files.
struct Loaded {
    live: Arc<Live>,
    issuers: Arc<Issuers>,
    certificates: Vec<Option<Arc<LiveTls>>>,
    upstream_tls: Arc<rustls::ClientConfig>,
    cookie_keys: Arc<[CookieKeys]>,
    sources: Vec<(Arc<dyn Reloadable>, Fingerprint)>,
}

impl Loaded {
    fn of(config: &Config, clock: &Arc<dyn Clock>, metrics: &Arc<Metrics>) -> Result<Self, Vec<Problem>> {
        let policy = PolicyFiles::load(config);
        let certificates: Result<Vec<Option<Arc<LiveTls>>>, Vec<Problem>> =
            collect(config.listeners.iter().map(|listener| {
                listener
                    .tls
                    .as_ref()
                    .map(LiveTls::load)
                    .transpose()
                    .map(|tls| tls.map(Arc::new))
            }));
        let observer = Arc::new(KeySets {
            metrics: Arc::clone(metrics),
            clock: Arc::clone(clock),
        });
        let issuers = issuers::load(config, clock, observer);
        let upstream_tls = trust::client_config(config.upstream.ca.as_deref()).map_err(|problem| vec![problem]);
        let cookie_keys = secrets::cookie_keys(&config.credentials.cookie_keys);
        let (policy, certificates, issuers, upstream_tls, cookie_keys) =
            match (policy, certificates, issuers, upstream_tls, cookie_keys) {
                (Ok(policy), Ok(certificates), Ok(issuers), Ok(tls), Ok(keys)) => {
                    (policy, certificates, Arc::new(issuers), Arc::new(tls), keys.into())
                }
                (policy, certificates, issuers, tls, keys) => {
                    let all = [policy.err(), certificates.err(), issuers.err(), tls.err(), keys.err()];
                    return Err(all.into_iter().flatten().flatten().collect());
                }
            };
        let policy::Loaded {
            live,
            files,
            fingerprint,
            warnings,
        } = policy;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let mut sources: Vec<(Arc<dyn Reloadable>, Fingerprint)> = vec![(Arc::new(files), fingerprint)];
        if let Some((files, fingerprint)) = CandidateFiles::load(config, &live) {
            sources.push((Arc::new(files), fingerprint));
        }
        if issuers.files().next().is_some() {
            sources.push(watched(KeySetFiles(Arc::clone(&issuers))));
        }
        for tls in certificates.iter().flatten() {
            for warning in tls.warnings(clock.unix_seconds()) {
                tracing::warn!("{warning}");
            }
            let (tls, clock) = (Arc::clone(tls), Arc::clone(clock));
            sources.push(watched(CertificateFiles { tls, clock }));
        }
        Ok(Self {
            live,
            issuers,
            certificates,
            upstream_tls,
            cookie_keys,
            sources,
        })
    }
}

/// What was just loaded, as it stands in the files now: a change in between is noticed at the next look.
fn watched(source: impl Reloadable + 'static) -> (Arc<dyn Reloadable>, Fingerprint) {
    let fingerprint = Fingerprint::of(&source.read().unwrap_or_default());
    (Arc::new(source), fingerprint)
}

fn collect<T>(results: impl Iterator<Item = Result<T, Vec<Problem>>>) -> Result<Vec<T>, Vec<Problem>> {
    let mut problems = Vec::new();
    let good = results
        .filter_map(|result| result.map_err(|more| problems.extend(more)).ok())
        .collect();
    if problems.is_empty() { Ok(good) } else { Err(problems) }
}

fn spawn_worker(
    shared: Arc<Shared>,
    sockets: Vec<std::net::TcpListener>,
    drain: watch::Receiver<bool>,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("worker".into()).spawn(move || {
        let grace = shared.config.drain;
        runtime.block_on(async {
            let mut listeners = tokio::task::JoinSet::new();
            for (index, socket) in sockets.into_iter().enumerate() {
                let socket = match tokio::net::TcpListener::from_std(socket) {
                    Ok(socket) => socket,
                    Err(error) => {
                        tracing::error!(%error, "a listening socket cannot be used");
                        continue;
                    }
                };
                if let Some(listener) = shared.listener(index) {
                    listeners.spawn(listener::run(Arc::new(listener), socket, drain.clone(), grace));
                }
            }
            while listeners.join_next().await.is_some() {}
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
    })
}

impl Shared {
    fn listener(&self, index: usize) -> Option<Listener> {
        let settings = self.config.listeners.get(index)?;
        let name: Arc<str> = Arc::from(&*settings.name);
        let service = match &settings.redirect {
            Some(target) => Service::Redirect(Arc::new(Redirect {
                listener: Arc::clone(&name),
                target: target.clone(),
                recorder: Arc::clone(&self.recorder),
                limits: self.config.limits.clone(),
                request_ids: Arc::clone(&self.request_ids),
            })),
            None => Service::Gate(Arc::new(self.gate(index, settings, Arc::clone(&name))?)),
        };
        Some(Listener {
            name,
            tls: self.certificates.get(index)?.clone(),
            hops: settings.hops.clone(),
            proxy_protocol: settings.proxy_protocol,
            service,
            limits: self.config.limits.clone(),
            room: match settings.identity {
                config::Identity::Principal(_) => self.room.0.clone(),
                _ => self.room.1.clone(),
            },
            metrics: Arc::clone(&self.recorder.metrics),
        })
    }

    fn gate(&self, index: usize, settings: &config::Listener, listener: Arc<str>) -> Option<Gate> {
        Some(Gate {
            listener,
            identity: self.identities.get(index)?.clone(),
            accept: settings.accept.clone(),
            anonymous: Arc::clone(&self.anonymous),
            live: Arc::clone(&self.live),
            issuers: Arc::clone(&self.issuers),
            upstream: Upstream::new(
                &self.config.upstream,
                &self.upstream_tls,
                self.replicas.clone(),
                Arc::clone(&self.places),
            ),
            recorder: Arc::clone(&self.recorder),
            scope_rules: Arc::clone(&self.scope_rules),
            limits: self.config.limits.clone(),
            held: Arc::clone(&self.held),
            enforcement: self.config.enforcement,
            audit_claims: self.config.audit.claims,
            credential_header: self.config.credentials.header.clone(),
            cookie_keys: Arc::clone(&self.cookie_keys),
            request_ids: Arc::clone(&self.request_ids),
        })
    }
}
