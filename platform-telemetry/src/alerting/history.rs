//! The state of alerts as samples and log records, and back.

use super::rule::{Remembered, identity};
use crate::sources::STALE;
use platform_core::{
    Result,
    alert::{Alert, AlertRule, AlertSeverity, AlertState},
    clock::Timestamp,
    telemetry::{
        Labels, LogRecord, MetricKind, Sample, Selector, Series, Severity, TelemetryStore, TimeRange, metric,
    },
};
use std::{collections::HashMap, time::Duration};

const STATE: &str = "ALERTS";
const SINCE: &str = "ALERTS_FOR_STATE";
const NOTIFIED: &str = "ALERTS_NOTIFIED";

/// How long an engine may be away and still take up the alerts of the former one: Prometheus' `rules.alert.for-outage-tolerance`.
const OUTAGE_TOLERANCE: Duration = Duration::from_secs(3600);

/// When a notifier was told of an alert.
pub(super) struct Told {
    pub(super) notifier: String,
    pub(super) labels: Labels,
    pub(super) at: Timestamp,
}

/// The samples that say that `alert` is pending or firing at `at`.
pub(super) fn active(alert: &Alert, at: Timestamp) -> [Sample; 2] {
    let labels = named(&alert.name, alert.severity, &alert.labels);
    [
        sample(STATE, labels.with_label("alertstate", &alert.state.to_string()), at, 1.0),
        sample(SINCE, labels, at, alert.active_since.as_secs_f64()),
    ]
}

/// The samples that end the series of an alert that has left `state`; its `ALERTS_FOR_STATE` ends too unless it goes on in another.
pub(super) fn ended(
    rule: &AlertRule,
    labels: &Labels,
    state: AlertState,
    goes_on: bool,
    at: Timestamp,
) -> Vec<Sample> {
    let labels = named(&rule.name, rule.severity, labels);
    let mut samples = vec![sample(STATE, labels.with_label("alertstate", &state.to_string()), at, STALE)];
    if !goes_on {
        samples.push(sample(SINCE, labels, at, STALE));
    }
    samples
}

/// The sample that says that `notifier` was told of an alert at `told`; `None`: it need not be known any more.
pub(super) fn notified(
    rule: &AlertRule,
    labels: &Labels,
    notifier: &str,
    told: Option<Timestamp>,
    at: Timestamp,
) -> Sample {
    let labels = named(&rule.name, rule.severity, labels).with_label("notifier", notifier);
    sample(NOTIFIED, labels, at, told.map_or(STALE, Timestamp::as_secs_f64))
}

/// The record that says that an alert began to fire or was resolved.
pub(super) fn record(alert: &Alert, at: Timestamp) -> LogRecord {
    let severity = match (alert.state, alert.severity) {
        (AlertState::Firing, AlertSeverity::Critical) => Severity::Error,
        (AlertState::Firing, AlertSeverity::Warning) => Severity::Warn,
        _ => Severity::Info,
    };
    let labels = named(&alert.name, alert.severity, &alert.labels)
        .with_label("alertstate", &alert.state.to_string())
        .with_label("source", "alerts");
    let colon = if alert.summary.is_empty() { "" } else { ": " };
    let body = format!("{} is {}{colon}{}", alert.name, alert.state, alert.summary);
    LogRecord { timestamp: at, severity, body, labels }
}

/// What a former engine left of `rule` shortly before `now`: its alerts, and who was told of them.
pub(super) async fn recall(
    store: &dyn TelemetryStore,
    rule: &AlertRule,
    now: Timestamp,
) -> Result<(Vec<Remembered>, Vec<Told>)> {
    let range = TimeRange::last(OUTAGE_TOLERANCE, now);
    let of_rule =
        |name: &str| metric(name).eq("alertname", rule.name.as_str()).eq("severity", rule.severity.as_str());
    let latest = async |selector: Selector| -> Result<Vec<(Labels, Timestamp, f64)>> {
        let series = store.select(&selector, range).await?;
        Ok(series.iter().filter_map(last_unless_ended).collect())
    };
    let firing: HashMap<Labels, Timestamp> = latest(of_rule(STATE).eq("alertstate", "firing"))
        .await?
        .into_iter()
        .map(|(labels, at, _)| (identity(&labels), at))
        .collect();
    let alerts = latest(of_rule(SINCE)).await?.into_iter().map(|(labels, seen_at, since)| {
        let labels = identity(&labels);
        let firing = firing.get(&labels).is_some_and(|at| *at >= seen_at);
        Remembered { labels, active_since: moment(since), seen_at, firing }
    });
    let told = latest(of_rule(NOTIFIED)).await?.into_iter().filter_map(|(labels, _, at)| {
        let notifier = labels.get("notifier")?.to_owned();
        Some(Told { notifier, labels: identity(&labels), at: moment(at) })
    });
    Ok((alerts.collect(), told.collect()))
}

fn named(alertname: &str, severity: AlertSeverity, labels: &Labels) -> Labels {
    labels.with(&Labels::from_iter([("alertname", alertname), ("severity", severity.as_str())]))
}

fn sample(metric: &str, labels: Labels, timestamp: Timestamp, value: f64) -> Sample {
    Sample { metric: metric.into(), labels, timestamp, value, kind: MetricKind::Gauge }
}

/// Any NaN ends a series here: none of these metrics has NaN for a value, and not every store keeps which NaN it is.
fn last_unless_ended(series: &Series) -> Option<(Labels, Timestamp, f64)> {
    let (at, value) = *series.points.last()?;
    (!value.is_nan()).then(|| (series.labels.clone(), at, value))
}

fn moment(seconds: f64) -> Timestamp {
    Timestamp::from_millis((seconds * 1000.0).round() as i64)
}
