//! A partition that is read: what became of its events, and up to where all are done.

use super::batch::Route;
use crate::files::unpoisoned;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

/// What can become of an event.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) read: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) indexed: AtomicU64,
    pub(super) duplicate: AtomicU64,
    pub(super) dead_lettered: AtomicU64,
    pub(super) filtered: AtomicU64,
    pub(super) unreadable: AtomicU64,
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

#[derive(Debug)]
pub(super) struct Partition {
    pub(super) topic: Arc<str>,
    pub(super) number: i32,
    pub(super) route: Route,
    pub(super) counts: Counts,
    progress: Mutex<Progress>,
}

/// Segments in the order in which they were read. A segment is what one batch has of the partition.
#[derive(Debug, Default)]
struct Progress {
    open: VecDeque<Segment>,
    /// The offset after the last event of which all before are done.
    done: Option<i64>,
    committed: Option<i64>,
    next_segment: u64,
}

#[derive(Debug)]
struct Segment {
    id: u64,
    end: i64,
    is_done: bool,
}

impl Partition {
    pub(super) fn new(topic: Arc<str>, number: i32, route: Route) -> Self {
        Self { topic, number, route, counts: Counts::default(), progress: Mutex::default() }
    }

    /// Begins a segment that ends before the offset `end`. Its number is never used again, also when the partition went and came back.
    pub(super) fn begin(&self, end: i64) -> u64 {
        let mut progress = self.lock();
        let id = progress.next_segment;
        progress.next_segment += 1;
        progress.open.push_back(Segment { id, end, is_done: false });
        id
    }

    /// A segment is done; one of a former assignment is nobody's business any more.
    pub(super) fn finish(&self, segment: u64) {
        let mut progress = self.lock();
        if let Some(found) = progress.open.iter_mut().find(|open| open.id == segment) {
            found.is_done = true;
        }
        while let Some(end) = progress.open.front().filter(|first| first.is_done).map(|first| first.end) {
            progress.done = Some(end);
            progress.open.pop_front();
        }
    }

    /// Whether segments are not done.
    pub(super) fn is_busy(&self) -> bool {
        !self.lock().open.is_empty()
    }

    /// The offset to commit, if it is another than the last.
    pub(super) fn to_commit(&self) -> Option<i64> {
        let progress = self.lock();
        progress.done.filter(|done| progress.committed != Some(*done))
    }

    pub(super) fn committed(&self, offset: i64) {
        self.lock().committed = Some(offset);
    }

    /// What was sent for commit may not have come through.
    pub(super) fn forget_commit(&self) {
        self.lock().committed = None;
    }

    /// An event that was read and will not be written leaves the account.
    pub(super) fn unread(&self, bytes: u64) {
        self.counts.read.fetch_sub(1, Ordering::Relaxed);
        self.counts.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Forgets the assignment: what is still under way is not committed by us.
    pub(super) fn revoke(&self) {
        let mut progress = self.lock();
        progress.open.clear();
        (progress.done, progress.committed) = (None, None);
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        unpoisoned(self.progress.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn partition() -> Partition {
        Partition::new("t.logs.v1".into(), 0, Route::of_topic("t.logs.v1").unwrap())
    }

    #[test]
    fn a_commit_never_passes_a_gap() {
        let partition = partition();
        let segments: Vec<u64> = [10, 25, 26].map(|end| partition.begin(end)).into();
        partition.finish(segments[1]);
        assert_eq!(partition.to_commit(), None);
        partition.finish(segments[0]);
        assert_eq!(partition.to_commit(), Some(25));
        partition.committed(25);
        assert_eq!(partition.to_commit(), None);
        partition.finish(segments[2]);
        assert_eq!((partition.to_commit(), partition.is_busy()), (Some(26), false));
    }

    #[test]
    fn what_was_under_way_when_a_partition_went_is_not_committed_when_it_is_back() {
        let partition = partition();
        let old = partition.begin(10);
        partition.revoke();
        let new = partition.begin(5);
        partition.finish(old);
        assert_eq!(partition.to_commit(), None);
        partition.finish(new);
        assert_eq!(partition.to_commit(), Some(5));
    }

    proptest! {
        #[test]
        fn in_whatever_order_segments_are_done_the_prefix_is_committed(
            order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let partition = partition();
            let segments: Vec<u64> = (0..12).map(|i| partition.begin(i64::from(i) * 3 + 1)).collect();
            let mut done = [false; 12];
            for place in order {
                partition.finish(segments[place]);
                done[place] = true;
                let prefix = done.iter().take_while(|done| **done).count();
                let expected = prefix.checked_sub(1).map(|last| i64::try_from(last).unwrap() * 3 + 1);
                prop_assert_eq!(partition.to_commit(), expected);
            }
        }
    }
}
