//! Events of both groups.

use super::{
    check::checks,
    expect::*,
    scope::{Scope, eventually},
};
use crate::conformance::{Outcome, ensure};
use serde_json::{Value, json};

checks! {
    "events are selected by what they are about" => selected,
    "an event of the core group is seen in events.k8s.io" => core_to_new,
    "an event of events.k8s.io is seen in the core group" => new_to_core,
    "an event must be about an object of its namespace" => namespace,
    "a deployment's scaling is told by an event" => told,
    "a table of events has kubectl's columns" => table,
}

fn event(scope: &Scope<'_>, name: &str, about: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": about, "namespace": scope.name},
        "reason": "Tried", "message": "it was tried", "type": "Warning", "count": 3,
        "source": {"component": "conformance"},
        "firstTimestamp": "2024-01-01T00:00:00Z", "lastTimestamp": "2024-01-01T00:01:00Z",
    })
}

async fn selected(scope: &Scope<'_>) -> Outcome {
    scope.create(&event(scope, "a", "one")).await?;
    scope.create(&event(scope, "b", "two")).await?;
    for (selector, wanted) in [
        ("involvedObject.name=two", vec!["b"]),
        ("involvedObject.kind=Pod,reason=Tried,type=Warning", vec!["a", "b"]),
        ("involvedObject.kind=Node", vec![]),
        ("source=conformance,involvedObject.name=one", vec!["a"]),
    ] {
        let list = scope.get(scope.all("v1", "events")).query("fieldSelector", selector).ok().await?;
        lists(&list, &wanted).map_err(|why| format!("{selector}: {why}"))?;
    }
    Ok(())
}

async fn core_to_new(scope: &Scope<'_>) -> Outcome {
    scope.create(&event(scope, "a", "one")).await?;
    let seen = scope.get(scope.at("events.k8s.io/v1", "events", "a")).ok().await?;
    equal_all(
        &seen,
        [
            ("/apiVersion", json!("events.k8s.io/v1")),
            ("/regarding/name", json!("one")),
            ("/note", json!("it was tried")),
            ("/deprecatedCount", json!(3)),
            ("/deprecatedSource/component", json!("conformance")),
        ],
    )
}

async fn new_to_core(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "a"},
        "regarding": {"apiVersion": "v1", "kind": "Pod", "name": "one", "namespace": scope.name},
        "reason": "Tried", "note": "it was tried", "type": "Normal", "action": "Trying",
        "eventTime": "2024-01-01T00:00:00.000000Z", "reportingController": "example.com/conformance",
        "reportingInstance": "conformance-1",
    });
    scope.create(&object).await?;
    let seen = scope.get(scope.at("v1", "events", "a")).ok().await?;
    equal_all(
        &seen,
        [
            ("/apiVersion", json!("v1")),
            ("/involvedObject/name", json!("one")),
            ("/message", json!("it was tried")),
            ("/reportingComponent", json!("example.com/conformance")),
        ],
    )
}

async fn namespace(scope: &Scope<'_>) -> Outcome {
    let mut object = event(scope, "a", "one");
    object["involvedObject"]["namespace"] = json!("default");
    let status = scope.post(scope.all("v1", "events"), &object).refused(422, "Invalid").await?;
    blames(&status, "involvedObject.namespace", "FieldValueInvalid")
}

async fn told(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    let mut object = deployment("a");
    object["spec"]["replicas"] = json!(1);
    object["spec"]["template"]["spec"]["schedulerName"] = json!("conformance");
    scope.create(&object).await?;
    let events = scope.all("v1", "events");
    eventually("the scaling is told", || async {
        let request =
            scope.get(&events).query("fieldSelector", "involvedObject.name=a,involvedObject.kind=Deployment");
        let list = request.ok().await?;
        let events = list["items"].as_array().cloned().unwrap_or_default();
        Ok(events.iter().any(|event| {
            let message = event["message"].as_str().unwrap_or_default();
            event["reason"] == "ScalingReplicaSet" && message.starts_with("Scaled up replica set a-")
        }))
    })
    .await
}

async fn table(scope: &Scope<'_>) -> Outcome {
    scope.create(&event(scope, "a", "one")).await?;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = scope.get(scope.at("v1", "events", "a")).header("accept", accept).ok().await?;
    let columns = table["columnDefinitions"].as_array().cloned().unwrap_or_default();
    let names: Vec<&Value> = columns.iter().take(5).map(|one| &one["name"]).collect();
    ensure(json!(names) == json!(["Last Seen", "Type", "Reason", "Object", "Subobject"]), || {
        format!("{names:?}")
    })?;
    equal_all(
        &table["rows"][0],
        [("/cells/1", json!("Warning")), ("/cells/2", json!("Tried")), ("/cells/3", json!("pod/one"))],
    )
}
