//! Pods and their containers.

use super::object::{Object, condition_status, one_of, resource_and_unit};
use crate::sources::samples::SampleSet;

pub(super) fn pod(pod: Object<'_>, set: &mut SampleSet) {
    const PHASES: [&str; 5] = ["Pending", "Succeeded", "Failed", "Unknown", "Running"];
    let labels = [("namespace", pod.namespace()), ("pod", pod.name()), ("uid", pod.uid())];
    let (controller_kind, controller) = pod.controller().unwrap_or_default();
    let info = [
        ("host_ip", pod.text("/status/hostIP")),
        ("pod_ip", pod.text("/status/podIP")),
        ("node", pod.text("/spec/nodeName")),
        ("created_by_kind", controller_kind),
        ("created_by_name", controller),
        ("priority_class", pod.text("/spec/priorityClassName")),
        ("host_network", if pod.flag("/spec/hostNetwork") { "true" } else { "false" }),
    ];
    set.gauge("kube_pod_info", &[labels.as_slice(), &info].concat(), 1.0);
    pod.created("kube_pod_created", &labels, set);
    pod.owners("kube_pod_owner", &labels, set);
    if let Some(time) = pod.time(&["/status/startTime"]) {
        set.gauge("kube_pod_start_time", &labels, time.as_secs_f64());
    }
    let phase = pod.text("/status/phase");
    if !phase.is_empty() {
        one_of(set, "kube_pod_status_phase", &labels, ("phase", &PHASES), phase);
    }
    let reason = pod.text("/status/reason");
    if !reason.is_empty() {
        set.gauge("kube_pod_status_reason", &[labels.as_slice(), &[("reason", reason)]].concat(), 1.0);
    }
    for condition in pod.items("/status/conditions") {
        match condition.text("/type") {
            "Ready" => condition_status(set, "kube_pod_status_ready", &labels, "condition", condition),
            "PodScheduled" => {
                condition_status(set, "kube_pod_status_scheduled", &labels, "condition", condition);
            }
            _ => {}
        }
    }
    for container in pod.items("/spec/containers") {
        resources(pod, container, &labels, set);
    }
    for status in pod.items("/status/containerStatuses") {
        container(status, &labels, set);
    }
}

fn container(status: Object<'_>, pod: &[(&str, &str)], set: &mut SampleSet) {
    let labels = [pod, &[("container", status.text("/name"))]].concat();
    let info = [
        ("image", status.text("/image")),
        ("image_id", status.text("/imageID")),
        ("container_id", status.text("/containerID")),
    ];
    set.gauge("kube_pod_container_info", &[labels.as_slice(), &info].concat(), 1.0);
    set.counter(
        "kube_pod_container_status_restarts_total",
        &labels,
        status.number("/restartCount").unwrap_or_default(),
    );
    let mut flag = |metric: &str, holds: bool| set.gauge(metric, &labels, f64::from(u8::from(holds)));
    flag("kube_pod_container_status_ready", status.flag("/ready"));
    flag("kube_pod_container_status_running", status.has("/state/running"));
    flag("kube_pod_container_status_waiting", status.has("/state/waiting"));
    flag("kube_pod_container_status_terminated", status.has("/state/terminated"));
    for (metric, pointer) in [
        ("kube_pod_container_status_waiting_reason", "/state/waiting/reason"),
        ("kube_pod_container_status_terminated_reason", "/state/terminated/reason"),
        ("kube_pod_container_status_last_terminated_reason", "/lastState/terminated/reason"),
    ] {
        let reason = status.text(pointer);
        if !reason.is_empty() {
            set.gauge(metric, &[labels.as_slice(), &[("reason", reason)]].concat(), 1.0);
        }
    }
}

fn resources(pod: Object<'_>, container: Object<'_>, labels: &[(&str, &str)], set: &mut SampleSet) {
    for (metric, pointer) in [
        ("kube_pod_container_resource_requests", "/resources/requests"),
        ("kube_pod_container_resource_limits", "/resources/limits"),
    ] {
        for (resource, amount) in container.quantities(pointer) {
            let Some((resource, unit)) = resource_and_unit(resource) else { continue };
            let more = [
                ("container", container.text("/name")),
                ("node", pod.text("/spec/nodeName")),
                ("resource", resource.as_str()),
                ("unit", unit),
            ];
            set.gauge(metric, &[labels, &more].concat(), amount);
        }
    }
}
