//! Grafana with what is rendered for it, over a real Prometheus.

use crate::{
    http::{Http, eventually},
    programs::{free_port, program, start},
    target,
    variants::Variant,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};
use tokio::process::Command;

/// A Prometheus that scrapes a node exporter as the catalogue's would.
fn scrape_configuration(exporter: u16) -> Value {
    json!({
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{
            "job_name": "node-exporter",
            "static_configs": [{
                "targets": [format!("127.0.0.1:{exporter}")],
                "labels": {"cluster": "shop-testing", "environment": "testing"},
            }],
        }],
    })
}

/// Writes what is provisioned and answers with the environment, in which paths of the pod are those of a folder.
fn provision(variant: &Variant, home: &Path) -> BTreeMap<String, String> {
    for (config_map, folder) in [
        ("grafana-datasources", "etc/grafana/provisioning/datasources"),
        ("grafana-providers", "etc/grafana/provisioning/dashboards"),
        ("grafana-dashboards", "etc/grafana/dashboards"),
    ] {
        let folder = home.join(folder);
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in variant.files(config_map) {
            let moved =
                text.as_str().unwrap().replace("/etc/grafana", &home.join("etc/grafana").to_string_lossy());
            fs::write(folder.join(file), moved).unwrap();
        }
    }
    let stateful_set =
        variant.manifests.iter().find(|one| one.reference().kind == "StatefulSet").unwrap().object();
    let env = stateful_set["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    env.iter()
        .map(|variable| {
            let value = variable["value"].as_str().unwrap_or_default();
            let moved = match value.strip_prefix('/') {
                Some(path) => home.join(path).to_string_lossy().into_owned(),
                None => value.to_owned(),
            };
            (variable["name"].as_str().unwrap().to_owned(), moved)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs grafana"]
async fn the_provisioned_dashboards_are_loaded_and_their_queries_answered() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    let (exporter, prometheus, grafana) = (free_port(), free_port(), free_port());
    let _exporter = start(
        Command::new(program("PLATFORM_NODE_EXPORTER"))
            .arg(format!("--web.listen-address=127.0.0.1:{exporter}")),
        &home.join("exporter.log"),
    );
    let configuration = home.join("prometheus.yml");
    fs::write(&configuration, scrape_configuration(exporter).to_string()).unwrap();
    let _prometheus = start(
        Command::new(program("PLATFORM_PROMETHEUS"))
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", home.join("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{prometheus}")),
        &home.join("prometheus.log"),
    );
    let settings = json!({"prometheusUrl": format!("http://127.0.0.1:{prometheus}")});
    let variant = Variant::new(json!({"name": "grafana", "settings": settings}), &target(&["testing"]));
    let environment = provision(&variant, home);
    let _grafana = start(
        Command::new(program("PLATFORM_GRAFANA"))
            .arg("server")
            .arg("--homepath")
            .arg(program("PLATFORM_GRAFANA_HOME"))
            .envs(environment)
            .env("GF_SERVER_HTTP_ADDR", "127.0.0.1")
            .env("GF_SERVER_HTTP_PORT", grafana.to_string()),
        &home.join("grafana.log"),
    );

    let api = Http::at(&format!("http://127.0.0.1:{grafana}"));
    let patience = Duration::from_secs(180);
    // Nobody logs in: these are the rights of whoever reaches the Service.
    let found = eventually("the dashboards", patience, || async {
        let found = api.get("/api/search?type=dash-db").await?;
        if found.as_array().is_some_and(|all| all.len() == 3) { Ok(found) } else { Err(found.to_string()) }
    })
    .await;
    let mut uids: Vec<&str> =
        found.as_array().unwrap().iter().map(|one| one["uid"].as_str().unwrap()).collect();
    uids.sort_unstable();
    assert_eq!(uids, ["ingress", "nodes", "workloads"]);
    let source = api.get("/api/datasources/uid/prometheus/health").await;
    println!("health of the data source: {source:?}");

    let mut answered = BTreeMap::new();
    for uid in uids {
        let dashboard = api.get(&format!("/api/dashboards/uid/{uid}")).await.unwrap();
        assert_eq!(dashboard["meta"]["provisioned"], true);
        for panel in dashboard["dashboard"]["panels"].as_array().unwrap() {
            let query = json!({"from": "now-5m", "to": "now", "queries": panel["targets"]});
            let title = format!("{uid}: {}", panel["title"].as_str().unwrap());
            let answer = api.post("/api/ds/query", &query).await.unwrap_or_else(|e| panic!("{title}: {e}"));
            for (reference, result) in answer["results"].as_object().unwrap() {
                assert!(result.get("error").is_none(), "{title} {reference}: {result}");
            }
            answered.insert(title, query);
        }
    }
    assert!(answered.len() >= 20, "{:?}", answered.keys());
    // Of what there is here, there are values.
    for title in ["nodes: CPU used", "nodes: Memory used", "nodes: Network"] {
        let query = &answered[title];
        eventually(title, Duration::from_secs(60), || async {
            let answer = api.post("/api/ds/query", query).await?;
            let frame = answer["results"]["A"]["frames"][0].clone();
            let has_values = frame["data"]["values"][1].as_array().is_some_and(|values| !values.is_empty());
            if has_values { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
    }
}
