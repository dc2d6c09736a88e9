//! Alerting: rules are evaluated against a store at an interval, and notifiers are told what began to fire and what was resolved.
//!
//! States are those of Prometheus' alerting rules, and as in Prometheus they are themselves metrics, from which a restarted engine
//! goes on where the last one stopped:
//!
//! | metric | value |
//! |---|---|
//! | `ALERTS{alertname, alertstate, severity, …}` | 1 while the alert is pending or firing |
//! | `ALERTS_FOR_STATE{alertname, severity, …}` | since when its condition holds, in seconds since the epoch |
//! | `ALERTS_NOTIFIED{alertname, severity, notifier, …}` | when the notifier was last told, in seconds since the epoch |
//!
//! A series ends with Prometheus' stale marker. What fires and what is resolved is also a log record with the label
//! `source="alerts"`.

mod dispatch;
mod engine;
mod evaluator;
mod history;
mod rule;
mod state;
mod status;
#[cfg(test)]
mod tests;

pub(crate) use engine::check;
pub use engine::{AlertEngine, AlertEngineBuilder};
pub use status::{AlertMonitor, AlertStatus, NotifierStatus, RuleStatus};
