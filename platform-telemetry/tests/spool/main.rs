//! The spool, from outside.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, beside the tests themselves")]

mod damage;
mod durability;
mod policy;

use platform_telemetry::spool::{Spool, SpoolOptions, SpoolReader};
use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Long enough for a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// Small enough that a test fills segments.
fn small() -> SpoolOptions {
    SpoolOptions {
        max_bytes: 16 << 10,
        segment_bytes: 4 << 10,
        queue_bytes: 4 << 10,
        max_record_bytes: 1 << 10,
        sync_interval: Duration::from_millis(1),
        ..SpoolOptions::default()
    }
}

fn open(dir: &Path, options: SpoolOptions) -> (Spool, SpoolReader) {
    Spool::open(dir, options).unwrap()
}

/// Appends each for itself and waits until they are durable.
async fn append(spool: &Spool, payloads: &[Vec<u8>]) {
    for payload in payloads {
        let mut records = spool.records();
        records.push(payload).unwrap();
        let appended = spool.append(records).await.unwrap();
        spool.flush();
        appended.durable().await.unwrap();
    }
}

/// Everything that there is to read, with its numbers. Appends one more record, by whose coming it knows the end.
async fn read_all(spool: &Spool, reader: &mut SpoolReader) -> Vec<(u64, Vec<u8>)> {
    static ENDS: AtomicU64 = AtomicU64::new(0);
    let end = format!("end {}", ENDS.fetch_add(1, Ordering::Relaxed)).into_bytes();
    append(spool, std::slice::from_ref(&end)).await;
    let mut all = Vec::new();
    loop {
        let group = tokio::time::timeout(PATIENCE, reader.read(1 << 20, 64)).await.unwrap().unwrap();
        for record in group.records {
            if record.payload == end {
                return all;
            }
            all.push((record.position.number(), record.payload.to_vec()));
        }
    }
}
