//! What a target speaks, and what its families are.

use platform_core::telemetry::MetricKind;

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Format {
    /// Prometheus' own: versions 0.0.4 and 1.0.0. Timestamps are milliseconds.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0. Timestamps are seconds, there may be exemplars, and the text ends with `# EOF`.
    OpenMetrics,
}

impl Format {
    /// The format that a `Content-Type` names; `None` for other types. No type at all is Prometheus'.
    pub fn of_content_type(value: &str) -> Option<Self> {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        if media_type.is_empty() || media_type.eq_ignore_ascii_case("text/plain") {
            Some(Self::Prometheus)
        } else if media_type.eq_ignore_ascii_case("application/openmetrics-text") {
            Some(Self::OpenMetrics)
        } else {
            None
        }
    }
}

/// What a `# TYPE` line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum FamilyType {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets that only grow.
    Histogram,
    /// Counts in buckets of what is there now. OpenMetrics alone has it.
    GaugeHistogram,
    /// Quantiles.
    Summary,
    /// Text in labels. OpenMetrics alone has it.
    Info,
    /// One of several states, each with a series. OpenMetrics alone has it.
    StateSet,
    /// `untyped` or `unknown`.
    #[default]
    Unknown,
}

impl FamilyType {
    /// Reads the word of a `# TYPE` line.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "gaugehistogram" => Self::GaugeHistogram,
            "summary" => Self::Summary,
            "info" => Self::Info,
            "stateset" => Self::StateSet,
            "untyped" | "unknown" => Self::Unknown,
            _ => return None,
        })
    }

    /// What values of such a family mean. Parts of a gauge histogram bear the kind of a histogram.
    pub const fn kind(self) -> MetricKind {
        match self {
            Self::Counter => MetricKind::Counter,
            Self::Gauge | Self::Info | Self::StateSet => MetricKind::Gauge,
            Self::Histogram | Self::GaugeHistogram => MetricKind::Histogram,
            Self::Summary => MetricKind::Summary,
            Self::Unknown => MetricKind::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_name_formats() {
        for (value, format) in [
            ("text/plain; version=0.0.4; charset=utf-8", Some(Format::Prometheus)),
            ("Text/Plain", Some(Format::Prometheus)),
            ("", Some(Format::Prometheus)),
            ("application/openmetrics-text; version=1.0.0; charset=utf-8", Some(Format::OpenMetrics)),
            ("application/json", None),
            ("text/html", None),
        ] {
            assert_eq!(Format::of_content_type(value), format, "{value}");
        }
    }
}
