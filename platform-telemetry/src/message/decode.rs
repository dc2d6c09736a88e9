//! Documents into samples and log records: the inverse of the [`Encoder`](super::Encoder).
//!
//! What does not have the shape of a document is refused with what is wrong with it; fields that nobody knows are passed over.
//!
//! A document does not say what kind a metric is: it is a counter if its name ends like one, else a gauge. A label that is called like
//! what another label is renamed to (`log.file.path`) comes back as that one (`file`).

use super::{Message, signal_of};
use platform_core::{
    Error, Result,
    clock::Timestamp,
    telemetry::{
        Batch, Labels, LogRecord, MetricKind, Sample, Severity,
        document::{
            COUNTER_SUFFIXES, LINE_ATTRIBUTES, METRIC_NAME, RESOURCE_ATTRIBUTES, Signal, severity_number,
        },
    },
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, marker::PhantomData};

/// Reads the document of a sample.
pub fn sample(document: &[u8]) -> Result<Sample> {
    read_sample(document).map_err(|error| error.operation("read").subject("a document of metrics"))
}

/// Reads the document of a log record.
pub fn log(document: &[u8]) -> Result<LogRecord> {
    read_log(document).map_err(|error| error.operation("read").subject("a document of logs"))
}

/// Reads a message by its topic, into `batch`. After an error the batch is as it was.
pub fn message(message: &Message, batch: &mut Batch) -> Result<()> {
    match signal_of(&message.topic) {
        Some(Signal::Metrics) => batch.samples.push(sample(&message.payload)?),
        Some(Signal::Logs) => batch.logs.push(log(&message.payload)?),
        None => {
            return Err(Error::invalid("it is no topic of metrics or logs")
                .operation("read")
                .subject(format!("topic {}", message.topic)));
        }
    }
    Ok(())
}

fn read_sample(document: &[u8]) -> Result<Sample> {
    let MetricDocument { timestamp, labels, metrics } = parse(document)?;
    let [(metric, value)] = <[_; 1]>::try_from(metrics.0)
        .map_err(|metrics| Error::invalid(format!("it has {} metrics, not one", metrics.len())))?;
    let said = labels.0.iter().find(|(name, _)| name.0 == METRIC_NAME);
    if said.is_none_or(|(_, said)| said.0 != metric.0) {
        return Err(Error::invalid(format!("labels.{METRIC_NAME} does not say its metric {:?}", metric.0)));
    }
    let number = value.get().parse::<f64>().ok().filter(|number| number.is_finite());
    let number = number.ok_or_else(|| {
        Error::invalid(format!("metrics.{} is {}, no finite number", metric.0, value.get()))
    })?;
    let labels = labels.0.iter().filter(|(name, _)| name.0 != METRIC_NAME);
    Ok(Sample {
        kind: kind(&metric.0),
        metric: metric.0.into(),
        labels: labels.map(|(name, value)| (&*name.0, &*value.0)).collect(),
        timestamp: moment(&timestamp.0)?,
        value: number,
    })
}

fn read_log(document: &[u8]) -> Result<LogRecord> {
    let document: LogDocument<'_> = parse(document)?;
    let attributes = document.attributes.0.iter().map(|pair| named(&LINE_ATTRIBUTES, pair));
    let resource = document.resource.attributes.0.iter().map(|pair| named(&RESOURCE_ATTRIBUTES, pair));
    let own = [("trace_id", &document.trace_id), ("span_id", &document.span_id)];
    let own = own.iter().filter_map(|(name, value)| Some((*name, &*value.as_ref()?.0)));
    Ok(LogRecord {
        timestamp: moment(&document.timestamp.0)?,
        severity: severity(&document)?,
        labels: attributes.chain(resource).chain(own).collect::<Labels>(),
        body: document.body.text.0.into_owned(),
    })
}

fn parse<'a, T: Deserialize<'a>>(document: &'a [u8]) -> Result<T> {
    // The error says what is wrong and at which byte.
    serde_json::from_slice(document).map_err(|e| Error::invalid(e.to_string()))
}

/// A label as it was called before it was renamed.
fn named<'a>(table: &[(&'static str, &str)], (name, value): &'a (Text<'_>, Text<'_>)) -> (&'a str, &'a str) {
    let label = table.iter().find(|(_, renamed)| *renamed == name.0).map(|(label, _)| *label);
    (label.unwrap_or(&name.0), &value.0)
}

fn moment(text: &str) -> Result<Timestamp> {
    let millis = match text.parse::<jiff::Timestamp>() {
        Ok(time) => Some(time.as_millisecond()),
        // A moment that no calendar has.
        Err(_) => text.strip_suffix("ms").and_then(|millis| millis.parse().ok()),
    };
    let wrong = || Error::invalid(format!("@timestamp is {text:?}, no moment by RFC 3339"));
    millis.map(Timestamp::from_millis).ok_or_else(wrong)
}

/// The named severity, or that in whose range the number is.
fn severity(document: &LogDocument<'_>) -> Result<Severity> {
    let text = document.severity_text.as_ref().map(|text| &*text.0);
    if let Some(severity) = text.and_then(Severity::parse) {
        return Ok(severity);
    }
    let below = |number: u64| {
        Severity::ALL.into_iter().rev().find(|severity| u64::from(severity_number(*severity)) <= number)
    };
    let number = document.severity_number.filter(|number| *number <= 24);
    number.and_then(below).ok_or_else(|| {
        Error::invalid(match text {
            Some(text) => format!("severity_text is {text:?}, no severity"),
            None => "it has neither severity_text nor a severity_number of 1 to 24".to_owned(),
        })
    })
}

fn kind(metric: &str) -> MetricKind {
    if COUNTER_SUFFIXES.iter().any(|suffix| metric.ends_with(suffix)) {
        MetricKind::Counter
    } else {
        MetricKind::Gauge
    }
}

#[derive(Deserialize)]
struct MetricDocument<'a> {
    #[serde(borrow, rename = "@timestamp")]
    timestamp: Text<'a>,
    #[serde(borrow)]
    labels: Pairs<'a, Text<'a>>,
    #[serde(borrow)]
    metrics: Pairs<'a, &'a RawValue>,
}

#[derive(Deserialize)]
struct LogDocument<'a> {
    #[serde(borrow, rename = "@timestamp")]
    timestamp: Text<'a>,
    #[serde(borrow)]
    body: Body<'a>,
    #[serde(borrow, default)]
    severity_text: Option<Text<'a>>,
    #[serde(default)]
    severity_number: Option<u64>,
    #[serde(borrow, default)]
    trace_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    span_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    resource: Resource<'a>,
    #[serde(borrow, default)]
    attributes: Pairs<'a, Text<'a>>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    text: Text<'a>,
}

#[derive(Deserialize, Default)]
struct Resource<'a> {
    #[serde(borrow, default)]
    attributes: Pairs<'a, Text<'a>>,
}

/// A text, borrowed unless it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The fields of an object, in their order.
struct Pairs<'a, V>(Vec<(Text<'a>, V)>);

impl<V> Default for Pairs<'_, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for Pairs<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<'a, V>(PhantomData<(&'a str, V)>);

        impl<'de: 'a, 'a, V: Deserialize<'de>> Visitor<'de> for Object<'a, V> {
            type Value = Pairs<'a, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Object(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Encoder, *};
    use platform_core::ErrorKind;
    use proptest::prelude::*;

    fn labels() -> impl Strategy<Value = Labels> {
        let known = RESOURCE_ATTRIBUTES.iter().chain(&LINE_ATTRIBUTES);
        let mut names: Vec<&str> = known.map(|(label, _)| *label).collect();
        names.extend(["trace_id", "span_id", "user", "a.b"]);
        let name = prop_oneof![proptest::sample::select(names).prop_map(str::to_owned), "[a-z\"\\\\é.]{1,6}"];
        proptest::collection::vec((name, ".{0,12}"), 0..8).prop_map(Labels::from_iter)
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            labels in labels(),
            millis in prop_oneof![1_600_000_000_000_i64..1_900_000_000_000, any::<i64>()],
            metric in "(.{0,8})(_total|_bucket|)",
            value in any::<f64>().prop_filter("JSON has no others", |value| value.is_finite()),
            body in ".{0,40}",
            severity in proptest::sample::select(Severity::ALL.to_vec()),
        ) {
            let timestamp = Timestamp::from_millis(millis);
            let sample = Sample { kind: kind(&metric), metric: metric.into(), labels: labels.clone(), timestamp, value };
            let record = LogRecord { timestamp, severity, body, labels };
            let batch = Batch { samples: vec![sample], logs: vec![record] };
            let mut decoded = Batch::default();
            for encoded in Encoder::new("shared").messages(&batch).messages {
                message(&encoded, &mut decoded).unwrap();
            }
            prop_assert_eq!(&decoded, &batch);
            prop_assert_eq!(decoded.samples[0].value.to_bits(), value.to_bits());
        }

        #[test]
        fn no_document_makes_it_panic(text in ".{0,60}", cut in 0_usize..400) {
            let whole = r#"{"@timestamp":"2025-11-25T22:00:00.000Z","body":{"text":"x"},"severity_text":"info","attributes":{"a":"b"}}"#;
            let cut = whole.get(..cut).unwrap_or(whole);
            let _ = log(format!("{cut}{text}").as_bytes());
            let _ = super::sample(format!("{cut}{text}").as_bytes());
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (document, why) in [
            (r#"{"@timestamp":"soon","labels":{"__name__":"up"},"metrics":{"up":1.0}}"#, "\"soon\""),
            (r#"{"@timestamp":"2025-11-25T22:00:00Z","labels":{"__name__":"up"},"metrics":{}}"#, "0 metrics"),
            (r#"{"@timestamp":"2025-11-25T22:00:00Z","labels":{},"metrics":{"up":1}}"#, "__name__"),
            (
                r#"{"@timestamp":"2025-11-25T22:00:00Z","labels":{"__name__":"up"},"metrics":{"up":"1"}}"#,
                "metrics.up",
            ),
            (
                r#"{"@timestamp":"2025-11-25T22:00:00Z","labels":{"__name__":"up"},"metrics":{"up":1e999}}"#,
                "1e999",
            ),
            (r#"{"@timestamp":"2025-11-25T22:00:00Z","labels":{"a":5},"metrics":{"up":1}}"#, "`5`"),
            (r#"{"labels":{"__name__":"up"},"metrics":{"up":1}}"#, "@timestamp"),
            ("{\"\u{1}", "control character"),
        ] {
            let error = sample(document.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(!error.is_retryable() && error.to_string().contains(why), "{document}: {error}");
        }
        for (document, why) in [
            (r#"{"@timestamp":"2025-11-25T22:00:00Z","body":{"text":"x"}}"#, "severity"),
            (r#"{"@timestamp":"2025-11-25T22:00:00Z","body":{"text":"x"},"severity_text":"loud"}"#, "loud"),
            (r#"{"@timestamp":"2025-11-25T22:00:00Z","body":"x","severity_text":"info"}"#, "\"x\""),
            ("[]", "invalid length 0"),
        ] {
            let error = log(document.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(why), "{document}: {error}");
        }
        assert!(log(b"{\"body\":\"\xff\"}").is_err());
    }

    #[test]
    fn numbers_stand_for_severities_and_unknown_fields_are_passed_over() {
        let document = r#"{"@timestamp":"2025-11-25T22:00:00.5+01:00","body":{"text":"x"},"severity_number":18,
            "agent":{"name":"other"},"resource":{"attributes":{"k8s.pod.name":"p","host.name":"h"}}}"#;
        let record = log(document.as_bytes()).unwrap();
        assert_eq!(record.severity, Severity::Error);
        assert_eq!(record.labels.to_string(), r#"{"host.name"="h",pod="p"}"#);
        assert_eq!(record.timestamp.to_string(), "2025-11-25T21:00:00.500Z");
    }
}
