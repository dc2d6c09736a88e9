//! Components as documents describe them: each with its defaults, and with everything set.

use platform_core::{
    cluster::ClusterRole, component::ComponentTarget, manifest::Manifest, orchestrator::Orchestrator,
};
use platform_k8s::{Kubernetes, components};
use serde_json::{Value, json};

/// A component as a document describes it, and its manifests.
pub(crate) struct Variant {
    pub(crate) document: Value,
    pub(crate) manifests: Vec<Manifest>,
}

impl Variant {
    pub(crate) fn new(document: Value, target: &ComponentTarget) -> Self {
        let spec = serde_json::from_value(document.clone()).unwrap();
        let component = Kubernetes::default().component(&spec).unwrap();
        Self { document, manifests: component.manifests(target).unwrap() }
    }

    pub(crate) fn name(&self) -> &str {
        self.document["name"].as_str().unwrap()
    }

    /// The files of a ConfigMap.
    pub(crate) fn files(&self, config_map: &str) -> serde_json::Map<String, Value> {
        let found = self.manifests.iter().find(|manifest| {
            manifest.reference().kind == "ConfigMap" && manifest.reference().name == config_map
        });
        found.unwrap_or_else(|| panic!("there is no ConfigMap {config_map}")).object()["data"]
            .as_object()
            .unwrap()
            .clone()
    }
}

/// The whole catalogue in all its forms, for a cluster.
pub(crate) fn all(target: &ComponentTarget) -> Vec<Variant> {
    let plain = components::names().map(|name| match (name, &target.role) {
        // They send to the control plane's Kafka, which each other cluster has to be told of.
        ("fluent-bit" | "platform-agent", ClusterRole::Environments(_)) => {
            json!({"name": name, "settings": {"brokers": "203.0.113.7:30090"}})
        }
        _ => json!({"name": name}),
    });
    plain.chain(documents()).map(|document| Variant::new(document, target)).collect()
}

/// What can be set.
fn documents() -> Vec<Value> {
    let small = json!({"cpu": "20m", "memory": "48Mi", "cpuLimit": "200m", "memoryLimit": "96Mi"});
    vec![
        json!({
            "name": "prometheus", "version": "3.5.0", "replicas": 2,
            "resources": {"prometheus": small}, "storage": {"size": "20Gi", "class": "fast"},
            "settings": {
                "scrapeInterval": "5s", "evaluationInterval": "1m30s", "retention": "2d12h",
                "externalLabels": {"region": "eu", "odd": "yes: \"#'\n"},
                "scrape": [
                    {"name": "database", "targets": ["db.example.com:9187"], "path": "/m", "tls": true, "labels": {"team": "data"}},
                    {"name": "on", "targets": ["10.0.0.1:80", "[::1]:80"]},
                ],
                "rules": [
                    {"alert": "Down", "expr": "up == 0", "for": "5m", "keep_firing_for": "1m",
                     "labels": {"severity": "critical"}, "annotations": {"summary": "{{ $labels.job }} is down"}},
                    {"alert": "Busy", "expr": "sum by (cluster) (rate(node_cpu_seconds_total{mode!=\"idle\"}[5m])) > 1"},
                ],
                "alertmanagers": ["alerts.example.com:9093"],
                "verifyKubelets": true,
            },
        }),
        json!({"name": "prometheus", "storage": {"ephemeral": true, "size": "1Gi"}}),
        json!({
            "name": "alertmanager", "replicas": 3, "storage": {"ephemeral": true},
            "settings": {
                "receivers": [
                    {"name": "team", "slack": [{"url": {"secret": "slack", "key": "url"}, "channel": "#alerts"}]},
                    {"name": "on-call", "email": [
                        {"to": "on-call@example.com", "from": "alerts@example.com", "server": "mail.example.com:587",
                         "username": "alerts", "password": {"secret": "mail", "key": "password"}},
                        {"to": "a@example.com, b@example.com", "from": "alerts@example.com", "server": "127.0.0.1:25", "requireTls": false},
                    ]},
                    {"name": "hooks", "webhook": [
                        {"url": "https://hooks.example.com/a"},
                        {"url": "http://hooks.example.com/b", "token": {"secret": "hooks", "key": "token"}},
                    ]},
                ],
                "routes": [
                    {"receiver": "on-call", "labels": {"severity": "critical", "odd": "a\"b\\c\n"}},
                    {"receiver": "hooks", "labels": {"environment": "production"}, "continue": true},
                ],
                "groupBy": ["alertname"], "groupWait": "10s", "groupInterval": "1m", "repeatInterval": "12h",
            },
        }),
        json!({
            "name": "grafana", "resources": {"grafana": small}, "storage": {"size": "2Gi"},
            "settings": {
                "adminPassword": {"secret": "grafana", "key": "password"}, "rootUrl": "https://grafana.example.com/",
                "prometheusUrl": "http://prometheus.example.com:9090",
                "elasticsearch": {"url": "http://elasticsearch.example.com:9200", "index": "shop-*"},
                "stockDashboards": true,
            },
        }),
        json!({"name": "grafana", "storage": {"ephemeral": true}, "settings": {"stockDashboards": false}}),
        json!({
            "name": "nginx-ingress", "replicas": 2,
            "settings": {
                "class": "outside", "defaultClass": false, "config": {"client-max-body-size": "10m"},
                "exposure": {"loadBalancer": {"annotations": {"service.beta.kubernetes.io/aws-load-balancer-type": "external"}}},
            },
        }),
        json!({"name": "nginx-ingress", "settings": {"exposure": {"hostPort": {}}}}),
        json!({"name": "traefik", "replicas": 2, "settings": {"exposure": {"nodePort": {"http": 30080, "https": 30443}}}}),
        json!({"name": "traefik", "settings": {"exposure": {"internal": {}}, "class": "inside", "defaultClass": false}}),
        json!({"name": "traefik", "settings": {"exposure": {"loadBalancer": {}}}}),
        json!({
            "name": "platform-agent", "resources": {"platform-agent": small}, "images": {"platform-agent": "registry.example.com/agent:1"},
            "settings": {
                "brokers": "203.0.113.7:30090,203.0.113.8:30090", "compression": "zstd", "exclude": ["/var/log/containers/noisy-*.log"],
                "multiline": {"rule": {"start": "^\\d{4}-\"': #"}, "maxBytes": 65536, "flushAfter": "1s500ms"},
                "scrape": {"enabled": false, "interval": "1m"}, "bufferMebibytes": 512, "whenFull": "drop-oldest",
            },
        }),
        json!({"name": "platform-agent", "settings": {"brokers": "[::1]:9092", "multiline": {"rule": "stack-traces"}}}),
        json!({
            "name": "platform-ingester", "replicas": 3, "resources": {"platform-ingester": small},
            "settings": {
                "brokers": "kafka.example.com:9092", "group": "two", "environments": ["testing", "shared"],
                "elasticsearch": {"url": "https://elasticsearch.example.com:9200", "certificateSecret": "elasticsearch-tls"},
                "batchMebibytes": 16, "batchWait": "250ms", "concurrency": 8, "deadLetters": "dead.letters",
            },
        }),
        json!({"name": "platform-ingester", "settings": {"elasticsearch": {"security": false}}}),
        json!({"name": "node-exporter", "scope": "environments", "resources": {"node-exporter": small}}),
        json!({"name": "kube-state-metrics", "images": {"kube-state-metrics": "registry.example.com/ksm:1"}}),
    ]
}
