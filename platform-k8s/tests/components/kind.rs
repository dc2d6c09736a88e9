//! The catalogue at work in a cluster whose nodes run containers. `KUBECONFIG` names the cluster, and `PLATFORM_IMAGES` the images that its nodes have.

use crate::{
    cluster_name,
    http::{Http, eventually},
    platform, target,
};
use platform_core::{
    Application, Environment, Image, ImageOverrides, Isolation,
    alert::{AlertRule, Condition},
    cluster::{ApplyOptions, Cluster, ListOptions},
    component::{Component, Storage},
    event::Progress,
    manifest::{Manifest, ManifestSet},
    name::Namespace,
    orchestrator::{IsolationScope, Orchestrator, Placement},
    telemetry::metric,
};
use platform_k8s::{
    KubeCluster, Kubernetes, access_from_kubeconfig,
    components::{Alertmanager, GatewayApi, Grafana, KubeStateMetrics, NodeExporter, Prometheus, Traefik},
};
use serde_json::{Value, json};
use std::{path::PathBuf, time::Duration};

/// One test at a time has the cluster.
static CLUSTER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const PATIENCE: Duration = Duration::from_secs(180);
const HOST: &str = "api1.shop.example.com";

struct Shop {
    kubernetes: Kubernetes,
    cluster: KubeCluster,
    images: ImageOverrides,
}

impl Shop {
    fn connect() -> Self {
        let variable =
            |name: &str| PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("{name} is set")));
        let images = ImageOverrides::from_file(variable("PLATFORM_IMAGES")).unwrap();
        let kubernetes = Kubernetes::default().images(images.clone());
        let access = access_from_kubeconfig(&variable("KUBECONFIG"), None, cluster_name()).unwrap();
        let cluster = kubernetes.connect_kube(&access).unwrap();
        Self { kubernetes, cluster, images }
    }

    async fn install(&self, component: &dyn Component) {
        let target = target(&["testing"]).images(self.images.clone());
        let manifests = component.manifests(&target).unwrap();
        self.apply(&format!("component.{}", component.name()), manifests).await;
    }

    /// Applies a set and waits until it is ready.
    async fn apply(&self, name: &str, manifests: Vec<Manifest>) {
        let set = ManifestSet::new(name, manifests).unwrap();
        self.cluster.apply(&set, &ApplyOptions::new(platform())).await.unwrap();
        self.cluster.wait_ready(&set.references(), PATIENCE, &Progress::silent()).await.unwrap();
    }

    /// An environment with an application that has a route.
    async fn deploy(&self) {
        let environment = Environment::new("testing").unwrap();
        let namespace = Namespace::new("testing").unwrap();
        let scope = IsolationScope::new(
            platform(),
            environment.clone(),
            Isolation::ClusterPerEnvironment,
            cluster_name(),
            vec![(namespace.clone(), Vec::new())],
        );
        self.apply("isolation.testing", self.kubernetes.isolation(&scope).unwrap()).await;
        let image: Image = self.images.get("app").expect("PLATFORM_IMAGES has an image of `app`").clone();
        let application =
            Application::new("api1", image.clone()).unwrap().port(8080).readiness_path("/").route(HOST);
        let placement = Placement::new(platform(), environment, cluster_name(), namespace);
        let manifests = self.kubernetes.application(&application, &image, &placement).unwrap();
        self.apply("application.testing.api1", manifests).await;
    }

    /// A path of a Service of the components, through the API server.
    async fn service(&self, service: &str, path: &str) -> Result<Value, String> {
        let prefix = format!("/api/v1/namespaces/platform-system/services/{service}/proxy");
        Http::of(self.cluster.client()).get(&format!("{prefix}{path}")).await
    }

    /// The series of an instant query of Prometheus.
    async fn query(&self, promql: &str) -> Result<Vec<Value>, String> {
        let query: Vec<String> = promql.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let query = query.concat();
        let answer = self.service("prometheus:9090", &format!("/api/v1/query?query={query}")).await?;
        match answer["data"]["result"].as_array() {
            Some(series) if !series.is_empty() => Ok(series.clone()),
            _ => Err(format!("{promql}: {answer}")),
        }
    }

    async fn remove(&self) {
        let options = ApplyOptions::new(platform());
        for name in self.cluster.sets(&options.owner).await.unwrap() {
            self.cluster.delete_set(&name, &options).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind"]
async fn the_catalogue_is_at_work() {
    let _alone = CLUSTER.lock().await;
    let shop = Shop::connect();
    let rule =
        AlertRule::new("NodeExporterIsUp", metric("up").eq("job", "node-exporter"), Condition::Above(0.0))
            .unwrap()
            .summary("{{instance}} of {{cluster}} says {{value}}");
    let prometheus =
        Prometheus::new().unwrap().interval(Duration::from_secs(5)).storage(Storage::ephemeral()).rule(&rule);
    shop.install(&NodeExporter::new().unwrap()).await;
    shop.install(&KubeStateMetrics::new().unwrap()).await;
    // With a volume of the cluster's default class.
    shop.install(&Alertmanager::new().unwrap()).await;
    shop.install(&prometheus).await;
    shop.install(&Traefik::new().unwrap()).await;
    shop.install(&Grafana::new().unwrap().storage(Storage::ephemeral())).await;
    shop.deploy().await;

    scraped(&shop).await;
    alerted(&shop).await;
    served(&shop).await;
    shown(&shop).await;
    shop.remove().await;
}

/// Prometheus scrapes everything, and says of whom it is.
async fn scraped(shop: &Shop) {
    let nodes = shop.cluster.list("v1", "Node", &ListOptions::all()).await.unwrap().len();
    for job in ["node-exporter", "kubelet", "cadvisor"] {
        let promql = format!("up{{job=\"{job}\",cluster=\"shop-testing\",environment=\"testing\"}} == 1");
        eventually(job, PATIENCE, || async {
            let series = shop.query(&promql).await?;
            if series.len() == nodes {
                Ok(())
            } else {
                Err(format!("{} of {nodes}: {series:?}", series.len()))
            }
        })
        .await;
    }
    for promql in [
        "up{job=\"kube-state-metrics\"} == 1",
        "up{job=\"traefik\",namespace=\"platform-system\"} == 1",
        "up{job=\"grafana\"} == 1",
        "up{job=\"alertmanager\"} == 1",
        "up{job=\"prometheus\"} == 1",
        // Of the other pods that they are about, and not of those that tell it.
        "kube_deployment_status_replicas_available{namespace=\"testing\",deployment=\"api1\"} == 1",
        "container_memory_working_set_bytes{namespace=\"testing\",container=\"api1\"} > 0",
        "node_memory_MemTotal_bytes > 0",
        "kubelet_running_pods > 0",
    ] {
        eventually(promql, PATIENCE, || shop.query(promql)).await;
    }
    let down = shop.query("up == 0").await;
    assert!(down.is_err(), "{down:?}");
}

/// A rule fires, and Alertmanager is told.
async fn alerted(shop: &Shop) {
    let alerts = eventually("the alert", PATIENCE, || async {
        let alerts = shop.service("alertmanager:9093", "/api/v2/alerts").await?;
        let is_there = alerts.as_array().is_some_and(|all| !all.is_empty());
        if is_there { Ok(alerts) } else { Err(alerts.to_string()) }
    })
    .await;
    let alert = &alerts[0];
    assert_eq!(alert["labels"]["alertname"], "NodeExporterIsUp");
    assert_eq!(alert["labels"]["platform"], "shop");
    assert_eq!(alert["labels"]["severity"], "warning");
    let summary = alert["annotations"]["summary"].as_str().unwrap();
    assert!(summary.ends_with(" of shop-testing says 1.0"), "{summary}");
}

/// The ingress serves the application by its host name, and nothing by another.
async fn served(shop: &Shop) {
    let ingress = ingress(shop).await;
    let page = eventually("the page", PATIENCE, || ingress.get_from_host(HOST, "/")).await;
    assert_eq!(page.trim(), "ok");
    let other = ingress.get_from_host("other.example.com", "/").await.unwrap_err();
    assert!(other.contains("404"), "{other}");
    let counted = "sum(traefik_service_requests_total{code=\"200\",service=~\"testing-api1.*\"}) > 0";
    eventually("requests", PATIENCE, || shop.query(counted)).await;
}

/// The node port of the ingress.
async fn ingress(shop: &Shop) -> Http {
    let node = &shop.cluster.list("v1", "Node", &ListOptions::all()).await.unwrap()[0];
    let addresses = node["status"]["addresses"].as_array().unwrap();
    let address =
        addresses.iter().find(|one| one["type"] == "InternalIP").unwrap()["address"].as_str().unwrap();
    let services =
        shop.cluster.list("v1", "Service", &ListOptions::all().namespace("platform-system")).await.unwrap();
    let service = services.iter().find(|one| one["metadata"]["name"] == "traefik").unwrap();
    let port = &service["spec"]["ports"][0]["nodePort"];
    Http::at(&format!("http://{address}:{port}"))
}

/// Grafana shows the dashboards and answers their queries through Prometheus.
async fn shown(shop: &Shop) {
    let dashboards = eventually("the dashboards", PATIENCE, || async {
        let found = shop.service("grafana:3000", "/api/search?type=dash-db").await?;
        if found.as_array().is_some_and(|all| all.len() == 3) { Ok(found) } else { Err(found.to_string()) }
    })
    .await;
    println!("{dashboards}");
    let query: String = "up".to_owned();
    let path = format!("/api/datasources/proxy/uid/prometheus/api/v1/query?query={query}");
    let answer =
        eventually("a query through Grafana", PATIENCE, || shop.service("grafana:3000", &path)).await;
    assert_eq!(answer["status"], "success");
}

/// `PLATFORM_GATEWAY_API` names the file of the CRDs of a release's standard channel.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind and gateway api"]
async fn traefik_serves_routes_of_the_gateway_api() {
    let _alone = CLUSTER.lock().await;
    let shop = Shop::connect();
    let file = std::env::var_os("PLATFORM_GATEWAY_API").expect("PLATFORM_GATEWAY_API names a file of CRDs");
    shop.install(&Traefik::new().unwrap().gateway_api(GatewayApi::from_file(file).unwrap())).await;
    shop.deploy().await;
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "api1", "namespace": "testing"},
        "spec": {
            "parentRefs": [{"name": "traefik", "namespace": "platform-system"}],
            "hostnames": ["gateway.shop.example.com"],
            "rules": [{"backendRefs": [{"name": "api1", "port": 8080}]}],
        },
    });
    let set = ManifestSet::new("route.testing.api1", vec![Manifest::new(route).unwrap()]).unwrap();
    shop.cluster.apply(&set, &ApplyOptions::new(platform())).await.unwrap();
    let ingress = ingress(&shop).await;
    let page =
        eventually("the page", PATIENCE, || ingress.get_from_host("gateway.shop.example.com", "/")).await;
    assert_eq!(page.trim(), "ok");
    shop.remove().await;
}
