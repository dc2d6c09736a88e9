//! Columns of services and routes.

use serde_json::{Value, json};

use super::column::{Column, age, at, column, name, selector, wide};
use super::text::{labels, list_of, text_of};
use crate::kubernetes::resource::Resource;

/// The columns of a network resource; `None` for other kinds.
pub(super) fn columns(resource: &Resource) -> Option<Vec<Column>> {
    let mut columns = vec![name()];
    match (resource.group.as_str(), resource.id.plural()) {
        ("", "services") => columns.extend([
            at("Type", "/spec/type"),
            at("Cluster-IP", "/spec/clusterIP"),
            column("External-IP", |service, _| json!(external_address(service))),
            column("Port(s)", |service, _| json!(service_ports(service))),
            age(),
            wide(column("Selector", |service, _| {
                json!(labels(&json!({"matchLabels": service["spec"]["selector"]})))
            })),
        ]),
        ("", "endpoints") => {
            columns.extend([column("Endpoints", |endpoints, _| json!(addresses(endpoints))), age()]);
        }
        ("discovery.k8s.io", "endpointslices") => columns.extend([
            at("AddressType", "/addressType"),
            column("Ports", |slice, _| json!(list_of(&slice["ports"], |port| text_of(&port["port"])))),
            column("Endpoints", |slice, _| {
                json!(list_of(&slice["endpoints"], |one| text_of(&one["addresses"][0])))
            }),
            age(),
        ]),
        ("networking.k8s.io", "ingresses") => columns.extend([
            at("Class", "/spec/ingressClassName"),
            column("Hosts", |ingress, _| {
                let hosts = list_of(&ingress["spec"]["rules"], |rule| {
                    rule["host"].as_str().unwrap_or("*").to_owned()
                });
                json!(if hosts == "<none>" { "*".to_owned() } else { hosts })
            }),
            column("Address", |ingress, _| {
                let points = &ingress["status"]["loadBalancer"]["ingress"];
                let listed = list_of(points, |one| {
                    text_of(if one["ip"].is_null() { &one["hostname"] } else { &one["ip"] })
                });
                json!(if listed == "<none>" { String::new() } else { listed })
            }),
            column("Ports", |ingress, _| {
                json!(if ingress["spec"]["tls"].is_null() { "80" } else { "80, 443" })
            }),
            age(),
        ]),
        ("networking.k8s.io", "ingressclasses") => {
            columns.extend([
                at("Controller", "/spec/controller"),
                at("Parameters", "/spec/parameters/name"),
                age(),
            ]);
        }
        ("networking.k8s.io", "networkpolicies") => {
            columns.extend([selector("Pod-Selector", "/spec/podSelector"), age()]);
        }
        _ => return None,
    }
    Some(columns)
}

fn external_address(service: &Value) -> String {
    let spec = &service["spec"];
    let points = list_of(&service["status"]["loadBalancer"]["ingress"], |one| {
        text_of(if one["ip"].is_null() { &one["hostname"] } else { &one["ip"] })
    });
    match spec["type"].as_str() {
        Some("ExternalName") => text_of(&spec["externalName"]),
        Some("LoadBalancer") if points == "<none>" => "<pending>".to_owned(),
        Some("LoadBalancer") => points,
        _ => list_of(&spec["externalIPs"], text_of),
    }
}

fn service_ports(service: &Value) -> String {
    list_of(&service["spec"]["ports"], |port| {
        let node = port["nodePort"].as_u64().map(|node| format!(":{node}")).unwrap_or_default();
        format!("{}{node}/{}", text_of(&port["port"]), port["protocol"].as_str().unwrap_or("TCP"))
    })
}

fn addresses(endpoints: &Value) -> String {
    let mut all = Vec::new();
    for subset in endpoints["subsets"].as_array().into_iter().flatten() {
        for address in subset["addresses"].as_array().into_iter().flatten() {
            for port in subset["ports"].as_array().into_iter().flatten() {
                all.push(format!("{}:{}", text_of(&address["ip"]), text_of(&port["port"])));
            }
        }
    }
    match all.len() {
        0 => "<none>".to_owned(),
        1..=3 => all.join(","),
        count => format!("{} + {} more...", all.get(..3).unwrap_or_default().join(","), count - 3),
    }
}
