//! The thread that writes: large writes, and one sync for all who wait.

use super::{
    WhenFull,
    segment::Segment,
    state::{Queued, Shared, add},
};
use crate::{
    files::{io, unpoisoned},
    pipeline::WRITE_SPAN,
};
use platform_core::{Error, Result};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: File,
    pub(super) segment: Segment,
    pub(super) written: u64,
}

#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    active: Option<Active>,
    /// The number after the last record that was written.
    written: u64,
    /// When the first of the bytes was written that are not durable.
    since: Option<Instant>,
    /// The rest of a failed write lies behind what is durable.
    torn: bool,
    failing: bool,
}

enum Work {
    Write(Queued),
    Sync,
    End,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, active: Option<Active>, next: u64) -> Self {
        Self { shared, active, written: next, since: None, torn: false, failing: false }
    }

    /// Writes what comes until the spool is closed and everything is durable.
    pub(super) fn run(mut self) {
        let ending = Ending(Arc::clone(&self.shared));
        // What is told here must not become a record.
        let span = tracing::error_span!(target: "platform_telemetry::spool", WRITE_SPAN);
        let _entered = span.enter();
        loop {
            let outcome = match self.wait() {
                Work::Write(queued) => self.write(queued),
                Work::Sync => self.sync(),
                Work::End => break,
            };
            if let Err(error) = outcome {
                self.fail(&error);
            }
        }
        drop(ending);
    }

    fn wait(&self) -> Work {
        let options = &self.shared.options;
        let mut state = self.shared.lock();
        loop {
            let left = self.since.map(|since| options.sync_interval.saturating_sub(since.elapsed()));
            if self.unsynced() >= options.sync_bytes || left == Some(Duration::ZERO) {
                return Work::Sync;
            }
            if let Some(queued) = state.queue.pop_front() {
                return Work::Write(queued);
            }
            if left.is_some() && (state.flush || state.closing) {
                return Work::Sync;
            }
            state.flush = false;
            if state.closing {
                return Work::End;
            }
            state = match left {
                Some(left) => unpoisoned(self.shared.work.wait_timeout(state, left)).0,
                None => unpoisoned(self.shared.work.wait(state)),
            };
        }
    }

    fn unsynced(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.written - active.segment.bytes)
    }

    fn write(&mut self, queued: Queued) -> Result<()> {
        let Queued { mut chunk, first } = queued;
        let bytes = chunk.bytes.len() as u64;
        self.cut_off_torn_tail()?;
        let segment_bytes = self.shared.options.segment_bytes;
        if self.active.as_ref().is_some_and(|a| a.written > 0 && a.written + bytes > segment_bytes) {
            self.sync()?;
            self.active = None;
        }
        if self.shared.options.when_full == WhenFull::DropOldest {
            self.shared.drop_oldest(bytes)?;
        }
        let active = match &mut self.active {
            Some(active) => active,
            none => {
                let segment = Segment { base: first, salt: self.shared.salt, bytes: 0 };
                let file = segment.create(&self.shared.dir)?;
                self.shared.lock().segments.push_back(segment.clone());
                none.insert(Active { file, segment, written: 0 })
            }
        };
        super::frame::seal(&mut chunk.bytes, first, self.shared.salt);
        if let Err(e) = active.file.write_all_at(&chunk.bytes, active.written) {
            self.torn = true;
            return Err(io(e, "append to", &active.segment.path(&self.shared.dir)));
        }
        active.written += bytes;
        self.written = first + chunk.records;
        self.since.get_or_insert_with(Instant::now);
        add(&self.shared.counters.appended_records, chunk.records);
        add(&self.shared.counters.appended_bytes, bytes);
        self.shared.pool.give(chunk.bytes);
        let mut state = self.shared.lock();
        state.queued_bytes = state.queued_bytes.saturating_sub(bytes);
        state.disk_bytes += bytes;
        drop(state);
        self.shared.room.notify_waiters();
        Ok(())
    }

    /// Makes what was written durable, and tells everybody.
    fn sync(&mut self) -> Result<()> {
        let Some(active) = &mut self.active else { return Ok(()) };
        if active.written == active.segment.bytes {
            return Ok(());
        }
        active
            .file
            .sync_data()
            .map_err(|e| io(e, "sync", &active.segment.path(&self.shared.dir)))
            .inspect_err(|_| self.torn = true)?;
        active.segment.bytes = active.written;
        self.since = None;
        add(&self.shared.counters.syncs, 1);
        if std::mem::replace(&mut self.failing, false) {
            tracing::info!(path = %self.shared.dir.display(), "the spool can be written again");
        }
        let mut state = self.shared.lock();
        state.durable = self.written;
        if let Some(last) = state.segments.back_mut() {
            last.bytes = active.written;
        }
        let done = state.waiting.partition_point(|(end, _)| *end <= self.written);
        let done: Vec<_> = state.waiting.drain(..done).collect();
        drop(state);
        self.shared.durable.send_replace(self.written);
        acknowledge(done, None);
        Ok(())
    }

    /// Nothing that is not durable was appended: says so to those who wait for it.
    fn fail(&mut self, error: &Error) {
        add(&self.shared.counters.write_failures, 1);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(%error, "the spool cannot be written; what is appended fails until it can");
        }
        let mut lost = 0;
        if let Some(active) = &mut self.active
            && active.written > active.segment.bytes
        {
            lost = active.written - active.segment.bytes;
            active.written = active.segment.bytes;
            self.torn = true;
        }
        self.since = None;
        if let Err(error) = self.cut_off_torn_tail() {
            tracing::warn!(%error, "a failed write is cut off before the next one");
        }
        let mut state = self.shared.lock();
        state.disk_bytes = state.disk_bytes.saturating_sub(lost);
        state.queued_bytes = 0;
        state.queue.clear();
        state.next = state.durable;
        state.flush = false;
        self.written = state.durable;
        let waiting: Vec<_> = state.waiting.drain(..).collect();
        drop(state);
        self.shared.room.notify_waiters();
        acknowledge(waiting, Some(error));
    }

    fn cut_off_torn_tail(&mut self) -> Result<()> {
        if let Some(active) = self.active.as_ref().filter(|_| self.torn) {
            active
                .file
                .set_len(active.segment.bytes)
                .and_then(|()| active.file.sync_data())
                .map_err(|e| io(e, "truncate", &active.segment.path(&self.shared.dir)))?;
        }
        self.torn = false;
        Ok(())
    }
}

fn acknowledge(waiting: Vec<(u64, oneshot::Sender<Result<()>>)>, error: Option<&Error>) {
    for (_, acknowledge) in waiting {
        let outcome = match error {
            None => Ok(()),
            Some(e) => Err(Error::new(e.kind(), e.to_string())
                .retryable(e.is_retryable())
                .operation("append to the spool")),
        };
        // Who stopped to wait does not want to know.
        let _ = acknowledge.send(outcome);
    }
}

/// Lets nobody wait for a writer that is gone, however it ended.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closing = true;
        state.waiting.clear();
        drop(state);
        self.0.room.notify_waiters();
    }
}
