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
    if workers > 1 {
        // Sockets that share a port would also share it with another process of the same user that does: half of the
        // connections would reach a proxy with another configuration. A socket that does not share finds that out.
        unbound(address)?.bind(&address.into())?;
    }
    let first = bind_one(address, workers > 1)?;
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    while sockets.len() < workers {
        sockets.push(bind_one(bound, true)?);
    }
    Ok((bound, sockets))
}

fn bind_one(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = unbound(address)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The most of an answer that the kernel keeps unsent, in bytes. Without it that is up to some megabytes (`tcp_wmem`), of which a
/// third has to go out before more is taken: a client that reads slowly would seem to read nothing.
const UNSENT: u32 = 128 << 10;

/// Sets what accepted sockets need.
///
/// # Errors
/// Whatever the system answers: the connection is gone already.
pub(super) fn prepare(stream: &tokio::net::TcpStream) -> io::Result<()> {
    // Without it, small frames wait for the peer's acknowledgements.
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)?;
    Ok(())
}

fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_address_is_shared_by_workers_and_with_nobody_else() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        for (first, second) in [(1, 1), (1, 3), (3, 1), (3, 3)] {
            let (address, sockets) = bind(any, first).unwrap();
            assert_eq!(sockets.len(), first);
            for socket in &sockets {
                assert_eq!(socket.local_addr().unwrap(), address);
            }
            let fault = bind(address, second).unwrap_err();
            assert_eq!(fault.kind(), io::ErrorKind::AddrInUse, "{first} workers, then {second}");
            drop(sockets);
            assert_eq!(bind(address, second).unwrap().0, address, "the address is free again");
        }
    }
}
