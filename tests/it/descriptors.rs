//! The published descriptors of the Flyte API, as `make descriptors` fetches them.

use prost_reflect::{DescriptorPool, MessageDescriptor};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

fn path() -> PathBuf {
    let standard = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/descriptors/flyteidl-1.16.8.binpb");
    std::env::var_os("FLYTE_DESCRIPTORS").map_or_else(standard, PathBuf::from)
}

/// Every published message type and service.
pub(crate) fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(bytes().as_slice()).unwrap())
}

/// The descriptor of a message type.
pub(crate) fn message(name: &str) -> MessageDescriptor {
    pool()
        .get_message_by_name(name)
        .unwrap_or_else(|| panic!("no message {name}"))
}

/// The descriptors as they were published.
pub(crate) fn bytes() -> Vec<u8> {
    std::fs::read(path()).unwrap_or_else(|_| panic!("{} is missing: run `make descriptors`", path().display()))
}
