//! The floor of `make bench`: what TLS, hyper and a forwarded request cost with the settings of the proxy but without any
//! judgement, record or metric.
//!
//! `pass_through ADDRESS CERTIFICATE KEY GRPC_ADDRESS HTTP_ADDRESS`. HTTP/2 goes to the first upstream in plain HTTP/2,
//! HTTP/1.1 to the second. One current-thread runtime, as each worker of the proxy has.

use floor::{Failure, Floor};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;

mod floor;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, certificate, key, grpc, http] = arguments.as_slice() else {
        return Err("usage: pass_through ADDRESS CERTIFICATE KEY GRPC_ADDRESS HTTP_ADDRESS".into());
    };
    let tls = floor::tls(Path::new(certificate), Path::new(key))?;
    let floor = Arc::new(Floor::new(grpc, http)?);
    let listener = TcpListener::bind(address).await?;
    floor::run(listener, tls, move |request| {
        let floor = Arc::clone(&floor);
        async move { floor.forward(request).await }
    })
    .await
}
