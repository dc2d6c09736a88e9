//! A target that is scraped again.

use super::{
    Entry, Format, Limits, LineError, Metadata, RawSample,
    lexer::Lexer,
    metadata::Families,
    number,
    reader::{AFTER_END, error, is_nothing, no_text, read_line, read_tail},
    scan,
};
use bytes::Bytes;
use platform_core::telemetry::MetricKind;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

/// Reads the scrapes of one target, one after the other. The last one's text is kept: of the next only what is not the same is parsed.
///
/// Mostly some values differ. They are found by comparing both texts, and read; names, labels and comments that stand where they stood are
/// not looked at again. Series that appear, vanish or change places cost as much as parsing their lines. What comes out is that of
/// [`parse`](super::parse), whatever differs; only exemplars are passed over.
///
/// With each series goes something of the caller's, made once: labels as they are stored, for example. It stays with the series while
/// its line has the same beginning.
///
/// ```
/// use platform_telemetry::exposition::{Format, Limits, Rescrape};
///
/// let mut target = Rescrape::new(Format::Prometheus, &Limits::default());
/// let mut made = 0;
/// for text in ["up{a=\"1\"} 1\nup{a=\"2\"} 1\n", "up{a=\"1\"} 1\nup{a=\"2\"} 0\n"] {
///     target.read(text.into(), |_| made += 1);
/// }
/// assert_eq!(made, 2);
/// assert_eq!(target.samples().map(|sample| sample.value).collect::<Vec<_>>(), [1.0, 0.0]);
/// ```
pub struct Rescrape<S> {
    format: Format,
    limits: Limits,
    lexer: Lexer,
    text: Bytes,
    lines: Vec<Place>,
    /// Of the lines that are samples.
    series: Vec<Held<S>>,
    /// The wrong lines, from 0, in their order.
    wrong: Vec<(usize, String)>,
    /// Those of the comments.
    untold: Vec<LineError>,
    families: Families,
    names: HashSet<Arc<str>>,
    over_limit: bool,
    ended: bool,
    /// Something follows the end.
    overrun: bool,
}

/// A line of the text, with its end.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Bytes that are the same while it is the same series; of other lines all.
    head: u32,
    tail: u32,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Sample,
    /// A sample of which the beginning alone does not tell the series.
    Closed,
    Comment,
    Nothing,
    Wrong,
}

impl Place {
    fn len(self) -> usize {
        self.head as usize + self.tail as usize + 1
    }

    fn is_sample(self) -> bool {
        matches!(self.what, What::Sample | What::Closed)
    }
}

struct Held<S> {
    of: S,
    metric: Arc<str>,
    kind: MetricKind,
    value: f64,
    timestamp: Option<i64>,
}

/// A sample of the last scrape.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rescraped<'r, S> {
    /// What goes with the series.
    pub of: &'r S,
    /// The metric.
    pub metric: &'r Arc<str>,
    /// What its values mean.
    pub kind: MetricKind,
    /// The value.
    pub value: f64,
    /// When, in milliseconds since the epoch, if the target says so.
    pub timestamp: Option<i64>,
}

/// What a scrape had to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Reread {
    /// Series appeared, vanished, or began or ceased to bring their own timestamps.
    pub series_changed: bool,
    /// Values that were read because they are not the same.
    pub values: usize,
    /// Lines that were parsed as a whole.
    pub lines: usize,
}

/// Where the texts are no longer alike.
#[derive(Debug, Clone, Copy, Default)]
struct Aligned {
    line: usize,
    sample: usize,
    old: usize,
    new: usize,
}

impl<S> Rescrape<S> {
    /// Reads scrapes in one format with the same limits.
    pub fn new(format: Format, limits: &Limits) -> Self {
        Self {
            format,
            limits: *limits,
            lexer: Lexer::new(format, limits),
            text: Bytes::new(),
            lines: Vec::new(),
            series: Vec::new(),
            wrong: Vec::new(),
            untold: Vec::new(),
            families: Families::new(format),
            names: HashSet::new(),
            over_limit: false,
            ended: false,
            overrun: false,
        }
    }

    /// The format that it reads.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Reads the next scrape. `make` is called for each series that was not there the last time.
    pub fn read(&mut self, text: Bytes, make: impl FnMut(&RawSample<'_, '_>) -> S) -> Reread {
        let mut reread = Reread::default();
        if self.over_limit || self.overrun {
            // The layout is not that of all the text.
            reread.series_changed = !self.series.is_empty();
            *self = Self::new(self.format, &self.limits);
        }
        let aligned = self.align(&text, &mut reread);
        if aligned.line < self.lines.len() || aligned.new < text.len() {
            self.merge(&text, aligned, &mut reread, make);
        }
        self.text = text;
        reread
    }

    /// Reads what differs only in values, until something else does.
    fn align(&mut self, text: &[u8], reread: &mut Reread) -> Aligned {
        let before = self.text.clone();
        let mut at = Aligned::default();
        let mut series = self.series.iter_mut();
        let mut lines = self.lines.iter_mut();
        loop {
            let (Some(old), Some(new)) = (before.get(at.old..), text.get(at.new..)) else { return at };
            let mut same = scan::common::<32>(old, new);
            let line = loop {
                let Some(line) = lines.next() else { return at };
                let len = line.len();
                if len > same {
                    break line;
                }
                same -= len;
                at.old += len;
                at.new += len;
                at.line += 1;
                if line.is_sample() {
                    at.sample += 1;
                    series.next();
                }
            };
            let head = line.head as usize;
            if line.what != What::Sample || same < head {
                return at;
            }
            let Some((value, timestamp, end)) = tail(&mut self.lexer, text, at.new + head) else { return at };
            let Some(held) = series.next().filter(|_| end - at.new <= self.limits.line_bytes) else {
                return at;
            };
            reread.values += 1;
            reread.series_changed |= held.timestamp.is_some() != timestamp.is_some();
            (held.value, held.timestamp) = (value, timestamp);
            at.old += line.len();
            line.tail = (end - at.new - head) as u32;
            at.new = end + 1;
            at.line += 1;
            at.sample += 1;
        }
    }

    /// Reads the lines that are left one by one, and takes what is known of them from the last scrape wherever it stood.
    fn merge(
        &mut self,
        text: &Bytes,
        at: Aligned,
        reread: &mut Reread,
        mut make: impl FnMut(&RawSample<'_, '_>) -> S,
    ) {
        // Nothing follows the end, so it is the last line.
        self.ended &= at.line == self.lines.len();
        let mut old = Former {
            text: self.text.clone(),
            lines: self.lines.split_off(at.line.min(self.lines.len())),
            series: self.series.split_off(at.sample.min(self.series.len())).into_iter().map(Some).collect(),
            line: 0,
            series_at: 0,
            at: at.old,
            start: at.old,
            places: None,
        };
        self.wrong.retain(|(line, _)| *line < at.line);
        let mut start = at.new;
        while let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
            let number = self.lines.len();
            if self.ended {
                self.overrun = true;
                self.wrong.push((number, AFTER_END.to_owned()));
                break;
            }
            let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let (line, is_whole) = (rest.get(..len).unwrap_or_default(), len < rest.len());
            start += len + 1;
            if let Some((place, held)) = self.expected(&mut old, line, is_whole, reread) {
                self.lines.push(place);
                self.series.extend(held);
            } else if !self.read_line(&mut old, line, is_whole, reread, &mut make) {
                break;
            }
            if self.series.len() > self.limits.samples {
                self.series.truncate(self.limits.samples);
                self.over_limit = true;
                break;
            }
        }
        reread.series_changed |= old.series.iter().any(Option::is_some);
        self.conclude(text);
    }

    /// Takes the line that comes next in the last scrape, if this is it.
    fn expected(
        &mut self,
        old: &mut Former<S>,
        line: &[u8],
        is_whole: bool,
        reread: &mut Reread,
    ) -> Option<(Place, Option<Held<S>>)> {
        let place = old.lines.get(old.line).copied().filter(|_| is_whole)?;
        let head = place.head as usize;
        if old.text.get(old.at..old.at + head)? != line.get(..head)? {
            return None;
        }
        match place.what {
            What::Sample => {}
            What::Nothing | What::Comment if head == line.len() && place.tail == 0 => {
                old.pass();
                self.ended |= self.format == Format::OpenMetrics && line == b"# EOF";
                return Some((place, None));
            }
            _ => return None,
        }
        if line.len() > self.limits.line_bytes {
            return None;
        }
        let tail = read_tail(&mut self.lexer, line, head, line.len())?;
        let mut held = old.series.get_mut(old.series_at)?.take()?;
        reread.values += usize::from(held.value.to_bits() != tail.value.to_bits());
        reread.series_changed |= held.timestamp.is_some() != tail.timestamp.is_some();
        (held.value, held.timestamp) = (tail.value, tail.timestamp);
        old.pass();
        Some((Place { tail: (line.len() - head) as u32, ..place }, Some(held)))
    }

    /// Parses a line. False if there must be no more.
    fn read_line(
        &mut self,
        old: &mut Former<S>,
        line: &[u8],
        is_whole: bool,
        reread: &mut Reread,
        make: &mut impl FnMut(&RawSample<'_, '_>) -> S,
    ) -> bool {
        reread.lines += 1;
        let open = self.format == Format::OpenMetrics;
        let number = self.lines.len();
        let all = |what| Place { head: line.len() as u32, tail: 0, what };
        if !open && is_nothing(line, 0, line.len()) {
            self.lines.push(all(What::Nothing));
            return true;
        }
        let read = match std::str::from_utf8(line) {
            Ok(text) => {
                self.lexer.forget();
                let entry = read_line(&mut self.lexer, text, 0, line.len());
                entry.map_err(|fault| error(text, 0, number + 1, &fault).message)
            }
            Err(e) => Err(no_text(&e)),
        };
        let place = match read {
            Err(message) => {
                self.wrong.push((number, message));
                all(What::Wrong)
            }
            Ok(Entry::Sample(sample)) => {
                if self.series.len() >= self.limits.samples {
                    self.over_limit = true;
                    return false;
                }
                let head = sample.head_end();
                // A value may stand right behind a name: what changes may then be the name.
                let told = open || matches!(line.get(head.wrapping_sub(1)), Some(b' ' | b'\t' | b'}'));
                let what = if told && is_whole { What::Sample } else { What::Closed };
                let known = line.get(..head).filter(|_| told).and_then(|head| old.take(head));
                let held = if let Some(held) = known {
                    reread.series_changed |= held.timestamp.is_some() != sample.timestamp().is_some();
                    Held { value: sample.value(), timestamp: sample.timestamp(), ..held }
                } else {
                    reread.series_changed = true;
                    let name = sample.name();
                    let metric = self.names.get(&*name).cloned().unwrap_or_else(|| {
                        let name: Arc<str> = name.into();
                        self.names.insert(Arc::clone(&name));
                        name
                    });
                    Held {
                        of: make(&sample),
                        metric,
                        kind: MetricKind::Unknown,
                        value: sample.value(),
                        timestamp: sample.timestamp(),
                    }
                };
                self.series.push(held);
                Place { head: head as u32, tail: (line.len() - head) as u32, what }
            }
            Ok(entry) => {
                self.ended |= matches!(entry, Entry::End);
                all(What::Comment)
            }
        };
        self.lines.push(place);
        true
    }

    /// Puts together what comments say, and what that says of the samples.
    fn conclude(&mut self, text: &[u8]) {
        self.families = Families::new(self.format);
        self.untold.clear();
        let mut start = 0;
        for (number, line) in self.lines.iter().enumerate() {
            let end = start + line.len() - 1;
            if line.what == What::Comment
                && let Some(comment) = text.get(start..end).and_then(|line| std::str::from_utf8(line).ok())
                && let Ok(entry) = read_line(&mut self.lexer, comment, 0, comment.len())
            {
                self.ended |= matches!(entry, Entry::End);
                if let Err(message) = self.families.add(entry) {
                    self.untold.push(LineError { line: number + 1, message });
                }
            }
            start = end + 1;
        }
        let mut kinds: HashMap<Arc<str>, MetricKind> = HashMap::new();
        let mut last: Option<(Arc<str>, MetricKind)> = None;
        for held in &mut self.series {
            // Neighbours are mostly of one metric.
            held.kind = match &last {
                Some((metric, kind)) if Arc::ptr_eq(metric, &held.metric) => *kind,
                _ => {
                    *kinds.entry(Arc::clone(&held.metric)).or_insert_with(|| self.families.kind(&held.metric))
                }
            };
            last = Some((Arc::clone(&held.metric), held.kind));
        }
        self.names = kinds.into_keys().collect();
    }

    /// The samples of the last scrape, in their order.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Rescraped<'_, S>> {
        self.series.iter().map(|held| Rescraped {
            of: &held.of,
            metric: &held.metric,
            kind: held.kind,
            value: held.value,
            timestamp: held.timestamp,
        })
    }

    /// The samples, with what goes with their series to be changed.
    pub fn samples_mut(
        &mut self,
    ) -> impl ExactSizeIterator<Item = (&mut S, &Arc<str>, MetricKind, f64, Option<i64>)> {
        self.series.iter_mut().map(|held| (&mut held.of, &held.metric, held.kind, held.value, held.timestamp))
    }

    /// What comments say, by the family's name.
    pub fn metadata(&self) -> impl Iterator<Item = (&Arc<str>, &Metadata)> {
        self.families.metadata()
    }

    /// The first of the lines that are wrong, no more than the limit.
    pub fn errors(&self) -> Vec<LineError> {
        let lines =
            self.wrong.iter().map(|(line, message)| LineError { line: line + 1, message: message.clone() });
        let mut errors: Vec<_> = lines.chain(self.untold.iter().cloned()).collect();
        errors.sort_by_key(|error| error.line);
        errors.truncate(self.limits.errors);
        errors
    }

    /// How many lines are wrong.
    pub fn rejected_lines(&self) -> u64 {
        (self.wrong.len() + self.untold.len()) as u64
    }

    /// There are more samples than the limit: reading stopped there.
    pub fn over_limit(&self) -> bool {
        self.over_limit
    }

    /// The text is whole: it ends with `# EOF` where its format asks for it.
    pub fn is_complete(&self) -> bool {
        self.format == Format::Prometheus || self.ended
    }
}

impl<S> fmt::Debug for Rescrape<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rescrape")
            .field("format", &self.format)
            .field("bytes", &self.text.len())
            .field("samples", &self.series.len())
            .finish_non_exhaustive()
    }
}

/// What is left of the last scrape.
struct Former<S> {
    text: Bytes,
    lines: Vec<Place>,
    series: Vec<Option<Held<S>>>,
    /// The line that is expected next, its series if it has one, and where it stands.
    line: usize,
    series_at: usize,
    at: usize,
    /// Where the first line stands.
    start: usize,
    /// Lines and series by the beginnings of their lines, made when one is not where it was expected.
    places: Option<HashMap<Bytes, (usize, usize, usize)>>,
}

impl<S> Former<S> {
    /// Goes on to the next line.
    fn pass(&mut self) {
        if let Some(line) = self.lines.get(self.line) {
            self.at += line.len();
            self.series_at += usize::from(line.is_sample());
            self.line += 1;
        }
    }

    /// Takes the series of which a line begins so, wherever it is, and expects what followed it.
    fn take(&mut self, head: &[u8]) -> Option<Held<S>> {
        if self.lines.is_empty() {
            return None;
        }
        if self.places.is_none() {
            self.places = Some(self.find_all());
        }
        let (line, series, at) = *self.places.as_ref()?.get(head)?;
        let held = self.series.get_mut(series)?.take()?;
        (self.line, self.series_at, self.at) = (line, series, at);
        self.pass();
        Some(held)
    }

    fn find_all(&self) -> HashMap<Bytes, (usize, usize, usize)> {
        let mut places = HashMap::with_capacity(self.series.len());
        let (mut at, mut series) = (self.start, 0);
        for (number, line) in self.lines.iter().enumerate() {
            let head = at..at + line.head as usize;
            if line.is_sample() {
                if self.text.get(head.clone()).is_some() {
                    places.entry(self.text.slice(head)).or_insert((number, series, at));
                }
                series += 1;
            }
            at += line.len();
        }
        places
    }
}

/// Reads what follows the beginning of a line, and tells where the line ends; `None` if it must be parsed as a whole.
#[inline]
fn tail(lexer: &mut Lexer, text: &[u8], start: usize) -> Option<(f64, Option<i64>, usize)> {
    let blank = text.get(start) == Some(&b' ');
    if (blank || !lexer.is_open())
        && let Some((value, end)) = number::last_value(text, start + usize::from(blank))
    {
        return Some((value, None, end));
    }
    let end = start + memchr::memchr(b'\n', text.get(start..)?)?;
    let tail = read_tail(lexer, text, start, end)?;
    Some((tail.value, tail.timestamp, end))
}

#[cfg(test)]
mod tests;
