//! What the brokers and their topics are told.

use super::{External, KafkaSettings};
use platform_core::{
    component::ComponentTarget,
    telemetry::document::{Topic, environment_of},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

pub(super) const CLIENT_PORT: u16 = 9092;
pub(super) const CONTROLLER_PORT: u16 = 9093;
pub(super) const EXTERNAL_PORT: u16 = 9094;

/// Where the configuration's files are.
pub(super) const CONFIGURATION: &str = "/etc/platform-kafka";
/// Where the volume with the data is. The log directory is one below it: a file system's own `lost+found` is no partition.
pub(super) const DATA: &str = "/var/lib/kafka/data";
/// What lives as long as the pod.
pub(super) const SCRATCH: &str = "/run/kafka";
/// Where the image has Kafka.
pub(super) const HOME: &str = "/opt/kafka";

/// Brokers as they are to run.
pub(super) struct Brokers<'a> {
    pub(super) settings: &'a KafkaSettings,
    pub(super) replicas: u32,
    /// What pods are called, without their number.
    pub(super) pods: &'a str,
    /// The domain of the pods' own addresses.
    pub(super) domain: &'a str,
}

impl Brokers<'_> {
    /// How many brokers hold each partition.
    fn replication(&self) -> u32 {
        self.replicas.min(3)
    }

    /// How many of them must have a record before it is acknowledged: one may be away.
    fn in_sync(&self) -> u32 {
        if self.replication() >= 3 { 2 } else { 1 }
    }

    /// `server.properties` without what is different in each pod.
    pub(super) fn properties(&self) -> String {
        let (replication, in_sync) = (self.replication().to_string(), self.in_sync().to_string());
        let voters: Vec<String> = (0..self.replicas)
            .map(|number| format!("{number}@{}-{number}.{}:{CONTROLLER_PORT}", self.pods, self.domain))
            .collect();
        let mut listeners = format!("INTERNAL://:{CLIENT_PORT},CONTROLLER://:{CONTROLLER_PORT}");
        let mut protocols = "INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
        if self.settings.external.is_some() {
            let _ = write!(listeners, ",EXTERNAL://:{EXTERNAL_PORT}");
            protocols.push_str(",EXTERNAL:PLAINTEXT");
        }
        let (voters, logs) = (voters.join(","), format!("{DATA}/log"));
        let partitions = self.settings.partitions.to_string();
        let properties = BTreeMap::from([
            // Topics are made on purpose, with their partitions and retention.
            ("auto.create.topics.enable", "false"),
            ("controller.listener.names", "CONTROLLER"),
            ("controller.quorum.voters", voters.as_str()),
            ("default.replication.factor", &replication),
            ("inter.broker.listener.name", "INTERNAL"),
            ("listener.security.protocol.map", &protocols),
            ("listeners", &listeners),
            ("log.dirs", &logs),
            ("min.insync.replicas", &in_sync),
            ("num.partitions", &partitions),
            ("offsets.topic.replication.factor", &replication),
            ("process.roles", "broker,controller"),
            ("share.coordinator.state.topic.min.isr", &in_sync),
            ("share.coordinator.state.topic.replication.factor", &replication),
            ("transaction.state.log.min.isr", &in_sync),
            ("transaction.state.log.replication.factor", &replication),
            // A broker that missed records must not become the one that has them all.
            ("unclean.leader.election.enable", "false"),
        ]);
        properties.iter().fold(String::new(), |mut text, (key, value)| {
            let _ = writeln!(text, "{key}={value}");
            text
        })
    }

    /// Completes the properties by what is the pod's own, formats its storage once, and becomes the broker.
    pub(super) fn start_script(&self, cluster_id: &str) -> String {
        let mut advertised = format!("INTERNAL://$HOSTNAME.{}:{CLIENT_PORT}", self.domain);
        if let Some(External { host, port }) = &self.settings.external {
            let _ = write!(advertised, ",EXTERNAL://{host}:$(({port} + number))");
        }
        format!(
            "set -eu\n\
             number=${{HOSTNAME##*-}}\n\
             cp {CONFIGURATION}/server.properties {SCRATCH}/server.properties\n\
             cat >>{SCRATCH}/server.properties <<END\n\
             node.id=$number\n\
             advertised.listeners={advertised}\n\
             END\n\
             {HOME}/bin/kafka-storage.sh format --ignore-formatted --cluster-id {cluster_id} --config {SCRATCH}/server.properties\n\
             exec {HOME}/bin/kafka-server-start.sh {SCRATCH}/server.properties\n"
        )
    }

    /// The topics of every environment of the platform, and of what belongs to none.
    pub(super) fn topics(&self, target: &ComponentTarget) -> Vec<TopicSpec> {
        let named = self.settings.environments.iter().map(ToString::to_string);
        let environments: BTreeSet<String> =
            named.chain([environment_of(&target.role).to_owned(), "shared".to_owned()]).collect();
        environments
            .iter()
            .flat_map(|environment| Topic::ALL.map(|topic| self.topic(environment, topic)))
            .collect()
    }

    fn topic(&self, environment: &str, topic: Topic) -> TopicSpec {
        let settings = self.settings;
        let (partitions, hours) = match topic {
            Topic::DeadLetters => (1, settings.dead_letter_retention_hours),
            Topic::Metrics | Topic::Logs => (settings.partitions, settings.retention_hours),
        };
        let mut configuration = BTreeMap::from([
            ("cleanup.policy", "delete".to_owned()),
            ("min.insync.replicas", self.in_sync().to_string()),
            ("retention.ms", (u64::from(hours) * 3_600_000).to_string()),
        ]);
        if let Some(bytes) = settings.retention_bytes {
            configuration.insert("retention.bytes", bytes.to_string());
        }
        TopicSpec {
            name: topic.name(environment),
            partitions,
            replication: self.replication(),
            configuration,
        }
    }
}

/// A topic as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicSpec {
    pub(super) name: String,
    pub(super) partitions: u32,
    pub(super) replication: u32,
    pub(super) configuration: BTreeMap<&'static str, String>,
}

/// Makes topics that are not there, and gives those that are what they are to have. Partitions are only ever added: fewer would lose records.
pub(super) fn topics_script(topics: &[TopicSpec], bootstrap: &str) -> String {
    let mut script = format!(
        "set -eu\n\
         topics=\"{HOME}/bin/kafka-topics.sh --bootstrap-server {bootstrap}\"\n\
         configs=\"{HOME}/bin/kafka-configs.sh --bootstrap-server {bootstrap}\"\n\
         topic() {{\n  \
           $topics --create --if-not-exists --topic \"$1\" --partitions \"$2\" --replication-factor \"$3\"\n  \
           $configs --alter --entity-type topics --entity-name \"$1\" --add-config \"$4\"\n  \
           has=$($topics --describe --topic \"$1\" | grep -c 'Partition:')\n  \
           if [ \"$has\" -lt \"$2\" ]; then $topics --alter --topic \"$1\" --partitions \"$2\"; fi\n\
         }}\n"
    );
    for TopicSpec { name, partitions, replication, configuration } in topics {
        let configuration: Vec<String> =
            configuration.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let _ = writeln!(script, "topic {name} {partitions} {replication} {}", configuration.join(","));
    }
    script
}

/// Logs to the container's output and nowhere else, for the platform's own lanes to gather.
pub(super) const LOGGING: &str = "\
Configuration:
  Properties:
    Property:
      - name: pattern
        value: \"[%d] %p %m (%c)%n\"
  Appenders:
    Console:
      name: stdout
      PatternLayout:
        pattern: \"${pattern}\"
  Loggers:
    Root:
      level: INFO
      AppenderRef:
        - ref: stdout
    Logger:
      - name: kafka.request.logger
        level: WARN
";

/// The same platform in the same cluster is always the same Kafka cluster: its id is made of their names.
///
/// As Kafka writes it: 16 bytes in URL-safe Base64 without padding.
pub(super) fn cluster_id(target: &ComponentTarget) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let names = format!("kafka\n{}\n{}\n{}", target.platform, target.cluster, target.namespace);
    let digest = ring::digest::digest(&ring::digest::SHA256, names.as_bytes());
    let mut bytes = [0; 16];
    for (byte, of_digest) in bytes.iter_mut().zip(digest.as_ref()) {
        *byte = *of_digest;
    }
    // A `-` at the beginning would be an option of the tool that is given it.
    bytes[0] &= 0x7f;
    URL_SAFE_NO_PAD.encode(bytes)
}
