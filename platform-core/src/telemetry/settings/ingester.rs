//! What the ingester is told.

use super::{SecretSource, check_servers, check_some, from_file, from_yaml, to_yaml};
use crate::{
    error::{Error, Result},
    name::EnvironmentName,
    telemetry::{
        document::{Signal, Topic, subscription},
        prometheus_duration,
    },
};
use serde::{Deserialize, Serialize};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

/// What the ingester is told: which topics it reads, and where their documents go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct IngesterSettings {
    /// The Kafka that it reads.
    pub kafka: KafkaOrigin,
    /// Whose topics it reads: environments, and the names of what belongs to none, `shared` and `control-plane`. Default: everybody's,
    /// new environments' too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<EnvironmentName>,
    /// The Elasticsearch that it writes to.
    pub elasticsearch: ElasticsearchTarget,
    /// How much is written at once.
    #[serde(default)]
    pub batch: BatchSettings,
    /// How many batches may be under way at once; fewer are while the server is slow. Default: 4.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
    /// The topic of what cannot be stored. Default: each environment's own, `ENVIRONMENT.dlq.v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<String>,
    /// Where it serves [`METRICS_PATH`](super::METRICS_PATH), [`READY_PATH`](super::READY_PATH) and [`LIVE_PATH`](super::LIVE_PATH). Default: port
    /// 9641 of all addresses.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
}

/// The Kafka that is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct KafkaOrigin {
    /// The brokers to begin with, `host:port,host:port`.
    pub bootstrap_servers: String,
    /// The consumer group. Default: `platform-ingester`.
    #[serde(default = "default_group")]
    pub group: String,
}

/// The Elasticsearch that documents go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ElasticsearchTarget {
    /// Its address: `http://elasticsearch:9200`.
    pub url: String,
    /// Who calls. Default: nobody is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where the user's password is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSource>,
    /// The file with the certificate that the server's is checked with, in PEM. Default: those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
}

/// How much is written at once: whatever comes first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct BatchSettings {
    /// Bytes of a request. Default: 8 MiB; at most 64 MiB.
    pub max_bytes: usize,
    /// How long the first event of a batch waits for more. Default: 1 second.
    #[serde(with = "prometheus_duration")]
    pub max_wait: Duration,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self { max_bytes: 8 << 20, max_wait: Duration::from_secs(1) }
    }
}

/// What Elasticsearch takes at once is 100 MiB, if nobody changed it.
const LARGEST_BATCH: usize = 64 << 20;

fn default_concurrency() -> usize {
    4
}

fn default_group() -> String {
    "platform-ingester".to_owned()
}

fn default_listen() -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, 9641).into()
}

impl IngesterSettings {
    /// An ingester from these brokers, `host:port,host:port`, to the Elasticsearch at `url`, and defaults.
    pub fn new(bootstrap_servers: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            kafka: KafkaOrigin { bootstrap_servers: bootstrap_servers.into(), group: default_group() },
            environments: Vec::new(),
            elasticsearch: ElasticsearchTarget {
                url: url.into(),
                user: None,
                password: None,
                certificate: None,
            },
            batch: BatchSettings::default(),
            concurrency: default_concurrency(),
            dead_letters: None,
            listen: default_listen(),
        }
    }

    /// Reads a file and checks it; its ending tells the format: `.yaml`, `.yml`, `.toml`, `.json`. Errors name the file and the path in
    /// it. Blocks while it reads.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        from_file(path.as_ref(), Self::check)
    }

    /// Reads YAML 1.2 and checks it.
    pub fn from_yaml(text: &str) -> Result<Self> {
        from_yaml(text, Self::check)
    }

    /// The file as YAML.
    pub fn to_yaml(&self) -> Result<String> {
        to_yaml(self)
    }

    /// What it subscribes to, as [`subscription`] says.
    pub fn topics(&self) -> Vec<String> {
        let environments: Vec<&str> = self.environments.iter().map(EnvironmentName::as_str).collect();
        subscription(&environments)
    }

    /// The topic of what cannot be stored of an environment.
    pub fn dead_letters(&self, environment: &str) -> String {
        self.dead_letters.clone().unwrap_or_else(|| Topic::DeadLetters.name(environment))
    }

    /// Checks what a single field cannot show. Fails with [`Invalid`](crate::ErrorKind::Invalid), naming the path.
    pub fn check(&self) -> Result<()> {
        check_servers("kafka.bootstrapServers", &self.kafka.bootstrap_servers)?;
        check_topic_like("kafka.group", &self.kafka.group)?;
        if let Some(topic) = &self.dead_letters {
            check_topic_like("deadLetters", topic)?;
            if Signal::ALL.iter().any(|signal| topic.ends_with(&Topic::of(*signal).name(""))) {
                return Err(Error::invalid(format!("deadLetters: {topic:?} is a topic that is read")));
            }
        }
        let elasticsearch = &self.elasticsearch;
        let host = ["http://", "https://"].iter().find_map(|scheme| elasticsearch.url.strip_prefix(scheme));
        if host.is_none_or(|host| host.is_empty() || host.starts_with('/'))
            || !elasticsearch.url.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(Error::invalid("elasticsearch.url: it is not like http://host:port"));
        }
        if host.is_some_and(|host| host.contains('@')) {
            return Err(Error::invalid("elasticsearch.url: it must hold no password").help(
                "name the user in elasticsearch.user and the password's place in elasticsearch.password",
            ));
        }
        if elasticsearch.user.is_some() != elasticsearch.password.is_some() {
            return Err(Error::invalid("elasticsearch: user and password come together"));
        }
        check_some("concurrency", self.concurrency as u64)?;
        check_some("batch.maxBytes", self.batch.max_bytes as u64)?;
        if self.batch.max_bytes > LARGEST_BATCH {
            return Err(Error::invalid(format!("batch.maxBytes: it must be at most {LARGEST_BATCH}")));
        }
        if self.batch.max_wait.is_zero() {
            return Err(Error::invalid("batch.maxWait: a batch must have time to fill"));
        }
        Ok(())
    }
}

/// Checks what Kafka takes as the name of a topic.
fn check_topic_like(path: &str, name: &str) -> Result<()> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if name.is_empty() || name.len() > 249 || !name.bytes().all(allowed) {
        return Err(Error::invalid(format!(
            "{path}: {name:?} is not made of 1 to 249 letters, digits, '.', '-' and '_'"
        )));
    }
    Ok(())
}
