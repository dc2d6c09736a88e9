//! Series that are no longer there.

use platform_core::{
    clock::Timestamp,
    telemetry::{Labels, MetricKind, Sample},
};
use std::{collections::HashMap, sync::Arc};

/// The value that ends a series, as Prometheus has it: a NaN with this payload.
///
/// Queries do not look back beyond it. Compare with [`is_stale`]: a NaN is equal to nothing.
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether a value is [`STALE`], and not just any NaN.
pub const fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE.to_bits()
}

/// Remembers which series there were, to end those that vanish.
#[derive(Debug, Default)]
pub(crate) struct Staleness {
    known: HashMap<(Arc<str>, Labels), MetricKind>,
}

impl Staleness {
    /// Takes note of `present`, and answers with an end for each series that was there the last time and is no more.
    ///
    /// Samples with a timestamp other than `at` bring their own time and are left out, as in Prometheus.
    pub(crate) fn advance(&mut self, present: &[Sample], at: Timestamp) -> Vec<Sample> {
        let now: HashMap<_, _> = present
            .iter()
            .filter(|sample| sample.timestamp == at && !is_stale(sample.value))
            .map(|sample| ((Arc::clone(&sample.metric), sample.labels.clone()), sample.kind))
            .collect();
        let before = std::mem::replace(&mut self.known, now);
        before
            .into_iter()
            .filter(|(series, _)| !self.known.contains_key(series))
            .map(|((metric, labels), kind)| Sample { metric, labels, timestamp: at, value: STALE, kind })
            .collect()
    }

    /// How many series of `present` were not there the last time.
    pub(crate) fn added(&self, present: &[Sample]) -> usize {
        present
            .iter()
            .filter(|s| !self.known.contains_key(&(Arc::clone(&s.metric), s.labels.clone())))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(mode: &str, at: i64) -> Sample {
        Sample {
            metric: "cpu".into(),
            labels: Labels::from_iter([("mode", mode)]),
            timestamp: Timestamp::from_millis(at),
            value: 1.0,
            kind: MetricKind::Gauge,
        }
    }

    #[test]
    fn a_series_ends_once() {
        let mut staleness = Staleness::default();
        let (first, second) = (Timestamp::from_millis(1), Timestamp::from_millis(2));
        assert!(staleness.advance(&[sample("idle", 1), sample("user", 1)], first).is_empty());
        assert_eq!(staleness.added(&[sample("idle", 2), sample("nice", 2)]), 1);
        let ended = staleness.advance(&[sample("idle", 2)], second);
        assert_eq!(ended.len(), 1);
        assert!(is_stale(ended[0].value) && !is_stale(f64::NAN));
        assert_eq!(ended[0].labels.get("mode"), Some("user"));
        assert!(staleness.advance(&[sample("idle", 3)], Timestamp::from_millis(3)).is_empty());
    }

    #[test]
    fn a_series_with_its_own_time_is_left_alone() {
        let mut staleness = Staleness::default();
        staleness.advance(&[sample("idle", 7)], Timestamp::from_millis(1));
        assert!(staleness.advance(&[], Timestamp::from_millis(2)).is_empty());
    }
}
