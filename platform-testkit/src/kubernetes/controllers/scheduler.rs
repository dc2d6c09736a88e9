//! Which node a pod runs on: labels, affinity, taints, resources and room.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};

use super::super::error::ApiError;
use super::super::semantics::validate::quantity;
use super::super::store::{Key, Stored};
use super::cluster::Cluster;
use super::object::{
    CLAIMS, NODES, PODS, has_ended, items, labels, name, namespace, put_condition, text, uid, written,
};

const COMPONENT: &str = "default-scheduler";

/// What the pods on the nodes use.
#[derive(Default)]
pub(super) struct Usage {
    pods: HashMap<String, Placement>,
    nodes: HashMap<String, HashSet<String>>,
}

struct Placement {
    node: String,
    address: String,
    requests: BTreeMap<String, i128>,
}

impl Usage {
    /// Takes note of a pod as it is now.
    pub(super) fn observe(&mut self, pod: &Value) {
        let node = text(pod, "/spec/nodeName");
        if node.is_empty() || has_ended(pod) {
            self.release(uid(pod));
            return;
        }
        let known = self.pods.get(uid(pod)).map(|placement| placement.address.clone());
        let address = match text(pod, "/status/podIP") {
            "" => known.unwrap_or_default(),
            address => address.to_owned(),
        };
        self.nodes.entry(node.to_owned()).or_default().insert(uid(pod).to_owned());
        let placement = Placement { node: node.to_owned(), address, requests: requests(pod) };
        self.pods.insert(uid(pod).to_owned(), placement);
    }

    pub(super) fn release(&mut self, uid: &str) {
        if let Some(placement) = self.pods.remove(uid)
            && let Some(pods) = self.nodes.get_mut(&placement.node)
        {
            pods.remove(uid);
        }
    }

    /// An address of the node's range that no other pod has, kept for the pod.
    pub(super) fn address(&mut self, pod: &Value, node: &Value) -> String {
        let known = self.pods.get(uid(pod)).map(|placement| placement.address.clone());
        if let Some(address) = known.filter(|address| !address.is_empty()) {
            return address;
        }
        let range = text(node, "/spec/podCIDR").split('/').next().unwrap_or_default();
        let prefix = range.rsplit_once('.').map_or("10.244.0", |(prefix, _)| prefix);
        let uids = self.nodes.get(name(node));
        let taken: HashSet<&str> = uids
            .into_iter()
            .flatten()
            .filter_map(|uid| self.pods.get(uid))
            .map(|placement| placement.address.as_str())
            .collect();
        // The first address of the range is the node's own.
        let free =
            (2..255).map(|last| format!("{prefix}.{last}")).find(|address| !taken.contains(address.as_str()));
        let address = free.unwrap_or_else(|| format!("{prefix}.254"));
        if let Some(placement) = self.pods.get_mut(uid(pod)) {
            placement.address.clone_from(&address);
        }
        address
    }

    fn count(&self, node: &str) -> usize {
        self.nodes.get(node).map_or(0, HashSet::len)
    }

    /// The resource that a node lacks for some requests.
    fn lacks(&self, node: &Value, wanted: &BTreeMap<String, i128>) -> Option<String> {
        let allocatable = |resource: &str| {
            let amounts = node.pointer("/status/allocatable").and_then(Value::as_object)?;
            quantity::nanos(amounts.get(resource)?.as_str()?)
        };
        const ONE: i128 = 1_000_000_000;
        if let Some(room) = allocatable("pods")
            && i128::try_from(self.count(name(node))).is_ok_and(|count| (count + 1) * ONE > room)
        {
            return Some("Too many pods".to_owned());
        }
        let pods = || self.nodes.get(name(node)).into_iter().flatten().filter_map(|uid| self.pods.get(uid));
        wanted.iter().filter(|(_, amount)| **amount > 0).find_map(|(resource, amount)| {
            let used: i128 = pods().filter_map(|pod| pod.requests.get(resource)).sum();
            (used + amount > allocatable(resource).unwrap_or(0)).then(|| format!("Insufficient {resource}"))
        })
    }
}

impl Cluster {
    /// Gives a pod its node. `false` when none suits, which the pod then says.
    pub(super) fn schedule(&mut self, key: &Key, pod: &Stored) -> Result<bool, ApiError> {
        if !items(pod, "/spec/schedulingGates").is_empty() {
            self.refuse_node(
                key,
                pod,
                "SchedulingGated",
                "Scheduling is blocked due to non-empty scheduling gates",
            )?;
            return Ok(false);
        }
        let missing = items(pod, "/spec/volumes")
            .iter()
            .map(|volume| text(volume, "/persistentVolumeClaim/claimName"))
            .find(|claim| {
                !claim.is_empty() && self.store.find(&Key::new(&CLAIMS, namespace(pod), *claim)).is_none()
            });
        let nodes = self.store.list(&NODES, None).items;
        if let Some(claim) = missing {
            self.unconfigured.insert(key.clone());
            let message =
                format!("0/{} nodes are available: persistentvolumeclaim {claim:?} not found.", nodes.len());
            self.refuse_node(key, pod, "Unschedulable", &message)?;
            return Ok(false);
        }
        let wanted = requests(pod);
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let mut best: Option<(usize, &str)> = None;
        for node in &nodes {
            if let Some(reason) = refusal(pod, node).or_else(|| self.usage.lacks(node, &wanted)) {
                *reasons.entry(reason).or_default() += 1;
            } else {
                let candidate = (self.usage.count(name(node)), name(node));
                best = Some(best.map_or(candidate, |best| best.min(candidate)));
            }
        }
        let Some((_, node)) = best else {
            let reasons: Vec<String> =
                reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            let message = format!("0/{} nodes are available: {}.", nodes.len(), reasons.join(", "));
            self.unscheduled.insert(key.clone());
            self.refuse_node(key, pod, "Unschedulable", &message)?;
            return Ok(false);
        };
        let mut bound = pod.value().clone();
        bound["spec"]["nodeName"] = json!(node);
        let bound = self.store.update(&PODS, bound, COMPONENT)?;
        self.usage.observe(&bound);
        self.unscheduled.remove(key);
        self.unconfigured.remove(key);
        let message = format!("Successfully assigned {}/{} to {node}", namespace(pod), name(pod));
        self.events.normal(&bound, COMPONENT, "Scheduled", &message);
        Ok(true)
    }

    fn refuse_node(&self, key: &Key, pod: &Stored, reason: &str, message: &str) -> Result<(), ApiError> {
        let mut status = pod.get("status").cloned().unwrap_or_else(|| json!({}));
        let mut conditions = items(pod, "/status/conditions").to_vec();
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
        });
        put_condition(&mut conditions, condition, &written(jiff::Timestamp::now()));
        status["conditions"] = Value::Array(conditions);
        status["phase"] = json!("Pending");
        if pod.get("status") != Some(&status) && reason == "Unschedulable" {
            self.events.warning(pod, COMPONENT, "FailedScheduling", message);
        }
        self.put_status(&key.resource, pod, status, COMPONENT)
    }
}

/// Whether a pod may run on a node, room aside.
pub(super) fn suits(pod: &Value, node: &Value) -> bool {
    refusal(pod, node).is_none()
}

/// Why a node does not take a pod, worded as after a count of nodes.
fn refusal(pod: &Value, node: &Value) -> Option<String> {
    let tolerations = items(pod, "/spec/tolerations");
    let mut taints = items(node, "/spec/taints").to_vec();
    if node.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        taints.push(json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}));
    }
    let ready = super::object::condition(node, "Ready");
    if ready.is_some_and(|ready| text(ready, "/status") != "True") {
        taints.push(json!({"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}));
    }
    let keeps_off = |taint: &&Value| {
        matches!(text(taint, "/effect"), "NoSchedule" | "NoExecute")
            && !tolerations.iter().any(|toleration| tolerates(toleration, taint))
    };
    if let Some(taint) = taints.iter().find(keeps_off) {
        let (key, value) = (text(taint, "/key"), text(taint, "/value"));
        return Some(match key {
            "node.kubernetes.io/unschedulable" => "node(s) were unschedulable".to_owned(),
            _ => format!("node(s) had untolerated taint {{{key}: {value}}}"),
        });
    }
    let has =
        |(key, value): (&String, &Value)| labels(node).and_then(|labels| labels.get(key)) == Some(value);
    let selector = pod.pointer("/spec/nodeSelector").and_then(Value::as_object);
    let affinity =
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let terms = items(pod, affinity);
    let wanted = selector.into_iter().flatten().all(has)
        && (terms.is_empty() || terms.iter().any(|term| chosen(term, node)));
    (!wanted).then(|| "node(s) didn't match Pod's node affinity/selector".to_owned())
}

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let (key, effect) = (text(toleration, "/key"), text(toleration, "/effect"));
    (effect.is_empty() || effect == text(taint, "/effect"))
        && (key.is_empty() || key == text(taint, "/key"))
        && (text(toleration, "/operator") == "Exists"
            || (!key.is_empty() && text(toleration, "/value") == text(taint, "/value")))
}

/// Whether one term of a node selector holds; a term without requirements holds for nothing.
fn chosen(term: &Value, node: &Value) -> bool {
    let (expressions, fields) = (items(term, "/matchExpressions"), items(term, "/matchFields"));
    let label = |key: &str| labels(node).and_then(|labels| labels.get(key)).and_then(Value::as_str);
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|expression| holds(expression, label(text(expression, "/key"))))
        && fields.iter().all(|field| holds(field, Some(name(node))))
}

fn holds(expression: &Value, value: Option<&str>) -> bool {
    let mut values = items(expression, "/values").iter().filter_map(Value::as_str);
    let bound = |mut values: Box<dyn Iterator<Item = &str> + '_>| {
        values.next()?.parse::<i64>().ok().zip(value?.parse::<i64>().ok())
    };
    match text(expression, "/operator") {
        "In" => value.is_some_and(|value| values.any(|one| one == value)),
        "NotIn" => value.is_none_or(|value| values.all(|one| one != value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => bound(Box::new(values)).is_some_and(|(bound, value)| value > bound),
        "Lt" => bound(Box::new(values)).is_some_and(|(bound, value)| value < bound),
        _ => false,
    }
}

/// What a pod asks for: its containers together, or its largest init container.
fn requests(pod: &Value) -> BTreeMap<String, i128> {
    let of = |container: &Value| -> BTreeMap<String, i128> {
        let amounts = container.pointer("/resources/requests").and_then(Value::as_object);
        amounts
            .into_iter()
            .flatten()
            .filter_map(|(resource, amount)| Some((resource.clone(), quantity::nanos(amount.as_str()?)?)))
            .collect()
    };
    let mut total: BTreeMap<String, i128> = BTreeMap::new();
    for container in items(pod, "/spec/containers") {
        for (resource, amount) in of(container) {
            *total.entry(resource).or_default() += amount;
        }
    }
    for container in items(pod, "/spec/initContainers") {
        for (resource, amount) in of(container) {
            let entry = total.entry(resource).or_default();
            *entry = (*entry).max(amount);
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_labels_and_affinity_decide() {
        let node = json!({
            "metadata": {"name": "n", "labels": {"disk": "ssd", "cores": "8"}},
            "spec": {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]},
        });
        let tolerant = |more: Value| {
            let mut spec = json!({"tolerations": [{"key": "gpu", "operator": "Exists"}]});
            json_patch::merge(&mut spec, &more);
            json!({"spec": spec})
        };
        assert!(!suits(&json!({"spec": {}}), &node));
        assert!(suits(&tolerant(json!({})), &node));
        assert!(suits(&tolerant(json!({"nodeSelector": {"disk": "ssd"}})), &node));
        assert!(!suits(&tolerant(json!({"nodeSelector": {"disk": "hdd"}})), &node));
        let affinity = |operator: &str, values: Value| {
            tolerant(json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "cores", "operator": operator, "values": values}]}]}}}}))
        };
        assert!(suits(&affinity("Gt", json!(["4"])), &node));
        assert!(!suits(&affinity("Lt", json!(["4"])), &node));
        assert!(suits(&affinity("In", json!(["4", "8"])), &node));
        assert!(!suits(&affinity("NotIn", json!(["8"])), &node));
    }

    #[test]
    fn a_full_node_takes_no_more() {
        let node = json!({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "1", "pods": "2"}}});
        let pod = |uid: &str, cpu: &str| {
            json!({"metadata": {"uid": uid}, "spec": {"nodeName": "n",
                "containers": [{"resources": {"requests": {"cpu": cpu}}}]}})
        };
        let mut usage = Usage::default();
        usage.observe(&pod("a", "600m"));
        assert_eq!(usage.lacks(&node, &requests(&pod("b", "400m"))), None);
        assert_eq!(usage.lacks(&node, &requests(&pod("b", "401m"))), Some("Insufficient cpu".to_owned()));
        usage.observe(&pod("b", "1m"));
        assert_eq!(usage.lacks(&node, &BTreeMap::new()), Some("Too many pods".to_owned()));
        usage.release("a");
        assert_eq!(usage.lacks(&node, &requests(&pod("c", "900m"))), None);
    }

    #[test]
    fn addresses_are_not_given_twice() {
        let node = json!({"metadata": {"name": "n"}, "spec": {"podCIDR": "10.244.7.0/24"}});
        let pod = |uid: &str| json!({"metadata": {"uid": uid}, "spec": {"nodeName": "n"}});
        let mut usage = Usage::default();
        usage.observe(&pod("a"));
        usage.observe(&pod("b"));
        let first = usage.address(&pod("a"), &node);
        assert_eq!(first, "10.244.7.2");
        assert_eq!(usage.address(&pod("a"), &node), first);
        assert_eq!(usage.address(&pod("b"), &node), "10.244.7.3");
        usage.release("a");
        usage.observe(&pod("c"));
        assert_eq!(usage.address(&pod("c"), &node), first);
    }
}
