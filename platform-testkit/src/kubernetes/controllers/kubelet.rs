//! What becomes of a pod on its node.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::deletion::DeleteOptions;
use super::super::error::ApiError;
use super::super::store::{Key, Stored};
use super::behaviour::Behaviour;
use super::cluster::Cluster;
use super::container::{Container, Notice, Restart};
use super::object::{
    CONFIG_MAPS, NODES, PODS, SECRETS, controller_of, has_ended, is_being_deleted, is_true, items, name,
    namespace, number, put_condition, text, uid, written,
};

const COMPONENT: &str = "kubelet";
/// The scheduler of pods that name none; those of others wait for theirs.
const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// The containers of one pod.
pub(super) struct Runtime {
    init: Vec<Container>,
    main: Vec<Container>,
    ends: bool,
}

/// Why the containers of a pod cannot be created yet.
enum Missing {
    /// A volume cannot be mounted.
    Volume(String),
    /// A container refers to something that is not there.
    Reference(String),
}

impl Runtime {
    fn new(pod: &Value, behaviour: &Behaviour, now: Instant) -> Self {
        let ends = controller_of(pod).is_some_and(|owner| text(owner, "/kind") == "Job");
        let policy = match text(pod, "/spec/restartPolicy") {
            "Never" => Restart::Never,
            "OnFailure" => Restart::OnFailure,
            _ => Restart::Always,
        };
        let init_policy = if policy == Restart::Never { Restart::Never } else { Restart::OnFailure };
        let resumed = |mut container: Container, statuses: &str| {
            if let Some(status) = items(pod, statuses).iter().find(|one| text(one, "/name") == container.name)
            {
                container.resume(status, now);
            }
            container
        };
        let init = items(pod, "/spec/initContainers").iter().map(|spec| {
            let sidecar = text(spec, "/restartPolicy") == "Always";
            let policy = if sidecar { Restart::Always } else { init_policy };
            resumed(Container::new(spec, policy, !sidecar, behaviour), "/status/initContainerStatuses")
        });
        let main = items(pod, "/spec/containers")
            .iter()
            .map(|spec| resumed(Container::new(spec, policy, ends, behaviour), "/status/containerStatuses"));
        Self { init: init.collect(), main: main.collect(), ends }
    }

    /// Takes over images that were changed in the pod.
    fn follow_images(&mut self, pod: &Value, now: Instant, behaviour: &Behaviour) {
        let specs = items(pod, "/spec/containers");
        for (container, spec) in self.main.iter_mut().zip(specs) {
            if container.image != text(spec, "/image") {
                container.replace_image(text(spec, "/image"), self.ends, now, behaviour);
            }
        }
    }

    /// Lives up to `now`; returns what happened to which container.
    fn advance(
        &mut self,
        pod: &Value,
        now: Instant,
        clock: Timestamp,
        behaviour: &Behaviour,
    ) -> Vec<(String, Notice)> {
        let mut notices = Vec::new();
        let mut run = |container: &mut Container, list: &str| {
            container.begin(now, behaviour);
            let about = container.advance(now, clock, behaviour);
            let field = format!("spec.{list}{{{}}}", container.name);
            notices.extend(about.into_iter().map(|notice| (field.clone(), notice)));
        };
        for (container, spec) in self.init.iter_mut().zip(items(pod, "/spec/initContainers")) {
            run(container, "initContainers");
            let sidecar = text(spec, "/restartPolicy") == "Always";
            if !(container.exit_code() == Some(0) || (sidecar && container.has_started())) {
                return notices;
            }
        }
        for container in &mut self.main {
            run(container, "containers");
        }
        notices
    }

    fn is_initialized(&self, pod: &Value) -> bool {
        self.init.iter().zip(items(pod, "/spec/initContainers")).all(|(container, spec)| {
            let sidecar = text(spec, "/restartPolicy") == "Always";
            container.exit_code() == Some(0) || (sidecar && container.has_started())
        })
    }

    fn due(&self) -> Option<Instant> {
        self.init.iter().chain(&self.main).filter_map(Container::due).min()
    }

    fn phase(&self) -> &'static str {
        if self.init.iter().any(|container| container.exit_code().is_some_and(|code| code != 0)) {
            return "Failed";
        }
        let codes: Option<Vec<i32>> = self.main.iter().map(Container::exit_code).collect();
        match codes {
            Some(codes) if codes.iter().all(|code| *code == 0) => "Succeeded",
            Some(_) => "Failed",
            None if self.main.iter().all(Container::has_started) => "Running",
            None => "Pending",
        }
    }
}

/// Whether a node has taken a pod up.
fn has_started(pod: &Value) -> bool {
    !text(pod, "/status/startTime").is_empty()
}

impl Cluster {
    pub(super) fn pod(&mut self, key: &Key, pod: &Stored) -> Result<(), ApiError> {
        if is_being_deleted(pod) {
            let node_name = text(pod, "/spec/nodeName");
            let lost = !node_name.is_empty() && self.store.find(&Key::new(&NODES, "", node_name)).is_none();
            // Where there is no node there is nobody who could say that it has ended.
            return if lost && !has_started(pod) { Ok(()) } else { self.end_pod(key, pod) };
        }
        if has_ended(pod) {
            self.runtimes.remove(uid(pod));
            return Ok(());
        }
        let node_name = text(pod, "/spec/nodeName");
        if node_name.is_empty() {
            if matches!(text(pod, "/spec/schedulerName"), "" | DEFAULT_SCHEDULER) {
                self.schedule(key, pod)?;
            }
            return Ok(());
        }
        let Some(node) = self.store.find(&Key::new(&NODES, "", node_name)) else {
            // Pods go with their node; one that was bound to a node that never was waits for it.
            if has_started(pod) {
                self.store.delete(key, &at_once(pod))?;
            }
            return Ok(());
        };
        self.run_pod(key, pod, &node)
    }

    /// Lets the containers end, and then lets go of the pod.
    fn end_pod(&mut self, key: &Key, pod: &Stored) -> Result<(), ApiError> {
        let grace = u64::try_from(number(pod, "/metadata/deletionGracePeriodSeconds")).unwrap_or(0);
        if grace > 0 {
            let now = Instant::now();
            let takes = self.behaviour.ending().min(Duration::from_secs(grace));
            let end = *self.ending.entry(uid(pod).to_owned()).or_insert(now + takes);
            if now < end {
                self.again(key, end);
                return Ok(());
            }
        }
        self.runtimes.remove(uid(pod));
        self.stop_pod(pod)?;
        if grace > 0 || items(pod, "/metadata/finalizers").is_empty() {
            self.store.delete(key, &at_once(pod))?;
        }
        Ok(())
    }

    fn run_pod(&mut self, key: &Key, pod: &Stored, node: &Value) -> Result<(), ApiError> {
        let (now, clock) = (Instant::now(), Timestamp::now());
        let behaviour = self.behaviour.clone();
        let ran = items(pod, "/status/containerStatuses")
            .iter()
            .any(|status| status.pointer("/state/running").is_some() || number(status, "/restartCount") > 0);
        let known = ran || self.runtimes.contains_key(uid(pod));
        let missing = if known { None } else { self.missing(pod) };
        if missing.is_some() {
            self.unconfigured.insert(key.clone());
        } else {
            self.unconfigured.remove(key);
        }
        let runtime = if missing.is_some() {
            &mut Runtime::new(pod, &behaviour, now)
        } else {
            let runtime = self.runtimes.entry(uid(pod).to_owned());
            let runtime = runtime.or_insert_with(|| Runtime::new(pod, &behaviour, now));
            runtime.follow_images(pod, now, &behaviour);
            runtime
        };
        let notices =
            if missing.is_some() { Vec::new() } else { runtime.advance(pod, now, clock, &behaviour) };
        let mut status = pod_status(pod, runtime, clock);
        let (phase, due) = (runtime.phase(), runtime.due());
        if let Some(missing) = &missing {
            explain(&mut status, missing);
        }
        let host = node_address(node);
        let address = if pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true)) {
            host.to_owned()
        } else {
            self.usage.address(pod, node)
        };
        status["hostIP"] = json!(host);
        status["hostIPs"] = json!([{"ip": host}]);
        status["podIP"] = json!(address);
        status["podIPs"] = json!([{"ip": address}]);
        let changed = pod.get("status") != Some(&status);
        self.put_status(&PODS, pod, status, COMPONENT)?;
        if changed && let Some(missing) = &missing {
            let (reason, message) = match missing {
                Missing::Volume(message) => ("FailedMount", message.clone()),
                Missing::Reference(message) => ("Failed", format!("Error: {message}")),
            };
            self.events.warning(pod, COMPONENT, reason, &message);
        }
        for (field, notice) in notices {
            self.tell(pod, &field, notice, clock);
        }
        match due {
            Some(due) if missing.is_none() && !matches!(phase, "Succeeded" | "Failed") => {
                self.again(key, due);
            }
            _ => {}
        }
        Ok(())
    }

    fn tell(&self, pod: &Value, field: &str, notice: Notice, clock: Timestamp) {
        match notice {
            Notice::Event(warning, reason, message) => {
                let kind = if warning { "Warning" } else { "Normal" };
                self.events.record(pod, field, kind, COMPONENT, reason, &message);
            }
            Notice::Log(line) => {
                let container = field.split_once('{').map_or("", |(_, rest)| rest.trim_end_matches('}'));
                self.store.logs().append(namespace(pod), name(pod), container, clock, line);
            }
        }
    }

    /// What a pod refers to and is not there.
    fn missing(&self, pod: &Value) -> Option<Missing> {
        let optional = |reference: &Value| reference.get("optional") == Some(&Value::Bool(true));
        let absent = |kind: &str, wanted: &str| {
            let resource = if kind == "configmap" { CONFIG_MAPS } else { SECRETS };
            (!wanted.is_empty() && self.store.find(&Key::new(&resource, namespace(pod), wanted)).is_none())
                .then(|| format!("{kind} {wanted:?} not found"))
        };
        for volume in items(pod, "/spec/volumes") {
            let sources = items(volume, "/projected/sources").iter().chain([volume]);
            for source in sources {
                let references = [
                    ("configmap", source.get("configMap"), "/name"),
                    (
                        "secret",
                        source.get("secret"),
                        if source.pointer("/secret/secretName").is_some() { "/secretName" } else { "/name" },
                    ),
                ];
                for (kind, reference, field) in references {
                    let Some(reference) = reference.filter(|reference| !optional(reference)) else {
                        continue;
                    };
                    if let Some(why) = absent(kind, text(reference, field)) {
                        let volume = text(volume, "/name");
                        return Some(Missing::Volume(format!(
                            "MountVolume.SetUp failed for volume {volume:?} : {why}"
                        )));
                    }
                }
            }
        }
        let containers =
            ["/spec/initContainers", "/spec/containers"].into_iter().flat_map(|list| items(pod, list));
        for container in containers {
            let from_variables = items(container, "/env").iter().flat_map(|variable| {
                [
                    ("configmap", variable.pointer("/valueFrom/configMapKeyRef")),
                    ("secret", variable.pointer("/valueFrom/secretKeyRef")),
                ]
            });
            let from_sources = items(container, "/envFrom").iter().flat_map(|source| {
                [("configmap", source.get("configMapRef")), ("secret", source.get("secretRef"))]
            });
            for (kind, reference) in from_variables.chain(from_sources) {
                let Some(reference) = reference.filter(|reference| !optional(reference)) else { continue };
                if let Some(why) = absent(kind, text(reference, "/name")) {
                    return Some(Missing::Reference(why));
                }
            }
        }
        None
    }

    /// The containers of a pod that is being deleted have ended.
    fn stop_pod(&self, pod: &Stored) -> Result<(), ApiError> {
        let mut status = pod.get("status").cloned().unwrap_or_else(|| json!({}));
        let mut conditions = items(pod, "/status/conditions").to_vec();
        let now = written(Timestamp::now());
        for kind in ["Ready", "ContainersReady"] {
            if is_true(pod, kind) {
                let condition = json!({"type": kind, "status": "False", "reason": "PodCompleted"});
                put_condition(&mut conditions, condition, &now);
            }
        }
        for container in
            status.get_mut("containerStatuses").and_then(Value::as_array_mut).into_iter().flatten()
        {
            if let Some(started) = container.pointer("/state/running/startedAt").cloned() {
                container["state"] = json!({"terminated": {
                    "exitCode": 143, "reason": "Error", "startedAt": started, "finishedAt": now,
                }});
                container["ready"] = json!(false);
                container["started"] = json!(false);
            }
        }
        status["conditions"] = Value::Array(conditions);
        self.put_status(&PODS, pod, status, COMPONENT)
    }
}

/// Deletes this pod, and none that took its name, without waiting for its containers.
fn at_once(pod: &Value) -> DeleteOptions {
    let uid = Some(uid(pod).to_owned());
    DeleteOptions { uid, grace_period_seconds: Some(0), ..DeleteOptions::default() }
}

fn pod_status(pod: &Value, runtime: &Runtime, clock: Timestamp) -> Value {
    let mut status = pod.get("status").cloned().unwrap_or_else(|| json!({}));
    let now = written(clock);
    let phase = runtime.phase();
    status["phase"] = json!(phase);
    status["observedGeneration"] = json!(number(pod, "/metadata/generation"));
    if text(&status, "/startTime").is_empty() {
        status["startTime"] = json!(now);
    }
    let statuses =
        |containers: &[Container]| containers.iter().map(|one| one.status(uid(pod))).collect::<Vec<_>>();
    let mut of_main = statuses(&runtime.main);
    for ended in of_main.iter_mut().filter(|one| one.pointer("/state/terminated").is_some()) {
        // An init container that succeeded counts as ready, any other that ended does not.
        ended["ready"] = json!(false);
    }
    status["containerStatuses"] = Value::Array(of_main);
    if runtime.main.iter().all(|container| !container.has_started()) && runtime.init.is_empty() {
        // Without init containers nothing is initializing: what has not begun is being created.
        for container in status["containerStatuses"].as_array_mut().into_iter().flatten() {
            if text(container, "/state/waiting/reason") == "PodInitializing" {
                container["state"]["waiting"]["reason"] = json!("ContainerCreating");
            }
        }
    }
    if !runtime.init.is_empty() {
        status["initContainerStatuses"] = Value::Array(statuses(&runtime.init));
    }
    status["conditions"] = Value::Array(conditions(pod, runtime, phase, &now));
    status
}

fn conditions(pod: &Value, runtime: &Runtime, phase: &str, now: &str) -> Vec<Value> {
    let unready: Vec<&str> =
        runtime.main.iter().filter(|one| !one.is_ready()).map(|one| one.name.as_str()).collect();
    let gates_open =
        items(pod, "/spec/readinessGates").iter().all(|gate| is_true(pod, text(gate, "/conditionType")));
    let containers = if matches!(phase, "Succeeded" | "Failed") {
        Err(if phase == "Succeeded" { ("PodCompleted", String::new()) } else { ("PodFailed", String::new()) })
    } else if unready.is_empty() {
        Ok(())
    } else {
        Err(("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" "))))
    };
    let ready = match &containers {
        Ok(()) if !gates_open => Err((
            "ReadinessGatesNotReady",
            "corresponding condition of pod readiness gate is not \"True\"".to_owned(),
        )),
        other => other.clone(),
    };
    let initialized = if runtime.is_initialized(pod) {
        Ok(())
    } else {
        let left = runtime.init.iter().filter(|one| one.exit_code() != Some(0)).map(|one| one.name.as_str());
        let left: Vec<&str> = left.collect();
        Err(("ContainersNotInitialized", format!("containers with incomplete status: [{}]", left.join(" "))))
    };
    let mut conditions = items(pod, "/status/conditions").to_vec();
    // A new pod's come in the order in which a kubelet lists them.
    for (kind, outcome) in [
        ("PodReadyToStartContainers", Ok(())),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", Ok(())),
    ] {
        let mut new = json!({"type": kind});
        match outcome {
            Ok(()) => new["status"] = json!("True"),
            Err((reason, message)) => {
                new["status"] = json!("False");
                new["reason"] = json!(reason);
                if !message.is_empty() {
                    new["message"] = json!(message);
                }
            }
        }
        put_condition(&mut conditions, new, now);
    }
    conditions
}

/// Says in the containers' statuses what they wait for.
fn explain(status: &mut Value, missing: &Missing) {
    let (reason, message) = match missing {
        Missing::Volume(_) => ("ContainerCreating", None),
        Missing::Reference(message) => ("CreateContainerConfigError", Some(message)),
    };
    for container in status["containerStatuses"].as_array_mut().into_iter().flatten() {
        container["state"]["waiting"]["reason"] = json!(reason);
        if let Some(message) = message {
            container["state"]["waiting"]["message"] = json!(message);
        }
    }
}

fn node_address(node: &Value) -> &str {
    let addresses = items(node, "/status/addresses");
    addresses.iter().find(|one| text(one, "/type") == "InternalIP").map_or("", |one| text(one, "/address"))
}
