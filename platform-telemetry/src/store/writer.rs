//! Makes writes durable: the ones that wait share an entry of the journal and its sync.

use super::{
    StoreOptions,
    directory::StoreDirectory,
    fault,
    flusher::{Ending, FlushQueue},
    frames::FrameFile,
    head::{Entry, Head},
    journal::Journal,
    series::{self, NewSeries},
    view::View,
};
use platform_core::{Error, ErrorKind, Result, telemetry::Batch};
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Writes that share a sync are at most about this large.
const MAX_GROUP_BYTES: usize = 16 << 20;
/// A head of this size is flushed.
const FLUSH_BYTES: usize = 16 << 20;
/// A head of this many log records is flushed: a search reads each of them.
const FLUSH_LOGS: usize = 20_000;
/// A head may grow to this many times the size at which it is flushed while the flusher is busy.
const MAX_OVERSIZE: usize = 4;
/// How many frozen heads may wait for the flusher.
const MAX_PENDING: usize = 2;
/// How long a write waits for a flusher that is slow, and does not fail.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How long after a failure a head is tried to be frozen again.
const RETRY: Duration = Duration::from_secs(1);

/// A batch on its way to the journal.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) batch: Batch,
    pub(super) bytes: usize,
    pub(super) acknowledge: oneshot::Sender<Result<()>>,
    /// The room it takes in the queue.
    pub(super) room: OwnedSemaphorePermit,
}

/// Owns the journal and the dictionary for writing.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) options: StoreOptions,
    pub(super) directory: Arc<StoreDirectory>,
    pub(super) series: FrameFile,
    pub(super) journal: Journal,
    pub(super) generation: u64,
    pub(super) not_before: Option<Instant>,
}

impl Writer {
    /// Writes what comes until nobody can send any more, then freezes what is left if `queue` ends drained.
    pub(super) fn run(mut self, view: &View, queue: &FlushQueue, writes: &Receiver<Write>) {
        loop {
            let first = match self.time_to_flush(view) {
                Some(wait) => writes.recv_timeout(wait),
                None => writes.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match first {
                Ok(first) => {
                    let mut bytes = first.bytes;
                    let mut group = vec![first];
                    while bytes < MAX_GROUP_BYTES
                        && let Ok(next) = writes.try_recv()
                    {
                        bytes += next.bytes;
                        group.push(next);
                    }
                    self.write(view, queue, group);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.is_due(view) {
                if queue.lock().pending.len() < MAX_PENDING {
                    let _ = self.freeze(view, queue);
                } else {
                    self.not_before = Some(Instant::now() + RETRY);
                }
            }
        }
        let draining = queue.lock().ending.is_none();
        if draining {
            let _ = self.freeze(view, queue);
            queue.update(|state| state.ending = Some(Ending::Drained));
        }
    }

    fn write(&mut self, view: &View, queue: &FlushQueue, group: Vec<Write>) {
        let mut batches = Vec::with_capacity(group.len());
        let mut waiting = Vec::with_capacity(group.len());
        for Write { batch, acknowledge, room, .. } in group {
            batches.push(batch);
            waiting.push((acknowledge, room));
        }
        let outcome = self.make_room(view, queue).and_then(|()| self.append(view, batches));
        for (acknowledge, room) in waiting {
            let outcome = match &outcome {
                Ok(()) => Ok(()),
                Err(e) => Err(Error::new(e.kind(), e.to_string())
                    .retryable(e.is_retryable())
                    .operation("write to the telemetry store")),
            };
            // Who stopped to wait does not want to know.
            let _ = acknowledge.send(outcome);
            drop(room);
        }
    }

    fn append(&mut self, view: &View, batches: Vec<Batch>) -> Result<()> {
        let mut entry = Entry::default();
        let new = {
            let dictionary = fault::unpoisoned(view.dictionary.read());
            let mut new = NewSeries::beside(&dictionary);
            for batch in batches {
                for sample in &batch.samples {
                    let point = (sample.timestamp.as_millis(), sample.value.to_bits());
                    entry.samples.push((new.number(sample)?, point));
                }
                entry.logs.extend(batch.logs);
            }
            new.into_entries()
        };
        series::add(&view.dictionary, &mut self.series, new)?;
        self.journal.append(&entry)?;
        fault::unpoisoned(view.state.write()).active.push(entry);
        Ok(())
    }

    /// Waits while the flusher is far behind; fails if it cannot go on.
    fn make_room(&mut self, view: &View, queue: &FlushQueue) -> Result<()> {
        let deadline = Instant::now() + MAX_WAIT;
        loop {
            let too_large = {
                let active = &fault::unpoisoned(view.state.read()).active;
                active.bytes >= MAX_OVERSIZE * FLUSH_BYTES || active.log_count >= MAX_OVERSIZE * FLUSH_LOGS
            };
            if !too_large {
                return Ok(());
            }
            let state = queue.lock();
            if state.pending.len() < MAX_PENDING {
                drop(state);
                return self.freeze(view, queue);
            }
            if let Some((kind, message)) = &state.failure {
                return Err(Error::new(*kind, message.clone()).retryable(true));
            }
            if Instant::now() >= deadline {
                let message = "the disk does not keep up with what is written";
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            drop(queue.wait(state, RETRY));
        }
    }

    fn is_due(&self, view: &View) -> bool {
        let large = {
            let active = &fault::unpoisoned(view.state.read()).active;
            active.bytes >= FLUSH_BYTES || active.log_count >= FLUSH_LOGS
        };
        large || self.time_to_flush(view).is_some_and(|wait| wait.is_zero())
    }

    /// How long until the active head is old enough to be flushed; `None` if it is empty.
    fn time_to_flush(&self, view: &View) -> Option<Duration> {
        let since = fault::unpoisoned(view.state.read()).active.since?;
        let due = since + self.options.flush_interval;
        let due = self.not_before.map_or(due, |not_before| due.max(not_before));
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Begins a new head and journal, and hands the old ones to the flusher.
    fn freeze(&mut self, view: &View, queue: &FlushQueue) -> Result<()> {
        self.not_before = Some(Instant::now() + RETRY);
        let generation = self.generation + 1;
        let partition_millis = self.options.partition_millis();
        let journal =
            Journal::create(&self.directory, generation, partition_millis).inspect_err(|error| {
                tracing::warn!(%error, "the journal grows on, since a new one cannot be begun");
            })?;
        self.journal = journal;
        self.generation = generation;
        let frozen = {
            let mut state = fault::unpoisoned(view.state.write());
            let active = Head::new(generation, partition_millis);
            let frozen = Arc::new(std::mem::replace(&mut state.active, active));
            state.frozen.push_back(frozen.clone());
            frozen
        };
        queue.update(|state| state.pending.push_back(frozen));
        self.not_before = None;
        Ok(())
    }
}
