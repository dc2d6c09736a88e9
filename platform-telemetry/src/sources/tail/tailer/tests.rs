//! A program that logs and rotates, a tail, and a sink, in every order of steps.

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
        exclude: Vec::new(),
        format: LogFormat::Detect,
        rules: None,
        metadata: None,
        metadata_wait: Duration::from_secs(10),
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
                && self.tailer.followers.values().all(|f| f.is_finished(self.now, Duration::from_secs(61)))
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
                // Who copies does not rename, too, before the next look: the copy would count as a file that was missed.
                self.quiet();
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
        world.poll(0);
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
    let mut tailer = Tailer::new(config(directory.path(), StartAt::Beginning), Arc::clone(&counters), None);
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
    let mut tailer = Tailer::new(config(directory.path(), StartAt::Beginning), Arc::clone(&counters), None);
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

#[test]
fn a_number_that_is_used_again_is_another_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    std::fs::write(&path, "one\ntwo\n").unwrap();
    let config = config(directory.path(), StartAt::Beginning);
    let mut tailer = Tailer::new(Arc::clone(&config), Arc::default(), None);
    let read = tailer.poll(Instant::now(), NOW, 8);
    tailer.settle(read[0].follower, read[0].ticket, Outcome::Durable, Instant::now());
    let mut checkpoint = tailer.checkpoint(NOW);
    assert_eq!(checkpoint.files[0].offset, 8);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "another file, longer than that\n").unwrap();
    // As a file system does that has the number to give away again.
    checkpoint.files[0].identity = Identity::of(&std::fs::metadata(&path).unwrap());
    let mut tailer = Tailer::new(config, Arc::default(), Some(checkpoint));
    assert_eq!(bodies(&tailer.poll(Instant::now(), NOW, 8)), ["another file, longer than that"]);
}

#[test]
fn what_is_excluded_is_left_alone_and_what_vanishes_is_read_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let glob = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let config = Arc::new(Config {
        patterns: vec![glob("*.log")],
        exclude: vec![glob::Pattern::new(&glob("noisy-*")).unwrap()],
        ..(*config(directory.path(), StartAt::Beginning)).clone()
    });
    std::fs::write(directory.path().join("noisy-1.log"), "no\n").unwrap();
    let path = directory.path().join("app.log");
    let mut log = open(&path);
    let counters = Arc::new(Counters::default());
    let mut tailer = Tailer::new(config, Arc::clone(&counters), None);
    let start = Instant::now();
    assert!(tailer.poll(start, NOW, 8).is_empty());
    std::fs::remove_file(&path).unwrap();
    log.write_all(b"last words\n").unwrap();
    let read = tailer.poll(start, NOW, 8);
    assert_eq!(bodies(&read), ["last words"]);
    tailer.settle(read[0].follower, read[0].ticket, Outcome::Durable, start);
    tailer.poll(start + Duration::from_secs(600), NOW, 8);
    tailer.poll(start + Duration::from_secs(601), NOW, 8);
    assert_eq!(counters.snapshot().files, 0);
}

#[test]
fn what_was_rotated_while_nothing_could_be_read_is_read_however_long_that_took() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    std::fs::write(&path, "one\n").unwrap();
    let mut tailer = Tailer::new(config(directory.path(), StartAt::Beginning), Arc::default(), None);
    let start = Instant::now();
    // A sink that takes nothing leaves no room.
    assert!(tailer.poll(start, NOW, 0).is_empty());
    std::fs::rename(&path, directory.path().join("app.log.1")).unwrap();
    std::fs::write(&path, "two\n").unwrap();
    for minutes in [1, 10, 100, 1000] {
        assert!(tailer.poll(start + Duration::from_secs(60 * minutes), NOW, 0).is_empty());
    }
    let read = tailer.poll(start + Duration::from_secs(60_001), NOW, 8);
    let mut bodies = bodies(&read);
    bodies.sort_unstable();
    assert_eq!(bodies, ["one", "two"]);
}
