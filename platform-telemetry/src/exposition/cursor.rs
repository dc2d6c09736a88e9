//! A place in a line.

use std::borrow::Cow;

/// Reads a line from left to right.
pub(super) struct Cursor<'a> {
    line: &'a str,
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self { line, rest: line }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    pub(super) fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// Takes `expected` if it is next.
    pub(super) fn take(&mut self, expected: char) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The longest beginning of which all characters are `wanted`; may be empty.
    pub(super) fn while_is(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// `[a-zA-Z_][a-zA-Z0-9_]*`, with `:` too where it is a metric's name; `None` if no name is next.
    pub(super) fn name(&mut self, with_colon: bool) -> Option<&'a str> {
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let name = self.while_is(|c| c.is_ascii_alphanumeric() || c == '_' || (with_colon && c == ':'));
        (!name.is_empty()).then_some(name)
    }

    /// What stands between quotes, with `\\`, `\"` and `\n` decoded; other escapes stay. `None` if no quote is next.
    pub(super) fn quoted(&mut self) -> Result<Option<Cow<'a, str>>, String> {
        let Some(inside) = self.rest.strip_prefix('"') else { return Ok(None) };
        let mut escaped = false;
        let mut has_escapes = false;
        let end = inside.find(|c| {
            if escaped {
                escaped = false;
                return false;
            }
            escaped = c == '\\';
            has_escapes |= escaped;
            c == '"'
        });
        let Some(end) = end else { return Err(self.error("this quote is not closed")) };
        let (text, rest) = inside.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        Ok(Some(if has_escapes { Cow::Owned(unescape(text, true)) } else { Cow::Borrowed(text) }))
    }

    /// `message` with where it is, in characters from 1.
    pub(super) fn error(&self, message: &str) -> String {
        let before = self.line.len() - self.rest.len();
        let column = self.line.get(..before).map_or(0, |text| text.chars().count()) + 1;
        format!("{message} (column {column})")
    }
}

/// Decodes `\\` and `\n`, and `\"` where quotes are escaped.
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
