//! The standard dashboards, over the metrics of node exporter and kube-state-metrics.
//!
//! Series are told apart by the labels `environment` and `cluster`, which sources add to everything they read. A dashboard is a plain
//! value: publish it as it is, add panels to it, or render it for another target.

use platform_core::{
    alert::{AlertRule, cpu_percent},
    component::SYSTEM_NAMESPACE,
    dashboard::{Dashboard, Panel, PanelContent, PanelQuery, Unit},
    telemetry::{Aggregation, Expression, Matcher, Selector, Severity, metric},
};
use std::time::Duration;

/// Short enough that what happens now is seen to move.
const WINDOW: Duration = Duration::from_secs(5 * 60);

/// The window of rates: four scrapes of 15 seconds, by the usual rule.
const RATE: Duration = Duration::from_secs(60);

/// The window in which restarts are counted.
const RESTARTS: Duration = Duration::from_secs(15 * 60);

/// Counts how often a container was started anew.
const RESTARTED: &str = "kube_pod_container_status_restarts_total";

/// Namespaces of Kubernetes and of what observes it.
const SYSTEM: [&str; 2] = ["kube-system", SYSTEM_NAMESPACE];

const CLUSTER: [&str; 2] = ["cluster", "environment"];

/// `platform-overview`: nodes, network, disks and pods of every cluster, and warnings of the logs.
///
/// With `cpu_alert`, the CPU panel draws what that rule watches and marks its limit; otherwise the CPU use over the last minute.
pub fn platform_overview(cpu_alert: Option<&AlertRule>) -> Dashboard {
    Dashboard::new("platform-overview", "Platform overview")
        .window(WINDOW)
        .panel(cpu(cpu_alert))
        .panel(memory_percent())
        .panel(memory_bytes().width(8))
        .panel(load().width(8))
        .panel(file_systems().width(8))
        .panel(network())
        .panel(disks())
        .panel(pods())
        .panel(restarts(metric(RESTARTED), &["cluster"], "{{cluster}}"))
        .panel(warnings())
}

/// `applications`: replicas, restarts and waiting containers by environment and application.
///
/// Only of what is deployed to an environment: the components of the platform and of Kubernetes itself are not applications.
pub fn applications() -> Dashboard {
    Dashboard::new("applications", "Applications")
        .window(WINDOW)
        .panel(availability())
        .panel(running_pods())
        .panel(replicas().width(12))
        .panel(missing_replicas())
        .panel(restarts(
            deployed(RESTARTED),
            &["environment", "container"],
            "{{environment}} / {{container}}",
        ))
        .panel(waiting())
}

fn cpu(alert: Option<&AlertRule>) -> Panel {
    let watched = alert.map_or_else(|| cpu_percent(RATE), |rule| rule.expression.clone());
    let panel = Panel::time_series("CPU used", Unit::Percent, vec![by_cluster(watched)])
        .description("Mean over the cluster's nodes of the time that their CPUs were not idle.")
        .range(0.0, 100.0);
    match alert {
        Some(rule) => panel.threshold(rule.condition.limit()),
        None => panel,
    }
}

fn memory_percent() -> Panel {
    let available = sum(metric("node_memory_MemAvailable_bytes"), CLUSTER);
    let total = sum(metric("node_memory_MemTotal_bytes"), CLUSTER);
    Panel::time_series("Memory used", Unit::Percent, vec![by_cluster(100.0 * (1.0 - available / total))])
        .description("The part of the nodes' memory that programs could not get without swapping.")
        .range(0.0, 100.0)
}

fn memory_bytes() -> Panel {
    let available = sum(metric("node_memory_MemAvailable_bytes"), CLUSTER);
    let total = sum(metric("node_memory_MemTotal_bytes"), CLUSTER);
    let used = PanelQuery::new(total.clone() - available, "{{cluster}} used");
    let total = PanelQuery::new(total, "{{cluster}} total");
    Panel::time_series("Memory", Unit::Bytes, vec![used, total])
        .description("Memory in use and in all, summed over the cluster's nodes.")
}

fn load() -> Panel {
    let load = |name: &str, minutes: &str| {
        PanelQuery::new(average(metric(name), CLUSTER), format!("{{{{cluster}}}} {minutes} min"))
    };
    let queries = vec![load("node_load1", "1"), load("node_load5", "5")];
    Panel::time_series("Load average", Unit::None, queries)
        .description("Programs that run or wait for a CPU or a disk, mean over the cluster's nodes.")
}

fn file_systems() -> Panel {
    let root = |name: &str| metric(name).eq("mountpoint", "/");
    let available = sum(root("node_filesystem_avail_bytes"), CLUSTER);
    let size = sum(root("node_filesystem_size_bytes"), CLUSTER);
    Panel::time_series(
        "Root file system used",
        Unit::Percent,
        vec![by_cluster(100.0 * (1.0 - available / size))],
    )
    .description("The part of the nodes' root file systems that is in use.")
    .range(0.0, 100.0)
}

fn network() -> Panel {
    let rate = |name: &str, direction: &str| {
        let devices = metric(name).ne("device", "lo").rate(RATE);
        PanelQuery::new(devices.sum_by(CLUSTER), format!("{{{{cluster}}}} {direction}"))
    };
    let queries = vec![
        rate("node_network_receive_bytes_total", "received"),
        rate("node_network_transmit_bytes_total", "sent"),
    ];
    Panel::time_series("Network", Unit::BytesPerSecond, queries)
        .description("Traffic of all network devices but the loopback.")
}

fn disks() -> Panel {
    let rate = |name: &str, direction: &str| {
        PanelQuery::new(metric(name).rate(RATE).sum_by(CLUSTER), format!("{{{{cluster}}}} {direction}"))
    };
    let queries =
        vec![rate("node_disk_read_bytes_total", "read"), rate("node_disk_written_bytes_total", "written")];
    Panel::time_series("Disk", Unit::BytesPerSecond, queries).description("Traffic of all disks.")
}

fn pods() -> Panel {
    let ready = sum(metric("kube_deployment_status_replicas_ready"), ["cluster"]);
    let desired = sum(metric("kube_deployment_spec_replicas"), ["cluster"]);
    let queries =
        vec![PanelQuery::new(ready, "{{cluster}} ready"), PanelQuery::new(desired, "{{cluster}} desired")];
    Panel::time_series("Pods of deployments", Unit::None, queries)
        .description("Replicas that are ready and that are asked for, summed over the cluster's deployments.")
}

fn restarts(counter: Selector, by: &[&str], legend: &str) -> Panel {
    let query = PanelQuery::new(counter.increase(RESTARTS).sum_by(by.iter().copied()), legend);
    Panel::time_series("Container restarts", Unit::None, vec![query])
        .description("How often containers were started anew in the last 15 minutes.")
}

fn warnings() -> Panel {
    let content =
        PanelContent::Logs { text: String::new(), matchers: Vec::new(), min_severity: Some(Severity::Warn) };
    Panel::new("Warnings and errors", content)
        .description("The latest records of severity warn and above.")
        .width(24)
}

fn availability() -> Panel {
    let available = sum(deployed("kube_deployment_status_replicas_available"), ["environment"]);
    let desired = sum(deployed("kube_deployment_spec_replicas"), ["environment"]);
    let query = PanelQuery::new(100.0 * (available / desired), "{{environment}}");
    Panel::stat("Replicas available", Unit::Percent, query)
        .description("Replicas that are available, of those that are asked for.")
        .width(12)
}

fn running_pods() -> Panel {
    let pods = sum(deployed("kube_pod_status_phase").eq("phase", "Running"), ["environment"]);
    Panel::stat("Pods running", Unit::None, PanelQuery::new(pods, "{{environment}}"))
        .description("Pods of which at least one container runs.")
        .width(12)
}

fn replicas() -> Panel {
    let by = ["environment", "deployment"];
    let available = sum(deployed("kube_deployment_status_replicas_available"), by);
    let wanted = sum(deployed("kube_deployment_spec_replicas"), by);
    let queries = vec![
        PanelQuery::new(available, "{{environment}} / {{deployment}} available"),
        PanelQuery::new(wanted, "{{environment}} / {{deployment}} wanted"),
    ];
    Panel::time_series("Replicas", Unit::None, queries)
        .description("Replicas of each application that are available and that are asked for.")
}

fn missing_replicas() -> Panel {
    let by = ["environment", "deployment"];
    let missing = sum(deployed("kube_deployment_spec_replicas"), by)
        - sum(deployed("kube_deployment_status_replicas_available"), by);
    Panel::time_series(
        "Replicas missing",
        Unit::None,
        vec![PanelQuery::new(missing, "{{environment}} / {{deployment}}")],
    )
    .description("Replicas that are asked for and not available.")
}

fn waiting() -> Panel {
    let reasons = Matcher::none_of("reason", ["ContainerCreating", "PodInitializing"]);
    let waiting = deployed("kube_pod_container_status_waiting_reason").matching(reasons);
    let query = PanelQuery::new(
        sum(waiting, ["environment", "container", "reason"]),
        "{{environment}} / {{container}}: {{reason}}",
    );
    Panel::time_series("Containers that cannot start", Unit::None, vec![query])
        .description("Waiting containers by reason: an image that cannot be pulled, a crash loop, a missing configuration.")
}

/// A metric of what environments hold: clusters without one, and the namespaces of what serves the cluster itself, are left out.
fn deployed(name: &str) -> Selector {
    metric(name).ne("environment", "").matching(Matcher::none_of("namespace", SYSTEM))
}

fn by_cluster(expression: Expression) -> PanelQuery {
    PanelQuery::new(expression, "{{cluster}}")
}

fn sum<const N: usize>(of: Selector, by: [&str; N]) -> Expression {
    Expression::from(of).sum_by(by)
}

fn average<const N: usize>(of: Selector, by: [&str; N]) -> Expression {
    Expression::from(of).aggregate(Aggregation::Avg, by)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queries(dashboard: &Dashboard) -> Vec<&PanelQuery> {
        dashboard.panels.iter().flat_map(queries_of).collect()
    }

    fn queries_of(panel: &Panel) -> Vec<&PanelQuery> {
        match &panel.content {
            PanelContent::TimeSeries { queries, .. } => queries.iter().collect(),
            PanelContent::Stat { query, .. } => vec![query],
            _ => Vec::new(),
        }
    }

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
    fn legends_tell_all_series_apart() {
        let rule = AlertRule::high_cpu(80.0);
        for dashboard in [platform_overview(Some(&rule)), platform_overview(None), applications()] {
            for query in queries(&dashboard) {
                let named = labels(&query.expression).unwrap();
                // A cluster's name is unique; its environment goes with it.
                let needed = named
                    .iter()
                    .filter(|label| *label != "environment" || !named.contains(&"cluster".to_owned()));
                for label in needed {
                    assert!(query.legend.contains(&format!("{{{{{label}}}}}")), "{}: {label}", query.legend);
                }
                let used = query.legend.matches("{{").count();
                let known = named.iter().filter(|label| query.legend.contains(&format!("{{{{{label}}}}}")));
                assert_eq!(used, known.count(), "{} uses a label that {:?} lacks", query.legend, named);
            }
        }
    }

    #[test]
    fn the_cpu_panel_shows_what_the_alert_watches() {
        let rule = AlertRule::high_cpu(75.0);
        let dashboard = platform_overview(Some(&rule));
        let PanelContent::TimeSeries { queries, threshold, .. } = &dashboard.panels[0].content else {
            panic!("{:?}", dashboard.panels[0])
        };
        assert_eq!((queries[0].expression.clone(), *threshold), (rule.expression, Some(75.0)));
    }

    #[test]
    fn queries_are_promql_as_an_operator_would_write_it() {
        let dashboard = platform_overview(None);
        let promql: Vec<String> =
            queries(&dashboard).iter().map(|query| query.expression.to_string()).collect();
        for expected in [
            "100 * sum by (cluster, environment) (rate(node_cpu_seconds_total{mode!=\"idle\"}[1m])) / \
             sum by (cluster, environment) (rate(node_cpu_seconds_total[1m]))",
            r#"sum by (cluster, environment) (rate(node_network_receive_bytes_total{device!="lo"}[1m]))"#,
            "sum by (cluster) (kube_deployment_spec_replicas)",
            "sum by (cluster) (increase(kube_pod_container_status_restarts_total[15m]))",
        ] {
            assert!(promql.iter().any(|query| query == expected), "{expected}: {promql:#?}");
        }
        let dashboard = applications();
        let promql: Vec<String> =
            queries(&dashboard).iter().map(|query| query.expression.to_string()).collect();
        let waiting = r#"sum by (environment, container, reason) (kube_pod_container_status_waiting_reason{environment!="",namespace!~"kube-system|platform-system",reason!~"ContainerCreating|PodInitializing"})"#;
        assert!(promql.iter().any(|query| query == waiting), "{promql:#?}");
    }
}
