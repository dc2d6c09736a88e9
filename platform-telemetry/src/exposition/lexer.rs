//! Lines with samples, by places in their text.

use super::{Format, Limits, number, scan, text::unescape};

/// From one place in a line to another.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    #[inline]
    fn new(start: usize, end: usize) -> Self {
        // Texts are cut into lines that are shorter than this.
        Self { start: start as u32, end: end as u32 }
    }

    #[inline]
    fn start(self) -> usize {
        self.start as usize
    }

    #[inline]
    fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    #[inline]
    pub(super) fn of(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// What stands between quotes, or would.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Quoted {
    pub(super) inside: Span,
    /// There are escapes in it.
    pub(super) escaped: bool,
}

/// A label.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pair {
    pub(super) name: Quoted,
    pub(super) value: Quoted,
    /// Its name stands without quotes and right before `="`.
    plain: bool,
}

/// What precedes the value: a metric's name with labels.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    pub(super) name: Quoted,
    pub(super) labels: usize,
    /// Where it ends: behind the labels or the blanks that follow a bare name.
    pub(super) end: usize,
}

/// The value and what follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    pub(super) value: f64,
    /// In milliseconds.
    pub(super) timestamp: Option<i64>,
}

/// An exemplar besides its labels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observed {
    pub(super) value: f64,
    /// In milliseconds.
    pub(super) timestamp: Option<i64>,
}

/// Why a line is wrong, and where in the text.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) message: String,
}

pub(super) type Lexed<T> = Result<T, Box<Fault>>;

#[cold]
pub(super) fn fault<T>(at: usize, message: impl Into<String>) -> Lexed<T> {
    Err(Box::new(Fault { at, message: message.into() }))
}

/// Reads lines of one text. Neighbours mostly begin alike and have the same names of labels: what is the same is not read again.
#[derive(Debug)]
pub(super) struct Lexer {
    /// OpenMetrics: blanks stand only where they must.
    open: bool,
    limits: Limits,
    /// Where the last sample begins, and how long its bare name is; 0: there is none to go by.
    before: usize,
    name_len: usize,
    /// The name that the comment before has, by its place and length.
    pub(super) family: (usize, usize),
    pub(super) head: Head,
    /// The labels of this line; behind those that were read, what is left of lines before.
    pub(super) labels: Vec<Pair>,
    /// How many of them are of the sample before.
    known: usize,
    /// The exemplar of this line.
    pub(super) observed: Option<Observed>,
    pub(super) exemplar: Vec<Pair>,
}

impl Lexer {
    pub(super) fn new(format: Format, limits: &Limits) -> Self {
        Self {
            open: format == Format::OpenMetrics,
            limits: *limits,
            before: 0,
            name_len: 0,
            family: (0, 0),
            head: Head::default(),
            labels: Vec::new(),
            known: 0,
            observed: None,
            exemplar: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    #[inline]
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The next line is of another text.
    #[inline]
    pub(super) fn forget(&mut self) {
        (self.name_len, self.known, self.family) = (0, 0, (0, 0));
    }

    /// `name{label="value",…}` or `{"name",label="value",…}`, of the line in `bytes` that begins at `start` and has so many. Where it ends is
    /// minded if others follow it.
    #[inline]
    pub(super) fn read_head(&mut self, bytes: &[u8], start: usize, len: usize) -> Lexed<()> {
        let line = bytes.get(start..).unwrap_or_default();
        let before = bytes.get(self.before..).unwrap_or_default();
        self.before = start;
        let read = self.read_series([line, before, bytes], len);
        if read.is_err() {
            self.forget();
        }
        read
    }

    #[inline]
    fn read_series(&mut self, [line, before, all]: [&[u8]; 3], end: usize) -> Lexed<()> {
        const NAME: u8 = scan::LETTER | scan::DIGIT | scan::COLON;
        let mut same = 0;
        if self.name_len != 0 {
            // Some bytes more, so that whole blocks are compared.
            let before = before.get(..self.head.end + 16).unwrap_or(before);
            same = scan::common::<16>(before, line).min(self.head.end);
        }
        let mut at = self.name_len;
        if same == 0 || same < at || scan::is(line, at, NAME) {
            let (there, len) = self.family;
            at = if scan::is(line, 0, scan::DIGIT) {
                0
            } else {
                scan::name_end_like(line, 0, all, there, len)
            };
            same = 0;
        }
        self.name_len = at;
        self.head.name = Quoted { inside: Span::new(0, at), escaped: false };
        at = self.blanks(line, at);
        let mut labels = 0;
        if at < end && line.get(at) == Some(&b'{') {
            (at, labels) = self.read_labels([line, before], same, at + 1, end)?;
        }
        (self.known, self.head.labels, self.head.end) = (labels, labels, at);
        if self.head.name.inside.len() == 0 {
            return fault(at, "there is no metric's name");
        }
        Ok(())
    }

    /// What stands between braces. A quoted text without a value is the metric's name. Tells where it ends and how many labels there are.
    ///
    /// Of both lines so much is the `same`.
    #[inline]
    fn read_labels(
        &mut self,
        [bytes, before]: [&[u8]; 2],
        same: usize,
        start: usize,
        end: usize,
    ) -> Lexed<(usize, usize)> {
        let known = self.labels.get(..self.known).unwrap_or_default();
        let kept = known.iter().take_while(|pair| (pair.value.inside.end as usize) < same);
        let (mut at, mut count, mut fresh) = (start, 0, false);
        for pair in kept {
            (at, count) = (pair.value.inside.end as usize + 1, count + 1);
        }
        if count > 0 {
            at = self.separator(bytes, at, end)?;
        }
        loop {
            if count < self.known
                && let Some(pair) = self.labels.get_mut(count)
                && pair.plain
                && scan::same(bytes, at, before, pair.name.inside.start(), pair.name.inside.len() + 2)
            {
                let name = Span::new(at, at + pair.name.inside.len());
                let value = quoted(bytes, name.end as usize + 2, end)?;
                check_value(bytes, value, self.limits.label_value_bytes)?;
                *pair = Pair { name: Quoted { inside: name, escaped: false }, value, plain: true };
                count += 1;
                at = self.separator(bytes, value.inside.end as usize + 1, end)?;
                continue;
            }
            at = self.blanks(bytes, at);
            if at < end && bytes.get(at) == Some(&b'}') {
                at += 1;
                break;
            }
            at = if let Some((pair, after)) = self.read_label(bytes, at, end)? {
                if count >= self.limits.labels {
                    return fault(at, format!("there are more than {} labels", self.limits.labels));
                }
                match self.labels.get_mut(count) {
                    Some(place) => *place = pair,
                    None => self.labels.push(pair),
                }
                count += 1;
                fresh = true;
                self.separator(bytes, after, end)?
            } else {
                // Behind the metric's name Prometheus wants its comma.
                let after = self.blanks(bytes, self.head.name.inside.end as usize + 1);
                match bytes.get(after) {
                    Some(b',' | b'}') => self.separator(bytes, after, end)?,
                    _ => return fault(after.min(end), "here should be `,` or `}`"),
                }
            };
        }
        if fresh {
            self.check_names(bytes, count, at)?;
        }
        Ok((at, count))
    }

    /// A label, and where it ends; `None` where it was the metric's name.
    #[inline]
    fn read_label(&mut self, bytes: &[u8], start: usize, end: usize) -> Lexed<Option<(Pair, usize)>> {
        let is_quoted = start < end && bytes.get(start) == Some(&b'"');
        let (name, after_name) = if is_quoted {
            let name = quoted(bytes, start + 1, end)?;
            (name, name.inside.end as usize + 1)
        } else {
            let bare = if scan::is(bytes, start, scan::LETTER) {
                scan::end_of(bytes, start, scan::LETTER | scan::DIGIT)
            } else {
                start
            };
            (Quoted { inside: Span::new(start, bare), escaped: false }, bare)
        };
        if !is_quoted && name.inside.len() == 0 {
            return fault(start, "here should be a label's name");
        }
        let at = self.blanks(bytes, after_name);
        if at < end && bytes.get(at) == Some(&b'=') {
            let quote = self.blanks(bytes, at + 1);
            if quote >= end || bytes.get(quote) != Some(&b'"') {
                return fault(quote.min(end), "here should be a label's value in quotes");
            }
            let value = quoted(bytes, quote + 1, end)?;
            self.check_label(bytes, name, start)?;
            check_value(bytes, value, self.limits.label_value_bytes)?;
            let plain = !is_quoted && quote == after_name + 1;
            return Ok(Some((Pair { name, value, plain }, value.inside.end as usize + 1)));
        }
        if is_quoted && self.head.name.inside.len() == 0 {
            self.head.name = name;
            return Ok(None);
        }
        fault(at.min(end), "here should be a label's value after `=`")
    }

    /// Passes the comma between labels. Prometheus needs none in its own format.
    #[inline]
    fn separator(&self, bytes: &[u8], at: usize, end: usize) -> Lexed<usize> {
        match bytes.get(at) {
            Some(b',') => Ok(at + 1),
            Some(b'}') => Ok(at),
            _ => self.rare_separator(bytes, at, end),
        }
    }

    fn rare_separator(&self, bytes: &[u8], at: usize, end: usize) -> Lexed<usize> {
        let at = self.blanks(bytes, at);
        match bytes.get(at).filter(|_| at < end) {
            Some(b',') => Ok(at + 1),
            Some(b'}') => Ok(at),
            Some(byte) if !self.open && (*byte == b'"' || scan::is(bytes, at, scan::LETTER)) => Ok(at),
            _ => fault(at.min(end), "here should be `,` or `}`"),
        }
    }

    #[inline]
    fn check_label(&self, bytes: &[u8], name: Quoted, at: usize) -> Lexed<()> {
        let name = decoded(bytes, name);
        if name.is_empty() {
            return fault(at, "a label has no name");
        }
        if &*name == b"__name__" {
            return fault(at, "the label __name__ is the metric's name itself");
        }
        if name.len() > self.limits.label_name_bytes {
            return fault(at, format!("a label's name has more than {} bytes", self.limits.label_name_bytes));
        }
        Ok(())
    }

    /// Whether every name is there once.
    fn check_names(&self, bytes: &[u8], count: usize, at: usize) -> Lexed<()> {
        /// So few are compared each with each.
        const FEW: usize = 24;
        let pairs = self.labels.get(..count).unwrap_or_default();
        let name = |pair: &Pair| bytes.get(pair.name.inside.start()..pair.name.inside.end as usize);
        let twice = if count <= FEW && pairs.iter().all(|pair| !pair.name.escaped) {
            let found = pairs.iter().enumerate().find(|(n, pair)| {
                pairs.iter().take(*n).any(|other| {
                    other.name.inside.len() == pair.name.inside.len() && name(other) == name(pair)
                })
            });
            found.map(|(_, pair)| decoded(bytes, pair.name))
        } else {
            let mut names: Vec<_> = pairs.iter().map(|pair| decoded(bytes, pair.name)).collect();
            names.sort_unstable();
            names.windows(2).find(|two| two.first() == two.last()).and_then(|two| two.first().cloned())
        };
        match twice {
            Some(name) => fault(at, format!("the label {} is there twice", String::from_utf8_lossy(&name))),
            None => Ok(()),
        }
    }

    #[inline]
    fn blanks(&self, bytes: &[u8], at: usize) -> usize {
        if self.open { at } else { scan::skip_blanks(bytes, at) }
    }

    /// The value and what follows it, until `end`.
    #[inline]
    pub(super) fn read_tail(&mut self, bytes: &[u8], start: usize, end: usize) -> Lexed<Tail> {
        if self.open {
            return self.open_tail(bytes, start, end);
        }
        let at = scan::skip_blanks(bytes, start);
        let Some((value, at)) = number::value(bytes, at, end) else {
            return wrong(bytes, at, end, "value");
        };
        if at == end {
            return Ok(Tail { value, timestamp: None });
        }
        let at = scan::skip_blanks(bytes, at);
        let Some((millis, at)) = number::millis(bytes, at, end) else {
            return wrong(bytes, at, end, "timestamp in milliseconds");
        };
        if at != end {
            return fault(at, "nothing should follow the timestamp");
        }
        Ok(Tail { value, timestamp: Some(millis) })
    }

    /// ` value`, ` value seconds`, and either with ` # {labels} value` or ` # {labels} value seconds`.
    fn open_tail(&mut self, bytes: &[u8], start: usize, end: usize) -> Lexed<Tail> {
        const EXEMPLAR: &[u8] = b" # {";
        self.observed = None;
        let (value, mut at) = open_value(bytes, start, end)?;
        let is_exemplar = |at: usize| bytes.get(at..end).is_some_and(|rest| rest.starts_with(EXEMPLAR));
        let mut timestamp = None;
        if at < end && !is_exemplar(at) {
            let (seconds, after) = open_seconds(bytes, at, end)?;
            timestamp = Some(seconds);
            at = after;
        }
        if at == end {
            return Ok(Tail { value, timestamp });
        }
        if !is_exemplar(at) {
            return fault(at, "nothing but an exemplar should follow");
        }
        let exemplar = self.read_exemplar(bytes, at + EXEMPLAR.len(), end)?;
        self.observed = Some(exemplar);
        Ok(Tail { value, timestamp })
    }

    fn read_exemplar(&mut self, bytes: &[u8], start: usize, end: usize) -> Lexed<Observed> {
        let mut own = Self {
            labels: std::mem::take(&mut self.exemplar),
            ..Self::new(Format::OpenMetrics, &self.limits)
        };
        // A quoted text without a value is no name here.
        own.head.name.inside.end = 1;
        let labels = own.read_labels([bytes, &[]], 0, start, end);
        self.exemplar = own.labels;
        let (at, count) = labels?;
        self.exemplar.truncate(count);
        let (value, at) = open_value(bytes, at, end)?;
        if at == end {
            return Ok(Observed { value, timestamp: None });
        }
        let (seconds, at) = open_seconds(bytes, at, end)?;
        if at != end {
            return fault(at, "nothing should follow the exemplar's timestamp");
        }
        Ok(Observed { value, timestamp: Some(seconds) })
    }
}

#[inline]
fn check_value(bytes: &[u8], value: Quoted, limit: usize) -> Lexed<()> {
    if value.inside.len() > limit && decoded(bytes, value).len() > limit {
        return fault(value.inside.start(), format!("a label's value has more than {limit} bytes"));
    }
    Ok(())
}

fn open_value(bytes: &[u8], start: usize, end: usize) -> Lexed<(f64, usize)> {
    if start >= end || bytes.get(start) != Some(&b' ') {
        return fault(start.min(end), "here should be a blank and a value");
    }
    number::value(bytes, start + 1, end).map_or_else(|| wrong(bytes, start + 1, end, "value"), Ok)
}

fn open_seconds(bytes: &[u8], start: usize, end: usize) -> Lexed<(i64, usize)> {
    if bytes.get(start) != Some(&b' ') {
        return fault(start, "here should be one blank");
    }
    number::seconds(bytes, start + 1, end)
        .map_or_else(|| wrong(bytes, start + 1, end, "timestamp in seconds"), Ok)
}

/// Reads until the closing quote, which must come before `end`.
#[inline]
pub(super) fn quoted(bytes: &[u8], start: usize, end: usize) -> Lexed<Quoted> {
    let (mut at, mut escaped) = (start, false);
    while let Some(found) = scan::quote_or_escape(bytes, at).filter(|found| *found < end) {
        match bytes.get(found) {
            Some(b'"') => return Ok(Quoted { inside: Span::new(start, found), escaped }),
            Some(b'\\') if bytes.get(found + 1) != Some(&b'\n') => (escaped, at) = (true, found + 2),
            _ => break,
        }
    }
    fault(start - 1, "this quote is not closed")
}

#[inline]
fn decoded(bytes: &[u8], quoted: Quoted) -> std::borrow::Cow<'_, [u8]> {
    let raw = bytes.get(quoted.inside.start()..quoted.inside.end as usize).unwrap_or_default();
    match std::str::from_utf8(raw) {
        Ok(text) if quoted.escaped => unescape(text, true).into_bytes().into(),
        _ => raw.into(),
    }
}

#[cold]
fn wrong<T>(bytes: &[u8], at: usize, end: usize, what: &str) -> Lexed<T> {
    let at = at.min(end);
    let word = number::word(bytes.get(..end).unwrap_or_default(), at).unwrap_or_default();
    if word.is_empty() {
        return fault(at, format!("there is no {what}"));
    }
    // A word of the line for a message, not longer than that.
    let short: String = word.chars().take(40).collect();
    let more = if short.len() < word.len() { "…" } else { "" };
    fault(at, format!("{short:?}{more} is no {what}"))
}
