//! Torn ends and flipped bits: what is undamaged is read, the rest is counted, nothing is invented.

use super::{append, open, read_all, small};
use platform_telemetry::spool::SpoolStats;
use proptest::prelude::*;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const HEADER_BYTES: usize = 20;

/// A spool with these records in one segment, closed; the segment's path and bytes too.
fn written(runtime: &Runtime, payloads: &[Vec<u8>]) -> (TempDir, PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let (spool, reader) = open(dir.path(), small());
    runtime.block_on(append(&spool, payloads));
    drop((spool, reader));
    let path = segments(dir.path()).remove(0);
    let bytes = fs::read(&path).unwrap();
    (dir, path, bytes)
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("segment-"))
        .collect();
    paths.sort();
    paths
}

fn reopened(runtime: &Runtime, dir: &Path) -> (Vec<(u64, Vec<u8>)>, SpoolStats) {
    let (spool, mut reader) = open(dir, small());
    let read = runtime.block_on(read_all(&spool, &mut reader));
    (read, spool.stats())
}

fn numbered(payloads: &[Vec<u8>]) -> Vec<(u64, Vec<u8>)> {
    (0..).zip(payloads.iter().cloned()).collect()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_record_torn_at_any_byte_costs_only_itself() {
    let runtime = runtime();
    let payloads = [b"first".to_vec(), b"second".to_vec(), b"the last one".to_vec()];
    let (dir, path, bytes) = written(&runtime, &payloads);
    let last = bytes.len() - HEADER_BYTES - payloads[2].len();
    for cut in last..bytes.len() {
        for end in [&bytes[..cut], &[&bytes[..cut], &[0_u8; 50]].concat()[..]] {
            fs::write(&path, end).unwrap();
            let (read, stats) = reopened(&runtime, dir.path());
            assert_eq!(read, numbered(&payloads[..2]), "cut at {cut}");
            assert_eq!(stats.torn_bytes, (end.len() - last) as u64, "cut at {cut}");
            assert_eq!((stats.damaged_records, stats.damaged_bytes), (0, 0));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_undamaged_is_read_and_nothing_is_invented(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..8),
        cut in 0_usize..700,
        flips in proptest::collection::vec((any::<usize>(), 0_u8..8), 0..4),
    ) {
        let runtime = runtime();
        let (dir, path, intact) = written(&runtime, &payloads);
        let mut bytes = intact.clone();
        bytes.truncate(cut.max(1));
        for (at, bit) in flips {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        fs::write(&path, &bytes).unwrap();
        let mut end = 0;
        let mut expected = Vec::new();
        for (number, payload) in (0..).zip(&payloads) {
            let frame = end..end + HEADER_BYTES + payload.len();
            end = frame.end;
            if bytes.get(frame.clone()) == Some(&intact[frame]) {
                expected.push((number, payload.clone()));
            }
        }
        let (read, stats) = reopened(&runtime, dir.path());
        let after = expected.last().map_or(0, |(number, _)| number + 1);
        prop_assert_eq!(stats.damaged_records, after - expected.len() as u64);
        prop_assert_eq!(&read, &expected);
        let changed = bytes != intact;
        let told = stats.torn_bytes + stats.damaged_bytes > 0 || bytes.len() < intact.len();
        prop_assert_eq!(changed, told);
    }
}

#[test]
fn damage_in_the_middle_is_passed_over_to_the_next_record_and_the_next_segment() {
    let runtime = runtime();
    let payloads: Vec<Vec<u8>> = (0..12_u8).map(|i| vec![i; 900]).collect();
    let (dir, ..) = written(&runtime, &payloads);
    let paths = segments(dir.path());
    assert_eq!(paths.len(), 3, "four records in each");
    let size = HEADER_BYTES + 900;
    let mut bytes = fs::read(&paths[0]).unwrap();
    // The second record's length, and everything of the last one but for a byte.
    bytes[size + 5] ^= 0xff;
    bytes.truncate(3 * size + 1);
    fs::write(&paths[0], bytes).unwrap();
    fs::remove_file(&paths[1]).unwrap();
    let (read, stats) = reopened(&runtime, dir.path());
    let kept: Vec<u64> = read.iter().map(|(number, _)| *number).collect();
    assert_eq!(kept, [0, 2, 8, 9, 10, 11]);
    assert_eq!(stats.damaged_records, 6);
    assert_eq!(stats.damaged_bytes, size as u64 + 1);
    assert_eq!(stats.torn_bytes, 0);
}

#[test]
fn a_payload_that_looks_like_a_record_of_another_spool_is_not_one() {
    let runtime = runtime();
    let (.., other) = written(&runtime, &[b"a record of another spool".to_vec()]);
    let (dir, path, mut bytes) = written(&runtime, &[other, b"next".to_vec()]);
    bytes[0] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (read, stats) = reopened(&runtime, dir.path());
    assert_eq!(read, [(1, b"next".to_vec())]);
    assert_eq!(stats.damaged_records, 1);
}

#[test]
fn numbers_are_not_used_again_when_the_end_of_the_spool_is_gone() {
    let runtime = runtime();
    let (dir, path, _) = written(&runtime, &[b"one".to_vec(), b"two".to_vec()]);
    runtime.block_on(async {
        let (_spool, mut reader) = open(dir.path(), small());
        let group = reader.read(1 << 20, 10).await.unwrap();
        reader.commit(group.end).await.unwrap();
    });
    fs::remove_file(path).unwrap();
    runtime.block_on(async {
        let (spool, mut reader) = open(dir.path(), small());
        append(&spool, &[b"three".to_vec()]).await;
        assert_eq!(read_all(&spool, &mut reader).await, [(2, b"three".to_vec())]);
    });
}
