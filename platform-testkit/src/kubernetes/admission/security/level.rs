//! The labels of a namespace, and what they mean.

use std::fmt;

use serde_json::{Value, json};

use crate::kubernetes::error::Cause;

const PREFIX: &str = "pod-security.kubernetes.io/";
/// The newest version that has checks of its own.
const LATEST: u32 = 34;

/// How much a pod may do, from everything to little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// A level as of a version of Kubernetes. Displays as `restricted:latest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standard {
    pub(super) level: Level,
    pub(super) version: String,
    /// The minor version whose checks count.
    pub(super) minor: u32,
}

/// What is refused, and what is warned of. Audit logs do not exist here.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) enforce: Standard,
    pub(super) warn: Standard,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level.as_str(), self.version)
    }
}

impl Standard {
    /// From the labels of a mode; a level that nobody knows is the strictest.
    fn of(labels: &Value, mode: &str) -> Option<Self> {
        let label = |suffix: &str| labels.get(format!("{PREFIX}{mode}{suffix}")).and_then(Value::as_str);
        let level = Level::parse(label("")?).unwrap_or(Level::Restricted);
        let version = label("-version").unwrap_or("latest");
        let minor = minor(version).unwrap_or(LATEST);
        Some(Self { level, version: version.to_owned(), minor })
    }
}

impl Policy {
    pub(super) fn of(labels: &Value) -> Self {
        let none = || Standard { level: Level::Privileged, version: "latest".to_owned(), minor: LATEST };
        let enforce = Standard::of(labels, "enforce").unwrap_or_else(none);
        // Who enforces a level is warned of it as well, where templates of pods are concerned.
        let warn = Standard::of(labels, "warn").unwrap_or_else(|| enforce.clone());
        Self { enforce, warn }
    }
}

/// The labels that name no level or no version.
pub(super) fn wrong_labels(labels: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for mode in ["enforce", "audit", "warn"] {
        let mut check = |suffix: &str, known: fn(&str) -> bool, why: &str| {
            let key = format!("{PREFIX}{mode}{suffix}");
            if let Some(value) = labels.get(&key).and_then(Value::as_str).filter(|value| !known(value)) {
                causes.push(Cause::invalid(format!("metadata.labels[{key}]"), &json!(value), why));
            }
        };
        let levels = "must be one of privileged, baseline, restricted";
        check("", |level| Level::parse(level).is_some(), levels);
        check("-version", |version| minor(version).is_some(), "must be \"latest\" or \"v1.x\"");
    }
    causes
}

/// The minor version of `v1.x`; that of the newest for `latest`.
fn minor(version: &str) -> Option<u32> {
    if version == "latest" {
        return Some(LATEST);
    }
    let minor = version.strip_prefix("v1.")?;
    let plain = minor.bytes().all(|byte| byte.is_ascii_digit()) && (minor == "0" || !minor.starts_with('0'));
    minor.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_enforced_is_warned_of_unless_the_labels_say_otherwise() {
        let policy = Policy::of(&json!({
            "pod-security.kubernetes.io/enforce": "baseline",
            "pod-security.kubernetes.io/enforce-version": "v1.25",
        }));
        assert_eq!((policy.enforce.to_string(), policy.enforce.minor), ("baseline:v1.25".to_owned(), 25));
        assert_eq!(policy.warn, policy.enforce);
        let policy = Policy::of(&json!({"pod-security.kubernetes.io/warn": "restricted"}));
        assert_eq!(policy.enforce.level, Level::Privileged);
        assert_eq!(policy.warn.to_string(), "restricted:latest");
    }

    #[test]
    fn labels_that_say_nothing_are_found() {
        let causes = wrong_labels(&json!({
            "pod-security.kubernetes.io/enforce": "bogus",
            "pod-security.kubernetes.io/warn": "baseline",
            "pod-security.kubernetes.io/warn-version": "1.2",
        }));
        let told: Vec<String> = causes.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"bogus\": must be one of privileged, \
                 baseline, restricted",
                "metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"1.2\": must be \"latest\" or \
                 \"v1.x\"",
            ]
        );
    }
}
