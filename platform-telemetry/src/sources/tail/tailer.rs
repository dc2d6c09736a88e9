//! All files of a tail: which there are, which are the same under another name, and what to read next.

use super::{
    checkpoint::{Checkpoint, Identity, Position},
    follower::{Follower, Outcome, Ticket},
    record::record,
    stats::Counters,
};
use platform_core::{
    clock::Timestamp,
    telemetry::{Labels, LogRecord},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// How long the position in a file that is not there is kept: a volume may be mounted later.
const FORGET_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// Where reading begins in a file that is seen for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum StartAt {
    /// Everything it has.
    Beginning,
    /// Only what comes from now on: at the start of its last line if that is unfinished.
    #[default]
    End,
}

/// How a tail reads.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) patterns: Vec<String>,
    pub(super) source: String,
    pub(super) labels: Labels,
    pub(super) start_at: StartAt,
    pub(super) line_limit: usize,
    pub(super) partial_grace: Duration,
    pub(super) rotated_idle: Duration,
}

/// Records of one file.
#[derive(Debug)]
pub(super) struct Batched {
    pub(super) follower: u64,
    pub(super) ticket: Ticket,
    pub(super) records: Vec<LogRecord>,
}

/// Follows files. Does nothing by itself: somebody polls it and tells it what became of what it read.
#[derive(Debug)]
pub(super) struct Tailer {
    config: Arc<Config>,
    counters: Arc<Counters>,
    followers: BTreeMap<u64, Follower>,
    next: u64,
    /// Positions of a former run whose files have not been found.
    former: Vec<Position>,
    /// Patterns whose present files are not new.
    former_patterns: BTreeSet<String>,
    first: bool,
    /// Whose turn it is.
    turn: u64,
    unreadable: BTreeSet<PathBuf>,
    /// A file was opened or began anew, which no checkpoint knows.
    unwritten: bool,
}

impl Tailer {
    /// Continues at `checkpoint`, if there is one.
    pub(super) fn new(config: Arc<Config>, counters: Arc<Counters>, checkpoint: Option<Checkpoint>) -> Self {
        let (former, former_patterns) =
            checkpoint.map_or_else(Default::default, |c| (c.files, c.patterns.into_iter().collect()));
        Self {
            config,
            counters,
            followers: BTreeMap::new(),
            next: 0,
            former,
            former_patterns,
            first: true,
            turn: 0,
            unreadable: BTreeSet::new(),
            unwritten: false,
        }
    }

    /// Looks for files and reads at most `room` batches.
    pub(super) fn poll(&mut self, now: Instant, wall: Timestamp, room: usize) -> Vec<Batched> {
        self.discover(now);
        let mut batches = Vec::new();
        let mut idle = BTreeSet::new();
        while batches.len() < room {
            // One batch of each in turn, so that a busy file does not starve the others.
            let turn = self.turn;
            let after = self.followers.range(turn..).map(|(id, _)| *id).find(|id| !idle.contains(id));
            let Some(id) = after.or_else(|| self.followers.keys().copied().find(|id| !idle.contains(id)))
            else {
                break;
            };
            self.turn = id + 1;
            match self.read(id, now, wall) {
                Ok(Some(batch)) => {
                    if let Some(follower) = self.followers.get(&id) {
                        self.unreadable.remove(&follower.path);
                    }
                    batches.push(batch);
                }
                Ok(None) => {
                    idle.insert(id);
                }
                Err(error) => {
                    self.complain(id, &error);
                    idle.insert(id);
                }
            }
        }
        self.retire(now);
        batches
    }

    /// Notes what became of a batch.
    pub(super) fn settle(&mut self, follower: u64, ticket: Ticket, outcome: Outcome, now: Instant) {
        // A follower is kept until everything of it is settled; one that is gone has nothing left to note.
        let Some(follower) = self.followers.get_mut(&follower) else { return };
        if outcome != Outcome::Durable {
            self.counters.deliveries_failed.fetch_add(1, Ordering::Relaxed);
        }
        match follower.settle(ticket, outcome, now) {
            Ok(settled) => {
                self.counters.lines_delivered.fetch_add(settled.delivered, Ordering::Relaxed);
                if settled.lost > 0 {
                    self.counters.lines_lost.fetch_add(settled.lost, Ordering::Relaxed);
                    tracing::error!(
                        file = follower.name,
                        lines = settled.lost,
                        "lines of a log were lost: they were not stored and cannot be read again"
                    );
                }
                if settled.rewound {
                    tracing::warn!(file = follower.name, "lines of a log were not stored and are read again");
                }
            }
            Err(error) => {
                tracing::warn!(file = follower.name, %error, "a log cannot be read again");
                self.counters.read_errors.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether files were opened or began anew since this was last asked: they should be in a checkpoint soon, or they are not
    /// found again if they are renamed while nobody looks.
    pub(super) fn take_unwritten(&mut self) -> bool {
        std::mem::take(&mut self.unwritten)
    }

    /// How far everything is durable.
    pub(super) fn checkpoint(&self, wall: Timestamp) -> Checkpoint {
        let kept = self.former.iter().filter(|position| wall.since(position.seen) < FORGET_AFTER).cloned();
        let files = self.followers.values().map(|follower| follower.position(wall)).chain(kept).collect();
        Checkpoint::new(self.config.patterns.clone(), files)
    }

    fn discover(&mut self, now: Instant) {
        let first = std::mem::replace(&mut self.first, false);
        let mut present = BTreeMap::new();
        for pattern in &self.config.patterns {
            // On the first look, files of a pattern that was not followed before were there before us.
            let is_old = first && !self.former_patterns.contains(pattern);
            for path in expand(pattern) {
                // A link counts as what it leads to.
                if let Ok(metadata) = std::fs::metadata(&path)
                    && metadata.is_file()
                {
                    present.entry(path).or_insert((Identity::of(&metadata), is_old));
                }
            }
        }
        self.note_renames(&present, now);
        let mut known: BTreeSet<Identity> = self.followers.values().map(|f| f.identity).collect();
        for (path, (identity, is_old)) in &present {
            if known.insert(*identity)
                && let Err(error) = self.open(path, *is_old, now)
            {
                known.remove(identity);
                // A file that is gone between the look and the opening is no news.
                if error.kind() != io::ErrorKind::NotFound && self.unreadable.insert(path.clone()) {
                    self.counters.read_errors.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(file = %path.display(), %error, "a log cannot be opened; trying again");
                }
            }
        }
        if first {
            self.find_renamed(now);
        }
        self.counters.files.store(self.followers.len() as u64, Ordering::Relaxed);
    }

    /// Files that have another name now, and those whose name has another file.
    fn note_renames(&mut self, present: &BTreeMap<PathBuf, (Identity, bool)>, now: Instant) {
        for follower in self.followers.values_mut() {
            let at_its_path = present.get(&follower.path).map(|(identity, _)| *identity);
            if at_its_path == Some(follower.identity) {
                follower.rotated = None;
            } else if let Some((path, _)) = present.iter().find(|(_, (id, _))| *id == follower.identity) {
                self.counters.rotations.fetch_add(1, Ordering::Relaxed);
                follower.path.clone_from(path);
                follower.rotated = None;
            } else if follower.rotated.is_none() {
                self.counters.rotations.fetch_add(1, Ordering::Relaxed);
                follower.rotated = Some(now);
            }
        }
    }

    fn open(&mut self, path: &Path, is_old: bool, now: Instant) -> io::Result<()> {
        let file = File::open(path)?;
        let identity = Identity::of(&file.metadata()?);
        // After a reboot, a volume may have another device number.
        let former = self.former.iter().position(|position| {
            position.identity.inode == identity.inode
                && (position.identity.device == identity.device || position.path == path)
        });
        let offset = match former.map(|at| self.former.swap_remove(at)) {
            Some(position) if position.fits(&file)? => position.offset,
            None if is_old && self.config.start_at == StartAt::End => {
                last_line(&file, self.config.line_limit)?
            }
            // New; or the number was another file's, or it was rewritten while nobody looked.
            _ => 0,
        };
        let follower = Follower::new(path, file, offset, self.config.line_limit, now)?;
        self.unreadable.remove(path);
        self.followers.insert(self.next, follower);
        self.next += 1;
        self.unwritten = true;
        Ok(())
    }

    /// Looks for files that were renamed out of the patterns while nobody looked: what they have more is read too.
    fn find_renamed(&mut self, now: Instant) {
        let directories: BTreeSet<PathBuf> =
            self.former.iter().filter_map(|position| position.path.parent().map(Path::to_owned)).collect();
        for entry in directories.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let identity = Identity::of(&metadata);
            let Some(at) = self.former.iter().position(|position| position.identity == identity) else {
                continue;
            };
            let opened = || -> io::Result<Option<Follower>> {
                let (Some(position), true) = (self.former.get(at), metadata.is_file()) else {
                    return Ok(None);
                };
                let file = File::open(entry.path())?;
                if !position.fits(&file)? {
                    return Ok(None);
                }
                let mut follower =
                    Follower::new(&position.path, file, position.offset, self.config.line_limit, now)?;
                follower.path = entry.path();
                follower.rotated = Some(now);
                Ok(Some(follower))
            };
            if let Ok(Some(follower)) = opened() {
                self.former.swap_remove(at);
                self.counters.rotations.fetch_add(1, Ordering::Relaxed);
                self.followers.insert(self.next, follower);
                self.next += 1;
            }
        }
    }

    fn read(&mut self, id: u64, now: Instant, wall: Timestamp) -> io::Result<Option<Batched>> {
        let Some(follower) = self.followers.get_mut(&id) else { return Ok(None) };
        let chunk = match follower.truncated(now)? {
            None => follower.read(now, self.config.partial_grace)?,
            Some((unread, held)) => {
                self.unwritten = true;
                self.counters.truncations.fetch_add(1, Ordering::Relaxed);
                self.counters.bytes_lost.fetch_add(unread, Ordering::Relaxed);
                if unread > 0 {
                    tracing::warn!(
                        file = follower.name,
                        bytes = unread,
                        "a log was truncated before all of it was read"
                    );
                }
                match held {
                    Some(chunk) => Some(chunk),
                    None => follower.read(now, self.config.partial_grace)?,
                }
            }
        };
        let Some(chunk) = chunk else { return Ok(None) };
        let add = |counter: &std::sync::atomic::AtomicU64, by: u64| counter.fetch_add(by, Ordering::Relaxed);
        add(&self.counters.bytes_read, chunk.bytes);
        add(&self.counters.lines_read, chunk.lines.len() as u64);
        add(&self.counters.lines_partial, u64::from(chunk.partial));
        let own = Labels::from_iter([("file", follower.name.as_str()), ("source", &self.config.source)]);
        let labels = self.config.labels.with(&own);
        let (mut cut, mut invalid) = (0, 0);
        let records = chunk.lines.into_iter().map(|line| {
            cut += u64::from(line.cut > 0);
            let text = String::from_utf8(line.bytes).unwrap_or_else(|error| {
                // The end of a line that was cut may be the middle of a character.
                invalid += u64::from(line.cut == 0 || error.utf8_error().error_len().is_some());
                String::from_utf8_lossy(error.as_bytes()).into_owned()
            });
            record(text, wall, &labels)
        });
        let records = records.collect();
        add(&self.counters.lines_cut, cut);
        add(&self.counters.lines_invalid_utf8, invalid);
        if cut > 0 {
            tracing::warn!(
                file = follower.name,
                lines = cut,
                limit = self.config.line_limit,
                "lines of a log were cut: they are too long"
            );
        }
        Ok(Some(Batched { follower: id, ticket: chunk.ticket, records }))
    }

    fn complain(&mut self, id: u64, error: &io::Error) {
        self.counters.read_errors.fetch_add(1, Ordering::Relaxed);
        if let Some(follower) = self.followers.get(&id)
            && self.unreadable.insert(follower.path.clone())
        {
            tracing::warn!(file = follower.name, %error, "a log cannot be read; trying again");
        }
    }

    /// Lets go of files that were rotated away and have nothing more.
    fn retire(&mut self, now: Instant) {
        let idle = self.config.rotated_idle;
        self.followers.retain(|_, follower| {
            follower.rotated.is_none_or(|since| now.saturating_duration_since(since) < idle)
                || !follower.is_finished(now, idle)
        });
    }
}

/// The paths that a pattern stands for now. What cannot be looked into is not there.
fn expand(pattern: &str) -> Vec<PathBuf> {
    if !pattern.contains(['*', '?', '[']) {
        return vec![PathBuf::from(pattern)];
    }
    // The pattern was checked when the tail was built.
    glob::glob(pattern).map_or_else(|_| Vec::new(), |paths| paths.flatten().collect())
}

/// Where the last line begins if it is unfinished, else the end; not further back than a line may be long.
fn last_line(file: &File, line_limit: usize) -> io::Result<u64> {
    let len = file.metadata()?.len();
    let from = len.saturating_sub(line_limit as u64);
    let bytes = super::checkpoint::read_exactly(file, from, usize::try_from(len - from).unwrap_or_default())?;
    Ok(match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => from + end as u64 + 1,
        None if from == 0 => 0,
        None => len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{fs::OpenOptions, io::Write as _};

    const NOW: Timestamp = Timestamp::from_millis(1_795_466_188_000);

    fn config(directory: &Path, start_at: StartAt) -> Arc<Config> {
        Arc::new(Config {
            patterns: vec![directory.join("app.log").to_string_lossy().into_owned()],
            source: "tail".to_owned(),
            labels: Labels::empty(),
            start_at,
            line_limit: 1024,
            partial_grace: Duration::from_secs(5),
            rotated_idle: Duration::from_secs(300),
        })
    }

    #[derive(Debug, Clone)]
    enum Step {
        Append(u8),
        AppendPart,
        Poll(usize),
        SettleOne {
            fails: bool,
        },
        SettleAll,
        Save,
        /// Rename and create, with this many lines still written to the renamed file.
        Rotate(u8),
        CopyTruncate,
        RestartInOrder,
        RestartAbruptly,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (1u8..30).prop_map(Step::Append),
            2 => Just(Step::AppendPart),
            6 => (1usize..4).prop_map(Step::Poll),
            3 => proptest::bool::weighted(0.2).prop_map(|fails| Step::SettleOne { fails }),
            3 => Just(Step::SettleAll),
            2 => Just(Step::Save),
            2 => (0u8..5).prop_map(Step::Rotate),
            1 => Just(Step::CopyTruncate),
            1 => Just(Step::RestartInOrder),
            1 => Just(Step::RestartAbruptly),
        ];
        proptest::collection::vec(step, 1..60)
    }

    /// A program that logs, a tail that follows it, and a sink.
    struct World {
        directory: tempfile::TempDir,
        config: Arc<Config>,
        log: File,
        tailer: Tailer,
        pending: Vec<Batched>,
        saved: Option<Checkpoint>,
        now: Instant,
        written: u32,
        rotations: u32,
        /// The end of a line that is begun.
        rest: Option<String>,
        stored: BTreeMap<String, u32>,
        repeats_allowed: bool,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let config = config(directory.path(), StartAt::Beginning);
            let tailer = Tailer::new(Arc::clone(&config), Arc::default(), None);
            let log = open(&directory.path().join("app.log"));
            Self {
                directory,
                config,
                log,
                tailer,
                pending: Vec::new(),
                saved: None,
                now: Instant::now(),
                written: 0,
                rotations: 0,
                rest: None,
                stored: BTreeMap::new(),
                repeats_allowed: false,
            }
        }

        fn append(&mut self, lines: u8) {
            let mut text = self.rest.take().unwrap_or_default();
            for _ in 0..lines {
                text.extend(["line-", &self.written.to_string(), "\n"]);
                self.written += 1;
            }
            self.log.write_all(text.as_bytes()).unwrap();
        }

        fn append_part(&mut self) {
            let beginning = format!("{}line-", self.rest.take().unwrap_or_default());
            self.log.write_all(beginning.as_bytes()).unwrap();
            self.rest = Some(format!("{}\n", self.written));
            self.written += 1;
        }

        fn poll(&mut self, room: usize) -> usize {
            self.now += Duration::from_millis(20);
            let read = self.tailer.poll(self.now, NOW, room);
            let count = read.len();
            self.pending.extend(read);
            if self.tailer.take_unwritten() {
                self.save();
            }
            count
        }

        fn settle(&mut self, fails: bool) {
            if self.pending.is_empty() {
                return;
            }
            let batch = self.pending.remove(0);
            let outcome = if fails { Outcome::Failed } else { Outcome::Durable };
            if fails {
                self.repeats_allowed = true;
            } else {
                for record in &batch.records {
                    *self.stored.entry(record.body.clone()).or_default() += 1;
                }
            }
            self.tailer.settle(batch.follower, batch.ticket, outcome, self.now);
        }

        /// Until nothing is left to read; waits after failures are over by then.
        fn quiet(&mut self) {
            for _ in 0..1000 {
                while !self.pending.is_empty() {
                    self.settle(false);
                }
                // Less than the grace for unfinished lines at a time, but as long as the wait altogether.
                self.now += Duration::from_millis(900);
                if self.poll(16) == 0
                    && self
                        .tailer
                        .followers
                        .values()
                        .all(|f| f.is_finished(self.now, Duration::from_secs(61)))
                {
                    return;
                }
            }
            panic!("it does not come to rest");
        }

        fn save(&mut self) {
            // As it is on disk, but without waiting for one.
            let text = serde_json::to_string(&self.tailer.checkpoint(NOW)).unwrap();
            self.saved = Some(serde_json::from_str(&text).unwrap());
        }

        fn restart(&mut self) {
            self.pending.clear();
            self.tailer = Tailer::new(Arc::clone(&self.config), Arc::default(), self.saved.clone());
        }

        fn run(&mut self, step: &Step) {
            let path = self.directory.path().join("app.log");
            match step {
                Step::Append(lines) => self.append(*lines),
                Step::AppendPart => self.append_part(),
                Step::Poll(room) => drop(self.poll(*room)),
                Step::SettleOne { fails } => self.settle(*fails),
                Step::SettleAll => {
                    while !self.pending.is_empty() {
                        self.settle(false);
                    }
                }
                Step::Save => self.save(),
                Step::Rotate(late) => {
                    // Two rotations between two looks hide a file: that is not promised.
                    self.poll(1);
                    self.rotations += 1;
                    std::fs::rename(&path, self.directory.path().join(format!("app.log.{}", self.rotations)))
                        .unwrap();
                    self.append(*late);
                    self.log = open(&path);
                }
                Step::CopyTruncate => {
                    // What is not read before the truncation is lost: that is not promised either.
                    self.append(0);
                    self.quiet();
                    self.rotations += 1;
                    std::fs::copy(&path, self.directory.path().join(format!("app.log.{}", self.rotations)))
                        .unwrap();
                    self.log.set_len(0).unwrap();
                }
                Step::RestartInOrder => {
                    while !self.pending.is_empty() {
                        self.settle(false);
                    }
                    self.save();
                    self.restart();
                }
                Step::RestartAbruptly => {
                    self.repeats_allowed = true;
                    if self.saved.is_none() {
                        return;
                    }
                    self.restart();
                }
            }
        }
    }

    fn open(path: &Path) -> File {
        OpenOptions::new().create(true).append(true).open(path).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn no_interleaving_of_rotations_and_restarts_loses_a_line(steps in steps()) {
            let mut world = World::new();
            for step in &steps {
                world.run(step);
            }
            world.append(1);
            world.quiet();
            for line in 0..world.written {
                let times = world.stored.get(&format!("line-{line}")).copied().unwrap_or_default();
                prop_assert!(times >= 1, "line {line} of {} is lost", world.written);
                prop_assert!(times == 1 || world.repeats_allowed, "line {line} is there {times} times");
            }
            prop_assert_eq!(world.stored.len(), world.written as usize, "{:?}", world.stored);
        }
    }

    fn bodies(batches: &[Batched]) -> Vec<&str> {
        batches.iter().flat_map(|b| &b.records).map(|r| r.body.as_str()).collect()
    }

    #[test]
    fn files_that_were_there_are_read_from_their_end_and_later_ones_from_their_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let pattern = directory.path().join("*.log").to_string_lossy().into_owned();
        let config =
            Arc::new(Config { patterns: vec![pattern], ..(*config(directory.path(), StartAt::End)).clone() });
        std::fs::write(directory.path().join("old.log"), "before\nbegun").unwrap();
        let mut tailer = Tailer::new(config, Arc::default(), None);
        let now = Instant::now();
        assert!(tailer.poll(now, NOW, 8).is_empty());
        open(&directory.path().join("old.log")).write_all(b" and ended\n").unwrap();
        std::fs::write(directory.path().join("new.log"), "all of it\n").unwrap();
        let read = tailer.poll(now, NOW, 8);
        let mut bodies = bodies(&read);
        bodies.sort_unstable();
        assert_eq!(bodies, ["all of it", "begun and ended"]);
    }

    #[test]
    fn an_unfinished_line_is_given_away_after_the_grace_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let counters = Arc::new(Counters::default());
        let mut tailer =
            Tailer::new(config(directory.path(), StartAt::Beginning), Arc::clone(&counters), None);
        let mut log = open(&directory.path().join("app.log"));
        log.write_all(b"half").unwrap();
        let start = Instant::now();
        assert!(tailer.poll(start, NOW, 8).is_empty());
        let read = tailer.poll(start + Duration::from_secs(6), NOW, 8);
        assert_eq!(bodies(&read), ["half"]);
        log.write_all(b"\nnext\n").unwrap();
        let read = tailer.poll(start + Duration::from_secs(7), NOW, 8);
        assert_eq!(bodies(&read), ["next"]);
        assert_eq!(counters.snapshot().lines_partial, 1);
    }

    #[test]
    fn what_is_cut_replaced_truncated_and_refused_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.log");
        let counters = Arc::new(Counters::default());
        let mut tailer =
            Tailer::new(config(directory.path(), StartAt::Beginning), Arc::clone(&counters), None);
        let mut now = Instant::now();
        let mut content = vec![b'x'; 2000];
        content.extend_from_slice(b"\nbad \xff byte\n");
        std::fs::write(&path, &content).unwrap();
        let read = tailer.poll(now, NOW, 8);
        assert_eq!(read[0].records[0].body.len(), 1024);
        assert_eq!(read[0].records[1].body, "bad \u{fffd} byte");
        let (follower, mut ticket) = (read[0].follower, read[0].ticket);
        for _ in 0..2 {
            tailer.settle(follower, ticket, Outcome::Refused, now);
            now += Duration::from_secs(60);
            ticket = tailer.poll(now, NOW, 8)[0].ticket;
        }
        tailer.settle(follower, ticket, Outcome::Refused, now);
        assert!(tailer.poll(now + Duration::from_secs(60), NOW, 8).is_empty());
        std::fs::write(&path, "anew\n").unwrap();
        assert_eq!(bodies(&tailer.poll(now, NOW, 8)), ["anew"]);
        let stats = counters.snapshot();
        assert_eq!((stats.lines_cut, stats.lines_invalid_utf8), (3, 3), "each time it was read");
        assert_eq!((stats.lines_lost, stats.truncations, stats.deliveries_failed), (2, 1, 3));
    }

    #[test]
    fn a_rewrite_that_is_longer_than_what_was_read_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.log");
        let mut tailer = Tailer::new(config(directory.path(), StartAt::Beginning), Arc::default(), None);
        std::fs::write(&path, "header\none\n").unwrap();
        assert_eq!(bodies(&tailer.poll(Instant::now(), NOW, 8)), ["header", "one"]);
        std::fs::write(&path, "header\ntwo, and longer\n").unwrap();
        assert_eq!(bodies(&tailer.poll(Instant::now(), NOW, 8)), ["header", "two, and longer"]);
    }
}
