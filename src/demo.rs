//! What a demonstration and the tests need around the proxy: a control plane that speaks Flyte's published protocol.

pub mod control_plane;
