//! Containers that write to both streams, a runtime that splits their lines, a kubelet that rotates the files behind their links, a tail and a sink, in
//! every order of steps.

use super::*;
use platform_core::telemetry::settings::{Multiline, MultilineRule};
use proptest::prelude::*;
use std::{collections::VecDeque, fs::OpenOptions, io::Write as _};

const NOW: Timestamp = Timestamp::from_millis(1_795_466_188_000);
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[derive(Debug, Clone)]
enum Step {
    /// The next piece of a stream's record, or the first of another, of so many lines and pieces of each.
    Write {
        is_stderr: bool,
        lines: usize,
        pieces: usize,
    },
    Poll(usize),
    SettleOne {
        fails: bool,
    },
    SettleAll,
    Save,
    /// The file is renamed, what is under way is still written to it, and another takes its place.
    Rotate,
    RestartInOrder,
    RestartAbruptly,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (any::<bool>(), 1usize..4, 1usize..4)
            .prop_map(|(is_stderr, lines, pieces)| Step::Write { is_stderr, lines, pieces }),
        5 => (1usize..4).prop_map(Step::Poll),
        2 => proptest::bool::weighted(0.2).prop_map(|fails| Step::SettleOne { fails }),
        3 => Just(Step::SettleAll),
        1 => Just(Step::Save),
        1 => Just(Step::Rotate),
        2 => Just(Step::RestartInOrder),
        1 => Just(Step::RestartAbruptly),
    ];
    proptest::collection::vec(step, 1..80)
}

struct World {
    directory: tempfile::TempDir,
    config: Arc<Config>,
    log: File,
    tailer: Tailer,
    pending: Vec<Batched>,
    saved: Option<Checkpoint>,
    now: Instant,
    rotations: u32,
    /// What of each stream's record is not written yet.
    under_way: [VecDeque<String>; 2],
    written: Vec<(&'static str, String)>,
    stored: BTreeMap<(String, String), u32>,
    repeats_allowed: bool,
}

impl World {
    fn new(joins_lines: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (pod, links) = (pod(directory.path()), directory.path().join("containers"));
        std::fs::create_dir_all(&pod).unwrap();
        std::fs::create_dir(&links).unwrap();
        std::os::unix::fs::symlink(pod.join("0.log"), links.join(format!("web-1_shop_main-{ID}.log")))
            .unwrap();
        let rule = Multiline::new(MultilineRule::Continuation("^ ".to_owned()));
        let config = Arc::new(Config {
            patterns: vec![links.join("*.log").to_string_lossy().into_owned()],
            exclude: Vec::new(),
            source: "tail".to_owned(),
            labels: Labels::from_iter([("cluster", "c")]),
            start_at: StartAt::Beginning,
            line_limit: 1024,
            partial_grace: Duration::from_secs(5),
            rotated_idle: Duration::from_secs(300),
            format: LogFormat::Detect,
            rules: joins_lines.then(|| Arc::new(Rules::new(&rule).unwrap())),
            metadata: None,
            metadata_wait: Duration::from_secs(10),
        });
        Self {
            log: open(&pod.join("0.log")),
            tailer: Tailer::new(Arc::clone(&config), Arc::default(), None),
            directory,
            config,
            pending: Vec::new(),
            saved: None,
            now: Instant::now(),
            rotations: 0,
            under_way: Default::default(),
            written: Vec::new(),
            stored: BTreeMap::new(),
            repeats_allowed: false,
        }
    }

    fn write(&mut self, is_stderr: bool, lines: usize, pieces: usize) {
        let stream = ["stdout", "stderr"][usize::from(is_stderr)];
        let queue = &mut self.under_way[usize::from(is_stderr)];
        if queue.is_empty() {
            let lines = if self.config.rules.is_some() { lines } else { 1 };
            let number = self.written.len();
            let lines: Vec<String> = (0..lines)
                .map(|line| format!("{}record {number} line {line}", if line == 0 { "" } else { " " }))
                .collect();
            for line in &lines {
                let parts: Vec<&str> = match pieces {
                    1 => vec![line],
                    2 => vec![&line[..3], &line[3..]],
                    _ => vec![&line[..1], &line[1..5], &line[5..]],
                };
                for (at, part) in parts.iter().enumerate() {
                    let tag = if at + 1 == parts.len() { "F" } else { "P" };
                    queue.push_back(format!("2026-11-23T20:36:28.123456789Z {stream} {tag} {part}\n"));
                }
            }
            self.written.push((stream, lines.join("\n")));
        }
        let piece = queue.pop_front().unwrap();
        self.log.write_all(piece.as_bytes()).unwrap();
    }

    /// Writes what is begun to its end.
    fn complete(&mut self) {
        for piece in self.under_way.iter_mut().flat_map(std::mem::take) {
            self.log.write_all(piece.as_bytes()).unwrap();
        }
    }

    fn poll(&mut self, room: usize) -> usize {
        self.now += Duration::from_millis(10);
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
                let stream = record.labels.get("stream").unwrap_or_default().to_owned();
                assert_eq!(record.labels.get("pod"), Some("web-1"), "{record:?}");
                *self.stored.entry((stream, record.body.clone())).or_default() += 1;
            }
        }
        self.tailer.settle(batch.follower, batch.ticket, outcome, self.now);
    }

    fn settle_all(&mut self) {
        while !self.pending.is_empty() {
            self.settle(false);
        }
    }

    fn quiet(&mut self) {
        for _ in 0..1000 {
            self.settle_all();
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
        let text = serde_json::to_string(&self.tailer.checkpoint(NOW)).unwrap();
        self.saved = Some(serde_json::from_str(&text).unwrap());
    }

    fn restart(&mut self) {
        self.pending.clear();
        self.tailer = Tailer::new(Arc::clone(&self.config), Arc::default(), self.saved.clone());
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Write { is_stderr, lines, pieces } => self.write(*is_stderr, *lines, *pieces),
            Step::Poll(room) => drop(self.poll(*room)),
            Step::SettleOne { fails } => self.settle(*fails),
            Step::SettleAll => self.settle_all(),
            Step::Save => self.save(),
            Step::Rotate => {
                self.rotations += 1;
                let pod = pod(self.directory.path());
                std::fs::rename(pod.join("0.log"), pod.join(format!("0.log.2026112320{}", self.rotations)))
                    .unwrap();
                self.complete();
                self.log = open(&pod.join("0.log"));
            }
            Step::RestartInOrder => {
                self.settle_all();
                self.save();
                self.restart();
            }
            Step::RestartAbruptly => {
                self.repeats_allowed = true;
                if self.saved.is_some() {
                    self.restart();
                }
            }
        }
    }
}

fn pod(directory: &Path) -> PathBuf {
    directory.join("pods/shop_web-1_u-1/main")
}

fn open(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_storm_of_rotations_and_restarts_loses_or_repeats_a_record(joins_lines in any::<bool>(), steps in steps()) {
        let mut world = World::new(joins_lines);
        world.poll(0);
        for step in &steps {
            world.run(step);
        }
        world.complete();
        world.quiet();
        for (stream, body) in &world.written {
            let times = world.stored.get(&((*stream).to_owned(), body.clone())).copied().unwrap_or_default();
            prop_assert!(times >= 1, "{body:?} of {stream} is lost: {:?}", world.stored);
            prop_assert!(times == 1 || world.repeats_allowed, "{body:?} of {stream} is there {times} times");
        }
        prop_assert_eq!(world.stored.len(), world.written.len(), "{:?}", world.stored);
    }
}
