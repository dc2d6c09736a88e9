//! Services: the endpoints behind them and the addresses of load balancers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::deletion::DeleteOptions;
use super::super::error::ApiError;
use super::super::semantics::selector::LabelSelector;
use super::super::store::{Key, Stored};
use super::cluster::Cluster;
use super::object::{
    CONTROLLER_MANAGER, ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES, has_ended, is_being_deleted, is_ready,
    items, labels, name, namespace, owner_reference, text, uid,
};

const COMPONENT: &str = "endpointslice-controller";
const MANAGED_BY: &str = "endpointslice-controller.k8s.io";
/// How many endpoints one slice holds.
const SLICE: usize = 100;
/// The addresses that load balancers have: those of the nodes' network that no node has.
const BALANCERS: &str = "172.18.255";

/// Whether a change of a pod can change the endpoints of a Service.
pub(super) fn concerned(before: &Value, after: &Value) -> bool {
    let facts = |pod: &Value| {
        (text(pod, "/status/podIP").to_owned(), is_ready(pod), has_ended(pod), is_being_deleted(pod))
    };
    facts(before) != facts(after) || labels(before) != labels(after)
}

/// Whether a Service selects a pod.
pub(super) fn selects(service: &Value, pod: &Value) -> bool {
    let selector = service.pointer("/spec/selector").and_then(Value::as_object);
    selector.is_some_and(|selector| {
        !selector.is_empty() && LabelSelector::from_labels(selector).matches(labels(pod))
    })
}

impl Cluster {
    pub(super) fn service(&mut self, service: &Stored) -> Result<(), ApiError> {
        if is_being_deleted(service) {
            return Ok(());
        }
        self.balance(service)?;
        let selector = service.pointer("/spec/selector").and_then(Value::as_object);
        if selector.is_none_or(serde_json::Map::is_empty) || text(service, "/spec/type") == "ExternalName" {
            for slice in self.controlled(&ENDPOINT_SLICES, service) {
                self.store.delete(&Key::of(&ENDPOINT_SLICES, &slice), &DeleteOptions::default())?;
            }
            return Ok(());
        }
        let mut pods = self.store.list(&PODS, Some(namespace(service))).items;
        pods.retain(|pod| selects(service, pod) && !has_ended(pod) && !text(pod, "/status/podIP").is_empty());
        // Pods that call the same port by other numbers are told apart.
        let mut groups: BTreeMap<String, (Vec<Value>, Vec<&Stored>)> = BTreeMap::new();
        for pod in &pods {
            let ports = ports_of(service, pod);
            let group = groups.entry(Value::Array(ports.clone()).to_string());
            group.or_insert_with(|| (ports, Vec::new())).1.push(pod);
        }
        let groups: Vec<(Vec<Value>, Vec<&Stored>)> = groups.into_values().collect();
        self.put_slices(service, &groups)?;
        self.put_endpoints(service, &groups)
    }

    /// Removes what a deleted Service leaves without an owner.
    pub(super) fn forget_service(&self, service: &Value) {
        let key = Key::new(&ENDPOINTS, namespace(service), name(service));
        if self.store.find(&key).is_some()
            && let Err(error) = self.store.delete(&key, &DeleteOptions::default())
        {
            tracing::debug!(%error, "the endpoints of a deleted service were not deleted");
        }
    }

    fn put_slices(&self, service: &Stored, groups: &[(Vec<Value>, Vec<&Stored>)]) -> Result<(), ApiError> {
        let published = service.pointer("/spec/publishNotReadyAddresses") == Some(&Value::Bool(true));
        let mut wanted: Vec<(Value, Vec<Value>)> = Vec::new();
        for (ports, pods) in groups {
            for chunk in pods.chunks(SLICE) {
                let endpoints = chunk.iter().map(|pod| endpoint(pod, published)).collect();
                wanted.push((Value::Array(ports.clone()), endpoints));
            }
        }
        if wanted.is_empty() {
            wanted.push((json!([]), Vec::new()));
        }
        let mut known = self.controlled(&ENDPOINT_SLICES, service).into_iter();
        for (ports, endpoints) in wanted {
            if let Some(slice) = known.next() {
                let mut changed = slice.value().clone();
                changed["ports"] = ports;
                changed["endpoints"] = Value::Array(endpoints);
                if changed != *slice.value() {
                    self.store.update(&ENDPOINT_SLICES, changed, CONTROLLER_MANAGER)?;
                }
                continue;
            }
            let mut slice = json!({
                "metadata": {
                    "generateName": format!("{}-", name(service)),
                    "namespace": namespace(service),
                    "ownerReferences": [owner_reference(service)],
                    "labels": labels(service).cloned().unwrap_or_default(),
                },
                "addressType": "IPv4",
                "endpoints": endpoints,
                "ports": ports,
            });
            slice["metadata"]["labels"]["kubernetes.io/service-name"] = json!(name(service));
            slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = json!(MANAGED_BY);
            if text(service, "/spec/clusterIP") == "None" {
                slice["metadata"]["labels"]["service.kubernetes.io/headless"] = json!("");
            }
            self.store.create(&ENDPOINT_SLICES, slice, CONTROLLER_MANAGER)?;
        }
        for surplus in known {
            self.store.delete(&Key::of(&ENDPOINT_SLICES, &surplus), &DeleteOptions::default())?;
        }
        Ok(())
    }

    fn put_endpoints(&self, service: &Stored, groups: &[(Vec<Value>, Vec<&Stored>)]) -> Result<(), ApiError> {
        let published = service.pointer("/spec/publishNotReadyAddresses") == Some(&Value::Bool(true));
        let subset = |(ports, pods): &(Vec<Value>, Vec<&Stored>)| {
            let (ready, unready): (Vec<&&Stored>, Vec<&&Stored>) =
                pods.iter().partition(|pod| published || is_ready(pod));
            let mut subset = json!({"ports": ports});
            for (field, pods) in [("addresses", ready), ("notReadyAddresses", unready)] {
                if !pods.is_empty() {
                    subset[field] = pods.iter().map(|pod| address(pod)).collect();
                }
            }
            subset
        };
        let subsets: Vec<Value> = groups.iter().map(subset).collect();
        let key = Key::new(&ENDPOINTS, namespace(service), name(service));
        let mut object = match self.store.find(&key) {
            Some(known) if items(&known, "/subsets") == subsets => return Ok(()),
            Some(known) => known.value().clone(),
            None => json!({"metadata": {
                "name": name(service), "namespace": namespace(service), "labels": labels(service).cloned().unwrap_or_default(),
            }}),
        };
        object["subsets"] = Value::Array(subsets);
        if uid(&object).is_empty() {
            self.store.create(&ENDPOINTS, object, CONTROLLER_MANAGER)?;
        } else {
            self.store.update(&ENDPOINTS, object, CONTROLLER_MANAGER)?;
        }
        Ok(())
    }

    /// Gives a Service of type `LoadBalancer` its address, and takes it away from one that no longer is.
    fn balance(&self, service: &Stored) -> Result<(), ApiError> {
        let known = text(service, "/status/loadBalancer/ingress/0/ip");
        if !text(service, "/spec/loadBalancerClass").is_empty() {
            // It is for another implementation than the cluster's own.
            return Ok(());
        }
        let balanced = text(service, "/spec/type") == "LoadBalancer";
        if balanced != known.is_empty() {
            return Ok(());
        }
        let status = if balanced {
            let services = self.store.list(&SERVICES, None).items;
            let taken = |address: &String| {
                services.iter().any(|other| text(other, "/status/loadBalancer/ingress/0/ip") == address)
            };
            let mut addresses = (2..255).map(|last| format!("{BALANCERS}.{last}"));
            let Some(address) = addresses.find(|address| !taken(address)) else {
                let message = "Error syncing load balancer: no address is left";
                self.events.warning(service, "service-controller", "SyncLoadBalancerFailed", message);
                return Ok(());
            };
            self.events.normal(service, "service-controller", "EnsuredLoadBalancer", "Ensured load balancer");
            json!({"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}})
        } else {
            json!({"loadBalancer": {}})
        };
        self.put_status(&SERVICES, service, status, COMPONENT)?;
        Ok(())
    }
}

/// The ports of a Service as one pod has them; a port that the pod does not name is left out.
fn ports_of(service: &Value, pod: &Value) -> Vec<Value> {
    let resolve = |port: &Value| {
        let number = match port.get("targetPort") {
            Some(Value::String(wanted)) => {
                let ports =
                    items(pod, "/spec/containers").iter().flat_map(|container| items(container, "/ports"));
                let mut named = ports.filter(|one| text(one, "/name") == wanted);
                named.find_map(|one| one.get("containerPort")).cloned()
            }
            Some(Value::Number(number)) => Some(Value::Number(number.clone())),
            _ => port.get("port").cloned(),
        };
        let mut resolved = json!({
            "name": text(port, "/name"),
            "port": number?,
            "protocol": text(port, "/protocol"),
        });
        if let Some(protocol) = port.get("appProtocol") {
            resolved["appProtocol"] = protocol.clone();
        }
        Some(resolved)
    };
    items(service, "/spec/ports").iter().filter_map(resolve).collect()
}

fn endpoint(pod: &Value, published: bool) -> Value {
    let terminating = is_being_deleted(pod);
    let serving = is_ready(pod);
    let mut endpoint = json!({
        "addresses": [text(pod, "/status/podIP")],
        "conditions": {
            "ready": published || (serving && !terminating),
            "serving": published || serving,
            "terminating": terminating,
        },
        "nodeName": text(pod, "/spec/nodeName"),
        "targetRef": target(pod),
    });
    if !text(pod, "/spec/hostname").is_empty() && !text(pod, "/spec/subdomain").is_empty() {
        endpoint["hostname"] = json!(text(pod, "/spec/hostname"));
    }
    endpoint
}

fn address(pod: &Value) -> Value {
    json!({"ip": text(pod, "/status/podIP"), "nodeName": text(pod, "/spec/nodeName"), "targetRef": target(pod)})
}

fn target(pod: &Value) -> Value {
    json!({"kind": "Pod", "name": name(pod), "namespace": namespace(pod), "uid": uid(pod)})
}
