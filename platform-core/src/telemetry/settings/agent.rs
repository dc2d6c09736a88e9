//! What the agent is told.

use super::{Multiline, check_servers, check_some, from_file, from_yaml, to_yaml};
use crate::{
    error::{Error, Result},
    name::{ClusterName, EnvironmentName},
    telemetry::prometheus_duration,
};
use serde::{Deserialize, Serialize};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

/// What the agent of a node is told: what it reads, where it keeps what is not sent yet, and where that goes.
///
/// One file serves all nodes of a cluster; [`NODE_VARIABLE`](super::NODE_VARIABLE) says which one it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct AgentSettings {
    /// The cluster: the label `cluster` of everything.
    pub cluster: ClusterName,
    /// The label `environment` of what is in no environment's namespace. Default: none, where environments share the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
    /// The environments of the cluster: a namespace's label is believed only where it names one of them, for only these have topics.
    /// Default: each is believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<EnvironmentName>,
    /// The name under which goes what has no label `environment`, as [`environment_of`](crate::telemetry::document::environment_of) says.
    /// Default: the [`environment`](Self::environment), else `shared`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<EnvironmentName>,
    /// Which log files it follows.
    #[serde(default)]
    pub tail: TailSettings,
    /// Which metrics it scrapes.
    #[serde(default)]
    pub scrape: ScrapeSettings,
    /// Where it keeps what is not sent yet.
    #[serde(default)]
    pub spool: SpoolSettings,
    /// Where everything goes.
    pub kafka: KafkaTarget,
    /// Where it serves [`METRICS_PATH`](super::METRICS_PATH), [`READY_PATH`](super::READY_PATH) and [`LIVE_PATH`](super::LIVE_PATH). Default: port
    /// 9640 of all addresses.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
}

/// Which log files are followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TailSettings {
    /// Paths, or globs with `*`, `?`, `[…]` and `**`. Files of containers are known by their names. Default:
    /// `/var/log/containers/*.log`. None: no logs are read.
    pub paths: Vec<String>,
    /// Globs of files that are not followed. Default: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Where positions in files are kept. Default: `/var/lib/platform-agent/positions.json`.
    pub checkpoint: PathBuf,
    /// How many bytes of a line are kept. Default: 256 KiB.
    pub max_line_bytes: usize,
    /// Which lines are one record. Default: each is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiline: Option<Multiline>,
}

impl Default for TailSettings {
    fn default() -> Self {
        Self {
            paths: vec!["/var/log/containers/*.log".to_owned()],
            exclude: Vec::new(),
            checkpoint: "/var/lib/platform-agent/positions.json".into(),
            max_line_bytes: 256 * 1024,
            multiline: None,
        }
    }
}

/// Which metrics are scraped: those of the annotated pods of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ScrapeSettings {
    /// Whether any are. Default: yes.
    pub enabled: bool,
    /// How often. Default: 15 seconds.
    #[serde(with = "prometheus_duration")]
    pub interval: Duration,
}

impl Default for ScrapeSettings {
    fn default() -> Self {
        Self { enabled: true, interval: Duration::from_secs(15) }
    }
}

/// Where what is not sent yet is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SpoolSettings {
    /// A directory of its own. Default: `/var/lib/platform-agent/spool`.
    pub directory: PathBuf,
    /// How many bytes of disk it may take. Default: 2 GiB; at least 16 MiB.
    pub max_bytes: u64,
    /// What happens beyond that. Default: [`WhenFull::Block`].
    pub when_full: WhenFull,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self {
            directory: "/var/lib/platform-agent/spool".into(),
            max_bytes: 2 << 30,
            when_full: WhenFull::Block,
        }
    }
}

/// What happens while the spool is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WhenFull {
    /// Nothing more is read until there is room: files of logs wait where they are, metrics are not scraped.
    #[default]
    Block,
    /// The oldest goes, and is counted.
    DropOldest,
}

/// The Kafka that everything goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct KafkaTarget {
    /// The brokers to begin with, `host:port,host:port`.
    pub bootstrap_servers: String,
    /// How batches are compressed. Default: LZ4.
    #[serde(default)]
    pub compression: Compression,
}

/// How batches for Kafka are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4: costs little.
    #[default]
    Lz4,
    /// Zstandard: smaller, and costs more.
    Zstd,
}

impl Compression {
    /// `none`, `lz4`, `zstd`: librdkafka's `compression.codec`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// The least that a spool works with: some segments.
const LEAST_SPOOL: u64 = 16 << 20;

fn default_listen() -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, 9640).into()
}

impl AgentSettings {
    /// An agent of `cluster` that sends to these brokers, `host:port,host:port`, and defaults.
    pub fn new(cluster: ClusterName, bootstrap_servers: impl Into<String>) -> Self {
        Self {
            cluster,
            environment: None,
            environments: Vec::new(),
            otherwise: None,
            tail: TailSettings::default(),
            scrape: ScrapeSettings::default(),
            spool: SpoolSettings::default(),
            kafka: KafkaTarget {
                bootstrap_servers: bootstrap_servers.into(),
                compression: Compression::default(),
            },
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

    /// The name under which goes what has no label `environment`.
    pub fn otherwise(&self) -> &str {
        self.otherwise.as_ref().or(self.environment.as_ref()).map_or("shared", EnvironmentName::as_str)
    }

    /// Checks what a single field cannot show. Fails with [`Invalid`](crate::ErrorKind::Invalid), naming the path.
    pub fn check(&self) -> Result<()> {
        check_servers("kafka.bootstrapServers", &self.kafka.bootstrap_servers)?;
        check_some("tail.maxLineBytes", self.tail.max_line_bytes as u64)?;
        for (path, globs) in [("tail.paths", &self.tail.paths), ("tail.exclude", &self.tail.exclude)] {
            if let Some(glob) = globs.iter().find(|glob| !glob.starts_with('/')) {
                return Err(Error::invalid(format!("{path}: {glob:?} does not begin with /")));
            }
        }
        if let Some(multiline) = &self.tail.multiline {
            multiline.check().map_err(|e| e.subject("tail.multiline"))?;
        }
        if self.tail.paths.is_empty() && !self.scrape.enabled {
            return Err(Error::invalid("tail.paths and scrape.enabled: the agent reads nothing"));
        }
        if self.scrape.interval < Duration::from_secs(1) {
            return Err(Error::invalid("scrape.interval: it must be at least 1s"));
        }
        if self.spool.max_bytes < LEAST_SPOOL {
            return Err(Error::invalid(format!("spool.maxBytes: it must be at least {LEAST_SPOOL}")));
        }
        if self
            .environment
            .as_ref()
            .is_some_and(|one| !self.environments.is_empty() && !self.environments.contains(one))
        {
            return Err(Error::invalid("environment: it is not one of environments"));
        }
        Ok(())
    }
}
