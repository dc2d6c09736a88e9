//! The platform's own ingester: brings documents from Kafka to Elasticsearch.

#[cfg(test)]
mod tests;

use super::{
    elasticsearch::{ElasticsearchAccess, INGESTER_KEY, INGESTER_USER, Secured},
    frame::{
        Configuration, ContainerDefaults, Defaults, Frame, Installation, Program, Service, Tag, http_get,
    },
};
use platform_core::{
    Error, Result,
    component::ComponentScope,
    name::EnvironmentName,
    telemetry::{
        prometheus_duration,
        settings::{IngesterSettings, LIVE_PATH, METRICS_PATH, READY_PATH, SecretSource},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// The platform's own ingester: a Deployment that reads the topics of environments as one consumer group and writes their documents to Elasticsearch. Its
/// own metrics are on port 9641 under `/metrics`; among them is the ledger, by which what was read is what was stored, dead-lettered or
/// filtered.
///
/// An offset is committed once Elasticsearch, or the topic of dead letters, has acknowledged everything before it: nothing is lost by a kill, a rebalance or
/// a server that is away, and what is read twice is stored once. It has no data of its own.
///
/// It calls Elasticsearch as `platform_ingester`, for which the component `elasticsearch` has an account where its Secret has a password under
/// `ingester`. No registry has its image: it is built from the program `platform-ingester`, which reads [`IngesterSettings`], and named by
/// [`image`](Installation::image).
pub type PlatformIngester = Installation<PlatformIngesterSettings>;

/// What only the ingester can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PlatformIngesterSettings {
    /// The brokers to begin with, `host:port,host:port`. Default: the `kafka` component of the same namespace.
    pub brokers: Option<String>,
    /// The consumer group. Default: `platform-ingester`.
    pub group: String,
    /// Whose topics it reads: environments, and the names of what belongs to none. Default: everybody's.
    pub environments: Vec<EnvironmentName>,
    /// Where documents go.
    pub elasticsearch: ElasticsearchAccess,
    /// How many mebibytes are written at once. Default: 8; at most 64.
    pub batch_mebibytes: u32,
    /// How long the first event of a batch waits for more. Default: 1 second.
    #[serde(with = "prometheus_duration")]
    pub batch_wait: Duration,
    /// How many batches may be under way at once. Default: 4.
    pub concurrency: usize,
    /// The topic of what cannot be stored. Default: each environment's own, `ENVIRONMENT.dlq.v1`.
    pub dead_letters: Option<String>,
}

impl Default for PlatformIngesterSettings {
    fn default() -> Self {
        Self {
            brokers: None,
            group: "platform-ingester".to_owned(),
            environments: Vec::new(),
            elasticsearch: ElasticsearchAccess::default(),
            batch_mebibytes: 8,
            batch_wait: Duration::from_secs(1),
            concurrency: 4,
            dead_letters: None,
        }
    }
}

const NAME: &str = "platform-ingester";
const CONFIGURATION: &str = "/etc/platform-ingester";
const FILE: &str = "ingester.yaml";
const PASSWORD: &str = "ELASTICSEARCH_PASSWORD";

impl Program for PlatformIngesterSettings {
    const DEFAULTS: &'static Defaults = &Defaults {
        name: NAME,
        version: env!("CARGO_PKG_VERSION"),
        scope: ComponentScope::ControlPlane,
        containers: &[ContainerDefaults {
            name: NAME,
            repository: "localhost/platform/platform-ingester",
            tag: Tag::Plain,
            cpu: "250m",
            memory: "128Mi",
            memory_limit: "256Mi",
        }],
        replicas: Some(1),
        storage: None,
    };

    fn objects(&self, frame: &Frame<'_>) -> Result<Vec<Value>> {
        let elasticsearch = Secured { access: &self.elasticsearch, frame };
        let settings = self.settings(frame, &elasticsearch)?;
        let port = settings.listen.port();
        let configuration = Configuration::new(frame.name()).yaml(FILE, &settings)?;
        let mut container = frame
            .container(NAME)?
            .args(["--config", &format!("{CONFIGURATION}/{FILE}")])
            .port("http", port)
            .ready_when(http_get(READY_PATH, "http"))
            .alive_when(http_get(LIVE_PATH, "http"))
            .mount_read_only("configuration", CONFIGURATION);
        if self.elasticsearch.security {
            let secret = &self.elasticsearch.credentials_secret;
            container = container.env_from_secret(PASSWORD, secret, INGESTER_KEY);
        }
        let pod = frame
            .pod()
            .user(65534)
            // What is under way is acknowledged, and its partitions are given back.
            .set("terminationGracePeriodSeconds", 60)
            .configuration("configuration", &configuration)
            .scraped(port, METRICS_PATH);
        let (pod, container) = elasticsearch.trusting(pod, container);
        let mut objects = vec![
            frame.service_account(),
            configuration.object(frame),
            Service::new(frame).headless().port("http", port).into(),
            frame
                .deployment(pod.container(container))
                .set(
                    "strategy",
                    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
                )
                .into(),
        ];
        objects.extend(frame.disruption_budget());
        Ok(objects)
    }
}

impl PlatformIngesterSettings {
    /// What the program reads.
    fn settings(&self, frame: &Frame<'_>, elasticsearch: &Secured<'_>) -> Result<IngesterSettings> {
        let bootstrap =
            self.brokers.clone().unwrap_or_else(|| format!("kafka.{}.svc:9092", frame.namespace()));
        let mut settings = IngesterSettings::new(bootstrap, elasticsearch.url());
        settings.kafka.group.clone_from(&self.group);
        settings.environments.clone_from(&self.environments);
        settings.batch.max_bytes = (self.batch_mebibytes as usize).saturating_mul(1 << 20);
        settings.batch.max_wait = self.batch_wait;
        settings.concurrency = self.concurrency;
        settings.dead_letters.clone_from(&self.dead_letters);
        if self.elasticsearch.security {
            settings.elasticsearch.user = Some(INGESTER_USER.to_owned());
            settings.elasticsearch.password = Some(SecretSource::Env(PASSWORD.to_owned()));
        }
        settings.elasticsearch.certificate = elasticsearch.certificate().map(Into::into);
        settings
            .check()
            .map_err(|error| Error::invalid("its settings make no sense to its program").source(error))?;
        Ok(settings)
    }
}
