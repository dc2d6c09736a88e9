//! How a cluster of Kafka is reached.

use super::Topics;
use rdkafka::ClientConfig;
use secrecy::{ExposeSecret, SecretString};
use std::{collections::BTreeMap, fmt};

/// A cluster of Kafka: its brokers, and what clients of it are configured with.
#[derive(Clone)]
pub struct Kafka {
    bootstrap_servers: String,
    properties: BTreeMap<String, SecretString>,
}

impl Kafka {
    /// A cluster by some of its brokers: `host:port`, several joined by commas.
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self { bootstrap_servers: bootstrap_servers.into(), properties: BTreeMap::new() }
    }

    /// Sets a property of librdkafka for every client: `security.protocol`, `sasl.username`. What the platform itself relies on (acknowledgements,
    /// idempotence, when offsets are committed) stays as it is whatever is set here. Values are secrets: they are not shown.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<SecretString>) -> Self {
        self.properties.insert(name.into(), value.into());
        self
    }

    /// The brokers it was given.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// The topics of environments.
    pub fn topics(&self) -> Topics {
        Topics::new(self.clone())
    }

    /// The configuration of a client, to which the caller adds what must not be overruled.
    pub(crate) fn client(&self, client_id: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", client_id);
        for (name, value) in &self.properties {
            config.set(name, value.expose_secret());
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        config
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown_and_brokers_are_not_overruled() {
        let kafka =
            Kafka::new("a:9092").property("sasl.password", "hunter2").property("bootstrap.servers", "b");
        assert!(!format!("{kafka:?}").contains("hunter2"));
        let config = kafka.client("test");
        assert_eq!(config.get("bootstrap.servers"), Some("a:9092"));
        assert_eq!(config.get("sasl.password"), Some("hunter2"));
    }
}
