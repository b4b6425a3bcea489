//! Writes the settings with which alone a permit holds into a request as it was judged.

use super::body::{Codec, JudgedBody};
use crate::catalog::Route;
use crate::extract::edit;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::model::setting::Written;
use crate::protocol::Protocol;

/// The body with the settings in it.
///
/// # Errors
/// `internal`, if one cannot be written: the body was read by the same rules before.
pub(super) fn set(
    route: &Route,
    written: &[Written],
    protocol: Protocol,
    body: JudgedBody,
) -> Result<JudgedBody, Denial> {
    if written.is_empty() {
        return Ok(body);
    }
    let mut message = body.message().to_vec();
    for setting in written {
        let place = route.writes.iter().find(|place| place.setting == setting.setting);
        let place = place.ok_or(Reason::Internal)?;
        match body.codec() {
            Codec::Protobuf => edit::in_protobuf(&mut message, &place.steps, &setting.value),
            Codec::Json => {
                let object = std::str::from_utf8(&message).map_err(|_| Reason::Internal)?;
                let object = edit::in_json(object, &place.steps, &setting.value).ok_or(Reason::Internal)?;
                message = object.into_bytes();
            }
            // Such a request names no scope, and is not permitted.
            Codec::Empty => return Err(Reason::Internal.into()),
        }
    }
    Ok(body.with_message(message, protocol))
}
