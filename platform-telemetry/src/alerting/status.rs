//! How the alerts stand.

use super::state::Shared;
use platform_core::{
    alert::{Alert, AlertRule, AlertState},
    clock::Timestamp,
};
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// Looks at an engine without owning it. Cheap to clone.
///
/// One that is made before its engine shows nothing until [`AlertEngineBuilder::monitor`](super::AlertEngineBuilder::monitor) has given it
/// to one that was started; when that has ended, it shows how it was at its end.
#[derive(Debug, Clone, Default)]
pub struct AlertMonitor(pub(super) Arc<Shared>);

impl AlertMonitor {
    /// How it stands.
    pub fn status(&self) -> AlertStatus {
        self.0.status()
    }
}

/// How an engine stands at a moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AlertStatus {
    /// Its rules, in the order given.
    pub rules: Vec<RuleStatus>,
    /// Pending and firing alerts, by rule and labels.
    pub active: Vec<Alert>,
    /// The last 100 alerts that were resolved, the latest first.
    pub resolved: Vec<Alert>,
    /// Its notifiers, in the order given.
    pub notifiers: Vec<NotifierStatus>,
    /// How many times the state of alerts could not be written to the store, or read from it at the start.
    pub store_failures: u64,
    /// How many times the clock was found set back.
    pub clock_setbacks: u64,
}

/// How a rule stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RuleStatus {
    /// The rule.
    pub rule: AlertRule,
    /// The gravest state of its alerts; `None`: it is inactive.
    pub state: Option<AlertState>,
    /// How many of its alerts began to fire since the engine started.
    pub fired: u64,
    /// How many times it was evaluated.
    pub evaluations: u64,
    /// How many of those failed; a failure leaves the state of its alerts as it was.
    pub failures: u64,
    /// Why the last evaluation failed; `None`: it did not.
    pub last_error: Option<String>,
    /// For which moment it was last evaluated.
    pub last_evaluation: Option<Timestamp>,
    /// How long that took.
    pub last_duration: Duration,
}

/// How the deliveries to a notifier stand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NotifierStatus {
    /// Its name.
    pub name: String,
    /// Notifications that were delivered.
    pub delivered: u64,
    /// Notifications that were given up: after their retries, or because the queue was full.
    pub failed: u64,
    /// Calls that failed and were tried again.
    pub retried: u64,
    /// Notifications that wait or are under way.
    pub queued: u64,
    /// When the last one was delivered.
    pub last_delivery: Option<Timestamp>,
    /// Why the last call failed; `None`: it did not.
    pub last_error: Option<String>,
}
