//! A plane that runs.

use super::{
    PART_DEADLINE,
    builder::Config,
    sources::{CurrentStatus, of_topology, same, same_handles},
};
use crate::{
    alerting::{AlertEngine, AlertMonitor},
    console::Console,
    pipeline::{Pipeline, PipelineHandle, SourceId},
    sources::ProcessSource,
    store::EmbeddedStore,
};
use futures::future::join_all;
use platform_core::{
    Error, ErrorKind, Result,
    alert::AlertState,
    dashboard::DashboardTarget,
    telemetry::{AlertSummary, Endpoint, Labels, TelemetrySink, TelemetryStore, TelemetrySummary, Topology},
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// How long a source of a former topology may take to end.
const SOURCE_DEADLINE: Duration = Duration::from_secs(5);
/// How long the store may take to become tidy; what was acknowledged is durable before.
const CLOSE_DEADLINE: Duration = Duration::from_secs(60);

pub(super) struct Running {
    topology: Topology,
    /// The sources of the topology, which change with it.
    watched: Vec<SourceId>,
    status: Arc<CurrentStatus>,
    pipeline: PipelineHandle,
    alerts: AlertEngine,
    console: Console,
    store: Arc<EmbeddedStore>,
}

impl Running {
    /// Starts all parts, the store first. If one fails, those before it are stopped.
    pub(super) async fn start(config: &Config, dir: PathBuf, topology: Topology) -> Result<Self> {
        let options = config.store.clone();
        let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(&dir, options)).await;
        let store =
            Arc::new(opened.map_err(|e| Error::internal("opening the store stopped half-way").source(e))??);
        match Self::over(store.clone(), config, topology).await {
            Ok(running) => Ok(running),
            Err(error) => {
                // So that nothing is left running and the directory is free.
                if let Err(error) = close(&store).await {
                    tracing::warn!(%error, "the telemetry store did not close");
                }
                Err(error)
            }
        }
    }

    async fn over(store: Arc<EmbeddedStore>, config: &Config, topology: Topology) -> Result<Self> {
        let status = Arc::new(CurrentStatus::new(topology.status.clone()));
        let monitor = AlertMonitor::default();
        let console = Console::builder(store.clone(), status.clone())
            .address(config.console)
            .clock(config.clock.clone())
            .alerts(monitor.clone())
            .start()
            .await?;
        for dashboard in &config.dashboards {
            console.publish(dashboard).await?;
        }
        let mut alerts = AlertEngine::builder(store.clone())
            .platform(topology.platform.as_str())
            .console_url(console.url())
            .interval(config.evaluation_interval)
            .clock(config.clock.clone())
            .monitor(monitor);
        for rule in &config.rules {
            alerts = alerts.rule(rule.clone());
        }
        for notifier in &config.notifiers {
            alerts = alerts.notifier(notifier.clone());
        }
        let alerts = alerts.start().await?;

        let own = Labels::from_iter([("platform", topology.platform.as_str())]);
        let process = ProcessSource::new(config.interval, &own).clock(config.clock.clone());
        let mut pipeline = Pipeline::builder(store.clone())
            .clock(config.clock.clone())
            .self_metrics(config.interval, own.with_label("job", "platform"))
            .source(Arc::new(process));
        for (source, labels) in &config.sources {
            pipeline = pipeline.source_with_labels(source.clone(), labels.clone());
        }
        let mut running = Self {
            watched: Vec::new(),
            status,
            pipeline: pipeline.start(),
            alerts,
            console,
            store,
            topology,
        };
        running.watch_topology(config)?;
        Ok(running)
    }

    /// Watches `topology` from now on; answers whether it differs from the former one.
    pub(super) async fn watch(&mut self, config: &Config, topology: Topology) -> Result<bool> {
        if topology.platform != self.topology.platform {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("it watches platform {}", self.topology.platform),
            )
            .operation("watch")
            .subject(format!("platform {}", topology.platform))
            .help("stop it first, or use a plane for each platform"));
        }
        let changed = !same(&self.topology, &topology);
        // Clusters that were connected anew are not news, but the former handles may no longer work.
        let reconnected = !same_handles(&self.topology, &topology);
        self.status.replace(topology.status.clone());
        self.topology = topology;
        if changed || reconnected {
            // The new ones first, and all former ones at once: if this future is dropped meanwhile, the exchange is complete.
            let former = std::mem::take(&mut self.watched);
            let added = self.watch_topology(config);
            join_all(former.into_iter().map(|id| self.pipeline.remove_source(id, SOURCE_DEADLINE))).await;
            added?;
        }
        Ok(changed)
    }

    fn watch_topology(&mut self, config: &Config) -> Result<()> {
        for (source, labels) in of_topology(&self.topology, config.interval, &config.clock) {
            self.watched.push(self.pipeline.add_source(source, &labels)?);
        }
        Ok(())
    }

    pub(super) fn store(&self) -> Arc<dyn TelemetryStore> {
        self.store.clone()
    }

    pub(super) fn console_url(&self) -> String {
        self.console.url()
    }

    pub(super) fn summary(&self, config: &Config) -> TelemetrySummary {
        let flow = self.pipeline.stats();
        let alerts = self.alerts.status();
        let mut summary = TelemetrySummary::default();
        summary.endpoints = vec![Endpoint { name: "console".to_owned(), url: self.console.url() }];
        summary.samples_stored = flow.samples_stored;
        summary.log_lines_stored = flow.logs_stored;
        let lines_lost = config.tail.as_ref().map_or(0, |tail| tail.stats().lines_lost);
        let events_lost = config.tracing.as_ref().map_or(0, |tracing| tracing.stats().dropped);
        let at_sources =
            [("lines of files".to_owned(), lines_lost), ("events of the program".to_owned(), events_lost)];
        let dropped = flow.dropped.into_iter().chain(at_sources);
        summary.dropped = dropped.filter(|(_, count)| *count > 0).collect();
        let state =
            |state: Option<AlertState>| state.map_or("inactive".to_owned(), |state| state.to_string());
        summary.alerts = alerts
            .rules
            .into_iter()
            .map(|rule| AlertSummary { name: rule.rule.name, state: state(rule.state), fired: rule.fired })
            .collect();
        summary.notifications_sent = alerts.notifiers.iter().map(|notifier| notifier.delivered).sum();
        summary.notifications_failed = alerts.notifiers.iter().map(|notifier| notifier.failed).sum();
        summary
    }

    /// Stops all parts in order, each within its deadline; answers with the first failure.
    pub(super) async fn stop(&self) -> Result<()> {
        let drained = self.pipeline.shutdown(PART_DEADLINE).await;
        self.alerts.stop(PART_DEADLINE).await;
        self.console.stop().await;
        drained.and(close(&self.store).await)
    }
}

async fn close(store: &EmbeddedStore) -> Result<()> {
    match tokio::time::timeout(CLOSE_DEADLINE, store.close()).await {
        Ok(closed) => closed,
        Err(_) => Err(Error::new(ErrorKind::Timeout, format!("not closed after {CLOSE_DEADLINE:?}"))
            .operation("close")
            .subject(format!("the telemetry store {}", store.path().display()))
            .help("what was acknowledged is on disk and is recovered when it is opened")),
    }
}
