//! What reading scrapes costs: `cargo bench -p platform-telemetry --bench exposition`, and with `-- --check` against its goals.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark ends when something is wrong")]

#[path = "../table/mod.rs"]
mod table;
mod texts;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use platform_core::{clock::Timestamp, telemetry::Labels};
use platform_telemetry::exposition::{Entry, Format, Limits, Reader, Rescrape, parse};
use std::{hint::black_box, time::Duration};
use table::{Row, measure, median};
use texts::{Numbers, Text};

const NODE: &str = "node exporter, 60 KB";
const STATE: &str = "kube-state-metrics, 10 MB";
const COLD: f64 = 1.5e9;
const AGAIN: f64 = 8e9;
const RATIO: f64 = 30.0;
const ROUNDS: usize = 9;
/// How much is read for one figure, so that the clock of the scheduler is fine enough.
const BYTES: usize = 256 << 20;
const PEER_BYTES: usize = 8 << 20;

fn main() {
    let texts = [(NODE, texts::node_exporter(), 3), (STATE, texts::kube_state(10_000_000), 50)];
    if table::is_asked_for() {
        let mut rows = Vec::new();
        for (name, text, of) in &texts {
            rows.extend(check(name, text, *of));
        }
        std::process::exit(i32::from(!table::report(&rows)));
    }
    let mut criterion = Criterion::default().configure_from_args();
    for (name, text, of) in &texts {
        let mut group = criterion.benchmark_group(*name);
        group.throughput(Throughput::Bytes(text.text.len() as u64)).sample_size(10);
        group.bench_function("cold", |b| b.iter(|| visit(text.text.as_bytes())));
        group.bench_function("owned samples", |b| b.iter(|| own(&text.text)));
        let mut again = Again::new(text, *of);
        group.bench_function("again", |b| b.iter(|| again.read()));
        group.finish();
    }
    criterion.final_summary();
}

fn check(name: &str, text: &Text, of: u64) -> Vec<Row> {
    let bytes = text.text.len();
    assert_eq!(visit(text.text.as_bytes()).0, text.samples);
    assert_eq!(peer(&text.text), text.samples, "the peer reads them all, or the comparison is not fair");
    let mut again = Again::new(text, of);
    let share = 100.0 * again.changed as f64 / text.samples as f64;
    let [mut cold, mut owned, mut same, mut looked, mut theirs] = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        cold.push(time(bytes, BYTES, || {
            black_box(visit(black_box(text.text.as_bytes())));
        }));
        theirs.push(time(bytes, PEER_BYTES, || {
            black_box(peer(black_box(&text.text)));
        }));
        owned.push(time(bytes, PEER_BYTES, || {
            black_box(own(black_box(&text.text)));
        }));
        same.push(time(bytes, BYTES, || again.read()));
        looked.push(time(bytes, BYTES, || {
            again.read();
            black_box(again.target.samples().map(|sample| sample.value).sum::<f64>());
        }));
    }
    println!(
        "{name}: {bytes} bytes, {} samples; {share:.1}% of the values differ when it is scraped again; {ROUNDS} rounds, medians by CPU time",
        text.samples
    );
    let peer = bytes as f64 / median(theirs).as_secs_f64();
    let row = |work: &str, times: Vec<Duration>, wanted: Option<f64>, ratio: Option<f64>| {
        let rate = bytes as f64 / median(times).as_secs_f64();
        let goals = [
            wanted.map(|wanted| format!(">= {:.1} GB/s", wanted / 1e9)),
            ratio.map(|ratio| format!(">= {ratio:.0}x")),
        ];
        let goal = goals.into_iter().flatten().collect::<Vec<_>>().join(", ");
        Row {
            work: format!("{work}: {name}"),
            ours: format!(
                "{:.2} GB/s, {:.1} M/s",
                rate / 1e9,
                rate / bytes as f64 * text.samples as f64 / 1e6
            ),
            peer: format!("prometheus-parse {:.1} MB/s", peer / 1e6),
            ratio: Some(rate / peer),
            goal: if goal.is_empty() { "-".to_owned() } else { goal },
            met: wanted.is_none_or(|wanted| rate >= wanted) && ratio.is_none_or(|ratio| rate / peer >= ratio),
        }
    };
    vec![
        row("cold", cold, Some(COLD), Some(RATIO)),
        row("owned samples", owned, None, None),
        row("again", same, Some(AGAIN), None),
        row("again, and all values summed", looked, None, None),
    ]
}

/// The CPU time of one run of many.
fn time(bytes: usize, at_least: usize, mut run: impl FnMut()) -> Duration {
    let runs = at_least.div_ceil(bytes) as u32;
    let ((), taken) = measure(|| (0..runs).for_each(|_| run()));
    taken.cpu / runs
}

/// How many samples there are, and something of all that is read.
fn visit(text: &[u8]) -> (usize, usize, u64) {
    let mut reader = Reader::new(text, Format::Prometheus);
    let (mut samples, mut bytes, mut bits) = (0, 0, 0u64);
    while let Some(entry) = reader.next_entry() {
        if let Ok(Entry::Sample(sample)) = entry {
            samples += 1;
            bytes += sample.name().len();
            for (name, value) in sample.labels() {
                bytes += name.len() + value.len();
            }
            bits = bits.wrapping_add(sample.value().to_bits());
        }
    }
    (samples, bytes, bits)
}

fn own(text: &str) -> usize {
    parse(text.as_bytes(), Format::Prometheus, Timestamp::default(), &Limits::default()).samples.len()
}

/// How many lines with samples the peer has read.
fn peer(text: &str) -> usize {
    use prometheus_parse::Value::{Histogram, Summary};
    let scrape = prometheus_parse::Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let lines = scrape.samples.iter().map(|sample| match &sample.value {
        Histogram(buckets) => buckets.len(),
        Summary(quantiles) => quantiles.len(),
        _ => 1,
    });
    lines.sum()
}

/// Two scrapes of a target, by turns.
struct Again {
    target: Rescrape<Labels>,
    texts: [Bytes; 2],
    changed: usize,
}

impl Again {
    fn new(text: &Text, of: u64) -> Self {
        let (later, changed) = text.later(&mut Numbers::new(13), of);
        let mut this = Self {
            target: Rescrape::new(Format::Prometheus, &Limits::default()),
            texts: [text.text.clone().into(), later.text.clone().into()],
            changed,
        };
        this.target.read(this.texts[1].clone(), |sample| sample.labels().collect());
        for text in [text, &later] {
            this.read();
            let parsed =
                parse(text.text.as_bytes(), Format::Prometheus, Timestamp::default(), &Limits::default());
            let theirs =
                parsed.samples.iter().map(|sample| (&sample.metric, &sample.labels, sample.value.to_bits()));
            assert!(this.target.samples().map(|s| (s.metric, s.of, s.value.to_bits())).eq(theirs));
        }
        this
    }

    fn read(&mut self) {
        self.texts.swap(0, 1);
        let reread = self.target.read(self.texts[1].clone(), |sample| sample.labels().collect());
        assert_eq!((reread.values, reread.lines), (self.changed, 0));
        black_box(&self.target);
    }
}
