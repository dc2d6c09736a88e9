//! ConfigMaps, Secrets, storage and limits.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::super::{Report, names, quantity};
use super::{Field, label_selector, quantities};

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

pub(super) fn limit_range(spec: &Field<'_>, report: &mut Report) {
    for limit in spec.child("limits").items() {
        limit.child("type").require(report);
        for map in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            quantities(&limit.child(map), report);
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
