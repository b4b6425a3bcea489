//! What the engines cost by themselves, without sockets: `make bench-micro`. Beside the time, the allocations.
#![expect(clippy::unwrap_used, reason = "benchmarks")]

use divan::AllocProfiler;
use mimalloc::MiMalloc;

mod answers;
mod heads;
mod messages;
mod policies;
mod samples;
mod tokens;

#[global_allocator]
static ALLOCATOR: AllocProfiler<MiMalloc> = AllocProfiler::new(MiMalloc);

fn main() {
    divan::main();
}
