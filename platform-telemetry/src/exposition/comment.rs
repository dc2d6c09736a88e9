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

/// A comment, and where its line ends.
pub(super) type Plain<'a> = (Entry<'a, 'static>, usize);

/// Reads the comments that nearly all are, from `start` to the end of their line: a bare name after one blank each; others are left to [`read`].
/// The name, which is often that of the comment before, is noted in `known` by its place and length.
#[inline]
pub(super) fn read_plain<'a>(
    text: &'a str,
    start: usize,
    open: bool,
    known: &mut (usize, usize),
) -> Option<Plain<'a>> {
    let bytes = text.as_bytes();
    let keyword: &[u8; 7] = bytes.get(start..)?.first_chunk()?;
    let is_type = match keyword {
        b"# TYPE " => true,
        b"# HELP " => false,
        _ => return None,
    };
    let at = start + keyword.len();
    let name = scan::name_end_like(bytes, at, bytes, known.0, known.1);
    if name == at || bytes.get(name) != Some(&b' ') || scan::is(bytes, at, scan::DIGIT) {
        return None;
    }
    *known = (at, name - at);
    let (family, rest) = (text.get(at..name)?.into(), name + 1);
    let until = |end: usize| if open { end } else { without_blanks(bytes, rest, end) };
    if is_type {
        let end = scan::line_end(bytes, rest);
        let of = FamilyType::parse(text.get(rest..until(end))?)?;
        return Some((Entry::Type { family, of }, end));
    }
    let words = bytes.get(rest..)?;
    if matches!(words.first(), Some(b' ' | b'\t')) {
        return None;
    }
    let end = memchr::memchr2(b'\n', b'\\', words).map_or(bytes.len(), |n| rest + n);
    if bytes.get(end) == Some(&b'\\') {
        return None;
    }
    Some((Entry::Help { family, text: text.get(rest..until(end))?.into() }, end))
}

/// Where the line ends without what may stand behind it.
#[inline]
pub(super) fn without_blanks(bytes: &[u8], start: usize, mut end: usize) -> usize {
    while end > start && bytes.get(end - 1).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
        end -= 1;
    }
    end
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
