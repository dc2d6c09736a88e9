//! The parser without copies.

use super::{
    FamilyType, Format, Limits, LineError,
    comment::{self, without_blanks},
    lexer::{Fault, Lexed, Lexer, Pair, Quoted, Span, Tail, fault},
    number, scan,
    text::decode,
};
use std::borrow::Cow;

/// How much of a text is looked at for UTF-8 at once: little enough to be still at hand when its lines are read.
const CHUNK: usize = 16 * 1024;
pub(super) const AFTER_END: &str = "nothing should follow # EOF";

/// Reads a text line by line; what it gives borrows from the text, and a sample costs no allocation.
///
/// ```
/// use platform_telemetry::exposition::{Entry, Format, Reader};
///
/// let mut reader = Reader::new(b"hits{path=\"/a\\\"b\"} 3\nhits{path=} 4\n", Format::Prometheus);
/// let Some(Ok(Entry::Sample(sample))) = reader.next_entry() else { unreachable!() };
/// assert_eq!((sample.name(), sample.value()), ("hits".into(), 3.0));
/// assert_eq!(sample.labels().next(), Some(("path".into(), "/a\"b".into())));
/// assert_eq!(reader.next_entry().unwrap().unwrap_err().line, 2);
/// assert!(reader.next_entry().is_none());
/// ```
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a [u8],
    /// Some lines of the text that are UTF-8.
    chunk: &'a str,
    /// Where the chunk ends in the text.
    chunk_end: usize,
    /// Until here lines are looked at one by one, since one of them is no UTF-8.
    careful_until: usize,
    /// The next line in the chunk.
    at: usize,
    /// The number of the last line.
    line: usize,
    ended: bool,
    lexer: Lexer,
}

/// What a line says. Lines that say nothing are passed over.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Entry<'a, 'r> {
    /// A sample.
    Sample(RawSample<'a, 'r>),
    /// `# TYPE`
    Type {
        /// The family's name.
        family: Cow<'a, str>,
        /// Its type.
        of: FamilyType,
    },
    /// `# HELP`
    Help {
        /// The family's name.
        family: Cow<'a, str>,
        /// What it is, in words.
        text: Cow<'a, str>,
    },
    /// `# UNIT`, of OpenMetrics.
    Unit {
        /// The family's name.
        family: Cow<'a, str>,
        /// The unit of its values.
        unit: Cow<'a, str>,
    },
    /// `# EOF`, of OpenMetrics.
    End,
}

/// What most lines are.
enum Plain<'a> {
    Comment(Entry<'a, 'static>),
    /// With where the line ends.
    Sample(Tail, usize),
}

impl<'a> Reader<'a> {
    /// Reads with the limits by default.
    pub fn new(text: &'a [u8], format: Format) -> Self {
        Self::with_limits(text, format, &Limits::default())
    }

    /// Reads with limits of labels and lines; those of samples and errors are the caller's.
    pub fn with_limits(text: &'a [u8], format: Format, limits: &Limits) -> Self {
        Self {
            text,
            chunk: "",
            chunk_end: 0,
            careful_until: 0,
            at: 0,
            line: 0,
            ended: false,
            lexer: Lexer::new(format, limits),
        }
    }

    /// The number of the line that was read last, from 1.
    #[inline]
    pub fn line(&self) -> usize {
        self.line
    }

    /// What the next line says that says something, or what is wrong with it; `None` at the end of the text.
    ///
    /// Behind `# EOF` nothing is read: the first line there is an error, and the last that is told.
    #[inline]
    pub fn next_entry(&mut self) -> Option<Result<Entry<'a, '_>, LineError>> {
        if self.ended {
            return self.rest().map(Err);
        }
        let (start, end) = loop {
            if self.at >= self.chunk.len() {
                if let Err(error) = self.next_chunk()? {
                    return Some(Err(error));
                }
                continue;
            }
            let start = self.at;
            match self.plain(start) {
                Some(Plain::Comment(entry)) => return Some(Ok(entry)),
                Some(Plain::Sample(Tail { value, timestamp }, end)) => {
                    return Some(Ok(Entry::Sample(RawSample {
                        line: self.chunk.get(start..end).unwrap_or_default(),
                        lexer: &self.lexer,
                        value,
                        timestamp,
                        head_end: start + self.lexer.head.end,
                    })));
                }
                None => {}
            }
            let rest = self.chunk.as_bytes().get(start..).unwrap_or_default();
            let end = memchr::memchr(b'\n', rest).map_or(self.chunk.len(), |n| start + n);
            self.at = end + 1;
            self.line += 1;
            if self.lexer.is_open() || !is_nothing(self.chunk.as_bytes(), start, end) {
                break (start, end);
            }
        };
        let bytes = self.chunk.as_bytes();
        let (from, until) = trimmed(&self.lexer, bytes, start, end);
        if bytes.get(from) == Some(&b'#') {
            return Some(self.comment(start, end));
        }
        // Put together where it is returned: moving it costs as much as some labels.
        match read_sample(&mut self.lexer, bytes, [start, end], [from, until]) {
            Ok(Tail { value, timestamp }) => Some(Ok(Entry::Sample(RawSample {
                line: self.chunk.get(from..until).unwrap_or_default(),
                lexer: &self.lexer,
                value,
                timestamp,
                head_end: from + self.lexer.head.end,
            }))),
            Err(fault) => Some(Err(error(self.chunk, start, self.line, &fault))),
        }
    }

    /// Reads what nearly all lines are, without looking for their ends first: comments of one shape, and in Prometheus' format samples with plain
    /// numbers. Others, and what is wrong, are left to who looks at the line as a whole.
    #[inline]
    fn plain(&mut self, start: usize) -> Option<Plain<'a>> {
        let (bytes, limit) = (self.chunk.as_bytes(), self.lexer.limits().line_bytes);
        let open = self.lexer.is_open();
        let (read, end) = match bytes.get(start)? {
            b'#' => {
                let (entry, end) = comment::read_plain(self.chunk, start, open, &mut self.lexer.family)?;
                (Plain::Comment(entry), end)
            }
            // What is longer is one line.
            first if !open && *first > b' ' && bytes.len() <= CHUNK => {
                self.lexer.read_head(bytes, start, bytes.len() - start).ok()?;
                let at = scan::skip_blanks(bytes, start + self.lexer.head.end);
                let (tail, end) = match number::last_value(bytes, at) {
                    Some((value, end)) => (Tail { value, timestamp: None }, end),
                    None => number::last_two(bytes, at)?,
                };
                (Plain::Sample(tail, end), end)
            }
            _ => return None,
        };
        if end - start > limit {
            return None;
        }
        self.at = end + 1;
        self.line += 1;
        Some(read)
    }

    fn comment(&mut self, start: usize, end: usize) -> Result<Entry<'a, '_>, LineError> {
        match read_line(&mut self.lexer, self.chunk, start, end) {
            Ok(entry) => {
                self.ended = matches!(entry, Entry::End);
                Ok(entry)
            }
            Err(fault) => Err(error(self.chunk, start, self.line, &fault)),
        }
    }

    /// Looks at more of the text; `None` at its end.
    fn next_chunk(&mut self) -> Option<Result<(), LineError>> {
        self.lexer.forget();
        (self.chunk, self.at) = ("", 0);
        let start = self.chunk_end;
        let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
        if start >= self.careful_until {
            let lines = whole_lines(rest);
            if let Ok(chunk) = simdutf8::basic::from_utf8(lines) {
                self.chunk = chunk;
                self.chunk_end = start + lines.len();
                return Some(Ok(()));
            }
            self.careful_until = start + lines.len();
        }
        let len = memchr::memchr(b'\n', rest).map_or(rest.len(), |n| n + 1);
        let line = rest.get(..len).unwrap_or_default();
        self.chunk_end = start + len;
        match std::str::from_utf8(line) {
            Ok(line) => {
                self.chunk = line;
                Some(Ok(()))
            }
            Err(e) => {
                self.line += 1;
                if !self.lexer.is_open() && comment::is_nothing(line) {
                    return Some(Ok(()));
                }
                Some(Err(LineError { line: self.line, message: no_text(&e) }))
            }
        }
    }

    /// What follows the end, if anything does. It is passed over.
    #[cold]
    fn rest(&mut self) -> Option<LineError> {
        if self.at >= self.chunk.len() && self.chunk_end >= self.text.len() {
            return None;
        }
        (self.chunk, self.at, self.chunk_end) = ("", 0, self.text.len());
        self.line += 1;
        Some(LineError { line: self.line, message: AFTER_END.to_owned() })
    }
}

/// As many lines as are looked at together, at least one.
fn whole_lines(text: &[u8]) -> &[u8] {
    let Some(chunk) = text.get(..CHUNK) else { return text };
    let end =
        memchr::memrchr(b'\n', chunk).or_else(|| memchr::memchr(b'\n', text)).map_or(text.len(), |n| n + 1);
    text.get(..end).unwrap_or(text)
}

/// Whether a line of Prometheus' format says nothing.
#[inline]
pub(super) fn is_nothing(bytes: &[u8], start: usize, end: usize) -> bool {
    // The first byte tells it of most.
    bytes.get(start).is_none_or(|byte| *byte <= b' ' || *byte == b'#')
        && bytes.get(start..end).is_none_or(|line| {
            line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) || comment::is_nothing(line)
        })
}

/// Reads a line of `text` that says something.
pub(super) fn read_line<'a, 'r>(
    lexer: &'r mut Lexer,
    text: &'a str,
    start: usize,
    end: usize,
) -> Lexed<Entry<'a, 'r>> {
    let bytes = text.as_bytes();
    let (from, until) = trimmed(lexer, bytes, start, end);
    if bytes.get(from) == Some(&b'#') {
        check_length(lexer, start, end)?;
        return comment::read(text, from, until, lexer.is_open());
    }
    let Tail { value, timestamp } = read_sample(lexer, bytes, [start, end], [from, until])?;
    let lexer = &*lexer;
    let line = text.get(from..until).unwrap_or_default();
    Ok(Entry::Sample(RawSample { line, lexer, value, timestamp, head_end: from + lexer.head.end }))
}

/// The line without what may stand around it.
#[inline]
fn trimmed(lexer: &Lexer, bytes: &[u8], start: usize, end: usize) -> (usize, usize) {
    if lexer.is_open() {
        return (start, end);
    }
    let until = without_blanks(bytes, start, end);
    (scan::skip_blanks(bytes, start).min(until), until)
}

#[inline]
fn check_length(lexer: &Lexer, start: usize, end: usize) -> Lexed<()> {
    let limit = lexer.limits().line_bytes;
    if end - start > limit || end > u32::MAX as usize {
        return fault(start, format!("{} bytes are more than the limit of {limit}", end - start));
    }
    Ok(())
}

/// Reads a line with a sample; of its name and labels the lexer knows.
#[inline]
fn read_sample(
    lexer: &mut Lexer,
    bytes: &[u8],
    [start, end]: [usize; 2],
    [from, until]: [usize; 2],
) -> Lexed<Tail> {
    check_length(lexer, start, end)?;
    if from == until {
        return fault(from, "OpenMetrics has no empty lines");
    }
    let line = bytes.get(from..).unwrap_or_default();
    let read = match lexer.read_head(bytes, from, until - from) {
        Ok(()) => lexer.read_tail(line, lexer.head.end, until - from),
        Err(fault) => Err(fault),
    };
    read.map_err(|mut fault| {
        fault.at += from;
        fault
    })
}

/// Reads what follows the name and labels of a line, in bytes that nobody looked at; `None` if it is not what follows them alone.
pub(super) fn read_tail(lexer: &mut Lexer, bytes: &[u8], start: usize, end: usize) -> Option<Tail> {
    let until = if lexer.is_open() { end } else { without_blanks(bytes, start, end) };
    let tail = lexer.read_tail(bytes, start, until).ok()?;
    // Without an exemplar it is all digits and blanks.
    let is_text = lexer.observed.is_none() || std::str::from_utf8(bytes.get(start..until)?).is_ok();
    is_text.then_some(tail)
}

#[cold]
pub(super) fn no_text(error: &std::str::Utf8Error) -> String {
    format!("byte {} is no UTF-8", error.valid_up_to() + 1)
}

/// What is wrong with a line that begins at `start`, with the column.
#[cold]
pub(super) fn error(text: &str, start: usize, line: usize, fault: &Fault) -> LineError {
    let before = text.get(start..fault.at.max(start)).unwrap_or_default();
    let column = before.chars().count() + 1;
    LineError { line, message: format!("{} (column {column})", fault.message) }
}

/// A sample as it stands in the text.
#[derive(Debug, Clone)]
pub struct RawSample<'a, 'r> {
    line: &'a str,
    lexer: &'r Lexer,
    value: f64,
    timestamp: Option<i64>,
    head_end: usize,
}

impl<'a, 'r> RawSample<'a, 'r> {
    /// The metric's name.
    #[inline]
    pub fn name(&self) -> Cow<'a, str> {
        text_of(self.line, self.lexer.head.name)
    }

    /// The labels in their order, less those without a value, which are none.
    #[inline]
    pub fn labels(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a, 'r> {
        labels(self.line, self.lexer.labels.get(..self.lexer.head.labels).unwrap_or_default())
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> f64 {
        self.value
    }

    /// When, in milliseconds since the epoch, if the target says so.
    #[inline]
    pub fn timestamp(&self) -> Option<i64> {
        self.timestamp
    }

    /// An example of what was counted.
    pub fn exemplar(&self) -> Option<RawExemplar<'a, 'r>> {
        self.lexer.observed.map(|observed| RawExemplar {
            line: self.line,
            labels: &self.lexer.exemplar,
            value: observed.value,
            timestamp: observed.timestamp,
        })
    }

    /// Where in the text that was read the name and labels end.
    #[inline]
    pub(super) fn head_end(&self) -> usize {
        self.head_end
    }
}

/// An exemplar as it stands in the text.
#[derive(Debug, Clone)]
pub struct RawExemplar<'a, 'r> {
    line: &'a str,
    labels: &'r [Pair],
    value: f64,
    timestamp: Option<i64>,
}

impl<'a, 'r> RawExemplar<'a, 'r> {
    /// Its labels in their order: a trace, for example.
    pub fn labels(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a, 'r> {
        labels(self.line, self.labels)
    }

    /// What was observed.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// When, in milliseconds since the epoch.
    pub fn timestamp(&self) -> Option<i64> {
        self.timestamp
    }
}

#[inline]
fn labels<'a, 'r>(
    text: &'a str,
    pairs: &'r [Pair],
) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a, 'r> {
    let given = pairs.iter().filter(|pair| pair.value.inside.start != pair.value.inside.end);
    given.map(move |pair| (text_of(text, pair.name), text_of(text, pair.value)))
}

#[inline]
fn text_of(text: &str, quoted: Quoted) -> Cow<'_, str> {
    decode(Span::of(quoted.inside, text), quoted.escaped)
}
