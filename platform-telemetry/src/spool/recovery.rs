//! Opening: what a crash or a damaged disk left is made usable, and told.

use super::{
    SpoolOptions,
    position::CommittedFile,
    segment::{self, Next, Scanner, Segment},
    state::{Counters, Shared, State, add},
    writer::Active,
};
use crate::files::{DirectoryKind, io};
use platform_core::{Error, Result};
use std::{
    path::Path,
    sync::{Arc, Mutex},
};
use tokio::sync::watch;

const KIND: DirectoryKind =
    DirectoryKind { marker: "platform-telemetry-spool", version: 1, what: "telemetry spool" };

pub(super) struct Opened {
    pub(super) shared: Shared,
    pub(super) active: Option<Active>,
    /// The number of the next record to be appended.
    pub(super) next: u64,
    /// The number of the next record to be read.
    pub(super) start: u64,
}

pub(super) fn open(dir: &Path, options: SpoolOptions) -> Result<Opened> {
    let claim = KIND.claim(dir)?;
    let (committed_file, committed) = CommittedFile::open(dir)?;
    let counters = Counters::default();
    let mut segments = segment::list(dir)?;
    let mut active = None;
    let mut end = 0;
    if let Some(last) = segments.last_mut() {
        let (file, next) = repair(last, dir, &counters)?;
        end = next;
        active = Some(Active { file, written: last.bytes, segment: last.clone() });
    }
    if committed > end {
        // Numbers that were used are not used again: the reader would take the records for those that it knows.
        if !segments.is_empty() {
            tracing::error!(
                path = %dir.display(),
                records = committed - end,
                "the end of the spool is gone; it was forwarded before"
            );
        }
        end = committed;
        active = None;
    }
    let first = segments.first().map_or(end, |segment| segment.base);
    if first > committed {
        add(&counters.damaged_records, first - committed);
        tracing::error!(
            path = %dir.display(),
            records = first - committed,
            "the oldest segments of the spool are gone, and their records lost"
        );
    }
    let state = State {
        next: end,
        durable: end,
        committed,
        disk_bytes: segments.iter().map(|segment| segment.bytes).sum(),
        segments: segments.into(),
        ..State::default()
    };
    let salt = state.segments.back().map_or_else(rand::random, |segment| segment.salt);
    let shared = Shared {
        dir: dir.to_owned(),
        options,
        salt,
        state: Mutex::new(state),
        work: std::sync::Condvar::new(),
        room: tokio::sync::Notify::new(),
        durable: watch::Sender::new(end),
        committed: Mutex::new(committed_file),
        pool: Arc::default(),
        counters,
        _claim: claim,
    };
    // What a crash kept from being deleted.
    if let Err(error) = shared.commit(committed) {
        tracing::warn!(%error, "segments that were forwarded could not be deleted");
    }
    Ok(Opened { shared, active, next: end, start: committed.max(first) })
}

/// Cuts off the torn end of the last segment, and makes the rest durable: its writer may have died before it did. Answers the number after
/// the last record too.
fn repair(segment: &mut Segment, dir: &Path, counters: &Counters) -> Result<(std::fs::File, u64)> {
    let mut scanner = Scanner::open(segment, dir)?;
    let (mut next, mut end) = (segment.base, 0);
    loop {
        match scanner.next(next, segment.bytes)? {
            Next::Record { sequence, .. } => {
                next = sequence
                    .checked_add(1)
                    .ok_or_else(|| Error::internal("the spool has no more numbers"))?;
                end = scanner.offset;
            }
            // In the middle it is the reader's to tell, at the end it is torn.
            Next::Damage { .. } => {}
            Next::End => break,
        }
    }
    let file = segment.open(dir)?;
    let path = segment.path(dir);
    if end < segment.bytes {
        let torn = segment.bytes - end;
        add(&counters.torn_bytes, torn);
        tracing::warn!(path = %path.display(), bytes = torn, "cut off a write that a crash had interrupted");
        file.set_len(end).map_err(|e| io(e, "truncate", &path))?;
        segment.bytes = end;
    }
    file.sync_data().map_err(|e| io(e, "sync", &path))?;
    Ok((file, next))
}
