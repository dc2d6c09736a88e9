use super::super::validate::arbitrary_json;
use super::*;
use proptest::prelude::*;

const THEN: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-01-02T00:00:00Z";

fn deployment() -> Schema {
    Schema::builtin("apps", "v1", "Deployment")
}

fn context<'a>(schema: &'a Schema, manager: &'a str, force: bool) -> ApplyContext<'a> {
    ApplyContext { schema, manager, force, subresource: None, api_version: "apps/v1", now: NOW }
}

fn applied(schema: &Schema, manager: &str, live: Option<&Value>, patch: &Value) -> Value {
    apply(&context(schema, manager, false), live, patch).unwrap()
}

fn forced(schema: &Schema, manager: &str, live: &Value, patch: &Value) -> Value {
    apply(&context(schema, manager, true), Some(live), patch).unwrap()
}

fn conflicts(schema: &Schema, manager: &str, live: &Value, patch: &Value) -> Vec<String> {
    match apply(&context(schema, manager, false), Some(live), patch) {
        Err(ApplyError::Conflict(conflicts)) => {
            conflicts.into_iter().map(|conflict| conflict.field).collect()
        }
        other => panic!("expected a conflict, got {other:?}"),
    }
}

fn fields_of<'a>(object: &'a Value, manager: &str) -> &'a Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    &entries.iter().find(|entry| entry["manager"] == manager).unwrap()["fieldsV1"]
}

fn web(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 80}]}]}}}
    })
}

#[test]
fn an_applied_object_is_owned_field_by_field() {
    let live = applied(&deployment(), "me", None, &web("web:1"));
    assert_eq!(
        live["metadata"]["managedFields"],
        json!([{
            "manager": "me", "operation": "Apply", "apiVersion": "apps/v1", "time": NOW, "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {
                    "f:replicas": {},
                    "f:selector": {},
                    "f:template": {
                        "f:metadata": {"f:labels": {"f:app": {}}},
                        "f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {
                            ".": {}, "f:image": {}, "f:name": {},
                            "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}
                        }}}
                    }
                }
            }
        }])
    );
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let schema = deployment();
    let live = applied(&schema, "me", None, &web("web:1"));
    let later = ApplyContext { now: "2027-01-01T00:00:00Z", ..context(&schema, "me", false) };
    assert_eq!(apply(&later, Some(&live), &web("web:1")).unwrap(), live);
}

#[test]
fn what_is_no_longer_applied_goes_away() {
    let schema = deployment();
    let mut wanted = web("web:1");
    wanted["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "1"}]);
    wanted["metadata"]["labels"]["extra"] = json!("x");
    let live = applied(&schema, "me", None, &wanted);
    let live = applied(&schema, "me", Some(&live), &web("web:1"));
    assert_eq!(live["metadata"]["labels"], json!({"app": "web"}));
    assert_eq!(live["spec"]["template"]["spec"]["containers"][0].get("env"), None);
}

#[test]
fn defaults_go_with_the_struct_that_they_fill() {
    let schema = deployment();
    let mut wanted = web("web:1");
    wanted["spec"]["template"]["spec"]["containers"][0]["livenessProbe"] = json!({"tcpSocket": {"port": 80}});
    let mut live = applied(&schema, "me", None, &wanted);
    live["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["periodSeconds"] = json!(10);
    live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    let live = applied(&schema, "me", Some(&live), &web("web:1"));
    let container = &live["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container.get("livenessProbe"), None);
    assert_eq!(container["imagePullPolicy"], "Always");
}

#[test]
fn a_list_item_that_another_applies_too_stays() {
    let schema = deployment();
    let live = applied(&schema, "me", None, &web("web:1"));
    let sidecar = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "sidecar", "image": image}]}}}});
    let live = applied(&schema, "mesh", Some(&live), &sidecar("mesh:1"));
    let live = applied(&schema, "me", Some(&live), &web("web:2"));
    let names: Vec<&Value> = live["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["web", "sidecar"]);
    let live = applied(&schema, "mesh", Some(&live), &json!({}));
    assert_eq!(live["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
}

#[test]
fn another_value_is_a_conflict_and_the_same_value_is_shared() {
    let schema = deployment();
    let live = applied(&schema, "me", None, &web("web:1"));
    assert_eq!(
        conflicts(&schema, "you", &live, &web("web:2")),
        [".spec.template.spec.containers[name=\"web\"].image"]
    );
    let live = applied(&schema, "you", Some(&live), &web("web:1"));
    assert_eq!(fields_of(&live, "you"), fields_of(&live, "me"));
    let live = applied(&schema, "me", Some(&live), &json!({"metadata": {"name": "web"}}));
    assert_eq!(live["spec"]["replicas"], 1, "what is shared stays when one owner leaves");
    assert!(
        live["metadata"]["managedFields"].as_array().unwrap().iter().all(|entry| entry["manager"] == "you")
    );
}

#[test]
fn conflicts_read_as_those_of_the_api_server() {
    let schema = deployment();
    let mut live = json!({"metadata": {"name": "web"}, "spec": {"replicas": 1}});
    track_update(&ApplyContext { now: THEN, ..context(&schema, "kubectl-edit", false) }, None, &mut live);
    let error =
        apply(&context(&schema, "me", false), Some(&live), &json!({"spec": {"replicas": 2}})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using apps/v1: .spec.replicas"
    );
    let live = applied(&schema, "a", None, &json!({"spec": {"replicas": 1, "paused": true}}));
    let error =
        apply(&context(&schema, "b", false), Some(&live), &json!({"spec": {"replicas": 2, "paused": false}}));
    assert_eq!(
        error.unwrap_err().to_string(),
        "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.paused\n- .spec.replicas"
    );
}

#[test]
fn force_takes_the_field_over() {
    let schema = deployment();
    let live = applied(&schema, "me", None, &web("web:1"));
    let live = forced(&schema, "you", &live, &json!({"spec": {"replicas": 5}}));
    assert_eq!(live["spec"]["replicas"], 5);
    assert!(fields_of(&live, "me")["f:spec"].get("f:replicas").is_none());
    assert_eq!(conflicts(&schema, "me", &live, &web("web:1")), [".spec.replicas"]);
}

#[test]
fn an_update_takes_what_it_changes_and_nobody_keeps_what_it_removes() {
    let schema = deployment();
    let live = applied(&schema, "me", None, &web("web:1"));
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = json!(3);
    scaled["metadata"]["labels"] = json!({"extra": "x"});
    track_update(&context(&schema, "kubectl-edit", false), Some(&live), &mut scaled);
    assert_eq!(
        *fields_of(&scaled, "kubectl-edit"),
        json!({"f:metadata": {"f:labels": {"f:extra": {}}}, "f:spec": {"f:replicas": {}}})
    );
    assert!(fields_of(&scaled, "me").get("f:metadata").is_none());
    assert!(fields_of(&scaled, "me")["f:spec"].get("f:replicas").is_none());
}

#[test]
fn an_update_without_changes_keeps_the_books_as_they_are() {
    let schema = deployment();
    let live = applied(&schema, "me", None, &web("web:1"));
    let mut same = live.clone();
    same["metadata"].as_object_mut().unwrap().remove("managedFields");
    track_update(&context(&schema, "kubectl-edit", false), Some(&live), &mut same);
    assert_eq!(same, live);
}

#[test]
fn owners_are_forgotten_on_request() {
    let schema = deployment();
    let live = applied(&schema, "me", None, &web("web:1"));
    for (entries, kept) in [(json!([{}]), false), (json!([]), true)] {
        let mut new = live.clone();
        new["metadata"]["managedFields"] = entries;
        track_update(&context(&schema, "you", false), Some(&live), &mut new);
        assert_eq!(new["metadata"].get("managedFields").is_some(), kept);
    }
}

#[test]
fn an_object_that_nobody_owns_belonged_to_someone_before_the_first_apply() {
    let schema = deployment();
    let live = json!({"metadata": {"name": "web"}, "spec": {"replicas": 1}});
    match apply(&context(&schema, "me", false), Some(&live), &json!({"spec": {"replicas": 2}})) {
        Err(ApplyError::Conflict(conflicts)) => assert_eq!(conflicts[0].manager, "before-first-apply"),
        other => panic!("expected a conflict, got {other:?}"),
    }
}

#[test]
fn a_subresource_has_an_entry_of_its_own() {
    let schema = deployment();
    let live = applied(&schema, "me", None, &web("web:1"));
    let status = ApplyContext { subresource: Some("status"), ..context(&schema, "me", false) };
    let live = apply(&status, Some(&live), &json!({"status": {"replicas": 1}})).unwrap();
    assert_eq!(live["spec"]["replicas"], 1);
    let entries = live["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().any(|entry| entry["subresource"] == "status"));
}

#[test]
fn lists_without_their_keys_or_with_one_twice_are_refused() {
    let schema = deployment();
    for containers in [json!([{"image": "a"}]), json!([{"name": "a"}, {"name": "a"}])] {
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        assert!(matches!(apply(&context(&schema, "me", false), None, &patch), Err(ApplyError::Untyped(_))));
    }
    let patch = json!({"metadata": {"managedFields": [{"manager": "x"}]}});
    assert!(matches!(apply(&context(&schema, "me", false), None, &patch), Err(ApplyError::Invalid(_))));
}

#[test]
fn a_custom_resource_merges_by_its_own_schema() {
    let schema = Schema::structural(
        &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "steps": {"type": "array", "items": {"type": "string"}},
            "limits": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}}
        }}}}),
    );
    let live = applied(&schema, "a", None, &json!({"spec": {"tags": ["x"], "steps": ["1"]}}));
    let live = applied(&schema, "b", Some(&live), &json!({"spec": {"tags": ["y"], "limits": {"cpu": "1"}}}));
    assert_eq!(live["spec"]["tags"], json!(["x", "y"]));
    assert_eq!(conflicts(&schema, "b", &live, &json!({"spec": {"steps": ["2"]}})), [".spec.steps"]);
    assert_eq!(*fields_of(&live, "b"), json!({"f:spec": {"f:limits": {}, "f:tags": {"v:\"y\"": {}}}}));
    let live = applied(&schema, "a", Some(&live), &json!({"spec": {"steps": ["1"]}}));
    assert_eq!(live["spec"]["tags"], json!(["y"]));
}

fn spec() -> impl Strategy<Value = Value> {
    let container = ("[a-c]", prop::option::of("[a-z]{1,3}"), prop::collection::btree_set(1_u16..4, 0..3))
        .prop_map(|(name, image, ports)| {
            let ports: Vec<Value> = ports.into_iter().map(|port| json!({"containerPort": port})).collect();
            let mut container = json!({"name": name, "ports": ports});
            if let Some(image) = image {
                container["image"] = json!(image);
            }
            (name, container)
        });
    let labels = prop::collection::btree_map("[a-c]", "[a-z]{0,2}", 0..3);
    let finalizers = prop::collection::btree_set("[a-c]", 0..3);
    (prop::option::of(0..3), prop::collection::btree_map(0..3, container, 0..3), labels, finalizers).prop_map(
        |(replicas, containers, labels, finalizers)| {
            let mut names = std::collections::HashSet::new();
            let containers: Vec<Value> = containers
                .into_values()
                .filter(|(name, _)| names.insert(name.clone()))
                .map(|(_, container)| container)
                .collect();
            let mut object = json!({
                "metadata": {"name": "web", "labels": labels, "finalizers": finalizers},
                "spec": {"template": {"spec": {"containers": containers}}}
            });
            if let Some(replicas) = replicas {
                object["spec"]["replicas"] = json!(replicas);
            }
            object
        },
    )
}

/// What an object says: without the books, and without maps and lists that hold nothing.
fn content(object: &Value) -> Value {
    match object {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(name, _)| *name != "managedFields")
                .map(|(name, value)| (name.clone(), content(value)))
                .filter(|(_, value)| !fields::is_empty_object(value) && !fields::is_empty_list(value))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(content).collect()),
        other => other.clone(),
    }
}

fn unordered(object: Value) -> Value {
    match object {
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, unordered(value))).collect(),
        Value::Array(mut items) => {
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        other => other,
    }
}

#[test]
fn an_apply_that_changes_nothing_is_known_before_merging() {
    let schema = deployment();
    let me = context(&schema, "me", false);
    let live = applied(&schema, "me", None, &web("web:1"));
    assert!(changes_nothing(&me, &live, &web("web:1")));
    assert!(!changes_nothing(&me, &live, &web("web:2")));
    assert!(!changes_nothing(&context(&schema, "other", false), &live, &web("web:1")));
    assert!(!changes_nothing(&ApplyContext { api_version: "apps/v2", ..me }, &live, &web("web:1")));
    let mut less = web("web:1");
    less["spec"].as_object_mut().unwrap().remove("replicas");
    assert!(!changes_nothing(&context(&schema, "me", false), &live, &less));
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(before in spec(), wanted in spec()) {
        let schema = deployment();
        let live = applied(&schema, "other", None, &before);
        let once = forced(&schema, "me", &live, &wanted);
        let later = ApplyContext { now: "2030-01-01T00:00:00Z", ..context(&schema, "me", false) };
        prop_assert_eq!(apply(&later, Some(&once), &wanted).unwrap(), once);
    }

    #[test]
    fn what_changes_nothing_is_not_changed_by_applying(before in spec(), mine in spec(), wanted in spec()) {
        let schema = deployment();
        let live = forced(&schema, "me", &applied(&schema, "other", None, &before), &mine);
        let context = context(&schema, "me", false);
        if changes_nothing(&context, &live, &wanted) {
            prop_assert_eq!(apply(&context, Some(&live), &wanted).unwrap(), live);
        }
    }

    #[test]
    fn only_what_is_applied_last_remains(first in spec(), second in spec()) {
        let schema = deployment();
        let twice = applied(&schema, "me", Some(&applied(&schema, "me", None, &first)), &second);
        let once = applied(&schema, "me", None, &second);
        prop_assert_eq!(content(&twice), content(&once));
    }

    #[test]
    fn two_appliers_never_own_one_field_with_two_values(a in spec(), b in spec()) {
        let schema = deployment();
        let live = applied(&schema, "a", None, &a);
        let live = forced(&schema, "b", &live, &b);
        if let Ok(again) = apply(&context(&schema, "a", false), Some(&live), &a) {
            // Applying again may order named items anew: their order is nobody's.
            prop_assert_eq!(unordered(content(&again)), unordered(content(&live)));
        }
    }

    #[test]
    fn objects_of_any_shape_are_answered(live in arbitrary_json(), patch in arbitrary_json()) {
        for schema in [deployment(), Schema::untyped()] {
            let context = context(&schema, "me", true);
            if let Ok(mut object) = apply(&context, Some(&live), &patch) {
                track_update(&context, Some(&live), &mut object);
            }
            let mut object = patch.clone();
            track_update(&context, Some(&live), &mut object);
            track_update(&context, None, &mut object);
        }
    }
}
