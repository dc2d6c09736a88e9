//! What is remembered of a target between scrapes, and what is made of each scrape.

use crate::{
    exposition::{Format, Limits, LineError, Rescrape},
    sources::staleness::{STALE, Staleness},
};
use bytes::Bytes;
use platform_core::{
    Error, ErrorKind, Result,
    clock::Timestamp,
    telemetry::{Labels, MetricKind, Sample},
};
use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

/// How the answers of a target are read, and what its samples bear.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) limits: Limits,
    /// One malformed line fails the scrape.
    pub(super) strict: bool,
    pub(super) labels: Labels,
    /// Labels of its samples win over these.
    pub(super) honor_labels: bool,
}

/// One target's past.
pub(super) struct History {
    reading: Reading,
    scrapes: Rescrape<Stored>,
    staleness: Staleness,
    /// The last scrape was none: every series has ended.
    ended: bool,
    /// The labels of its reports, with those of which somebody decides anew each time.
    reported: Labels,
    has_reported: bool,
    /// What was told last.
    problem: Option<String>,
}

/// The labels of a series, made once.
struct Stored {
    /// With those of the target.
    labels: Labels,
    /// Others of which somebody decides anew each time.
    more: Option<Labels>,
    all: Labels,
}

impl History {
    pub(super) fn new(reading: Reading) -> Self {
        Self {
            scrapes: Rescrape::new(Format::default(), &reading.limits),
            reported: reading.labels.clone(),
            reading,
            staleness: Staleness::default(),
            ended: true,
            has_reported: false,
            problem: None,
        }
    }

    /// The samples of an answer with the target's labels, ends for those that vanished, and the reports, whatever the outcome. `more` adds
    /// labels to those of a sample and of a report.
    pub(super) fn samples(
        &mut self,
        target: &impl fmt::Display,
        answer: Result<(Format, Bytes)>,
        at: Timestamp,
        started: Instant,
        more: impl Fn(&Labels) -> Option<Labels>,
    ) -> Vec<Sample> {
        let outcome = answer.and_then(|(format, body)| self.read(format, body));
        let first_error = self.scrapes.errors().into_iter().next().filter(|_| outcome.is_ok());
        self.note(target, &outcome, first_error.as_ref());
        let renamed = self.rename(more(&self.reading.labels), at);
        self.has_reported = true;
        let Ok(mut changed) = outcome else {
            self.ended = true;
            let mut samples = self.staleness.advance(&[], at);
            samples.extend(renamed);
            samples.extend(self.reports([0.0, started.elapsed().as_secs_f64(), 0.0, 0.0, 0.0, 0.0], at));
            return samples;
        };
        let mut samples = Vec::with_capacity(self.scrapes.samples().len() + 8);
        let mut own_time = 0;
        for (stored, metric, kind, value, timestamp) in self.scrapes.samples_mut() {
            let more = more(&stored.labels);
            if more != stored.more {
                changed = true;
                stored.all =
                    more.as_ref().map_or_else(|| stored.labels.clone(), |more| stored.labels.with(more));
                stored.more = more;
            }
            own_time += usize::from(timestamp.is_some());
            let timestamp = timestamp.map_or(at, Timestamp::from_millis);
            samples.push(Sample {
                metric: metric.clone(),
                labels: stored.all.clone(),
                timestamp,
                value,
                kind,
            });
        }
        let scraped = samples.len() as f64;
        // With the same series as before none is new but those that bring their own time, of which nobody keeps count.
        let mut added = own_time;
        if changed || self.ended {
            added = self.staleness.added(&samples);
            let ended = self.staleness.advance(&samples, at);
            samples.extend(ended);
            self.ended = false;
        }
        let rejected = self.scrapes.rejected_lines() as f64;
        let duration = started.elapsed().as_secs_f64();
        samples.extend(renamed);
        samples.extend(self.reports([1.0, duration, scraped, scraped, added as f64, rejected], at));
        samples
    }

    /// Reads an answer, and tells whether its series are others than those of the last. One that has nothing but malformed lines in it is none.
    fn read(&mut self, format: Format, body: Bytes) -> Result<bool> {
        let limits = &self.reading.limits;
        let mut changed = false;
        if self.scrapes.format() != format {
            self.scrapes = Rescrape::new(format, limits);
            changed = true;
        }
        let (labels, honor_labels) = (&self.reading.labels, self.reading.honor_labels);
        let reread = self.scrapes.read(body, |raw| {
            let labels = label(&raw.labels().collect(), labels, honor_labels);
            Stored { all: labels.clone(), labels, more: None }
        });
        if self.scrapes.over_limit() {
            return Err(Error::invalid(format!("it has more than {} samples", limits.samples)));
        }
        match self.scrapes.errors().first() {
            Some(error) if self.reading.strict => {
                Err(Error::invalid(format!("a line is malformed: {error}")))
            }
            Some(error) if self.scrapes.samples().len() == 0 => {
                Err(Error::invalid(format!("this is not the text format: {error}")))
            }
            _ if !self.scrapes.is_complete() => {
                Err(Error::new(ErrorKind::Unavailable, "its answer does not end with # EOF: it is cut off"))
            }
            _ => Ok(changed || reread.series_changed),
        }
    }

    /// Ends everything: the target is no more.
    pub(super) fn end(mut self, at: Timestamp) -> Vec<Sample> {
        let mut samples = self.staleness.advance(&[], at);
        samples.extend(self.reports([STALE; 6], at));
        samples
    }

    /// Takes note of what the reports bear from now on. Those that bore something else end.
    fn rename(&mut self, more: Option<Labels>, at: Timestamp) -> Vec<Sample> {
        let labels = more.map_or_else(|| self.reading.labels.clone(), |more| self.reading.labels.with(&more));
        if labels == self.reported {
            return Vec::new();
        }
        let ended = if self.has_reported { self.reports([STALE; 6], at).collect() } else { Vec::new() };
        self.reported = labels;
        ended
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
            labels: self.reported.clone(),
            timestamp: at,
            value,
            kind: MetricKind::Gauge,
        })
    }

    /// Tells what changed: a target that stays down is told once.
    fn note(&mut self, target: &impl fmt::Display, outcome: &Result<bool>, malformed: Option<&LineError>) {
        let problem = outcome.as_ref().err().map(ToString::to_string);
        let problem = problem.or_else(|| malformed.map(ToString::to_string));
        if problem == self.problem {
            return;
        }
        match (&problem, outcome) {
            (Some(error), Err(_)) => tracing::warn!(%target, error, "a target cannot be scraped"),
            (Some(error), Ok(_)) => {
                let lines = self.scrapes.rejected_lines();
                tracing::warn!(%target, error, lines, "a target exposes malformed lines, which are left out");
            }
            (None, _) => tracing::info!(%target, "a target is scraped again without faults"),
        }
        self.problem = problem;
    }
}

/// The labels of a scraped sample with the target's.
fn label(own: &Labels, labels: &Labels, honor_labels: bool) -> Labels {
    if honor_labels {
        return labels.with(own);
    }
    if labels.iter().all(|(name, _)| own.get(name).is_none()) {
        return own.with(labels);
    }
    let renamed = own.iter().map(|(name, value)| {
        let mut name = name.to_owned();
        while labels.get(&name).is_some() {
            name.insert_str(0, "exported_");
        }
        (name, value.to_owned())
    });
    renamed.collect::<Labels>().with(labels)
}

/// How long from `now` until the moment of a target in the interval: the same at each start, and another for each target.
pub(super) fn delay(target: &impl Hash, interval: Duration, now: Timestamp) -> Duration {
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let now = u64::try_from(now.as_millis()).unwrap_or_default();
    let (moment, now) = (hasher.finish() % interval, now % interval);
    Duration::from_millis(if moment >= now { moment - now } else { interval - (now - moment) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::is_stale;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn history(strict: bool) -> History {
        let labels = Labels::from_iter([("job", "web")]);
        History::new(Reading { limits: Limits::default(), strict, labels, honor_labels: false })
    }

    fn scrape(history: &mut History, text: &'static str, millis: i64) -> Vec<String> {
        let answer = Ok((Format::Prometheus, text.into()));
        let samples = history.samples(&"web", answer, at(millis), Instant::now(), |_| None);
        told(&samples)
    }

    /// What is no report, and of those whether it is up and how many series are new.
    fn told(samples: &[Sample]) -> Vec<String> {
        let told = samples.iter().filter(|s| s.metric.len() < 5 || s.metric.ends_with("_added"));
        told.map(|s| {
            format!(
                "{} {}",
                s.metric,
                if is_stale(s.value) { "ends".to_owned() } else { s.value.to_string() }
            )
        })
        .collect()
    }

    #[test]
    fn labels_in_conflict_are_exported() {
        let target = Labels::from_iter([("instance", "a:1"), ("job", "web")]);
        let own = Labels::from_iter([("job", "inner"), ("code", "200")]);
        let ours = label(&own, &target, false);
        assert_eq!(ours.to_string(), r#"{code="200",exported_job="inner",instance="a:1",job="web"}"#);
        assert_eq!(label(&own, &target, true).get("job"), Some("inner"));
    }

    #[test]
    fn a_target_that_is_gone_ends_all_its_series() {
        let mut history = history(false);
        let answer = Ok((Format::Prometheus, "a 1\nb 2\n".into()));
        let samples = history.samples(&"web", answer, at(1), Instant::now(), |_| None);
        let ended = history.end(at(2));
        assert_eq!(samples.len(), ended.len());
        assert!(ended.iter().all(|sample| is_stale(sample.value) && sample.timestamp == at(2)));
    }

    #[test]
    fn series_end_whatever_was_the_same() {
        let mut history = history(false);
        assert_eq!(
            scrape(&mut history, "a 1\nb 2\nc 3 7\n", 1),
            ["a 1", "b 2", "c 3", "up 1", "scrape_series_added 3"]
        );
        assert_eq!(
            scrape(&mut history, "a 5\nb 2\nc 3 8\n", 2),
            ["a 5", "b 2", "c 3", "up 1", "scrape_series_added 1"]
        );
        assert_eq!(
            scrape(&mut history, "a 5\nc 3 8\n", 3),
            ["a 5", "c 3", "b ends", "up 1", "scrape_series_added 1"]
        );
        assert_eq!(scrape(&mut history, "nothing\n", 4), ["a ends", "up 0", "scrape_series_added 0"]);
        assert_eq!(scrape(&mut history, "nothing\n", 5), ["up 0", "scrape_series_added 0"]);
        assert_eq!(scrape(&mut history, "a 5\nc 3 8\n", 6), ["a 5", "c 3", "up 1", "scrape_series_added 2"]);
        assert_eq!(
            scrape(&mut history, "a 5 9\nc 3\n", 7),
            ["a 5", "c 3", "a ends", "up 1", "scrape_series_added 1"]
        );
    }

    #[test]
    fn labels_that_others_decide_are_asked_for_each_time() {
        let mut history = history(false);
        let mut all = |environment: Option<&'static str>| {
            let more = |_: &Labels| environment.map(|e| Labels::from_iter([("environment", e)]));
            let answer = Ok((Format::Prometheus, "a 1\n".into()));
            let samples = history.samples(&"web", answer, at(1), Instant::now(), more);
            let of = |s: &Sample| (is_stale(s.value), s.labels.get("environment").map(str::to_owned));
            let all = |name: &str| samples.iter().filter(|s| &*s.metric == name).map(of).collect::<Vec<_>>();
            let mut reports = all("up");
            reports.reverse();
            assert_eq!(reports, all("a"), "reports bear what samples bear");
            reports
        };
        assert_eq!(all(None), [(false, None)]);
        assert_eq!(all(Some("dev")), [(false, Some("dev".to_owned())), (true, None)]);
        assert_eq!(all(Some("dev")), [(false, Some("dev".to_owned()))]);
    }

    #[test]
    fn strictness_and_formats_are_minded() {
        let mut strict = history(true);
        assert_eq!(scrape(&mut strict, "a 1\nb{\n", 1), ["up 0", "scrape_series_added 0"]);
        assert_eq!(scrape(&mut strict, "a 1\n", 2), ["a 1", "up 1", "scrape_series_added 1"]);
        let mut open = |text: &'static str| {
            let answer = Ok((Format::OpenMetrics, text.into()));
            told(&strict.samples(&"web", answer, at(3), Instant::now(), |_| None))
        };
        assert_eq!(open("a 2\n# EOF\n"), ["a 2", "up 1", "scrape_series_added 0"]);
        assert_eq!(open("a 2\n"), ["a ends", "up 0", "scrape_series_added 0"], "it is cut off");
    }
}
