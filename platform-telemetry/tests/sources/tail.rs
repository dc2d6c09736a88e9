//! Following real files through a pipeline, over restarts and outages.

use crate::support::{Fault, PATIENCE, TestSink, eventually};
use platform_core::telemetry::{
    Labels,
    settings::{Multiline, MultilineRule},
};
use platform_telemetry::{
    pipeline::{Pipeline, PipelineHandle},
    sources::{FileTail, FileTailBuilder, StartAt},
};
use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::Arc,
    time::Duration,
};

fn tail(directory: &Path) -> FileTailBuilder {
    FileTail::builder([directory.join("*.log").to_string_lossy()])
        .checkpoint(directory.join("state/tail.json"))
        .checkpoint_interval(Duration::from_millis(20))
        .poll_interval(Duration::from_millis(10))
        .start_at(StartAt::Beginning)
        .labels(Labels::from_iter([("environment", "testing")]))
}

fn start(source: FileTail, sink: &Arc<TestSink>) -> (Arc<FileTail>, PipelineHandle) {
    let source = Arc::new(source);
    let pipeline = Pipeline::builder(sink.clone())
        .source(source.clone())
        .batch_wait(Duration::from_millis(5))
        .retry_deadline(Duration::from_millis(200))
        .start();
    (source, pipeline)
}

fn open(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

fn write(log: &mut File, lines: std::ops::Range<u32>) {
    let text: Vec<_> = lines.map(|n| format!("line-{n}\n")).collect();
    log.write_all(text.concat().as_bytes()).unwrap();
}

fn expected(lines: u32) -> Vec<String> {
    let mut lines: Vec<_> = (0..lines).map(|n| format!("line-{n}")).collect();
    lines.sort();
    lines
}

fn sorted(sink: &TestSink) -> Vec<String> {
    let mut bodies = sink.bodies();
    bodies.sort();
    bodies
}

#[tokio::test]
async fn lines_come_once_over_rotation_truncation_and_an_orderly_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    let sink = TestSink::new();
    let mut log = open(&path);
    write(&mut log, 0..3_000);
    let (source, pipeline) = start(tail(directory.path()).build().unwrap(), &sink);
    eventually("the file is read", || source.stats().lines_delivered == 3_000).await;

    std::fs::rename(&path, directory.path().join("app.log.1")).unwrap();
    write(&mut log, 3_000..3_010);
    log = open(&path);
    write(&mut log, 3_010..3_020);
    eventually("both files are read", || source.stats().lines_delivered == 3_020).await;

    log.set_len(0).unwrap();
    eventually("the truncation is seen", || source.stats().truncations == 1).await;
    write(&mut log, 3_020..3_030);
    log.write_all(b"line-30").unwrap();
    eventually("the file is read again", || source.stats().lines_delivered == 3_030).await;
    pipeline.shutdown(PATIENCE).await.unwrap();

    // While nobody looks: the unfinished line is finished, the file is renamed, another begins.
    log.write_all(b"30\n").unwrap();
    write(&mut log, 3_031..3_040);
    std::fs::rename(&path, directory.path().join("app.log.2")).unwrap();
    write(&mut open(&path), 3_040..3_050);
    let (source, pipeline) = start(tail(directory.path()).build().unwrap(), &sink);
    eventually("everything is read", || source.stats().lines_delivered == 20).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert_eq!(sorted(&sink), expected(3_050));
    let record = &sink.logs()[0];
    assert_eq!(record.labels.get("file"), Some(path.to_str().unwrap()));
    assert_eq!(record.labels.get("environment"), Some("testing"));
    assert!(record.labels.get("source").unwrap().starts_with("tail:"));
}

#[tokio::test]
async fn an_outage_of_the_sink_and_an_abrupt_end_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let sink = TestSink::new();
    let mut log = open(&directory.path().join("app.log"));
    // Longer than a write is retried: batches fail, and their lines are read again.
    sink.fail([Fault::Unavailable; 12]);
    let (source, pipeline) = start(tail(directory.path()).build().unwrap(), &sink);
    for part in 0..10 {
        write(&mut log, part * 50..(part + 1) * 50);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eventually("everything is stored", || source.stats().lines_delivered >= 500).await;
    assert!(source.stats().deliveries_failed > 0, "the outage was seen: {:?}", source.stats());

    sink.stall();
    write(&mut log, 500..600);
    eventually("a write is under way", || pipeline.stats().writes_in_flight > 0).await;
    drop(pipeline);
    sink.resume();
    let (source, pipeline) = start(tail(directory.path()).build().unwrap(), &sink);
    eventually("what was under way is read again", || source.stats().lines_delivered >= 100).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    let mut stored = sorted(&sink);
    stored.dedup();
    assert_eq!(stored, expected(600));
    assert_eq!(source.stats().lines_lost, 0);
}

#[tokio::test]
async fn files_that_are_rotated_while_the_sink_stalls_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    let sink = TestSink::new();
    sink.stall();
    // Everything that can be held back is held back: the channel is full after the first lines.
    let source = Arc::new(tail(directory.path()).build().unwrap());
    let pipeline = Pipeline::builder(sink.clone())
        .source(source.clone())
        .capacity(1)
        .batch_records(1)
        .writes_in_flight(1)
        .start();
    for rotation in 0..6 {
        let mut log = open(&path);
        write(&mut log, rotation * 10..(rotation + 1) * 10);
        let seen = u64::from(rotation) + 1;
        eventually("the file is found", || source.stats().files == seen).await;
        std::fs::rename(&path, directory.path().join(format!("app.log.{rotation}"))).unwrap();
    }
    assert_eq!(source.stats().lines_delivered, 0);
    sink.resume();
    eventually("all files are read", || source.stats().lines_delivered == 60).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert_eq!(sorted(&sink), expected(60));
}

#[tokio::test]
async fn files_are_found_while_nothing_but_metrics_is_held_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    let sink = TestSink::new();
    sink.stall();
    let pipeline = Pipeline::builder(sink.clone())
        .self_metrics(Duration::from_millis(10), Labels::empty())
        .capacity(1)
        .batch_records(1)
        .writes_in_flight(1)
        .start();
    eventually("a write is under way", || pipeline.stats().writes_in_flight == 1).await;
    // The channel has room for one more, which the pipeline's own metrics take.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let source = Arc::new(tail(directory.path()).build().unwrap());
    pipeline.add_source(source.clone(), &Labels::empty()).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for rotation in 0..2 {
        write(&mut open(&path), rotation * 10..(rotation + 1) * 10);
        let seen = u64::from(rotation) + 1;
        eventually("the file is found", || source.stats().files == seen).await;
        std::fs::rename(&path, directory.path().join(format!("app.log.{rotation}"))).unwrap();
    }
    sink.resume();
    eventually("all files are read", || source.stats().lines_delivered == 20).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert_eq!(sorted(&sink), expected(20));
}

/// A line of a container, split by the runtime where it is told to be.
fn cri(stream: &str, parts: &[&str]) -> String {
    let tag = |at: usize| if at + 1 == parts.len() { "F" } else { "P" };
    let pieces = parts.iter().enumerate();
    let lines =
        pieces.map(|(at, part)| format!("2026-11-23T20:36:28.123456789Z {stream} {} {part}\n", tag(at)));
    lines.collect::<Vec<_>>().concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_rotations_loses_and_repeats_nothing() {
    const ROTATIONS: u32 = 150;
    const LINES: u32 = 40;
    let directory = tempfile::tempdir().unwrap();
    let pod = directory.path().join("pods/shop_web-1_u-1/main");
    std::fs::create_dir_all(&pod).unwrap();
    let id = "0123456789abcdef".repeat(4);
    let link = directory.path().join(format!("web-1_shop_main-{id}.log"));
    std::os::unix::fs::symlink(pod.join("0.log"), link).unwrap();
    let sink = TestSink::new();
    // A sink that is away for a while.
    sink.fail([Fault::Unavailable; 3]);
    let mut log = open(&pod.join("0.log"));
    let (source, pipeline) = start(tail(directory.path()).build().unwrap(), &sink);
    eventually("the file is found", || source.stats().files == 1).await;
    let storm = std::thread::spawn(move || {
        for rotation in 0..ROTATIONS {
            for line in 0..LINES {
                let (number, stream) = (rotation * LINES + line, ["stdout", "stderr"][line as usize % 2]);
                let text = match number % 3 {
                    0 => cri(stream, &[&format!("line-{number}")]),
                    1 => cri(stream, &["li", &format!("ne-{number}")]),
                    _ => cri(stream, &["l", "ine-", &number.to_string()]),
                };
                log.write_all(text.as_bytes()).unwrap();
            }
            // Faster than anybody looks, now and then not.
            std::thread::sleep(Duration::from_millis(u64::from(rotation % 4) * 3));
            std::fs::rename(pod.join("0.log"), pod.join(format!("0.log.20261123-{rotation:06}"))).unwrap();
            log = open(&pod.join("0.log"));
        }
    });
    storm.join().unwrap();
    let lines = ROTATIONS * LINES;
    eventually("everything is read", || sink.bodies().len() >= lines as usize).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for body in sink.bodies() {
        *counts.entry(body).or_default() += 1;
    }
    let repeated: Vec<_> = counts.iter().filter(|(_, times)| **times > 1).collect();
    let stored = counts.len();
    assert!(
        repeated.is_empty() && stored == lines as usize,
        "{stored} of {lines}, more than once: {repeated:?}"
    );
    let stats = source.stats();
    // The last may not have been looked at.
    assert!(stats.rotations >= u64::from(ROTATIONS) - 1, "{stats:?}");
    assert_eq!((stats.lines_lost, stats.lines_unwrapped, stats.lines_partial), (0, 0, 0));
    let labels = &sink.logs()[0].labels;
    assert_eq!((labels.get("pod"), labels.get("pod_uid")), (Some("web-1"), Some("u-1")));
    assert_eq!((labels.get("file"), labels.get("source")), (None, None));
}

#[tokio::test]
async fn records_of_several_lines_come_as_one_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let sink = TestSink::new();
    let mut log = open(&directory.path().join("app.log"));
    let build = || {
        let rule = Multiline::stack_traces().flush_after(Duration::from_secs(600));
        tail(directory.path()).multiline(rule).build().unwrap()
    };
    log.write_all(b"start\nTraceback (most recent call last):\n  File \"a.py\", line 1\n").unwrap();
    let (source, pipeline) = start(build(), &sink);
    eventually("the first line is stored", || source.stats().lines_delivered == 1).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert_eq!(sink.bodies(), ["start"], "the record is unfinished");

    log.write_all(b"    x()\nValueError: no\nend\n").unwrap();
    let (source, pipeline) = start(build(), &sink);
    eventually("all lines are stored", || source.stats().lines_delivered == 5).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    let trace = "Traceback (most recent call last):\n  File \"a.py\", line 1\n    x()\nValueError: no";
    assert_eq!(sink.bodies(), ["start", trace, "end"]);
    assert_eq!(source.stats().lines_joined, 3);
    let pattern = Multiline::new(MultilineRule::Start("(".into()));
    assert!(FileTail::builder(["/var/log/x"]).multiline(pattern).build().is_err());
}

#[tokio::test]
async fn a_damaged_checkpoint_costs_repeats_and_no_lines() {
    let directory = tempfile::tempdir().unwrap();
    let sink = TestSink::new();
    write(&mut open(&directory.path().join("app.log")), 0..10);
    std::fs::create_dir(directory.path().join("state")).unwrap();
    std::fs::write(directory.path().join("state/tail.json"), b"{\"version\"").unwrap();
    let from_end = tail(directory.path()).start_at(StartAt::End);
    let (source, pipeline) = start(from_end.build().unwrap(), &sink);
    eventually("the file is read", || source.stats().lines_delivered == 10).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert_eq!(sorted(&sink), expected(10));
}

#[tokio::test]
async fn the_tail_tells_of_itself() {
    let directory = tempfile::tempdir().unwrap();
    let sink = TestSink::new();
    let (source, pipeline) = start(tail(directory.path()).build().unwrap(), &sink);
    eventually("its samples come", || sink.values("platform_tail_files") == [0.0]).await;
    assert_eq!(source.stats().files, 0);
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert!(FileTail::builder(["/var/log/[x"]).build().is_err());
    assert!(FileTail::builder::<&str>([]).build().is_err());
}
