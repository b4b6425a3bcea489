//! What the proxies of `make bench` forward to: fixed answers, as fast as hyper gives them.
//!
//! `bench_upstream GRPC_ADDRESS HTTP_ADDRESS`. `GET /count` on the second says how many requests were answered, so that
//! a run in which calls went missing, or got past a refusal, is noticed.

use answers::Failure;
use tokio::net::TcpListener;

mod answers;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(grpc), Some(http)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bench_upstream GRPC_ADDRESS HTTP_ADDRESS".into());
    };
    let (grpc, http) = (TcpListener::bind(grpc).await?, TcpListener::bind(http).await?);
    answers::serve(grpc, http).await
}
