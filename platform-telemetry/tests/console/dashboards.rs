//! The standard dashboards, published.

use crate::fixture::Fixture;
use platform_core::{
    alert::AlertRule,
    clock::Timestamp,
    dashboard::{DashboardTarget, PanelContent},
    telemetry::{Batch, Labels, MetricKind, Sample, TelemetrySink},
};
use platform_telemetry::dashboards;
use std::time::Duration;

#[tokio::test]
async fn every_panel_shows_what_exporters_measure() {
    let fixture = Fixture::start().await;
    fixture.store.write(exporters(fixture.now)).await.unwrap();
    let rule = AlertRule::high_cpu(80.0);
    for dashboard in [dashboards::platform_overview(Some(&rule)), dashboards::applications()] {
        let url = fixture.console.publish(&dashboard).await.unwrap();
        assert!(url.ends_with(&format!("/#dashboard-{}", dashboard.uid)), "{url}");
        for (number, panel) in dashboard.panels.iter().enumerate() {
            if matches!(panel.content, PanelContent::Logs { .. }) {
                continue;
            }
            let data = fixture.get(&format!("api/v1/dashboards/{}/panels/{number}", dashboard.uid)).await;
            let series = data["series"].as_array().unwrap();
            assert!(!series.is_empty(), "{}", panel.title);
            for line in series {
                let legend = line["legend"].as_str().unwrap();
                assert!(legend.contains("testing") && !legend.contains('{'), "{}: {legend}", panel.title);
                let last = line["values"].as_array().unwrap().last().unwrap();
                assert!(last.is_number(), "{}: {line}", panel.title);
            }
        }
    }
    fixture.stop().await;
}

#[tokio::test]
async fn percentages_are_percentages() {
    let fixture = Fixture::start().await;
    fixture.store.write(exporters(fixture.now)).await.unwrap();
    fixture.console.publish(&dashboards::platform_overview(None)).await.unwrap();
    fixture.console.publish(&dashboards::applications()).await.unwrap();
    let last = async |path: &str| {
        let data = fixture.get(&format!("api/v1/dashboards/{path}")).await;
        data["series"][0]["values"].as_array().unwrap().last().unwrap().as_f64().unwrap()
    };
    // Idle for three of four seconds; 6 of 8 GiB available; 25 of 100 GiB available; 1 of 2 replicas available.
    assert!((last("platform-overview/panels/0").await - 25.0).abs() < 1e-6);
    assert!((last("platform-overview/panels/1").await - 25.0).abs() < 1e-6);
    assert!((last("platform-overview/panels/4").await - 75.0).abs() < 1e-6);
    assert!((last("applications/panels/0").await - 50.0).abs() < 1e-6);
    fixture.stop().await;
}

/// What node exporter and kube-state-metrics of one cluster would have given in the last quarter of an hour.
fn exporters(now: Timestamp) -> Batch {
    const GIB: f64 = 1_073_741_824.0;
    let mut samples = Vec::new();
    for step in 0..=90_u64 {
        let timestamp = now - Duration::from_secs(10 * (90 - step));
        let seconds = 10.0 * step as f64;
        let mut add = |metric: &str, labels: &[(&str, &str)], value: f64, kind| {
            let common = Labels::from_iter([("cluster", "shop-testing"), ("environment", "testing")]);
            let labels = common.with(&labels.iter().copied().collect());
            samples.push(Sample { metric: metric.into(), labels, timestamp, value, kind });
        };
        let node = ("instance", "node-1");
        for (mode, share) in [("idle", 0.75), ("user", 0.25)] {
            let labels = [node, ("cpu", "0"), ("mode", mode)];
            add("node_cpu_seconds_total", &labels, seconds * share, MetricKind::Counter);
        }
        let gauges = [
            ("node_memory_MemAvailable_bytes", 6.0 * GIB),
            ("node_memory_MemTotal_bytes", 8.0 * GIB),
            ("node_load1", 1.5),
            ("node_load5", 1.0),
        ];
        for (metric, value) in gauges {
            add(metric, &[node], value, MetricKind::Gauge);
        }
        let root = [node, ("mountpoint", "/"), ("device", "/dev/vda1")];
        add("node_filesystem_avail_bytes", &root, 25.0 * GIB, MetricKind::Gauge);
        add("node_filesystem_size_bytes", &root, 100.0 * GIB, MetricKind::Gauge);
        for direction in ["receive", "transmit"] {
            let metric = format!("node_network_{direction}_bytes_total");
            add(&metric, &[node, ("device", "eth0")], seconds * 1000.0, MetricKind::Counter);
        }
        for direction in ["read", "written"] {
            let metric = format!("node_disk_{direction}_bytes_total");
            add(&metric, &[node, ("device", "vda")], seconds * 1000.0, MetricKind::Counter);
        }
        let deployment = [("namespace", "api1"), ("deployment", "api1")];
        add("kube_deployment_spec_replicas", &deployment, 2.0, MetricKind::Gauge);
        add("kube_deployment_status_replicas_available", &deployment, 1.0, MetricKind::Gauge);
        add("kube_deployment_status_replicas_ready", &deployment, 1.0, MetricKind::Gauge);
        let pod = [("namespace", "api1"), ("pod", "api1-0")];
        add("kube_pod_status_phase", &[pod[0], pod[1], ("phase", "Running")], 1.0, MetricKind::Gauge);
        let container = [pod[0], pod[1], ("container", "api1")];
        add("kube_pod_container_status_restarts_total", &container, (step / 30) as f64, MetricKind::Counter);
        let waiting = [pod[0], pod[1], ("container", "api1"), ("reason", "ImagePullBackOff")];
        add("kube_pod_container_status_waiting_reason", &waiting, 1.0, MetricKind::Gauge);
    }
    Batch::samples(samples)
}
