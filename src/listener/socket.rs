//! Listening sockets that several workers can share.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;

/// How many connections the kernel holds ready for accepting.
const BACKLOG: i32 = 1024;

/// Binds one socket a worker to the same address; the kernel spreads connections over them. With port 0, the port the
/// kernel chooses for the first is used for all.
///
/// # Errors
/// Whatever the system answers, such as "address in use".
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<std::net::TcpListener>)> {
    let first = bind_one(address, workers > 1)?;
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    while sockets.len() < workers {
        sockets.push(bind_one(bound, true)?);
    }
    Ok((bound, sockets))
}

fn bind_one(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
