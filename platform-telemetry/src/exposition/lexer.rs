//! Lines with samples, by places in their text.

use super::{Format, Limits, number, scan, text::unescape};

/// From one place in a text to another.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        // Texts are cut into lines that are shorter than this.
        Self { start: start as u32, end: end as u32 }
    }

    fn start(self) -> usize {
        self.start as usize
    }

    fn len(self) -> usize {
        (self.end - self.start) as usize
    }

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
#[derive(Debug, Clone, Copy)]
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
    pub(super) exemplar: Option<Observed>,
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

/// Reads lines of one text. Neighbours mostly have the same names of metric and labels, so those of the line before are tried first.
#[derive(Debug)]
pub(super) struct Lexer {
    /// OpenMetrics: blanks stand only where they must.
    open: bool,
    limits: Limits,
    /// The bare name of the line before.
    name: Span,
    /// The labels of this line; behind those that were read, what is left of lines before.
    pub(super) labels: Vec<Pair>,
    /// How many of them are whole and of the text at hand.
    known: usize,
    pub(super) exemplar: Vec<Pair>,
}

impl Lexer {
    pub(super) fn new(format: Format, limits: &Limits) -> Self {
        Self {
            open: format == Format::OpenMetrics,
            limits: *limits,
            name: Span::default(),
            labels: Vec::new(),
            known: 0,
            exemplar: Vec::new(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The next line is of another text.
    pub(super) fn forget(&mut self) {
        self.name = Span::default();
        self.known = 0;
    }

    /// `name{label="value",…}` or `{"name",label="value",…}`, in `bytes` from `start` until `end`.
    #[inline]
    pub(super) fn head(&mut self, bytes: &[u8], start: usize, end: usize) -> Lexed<Head> {
        let head = self.read_head(bytes, start, end);
        if head.is_err() {
            self.forget();
        }
        head
    }

    #[inline]
    fn read_head(&mut self, bytes: &[u8], start: usize, end: usize) -> Lexed<Head> {
        const NAME: u8 = scan::LETTER | scan::DIGIT | scan::COLON;
        let len = self.name.len();
        let mut at = start + len;
        if len == 0 || scan::is(bytes, at, NAME) || !scan::same(bytes, self.name.start(), start, len) {
            at = if scan::is(bytes, start, scan::DIGIT) { start } else { scan::end_of(bytes, start, NAME) };
        }
        self.name = Span::new(start, at);
        let mut name = Quoted { inside: self.name, escaped: false };
        at = self.blanks(bytes, at);
        let mut labels = 0;
        if at < end && bytes.get(at) == Some(&b'{') {
            (at, labels) = self.read_labels(bytes, at + 1, end, &mut name)?;
            self.known = labels;
        }
        if name.inside.len() == 0 {
            return fault(at, "there is no metric's name");
        }
        Ok(Head { name, labels, end: at })
    }

    /// What stands between braces. A quoted text without a value is the metric's name. Tells where it ends and how many labels there are.
    #[inline]
    fn read_labels(
        &mut self,
        bytes: &[u8],
        start: usize,
        end: usize,
        metric: &mut Quoted,
    ) -> Lexed<(usize, usize)> {
        let (mut at, mut count, mut fresh) = (start, 0, false);
        loop {
            if count < self.known
                && let Some(pair) = self.labels.get_mut(count)
                && pair.plain
                && scan::same(bytes, pair.name.inside.start(), at, pair.name.inside.len() + 2)
            {
                let name = Span::new(at, at + pair.name.inside.len());
                let value = quoted(bytes, name.end as usize + 2, end)?;
                let after = value.inside.end as usize + 1;
                check_value(bytes, value, self.limits.label_value_bytes)?;
                *pair = Pair { name: Quoted { inside: name, escaped: false }, value, plain: true };
                count += 1;
                at = after;
                match bytes.get(at) {
                    Some(b',') => {
                        at += 1;
                        continue;
                    }
                    Some(b'}') => {
                        at += 1;
                        break;
                    }
                    _ => at = self.separator(bytes, at, end)?,
                }
                continue;
            }
            at = self.blanks(bytes, at);
            if at < end && bytes.get(at) == Some(&b'}') {
                at += 1;
                break;
            }
            at = if let Some((pair, after)) = self.read_label(bytes, at, end, metric)? {
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
                self.separator(bytes, metric.inside.end as usize + 1, end)?
            };
        }
        if fresh {
            self.check_names(bytes, count, at)?;
        }
        Ok((at, count))
    }

    /// A label, and where it ends; `None` where it was the metric's name.
    fn read_label(
        &mut self,
        bytes: &[u8],
        start: usize,
        end: usize,
        metric: &mut Quoted,
    ) -> Lexed<Option<(Pair, usize)>> {
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
        if is_quoted && metric.inside.len() == 0 {
            *metric = name;
            return Ok(None);
        }
        fault(at.min(end), "here should be a label's value after `=`")
    }

    /// Passes the comma between labels. Prometheus needs none in its own format.
    fn separator(&self, bytes: &[u8], at: usize, end: usize) -> Lexed<usize> {
        let at = self.blanks(bytes, at);
        match bytes.get(at).filter(|_| at < end) {
            Some(b',') => Ok(at + 1),
            Some(b'}') => Ok(at),
            Some(byte) if !self.open && (*byte == b'"' || scan::is(bytes, at, scan::LETTER)) => Ok(at),
            _ => fault(at.min(end), "here should be `,` or `}`"),
        }
    }

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
    pub(super) fn tail(&mut self, bytes: &[u8], start: usize, end: usize) -> Lexed<Tail> {
        if self.open {
            return self.open_tail(bytes, start, end);
        }
        let at = scan::skip_blanks(bytes, start);
        let Some((value, at)) = number::value(bytes, at, end) else {
            return wrong(bytes, at, end, "value");
        };
        if at == end {
            return Ok(Tail { value, timestamp: None, exemplar: None });
        }
        let at = scan::skip_blanks(bytes, at);
        let Some((millis, at)) = number::millis(bytes, at, end) else {
            return wrong(bytes, at, end, "timestamp in milliseconds");
        };
        if at != end {
            return fault(at, "nothing should follow the timestamp");
        }
        Ok(Tail { value, timestamp: Some(millis), exemplar: None })
    }

    /// ` value`, ` value seconds`, and either with ` # {labels} value` or ` # {labels} value seconds`.
    fn open_tail(&mut self, bytes: &[u8], start: usize, end: usize) -> Lexed<Tail> {
        const EXEMPLAR: &[u8] = b" # {";
        let (value, mut at) = open_value(bytes, start, end)?;
        let is_exemplar = |at: usize| bytes.get(at..end).is_some_and(|rest| rest.starts_with(EXEMPLAR));
        let mut timestamp = None;
        if at < end && !is_exemplar(at) {
            let (seconds, after) = open_seconds(bytes, at, end)?;
            timestamp = Some(seconds);
            at = after;
        }
        if at == end {
            return Ok(Tail { value, timestamp, exemplar: None });
        }
        if !is_exemplar(at) {
            return fault(at, "nothing but an exemplar should follow");
        }
        let exemplar = self.read_exemplar(bytes, at + EXEMPLAR.len(), end)?;
        Ok(Tail { value, timestamp, exemplar: Some(exemplar) })
    }

    fn read_exemplar(&mut self, bytes: &[u8], start: usize, end: usize) -> Lexed<Observed> {
        let mut own = Self {
            labels: std::mem::take(&mut self.exemplar),
            ..Self::new(Format::OpenMetrics, &self.limits)
        };
        // A quoted text without a value is no name here.
        let mut none = Quoted { inside: Span { start: 0, end: 1 }, escaped: false };
        let labels = own.read_labels(bytes, start, end, &mut none);
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
        if bytes.get(found) == Some(&b'"') {
            return Ok(Quoted { inside: Span::new(start, found), escaped });
        }
        escaped = true;
        at = found + 2;
    }
    fault(start - 1, "this quote is not closed")
}

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
