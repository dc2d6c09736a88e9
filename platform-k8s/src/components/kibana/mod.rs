//! Kibana: shows what Elasticsearch has.

#[cfg(test)]
mod tests;

use super::{
    elasticsearch::{CLIENT, ElasticsearchAccess, KIBANA_USER, Secured},
    frame::{
        Configuration, ContainerDefaults, Defaults, Frame, Installation, Job, Pod, Program, Service, Tag,
        http_get,
    },
};
use platform_core::{
    Error, Result,
    component::ComponentScope,
    dashboard::{Dashboard, kibana::saved_objects, stock},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// [Kibana](https://www.elastic.co/kibana) on port 5601 of its Service, with dashboards of the platform that a Job imports: again whenever they change, so
/// that changes made by hand in these are lost, and no others.
///
/// It works with the account `kibana_system`, whose password comes from the Secret of Elasticsearch, and encrypts with keys of a Secret that must be there:
/// `kibana-keys` in the platform's namespace, with the keys `security`, `saved-objects` and `reporting`, each of 32 characters and more:
///
/// ```sh
/// kubectl create secret generic kibana-keys --namespace platform-system --from-literal security="$(openssl rand -hex 16)" \
///   --from-literal saved-objects="$(openssl rand -hex 16)" --from-literal reporting="$(openssl rand -hex 16)"
/// ```
pub type Kibana = Installation<KibanaSettings>;

/// What only Kibana can be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct KibanaSettings {
    /// Where the documents are.
    pub elasticsearch: ElasticsearchAccess,
    /// The Secret with the keys that it encrypts with. Default: `kibana-keys`.
    pub keys_secret: String,
    /// The address by which people reach it, for the links that it writes. Default: none.
    pub public_url: Option<String>,
    /// The dashboards that it shows. Default: the stock dashboards.
    pub dashboards: Vec<Dashboard>,
}

impl Default for KibanaSettings {
    fn default() -> Self {
        Self {
            elasticsearch: ElasticsearchAccess::default(),
            keys_secret: "kibana-keys".to_owned(),
            public_url: None,
            dashboards: stock::all(),
        }
    }
}

const PORT: u16 = 5601;
const CONFIGURATION: &str = "/usr/share/kibana/config/kibana.yml";
const DATA: &str = "/usr/share/kibana/data";
const IMPORT: &str = "/etc/platform-import";
const DASHBOARDS_FILE: &str = "dashboards.ndjson";

/// What it encrypts, by the key in the Secret.
const KEYS: [(&str, &str, &str); 3] = [
    ("xpack.encryptedSavedObjects.encryptionKey", "SAVED_OBJECTS_KEY", "saved-objects"),
    ("xpack.reporting.encryptionKey", "REPORTING_KEY", "reporting"),
    ("xpack.security.encryptionKey", "SECURITY_KEY", "security"),
];

/// A ConfigMap holds no more, and so no more than that is imported at once.
const LARGEST_IMPORT: usize = 1_000_000;

impl Program for KibanaSettings {
    const DEFAULTS: &'static Defaults = &Defaults {
        name: "kibana",
        version: "9.4.3",
        scope: ComponentScope::ControlPlane,
        containers: &[
            ContainerDefaults {
                name: "kibana",
                repository: "docker.elastic.co/kibana/kibana",
                tag: Tag::Plain,
                cpu: "250m",
                memory: "1Gi",
                memory_limit: "2Gi",
            },
            ContainerDefaults {
                name: "kibana-dashboards",
                repository: "docker.elastic.co/kibana/kibana",
                tag: Tag::Plain,
                cpu: "10m",
                memory: "32Mi",
                memory_limit: "128Mi",
            },
        ],
        replicas: Some(1),
        storage: None,
    };

    fn objects(&self, frame: &Frame<'_>) -> Result<Vec<Value>> {
        self.check()?;
        let elasticsearch = Secured { access: &self.elasticsearch, frame };
        let configuration =
            Configuration::new(frame.name()).yaml("kibana.yml", &self.configuration(&elasticsearch))?;
        let mut objects = vec![
            frame.service_account(),
            configuration.object(frame),
            Service::new(frame).port("http", PORT).into(),
            frame.deployment(self.pod(&elasticsearch, &configuration)?).into(),
        ];
        objects.extend(frame.disruption_budget());
        let dashboards = saved_objects(&self.dashboards)?;
        if dashboards.len() > LARGEST_IMPORT {
            return Err(Error::invalid(format!(
                "settings.dashboards: {} bytes of them are more than a ConfigMap can hold",
                dashboards.len()
            )));
        }
        let import = Configuration::new(format!("{}-dashboards", frame.name()))
            .text(DASHBOARDS_FILE, dashboards)
            .text("import.sh", import_script());
        objects.push(import.object(frame));
        objects.push(Job::new("dashboards").object(frame, self.import_pod(&elasticsearch, &import)?));
        Ok(objects)
    }
}

impl KibanaSettings {
    fn check(&self) -> Result<()> {
        let plain = |text: &str| {
            text.starts_with("http")
                && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'$'))
        };
        for (setting, url) in
            [("publicUrl", &self.public_url), ("elasticsearch.url", &self.elasticsearch.url)]
        {
            if let Some(url) = url.as_deref().filter(|url| !plain(url)) {
                return Err(Error::invalid(format!("settings.{setting}: {url:?} is no URL")));
            }
        }
        Ok(())
    }

    /// `kibana.yml`. Secrets are the environment's.
    fn configuration(&self, elasticsearch: &Secured<'_>) -> Value {
        let mut settings = Map::new();
        let mut set = |key: &str, value: Value| settings.insert(key.to_owned(), value);
        set("elasticsearch.hosts", json!([elasticsearch.url()]));
        set("server.host", "0.0.0.0".into());
        set("server.name", "${POD_NAME}".into());
        set("server.port", PORT.into());
        set("server.shutdownTimeout", "10s".into());
        set("telemetry.optIn", false.into());
        set("path.data", DATA.into());
        if let Some(url) = &self.public_url {
            set("server.publicBaseUrl", url.as_str().into());
        }
        if self.elasticsearch.security {
            set("elasticsearch.username", KIBANA_USER.into());
            set("elasticsearch.password", "${ELASTICSEARCH_PASSWORD}".into());
        }
        for (setting, variable, _) in KEYS {
            set(setting, format!("${{{variable}}}").into());
        }
        if let Some(certificate) = elasticsearch.certificate() {
            set("elasticsearch.ssl.certificateAuthorities", json!([certificate]));
        }
        Value::Object(settings)
    }

    fn pod(&self, elasticsearch: &Secured<'_>, configuration: &Configuration) -> Result<Pod> {
        let frame = elasticsearch.frame;
        let mut container = frame
            .container("kibana")?
            .env_from_field("POD_NAME", "metadata.name")
            .port("http", PORT)
            .started_when(json!({
                "httpGet": {"path": "/api/status", "port": "http"}, "failureThreshold": 60, "periodSeconds": 10, "timeoutSeconds": 10,
            }))
            .ready_when(http_get("/api/status", "http"))
            .alive_when(json!({"tcpSocket": {"port": "http"}, "periodSeconds": 20, "timeoutSeconds": 10}))
            .mount_as(json!({
                "name": "configuration", "mountPath": CONFIGURATION, "readOnly": true, "subPath": "kibana.yml",
            }))
            .mount("data", DATA)
            .mount("tmp", "/tmp");
        for (_, variable, key) in KEYS {
            container = container.env_from_secret(variable, &self.keys_secret, key);
        }
        if self.elasticsearch.security {
            let secret = &self.elasticsearch.credentials_secret;
            container = container.env_from_secret("ELASTICSEARCH_PASSWORD", secret, "kibana");
        }
        let pod = frame
            .pod()
            .user(1000)
            .configuration("configuration", configuration)
            .empty_dir("data", None)
            .empty_dir("tmp", None);
        let (pod, container) = elasticsearch.trusting(pod, container);
        Ok(pod.container(container))
    }

    fn import_pod(&self, elasticsearch: &Secured<'_>, import: &Configuration) -> Result<Pod> {
        let frame = elasticsearch.frame;
        let url = format!("http://{}.{}.svc:{PORT}", frame.name(), frame.namespace());
        let mut container = frame
            .container("kibana-dashboards")?
            .command(["/bin/bash", &format!("{IMPORT}/import.sh")])
            .env("KIBANA_URL", url)
            .mount_read_only("import", IMPORT)
            .mount("tmp", "/tmp");
        if self.elasticsearch.security {
            let secret = &self.elasticsearch.credentials_secret;
            container = container.env_from_secret("ELASTIC_PASSWORD", secret, "elastic");
        }
        Ok(frame.pod().user(1000).configuration("import", import).empty_dir("tmp", None).container(container))
    }
}

/// Imports the dashboards over those that were imported before. Kibana answers 200 too when it took only some.
fn import_script() -> String {
    format!(
        "set -eu\n{CLIENT}\n\
         files=${{FILES:-{IMPORT}}}\n\
         must GET \"$KIBANA_URL/api/status\"\n\
         must POST \"$KIBANA_URL/api/saved_objects/_import?overwrite=true\" --header 'kbn-xsrf: platform' --form \"file=@$files/{DASHBOARDS_FILE}\"\n\
         case $(cat /tmp/answer) in\n\
         *'\"success\":true'*) ;;\n\
         *) cat /tmp/answer; exit 1 ;;\n\
         esac\n"
    )
}
