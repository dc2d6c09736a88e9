//! Lines into entries: pieces that a runtime has split, and lines that belong together, joined for each stream by itself.

use super::{
    format::{LogFormat, Stream, piece},
    lines::Line,
    multiline::{Rules, State, Step},
};
use platform_core::clock::Timestamp;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What becomes a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) bytes: Vec<u8>,
    pub(super) stream: Stream,
    /// When the runtime took its first piece.
    pub(super) time: Option<Timestamp>,
    /// How many lines of the file it is made of.
    pub(super) lines: u64,
    /// How many more bytes its lines had beyond the limit.
    pub(super) cut: u64,
    /// It was given away without its end.
    pub(super) is_partial: bool,
    /// Lines of it that are not what the file's format says.
    pub(super) odd: u64,
}

/// Where each stream is to be read on: the beginning of what is unfinished of it.
pub(super) type Marks = [u64; Stream::LANES];

/// How lines are put together.
#[derive(Debug, Clone)]
pub(super) struct Assembling {
    pub(super) format: LogFormat,
    pub(super) rules: Option<Arc<Rules>>,
    /// How many bytes of a line are kept.
    pub(super) line_limit: usize,
    /// How long an unfinished line waits.
    pub(super) grace: Duration,
}

impl Assembling {
    /// How many bytes of a line of the file are kept: a wrapped one is longer than what it holds, with up to six bytes for one.
    pub(super) fn raw_limit(&self) -> usize {
        if self.format == LogFormat::Container {
            self.line_limit.saturating_mul(6).saturating_add(1024)
        } else {
            self.line_limit
        }
    }
}

/// Puts entries together from lines.
#[derive(Debug)]
pub(super) struct Assembler {
    how: Assembling,
    lanes: [Lane; Stream::LANES],
}

/// One stream of a file.
#[derive(Debug)]
struct Lane {
    /// A line of which a piece is still to come.
    line: Option<Open>,
    /// A record that may go on.
    record: Option<Open>,
    state: State,
    /// When its last line came.
    touched: Instant,
    /// Lines before were given away already.
    from: u64,
}

#[derive(Debug)]
struct Open {
    entry: Entry,
    /// Where in the file it begins.
    start: u64,
}

impl Assembler {
    /// One that gives away what begins at or behind `from` of each stream.
    pub(super) fn new(how: Assembling, from: Marks, now: Instant) -> Self {
        let lanes =
            from.map(|from| Lane { line: None, record: None, state: State::default(), touched: now, from });
        Self { how, lanes }
    }

    /// Another that holds nothing.
    pub(super) fn fresh(&self, from: Marks, now: Instant) -> Self {
        Self::new(self.how.clone(), from, now)
    }

    pub(super) fn format(&self) -> LogFormat {
        self.how.format
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.line.is_none() && lane.record.is_none())
    }

    /// Where each stream is to be read on, if lines up to `end` were taken.
    pub(super) fn marks(&self, end: u64) -> Marks {
        self.lanes.each_ref().map(|lane| {
            let open = lane.record.as_ref().or(lane.line.as_ref());
            // What is read again to reach another stream's unfinished record does not make this one's come again.
            open.map_or(end, |open| open.start).max(lane.from)
        })
    }

    /// Takes the line that begins at `start`; `is_partial`: it was given away without its end.
    pub(super) fn push(
        &mut self,
        line: Line,
        is_partial: bool,
        start: u64,
        now: Instant,
        to: &mut Vec<Entry>,
    ) {
        let Line { bytes, cut } = line;
        let (text, stream, time, goes_on, odd) = if self.how.format == LogFormat::Container {
            let piece = piece(&bytes);
            let goes_on = piece.goes_on && !is_partial;
            (piece.text.into_owned(), piece.stream, piece.time, goes_on, u64::from(piece.is_odd))
        } else {
            (bytes, Stream::Unnamed, None, false, 0)
        };
        let Some(lane) = self.lanes.get_mut(stream.lane()) else { return };
        if start < lane.from {
            return;
        }
        lane.touched = now;
        if lane.line.as_ref().is_some_and(|open| open.entry.stream != stream) {
            lane.finish_line(&self.how, to);
        }
        if lane.record.as_ref().is_some_and(|open| open.entry.stream != stream) {
            lane.finish_record(to);
        }
        match &mut lane.line {
            Some(open) => open.entry.append(&text, cut, self.how.line_limit),
            empty => {
                let mut entry = Entry { bytes: text, stream, time, lines: 1, cut, is_partial: false, odd };
                entry.shorten(self.how.line_limit);
                *empty = Some(Open { entry, start });
            }
        }
        if let (true, Some(open)) = (is_partial, &mut lane.line) {
            open.entry.is_partial = true;
        }
        if !goes_on {
            lane.finish_line(&self.how, to);
        }
    }

    /// Gives away what has waited long enough for more.
    pub(super) fn flush_due(&mut self, now: Instant, to: &mut Vec<Entry>) {
        let grace = self.how.grace;
        let flush_after = self.how.rules.as_ref().map_or(grace, |rules| rules.flush_after);
        for lane in &mut self.lanes {
            let waited = now.saturating_duration_since(lane.touched);
            if lane.line.is_some() && waited >= grace {
                if let Some(open) = &mut lane.line {
                    open.entry.is_partial = true;
                }
                lane.finish_line(&self.how, to);
                lane.finish_record(to);
            } else if lane.line.is_none() && waited >= flush_after {
                lane.finish_record(to);
            }
        }
    }

    /// Gives away everything: nothing more will come.
    pub(super) fn flush_all(&mut self, to: &mut Vec<Entry>) {
        for lane in &mut self.lanes {
            if let Some(open) = &mut lane.line {
                open.entry.is_partial = true;
            }
            lane.finish_line(&self.how, to);
            lane.finish_record(to);
        }
    }
}

impl Lane {
    /// The line has its end: it is a record, or a part of one.
    fn finish_line(&mut self, how: &Assembling, to: &mut Vec<Entry>) {
        let Some(mut line) = self.line.take() else { return };
        if how.format == LogFormat::Container && line.entry.bytes.last() == Some(&b'\r') {
            line.entry.bytes.pop();
        }
        let Some(rules) = &how.rules else {
            to.push(line.entry);
            return;
        };
        let Step { joins, stays_open, state } =
            rules.step(self.state, self.record.is_some(), &line.entry.bytes);
        self.state = state;
        match &mut self.record {
            Some(record) if joins && record.entry.bytes.len() + line.entry.bytes.len() < rules.max_bytes => {
                record.entry.join(&line.entry);
            }
            _ => {
                self.finish_record(to);
                self.state = state;
                self.record = Some(line);
            }
        }
        if !stays_open {
            self.finish_record(to);
        }
    }

    fn finish_record(&mut self, to: &mut Vec<Entry>) {
        self.state = State::default();
        to.extend(self.record.take().map(|open| open.entry));
    }
}

impl Entry {
    /// Another piece of the same line.
    fn append(&mut self, text: &[u8], cut: u64, limit: usize) {
        self.bytes.extend_from_slice(text);
        self.lines += 1;
        self.cut += cut;
        self.shorten(limit);
    }

    /// Another line of the same record.
    fn join(&mut self, line: &Self) {
        self.bytes.push(b'\n');
        self.bytes.extend_from_slice(&line.bytes);
        self.lines += line.lines;
        self.cut += line.cut;
        self.odd += line.odd;
        self.is_partial |= line.is_partial;
    }

    fn shorten(&mut self, limit: usize) {
        let surplus = self.bytes.len().saturating_sub(limit);
        self.bytes.truncate(limit);
        self.cut += surplus as u64;
    }
}

#[cfg(test)]
mod tests;
