//! Notifications to send.

use platform_core::{
    alert::{Alert, AlertRule, AlertSeverity, AlertState, Condition, Notification},
    clock::Timestamp,
    telemetry::{Labels, metric},
};
use std::time::Duration;

/// 2026-11-23T00:00:00.500Z
pub(crate) const FIRED: Timestamp = Timestamp::from_millis(1_795_392_000_500);

/// An alert of `room` with a summary that needs escaping, firing.
pub(crate) fn firing(room: &str) -> Alert {
    let rule = AlertRule::new("Hot", metric("temperature"), Condition::Above(80.0))
        .unwrap()
        .severity(AlertSeverity::Critical)
        .summary("{{room}} has {{value}} degrees, <80> & more");
    let labels = Labels::from_iter([("room", room), ("house", "a")]);
    let mut alert = Alert::pending(&rule, &labels, 93.5, FIRED - Duration::from_secs(300));
    alert.state = AlertState::Firing;
    alert.fired_at = Some(FIRED);
    alert
}

/// The same, resolved a minute later.
pub(crate) fn resolved(room: &str) -> Alert {
    let mut alert = firing(room);
    alert.state = AlertState::Resolved;
    alert.resolved_at = Some(FIRED + Duration::from_secs(60));
    alert
}

pub(crate) fn notification(alerts: Vec<Alert>) -> Notification {
    let console_url = Some("http://127.0.0.1:9000/?a=1&b=2".to_owned());
    Notification { platform: "shop".to_owned(), at: FIRED, alerts, console_url }
}
