//! The checks that the level `restricted` adds: what hardens a pod.

use std::collections::BTreeSet;

use serde_json::Value;

use super::baseline::{added, seccomp_setters};
use super::{Violation, named, quoted, setters, those};
use crate::kubernetes::admission::pod::{items, name};

const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// What `spec` breaks beyond the checks of `baseline`.
pub(super) fn check(spec: &Value, minor: u32) -> Vec<Violation> {
    // Windows knows none of the following, which versions before did not know.
    let linux = minor < 25 || spec["os"]["name"] != "windows";
    let checks = [
        (minor >= 8 && linux).then(|| privilege_escalation(spec)).flatten(),
        (minor >= 22 && linux).then(|| capabilities(spec)).flatten(),
        volumes(spec),
        non_root(spec),
        (minor >= 23).then(|| root_user(spec)).flatten(),
        (minor >= 19 && linux).then(|| seccomp(spec)).flatten(),
    ];
    checks.into_iter().flatten().collect()
}

fn privilege_escalation(spec: &Value) -> Option<Violation> {
    let bad = |container: &Value| container["securityContext"]["allowPrivilegeEscalation"] != false;
    let who = setters(false, &those(spec, bad))?;
    let detail = format!("{who} must set securityContext.allowPrivilegeEscalation=false");
    Some(Violation::new("allowPrivilegeEscalation != false", detail))
}

fn capabilities(spec: &Value) -> Option<Violation> {
    let keeps = |container: &Value| {
        let dropped = items(&container["securityContext"]["capabilities"], "drop");
        !dropped.iter().any(|one| one == "ALL")
    };
    let keeping = setters(false, &those(spec, keeps));
    let keeping = keeping.map(|who| format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]"));
    let told: Vec<String> = keeping.into_iter().chain(added(spec, &["NET_BIND_SERVICE"])).collect();
    (!told.is_empty()).then(|| Violation::new("unrestricted capabilities", told.join("; ")))
}

fn volumes(spec: &Value) -> Option<Violation> {
    let source = |volume: &'_ Value| {
        let sources = volume.as_object().into_iter().flatten();
        let mut sources = sources.filter(|(key, value)| *key != "name" && !value.is_null());
        sources.next().map(|(key, _)| key.clone()).filter(|key| !VOLUMES.contains(&key.as_str()))
    };
    let bad = || items(spec, "volumes").iter().filter(|volume| source(volume).is_some());
    let names: Vec<&str> = bad().map(name).collect();
    if names.is_empty() {
        return None;
    }
    let types: BTreeSet<String> = bad().filter_map(source).collect();
    let types: Vec<&str> = types.iter().map(String::as_str).collect();
    let verb = if names.len() == 1 { "uses" } else { "use" };
    let detail = format!("{} {verb} restricted {}", named("volume", &names), named("volume type", &types));
    Some(Violation::new("restricted volume types", detail))
}

fn non_root(spec: &Value) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let set = |value: &Value| value["securityContext"]["runAsNonRoot"].as_bool();
    let refusing = those(spec, |container| set(container) == Some(false));
    if let Some(who) = setters(set(spec) == Some(false), &refusing) {
        return Some(Violation::new(
            REASON,
            format!("{who} must not set securityContext.runAsNonRoot=false"),
        ));
    }
    let silent = those(spec, |container| set(container).is_none());
    if silent.is_empty() || set(spec) == Some(true) {
        return None;
    }
    let who = named("container", &silent);
    Some(Violation::new(REASON, format!("pod or {who} must set securityContext.runAsNonRoot=true")))
}

fn root_user(spec: &Value) -> Option<Violation> {
    let bad = |value: &Value| value["securityContext"]["runAsUser"] == 0;
    let who = setters(bad(spec), &those(spec, bad))?;
    Some(Violation::new("runAsUser=0", format!("{who} must not set runAsUser=0")))
}

fn seccomp(spec: &Value) -> Option<Violation> {
    const REASON: &str = "seccompProfile";
    if let Some(detail) = seccomp_setters(spec) {
        return Some(Violation::new(REASON, detail));
    }
    let set = |value: &Value| value["securityContext"]["seccompProfile"]["type"].is_string();
    let silent = those(spec, |container| !set(container));
    if silent.is_empty() || set(spec) {
        return None;
    }
    let (who, values) = (named("container", &silent), quoted(&["RuntimeDefault"]));
    let detail =
        format!("pod or {who} must set securityContext.seccompProfile.type to {values} or \"Localhost\"");
    Some(Violation::new(REASON, detail))
}
