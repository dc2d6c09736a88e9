//! Moves frozen heads into the partitions, and drops partitions that retention no longer covers.

use super::{
    StoreOptions,
    directory::StoreDirectory,
    fault,
    head::Head,
    journal,
    partition::{Partition, PartitionKey, Schemas},
    view::View,
};
use platform_core::{Error, ErrorKind, Result};
use std::{
    collections::{HashMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

/// How many partitions keep their memory and threads for writing.
const MAX_WRITING: usize = 3;
/// A partition that this many flushes did not touch is not expected to grow.
const QUIET_FLUSHES: u32 = 4;
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What the writer and the flusher tell each other.
#[derive(Debug, Default)]
pub(super) struct FlushQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct QueueState {
    /// Frozen heads, the oldest first.
    pub(super) pending: VecDeque<Arc<Head>>,
    /// Why the oldest could not be flushed.
    pub(super) failure: Option<(ErrorKind, String)>,
    pub(super) ending: Option<Ending>,
}

/// How the flusher ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// When everything is flushed, or cannot be.
    Drained,
    /// After the flush under way; what is left is in the journal.
    Now,
}

impl FlushQueue {
    pub(super) fn lock(&self) -> MutexGuard<'_, QueueState> {
        fault::unpoisoned(self.state.lock())
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut QueueState)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until something changed or `timeout` has passed.
    pub(super) fn wait<'a>(
        &self,
        state: MutexGuard<'a, QueueState>,
        timeout: Duration,
    ) -> MutexGuard<'a, QueueState> {
        fault::unpoisoned(self.changed.wait_timeout(state, timeout)).0
    }

    fn wait_for_change<'a>(&self, state: MutexGuard<'a, QueueState>) -> MutexGuard<'a, QueueState> {
        fault::unpoisoned(self.changed.wait(state))
    }
}

/// Owns the partitions for writing.
pub(super) struct Flusher {
    options: StoreOptions,
    directory: Arc<StoreDirectory>,
    schemas: Schemas,
    partitions: HashMap<PartitionKey, Partition>,
    /// For each partition that is written to: how many flushes ago it was.
    quiet: HashMap<PartitionKey, u32>,
}

impl Flusher {
    /// Opens all partitions.
    pub(super) fn open(options: StoreOptions, directory: Arc<StoreDirectory>) -> Result<Self> {
        let schemas = Schemas::new();
        let mut partitions = HashMap::new();
        let root = directory.partitions();
        let failed = |e| fault::io(e, "list", &root);
        for entry in fs::read_dir(&root).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(REMOVED) {
                delete_directory(&root.join(name))?;
            } else if let Some(key) = PartitionKey::parse(name) {
                let partition = Partition::open(key, &root, &schemas, options.verify)
                    .map_err(|e| e.operation("open the telemetry store"))?;
                partitions.insert(key, partition);
            }
        }
        Ok(Self { options, directory, schemas, partitions, quiet: HashMap::new() })
    }

    /// The last generation that is in any partition.
    pub(super) fn last_generation(&self) -> u64 {
        self.partitions.values().map(Partition::committed).max().unwrap_or(0)
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = (PartitionKey, &Partition)> {
        self.partitions.iter().map(|(key, partition)| (*key, partition))
    }

    /// Flushes what comes until it is told to end.
    pub(super) fn run(mut self, view: &View, queue: &FlushQueue) {
        let mut delay = RETRY.0;
        loop {
            let head = {
                let mut state = queue.lock();
                loop {
                    if state.ending == Some(Ending::Now) {
                        return;
                    }
                    match state.pending.front() {
                        Some(head) => break head.clone(),
                        None if state.ending.is_some() => return,
                        None => state = queue.wait_for_change(state),
                    }
                }
            };
            match self.flush(&head) {
                Ok(()) => {
                    delay = RETRY.0;
                    self.publish(view, &head);
                    self.retire(view);
                    self.retain(view);
                    queue.update(|state| {
                        state.pending.pop_front();
                        state.failure = None;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, retry = ?delay, "telemetry stays in the journal for now");
                    queue.update(|state| state.failure = Some((error.kind(), error.to_string())));
                    let state = queue.lock();
                    if state.ending.is_some() {
                        return;
                    }
                    drop(queue.wait(state, delay));
                    delay = (delay * 2).min(RETRY.1);
                }
            }
        }
    }

    /// Commits a head to its partitions. After an error some have it; flushing it again completes the others.
    pub(super) fn flush(&mut self, head: &Head) -> Result<()> {
        for quiet in self.quiet.values_mut() {
            *quiet = quiet.saturating_add(1);
        }
        let root = self.directory.partitions();
        for key in PartitionKey::all_of(head) {
            let partition = match self.partitions.entry(key) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(Partition::open(key, &root, &self.schemas, false)?)
                }
            };
            partition.commit(head, self.options.writer_memory)?;
            self.quiet.insert(key, 0);
            if self.quiet.len() > MAX_WRITING
                && let Some(quietest) = self.quietest(key)
            {
                self.settle(quietest);
            }
        }
        Ok(())
    }

    fn quietest(&self, except: PartitionKey) -> Option<PartitionKey> {
        let others = self.quiet.iter().filter(|(key, _)| **key != except);
        others.max_by_key(|(key, quiet)| (**quiet, std::cmp::Reverse(**key))).map(|(key, _)| *key)
    }

    fn settle(&mut self, key: PartitionKey) {
        self.quiet.remove(&key);
        if let Some(partition) = self.partitions.get_mut(&key) {
            partition.settle();
        }
    }

    /// Lets queries see the head in its partitions instead of in memory, and forgets its journal.
    fn publish(&self, view: &View, head: &Head) {
        let views: Vec<_> = self.partitions.iter().map(|(key, p)| (*key, p.view())).collect();
        {
            let mut state = fault::unpoisoned(view.state.write());
            state.partitions.extend(views);
            state.frozen.retain(|frozen| frozen.generation != head.generation);
        }
        if let Err(error) = journal::delete(&self.directory.journal(head.generation)) {
            // It is recognised as committed and deleted when the store is opened next.
            tracing::warn!(%error, "a journal that is no longer needed stays");
        }
    }

    /// Compacts partitions whose time is over.
    fn retire(&mut self, view: &View) {
        let now = self.options.clock.now();
        let over: Vec<PartitionKey> = self
            .quiet
            .iter()
            .filter(|(key, quiet)| **quiet >= QUIET_FLUSHES && key.range().to <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in over {
            self.quiet.remove(&key);
            if let Some(partition) = self.partitions.get_mut(&key) {
                partition.compact();
                fault::unpoisoned(view.state.write()).partitions.insert(key, partition.view());
            }
        }
    }

    /// Drops partitions that are too old, and the oldest while there are too many bytes. The latest partition stays.
    pub(super) fn retain(&mut self, view: &View) {
        let mut keys: Vec<PartitionKey> = self.partitions.keys().copied().collect();
        keys.sort_unstable();
        let _ = keys.pop();
        let oldest = self.options.max_age.map(|age| self.options.clock.now() - age);
        let mut bytes = match self.options.max_bytes {
            Some(_) => directory_bytes(&self.directory.partitions()),
            None => 0,
        };
        for key in keys {
            let too_old = oldest.is_some_and(|oldest| key.range().to <= oldest);
            let too_many = self.options.max_bytes.is_some_and(|max| bytes > max);
            if !too_old && !too_many {
                continue;
            }
            let path = key.directory(&self.directory.partitions());
            bytes = bytes.saturating_sub(directory_bytes(&path));
            fault::unpoisoned(view.state.write()).partitions.remove(&key);
            self.partitions.remove(&key);
            self.quiet.remove(&key);
            match remove_partition(&path) {
                Ok(()) => tracing::info!(partition = %path.display(), too_old, "dropped an old partition"),
                Err(error) => tracing::warn!(%error, "an old partition could not be deleted"),
            }
        }
    }
}

const REMOVED: &str = "removed-";

/// Renames first, so that a crash half-way does not leave a damaged partition.
fn remove_partition(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::internal("a partition has no name"));
    };
    let removed: PathBuf = parent.join(format!("{REMOVED}{}", name.display()));
    fs::rename(path, &removed).map_err(|e| fault::io(e, "rename", path))?;
    delete_directory(&removed)
}

fn delete_directory(path: &Path) -> Result<()> {
    fs::remove_dir_all(path).map_err(|e| fault::io(e, "delete", path))
}

/// The size of all files in a directory. What vanishes while it is counted is not counted.
pub(super) fn directory_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => directory_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
