//! Resource quantities: `500m`, `1.5Gi`, `2e3`, after `k8s.io/apimachinery/pkg/api/resource`.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Sub};

use serde_json::Value;

/// How many parts a unit has: quantities are no finer than a nano.
const NANOS: i128 = 1_000_000_000;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Decimal,
    Binary,
    Exponent,
}

/// An amount that remembers how it was written: sums of `Mi` are written in `Mi`. Displays in canonical form.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    nanos: i128,
    format: Format,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self::count(0);

    /// A number of whole units.
    pub const fn count(units: u32) -> Self {
        // Lossless: `From` is not const.
        Self { nanos: units as i128 * NANOS, format: Format::Decimal }
    }

    /// Reads a quantity; `None` if `text` is none or too large.
    pub fn parse(text: &str) -> Option<Self> {
        parse(text).map(|(nanos, format)| Self { nanos, format })
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// How many times `other` it is; nothing is an endless number of times nothing.
    pub fn ratio(self, other: Self) -> f64 {
        self.nanos as f64 / other.nanos as f64
    }

    fn with(self, nanos: i128, other: Self) -> Self {
        Self { nanos, format: if self.nanos == 0 { other.format } else { self.format } }
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.with(self.nanos.saturating_add(other.nanos), other)
    }
}

impl Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.with(self.nanos.saturating_sub(other.nanos), other)
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Amount {}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = self.nanos;
        if amount == 0 {
            return f.write_str("0");
        }
        match self.format {
            // Small and fractional amounts would lose precision with a binary suffix.
            Format::Binary if amount.abs() >= 1024 * NANOS && amount % NANOS == 0 => {
                let units = amount / NANOS;
                match BINARY.iter().rev().find(|(_, shift)| units % (1_i128 << shift) == 0) {
                    Some((name, shift)) => write!(f, "{}{name}", units >> shift),
                    None => write!(f, "{units}"),
                }
            }
            Format::Decimal | Format::Binary => {
                let scaled = DECIMAL.iter().rev().find_map(|(name, exponent)| {
                    let scale = 10_i128.checked_pow(u32::try_from(exponent + 9).ok()?)?;
                    (amount % scale == 0).then(|| (amount / scale, *name))
                });
                let (number, name) = scaled.unwrap_or((amount, "n"));
                write!(f, "{number}{name}")
            }
            Format::Exponent => {
                let (mut mantissa, mut exponent) = (amount, -9);
                while mantissa % 1000 == 0 {
                    mantissa /= 1000;
                    exponent += 3;
                }
                if exponent == 0 { write!(f, "{mantissa}") } else { write!(f, "{mantissa}e{exponent}") }
            }
        }
    }
}

/// What is said of a text that is no quantity.
pub const MUST_MATCH: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// The amount in billionths of a unit, rounded up; `None` if `text` is not a quantity or too large.
pub fn nanos(text: &str) -> Option<i128> {
    parse(text).map(|(nanos, _)| nanos)
}

/// The form in which the API server stores a quantity: `0.5` as `500m`, `1024Mi` as `1Gi`.
pub fn canonical(text: &str) -> Option<String> {
    Amount::parse(text).map(|amount| amount.to_string())
}

/// Rewrites a quantity, given as text or as a number, in its canonical form; leaves anything else as it is.
pub(crate) fn canonicalize(value: &mut Value) {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return,
    };
    if let Some(canonical) = canonical(&text) {
        *value = Value::from(canonical);
    }
}

fn parse(text: &str) -> Option<(i128, Format)> {
    let digits_end = text
        .char_indices()
        .find(|(index, character)| {
            !(character.is_ascii_digit()
                || *character == '.'
                || (*index == 0 && matches!(character, '+' | '-')))
        })
        .map_or(text.len(), |(index, _)| index);
    let (number, suffix) = text.split_at_checked(digits_end)?;
    let negative = number.starts_with('-');
    let number = number.trim_start_matches(['+', '-']);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 30 {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let fraction_digits = i32::try_from(fraction.len()).ok()?;
    let (amount, format) = if let Some((_, shift)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        (scaled(digits.checked_mul(1_i128 << shift)?, 9 - fraction_digits)?, Format::Binary)
    } else if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        (scaled(digits, exponent + 9 - fraction_digits)?, Format::Decimal)
    } else {
        let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
        (scaled(digits, exponent.checked_add(9)?.checked_sub(fraction_digits)?)?, Format::Exponent)
    };
    Some((if negative { -amount } else { amount }, format))
}

/// `digits * 10^exponent`, rounded up.
fn scaled(digits: i128, exponent: i32) -> Option<i128> {
    if digits == 0 {
        return Some(0);
    }
    let power = 10_i128.checked_pow(exponent.unsigned_abs());
    match (power, exponent < 0) {
        (Some(power), false) => digits.checked_mul(power),
        (None, false) => None,
        (Some(power), true) => Some(digits / power + i128::from(digits % power != 0)),
        (None, true) => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_have_one_canonical_form() {
        for (text, expected) in [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("1500m", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("0.5Mi", "512Ki"),
            ("100Ki", "100Ki"),
            ("1e3", "1e3"),
            ("5e-1", "500e-3"),
            ("0", "0"),
            ("-2000m", "-2"),
            ("+1", "1"),
            ("512", "512"),
            (".5", "500m"),
            ("0.1n", "1n"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in
            ["", "abc", "1.2.3", "1 Gi", "1gi", "1e", "--1", "1KiB", "e3", ".", "9999999999999999999999Ei"]
        {
            assert_eq!(nanos(text), None, "{text}");
        }
    }

    #[test]
    fn sums_are_written_as_their_first_part_is() {
        let amount = |text: &str| Amount::parse(text).unwrap();
        assert_eq!((amount("100Mi") + amount("100Mi")).to_string(), "200Mi");
        assert_eq!((Amount::ZERO + amount("512Mi") + amount("512Mi")).to_string(), "1Gi");
        assert_eq!((amount("2") - amount("500m")).to_string(), "1500m");
        assert!(amount("1Gi") > amount("1G"));
        assert!((amount("400Mi").ratio(amount("100Mi")) - 4.0).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_the_same_amount_and_stays(text in "[0-9]{1,6}(\\.[0-9]{0,3})?(m|k|M|Ki|Mi|Gi|e[0-3])?") {
            let form = canonical(&text).unwrap();
            prop_assert_eq!(nanos(&form), nanos(&text));
            prop_assert_eq!(canonical(&form), Some(form));
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eEnumkKMGTPi]{0,40}") {
            let _ = canonical(&text);
        }
    }
}
