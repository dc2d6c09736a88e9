//! `KUBECONFIG` names the cluster, `PLATFORM_IMAGES` the images that its nodes have, `PLATFORM_KAFKA` and `PLATFORM_ELASTICSEARCH` servers that its
//! pods reach by the same addresses as this test.

use crate::elasticsearch::{Elasticsearch, eventually};
use platform_core::{
    Environment, ImageOverrides, Isolation,
    clock::{Clock, SystemClock},
    cluster::{ApplyOptions, Cluster, ClusterRole, ListOptions},
    component::{Component, ComponentTarget, SYSTEM_NAMESPACE},
    event::Progress,
    manifest::{Manifest, ManifestSet},
    name::{ClusterName, EnvironmentName, Namespace, PlatformName},
    orchestrator::{IsolationScope, Orchestrator},
    telemetry::document::{Signal, environment_of},
};
use platform_k8s::{
    KubeCluster, Kubernetes, access_from_kubeconfig,
    components::{
        ElasticsearchAccess, PlatformAgent, PlatformAgentSettings, PlatformIngester, PlatformIngesterSettings,
    },
};
use platform_telemetry::kafka::Kafka;
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path, time::Duration};

const PATIENCE: Duration = Duration::from_secs(180);
const CLUSTER: &str = "shop-testing";
const TALKER: &str = "talker";
/// How many lines the talker says, ten of them a second.
const LINES: usize = 400;

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("this test needs {name}, see CONTRIBUTING"))
}

fn platform() -> PlatformName {
    PlatformName::new("shop").unwrap()
}

/// Two environments that share a cluster.
struct Shop {
    kubernetes: Kubernetes,
    cluster: KubeCluster,
    images: ImageOverrides,
    environments: [EnvironmentName; 2],
    kafka: String,
    elasticsearch: String,
}

impl Shop {
    fn connect() -> Self {
        let images = ImageOverrides::from_file(variable("PLATFORM_IMAGES")).unwrap();
        let kubernetes = Kubernetes::default().images(images.clone());
        let name = ClusterName::new(CLUSTER).unwrap();
        let access = access_from_kubeconfig(Path::new(&variable("KUBECONFIG")), None, name).unwrap();
        let cluster = kubernetes.connect_kube(&access).unwrap();
        // Of this run alone, for the servers may have documents of another.
        let run = SystemClock.now().as_millis() % 100_000_000;
        let environment = |name: &str| EnvironmentName::new(format!("{name}{run}")).unwrap();
        Self {
            kubernetes,
            cluster,
            images,
            environments: [environment("testing"), environment("staging")],
            kafka: variable("PLATFORM_KAFKA"),
            elasticsearch: variable("PLATFORM_ELASTICSEARCH"),
        }
    }

    fn role(&self) -> ClusterRole {
        ClusterRole::Environments(self.environments.to_vec())
    }

    /// Whose topics there are: the environments', and that of what is in none.
    fn owners(&self) -> Vec<EnvironmentName> {
        let otherwise = EnvironmentName::new(environment_of(&self.role())).unwrap();
        self.environments.iter().cloned().chain([otherwise]).collect()
    }

    async fn make_topics(&self) {
        let owners: Vec<String> = self.owners().iter().map(ToString::to_string).collect();
        Kafka::new(&self.kafka).topics().partitions(2).create(&owners, PATIENCE).await.unwrap();
    }

    fn agent(&self) -> PlatformAgentSettings {
        let mut settings = PlatformAgentSettings::to_brokers(&self.kafka);
        settings.scrape.interval = Duration::from_secs(5);
        settings
    }

    fn ingester(&self) -> PlatformIngesterSettings {
        let mut settings = PlatformIngesterSettings::default();
        settings.brokers = Some(self.kafka.clone());
        settings.group = format!("ingester-{}", self.environments[0]);
        settings.environments = self.owners();
        settings.elasticsearch = ElasticsearchAccess::open().url(&self.elasticsearch);
        settings
    }

    async fn install(&self, component: &dyn Component, role: ClusterRole) {
        let target = ComponentTarget::new(
            platform(),
            ClusterName::new(CLUSTER).unwrap(),
            role,
            Namespace::new(SYSTEM_NAMESPACE).unwrap(),
        );
        let manifests = component.manifests(&target.images(self.images.clone())).unwrap();
        self.apply(&format!("component.{}", component.name()), manifests).await;
    }

    async fn install_agent(&self, settings: PlatformAgentSettings) {
        self.install(&PlatformAgent::new().unwrap().with_settings(settings), self.role()).await;
    }

    /// Applies a set and waits until it is ready.
    async fn apply(&self, name: &str, manifests: Vec<Manifest>) {
        let set = ManifestSet::new(name, manifests).unwrap();
        self.cluster.apply(&set, &ApplyOptions::new(platform())).await.unwrap();
        self.cluster.wait_ready(&set.references(), PATIENCE, &Progress::silent()).await.unwrap();
    }

    /// A namespace of the first environment, behind its borders, with the talker.
    async fn deploy(&self) {
        let environment = &self.environments[0];
        let namespace = Namespace::new(environment).unwrap();
        let scope = IsolationScope::new(
            platform(),
            Environment::new(environment).unwrap(),
            Isolation::NamespacePerEnvironment,
            ClusterName::new(CLUSTER).unwrap(),
            vec![(namespace.clone(), Vec::new())],
        );
        self.apply("isolation.testing", self.kubernetes.isolation(&scope).unwrap()).await;
        let image = self.images.get("probe").unwrap_or_else(|| panic!("PLATFORM_IMAGES has no `probe`"));
        let objects = talker(namespace.as_str(), image.as_str());
        self.apply("application.testing.talker", objects.map(|one| Manifest::new(one).unwrap()).into()).await;
    }

    /// The pods of a program: their names, with the identity and the node of each.
    async fn pods(&self, namespace: &str, program: &str) -> BTreeMap<String, (String, String)> {
        let pods = self.cluster.list("v1", "Pod", &ListOptions::all().namespace(namespace)).await.unwrap();
        let of = |pod: &Value, path: &str| pod.pointer(path).and_then(Value::as_str).unwrap().to_owned();
        pods.iter()
            .filter(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"] == program)
            .filter(|pod| pod["metadata"].get("deletionTimestamp").is_none())
            .map(|pod| {
                let known = (of(pod, "/metadata/uid"), of(pod, "/spec/nodeName"));
                (of(pod, "/metadata/name"), known)
            })
            .collect()
    }

    async fn remove(&self) {
        let options = ApplyOptions::new(platform());
        for name in self.cluster.sets(&options.owner).await.unwrap() {
            self.cluster.delete_set(&name, &options).await.unwrap();
        }
    }
}

/// A program that says numbered lines and exposes a metric, and lets in who scrapes it.
fn talker(namespace: &str, image: &str) -> [Value; 2] {
    let script = format!(
        "trap 'exit 0' TERM\n\
         printf '# TYPE talker_answer gauge\\ntalker_answer{{of=\"all\"}} 42\\n' >/www/metrics.txt\n\
         busybox httpd -p 8080 -h /www\n\
         line=0; while [ $line -lt {LINES} ]; do echo \"WARN line $line\"; line=$((line+1)); sleep 0.1; done\n\
         while :; do sleep 1; done"
    );
    let labels = json!({"app.kubernetes.io/name": TALKER});
    [
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": TALKER, "namespace": namespace},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": "8080",
                        // By its ending the server says that it is text.
                        "prometheus.io/path": "/metrics.txt",
                    }},
                    "spec": {
                        "automountServiceAccountToken": false,
                        "terminationGracePeriodSeconds": 5,
                        "securityContext": {
                            "runAsNonRoot": true,
                            "runAsUser": 65532,
                            "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "containers": [{
                            "name": TALKER,
                            "image": image,
                            "command": ["/bin/sh", "-c", script],
                            "ports": [{"containerPort": 8080}],
                            "readinessProbe": {"httpGet": {"path": "/metrics.txt", "port": 8080}},
                            "securityContext": {
                                "allowPrivilegeEscalation": false,
                                "capabilities": {"drop": ["ALL"]},
                            },
                            "volumeMounts": [{"name": "www", "mountPath": "/www"}],
                        }],
                        "volumes": [{"name": "www", "emptyDir": {}}],
                    },
                },
            },
        }),
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": TALKER, "namespace": namespace},
            "spec": {
                "podSelector": {"matchLabels": labels},
                "policyTypes": ["Ingress"],
                "ingress": [{
                    "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SYSTEM_NAMESPACE}}}],
                    "ports": [{"port": 8080, "protocol": "TCP"}],
                }],
            },
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind, kafka and elasticsearch"]
async fn what_pods_say_and_expose_is_found_in_elasticsearch() {
    let shop = Shop::connect();
    let elasticsearch = Elasticsearch::at(&shop.elasticsearch);
    shop.remove().await;
    shop.make_topics().await;
    let ingester = PlatformIngester::new().unwrap().with_settings(shop.ingester());
    shop.install(&ingester, ClusterRole::ControlPlane).await;
    shop.install_agent(shop.agent()).await;
    let nodes = shop.cluster.list("v1", "Node", &ListOptions::all()).await.unwrap().len();
    let agents = shop.pods(SYSTEM_NAMESPACE, "platform-agent").await;
    assert_eq!(agents.len(), nodes, "{agents:?}");
    shop.deploy().await;

    let spoken = |at_least: usize| said(&shop, &elasticsearch, at_least);
    eventually("the first lines", PATIENCE, || spoken(20)).await;
    scraped(&shop, &elasticsearch).await;
    // Its settings change, so that all agents are replaced while lines are said.
    let mut changed = shop.agent();
    changed.buffer_mebibytes = 512;
    shop.install_agent(changed).await;
    let successors = shop.pods(SYSTEM_NAMESPACE, "platform-agent").await;
    assert_eq!(successors.len(), nodes, "{successors:?}");
    assert!(agents.keys().all(|name| !successors.contains_key(name)), "{agents:?} {successors:?}");
    let said = eventually("every line", PATIENCE, || spoken(LINES)).await;
    let repeated: Vec<&String> = said.iter().filter(|(_, times)| **times > 1).map(|(line, _)| line).collect();
    assert!(repeated.is_empty(), "{} lines are there twice: {repeated:?}", repeated.len());
    for line in 0..LINES {
        assert!(said.contains_key(&format!("WARN line {line}")), "line {line} is lost");
    }
    shop.remove().await;
}

/// The lines of the talker, with how often each is there, once they are `at_least` so many. Each says whose it is.
async fn said(
    shop: &Shop,
    elasticsearch: &Elasticsearch,
    at_least: usize,
) -> Result<BTreeMap<String, usize>, String> {
    let environment = shop.environments[0].as_str();
    let pods = shop.pods(environment, TALKER).await;
    let (name, (uid, node)) = pods.first_key_value().ok_or("there is no talker")?;
    let fields = [("resource.attributes.k8s.pod.name", name.as_str())];
    let documents = elasticsearch.documents(Signal::Logs, environment, &fields).await?;
    let mut lines = BTreeMap::new();
    for document in &documents {
        assert_eq!(
            document["resource"]["attributes"],
            json!({
                "deployment.environment.name": environment,
                "k8s.cluster.name": CLUSTER,
                "k8s.container.name": TALKER,
                "k8s.namespace.name": environment,
                "k8s.node.name": node,
                "k8s.pod.name": name,
                "k8s.pod.uid": uid,
                "service.name": TALKER,
            })
        );
        assert_eq!(document["severity_text"], "warn");
        *lines.entry(document["body"]["text"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    if lines.len() < at_least {
        return Err(format!("{} of {at_least} lines are there", lines.len()));
    }
    Ok(lines)
}

/// The metrics of the talker are there under its environment, those of agents and the ingester under the cluster's own name.
async fn scraped(shop: &Shop, elasticsearch: &Elasticsearch) {
    let environment = shop.environments[0].as_str();
    let otherwise = shop.owners().pop().unwrap().to_string();
    for (owner, namespace, program, metric) in [
        (environment, environment, TALKER, "talker_answer"),
        (otherwise.as_str(), SYSTEM_NAMESPACE, "platform-agent", "platform_agent_sent_messages_total"),
        (otherwise.as_str(), SYSTEM_NAMESPACE, "platform-ingester", "platform_ingester_events_total"),
    ] {
        for (pod, (_, node)) in shop.pods(namespace, program).await {
            for name in [metric, "up"] {
                let fields = [("labels.__name__", name), ("labels.pod", pod.as_str())];
                let documents = eventually(&format!("{name} of {pod}"), PATIENCE, || {
                    elasticsearch.documents(Signal::Metrics, owner, &fields)
                })
                .await;
                let labels = &documents[0]["labels"];
                for (label, value) in [
                    ("namespace", namespace),
                    ("node", node.as_str()),
                    ("cluster", CLUSTER),
                    ("job", program),
                ] {
                    assert_eq!(labels[label], value, "{name} of {pod}: {labels}");
                }
                let expected = if owner == environment { Value::from(owner) } else { Value::Null };
                assert_eq!(labels["environment"], expected, "{name} of {pod}: {labels}");
                let is_expected = match name {
                    "up" => documents.iter().any(|one| one["metrics"]["up"] == 1.0),
                    "talker_answer" => documents.iter().all(|one| one["metrics"][name] == 42.0),
                    _ => documents.iter().all(|one| one["metrics"][name].as_f64() >= Some(0.0)),
                };
                assert!(is_expected, "{name} of {pod}: {documents:?}");
            }
        }
    }
}
