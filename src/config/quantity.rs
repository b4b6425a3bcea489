//! Durations (`250ms`, `10s`, `5m`, `24h`) and sizes (`4096`, `64KiB`, `4MiB`, `1GiB`) as the configuration spells them.

use std::time::Duration;

/// Reads a duration: a whole number and one unit, without a space.
///
/// # Errors
/// What to write instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => {
            return Err(format!(
                "`{text}` is no duration; write a whole number and a unit, such as `250ms`, `10s`, `5m`, `24h`"
            ));
        }
    };
    Ok(Duration::from_millis(scaled(text, number, milliseconds)?))
}

/// Writes a duration as [`duration`] reads it, in the largest unit that is exact down to milliseconds.
#[must_use]
pub fn spell(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    for (unit, length) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if milliseconds > 0 && milliseconds.is_multiple_of(length) {
            return format!("{}{unit}", milliseconds / length);
        }
    }
    format!("{milliseconds}ms")
}

/// Reads a size in bytes: a whole number, alone or with one binary unit.
///
/// # Errors
/// What to write instead.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let bytes = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => {
            return Err(format!(
                "`{text}` is no size; write bytes, such as `4096`, or a binary unit, such as `64KiB`, `4MiB`, `1GiB`"
            ));
        }
    };
    scaled(text, number, bytes)
}

fn split(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(digits).unwrap_or((text, ""))
}

fn scaled(text: &str, number: &str, factor: u64) -> Result<u64, String> {
    if number.is_empty() {
        return Err(format!("`{text}` does not begin with a whole number"));
    }
    let scaled = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    scaled.ok_or_else(|| format!("`{text}` is too large"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn durations_are_a_whole_number_and_one_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(duration("24h"), Ok(Duration::from_hours(24)));
        for text in [
            "",
            "10",
            "s",
            "1.5s",
            "-1s",
            "10 s",
            "10S",
            "1h30m",
            "99999999999999999h",
        ] {
            assert!(duration(text).is_err(), "accepted: {text}");
        }
    }

    #[test]
    fn a_duration_is_spelled_as_it_is_read() {
        for text in ["250ms", "10s", "90s", "5m", "24h"] {
            assert_eq!(spell(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_are_bytes_or_binary_units() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("4MiB"), Ok(4 << 20));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        for text in ["", "KiB", "4MB", "4M", "4 MiB", "4mib", "-1", "0x10", "99999999999GiB"] {
            assert!(size(text).is_err(), "accepted: {text}");
        }
    }
}
