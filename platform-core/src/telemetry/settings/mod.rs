//! What the platform's own agent and ingester are told: the files that these programs read, and that the components of the catalogue
//! write.
//!
//! ```
//! use platform_core::telemetry::settings::AgentSettings;
//!
//! let settings = AgentSettings::from_yaml(
//!     "
//!     cluster: shop-testing
//!     environment: testing
//!     tail: { multiline: { rule: stack-traces } }
//!     kafka: { bootstrapServers: 'kafka-0:9092,kafka-1:9092', compression: zstd }
//!     ",
//! )?;
//! assert_eq!(settings.tail.paths, ["/var/log/containers/*.log"]);
//! # Ok::<(), platform_core::Error>(())
//! ```

mod agent;
mod ingester;
mod multiline;
mod secret;
#[cfg(test)]
mod tests;

pub use agent::{
    AgentSettings, Compression, KafkaTarget, ScrapeSettings, SpoolSettings, TailSettings, WhenFull,
};
pub use ingester::{BatchSettings, ElasticsearchTarget, IngesterSettings, KafkaOrigin};
pub use multiline::{Multiline, MultilineRule};
pub use secret::SecretSource;

use crate::{
    error::{Error, Result},
    platform::document::{self, Format},
};
use serde::{Serialize, de::DeserializeOwned};
use std::path::Path;

/// Where both programs expose their own metrics, on the port that they listen on.
pub const METRICS_PATH: &str = "/metrics";
/// Answers 200 while the program does its work: it has read its settings and what it sends to has answered once.
pub const READY_PATH: &str = "/ready";
/// Answers 200 as long as the program need not be started anew.
pub const LIVE_PATH: &str = "/live";
/// The variable of the agent's environment that names its node. Where it is set, only that node's pods are watched and scraped.
pub const NODE_VARIABLE: &str = "NODE_NAME";

/// The settings of a document; errors name the path in it.
fn parse<S: DeserializeOwned>(text: &str, format: Format) -> Result<S> {
    serde_path_to_error::deserialize(document::parse(text, format)?).map_err(|error| {
        let problem = error.inner().to_string();
        match error.path().to_string().as_str() {
            "." => Error::invalid(problem),
            path => Error::invalid(format!("{path}: {problem}")),
        }
    })
}

fn from_file<S: DeserializeOwned>(path: &Path, check: fn(&S) -> Result<()>) -> Result<S> {
    document::read(path)
        .and_then(|(text, format)| parse(&text, format))
        .and_then(|settings| check(&settings).map(|()| settings))
        .map_err(|e| e.operation("read").subject(path.display().to_string()))
}

fn from_yaml<S: DeserializeOwned>(text: &str, check: fn(&S) -> Result<()>) -> Result<S> {
    let settings = parse(text, Format::Yaml)?;
    check(&settings).map(|()| settings)
}

fn to_yaml<S: Serialize>(settings: &S) -> Result<String> {
    serde_saphyr::to_string(settings)
        .map_err(|e| Error::internal("the settings cannot be written as YAML").source(e))
}

/// Checks `host:port,host:port`.
fn check_servers(path: &str, servers: &str) -> Result<()> {
    let is_server = |server: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        server.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && host.bytes().all(plain) && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    if servers.split(',').all(|server| is_server(server.trim())) {
        return Ok(());
    }
    Err(Error::invalid(format!("{path}: {servers:?} is not like host:port,host:port")))
}

/// Refuses a number of zero.
fn check_some(path: &str, number: u64) -> Result<()> {
    if number == 0 { Err(Error::invalid(format!("{path}: it must be at least 1"))) } else { Ok(()) }
}
