//! What was acknowledged survives the death of the process and a full disk.

use super::{append, open, read_all};
use platform_telemetry::spool::SpoolOptions;
use std::{
    collections::HashSet,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

const CHILD_DIR: &str = "PLATFORM_TELEMETRY_SPOOL_CHILD";

fn options() -> SpoolOptions {
    SpoolOptions {
        segment_bytes: 64 << 10,
        max_record_bytes: 8 << 10,
        sync_interval: Duration::from_millis(2),
        ..SpoolOptions::default()
    }
}

/// Not a test by itself: the others run it in a process of its own.
#[tokio::test]
async fn child() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let (spool, _reader) = open(Path::new(&dir), options());
    let spool = Arc::new(spool);
    for round in 0.. {
        let appends = (0..4).map(|writer| {
            let spool = spool.clone();
            async move {
                let id = format!("{}x{round}x{writer}", std::process::id());
                let mut records = spool.records();
                records.push(id.as_bytes()).unwrap();
                records.push(&vec![b'.'; 1000 * (round % 5)]).unwrap();
                let outcome = match spool.append(records).await {
                    Ok(appended) => appended.durable().await,
                    Err(error) => Err(error),
                };
                match outcome {
                    Ok(()) => println!("acknowledged {id}"),
                    Err(error) => println!("refused {:?} {} {error}", error.kind(), error.is_retryable()),
                }
            }
        });
        futures::future::join_all(appends).await;
    }
}

fn child_of(dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "durability::child", "--nocapture"]).env(CHILD_DIR, dir);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

async fn found(dir: &Path) -> Vec<String> {
    let (spool, mut reader) = open(dir, options());
    let read = read_all(&spool, &mut reader).await;
    let stats = spool.stats();
    assert_eq!((stats.damaged_records, stats.damaged_bytes), (0, 0));
    let ids = read.into_iter().map(|(_, payload)| String::from_utf8(payload).unwrap());
    ids.filter(|id| id.contains('x')).collect()
}

#[tokio::test]
async fn killing_the_process_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = HashSet::new();
    for kill_after in [1, 40, 3, 500, 90] {
        let mut child = child_of(dir.path()).spawn().unwrap();
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
        let found = found(dir.path()).await;
        let unique: HashSet<String> = found.iter().cloned().collect();
        assert_eq!(unique.len(), found.len(), "a record is there twice");
        let lost: Vec<_> = acknowledged.difference(&unique).collect();
        assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    }
    assert!(acknowledged.len() >= 634);
}

/// The limit on the size of files stands for a full disk: a write that passes it fails half-way.
#[tokio::test]
async fn a_full_disk_refuses_appends_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let child = child_of(dir.path());
    let mut shell = Command::new("sh");
    // In blocks of 512 or 1024 bytes: less than a segment either way.
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
            assert!(why.starts_with("Exhausted true"), "{why}");
            refused += 1;
        }
        if refused == 40 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(refused, 40);
    let found: HashSet<String> = found(dir.path()).await.into_iter().collect();
    assert!(acknowledged.is_subset(&found), "acknowledged and lost: {:?}", acknowledged.difference(&found));
    assert!(!acknowledged.is_empty());
    // With room again, it goes on where it was.
    let (spool, _reader) = open(dir.path(), options());
    append(&spool, &[b"x after".to_vec()]).await;
}
