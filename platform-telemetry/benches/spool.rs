//! What the spool costs: `cargo bench -p platform-telemetry --bench spool`, and with `-- --check` against its goal.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark ends when something is wrong")]

#[path = "table/mod.rs"]
mod table;

use criterion::{BatchSize, Criterion, Throughput};
use platform_telemetry::spool::{Spool, SpoolOptions, SpoolReader};
use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};
use table::{Row, Taken, cpu_time, measure, medians};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const MESSAGE_BYTES: usize = 1024;
const SYNC_BYTES: u64 = 4 << 20;
/// How many messages are appended together.
const BATCH: usize = 250;
const WANTED: f64 = 1e6;
const ROUNDS: usize = 7;

fn main() {
    if table::is_asked_for() {
        std::process::exit(i32::from(!check()));
    }
    let mut criterion = Criterion::default().configure_from_args();
    appending(&mut criterion);
    latency(&mut criterion);
    criterion.final_summary();
}

fn check() -> bool {
    let runtime = runtime();
    let messages = 256 << 10;
    let (mut ours, mut bare, mut reads, mut bare_reads) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let dir = directory();
        let (spool, reader) = Spool::open(&dir.path().join("spool"), options()).unwrap();
        ours.push(runtime.block_on(append(&spool, messages)));
        assert_eq!(spool.stats().waiting_records, messages as u64);
        reads.push(runtime.block_on(read(reader, messages)));
        runtime.block_on(spool.close()).unwrap();
        drop(spool);
        bare.push(write_bare(&dir.path().join("bare"), messages));
        bare_reads.push(read_bare(&dir.path().join("bare")));
    }
    let row = |work: &str, ours: Taken, bare: Taken, wanted: Option<f64>| {
        let rate = |time: Duration| messages as f64 / time.as_secs_f64();
        let line = |clock: &str, own: f64, peer: f64, goal: String, met: bool| Row {
            work: format!("{work}, {clock}"),
            ours: format!("{:.2} M messages/s", own / 1e6),
            peer: format!("bare file {:.2} M messages/s", peer / 1e6),
            ratio: Some(own / peer),
            goal,
            met,
        };
        let (by_cpu, by_wall) = (rate(ours.cpu), rate(ours.wall));
        let met = wanted.is_none_or(|wanted| by_cpu.max(by_wall) >= wanted);
        let goal = wanted.map_or("-".to_owned(), |wanted| format!(">= {:.0} M messages/s", wanted / 1e6));
        [
            line("of CPU time per core", by_cpu, rate(bare.cpu), goal, met),
            line("on the clock of this disk", by_wall, rate(bare.wall), "-".to_owned(), true),
        ]
    };
    let rows: Vec<Row> =
        row("append 1 KiB, fdatasync every 4 MiB", medians(&ours), medians(&bare), Some(WANTED))
            .into_iter()
            .chain(row("read back 1 KiB", medians(&reads), medians(&bare_reads), None))
            .collect();
    println!(
        "{ROUNDS} rounds of {messages} messages, medians; the peer writes and reads the same bytes without a spool"
    );
    table::report(&rows)
}

/// From the first append until the last message is durable.
async fn append(spool: &Spool, messages: usize) -> Taken {
    let message = message();
    let (cpu, began) = (cpu_time(), Instant::now());
    let mut appended = Vec::with_capacity(messages / BATCH + 1);
    for first in (0..messages).step_by(BATCH) {
        let mut records = spool.records();
        for _ in first..messages.min(first + BATCH) {
            records.push(&message).unwrap();
        }
        appended.push(spool.append(records).await.unwrap());
    }
    spool.flush();
    for appended in appended {
        appended.durable().await.unwrap();
    }
    Taken { wall: began.elapsed(), cpu: cpu_time().saturating_sub(cpu) }
}

async fn read(mut reader: SpoolReader, messages: usize) -> Taken {
    let (cpu, began) = (cpu_time(), Instant::now());
    let (mut seen, mut bytes) = (0, 0);
    while seen < messages {
        let group = reader.read(4 << 20, usize::MAX).await.unwrap();
        seen += group.records.len();
        bytes += group.records.iter().map(|record| record.payload.len()).sum::<usize>();
        reader.commit(group.end).await.unwrap();
    }
    assert_eq!((seen, bytes), (messages, messages * MESSAGE_BYTES));
    Taken { wall: began.elapsed(), cpu: cpu_time().saturating_sub(cpu) }
}

/// By writes of 256 KiB: by those of 4 MiB, a bare file takes several times the CPU time of a spool.
fn write_bare(path: &Path, messages: usize) -> Taken {
    let block = vec![7; 256 << 10];
    let mut file = File::create(path).unwrap();
    let (mut left, mut unsynced) = (messages * MESSAGE_BYTES, 0);
    let ((), taken) = measure(|| {
        while left > 0 {
            let part = left.min(block.len());
            file.write_all(&block[..part]).unwrap();
            left -= part;
            unsynced += part;
            if unsynced >= SYNC_BYTES as usize || left == 0 {
                file.sync_data().unwrap();
                unsynced = 0;
            }
        }
    });
    taken
}

fn read_bare(path: &Path) -> Taken {
    let mut file = File::open(path).unwrap();
    let mut block = vec![0; 1 << 20];
    measure(|| while std::io::Read::read(&mut file, &mut block).unwrap() > 0 {}).1
}

/// From the first append until the last message is durable, by 16 MiB.
fn appending(c: &mut Criterion) {
    let runtime = runtime();
    let messages = 16 << 10;
    let mut group = c.benchmark_group("append");
    group.sample_size(10).throughput(Throughput::Elements(messages as u64));
    group.bench_function("1 KiB messages", |b| {
        b.iter_batched(
            || {
                let dir = directory();
                let opened = Spool::open(&dir.path().join("spool"), options()).unwrap();
                (dir, opened)
            },
            |(dir, (spool, reader))| {
                runtime.block_on(append(&spool, messages));
                (dir, spool, reader)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// From the append of one message until it is durable, with nobody to share the sync with.
fn latency(c: &mut Criterion) {
    let runtime = runtime();
    let dir = directory();
    let (spool, _reader) = Spool::open(&dir.path().join("spool"), options()).unwrap();
    let message = message();
    c.bench_function("acknowledge one message", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let mut records = spool.records();
                records.push(&message).unwrap();
                let appended = spool.append(records).await.unwrap();
                spool.flush();
                appended.durable().await.unwrap();
            });
        });
    });
}

fn options() -> SpoolOptions {
    SpoolOptions { sync_bytes: SYNC_BYTES, max_bytes: 16 << 30, ..SpoolOptions::default() }
}

fn message() -> Vec<u8> {
    (0..MESSAGE_BYTES).map(|i| (i % 251) as u8).collect()
}

/// On the disk of the build, since a temporary directory may be in memory.
fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
