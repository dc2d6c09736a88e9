//! The state of an embedded cluster, and its pods that ask to be scraped.

use crate::support::{PATIENCE, TestSink, eventually};
use async_trait::async_trait;
use platform_core::{
    Error, ErrorKind, Result,
    cluster::{
        ApplyOptions, ApplyReport, Cluster, DeleteReport, ListOptions, ObjectDiff, ObjectHealth,
        ProxyRequest, SetOwner,
    },
    event::Progress,
    manifest::{ManifestSet, ObjectRef},
    name::ClusterName,
    telemetry::{Labels, Severity},
};
use platform_telemetry::{
    pipeline::Pipeline,
    sources::{
        ClusterScrapeSource, ClusterStateSource, PodMetadata, PodSelector, ScrapeEndpoint, ServiceSelector,
        is_stale,
    },
};
use platform_testkit::kubernetes::EmbeddedApi;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Reads an embedded API server over HTTP. The sources list, and read pods, which are simulated: a server of the test answers for them.
#[derive(Debug)]
struct Reader {
    name: ClusterName,
    url: String,
    client: reqwest::Client,
    exporter: Option<SocketAddr>,
    /// Pods have the address of this machine.
    here: bool,
}

impl Reader {
    fn path(api_version: &str, kind: &str) -> String {
        let group = if api_version == "v1" { "api/v1".to_owned() } else { format!("apis/{api_version}") };
        format!("{group}/{}s", kind.to_lowercase())
    }
}

#[async_trait]
impl Cluster for Reader {
    fn name(&self) -> &ClusterName {
        &self.name
    }

    async fn list(&self, api_version: &str, kind: &str, _: &ListOptions) -> Result<Vec<Value>> {
        let unavailable = |e: reqwest::Error| Error::new(ErrorKind::Unavailable, "no answer").source(e);
        let url = format!("{}/{}", self.url, Self::path(api_version, kind));
        let answer = self.client.get(url).send().await.map_err(unavailable)?;
        let mut list: Value = answer.json().await.map_err(unavailable)?;
        match list["items"].take() {
            Value::Array(mut items) => {
                for pod in items.iter_mut().filter(|_| self.here) {
                    pod["status"]["podIP"] = "127.0.0.1".into();
                }
                Ok(items)
            }
            _ => Err(Error::new(ErrorKind::Unavailable, format!("no list: {list}"))),
        }
    }

    async fn proxy(&self, request: &ProxyRequest) -> Result<Vec<u8>> {
        let unavailable = |e: reqwest::Error| Error::new(ErrorKind::Unavailable, "no answer").source(e);
        let exporter = self.exporter.unwrap();
        let url = format!("http://{exporter}{}?target={:?}", request.path, request.port);
        let answer =
            self.client.get(url).header("accept", &request.accept).send().await.map_err(unavailable)?;
        let answer = answer.error_for_status().map_err(unavailable)?;
        Ok(answer.bytes().await.map_err(unavailable)?.into())
    }

    async fn version(&self) -> Result<String> {
        Err(Error::new(ErrorKind::Unsupported, "it only lists"))
    }

    async fn diff(&self, _: &ManifestSet, _: &ApplyOptions) -> Result<Vec<ObjectDiff>> {
        Err(Error::new(ErrorKind::Unsupported, "it only lists"))
    }

    async fn apply(&self, _: &ManifestSet, _: &ApplyOptions) -> Result<ApplyReport> {
        Err(Error::new(ErrorKind::Unsupported, "it only lists"))
    }

    async fn health(&self, _: &[ObjectRef]) -> Result<Vec<ObjectHealth>> {
        Err(Error::new(ErrorKind::Unsupported, "it only lists"))
    }

    async fn wait_ready(&self, _: &[ObjectRef], _: Duration, _: &Progress) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "it only lists"))
    }

    async fn delete_set(&self, _: &str, _: &ApplyOptions) -> Result<DeleteReport> {
        Err(Error::new(ErrorKind::Unsupported, "it only lists"))
    }

    async fn sets(&self, _: &SetOwner) -> Result<Vec<String>> {
        Err(Error::new(ErrorKind::Unsupported, "it only lists"))
    }

    async fn get(&self, _: &ObjectRef) -> Result<Option<Value>> {
        Err(Error::new(ErrorKind::Unsupported, "it only lists"))
    }
}

async fn send(
    api: &EmbeddedApi,
    client: &reqwest::Client,
    method: reqwest::Method,
    path: &str,
    body: Option<Value>,
) {
    let mut request = client.request(method, format!("{}/{path}", api.url()));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{
                    "name": "main", "image": "web:1",
                    "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                }]},
            },
        },
    })
}

#[tokio::test]
async fn an_embedded_cluster_is_told_in_the_names_of_kube_state_metrics() {
    let api = EmbeddedApi::builder().name("shop").nodes(2).start().await.unwrap();
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = reqwest::Method::POST;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}});
    send(&api, &client, post.clone(), "api/v1/namespaces", Some(namespace)).await;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"},
        "spec": {"hard": {"requests.cpu": "4"}},
        "status": {"hard": {"requests.cpu": "4"}, "used": {"requests.cpu": "500m"}},
    });
    send(&api, &client, post.clone(), "api/v1/namespaces/team/resourcequotas", Some(quota.clone())).await;
    // The controller that counts is not simulated.
    let status = "api/v1/namespaces/team/resourcequotas/small/status";
    send(&api, &client, reqwest::Method::PUT, status, Some(quota)).await;
    send(&api, &client, post.clone(), "apis/apps/v1/namespaces/team/deployments", Some(deployment())).await;
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "web.1"},
        "involvedObject": {"kind": "Pod", "name": "web-x", "namespace": "team"},
        "reason": "BackOff", "type": "Warning", "message": "Back-off pulling image", "count": 3,
        "lastTimestamp": "2026-11-23T20:36:28Z", "source": {"component": "kubelet", "host": "node-1"},
    });
    send(&api, &client, post, "api/v1/namespaces/team/events", Some(event)).await;

    let reader = Reader {
        name: ClusterName::new("shop").unwrap(),
        url: api.url(),
        client: client.clone(),
        exporter: None,
        here: false,
    };
    let source =
        ClusterStateSource::builder(Arc::new(reader)).interval(Duration::from_millis(50)).namespace_labels(
            |namespace| (namespace == "team").then(|| Labels::from_iter([("environment", "testing")])),
        );
    let sink = TestSink::new();
    let pipeline = Pipeline::builder(sink.clone())
        .source(Arc::new(source.build()))
        .batch_wait(Duration::from_millis(5))
        .start();
    let latest = |metric: &str, labels: &[(&str, &str)]| {
        let samples = sink.samples();
        let matches = |s: &&platform_core::telemetry::Sample| {
            &*s.metric == metric && labels.iter().all(|(n, v)| s.labels.get(n) == Some(v))
        };
        samples.iter().rev().find(matches).cloned()
    };
    let value = |metric: &str, labels: &[(&str, &str)]| latest(metric, labels).map(|s| s.value);
    let web = [("namespace", "team"), ("deployment", "web"), ("environment", "testing"), ("cluster", "shop")];
    eventually("the deployment is available", || {
        value("kube_deployment_status_replicas_available", &web) == Some(2.0)
    })
    .await;
    let team = [("namespace", "team")];
    let with = |more: &[(&'static str, &'static str)]| [team.as_slice(), more].concat();
    for (metric, labels, expected) in [
        ("up", vec![("job", "kube-state-metrics"), ("cluster", "shop")], 1.0),
        ("kube_deployment_spec_replicas", web.to_vec(), 2.0),
        ("kube_namespace_status_phase", with(&[("phase", "Active"), ("environment", "testing")]), 1.0),
        ("kube_namespace_status_phase", with(&[("phase", "Terminating")]), 0.0),
        ("kube_pod_status_phase", with(&[("phase", "Running")]), 1.0),
        ("kube_pod_status_ready", with(&[("condition", "true")]), 1.0),
        ("kube_pod_container_status_ready", with(&[("container", "main")]), 1.0),
        ("kube_pod_container_status_restarts_total", with(&[("container", "main")]), 0.0),
        ("kube_pod_container_resource_requests", with(&[("resource", "cpu"), ("unit", "core")]), 0.25),
        (
            "kube_pod_container_resource_limits",
            with(&[("resource", "memory"), ("unit", "byte")]),
            134_217_728.0,
        ),
        ("kube_replicaset_spec_replicas", team.to_vec(), 2.0),
        ("kube_resourcequota", with(&[("resource", "requests.cpu"), ("type", "hard")]), 4.0),
        ("kube_resourcequota", with(&[("resource", "requests.cpu"), ("type", "used")]), 0.5),
        ("kube_node_status_condition", vec![("condition", "Ready"), ("status", "true")], 1.0),
    ] {
        assert_eq!(value(metric, &labels), Some(expected), "{metric} {labels:?}");
    }
    assert!(latest("kube_node_status_capacity", &[("resource", "memory"), ("unit", "byte")]).is_some());
    let pod = latest("kube_pod_info", &team).unwrap();
    assert_eq!(pod.labels.get("created_by_kind"), Some("ReplicaSet"));
    assert!(pod.labels.get("node").is_some() && pod.labels.get("uid").is_some(), "{}", pod.labels);

    let backoff =
        || sink.logs().into_iter().filter(|r| r.labels.get("reason") == Some("BackOff")).collect::<Vec<_>>();
    eventually("the event is stored", || backoff().len() == 1).await;
    let record = backoff().remove(0);
    assert_eq!((record.body.as_str(), record.severity), ("Back-off pulling image", Severity::Warn));
    assert_eq!(record.timestamp.to_string(), "2026-11-23T20:36:28.000Z");
    assert_eq!(
        (record.labels.get("pod"), record.labels.get("environment")),
        (Some("web-x"), Some("testing"))
    );

    send(&api, &client, reqwest::Method::DELETE, "apis/apps/v1/namespaces/team/deployments/web", None).await;
    eventually("its series ends", || value("kube_deployment_spec_replicas", &web).is_some_and(is_stale))
        .await;
    assert_eq!(backoff().len(), 1, "an event is told once");
    api.stop().await;
    eventually("the cluster is down", || value("up", &[("cluster", "shop")]) == Some(0.0)).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert!(value("kube_state_metrics_list_total", &[("resource", "Node"), ("result", "error")]) > Some(0.0));
    let node = value("kube_node_status_condition", &[("condition", "Ready"), ("status", "true")]);
    assert_eq!(node, Some(1.0), "nothing is known of what cannot be listed");
}

#[tokio::test]
async fn annotated_pods_are_scraped_until_they_are_gone() {
    let api = EmbeddedApi::builder().name("shop").start().await.unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let down = Arc::new(AtomicBool::new(false));
    let app = axum::Router::new().route(
        "/custom",
        axum::routing::get({
            let down = down.clone();
            async move || {
                if down.load(Ordering::SeqCst) {
                    return Err(axum::http::StatusCode::BAD_GATEWAY);
                }
                Ok("requests_total{namespace=\"inner\"} 7\n")
            }
        }),
    );
    let exporter = crate::scrape::serve(app).await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}});
    send(&api, &client, reqwest::Method::POST, "api/v1/namespaces", Some(namespace)).await;
    let mut annotated = deployment();
    annotated["spec"]["replicas"] = 1.into();
    annotated["spec"]["template"]["metadata"]["annotations"] = json!({
        "prometheus.io/scrape": "true", "prometheus.io/port": "9100", "prometheus.io/path": "/custom",
    });
    let deployments = "apis/apps/v1/namespaces/team/deployments";
    send(&api, &client, reqwest::Method::POST, deployments, Some(annotated)).await;

    let reader = Reader {
        name: ClusterName::new("shop").unwrap(),
        url: api.url(),
        client: client.clone(),
        exporter: Some(exporter),
        here: false,
    };
    let source = ClusterScrapeSource::builder(Arc::new(reader))
        .interval(Duration::from_millis(50))
        .discovery_interval(Duration::from_millis(50))
        .namespace_labels(|n| (n == "team").then(|| Labels::from_iter([("environment", "testing")])));
    let sink = TestSink::new();
    let pipeline = Pipeline::builder(sink.clone())
        .source(Arc::new(source.build()))
        .batch_wait(Duration::from_millis(5))
        .start();
    let latest = |metric: &str| {
        let samples = sink.samples();
        samples.into_iter().rev().find(|s| &*s.metric == metric)
    };
    eventually("its metrics are there", || latest("requests_total").is_some_and(|s| s.value == 7.0)).await;
    let sample = latest("requests_total").unwrap();
    let label = |name| sample.labels.get(name).unwrap_or_default().to_owned();
    assert_eq!(
        ["job", "cluster", "namespace", "exported_namespace", "environment"].map(label),
        ["main", "shop", "team", "inner", "testing"]
    );
    assert!(label("instance").ends_with(":9100") && label("pod").starts_with("web-"), "{}", sample.labels);
    let up = latest("up").unwrap();
    assert_eq!((up.value, up.labels.get("environment")), (1.0, Some("testing")));

    down.store(true, Ordering::SeqCst);
    eventually("it is seen to be down", || latest("up").is_some_and(|s| s.value == 0.0)).await;
    eventually("its series ends", || latest("requests_total").is_some_and(|s| is_stale(s.value))).await;
    down.store(false, Ordering::SeqCst);
    eventually("it is up again", || latest("up").is_some_and(|s| s.value == 1.0)).await;
    send(&api, &client, reqwest::Method::DELETE, &format!("{deployments}/web"), None).await;
    eventually("nothing of it is left", || latest("up").is_some_and(|s| is_stale(s.value))).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    api.stop().await;
}

#[tokio::test]
async fn a_program_in_the_cluster_asks_pods_at_their_addresses() {
    let api = EmbeddedApi::builder().name("shop").start().await.unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let app = axum::Router::new()
        .route(
            "/metrics",
            axum::routing::get(async || {
                let open = [("content-type", "application/openmetrics-text; version=1.0.0")];
                (open, "plain 1 1000\n# EOF\n")
            }),
        )
        .route("/away", axum::routing::get(async || axum::response::Redirect::temporary("/metrics")));
    let plain = crate::scrape::serve(app).await;
    // By an authority that nobody trusts.
    let safe = crate::scrape::serve_tls("safe 2\n").await;
    let post = reqwest::Method::POST;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}});
    send(&api, &client, post.clone(), "api/v1/namespaces", Some(namespace)).await;
    for (name, address, scheme, path) in [
        ("plain", plain, "http", "/metrics"),
        ("safe", safe, "https", "/metrics"),
        ("away", plain, "http", "/away"),
    ] {
        let mut deployment = deployment();
        deployment["metadata"]["name"] = name.into();
        deployment["spec"]["replicas"] = 1.into();
        deployment["spec"]["selector"]["matchLabels"]["app"] = name.into();
        let template = &mut deployment["spec"]["template"];
        template["metadata"]["labels"] = json!({"app": name, "app.kubernetes.io/name": name});
        template["metadata"]["annotations"] = json!({
            "prometheus.io/scrape": "true", "prometheus.io/port": address.port().to_string(),
            "prometheus.io/path": path, "prometheus.io/scheme": scheme,
        });
        let deployments = "apis/apps/v1/namespaces/team/deployments";
        send(&api, &client, post.clone(), deployments, Some(deployment)).await;
    }
    let name = ClusterName::new("shop").unwrap();
    let reader = Reader { name, url: api.url(), client, exporter: None, here: true };
    let source = ClusterScrapeSource::builder(Arc::new(reader))
        .interval(Duration::from_millis(50))
        .discovery_interval(Duration::from_millis(50))
        .directly()
        .unwrap();
    let sink = TestSink::new();
    let pipeline = Pipeline::builder(sink.clone())
        .source(Arc::new(source.build()))
        .batch_wait(Duration::from_millis(5))
        .start();
    let latest = |metric: &str, job: &str| {
        let samples = sink.samples();
        samples.into_iter().rev().find(|s| &*s.metric == metric && s.labels.get("job") == Some(job))
    };
    for (job, up) in [("plain", 1.0), ("safe", 1.0), ("away", 0.0)] {
        eventually(job, || latest("up", job).is_some_and(|s| s.value == up)).await;
    }
    let sample = latest("plain", "plain").unwrap();
    assert_eq!((sample.value, sample.timestamp.as_millis()), (1.0, 1_000_000), "OpenMetrics has seconds");
    assert_eq!(latest("safe", "safe").unwrap().value, 2.0);
    assert!(latest("plain", "away").is_none(), "a pod says nothing of others");
    pipeline.shutdown(PATIENCE).await.unwrap();
    api.stop().await;
}

#[tokio::test]
async fn pods_are_listed_where_a_cluster_tells_no_changes() {
    let api = EmbeddedApi::builder().name("shop").start().await.unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = reqwest::Method::POST;
    for (name, environment) in [("team", "testing"), ("odd", "nowhere")] {
        let labels = json!({"platform.dev/environment": environment});
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        send(&api, &client, post.clone(), "api/v1/namespaces", Some(namespace)).await;
        let deployments = format!("apis/apps/v1/namespaces/{name}/deployments");
        send(&api, &client, post.clone(), &deployments, Some(deployment())).await;
    }
    let name = ClusterName::new("shop").unwrap();
    let reader = Reader { name, url: api.url(), client, exporter: None, here: false };
    let all = ListOptions::all();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut found = reader.list("v1", "Pod", &all).await.unwrap();
    while found.len() < 4 {
        assert!(tokio::time::Instant::now() < deadline, "no pods");
        tokio::time::sleep(Duration::from_millis(20)).await;
        found = reader.list("v1", "Pod", &all).await.unwrap();
    }
    let metadata = PodMetadata::builder(Arc::new(reader))
        .environments(["testing"])
        .pod_label("app", "application")
        .build();
    let shutdown = CancellationToken::new();
    let running = {
        let (metadata, shutdown) = (metadata.clone(), shutdown.clone());
        tokio::spawn(async move { metadata.run(&shutdown).await })
    };
    for pod in &found {
        let of = |field: &str| pod["metadata"][field].as_str().unwrap();
        let labels = || metadata.labels(of("namespace"), of("name"), Some(of("uid")));
        eventually("the pod is known", || labels().is_some()).await;
        let labels = labels().unwrap();
        assert_eq!(labels.get("application"), Some("web"));
        // An environment that the cluster does not have is not believed.
        assert_eq!(labels.get("environment"), (of("namespace") == "team").then_some("testing"));
        assert_eq!(metadata.labels(of("namespace"), of("name"), None), Some(labels));
    }
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn chosen_pods_and_those_behind_services_are_scraped() {
    let api = EmbeddedApi::builder().name("shop").start().await.unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    // Says by which port and path it was asked; one of them is slow.
    let answer = |request: axum::extract::Request| async move {
        let (path, port) = (request.uri().path().trim_matches('/').to_owned(), request.uri().query());
        if path == "slow" {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        let port = port.unwrap_or_default().split("%22").nth(1).unwrap_or_default();
        format!("asked{{path=\"{path}\"}} {port}\n")
    };
    let exporter = crate::scrape::serve(axum::Router::new().fallback(answer)).await;
    let post = reqwest::Method::POST;
    for namespace in ["team", "other"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        send(&api, &client, post.clone(), "api/v1/namespaces", Some(namespace)).await;
    }
    for (namespace, name) in [("team", "web"), ("team", "db"), ("other", "web")] {
        let mut deployment = deployment();
        deployment["metadata"]["name"] = name.into();
        deployment["spec"]["replicas"] = 1.into();
        deployment["spec"]["selector"]["matchLabels"]["app"] = name.into();
        deployment["spec"]["template"]["metadata"]["labels"]["app"] = name.into();
        deployment["spec"]["template"]["spec"]["containers"][0]["ports"] =
            json!([{"name": "http", "containerPort": 8080}, {"name": "stats", "containerPort": 9100}]);
        let path = format!("apis/apps/v1/namespaces/{namespace}/deployments");
        send(&api, &client, post.clone(), &path, Some(deployment)).await;
    }
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "labels": {"monitored": "yes"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "metrics", "port": 9000, "targetPort": "stats"}]},
    });
    send(&api, &client, post.clone(), "api/v1/namespaces/team/services", Some(service)).await;

    let reader = Reader {
        name: ClusterName::new("shop").unwrap(),
        url: api.url(),
        client: client.clone(),
        exporter: Some(exporter),
        here: false,
    };
    let source = ClusterScrapeSource::builder(Arc::new(reader))
        .interval(Duration::from_millis(50))
        .discovery_interval(Duration::from_millis(50))
        .pods(
            PodSelector::new(ScrapeEndpoint::port("http").path("/pods")).namespace("team").label("app", "db"),
        )
        .pods(PodSelector::new(ScrapeEndpoint::port(7000).path("/slow")).namespace("team").label("app", "db"))
        .services(ServiceSelector::new(ScrapeEndpoint::port("metrics")).label("monitored", "yes"));
    let sink = TestSink::new();
    let pipeline = Pipeline::builder(sink.clone())
        .source(Arc::new(source.build()))
        .batch_wait(Duration::from_millis(5))
        .start();
    let asked = || {
        let samples = sink.samples();
        let asked = samples.into_iter().filter(|s| &*s.metric == "asked" && !is_stale(s.value));
        asked.map(|s| (s.labels.get("job").unwrap().to_owned(), s)).collect::<BTreeMap<_, _>>()
    };
    eventually("both are scraped", || asked().len() == 2).await;
    let (service, pod) = (asked()["front"].clone(), asked()["main"].clone());
    assert_eq!(
        (service.value, service.labels.get("path"), service.labels.get("service")),
        (9100.0, Some("metrics"), Some("front"))
    );
    assert_eq!((pod.value, pod.labels.get("path"), pod.labels.get("service")), (8080.0, Some("pods"), None));
    assert!([&service, &pod].iter().all(|s| s.labels.get("namespace") == Some("team")));
    let seen = sink.values("asked").len();
    eventually("the slow one holds up none", || sink.values("asked").len() > seen + 4).await;
    send(&api, &client, reqwest::Method::DELETE, "api/v1/namespaces/team/services/front", None).await;
    let ended = |job: &str| {
        let samples = sink.samples();
        let last = samples.iter().rev().find(|s| &*s.metric == "up" && s.labels.get("job") == Some(job));
        last.is_some_and(|s| is_stale(s.value))
    };
    eventually("nothing of the Service is left", || ended("front")).await;
    pipeline.shutdown(PATIENCE).await.unwrap();
    assert!(!ended("main"));
    api.stop().await;
}
