//! The agent is killed again and again: every line that was written to a file arrives.

use crate::support::{PATIENCE, assert_complete_and_in_order};
use async_trait::async_trait;
use platform_core::{Result, telemetry::document::Signal};
use platform_telemetry::{
    agent::{Agent, ForwardOptions},
    message::{Message, MessageSink, decode, signal_of},
    sources::{FileTail, StartAt},
};
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const CHILD_DIR: &str = "PLATFORM_TELEMETRY_AGENT_CHILD";
const CHILD_LIMIT: &str = "PLATFORM_TELEMETRY_AGENT_LIMIT";
const FILES: [&str; 3] = ["a", "b", "c"];
const LINES: usize = 300;

/// Appends documents to a file, up to a number of messages; then it answers no more.
#[derive(Debug)]
struct FileSink {
    file: Mutex<File>,
    left: AtomicUsize,
}

#[async_trait]
impl MessageSink for FileSink {
    fn name(&self) -> &'static str {
        "file"
    }

    async fn send(&self, messages: &[Message]) -> Result<()> {
        // The tail's own samples are none of those that are counted.
        for message in messages.iter().filter(|m| signal_of(&m.topic) == Some(Signal::Logs)) {
            if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_err() {
                std::future::pending::<()>().await;
            }
            let line = [&message.payload[..], b"\n"].concat();
            self.file.lock().unwrap().write_all(&line).unwrap();
        }
        Ok(())
    }
}

/// Not a test by itself: [`killing_the_agent_loses_no_line`] runs it in a process of its own.
#[tokio::test]
async fn child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let dir = Path::new(&dir);
    let limit = std::env::var(CHILD_LIMIT).unwrap().parse().unwrap();
    let mut file = OpenOptions::new().create(true).append(true).open(dir.join("delivered")).unwrap();
    // What a kill cut off is a line of its own.
    file.write_all(b"\n").unwrap();
    let sink = Arc::new(FileSink { file: Mutex::new(file), left: AtomicUsize::new(limit) });
    let tail = FileTail::builder([dir.join("*.log").to_string_lossy()])
        .checkpoint(dir.join("state/tail.json"))
        .checkpoint_interval(Duration::from_millis(5))
        .poll_interval(Duration::from_millis(5))
        .start_at(StartAt::Beginning)
        .build()
        .unwrap();
    let forward = ForwardOptions {
        group_records: 20,
        commit_interval: Duration::from_millis(1),
        ..ForwardOptions::default()
    };
    let agent = Agent::builder(dir.join("agent"), sink)
        .forward(forward)
        .source(Arc::new(tail))
        .start()
        .await
        .unwrap();
    loop {
        std::fs::write(dir.join("stored"), format!("{} lines", agent.stats().pipeline.logs_stored)).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(dir: &Path, limit: usize) -> Killed {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crash::child", "--nocapture"])
        .env(CHILD_DIR, dir)
        .env(CHILD_LIMIT, limit.to_string());
    Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// The numbers of the lines of each file, as they were delivered.
fn delivered(dir: &Path) -> BTreeMap<String, Vec<usize>> {
    let mut delivered: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let Ok(file) = File::open(dir.join("delivered")) else { return delivered };
    // A line that a kill cut off was not acknowledged.
    for record in BufReader::new(file).lines().filter_map(|line| decode::log(line.unwrap().as_bytes()).ok()) {
        let file = PathBuf::from(record.labels.get("file").unwrap());
        let number = record.body.split_once(' ').unwrap().0.parse().unwrap();
        delivered.entry(file.file_stem().unwrap().to_str().unwrap().to_owned()).or_default().push(number);
    }
    delivered
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came to pass: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn killing_the_agent_loses_no_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = 0;
    let mut write = |count: usize| {
        for name in FILES {
            let path = dir.path().join(format!("{name}.log"));
            let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
            let lines: Vec<_> = (written..written + count).map(|n| format!("{n} of {name}\n")).collect();
            file.write_all(lines.concat().as_bytes()).unwrap();
        }
        written += count;
        written
    };
    // After how many messages the sink answers no more, and whether everything is in the spool when the agent is killed.
    let mut undelivered = 0;
    for (limit, spooled) in [(0, true), (70, false), (150, true), (10, true), (333, false)] {
        let before: usize = delivered(dir.path()).values().map(Vec::len).sum();
        let total = write(LINES);
        let _ = std::fs::remove_file(dir.path().join("stored"));
        let child = spawn(dir.path(), limit);
        if spooled {
            // Since this agent started: what is new, and perhaps what one before it had not noted.
            wait_for("the spool has everything", || {
                let stored = std::fs::read_to_string(dir.path().join("stored")).unwrap_or_default();
                let lines = stored.strip_suffix(" lines").and_then(|lines| lines.parse::<usize>().ok());
                lines.is_some_and(|lines| lines >= FILES.len() * LINES)
            });
        }
        wait_for("the sink has its messages", || {
            delivered(dir.path()).values().map(Vec::len).sum::<usize>() >= before + limit
        });
        drop(child);
        let unique: usize = delivered(dir.path())
            .into_values()
            .map(|mut numbers| {
                numbers.sort_unstable();
                numbers.dedup();
                numbers.len()
            })
            .sum();
        assert!(unique < FILES.len() * total, "nothing was under way when the agent was killed");
        undelivered += FILES.len() * total - unique;
    }
    assert!(undelivered > 0);
    let total = write(LINES);
    let child = spawn(dir.path(), usize::MAX);
    wait_for("every line is delivered", || {
        let delivered = delivered(dir.path());
        FILES.iter().all(|name| delivered.get(*name).is_some_and(|numbers| numbers.contains(&(total - 1))))
    });
    drop(child);
    for (name, numbers) in delivered(dir.path()) {
        assert_complete_and_in_order(&name, &numbers, total);
    }
}
