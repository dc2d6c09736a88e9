//! The telemetry way through real servers: this host's metrics and logs by the agent's spool into Kafka, and by the ingester into
//! Elasticsearch, with the ledger at the end. With `--rate` it makes log lines of its own and is a load test.
//!
//! ```text
//! cargo run --example ingest --features kafka,elasticsearch -- --kafka 127.0.0.1:9092 --elasticsearch http://127.0.0.1:9200
//! cargo run --release --example ingest --features kafka,elasticsearch -- --rate 20000 --size 1024 --duration 60s
//! ```
//!
//! It ends with an error if anything that was sent is not accounted for.

mod load;
mod options;
mod report;

use clap::Parser;
use load::Load;
use options::Options;
use platform_core::telemetry::Labels;
use platform_telemetry::{
    agent::{Agent, AgentHandle},
    elasticsearch::{Elasticsearch, ElasticsearchDestination},
    ingest::{Ingester, IngesterHandle},
    kafka::{Kafka, KafkaSink},
    sources::{FileTail, HostSource, StartAt},
};
use report::Report;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long servers may take for what is asked of them once.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> platform_examples::Result {
    platform_examples::log_to_stderr();
    let options = Options::parse();
    let kafka = Kafka::new(&options.kafka);
    let made =
        kafka.topics().partitions(options.partitions).create(&[&options.environment], DEADLINE).await?;
    println!("Kafka at {}: {} topics made for {}", options.kafka, made.len(), options.environment);
    let server = Elasticsearch::builder(&options.elasticsearch).build()?;
    let destination = ElasticsearchDestination::builder(server).install(DEADLINE).await?;
    let schema = destination.schema();
    println!(
        "Elasticsearch {} at {}: {}, {} index templates written",
        schema.server_version,
        options.elasticsearch,
        if schema.features.data_streams { "data streams" } else { "an index a day" },
        schema.installed.len()
    );

    let data = tempfile::tempdir()?;
    let ingester = Ingester::builder(kafka.clone(), Arc::new(destination))
        .group(format!("ingest-{}", options.environment))
        .environments([options.environment.as_str()])
        .start()?;
    let agent = start_agent(&options, kafka, data.path()).await?;
    let report = run(&options, &agent, &ingester).await?;
    println!("{report}");
    report.verdict().map_err(Into::into)
}

async fn start_agent(
    options: &Options,
    kafka: Kafka,
    data: &std::path::Path,
) -> platform_core::Result<AgentHandle> {
    let host = HostSource::builder().interval(Duration::from_secs(1)).build();
    let mut builder = Agent::builder(data, Arc::new(KafkaSink::builder(kafka).build()?))
        .environment(&options.environment)
        .labels(Labels::from_iter([("cluster", "host"), ("environment", options.environment.as_str())]))
        .self_metrics(Duration::from_secs(1))
        .source(Arc::new(host));
    if !options.logs.is_empty() {
        let tail = FileTail::builder(options.logs.iter().cloned())
            .start_at(StartAt::Beginning)
            .checkpoint(data.join("positions.json"));
        builder = builder.source(Arc::new(tail.build()?));
    }
    if let Some(rate) = options.rate {
        builder = builder.source(Arc::new(Load::new(rate, options.size)));
    }
    builder.start().await
}

/// Runs for as long as it was told, telling how it goes, then ends in the order of the way: agent, ingester.
async fn run(
    options: &Options,
    agent: &AgentHandle,
    ingester: &IngesterHandle,
) -> platform_core::Result<Report> {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    while began.elapsed() < options.duration {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = tokio::signal::ctrl_c() => break,
        }
        let (sent, total) = (agent.stats().forward.sent_messages, ingester.ledger().total());
        let trouble = ingester.trouble().map_or_else(String::new, |why| format!("  ({why})"));
        println!(
            "{:>4.0} s  sent {sent:>9}  read {:>9}  indexed {:>9}  in flight {:>7}{trouble}",
            began.elapsed().as_secs_f64(),
            total.read,
            total.indexed,
            total.in_flight()
        );
    }
    agent.shutdown(DEADLINE).await?;
    let sent = agent.stats().forward.sent_messages;
    let until = Instant::now() + DEADLINE;
    while ingester.ledger().total().read < sent && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = began.elapsed();
    let ledger = ingester.shutdown(DEADLINE).await?;
    Ok(Report { agent: agent.stats(), ledger, took })
}
