//! A console over an embedded store, with a platform whose status the test sets.

use async_trait::async_trait;
use platform_core::{
    Error, Result,
    alert::{AlertRule, AlertSeverity, Condition},
    clock::{Clock, ManualClock, Timestamp},
    dashboard::{Dashboard, DashboardTarget, Panel, PanelContent, PanelQuery, Unit},
    status::{PlatformStatus, StatusSource},
    telemetry::{
        Batch, Labels, LogRecord, MetricKind, Sample, Severity, TelemetrySink, TelemetryStore, metric,
    },
};
use platform_telemetry::{
    alerting::AlertEngine,
    console::Console,
    store::{EmbeddedStore, StoreOptions},
};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// 2026-11-23T00:00:00Z
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_392_000_000);

/// A platform that says what it is told to say.
#[derive(Debug)]
pub(crate) struct Told(Mutex<std::result::Result<Value, String>>);

impl Told {
    pub(crate) fn set(&self, status: std::result::Result<Value, String>) {
        *self.0.lock().unwrap() = status;
    }
}

#[async_trait]
impl StatusSource for Told {
    async fn status(&self) -> Result<PlatformStatus> {
        match &*self.0.lock().unwrap() {
            Ok(status) => Ok(serde_json::from_value(status.clone()).unwrap()),
            Err(why) => Err(Error::new(platform_core::ErrorKind::Unavailable, why)),
        }
    }
}

pub(crate) fn status() -> Value {
    let application = |name: &str, readiness: &str| {
        json!({
            "name": name, "namespace": name, "image": format!("registry.example.com/{name}:1.4.0"),
            "readiness": readiness, "message": if readiness == "current" { "" } else { "1 of 2 replicas" },
        })
    };
    json!({
        "at": NOW.as_millis(), "platform": "shop", "provider": "local", "simulated": true,
        "isolation": "cluster-per-environment",
        "environments": [
            {"name": "testing", "protected": false, "cluster": "shop-testing",
             "applications": [application("api1", "current"), application("web", "in-progress")]},
            {"name": "production", "protected": true, "cluster": "shop-production",
             "applications": [application("api1", "current")]},
        ],
        "clusters": [
            {"name": "shop-testing", "role": {"environments": ["testing"]}, "phase": "running",
             "kubernetesVersion": "v1.34.4", "nodes": 2, "server": "https://127.0.0.1:40123", "message": "",
             "components": [{"name": "node-exporter", "version": "1.9.1", "readiness": "current", "message": ""}]},
            {"name": "shop-production", "role": {"environments": ["production"]}, "phase": "broken",
             "kubernetesVersion": null, "nodes": 0, "server": null, "message": "connection refused",
             "components": []},
            {"name": "shop-control", "role": "control-plane", "phase": null, "kubernetesVersion": null,
             "nodes": 0, "server": null, "message": "", "components": []},
        ],
    })
}

/// A running console with what it shows. Times end at `now`.
pub(crate) struct Fixture {
    pub(crate) console: Console,
    pub(crate) platform: Arc<Told>,
    pub(crate) store: Arc<EmbeddedStore>,
    pub(crate) now: Timestamp,
    alerts: AlertEngine,
    _dir: tempfile::TempDir,
}

impl Fixture {
    /// At a time that stands still.
    pub(crate) async fn start() -> Self {
        Self::start_at(Arc::new(ManualClock::new(NOW))).await
    }

    pub(crate) async fn start_at(clock: Arc<dyn Clock>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { clock: Arc::clone(&clock), ..StoreOptions::default() };
        let store = Arc::new(EmbeddedStore::open(dir.path(), options).unwrap());
        let now = clock.now();
        store.write(telemetry(now)).await.unwrap();

        let as_store: Arc<dyn TelemetryStore> = Arc::clone(&store) as _;
        let hot = AlertRule::new("Hot", metric("temperature"), Condition::Above(50.0)).unwrap();
        let hot = hot.severity(AlertSeverity::Critical).summary("{{environment}} is hot");
        let cold = AlertRule::new("Cold", metric("temperature"), Condition::Below(-300.0)).unwrap();
        let alerts = AlertEngine::builder(Arc::clone(&as_store))
            .clock(Arc::clone(&clock))
            .interval(Duration::from_millis(200))
            .rule(hot)
            .rule(cold.pending_for(Duration::from_secs(300)))
            .start()
            .await
            .unwrap();
        let platform = Arc::new(Told(Mutex::new(Ok(status()))));
        let console = Console::builder(as_store, Arc::clone(&platform) as _)
            .alerts(alerts.monitor())
            .clock(clock)
            .refresh(Duration::from_millis(100))
            .start()
            .await
            .unwrap();
        console.publish(&dashboard()).await.unwrap();
        Self { console, platform, store, now, alerts, _dir: dir }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.console.url())
    }

    /// The JSON at a path that is expected to be there.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = client().get(self.url(path)).send().await.unwrap();
        let (status, body) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Waits until the alert of the hot environment fires.
    pub(crate) async fn wait_until_firing(&self) {
        let firing = async {
            while self.alerts.status().active.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), firing).await.unwrap();
    }

    pub(crate) async fn stop(self) {
        self.console.stop().await;
        self.alerts.stop(Duration::from_secs(10)).await;
        self.store.close().await.unwrap();
    }
}

pub(crate) fn client() -> reqwest::Client {
    let provider = rustls::crypto::ring::default_provider();
    // Set once for all tests; the console itself speaks no TLS.
    let _ = provider.install_default();
    reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build().unwrap()
}

pub(crate) fn dashboard() -> Dashboard {
    let temperature = PanelQuery::new(metric("temperature"), "{{environment}}");
    let requests = metric("requests_total").rate(Duration::from_secs(60));
    Dashboard::new("house", "House")
        .window(Duration::from_secs(300))
        .panel(
            Panel::time_series("Temperature", Unit::None, vec![temperature.clone()])
                .threshold(50.0)
                .width(24),
        )
        .panel(Panel::time_series(
            "Requests",
            Unit::None,
            vec![PanelQuery::new(requests.sum_by(["environment"]), "{{environment}} per second")],
        ))
        .panel(Panel::stat("Temperature now", Unit::None, temperature))
        .panel(Panel::new(
            "Payments",
            PanelContent::Logs { text: "payment".to_owned(), matchers: Vec::new(), min_severity: None },
        ))
}

/// Five minutes of samples each 10 s, and a few log records.
fn telemetry(now: Timestamp) -> Batch {
    let mut batch = Batch::default();
    for (environment, temperature) in [("testing", 71.5), ("production", 21.0)] {
        let labels = Labels::from_iter([("environment", environment)]);
        for step in 0..=30 {
            let timestamp = now - Duration::from_secs(10 * (30 - step));
            let sample = |metric: &str, value, kind| Sample {
                metric: metric.into(),
                labels: labels.clone(),
                timestamp,
                value,
                kind,
            };
            batch.samples.push(sample("temperature", temperature, MetricKind::Gauge));
            batch.samples.push(sample("requests_total", step as f64 * 40.0, MetricKind::Counter));
        }
    }
    let record = |seconds, severity, environment: &str, body: &str| LogRecord {
        timestamp: now - Duration::from_secs(seconds),
        severity,
        body: body.to_owned(),
        labels: Labels::from_iter([
            ("environment", environment),
            ("cluster", &format!("shop-{environment}")),
        ]),
    };
    batch.logs = vec![
        record(50, Severity::Info, "testing", "started the payment service"),
        record(40, Severity::Warn, "testing", "payment was slow"),
        record(
            30,
            Severity::Error,
            "production",
            "payment failed: <img src=x onerror=document.title='owned'>",
        ),
        record(20, Severity::Debug, "production", "cache is warm"),
        record(7200, Severity::Info, "testing", "two hours ago"),
    ];
    batch
}
