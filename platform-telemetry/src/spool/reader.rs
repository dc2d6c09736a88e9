//! The reading side.

use super::{
    Position,
    segment::{Next, Scanner, Segment},
    state::{Shared, add},
};
use bytes::Bytes;
use platform_core::{Error, ErrorKind, Result};
use std::{fmt, sync::Arc};
use tokio::sync::watch;

/// A record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which.
    pub position: Position,
    /// What it says: a slice of a large block that was read at once.
    pub payload: Bytes,
}

/// Records that were read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// In the order in which they were appended; at least one.
    pub records: Vec<Record>,
    /// The position after them.
    pub end: Position,
}

/// Reads a spool in order, from the committed position on. There is one for each spool.
///
/// # Behavior
/// - Only what is durable is read.
/// - A damaged record is passed over: counted in [`SpoolStats`](super::SpoolStats) and told by `tracing`.
pub struct SpoolReader {
    shared: Arc<Shared>,
    durable: watch::Receiver<u64>,
    /// Everything before was answered.
    next: u64,
    /// `None` before the first read, and after a read whose future was dropped.
    cursor: Option<Cursor>,
}

impl SpoolReader {
    pub(super) fn new(shared: Arc<Shared>, next: u64) -> Self {
        Self { durable: shared.durable.subscribe(), shared, next, cursor: None }
    }

    /// Waits until there is something to read, then reads records of about `max_bytes` bytes, at most `max_records` of them, and at least one.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the same records are read again.
    pub async fn read(&mut self, max_bytes: usize, max_records: usize) -> Result<Group> {
        loop {
            let next = self.next;
            // The sender lives as long as the spool, of which the reader is a part.
            if self.durable.wait_for(|durable| *durable > next).await.is_err() {
                return Err(super::state::closed());
            }
            let mut cursor = self.cursor.take().unwrap_or(Cursor { next, scanner: None });
            let shared = Arc::clone(&self.shared);
            let (cursor, read) = blocking(move || {
                let read = cursor.read(&shared, max_bytes, max_records);
                (cursor, read)
            })
            .await?;
            // What was read before an error is read again.
            let records = read?;
            self.next = cursor.next;
            self.cursor = Some(cursor);
            if !records.is_empty() {
                return Ok(Group { records, end: Position(self.next) });
            }
        }
    }

    /// Everything before `position` is done with: a later reader begins there, and segments that are wholly behind it are deleted.
    ///
    /// Durable when it answers. Positions may come late or twice: it never goes back. After an error the same can be tried again.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether it was done.
    pub async fn commit(&self, position: Position) -> Result<()> {
        self.committer().commit(position).await
    }

    /// What commits for this reader while it reads.
    pub fn committer(&self) -> Committer {
        Committer { shared: Arc::clone(&self.shared) }
    }

    /// The position of the next record to be read.
    pub fn position(&self) -> Position {
        Position(self.next)
    }
}

impl fmt::Debug for SpoolReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolReader").field("position", &self.next).finish_non_exhaustive()
    }
}

/// Commits the positions of a reader that is elsewhere.
#[derive(Clone)]
pub struct Committer {
    shared: Arc<Shared>,
}

impl Committer {
    /// As [`SpoolReader::commit`].
    pub async fn commit(&self, position: Position) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.commit(position.0)).await?
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer").field("path", &self.shared.dir).finish()
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
        .await
        .map_err(|e| Error::internal("reading the spool stopped half-way").source(e))
}

/// Where in which segment the reader is.
struct Cursor {
    next: u64,
    scanner: Option<(u64, Scanner)>,
}

/// A segment at a moment.
struct View {
    segment: Segment,
    /// The number after its last durable record.
    end: u64,
}

impl Cursor {
    fn read(&mut self, shared: &Shared, max_bytes: usize, max_records: usize) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut bytes = 0;
        while let Some(view) = self.view(shared) {
            self.open(shared, &view)?;
            // Without one, it is looked anew where to go on.
            let Some((_, scanner)) = &mut self.scanner else { continue };
            // Of records that were read before, it is not told again.
            let mut damage = 0;
            loop {
                match scanner.next(self.next, view.segment.bytes)? {
                    Next::Record { sequence, payload } => {
                        lost(shared, &view.segment, self.next, sequence, std::mem::take(&mut damage));
                        self.next = sequence + 1;
                        bytes += payload.len();
                        records.push(Record { position: Position(sequence), payload });
                        if bytes >= max_bytes || records.len() >= max_records {
                            return Ok(records);
                        }
                    }
                    Next::Damage { bytes } => damage += bytes,
                    Next::End => {
                        lost(shared, &view.segment, self.next, view.end, damage);
                        self.next = self.next.max(view.end);
                        break;
                    }
                }
            }
        }
        Ok(records)
    }

    /// The segment of the next record; `None` when everything durable was read.
    fn view(&mut self, shared: &Shared) -> Option<View> {
        let state = shared.lock();
        // What was dropped since was counted then.
        self.next = self.next.max(state.segments.front()?.base);
        if self.next >= state.durable {
            return None;
        }
        let at = state.segments.partition_point(|segment| segment.base <= self.next).checked_sub(1)?;
        let end = state.segments.get(at + 1).map_or(state.durable, |next| next.base);
        Some(View { segment: state.segments.get(at)?.clone(), end })
    }

    /// Makes the scanner that of the segment; none if it is not there any more.
    fn open(&mut self, shared: &Shared, view: &View) -> Result<()> {
        let base = view.segment.base;
        if self.scanner.as_ref().is_some_and(|(opened, _)| *opened == base) {
            return Ok(());
        }
        self.scanner = match Scanner::open(&view.segment, &shared.dir) {
            Ok(scanner) => Some((base, scanner)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Dropped just now by the policy, or deleted by somebody else.
                if shared.lock().segments.iter().any(|segment| segment.base == base) {
                    lost(shared, &view.segment, self.next, view.end, view.segment.bytes);
                    self.next = self.next.max(view.end);
                }
                None
            }
            Err(error) => return Err(error),
        };
        Ok(())
    }
}

/// Counts and tells that the records from `from` to `to` are not there, but `bytes` damaged ones.
fn lost(shared: &Shared, segment: &Segment, from: u64, to: u64, bytes: u64) {
    if to > from {
        add(&shared.counters.damaged_bytes, bytes);
        add(&shared.counters.damaged_records, to - from);
        tracing::error!(
            path = %segment.path(&shared.dir).display(),
            records = to - from,
            first = from,
            bytes,
            "records of the spool are damaged and lost"
        );
    }
}
