//! The control thread: serves the admin listener, fetches keys, watches files, finds the control plane's addresses and
//! exports spans.

use crate::admin::Admin;
use crate::reload::Reloader;
use crate::spans::Exporter;
use crate::upstream::resolution::Resolution;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime;
use tokio::sync::watch;

/// What runs beside, whoever asks.
pub(super) struct Background {
    pub(super) resolution: Resolution,
    pub(super) exporter: Option<Exporter>,
}

/// Starts the thread. It ends when told to, requests or not: nobody waits for it but probes.
///
/// # Errors
/// When there can be no thread or runtime.
pub(super) fn spawn(
    admin: Admin,
    socket: std::net::TcpListener,
    reloader: Reloader,
    background: Background,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("control".into()).spawn(move || {
        runtime.block_on(async {
            let Ok(socket) = tokio::net::TcpListener::from_std(socket) else {
                tracing::error!("the admin listener's socket cannot be used");
                return;
            };
            let issuers = Arc::clone(&admin.issuers);
            let stopping = stop.clone();
            // All of them, not the first that ends: without issuers there are no keys to refresh.
            let Background {
                resolution,
                mut exporter,
            } = background;
            let duties = async {
                let admin = Arc::new(admin).run(socket);
                tokio::join!(admin, issuers.run(stopping), reloader.run(), resolution.run())
            };
            let export = async {
                match &mut exporter {
                    Some(exporter) => exporter.run().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = duties => {}
                () = export => {}
                _ = stop.wait_for(|stopping| *stopping) => {}
            }
            if let Some(exporter) = exporter {
                exporter.end().await;
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
    })
}
