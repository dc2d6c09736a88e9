use super::*;
use crate::{
    ErrorKind,
    dashboard::Unit,
    telemetry::{Expression, Matcher, Severity, metric},
};
use std::collections::BTreeSet;

const MINUTE: Duration = Duration::from_secs(60);

fn dashboard() -> Dashboard {
    let by = ["cluster", "environment"];
    let idle = metric("node_cpu_seconds_total").ne("mode", "idle").rate(MINUTE).sum_by(by);
    let all = metric("node_cpu_seconds_total").rate(MINUTE).sum_by(["environment", "cluster"]);
    let pods =
        Expression::from(metric("kube_pod_status_phase").eq("phase", "Running")).sum_by(["environment"]);
    let logs = PanelContent::Logs {
        text: "disk -test \"no space\"".into(),
        matchers: vec![Matcher::equal("environment", "production")],
        min_severity: Some(Severity::Warn),
    };
    Dashboard::new("nodes", "Nodes")
        .window(Duration::from_secs(3600))
        .panel(
            Panel::time_series(
                "CPU",
                Unit::Percent,
                vec![PanelQuery::new(100.0 * (idle / all), "{{cluster}} busy")],
            )
            .range(0.0, 100.0)
            .threshold(80.0),
        )
        .panel(Panel::stat("Pods", Unit::None, PanelQuery::new(pods, "{{environment}}")))
        .panel(Panel::new("Warnings", logs).width(24))
}

fn objects(dashboards: &[Dashboard]) -> Vec<Value> {
    saved_objects(dashboards).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn inside(object: &Value, path: &str) -> Value {
    serde_json::from_str(object.pointer(path).unwrap().as_str().unwrap()).unwrap()
}

fn spec(object: &Value) -> Value {
    inside(&inside(object, "/attributes/visState"), "/params/spec")
}

#[test]
fn every_reference_leads_to_an_object_of_its_kind() {
    let objects = objects(&[dashboard()]);
    let known: BTreeSet<(String, String)> = objects
        .iter()
        .map(|object| {
            (object["type"].as_str().unwrap().to_owned(), object["id"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(known.len(), objects.len(), "ids are unique");
    let mut references = 0;
    for object in &objects {
        for reference in object["references"].as_array().unwrap() {
            let to = (
                reference["type"].as_str().unwrap().to_owned(),
                reference["id"].as_str().unwrap().to_owned(),
            );
            assert!(known.contains(&to), "{to:?}");
            references += 1;
        }
    }
    assert_eq!(references, 4, "three panels and the search's data view");
    let dashboard = objects.last().unwrap();
    let panels = inside(dashboard, "/attributes/panelsJSON");
    for panel in panels.as_array().unwrap() {
        let name =
            format!("{}:{}", panel["panelIndex"].as_str().unwrap(), panel["panelRefName"].as_str().unwrap());
        let reference =
            dashboard["references"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap();
        assert_eq!(reference["type"], panel["type"]);
    }
    let places: Vec<_> = panels
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["gridData"]["x"].clone(), p["gridData"]["y"].clone()))
        .collect();
    assert_eq!(places, [(json!(0), json!(0)), (json!(24), json!(0)), (json!(0), json!(15))]);
}

#[test]
fn every_data_set_is_made_before_it_is_used() {
    for object in objects(&[dashboard()]).iter().filter(|object| object["type"] == "visualization") {
        let spec = spec(object);
        let mut made = BTreeSet::new();
        for data in spec["data"].as_array().unwrap() {
            let mut used: Vec<&Value> = match &data["source"] {
                Value::Array(all) => all.iter().collect(),
                Value::Null => Vec::new(),
                one => vec![one],
            };
            used.extend(data["transform"].as_array().into_iter().flatten().filter_map(|t| t.get("from")));
            for name in used {
                assert!(made.contains(name.as_str().unwrap()), "{name} in {data}");
            }
            assert!(made.insert(data["name"].as_str().unwrap().to_owned()));
        }
    }
}

#[test]
fn a_rate_is_asked_for_series_by_series() {
    let objects = objects(&[dashboard()]);
    let spec = spec(&objects[2]);
    let body = &spec["data"][0]["url"]["body"];
    let sources = body["aggs"]["buckets"]["composite"]["sources"].as_array().unwrap();
    assert_eq!(sources[0], json!({"s": {"terms": {"field": "_tsid"}}}));
    assert_eq!(sources[1], json!({"l0": {"terms": {"field": "labels.cluster", "missing_bucket": true}}}));
    assert_eq!(sources[3]["t"]["date_histogram"]["fixed_interval"], "60s");
    assert_eq!(
        body["aggs"]["buckets"]["aggs"]["value"],
        json!({"max": {"field": "metrics.node_cpu_seconds_total"}})
    );
    let rate = spec["data"][0]["transform"].as_array().unwrap().last().unwrap();
    assert_eq!(rate["expr"], "datum.w / 60");
}

#[test]
fn sides_are_paired_whatever_the_order_of_their_labels_is() {
    let spec = spec(&objects(&[dashboard()])[2]);
    let keys: Vec<&str> = spec["data"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|data| data["transform"].as_array().into_iter().flatten())
        .filter(|transform| transform["as"] == "k")
        .map(|transform| transform["expr"].as_str().unwrap())
        .collect();
    assert_eq!(
        keys,
        [
            "'' + datum.t + '\\u0000' + datum.l1 + '\\u0000' + datum.l0",
            "'' + datum.t + '\\u0000' + datum.l0 + '\\u0000' + datum.l1"
        ]
    );
}

#[test]
fn logs_are_searched_in_kql() {
    let objects = objects(&[dashboard()]);
    let search = objects.iter().find(|object| object["type"] == "search").unwrap();
    let source = inside(search, "/attributes/kibanaSavedObjectMeta/searchSourceJSON");
    assert_eq!(
        source["query"]["query"],
        "body.text: \"disk\" and not body.text: \"test\" and body.text: \"no space\" and \
         (resource.attributes.deployment.environment.name: \"production\") and severity_number >= 13"
    );
    let kql = |matcher: Matcher| search::kql("", &[matcher], None);
    assert_eq!(kql(Matcher::equal("pod", "")), "(not resource.attributes.k8s.pod.name: *)");
    assert_eq!(kql(Matcher::none_of("a b", ["x\"y"])), "not (attributes.a\\ b: \"x\\\"y\")");
    assert_eq!(
        kql(Matcher::one_of::<String>("file", [])),
        "(attributes.log.file.path: * and not attributes.log.file.path: *)"
    );
}

#[test]
fn what_cannot_be_drawn_is_refused_by_name() {
    let refused = |expression: Expression, legend: &str| {
        let query = PanelQuery::new(expression, legend);
        let dashboard = Dashboard::new("d", "D").panel(Panel::time_series("P", Unit::None, vec![query]));
        saved_objects(&[dashboard]).unwrap_err()
    };
    let error = refused(metric("up").into(), "x");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("dashboard d") && error.to_string().contains("\"P\""), "{error}");
    assert!(refused(1.0.into(), "x").to_string().contains("a number alone"));
    let sum = |by: &str| Expression::from(metric("up")).sum_by([by]);
    assert!(refused(sum("a") / sum("b"), "x").to_string().contains("no pairs"));
    assert!(refused(sum("a"), "{{b}}").to_string().contains("the label \"b\""));
    assert!(refused(sum("a") * f64::INFINITY, "x").to_string().contains("no such number"));
}

#[test]
fn the_stock_dashboards_can_all_be_shown() {
    let lines = saved_objects(&crate::dashboard::stock::all()).unwrap();
    assert!(lines.len() < 500_000, "{} bytes go into a ConfigMap", lines.len());
    let dashboards = lines.lines().filter(|line| line.contains(r#""type":"dashboard""#)).count();
    assert_eq!(dashboards, crate::dashboard::stock::all().len());
}
