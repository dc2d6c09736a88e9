//! HTTP targets that expose Prometheus' text format.

mod bearer;
mod cluster;
mod fetch;
mod history;
mod pod;
mod selector;
mod target;

pub use cluster::{ClusterScrapeSource, ClusterScrapeSourceBuilder};
pub use fetch::ACCEPT;
pub use selector::{PodSelector, ScrapeEndpoint, ServiceSelector};

use crate::{exposition::Limits, http};
use async_trait::async_trait;
use bearer::Bearer;
use history::{History, Reading};
use platform_core::{
    Error, Result,
    clock::{Clock, SystemClock},
    telemetry::{Batch, Emitter, Labels, Sample, TelemetrySource},
};
use reqwest::{Client, redirect::Policy};
use secrecy::SecretString;
use std::{fmt, path::PathBuf, sync::Arc, time::Duration};
use target::Target;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};
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
/// - Targets are asked for OpenMetrics or Prometheus' text format, compressed or not; the `Content-Type` of the answer says which it is. Of the
///   answer only what is not the same as the last time is parsed.
/// - A target that does not answer in time, answers anything but 2xx, another content type, an HTML page, a body that is cut off or
///   greater than a limit, or nothing but malformed lines, is `up 0`; nothing of that scrape is kept. One malformed line among others is
///   counted, told with its number, and left out; the rest is kept, unless [`strict`](ScrapeSourceBuilder::strict) is set.
/// - A series that was there the last time and is no more is ended with [`STALE`](super::STALE).
///
/// - Each target has a task of its own. So many of them as [`concurrency`](ScrapeSourceBuilder::concurrency) says are asked at once; the
///   others wait for their turn.
///
/// TLS trusts Mozilla's roots, or the authority that is given.
#[derive(Debug)]
pub struct ScrapeSource {
    name: String,
    targets: Vec<Arc<Target>>,
    scraper: Arc<Scraper>,
}

/// What all targets share.
#[derive(Debug)]
struct Scraper {
    interval: Duration,
    timeout: Duration,
    body_limit: usize,
    limits: Limits,
    strict: bool,
    honor_labels: bool,
    bearer: Option<Bearer>,
    turns: Semaphore,
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
            strict: false,
            honor_labels: false,
            bearer: None,
            authority: None,
            concurrency: 256,
            clock: Arc::new(SystemClock),
        }
    }
}

impl Scraper {
    /// Scrapes one target until `shutdown`.
    async fn follow(&self, target: &Target, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        let start = Instant::now() + target.delay(self.interval, self.clock.now());
        let mut ticks = tokio::time::interval_at(start, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut history = History::new(Reading {
            limits: self.limits,
            strict: self.strict,
            labels: target.labels().clone(),
            honor_labels: self.honor_labels,
        });
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
        let turn = self.turns.acquire().await;
        let at = self.clock.now();
        let started = std::time::Instant::now();
        let answer =
            fetch::fetch(&self.client, target.url(), self.bearer.as_ref(), self.timeout, self.body_limit)
                .await;
        drop(turn);
        history.samples(target, answer, at, started, |_| None)
    }
}

#[async_trait]
impl TelemetrySource for ScrapeSource {
    fn name(&self) -> &str {
        &self.name
    }

    async fn run(&self, out: &Emitter, shutdown: &CancellationToken) -> Result<()> {
        // Ends the others with the first that fails, and all when it is dropped.
        let mut targets = JoinSet::new();
        for target in &self.targets {
            let (scraper, target) = (Arc::clone(&self.scraper), Arc::clone(target));
            let (out, shutdown) = (out.clone(), shutdown.clone());
            targets.spawn(async move { scraper.follow(&target, &out, &shutdown).await });
        }
        while let Some(ended) = targets.join_next().await {
            ended.map_err(|e| Error::internal("the task of a target has panicked").source(e))??;
        }
        Ok(())
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
    strict: bool,
    honor_labels: bool,
    bearer: Option<Bearer>,
    authority: Option<Vec<u8>>,
    concurrency: usize,
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

    /// How many labels a sample may have (default: 256), and how many bytes their names and values (default: no limit). A line beyond them is
    /// malformed.
    pub fn label_limits(mut self, labels: usize, name_bytes: usize, value_bytes: usize) -> Self {
        self.limits = self.limits.labels(labels, name_bytes, value_bytes);
        self
    }

    /// One malformed line fails its scrape, as in Prometheus. Default: it is left out.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Sends a bearer token to all targets, in clear text to those that are not asked by HTTPS.
    pub fn bearer_token(mut self, token: SecretString) -> Self {
        self.bearer = Some(Bearer::Token(token));
        self
    }

    /// Sends the bearer token that is in a file at the moment of each scrape; white space around it is none of it. While it cannot be read,
    /// all targets are `up 0`.
    pub fn bearer_token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.bearer = Some(Bearer::File(path.into()));
        self
    }

    /// Trusts certificates by these authorities, in PEM, and by no others.
    pub fn certificate_authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authority = Some(pem.into());
        self
    }

    /// How many targets are asked at once. Default: 256; at least one.
    pub fn concurrency(mut self, targets: usize) -> Self {
        self.concurrency = targets.clamp(1, Semaphore::MAX_PERMITS);
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

    /// The source, called `scrape:JOB`. Fails with [`Invalid`](platform_core::ErrorKind::Invalid) for an address that is no URL of HTTP, and
    /// for an authority that is no certificate in PEM.
    pub fn build(self) -> Result<ScrapeSource> {
        let job = Labels::from_iter([("job", self.job.as_str())]);
        let failed = |e: Error| e.operation("build scrape source");
        let targets = self.targets.iter().map(|(address, labels)| {
            Target::new(address, &job.with(&self.labels).with(labels)).map(Arc::new).map_err(failed)
        });
        let longest = self.interval.min(Duration::from_secs(10));
        let timeout = self.timeout.map_or(longest, |timeout| timeout.min(self.interval));
        let redirects = Policy::limited(REDIRECTS);
        let client = match &self.authority {
            Some(pem) => http::client_trusting(pem, timeout, redirects).map_err(failed)?,
            None => http::client(timeout, redirects)?,
        };
        Ok(ScrapeSource {
            name: format!("scrape:{}", self.job),
            targets: targets.collect::<Result<_>>()?,
            scraper: Arc::new(Scraper {
                interval: self.interval,
                timeout,
                body_limit: self.body_limit,
                limits: self.limits,
                strict: self.strict,
                honor_labels: self.honor_labels,
                bearer: self.bearer,
                turns: Semaphore::new(self.concurrency),
                client,
                clock: self.clock,
            }),
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
        let builder = ScrapeSource::builder("web")
            .target("http://ops:secret@localhost:9100/m", Labels::empty())
            .bearer_token("secret".to_owned().into());
        assert!(!format!("{builder:?}").contains("secret"));
        assert!(!format!("{:?}", builder.build().unwrap()).contains("secret"));
    }
}
