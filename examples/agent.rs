//! The program of the component `agent`: a node's logs and metrics, by a spool on disk into Kafka, configured by one file.
//!
//! ```text
//! cargo run --release --example agent --features kafka -- --config agent.yaml
//! ```
//!
//! ```yaml
//! cluster: shop-testing
//! environment: testing
//! kafka: { bootstrapServers: 'kafka-0:9092,kafka-1:9092' }
//! ```
//!
//! In a pod it watches the pods of its node, named by `NODE_NAME`, for whose logs they are, and asks them for what they expose; with `KUBECONFIG` it
//! does so from outside, through the API server. Without either it reads files alone. It ends in order on SIGTERM; what is not sent then is sent by the next one.

use clap::Parser;
use platform_core::{
    Result,
    cluster::Cluster,
    telemetry::{
        Labels,
        settings::{self, AgentSettings, NODE_VARIABLE},
    },
};
use platform_k8s::{Kubernetes, access_from_kubeconfig, access_in_cluster};
use platform_telemetry::{
    agent::{Agent, AgentBuilder},
    exposer::Exposer,
    kafka::{Compression, Kafka, KafkaSink},
    sources::{ClusterScrapeSource, FileTail, PodMetadata},
    spool::{SpoolOptions, WhenFull},
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// What is left of the 45 seconds of a pod that is told to end.
const SHUTDOWN: Duration = Duration::from_secs(40);

/// Follows a node's logs, scrapes its pods, and sends everything to Kafka.
#[derive(Debug, Parser)]
struct Options {
    /// The file with its settings: YAML, TOML or JSON
    #[arg(long)]
    config: PathBuf,
}

#[tokio::main]
async fn main() -> platform_examples::Result {
    platform_examples::log_to_stderr();
    let settings = AgentSettings::from_file(Options::parse().config)?;
    let ending = CancellationToken::new();
    let (builder, watching) = sources(&settings, agent(&settings)?, &ending)?;
    let agent = Arc::new(builder.start().await?);
    let (exposed, asked) = (Arc::clone(&agent), Arc::clone(&agent));
    let exposer = Exposer::builder(settings.listen)
        .samples(move || exposed.samples())
        .ready(move || !asked.stats().forward.failing)
        .start()
        .await?;
    eprintln!(
        "sending to {}; metrics at http://{}/metrics",
        settings.kafka.bootstrap_servers,
        exposer.address()
    );
    platform_examples::told_to_end().await?;
    let stopped = agent.shutdown(SHUTDOWN).await;
    ending.cancel();
    if let Some(watching) = watching {
        watching.await?;
    }
    println!("{}", serde_json::to_string(&agent.stats())?);
    stopped.map_err(Into::into)
}

fn agent(settings: &AgentSettings) -> Result<AgentBuilder> {
    let compression = match settings.kafka.compression {
        settings::Compression::None => Compression::None,
        settings::Compression::Zstd => Compression::Zstd,
        _ => Compression::Lz4,
    };
    let sink =
        KafkaSink::builder(Kafka::new(&settings.kafka.bootstrap_servers)).compression(compression).build()?;
    let mut labels = Labels::from_iter([("cluster", settings.cluster.as_str())]);
    if let Some(environment) = &settings.environment {
        labels = labels.with_label("environment", environment.as_str());
    }
    let spool = SpoolOptions {
        max_bytes: settings.spool.max_bytes,
        when_full: match settings.spool.when_full {
            settings::WhenFull::DropOldest => WhenFull::DropOldest,
            _ => WhenFull::Block,
        },
        ..SpoolOptions::default()
    };
    Ok(Agent::builder(&settings.spool.directory, Arc::new(sink))
        .environment(settings.otherwise())
        .labels(labels)
        .spool(spool))
}

type Watching = tokio::task::JoinHandle<()>;

/// Adds what is read. What is known of pods is watched in a task of its own.
fn sources(
    settings: &AgentSettings,
    mut builder: AgentBuilder,
    ending: &CancellationToken,
) -> Result<(AgentBuilder, Option<Watching>)> {
    let node = std::env::var(NODE_VARIABLE).ok();
    let mut known = None;
    let mut watching = None;
    if let Some((cluster, within)) = cluster(settings)? {
        let mut metadata = PodMetadata::builder(Arc::clone(&cluster))
            .environments(settings.environments.iter().map(ToString::to_string));
        if let Some(node) = &node {
            metadata = metadata.node(node);
        }
        let metadata = metadata.build();
        let (watched, ending) = (metadata.clone(), ending.clone());
        watching = Some(tokio::spawn(async move { watched.run(&ending).await }));
        if settings.scrape.enabled {
            let namespaces = metadata.clone();
            let mut scrape = ClusterScrapeSource::builder(cluster)
                .interval(settings.scrape.interval)
                .namespace_labels(move |namespace| namespaces.namespace_labels(namespace));
            if let Some(node) = node {
                scrape = scrape.node(node);
            }
            if within {
                scrape = scrape.directly()?;
            }
            builder = builder.source(Arc::new(scrape.build()));
        }
        known = Some(metadata);
    }
    if !settings.tail.paths.is_empty() {
        let files = FileTail::of_settings(&settings.tail);
        let files = match known {
            Some(metadata) => files.metadata(metadata),
            None => files,
        };
        builder = builder.source(Arc::new(files.build()?));
    }
    Ok((builder, watching))
}

/// The cluster of `KUBECONFIG`, or that which it runs in, and whether it is that; `None` outside any.
fn cluster(settings: &AgentSettings) -> Result<Option<(Arc<dyn Cluster>, bool)>> {
    let (access, within) = if let Some(path) = std::env::var_os("KUBECONFIG") {
        (access_from_kubeconfig(path.as_ref(), None, settings.cluster.clone())?, false)
    } else if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        (access_in_cluster(settings.cluster.clone())?, true)
    } else {
        return Ok(None);
    };
    Ok(Some((Arc::new(Kubernetes::default().connect_kube(&access)?), within)))
}
