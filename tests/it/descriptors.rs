//! The published descriptors of the Flyte API.

use prost_reflect::{DescriptorPool, MessageDescriptor};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let status = Command::new(root.join("scripts/descriptors.sh")).status().unwrap();
        assert!(status.success(), "scripts/descriptors.sh failed");
        let bytes = std::fs::read(root.join("target/descriptors/flyteidl-1.16.8.binpb")).unwrap();
        DescriptorPool::decode(&*bytes).unwrap()
    })
}

/// The descriptor of a message type.
pub(crate) fn message(name: &str) -> MessageDescriptor {
    pool()
        .get_message_by_name(name)
        .unwrap_or_else(|| panic!("no message {name}"))
}
