//! The embedded plane as a whole: this machine measured, stored, watched and shown; restarts; what goes wrong at the start.

use async_trait::async_trait;
use futures::FutureExt;
use platform_core::{
    Error, ErrorKind, Result,
    alert::{AlertRule, Condition, Notification, Notifier},
    clock::{Clock, SystemClock, Timestamp},
    cluster::{
        ApplyOptions, ApplyReport, Cluster, ClusterRole, DeleteReport, ListOptions, ObjectDiff, ObjectHealth,
        SetOwner,
    },
    event::Progress,
    manifest::{ManifestSet, ObjectRef},
    name::{ClusterName, EnvironmentName, PlatformName},
    status::{PlatformStatus, StatusSource},
    telemetry::{
        ClusterTopology, EnvironmentTopology, Labels, LogQuery, MetricQuery, TelemetryPlane, TelemetryStore,
        TimeRange, Topology, metric,
    },
};
use platform_telemetry::{
    plane::{EmbeddedTelemetry, EmbeddedTelemetryBuilder},
    sources::tracing_source,
    store::{EmbeddedStore, StoreOptions},
};
use std::{
    io::Write,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::task::AbortOnDropHandle;
use tracing_subscriber::layer::SubscriberExt;

/// A platform without anything in it.
#[derive(Debug)]
struct Empty;

#[async_trait]
impl StatusSource for Empty {
    async fn status(&self) -> Result<PlatformStatus> {
        let status = serde_json::json!({
            "at": 0, "platform": "shop", "provider": "none", "simulated": true,
            "isolation": "cluster-per-environment", "environments": [], "clusters": [],
        });
        serde_json::from_value(status).map_err(|e| Error::internal("not a status").source(e))
    }
}

/// A cluster that does not answer.
#[derive(Debug)]
struct Unreachable(ClusterName);

fn unreachable<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unavailable, "connection refused"))
}

#[async_trait]
impl Cluster for Unreachable {
    fn name(&self) -> &ClusterName {
        &self.0
    }
    async fn version(&self) -> Result<String> {
        unreachable()
    }
    async fn diff(&self, _: &ManifestSet, _: &ApplyOptions) -> Result<Vec<ObjectDiff>> {
        unreachable()
    }
    async fn apply(&self, _: &ManifestSet, _: &ApplyOptions) -> Result<ApplyReport> {
        unreachable()
    }
    async fn health(&self, _: &[ObjectRef]) -> Result<Vec<ObjectHealth>> {
        unreachable()
    }
    async fn wait_ready(&self, _: &[ObjectRef], _: Duration, _: &Progress) -> Result<()> {
        unreachable()
    }
    async fn delete_set(&self, _: &str, _: &ApplyOptions) -> Result<DeleteReport> {
        unreachable()
    }
    async fn sets(&self, _: &SetOwner) -> Result<Vec<String>> {
        unreachable()
    }
    async fn get(&self, _: &ObjectRef) -> Result<Option<serde_json::Value>> {
        unreachable()
    }
    async fn list(&self, _: &str, _: &str, _: &ListOptions) -> Result<Vec<serde_json::Value>> {
        unreachable()
    }
}

#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<Notification>>);

impl Recorder {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[async_trait]
impl Notifier for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    async fn notify(&self, notification: &Notification) -> Result<()> {
        self.0.lock().unwrap().push(notification.clone());
        Ok(())
    }
}

fn without_clusters() -> Topology {
    Topology::new(PlatformName::new("shop").unwrap(), Vec::new(), Vec::new(), Arc::new(Empty))
}

fn with_cluster() -> Topology {
    let (environment, cluster) =
        (EnvironmentName::new("testing").unwrap(), ClusterName::new("shop-testing").unwrap());
    let environments = vec![EnvironmentTopology {
        name: environment.clone(),
        cluster: cluster.clone(),
        namespaces: vec!["testing".to_owned()],
    }];
    let clusters = vec![ClusterTopology {
        name: cluster.clone(),
        role: ClusterRole::Environments(vec![environment]),
        simulated: true,
        components: Vec::new(),
        cluster: Arc::new(Unreachable(cluster)),
    }];
    Topology::new(PlatformName::new("shop").unwrap(), environments, clusters, Arc::new(Empty))
}

/// An alert that this machine fulfils, as every machine does.
fn has_memory() -> AlertRule {
    AlertRule::new("HasMemory", metric("node_memory_MemTotal_bytes"), Condition::Above(0.0)).unwrap()
}

fn quick(dir: &Path) -> EmbeddedTelemetryBuilder {
    EmbeddedTelemetry::builder().data_dir(dir.join("telemetry")).interval(Duration::from_millis(100))
}

/// Asks until the answer is wanted.
async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking)
        .await
        .unwrap_or_else(|_| panic!("{what} within a minute"))
}

/// The labels and first moment of a metric's first series.
async fn first(store: &dyn TelemetryStore, name: &str) -> Option<(Labels, Timestamp)> {
    let range = TimeRange::last(Duration::from_secs(3600), SystemClock.now());
    let series = store.select(&metric(name), range).await.unwrap();
    let series = series.first()?;
    Some((series.labels.clone(), series.points.first()?.0))
}

/// A server whose `/metrics` answers with `text`.
async fn exposing(text: &'static str) -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics =
        axum::routing::get(move || async move { ([("content-type", "text/plain; version=0.0.4")], text) });
    let router = axum::Router::new().route("/metrics", metrics);
    (
        address,
        AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })),
    )
}

async fn get(url: &str, path: &str) -> String {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_measured_watched_shown_and_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("app.log");
    std::fs::write(&log, "").unwrap();
    let recorder = Arc::new(Recorder::default());
    let (layer, events) = tracing_source(100);
    let target = exposing("# TYPE orders_total counter\norders_total{shop=\"a\"} 7\n").await;
    let plane = quick(dir.path())
        .tail([log.display().to_string()])
        .tracing(events)
        .scrape("shop", target.0.to_string(), Labels::from_iter([("tier", "front")]))
        .alert(has_memory())
        .notifier(recorder.clone())
        .build()
        .unwrap();
    assert!(!plane.is_running() && plane.store().is_none() && plane.console_url().is_none());
    assert!(plane.start(without_clusters(), &Progress::silent()).await.unwrap());
    assert!(plane.is_running());
    assert!(!plane.start(without_clusters(), &Progress::silent()).await.unwrap(), "the same again");

    let store = plane.store().unwrap();
    let (labels, since) = eventually("a sample", || first(&*store, "node_memory_MemTotal_bytes")).await;
    assert_eq!((labels.get("job"), labels.get("cluster")), (Some("node"), None));
    eventually("a notification", async || (recorder.count() == 1).then_some(())).await;
    let notification = recorder.0.lock().unwrap()[0].clone();
    assert_eq!(notification.platform, "shop");
    assert_eq!(notification.console_url, plane.console_url());
    eventually("the pipeline's own metrics", || first(&*store, "platform_pipeline_stored_total")).await;

    std::fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(b"ERROR no space left\n").unwrap();
    eventually("the log line", async || {
        let query =
            LogQuery::new(TimeRange::last(Duration::from_secs(3600), SystemClock.now())).text("space");
        (store.logs(&query).await.unwrap().total == 1).then_some(())
    })
    .await;

    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        tracing::warn!(order = 7, "the order waits");
    });
    eventually("the event", async || {
        let query = LogQuery::new(TimeRange::last(Duration::from_secs(3600), SystemClock.now()))
            .text("\"order waits\"");
        (store.logs(&query).await.unwrap().total == 1).then_some(())
    })
    .await;
    let (labels, _) = eventually("the scraped sample", || first(&*store, "orders_total")).await;
    let expected = format!(r#"{{instance="{}",job="shop",shop="a",tier="front"}}"#, target.0);
    assert_eq!(labels.to_string(), expected);

    let url = plane.console_url().unwrap();
    let alerts = get(&url, "/api/v1/alerts").await;
    assert!(alerts.starts_with("HTTP/1.1 200") && alerts.contains("HasMemory"), "{alerts}");
    assert!(get(&url, "/api/v1/dashboards").await.contains("platform-overview"));

    plane.stop().await.unwrap();
    plane.stop().await.unwrap();
    assert!(!plane.is_running() && plane.store().is_none());
    let summary = plane.summary().await.unwrap();
    assert!(summary.samples_stored > 0 && summary.log_lines_stored >= 1, "{summary:?}");
    assert_eq!(
        (summary.endpoints.len(), summary.notifications_sent, summary.notifications_failed),
        (0, 1, 0)
    );
    let alert = &summary.alerts[0];
    assert_eq!((alert.name.as_str(), alert.state.as_str(), alert.fired), ("HasMemory", "firing", 1));
    assert_eq!(summary.dropped, []);
    drop(plane);

    // Another process, as it were: the data is there, and the alert fires on without being told again.
    let plane = quick(dir.path()).alert(has_memory()).notifier(recorder.clone()).build().unwrap();
    assert!(plane.start(without_clusters(), &Progress::silent()).await.unwrap());
    let store = plane.store().unwrap();
    assert_eq!(first(&*store, "node_memory_MemTotal_bytes").await.map(|(_, at)| at), Some(since));
    let (evaluated, now) = (metric("ALERTS").eq("alertstate", "firing"), SystemClock.now());
    eventually("an evaluation", async || {
        let range = TimeRange::new(now, now + Duration::from_secs(3600));
        let series = store.select(&evaluated, range).await.unwrap();
        series.first().is_some_and(|s| s.points.len() > 3).then_some(())
    })
    .await;
    assert_eq!(recorder.count(), 1);
    let summary = plane.summary().await.unwrap();
    assert_eq!((summary.alerts[0].state.as_str(), summary.alerts[0].fired), ("firing", 0));

    plane.destroy().await.unwrap();
    assert!(!dir.path().join("telemetry").exists());
    plane.destroy().await.unwrap();
    assert!(log.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_topology_is_watched_without_a_restart() {
    let plane =
        EmbeddedTelemetry::builder().temporary().interval(Duration::from_millis(100)).build().unwrap();
    plane.start(without_clusters(), &Progress::silent()).await.unwrap();
    let url = plane.console_url();
    assert!(plane.start(with_cluster(), &Progress::silent()).await.unwrap());
    assert_eq!(plane.console_url(), url);
    let store = plane.store().unwrap();
    let labelled =
        metric("node_memory_MemTotal_bytes").eq("cluster", "shop-testing").eq("environment", "testing");
    eventually("a sample of the cluster", async || {
        let series = store.query(&MetricQuery::instant(labelled.clone(), SystemClock.now())).await.unwrap();
        (!series.is_empty()).then_some(())
    })
    .await;
    let up = metric("up").eq("cluster", "shop-testing").eq("job", "kube-state-metrics");
    eventually("that the cluster is down", async || {
        let series = store.query(&MetricQuery::instant(up.clone(), SystemClock.now())).await.unwrap();
        series.first().is_some_and(|s| s.points[0].1 == 0.0).then_some(())
    })
    .await;
    // A new handle of the same cluster is no news.
    assert!(!plane.start(with_cluster(), &Progress::silent()).await.unwrap());

    let other = Topology::new(PlatformName::new("other").unwrap(), Vec::new(), Vec::new(), Arc::new(Empty));
    let error = plane.start(other, &Progress::silent()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(plane.is_running());

    // It goes on where it was after a stop, with the same temporary data.
    plane.stop().await.unwrap();
    plane.start(with_cluster(), &Progress::silent()).await.unwrap();
    assert!(first(&*plane.store().unwrap(), "node_memory_MemTotal_bytes").await.is_some());
    plane.destroy().await.unwrap();
    assert!(!plane.is_running());
}

#[tokio::test]
async fn a_start_that_is_dropped_half_way_still_changes_what_is_watched() {
    let plane =
        EmbeddedTelemetry::builder().temporary().interval(Duration::from_millis(100)).build().unwrap();
    plane.start(without_clusters(), &Progress::silent()).await.unwrap();
    // The same handle both times: another would be reason enough to watch anew.
    let topology = with_cluster();
    assert!(plane.start(topology.clone(), &Progress::silent()).now_or_never().is_none());
    plane.start(topology, &Progress::silent()).await.unwrap();
    let store = plane.store().unwrap();
    let up = metric("up").eq("cluster", "shop-testing");
    eventually("a sample of the cluster", async || {
        let series = store.query(&MetricQuery::instant(up.clone(), SystemClock.now())).await.unwrap();
        (!series.is_empty()).then_some(())
    })
    .await;
    plane.destroy().await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_told_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let plane = quick(dir.path()).console_address(address).build().unwrap();
    let error = plane.start(without_clusters(), &Progress::silent()).await.unwrap_err();
    assert!(error.to_string().contains(&format!("the console on {address}")), "{error}");
    assert!(error.to_string().contains("choose another port"), "{error}");
    assert!(!plane.is_running());
    // The store is free again: nobody holds its lock.
    let store = EmbeddedStore::open(&dir.path().join("telemetry/store"), StoreOptions::default()).unwrap();
    drop(store);
    drop(taken);
    assert!(plane.start(without_clusters(), &Progress::silent()).await.unwrap());
    assert_eq!(plane.console_url(), Some(format!("http://{address}/")));
    plane.stop().await.unwrap();
}

#[tokio::test]
async fn a_directory_of_somebody_else_is_neither_used_nor_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = dir.path().join("telemetry/store/photo.jpg");
    std::fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    std::fs::write(&foreign, "precious").unwrap();
    let plane = quick(dir.path()).build().unwrap();
    let error = plane.start(without_clusters(), &Progress::silent()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert_eq!(plane.destroy().await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&foreign).unwrap(), "precious");

    let namesake = dir.path().join("cats/tail.json");
    std::fs::create_dir_all(namesake.parent().unwrap()).unwrap();
    std::fs::write(&namesake, "{\"tail\": \"long\"}").unwrap();
    let plane = EmbeddedTelemetry::builder().data_dir(dir.path().join("cats")).build().unwrap();
    plane.destroy().await.unwrap();
    assert!(namesake.exists());
}

#[test]
fn it_says_what_it_will_run_and_what_is_missing() {
    let error = EmbeddedTelemetry::builder().build().unwrap_err();
    assert!(error.to_string().contains("call `data_dir`"), "{error}");
    let error = EmbeddedTelemetry::builder().temporary().tail(["/var/log/[.log"]).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let twice = EmbeddedTelemetry::builder().temporary().alert(has_memory()).alert(has_memory());
    let error = twice.build().unwrap_err();
    assert!(error.to_string().contains("two alert rules"), "{error}");

    let plane = EmbeddedTelemetry::builder()
        .data_dir("/var/lib/shop/telemetry")
        .console_address("127.0.0.1:9000".parse().unwrap())
        .tail(["/var/log/syslog"])
        .alert(AlertRule::high_cpu(80.0))
        .notifier(Arc::new(Recorder::default()))
        .build()
        .unwrap();
    assert_eq!(
        plane.describe(),
        [
            "store: /var/lib/shop/telemetry",
            "console: http://127.0.0.1:9000/",
            "sources: this machine and the objects of all clusters, every 15s",
            "source: tail:/var/log/syslog",
            "dashboard: Platform overview",
            "dashboard: Applications",
            "alert: HighCpu (100 * sum by (cluster, environment) \
             (rate(node_cpu_seconds_total{mode!=\"idle\"}[5m])) / sum by (cluster, environment) \
             (rate(node_cpu_seconds_total[5m])) > 80) for 5 min, warning",
            "notifier: recorder",
        ]
    );
}
