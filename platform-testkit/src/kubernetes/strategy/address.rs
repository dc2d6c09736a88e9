//! Addresses and node ports of Services.

use serde_json::{Value, json};

use crate::kubernetes::error::{ApiError, Cause};
use crate::kubernetes::resource::{GroupResource, Resource};
use crate::kubernetes::state::Stored;
use crate::kubernetes::store::Store;

const SERVICES: GroupResource = GroupResource::new("", "services");

/// Keeps the addresses and ports that an update does not mention.
pub(super) fn keep(live: &Stored, object: &mut Value) {
    if object["spec"]["type"] == "ExternalName" {
        return;
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"] {
        if object["spec"][field].is_null() && !live["spec"][field].is_null() {
            object["spec"][field] = live["spec"][field].clone();
        }
    }
    let old = live["spec"]["ports"].as_array().cloned().unwrap_or_default();
    if !exposes_nodes(&object["spec"]) {
        return;
    }
    for port in object["spec"]["ports"].as_array_mut().into_iter().flatten() {
        let same = |one: &&Value| one["port"] == port["port"] && one["protocol"] == port["protocol"];
        if let (true, Some(kept)) = (port["nodePort"].is_null(), old.iter().find(same)) {
            let kept = kept["nodePort"].clone();
            if !kept.is_null() {
                port["nodePort"] = kept;
            }
        }
    }
}

fn exposes_nodes(spec: &Value) -> bool {
    matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer"))
}

/// Gives a Service the addresses and ports that it did not choose, from 10.96.0.0/16 and 30000 to 32767.
pub(super) fn allocate(store: &Store, resource: &Resource, object: &mut Value) -> Result<(), ApiError> {
    let uid = object["metadata"]["uid"].clone();
    let services = store.list(&SERVICES, None).items;
    let others = || services.iter().filter(|service| service["metadata"]["uid"] != uid);
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let refuse = |cause| Err(ApiError::invalid(resource, &name, vec![cause]));
    if object["spec"]["type"] != "ExternalName" {
        let taken = |ip: &str| others().any(|service| service["spec"]["clusterIP"] == ip);
        match object["spec"]["clusterIP"].as_str() {
            Some("None") => {}
            Some(ip) if !ip.is_empty() => {
                if taken(ip) {
                    let why = format!("failed to allocate IP {ip}: provided IP is already allocated");
                    return refuse(Cause::invalid("spec.clusterIPs", &json!([ip]), &why));
                }
            }
            _ => {
                let Some(ip) = store.next_address(taken) else {
                    return Err(ApiError::new(
                        500,
                        "InternalError",
                        "failed to allocate a serviceIP: range is full",
                    ));
                };
                object["spec"]["clusterIP"] = json!(ip);
            }
        }
        object["spec"]["clusterIPs"] = json!([object["spec"]["clusterIP"]]);
        for (field, value) in [("ipFamilyPolicy", json!("SingleStack")), ("ipFamilies", json!(["IPv4"]))] {
            if object["spec"][field].is_null() {
                object["spec"][field] = value;
            }
        }
    }
    if !exposes_nodes(&object["spec"]) {
        return Ok(());
    }
    let port_of = |port: &Value| port["nodePort"].as_u64();
    let ports = |service: &Value| service["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let mut taken: Vec<u64> =
        others().flat_map(|service| ports(service)).filter_map(|port| port_of(&port)).collect();
    for (index, port) in object["spec"]["ports"].as_array_mut().into_iter().flatten().enumerate() {
        let chosen = match port_of(port) {
            Some(chosen) if taken.contains(&chosen) => {
                let path = format!("spec.ports[{index}].nodePort");
                return refuse(Cause::invalid(path, &json!(chosen), "provided port is already allocated"));
            }
            Some(chosen) => chosen,
            None => match (30_000..=32_767).find(|candidate| !taken.contains(candidate)) {
                Some(free) => free,
                None => {
                    return Err(ApiError::new(
                        500,
                        "InternalError",
                        "failed to allocate a nodePort: range is full",
                    ));
                }
            },
        };
        port["nodePort"] = json!(chosen);
        taken.push(chosen);
    }
    Ok(())
}
