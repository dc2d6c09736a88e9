//! The ingester beside the obvious program on the same crates.
//!
//! ```text
//! PLATFORM_KAFKA=127.0.0.1:9092 PLATFORM_ELASTICSEARCH=http://127.0.0.1:9200 \
//!     cargo bench -p platform-telemetry --features elasticsearch --bench ingest -- --check
//! ```
//!
//! Both sides read the same topics of a real Kafka and send to the same server, which takes bulk requests in a process of its own and does
//! nothing with them; then ours into a real Elasticsearch; then a gigabyte while the server stands still for a minute. Figures per core are of
//! the CPU time of this process, librdkafka's threads included. Without `--check` nothing is measured.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark ends when something is wrong"
)]

mod events;
mod memory;
mod obvious;
mod sink;
#[path = "../table/mod.rs"]
mod table;

use events::{EVENTS, Topics};
use platform_telemetry::{
    elasticsearch::{Elasticsearch, ElasticsearchDestination},
    ingest::{Ingester, IngesterBuilder},
};
use sink::Sink;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use table::{Row, Taken, cpu_time, medians};

const ROUNDS: usize = 3;
const DEADLINE: Duration = Duration::from_secs(600);
const WANTED_PER_CORE: f64 = 550_000.0;
const WANTED_RATIO: f64 = 3.0;
/// What we may take of the CPU time that is spent while Elasticsearch indexes.
const WANTED_SHARE: f64 = 0.1;

fn main() {
    if std::env::args().any(|argument| argument == sink::ARGUMENT) {
        return sink::serve();
    }
    if !table::is_asked_for() {
        return println!(
            "the ingester beside the obvious program: run by `--check`, with Kafka and Elasticsearch"
        );
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let rows = runtime.block_on(check());
    if !table::report(&rows) {
        std::process::exit(1);
    }
}

async fn check() -> Vec<Row> {
    let topics = Topics::fill(EVENTS).await;
    let sink = Sink::start();
    // First, for what others have taken of memory stays with the process.
    eprintln!("a gigabyte while the server stands still for a minute");
    let memory = memory::row(&topics, &sink).await;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}: ours");
        ours.push(run(builder(&topics, &sink.url, round).await).await);
        eprintln!("round {round} of {ROUNDS}: the obvious program");
        theirs.push(obvious::run(&topics, &sink.url, round).await);
    }
    let mut rows = vec![beside(&medians(&ours), &medians(&theirs))];
    eprintln!("into Elasticsearch");
    rows.push(into_elasticsearch(&topics).await);
    rows.push(memory);
    rows
}

async fn builder(topics: &Topics, url: &str, round: usize) -> IngesterBuilder {
    let server = Elasticsearch::builder(url).build().unwrap();
    let destination = ElasticsearchDestination::builder(server).install(DEADLINE).await.unwrap();
    Ingester::builder(topics.kafka.clone(), Arc::new(destination))
        .group(format!("ours-{}-{round}", topics.environment))
        .environments([topics.environment.as_str()])
}

/// What it takes from the first event read to the last one done.
async fn run(builder: IngesterBuilder) -> Taken {
    let ingester = builder.start().unwrap();
    while ingester.ledger().total().read == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (cpu, began) = (cpu_time(), Instant::now());
    while ingester.ledger().total().indexed < EVENTS {
        assert!(began.elapsed() < DEADLINE, "{}", ingester.ledger());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let taken = Taken { wall: began.elapsed(), cpu: cpu_time().saturating_sub(cpu) };
    let ledger = ingester.shutdown(DEADLINE).await.unwrap();
    assert!(ledger.is_balanced() && ledger.total().read == EVENTS, "{ledger}");
    taken
}

fn beside(ours: &Taken, theirs: &Taken) -> Row {
    let per_core = |taken: &Taken| EVENTS as f64 / taken.cpu.as_secs_f64();
    let ratio = per_core(ours) / per_core(theirs);
    Row {
        work: "Kafka to bulk bodies accepted, 1 KB".to_owned(),
        ours: format!("{:.0}k events/s/core", per_core(ours) / 1e3),
        peer: format!("Value and BulkOperations {:.0}k", per_core(theirs) / 1e3),
        ratio: Some(ratio),
        goal: format!(">= {:.0}k, >= {WANTED_RATIO}x", WANTED_PER_CORE / 1e3),
        met: per_core(ours) >= WANTED_PER_CORE && ratio >= WANTED_RATIO,
    }
}

async fn into_elasticsearch(topics: &Topics) -> Row {
    let url = std::env::var("PLATFORM_ELASTICSEARCH").expect("PLATFORM_ELASTICSEARCH names a server");
    let before = machine_busy();
    let taken = run(builder(topics, &url, 0).await).await;
    let share = taken.cpu.as_secs_f64() / machine_busy().saturating_sub(before).as_secs_f64();
    Row {
        work: "Kafka to a real Elasticsearch, 1 KB".to_owned(),
        ours: format!("{:.1}k events/s", EVENTS as f64 / taken.wall.as_secs_f64() / 1e3),
        peer: format!("ours {:.1} % of all CPU time", share * 100.0),
        ratio: None,
        goal: format!("< {:.0} %", WANTED_SHARE * 100.0),
        met: share < WANTED_SHARE,
    }
}

/// The time that all processors of the machine were not idle.
fn machine_busy() -> Duration {
    let told = std::fs::read_to_string("/proc/stat").unwrap();
    let ticks: Vec<u64> =
        told.lines().next().unwrap().split_whitespace().skip(1).map(|t| t.parse().unwrap()).collect();
    let idle = ticks[3] + ticks[4];
    Duration::from_millis((ticks.iter().take(8).sum::<u64>() - idle) * 10)
}
