//! Grafana: dashboards over the cluster's Prometheus.

use super::{
    frame::{
        Configuration, ContainerDefaults, Defaults, Frame, Installation, Program, Service, Tag, http_get,
    },
    secret_key::SecretKey,
};
use platform_core::{
    Error, Result,
    component::ComponentScope,
    dashboard::{Dashboard, grafana::Grafana as Renderer, stock},
    telemetry::document::{MESSAGE_FIELD, SEVERITY_FIELD, TIME_FIELD},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PORT: u16 = 3000;
const USER: u32 = 472;
const DASHBOARDS: &str = "/etc/grafana/dashboards";
const PROMETHEUS_UID: &str = "prometheus";
const ELASTICSEARCH_UID: &str = "elasticsearch";

/// [Grafana](https://grafana.com/grafana/): shows the stock dashboards of the cluster and those that are added, over the cluster's
/// [`Prometheus`](super::Prometheus). It answers on port 3000 of its Service.
///
/// Without an administrator's password there is no administrator, and whoever reaches the Service may look and change nothing. With one,
/// everybody logs in. Nothing is reported to Grafana's makers, and nothing asked of them.
///
/// ```
/// use platform_core::dashboard::{Dashboard, Panel};
/// use platform_k8s::components::{Grafana, SecretKey};
///
/// let grafana = Grafana::new()?
///     .admin_password(SecretKey::new("grafana", "password"))
///     .dashboard(Dashboard::new("shop", "Shop").panel(Panel::logs("Logs")));
/// # let _ = grafana;
/// # Ok::<(), platform_core::Error>(())
/// ```
pub type Grafana = Installation<GrafanaSettings>;

/// What only Grafana knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GrafanaSettings {
    /// Where the password of the administrator `admin` is. Default: there is no administrator, and nobody logs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_password: Option<SecretKey>,
    /// The address that people reach it by, where that matters for links. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_url: Option<String>,
    /// Where metrics are. Default: `http://prometheus:9090`, the cluster's own.
    pub prometheus_url: String,
    /// Where logs are. Default: nowhere; panels of logs say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<ElasticsearchSource>,
    /// Whether the stock dashboards of nodes, workloads and ingress are shown. Default: true.
    pub stock_dashboards: bool,
    /// More dashboards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dashboards: Vec<Dashboard>,
}

impl Default for GrafanaSettings {
    fn default() -> Self {
        Self {
            admin_password: None,
            root_url: None,
            prometheus_url: "http://prometheus:9090".to_owned(),
            elasticsearch: None,
            stock_dashboards: true,
            dashboards: Vec::new(),
        }
    }
}

/// Indices of Elasticsearch that have log records as [documents](platform_core::telemetry::document).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ElasticsearchSource {
    /// The address. Default: `http://elasticsearch:9200`, the cluster's own.
    pub url: String,
    /// The indices. Default: `logs-*`.
    pub index: String,
}

impl Default for ElasticsearchSource {
    fn default() -> Self {
        Self { url: "http://elasticsearch:9200".to_owned(), index: "logs-*".to_owned() }
    }
}

impl Grafana {
    /// Makes an administrator `admin` with the password that is there, and has everybody log in.
    #[must_use]
    pub fn admin_password(mut self, password: SecretKey) -> Self {
        self.settings.admin_password = Some(password);
        self
    }

    /// Sets where metrics are.
    #[must_use]
    pub fn prometheus_url(mut self, url: impl Into<String>) -> Self {
        self.settings.prometheus_url = url.into();
        self
    }

    /// Sets where logs are.
    #[must_use]
    pub fn elasticsearch(mut self, source: ElasticsearchSource) -> Self {
        self.settings.elasticsearch = Some(source);
        self
    }

    /// Adds a dashboard.
    #[must_use]
    pub fn dashboard(mut self, dashboard: Dashboard) -> Self {
        self.settings.dashboards.push(dashboard);
        self
    }
}

impl Program for GrafanaSettings {
    const DEFAULTS: &'static Defaults = &Defaults {
        name: "grafana",
        version: "12.3.0",
        scope: ComponentScope::EveryCluster,
        containers: &[ContainerDefaults {
            name: "grafana",
            repository: "docker.io/grafana/grafana",
            tag: Tag::Plain,
            cpu: "100m",
            memory: "256Mi",
            memory_limit: "512Mi",
        }],
        replicas: None,
        storage: Some("1Gi"),
    };

    fn objects(&self, frame: &Frame<'_>) -> Result<Vec<Value>> {
        let sources = Configuration::new(format!("{}-datasources", frame.name()))
            .yaml("platform.yaml", &self.data_sources())?;
        let providers = Configuration::new(format!("{}-providers", frame.name()))
            .yaml("platform.yaml", &ProvidersFile::platform())?;
        let dashboards = self.dashboards_of(frame)?;
        let mut container = frame
            .container("grafana")?
            .port("http", PORT)
            .started_when(json!({"httpGet": {"path": "/api/health", "port": "http"}, "failureThreshold": 60, "periodSeconds": 5}))
            .ready_when(http_get("/api/health", "http"))
            .alive_when(http_get("/api/health", "http"))
            .mount("data", "/var/lib/grafana")
            .mount("tmp", "/tmp")
            .mount_read_only("datasources", "/etc/grafana/provisioning/datasources")
            .mount_read_only("providers", "/etc/grafana/provisioning/dashboards")
            .mount_read_only("dashboards", DASHBOARDS);
        for (name, value) in self.environment() {
            container = container.env(name, value);
        }
        if let Some(password) = &self.admin_password {
            container =
                container.env_from_secret("GF_SECURITY_ADMIN_PASSWORD", &password.secret, &password.key);
        }
        let pod = frame
            .pod()
            .user(USER)
            .container(container)
            .empty_dir("tmp", None)
            .configuration("datasources", &sources)
            .configuration("providers", &providers)
            .configuration("dashboards", &dashboards)
            .scraped(PORT, "/metrics");
        Ok(vec![
            frame.service_account(),
            sources.object(frame),
            providers.object(frame),
            dashboards.object(frame),
            frame.stateful_set(frame.name(), pod)?.into(),
            Service::new(frame).port("http", PORT).into(),
        ])
    }
}

impl GrafanaSettings {
    /// Its own configuration, [by environment variables](https://grafana.com/docs/grafana/latest/setup-grafana/configure-grafana/).
    fn environment(&self) -> Vec<(&'static str, String)> {
        let open = self.admin_password.is_none().to_string();
        let mut all = vec![
            ("GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES", "false".to_owned()),
            ("GF_ANALYTICS_CHECK_FOR_UPDATES", "false".to_owned()),
            ("GF_ANALYTICS_REPORTING_ENABLED", "false".to_owned()),
            ("GF_AUTH_ANONYMOUS_ENABLED", open.clone()),
            ("GF_AUTH_ANONYMOUS_ORG_ROLE", "Viewer".to_owned()),
            ("GF_LOG_MODE", "console".to_owned()),
            ("GF_NEWS_NEWS_FEED_ENABLED", "false".to_owned()),
            ("GF_PATHS_DATA", "/var/lib/grafana".to_owned()),
            ("GF_PATHS_LOGS", "/var/lib/grafana/log".to_owned()),
            ("GF_PATHS_PLUGINS", "/var/lib/grafana/plugins".to_owned()),
            ("GF_PATHS_PROVISIONING", "/etc/grafana/provisioning".to_owned()),
            ("GF_PLUGINS_PREINSTALL_DISABLED", "true".to_owned()),
            ("GF_SECURITY_DISABLE_GRAVATAR", "true".to_owned()),
            ("GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION", open),
            ("GF_SERVER_HTTP_PORT", PORT.to_string()),
            ("GF_USERS_ALLOW_SIGN_UP", "false".to_owned()),
        ];
        if let Some(url) = &self.root_url {
            all.push(("GF_SERVER_ROOT_URL", url.clone()));
        }
        all
    }

    fn data_sources(&self) -> DataSourcesFile {
        let mut datasources = vec![DataSource {
            name: "Prometheus",
            uid: PROMETHEUS_UID,
            kind: "prometheus",
            access: "proxy",
            url: self.prometheus_url.clone(),
            is_default: true,
            editable: false,
            // How often the catalogue's Prometheus scrapes unless told otherwise.
            json_data: json!({"httpMethod": "POST", "timeInterval": "15s"}),
        }];
        datasources.extend(self.elasticsearch.as_ref().map(|source| DataSource {
            name: "Elasticsearch",
            uid: ELASTICSEARCH_UID,
            kind: "elasticsearch",
            access: "proxy",
            url: source.url.clone(),
            is_default: false,
            editable: false,
            json_data: json!({
                "index": source.index,
                "timeField": TIME_FIELD,
                "logMessageField": MESSAGE_FIELD,
                "logLevelField": SEVERITY_FIELD,
            }),
        }));
        DataSourcesFile { api_version: 1, datasources }
    }

    fn dashboards_of(&self, frame: &Frame<'_>) -> Result<Configuration> {
        let mut renderer = Renderer::new(PROMETHEUS_UID);
        if self.elasticsearch.is_some() {
            renderer = renderer.logs(ELASTICSEARCH_UID);
        }
        let stock = if self.stock_dashboards { stock::all() } else { Vec::new() };
        let mut configuration = Configuration::new(format!("{}-dashboards", frame.name()));
        let mut uids = BTreeSet::new();
        for dashboard in stock.iter().chain(&self.dashboards) {
            let uid = dashboard.uid.as_str();
            let valid = (1..=40).contains(&uid.len())
                && uid.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if !valid {
                return Err(Error::invalid(format!(
                    "settings.dashboards: {uid:?} is no uid: 1 to 40 lower case letters, digits and '-' are"
                )));
            }
            if !uids.insert(uid) {
                return Err(Error::invalid(format!("settings.dashboards: the uid {uid:?} is there twice")));
            }
            configuration = configuration.json(format!("{uid}.json"), &renderer.render(dashboard))?;
        }
        Ok(configuration)
    }
}

/// [Data sources](https://grafana.com/docs/grafana/latest/administration/provisioning/#data-sources) as Grafana reads them when it starts.
#[derive(Debug, Serialize)]
struct DataSourcesFile {
    #[serde(rename = "apiVersion")]
    api_version: u32,
    datasources: Vec<DataSource>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DataSource {
    name: &'static str,
    uid: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    access: &'static str,
    url: String,
    is_default: bool,
    editable: bool,
    json_data: Value,
}

/// Where Grafana looks for [dashboards](https://grafana.com/docs/grafana/latest/administration/provisioning/#dashboards).
#[derive(Debug, Serialize)]
struct ProvidersFile {
    #[serde(rename = "apiVersion")]
    api_version: u32,
    providers: [Provider; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Provider {
    name: &'static str,
    folder: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    disable_deletion: bool,
    allow_ui_updates: bool,
    options: ProviderOptions,
}

#[derive(Debug, Serialize)]
struct ProviderOptions {
    path: &'static str,
}

impl ProvidersFile {
    fn platform() -> Self {
        let provider = Provider {
            name: "platform",
            folder: "Platform",
            kind: "file",
            disable_deletion: true,
            allow_ui_updates: false,
            options: ProviderOptions { path: DASHBOARDS },
        };
        Self { api_version: 1, providers: [provider] }
    }
}
