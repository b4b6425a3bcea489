//! The JSON walk against protojson: whatever the walk accepts, a full reading has as the same judged values, and the same call
//! is judged when it is encoded in protobuf.

use crate::assembled;
use crate::diff_wire::agrees;
use crate::routes::{choose, message};
use flyte_authz_proxy::extract::targets::Payload;
use prost_reflect::{DynamicMessage, SerializeOptions};

/// The first byte chooses the route; of the next, an even one says that the rest is the body, an odd one that the body is
/// written from a message that is put together from the rest, its other bits in which spelling.
pub fn check(input: &[u8]) {
    let Some((route, [mode, rest @ ..])) = choose(input) else {
        return;
    };
    let descriptor = message(&route.request);
    let body = if mode % 2 == 0 {
        rest.to_vec()
    } else {
        let bytes = assembled::message(&route.plan, rest);
        let written = DynamicMessage::decode(descriptor.clone(), &*bytes)
            .ok()
            .and_then(|full| written(&full, *mode));
        let Some(written) = written else {
            return;
        };
        written
    };
    // Like the gateway, it reads one document and does not look behind it.
    let mut reader = serde_json::Deserializer::from_slice(&body);
    if let Ok(full) = DynamicMessage::deserialize(descriptor, &mut reader) {
        agrees(route, Payload::Json(&body), None, &full);
    }
}

fn written(full: &DynamicMessage, mode: u8) -> Option<Vec<u8>> {
    let options = SerializeOptions::new()
        .use_proto_field_name(mode & 2 != 0)
        .use_enum_numbers(mode & 4 != 0)
        .skip_default_fields(mode & 8 != 0);
    let mut body = Vec::new();
    full.serialize_with_options(&mut serde_json::Serializer::new(&mut body), &options)
        .ok()?;
    Some(body)
}
