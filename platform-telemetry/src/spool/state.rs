//! What the writer, the reader and those who append share.

use super::{
    SpoolOptions, SpoolStats, WhenFull,
    position::CommittedFile,
    records::{CHUNK_BYTES, Chunk, Pool},
    segment::Segment,
};
use crate::files::{Claim, unpoisoned};
use platform_core::{Error, ErrorKind, Result};
use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{Notify, oneshot, watch};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) options: SpoolOptions,
    /// Of the checksums of new records.
    pub(super) salt: u32,
    pub(super) state: Mutex<State>,
    /// Wakes the writer.
    pub(super) work: Condvar,
    /// Wakes those who wait for room.
    pub(super) room: Notify,
    /// The number after the last durable record.
    pub(super) durable: watch::Sender<u64>,
    /// Held while it is written, and while segments behind it are deleted.
    pub(super) committed: Mutex<CommittedFile>,
    pub(super) pool: Arc<Pool>,
    pub(super) counters: Counters,
    /// Locked as long as it is open.
    pub(super) _claim: Claim,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) queue: VecDeque<Queued>,
    /// Bytes that are not in a file yet, those in the writer's hands included.
    pub(super) queued_bytes: u64,
    /// Who waits for what is before a number, in that order.
    pub(super) waiting: VecDeque<(u64, oneshot::Sender<Result<()>>)>,
    /// The number of the next record.
    pub(super) next: u64,
    pub(super) durable: u64,
    pub(super) committed: u64,
    /// The oldest first; the last one may be written to.
    pub(super) segments: VecDeque<Segment>,
    /// Bytes in segments, durable or not.
    pub(super) disk_bytes: u64,
    /// Somebody does not want to wait for more.
    pub(super) flush: bool,
    pub(super) closing: bool,
    /// Nothing was appended for lack of room since there was some.
    pub(super) full: bool,
}

/// A chunk with the number of its first record.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) chunk: Chunk,
    pub(super) first: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) appended_records: AtomicU64,
    pub(super) appended_bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) waits: AtomicU64,
    pub(super) write_failures: AtomicU64,
    pub(super) dropped_oldest: AtomicU64,
    pub(super) dropped_newest: AtomicU64,
    pub(super) damaged_records: AtomicU64,
    pub(super) damaged_bytes: AtomicU64,
    pub(super) torn_bytes: AtomicU64,
}

/// What became of a chunk.
pub(super) enum Admission {
    /// It is queued; the receiver is told when it is durable.
    Queued(oneshot::Receiver<Result<()>>),
    /// There is no room, and what is new is dropped then.
    Dropped,
    /// There is no room now.
    Wait(Chunk),
}

pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    pub(super) fn admit(&self, chunk: Chunk) -> Result<Admission> {
        let bytes = chunk.bytes.len() as u64;
        let mut state = self.lock();
        if state.closing {
            return Err(closed());
        }
        if state.queued_bytes > 0 && state.queued_bytes + bytes > self.options.queue_bytes {
            return Ok(Admission::Wait(chunk));
        }
        let is_full = state.disk_bytes + state.queued_bytes + bytes > self.options.max_bytes;
        match self.options.when_full {
            WhenFull::Block | WhenFull::DropNewest if is_full => {
                if !state.full {
                    state.full = true;
                    tracing::warn!(
                        path = %self.dir.display(),
                        max_bytes = self.options.max_bytes,
                        policy = self.options.when_full.as_str(),
                        "the spool is full"
                    );
                }
                if self.options.when_full == WhenFull::Block {
                    return Ok(Admission::Wait(chunk));
                }
                add(&self.counters.dropped_newest, chunk.records);
                return Ok(Admission::Dropped);
            }
            _ => {}
        }
        state.full = false;
        let (acknowledge, acknowledged) = oneshot::channel();
        let first = state.next;
        state.next += chunk.records;
        state.queued_bytes += bytes;
        let end = state.next;
        state.waiting.push_back((end, acknowledge));
        match state.queue.back_mut() {
            Some(last) if last.chunk.bytes.len() + chunk.bytes.len() <= CHUNK_BYTES => {
                last.chunk.bytes.extend_from_slice(&chunk.bytes);
                last.chunk.records += chunk.records;
                self.pool.give(chunk.bytes);
            }
            _ => state.queue.push_back(Queued { chunk, first }),
        }
        drop(state);
        self.work.notify_one();
        Ok(Admission::Queued(acknowledged))
    }

    /// Everything before `position` is done with: makes that durable, and deletes segments that are wholly behind it.
    pub(super) fn commit(&self, position: u64) -> Result<()> {
        let mut file = unpoisoned(self.committed.lock());
        let (durable, committed) = {
            let state = self.lock();
            (state.durable, state.committed)
        };
        let position = position.min(durable);
        if position > committed {
            file.write(position)?;
            self.lock().committed = position;
        }
        self.delete_while(|segments| segments.get(1).is_some_and(|next| next.base <= position))
    }

    /// Drops the oldest segments until `bytes` more fit.
    pub(super) fn drop_oldest(&self, bytes: u64) -> Result<()> {
        let mut file = unpoisoned(self.committed.lock());
        loop {
            let next = {
                let state = self.lock();
                let is_full = state.disk_bytes + bytes > self.options.max_bytes;
                state.segments.get(1).filter(|_| is_full).map(|next| (next.base, state.committed))
            };
            let Some((base, committed)) = next else { return Ok(()) };
            if base > committed {
                // First said, then done: whatever is missing without having been said is damage.
                file.write(base)?;
                self.lock().committed = base;
                add(&self.counters.dropped_oldest, base - committed);
                tracing::warn!(
                    path = %self.dir.display(),
                    records = base - committed,
                    "the spool is full: its oldest records are dropped"
                );
            }
            let mut first = true;
            self.delete_while(|_| std::mem::replace(&mut first, false))?;
        }
    }

    /// Deletes segments from the oldest on. Whoever calls it holds the committed position.
    fn delete_while(&self, mut is_done: impl FnMut(&VecDeque<Segment>) -> bool) -> Result<()> {
        loop {
            let segment = {
                let mut state = self.lock();
                if state.segments.len() < 2 || !is_done(&state.segments) {
                    return Ok(());
                }
                state.segments.pop_front()
            };
            let Some(segment) = segment else { return Ok(()) };
            if let Err(error) = segment.delete(&self.dir) {
                self.lock().segments.push_front(segment);
                return Err(error);
            }
            let mut state = self.lock();
            state.disk_bytes = state.disk_bytes.saturating_sub(segment.bytes);
            if std::mem::replace(&mut state.full, false) {
                tracing::info!(path = %self.dir.display(), "the spool has room again");
            }
            drop(state);
            self.room.notify_waiters();
        }
    }

    pub(super) fn stats(&self) -> SpoolStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let state = self.lock();
        SpoolStats {
            appended_records: read(&counters.appended_records),
            appended_bytes: read(&counters.appended_bytes),
            waiting_records: state.durable.saturating_sub(state.committed),
            disk_bytes: state.disk_bytes,
            queued_bytes: state.queued_bytes,
            segments: state.segments.len() as u64,
            full: state.full,
            syncs: read(&counters.syncs),
            waits: read(&counters.waits),
            write_failures: read(&counters.write_failures),
            dropped_oldest: read(&counters.dropped_oldest),
            dropped_newest: read(&counters.dropped_newest),
            damaged_records: read(&counters.damaged_records),
            damaged_bytes: read(&counters.damaged_bytes),
            torn_bytes: read(&counters.torn_bytes),
        }
    }
}

pub(super) fn closed() -> Error {
    Error::new(ErrorKind::Cancelled, "the spool is closed").operation("append to the spool")
}
