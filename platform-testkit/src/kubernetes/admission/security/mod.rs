//! Pod Security: what pods of a namespace may be, as its labels say.
//!
//! ```text
//! level     the labels of a namespace: which level in which version is enforced and warned of
//! baseline, restricted   the checks of the Pod Security Standards
//! ```

mod baseline;
mod level;
mod restricted;

use std::collections::BTreeSet;

use serde_json::Value;

use self::level::{Level, Policy, Standard};
use super::{Operation, Request, pod};
use crate::kubernetes::error::ApiError;
use crate::kubernetes::state::Key;
use crate::kubernetes::store::{NAMESPACES, PODS, Store};

/// How many pods of a namespace are looked at when it is to be stricter.
const MOST_PODS: usize = 3000;

/// Refuses pods that the level of their namespace forbids. Returns warnings of others, and of what makes pods.
pub(super) fn check(store: &Store, request: &Request<'_>) -> Result<Vec<String>, ApiError> {
    let Some(object) = request.object else { return Ok(Vec::new()) };
    if request.key.resource == NAMESPACES {
        return namespace(store, request, object);
    }
    if request.subresource.is_some_and(|name| name != "ephemeralcontainers") {
        return Ok(Vec::new());
    }
    let (metadata, spec, is_pod) = if request.key.resource == PODS {
        if request.operation == Operation::Update
            && request.old.is_some_and(|old| relevant(old) == relevant(object))
        {
            return Ok(Vec::new());
        }
        (&object["metadata"], &object["spec"], true)
    } else {
        let (group, plural) = (request.resource.group.as_str(), request.resource.id.plural());
        match pod::template_spec(group, plural, object) {
            Some(spec) => (&Value::Null, spec, false),
            None => return Ok(Vec::new()),
        }
    };
    let Some(namespace) = store.find(&Key::new(&NAMESPACES, "", request.key.namespace.clone())) else {
        return Ok(Vec::new());
    };
    let policy = Policy::of(&namespace["metadata"]["labels"]);
    if is_pod {
        let violations = violations(&policy.enforce, metadata, spec);
        if !violations.is_empty() {
            let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, told(&violations));
            return Err(request.forbidden(&why));
        }
    }
    let violations = violations(&policy.warn, metadata, spec);
    if violations.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![format!("would violate PodSecurity \"{}\": {}", policy.warn, told(&violations))])
}

/// The part of a pod whose change counts.
fn relevant(pod: &Value) -> Value {
    let mut spec = pod["spec"].clone();
    if let Some(fields) = spec.as_object_mut() {
        for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "nodeName"] {
            fields.remove(field);
        }
    }
    spec
}

/// What is wrong with a pod: which check it fails, and how.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    reason: String,
    detail: String,
}

impl Violation {
    fn new(reason: &str, detail: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), detail: detail.into() }
    }
}

/// What `spec` breaks of a standard, in the order in which kube-apiserver tells it.
fn violations(standard: &Standard, metadata: &Value, spec: &Value) -> Vec<Violation> {
    let restricted = standard.level == Level::Restricted;
    if standard.level == Level::Privileged {
        return Vec::new();
    }
    let mut violations = baseline::check(metadata, spec, standard.minor, restricted);
    if restricted {
        violations.extend(restricted::check(spec, standard.minor));
    }
    violations
}

fn told(violations: &[Violation]) -> String {
    let one = |violation: &Violation| match violation.detail.as_str() {
        "" => violation.reason.clone(),
        detail => format!("{} ({detail})", violation.reason),
    };
    violations.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Refuses labels that say nothing, and warns of pods that a stricter level would not have let in.
fn namespace(store: &Store, request: &Request<'_>, object: &Value) -> Result<Vec<String>, ApiError> {
    if request.subresource.is_some() {
        return Ok(Vec::new());
    }
    let labels = &object["metadata"]["labels"];
    let old = request.old.map(|old| &old["metadata"]["labels"]);
    if old == Some(labels) {
        return Ok(Vec::new());
    }
    let causes = level::wrong_labels(labels);
    if !causes.is_empty() {
        return Err(ApiError::invalid(request.resource, &request.key.name, causes));
    }
    let (Some(old), new) = (old, Policy::of(labels).enforce) else { return Ok(Vec::new()) };
    let before = Policy::of(old).enforce;
    if new.level == Level::Privileged
        || before == new
        || (before.minor == new.minor && before.level > new.level)
    {
        return Ok(Vec::new());
    }
    Ok(existing(store, &request.key.name, &new))
}

/// Warnings of the pods that a namespace has already, those with the same faults together.
fn existing(store: &Store, namespace: &str, standard: &Standard) -> Vec<String> {
    let mut groups: Vec<(String, Vec<String>, BTreeSet<String>)> = Vec::new();
    for pod in store.list(&PODS, Some(namespace)).items.iter().take(MOST_PODS) {
        let violations = violations(standard, &pod["metadata"], &pod["spec"]);
        if violations.is_empty() {
            continue;
        }
        let reasons: Vec<&str> = violations.iter().map(|violation| violation.reason.as_str()).collect();
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        // Pods of one controller are alike: one of them stands for all.
        let controller = pod::items(&pod["metadata"], "ownerReferences").iter();
        let controller = controller.into_iter().find(|owner| owner["controller"] == true);
        let like = controller.map_or_else(|| name.clone(), |owner| owner["uid"].to_string());
        let reasons = reasons.join(", ");
        match groups.iter_mut().find(|(known, ..)| *known == reasons) {
            Some((_, names, seen)) => {
                if seen.insert(like) {
                    names.push(name);
                }
            }
            None => groups.push((reasons, vec![name], BTreeSet::from([like]))),
        }
    }
    if groups.is_empty() {
        return Vec::new();
    }
    let head = format!(
        "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{standard}\""
    );
    let told = groups.into_iter().map(|(reasons, names, _)| {
        let first = names.first().map(String::as_str).unwrap_or_default();
        match names.len() {
            1 => format!("{first}: {reasons}"),
            2 => format!("{first} (and 1 other pod): {reasons}"),
            many => format!("{first} (and {} other pods): {reasons}", many - 1),
        }
    });
    std::iter::once(head).chain(told).collect()
}

/// `container "a"`, `containers "a", "b"`.
fn named(kind: &str, names: &[&str]) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("{kind}{plural} {}", quoted(names))
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}

/// The names of the containers for which `bad` holds.
fn those<'a>(spec: &'a Value, bad: impl Fn(&'a Value) -> bool) -> Vec<&'a str> {
    pod::all_containers(spec).filter(|container| bad(container)).map(pod::name).collect()
}

/// The pod, some of its containers, or both, which set something that they must not.
fn setters(pod: bool, containers: &[&str]) -> Option<String> {
    match (pod, containers.is_empty()) {
        (false, true) => None,
        (true, true) => Some("pod".to_owned()),
        (false, false) => Some(named("container", containers)),
        (true, false) => Some(format!("pod and {}", named("container", containers))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told_of(level: Level, minor: u32, spec: &Value) -> String {
        let standard = Standard { level, version: "latest".to_owned(), minor };
        told(&violations(&standard, &Value::Null, spec))
    }

    #[test]
    fn a_plain_pod_is_told_all_that_restricted_asks_for() {
        let spec = json!({"containers": [{"name": "web"}, {"name": "two"}]});
        assert_eq!(
            told_of(Level::Restricted, 34, &spec),
            "allowPrivilegeEscalation != false (containers \"web\", \"two\" must set \
             securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (containers \"web\", \"two\" must \
             set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or containers \"web\", \"two\" must \
             set securityContext.runAsNonRoot=true), seccompProfile (pod or containers \"web\", \"two\" must set \
             securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
        );
        assert_eq!(told_of(Level::Baseline, 34, &spec), "");
        assert_eq!(told_of(Level::Privileged, 34, &json!({"hostNetwork": true})), "");
    }

    #[test]
    fn versions_know_the_checks_of_their_time() {
        let host =
            json!({"containers": [{"name": "web", "livenessProbe": {"httpGet": {"host": "1.2.3.4"}}}]});
        assert_eq!(told_of(Level::Baseline, 33, &host), "");
        let word = "probe or lifecycle host (container \"web\" uses probe or lifecycle host \"1.2.3.4\")";
        assert_eq!(told_of(Level::Baseline, 34, &host), word);
        let sysctl = json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}});
        assert_eq!(told_of(Level::Baseline, 31, &sysctl), "forbidden sysctls (net.ipv4.tcp_rmem)");
        assert_eq!(told_of(Level::Baseline, 32, &sysctl), "");
    }

    #[test]
    fn the_stricter_check_stands_for_the_milder_one() {
        let spec = json!({
            "volumes": [{"name": "h", "hostPath": {"path": "/"}}, {"name": "n", "nfs": {}}],
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "web", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"add": ["SYS_ADMIN"], "drop": ["ALL"]},
            }}],
        });
        assert_eq!(
            told_of(Level::Restricted, 34, &spec),
            "unrestricted capabilities (container \"web\" must not include \"SYS_ADMIN\" in \
             securityContext.capabilities.add), restricted volume types (volumes \"h\", \"n\" use restricted volume types \
             \"hostPath\", \"nfs\")"
        );
        assert_eq!(
            told_of(Level::Baseline, 34, &spec),
            "non-default capabilities (container \"web\" must not include \"SYS_ADMIN\" in \
             securityContext.capabilities.add), hostPath volumes (volume \"h\")"
        );
    }
}
