//! Samples as text, for others to scrape.

use platform_core::telemetry::{MetricKind, Sample};
use std::{collections::BTreeMap, fmt::Write};

/// Writes samples in the text format 0.0.4, those of a metric together and without their times: they are of now.
///
/// Parts of histograms and summaries are written without a type, since the name of their family is not known.
pub fn write(samples: &[Sample]) -> String {
    let mut families: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        families.entry(&sample.metric).or_default().push(sample);
    }
    let mut text = String::new();
    for (metric, samples) in families {
        let plain = is_plain(metric);
        let quoted =
            format!("\"{}\"", metric.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
        let kind = match samples.first().map(|sample| sample.kind) {
            Some(MetricKind::Counter) => Some("counter"),
            Some(MetricKind::Gauge) => Some("gauge"),
            _ => None,
        };
        // Writing to a string does not fail.
        if let Some(kind) = kind {
            let _ = writeln!(text, "# TYPE {} {kind}", if plain { metric } else { &quoted });
        }
        for sample in samples {
            let labels = sample.labels.to_string();
            let _ = match (plain, sample.labels.is_empty()) {
                (true, true) => write!(text, "{metric}"),
                (true, false) => write!(text, "{metric}{labels}"),
                (false, true) => write!(text, "{{{quoted}}}"),
                (false, false) => write!(text, "{{{quoted},{}", &labels[1..]),
            };
            let _ = writeln!(text, " {}", Value(sample.value));
        }
    }
    text
}

fn is_plain(metric: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    metric.starts_with(is_letter) && metric.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

/// A value as the format spells it.
struct Value(f64);

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // Values are read, not computed.
mod tests {
    use super::*;
    use crate::exposition::{Format, Limits, parse};
    use platform_core::{clock::Timestamp, telemetry::Labels};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            samples in proptest::collection::vec(
                ("[a-z:_.\"\\\\ ]{1,12}", proptest::collection::btree_map("[a-z_.]{1,6}", "[^\r\u{0}]{1,8}", 0..4), any::<f64>()),
                0..8,
            ),
        ) {
            let at = Timestamp::from_millis(7);
            let mut samples: Vec<Sample> = samples
                .into_iter()
                .filter(|(_, labels, _)| !labels.contains_key("__name__"))
                .map(|(metric, labels, value)| Sample {
                    metric: metric.into(),
                    labels: labels.into_iter().collect::<Labels>(),
                    timestamp: at,
                    value,
                    kind: MetricKind::Gauge,
                })
                .collect();
            let text = write(&samples);
            let scrape = parse(text.as_bytes(), Format::Prometheus, at, &Limits::default());
            prop_assert_eq!(&scrape.errors, &[], "{}", text);
            samples.sort_by(|a, b| a.metric.cmp(&b.metric));
            prop_assert_eq!(scrape.samples.len(), samples.len());
            for (read, written) in scrape.samples.iter().zip(&samples) {
                prop_assert_eq!((&read.metric, &read.labels, read.kind), (&written.metric, &written.labels, written.kind));
                prop_assert!(read.value == written.value || read.value.is_nan() && written.value.is_nan());
            }
        }
    }
}
