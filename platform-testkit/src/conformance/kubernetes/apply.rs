//! Server-side apply: who owns which field.

use super::{check::checks, expect::*, scope::Scope};
use crate::conformance::{Outcome, ensure, ensure_eq};
use serde_json::{Value, json};

checks! {
    "an apply creates what is not there and owns its fields" => creates,
    "an apply that changes nothing keeps the version" => nothing,
    "another manager's field is a conflict that names field and manager" => conflict,
    "the same value is no conflict and is owned by both" => shared,
    "force takes a field over" => force,
    "a field that left the manifest is removed" => removed,
    "a field that left one manifest stays while another has it" => removed_and_shared,
    "a field that left the manifest after an update by another stays" => removed_and_updated,
    "a conflict names a manager that updated" => conflict_with_update,
    "an update's fields are entered under its manager" => update_entry,
    "the manager of a request without one is its user agent" => user_agent,
    "an apply needs a field manager" => needs_manager,
    "force is for applies alone" => force_elsewhere,
    "a field manager of more than 128 bytes is refused" => long_manager,
    "a manifest with managedFields is refused" => managed_fields,
    "managedFields can be cleared" => cleared,
    "an apply of an old version is a conflict" => old_version,
    "an apply in YAML is taken" => yaml,
    "an apply to the status owns the status alone" => status,
    "an apply of the object leaves its status alone" => status_ignored,
    "scaling takes the replicas from who applied them" => scaled,
    "an apply of a name that differs from the path is refused" => other_name,
    "an apply of what cannot be read as its type is refused" => untyped,
    "an apply with an invalid value is refused with its field" => invalid,
    "null in a manifest removes nothing of others" => null,
}

async fn creates(scope: &Scope<'_>) -> Outcome {
    let map = config_map("a", json!({"key": "value"}));
    let answer = scope.apply(scope.map("a"), "one", &map).answers_ok().await?;
    ensure_eq(&answer.code, &201, "the code")?;
    let entry = entry(&answer.body, "one", "Apply").ok_or("no entry of the manager")?;
    equal_all(
        entry,
        [
            ("/apiVersion", json!("v1")),
            ("/fieldsType", json!("FieldsV1")),
            ("/fieldsV1", json!({"f:data": {"f:key": {}}})),
        ],
    )?;
    text(entry, "/time").map(drop)
}

async fn nothing(scope: &Scope<'_>) -> Outcome {
    let object = deployment("a");
    scope.apply(scope.deployment("a"), "one", &object).ok().await?;
    // The controller may write its status in between.
    for attempt in 0..10 {
        let before = scope.get(scope.deployment("a")).ok().await?;
        let answer = scope.apply(scope.deployment("a"), "one", &object).answers_ok().await?;
        ensure_eq(&answer.code, &200, "the code")?;
        if same_version(&before, &answer.body).is_ok() {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100 * attempt)).await;
    }
    Err("each apply makes a new version".to_owned())
}

async fn conflict(scope: &Scope<'_>) -> Outcome {
    scope.apply(scope.map("a"), "one", &config_map("a", json!({"key": "1", "own": "1"}))).ok().await?;
    let other = config_map("a", json!({"key": "2"}));
    let status = scope.apply(scope.map("a"), "two", &other).refused(409, "Conflict").await?;
    equal(&status, "/message", json!("Apply failed with 1 conflict: conflict with \"one\": .data.key"))?;
    let cause =
        json!({"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.key"});
    equal(&status, "/details/causes", json!([cause]))
}

async fn shared(scope: &Scope<'_>) -> Outcome {
    let map = config_map("a", json!({"key": "1"}));
    scope.apply(scope.map("a"), "one", &map).ok().await?;
    let both = scope.apply(scope.map("a"), "two", &map).ok().await?;
    let owned = ["one", "two"].map(|manager| owns(&both, manager, "/f:data/f:key"));
    ensure_eq(&owned, &[true, true], "who owns it")
}

async fn force(scope: &Scope<'_>) -> Outcome {
    scope.apply(scope.map("a"), "one", &config_map("a", json!({"key": "1", "own": "1"}))).ok().await?;
    let other = config_map("a", json!({"key": "2"}));
    let taken = scope.apply(scope.map("a"), "two", &other).query("force", "true").ok().await?;
    equal(&taken, "/data", json!({"key": "2", "own": "1"}))?;
    let owned = ["one", "two"].map(|manager| owns(&taken, manager, "/f:data/f:key"));
    ensure_eq(&owned, &[false, true], "who owns it")
}

async fn removed(scope: &Scope<'_>) -> Outcome {
    scope.apply(scope.map("a"), "one", &config_map("a", json!({"a": "1", "b": "2"}))).ok().await?;
    let less = scope.apply(scope.map("a"), "one", &config_map("a", json!({"a": "1"}))).ok().await?;
    equal(&less, "/data", json!({"a": "1"}))
}

async fn removed_and_shared(scope: &Scope<'_>) -> Outcome {
    let map = config_map("a", json!({"a": "1", "b": "2"}));
    scope.apply(scope.map("a"), "one", &map).ok().await?;
    scope.apply(scope.map("a"), "two", &map).ok().await?;
    let less = scope.apply(scope.map("a"), "one", &config_map("a", json!({"a": "1"}))).ok().await?;
    equal(&less, "/data", json!({"a": "1", "b": "2"}))?;
    ensure(!owns(&less, "one", "/f:data/f:b"), || "it is still owned".to_owned())
}

async fn removed_and_updated(scope: &Scope<'_>) -> Outcome {
    scope.apply(scope.map("a"), "one", &config_map("a", json!({"a": "1", "b": "2"}))).ok().await?;
    let patch = json!({"data": {"b": "3"}});
    scope.merge(scope.map("a"), &patch).query("fieldManager", "editor").ok().await?;
    let less = scope.apply(scope.map("a"), "one", &config_map("a", json!({"a": "1"}))).ok().await?;
    equal(&less, "/data", json!({"a": "1", "b": "3"}))
}

async fn conflict_with_update(scope: &Scope<'_>) -> Outcome {
    scope
        .post(scope.all("v1", "configmaps"), &config_map("a", json!({"a": "1"})))
        .query("fieldManager", "editor")
        .ok()
        .await?;
    let map = config_map("a", json!({"a": "2"}));
    let status = scope.apply(scope.map("a"), "one", &map).refused(409, "Conflict").await?;
    equal(
        &status,
        "/message",
        json!("Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.a"),
    )?;
    blames(&status, ".data.a", "FieldManagerConflict")
}

async fn update_entry(scope: &Scope<'_>) -> Outcome {
    scope.apply(scope.map("a"), "one", &config_map("a", json!({"a": "1"}))).ok().await?;
    let patch = json!({"data": {"a": "2", "b": "2"}, "metadata": {"labels": {"x": "y"}}});
    let edited = scope.merge(scope.map("a"), &patch).query("fieldManager", "editor").ok().await?;
    let entry = entry(&edited, "editor", "Update").ok_or("no entry of the manager")?;
    let fields = json!({
        "f:data": {"f:a": {}, "f:b": {}}, "f:metadata": {"f:labels": {".": {}, "f:x": {}}},
    });
    equal(entry, "/fieldsV1", fields)?;
    ensure(!owns(&edited, "one", "/f:data/f:a"), || "the former owner has it still".to_owned())
}

async fn user_agent(scope: &Scope<'_>) -> Outcome {
    let maps = scope.all("v1", "configmaps");
    let request =
        scope.post(maps, &config_map("a", json!({"a": "1"}))).header("user-agent", "gardener/1.0 (linux)");
    let made = request.ok().await?;
    ensure(entry(&made, "gardener", "Update").is_some(), || made["metadata"]["managedFields"].to_string())
}

async fn needs_manager(scope: &Scope<'_>) -> Outcome {
    let map = config_map("a", json!({}));
    let request = scope.patch(scope.map("a"), "application/apply-patch+yaml", &map);
    let status = request.refused(422, "Invalid").await?;
    blames(&status, "fieldManager", "FieldValueRequired")?;
    says(&status, "is required for apply patch")
}

async fn force_elsewhere(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({}))).await?;
    let request = scope.merge(scope.map("a"), &json!({"data": {"a": "1"}})).query("force", "true");
    let status = request.refused(422, "Invalid").await?;
    blames(&status, "force", "FieldValueForbidden")?;
    says(&status, "may not be specified for non-apply patch")
}

async fn long_manager(scope: &Scope<'_>) -> Outcome {
    let map = config_map("a", json!({}));
    let status = scope.apply(scope.map("a"), &"x".repeat(129), &map).refused(422, "Invalid").await?;
    blames(&status, "fieldManager", "FieldValueTooLong")
}

async fn managed_fields(scope: &Scope<'_>) -> Outcome {
    let mut map = config_map("a", json!({}));
    map["metadata"]["managedFields"] = json!([{"manager": "x", "operation": "Apply", "apiVersion": "v1"}]);
    let status = scope.apply(scope.map("a"), "one", &map).refused(400, "BadRequest").await?;
    says(&status, "metadata.managedFields must be nil")
}

async fn cleared(scope: &Scope<'_>) -> Outcome {
    scope.apply(scope.map("a"), "one", &config_map("a", json!({"a": "1"}))).ok().await?;
    let patch = json!({"metadata": {"managedFields": [{}]}});
    let cleared = scope.merge(scope.map("a"), &patch).ok().await?;
    ensure(entry(&cleared, "one", "Apply").is_none(), || cleared["metadata"]["managedFields"].to_string())
}

async fn old_version(scope: &Scope<'_>) -> Outcome {
    let old = scope.apply(scope.map("a"), "one", &config_map("a", json!({"a": "1"}))).ok().await?;
    scope.apply(scope.map("a"), "one", &config_map("a", json!({"a": "2"}))).ok().await?;
    let mut map = config_map("a", json!({"a": "3"}));
    map["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
    let status = scope.apply(scope.map("a"), "one", &map).refused(409, "Conflict").await?;
    says(&status, "the object has been modified")
}

async fn yaml(scope: &Scope<'_>) -> Outcome {
    let manifest = "# a manifest\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  text: |\n    two\n    lines\n";
    let request = scope.request(http::Method::PATCH, scope.map("a")).query("fieldManager", "one");
    let made = request.body("application/apply-patch+yaml", manifest).ok().await?;
    equal(&made, "/data/text", json!("two\nlines\n"))
}

/// A service's status has nobody else who writes it.
fn conditions(kind: &str) -> Value {
    let condition = json!({
        "type": kind, "status": "True", "reason": "Tried", "message": "", "lastTransitionTime": "2024-01-01T00:00:00Z",
    });
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "status": {"conditions": [condition]},
    })
}

async fn status(scope: &Scope<'_>) -> Outcome {
    scope.create(&service("a", json!([{"port": 80}]))).await?;
    let path = format!("{}/status", scope.at("v1", "services", "a"));
    let applied = scope.apply(&path, "one", &conditions("Tried")).ok().await?;
    equal(&applied, "/status/conditions/0/type", json!("Tried"))?;
    let entry = entry(&applied, "one", "Apply").ok_or("no entry of the manager")?;
    equal(entry, "/subresource", json!("status"))?;
    let fields = entry["fieldsV1"].as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
    ensure_eq(&fields, &Some(vec!["f:status".to_owned()]), "the fields")
}

async fn status_ignored(scope: &Scope<'_>) -> Outcome {
    let mut object = service("a", json!([{"port": 80}]));
    object["status"] = conditions("Tried")["status"].clone();
    let applied = scope.apply(scope.at("v1", "services", "a"), "one", &object).ok().await?;
    absent(&applied, "/status/conditions")?;
    ensure(!owns(&applied, "one", "/f:status"), || "the status is owned".to_owned())
}

async fn scaled(scope: &Scope<'_>) -> Outcome {
    scope.apply(scope.deployment("a"), "one", &deployment("a")).ok().await?;
    let scale = format!("{}/scale", scope.deployment("a"));
    // A paused deployment with replicas would make pods; none is wanted, so the second value is the first again.
    scope
        .merge(scope.deployment("a"), &json!({"spec": {"paused": true}}))
        .query("fieldManager", "pauser")
        .ok()
        .await?;
    let patch = json!({"spec": {"replicas": 1}});
    scope.merge(&scale, &patch).query("fieldManager", "scaler").ok().await?;
    let status = scope.apply(scope.deployment("a"), "one", &deployment("a")).refused(409, "Conflict").await?;
    blames(&status, ".spec.replicas", "FieldManagerConflict")?;
    says(&status, "conflict with \"scaler\" with subresource \"scale\" using apps/v1: .spec.replicas")
}

async fn other_name(scope: &Scope<'_>) -> Outcome {
    let map = config_map("b", json!({}));
    let status = scope.apply(scope.map("a"), "one", &map).refused(400, "BadRequest").await?;
    says(&status, "does not match the name on the URL")
}

async fn untyped(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["spec"]["unknownField"] = json!(1);
    let status = scope.apply(scope.deployment("a"), "one", &object).refused(500, "").await?;
    says(&status, ".spec.unknownField: field not declared in schema")
}

async fn invalid(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["spec"]["replicas"] = json!(-1);
    let status = scope.apply(scope.deployment("a"), "one", &object).refused(422, "Invalid").await?;
    blames(&status, "spec.replicas", "FieldValueInvalid")
}

async fn null(scope: &Scope<'_>) -> Outcome {
    scope.apply(scope.map("a"), "one", &config_map("a", json!({"a": "1"}))).ok().await?;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": null}, "data": null});
    let applied = scope.apply(scope.map("a"), "two", &map).query("force", "true").ok().await?;
    equal(&applied, "/data", json!({"a": "1"}))
}
