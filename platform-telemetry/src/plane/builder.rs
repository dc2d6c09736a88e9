//! What a plane is made of.

use super::EmbeddedTelemetry;
use crate::{
    alerting, dashboards,
    sources::{FileTail, ScrapeSource, TracingSource},
    store::StoreOptions,
};
use platform_core::{
    Error, Result,
    alert::{AlertRule, Notifier},
    clock::{Clock, SystemClock},
    dashboard::Dashboard,
    telemetry::{Labels, TelemetrySource},
};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// The store's directory in a data directory.
pub(super) const STORE: &str = "store";
/// The file in a data directory that says how far files were read.
pub(super) const CHECKPOINT: &str = "tail.json";

/// Where the data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Directory(PathBuf),
    Temporary,
}

/// A plane's configuration, checked.
pub(super) struct Config {
    pub(super) place: Place,
    pub(super) console: SocketAddr,
    pub(super) interval: Duration,
    pub(super) evaluation_interval: Duration,
    /// All sources that do not depend on the topology; those that count what they lose are named again.
    pub(super) sources: Vec<(Arc<dyn TelemetrySource>, Labels)>,
    pub(super) tail: Option<Arc<FileTail>>,
    pub(super) tracing: Option<Arc<TracingSource>>,
    pub(super) rules: Vec<AlertRule>,
    pub(super) notifiers: Vec<Arc<dyn Notifier>>,
    pub(super) dashboards: Vec<Dashboard>,
    pub(super) store: StoreOptions,
    pub(super) clock: Arc<dyn Clock>,
}

/// Configures an [`EmbeddedTelemetry`].
#[must_use = "nothing is made before `build`"]
pub struct EmbeddedTelemetryBuilder {
    place: Option<Place>,
    console: SocketAddr,
    interval: Duration,
    evaluation_interval: Option<Duration>,
    tail: Vec<String>,
    /// By job.
    targets: BTreeMap<String, Vec<(String, Labels)>>,
    tracing: Option<TracingSource>,
    sources: Vec<(Arc<dyn TelemetrySource>, Labels)>,
    rules: Vec<AlertRule>,
    notifiers: Vec<Arc<dyn Notifier>>,
    dashboards: Vec<Dashboard>,
    store: StoreOptions,
    clock: Arc<dyn Clock>,
}

impl Default for EmbeddedTelemetryBuilder {
    fn default() -> Self {
        let week = Duration::from_secs(7 * 86_400);
        Self {
            place: None,
            console: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            interval: Duration::from_secs(15),
            evaluation_interval: None,
            tail: Vec::new(),
            targets: BTreeMap::new(),
            tracing: None,
            sources: Vec::new(),
            rules: Vec::new(),
            notifiers: Vec::new(),
            dashboards: Vec::new(),
            store: StoreOptions { max_age: Some(week), ..StoreOptions::default() },
            clock: Arc::new(SystemClock),
        }
    }
}

impl EmbeddedTelemetryBuilder {
    /// Keeps the data in this directory, for later runs to go on with.
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.place = Some(Place::Directory(dir.into()));
        self
    }

    /// Keeps the data in a temporary directory, which is removed when the plane is destroyed or dropped.
    pub fn temporary(mut self) -> Self {
        self.place = Some(Place::Temporary);
        self
    }

    /// Where the console listens; port 0 is a free one. Default: `127.0.0.1:0`. The console has no login.
    pub fn console_address(mut self, address: SocketAddr) -> Self {
        self.console = address;
        self
    }

    /// How often machines, clusters and targets are measured. Default: 15 s.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How often alert rules are evaluated. Default: as often as is measured.
    pub fn evaluation_interval(mut self, interval: Duration) -> Self {
        self.evaluation_interval = Some(interval);
        self
    }

    /// Follows files: paths or globs, as [`FileTail`] takes them.
    pub fn tail<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.tail.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Scrapes a target in Prometheus' text format under the label `job`, with more labels put on its samples: a URL, or `host:port`,
    /// which means `http://host:port/metrics`.
    pub fn scrape(mut self, job: impl Into<String>, address: impl Into<String>, labels: Labels) -> Self {
        self.targets.entry(job.into()).or_default().push((address.into(), labels));
        self
    }

    /// Takes the program's own events.
    pub fn tracing(mut self, source: TracingSource) -> Self {
        self.tracing = Some(source);
        self
    }

    /// Adds any other source, with labels put on what it emits. It is run anew when the plane is started anew.
    pub fn source(mut self, source: Arc<dyn TelemetrySource>, labels: Labels) -> Self {
        self.sources.push((source, labels));
        self
    }

    /// Adds an alert rule.
    pub fn alert(mut self, rule: AlertRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds a notifier, which is told of all alerts.
    pub fn notifier(mut self, notifier: Arc<dyn Notifier>) -> Self {
        self.notifiers.push(notifier);
        self
    }

    /// Adds a dashboard. Default, where none is added: the [standard ones](crate::dashboards).
    pub fn dashboard(mut self, dashboard: Dashboard) -> Self {
        self.dashboards.push(dashboard);
        self
    }

    /// How the store keeps its data, but for its clock. Default: for 7 days.
    pub fn store_options(mut self, options: StoreOptions) -> Self {
        self.store = options;
        self
    }

    /// Sets the clock of everything. Default: the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the plane; nothing runs yet and nothing is written.
    ///
    /// Fails with [`Invalid`](platform_core::ErrorKind::Invalid) if neither [`data_dir`](Self::data_dir) nor
    /// [`temporary`](Self::temporary) says where the data goes, for a malformed pattern or address, or for rules or notifiers that cannot
    /// be told apart.
    pub fn build(self) -> Result<EmbeddedTelemetry> {
        let config = self.check().map_err(|e| e.operation("configure").subject("the telemetry plane"))?;
        Ok(EmbeddedTelemetry::new(config))
    }

    fn check(self) -> Result<Config> {
        let Some(place) = self.place else {
            return Err(Error::invalid("nothing says where its data goes")
                .help("call `data_dir`, or `temporary` for data that need not last"));
        };
        if self.interval.is_zero() {
            return Err(
                Error::invalid("it cannot measure without a pause between").help("set a longer `interval`")
            );
        }
        let evaluation_interval = self.evaluation_interval.unwrap_or(self.interval);
        alerting::check(evaluation_interval, &self.rules, &self.notifiers)?;
        let mut sources = self.sources;
        let tracing = self.tracing.map(Arc::new);
        if let Some(tracing) = &tracing {
            sources.push((tracing.clone(), Labels::empty()));
        }
        let mut tail = None;
        if !self.tail.is_empty() {
            let mut followed = FileTail::builder(self.tail).clock(self.clock.clone());
            if let Place::Directory(dir) = &place {
                followed = followed.checkpoint(dir.join(CHECKPOINT));
            }
            let followed = tail.insert(Arc::new(followed.build()?)).clone();
            sources.push((followed, Labels::empty()));
        }
        for (job, targets) in self.targets {
            let scrape = ScrapeSource::builder(job).interval(self.interval).clock(self.clock.clone());
            let scrape =
                targets.into_iter().fold(scrape, |scrape, (address, labels)| scrape.target(address, labels));
            sources.push((Arc::new(scrape.build()?), Labels::empty()));
        }
        let mut dashboards = self.dashboards;
        if dashboards.is_empty() {
            dashboards =
                vec![dashboards::platform_overview(cpu_rule(&self.rules)), dashboards::applications()];
        }
        Ok(Config {
            place,
            console: self.console,
            interval: self.interval,
            evaluation_interval,
            sources,
            tail,
            tracing,
            rules: self.rules,
            notifiers: self.notifiers,
            dashboards,
            store: StoreOptions { clock: self.clock.clone(), ..self.store },
            clock: self.clock,
        })
    }
}

/// The rule whose limit the overview marks.
fn cpu_rule(rules: &[AlertRule]) -> Option<&AlertRule> {
    let high_cpu = AlertRule::high_cpu(0.0);
    rules.iter().find(|rule| rule.name == high_cpu.name)
}

impl std::fmt::Debug for EmbeddedTelemetryBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedTelemetryBuilder").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Config {
    /// What will run, for the plan.
    pub(super) fn describe(&self) -> Vec<String> {
        let store = match &self.place {
            Place::Directory(dir) => dir.display().to_string(),
            Place::Temporary => "a temporary directory".to_owned(),
        };
        let console = match self.console.port() {
            0 => format!("http://{} on a free port", self.console.ip()),
            _ => format!("http://{}/", self.console),
        };
        let mut lines = vec![
            format!("store: {store}"),
            format!("console: {console}"),
            format!("sources: this machine and the objects of all clusters, every {:?}", self.interval),
        ];
        lines.extend(self.sources.iter().map(|(source, _)| format!("source: {}", source.name())));
        lines.extend(self.dashboards.iter().map(|dashboard| format!("dashboard: {}", dashboard.title)));
        lines.extend(self.rules.iter().map(|rule| {
            let pending = match rule.pending_for {
                Duration::ZERO => String::new(),
                time => format!(" for {}", humane(time)),
            };
            format!("alert: {} ({}){pending}, {}", rule.name, rule.promql(), rule.severity)
        }));
        lines.extend(self.notifiers.iter().map(|notifier| format!("notifier: {}", notifier.name())));
        lines
    }
}

/// Whole minutes as such, all else as seconds: `5 min`, `90s`.
fn humane(time: Duration) -> String {
    match time.as_secs() {
        seconds if time.subsec_nanos() == 0 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        _ => format!("{time:?}"),
    }
}
