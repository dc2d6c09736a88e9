//! Values and timestamps.

use super::{lexer::Tail, scan};

/// Powers of ten that are exact.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Reads a value that ends at a blank or at `end`, and tells where; `None` if it is none.
#[inline]
pub(super) fn value(bytes: &[u8], start: usize, end: usize) -> Option<(f64, usize)> {
    // Most values that stand for yes, no and never are one digit.
    if start + 1 == end
        && let Some(digit) = bytes.get(start).map(|byte| byte.wrapping_sub(b'0'))
        && digit < 10
    {
        return Some((f64::from(digit), end));
    }
    match fast(bytes, start) {
        // What ends the line is no digit, unless it was cut.
        Some((number, at)) if at == end || (at < end && is_blank(bytes, at)) => Some((number, at)),
        _ => slow(bytes.get(..end)?, start),
    }
}

/// Reads most values that stand at the end of a line, and tells where that is; `None` if it is another or none.
#[inline]
pub(super) fn last_value(bytes: &[u8], start: usize) -> Option<(f64, usize)> {
    if let Some([digit @ b'0'..=b'9', b'\n']) = bytes.get(start..start + 2) {
        return Some((f64::from(digit - b'0'), start + 1));
    }
    match fast(bytes, start) {
        Some((number, at)) => (bytes.get(at) == Some(&b'\n')).then_some((number, at)),
        None => last_slow(bytes, start),
    }
}

/// The same of those that have more digits than are exact, or none.
#[inline(never)]
fn last_slow(bytes: &[u8], start: usize) -> Option<(f64, usize)> {
    let end = scan::line_end(bytes, start);
    let line = bytes.get(..end).filter(|_| end < bytes.len())?;
    slow(line, start).filter(|(_, at)| *at == end)
}

/// The same of most values with a timestamp behind them.
pub(super) fn last_two(bytes: &[u8], start: usize) -> Option<(Tail, usize)> {
    let (value, at) = fast(bytes, start).filter(|(_, at)| is_blank(bytes, *at))?;
    let mut at = scan::skip_blanks(bytes, at);
    let mut millis = 0;
    let count = digits(bytes, &mut at, &mut millis);
    // So many do not wrap around.
    let is_one = (1..=18).contains(&count) && bytes.get(at) == Some(&b'\n');
    is_one.then_some((Tail { value, timestamp: Some(millis.cast_signed()) }, at))
}

/// Reads up to 19 digits, of which the number and its power of ten are exact: so is their product, rounded once.
#[inline]
fn fast(bytes: &[u8], start: usize) -> Option<(f64, usize)> {
    let mut at = start;
    let negative = bytes.get(at) == Some(&b'-');
    at += usize::from(negative || bytes.get(at) == Some(&b'+'));
    let mut mantissa = 0;
    let whole = digits(bytes, &mut at, &mut mantissa);
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        fraction = digits(bytes, &mut at, &mut mantissa);
    }
    if whole + fraction == 0 || whole + fraction > 19 || mantissa > 1 << 53 {
        return None;
    }
    let mut exponent = 0i64;
    if bytes.get(at).is_some_and(|byte| byte | 0x20 == b'e') {
        at += 1;
        let minus = bytes.get(at) == Some(&b'-');
        at += usize::from(minus || bytes.get(at) == Some(&b'+'));
        let mut power = 0;
        // Two digits suffice for what is exact.
        if !(1..=2).contains(&digits(bytes, &mut at, &mut power)) {
            return None;
        }
        exponent = if minus { -power.cast_signed() } else { power.cast_signed() };
    }
    let exponent = exponent - fraction.cast_signed() as i64;
    let power = POWERS.get(exponent.unsigned_abs() as usize)?;
    let number = if exponent < 0 { mantissa as f64 / power } else { mantissa as f64 * power };
    Some((if negative { -number } else { number }, at))
}

/// Adds digits to a number, which wraps around, and tells how many there were.
#[inline]
fn digits(bytes: &[u8], at: &mut usize, number: &mut u64) -> usize {
    const TENS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
    let start = *at;
    // Eight at once: how many there are is not known before, and guessing wrong costs more than reading them.
    if let Some((value, count)) = scan::digits(bytes, start) {
        let tens = TENS.get(count).copied().unwrap_or_default();
        *number = number.wrapping_mul(tens).wrapping_add(value);
        *at += count;
        if count < TENS.len() - 1 {
            return count;
        }
    }
    while let Some(digit) = bytes.get(*at).map(|byte| byte.wrapping_sub(b'0'))
        && digit < 10
    {
        *number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        *at += 1;
    }
    *at - start
}

#[inline]
fn is_blank(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at), Some(b' ' | b'\t'))
}

/// What Go's `ParseFloat` takes, less its hexadecimal numbers: Prometheus takes those of no target.
#[cold]
fn slow(bytes: &[u8], start: usize) -> Option<(f64, usize)> {
    let word = word(bytes, start)?;
    let number: f64 = match word.as_bytes() {
        // A sign before it is none of Go's.
        [b'+' | b'-', rest @ ..] if rest.eq_ignore_ascii_case(b"nan") => return None,
        _ => word.parse().ok()?,
    };
    // What is too great for a value is refused, not infinite.
    let spelled = word.bytes().any(|byte| byte | 0x20 == b'i');
    (number.is_finite() || number.is_nan() || spelled).then_some((number, start + word.len()))
}

/// What stands until the next blank.
pub(super) fn word(bytes: &[u8], start: usize) -> Option<&str> {
    let rest = bytes.get(start..)?;
    let len = rest.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(rest.len());
    std::str::from_utf8(rest.get(..len)?).ok()
}

/// Reads whole milliseconds that end at a blank or at `end`. No `+` stands before them.
pub(super) fn millis(bytes: &[u8], start: usize, end: usize) -> Option<(i64, usize)> {
    let word = word(bytes.get(..end)?, start)?;
    let millis = word.parse().ok().filter(|_| !word.starts_with('+'))?;
    Some((millis, start + word.len()))
}

/// Reads seconds as OpenMetrics has them, in milliseconds, and as Prometheus cuts them off.
pub(super) fn seconds(bytes: &[u8], start: usize, end: usize) -> Option<(i64, usize)> {
    let (seconds, at) = value(bytes, start, end)?;
    seconds.is_finite().then_some(((seconds * 1000.0) as i64, at))
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // Values are read, not computed.
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<f64> {
        value(text.as_bytes(), 0, text.len()).map(|(number, end)| {
            assert_eq!(end, text.len());
            number
        })
    }

    #[test]
    fn values_are_those_of_go() {
        for (text, number) in [
            ("+Inf", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
            ("infinity", f64::INFINITY),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("-0", -0.0),
            ("+7", 7.0),
            ("1.7976931348623157e308", f64::MAX),
            ("1e-400", 0.0),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("123456789012345678901234567890", 123_456_789_012_345_678_901_234_567_890.0),
        ] {
            assert_eq!(read(text).map(f64::to_bits), Some(number.to_bits()), "{text}");
        }
        assert!(read("NaN").is_some_and(f64::is_nan) && read("nan").is_some_and(f64::is_nan));
        for text in
            ["", "-", ".", "e5", "1e", "1e+", "+nan", "0x1p3", "1_000", "1e999", "-1e999", "1,5", "--1", "in"]
        {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(value(b"12 34", 0, 5), Some((12.0, 2)));
        assert_eq!(value(b"1234", 1, 3), Some((23.0, 3)));
    }

    #[test]
    fn seconds_are_cut_to_milliseconds() {
        assert_eq!(seconds(b"1520879607.789", 0, 14), Some((1_520_879_607_789, 14)));
        assert_eq!(seconds(b"-1.5", 0, 4), Some((-1500, 4)));
        assert_eq!(seconds(b"NaN", 0, 3), None);
    }

    proptest! {
        #[test]
        fn the_fast_way_rounds_as_the_slow_one(text in "[+-]?[0-9]{0,20}(\\.[0-9]{0,20})?(e[+-]?[0-9]{1,3})?") {
            let ours = read(&text);
            let theirs: Option<f64> = text.parse().ok().filter(|number: &f64| number.is_finite());
            prop_assert_eq!(ours.map(f64::to_bits), theirs.map(f64::to_bits));
        }

        #[test]
        fn what_is_printed_is_read_back(number in any::<f64>()) {
            prop_assume!(number.is_finite());
            prop_assert_eq!(read(&format!("{number:?}")), Some(number));
            prop_assert_eq!(read(&format!("{number:e}")), Some(number));
        }
    }
}
