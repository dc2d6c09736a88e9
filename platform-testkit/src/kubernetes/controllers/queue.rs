//! What is to be done: each piece once, some of it later.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Work that failed is done again after this long, twice as long with each failure, up to the limit.
const FIRST_RETRY: Duration = Duration::from_millis(10);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// A queue of work without duplicates.
#[derive(Debug)]
pub(super) struct Queue<W> {
    is_urgent: fn(&W) -> bool,
    urgent: VecDeque<W>,
    ready: VecDeque<W>,
    queued: HashSet<W>,
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    due: HashMap<W, Instant>,
    timed: HashMap<u64, W>,
    next_timer: u64,
    failures: HashMap<W, u32>,
}

impl<W: Clone + Eq + Hash> Queue<W> {
    /// A queue that does urgent work before any other.
    pub(super) fn new(is_urgent: fn(&W) -> bool) -> Self {
        Self {
            is_urgent,
            urgent: VecDeque::new(),
            ready: VecDeque::new(),
            queued: HashSet::new(),
            timers: BinaryHeap::new(),
            due: HashMap::new(),
            timed: HashMap::new(),
            next_timer: 0,
            failures: HashMap::new(),
        }
    }

    /// Work to do as soon as possible.
    pub(super) fn push(&mut self, work: W) {
        if self.queued.insert(work.clone()) {
            let line = if (self.is_urgent)(&work) { &mut self.urgent } else { &mut self.ready };
            line.push_back(work);
        }
    }

    /// Work to do at some time. Of several times for the same work the earliest counts.
    pub(super) fn push_at(&mut self, work: W, at: Instant) {
        if self.due.get(&work).is_some_and(|due| *due <= at) {
            return;
        }
        self.due.insert(work.clone(), at);
        self.timers.push(Reverse((at, self.next_timer)));
        self.timed.insert(self.next_timer, work);
        self.next_timer += 1;
    }

    /// Work that failed and is to be done again, a bit later each time.
    pub(super) fn retry(&mut self, work: W, now: Instant) {
        let failures = self.failures.entry(work.clone()).or_default();
        let wait = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(*failures)).min(LAST_RETRY);
        *failures += 1;
        self.push_at(work, now + wait);
    }

    /// Work that succeeded: its next failure is the first one again.
    pub(super) fn succeeded(&mut self, work: &W) {
        self.failures.remove(work);
    }

    /// The next work to do, if any is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<W> {
        while let Some(Reverse((at, timer))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            if let Some(work) = self.timed.remove(&timer)
                && self.due.get(&work) == Some(&at)
            {
                self.due.remove(&work);
                self.push(work);
            }
        }
        let work = self.urgent.pop_front().or_else(|| self.ready.pop_front())?;
        self.queued.remove(&work);
        Some(work)
    }

    /// Whether work is due already.
    pub(super) fn has_ready(&self) -> bool {
        !(self.urgent.is_empty() && self.ready.is_empty())
    }

    /// When work is due next, if nothing is due now.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_once_however_often_it_is_asked_for() {
        let now = Instant::now();
        let mut queue = Queue::new(|_| false);
        for work in ["a", "b", "a"] {
            queue.push(work);
        }
        assert_eq!((queue.pop(now), queue.pop(now), queue.pop(now)), (Some("a"), Some("b"), None));
        queue.push("a");
        assert_eq!(queue.pop(now), Some("a"));
    }

    #[test]
    fn urgent_work_goes_first() {
        let mut queue = Queue::new(|work: &&str| work.starts_with('!'));
        for work in ["a", "!b", "c", "!d"] {
            queue.push(work);
        }
        let order: Vec<&str> = std::iter::from_fn(|| queue.pop(Instant::now())).collect();
        assert_eq!(order, ["!b", "!d", "a", "c"]);
    }

    #[test]
    fn the_earliest_time_counts() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let mut queue = Queue::new(|_| false);
        queue.push_at("a", later(5));
        queue.push_at("a", later(2));
        queue.push_at("a", later(9));
        assert_eq!(queue.pop(later(1)), None);
        assert_eq!(queue.pop(later(2)), Some("a"));
        assert_eq!(queue.pop(later(20)), None);
    }

    #[test]
    fn failures_wait_longer_until_one_succeeds() {
        let now = Instant::now();
        let mut queue = Queue::new(|_| false);
        queue.retry("a", now);
        assert_eq!(queue.pop(now), None);
        assert_eq!(queue.pop(now + FIRST_RETRY), Some("a"));
        queue.retry("a", now);
        assert_eq!(queue.pop(now + FIRST_RETRY), None);
        assert_eq!(queue.pop(now + FIRST_RETRY * 2), Some("a"));
        queue.succeeded(&"a");
        queue.retry("a", now);
        assert_eq!(queue.next_due(), Some(now + FIRST_RETRY));
    }
}
