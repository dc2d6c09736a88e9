//! ConfigMaps, Secrets, storage and limits.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::super::{Report, names, quantity};
use super::{Field, label_selector, quantities, unique};

/// How many bytes a ConfigMap or a Secret may hold.
const MAX_BYTES: usize = 1024 * 1024;
const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

pub(super) fn config_map(object: &Field<'_>, report: &mut Report) {
    let (text, binary) = (object.child("data"), object.child("binaryData"));
    keys(&text, report);
    keys(&binary, report);
    for (key, entry) in binary.entries() {
        if text.value.get(key).is_some() {
            report.invalid(&entry.path, &Value::from(key), "duplicate of key present in data");
        }
    }
    let bytes = decoded(&binary, report) + text.entries().map(|(_, entry)| entry.text().len()).sum::<usize>();
    limit(bytes, report);
}

pub(super) fn event(object: &Field<'_>, report: &mut Report) {
    let about = object.child("involvedObject").child("namespace");
    if !about.text().is_empty() && about.text() != object.child("metadata").child("namespace").text() {
        report.invalid(&about.path, about.value, "does not match event.namespace");
    }
}

pub(super) fn secret(object: &Field<'_>, report: &mut Report) {
    let data = object.child("data");
    keys(&data, report);
    let bytes = decoded(&data, report);
    limit(bytes, report);
    let needed: &[&str] = match object.child("type").text() {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in needed {
        let given = [&data, &object.child("stringData")].into_iter().any(|map| map.value.get(key).is_some());
        if !given {
            report.required(format!("data[{key}]"), "");
        }
    }
}

pub(super) fn claim(spec: &Field<'_>, report: &mut Report) {
    access_modes(spec, "at least 1 access mode is required", report);
    label_selector(&spec.child("selector"), report);
    spec.child("volumeMode").one_of(&["Block", "Filesystem"], report);
    let requests = spec.child("resources").child("requests");
    quantities(&requests, report);
    storage(&requests, report);
}

pub(super) fn volume(spec: &Field<'_>, report: &mut Report) {
    access_modes(spec, "", report);
    spec.child("volumeMode").one_of(&["Block", "Filesystem"], report);
    spec.child("persistentVolumeReclaimPolicy").one_of(&["Delete", "Recycle", "Retain"], report);
    quantities(&spec.child("capacity"), report);
    storage(&spec.child("capacity"), report);
}

pub(super) fn resource_quota(spec: &Field<'_>, report: &mut Report) {
    let hard = spec.child("hard");
    for (name, entry) in hard.entries() {
        if !STANDARD_QUOTA.contains(&name) && !is_counted_by_name(name) {
            let value = Value::from(name);
            report.invalid(&entry.path, &value, "must be a standard resource type or fully qualified");
            report.invalid(&entry.path, &value, "must be a standard resource for quota");
        }
        let whole = quantity::nanos(entry.text()).is_none_or(|amount| amount % 1_000_000_000 == 0);
        if WHOLE.contains(&name) && !whole {
            report.invalid(&entry.path, entry.value, "must be an integer");
        }
    }
    quantities(&hard, report);
    let scopes = spec.child("scopes");
    let listed: Vec<&str> = scopes.value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for scope in &listed {
        if !SCOPES.contains(scope) {
            report.invalid(&scopes.path, scopes.value, "unsupported scope");
            continue;
        }
        for (name, _) in hard.entries() {
            // Pods that ask for nothing can only be counted.
            let counts = name == "pods" || name == "count/pods";
            let fits = counts || (*scope != "BestEffort" && OF_PODS.contains(&name));
            if !fits {
                report.invalid(&scopes.path, scopes.value, "unsupported scope applied to resource");
            }
        }
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if listed.contains(&one) && listed.contains(&other) {
            report.invalid(&scopes.path, scopes.value, "conflicting scopes");
        }
    }
}

/// Resources of pods that quotas with scopes may limit.
const OF_PODS: [&str; 9] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];
const WHOLE: [&str; 9] = [
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];
const STANDARD_QUOTA: [&str; 19] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "configmaps",
    "persistentvolumeclaims",
    "pods",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
    "services.loadbalancers",
    "services.nodeports",
];
const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

/// Extended resources, huge pages and whatever is counted have names that say so.
fn is_counted_by_name(name: &str) -> bool {
    name.contains('/') || name.starts_with("hugepages-") || name.starts_with("requests.hugepages-")
}

pub(super) fn limit_range(spec: &Field<'_>, report: &mut Report) {
    const TYPES: [&str; 3] = ["Container", "PersistentVolumeClaim", "Pod"];
    for limit in spec.child("limits").items() {
        let kind = limit.child("type");
        if kind.require(report) && !TYPES.contains(&kind.text()) && !kind.text().contains('/') {
            report.invalid(&kind.path, kind.value, "must be a standard limit type or fully qualified");
        }
        for map in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            quantities(&limit.child(map), report);
        }
        match kind.text() {
            "Pod" => {
                for map in ["default", "defaultRequest"] {
                    let field = limit.child(map);
                    if field.value.as_object().is_some_and(|map| !map.is_empty()) {
                        report.forbidden(&field.path, "may not be specified when `type` is 'Pod'");
                    }
                }
            }
            "PersistentVolumeClaim" => {
                let bounded = |map: &str| limit.child(map).value.get("storage").is_some();
                if !bounded("min") && !bounded("max") {
                    let why = "either minimum or maximum storage value is required, but neither was provided";
                    report.required(limit.path_of("limits"), why);
                }
            }
            _ => {}
        }
        bounds(&limit, report);
    }
    unique(spec.child("limits").items().map(|limit| limit.child("type")), report);
}

/// That the amounts of a limit do not contradict each other.
fn bounds(limit: &Field<'_>, report: &mut Report) {
    let names: std::collections::BTreeSet<&str> =
        ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]
            .iter()
            .flat_map(|map| limit.child(map).value.as_object().into_iter().flatten())
            .map(|(name, _)| name.as_str())
            .collect();
    for name in names {
        let amount =
            |map: &str| quantity::Amount::parse(limit.child(map).value.get(name).and_then(Value::as_str)?);
        let mut greater = |field: &str, (low, low_word): (&str, &str), (high, high_word): (&str, &str)| {
            if let (Some(least), Some(most)) = (amount(low), amount(high))
                && least > most
            {
                let value = limit.child(field).value.get(name).cloned().unwrap_or_default();
                let why = format!("{low_word} value {least} is greater than {high_word} value {most}");
                report.invalid(format!("{}[{name}]", limit.path_of(field)), &value, &why);
            }
        };
        let (min, max) = (("min", "min"), ("max", "max"));
        let (request, default) = (("defaultRequest", "default request"), ("default", "default"));
        greater("min", min, max);
        greater("defaultRequest", min, request);
        greater("defaultRequest", request, max);
        greater("defaultRequest", request, ("default", "default limit"));
        greater("default", min, default);
        greater("default", default, max);
        if let Some(ratio) = amount("maxLimitRequestRatio")
            && ratio < quantity::Amount::count(1)
        {
            let path = format!("{}[{name}]", limit.path_of("maxLimitRequestRatio"));
            let value = limit.child("maxLimitRequestRatio").value.get(name).cloned().unwrap_or_default();
            report.invalid(path, &value, &format!("ratio {ratio} is less than 1"));
        }
    }
}

pub(super) fn storage_class(object: &Field<'_>, report: &mut Report) {
    object.child("provisioner").require(report);
    object.child("reclaimPolicy").one_of(&["Delete", "Retain"], report);
    object.child("volumeBindingMode").one_of(&["Immediate", "WaitForFirstConsumer"], report);
}

fn access_modes(spec: &Field<'_>, why: &str, report: &mut Report) {
    let modes = spec.child("accessModes");
    if modes.is_empty_list() {
        report.required(&modes.path, why);
    }
    for mode in modes.items() {
        mode.one_of(&ACCESS_MODES, report);
    }
}

fn storage(map: &Field<'_>, report: &mut Report) {
    let size = map.value.get("storage").and_then(Value::as_str).map(quantity::nanos);
    match size {
        None => report.required(format!("{}[storage]", map.path), ""),
        Some(Some(0)) => {
            report.invalid(format!("{}[storage]", map.path), &Value::from("0"), "must be greater than zero");
        }
        Some(_) => {}
    }
}

fn keys(map: &Field<'_>, report: &mut Report) {
    for (key, entry) in map.entries() {
        if let Some(why) = names::config_key(key) {
            report.invalid(&entry.path, &Value::from(key), &why);
        }
    }
}

/// The size of base64 values. The values themselves, which may be secret, are not shown.
fn decoded(map: &Field<'_>, report: &mut Report) -> usize {
    let mut bytes = 0;
    for (_, entry) in map.entries() {
        match STANDARD.decode(entry.text().replace(['\n', '\r'], "")) {
            Ok(value) => bytes += value.len(),
            Err(error) => {
                report.add(super::super::TYPE_INVALID, &entry.path, format!("illegal base64 data: {error}"));
            }
        }
    }
    bytes
}

fn limit(bytes: usize, report: &mut Report) {
    if bytes > MAX_BYTES {
        report.add("FieldValueTooLong", "[]", format!("Too long: may not be more than {MAX_BYTES} bytes"));
    }
}
