//! The published descriptors of the Flyte API, as `make descriptors` fetches them.

use prost_reflect::{DescriptorPool, MessageDescriptor};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Every published message type and service.
pub(crate) fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        let place = option_env!("CARGO_MANIFEST_DIR").unwrap_or(".");
        let path = std::env::var_os("FLYTE_DESCRIPTORS").map_or_else(
            || Path::new(place).join("target/descriptors/flyteidl-1.16.8.binpb"),
            PathBuf::from,
        );
        let Ok(bytes) = std::fs::read(&path) else {
            panic!("{} is missing: run `make descriptors`", path.display());
        };
        DescriptorPool::decode(bytes.as_slice()).unwrap()
    })
}

/// The descriptor of a message type.
pub(crate) fn message(name: &str) -> MessageDescriptor {
    pool()
        .get_message_by_name(name)
        .unwrap_or_else(|| panic!("no message {name}"))
}
