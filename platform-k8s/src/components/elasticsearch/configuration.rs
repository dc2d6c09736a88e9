//! What the nodes are told.

use super::ElasticsearchSettings;
use crate::components::frame::Frame;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) const HTTP_PORT: u16 = 9200;
pub(super) const TRANSPORT_PORT: u16 = 9300;
pub(super) const READINESS_PORT: u16 = 9399;

/// Where the image has its configuration and its data.
pub(super) const CONFIGURATION: &str = "/usr/share/elasticsearch/config";
pub(super) const DATA: &str = "/usr/share/elasticsearch/data";

/// Nodes as they are to run.
pub(super) struct Nodes<'a> {
    pub(super) settings: &'a ElasticsearchSettings,
    pub(super) replicas: u32,
    pub(super) frame: &'a Frame<'a>,
}

impl Nodes<'_> {
    /// The Service by which nodes find each other.
    pub(super) fn service(&self) -> String {
        format!("{}-nodes", self.frame.name())
    }

    /// `elasticsearch.yml`. The node's name is its pod's, from the environment.
    pub(super) fn configuration(&self) -> BTreeMap<&'static str, Value> {
        let mut settings = BTreeMap::from([
            ("cluster.name", json!(format!("{}-{}", self.frame.target.platform, self.frame.name()))),
            ("http.port", json!(HTTP_PORT)),
            // Databases of addresses are fetched from the Internet otherwise.
            ("ingest.geoip.downloader.enabled", json!(false)),
            ("network.host", json!("0.0.0.0")),
            ("node.name", json!("${NODE_NAME}")),
            // Mapping files needs a higher vm.max_map_count than machines have.
            ("node.store.allow_mmap", json!(false)),
            ("readiness.port", json!(READINESS_PORT)),
            ("transport.port", json!(TRANSPORT_PORT)),
            ("xpack.ml.enabled", json!(false)),
            ("xpack.security.enabled", json!(self.settings.security)),
        ]);
        if self.replicas == 1 {
            settings.insert("discovery.type", json!("single-node"));
        } else {
            let names: Vec<String> =
                (0..self.replicas).map(|number| format!("{}-{number}", self.frame.name())).collect();
            let domain = format!("{}.{}.svc", self.service(), self.frame.namespace());
            settings.insert("discovery.seed_hosts", json!([domain]));
            // Read only by nodes that belong to no cluster yet.
            settings.insert("cluster.initial_master_nodes", json!(names));
        }
        if self.settings.security {
            settings.insert("xpack.security.enrollment.enabled", json!(false));
        }
        if self.settings.certificate_secret.is_some() {
            settings.extend([
                ("xpack.security.http.ssl.certificate", json!("certificates/tls.crt")),
                ("xpack.security.http.ssl.certificate_authorities", json!(["certificates/ca.crt"])),
                ("xpack.security.http.ssl.enabled", json!(true)),
                ("xpack.security.http.ssl.key", json!("certificates/tls.key")),
                ("xpack.security.transport.ssl.certificate", json!("certificates/tls.crt")),
                ("xpack.security.transport.ssl.certificate_authorities", json!(["certificates/ca.crt"])),
                ("xpack.security.transport.ssl.enabled", json!(true)),
                ("xpack.security.transport.ssl.key", json!("certificates/tls.key")),
                // Pods' addresses change, and no certificate names them.
                ("xpack.security.transport.ssl.verification_mode", json!("certificate")),
            ]);
        }
        settings
    }
}
