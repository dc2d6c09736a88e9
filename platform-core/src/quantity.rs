//! Kubernetes quantities: `500m`, `1.5`, `128Mi`.

use crate::error::{Error, Result};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Visitor},
};
use std::{fmt, str::FromStr};

/// An amount of CPU, memory or storage in Kubernetes' notation
/// ([resource.Quantity](https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/)).
///
/// Kept as it was written, so that it renders unchanged; equal when the amounts are equal: `1000m` is `1`.
/// In a document it is a text or a plain number: `cpu: 2`, `cpu: 500m`. Amounts are kept to a thousandth, and what is finer is rounded up, as
/// Kubernetes does.
#[derive(Debug, Clone, Serialize)]
#[serde(into = "String")]
pub struct Quantity {
    text: String,
    /// In thousandths of the base unit (core or byte).
    millis: u128,
}

impl Quantity {
    /// Parses `500m`, `1.5`, `128Mi`, `1e3`. Negative amounts are refused.
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        match millis(&text) {
            Some(millis) => Ok(Self { text, millis }),
            None => Err(Error::invalid(format!(
                "{text:?} is not a quantity: a number with one of the suffixes m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei is"
            ))),
        }
    }

    /// Whole CPU cores.
    pub fn cores(cores: u32) -> Self {
        Self { text: cores.to_string(), millis: u128::from(cores) * 1000 }
    }

    /// Thousandths of a CPU core.
    pub fn millicores(millis: u32) -> Self {
        Self { text: format!("{millis}m"), millis: u128::from(millis) }
    }

    /// Mebibytes, 2^20 bytes.
    pub fn mebibytes(count: u32) -> Self {
        Self { text: format!("{count}Mi"), millis: (u128::from(count) << 20) * 1000 }
    }

    /// Gibibytes, 2^30 bytes.
    pub fn gibibytes(count: u32) -> Self {
        Self { text: format!("{count}Gi"), millis: (u128::from(count) << 30) * 1000 }
    }

    /// The amount in base units: cores, bytes.
    pub fn as_f64(&self) -> f64 {
        self.millis as f64 / 1000.0
    }

    /// The notation it was given in.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The amount in thousandths, rounded up as Kubernetes does; `None` if it is no quantity or too large.
fn millis(text: &str) -> Option<u128> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 30 {
        return None;
    }
    let (multiplier, power): (u128, i32) = match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        exponent => (1, exponent.strip_prefix(['e', 'E'])?.parse::<i32>().ok().filter(|e| e.abs() <= 18)?),
    };
    let scaled: u128 = format!("{whole}{fraction}").parse::<u128>().ok()?.checked_mul(multiplier)?;
    let power = power + 3 - i32::try_from(fraction.len()).ok()?;
    let factor = 10_u128.checked_pow(power.unsigned_abs())?;
    if power >= 0 { scaled.checked_mul(factor) } else { Some(scaled.div_ceil(factor)) }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.millis == other.millis
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.millis.cmp(&other.millis)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for Quantity {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Amount;

        impl Visitor<'_> for Amount {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 2, 500m or 128Mi")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                Quantity::parse(text).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Quantity, E> {
                self.visit_str(&number.to_string())
            }
        }

        deserializer.deserialize_any(Amount)
    }
}

impl TryFrom<String> for Quantity {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(text)
    }
}

impl From<Quantity> for String {
    fn from(quantity: Quantity) -> Self {
        quantity.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_compare_across_notations() {
        let parse = |text: &str| Quantity::parse(text).unwrap();
        assert_eq!(parse("1000m"), parse("1"));
        assert_eq!(parse("0.5"), Quantity::millicores(500));
        assert_eq!(parse("1Gi"), Quantity::gibibytes(1));
        assert_eq!(parse("1e3"), parse("1k"));
        assert!(parse("1G") < parse("1Gi"));
        assert_eq!((parse("1E"), parse("1E0")), (parse("1000P"), parse("1")));
        assert_eq!((parse(".5"), parse("5.")), (parse("500m"), parse("5")));
        assert_eq!(parse("1n"), parse("1m"), "rounded up");
        assert!(parse("0").as_f64() == 0.0 && parse("0") < parse("1m"));
        for bad in ["1e", "1e+", "1mi", "1 Gi", "NaN", "inf", "1_000", "٣"] {
            assert!(Quantity::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "x", "1.2.3", "-1", "1Kb", "e3", ".", "1e99", "99999999999999999999999999999E"] {
            assert!(Quantity::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,12}") {
            if let Ok(quantity) = Quantity::parse(text.clone()) {
                prop_assert_eq!(quantity.as_str(), text);
            }
        }
    }
}
