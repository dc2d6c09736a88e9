//! Alert rules as Prometheus' rule files have them.

use super::AlertRule;
use crate::telemetry::prometheus_duration;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// A [rule file](https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/) of Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusRuleFile {
    /// Its groups; their names are unique in a file.
    pub groups: Vec<PrometheusRuleGroup>,
}

/// Rules that are evaluated one after another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusRuleGroup {
    /// The group's name.
    pub name: String,
    /// Its rules.
    pub rules: Vec<PrometheusRule>,
}

/// An alert rule in Prometheus' words, as it stands in a rule file.
///
/// ```
/// use platform_core::alert::{AlertRule, PrometheusRule};
///
/// let rule = PrometheusRule::from(&AlertRule::high_cpu(80.0));
/// assert_eq!(rule.alert, "HighCpu");
/// assert_eq!(rule.annotations["summary"], r#"CPU of cluster {{ $labels.cluster }} is at {{ $value | printf "%.1f" }} %"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusRule {
    /// The label `alertname`.
    pub alert: String,
    /// PromQL; each series of the answer is an alert. Not checked here: `promtool check rules` does.
    pub expr: String,
    /// How long there must be an answer before the alert fires. Default: 0.
    #[serde(
        rename = "for",
        with = "prometheus_duration",
        default,
        skip_serializing_if = "Duration::is_zero"
    )]
    pub pending_for: Duration,
    /// How long it goes on firing afterwards. Default: 0.
    #[serde(with = "prometheus_duration", default, skip_serializing_if = "Duration::is_zero")]
    pub keep_firing_for: Duration,
    /// More labels for its alerts; templates of Prometheus.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Texts for people; templates of Prometheus.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// With the severity as a label and the summary as an annotation.
impl From<&AlertRule> for PrometheusRule {
    fn from(rule: &AlertRule) -> Self {
        let labels = rule.labels.iter().map(|(name, value)| (name.clone(), literal(value)));
        let severity = ("severity".to_owned(), rule.severity.as_str().to_owned());
        let mut annotations = BTreeMap::new();
        if !rule.summary.is_empty() {
            annotations.insert("summary".to_owned(), template(&rule.summary));
        }
        Self {
            alert: rule.name.clone(),
            expr: rule.promql(),
            pending_for: rule.pending_for,
            keep_firing_for: rule.keep_firing_for,
            labels: labels.chain([severity]).collect(),
            annotations,
        }
    }
}

/// A summary as a template of Go: what is no placeholder stays as it is.
fn template(summary: &str) -> String {
    let mut text = String::with_capacity(summary.len() + 32);
    let mut rest = summary;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let placeholder = after
            .split_once("}}")
            .map(|(name, after)| (name.trim(), after))
            .filter(|(name, _)| is_label(name));
        let (written, after) = match placeholder {
            Some(("value", after)) => (r#"{{ $value | printf "%.1f" }}"#.to_owned(), after),
            Some((name, after)) => (format!("{{{{ $labels.{name} }}}}"), after),
            None => (BRACES.to_owned(), after),
        };
        text.push_str(&written);
        rest = after;
    }
    text + rest
}

/// Two braces that begin no action of a template.
const BRACES: &str = r#"{{ "{{" }}"#;

/// Text that is no template.
fn literal(text: &str) -> String {
    text.replace("{{", BRACES)
}

fn is_label(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alert::{AlertSeverity, Condition},
        telemetry::metric,
    };
    use serde_json::json;

    #[test]
    fn a_rule_is_written_as_prometheus_reads_it() {
        let rule = AlertRule::new("Down", metric("up"), Condition::Below(1.0))
            .unwrap()
            .pending_for(Duration::from_secs(90))
            .severity(AlertSeverity::Critical)
            .label("team", "{{x}}")
            .summary("{{ instance }} is {{value}}, {{not a label}}, {{");
        let written = serde_json::to_value(PrometheusRule::from(&rule)).unwrap();
        assert_eq!(
            written,
            json!({
                "alert": "Down", "expr": "up < 1", "for": "1m30s",
                "labels": {"severity": "critical", "team": "{{ \"{{\" }}x}}"},
                "annotations": {"summary": "{{ $labels.instance }} is {{ $value | printf \"%.1f\" }}, {{ \"{{\" }}not a label}}, {{ \"{{\" }}"},
            })
        );
        let read: PrometheusRule = serde_json::from_value(written).unwrap();
        assert_eq!(read, PrometheusRule::from(&rule));
    }

    #[test]
    fn unknown_fields_and_bad_durations_are_refused() {
        let told = |rule| serde_json::from_value::<PrometheusRule>(rule).unwrap_err().to_string();
        assert!(told(json!({"alert": "A", "expr": "up", "fo": "1m"})).contains("unknown field `fo`"));
        assert!(
            told(json!({"alert": "A", "expr": "up", "for": "soon"})).contains("\"soon\" is not a duration")
        );
    }
}
