//! What makes pods.

use serde_json::Value;

use super::super::super::selector::LabelSelector;
use super::super::Report;
use super::{Field, label_selector, pod};

pub(super) fn deployment(spec: &Field<'_>, report: &mut Report) {
    controller(spec, report);
    let strategy = spec.child("strategy");
    strategy.child("type").one_of(&["Recreate", "RollingUpdate"], report);
    let update = strategy.child("rollingUpdate");
    if update.is_set() {
        if strategy.child("type").text() == "Recreate" {
            report.forbidden(&update.path, "may not be specified when strategy `type` is 'Recreate'");
        }
        rolling_update(&update, report);
    }
    for field in ["revisionHistoryLimit", "progressDeadlineSeconds"] {
        spec.child(field).not_negative(report);
    }
    let (deadline, ready) = (spec.child("progressDeadlineSeconds"), spec.child("minReadySeconds"));
    if deadline.integer().is_some_and(|deadline| deadline <= ready.integer().unwrap_or(0)) {
        report.invalid(&deadline.path, deadline.value, "must be greater than minReadySeconds");
    }
}

pub(super) fn replica_set(spec: &Field<'_>, report: &mut Report) {
    controller(spec, report);
}

pub(super) fn stateful_set(spec: &Field<'_>, report: &mut Report) {
    controller(spec, report);
    spec.child("podManagementPolicy").one_of(&["OrderedReady", "Parallel"], report);
    let strategy = spec.child("updateStrategy");
    strategy.child("type").one_of(&["RollingUpdate", "OnDelete"], report);
    strategy.child("rollingUpdate").child("partition").not_negative(report);
}

pub(super) fn daemon_set(spec: &Field<'_>, report: &mut Report) {
    controller(spec, report);
    let strategy = spec.child("updateStrategy");
    strategy.child("type").one_of(&["RollingUpdate", "OnDelete"], report);
    if strategy.child("rollingUpdate").is_set() {
        rolling_update(&strategy.child("rollingUpdate"), report);
    }
}

pub(super) fn replication_controller(spec: &Field<'_>, report: &mut Report) {
    spec.child("replicas").not_negative(report);
    let selector = spec.child("selector");
    let wanted = LabelSelector::from_labels(selector.value.as_object().unwrap_or(&serde_json::Map::new()));
    if wanted.is_empty() {
        report.required(&selector.path, "");
    }
    template(spec, &wanted, report);
}

pub(super) fn job(spec: &Field<'_>, report: &mut Report) {
    job_spec(spec, report);
    let selector = spec.child("selector");
    if selector.is_set() {
        label_selector(&selector, report);
        if let Ok(wanted) = LabelSelector::from_json(selector.value) {
            template_labels(spec, &wanted, report);
        }
    }
}

pub(super) fn cron_job(spec: &Field<'_>, report: &mut Report) {
    let schedule = spec.child("schedule");
    let fields = schedule.text().split_whitespace().count();
    if schedule.require(report) && fields != 5 && !schedule.text().starts_with('@') {
        report.invalid(&schedule.path, schedule.value, &format!("expected exactly 5 fields, found {fields}"));
    }
    spec.child("concurrencyPolicy").one_of(&["Allow", "Forbid", "Replace"], report);
    for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        spec.child(field).not_negative(report);
    }
    job_spec(&spec.child("jobTemplate").child("spec"), report);
}

fn job_spec(spec: &Field<'_>, report: &mut Report) {
    for field in
        ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"]
    {
        spec.child(field).not_negative(report);
    }
    spec.child("completionMode").one_of(&["NonIndexed", "Indexed"], report);
    let completions = spec.child("completions");
    if spec.child("completionMode").text() == "Indexed" && !completions.is_set() {
        report.required(&completions.path, "when completion mode is Indexed");
    }
    pod::check_template(spec, report);
    let policy = spec.child("template").child("spec").child("restartPolicy");
    if policy.text() == "Always" {
        let shown = Value::from("Always");
        let message = format!("Required value: valid values: \"OnFailure\", \"Never\" (found {shown})");
        report.add("FieldValueRequired", &policy.path, message);
    } else {
        policy.one_of(&["OnFailure", "Never"], report);
    }
}

fn controller(spec: &Field<'_>, report: &mut Report) {
    for field in ["replicas", "minReadySeconds"] {
        spec.child(field).not_negative(report);
    }
    let selector = spec.child("selector");
    if !selector.is_set() {
        report.required(&selector.path, "");
        pod::check_template(spec, report);
        return;
    }
    label_selector(&selector, report);
    match LabelSelector::from_json(selector.value) {
        Ok(wanted) if wanted.is_empty() => {
            report.invalid(&selector.path, selector.value, "empty selector is invalid for deployment");
        }
        Ok(wanted) => {
            template(spec, &wanted, report);
            return;
        }
        Err(_) => {}
    }
    pod::check_template(spec, report);
}

fn template(spec: &Field<'_>, selector: &LabelSelector, report: &mut Report) {
    template_labels(spec, selector, report);
    let template = spec.child("template");
    pod::check_template(spec, report);
    let policy = template.child("spec").child("restartPolicy");
    if policy.is_set() && policy.text() != "Always" {
        report.unsupported(&policy.path, policy.value, &["Always"]);
    }
    if template.child("spec").child("activeDeadlineSeconds").is_set() {
        let path = template.child("spec").path_of("activeDeadlineSeconds");
        report.forbidden(path, "activeDeadlineSeconds in a workload that restarts its pods is not supported");
    }
}

fn template_labels(spec: &Field<'_>, selector: &LabelSelector, report: &mut Report) {
    let labels = spec.child("template").child("metadata").child("labels");
    if !selector.matches(labels.value.as_object()) {
        report.invalid(&labels.path, labels.value, "`selector` does not match template `labels`");
    }
}

fn rolling_update(update: &Field<'_>, report: &mut Report) {
    let (unavailable, surge) = (update.child("maxUnavailable"), update.child("maxSurge"));
    for field in [&unavailable, &surge] {
        field.not_negative(report);
        let percent = field
            .text()
            .strip_suffix('%')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()));
        if field.value.is_string() && !percent {
            report.invalid(
                &field.path,
                field.value,
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            );
        }
    }
    let none =
        |field: &Field<'_>| field.integer() == Some(0) || field.text().trim_end_matches('%').parse() == Ok(0);
    if none(&unavailable) && none(&surge) {
        report.invalid(&unavailable.path, unavailable.value, "may not be 0 when `maxSurge` is 0");
    }
}
