//! Points in time as policies write them: RFC 3339, to the second.

use jiff::Timestamp;
use std::fmt;

/// A point in time, in whole seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Instant(u64);

impl Instant {
    /// Reads `YYYY-MM-DDTHH:MM:SS` with `Z` or an offset from UTC.
    ///
    /// # Errors
    /// What to write instead.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let seconds = has_form(text).then(|| text.parse::<Timestamp>().ok()).flatten();
        seconds
            .and_then(|time| u64::try_from(time.as_second()).ok())
            .map(Self)
            .ok_or_else(|| {
                format!("`{text}` is no point in time; write one to the second and with its zone, such as `2026-11-20T08:00:00Z`")
            })
    }

    pub(super) const fn seconds(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = i64::try_from(self.0)
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok());
        match time {
            Some(time) => write!(f, "{time}"),
            None => write!(f, "second {}", self.0),
        }
    }
}

/// The library reads more forms than one: spaces, missing parts, names of zones.
fn has_form(text: &str) -> bool {
    let fits = |form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(byte, wanted)| match wanted {
                b'0' => byte.is_ascii_digit(),
                b'+' => matches!(byte, b'+' | b'-'),
                _ => byte == wanted,
            })
    };
    fits("0000-00-00T00:00:00Z") || fits("0000-00-00T00:00:00+00:00")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_to_the_second_in_any_zone_and_shown_in_utc() {
        for text in [
            "2026-11-20T08:00:00Z",
            "2026-11-20T09:30:00+01:30",
            "2026-11-19T20:00:00-12:00",
        ] {
            let time = Instant::parse(text);
            assert_eq!(time, Ok(Instant(1_795_161_600)), "{text}");
            assert_eq!(time.map(|time| time.to_string()).as_deref(), Ok("2026-11-20T08:00:00Z"));
        }
        assert_eq!(Instant::parse("1970-01-01T00:00:00Z"), Ok(Instant(0)));
    }

    #[test]
    fn everything_else_is_refused_with_an_example() {
        for text in [
            "",
            "2026-11-20",
            "2026-11-20T08:00Z",
            "2026-11-20T08:00:00",
            "2026-11-20 08:00:00Z",
            "2026-11-20t08:00:00z",
            "2026-11-20T08:00:00.5Z",
            "2026-11-20T08:00:00+0100",
            "2026-11-20T08:00:00Z[UTC]",
            "2026-02-30T08:00:00Z",
            "2026-11-20T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "1795161600",
            "yesterday",
        ] {
            let fault = Instant::parse(text).err().unwrap_or_default();
            assert!(fault.contains("such as `2026-11-20T08:00:00Z`"), "{text}: {fault}");
        }
    }
}
