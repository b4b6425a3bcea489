//! The built-in catalogue, and the published descriptors of its messages.

use flyte_authz_proxy::catalog::{Catalog, Route};
use prost_reflect::{DescriptorPool, MessageDescriptor};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().expect("a test of the program compiles it"));

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let path = std::env::var_os("FLYTE_DESCRIPTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/descriptors/flyteidl-1.16.8.binpb"),
        PathBuf::from,
    );
    let bytes =
        std::fs::read(&path).unwrap_or_else(|_| panic!("{} is missing: run `make descriptors`", path.display()));
    DescriptorPool::decode(&*bytes).expect("they are descriptors")
});

static PLANNED: LazyLock<Vec<&'static Route>> = LazyLock::new(|| {
    let planned = |route: &&Route| !route.plan.states.is_empty();
    CATALOG.routes.iter().filter(planned).collect()
});

/// The built-in catalogue.
pub fn catalog() -> &'static Catalog {
    &CATALOG
}

/// Every published message type and service.
pub fn pool() -> &'static DescriptorPool {
    &POOL
}

/// The descriptor of a message type.
pub fn message(name: &str) -> MessageDescriptor {
    pool()
        .get_message_by_name(name)
        .unwrap_or_else(|| panic!("no message {name}"))
}

/// The routes of which something in the request message is judged.
pub fn planned() -> &'static [&'static Route] {
    &PLANNED
}

/// The route that the first byte of an input stands for, and the rest of the input.
pub fn choose(input: &[u8]) -> Option<(&'static Route, &[u8])> {
    let (first, rest) = input.split_first()?;
    let route = planned().get(usize::from(*first) % planned().len())?;
    Some((route, rest))
}
