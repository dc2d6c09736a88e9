//! Durations as PromQL and Prometheus' configuration write them: `5m`, `1h30m`, `250ms`.
//!
//! For fields of documents: `#[serde(with = "platform_core::telemetry::prometheus_duration")]`.

use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer, Serializer, de};
use std::{fmt, time::Duration};

const SECOND: u64 = 1000;
const DAY: u64 = 24 * 3600 * SECOND;

/// From the longest, in milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * DAY),
    ("w", 7 * DAY),
    ("d", DAY),
    ("h", 3600 * SECOND),
    ("m", 60 * SECOND),
    ("s", SECOND),
    ("ms", 1),
];

/// A duration that prints as Prometheus writes it; what is finer than a millisecond is left out.
pub(crate) struct PromDuration(pub(crate) Duration);

impl fmt::Display for PromDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        // Weeks and years are read, and not written: days are what people compare.
        for (unit, millis) in UNITS.into_iter().skip(2) {
            let millis = u128::from(millis);
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

/// The duration as text.
pub fn format(duration: Duration) -> String {
    PromDuration(duration).to_string()
}

/// Reads numbers with the units `y`, `w`, `d`, `h`, `m`, `s`, `ms`, the longest first and each once: `1h30m`. `0` needs none.
pub fn parse(text: &str) -> Result<Duration> {
    let invalid = || {
        Error::invalid(format!(
            "{text:?} is not a duration like 30s, 5m or 1h30m (units: y, w, d, h, m, s, ms)"
        ))
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut units, mut sum) = (text, UNITS.as_slice(), 0_u64);
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let at = units.iter().position(|(name, _)| *name == unit).ok_or_else(invalid)?;
        let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(units[at].1));
        sum = millis.and_then(|millis| sum.checked_add(millis)).ok_or_else(invalid)?;
        (rest, units) = (tail, &units[at + 1..]);
    }
    Ok(Duration::from_millis(sum))
}

/// Writes the duration as text.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&PromDuration(*duration))
}

/// Reads text as [`parse`] does.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_come_from_the_longest_and_once() {
        assert_eq!(parse("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse("1y1w").unwrap(), Duration::from_secs(372 * 86_400));
        assert_eq!(parse("1s250ms").unwrap(), Duration::from_millis(1250));
        assert_eq!(parse("0").unwrap(), Duration::ZERO);
        for bad in [
            "",
            "5",
            "m",
            "30m1h",
            "1m1m",
            "1 m",
            "-1m",
            "1.5h",
            "1us",
            "99999999999999999999s",
            "999999999999y",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0_u64..1 << 50) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&format(duration)).unwrap(), duration);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }
    }
}
