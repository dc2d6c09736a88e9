//! Services, ingresses and network policies.

use serde_json::Value;

use super::super::structural::is_cidr;
use super::super::{Report, names};
use super::{Field, label_selector, pod, unique};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub(super) fn service(spec: &Field<'_>, report: &mut Report) {
    let kind = spec.child("type");
    kind.one_of(&["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], report);
    spec.child("sessionAffinity").one_of(&["ClientIP", "None"], report);
    pod::check_labels(&spec.child("selector"), report);
    let external_name = kind.text() == "ExternalName";
    if external_name {
        spec.child("externalName").named(names::dns_subdomain, report);
    }
    let ports = spec.child("ports");
    let headless = spec.child("clusterIP").text() == "None";
    if headless && matches!(kind.text(), "LoadBalancer" | "NodePort") {
        let address = spec.child("clusterIP");
        report.invalid(
            &address.path,
            address.value,
            &format!("may not be set to 'None' for {} services", kind.text()),
        );
    }
    if ports.is_empty_list() && !headless && !external_name {
        report.required(&ports.path, "");
    }
    let several = ports.items().count() > 1;
    for port in ports.items() {
        let name = port.child("name");
        if !name.text().is_empty() {
            name.named(names::dns_label, report);
        } else if several {
            report.required(&name.path, "");
        }
        port.child("port").port_number(report);
        port.child("protocol").one_of(&PROTOCOLS, report);
        if port.child("targetPort").is_set() {
            port.child("targetPort").port_number_or_name(report);
        }
        node_port(&port.child("nodePort"), kind.text(), report);
    }
    unique(ports.items().map(|port| port.child("name")), report);
    let mut seen: Vec<(&Value, &Value)> = Vec::new();
    for port in ports.items() {
        let key = (port.child("port").value, port.child("protocol").value);
        if seen.contains(&key) {
            report.duplicate(&port.path, port.value);
        }
        seen.push(key);
    }
}

fn node_port(port: &Field<'_>, service_type: &str, report: &mut Report) {
    let Some(number) = port.integer().filter(|number| *number != 0) else { return };
    if service_type == "ClusterIP" || service_type == "ExternalName" {
        report.forbidden(&port.path, &format!("may not be used when `type` is '{service_type}'"));
    } else if !(30_000..=32_767).contains(&number) {
        report.invalid(
            &port.path,
            port.value,
            "provided port is not in the valid range. The range of valid ports is 30000-32767",
        );
    }
}

pub(super) fn ingress(spec: &Field<'_>, report: &mut Report) {
    let (rules, default) = (spec.child("rules"), spec.child("defaultBackend"));
    if rules.is_empty_list() && !default.is_set() {
        report.invalid(&spec.path, spec.value, "either `defaultBackend` or `rules` must be specified");
    }
    if default.is_set() {
        backend(&default, report);
    }
    for rule in rules.items() {
        let host = rule.child("host");
        if !host.text().is_empty() {
            let name = host.text().strip_prefix("*.").unwrap_or(host.text());
            if let Some(why) = names::dns_subdomain(name) {
                report.invalid(&host.path, host.value, &why);
            }
        }
        let http = rule.child("http");
        if http.is_set() && http.child("paths").is_empty_list() {
            report.required(http.path_of("paths"), "");
        }
        for path in http.child("paths").items() {
            let (kind, text) = (path.child("pathType"), path.child("path"));
            if !kind.is_set() {
                report.required(&kind.path, "pathType must be specified");
            }
            kind.one_of(&["Exact", "ImplementationSpecific", "Prefix"], report);
            let absolute = matches!(kind.text(), "Exact" | "Prefix") || !text.text().is_empty();
            if absolute && !text.text().starts_with('/') {
                report.invalid(&text.path, text.value, "must be an absolute path");
            }
            backend(&path.child("backend"), report);
        }
    }
}

fn backend(backend: &Field<'_>, report: &mut Report) {
    let (service, resource) = (backend.child("service"), backend.child("resource"));
    if !service.is_set() {
        if !resource.is_set() {
            report.required(&backend.path, "either `service` or `resource` must be specified");
        }
        return;
    }
    if resource.is_set() {
        report.invalid(&backend.path, &Value::from(""), "cannot set both resource and service backends");
    }
    service.child("name").require(report);
    let port = service.child("port");
    match (port.child("name").is_set(), port.child("number").is_set()) {
        (false, false) => report.required(&port.path, "port name or number is required"),
        (true, true) => {
            report.invalid(&port.path, &Value::from(""), "cannot set both port name & port number");
        }
        (true, false) => port.child("name").named(names::port_name, report),
        (false, true) => port.child("number").port_number(report),
    }
}

pub(super) fn network_policy(spec: &Field<'_>, report: &mut Report) {
    label_selector(&spec.child("podSelector"), report);
    for kind in spec.child("policyTypes").items() {
        kind.one_of(&["Egress", "Ingress"], report);
    }
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.child(rules).items() {
            rule.child("ports").items().for_each(|port| policy_port(&port, report));
            rule.child(peers).items().for_each(|peer| policy_peer(&peer, report));
        }
    }
}

fn policy_port(port: &Field<'_>, report: &mut Report) {
    port.child("protocol").one_of(&PROTOCOLS, report);
    let (number, end) = (port.child("port"), port.child("endPort"));
    if number.is_set() {
        number.port_number_or_name(report);
    }
    if !end.is_set() {
        return;
    }
    match number.integer() {
        Some(first) if end.integer().is_some_and(|end| end < first) => {
            report.invalid(&end.path, end.value, "must be greater than or equal to `port`");
        }
        Some(_) => end.port_number(report),
        None => {
            report.forbidden(&end.path, "may not be specified when `port` is not specified or non-numeric");
        }
    }
}

fn policy_peer(peer: &Field<'_>, report: &mut Report) {
    let (pods, spaces, block) =
        (peer.child("podSelector"), peer.child("namespaceSelector"), peer.child("ipBlock"));
    for selector in [&pods, &spaces] {
        label_selector(selector, report);
    }
    if !pods.is_set() && !spaces.is_set() && !block.is_set() {
        report.required(&peer.path, "must specify a peer");
    }
    if !block.is_set() {
        return;
    }
    if pods.is_set() || spaces.is_set() {
        report.forbidden(&peer.path, "may not specify both ipBlock and another peer");
    }
    let range = block.child("cidr");
    if range.require(report) {
        for range in std::iter::once(range).chain(block.child("except").items()) {
            if !is_cidr(range.text()) {
                report.invalid(
                    &range.path,
                    range.value,
                    "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                );
            }
        }
    }
}

pub(super) fn endpoint_slice(slice: &Field<'_>, report: &mut Report) {
    let kind = slice.child("addressType");
    kind.require(report);
    kind.one_of(&["FQDN", "IPv4", "IPv6"], report);
    for endpoint in slice.child("endpoints").items() {
        if endpoint.child("addresses").is_empty_list() {
            report.required(endpoint.path_of("addresses"), "must contain at least 1 address");
        }
    }
    unique(slice.child("ports").items().map(|port| port.child("name")), report);
}
