//! Pods: whether they are ready, and why a container does not start.

use super::{Verdict, rules::Condition};
use serde_json::Value;

const CRASH_LOOP: &str = "CrashLoopBackOff";
/// Reasons of waiting containers that do not go away by waiting.
const HOPELESS: [&str; 8] = [
    CRASH_LOOP,
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
];
/// How often a container may end before its crash loop is hopeless: many wait for others by ending until these are there.
/// With the kubelet's back-off of 10 s, doubled each time, that is about half a minute.
const PATIENT_RESTARTS: i64 = 3;
/// A container's message may be a whole log.
const LONGEST: usize = 300;

pub(super) fn judge(pod: &Value) -> Verdict {
    if let Some(failure) = failure(pod) {
        return Verdict::failed(failure);
    }
    match phase(pod) {
        "Succeeded" => Verdict::current(),
        "Failed" => {
            let text = |key: &str| {
                pod.pointer(&format!("/status/{key}")).and_then(Value::as_str).unwrap_or_default()
            };
            match (text("reason"), text("message")) {
                ("", "") => Verdict::failed(ended(pod).unwrap_or_else(|| "it failed".to_owned())),
                (reason, message) => Verdict::failed(short(&format!("{reason}: {message}"))),
            }
        }
        _ => match Condition::find(pod, "Ready") {
            Some(ready) if ready.status == "True" => Verdict::current(),
            _ => Verdict::in_progress(waiting(pod).unwrap_or_else(|| "it is not ready".to_owned())),
        },
    }
}

/// Why the pod will not start, naming pod and container. One that is on its way out need not.
pub(super) fn failure(pod: &Value) -> Option<String> {
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        return None;
    }
    let name = name(pod);
    containers(pod).find_map(|container| {
        let waiting = container.pointer("/state/waiting")?;
        let text = |key: &str| waiting.get(key).and_then(Value::as_str).unwrap_or_default();
        let reason = text("reason");
        let restarts = container.get("restartCount").and_then(Value::as_i64).unwrap_or_default();
        let hopeless = HOPELESS.contains(&reason) && (reason != CRASH_LOOP || restarts >= PATIENT_RESTARTS);
        if !hopeless {
            return None;
        }
        let container_name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        let mut said = format!("{reason} in pod {name}, container {container_name}");
        if !text("message").is_empty() {
            said = format!("{said}: {}", short(text("message")));
        }
        if let Some(last) = container.pointer("/lastState/terminated") {
            let code = last.get("exitCode").and_then(Value::as_i64).unwrap_or_default();
            let why = last
                .get("message")
                .or_else(|| last.get("reason"))
                .and_then(Value::as_str)
                .unwrap_or_default();
            said = format!("{said}; it ended with code {code}");
            if !why.is_empty() {
                said = format!("{said}: {}", short(why));
            }
        }
        Some(said)
    })
}

/// Whether one of its containers ends again and again.
pub(super) fn is_crash_loop(pod: &Value) -> bool {
    containers(pod).any(|c| c.pointer("/state/waiting/reason").and_then(Value::as_str) == Some(CRASH_LOOP))
}

/// What the pod waits for, if it says.
pub(super) fn waiting(pod: &Value) -> Option<String> {
    let name = name(pod);
    if let Some(scheduled) = Condition::find(pod, "PodScheduled").filter(|c| c.status == "False") {
        return Some(format!("pod {name} is not scheduled: {}", short(&scheduled.says())));
    }
    let stuck = containers(pod).find_map(|container| {
        let container_name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        if let Some(waiting) = container.pointer("/state/waiting") {
            let reason = waiting.get("reason").and_then(Value::as_str).unwrap_or("waiting");
            return Some(format!("container {container_name} of pod {name} is {reason}"));
        }
        let ready = container.get("ready").and_then(Value::as_bool).unwrap_or(true);
        let running = container.pointer("/state/running").is_some();
        (running && !ready).then(|| format!("container {container_name} of pod {name} runs but is not ready"))
    });
    stuck.or_else(|| (phase(pod) == "Pending").then(|| format!("pod {name} is pending")))
}

fn ended(pod: &Value) -> Option<String> {
    containers(pod).find_map(|container| {
        let ended = container.pointer("/state/terminated")?;
        let code = ended.get("exitCode").and_then(Value::as_i64).filter(|code| *code != 0)?;
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        Some(format!("container {name} ended with code {code}"))
    })
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .filter_map(|list| pod.get("status")?.get(list)?.as_array())
        .flatten()
}

fn name(pod: &Value) -> &str {
    pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

fn phase(pod: &Value) -> &str {
    pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn short(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let cut: String = text.chars().take(LONGEST).collect();
    format!("{cut}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform_core::cluster::Readiness;
    use serde_json::json;

    fn pod(phase: &str, container: &Value) -> Value {
        json!({"metadata": {"name": "web-1"}, "status": {"phase": phase, "containerStatuses": [container]}})
    }

    #[test]
    fn a_container_that_will_not_start_is_named_with_its_reason() {
        let image = pod(
            "Pending",
            &json!({"name": "web", "state": {"waiting": {
            "reason": "ImagePullBackOff", "message": "Back-off pulling image \"a:1\""}}}),
        );
        let verdict = judge(&image);
        assert_eq!(verdict.readiness, Readiness::Failed);
        assert_eq!(
            verdict.message,
            "ImagePullBackOff in pod web-1, container web: Back-off pulling image \"a:1\""
        );
        let crash = pod(
            "Running",
            &json!({"name": "web", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}}),
        );
        assert_eq!(
            judge(&crash).message,
            "CrashLoopBackOff in pod web-1, container web; it ended with code 3: Error"
        );
        let starting =
            pod("Pending", &json!({"name": "web", "state": {"waiting": {"reason": "ContainerCreating"}}}));
        assert_eq!(judge(&starting), Verdict::in_progress("container web of pod web-1 is ContainerCreating"));
    }

    #[test]
    fn a_container_may_end_a_few_times_while_it_waits_for_others() {
        let of = |restarts: i64| {
            let container = json!({"name": "wait-for-database", "restartCount": restarts,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
            judge(
                &json!({"metadata": {"name": "web-1"}, "status": {"phase": "Pending", "initContainerStatuses": [container]}}),
            )
        };
        assert_eq!(
            of(2),
            Verdict::in_progress("container wait-for-database of pod web-1 is CrashLoopBackOff")
        );
        assert_eq!(of(3).readiness, Readiness::Failed);
    }

    #[test]
    fn a_pod_that_ended_is_done_or_failed() {
        assert_eq!(judge(&json!({"status": {"phase": "Succeeded"}})), Verdict::current());
        let failed = pod("Failed", &json!({"name": "web", "state": {"terminated": {"exitCode": 2}}}));
        assert_eq!(judge(&failed), Verdict::failed("container web ended with code 2"));
        let evicted = json!({"status": {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}});
        assert_eq!(judge(&evicted), Verdict::failed("Evicted: low on memory"));
    }

    #[test]
    fn an_unschedulable_pod_says_why() {
        let unscheduled = json!({"metadata": {"name": "web-1"}, "status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}]}});
        assert_eq!(
            judge(&unscheduled),
            Verdict::in_progress("pod web-1 is not scheduled: Unschedulable: 0/1 nodes are available")
        );
    }
}
