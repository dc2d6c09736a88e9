//! Bounds, policies, the lock.

use super::{PATIENCE, append, open, read_all, small};
use platform_core::ErrorKind;
use platform_telemetry::spool::{Spool, SpoolOptions, WhenFull};
use std::{fs, path::Path, sync::Arc, time::Duration};

fn payloads(count: u8) -> Vec<Vec<u8>> {
    (0..count).map(|i| vec![i; 900]).collect()
}

fn disk_bytes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    files
        .filter(|file| file.file_name().to_str().unwrap().starts_with("segment-"))
        .map(|file| file.metadata().unwrap().len())
        .sum()
}

#[tokio::test]
async fn a_full_spool_holds_appends_back_until_the_reader_commits() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, mut reader) = open(dir.path(), small());
    let spool = Arc::new(spool);
    let appending = tokio::spawn({
        let spool = spool.clone();
        async move { append(&spool, &payloads(60)).await }
    });
    let full = async {
        while !spool.stats().full {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, full).await.unwrap();
    let stats = spool.stats();
    assert_eq!(stats.waiting_records, 17, "so many fit");
    assert!(!appending.is_finished() && stats.waits > 0);
    assert!(disk_bytes(dir.path()) <= small().max_bytes);
    // Reading alone makes no room.
    let mut read = Vec::new();
    while read.len() < 17 {
        let group = reader.read(1 << 20, 3).await.unwrap();
        read.extend(group.records);
    }
    assert!(!appending.is_finished() && spool.stats().full);
    reader.commit(read[4].position).await.unwrap();
    while read.len() < 60 {
        let group = tokio::time::timeout(PATIENCE, reader.read(1 << 20, 3)).await.unwrap().unwrap();
        assert!(disk_bytes(dir.path()) <= small().max_bytes);
        read.extend(group.records);
        reader.commit(group.end).await.unwrap();
    }
    tokio::time::timeout(PATIENCE, appending).await.unwrap().unwrap();
    assert_eq!(read.iter().map(|r| r.payload.to_vec()).collect::<Vec<_>>(), payloads(60));
    let stats = spool.stats();
    assert_eq!((stats.waiting_records, stats.dropped_newest, stats.dropped_oldest), (0, 0, 0));
    assert!(stats.segments == 1 && stats.disk_bytes == disk_bytes(dir.path()), "{stats:?}");
}

#[tokio::test]
async fn an_append_that_is_given_up_while_it_waits_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, mut reader) = open(dir.path(), small());
    append(&spool, &payloads(17)).await;
    let mut records = spool.records();
    records.push(&[99; 900]).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), spool.append(records)).await.is_err());
    let group = reader.read(1 << 20, 100).await.unwrap();
    reader.commit(group.end).await.unwrap();
    assert_eq!(read_all(&spool, &mut reader).await, []);
}

#[tokio::test]
async fn the_newest_are_dropped_and_counted_if_that_is_the_policy() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, mut reader) = open(dir.path(), SpoolOptions { when_full: WhenFull::DropNewest, ..small() });
    append(&spool, &payloads(40)).await;
    assert_eq!(spool.stats().dropped_newest, 23);
    let mut read = Vec::new();
    while read.len() < 17 {
        let group = reader.read(1 << 20, 100).await.unwrap();
        read.extend(group.records.iter().map(|r| r.payload.to_vec()));
        reader.commit(group.end).await.unwrap();
    }
    assert_eq!(read, payloads(17));
    append(&spool, &payloads(1)).await;
    assert_eq!(spool.stats().dropped_newest, 23, "there is room again");
}

#[tokio::test]
async fn the_oldest_are_dropped_and_counted_if_that_is_the_policy() {
    let dir = tempfile::tempdir().unwrap();
    let options = SpoolOptions { when_full: WhenFull::DropOldest, ..small() };
    let (spool, mut reader) = open(dir.path(), options.clone());
    let first = reader_of_one(&spool, &mut reader).await;
    append(&spool, &payloads(40)).await;
    let dropped = spool.stats().dropped_oldest;
    assert!(dropped > 20 && disk_bytes(dir.path()) <= options.max_bytes);
    let read = read_all(&spool, &mut reader).await;
    // One was read and not committed.
    let missing = first + 40 - read.len() as u64 - 1;
    assert_eq!(missing + 1, dropped);
    assert_eq!(read.last().unwrap().1, vec![39; 900]);
    assert!(read.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0));
    assert_eq!(spool.stats().damaged_records, 0);
    drop((spool, reader));
    let (spool, _reader) = open(dir.path(), options);
    assert_eq!(spool.stats().damaged_records, 0, "what was dropped is not taken for lost");
}

async fn reader_of_one(spool: &Spool, reader: &mut platform_telemetry::spool::SpoolReader) -> u64 {
    append(spool, &[vec![200; 900]]).await;
    reader.read(1 << 20, 1).await.unwrap().records.len() as u64
}

#[tokio::test]
async fn a_directory_has_one_owner_and_closing_is_idempotent() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, reader) = open(dir.path(), small());
    let error = Spool::open(dir.path(), small()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    append(&spool, &payloads(2)).await;
    spool.close().await.unwrap();
    spool.close().await.unwrap();
    let mut records = spool.records();
    records.push(b"late").unwrap();
    assert_eq!(spool.append(records).await.unwrap_err().kind(), ErrorKind::Cancelled);
    drop((spool, reader));
    let (spool, mut reader) = open(dir.path(), small());
    assert_eq!(read_all(&spool, &mut reader).await.len(), 2);
}

#[tokio::test]
async fn bad_options_foreign_directories_and_large_records_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for options in [
        SpoolOptions { max_bytes: 8 << 10, ..small() },
        SpoolOptions { max_record_bytes: 2 << 10, ..small() },
    ] {
        assert_eq!(Spool::open(dir.path(), options).unwrap_err().kind(), ErrorKind::Invalid);
    }
    fs::write(dir.path().join("thesis.txt"), "precious").unwrap();
    assert_eq!(Spool::open(dir.path(), small()).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let (spool, mut reader) = open(&dir.path().join("spool"), small());
    let mut records = spool.records();
    records.push(b"fits").unwrap();
    assert_eq!(records.push(&[0; 1025]).unwrap_err().kind(), ErrorKind::Exhausted);
    records.push(&[1; 1024]).unwrap();
    spool.append(records).await.unwrap().durable().await.unwrap();
    assert_eq!(read_all(&spool, &mut reader).await, [(0, b"fits".to_vec()), (1, vec![1; 1024])]);
}
