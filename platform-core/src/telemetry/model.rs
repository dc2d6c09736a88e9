//! Samples and log records.

use super::expression::{LabelName, Quoted};
use crate::clock::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Label names with values, sorted by name, each name once. Cheap to clone.
///
/// A label with an empty value is the same as no label, as in Prometheus, and is not kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

impl Labels {
    /// No labels.
    pub fn empty() -> Self {
        Self(Arc::new([]))
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        self.0.get(at).map(|(_, value)| &**value)
    }

    /// All pairs, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These labels with those of `other`, which win.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        let mut merged: BTreeMap<Arc<str>, Arc<str>> = self.0.iter().cloned().collect();
        merged.extend(other.0.iter().cloned());
        Self(merged.into_iter().collect())
    }

    /// These labels with one more, which wins; an empty value takes the label away.
    #[must_use]
    pub fn with_label(&self, name: &str, value: &str) -> Self {
        if value.is_empty() {
            return Self(self.0.iter().filter(|(n, _)| &**n != name).cloned().collect());
        }
        self.with(&Self::from_iter([(name, value)]))
    }

    /// Only the labels named.
    #[must_use]
    pub fn only<S: AsRef<str>>(&self, names: &[S]) -> Self {
        Self(self.0.iter().filter(|(n, _)| names.iter().any(|k| k.as_ref() == &**n)).cloned().collect())
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl<N: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut map: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        for (name, value) in pairs {
            let value = value.into();
            if value.is_empty() {
                map.remove(&name.into());
            } else {
                map.insert(name.into(), value);
            }
        }
        Self(map.into_iter().collect())
    }
}

/// As in the Prometheus text format: `{cpu="0",mode="idle"}`. In values `\`, `"` and line ends are escaped, and names that are not made of
/// letters, digits and `_` are quoted; empty labels print `{}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{}={}", LabelName(name), Quoted(value))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::<String, String>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// What a metric's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MetricKind {
    /// Only grows, except when its process restarts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A part of a histogram: `_bucket`, `_sum`, `_count`.
    Histogram,
    /// A part of a summary: a quantile, `_sum`, `_count`.
    Summary,
    /// Not known.
    #[default]
    Unknown,
}

/// A value of a metric at a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The metric: `node_cpu_seconds_total`.
    pub metric: Arc<str>,
    /// The labels, without `__name__`.
    pub labels: Labels,
    /// When.
    pub timestamp: Timestamp,
    /// The value, in the base unit that the metric's name says. May be NaN or infinite.
    pub value: f64,
    /// What values of this metric mean.
    #[serde(default)]
    pub kind: MetricKind,
}

/// How grave a log record is, in the order of gravity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Finest detail.
    Trace,
    /// Detail.
    Debug,
    /// The normal course.
    #[default]
    Info,
    /// Unexpected, handled.
    Warn,
    /// Something failed.
    Error,
    /// The program cannot go on.
    Fatal,
}

impl Severity {
    /// All, from the least grave.
    pub const ALL: [Self; 6] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// `trace`, `debug`, `info`, `warn`, `error`, `fatal`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// The words that programs write for severities, in lower case.
    pub const WORDS: [(&'static str, Self); 17] = [
        ("trace", Self::Trace),
        ("debug", Self::Debug),
        ("dbug", Self::Debug),
        ("info", Self::Info),
        ("information", Self::Info),
        ("notice", Self::Info),
        ("warn", Self::Warn),
        ("warning", Self::Warn),
        ("error", Self::Error),
        ("err", Self::Error),
        ("fatal", Self::Fatal),
        ("critical", Self::Fatal),
        ("crit", Self::Fatal),
        ("emerg", Self::Fatal),
        ("emergency", Self::Fatal),
        ("alert", Self::Fatal),
        ("panic", Self::Fatal),
    ];

    /// Reads one of [`WORDS`](Self::WORDS) in any case; `None` if it is no severity.
    pub fn parse(text: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(word, _)| text.eq_ignore_ascii_case(word)).map(|(_, severity)| *severity)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One line of a log, or one event of a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// When it happened, or when it was read if the record does not say.
    pub timestamp: Timestamp,
    /// How grave it is.
    pub severity: Severity,
    /// What it says.
    pub body: String,
    /// Where it comes from (`environment`, `cluster`, `source`, `file`) and its structured fields.
    pub labels: Labels,
}

/// What flows: samples and log records together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Batch {
    /// Samples.
    pub samples: Vec<Sample>,
    /// Log records.
    pub logs: Vec<LogRecord>,
}

impl Batch {
    /// A batch of samples.
    pub fn samples(samples: Vec<Sample>) -> Self {
        Self { samples, logs: Vec::new() }
    }

    /// A batch of log records.
    pub fn logs(logs: Vec<LogRecord>) -> Self {
        Self { samples: Vec::new(), logs }
    }

    /// Samples and records together.
    pub fn len(&self) -> usize {
        self.samples.len() + self.logs.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.logs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_merge_with_the_later_winning() {
        let labels = Labels::from_iter([("mode", "idle"), ("cpu", "0"), ("gone", "")]);
        assert_eq!(labels.to_string(), r#"{cpu="0",mode="idle"}"#);
        assert_eq!(labels.get("mode"), Some("idle"));
        assert_eq!(labels.get("gone"), None);
        assert_eq!(labels.with_label("cpu", "1").to_string(), r#"{cpu="1",mode="idle"}"#);
        assert_eq!(labels.only(&["cpu"]).to_string(), r#"{cpu="0"}"#);
        assert_eq!(labels.with_label("cpu", "").to_string(), r#"{mode="idle"}"#);
        let odd = Labels::from_iter([("k8s.pod", "a\"b\\c\nd\te'é\u{1b}")]);
        assert_eq!(odd.to_string(), "{\"k8s.pod\"=\"a\\\"b\\\\c\\nd\te'é\u{1b}\"}");
        let json = serde_json::to_string(&labels).unwrap();
        assert_eq!(serde_json::from_str::<Labels>(&json).unwrap(), labels);
    }

    #[test]
    fn severities_are_read_as_programs_write_them() {
        assert_eq!(Severity::parse("WARNING"), Some(Severity::Warn));
        assert_eq!(Severity::parse("loud"), None);
        assert!(Severity::Error > Severity::Warn);
    }
}
