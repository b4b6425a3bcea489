//! The control thread: serves the admin listener, fetches keys, watches files and finds the control plane's addresses.

use crate::admin::Admin;
use crate::reload::Reloader;
use crate::upstream::resolution::Resolution;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime;
use tokio::sync::watch;

/// Starts the thread. It ends when told to, requests or not: nobody waits for it but probes.
pub(super) fn spawn(
    admin: Admin,
    socket: std::net::TcpListener,
    reloader: Reloader,
    resolution: Resolution,
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
            let duties = async {
                let admin = Arc::new(admin).run(socket);
                tokio::join!(admin, issuers.run(stopping), reloader.run(), resolution.run())
            };
            tokio::select! {
                _ = duties => {}
                _ = stop.wait_for(|stopping| *stopping) => {}
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
    })
}
