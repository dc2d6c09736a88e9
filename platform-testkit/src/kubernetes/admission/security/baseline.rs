//! The checks of the level `baseline`: what lets a pod reach its node.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Violation, named, quoted, setters, those};
use crate::kubernetes::admission::pod::{all_containers, items, name};

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Sysctls that touch the pod alone, and the version that knows them as such.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// What `spec` breaks. `restricted` leaves out what a stricter check looks at.
pub(super) fn check(metadata: &Value, spec: &Value, minor: u32, restricted: bool) -> Vec<Violation> {
    let milder = |from: u32| !(restricted && minor >= from);
    let checks = [
        app_armor(metadata, spec),
        milder(22).then(|| capabilities(spec)).flatten(),
        host_namespaces(spec),
        milder(0).then(|| host_paths(spec)).flatten(),
        host_ports(spec),
        (minor >= 34).then(|| host_probes(spec)).flatten(),
        privileged(spec),
        proc_mount(spec),
        se_linux(spec, minor),
        (minor >= 19 && milder(19)).then(|| seccomp(spec)).flatten(),
        sysctls(spec, minor),
        host_process(spec),
    ];
    checks.into_iter().flatten().collect()
}

fn app_armor(metadata: &Value, spec: &Value) -> Option<Violation> {
    let allowed = |kind: &str| matches!(kind, "RuntimeDefault" | "Localhost");
    let profile = |value: &Value| {
        let kind = value["securityContext"]["appArmorProfile"]["type"].as_str();
        kind.filter(|kind| !allowed(kind)).map(str::to_owned)
    };
    let mut values: BTreeSet<String> = all_containers(spec).filter_map(profile).collect();
    values.extend(profile(spec));
    let annotations = metadata["annotations"].as_object().into_iter().flatten();
    let annotated: Vec<String> = annotations
        .filter(|(key, value)| {
            let value = value.as_str().unwrap_or_default();
            let known = value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
            key.starts_with(APPARMOR) && !known
        })
        .map(|(key, value)| format!("{key}=\"{}\"", value.as_str().unwrap_or_default()))
        .collect();
    let containers = those(spec, |container| profile(container).is_some());
    let mut who: Vec<String> = setters(profile(spec).is_some(), &containers).into_iter().collect();
    match annotated.len() {
        0 => {}
        1 => who.push("annotation".to_owned()),
        _ => who.push("annotations".to_owned()),
    }
    values.extend(annotated);
    if who.is_empty() {
        return None;
    }
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let plural = if values.len() == 1 { "" } else { "s" };
    let detail = format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(&values));
    Some(Violation::new(&format!("forbidden AppArmor profile{plural}"), detail))
}

fn capabilities(spec: &Value) -> Option<Violation> {
    let detail = added(spec, &CAPABILITIES)?;
    Some(Violation::new("non-default capabilities", detail))
}

/// Who adds capabilities beyond those allowed, and which.
pub(super) fn added(spec: &Value, allowed: &[&str]) -> Option<String> {
    let more = |container: &'_ Value| -> BTreeSet<String> {
        let added = items(&container["securityContext"]["capabilities"], "add").iter();
        added.filter_map(Value::as_str).filter(|one| !allowed.contains(one)).map(str::to_owned).collect()
    };
    let containers = those(spec, |container| !more(container).is_empty());
    if containers.is_empty() {
        return None;
    }
    let all: BTreeSet<String> = all_containers(spec).flat_map(more).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let who = named("container", &containers);
    Some(format!("{who} must not include {} in securityContext.capabilities.add", quoted(&all)))
}

fn host_namespaces(spec: &Value) -> Option<Violation> {
    let set: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| spec[*field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    (!set.is_empty()).then(|| Violation::new("host namespaces", set.join(", ")))
}

fn host_paths(spec: &Value) -> Option<Violation> {
    let volumes = items(spec, "volumes").iter();
    let volumes: Vec<&str> =
        volumes.filter(|volume| volume.get("hostPath").is_some_and(Value::is_object)).map(name).collect();
    (!volumes.is_empty()).then(|| Violation::new("hostPath volumes", named("volume", &volumes)))
}

fn host_ports(spec: &Value) -> Option<Violation> {
    let ports = |container: &'_ Value| -> BTreeSet<String> {
        let ports = items(container, "ports").iter().filter_map(|port| port["hostPort"].as_i64());
        ports.filter(|port| *port != 0).map(|port| port.to_string()).collect()
    };
    let containers = those(spec, |container| !ports(container).is_empty());
    if containers.is_empty() {
        return None;
    }
    let all: Vec<String> =
        all_containers(spec).flat_map(ports).collect::<BTreeSet<_>>().into_iter().collect();
    let verb = if containers.len() == 1 { "uses" } else { "use" };
    let plural = if all.len() == 1 { "" } else { "s" };
    let who = named("container", &containers);
    Some(Violation::new("hostPort", format!("{who} {verb} hostPort{plural} {}", all.join(", "))))
}

fn host_probes(spec: &Value) -> Option<Violation> {
    const HANDLERS: [&str; 5] =
        ["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];
    let hosts = |container: &'_ Value| -> BTreeSet<String> {
        let handlers = HANDLERS.into_iter().filter_map(|path| container.pointer(path));
        let hosts = handlers.flat_map(|handler| {
            ["httpGet", "tcpSocket"].map(|action| handler[action]["host"].as_str().unwrap_or_default())
        });
        hosts.filter(|host| !host.is_empty()).map(str::to_owned).collect()
    };
    let containers = those(spec, |container| !hosts(container).is_empty());
    if containers.is_empty() {
        return None;
    }
    let all: BTreeSet<String> = all_containers(spec).flat_map(hosts).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let verb = if containers.len() == 1 { "uses" } else { "use" };
    let plural = if all.len() == 1 { "" } else { "s" };
    let who = named("container", &containers);
    let detail = format!("{who} {verb} probe or lifecycle host{plural} {}", quoted(&all));
    Some(Violation::new("probe or lifecycle host", detail))
}

fn privileged(spec: &Value) -> Option<Violation> {
    let containers = those(spec, |container| container["securityContext"]["privileged"] == true);
    let who = setters(false, &containers)?;
    Some(Violation::new("privileged", format!("{who} must not set securityContext.privileged=true")))
}

fn proc_mount(spec: &Value) -> Option<Violation> {
    let mount = |container: &'_ Value| {
        let mount = container["securityContext"]["procMount"].as_str();
        mount.filter(|mount| *mount != "Default").map(str::to_owned)
    };
    let containers = those(spec, |container| mount(container).is_some());
    let who = setters(false, &containers)?;
    let all: BTreeSet<String> = all_containers(spec).filter_map(mount).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let detail = format!("{who} must not set securityContext.procMount to {}", quoted(&all));
    Some(Violation::new("procMount", detail))
}

fn se_linux(spec: &Value, minor: u32) -> Option<Violation> {
    let allowed = |kind: &str| {
        matches!(kind, "" | "container_t" | "container_init_t" | "container_kvm_t")
            || (minor >= 31 && kind == "container_engine_t")
    };
    let text = |value: &Value, field: &str| {
        value["securityContext"]["seLinuxOptions"][field].as_str().unwrap_or_default().to_owned()
    };
    let bad = |value: &Value| {
        !allowed(&text(value, "type")) || !text(value, "user").is_empty() || !text(value, "role").is_empty()
    };
    let who = setters(bad(spec), &those(spec, bad))?;
    let everyone = || all_containers(spec).chain([spec]);
    let mut told = Vec::new();
    let types: BTreeSet<String> =
        everyone().map(|value| text(value, "type")).filter(|kind| !allowed(kind)).collect();
    if !types.is_empty() {
        told.push(named("type", &types.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    for field in ["user", "role"] {
        if everyone().any(|value| !text(value, field).is_empty()) {
            told.push(format!("{field} may not be set"));
        }
    }
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", told.join("; "));
    Some(Violation::new("seLinuxOptions", detail))
}

fn seccomp(spec: &Value) -> Option<Violation> {
    seccomp_setters(spec).map(|detail| Violation::new("seccompProfile", detail))
}

/// Who sets a profile that lets every system call through.
pub(super) fn seccomp_setters(spec: &Value) -> Option<String> {
    let profile = |value: &Value| {
        let kind = value["securityContext"]["seccompProfile"]["type"].as_str();
        kind.filter(|kind| !matches!(*kind, "RuntimeDefault" | "Localhost")).map(str::to_owned)
    };
    let who = setters(profile(spec).is_some(), &those(spec, |container| profile(container).is_some()))?;
    let values: BTreeSet<String> = all_containers(spec).chain([spec]).filter_map(profile).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    Some(format!("{who} must not set securityContext.seccompProfile.type to {}", quoted(&values)))
}

fn sysctls(spec: &Value, minor: u32) -> Option<Violation> {
    let allowed = |name: &str| SYSCTLS.iter().any(|(known, from)| *known == name && minor >= *from);
    let set = items(&spec["securityContext"], "sysctls").iter().map(name);
    let forbidden: Vec<&str> = set.filter(|name| !allowed(name)).collect();
    (!forbidden.is_empty()).then(|| Violation::new("forbidden sysctls", forbidden.join(", ")))
}

fn host_process(spec: &Value) -> Option<Violation> {
    let bad = |value: &Value| value["securityContext"]["windowsOptions"]["hostProcess"] == true;
    let who = setters(bad(spec), &those(spec, bad))?;
    let detail = format!("{who} must not set securityContext.windowsOptions.hostProcess=true");
    Some(Violation::new("hostProcess", detail))
}
