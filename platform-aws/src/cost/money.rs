//! Amounts without fractions that round.

use serde::{Deserialize, Serialize};
use std::{fmt, iter::Sum, ops::Add};

/// Millionths of a US dollar. Sums and products are exact; only printing rounds, to cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Money(u64);

impl Money {
    /// So many millionths of a dollar: `Money::from_micros(100_000)` is ten cents.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Millionths of a dollar.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// So many of it.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// A thousandth of it, rounded up: a bill is rather lower than told.
    pub(super) const fn thousandth(self) -> Self {
        Self(self.0.div_ceil(1000))
    }

    /// As exact as a unit price is written: `$0.004445`.
    pub(super) fn exact(self) -> String {
        let text = format!("${}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        let short = text.trim_end_matches('0');
        let cents = text.len() - 4;
        text.get(..short.len().max(cents)).unwrap_or(&text).to_owned()
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Money {
    /// In cents, halves up: `$1,234.57`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cents = self.0.saturating_add(5_000) / 10_000;
        let dollars = (cents / 100).to_string();
        let mut grouped = String::from("$");
        for (index, digit) in dollars.chars().enumerate() {
            if index > 0 && (dollars.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        f.pad(&format!("{grouped}.{:02}", cents % 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_in_cents() {
        let text = |micros| Money::from_micros(micros).to_string();
        assert_eq!(text(0), "$0.00");
        assert_eq!(text(4_999), "$0.00");
        assert_eq!(text(5_000), "$0.01");
        assert_eq!(text(73_000_000), "$73.00");
        assert_eq!(text(1_234_567_890_000), "$1,234,567.89");
        assert_eq!(text(999_999_999), "$1,000.00");
        assert_eq!(format!("{:>10}", Money::from_micros(73_000_000)), "    $73.00");
    }

    #[test]
    fn unit_prices_print_as_they_are() {
        let text = |micros| Money::from_micros(micros).exact();
        assert_eq!(text(4_445), "$0.004445");
        assert_eq!(text(100_000), "$0.10");
        assert_eq!(text(112_350), "$0.11235");
        assert_eq!(text(2_000_000), "$2.00");
    }

    #[test]
    fn sums_do_not_round() {
        let third = Money::from_micros(333_333);
        assert_eq!([third, third, third].into_iter().sum::<Money>(), Money::from_micros(999_999));
        assert_eq!(Money::from_micros(4_445).times(730).micros(), 3_244_850);
        assert_eq!(Money::from_micros(1_001).thousandth().micros(), 2);
        assert_eq!(serde_json::to_string(&third).unwrap(), "333333");
    }
}
