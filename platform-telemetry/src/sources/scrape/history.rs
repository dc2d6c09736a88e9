//! What is remembered of a target between scrapes, and what is made of each scrape.

use crate::{
    exposition::{Limits, Scrape, parse},
    sources::staleness::{STALE, Staleness},
};
use platform_core::{
    Error, Result,
    clock::Timestamp,
    telemetry::{Labels, MetricKind, Sample},
};
use std::{fmt, time::Duration};

/// A body in the text format; one that has nothing but malformed lines in it is none.
pub(super) fn read(body: &[u8], at: Timestamp, limits: &Limits) -> Result<Scrape> {
    let scrape = parse(body, crate::exposition::Format::Prometheus, at, limits);
    if scrape.over_limit {
        return Err(Error::invalid(format!("it has more than {} samples", limits.samples)));
    }
    match scrape.errors.first() {
        Some(error) if scrape.samples.is_empty() => {
            Err(Error::invalid(format!("this is not the text format: {error}")))
        }
        _ => Ok(scrape),
    }
}

/// One target's past.
pub(super) struct History {
    labels: Labels,
    honor_labels: bool,
    staleness: Staleness,
    /// What was told last.
    problem: Option<String>,
}

impl History {
    /// Of a target whose samples get these labels; with `honor_labels` their own win.
    pub(super) fn new(labels: Labels, honor_labels: bool) -> Self {
        Self { labels, honor_labels, staleness: Staleness::default(), problem: None }
    }

    /// The samples of a scrape with the target's labels, ends for those that vanished, and the reports, whatever its outcome.
    pub(super) fn samples(
        &mut self,
        target: &impl fmt::Display,
        outcome: Result<Scrape>,
        at: Timestamp,
        duration: Duration,
        relabel: impl Fn(Sample) -> Sample,
    ) -> Vec<Sample> {
        self.note(target, &outcome);
        let up = outcome.is_ok();
        let (rejected, mut samples) = match outcome {
            Ok(Scrape { samples, rejected_lines, .. }) => {
                let labelled =
                    samples.into_iter().map(|s| relabel(label(s, &self.labels, self.honor_labels)));
                (rejected_lines, labelled.collect())
            }
            Err(_) => (0, Vec::new()),
        };
        let scraped = samples.len() as f64;
        let added = self.staleness.added(&samples) as f64;
        let ended = self.staleness.advance(&samples, at);
        samples.extend(ended);
        samples.extend(self.reports(
            [f64::from(u8::from(up)), duration.as_secs_f64(), scraped, scraped, added, rejected as f64],
            at,
        ));
        samples
    }

    /// Ends everything: the target is no more.
    pub(super) fn end(mut self, at: Timestamp) -> Vec<Sample> {
        let mut samples = self.staleness.advance(&[], at);
        samples.extend(self.reports([STALE; 6], at));
        samples
    }

    fn reports(&self, values: [f64; 6], at: Timestamp) -> impl Iterator<Item = Sample> {
        const NAMES: [&str; 6] = [
            "up",
            "scrape_duration_seconds",
            "scrape_samples_scraped",
            "scrape_samples_post_metric_relabeling",
            "scrape_series_added",
            "platform_scrape_rejected_lines",
        ];
        NAMES.into_iter().zip(values).map(move |(metric, value)| Sample {
            metric: metric.into(),
            labels: self.labels.clone(),
            timestamp: at,
            value,
            kind: MetricKind::Gauge,
        })
    }

    /// Tells what changed: a target that stays down is told once.
    fn note(&mut self, target: &impl fmt::Display, outcome: &Result<Scrape>) {
        let problem = match outcome {
            Err(error) => Some(error.to_string()),
            Ok(scrape) => scrape.errors.first().map(ToString::to_string),
        };
        if problem == self.problem {
            return;
        }
        match (&problem, outcome) {
            (Some(error), Err(_)) => tracing::warn!(%target, error, "a target cannot be scraped"),
            (Some(error), Ok(scrape)) => {
                tracing::warn!(%target, error, lines = scrape.rejected_lines, "a target exposes malformed lines, which are left out");
            }
            (None, _) => tracing::info!(%target, "a target is scraped again without faults"),
        }
        self.problem = problem;
    }
}

/// A scraped sample with the target's labels.
fn label(mut sample: Sample, labels: &Labels, honor_labels: bool) -> Sample {
    if honor_labels {
        sample.labels = labels.with(&sample.labels);
        return sample;
    }
    if labels.iter().any(|(name, _)| sample.labels.get(name).is_some()) {
        let renamed = sample.labels.iter().map(|(name, value)| {
            let mut name = name.to_owned();
            while labels.get(&name).is_some() {
                name.insert_str(0, "exported_");
            }
            (name, value.to_owned())
        });
        sample.labels = renamed.collect();
    }
    sample.labels = sample.labels.with(labels);
    sample
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::is_stale;

    fn sample(labels: &[(&str, &str)]) -> Sample {
        Sample {
            metric: "m".into(),
            labels: labels.iter().copied().collect(),
            timestamp: Timestamp::default(),
            value: 1.0,
            kind: MetricKind::Gauge,
        }
    }

    #[test]
    fn labels_in_conflict_are_exported() {
        let target = Labels::from_iter([("instance", "a:1"), ("job", "web")]);
        let sample = sample(&[("job", "inner"), ("code", "200")]);
        let ours = label(sample.clone(), &target, false).labels;
        assert_eq!(ours.to_string(), r#"{code="200",exported_job="inner",instance="a:1",job="web"}"#);
        assert_eq!(label(sample, &target, true).labels.get("job"), Some("inner"));
    }

    #[test]
    fn a_target_that_is_gone_ends_all_its_series() {
        let at = Timestamp::from_millis;
        let mut history = History::new(Labels::from_iter([("job", "web")]), false);
        let scrape = read(b"a 1\nb 2\n", at(1), &Limits::default());
        let samples = history.samples(&"web", scrape, at(1), Duration::ZERO, |sample| sample);
        let ended = history.end(at(2));
        assert_eq!(samples.len(), ended.len());
        assert!(ended.iter().all(|sample| is_stale(sample.value) && sample.timestamp == at(2)));
    }
}
