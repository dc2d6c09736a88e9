//! Scrapes as the types of the crate [`prometheus_parse`], for programs that are written for it.
//!
//! What that crate's own parser loses (`:` in names, escapes, braces and commas in values, OpenMetrics) is there; what its types cannot hold
//! is told.

use super::{FamilyType, Scrape};
use platform_core::telemetry::{Labels, Sample};
use prometheus_parse::{HistogramCount, SummaryCount, Value};
use std::{collections::HashMap, io, sync::Arc};

/// A scrape in those types.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Converted {
    /// Samples that are parts of histograms and summaries stand behind the others, one for each with its buckets or quantiles; their `_sum` and
    /// `_count` are untyped, as that crate has them.
    pub scrape: prometheus_parse::Scrape,
    /// Samples that its types cannot hold: they come only from its own parser, which takes no `,`, `=` or `}` in labels, no `"` at the
    /// beginning or end of their values, and no moments beyond its calendar.
    pub inexpressible: Vec<Sample>,
}

/// Gives a scrape in the types of `prometheus_parse`. Fails if that crate does.
pub fn convert(scrape: &Scrape) -> io::Result<Converted> {
    let mut docs = HashMap::new();
    for (family, metadata) in scrape.metadata.iter().filter(|(_, metadata)| !metadata.help.is_empty()) {
        docs.insert(family.to_string(), metadata.help.to_string());
    }
    let (parts, inexpressible): (Vec<_>, Vec<_>) =
        scrape.samples.iter().map(|sample| Part::of(scrape, sample)).partition(Part::is_expressible);
    // Its labels and times are made by its parser alone.
    let lines = parts.iter().map(|part| Ok(part.line()));
    let made = prometheus_parse::Scrape::parse(lines)?.samples;
    let mut samples = Vec::new();
    let mut groups: Vec<prometheus_parse::Sample> = Vec::new();
    let mut places: HashMap<(Arc<str>, Labels), usize> = HashMap::new();
    let mut inexpressible: Vec<Sample> = inexpressible.into_iter().map(|part| part.sample.clone()).collect();
    if made.len() != parts.len() {
        return Err(io::Error::other("prometheus_parse does not take what is written for it"));
    }
    for (part, made) in parts.into_iter().zip(made) {
        if made.timestamp.timestamp_millis() != part.sample.timestamp.as_millis() {
            inexpressible.push(part.sample.clone());
            continue;
        }
        let count = part.sample.value;
        let sample =
            |metric: &str, value| prometheus_parse::Sample { metric: metric.to_owned(), value, ..made };
        match part.role {
            Role::Whole(FamilyType::Counter) => {
                samples.push(sample(&part.sample.metric, Value::Counter(count)));
            }
            Role::Whole(FamilyType::Gauge | FamilyType::Info | FamilyType::StateSet) => {
                samples.push(sample(&part.sample.metric, Value::Gauge(count)));
            }
            Role::Whole(_) => samples.push(sample(&part.sample.metric, Value::Untyped(count))),
            Role::Bucket(family, less_than) => {
                let place =
                    places.entry((Arc::clone(&part.sample.metric), part.labels)).or_insert_with(|| {
                        groups.push(sample(&family, Value::Histogram(Vec::new())));
                        groups.len() - 1
                    });
                if let Some(Value::Histogram(buckets)) = groups.get_mut(*place).map(|group| &mut group.value)
                {
                    buckets.push(HistogramCount { less_than, count });
                }
            }
            Role::Quantile(quantile) => {
                let place =
                    places.entry((Arc::clone(&part.sample.metric), part.labels)).or_insert_with(|| {
                        groups.push(sample(&part.sample.metric, Value::Summary(Vec::new())));
                        groups.len() - 1
                    });
                if let Some(Value::Summary(quantiles)) = groups.get_mut(*place).map(|group| &mut group.value)
                {
                    quantiles.push(SummaryCount { quantile, count });
                }
            }
        }
    }
    samples.append(&mut groups);
    Ok(Converted { scrape: prometheus_parse::Scrape { docs, samples }, inexpressible })
}

/// A sample and what becomes of it.
struct Part<'a> {
    sample: &'a Sample,
    /// Less the one that tells the bucket or quantile.
    labels: Labels,
    role: Role,
}

enum Role {
    Whole(FamilyType),
    /// Of the histogram of this name, up to this value.
    Bucket(String, f64),
    Quantile(f64),
}

impl<'a> Part<'a> {
    fn of(scrape: &Scrape, sample: &'a Sample) -> Self {
        let family = |name: &str| scrape.metadata.get(name).map(|metadata| metadata.family);
        let bound = |label| sample.labels.get(label).and_then(|bound| bound.parse().ok());
        let histogram = sample
            .metric
            .strip_suffix("_bucket")
            .filter(|name| matches!(family(name), Some(FamilyType::Histogram | FamilyType::GaugeHistogram)));
        let counter = sample.metric.strip_suffix("_total").and_then(family);
        if let (Some(name), Some(bound)) = (histogram, bound("le")) {
            let labels = sample.labels.with_label("le", "");
            return Self { sample, labels, role: Role::Bucket(name.to_owned(), bound) };
        }
        let role = match (family(&sample.metric), bound("quantile")) {
            (Some(FamilyType::Summary), Some(quantile)) => {
                let labels = sample.labels.with_label("quantile", "");
                return Self { sample, labels, role: Role::Quantile(quantile) };
            }
            (Some(family), _) => Role::Whole(family),
            (None, _) if counter == Some(FamilyType::Counter) => Role::Whole(FamilyType::Counter),
            (None, _) => Role::Whole(FamilyType::Unknown),
        };
        Self { sample, labels: sample.labels.clone(), role }
    }

    fn is_expressible(&self) -> bool {
        self.labels.iter().all(|(name, value)| {
            !name.contains([',', '=', '}'])
                && !value.contains([',', '=', '}'])
                && value.trim_matches('"') == value
        })
    }

    /// A line of which `prometheus_parse` makes the same labels and the same time.
    fn line(&self) -> String {
        let pairs: Vec<_> = self.labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels = if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) };
        format!("part{labels} 0 {}", self.sample.timestamp.as_millis())
    }
}

#[cfg(test)]
mod tests;
