//! Alertmanager: who is told of alerts.

use super::{
    frame::{
        Configuration, ContainerDefaults, Defaults, Frame, Installation, Program, Service, Tag, http_get,
    },
    secret_key::{self, SecretKey},
};
use platform_core::{Error, Result, component::ComponentScope, telemetry::prometheus_duration};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

const PORT: u16 = 9093;
const GOSSIP: u16 = 9094;
const USER: u32 = 65534;
const SECRETS: &str = "/etc/alertmanager/secrets";

/// [Alertmanager](https://prometheus.io/docs/alerting/latest/alertmanager/): groups the alerts of the cluster's [`Prometheus`](super::Prometheus)
/// and tells Slack, mail boxes and webhooks of them. It answers on port 9093 of its Service.
///
/// Addresses and passwords that are secret are named by the key of a Secret and mounted as files; none is in the ConfigMap.
///
/// ```
/// use platform_k8s::components::{Alertmanager, EmailReceiver, Receiver, SecretKey, SlackReceiver};
///
/// let alertmanager = Alertmanager::new()?
///     .receiver(Receiver::new("team").slack(SlackReceiver::new(SecretKey::new("slack", "url"), "#alerts")))
///     .receiver(
///         Receiver::new("on-call")
///             .email(EmailReceiver::new("on-call@example.com", "alerts@example.com", "mail.example.com:587")),
///     )
///     .route("on-call", [("severity", "critical")]);
/// # let _ = alertmanager;
/// # Ok::<(), platform_core::Error>(())
/// ```
pub type Alertmanager = Installation<AlertmanagerSettings>;

/// What only Alertmanager knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AlertmanagerSettings {
    /// Who can be told. The first is told of what no route sends elsewhere. Default: nobody.
    pub receivers: Vec<Receiver>,
    /// What goes to others, tried in order.
    pub routes: Vec<Route>,
    /// Alerts that are equal in these labels are told together. Default: `alertname`, `cluster`, `environment`.
    pub group_by: Vec<String>,
    /// How long a new group waits for more alerts. Default: 30s.
    #[serde(with = "prometheus_duration")]
    pub group_wait: Duration,
    /// How long it takes until a group's news are told. Default: 5m.
    #[serde(with = "prometheus_duration")]
    pub group_interval: Duration,
    /// How long it takes until the same is told again. Default: 4h.
    #[serde(with = "prometheus_duration")]
    pub repeat_interval: Duration,
}

impl Default for AlertmanagerSettings {
    fn default() -> Self {
        Self {
            receivers: Vec::new(),
            routes: Vec::new(),
            group_by: ["alertname", "cluster", "environment"].map(str::to_owned).to_vec(),
            group_wait: Duration::from_secs(30),
            group_interval: Duration::from_secs(5 * 60),
            repeat_interval: Duration::from_secs(4 * 3600),
        }
    }
}

/// Somebody who can be told of alerts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Receiver {
    /// Its name, unique.
    pub name: String,
    /// By Slack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slack: Vec<SlackReceiver>,
    /// By mail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub email: Vec<EmailReceiver>,
    /// By a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webhook: Vec<WebhookReceiver>,
}

/// A channel of Slack, by an incoming webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct SlackReceiver {
    /// Where the webhook's address is: who knows it can post.
    pub url: SecretKey,
    /// The channel.
    pub channel: String,
}

/// A mail box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct EmailReceiver {
    /// Who gets the mail.
    pub to: String,
    /// Who it is from.
    pub from: String,
    /// The server, `HOST:PORT`.
    pub server: String,
    /// The name to log in with. Default: nobody logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Where the password is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretKey>,
    /// Whether the server must offer STARTTLS. Default: true.
    #[serde(default = "yes")]
    pub require_tls: bool,
}

/// A URL that alerts are posted to as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct WebhookReceiver {
    /// The URL, without anything secret in it.
    pub url: String,
    /// Where the bearer token is. Default: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretKey>,
}

/// Which alerts go to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Route {
    /// The receiver's name.
    pub receiver: String,
    /// The values that labels must have, all of them.
    pub labels: BTreeMap<String, String>,
    /// Whether later routes are tried too. Default: false.
    #[serde(default, rename = "continue")]
    pub goes_on: bool,
}

fn yes() -> bool {
    true
}

impl Receiver {
    /// A receiver that is told nothing yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), slack: Vec::new(), email: Vec::new(), webhook: Vec::new() }
    }

    /// Tells a channel of Slack.
    #[must_use]
    pub fn slack(mut self, slack: SlackReceiver) -> Self {
        self.slack.push(slack);
        self
    }

    /// Tells a mail box.
    #[must_use]
    pub fn email(mut self, email: EmailReceiver) -> Self {
        self.email.push(email);
        self
    }

    /// Tells a URL.
    #[must_use]
    pub fn webhook(mut self, webhook: WebhookReceiver) -> Self {
        self.webhook.push(webhook);
        self
    }
}

impl SlackReceiver {
    /// A channel, by the webhook whose address is at `url`.
    pub fn new(url: SecretKey, channel: impl Into<String>) -> Self {
        Self { url, channel: channel.into() }
    }
}

impl EmailReceiver {
    /// A mail box, by a server `HOST:PORT` that offers STARTTLS and asks nobody to log in.
    pub fn new(to: impl Into<String>, from: impl Into<String>, server: impl Into<String>) -> Self {
        Self {
            to: to.into(),
            from: from.into(),
            server: server.into(),
            username: None,
            password: None,
            require_tls: true,
        }
    }

    /// Logs in.
    #[must_use]
    pub fn login(mut self, username: impl Into<String>, password: SecretKey) -> Self {
        self.username = Some(username.into());
        self.password = Some(password);
        self
    }

    /// Sends even where the server offers no STARTTLS.
    #[must_use]
    pub fn without_tls(mut self) -> Self {
        self.require_tls = false;
        self
    }
}

impl WebhookReceiver {
    /// A URL, without anything secret in it.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), token: None }
    }

    /// Sends a bearer token.
    #[must_use]
    pub fn token(mut self, token: SecretKey) -> Self {
        self.token = Some(token);
        self
    }
}

impl Alertmanager {
    /// Adds somebody who can be told; the first is told of what no route sends elsewhere.
    #[must_use]
    pub fn receiver(mut self, receiver: Receiver) -> Self {
        self.settings.receivers.push(receiver);
        self
    }

    /// Sends alerts whose labels have these values to a receiver, and to nobody else.
    #[must_use]
    pub fn route<N: Into<String>, V: Into<String>>(
        mut self,
        receiver: impl Into<String>,
        labels: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let labels = labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self.settings.routes.push(Route { receiver: receiver.into(), labels, goes_on: false });
        self
    }

    /// Sets how long a new group waits for more alerts.
    #[must_use]
    pub fn group_wait(mut self, wait: Duration) -> Self {
        self.settings.group_wait = wait;
        self
    }
}

impl Program for AlertmanagerSettings {
    const DEFAULTS: &'static Defaults = &Defaults {
        name: "alertmanager",
        version: "0.34.2",
        scope: ComponentScope::EveryCluster,
        containers: &[ContainerDefaults {
            name: "alertmanager",
            repository: "quay.io/prometheus/alertmanager",
            tag: Tag::V,
            cpu: "10m",
            memory: "64Mi",
            memory_limit: "128Mi",
        }],
        replicas: Some(1),
        storage: Some("1Gi"),
    };

    fn objects(&self, frame: &Frame<'_>) -> Result<Vec<Value>> {
        self.check()?;
        let configuration =
            Configuration::new(frame.name()).yaml("alertmanager.yml", &ConfigurationFile::new(self))?;
        let peers = format!("{}-peers", frame.name());
        let secrets = secret_key::volumes(self.secrets());
        let mut container = frame
            .container("alertmanager")?
            .args(Self::args(frame, &peers))
            .port("http", PORT)
            .ready_when(http_get("/-/ready", "http"))
            .alive_when(http_get("/-/healthy", "http"))
            .mount_read_only("config", "/etc/alertmanager/config")
            .mount("data", "/alertmanager");
        if frame.replicas() > 1 {
            container = container.port("gossip", GOSSIP);
        }
        for (secret, volume) in &secrets {
            container = container.mount_read_only(volume, &format!("{SECRETS}/{secret}"));
        }
        let pod = frame
            .pod()
            .user(USER)
            .container(container)
            .configuration("config", &configuration)
            .scraped(PORT, "/metrics");
        let pod = secret_key::with_volumes(pod, &secrets);
        let mut objects = vec![
            frame.service_account(),
            configuration.object(frame),
            frame.stateful_set(&peers, pod)?.set("podManagementPolicy", "Parallel").into(),
            // They must find each other before they are ready.
            Service::named(frame, &peers)
                .headless()
                .set("publishNotReadyAddresses", true)
                .port("http", PORT)
                .into(),
            Service::new(frame).port("http", PORT).into(),
        ];
        objects.extend(frame.disruption_budget());
        Ok(objects)
    }
}

impl AlertmanagerSettings {
    fn args(frame: &Frame<'_>, peers: &str) -> Vec<String> {
        let mut args = vec![
            "--config.file=/etc/alertmanager/config/alertmanager.yml".to_owned(),
            "--storage.path=/alertmanager".to_owned(),
            format!("--web.listen-address=:{PORT}"),
        ];
        if frame.replicas() > 1 {
            args.push(format!("--cluster.listen-address=0.0.0.0:{GOSSIP}"));
            args.extend((0..frame.replicas()).map(|at| {
                format!("--cluster.peer={}-{at}.{peers}.{}.svc:{GOSSIP}", frame.name(), frame.namespace())
            }));
        } else {
            args.push("--cluster.listen-address=".to_owned());
        }
        args
    }

    fn secrets(&self) -> impl Iterator<Item = &SecretKey> {
        self.receivers.iter().flat_map(|receiver| {
            let slack = receiver.slack.iter().map(|slack| &slack.url);
            let email = receiver.email.iter().filter_map(|email| email.password.as_ref());
            let webhook = receiver.webhook.iter().filter_map(|webhook| webhook.token.as_ref());
            slack.chain(email).chain(webhook)
        })
    }

    fn check(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for (at, receiver) in self.receivers.iter().enumerate() {
            if receiver.name.is_empty() || !names.insert(receiver.name.as_str()) {
                return Err(Error::invalid(format!(
                    "settings.receivers[{at}].name: {:?} is empty or there twice",
                    receiver.name
                )));
            }
        }
        for (at, route) in self.routes.iter().enumerate() {
            if !names.contains(route.receiver.as_str()) {
                return Err(Error::invalid(format!(
                    "settings.routes[{at}].receiver: there is no receiver {:?}",
                    route.receiver
                )));
            }
        }
        Ok(())
    }
}

/// The part of [Alertmanager's configuration](https://prometheus.io/docs/alerting/latest/configuration/) that is written here.
#[derive(Debug, Serialize)]
struct ConfigurationFile<'a> {
    route: RouteConfig<'a>,
    receivers: Vec<ReceiverConfig<'a>>,
}

#[derive(Debug, Serialize)]
struct RouteConfig<'a> {
    receiver: &'a str,
    group_by: &'a [String],
    #[serde(with = "prometheus_duration")]
    group_wait: Duration,
    #[serde(with = "prometheus_duration")]
    group_interval: Duration,
    #[serde(with = "prometheus_duration")]
    repeat_interval: Duration,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<ChildRoute<'a>>,
}

#[derive(Debug, Serialize)]
struct ChildRoute<'a> {
    receiver: &'a str,
    matchers: Vec<String>,
    #[serde(rename = "continue", skip_serializing_if = "std::ops::Not::not")]
    goes_on: bool,
}

#[derive(Debug, Default, Serialize)]
struct ReceiverConfig<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    slack_configs: Vec<SlackConfig<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    email_configs: Vec<EmailConfig<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    webhook_configs: Vec<WebhookConfig<'a>>,
}

#[derive(Debug, Serialize)]
struct SlackConfig<'a> {
    api_url_file: String,
    channel: &'a str,
    send_resolved: bool,
    title: &'static str,
    text: &'static str,
}

#[derive(Debug, Serialize)]
struct EmailConfig<'a> {
    to: &'a str,
    from: &'a str,
    smarthost: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_password_file: Option<String>,
    require_tls: bool,
    send_resolved: bool,
}

#[derive(Debug, Serialize)]
struct WebhookConfig<'a> {
    url: &'a str,
    send_resolved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_config: Option<HttpConfig>,
}

#[derive(Debug, Serialize)]
struct HttpConfig {
    authorization: Authorization,
}

#[derive(Debug, Serialize)]
struct Authorization {
    credentials_file: String,
}

/// The receiver of those who have none.
const NOBODY: &str = "nobody";

const SLACK_TITLE: &str =
    r#"[{{ .Status | toUpper }}] {{ .GroupLabels.SortedPairs.Values | join " " }} ({{ len .Alerts }})"#;
const SLACK_TEXT: &str = "{{ range .Alerts }}{{ if .Annotations.summary }}{{ .Annotations.summary }}{{ else }}{{ .Labels.alertname }}{{ end }} ({{ .Labels.severity }})\n{{ end }}";

impl<'a> ConfigurationFile<'a> {
    fn new(settings: &'a AlertmanagerSettings) -> Self {
        let path = |key: &SecretKey| key.path(SECRETS);
        let mut receivers: Vec<ReceiverConfig<'a>> = settings
            .receivers
            .iter()
            .map(|receiver| ReceiverConfig {
                name: &receiver.name,
                slack_configs: receiver
                    .slack
                    .iter()
                    .map(|slack| SlackConfig {
                        api_url_file: path(&slack.url),
                        channel: &slack.channel,
                        send_resolved: true,
                        title: SLACK_TITLE,
                        text: SLACK_TEXT,
                    })
                    .collect(),
                email_configs: receiver
                    .email
                    .iter()
                    .map(|email| EmailConfig {
                        to: &email.to,
                        from: &email.from,
                        smarthost: &email.server,
                        auth_username: email.username.as_deref(),
                        auth_password_file: email.password.as_ref().map(path),
                        require_tls: email.require_tls,
                        send_resolved: true,
                    })
                    .collect(),
                webhook_configs: receiver
                    .webhook
                    .iter()
                    .map(|webhook| WebhookConfig {
                        url: &webhook.url,
                        send_resolved: true,
                        http_config: webhook.token.as_ref().map(|token| HttpConfig {
                            authorization: Authorization { credentials_file: path(token) },
                        }),
                    })
                    .collect(),
            })
            .collect();
        if receivers.is_empty() {
            receivers.push(ReceiverConfig { name: NOBODY, ..ReceiverConfig::default() });
        }
        let routes = settings.routes.iter().map(|route| ChildRoute {
            receiver: &route.receiver,
            matchers: route.labels.iter().map(|(name, value)| matcher(name, value)).collect(),
            goes_on: route.goes_on,
        });
        Self {
            route: RouteConfig {
                receiver: settings.receivers.first().map_or(NOBODY, |receiver| &receiver.name),
                group_by: &settings.group_by,
                group_wait: settings.group_wait,
                group_interval: settings.group_interval,
                repeat_interval: settings.repeat_interval,
                routes: routes.collect(),
            },
            receivers,
        }
    }
}

/// `name="value"`, both quoted as [matchers](https://prometheus.io/docs/alerting/latest/configuration/#matcher) are.
fn matcher(name: &str, value: &str) -> String {
    let quoted =
        |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.starts_with(|c: char| !c.is_ascii_digit());
    let name = if plain { name.to_owned() } else { quoted(name) };
    format!("{name}={}", quoted(value))
}
