//! The way to the control plane, which can be cut, closed and stopped.

use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// How the way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Open; all connections end when the number changes.
    Open(u32),
    /// Nothing is passed on.
    Stalled,
    /// Nobody listens, and there is no connection.
    Closed,
}

/// One port of the control plane as the proxy knows it.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) port: u16,
    way: watch::Sender<Way>,
    task: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn start(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (way, seen) = watch::channel(Way::Open(0));
        let task = tokio::spawn(run(listener, target, seen));
        Ok(Self { port, way, task })
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(first: TcpListener, target: SocketAddr, mut way: watch::Receiver<Way>) {
    let Ok(address) = first.local_addr() else { return };
    let mut listener = Some(first);
    loop {
        let now = *way.borrow_and_update();
        if now == Way::Closed {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        // Every change between open and closed ends all connections; a stall does not.
        let mut connections = JoinSet::new();
        loop {
            let accepted = async {
                match &listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Ok((stream, _)) = accepted => {
                    connections.spawn(connect(stream, target, way.clone()));
                }
                Some(_) = connections.join_next() => {}
                changed = way.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let next = *way.borrow_and_update();
                    if next != now && next != Way::Stalled {
                        break;
                    }
                }
            }
        }
    }
}

async fn connect(mut stream: TcpStream, target: SocketAddr, way: watch::Receiver<Way>) {
    let Ok(mut there) = TcpStream::connect(target).await else {
        return;
    };
    _ = (stream.set_nodelay(true), there.set_nodelay(true));
    let (mut from_proxy, mut to_proxy) = stream.split();
    let (mut from_plane, mut to_plane) = there.split();
    tokio::select! {
        () = copy(&mut from_proxy, &mut to_plane, way.clone()) => {}
        () = copy(&mut from_plane, &mut to_proxy, way) => {}
    }
}

/// Passes bytes on while the way is not stalled.
async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin), mut way: watch::Receiver<Way>) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(count) = from.read(&mut bytes).await {
        if count == 0 || way.wait_for(|way| *way != Way::Stalled).await.is_err() {
            return;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
