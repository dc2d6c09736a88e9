//! One file that is followed.

use super::{
    assembly::{Assembler, Assembling, Entry, Marks},
    checkpoint::{
        Fingerprint, HEAD_BYTES, Identity, Position, TAIL_BYTES, read_exactly, tail_bytes, tail_fingerprint,
    },
    format::LogFormat,
    lines::LineDecoder,
    place::{Place, resolved},
};
use platform_core::clock::Timestamp;
use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

const READ_BYTES: usize = 64 * 1024;
const CHUNK_LINES: usize = 1_000;
const CHUNK_BYTES: usize = 1024 * 1024;
/// How much is read at once where no line ends: nobody can stop a reading half-way.
const READ_LIMIT: u64 = 16 * 1024 * 1024;
/// How many times a batch is refused for good before its lines are given up.
const REFUSALS: u32 = 3;
/// Coarser than the modification times of any file system that is still in use.
const CLOCK_TICK: Duration = Duration::from_secs(2);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A file, how far it was read, and how far what was read is durable.
#[derive(Debug)]
pub(super) struct Follower {
    /// Where it is now.
    pub(super) path: PathBuf,
    /// What it was called when it was first seen: the label of its lines.
    pub(super) name: String,
    pub(super) identity: Identity,
    /// Since when its path is another file's or nobody's.
    pub(super) rotated: Option<Instant>,
    /// The container that it is of.
    pub(super) place: Option<Place>,
    /// Since when it is followed.
    pub(super) opened: Instant,
    /// Nothing was known of its pod in time.
    pub(super) is_unknown: bool,
    /// Where its path led to when it was opened, which is beside the files that it is rotated to.
    pub(super) home: PathBuf,
    file: File,
    decoder: LineDecoder,
    assembler: Assembler,
    /// The next byte to read.
    read: u64,
    /// Everything before is durable.
    durable: u64,
    durable_tail: Fingerprint,
    /// Where each stream is to be read on from there.
    durable_marks: Marks,
    outstanding: VecDeque<Outstanding>,
    head: Vec<u8>,
    /// The last bytes before `read`.
    tail: Vec<u8>,
    checked: Option<(u64, SystemTime)>,
    grown: Instant,
    /// Raised when the file starts anew, so that what was read before no longer counts.
    generation: u64,
    next: u64,
    refusals: u32,
    failures: u32,
    wait_until: Option<Instant>,
}

#[derive(Debug)]
struct Outstanding {
    number: u64,
    end: u64,
    tail: Fingerprint,
    marks: Marks,
    lines: u64,
    outcome: Option<Outcome>,
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Durable,
    /// Worth another attempt.
    Failed,
    /// The sink will not take it.
    Refused,
}

/// Which chunk of a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    generation: u64,
    number: u64,
    lines: u64,
}

/// What was read together.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) entries: Vec<Entry>,
    pub(super) ticket: Ticket,
    pub(super) bytes: u64,
}

/// What settling a chunk meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Settled {
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) rewound: bool,
}

impl Follower {
    /// Follows `file`, that of `place`, from `offset`, behind which each stream is read on at its mark.
    pub(super) fn new(
        path: &Path,
        place: Option<Place>,
        file: File,
        (offset, marks): (u64, Marks),
        how: Assembling,
        now: Instant,
    ) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let head_len = usize::try_from(offset).unwrap_or(usize::MAX).min(HEAD_BYTES);
        Ok(Self {
            path: path.to_owned(),
            name: path.to_string_lossy().into_owned(),
            identity: Identity::of(&metadata),
            rotated: None,
            place,
            opened: now,
            is_unknown: false,
            home: resolved(path).unwrap_or_else(|| path.to_owned()),
            decoder: LineDecoder::new(how.raw_limit()).keeping_cr(how.format == LogFormat::Container),
            assembler: Assembler::new(how, marks, now),
            read: offset,
            durable: offset,
            durable_tail: tail_fingerprint(&file, offset)?,
            durable_marks: marks,
            outstanding: VecDeque::new(),
            head: read_exactly(&file, 0, head_len)?,
            tail: tail_bytes(&file, offset)?,
            checked: None,
            grown: now,
            generation: 0,
            next: 0,
            refusals: 0,
            failures: 0,
            wait_until: None,
            file,
        })
    }

    /// How its lines are read.
    pub(super) fn format(&self) -> LogFormat {
        self.assembler.format()
    }

    /// Whether `file` begins with what was read of this one's beginning.
    pub(super) fn is_beginning_of(&self, file: &File) -> bool {
        !self.head.is_empty() && read_exactly(file, 0, self.head.len()).is_ok_and(|head| head == self.head)
    }

    /// Whether the file was truncated or rewritten since it was last read; then it is read from its beginning.
    ///
    /// Answers how many bytes are known to have gone unread, and what was held of an unfinished line.
    pub(super) fn truncated(&mut self, now: Instant) -> io::Result<Option<(u64, Option<Chunk>)>> {
        let metadata = self.file.metadata()?;
        let state = (metadata.len(), metadata.modified()?);
        // Two writes within one tick of the file system's clock look like one.
        let is_settled = state.1.elapsed().is_ok_and(|age| age > CLOCK_TICK);
        if self.checked == Some(state) && is_settled {
            return Ok(None);
        }
        let fits = metadata.len() >= self.read
            && read_exactly(&self.file, 0, self.head.len())? == self.head
            && tail_bytes(&self.file, self.read)? == self.tail;
        let seen = self.checked.map_or(0, |(len, _)| len);
        self.checked = Some(state);
        if fits {
            return Ok(None);
        }
        let unread = seen.saturating_sub(self.read);
        let mut held = Vec::new();
        self.give_away_line(now, &mut held);
        self.assembler.flush_all(&mut held);
        self.generation += 1;
        self.outstanding.clear();
        self.head.clear();
        self.tail.clear();
        (self.read, self.durable, self.durable_tail) = (0, 0, Fingerprint::of(b""));
        self.durable_marks = Marks::default();
        (self.refusals, self.failures, self.wait_until) = (0, 0, None);
        self.grown = now;
        // Its rest, if there ever was one, went with the truncation.
        self.decoder = self.decoder.fresh();
        self.assembler = self.assembler.fresh(self.durable_marks, now);
        let chunk = if held.is_empty() { None } else { Some(self.issue(held, 0)?) };
        Ok(Some((unread, chunk)))
    }

    /// Reads what comes next; `None` when there is nothing now.
    ///
    /// A line without an end is given away once the file has not grown for `grace`, and so is what waits for more of its stream.
    pub(super) fn read(&mut self, now: Instant, grace: Duration) -> io::Result<Option<Chunk>> {
        if self.wait_until.is_some_and(|until| now < until) {
            return Ok(None);
        }
        self.wait_until = None;
        let start = self.read;
        let (mut entries, mut bytes, mut at_end) = (Vec::new(), 0, false);
        let mut buffer = vec![0; READ_BYTES];
        while entries.len() < CHUNK_LINES && bytes < CHUNK_BYTES && self.read - start < READ_LIMIT {
            let read = match self.file.read_at(&mut buffer, self.read) {
                Ok(0) => {
                    at_end = true;
                    break;
                }
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let mut rest = buffer.get(..read).unwrap_or_default();
            while !rest.is_empty() && entries.len() < CHUNK_LINES && bytes < CHUNK_BYTES {
                let line_start = self.line_start();
                let (taken, line) = self.decoder.take(rest);
                let (piece, after) = rest.split_at(taken.min(rest.len()));
                self.consume(piece);
                rest = after;
                if let Some(line) = line {
                    bytes += line.bytes.len();
                    self.assembler.push(line, false, line_start, now, &mut entries);
                }
            }
        }
        if self.read > start {
            self.grown = now;
        }
        let is_quiet = now.saturating_duration_since(self.grown) >= grace;
        if entries.is_empty() && is_quiet {
            self.give_away_line(now, &mut entries);
        }
        // What is there already may be the end of what waits.
        if at_end && (is_quiet || self.decoder.is_empty()) {
            self.assembler.flush_due(now, &mut entries);
        }
        let read = self.read - start;
        if entries.is_empty() {
            self.note_nothing()?;
            return Ok(None);
        }
        self.issue(entries, read).map(Some)
    }

    /// Where in the file the line begins that is under way.
    fn line_start(&self) -> u64 {
        self.read - self.decoder.held_bytes()
    }

    /// Takes what is held of an unfinished line for the whole of it.
    fn give_away_line(&mut self, now: Instant, to: &mut Vec<Entry>) {
        let start = self.line_start();
        if let Some(line) = self.decoder.flush() {
            self.assembler.push(line, true, start, now, to);
        }
    }

    /// Where each stream is to be read on, and the least of these.
    fn resumption(&self) -> (u64, Marks) {
        // What the decoder holds is read, but belongs to a line of a later chunk.
        let marks = self.assembler.marks(self.line_start());
        (marks.iter().copied().min().unwrap_or_default(), marks)
    }

    /// Ends of lines whose text was given away before, and lines that were delivered before: nothing to deliver, but durable with what is before
    /// them.
    fn note_nothing(&mut self) -> io::Result<()> {
        let (end, marks) = self.resumption();
        if self.outstanding.is_empty() && self.durable < end {
            (self.durable, self.durable_tail) = (end, tail_fingerprint(&self.file, end)?);
            self.durable_marks = marks;
        }
        Ok(())
    }

    fn issue(&mut self, entries: Vec<Entry>, bytes: u64) -> io::Result<Chunk> {
        let (end, marks) = self.resumption();
        let lines = entries.iter().map(|entry| entry.lines).sum();
        let ticket = Ticket { generation: self.generation, number: self.next, lines };
        self.next += 1;
        self.outstanding.push_back(Outstanding {
            number: ticket.number,
            end,
            tail: tail_fingerprint(&self.file, end)?,
            marks,
            lines: ticket.lines,
            outcome: None,
        });
        Ok(Chunk { entries, ticket, bytes })
    }

    fn consume(&mut self, piece: &[u8]) {
        self.read += piece.len() as u64;
        let room = HEAD_BYTES.saturating_sub(self.head.len());
        self.head.extend(piece.iter().take(room));
        self.tail.extend_from_slice(piece.get(piece.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default());
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..surplus);
    }

    /// Notes what became of a chunk, and moves the durable position over what is durable without a gap.
    pub(super) fn settle(&mut self, ticket: Ticket, outcome: Outcome, now: Instant) -> io::Result<Settled> {
        let mut settled = Settled::default();
        if ticket.generation != self.generation {
            match outcome {
                Outcome::Durable => settled.delivered = ticket.lines,
                // The file that had them starts anew: they cannot be read again.
                Outcome::Failed | Outcome::Refused => settled.lost = ticket.lines,
            }
            return Ok(settled);
        }
        // One that is not found was read again after a failure before it.
        if let Some(found) = self.outstanding.iter_mut().find(|o| o.number == ticket.number) {
            found.outcome = Some(outcome);
        }
        while let Some(outcome) = self.outstanding.front().and_then(|front| front.outcome) {
            match outcome {
                Outcome::Durable => {
                    settled.delivered += self.advance();
                    (self.refusals, self.failures) = (0, 0);
                }
                Outcome::Refused if self.refusals + 1 >= REFUSALS => {
                    settled.lost += self.advance();
                    self.refusals = 0;
                }
                Outcome::Failed | Outcome::Refused => {
                    self.refusals += u32::from(outcome == Outcome::Refused);
                    self.rewind(now)?;
                    settled.rewound = true;
                }
            }
        }
        Ok(settled)
    }

    fn advance(&mut self) -> u64 {
        self.outstanding.pop_front().map_or(0, |front| {
            (self.durable, self.durable_tail) = (front.end, front.tail);
            self.durable_marks = front.marks;
            front.lines
        })
    }

    /// Reads again from the durable position, after a while.
    fn rewind(&mut self, now: Instant) -> io::Result<()> {
        self.outstanding.clear();
        self.decoder = self.decoder.fresh();
        self.assembler = self.assembler.fresh(self.durable_marks, now);
        self.read = self.durable;
        self.tail = tail_bytes(&self.file, self.read)?;
        self.head.truncate(usize::try_from(self.read).unwrap_or(usize::MAX));
        self.checked = None;
        self.grown = now;
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(6)).min(LONGEST_WAIT);
        self.failures += 1;
        self.wait_until = Some(now + wait);
        Ok(())
    }

    /// Whether everything is read and delivered, and nothing has come for `idle`.
    pub(super) fn is_finished(&self, now: Instant, idle: Duration) -> bool {
        self.outstanding.is_empty()
            && self.decoder.is_empty()
            && self.assembler.is_empty()
            && self.wait_until.is_none()
            && now.saturating_duration_since(self.grown) >= idle
            // Whoever is held back for long has not read what has come long ago.
            && self.file.metadata().map_or(true, |metadata| metadata.len() <= self.read)
    }

    /// The durable position.
    pub(super) fn position(&self, seen: Timestamp) -> Position {
        let head = usize::try_from(self.durable).unwrap_or(usize::MAX).min(self.head.len());
        Position {
            path: self.path.clone(),
            identity: self.identity,
            offset: self.durable,
            head: Fingerprint::of(self.head.get(..head).unwrap_or_default()),
            tail: self.durable_tail,
            streams: Some(self.durable_marks).filter(|marks| marks.iter().any(|mark| *mark > self.durable)),
            resolved: Some(self.home.clone()).filter(|home| *home != self.path),
            seen,
        }
    }
}
