//! What Prometheus scrapes.

use super::{
    PrometheusSettings, ScrapeJob,
    configuration::{
        Authorization, Discovery, POD_ENVIRONMENT_LABEL, POD_NAME_LABEL, Relabel, ScrapeConfig, StaticConfig,
        TlsConfig,
    },
};
use crate::components::frame::Frame;
use platform_core::cluster::ClusterRole;

/// The names of the jobs that are always there.
pub(super) const JOBS: [&str; 6] =
    ["kubelet", "cadvisor", "node-exporter", "kube-state-metrics", "pods", "services"];

const NODE_NAME: &str = "__meta_kubernetes_node_name";
const NAMESPACE: &str = "__meta_kubernetes_namespace";
const POD: &str = "__meta_kubernetes_pod_name";
const POD_NODE: &str = "__meta_kubernetes_pod_node_name";
const POD_PHASE: &str = "__meta_kubernetes_pod_phase";
const POD_PORT_NAME: &str = "__meta_kubernetes_pod_container_port_name";
const POD_READY: &str = "__meta_kubernetes_pod_ready";
/// The Service of a slice of endpoints.
pub(super) const SERVICE_NAME_LABEL: &str = "__meta_kubernetes_service_name";
pub(super) const SLICE_PORT_NAME: &str = "__meta_kubernetes_endpointslice_port_name";

/// An address without its port, and a port.
const ADDRESS_AND_PORT: &str = r"(.+?)(?::\d+)?;(\d+)";

pub(super) fn configs(settings: &PrometheusSettings, frame: &Frame<'_>) -> Vec<ScrapeConfig> {
    let mut jobs = vec![
        kubelet("kubelet", "/metrics", settings.verify_kubelets),
        kubelet("cadvisor", "/metrics/cadvisor", settings.verify_kubelets),
        node_exporter(frame),
        kube_state_metrics(frame),
        pods(),
        services(),
    ];
    for job in &mut jobs {
        // What is said of a namespace is said of its environment.
        job.metric_relabel_configs.extend(environments(frame));
    }
    jobs.extend(settings.scrape.iter().map(static_job));
    for job in &mut jobs {
        job.relabel_configs.push(Relabel::set("cluster", frame.target.cluster.as_str()));
        if let Some(environment) = frame.environment() {
            job.relabel_configs.push(Relabel::set("environment", environment));
        }
    }
    jobs
}

fn kubelet(job: &str, path: &str, verified: bool) -> ScrapeConfig {
    ScrapeConfig {
        job_name: job.to_owned(),
        scheme: Some("https"),
        metrics_path: Some(path.to_owned()),
        authorization: Some(Authorization::own_account()),
        tls_config: Some(TlsConfig::of_cluster(verified)),
        kubernetes_sd_configs: Discovery::everywhere("node"),
        relabel_configs: vec![Relabel::copy(NODE_NAME, "instance")],
        ..ScrapeConfig::default()
    }
}

fn node_exporter(frame: &Frame<'_>) -> ScrapeConfig {
    ScrapeConfig {
        job_name: "node-exporter".to_owned(),
        kubernetes_sd_configs: Discovery::within("pod", frame.namespace()),
        relabel_configs: vec![
            Relabel::keep(&[POD_NAME_LABEL, POD_PORT_NAME], "node-exporter;metrics"),
            Relabel::copy(POD_NODE, "instance"),
        ],
        ..ScrapeConfig::default()
    }
}

fn kube_state_metrics(frame: &Frame<'_>) -> ScrapeConfig {
    ScrapeConfig {
        job_name: "kube-state-metrics".to_owned(),
        // Its series are about other pods and namespaces than its own.
        honor_labels: true,
        kubernetes_sd_configs: Discovery::within("endpointslice", frame.namespace()),
        relabel_configs: vec![Relabel::keep(
            &[SERVICE_NAME_LABEL, SLICE_PORT_NAME],
            "kube-state-metrics;metrics",
        )],
        ..ScrapeConfig::default()
    }
}

/// Pods that ask for it.
fn pods() -> ScrapeConfig {
    const SCRAPE: &str = "__meta_kubernetes_pod_annotation_prometheus_io_scrape";
    const PORT: &str = "__meta_kubernetes_pod_annotation_prometheus_io_port";
    const PATH: &str = "__meta_kubernetes_pod_annotation_prometheus_io_path";
    const SCHEME: &str = "__meta_kubernetes_pod_annotation_prometheus_io_scheme";
    let mut relabel_configs = vec![
        Relabel::keep(&[SCRAPE], "true"),
        Relabel::drop(&[POD_PHASE], "Pending|Succeeded|Failed"),
        Relabel::replace(&["__address__", PORT], ADDRESS_AND_PORT, "__address__", "$1:$2"),
        Relabel::copy(PATH, "__metrics_path__"),
        Relabel::copy(SCHEME, "__scheme__"),
    ];
    relabel_configs.extend(pod_labels());
    ScrapeConfig {
        job_name: "pods".to_owned(),
        kubernetes_sd_configs: Discovery::everywhere("pod"),
        relabel_configs,
        ..ScrapeConfig::default()
    }
}

/// Pods behind Services that ask for it.
fn services() -> ScrapeConfig {
    const SCRAPE: &str = "__meta_kubernetes_service_annotation_prometheus_io_scrape";
    const PORT: &str = "__meta_kubernetes_service_annotation_prometheus_io_port";
    const PATH: &str = "__meta_kubernetes_service_annotation_prometheus_io_path";
    const SCHEME: &str = "__meta_kubernetes_service_annotation_prometheus_io_scheme";
    let mut relabel_configs = vec![
        Relabel::keep(&[SCRAPE], "true"),
        Relabel::drop(&[POD_READY], "false"),
        Relabel::replace(&["__address__", PORT], ADDRESS_AND_PORT, "__address__", "$1:$2"),
        Relabel::copy(PATH, "__metrics_path__"),
        Relabel::copy(SCHEME, "__scheme__"),
    ];
    relabel_configs.extend(pod_labels());
    relabel_configs.push(Relabel::copy(SERVICE_NAME_LABEL, "job"));
    ScrapeConfig {
        job_name: "services".to_owned(),
        kubernetes_sd_configs: Discovery::everywhere("endpointslice"),
        relabel_configs,
        ..ScrapeConfig::default()
    }
}

/// Whose samples they are.
fn pod_labels() -> [Relabel; 4] {
    [
        Relabel::copy(POD_NAME_LABEL, "job"),
        Relabel::copy(NAMESPACE, "namespace"),
        Relabel::copy(POD, "pod"),
        Relabel::copy(POD_ENVIRONMENT_LABEL, "environment"),
    ]
}

/// In a cluster of several environments, the one that a namespace belongs to: its name is the environment's, or begins with it.
fn environments(frame: &Frame<'_>) -> Option<Relabel> {
    let ClusterRole::Environments(environments) = &frame.target.role else { return None };
    if environments.len() < 2 {
        return None;
    }
    let mut names: Vec<&str> =
        environments.iter().map(platform_core::name::EnvironmentName::as_str).collect();
    // Of two that begin alike, the longer one is meant.
    names.sort_unstable_by_key(|name| std::cmp::Reverse(name.len()));
    Some(Relabel::replace(&["namespace"], format!("({})(-.*)?", names.join("|")), "environment", "$1"))
}

fn static_job(job: &ScrapeJob) -> ScrapeConfig {
    ScrapeConfig {
        job_name: job.name.clone(),
        scheme: job.tls.then_some("https"),
        metrics_path: Some(job.path.clone()),
        static_configs: vec![StaticConfig { targets: job.targets.clone(), labels: job.labels.clone() }],
        ..ScrapeConfig::default()
    }
}
