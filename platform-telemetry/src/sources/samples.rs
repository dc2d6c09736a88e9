//! Samples of one moment, put together.

use platform_core::{
    clock::Timestamp,
    telemetry::{Labels, MetricKind, Sample},
};
use std::{collections::HashMap, sync::Arc};

/// Collects samples that share a timestamp; names are stored once.
#[derive(Debug)]
pub(crate) struct SampleSet {
    timestamp: Timestamp,
    names: HashMap<String, Arc<str>>,
    samples: Vec<Sample>,
}

impl SampleSet {
    pub(crate) fn new(timestamp: Timestamp) -> Self {
        Self { timestamp, names: HashMap::new(), samples: Vec::new() }
    }

    pub(crate) fn counter(&mut self, metric: &str, labels: &[(&str, &str)], value: f64) {
        self.push(metric, MetricKind::Counter, labels.iter().copied().collect(), value);
    }

    pub(crate) fn gauge(&mut self, metric: &str, labels: &[(&str, &str)], value: f64) {
        self.push(metric, MetricKind::Gauge, labels.iter().copied().collect(), value);
    }

    pub(crate) fn push(&mut self, metric: &str, kind: MetricKind, labels: Labels, value: f64) {
        let metric = if let Some(name) = self.names.get(metric) {
            Arc::clone(name)
        } else {
            let name: Arc<str> = metric.into();
            self.names.insert(metric.to_owned(), Arc::clone(&name));
            name
        };
        self.samples.push(Sample { metric, labels, timestamp: self.timestamp, value, kind });
    }

    pub(crate) fn into_samples(self) -> Vec<Sample> {
        self.samples
    }
}

/// Every sample once for each set of labels; a sample's own labels win.
pub(crate) fn fan_out(samples: &[Sample], each: &[Labels]) -> Vec<Sample> {
    each.iter()
        .flat_map(|labels| {
            samples.iter().map(|sample| Sample { labels: labels.with(&sample.labels), ..sample.clone() })
        })
        .collect()
}
