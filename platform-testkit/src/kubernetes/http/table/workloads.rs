//! Columns of pods and of what makes pods.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::column::{Column, age, at, column, name, number, ready, selector, wide};
use super::text::{human, labels, since, text_of, time};
use crate::kubernetes::resource::Resource;

const TEMPLATE: &str = "/spec/template/spec";

/// The columns of a workload; `None` for other kinds.
pub(super) fn columns(resource: &Resource) -> Option<Vec<Column>> {
    let mut columns = vec![name()];
    match (resource.group.as_str(), resource.id.plural()) {
        ("", "pods") => {
            columns.extend([
                column("Ready", |pod, _| json!(ready_containers(pod))),
                column("Status", |pod, _| json!(pod_status(pod))),
                column("Restarts", |pod, _| json!(restarts(pod).to_string())),
                age(),
                wide(at("IP", "/status/podIP")),
                wide(at("Node", "/spec/nodeName")),
                wide(at("Nominated Node", "/status/nominatedNodeName")),
                wide(column("Readiness Gates", |_, _| json!("<none>"))),
            ]);
        }
        ("apps", "deployments") => {
            columns.extend([
                ready("/status/readyReplicas", "/spec/replicas"),
                number("Up-to-date", "/status/updatedReplicas"),
                number("Available", "/status/availableReplicas"),
                age(),
            ]);
            columns.extend(containers(TEMPLATE));
            columns.push(wide(selector("Selector", "/spec/selector")));
        }
        ("apps", "replicasets") | ("", "replicationcontrollers") => {
            columns.extend([
                number("Desired", "/spec/replicas"),
                number("Current", "/status/replicas"),
                number("Ready", "/status/readyReplicas"),
                age(),
            ]);
            columns.extend(containers(TEMPLATE));
            columns.push(wide(selector("Selector", "/spec/selector")));
        }
        ("apps", "statefulsets") => {
            columns.extend([ready("/status/readyReplicas", "/spec/replicas"), age()]);
            columns.extend(containers(TEMPLATE));
        }
        ("apps", "daemonsets") => {
            columns.extend([
                number("Desired", "/status/desiredNumberScheduled"),
                number("Current", "/status/currentNumberScheduled"),
                number("Ready", "/status/numberReady"),
                number("Up-to-date", "/status/updatedNumberScheduled"),
                number("Available", "/status/numberAvailable"),
                column("Node Selector", |set, _| {
                    json!(labels(&set["spec"]["template"]["spec"]["nodeSelector"]))
                }),
                age(),
            ]);
            columns.extend(containers(TEMPLATE));
            columns.push(wide(selector("Selector", "/spec/selector")));
        }
        ("batch", "jobs") => {
            columns.extend([
                column("Status", |job, _| json!(job_status(job))),
                ready("/status/succeeded", "/spec/completions").named("Completions"),
                column("Duration", |job, now| json!(duration(job, now))),
                age(),
            ]);
            columns.extend(containers(TEMPLATE));
            columns.push(wide(selector("Selector", "/spec/selector")));
        }
        ("batch", "cronjobs") => columns.extend([
            at("Schedule", "/spec/schedule"),
            at("Timezone", "/spec/timeZone"),
            column("Suspend", |job, _| json!(if job["spec"]["suspend"] == true { "True" } else { "False" })),
            column("Active", |job, _| json!(job["status"]["active"].as_array().map_or(0, Vec::len))),
            column("Last Schedule", |job, now| {
                let last = &job["status"]["lastScheduleTime"];
                json!(if last.is_null() { "<none>".to_owned() } else { since(last, now) })
            }),
            age(),
        ]),
        _ => return None,
    }
    Some(columns)
}

fn containers(pod: &'static str) -> [Column; 2] {
    let joined = move |object: &Value, field: &str| {
        let list = object.pointer(pod).and_then(|spec| spec["containers"].as_array());
        let texts: Vec<&str> = list.into_iter().flatten().filter_map(|one| one[field].as_str()).collect();
        json!(texts.join(","))
    };
    [
        wide(column("Containers", move |object, _| joined(object, "name"))),
        wide(column("Images", move |object, _| joined(object, "image"))),
    ]
}

fn ready_containers(pod: &Value) -> String {
    let statuses = pod["status"]["containerStatuses"].as_array();
    let ready = statuses.into_iter().flatten().filter(|status| status["ready"] == true).count();
    format!("{ready}/{}", pod["spec"]["containers"].as_array().map_or(0, Vec::len))
}

fn restarts(pod: &Value) -> i64 {
    let statuses = pod["status"]["containerStatuses"].as_array();
    statuses.into_iter().flatten().filter_map(|status| status["restartCount"].as_i64()).sum()
}

/// The phase, or what keeps a container from running.
fn pod_status(pod: &Value) -> String {
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return "Terminating".to_owned();
    }
    let statuses = pod["status"]["containerStatuses"].as_array();
    let reason = statuses.into_iter().flatten().rev().find_map(|status| {
        let state = &status["state"];
        state["waiting"]["reason"].as_str().or_else(|| state["terminated"]["reason"].as_str())
    });
    reason
        .or_else(|| pod["status"]["reason"].as_str())
        .map_or_else(|| text_of(&pod["status"]["phase"]), str::to_owned)
}

fn job_status(job: &Value) -> &'static str {
    let holds = |kind: &str| {
        let conditions = job["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|one| one["type"] == kind && one["status"] == "True")
    };
    if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if holds("Suspended") {
        "Suspended"
    } else {
        "Running"
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let Some(start) = time(&job["status"]["startTime"]) else { return String::new() };
    let end = time(&job["status"]["completionTime"]).unwrap_or(now);
    human(end.as_second() - start.as_second())
}
