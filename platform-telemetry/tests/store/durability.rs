//! What was acknowledged survives; what is not ours or damaged is told.

use super::{NOW, line, lines, open, sample};
use platform_core::{
    ErrorKind,
    clock::{Clock, ManualClock, Timestamp},
    telemetry::{Batch, LogOrder, LogQuery, TelemetrySink, TelemetryStore, TimeRange, metric},
};
use platform_telemetry::store::{EmbeddedStore, StoreOptions};
use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

const HOUR: Duration = Duration::from_secs(3600);

fn around_now() -> TimeRange {
    TimeRange::new(NOW - 1000 * HOUR, NOW + 1000 * HOUR)
}

async fn bodies(store: &EmbeddedStore) -> Vec<String> {
    let query = LogQuery::new(around_now()).limit(10_000).order(LogOrder::OldestFirst);
    store.logs(&query).await.unwrap().records.into_iter().map(|record| record.body).collect()
}

#[tokio::test]
async fn a_restart_keeps_everything_and_closing_is_idempotent() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.write(lines(NOW, &["one", "two"])).await.unwrap();
    store.write(Batch::samples(vec![sample("m", ("a", "1"), NOW, 1.0)])).await.unwrap();
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(bodies(&store).await, ["one", "two"], "queries work on a closed store");
    assert_eq!(store.write(lines(NOW, &["late"])).await.unwrap_err().kind(), ErrorKind::Cancelled);

    let again = open(dir.path());
    assert_eq!(bodies(&again).await, ["one", "two"]);
    let stats = again.stats().await.unwrap();
    assert_eq!((stats.samples, stats.log_records, stats.series), (1, 2, 1));
    again.write(lines(NOW, &["three"])).await.unwrap();
    assert_eq!(bodies(&again).await, ["one", "two", "three"], "equal times stay in the order of writing");
}

#[tokio::test]
async fn a_second_opener_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = EmbeddedStore::open(dir.path(), StoreOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    assert_eq!(EmbeddedStore::destroy(dir.path()).unwrap_err().kind(), ErrorKind::Conflict);
    drop(store);
    open(dir.path()).close().await.unwrap();
    EmbeddedStore::destroy(dir.path()).unwrap();
    assert!(!dir.path().exists());
    EmbeddedStore::destroy(dir.path()).unwrap();
}

#[tokio::test]
async fn a_journal_that_was_flushed_already_is_not_flushed_twice() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.write(lines(NOW, &["a", "b"])).await.unwrap();
    let journal = files(dir.path()).into_iter().find(|p| name(p).starts_with("journal-")).unwrap();
    let copy = fs::read(&journal).unwrap();
    store.close().await.unwrap();
    drop(store);
    // As if the process had died after the commit and before the journal was deleted.
    fs::write(&journal, copy).unwrap();
    assert_eq!(bodies(&open(dir.path())).await, ["a", "b"]);
}

#[tokio::test]
async fn retention_drops_partitions_by_age_and_by_size() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(NOW));
    let options = |max_age, max_bytes| StoreOptions {
        max_age,
        max_bytes,
        clock: clock.clone(),
        ..StoreOptions::default()
    };
    let store = EmbeddedStore::open(dir.path(), options(None, None)).unwrap();
    for hours in [5, 3, 0] {
        store.write(lines(clock.now() - HOUR * hours, &[&format!("{hours} hours old")])).await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);

    let store = EmbeddedStore::open(dir.path(), options(Some(4 * HOUR), None)).unwrap();
    assert_eq!(bodies(&store).await, ["3 hours old", "0 hours old"]);
    clock.advance(3 * HOUR);
    store.write(lines(clock.now(), &["new"])).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(bodies(&store).await, ["0 hours old", "new"]);
    drop(store);

    let store = EmbeddedStore::open(dir.path(), options(None, Some(1))).unwrap();
    assert_eq!(bodies(&store).await, ["new"], "the latest partition stays");
    assert_eq!(store.stats().await.unwrap().log_records, 1);
}

#[tokio::test]
async fn damage_is_told_with_its_place_and_the_rest_can_be_used_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.write(lines(NOW, &["now"])).await.unwrap();
    store.write(lines(NOW - 3 * HOUR, &["then"])).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let mut partitions: Vec<PathBuf> = files(&dir.path().join("partitions"));
    partitions.sort();
    let (then, now) = (partitions[0].clone(), partitions[1].clone());

    for damaged in files(&now.join("logs")).into_iter().filter(|p| !p.ends_with(".tantivy-writer.lock")) {
        if name(&damaged).starts_with('.') {
            continue;
        }
        let intact = fs::read(&damaged).unwrap();
        let mut flipped = intact.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x55;
        for bytes in [&flipped[..], &intact[..intact.len() / 2], &[]] {
            fs::write(&damaged, bytes).unwrap();
            let Err(error) = EmbeddedStore::open(dir.path(), StoreOptions::default()) else {
                panic!("{} of {} bytes is damaged, and nobody says so", damaged.display(), bytes.len())
            };
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{}: {error}", damaged.display());
            assert!(error.to_string().contains(name(&now)), "{error}");
        }
        fs::remove_file(&damaged).unwrap();
        let error = EmbeddedStore::open(dir.path(), StoreOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{}: {error}", damaged.display());
        fs::write(&damaged, intact).unwrap();
    }
    assert_eq!(bodies(&open(dir.path())).await, ["then", "now"]);

    fs::rename(&now, dir.path().with_extension("aside")).unwrap();
    assert_eq!(bodies(&open(dir.path())).await, ["then"]);
    fs::remove_dir_all(dir.path().with_extension("aside")).unwrap();
    assert!(then.exists());
}

#[tokio::test]
async fn a_dictionary_without_its_end_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for label in ["1", "2"] {
        store.write(Batch::samples(vec![sample("m", ("a", label), NOW, 1.0)])).await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    let series = dir.path().join("series");
    let intact = fs::read(&series).unwrap();
    fs::write(&series, &intact[..intact.len() - 1]).unwrap();
    let error = EmbeddedStore::open(dir.path(), StoreOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    fs::write(&series, &intact).unwrap();
    assert_eq!(open(dir.path()).stats().await.unwrap().series, 2);
}

#[tokio::test]
async fn unchecked_damage_is_an_error_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let records = (0..200).map(|i| line(NOW + Duration::from_millis(i), &format!("record {i}"))).collect();
    store.write(Batch::logs(records)).await.unwrap();
    store
        .write(Batch::samples(
            (0..200).map(|i| sample("m", ("a", "1"), NOW + Duration::from_secs(i), 1.0)).collect(),
        ))
        .await
        .unwrap();
    store.close().await.unwrap();
    drop(store);
    let partition = files(&dir.path().join("partitions")).remove(0);
    for table in ["logs", "samples"] {
        for damaged in files(&partition.join(table)) {
            let intact = fs::read(&damaged).unwrap();
            for place in 0..8 {
                let mut bytes = intact.clone();
                let at = bytes.len() * place / 8;
                let Some(byte) = bytes.get_mut(at) else { continue };
                *byte ^= 0xff;
                fs::write(&damaged, &bytes).unwrap();
                let options = StoreOptions { verify: false, ..StoreOptions::default() };
                if let Ok(store) = EmbeddedStore::open(dir.path(), options) {
                    let query = LogQuery::new(around_now()).text("record -7").limit(300);
                    let _ = store.logs(&query).await;
                    let _ = store.select(&metric("m"), around_now()).await;
                }
            }
            fs::write(&damaged, &intact).unwrap();
        }
    }
    assert_eq!(bodies(&open(dir.path())).await.len(), 200);
}

const CHILD_DIR: &str = "PLATFORM_TELEMETRY_STORE_CHILD";

/// Not a test by itself: [`killing_the_process_loses_nothing_that_was_acknowledged`] runs it in a process of its own.
#[tokio::test]
async fn child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let options = StoreOptions { flush_interval: Duration::from_millis(20), ..StoreOptions::default() };
    let store = Arc::new(EmbeddedStore::open(Path::new(&dir), options).unwrap());
    let start = store.stats().await.unwrap().log_records;
    for round in 0.. {
        let writes = (0..4).map(|writer| {
            let store = store.clone();
            async move {
                let id = format!("{start}x{round}x{writer}");
                let mut batch = lines(NOW + HOUR * (round % 3), &[&id]);
                batch.samples.push(sample("m", ("id", &id), NOW, 1.0));
                match store.write(batch).await {
                    Ok(()) => println!("acknowledged {id}"),
                    Err(error) => println!("refused {:?} {error}", error.kind()),
                }
            }
        });
        futures::future::join_all(writes).await;
    }
}

fn spawn_child(dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "durability::child", "--nocapture"]).env(CHILD_DIR, dir);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

#[tokio::test]
async fn killing_the_process_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = HashSet::new();
    // Killed after different numbers of acknowledgements, in the middle of writes, flushes and merges.
    for kill_after in [1, 40, 3, 200, 90] {
        let mut child = spawn_child(dir.path()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in
            output.by_ref().map(Result::unwrap).filter(|l| l.contains("acknowledged ")).take(kill_after)
        {
            acknowledged.insert(line.split("acknowledged ").nth(1).unwrap().to_owned());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What the pipe still holds was acknowledged too; the last line may be cut.
        let rest: Vec<String> = output.map_while(Result::ok).collect();
        acknowledged.extend(
            rest.iter().rev().skip(1).filter_map(|l| l.split("acknowledged ").nth(1)).map(str::to_owned),
        );

        let store = open(dir.path());
        let found = bodies(&store).await;
        let unique: HashSet<String> = found.iter().cloned().collect();
        assert_eq!(unique.len(), found.len(), "a record is there twice");
        let lost: Vec<_> = acknowledged.difference(&unique).collect();
        assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
        let series = store.select(&metric("m"), around_now()).await.unwrap();
        let ids: HashSet<&str> = series.iter().filter_map(|s| s.labels.get("id")).collect();
        assert!(acknowledged.iter().all(|id| ids.contains(id.as_str())));
    }
    assert!(acknowledged.len() >= 334);
}

/// The limit on the size of files stands for a full disk: a write that passes it fails half-way.
#[cfg(unix)]
#[tokio::test]
async fn a_full_disk_refuses_writes_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let child = spawn_child(dir.path());
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg("trap '' XFSZ; ulimit -f 24; exec \"$0\" \"$@\"")
        .arg(child.get_program())
        .args(child.get_args());
    shell.env(CHILD_DIR, dir.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = shell.spawn().unwrap();
    let mut acknowledged = HashSet::new();
    let mut refused = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap) {
        if let Some((_, id)) = line.split_once("acknowledged ") {
            acknowledged.insert(id.to_owned());
        } else if let Some((_, why)) = line.split_once("refused ") {
            assert!(why.starts_with("Exhausted"), "{why}");
            refused += 1;
        }
        if refused == 40 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(refused, 40);
    let found: HashSet<String> = bodies(&open(dir.path())).await.into_iter().collect();
    assert!(acknowledged.is_subset(&found), "acknowledged and lost: {:?}", acknowledged.difference(&found));
    assert!(!acknowledged.is_empty());
}

#[tokio::test]
async fn moments_at_the_ends_of_time_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let moments =
        [Timestamp::from_millis(0), Timestamp::from_millis(-1), Timestamp::from_millis(i64::MAX - 1)];
    for at in moments {
        store.write(lines(at, &["line"])).await.unwrap();
    }
    store.close().await.unwrap();
    let all = TimeRange::new(Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
    assert_eq!(open(dir.path()).logs(&LogQuery::new(all)).await.unwrap().total, 3);
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}
