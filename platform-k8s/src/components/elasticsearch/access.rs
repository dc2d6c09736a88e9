//! How the other components reach Elasticsearch.

use crate::components::frame::{Container, Frame, Pod};
use serde::{Deserialize, Serialize};

/// The Secret with the passwords, unless another is named.
pub(super) const CREDENTIALS: &str = "elasticsearch-credentials";
/// The account that Kibana works with.
pub(crate) const KIBANA_USER: &str = "kibana_system";
/// The account that Logstash writes with.
pub(crate) const LOGSTASH_USER: &str = "platform_logstash";
/// The account that the platform's own ingester works with, and its key in the Secret with the passwords.
pub(crate) const INGESTER_USER: &str = "platform_ingester";
pub(crate) const INGESTER_KEY: &str = "ingester";
/// Where callers have the certificate that the server's is checked with.
pub(crate) const CERTIFICATES: &str = "/etc/elasticsearch-certificates";

/// Where Elasticsearch is and how it is called. It says the same as the settings of the `elasticsearch` component beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ElasticsearchAccess {
    /// Its address. Default: the `elasticsearch` component of the same namespace.
    pub url: Option<String>,
    /// Whether it asks who calls. Default: yes.
    pub security: bool,
    /// The Secret with its passwords. Default: `elasticsearch-credentials`.
    pub credentials_secret: String,
    /// The Secret with its certificate, of which `ca.crt` is read. Default: none; it is called by HTTP.
    pub certificate_secret: Option<String>,
}

impl Default for ElasticsearchAccess {
    fn default() -> Self {
        Self {
            url: None,
            security: true,
            credentials_secret: CREDENTIALS.to_owned(),
            certificate_secret: None,
        }
    }
}

impl ElasticsearchAccess {
    /// An Elasticsearch that asks nobody who calls.
    pub fn open() -> Self {
        Self { security: false, ..Self::default() }
    }

    /// An Elasticsearch elsewhere.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }
}

/// Access as the pods of a component have it.
pub(crate) struct Secured<'a> {
    pub(crate) access: &'a ElasticsearchAccess,
    pub(crate) frame: &'a Frame<'a>,
}

impl Secured<'_> {
    pub(crate) fn url(&self) -> String {
        let scheme = if self.access.certificate_secret.is_some() { "https" } else { "http" };
        self.access
            .url
            .clone()
            .unwrap_or_else(|| format!("{scheme}://elasticsearch.{}.svc:9200", self.frame.namespace()))
    }

    /// The file with the certificate that the server's is checked with.
    pub(crate) fn certificate(&self) -> Option<String> {
        self.access.certificate_secret.as_ref().map(|_| format!("{CERTIFICATES}/ca.crt"))
    }

    /// Gives a container what the scripts of Jobs need: `ELASTICSEARCH_URL`, and where they are needed `ELASTIC_PASSWORD` and `CERTIFICATE`.
    pub(crate) fn caller(&self, pod: Pod, container: Container) -> (Pod, Container) {
        let mut container = container.env("ELASTICSEARCH_URL", self.url());
        if self.access.security {
            container =
                container.env_from_secret("ELASTIC_PASSWORD", &self.access.credentials_secret, "elastic");
        }
        self.trusting(pod, container)
    }

    /// Gives a container the certificate, where there is one.
    pub(crate) fn trusting(&self, pod: Pod, container: Container) -> (Pod, Container) {
        match &self.access.certificate_secret {
            Some(secret) => (
                pod.secret("elasticsearch-certificates", secret),
                container
                    .env("CERTIFICATE", format!("{CERTIFICATES}/ca.crt"))
                    .mount_read_only("elasticsearch-certificates", CERTIFICATES),
            ),
            None => (pod, container),
        }
    }
}
