//! Slack's incoming webhooks.

use crate::http;
use async_trait::async_trait;
use platform_core::{
    Result,
    alert::{Alert, AlertSeverity, AlertState, Notification, Notifier},
};
use reqwest::{Client, Url, redirect::Policy};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::{fmt, time::Duration};

/// Alerts of one message; Slack advises against more than 20 attachments.
const ATTACHMENTS: usize = 20;
/// Characters of a message's text: Slack cuts longer ones off at 40,000 and advises 4,000.
const TEXT: usize = 4000;
/// Characters of a section's text, beyond which Slack refuses the message.
const SECTION: usize = 3000;

/// Posts notifications to a channel by an [incoming webhook], each alert as an attachment in the colour of its state.
///
/// The address is a secret, since who knows it can post; it is shown nowhere.
///
/// [incoming webhook]: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
#[derive(Clone)]
pub struct Slack {
    name: String,
    url: SecretString,
    client: Client,
}

impl Slack {
    /// Posts to the webhook at `url`, `https://hooks.slack.com/services/…`, with a timeout of 10 seconds.
    pub fn new(url: impl Into<SecretString>) -> Result<Self> {
        let url = url.into();
        http::parse_url(url.expose_secret()).map_err(|e| e.operation("set up").subject("slack"))?;
        let client = http::client(Duration::from_secs(10), Policy::none())?;
        Ok(Self { name: "slack".to_owned(), url, client })
    }

    /// Sets how long one call may take.
    pub fn timeout(mut self, timeout: Duration) -> Result<Self> {
        self.client = http::client(timeout, Policy::none())?;
        Ok(self)
    }

    /// Sets its name, `slack` by default.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

impl fmt::Debug for Slack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slack").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Notifier for Slack {
    fn name(&self) -> &str {
        &self.name
    }

    async fn notify(&self, notification: &Notification) -> Result<()> {
        let url: Url = http::parse_url(self.url.expose_secret())?;
        let request = self.client.post(url).json(&message(notification));
        http::success(request.send().await.map_err(http::failure)?).await
    }
}

fn message(notification: &Notification) -> Value {
    let mut attachments: Vec<Value> = notification.alerts.iter().take(ATTACHMENTS).map(attachment).collect();
    let more = notification.alerts.len().saturating_sub(ATTACHMENTS);
    if more > 0 {
        attachments.push(json!({ "blocks": [section(&format!("… and {more} more"))] }));
    }
    let mut text = escape(&notification.title(), TEXT);
    if let Some(url) = &notification.console_url {
        text = format!("{text} <{}|details>", escape(url, TEXT));
    }
    json!({ "text": text, "attachments": attachments })
}

fn attachment(alert: &Alert) -> Value {
    let colour = match (alert.state, alert.severity) {
        (AlertState::Resolved, _) => "#2eb886",
        (_, AlertSeverity::Critical) => "#a30200",
        (_, AlertSeverity::Info) => "#439fe0",
        _ => "#daa038",
    };
    let mut text = format!("*{}* is {} ({})", escape(&alert.name, 200), alert.state, alert.severity);
    for line in [&alert.summary, &alert.labels.to_string()] {
        if !line.is_empty() {
            text = format!("{text}\n{}", escape(line, SECTION / 2 - 150));
        }
    }
    let fallback = escape(&format!("{} is {}: {}", alert.name, alert.state, alert.summary), TEXT);
    json!({ "color": colour, "fallback": fallback, "blocks": [section(&text)] })
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })
}

/// Replaces [the three characters] that control Slack's formatting, and ends the text with `…` where it would exceed `limit` characters.
///
/// [the three characters]: https://docs.slack.dev/messaging/formatting-message-text#escaping
fn escape(text: &str, limit: usize) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut length = 0;
    for c in text.chars() {
        let mut buffer = [0; 4];
        let piece: &str = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            c => c.encode_utf8(&mut buffer),
        };
        length += piece.chars().count();
        if length >= limit {
            escaped.push('…');
            break;
        }
        escaped.push_str(piece);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform_core::{
        alert::{AlertRule, Condition},
        clock::Timestamp,
        telemetry::{Labels, metric},
    };
    use proptest::prelude::*;

    #[test]
    fn many_and_long_alerts_stay_within_the_limits() {
        let rule =
            AlertRule::new("Long", metric("m"), Condition::Above(0.0)).unwrap().summary("<&>".repeat(4000));
        let labels = Labels::from_iter([("label", "<".repeat(5000))]);
        let mut alert = Alert::pending(&rule, &labels, 1.0, Timestamp::default());
        alert.state = AlertState::Firing;
        let notification = Notification {
            platform: "shop".to_owned(),
            at: Timestamp::default(),
            alerts: vec![alert; 25],
            console_url: None,
        };
        let message = message(&notification);
        let attachments = message["attachments"].as_array().unwrap();
        assert_eq!(attachments.len(), 21);
        assert_eq!(attachments[20]["blocks"][0]["text"]["text"], "… and 5 more");
        for attachment in attachments {
            let text = attachment["blocks"][0]["text"]["text"].as_str().unwrap();
            assert!(text.chars().count() <= SECTION, "{}", text.chars().count());
        }
    }

    proptest! {
        #[test]
        fn escaped_text_is_within_its_limit_and_holds_no_markup(text in "[<>&a-c]{0,60}", limit in 10_usize..40) {
            let escaped = escape(&text, limit);
            prop_assert!(escaped.chars().count() <= limit);
            prop_assert!(!escaped.contains(['<', '>']));
            let plain = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
            if let Some(start) = plain.strip_suffix('…') {
                prop_assert!(text.starts_with(start));
            } else {
                prop_assert_eq!(plain, text);
            }
        }
    }

    #[test]
    fn the_address_is_not_shown() {
        let slack = Slack::new("https://hooks.slack.com/services/T0/B0/secret").unwrap();
        assert!(!format!("{slack:?}").contains("secret"));
        let error = Slack::new("services/T0/B0/secret").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
