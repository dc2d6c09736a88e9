//! Alert rules, alerts, and who is told of them.
//!
//! States and times are those of Prometheus' alerting rules: a series that fulfils the condition is *pending* until it has done so
//! for [`AlertRule::pending_for`], then *firing*, and *resolved* once it no longer does.

mod prometheus;

pub use prometheus::{PrometheusRule, PrometheusRuleFile, PrometheusRuleGroup};

use crate::{
    clock::Timestamp,
    error::{Error, Result},
    telemetry::{Expression, Labels, PromNumber, metric},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, time::Duration};

/// When a value is worth an alert.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Condition {
    /// Greater than this.
    Above(f64),
    /// Less than this.
    Below(f64),
}

impl Condition {
    /// Whether `value` fulfils it; NaN never does.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::Above(limit) => value > limit,
            Self::Below(limit) => value < limit,
        }
    }

    /// The number compared with.
    pub const fn limit(self) -> f64 {
        match self {
            Self::Above(limit) | Self::Below(limit) => limit,
        }
    }
}

/// As in PromQL: `> 80`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above(limit) => write!(f, "> {}", PromNumber(*limit)),
            Self::Below(limit) => write!(f, "< {}", PromNumber(*limit)),
        }
    }
}

/// How urgent an alert is: the label `severity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AlertSeverity {
    /// To be known.
    Info,
    /// To be looked at.
    #[default]
    Warning,
    /// To be acted on at once.
    Critical,
}

impl AlertSeverity {
    /// `info`, `warning`, `critical`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for AlertSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// When to raise an alert.
///
/// ```
/// use platform_core::alert::AlertRule;
/// use std::time::Duration;
///
/// let rule = AlertRule::high_cpu(80.0).pending_for(Duration::from_secs(300));
/// assert_eq!(
///     rule.promql(),
///     "100 * sum by (cluster, environment) (rate(node_cpu_seconds_total{mode!=\"idle\"}[5m])) \
///      / sum by (cluster, environment) (rate(node_cpu_seconds_total[5m])) > 80"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AlertRule {
    /// Its name: the label `alertname`.
    pub name: String,
    /// What is evaluated; each series of the answer is an alert of its own.
    pub expression: Expression,
    /// When a value is worth an alert.
    pub condition: Condition,
    /// How long the condition must hold before the alert fires. Default: 0.
    pub pending_for: Duration,
    /// How long it goes on firing after the condition no longer holds. Default: 0.
    pub keep_firing_for: Duration,
    /// How urgent it is.
    pub severity: AlertSeverity,
    /// More labels for its alerts.
    pub labels: BTreeMap<String, String>,
    /// A sentence for people, with `{{value}}` and `{{label}}` filled in.
    pub summary: String,
}

impl AlertRule {
    /// A rule that fires at once, of severity warning.
    ///
    /// The name must be made of letters, digits and `_` and not start with a digit.
    pub fn new(
        name: impl Into<String>,
        expression: impl Into<Expression>,
        condition: Condition,
    ) -> Result<Self> {
        let name = name.into();
        let valid = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.starts_with(|c: char| !c.is_ascii_digit());
        if !valid {
            return Err(Error::invalid(format!(
                "{name:?} is not a valid alert name: letters, digits and '_', not starting with a digit, are"
            )));
        }
        if condition.limit().is_nan() {
            return Err(Error::invalid(format!("the limit of alert {name} is not a number")));
        }
        Ok(Self::build(name, expression.into(), condition))
    }

    /// `HighCpu`: the mean CPU use of a cluster's nodes over 5 minutes is above `percent`, and stays so for 5 minutes.
    pub fn high_cpu(percent: f64) -> Self {
        let window = Duration::from_secs(300);
        let mut rule = Self::build("HighCpu".to_owned(), cpu_percent(window), Condition::Above(percent));
        rule.pending_for = window;
        rule.summary("CPU of cluster {{cluster}} is at {{value}} %")
    }

    fn build(name: String, expression: Expression, condition: Condition) -> Self {
        Self {
            name,
            expression,
            condition,
            pending_for: Duration::ZERO,
            keep_firing_for: Duration::ZERO,
            severity: AlertSeverity::default(),
            labels: BTreeMap::new(),
            summary: String::new(),
        }
    }

    /// Sets how long the condition must hold.
    #[must_use]
    pub fn pending_for(mut self, duration: Duration) -> Self {
        self.pending_for = duration;
        self
    }

    /// Sets how long it goes on firing.
    #[must_use]
    pub fn keep_firing_for(mut self, duration: Duration) -> Self {
        self.keep_firing_for = duration;
        self
    }

    /// Sets how urgent it is.
    #[must_use]
    pub fn severity(mut self, severity: AlertSeverity) -> Self {
        self.severity = severity;
        self
    }

    /// Sets what is evaluated.
    #[must_use]
    pub fn expression(mut self, expression: impl Into<Expression>) -> Self {
        self.expression = expression.into();
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Sets the sentence for people.
    #[must_use]
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = summary.into();
        self
    }

    /// The rule's expression with its condition, as PromQL.
    pub fn promql(&self) -> String {
        format!("{} {}", self.expression, self.condition)
    }

    /// The summary for an alert of this rule, filled in: `{{value}}` with one decimal, `{{label}}` with the label's value. What is
    /// no label stays as it is, and so do braces in the values of labels.
    pub fn summary_for(&self, labels: &Labels, value: f64) -> String {
        let mut text = String::with_capacity(self.summary.len());
        let mut rest = self.summary.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            text.push_str(before);
            let filled = after.split_once("}}").and_then(|(name, after)| {
                let word = match name.trim() {
                    "value" => format!("{value:.1}"),
                    name => labels.get(name)?.to_owned(),
                };
                Some((word, after))
            });
            if let Some((word, after)) = filled {
                text.push_str(&word);
                rest = after;
            } else {
                text.push_str("{{");
                rest = after;
            }
        }
        text.push_str(rest);
        text
    }
}

/// The mean CPU use of each cluster's nodes in percent, over `window`: what [`AlertRule::high_cpu`] watches.
pub fn cpu_percent(window: Duration) -> Expression {
    let cpu = metric("node_cpu_seconds_total");
    let by = ["cluster", "environment"];
    // Busy time by all time, not one less idle time: a rate over a window that is not yet full of samples is too low, and so would
    // show an idle machine as busy. In the quotient that cancels out.
    100.0 * cpu.clone().ne("mode", "idle").rate(window).sum_by(by) / cpu.rate(window).sum_by(by)
}

/// How an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AlertState {
    /// The condition holds, not yet long enough.
    Pending,
    /// It held long enough.
    Firing,
    /// It fired and no longer holds.
    Resolved,
}

impl fmt::Display for AlertState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        })
    }
}

/// One series that fulfils, or fulfilled, a rule's condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Alert {
    /// The rule's name.
    pub name: String,
    /// The series' labels with those of the rule; with the name, the alert's identity.
    pub labels: Labels,
    /// How it stands.
    pub state: AlertState,
    /// How urgent it is.
    pub severity: AlertSeverity,
    /// The latest value.
    pub value: f64,
    /// Since when the condition holds.
    pub active_since: Timestamp,
    /// When it began to fire.
    pub fired_at: Option<Timestamp>,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// The rule's summary, filled in.
    pub summary: String,
}

impl Alert {
    /// An alert that has just become pending.
    pub fn pending(rule: &AlertRule, series: &Labels, value: f64, at: Timestamp) -> Self {
        let labels = series.with(&rule.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect());
        Self {
            name: rule.name.clone(),
            summary: rule.summary_for(&labels, value),
            labels,
            state: AlertState::Pending,
            severity: rule.severity,
            value,
            active_since: at,
            fired_at: None,
            resolved_at: None,
        }
    }
}

/// What a notifier is told: alerts that began to fire or were resolved at the same evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// The platform.
    pub platform: String,
    /// When.
    pub at: Timestamp,
    /// The alerts, at least one, each firing or resolved.
    pub alerts: Vec<Alert>,
    /// Where more can be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console_url: Option<String>,
}

impl Notification {
    /// A line for people: `[FIRING] HighCpu on shop: CPU of cluster shop-testing is at 93.1 %`.
    pub fn title(&self) -> String {
        let firing = self.alerts.iter().filter(|a| a.state == AlertState::Firing).count();
        let state = if firing > 0 { "FIRING" } else { "RESOLVED" };
        match self.alerts.as_slice() {
            [one] => format!("[{state}] {} on {}: {}", one.name, self.platform, one.summary),
            alerts => format!("[{state}] {} alerts on {}", alerts.len(), self.platform),
        }
    }
}

/// Who is told of alerts.
///
/// Implemented for terminals, webhooks, Slack and email; called once for each evaluation that has news. The caller retries what is
/// retryable and bounds each call by a deadline.
#[async_trait]
pub trait Notifier: Send + Sync + fmt::Debug {
    /// A name for messages, without secrets: `slack`, `email to ops@example.com`.
    fn name(&self) -> &str;

    /// Delivers a notification.
    async fn notify(&self, notification: &Notification) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_filled_in_once() {
        let rule = AlertRule::high_cpu(80.0).summary("{{a}} {{ b }} {{value}} {{c}} {{{{a}} {{");
        let labels = Labels::from_iter([("a", "{{b}}"), ("b", "{{value}}"), ("value", "no")]);
        assert_eq!(rule.summary_for(&labels, 93.14), "{{b}} {{value}} 93.1 {{c}} {{{{b}} {{");
    }

    #[test]
    fn a_rule_is_checked_and_nothing_that_is_not_a_number_fires() {
        for bad in ["", "1a", "a b", "é"] {
            assert!(AlertRule::new(bad, metric("up"), Condition::Below(1.0)).is_err(), "{bad}");
        }
        assert!(AlertRule::new("A", metric("up"), Condition::Below(f64::NAN)).is_err());
        let rule = AlertRule::new("A", metric("up"), Condition::Above(f64::INFINITY)).unwrap();
        assert_eq!(rule.promql(), "up > +Inf");
        assert!(!Condition::Above(0.0).holds(f64::NAN) && !Condition::Below(0.0).holds(f64::NAN));
    }
}
