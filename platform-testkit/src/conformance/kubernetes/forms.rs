//! Objects as tables and as metadata alone.

use super::{check::checks, expect::*, scope::Scope};
use crate::conformance::{Outcome, ensure, ensure_eq};
use serde_json::{Value, json};

checks! {
    "a list of pods is a table with kubectl's columns" => pods,
    "a table of deployments has the cells of its objects" => deployments,
    "a table of one object has one row" => one,
    "a table's rows have metadata by default" => row_metadata,
    "a table's rows have objects or nothing where that is asked for" => row_objects,
    "a table comes in pages" => pages,
    "a list can be of metadata alone" => metadata_list,
    "an object can be metadata alone" => metadata,
    "the first form that the server has is taken" => preference,
    "a table of services has addresses and ports" => services,
}

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

fn columns(table: &Value) -> Vec<(String, i64)> {
    let columns = table["columnDefinitions"].as_array().cloned().unwrap_or_default();
    let pair = |one: &Value| {
        (one["name"].as_str().unwrap_or_default().to_owned(), one["priority"].as_i64().unwrap_or(0))
    };
    columns.iter().map(pair).collect()
}

fn main_columns(table: &Value, wanted: &[&str]) -> Outcome {
    let found: Vec<String> =
        columns(table).into_iter().filter(|(_, priority)| *priority == 0).map(|(name, _)| name).collect();
    ensure(found == wanted, || format!("the columns are {found:?}, must be {wanted:?}"))
}

async fn pods(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    scope.create(&pod("a")).await?;
    let answer = scope.get(scope.all("v1", "pods")).header("accept", TABLE).answers_ok().await?;
    let table = answer.body;
    equal_all(&table, [("/kind", json!("Table")), ("/apiVersion", json!("meta.k8s.io/v1"))])?;
    main_columns(&table, &["Name", "Ready", "Status", "Restarts", "Age"])?;
    let wide: Vec<String> =
        columns(&table).into_iter().filter(|(_, priority)| *priority == 1).map(|(name, _)| name).collect();
    ensure_eq(
        &wide,
        &["IP", "Node", "Nominated Node", "Readiness Gates"].map(str::to_owned).to_vec(),
        "wide columns",
    )?;
    let row = &table["rows"][0];
    equal_all(row, [("/cells/0", json!("a")), ("/cells/1", json!("0/1")), ("/cells/2", json!("Pending"))])
}

async fn deployments(scope: &Scope<'_>) -> Outcome {
    scope.create(&deployment("a")).await?;
    let table = scope.get(scope.all("apps/v1", "deployments")).header("accept", TABLE).ok().await?;
    main_columns(&table, &["Name", "Ready", "Up-to-date", "Available", "Age"])?;
    let row = &table["rows"][0];
    equal_all(
        row,
        [
            ("/cells/0", json!("a")),
            ("/cells/1", json!("0/0")),
            ("/cells/5", json!("main")),
            ("/cells/6", json!("registry.example.com/main:1.0")),
            ("/cells/7", json!("app=a")),
        ],
    )
}

async fn one(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({"x": "1", "y": "2"}))).await?;
    let table = scope.get(scope.map("a")).header("accept", TABLE).ok().await?;
    main_columns(&table, &["Name", "Data", "Age"])?;
    equal_all(&table, [("/rows/0/cells/0", json!("a")), ("/rows/0/cells/1", json!(2))])?;
    absent(&table, "/rows/1")
}

async fn row_metadata(scope: &Scope<'_>) -> Outcome {
    let made = scope.create(&config_map("a", json!({"x": "1"}))).await?;
    let table = scope.get(scope.map("a")).header("accept", TABLE).ok().await?;
    equal_all(
        &table["rows"][0]["object"],
        [
            ("/kind", json!("PartialObjectMetadata")),
            ("/apiVersion", json!("meta.k8s.io/v1")),
            ("/metadata/uid", made["metadata"]["uid"].clone()),
            ("/data", Value::Null),
        ],
    )
}

async fn row_objects(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({"x": "1"}))).await?;
    let request = scope.get(scope.map("a")).header("accept", TABLE);
    let whole = request.clone().query("includeObject", "Object").ok().await?;
    equal(&whole, "/rows/0/object/data", json!({"x": "1"}))?;
    let none = request.query("includeObject", "None").ok().await?;
    absent(&none, "/rows/0/object/metadata")
}

async fn pages(scope: &Scope<'_>) -> Outcome {
    for name in ["a", "b", "c"] {
        scope.create(&labelled(name, json!({"suite": "x"}))).await?;
    }
    let request = scope.get(scope.all("v1", "configmaps")).header("accept", TABLE).query("limit", 2);
    let request = request.query("labelSelector", "suite");
    let first = request.clone().ok().await?;
    ensure_eq(&first["rows"].as_array().map(Vec::len), &Some(2), "the rows of the first page")?;
    let second = request.query("continue", text(&first, "/metadata/continue")?).ok().await?;
    equal(&second, "/rows/0/cells/0", json!("c"))
}

async fn metadata_list(scope: &Scope<'_>) -> Outcome {
    scope.create(&labelled("a", json!({"suite": "x"}))).await?;
    let accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let request = scope.get(scope.all("v1", "configmaps")).header("accept", accept);
    let list = request.query("labelSelector", "suite").ok().await?;
    equal_all(
        &list,
        [
            ("/kind", json!("PartialObjectMetadataList")),
            ("/apiVersion", json!("meta.k8s.io/v1")),
            ("/items/0/kind", json!("PartialObjectMetadata")),
            ("/items/0/metadata/labels", json!({"suite": "x"})),
        ],
    )
}

async fn metadata(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({"x": "1"}))).await?;
    let accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let object = scope.get(scope.map("a")).header("accept", accept).ok().await?;
    equal_all(&object, [("/kind", json!("PartialObjectMetadata")), ("/metadata/name", json!("a"))])?;
    absent(&object, "/data")
}

async fn preference(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({"x": "1"}))).await?;
    let accept = "application/json;as=Table;v=v9;g=meta.k8s.io, text/html, application/json;as=Table;v=v1;g=meta.k8s.io, application/json";
    let object = scope.get(scope.map("a")).header("accept", accept).ok().await?;
    equal(&object, "/kind", json!("Table"))
}

async fn services(scope: &Scope<'_>) -> Outcome {
    let ports = json!([{"port": 80, "name": "a"}, {"port": 53, "protocol": "UDP", "name": "b"}]);
    let made = scope.create(&service("a", ports)).await?;
    let table = scope.get(scope.at("v1", "services", "a")).header("accept", TABLE).ok().await?;
    main_columns(&table, &["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"])?;
    let cells = table["rows"][0]["cells"].as_array().cloned().unwrap_or_default();
    let wanted = vec![
        json!("a"),
        json!("ClusterIP"),
        made["spec"]["clusterIP"].clone(),
        json!("<none>"),
        json!("80/TCP,53/UDP"),
    ];
    ensure_eq(&cells.iter().take(5).cloned().collect::<Vec<_>>(), &wanted, "the cells")
}
