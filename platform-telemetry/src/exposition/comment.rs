//! Lines that begin with `#`.

use super::{
    Entry, FamilyType,
    lexer::{Lexed, fault, quoted},
    scan,
    text::{decode, unescape},
};
use std::borrow::Cow;

/// Whether a line of Prometheus' format is a comment to people alone, whatever its bytes are.
pub(super) fn is_nothing(line: &[u8]) -> bool {
    if line.starts_with(b"# HELP ") || line.starts_with(b"# TYPE ") {
        return false;
    }
    let line = line.get(scan::skip_blanks(line, 0)..).unwrap_or_default();
    line.strip_prefix(b"#").is_some_and(|rest| {
        let word = rest.get(scan::skip_blanks(rest, 0)..).unwrap_or_default();
        let is_told = [b"HELP", b"TYPE"].iter().any(|keyword| {
            word.strip_prefix(*keyword).is_some_and(|rest| {
                rest.first().is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
            })
        });
        word.len() == rest.len() || !is_told
    })
}

/// Reads the comments that nearly all are: a bare name after one blank each; others are left to [`read`].
#[inline]
pub(super) fn read_plain(text: &str, start: usize, end: usize) -> Option<Entry<'_, 'static>> {
    let bytes = text.as_bytes();
    let keyword: &[u8; 7] = bytes.get(start..end)?.first_chunk()?;
    let at = start + keyword.len();
    let name = scan::name_end(bytes, at);
    if name == at || name >= end || bytes.get(name) != Some(&b' ') || scan::is(bytes, at, scan::DIGIT) {
        return None;
    }
    let (family, rest) = (text.get(at..name)?.into(), text.get(name + 1..end)?);
    match keyword {
        b"# TYPE " => Some(Entry::Type { family, of: FamilyType::parse(rest)? }),
        b"# HELP " if !rest.starts_with([' ', '\t']) && memchr::memchr(b'\\', rest.as_bytes()).is_none() => {
            Some(Entry::Help { family, text: rest.into() })
        }
        _ => None,
    }
}

/// Reads a comment of the text from the `#` at `start` until `end`. In Prometheus' format it is none that is nothing.
pub(super) fn read(text: &str, start: usize, end: usize, open: bool) -> Lexed<Entry<'_, 'static>> {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    if open {
        if bytes.get(at) != Some(&b' ') {
            return fault(at.min(end), "here should be one blank");
        }
        at += 1;
        if bytes.get(at..end) == Some(b"EOF") {
            return Ok(Entry::End);
        }
    } else {
        at = scan::skip_blanks(bytes, at);
    }
    let keyword_end = scan::end_of(bytes, at, scan::LETTER).min(end);
    let keyword = bytes.get(at..keyword_end).unwrap_or_default();
    let followed = keyword_end == end || matches!(bytes.get(keyword_end), Some(b' ' | b'\t'));
    if !followed || !matches!(keyword, b"HELP" | b"TYPE" | b"UNIT") || (keyword == b"UNIT" && !open) {
        return fault(at, "this is none of HELP, TYPE, UNIT and EOF");
    }
    at = keyword_end;
    if open && bytes.get(at) != Some(&b' ') {
        return fault(at.min(end), "here should be one blank");
    }
    at = if open { at + 1 } else { scan::skip_blanks(bytes, at) };
    let at = at.min(end);
    let (family, after) = family(text, at, end)?;
    let rest = text.get(after..end).unwrap_or_default();
    match rest.as_bytes().first() {
        Some(b' ') => {}
        None | Some(b'\t') if !open => {}
        None | Some(b'\t') => return fault(after, "here should be one blank"),
        Some(_) => return fault(after, "this cannot be in a metric's name"),
    }
    // What ends the line was cut off before.
    let blanks = if open { 1 } else { scan::skip_blanks(rest.as_bytes(), 0) };
    let rest = rest.get(blanks..).unwrap_or_default();
    match keyword {
        b"HELP" => {
            let text = if memchr::memchr(b'\\', rest.as_bytes()).is_some() {
                unescape(rest, open).into()
            } else {
                rest.into()
            };
            Ok(Entry::Help { family, text })
        }
        b"UNIT" => {
            let is_suffix = family.strip_suffix(rest).is_some_and(|name| name.ends_with('_'));
            if !rest.is_empty() && !is_suffix {
                return fault(after, format!("the unit {rest:?} does not end the name {family}"));
            }
            Ok(Entry::Unit { family, unit: rest.into() })
        }
        _ => match FamilyType::parse(rest) {
            Some(of) => Ok(Entry::Type { family, of }),
            None => fault(after, format!("{rest:?} is no type of metric")),
        },
    }
}

/// A name, bare or in quotes, and where it ends.
fn family(text: &str, at: usize, end: usize) -> Lexed<(Cow<'_, str>, usize)> {
    let bytes = text.as_bytes();
    if at < end && bytes.get(at) == Some(&b'"') {
        let name = quoted(bytes, at + 1, end)?;
        return Ok((decode(name.inside.of(text), name.escaped), name.inside.end as usize + 1));
    }
    let after =
        if scan::is(bytes, at, scan::LETTER | scan::COLON) { scan::name_end(bytes, at).min(end) } else { at };
    match text.get(at..after) {
        Some(name) if !name.is_empty() => Ok((name.into(), after)),
        _ => fault(at, "here should be a metric's name"),
    }
}
