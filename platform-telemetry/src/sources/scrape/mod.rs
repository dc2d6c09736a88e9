//! HTTP targets that expose Prometheus' text format.

mod cluster;
mod fetch;
mod history;
mod pod;
mod target;

pub use cluster::{ClusterScrapeSource, ClusterScrapeSourceBuilder};
pub use fetch::ACCEPT;

use crate::{
    exposition::{Limits, Scrape},
    http,
};
use async_trait::async_trait;
use history::History;
use platform_core::{
    Result,
    clock::{Clock, SystemClock, Timestamp},
    telemetry::{Batch, Emitter, Labels, Sample, TelemetrySource},
};
use reqwest::{Client, redirect::Policy};
use std::{fmt, sync::Arc, time::Duration};
use target::Target;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

const REDIRECTS: usize = 3;

/// Scrapes targets over HTTP and HTTPS, by the rules of Prometheus.
///
/// # Behavior
/// - Every target is scraped in the same interval, each at its own moment within it, chosen by a hash of its address.
/// - Samples bear `job`, `instance` (host and port) and the labels given. A label of the target with one of these names becomes
///   `exported_NAME`, unless [`honor_labels`](ScrapeSourceBuilder::honor_labels) is set. Timestamps of the target are kept.
/// - After each scrape come `up`, `scrape_duration_seconds`, `scrape_samples_scraped`, `scrape_samples_post_metric_relabeling`
///   (the same: nothing is relabelled), `scrape_series_added`, and `platform_scrape_rejected_lines`.
/// - A target that does not answer in time, answers anything but 2xx, another content type, an HTML page, a body that is cut off or
///   greater than a limit, or nothing but malformed lines, is `up 0`; nothing of that scrape is kept. One malformed line among others is
///   counted, told with its number, and left out; the rest is kept.
/// - A series that was there the last time and is no more is ended with [`STALE`](super::STALE).
///
/// TLS trusts Mozilla's roots.
#[derive(Debug)]
pub struct ScrapeSource {
    name: String,
    targets: Vec<Target>,
    interval: Duration,
    timeout: Duration,
    body_limit: usize,
    limits: Limits,
    honor_labels: bool,
    client: Client,
    clock: Arc<dyn Clock>,
}

impl ScrapeSource {
    /// Scrapes under the label `job`.
    pub fn builder(job: impl Into<String>) -> ScrapeSourceBuilder {
        ScrapeSourceBuilder {
            job: job.into(),
            targets: Vec::new(),
            labels: Labels::empty(),
            interval: Duration::from_secs(15),
            timeout: None,
            body_limit: 16 * 1024 * 1024,
            limits: Limits::default().samples(200_000),
            honor_labels: false,
            clock: Arc::new(SystemClock),
        }
    }

    /// Scrapes one target until `shutdown`.
    async fn follow(&self, target: &Target, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        let start = Instant::now() + target.delay(self.interval, self.clock.now());
        let mut ticks = tokio::time::interval_at(start, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut history = History::new(target.labels().clone(), self.honor_labels);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let samples = tokio::select! {
                // It says nothing about the target that we stopped in the middle.
                () = shutdown.cancelled() => return Ok(()),
                samples = self.scrape(target, &mut history) => samples,
            };
            // The next scrape reads anew: whether this one became durable changes nothing here.
            drop(out.emit(Batch::samples(samples)).await?);
        }
    }

    /// One scrape with its reports, whatever its outcome.
    async fn scrape(&self, target: &Target, history: &mut History) -> Vec<Sample> {
        let at = self.clock.now();
        let started = Instant::now();
        let outcome = self.read(target, at).await;
        history.samples(target, outcome, at, started.elapsed(), |sample| sample)
    }

    async fn read(&self, target: &Target, at: Timestamp) -> Result<Scrape> {
        let body = fetch::fetch(&self.client, target.url(), self.timeout, self.body_limit).await?;
        history::read(&body, at, &self.limits)
    }
}

#[async_trait]
impl TelemetrySource for ScrapeSource {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        let targets = self.targets.iter().map(|target| self.follow(target, out, shutdown));
        futures::future::try_join_all(targets).await.map(drop)
    }
}

/// Configures a [`ScrapeSource`].
#[must_use = "nothing is scraped before it is built and run"]
pub struct ScrapeSourceBuilder {
    job: String,
    targets: Vec<(String, Labels)>,
    labels: Labels,
    interval: Duration,
    timeout: Option<Duration>,
    body_limit: usize,
    limits: Limits,
    honor_labels: bool,
    clock: Arc<dyn Clock>,
}

impl ScrapeSourceBuilder {
    /// Adds a target, with labels of its own: a URL, or `host:port`, which means `http://host:port/metrics`.
    pub fn target(mut self, address: impl Into<String>, labels: Labels) -> Self {
        self.targets.push((address.into(), labels));
        self
    }

    /// Labels of every sample of all targets; a target's own win.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// How often. Default: 15 s; at least 10 ms.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(10));
        self
    }

    /// How long a target may take for its whole answer. Default: 10 s, or the interval if that is less; at most the interval.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How many bytes an answer may have, uncompressed. Default: 16 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// How many samples an answer may have. Default: 200,000.
    pub fn sample_limit(mut self, samples: usize) -> Self {
        self.limits = self.limits.samples(samples);
        self
    }

    /// Lets labels of the targets win over `job`, `instance` and those given: for targets that speak for others.
    pub fn honor_labels(mut self, honor: bool) -> Self {
        self.honor_labels = honor;
        self
    }

    /// The clock that stamps the samples. Default: the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The source, called `scrape:JOB`. Fails with [`Invalid`](platform_core::ErrorKind::Invalid) for an address that is no URL of HTTP.
    pub fn build(self) -> Result<ScrapeSource> {
        let job = Labels::from_iter([("job", self.job.as_str())]);
        let targets = self.targets.iter().map(|(address, labels)| {
            Target::new(address, &job.with(&self.labels).with(labels))
                .map_err(|e| e.operation("build scrape source"))
        });
        let longest = self.interval.min(Duration::from_secs(10));
        let timeout = self.timeout.map_or(longest, |timeout| timeout.min(self.interval));
        Ok(ScrapeSource {
            name: format!("scrape:{}", self.job),
            targets: targets.collect::<Result<_>>()?,
            interval: self.interval,
            timeout,
            body_limit: self.body_limit,
            limits: self.limits,
            honor_labels: self.honor_labels,
            client: http::client(timeout, Policy::limited(REDIRECTS))?,
            clock: self.clock,
        })
    }
}

/// Without the addresses, which may hold passwords.
impl fmt::Debug for ScrapeSourceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrapeSourceBuilder")
            .field("job", &self.job)
            .field("targets", &self.targets.len())
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        let builder =
            ScrapeSource::builder("web").target("http://ops:secret@localhost:9100/m", Labels::empty());
        assert!(!format!("{builder:?}").contains("secret"));
        assert!(!format!("{:?}", builder.build().unwrap()).contains("secret"));
    }
}
