//! `serve`: run until told to stop.

use super::{FAILED, INVALID, OK, listed, print_error};
use crate::app::App;
use crate::audit::output::Output;
use crate::clock::SystemClock;
use crate::config::{Config, LogFormat};
use std::path::Path;
use std::sync::Arc;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Serves until SIGTERM or SIGINT, then drains: on SIGTERM after a while in which it only says that it is not ready. SIGHUP
/// opens the audit file again and makes every other file be looked at now.
pub(super) fn run(path: &Path) -> u8 {
    let (config, warnings) = match Config::load(path) {
        Ok(loaded) => loaded,
        Err(problems) => {
            print_error(&listed(&problems));
            return INVALID;
        }
    };
    start_log(&config);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    match serve(config) {
        Ok(()) => OK,
        Err(code) => code,
    }
}

fn serve(config: Config) -> Result<(), u8> {
    let names: Vec<Box<str>> = config.listeners.iter().map(|listener| listener.name.clone()).collect();
    let delay = config.delay;
    let output = Output::open(&config.audit.output).map_err(|error| {
        tracing::error!(%error, "the audit output cannot be opened");
        FAILED
    })?;
    // Signals are caught before anything listens, so that none is missed.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    let mut signals = runtime
        .block_on(async { Signals::catch() })
        .map_err(|error| failed(&error))?;
    let app = App::start(config, Arc::new(SystemClock), output).map_err(|problems| {
        print_error(&listed(&problems));
        INVALID
    })?;
    for (name, address) in names.iter().zip(&app.addresses) {
        tracing::info!(listener = %name, %address, "listening");
    }
    tracing::info!(address = %app.admin, "serving metrics and health");
    if runtime.block_on(signals.wait(&app)) == End::Announced {
        app.leave();
        tracing::info!("not ready from now on");
        // Whoever asks again, is in a hurry.
        _ = runtime.block_on(async { tokio::time::timeout(delay, signals.wait(&app)).await });
    }
    tracing::info!("draining");
    app.shut_down();
    tracing::info!("stopped");
    Ok(())
}

fn failed(error: &std::io::Error) -> u8 {
    tracing::error!(%error, "the process cannot be set up");
    FAILED
}

/// How the process is to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// After those who send requests have had time to notice.
    Announced,
    /// At once, as somebody at a terminal wants it.
    Now,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when the process is to end.
    async fn wait(&mut self, app: &App) -> End {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return End::Announced,
                _ = self.interrupt.recv() => return End::Now,
                _ = self.hangup.recv() => {
                    app.reopen_audit();
                    app.reload.reload_now();
                }
            }
        }
    }
}

/// The program's own log goes to standard error: standard output may be the audit log.
fn start_log(config: &Config) {
    let filter = EnvFilter::new(format!("{:?}", config.log_level).to_lowercase());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match config.log_format {
        LogFormat::Json => log.json().flatten_event(true).try_init(),
        LogFormat::Text => log.with_ansi(false).try_init(),
    };
    if let Err(error) = started {
        print_error(&format!("the log cannot be started: {error}\n"));
    }
    // Not what the panic says: that can be a piece of a request.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or_default();
        tracing::error!(place, thread, "a defect: the program panicked here; please report it");
    }));
}
