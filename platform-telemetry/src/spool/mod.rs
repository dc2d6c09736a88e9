//! A queue of byte strings on disk that survives crashes: what was acknowledged is read, at least once and in order.
//!
//! ```text
//! append ─┐                         segment-0…   deleted once committed
//! append ─┼─ queue ── one writer ── segment-1…   ── reader ── commit
//! append ─┘  (memory)  (fdatasync)  segment-2…
//! ```
//!
//! A directory holds one spool, of one process at a time:
//!
//! ```text
//! platform-telemetry-spool   says that the directory is a spool, and its version
//! lock                       held by the process that has it open, with its id
//! committed                  how far the reader has come
//! segment-FIRST-SALT         records, the number of the first of them in its name
//! ```
//!
//! # Durability
//! An append is acknowledged after an `fdatasync` that covers it. Syncs are shared: there is one for every
//! [`sync_bytes`](SpoolOptions::sync_bytes), and one at the latest [`sync_interval`](SpoolOptions::sync_interval) after a write.
//! When a write or a sync fails, everything that was not durable is cut off, and its appends fail; on a full disk with an error that is worth
//! another try. Nothing that was acknowledged is touched.
//!
//! Opening cuts off the torn end that a crash leaves behind. Damage anywhere else costs the records that it hit: they are passed over,
//! counted and told.
//!
//! The journal of the [store](crate::store) has frames too, for other needs: it is small, is read as a whole, syncs each of its entries, and
//! must not be used at all when it is damaged in the middle. Directories are claimed the same way.
//!
//! ```
//! use platform_telemetry::spool::{Spool, SpoolOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> platform_core::Result<()> {
//! # let dir = tempfile::tempdir().map_err(|e| platform_core::Error::internal("no directory").source(e))?;
//! let (spool, mut reader) = Spool::open(dir.path(), SpoolOptions::default())?;
//! let mut records = spool.records();
//! records.push(b"one")?;
//! records.push(b"two")?;
//! spool.append(records).await?.durable().await?;
//!
//! let group = reader.read(1 << 20, 1000).await?;
//! assert_eq!(group.records[1].payload, "two");
//! reader.commit(group.end).await?;
//! spool.close().await?;
//! # Ok(())
//! # }
//! ```

mod frame;
mod position;
mod reader;
mod records;
mod recovery;
mod segment;
mod state;
mod writer;

pub use position::Position;
pub use reader::{Committer, Group, Record, SpoolReader};
pub use records::Records;

use crate::files::unpoisoned;
use platform_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use state::{Admission, Shared, add};
use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::oneshot;
use writer::Writer;

/// What an append does when the spool has [`max_bytes`](SpoolOptions::max_bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// It waits until the reader has committed: nothing is lost, and sources are held back.
    #[default]
    Block,
    /// The oldest segment is deleted, whether it was read or not. What was not committed is counted.
    DropOldest,
    /// What is new is not taken, and counted.
    DropNewest,
}

impl WhenFull {
    /// `block`, `drop-oldest`, `drop-newest`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::DropOldest => "drop-oldest",
            Self::DropNewest => "drop-newest",
        }
    }
}

/// How a spool is kept.
#[derive(Debug, Clone)]
pub struct SpoolOptions {
    /// What all segments may take together. At least two segments and the queue. Default: 1 GiB.
    pub max_bytes: u64,
    /// What happens when they do. Default: [`WhenFull::Block`].
    pub when_full: WhenFull,
    /// The size of a segment, which is the least that is deleted. Default: 64 MiB.
    pub segment_bytes: u64,
    /// After how many bytes they are made durable. Default: 4 MiB.
    pub sync_bytes: u64,
    /// How long what was written waits at most to be made durable with more. Default: 50 ms.
    pub sync_interval: Duration,
    /// How many bytes may wait in memory for the disk; appends wait then. Default: 8 MiB.
    pub queue_bytes: u64,
    /// The largest record. At most a quarter of a segment. Default: 16 MiB.
    pub max_record_bytes: usize,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            max_bytes: 1 << 30,
            when_full: WhenFull::Block,
            segment_bytes: 64 << 20,
            sync_bytes: 4 << 20,
            sync_interval: Duration::from_millis(50),
            queue_bytes: 8 << 20,
            max_record_bytes: 16 << 20,
        }
    }
}

impl SpoolOptions {
    fn check(&self) -> Result<()> {
        let wrong = if self.max_bytes < 2 * self.segment_bytes + self.queue_bytes {
            "max_bytes must be at least two segments and the queue"
        } else if self.max_record_bytes as u64 > self.segment_bytes / 4 {
            "max_record_bytes must be at most a quarter of segment_bytes"
        } else {
            return Ok(());
        };
        Err(Error::invalid(wrong).operation("open the spool"))
    }
}

/// What a spool did since it was opened, and what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SpoolStats {
    /// Records that were written, those included that a failed sync took back.
    pub appended_records: u64,
    /// Their bytes on disk.
    pub appended_bytes: u64,
    /// Durable records that are not committed.
    pub waiting_records: u64,
    /// Bytes in segments.
    pub disk_bytes: u64,
    /// Bytes in memory that are not written yet.
    pub queued_bytes: u64,
    /// Files of records.
    pub segments: u64,
    /// Whether there was no room for the last append.
    pub full: bool,
    /// How many times records were made durable.
    pub syncs: u64,
    /// Appends that had to wait for room, in memory or on disk.
    pub waits: u64,
    /// Writes and syncs that failed.
    pub write_failures: u64,
    /// Records that [`WhenFull::DropOldest`] deleted before they were committed. Some may have been read.
    pub dropped_oldest: u64,
    /// Records that [`WhenFull::DropNewest`] did not take.
    pub dropped_newest: u64,
    /// Records that were durable once and were not found again.
    pub damaged_records: u64,
    /// Bytes in which no intact record was found.
    pub damaged_bytes: u64,
    /// Bytes at the end of the last segment that a crash had torn, cut off when it was opened.
    pub torn_bytes: u64,
}

/// The writing side of a spool.
///
/// Dropping it closes it, which waits for the disk; [`close`](Self::close) waits elsewhere.
pub struct Spool {
    shared: Arc<Shared>,
    /// Who waits for room does so in the order of coming.
    turn: tokio::sync::Mutex<()>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Spool {
    /// Opens the spool in `dir`, which is created if it is missing, and repairs what a crash left there.
    ///
    /// Blocks the thread while the last segment is read. Fails with [`Conflict`](ErrorKind::Conflict) if another process or another part of
    /// this one has it open, with [`AlreadyExists`](ErrorKind::AlreadyExists) if the directory has other files, and with
    /// [`Invalid`](ErrorKind::Invalid) for options that contradict each other.
    pub fn open(dir: &Path, options: SpoolOptions) -> Result<(Self, SpoolReader)> {
        options.check()?;
        let opened = recovery::open(dir, options)?;
        let shared = Arc::new(opened.shared);
        let reader = SpoolReader::new(Arc::clone(&shared), opened.start);
        let writer = Writer::new(Arc::clone(&shared), opened.active, opened.next);
        let thread = std::thread::Builder::new()
            .name("telemetry-spool".to_owned())
            .spawn(move || writer.run())
            .map_err(|e| {
                Error::new(ErrorKind::Unavailable, "its thread did not start")
                    .operation("open the spool")
                    .source(e)
            })?;
        let spool = Self { shared, turn: tokio::sync::Mutex::default(), writer: Mutex::new(Some(thread)) };
        Ok((spool, reader))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.shared.dir
    }

    /// An empty collection of records, in buffers that are used again and again.
    pub fn records(&self) -> Records {
        Records::new(Arc::clone(&self.shared.pool), self.shared.options.max_record_bytes)
    }

    /// Puts records into the queue of the writer, behind all that were appended before; waits for room first.
    ///
    /// How long it waits for a full disk is a matter of [`WhenFull`]. Fails with [`Cancelled`](ErrorKind::Cancelled) when the spool is closed.
    ///
    /// # Cancel safety
    /// Records of less than 256 KiB together were not appended if the future is dropped before it is ready; of more, a part may have been.
    pub async fn append(&self, records: Records) -> Result<Appended> {
        let mut appended = Appended { waiting: Vec::with_capacity(records.chunks.len()), dropped: 0 };
        let _turn = self.turn.lock().await;
        for mut chunk in records.chunks {
            if chunk.records == 0 {
                self.shared.pool.give(chunk.bytes);
                continue;
            }
            let records = chunk.records;
            let mut waited = false;
            loop {
                // Listens before it looks, so that no room is missed.
                let mut room = std::pin::pin!(self.shared.room.notified());
                room.as_mut().enable();
                match self.shared.admit(chunk)? {
                    Admission::Queued(acknowledged) => {
                        appended.waiting.push(acknowledged);
                        break;
                    }
                    Admission::Dropped => {
                        appended.dropped += records;
                        break;
                    }
                    Admission::Wait(back) => chunk = back,
                }
                if !std::mem::replace(&mut waited, true) {
                    add(&self.shared.counters.waits, 1);
                }
                room.await;
            }
        }
        Ok(appended)
    }

    /// Makes everything that was appended so far durable without waiting for more. Answers at once.
    pub fn flush(&self) {
        self.shared.lock().flush = true;
        self.shared.work.notify_one();
    }

    /// What it did so far.
    pub fn stats(&self) -> SpoolStats {
        self.shared.stats()
    }

    /// Makes everything that was appended durable and stops; later appends fail, and what is there can still be read. The directory is free
    /// once the reader is dropped too. Idempotent.
    pub async fn close(&self) -> Result<()> {
        let Some(thread) = self.end() else { return Ok(()) };
        let joined = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
        if joined.unwrap_or(false) {
            Ok(())
        } else {
            Err(Error::internal("its thread panicked").operation("close the spool"))
        }
    }

    fn end(&self) -> Option<JoinHandle<()>> {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        self.shared.room.notify_waiters();
        unpoisoned(self.writer.lock()).take()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(thread) = self.end() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("path", &self.path()).finish_non_exhaustive()
    }
}

/// Records that were appended and may not be durable yet.
#[derive(Debug)]
#[must_use = "await `durable` to know that the records survive a crash"]
pub struct Appended {
    waiting: Vec<oneshot::Receiver<Result<()>>>,
    dropped: u64,
}

impl Appended {
    /// Waits until all of them survive a crash.
    ///
    /// An error says that some may not, and that they are to be appended again if it is retryable; that makes at most duplicates.
    /// It is the writer's that failed, which answers in the time that the disk takes: there is no other deadline.
    pub async fn durable(self) -> Result<()> {
        for acknowledged in self.waiting {
            acknowledged.await.unwrap_or_else(|_| Err(state::closed()))?;
        }
        Ok(())
    }

    /// How many [`WhenFull::DropNewest`] did not take.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
