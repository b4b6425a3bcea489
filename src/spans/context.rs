//! W3C Trace Context: the headers `traceparent` and `tracestate`.

use http::HeaderMap;
use http::header::HeaderName;

/// Names the trace, the caller's span in it, and whether it is recorded.
pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What others want to travel along.
pub static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest `tracestate` that is put into spans, in bytes (section 3.3.1.5 asks for at least 512).
const MAX_STATE: usize = 512;

/// The caller's span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    pub(super) sampled: bool,
}

impl Parent {
    /// The one that the headers name; none if there are several, or it is not well-formed.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(&TRACEPARENT).iter();
        let only = values.next().filter(|_| values.next().is_none())?;
        Self::parse(only.to_str().ok()?)
    }

    /// Section 3.2: lower-case hex, no identifier zero; later versions may append more.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version = hex(parts.next()?, 2)?;
        let trace_id = hex(parts.next()?, 32).filter(|id| *id != 0)?;
        let span_id = hex(parts.next()?, 16).filter(|id| *id != 0)?;
        let flags = hex(parts.next()?, 2)?;
        let is_known = version == 0 && parts.next().is_none();
        let is_later = (1..0xff).contains(&version);
        (is_known || is_later).then_some(Self {
            trace_id,
            span_id: u64::try_from(span_id).ok()?,
            sampled: flags & 1 == 1,
        })
    }
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let well_formed = text.len() == digits && text.bytes().all(is_hex);
    u128::from_str_radix(text, 16).ok().filter(|_| well_formed)
}

/// The `tracestate` of the headers, where it is short and plain enough to be repeated.
pub(super) fn state(headers: &HeaderMap) -> &str {
    let state = headers.get(&TRACESTATE).and_then(|state| state.to_str().ok());
    state.filter(|state| state.len() <= MAX_STATE).unwrap_or("")
}

pub(super) fn traceparent(trace_id: u128, span_id: u64, sampled: bool) -> String {
    format!("00-{trace_id:032x}-{span_id:016x}-{:02x}", u8::from(sampled))
}

#[cfg(test)]
mod tests {
    use super::{Parent, traceparent};

    #[test]
    fn a_parent_is_read_as_the_specification_spells_it_and_nothing_else_is() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let expected = Parent {
            trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
            span_id: 0xb7ad_6b71_6920_3331,
            sampled: true,
        };
        assert_eq!(Parent::parse(good), Some(expected));
        assert_eq!(traceparent(expected.trace_id, expected.span_id, true), good);
        let unsampled = Parent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02");
        assert!(unsampled.is_some_and(|parent| !parent.sampled));
        assert_eq!(
            Parent::parse("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"),
            Some(expected)
        );
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert_eq!(Parent::parse(bad), None, "{bad}");
        }
    }
}
