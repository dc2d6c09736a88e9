//! Times, CPU, requests, and the table of them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Requests to API servers since the process began.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// Counts the requests that `platform-k8s` tells of.
pub(crate) struct Requests;

impl<S: Subscriber> Layer<S> for Requests {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == "platform_k8s::connection::api" && *metadata.level() == Level::TRACE
    }

    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
    }
}

/// What one run of something took: on the clock, of this process's CPUs, in requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) requests: u64,
}

pub(crate) async fn measure<T>(work: impl Future<Output = T>) -> (T, Sample) {
    let (requests, cpu, began) = (REQUESTS.load(Ordering::Relaxed), cpu(), Instant::now());
    let answer = work.await;
    let sample = Sample {
        wall: began.elapsed(),
        cpu: self::cpu().saturating_sub(cpu),
        requests: REQUESTS.load(Ordering::Relaxed) - requests,
    };
    (answer, sample)
}

/// The CPU time of all threads that there are. Those of the runtime live as long as it; Linux alone tells, elsewhere it is zero.
fn cpu() -> Duration {
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

/// The medians of several samples, each for itself.
pub(crate) fn medians(samples: &[Sample]) -> Sample {
    let of = |pick: fn(&Sample) -> Duration| median(samples.iter().map(pick).collect());
    Sample {
        wall: of(|s| s.wall),
        cpu: of(|s| s.cpu),
        requests: median(samples.iter().map(|s| s.requests).collect()),
    }
}

/// What a row must reach.
pub(crate) enum Goal {
    /// So many times as fast as the peer.
    Ratio(f64),
    /// Below this.
    Within(Duration),
    /// At least so many objects a second, or as many as the bare requests reach if that is less.
    Rate { wanted: f64, bare: f64 },
    /// Only told.
    None,
}

pub(crate) struct Row {
    pub(crate) work: &'static str,
    pub(crate) objects: usize,
    pub(crate) ours: Sample,
    pub(crate) peer: Option<(&'static str, Duration)>,
    pub(crate) goal: Goal,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.peer.map(|(_, peer)| peer.as_secs_f64() / self.ours.wall.as_secs_f64())
    }

    fn rate(&self) -> f64 {
        self.objects as f64 / self.ours.wall.as_secs_f64()
    }

    fn is_met(&self) -> bool {
        match self.goal {
            Goal::Ratio(wanted) => self.ratio().is_some_and(|ratio| ratio >= wanted),
            Goal::Within(limit) => self.ours.wall < limit,
            Goal::Rate { wanted, bare } => self.rate() >= wanted.min(bare),
            Goal::None => true,
        }
    }

    fn print(&self) {
        let peer = self.peer.map_or_else(|| "-".to_owned(), |(name, wall)| format!("{name} {}", shown(wall)));
        let ratio = self.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.1}x"));
        let goal = match self.goal {
            Goal::Ratio(wanted) => format!(">= {wanted:.0}x"),
            Goal::Within(limit) => format!("< {}", shown(limit)),
            Goal::Rate { wanted, bare } if bare < wanted => {
                format!(">= {bare:.0}/s (all that the server takes)")
            }
            Goal::Rate { wanted, .. } => format!(">= {wanted:.0}/s"),
            Goal::None => "-".to_owned(),
        };
        let verdict = if self.is_met() { "" } else { "  MISSED" };
        println!(
            "{:<44} {:>9} {:>22} {:>8} {:>8.0}/s  {goal}{verdict}",
            self.work,
            shown(self.ours.wall),
            peer,
            ratio,
            self.rate()
        );
        println!(
            "{:<44} own CPU {}, {} requests, {:.3} for each object",
            "",
            shown(self.ours.cpu),
            self.ours.requests,
            self.ours.requests as f64 / self.objects as f64
        );
    }
}

/// Prints the table and says whether every goal is met.
pub(crate) fn report(rows: &[Row]) -> bool {
    println!("{:<44} {:>9} {:>22} {:>8} {:>10}  goal", "work", "ours", "peer", "ratio", "ours");
    rows.iter().for_each(Row::print);
    rows.iter().all(Row::is_met)
}

fn shown(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
    } else {
        format!("{:.2} s", duration.as_secs_f64())
    }
}
