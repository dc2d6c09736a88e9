//! Telemetry as documents: the one shape that every lane gives, and the names of the topics and data streams that carry it.
//!
//! A lane is a way from a source to Elasticsearch. Whatever its programs are, the filters, pipelines and index templates that make and take
//! these documents are rendered from here, so that the same sample or log line is the same document by field.
//!
//! ```
//! use platform_core::{
//!     clock::Timestamp,
//!     telemetry::{
//!         Labels, MetricKind, Sample,
//!         document::{self, Signal, Topic},
//!     },
//! };
//!
//! let sample = Sample {
//!     metric: "node_load1".into(),
//!     labels: Labels::from_iter([("environment", "testing"), ("cluster", "shop-testing")]),
//!     timestamp: Timestamp::from_millis(1_764_108_000_123),
//!     value: 0.5,
//!     kind: MetricKind::Gauge,
//! };
//! let document = document::metric(&sample, "shared").unwrap();
//! assert_eq!(document["@timestamp"], "2025-11-25T22:00:00.123Z");
//! assert_eq!(document["labels"]["__name__"], "node_load1");
//! assert_eq!(document["metrics"]["node_load1"], 0.5);
//! document::check(Signal::Metrics, &document)?;
//! assert_eq!(Topic::Metrics.name("testing"), "testing.metrics.v1");
//! assert_eq!(document::data_stream(Signal::Metrics, "testing"), "metrics-generic.prometheus-testing");
//! # Ok::<(), platform_core::Error>(())
//! ```

mod conformity;
mod template;

pub use conformity::check;
pub use template::{Features, TEMPLATE_VERSION, daily_index, day_of_index, index_template, template_name};

use super::{LogRecord, Sample, Severity};
use crate::{clock::Timestamp, cluster::ClusterRole};
use serde_json::{Map, Value, json};

/// What a document tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// A value of a metric.
    Metrics,
    /// A line of a log.
    Logs,
}

impl Signal {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Metrics, Self::Logs];

    /// `metrics`, `logs`: the first part of a data stream's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// The second part of a data stream's name. Its end says by whose conventions the fields are named: Prometheus', OpenTelemetry's.
    pub const fn dataset(self) -> &'static str {
        match self {
            Self::Metrics => "generic.prometheus",
            Self::Logs => "generic.otel",
        }
    }

    /// The fields of its documents.
    pub const fn fields(self) -> &'static [Field] {
        match self {
            Self::Metrics => &METRIC_FIELDS,
            Self::Logs => &LOG_FIELDS,
        }
    }
}

/// A topic of Kafka, of which every environment has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Documents of samples.
    Metrics,
    /// Documents of log lines.
    Logs,
    /// What could not be stored, with the reason.
    DeadLetters,
}

impl Topic {
    /// All.
    pub const ALL: [Self; 3] = [Self::Metrics, Self::Logs, Self::DeadLetters];

    /// The version of the documents in it, at the end of its name: readers of one version never see another.
    pub const VERSION: &'static str = "v1";

    /// `metrics`, `logs`, `dlq`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => Signal::Metrics.as_str(),
            Self::Logs => Signal::Logs.as_str(),
            Self::DeadLetters => "dlq",
        }
    }

    /// `ENVIRONMENT.metrics.v1`. For what belongs to no environment see [`environment_of`].
    pub fn name(self, environment: &str) -> String {
        format!("{environment}.{}.{}", self.as_str(), Self::VERSION)
    }

    /// The topic of a signal's documents.
    pub const fn of(signal: Signal) -> Self {
        match signal {
            Signal::Metrics => Self::Metrics,
            Signal::Logs => Self::Logs,
        }
    }
}

/// What a consumer subscribes to that reads the documents of `environments`: names of topics, or of none given a regular expression for
/// everybody's, which begins with `^` as librdkafka wants it.
pub fn subscription<S: AsRef<str>>(environments: &[S]) -> Vec<String> {
    if environments.is_empty() {
        let signals = Signal::ALL.map(Signal::as_str).join("|");
        return vec![format!("^[a-z0-9-]+\\.({signals})\\.{}$", Topic::VERSION)];
    }
    let of = |environment: &S| Signal::ALL.map(|signal| Topic::of(signal).name(environment.as_ref()));
    environments.iter().flat_map(of).collect()
}

/// `metrics-generic.prometheus-ENVIRONMENT`, `logs-generic.otel-ENVIRONMENT`.
pub fn data_stream(signal: Signal, environment: &str) -> String {
    format!("{}-{}-{environment}", signal.as_str(), signal.dataset())
}

/// The name under which a cluster's telemetry goes that belongs to no environment: that of its only environment, `shared` where several share
/// the cluster, `control-plane`. No environment can be called like the last two.
pub fn environment_of(role: &ClusterRole) -> &str {
    match role {
        ClusterRole::Environments(environments) => match environments.as_slice() {
            [only] => only.as_str(),
            _ => "shared",
        },
        ClusterRole::ControlPlane => "control-plane",
    }
}

/// What the values of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// A moment: RFC 3339 in UTC with milliseconds.
    Date,
    /// A text that is compared as a whole.
    Keyword,
    /// A keyword that is the same in all documents of a data stream.
    Constant,
    /// A text that is searched by its words.
    Text,
    /// A finite number.
    Double,
    /// A whole number.
    Long,
}

/// A field of a document, or all fields of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The names on the way to it, joined by dots. `OBJECT.*` stands for whatever `OBJECT` holds; such names may have dots in them.
    pub path: &'static str,
    /// What its values are.
    pub kind: FieldKind,
    /// Whether every document has it; of `OBJECT.*`, at least one.
    pub required: bool,
    /// Whether it is a part of a series' identity.
    pub dimension: bool,
}

const fn field(path: &'static str, kind: FieldKind) -> Field {
    Field { path, kind, required: false, dimension: false }
}

const fn required(path: &'static str, kind: FieldKind) -> Field {
    Field { required: true, ..field(path, kind) }
}

const METRIC_FIELDS: [Field; 6] = [
    required("@timestamp", FieldKind::Date),
    required("data_stream.type", FieldKind::Constant),
    required("data_stream.dataset", FieldKind::Constant),
    required("data_stream.namespace", FieldKind::Constant),
    Field { dimension: true, ..required("labels.*", FieldKind::Keyword) },
    required("metrics.*", FieldKind::Double),
];

const LOG_FIELDS: [Field; 11] = [
    required("@timestamp", FieldKind::Date),
    required("data_stream.type", FieldKind::Constant),
    required("data_stream.dataset", FieldKind::Constant),
    required("data_stream.namespace", FieldKind::Constant),
    required("body.text", FieldKind::Text),
    required("severity_text", FieldKind::Keyword),
    required("severity_number", FieldKind::Long),
    field("trace_id", FieldKind::Keyword),
    field("span_id", FieldKind::Keyword),
    field("resource.attributes.*", FieldKind::Keyword),
    field("attributes.*", FieldKind::Keyword),
];

/// The label of a metric's name in `labels`.
pub const METRIC_NAME: &str = "__name__";

/// The endings of counters' names; every other metric is a gauge.
pub const COUNTER_SUFFIXES: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];

/// Labels of log records that say where a line comes from, and what OpenTelemetry's
/// [semantic conventions](https://opentelemetry.io/docs/specs/semconv/resource/) call them. They go to `resource.attributes`.
pub const RESOURCE_ATTRIBUTES: [(&str, &str); 8] = [
    ("cluster", "k8s.cluster.name"),
    ("container", "k8s.container.name"),
    ("environment", "deployment.environment.name"),
    ("namespace", "k8s.namespace.name"),
    ("node", "k8s.node.name"),
    ("pod", "k8s.pod.name"),
    ("pod_uid", "k8s.pod.uid"),
    ("service", "service.name"),
];

/// Labels of log records that say how a line was read. They go to `attributes`, as do all other labels under their own names.
pub const LINE_ATTRIBUTES: [(&str, &str); 2] = [("file", "log.file.path"), ("stream", "log.iostream")];

/// Labels of log records that are fields of their own.
pub const TRACE_FIELDS: [&str; 2] = ["trace_id", "span_id"];

/// OpenTelemetry's number of a severity: the first of its range.
pub const fn severity_number(severity: Severity) -> u8 {
    match severity {
        Severity::Trace => 1,
        Severity::Debug => 5,
        Severity::Info => 9,
        Severity::Warn => 13,
        Severity::Error => 17,
        Severity::Fatal => 21,
    }
}

/// The field of a document's time.
pub const TIME_FIELD: &str = "@timestamp";
/// The field of a log record's text.
pub const MESSAGE_FIELD: &str = "body.text";
/// The field of the name of a log record's severity.
pub const SEVERITY_FIELD: &str = "severity_text";

/// Where a label of a log record is in its document: `attributes.NAME`, `resource.attributes.NAME`, or a field of its own.
pub fn label_field(label: &str) -> String {
    let renamed = |table: &[(&str, &'static str)]| {
        table.iter().find(|(known, _)| *known == label).map(|(_, name)| *name)
    };
    if TRACE_FIELDS.contains(&label) {
        label.to_owned()
    } else if let Some(name) = renamed(&RESOURCE_ATTRIBUTES) {
        format!("resource.attributes.{name}")
    } else {
        format!("attributes.{}", renamed(&LINE_ATTRIBUTES).unwrap_or(label))
    }
}

/// The document of a sample; `None` where its value is not a finite number, which JSON cannot say. Its stream is that of its label
/// `environment`, or of `otherwise`.
pub fn metric(sample: &Sample, otherwise: &str) -> Option<Value> {
    if !sample.value.is_finite() {
        return None;
    }
    let mut labels: Map<String, Value> =
        sample.labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    labels.insert(METRIC_NAME.to_owned(), (*sample.metric).into());
    Some(json!({
        "@timestamp": moment(sample.timestamp),
        "data_stream": stream_fields(Signal::Metrics, sample.labels.get("environment").unwrap_or(otherwise)),
        "labels": labels,
        "metrics": {&*sample.metric: sample.value},
    }))
}

/// The document of a log record. Its stream is that of its label `environment`, or of `otherwise`.
pub fn log(record: &LogRecord, otherwise: &str) -> Value {
    let (mut resource, mut attributes, mut own) = (Map::new(), Map::new(), Map::new());
    let renamed = |table: &[(&str, &'static str)], label: &str| {
        table.iter().find(|(known, _)| *known == label).map(|(_, name)| *name)
    };
    for (label, value) in record.labels.iter() {
        if TRACE_FIELDS.contains(&label) {
            own.insert(label.to_owned(), value.into());
        } else if let Some(name) = renamed(&RESOURCE_ATTRIBUTES, label) {
            resource.insert(name.to_owned(), value.into());
        } else {
            let name = renamed(&LINE_ATTRIBUTES, label).unwrap_or(label);
            attributes.insert(name.to_owned(), value.into());
        }
    }
    let environment = record.labels.get("environment").unwrap_or(otherwise);
    own.insert("@timestamp".to_owned(), moment(record.timestamp));
    own.insert("body".to_owned(), json!({"text": record.body}));
    own.insert("data_stream".to_owned(), stream_fields(Signal::Logs, environment));
    own.insert("severity_number".to_owned(), severity_number(record.severity).into());
    own.insert("severity_text".to_owned(), record.severity.as_str().into());
    if !resource.is_empty() {
        own.insert("resource".to_owned(), json!({"attributes": resource}));
    }
    if !attributes.is_empty() {
        own.insert("attributes".to_owned(), attributes.into());
    }
    Value::Object(own)
}

fn stream_fields(signal: Signal, environment: &str) -> Value {
    json!({"type": signal.as_str(), "dataset": signal.dataset(), "namespace": environment})
}

fn moment(timestamp: Timestamp) -> Value {
    timestamp.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Labels, MetricKind};

    fn record(labels: &[(&str, &str)]) -> LogRecord {
        LogRecord {
            timestamp: Timestamp::from_millis(1_764_108_000_000),
            severity: Severity::Warn,
            body: "disk almost full".into(),
            labels: labels.iter().copied().collect(),
        }
    }

    #[test]
    fn a_log_record_is_named_by_opentelemetry() {
        let labels = [
            ("environment", "testing"),
            ("pod", "api1-7d"),
            ("stream", "stderr"),
            ("user", "7"),
            ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
        ];
        let document = log(&record(&labels), "shared");
        assert_eq!(
            document,
            json!({
                "@timestamp": "2025-11-25T22:00:00.000Z",
                "attributes": {"log.iostream": "stderr", "user": "7"},
                "body": {"text": "disk almost full"},
                "data_stream": {"type": "logs", "dataset": "generic.otel", "namespace": "testing"},
                "resource": {"attributes": {"deployment.environment.name": "testing", "k8s.pod.name": "api1-7d"}},
                "severity_number": 13,
                "severity_text": "warn",
                "trace_id": "0af7651916cd43dd8448eb211c80319c",
            })
        );
        check(Signal::Logs, &document).unwrap();
        let bare = log(&record(&[]), "control-plane");
        assert_eq!(bare["data_stream"]["namespace"], "control-plane");
        check(Signal::Logs, &bare).unwrap();
    }

    #[test]
    fn values_that_json_cannot_say_have_no_document() {
        let mut sample = Sample {
            metric: "up".into(),
            labels: Labels::from_iter([("k8s.pod", "a\"b")]),
            timestamp: Timestamp::from_millis(0),
            value: f64::NAN,
            kind: MetricKind::Gauge,
        };
        assert!(metric(&sample, "shared").is_none());
        sample.value = 1.0;
        let document = metric(&sample, "shared").unwrap();
        check(Signal::Metrics, &document).unwrap();
        assert_eq!(document["labels"], json!({"__name__": "up", "k8s.pod": "a\"b"}));
    }

    #[test]
    fn a_cluster_s_own_telemetry_has_a_name() {
        use crate::name::EnvironmentName;
        let environments = |names: &[&str]| {
            ClusterRole::Environments(names.iter().map(|name| EnvironmentName::new(name).unwrap()).collect())
        };
        assert_eq!(environment_of(&environments(&["testing"])), "testing");
        assert_eq!(environment_of(&environments(&["testing", "production"])), "shared");
        assert_eq!(environment_of(&ClusterRole::ControlPlane), "control-plane");
    }
}
