//! Escaped text.

use std::borrow::Cow;

/// Decodes `\\` and `\n`, and `\"` where quotes are escaped; other escapes stay as they are.
pub(super) fn unescape(text: &str, quotes: bool) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            decoded.push(c);
            continue;
        }
        match characters.next() {
            Some('n') => decoded.push('\n'),
            Some('\\') | None => decoded.push('\\'),
            Some('"') if quotes => decoded.push('"'),
            Some(other) => decoded.extend(['\\', other]),
        }
    }
    decoded
}

/// The same, without a copy where nothing is escaped.
#[inline]
pub(super) fn decode(text: &str, escaped: bool) -> Cow<'_, str> {
    if escaped { Cow::Owned(unescape(text, true)) } else { Cow::Borrowed(text) }
}
