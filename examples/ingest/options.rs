//! What it can be told.

use clap::Parser;
use std::time::Duration;

/// This host's metrics and logs, through Kafka into Elasticsearch.
#[derive(Debug, Parser)]
pub(crate) struct Options {
    /// The brokers of Kafka, `host:port`
    #[arg(long, env = "PLATFORM_KAFKA", default_value = "127.0.0.1:9092")]
    pub(crate) kafka: String,
    /// The address of Elasticsearch
    #[arg(long, env = "PLATFORM_ELASTICSEARCH", default_value = "http://127.0.0.1:9200")]
    pub(crate) elasticsearch: String,
    /// The environment under which everything goes
    #[arg(long, default_value = "demo")]
    pub(crate) environment: String,
    /// Globs of log files that are followed from their beginning; none by default but these
    #[arg(long, value_delimiter = ',', default_value = "/var/log/*.log")]
    pub(crate) logs: Vec<String>,
    /// How long it runs
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// Makes so many log lines a second
    #[arg(long)]
    pub(crate) rate: Option<u32>,
    /// How many bytes the text of each of these has
    #[arg(long, default_value_t = 256)]
    pub(crate) size: usize,
    /// How many partitions topics get that are not there yet
    #[arg(long, default_value_t = 8)]
    pub(crate) partitions: u16,
}
