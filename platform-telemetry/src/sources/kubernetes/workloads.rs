//! What runs pods.

use super::object::{Object, condition_status};
use crate::sources::samples::SampleSet;

/// Numbers of an object: a suffix of the metric, and where the number stands. What is not there is zero.
fn numbers(
    object: Object<'_>,
    set: &mut SampleSet,
    prefix: &str,
    labels: &[(&str, &str)],
    numbers: &[(&str, &str)],
) {
    for (suffix, pointer) in numbers {
        set.gauge(&format!("{prefix}_{suffix}"), labels, object.number(pointer).unwrap_or_default());
    }
}

pub(super) fn deployment(deployment: Object<'_>, set: &mut SampleSet) {
    let labels = [("namespace", deployment.namespace()), ("deployment", deployment.name())];
    deployment.created("kube_deployment_created", &labels, set);
    let paused = f64::from(u8::from(deployment.flag("/spec/paused")));
    set.gauge("kube_deployment_spec_paused", &labels, paused);
    let wanted = [
        ("spec_replicas", "/spec/replicas"),
        ("metadata_generation", "/metadata/generation"),
        ("status_replicas", "/status/replicas"),
        ("status_replicas_ready", "/status/readyReplicas"),
        ("status_replicas_available", "/status/availableReplicas"),
        ("status_replicas_unavailable", "/status/unavailableReplicas"),
        ("status_replicas_updated", "/status/updatedReplicas"),
        ("status_observed_generation", "/status/observedGeneration"),
    ];
    numbers(deployment, set, "kube_deployment", &labels, &wanted);
    for condition in deployment.items("/status/conditions") {
        let more = [("condition", condition.text("/type")), ("reason", condition.text("/reason"))];
        let labels = [labels.as_slice(), &more].concat();
        condition_status(set, "kube_deployment_status_condition", &labels, "status", condition);
    }
}

pub(super) fn stateful_set(stateful_set: Object<'_>, set: &mut SampleSet) {
    let labels = [("namespace", stateful_set.namespace()), ("statefulset", stateful_set.name())];
    stateful_set.created("kube_statefulset_created", &labels, set);
    let wanted = [
        ("replicas", "/spec/replicas"),
        ("metadata_generation", "/metadata/generation"),
        ("status_replicas", "/status/replicas"),
        ("status_replicas_available", "/status/availableReplicas"),
        ("status_replicas_current", "/status/currentReplicas"),
        ("status_replicas_ready", "/status/readyReplicas"),
        ("status_replicas_updated", "/status/updatedReplicas"),
        ("status_observed_generation", "/status/observedGeneration"),
    ];
    numbers(stateful_set, set, "kube_statefulset", &labels, &wanted);
}

pub(super) fn daemon_set(daemon_set: Object<'_>, set: &mut SampleSet) {
    let labels = [("namespace", daemon_set.namespace()), ("daemonset", daemon_set.name())];
    daemon_set.created("kube_daemonset_created", &labels, set);
    let wanted = [
        ("metadata_generation", "/metadata/generation"),
        ("status_current_number_scheduled", "/status/currentNumberScheduled"),
        ("status_desired_number_scheduled", "/status/desiredNumberScheduled"),
        ("status_number_available", "/status/numberAvailable"),
        ("status_number_misscheduled", "/status/numberMisscheduled"),
        ("status_number_ready", "/status/numberReady"),
        ("status_number_unavailable", "/status/numberUnavailable"),
        ("status_updated_number_scheduled", "/status/updatedNumberScheduled"),
        ("status_observed_generation", "/status/observedGeneration"),
    ];
    numbers(daemon_set, set, "kube_daemonset", &labels, &wanted);
}

pub(super) fn replica_set(replica_set: Object<'_>, set: &mut SampleSet) {
    let labels = [("namespace", replica_set.namespace()), ("replicaset", replica_set.name())];
    replica_set.created("kube_replicaset_created", &labels, set);
    replica_set.owners("kube_replicaset_owner", &labels, set);
    let wanted = [
        ("spec_replicas", "/spec/replicas"),
        ("metadata_generation", "/metadata/generation"),
        ("status_replicas", "/status/replicas"),
        ("status_fully_labeled_replicas", "/status/fullyLabeledReplicas"),
        ("status_ready_replicas", "/status/readyReplicas"),
        ("status_observed_generation", "/status/observedGeneration"),
    ];
    numbers(replica_set, set, "kube_replicaset", &labels, &wanted);
}

pub(super) fn job(job: Object<'_>, set: &mut SampleSet) {
    /// Why jobs fail, as far as kube-state-metrics tells apart.
    const REASONS: [&str; 3] = ["BackoffLimitExceeded", "DeadlineExceeded", "Evicted"];
    let labels = [("namespace", job.namespace()), ("job_name", job.name())];
    set.gauge("kube_job_info", &labels, 1.0);
    job.created("kube_job_created", &labels, set);
    job.owners("kube_job_owner", &labels, set);
    for (metric, pointer) in [
        ("kube_job_spec_parallelism", "/spec/parallelism"),
        ("kube_job_spec_completions", "/spec/completions"),
        ("kube_job_spec_active_deadline_seconds", "/spec/activeDeadlineSeconds"),
    ] {
        if let Some(number) = job.number(pointer) {
            set.gauge(metric, &labels, number);
        }
    }
    numbers(
        job,
        set,
        "kube_job",
        &labels,
        &[("status_active", "/status/active"), ("status_succeeded", "/status/succeeded")],
    );
    for (metric, pointer) in [
        ("kube_job_status_start_time", "/status/startTime"),
        ("kube_job_status_completion_time", "/status/completionTime"),
    ] {
        if let Some(time) = job.time(&[pointer]) {
            set.gauge(metric, &labels, time.as_secs_f64());
        }
    }
    let failed = job.number("/status/failed").unwrap_or_default();
    let reason = job
        .items("/status/conditions")
        .find(|condition| condition.text("/type") == "Failed")
        .map(|condition| condition.text("/reason"));
    match reason {
        Some(reason) if failed > 0.0 && REASONS.contains(&reason) => {
            super::object::one_of(set, "kube_job_status_failed", &labels, ("reason", &REASONS), reason);
        }
        _ => set.gauge("kube_job_status_failed", &labels, failed),
    }
    for condition in job.items("/status/conditions") {
        match condition.text("/type") {
            "Complete" => condition_status(set, "kube_job_complete", &labels, "condition", condition),
            "Failed" => condition_status(set, "kube_job_failed", &labels, "condition", condition),
            _ => {}
        }
    }
}
