//! Alertmanager's webhook.

use crate::http;
use async_trait::async_trait;
use platform_core::{
    Result,
    alert::{Alert, AlertState, Notification, Notifier},
    telemetry::Labels,
};
use reqwest::{Client, Url, redirect::Policy};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::{collections::BTreeMap, fmt, time::Duration};

/// Posts notifications as JSON in the form of [Alertmanager's webhook], version 4, which many programs take.
///
/// An alert's labels are completed by `alertname`, `severity` and `platform`; its annotations are `summary` and `value`. Answers 408, 429
/// and 5xx are worth a retry, all others outside of 2xx are not. Redirects are not followed.
///
/// [Alertmanager's webhook]: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
#[derive(Clone)]
pub struct Webhook {
    name: String,
    url: Url,
    bearer: Option<SecretString>,
    client: Client,
}

impl Webhook {
    /// Posts to `url` over HTTP or HTTPS, with a timeout of 10 seconds.
    pub fn new(url: &str) -> Result<Self> {
        let url = http::parse_url(url).map_err(|e| e.operation("set up").subject("webhook"))?;
        let name = format!("webhook {}", url.host_str().unwrap_or_default());
        let client = http::client(Duration::from_secs(10), Policy::none())?;
        Ok(Self { name, url, bearer: None, client })
    }

    /// Sends `Authorization: Bearer TOKEN`.
    #[must_use]
    pub fn bearer(mut self, token: impl Into<SecretString>) -> Self {
        self.bearer = Some(token.into());
        self
    }

    /// Sets how long one call may take.
    pub fn timeout(mut self, timeout: Duration) -> Result<Self> {
        self.client = http::client(timeout, Policy::none())?;
        Ok(self)
    }

    /// Sets its name, `webhook HOST` by default.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

/// The path may hold a token, so only the host is shown.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("name", &self.name)
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Notifier for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    async fn notify(&self, notification: &Notification) -> Result<()> {
        let mut request = self.client.post(self.url.clone()).json(&Payload::new(&self.name, notification));
        if let Some(token) = &self.bearer {
            request = request.bearer_auth(token.expose_secret());
        }
        let response = request.send().await.map_err(http::failure)?;
        http::success(response).await
    }
}

/// The body, field by field as Alertmanager has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    version: &'static str,
    group_key: String,
    truncated_alerts: u64,
    status: &'static str,
    receiver: &'a str,
    group_labels: Labels,
    common_labels: BTreeMap<String, String>,
    common_annotations: BTreeMap<String, String>,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    alerts: Vec<AlertPayload<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlertPayload<'a> {
    status: &'static str,
    labels: Labels,
    annotations: Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

impl<'a> Payload<'a> {
    fn new(receiver: &'a str, notification: &'a Notification) -> Self {
        let url = notification.console_url.as_deref().unwrap_or_default();
        let platform = Labels::from_iter([("platform", notification.platform.as_str())]);
        let alerts: Vec<_> =
            notification.alerts.iter().map(|alert| AlertPayload::new(alert, &platform, url)).collect();
        let firing = notification.alerts.iter().any(|alert| alert.state == AlertState::Firing);
        Self {
            version: "4",
            group_key: format!("{{}}:{platform}"),
            truncated_alerts: 0,
            status: if firing { "firing" } else { "resolved" },
            receiver,
            common_labels: common(alerts.iter().map(|alert| &alert.labels)),
            common_annotations: common(alerts.iter().map(|alert| &alert.annotations)),
            group_labels: platform,
            external_url: url,
            alerts,
        }
    }
}

impl<'a> AlertPayload<'a> {
    fn new(alert: &Alert, platform: &Labels, generator_url: &'a str) -> Self {
        // Go's zero time stands for an end that is not known.
        let ends_at = alert.resolved_at.map_or("0001-01-01T00:00:00Z".to_owned(), |at| at.to_string());
        let own = [("alertname", alert.name.as_str()), ("severity", alert.severity.as_str())];
        let labels = alert.labels.with(platform).with(&own.into_iter().collect());
        let value = alert.value.to_string();
        Self {
            status: if alert.state == AlertState::Resolved { "resolved" } else { "firing" },
            annotations: Labels::from_iter([("summary", alert.summary.as_str()), ("value", &value)]),
            starts_at: alert.fired_at.unwrap_or(alert.active_since).to_string(),
            ends_at,
            generator_url,
            fingerprint: fingerprint(&labels),
            labels,
        }
    }
}

/// The pairs that all have.
fn common<'l>(mut all: impl Iterator<Item = &'l Labels>) -> BTreeMap<String, String> {
    let Some(first) = all.next() else { return BTreeMap::new() };
    let mut pairs: BTreeMap<String, String> =
        first.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    for labels in all {
        pairs.retain(|name, value| labels.get(name) == Some(value));
    }
    pairs
}

/// Prometheus' fingerprint of a label set: FNV-1a of 64 bits over names and values, each ended by 0xff.
fn fingerprint(labels: &Labels) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes =
        labels.iter().flat_map(|(name, value)| [name, value]).flat_map(|text| text.bytes().chain([0xff]));
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_of_no_labels_is_that_of_prometheus() {
        // model.emptyLabelSignature is the offset basis.
        assert_eq!(fingerprint(&Labels::empty()), "cbf29ce484222325");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let webhook = Webhook::new("https://hooks.example.com/T0/secret").unwrap().bearer("secret");
        assert_eq!(webhook.name(), "webhook hooks.example.com");
        assert!(!format!("{webhook:?}").contains("secret"));
        let error = Webhook::new("not a url/secret").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
        assert!(Webhook::new("ftp://example.com/").is_err());
    }
}
