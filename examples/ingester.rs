//! The program of the component `ingester`: from Kafka into Elasticsearch, configured by one file.
//!
//! ```text
//! cargo run --release --example ingester --features elasticsearch -- --config ingester.yaml
//! ```
//!
//! ```yaml
//! kafka: { bootstrapServers: 'kafka-0:9092,kafka-1:9092' }
//! elasticsearch: { url: 'https://elasticsearch:9200', user: ingester, password: { env: ELASTICSEARCH_PASSWORD } }
//! ```
//!
//! It ends in order on SIGTERM and prints its ledger.

use clap::Parser;
use platform_core::{Error, Result, telemetry::settings::IngesterSettings};
use platform_telemetry::{
    elasticsearch::{Elasticsearch, ElasticsearchDestination},
    exposer::Exposer,
    ingest::{Ingester, IngesterHandle},
    kafka::Kafka,
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// How long Elasticsearch may take until it answers for the first time.
const PREPARE: Duration = Duration::from_secs(300);
/// What is left of the 30 seconds of a pod that is told to end.
const SHUTDOWN: Duration = Duration::from_secs(25);

/// Reads Kafka and writes Elasticsearch.
#[derive(Debug, Parser)]
struct Options {
    /// The file with its settings: YAML, TOML or JSON
    #[arg(long)]
    config: PathBuf,
}

#[tokio::main]
async fn main() -> platform_examples::Result {
    platform_examples::log_to_stderr();
    let settings = IngesterSettings::from_file(Options::parse().config)?;
    let ingester = Arc::new(start(&settings).await?);
    let (source, asked) = (ingester.source(Duration::from_secs(15)), Arc::clone(&ingester));
    let live = Arc::clone(&ingester);
    let exposer = Exposer::builder(settings.listen)
        .samples(move || source.samples())
        .ready(move || asked.trouble().is_none())
        .live(move || !live.has_failed())
        .start()
        .await?;
    eprintln!(
        "reading {}; metrics at http://{}/metrics",
        settings.kafka.bootstrap_servers,
        exposer.address()
    );
    platform_examples::told_to_end().await?;
    let ledger = ingester.shutdown(SHUTDOWN).await?;
    println!("{ledger}");
    Ok(())
}

async fn start(settings: &IngesterSettings) -> Result<IngesterHandle> {
    let target = &settings.elasticsearch;
    let mut server = Elasticsearch::builder(&target.url);
    if let Some(user) = &target.user {
        let password = target
            .password
            .as_ref()
            .ok_or_else(|| Error::invalid("elasticsearch.password: a user has one"))?;
        server = server.basic(user, password.read()?);
    }
    if let Some(path) = &target.certificate {
        let authority = std::fs::read(path).map_err(|error| {
            Error::invalid("elasticsearch.certificate: the file is not readable").source(error)
        })?;
        server = server.certificate_authority(authority);
    }
    let destination = ElasticsearchDestination::builder(server.build()?);
    let destination =
        platform_examples::until_it_answers(PREPARE, || destination.clone().install(PREPARE)).await?;
    let mut builder = Ingester::builder(Kafka::new(&settings.kafka.bootstrap_servers), Arc::new(destination))
        .group(&settings.kafka.group)
        .environments(settings.environments.iter().map(ToString::to_string))
        .batch_bytes(settings.batch.max_bytes)
        .batch_wait(settings.batch.max_wait)
        .in_flight_bytes(settings.batch.max_bytes.saturating_mul(settings.concurrency + 1))
        .concurrency(settings.concurrency);
    if let Some(topic) = &settings.dead_letters {
        builder = builder.dead_letters(topic);
    }
    builder.start()
}
