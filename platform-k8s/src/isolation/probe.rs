//! What probes are made of.

use platform_core::{Error, Image, Result};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use std::{
    fmt::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// On everything that a run makes.
pub(super) const PROBE: &str = "platform.dev/probe";
/// The value of [`PROBE`].
pub(super) const ISOLATION: &str = "isolation";
/// Until when a probe is of use, in seconds since 1970; what is older was left behind.
pub(super) const UNTIL: &str = "platform.dev/probe-until";

/// By which a Service finds its probe.
pub(super) const NAME: &str = "platform.dev/probe-name";

/// How long a probe may live.
pub(super) const LIFETIME: Duration = Duration::from_secs(300);

/// Names and times of one run.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// What the names of its objects end in.
    id: String,
    until: u64,
}

impl Run {
    pub(super) fn new() -> Result<Self> {
        let until = SystemTime::now() + LIFETIME;
        Ok(Self { id: random(4)?, until: seconds(until) })
    }

    pub(super) fn name(&self, what: &str) -> String {
        format!("isolation-{what}-{}", self.id)
    }

    pub(super) fn metadata(&self, namespace: &str, name: &str) -> Value {
        json!({
            "name": name,
            "namespace": namespace,
            "labels": {PROBE: ISOLATION, UNTIL: self.until.to_string()},
        })
    }

    /// A pod that Pod Security `restricted` lets in, that ends after its lifetime, and that requests next to nothing.
    pub(super) fn pod(&self, namespace: &str, name: &str, image: &Image, command: &[&str]) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": self.metadata(namespace, name),
            "spec": {
                "activeDeadlineSeconds": LIFETIME.as_secs(),
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "probe",
                    "image": image.as_str(),
                    "command": command,
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "16Mi"},
                        "limits": {"memory": "32Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": true,
                    },
                    "volumeMounts": [{"name": "work", "mountPath": "/work"}],
                }],
                "enableServiceLinks": false,
                "restartPolicy": "Never",
                "securityContext": {
                    "runAsGroup": 65534,
                    "runAsNonRoot": true,
                    "runAsUser": 65534,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                // Nothing is lost with a probe.
                "terminationGracePeriodSeconds": 0,
                "volumes": [{"name": "work", "emptyDir": {"sizeLimit": "1Mi"}}],
            },
        })
    }
}

/// Whether an object was left behind by a run that is over.
pub(super) fn is_left_behind(object: &Value) -> bool {
    let until = crate::labels::label(object, UNTIL).and_then(|text| text.parse::<u64>().ok());
    until.is_none_or(|until| until < seconds(SystemTime::now()))
}

/// So many random bytes, in hexadecimal digits.
pub(super) fn random(bytes: usize) -> Result<String> {
    let mut buffer = vec![0_u8; bytes];
    SystemRandom::new()
        .fill(&mut buffer)
        .map_err(|_| Error::internal("the machine gives no random numbers"))?;
    Ok(buffer.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_former_run_left_is_told_from_what_is_in_use() {
        let run = Run::new().unwrap();
        let probe = json!({"metadata": run.metadata("a", &run.name("probe"))});
        assert!(!is_left_behind(&probe));
        let old = json!({"metadata": {"labels": {UNTIL: "1700000000"}}});
        assert!(is_left_behind(&old));
        assert!(is_left_behind(&json!({"metadata": {}})));
        assert_ne!(Run::new().unwrap().name("probe"), run.name("probe"));
    }
}
