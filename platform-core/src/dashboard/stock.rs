//! The dashboards of a cluster: its nodes, its workloads, its ingress.
//!
//! They are over the metrics of node exporter, kube-state-metrics, the kubelets and the ingress controllers of the catalogue, with the labels that the
//! catalogue's Prometheus gives them: `cluster`, `environment`, and `instance` for the name of a node. A dashboard is a plain value: render
//! it for Grafana, publish it on the console page, or add panels to it.

use super::{Dashboard, Panel, PanelQuery, Unit};
use crate::telemetry::{Aggregation, Expression, Matcher, Selector, metric};
use std::time::Duration;

/// The window of rates: four scrapes of 15 seconds, by the usual rule.
const RATE: Duration = Duration::from_secs(60);

/// The window in which restarts are counted.
const RESTARTS: Duration = Duration::from_secs(15 * 60);

const WINDOW: Duration = Duration::from_secs(60 * 60);
const REFRESH: Duration = Duration::from_secs(15);

const NODE: [&str; 2] = ["cluster", "instance"];
const POD: [&str; 3] = ["cluster", "namespace", "pod"];

/// The stock dashboards: [`nodes`], [`workloads`], [`ingress`].
pub fn all() -> Vec<Dashboard> {
    vec![nodes(), workloads(), ingress()]
}

/// `nodes`: CPU, memory, load, file systems, disks and network of every node.
pub fn nodes() -> Dashboard {
    let by_node = |expression: Expression| vec![PanelQuery::new(expression, "{{cluster}} / {{instance}}")];
    let cpu = metric("node_cpu_seconds_total");
    // Busy time by all time: in the quotient, what a window lacks that is not yet full of samples cancels out.
    let busy = cpu.clone().ne("mode", "idle").rate(RATE).sum_by(NODE) / cpu.rate(RATE).sum_by(NODE);
    let available = sum(metric("node_memory_MemAvailable_bytes"), NODE);
    let memory = sum(metric("node_memory_MemTotal_bytes"), NODE);
    let files = |name: &str| sum(without_pseudo(metric(name)), ["cluster", "instance", "mountpoint"]);
    let free = files("node_filesystem_avail_bytes") / files("node_filesystem_size_bytes");
    let network = |name: &str, direction: &str| {
        let devices = metric(name).ne("device", "lo").rate(RATE);
        PanelQuery::new(devices.sum_by(NODE), format!("{{{{cluster}}}} / {{{{instance}}}} {direction}"))
    };
    let disk = |name: &str, direction: &str| {
        let devices = metric(name).rate(RATE).sum_by(NODE);
        PanelQuery::new(devices, format!("{{{{cluster}}}} / {{{{instance}}}} {direction}"))
    };
    let [ready, cpus, memory_of_all, pods] = node_totals();
    dashboard("nodes", "Nodes")
        .panel(ready)
        .panel(cpus)
        .panel(memory_of_all)
        .panel(pods)
        .panel(
            Panel::time_series("CPU used", Unit::Percent, by_node(100.0 * busy))
                .description("The time that the node's CPUs were not idle.")
                .range(0.0, 100.0),
        )
        .panel(
            Panel::time_series("Memory used", Unit::Percent, by_node(100.0 * (1.0 - available / memory)))
                .description("The part of the node's memory that programs could not get without swapping.")
                .range(0.0, 100.0),
        )
        .panel(
            Panel::time_series("Load average", Unit::None, by_node(sum(metric("node_load1"), NODE)))
                .description("Programs that run or wait for a CPU or a disk, over the last minute."),
        )
        .panel(
            Panel::time_series(
                "File systems used",
                Unit::Percent,
                vec![PanelQuery::new(100.0 * (1.0 - free), "{{cluster}} / {{instance}} {{mountpoint}}")],
            )
            .description("The part of each file system that is in use.")
            .range(0.0, 100.0),
        )
        .panel(
            Panel::time_series(
                "Network",
                Unit::BytesPerSecond,
                vec![
                    network("node_network_receive_bytes_total", "received"),
                    network("node_network_transmit_bytes_total", "sent"),
                ],
            )
            .description("Traffic of all network devices but the loopback."),
        )
        .panel(
            Panel::time_series(
                "Disks",
                Unit::BytesPerSecond,
                vec![
                    disk("node_disk_read_bytes_total", "read"),
                    disk("node_disk_written_bytes_total", "written"),
                ],
            )
            .description("Traffic of all disks."),
        )
}

/// What the nodes of a cluster are together.
fn node_totals() -> [Panel; 4] {
    let total = |title: &str, unit: Unit, of: Selector, description: &str| {
        Panel::stat(title, unit, PanelQuery::new(sum(of, ["cluster"]), "{{cluster}}"))
            .description(description)
    };
    let ready = metric("kube_node_status_condition").eq("condition", "Ready").eq("status", "true");
    let capacity = |resource: &str| metric("kube_node_status_capacity").eq("resource", resource);
    [
        total("Nodes ready", Unit::None, ready, "Nodes that can take pods."),
        total("CPUs", Unit::None, capacity("cpu"), "CPUs of all nodes."),
        total("Memory", Unit::Bytes, capacity("memory"), "Memory of all nodes."),
        total("Pods", Unit::None, metric("kubelet_running_pods"), "Pods that run on all nodes."),
    ]
}

/// `workloads`: replicas, restarts, and what pods use of CPU, memory and network.
pub fn workloads() -> Dashboard {
    let by_pod =
        |expression: Expression| vec![PanelQuery::new(expression, "{{namespace}} / {{pod}} ({{cluster}})")];
    let deployment = ["cluster", "namespace", "deployment"];
    let missing = sum(metric("kube_deployment_spec_replicas"), deployment)
        - sum(metric("kube_deployment_status_replicas_available"), deployment);
    let containers = |name: &str| metric(name).ne("container", "").ne("pod", "");
    let throttled = containers("container_cpu_cfs_throttled_periods_total").rate(RATE).sum_by(POD)
        / containers("container_cpu_cfs_periods_total").rate(RATE).sum_by(POD);
    let waiting = metric("kube_pod_container_status_waiting_reason")
        .matching(Matcher::none_of("reason", ["ContainerCreating", "PodInitializing"]));
    let restarts = metric("kube_pod_container_status_restarts_total").increase(RESTARTS);
    let traffic = |name: &str, direction: &str| {
        let sum = metric(name).ne("pod", "").rate(RATE).sum_by(POD);
        PanelQuery::new(sum, format!("{{{{namespace}}}} / {{{{pod}}}} ({{{{cluster}}}}) {direction}"))
    };
    dashboard("workloads", "Workloads")
        .panel(
            Panel::stat(
                "Pods",
                Unit::None,
                PanelQuery::new(
                    sum(metric("kube_pod_status_phase"), ["cluster", "phase"]),
                    "{{phase}} ({{cluster}})",
                ),
            )
            .description("Pods by their phase.")
            .width(24),
        )
        .panel(
            Panel::time_series(
                "Replicas missing",
                Unit::None,
                vec![PanelQuery::new(missing, "{{namespace}} / {{deployment}} ({{cluster}})")],
            )
            .description("Replicas of deployments that are asked for and not available."),
        )
        .panel(
            Panel::time_series(
                "Containers that cannot start",
                Unit::None,
                vec![PanelQuery::new(
                    sum(waiting, ["cluster", "namespace", "container", "reason"]),
                    "{{namespace}} / {{container}} ({{cluster}}): {{reason}}",
                )],
            )
            .description("Waiting containers by reason: an image that cannot be pulled, a crash loop, a missing configuration."),
        )
        .panel(
            Panel::time_series(
                "CPU",
                Unit::None,
                by_pod(containers("container_cpu_usage_seconds_total").rate(RATE).sum_by(POD)),
            )
            .description("CPUs that each pod keeps busy."),
        )
        .panel(
            Panel::time_series("CPU throttled", Unit::Percent, by_pod(100.0 * throttled))
                .description("The part of the scheduler's periods in which a pod was held back by its limit.")
                .range(0.0, 100.0),
        )
        .panel(
            Panel::time_series(
                "Memory",
                Unit::Bytes,
                by_pod(sum(containers("container_memory_working_set_bytes"), POD)),
            )
            .description("The working set of each pod, which is what its limit is compared with."),
        )
        .panel(
            Panel::time_series(
                "Container restarts",
                Unit::None,
                vec![PanelQuery::new(
                    restarts.sum_by(["cluster", "namespace", "container"]),
                    "{{namespace}} / {{container}} ({{cluster}})",
                )],
            )
            .description("How often containers were started anew in the last 15 minutes."),
        )
        .panel(
            Panel::time_series(
                "Network",
                Unit::BytesPerSecond,
                vec![
                    traffic("container_network_receive_bytes_total", "received"),
                    traffic("container_network_transmit_bytes_total", "sent"),
                ],
            )
            .description("Traffic of each pod.")
            .width(24),
        )
}

/// `ingress`: requests, answers and connections of the NGINX Ingress Controller and of Traefik, whichever there is.
pub fn ingress() -> Dashboard {
    let nginx = "NGINX ({{cluster}})";
    let requests = vec![
        PanelQuery::new(
            metric("nginx_ingress_nginx_http_requests_total").rate(RATE).sum_by(["cluster"]),
            nginx,
        ),
        PanelQuery::new(
            metric("traefik_entrypoint_requests_total").rate(RATE).sum_by(["cluster", "entrypoint"]),
            "Traefik {{entrypoint}} ({{cluster}})",
        ),
    ];
    let services = vec![PanelQuery::new(
        metric("traefik_service_requests_total").rate(RATE).sum_by(["cluster", "service", "code"]),
        "{{service}}: {{code}} ({{cluster}})",
    )];
    let mean = |sum: &str, count: &str, by: &[&str]| {
        metric(sum).rate(RATE).sum_by(by.iter().copied())
            / metric(count).rate(RATE).sum_by(by.iter().copied())
    };
    let nginx_latency = mean(
        "nginx_ingress_controller_upstream_server_response_latency_ms_sum",
        "nginx_ingress_controller_upstream_server_response_latency_ms_count",
        &["cluster"],
    );
    let traefik_latency = mean(
        "traefik_entrypoint_request_duration_seconds_sum",
        "traefik_entrypoint_request_duration_seconds_count",
        &["cluster", "entrypoint"],
    );
    let latency = vec![
        PanelQuery::new(nginx_latency / 1000.0, nginx),
        PanelQuery::new(traefik_latency, "Traefik {{entrypoint}} ({{cluster}})"),
    ];
    let connections = vec![
        PanelQuery::new(sum(metric("nginx_ingress_nginx_connections_active"), ["cluster"]), nginx),
        PanelQuery::new(
            sum(metric("traefik_open_connections"), ["cluster", "entrypoint"]),
            "Traefik {{entrypoint}} ({{cluster}})",
        ),
    ];
    let reloads = vec![
        PanelQuery::new(
            metric("nginx_ingress_controller_nginx_reloads_total").increase(RESTARTS).sum_by(["cluster"]),
            nginx,
        ),
        PanelQuery::new(
            metric("traefik_config_reloads_total").increase(RESTARTS).sum_by(["cluster"]),
            "Traefik ({{cluster}})",
        ),
    ];
    dashboard("ingress", "Ingress")
        .panel(
            Panel::time_series("Requests per second", Unit::None, requests)
                .description("Requests that came in."),
        )
        .panel(Panel::time_series("Requests per second by service", Unit::None, services).description(
            "Requests by the Service that answered and its answer's code; Traefik alone tells them.",
        ))
        .panel(
            Panel::time_series("Mean time of answers", Unit::Seconds, latency)
                .description("How long answers took, on average."),
        )
        .panel(
            Panel::time_series("Connections", Unit::None, connections)
                .description("Connections that are open."),
        )
        .panel(
            Panel::time_series("Configurations loaded", Unit::None, reloads)
                .description("How often routes were loaded anew in the last 15 minutes.")
                .width(24),
        )
}

fn dashboard(uid: &str, title: &str) -> Dashboard {
    Dashboard::new(uid, title).window(WINDOW).refresh(REFRESH)
}

/// File systems that hold files.
fn without_pseudo(selector: Selector) -> Selector {
    selector.matching(Matcher::none_of("fstype", ["tmpfs", "ramfs", "squashfs"]))
}

fn sum<const N: usize>(of: Selector, by: [&str; N]) -> Expression {
    Expression::from(of).aggregate(Aggregation::Sum, by)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::PanelContent;

    /// The labels that an expression's series have; `None` for a number, which has any.
    fn labels(expression: &Expression) -> Option<Vec<String>> {
        match expression {
            Expression::Aggregate { by, .. } => Some(by.clone()),
            Expression::Binary { left, right, .. } => match (labels(left), labels(right)) {
                (Some(left), Some(right)) => {
                    assert_eq!(left, right, "the sides of {expression} have no pairs");
                    Some(left)
                }
                (one, other) => one.or(other),
            },
            Expression::Number(_) => None,
            other => panic!("{other} is not aggregated: its series are named by whatever labels there are"),
        }
    }

    #[test]
    fn legends_name_exactly_the_labels_that_series_have() {
        for dashboard in all() {
            for panel in &dashboard.panels {
                let queries = match &panel.content {
                    PanelContent::TimeSeries { queries, .. } => queries.iter().collect(),
                    PanelContent::Stat { query, .. } => vec![query],
                    PanelContent::Logs { .. } => Vec::new(),
                };
                assert!(!queries.is_empty() && !panel.description.is_empty(), "{}", panel.title);
                for query in queries {
                    let named = labels(&query.expression).unwrap();
                    assert!(
                        named.iter().all(|label| query.legend.contains(&format!("{{{{{label}}}}}"))),
                        "{query:?}"
                    );
                    assert_eq!(query.legend.matches("{{").count(), named.len(), "{query:?}");
                }
            }
        }
    }
}
