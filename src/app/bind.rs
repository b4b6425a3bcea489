//! Binds the addresses of the configuration, all or none.

use crate::config::Config;
use crate::listener::socket;
use crate::model::problem::Problem;
use std::net::SocketAddr;

/// The sockets of a process.
pub(super) struct Bound {
    /// Of the listeners, in the order of the configuration.
    pub(super) addresses: Vec<SocketAddr>,
    /// For every worker, one socket a listener.
    pub(super) workers: Vec<Vec<std::net::TcpListener>>,
    pub(super) admin: SocketAddr,
    pub(super) admin_socket: std::net::TcpListener,
}

/// Binds every address, or tells of all that cannot be had.
pub(super) fn bind(config: &Config) -> Result<Bound, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut addresses = Vec::new();
    let mut workers: Vec<Vec<std::net::TcpListener>> = (0..config.workers).map(|_| Vec::new()).collect();
    let fault = |name: &str, address: SocketAddr, error: &std::io::Error| {
        Problem::error(
            format!("listener {name}"),
            0,
            0,
            format!("cannot listen on {address}: {error}"),
        )
    };
    for listener in &config.listeners {
        match socket::bind(listener.address, config.workers) {
            Ok((address, sockets)) => {
                addresses.push(address);
                workers
                    .iter_mut()
                    .zip(sockets)
                    .for_each(|(worker, socket)| worker.push(socket));
            }
            Err(error) => problems.push(fault(&listener.name, listener.address, &error)),
        }
    }
    match socket::bind(config.admin, 1) {
        Ok((admin, mut sockets)) if problems.is_empty() && sockets.len() == 1 => Ok(Bound {
            addresses,
            workers,
            admin,
            admin_socket: sockets.remove(0),
        }),
        Ok(_) => Err(problems),
        Err(error) => {
            problems.push(fault("admin", config.admin, &error));
            Err(problems)
        }
    }
}
