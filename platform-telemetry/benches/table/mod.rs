//! The table of what was measured against what is wanted: `cargo bench -p platform-telemetry --bench NAME -- --check`.

#![allow(dead_code, reason = "each benchmark uses a part")]

use std::time::{Duration, Instant};

/// Whether the table is asked for, instead of criterion's measurements.
pub(crate) fn is_asked_for() -> bool {
    std::env::args().any(|argument| argument == "--check")
}

/// What one run took: on the clock, and of this process's CPUs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// Measures some work. Of threads that it ends, the CPU time is not seen.
pub(crate) fn measure<T>(work: impl FnOnce() -> T) -> (T, Taken) {
    let (cpu, began) = (cpu_time(), Instant::now());
    let answer = work();
    (answer, Taken { wall: began.elapsed(), cpu: cpu_time().saturating_sub(cpu) })
}

/// The CPU time of all threads that there are. Linux alone tells; elsewhere it is zero.
pub(crate) fn cpu_time() -> Duration {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    let spent = threads.filter_map(|thread| {
        let told = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        told.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}

pub(crate) fn median<T: Copy + Ord>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

/// The medians of several runs, each for itself.
pub(crate) fn medians(runs: &[Taken]) -> Taken {
    Taken {
        wall: median(runs.iter().map(|run| run.wall).collect()),
        cpu: median(runs.iter().map(|run| run.cpu).collect()),
    }
}

/// A line of the table.
pub(crate) struct Row {
    pub(crate) work: String,
    pub(crate) ours: String,
    pub(crate) peer: String,
    /// How many times as good as the peer.
    pub(crate) ratio: Option<f64>,
    pub(crate) goal: String,
    pub(crate) met: bool,
}

/// Prints the table and says whether every goal is met.
pub(crate) fn report(rows: &[Row]) -> bool {
    println!("{:<46} {:>22} {:>34} {:>8}  goal", "work", "ours", "peer", "ratio");
    for row in rows {
        let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}x"));
        let verdict = if row.met { "" } else { "  MISSED" };
        println!("{:<46} {:>22} {:>34} {:>8}  {}{verdict}", row.work, row.ours, row.peer, ratio, row.goal);
    }
    rows.iter().all(|row| row.met)
}
