//! Samples and log records into documents, without values in between.

use super::{Message, json};
use bytes::Bytes;
use platform_core::{
    clock::Timestamp,
    telemetry::{
        Batch, Labels, LogRecord, Sample,
        document::{
            LINE_ATTRIBUTES, METRIC_NAME, RESOURCE_ATTRIBUTES, Signal, TIME_FIELD, TRACE_FIELDS, Topic,
            severity_number,
        },
    },
};
use std::{ops::Range, sync::Arc};

/// How many names of topics are kept.
const TOPICS: usize = 64;

/// Writes documents in exactly the shape of [`document::metric`](platform_core::telemetry::document::metric) and
/// [`document::log`](platform_core::telemetry::document::log).
///
/// It keeps what many documents have in common, and allocates nothing for each. Cheap to make, better to keep.
#[derive(Debug, Clone)]
pub struct Encoder {
    otherwise: Arc<str>,
    /// By signal and environment.
    topics: Vec<(Signal, Box<str>, Arc<str>)>,
    /// The second whose moments begin with `prefix`.
    second: Option<i64>,
    prefix: String,
}

/// A batch as messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Of the samples, then of the log records, in their order.
    pub messages: Vec<Message>,
    /// Samples whose values JSON cannot say: NaN and the infinite ones. They have no message.
    pub not_finite: u64,
}

impl Encoder {
    /// What has no label `environment` goes to the topics of `environment`.
    pub fn new(environment: &str) -> Self {
        Self { otherwise: environment.into(), topics: Vec::new(), second: None, prefix: String::new() }
    }

    /// The messages of a batch. All of them share one buffer.
    pub fn messages(&mut self, batch: &Batch) -> Encoded {
        let mut buffer = Vec::with_capacity(batch.len() * 512);
        let mut parts: Vec<(Arc<str>, Range<usize>, usize)> = Vec::with_capacity(batch.len());
        let mut not_finite = 0;
        for sample in &batch.samples {
            let start = buffer.len();
            sample_key(&sample.labels, &mut buffer);
            let key = start..buffer.len();
            if self.sample(sample, &mut buffer) {
                parts.push((self.topic(Signal::Metrics, &sample.labels), key, buffer.len()));
            } else {
                buffer.truncate(start);
                not_finite += 1;
            }
        }
        for record in &batch.logs {
            let start = buffer.len();
            log_key(&record.labels, &mut buffer);
            let key = start..buffer.len();
            self.log(record, &mut buffer);
            parts.push((self.topic(Signal::Logs, &record.labels), key, buffer.len()));
        }
        let buffer = Bytes::from(buffer);
        let message = |(topic, key, end): (_, Range<usize>, usize)| Message {
            topic,
            payload: buffer.slice(key.end..end),
            key: buffer.slice(key),
        };
        Encoded { messages: parts.into_iter().map(message).collect(), not_finite }
    }

    /// The topic of what has these labels.
    pub fn topic(&mut self, signal: Signal, labels: &Labels) -> Arc<str> {
        let environment = labels.get("environment").unwrap_or(&self.otherwise);
        let known = self.topics.iter().find(|(s, e, _)| *s == signal && **e == *environment);
        if let Some((_, _, topic)) = known {
            return Arc::clone(topic);
        }
        let topic: Arc<str> = Topic::of(signal).name(environment).into();
        let entry = (signal, environment.into(), Arc::clone(&topic));
        if self.topics.len() >= TOPICS {
            self.topics.clear();
        }
        self.topics.push(entry);
        topic
    }

    /// Appends the document of a sample to `out`. Answers `false`, and appends nothing, if its value is not finite.
    pub fn sample(&mut self, sample: &Sample, out: &mut Vec<u8>) -> bool {
        if !sample.value.is_finite() {
            return false;
        }
        self.start(Signal::Metrics, sample.timestamp, &sample.labels, out);
        out.extend_from_slice(b",\"labels\":{");
        let mut first = true;
        json::name(out, &mut first, METRIC_NAME);
        json::string(out, &sample.metric);
        for (label, value) in sample.labels.iter().filter(|(label, _)| *label != METRIC_NAME) {
            json::name(out, &mut first, label);
            json::string(out, value);
        }
        out.extend_from_slice(b"},\"metrics\":{");
        json::name(out, &mut true, &sample.metric);
        json::number(out, sample.value);
        out.extend_from_slice(b"}}");
        true
    }

    /// Appends the document of a log record to `out`.
    pub fn log(&mut self, record: &LogRecord, out: &mut Vec<u8>) {
        self.start(Signal::Logs, record.timestamp, &record.labels, out);
        out.extend_from_slice(b",\"body\":{\"text\":");
        json::string(out, &record.body);
        out.extend_from_slice(b"},\"severity_text\":\"");
        out.extend_from_slice(record.severity.as_str().as_bytes());
        out.extend_from_slice(b"\",\"severity_number\":");
        let number = severity_number(record.severity);
        if number >= 10 {
            out.push(b'0' + number / 10);
        }
        out.push(b'0' + number % 10);
        for (label, value) in record.labels.iter().filter(|(label, _)| TRACE_FIELDS.contains(label)) {
            json::name(out, &mut false, label);
            json::string(out, value);
        }
        let mut first = true;
        for (label, value) in record.labels.iter() {
            if let Some(name) = renamed(&RESOURCE_ATTRIBUTES, label) {
                if first {
                    out.extend_from_slice(b",\"resource\":{\"attributes\":{");
                }
                json::name(out, &mut first, name);
                json::string(out, value);
            }
        }
        if !first {
            out.extend_from_slice(b"}}");
        }
        first = true;
        for (label, value) in record.labels.iter() {
            if TRACE_FIELDS.contains(&label) || renamed(&RESOURCE_ATTRIBUTES, label).is_some() {
                continue;
            }
            let Some(name) = attribute(&record.labels, label) else { continue };
            if first {
                out.extend_from_slice(b",\"attributes\":{");
            }
            json::name(out, &mut first, name);
            json::string(out, value);
        }
        if !first {
            out.push(b'}');
        }
        out.push(b'}');
    }

    /// Writes what all documents begin with.
    fn start(&mut self, signal: Signal, at: Timestamp, labels: &Labels, out: &mut Vec<u8>) {
        out.push(b'{');
        json::name(out, &mut true, TIME_FIELD);
        out.push(b'"');
        self.moment(at, out);
        out.extend_from_slice(b"\",\"data_stream\":{\"type\":\"");
        out.extend_from_slice(signal.as_str().as_bytes());
        out.extend_from_slice(b"\",\"dataset\":\"");
        out.extend_from_slice(signal.dataset().as_bytes());
        out.extend_from_slice(b"\",\"namespace\":");
        json::string(out, labels.get("environment").unwrap_or(&self.otherwise));
        out.push(b'}');
    }

    fn moment(&mut self, at: Timestamp, out: &mut Vec<u8>) {
        let second = at.as_millis().div_euclid(1000);
        if self.second != Some(second) {
            let text = Timestamp::from_millis(second.saturating_mul(1000)).to_string();
            let Some(prefix) = text.strip_suffix("000Z") else {
                // A moment that no calendar has.
                out.extend_from_slice(at.to_string().as_bytes());
                return;
            };
            prefix.clone_into(&mut self.prefix);
            self.second = Some(second);
        }
        out.extend_from_slice(self.prefix.as_bytes());
        let millis = at.as_millis().rem_euclid(1000) as u16;
        let digit = |number: u16| b'0' + (number % 10) as u8;
        out.extend([digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
    }
}

fn renamed(table: &[(&str, &'static str)], label: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == label).map(|(_, name)| *name)
}

/// What a label is called among the attributes; `None` if a later one has the same name, and wins.
fn attribute<'a>(labels: &Labels, label: &'a str) -> Option<&'a str> {
    for (short, long) in LINE_ATTRIBUTES {
        let other = match label {
            label if label == short => long,
            label if label == long => short,
            _ => continue,
        };
        return (other < label || labels.get(other).is_none()).then_some(long);
    }
    Some(label)
}

/// Appends the key of a sample's message: `CLUSTER/JOB/INSTANCE`. What a target says stays in order.
pub fn sample_key(labels: &Labels, out: &mut Vec<u8>) {
    key([labels.get("cluster"), labels.get("job"), labels.get("instance")], out);
}

/// Appends the key of a log record's message: `CLUSTER/POD/CONTAINER`, the pod by its uid if it has one. Of what is from no pod, the file
/// stands for it. What a container writes stays in order.
pub fn log_key(labels: &Labels, out: &mut Vec<u8>) {
    let pod = labels.get("pod_uid").or_else(|| labels.get("pod")).or_else(|| labels.get("file"));
    key([labels.get("cluster"), pod, labels.get("container")], out);
}

fn key(parts: [Option<&str>; 3], out: &mut Vec<u8>) {
    for (at, part) in parts.into_iter().enumerate() {
        if at > 0 {
            out.push(b'/');
        }
        out.extend_from_slice(part.unwrap_or_default().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform_core::telemetry::{MetricKind, Severity, document};
    use proptest::prelude::*;
    use serde_json::Value;

    /// Labels that are renamed, that are called like renamed ones, and others.
    fn labels() -> impl Strategy<Value = Labels> {
        let known = RESOURCE_ATTRIBUTES.iter().chain(&LINE_ATTRIBUTES);
        let mut names: Vec<&str> = known.flat_map(|(label, name)| [*label, *name]).collect();
        names.extend(TRACE_FIELDS.iter().chain(&[METRIC_NAME, "user", "a.b"]));
        let name = prop_oneof![proptest::sample::select(names).prop_map(str::to_owned), ".{1,8}"];
        proptest::collection::vec((name, ".{0,12}"), 0..8).prop_map(Labels::from_iter)
    }

    fn moments() -> impl Strategy<Value = Timestamp> {
        prop_oneof![
            1_600_000_000_000_i64..1_900_000_000_000,
            -5000_i64..5000,
            any::<i64>(),
            Just(253_402_207_199_999),
        ]
        .prop_map(Timestamp::from_millis)
    }

    proptest! {
        #[test]
        fn documents_equal_those_of_the_one_shape(
            labels in labels(),
            moments in proptest::collection::vec(moments(), 1..4),
            metric in ".{0,12}",
            value in prop_oneof![any::<f64>(), Just(0.0), Just(-0.0), Just(1e300), (-1000_i32..1000).prop_map(f64::from)],
            body in ".{0,40}",
            severity in proptest::sample::select(Severity::ALL.to_vec()),
        ) {
            let mut encoder = Encoder::new("shared");
            let mut out = Vec::new();
            for timestamp in moments {
                let sample = Sample { metric: metric.as_str().into(), labels: labels.clone(), timestamp, value, kind: MetricKind::Gauge };
                out.clear();
                let expected = document::metric(&sample, "shared");
                prop_assert_eq!(encoder.sample(&sample, &mut out), expected.is_some());
                prop_assert_eq!(expected.is_none(), out.is_empty());
                if let Some(expected) = expected {
                    // As serde_json itself would read what it writes: its numbers may lose their last bit on the way.
                    let expected: Value = serde_json::from_slice(&serde_json::to_vec(&expected).unwrap()).unwrap();
                    prop_assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
                }
                let record = LogRecord { timestamp, severity, body: body.clone(), labels: labels.clone() };
                out.clear();
                encoder.log(&record, &mut out);
                prop_assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), document::log(&record, "shared"));
                prop_assert!(!out.contains(&b'\n'));
            }
        }
    }

    #[test]
    fn messages_have_topics_and_keys() {
        let sample = |value, labels: &[(&str, &str)]| Sample {
            metric: "up".into(),
            labels: labels.iter().copied().collect(),
            timestamp: Timestamp::from_millis(0),
            value,
            kind: MetricKind::Gauge,
        };
        let record = |labels: &[(&str, &str)]| LogRecord {
            timestamp: Timestamp::from_millis(0),
            severity: Severity::Info,
            body: "line".to_owned(),
            labels: labels.iter().copied().collect(),
        };
        let batch = Batch {
            samples: vec![
                sample(
                    1.0,
                    &[("cluster", "c"), ("job", "node"), ("instance", "a:1"), ("environment", "testing")],
                ),
                sample(f64::NAN, &[]),
                sample(2.0, &[]),
            ],
            logs: vec![
                record(&[("cluster", "c"), ("pod", "p"), ("pod_uid", "u"), ("container", "x")]),
                record(&[("pod", "p"), ("file", "/f")]),
                record(&[("file", "/var/log/a.log")]),
            ],
        };
        let encoded = Encoder::new("shared").messages(&batch);
        assert_eq!(encoded.not_finite, 1);
        let said: Vec<(&str, &str)> =
            encoded.messages.iter().map(|m| (&*m.topic, std::str::from_utf8(&m.key).unwrap())).collect();
        assert_eq!(
            said,
            [
                ("testing.metrics.v1", "c/node/a:1"),
                ("shared.metrics.v1", "//"),
                ("shared.logs.v1", "c/u/x"),
                ("shared.logs.v1", "/p/"),
                ("shared.logs.v1", "//var/log/a.log/"),
            ]
        );
        for message in &encoded.messages {
            let document = serde_json::from_slice(&message.payload).unwrap();
            document::check(crate::message::signal_of(&message.topic).unwrap(), &document).unwrap();
        }
        assert_eq!(crate::message::signal_of("testing.dlq.v1"), None);
        assert_eq!(crate::message::signal_of("logs.v1"), None);
    }
}
