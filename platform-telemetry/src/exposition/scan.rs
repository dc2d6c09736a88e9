//! Finding the end of names and quotes, eight bytes at a time.

/// Letters and `_`.
pub(super) const LETTER: u8 = 1;
pub(super) const DIGIT: u8 = 2;
pub(super) const COLON: u8 = 4;
const BLANK: u8 = 8;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => LETTER,
            b'0'..=b'9' => DIGIT,
            b':' => COLON,
            b' ' | b'\t' => BLANK,
            _ => 0,
        };
        byte += 1;
    }
    classes
}

/// Whether the byte at `at` is of one of these classes; the end is of none.
#[inline]
pub(super) fn is(bytes: &[u8], at: usize, class: u8) -> bool {
    bytes.get(at).is_some_and(|byte| CLASSES[usize::from(*byte)] & class != 0)
}

/// Where letters, digits, `_` and `:` end, from `at` on.
#[inline]
pub(super) fn name_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = word(bytes, at) {
        let others = !in_names(word) & every(0x80);
        if others != 0 {
            return at + others.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    end_of(bytes, at, LETTER | DIGIT | COLON)
}

/// The same for a name that may begin with the `len` bytes of a name at `there` in `other`: those are compared, not looked at one by one.
#[inline]
pub(super) fn name_end_like(bytes: &[u8], at: usize, other: &[u8], there: usize, len: usize) -> usize {
    if len == 0 || !same(bytes, at, other, there, len) {
        return name_end(bytes, at);
    }
    let end = at + len;
    if is(bytes, end, LETTER | DIGIT | COLON) { name_end(bytes, end) } else { end }
}

/// Where the line ends, from `at` on: mostly soon.
#[inline]
pub(super) fn line_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = word(bytes, at) {
        let found = zeros(word ^ every(b'\n'));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
}

/// The highest bit of the bytes that may be in a metric's name.
#[inline]
const fn in_names(word: u64) -> u64 {
    let ascii = word & every(0x7f);
    let letters = between(ascii | every(0x20), b'a', b'z');
    // `:` comes right after the digits.
    (letters | between(ascii, b'0', b':') | between(ascii, b'_', b'_')) & !word
}

/// The highest bit of the bytes that are from `low` to `high`, of bytes that are less than 128. Other bits mean nothing.
#[inline]
const fn between(word: u64, low: u8, high: u8) -> u64 {
    // No sum is carried into the next byte.
    (word + every(0x80 - low)) & !(word + every(0x7f - high))
}

/// Where bytes of these classes end.
#[inline]
pub(super) fn end_of(bytes: &[u8], mut at: usize, class: u8) -> usize {
    while is(bytes, at, class) {
        at += 1;
    }
    at
}

#[inline]
pub(super) fn skip_blanks(bytes: &[u8], at: usize) -> usize {
    end_of(bytes, at, BLANK)
}

/// Eight bytes, the first in the lowest place.
#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

/// Whether `len` bytes at both places are the same.
#[inline]
pub(super) fn same(one: &[u8], at: usize, other: &[u8], there: usize, len: usize) -> bool {
    let mut done = 0;
    while done < len {
        let (Some(a), Some(b)) = (word(one, at + done), word(other, there + done)) else {
            return one.get(at..at + len).is_some_and(|a| other.get(there..there + len) == Some(a));
        };
        let differing = a ^ b;
        if len - done < 8 {
            // Only the lowest bytes count.
            return differing << (64 - 8 * (len - done)) == 0;
        }
        if differing != 0 {
            return false;
        }
        done += 8;
    }
    true
}

/// How many bytes both begin with, by comparing so many at once.
#[inline]
pub(super) fn common<const BLOCK: usize>(one: &[u8], other: &[u8]) -> usize {
    let (blocks, _) = one.as_chunks::<BLOCK>();
    let (others, _) = other.as_chunks::<BLOCK>();
    let mut done = BLOCK * blocks.iter().zip(others).take_while(|(a, b)| a == b).count();
    while let (Some(a), Some(b)) = (word(one, done), word(other, done)) {
        if a != b {
            return done + (a ^ b).trailing_zeros() as usize / 8;
        }
        done += 8;
    }
    let rest = one.iter().skip(done).zip(other.iter().skip(done));
    done + rest.take_while(|(a, b)| a == b).count()
}

/// The number that up to eight digits are, and how many they are; `None` near the end of the bytes.
#[inline]
pub(super) fn digits(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    const PAIRS: u64 = 0x0000_00ff_0000_00ff;
    let word = word(bytes, at)?;
    let others = (!between(word & every(0x7f), b'0', b'9') | word) & every(0x80);
    let count = others.trailing_zeros() / 8;
    if count == 0 {
        return Some((0, 0));
    }
    // As if zeros stood before them.
    let word = (word ^ every(b'0')) << (64 - 8 * count);
    // Neighbours become pairs, pairs fours, and fours all.
    let pairs = word.wrapping_mul(10).wrapping_add(word >> 8);
    let upper = (pairs & PAIRS).wrapping_mul(0x000f_4240_0000_0064);
    let lower = (pairs >> 16 & PAIRS).wrapping_mul(0x0000_2710_0000_0001);
    Some((upper.wrapping_add(lower) >> 32, count as usize))
}

/// The first `"`, `\` or end of a line from `at` on.
#[inline]
pub(super) fn quote_or_escape(bytes: &[u8], mut at: usize) -> Option<usize> {
    const QUOTES: u64 = every(b'"');
    const ESCAPES: u64 = every(b'\\');
    const ENDS: u64 = every(b'\n');
    while let Some(word) = word(bytes, at) {
        // Of each the lowest bit is right; those above it may be carried over, and do not matter.
        let found = zeros(word ^ QUOTES) | zeros(word ^ ESCAPES) | zeros(word ^ ENDS);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | b'\n')).map(|n| at + n)
}

#[inline]
const fn every(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The highest bit of the bytes that are zero.
#[inline]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(every(1)) & !word & every(0x80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn quotes_are_found_as_one_by_one(bytes in proptest::collection::vec(
            prop_oneof![Just(b'"'), Just(b'\\'), Just(b'\n'), Just(b'#'), Just(b']'), Just(b'!'), any::<u8>()], 0..40), at in 0usize..45) {
            let slow = bytes.iter().enumerate().skip(at).find(|(_, b)| matches!(**b, b'"' | b'\\' | b'\n')).map(|(n, _)| n);
            prop_assert_eq!(quote_or_escape(&bytes, at), slow);
            let end = bytes.iter().enumerate().skip(at).find(|(_, b)| **b == b'\n').map(|(n, _)| n);
            prop_assert_eq!(line_end(&bytes, at), end.unwrap_or(bytes.len().max(at)));
        }

        #[test]
        fn what_is_common_ends_at_the_first_difference(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..400, cut in 0usize..300) {
            let before = bytes.clone();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 4;
            }
            bytes.truncate(cut);
            let shorter = before.len().min(bytes.len());
            prop_assert_eq!(common::<32>(&before, &bytes), if at < shorter { at } else { shorter });
            prop_assert_eq!(common::<16>(&before, &bytes), if at < shorter { at } else { shorter });
        }

        #[test]
        fn names_end_as_one_by_one(bytes in proptest::collection::vec(
            prop_oneof![4 => proptest::sample::select(b"azAZ_:09".to_vec()), 1 => any::<u8>()], 0..40), at in 0usize..45) {
            let end = end_of(&bytes, at, LETTER | DIGIT | COLON);
            prop_assert_eq!(name_end(&bytes, at), end);
            for len in 0..=end.saturating_sub(at) {
                prop_assert_eq!(name_end_like(&bytes, at, &bytes, at, len), end);
            }
            let other = end_of(&bytes, 0, LETTER | DIGIT | COLON);
            prop_assert_eq!(name_end_like(&bytes, at, &bytes, 0, other), end);
        }

        #[test]
        fn digits_are_read_as_by_the_library(text in "[0-9]{0,9}[^0-9]{9}") {
            let count = text.bytes().take_while(u8::is_ascii_digit).count().min(8);
            prop_assert_eq!(digits(text.as_bytes(), 0), Some((text[..count].parse().unwrap_or(0), count)));
        }

        #[test]
        fn sameness_is_that_of_slices(bytes in proptest::collection::vec(0u8..2, 1..60), one in 0usize..40, other in 0usize..40, len in 0usize..30) {
            let slices = bytes.get(one..one + len).zip(bytes.get(other..other + len));
            prop_assume!(slices.is_some());
            prop_assert_eq!(same(&bytes, one, &bytes, other, len), slices.is_some_and(|(a, b)| a == b));
        }
    }
}
