//! Pods and pod templates.

use serde_json::Value;

use super::super::{Report, names, quantity};
use super::{Field, label_selector, quantities, unique};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// The template of `spec`; its pods also have the volumes of the claims that a StatefulSet makes for them.
pub(super) fn check_template(spec: &Field<'_>, report: &mut Report) {
    let template = spec.child("template");
    if !template.is_set() {
        report.required(&template.path, "");
        return;
    }
    check_labels(&template.child("metadata").child("labels"), report);
    let claims = spec.child("volumeClaimTemplates");
    let claimed: Vec<&Value> =
        claims.items().map(|claim| claim.child("metadata").child("name").value).collect();
    check_volumes(&template.child("spec"), &claimed, report);
}

pub(super) fn check_labels(labels: &Field<'_>, report: &mut Report) {
    for (key, value) in labels.entries() {
        if let Some(why) = names::qualified_name(key) {
            report.invalid(&labels.path, &Value::from(key), &why);
        }
        if let Some(why) = names::label_value(value.text()) {
            report.invalid(&labels.path, value.value, &why);
        }
    }
}

pub(super) fn check(spec: &Field<'_>, report: &mut Report) {
    check_volumes(spec, &[], report);
}

fn check_volumes(spec: &Field<'_>, claimed: &[&Value], report: &mut Report) {
    let volumes = spec.child("volumes");
    for volume in volumes.items() {
        volume.child("name").named(names::dns_label, report);
        let sources =
            volume.value.as_object().map_or(0, |fields| fields.keys().filter(|name| *name != "name").count());
        if sources > 1 {
            report.forbidden(&volume.path, "may not specify more than 1 volume type");
        }
    }
    unique(volumes.items().map(|volume| volume.child("name")), report);

    let names = volumes.items().map(|volume| volume.child("name").value);
    let known: Vec<&Value> = names.chain(claimed.iter().copied()).collect();
    let containers = spec.child("containers");
    if containers.is_empty_list() {
        report.required(&containers.path, "");
    }
    let init = spec.child("initContainers");
    let all = || containers.items().chain(init.items());
    for container in all() {
        check_container(&container, &known, report);
    }
    unique(all().map(|container| container.child("name")), report);

    spec.child("restartPolicy").one_of(&["Always", "OnFailure", "Never"], report);
    spec.child("dnsPolicy").one_of(&["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"], report);
    spec.child("terminationGracePeriodSeconds").not_negative(report);
    if spec.child("activeDeadlineSeconds").integer().is_some_and(|seconds| seconds < 1) {
        let field = spec.child("activeDeadlineSeconds");
        report.invalid(&field.path, field.value, "must be between 1 and 2147483647, inclusive");
    }
    check_labels(&spec.child("nodeSelector"), report);
    for name in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        let field = spec.child(name);
        if !field.text().is_empty() {
            field.named(names::dns_subdomain, report);
        }
    }
    for toleration in spec.child("tolerations").items() {
        toleration.child("operator").one_of(&["Equal", "Exists", "Lt", "Gt"], report);
        toleration.child("effect").one_of(&["", "NoSchedule", "PreferNoSchedule", "NoExecute"], report);
    }
    for constraint in spec.child("topologySpreadConstraints").items() {
        constraint.child("topologyKey").require(report);
        constraint.child("whenUnsatisfiable").one_of(&["DoNotSchedule", "ScheduleAnyway"], report);
        label_selector(&constraint.child("labelSelector"), report);
    }
}

fn check_container(container: &Field<'_>, volumes: &[&Value], report: &mut Report) {
    container.child("name").named(names::dns_label, report);
    let image = container.child("image");
    if image.require(report) && image.text().trim() != image.text() {
        report.invalid(&image.path, image.value, "must not have leading or trailing whitespace");
    }
    container.child("imagePullPolicy").one_of(&["Always", "IfNotPresent", "Never"], report);
    container.child("terminationMessagePolicy").one_of(&["File", "FallbackToLogsOnError"], report);
    check_ports(&container.child("ports"), report);
    for variable in container.child("env").items() {
        check_variable(&variable, report);
    }
    for source in container.child("envFrom").items() {
        let sources = [source.child("configMapRef"), source.child("secretRef")];
        match sources.iter().filter(|source| source.is_set()).count() {
            1 => {
                for source in sources.iter().filter(|source| source.is_set()) {
                    source.child("name").require(report);
                }
            }
            0 => report.invalid(
                &source.path,
                &Value::from(""),
                "must specify one of: `configMapRef` or `secretRef`",
            ),
            _ => report.invalid(
                &source.path,
                &Value::from(""),
                "may not have more than one field specified at a time",
            ),
        }
    }
    check_mounts(&container.child("volumeMounts"), volumes, report);
    check_resources(&container.child("resources"), report);
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.child(name);
        if probe.is_set() {
            check_probe(&probe, name != "readinessProbe", report);
        }
    }
}

fn check_ports(ports: &Field<'_>, report: &mut Report) {
    for port in ports.items() {
        port.child("containerPort").port_number(report);
        let host = port.child("hostPort");
        if host.integer().is_some_and(|port| port != 0) {
            host.port_number(report);
        }
        port.child("protocol").one_of(&PROTOCOLS, report);
        if port.child("name").is_set() {
            port.child("name").named(names::port_name, report);
        }
    }
    unique(ports.items().map(|port| port.child("name")), report);
}

fn check_variable(variable: &Field<'_>, report: &mut Report) {
    let name = variable.child("name");
    let printable = |character: char| character.is_ascii_graphic() || character == ' ';
    if name.require(report) && !name.text().chars().all(|character| printable(character) && character != '=')
    {
        report.invalid(&name.path, name.value, "a valid environment variable name must consist only of printable ASCII characters other than '='");
    }
    let source = variable.child("valueFrom");
    if !source.is_set() {
        return;
    }
    if !variable.child("value").text().is_empty() {
        report.invalid(&source.path, &Value::from(""), "may not be specified when `value` is not empty");
    }
    match source.value.as_object().map_or(0, serde_json::Map::len) {
        0 => report.invalid(
            &source.path,
            &Value::from(""),
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        ),
        1 => {}
        _ => report.invalid(
            &source.path,
            &Value::from(""),
            "may not have more than one field specified at a time",
        ),
    }
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        let reference = source.child(kind);
        if reference.is_set() {
            reference.child("name").require(report);
            reference.child("key").named(names::config_key, report);
        }
    }
    if source.child("fieldRef").is_set() {
        source.child("fieldRef").child("fieldPath").require(report);
    }
}

fn check_mounts(mounts: &Field<'_>, volumes: &[&Value], report: &mut Report) {
    for mount in mounts.items() {
        let name = mount.child("name");
        if name.require(report) && !volumes.contains(&name.value) {
            report.not_found(&name.path, name.value);
        }
        mount.child("mountPath").require(report);
    }
    let mut seen: Vec<&Value> = Vec::new();
    for path in mounts.items().map(|mount| mount.child("mountPath")) {
        if seen.contains(&path.value) {
            report.invalid(&path.path, path.value, "must be unique");
        }
        seen.push(path.value);
    }
}

fn check_resources(resources: &Field<'_>, report: &mut Report) {
    let (limits, requests) = (resources.child("limits"), resources.child("requests"));
    quantities(&limits, report);
    quantities(&requests, report);
    for (name, request) in requests.entries() {
        let limit = limits.value.get(name).and_then(Value::as_str);
        if let Some(limit) = limit
            && quantity::nanos(request.text()) > quantity::nanos(limit)
        {
            let why = format!("must be less than or equal to {name} limit of {limit}");
            report.invalid(requests.path.as_str(), request.value, &why);
        }
    }
}

fn check_probe(probe: &Field<'_>, succeeds_at_once: bool, report: &mut Report) {
    let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
    match handlers.into_iter().filter(|name| probe.child(name).is_set()).count() {
        0 => report.required(&probe.path, "must specify a handler type"),
        1 => {}
        _ => report.forbidden(&probe.path, "may not specify more than 1 handler type"),
    }
    let get = probe.child("httpGet");
    if get.is_set() {
        get.child("port").port_number_or_name(report);
        get.child("scheme").one_of(&["HTTP", "HTTPS"], report);
    }
    if probe.child("tcpSocket").is_set() {
        probe.child("tcpSocket").child("port").port_number_or_name(report);
    }
    if probe.child("exec").is_set() && probe.child("exec").child("command").is_empty_list() {
        report.required(probe.child("exec").path_of("command"), "");
    }
    for name in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        probe.child(name).not_negative(report);
    }
    let threshold = probe.child("successThreshold");
    if succeeds_at_once && threshold.integer().is_some_and(|count| count != 1) {
        report.invalid(&threshold.path, threshold.value, "must be 1");
    }
}
