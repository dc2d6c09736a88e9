//! Custom resource definitions and their objects.

use super::{
    check::checks,
    expect::*,
    scope::{Scope, eventually},
};
use crate::conformance::{Outcome, ensure};
use serde_json::{Value, json};

checks! {
    "a definition is established and discovered" => established,
    "a custom object has generation, uid and its own list kind" => objects,
    "fields that the schema does not know are pruned" => pruning,
    "fields that are to be preserved are not pruned" => preserved,
    "the schema's defaults are written" => defaults,
    "the schema validates" => validation,
    "rules in CEL validate" => rules,
    "transition rules in CEL compare with what was" => transitions,
    "unknown fields are refused where the client is strict" => strict,
    "the status is a subresource" => status,
    "the scale is a subresource" => scale,
    "printer columns make the table" => columns,
    "apply merges lists by the schema's keys" => list_maps,
    "apply merges sets and replaces atomic lists" => sets,
    "strategic patches are not for custom objects" => strategic,
    "every served version serves the same objects" => versions,
    "a version that is not served is not found" => unserved,
    "selectable fields select" => selectable,
    "a definition takes its objects along" => deleted,
    "a definition must be named by its plural and group" => name,
    "a definition needs a structural schema" => structural,
    "a definition with a rule that does not compile is refused" => broken_rule,
    "a cluster-wide kind lives outside of namespaces" => cluster_wide,
    "OpenAPI v3 has the schema of a custom kind" => openapi,
}

/// A kind of the check's own; its group is the scope's name.
pub(super) struct Widgets<'a> {
    scope: &'a Scope<'a>,
    pub(super) group: String,
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 0, "maximum": 10},
                    "color": {"type": "string", "enum": ["red", "green"], "default": "red"},
                    "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
                    "fixed": {"type": "string", "x-kubernetes-validations": [
                        {"rule": "self == oldSelf", "message": "fixed cannot be changed"}]},
                    "parts": {
                        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "required": ["name"], "properties": {
                            "name": {"type": "string"}, "count": {"type": "integer", "default": 1}}},
                    },
                    "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                    "steps": {"type": "array", "x-kubernetes-list-type": "atomic", "items": {"type": "string"}},
                    "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "limit": {"x-kubernetes-int-or-string": true},
                    "min": {"type": "integer"},
                    "max": {"type": "integer"},
                },
                "x-kubernetes-validations": [{
                    "rule": "!has(self.min) || !has(self.max) || self.min <= self.max",
                    "message": "min must be at most max", "fieldPath": ".min", "reason": "FieldValueForbidden",
                }],
            },
            "status": {"type": "object", "properties": {"size": {"type": "integer"}, "selector": {"type": "string"}}},
        },
    })
}

fn definition(group: &str) -> Value {
    let version = |name: &str, served: bool, storage: bool| {
        json!({
            "name": name, "served": served, "storage": storage, "schema": {"openAPIV3Schema": schema()},
            "subresources": {"status": {}, "scale": {
                "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size",
                "labelSelectorPath": ".status.selector",
            }},
            "additionalPrinterColumns": [
                {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
            ],
            "selectableFields": [{"jsonPath": ".spec.color"}],
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList", "shortNames": ["wi"]},
            "versions": [version("v1", true, true), version("v1beta1", true, false), version("v1alpha1", false, false)],
        },
    })
}

impl<'a> Widgets<'a> {
    pub(super) async fn define(scope: &'a Scope<'a>) -> Result<Self, String> {
        Self::define_as(scope, |_| {}).await
    }

    /// Defines the kind and waits until it is served.
    async fn define_as(scope: &'a Scope<'a>, change: impl FnOnce(&mut Value)) -> Result<Self, String> {
        let group = format!("{}.example.com", scope.name);
        let mut definition = definition(&group);
        change(&mut definition);
        scope.create_global(&definition).await?;
        let widgets = Self { scope, group };
        let path = widgets.definition();
        eventually("the definition is established", || async {
            let definition = scope.get(&path).ok().await?;
            let conditions = definition["status"]["conditions"].as_array().cloned().unwrap_or_default();
            Ok(conditions.iter().any(|one| one["type"] == "Established" && one["status"] == "True"))
        })
        .await?;
        let kinds = format!("/apis/{}/v1", widgets.group);
        let collection = if definition["spec"]["scope"] == "Cluster" {
            format!("{kinds}/widgets")
        } else {
            widgets.all("v1")
        };
        eventually("the kind is served", || async { Ok(scope.get(&collection).send().await?.code == 200) })
            .await?;
        Ok(widgets)
    }

    fn definition(&self) -> String {
        format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{}", self.group)
    }

    pub(super) fn all(&self, version: &str) -> String {
        self.scope.all(&format!("{}/{version}", self.group), "widgets")
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.all("v1"))
    }

    fn widget(&self, spec: Value) -> Value {
        json!({"apiVersion": format!("{}/v1", self.group), "kind": "Widget", "metadata": {"name": "a"}, "spec": spec})
    }

    async fn create(&self, spec: Value) -> Result<Value, String> {
        self.scope.post(self.all("v1"), &self.widget(spec)).ok().await
    }

    async fn refuses(&self, spec: Value, field: &str, reason: &str) -> Result<Value, String> {
        let request = self.scope.post(self.all("v1"), &self.widget(spec));
        let status = request.refused(422, "Invalid").await?;
        blames(&status, field, reason)?;
        Ok(status)
    }
}

async fn established(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    let definition = scope.get(widgets.definition()).ok().await?;
    equal(&definition, "/status/acceptedNames/plural", json!("widgets"))?;
    equal(&definition, "/status/storedVersions", json!(["v1"]))?;
    let path = format!("/apis/{}/v1", widgets.group);
    eventually("it is discovered", || async {
        let list = scope.get(&path).send().await?.body;
        let resources = list["resources"].as_array().cloned().unwrap_or_default();
        let found = |name: &str| resources.iter().find(|one| one["name"] == name);
        Ok(found("widgets").is_some_and(|one| one["kind"] == "Widget" && one["shortNames"] == json!(["wi"]))
            && found("widgets/status").is_some()
            && found("widgets/scale").is_some())
    })
    .await?;
    let group = scope.get(format!("/apis/{}", widgets.group)).ok().await?;
    equal(&group, "/preferredVersion/version", json!("v1"))
}

async fn objects(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    let made = widgets.create(json!({"size": 1})).await?;
    equal(&made, "/metadata/generation", json!(1))?;
    text(&made, "/metadata/uid")?;
    let changed = scope.merge(widgets.at("a"), &json!({"spec": {"size": 2}})).ok().await?;
    equal(&changed, "/metadata/generation", json!(2))?;
    let list = scope.get(widgets.all("v1")).ok().await?;
    equal_all(&list, [("/kind", json!("WidgetList")), ("/items/0/kind", json!("Widget"))])
}

async fn pruning(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    let answer =
        scope.post(widgets.all("v1"), &widgets.widget(json!({"size": 1, "unknown": 2}))).answers_ok().await?;
    absent(&answer.body, "/spec/unknown")?;
    let warnings = answer.warnings();
    ensure(warnings.iter().any(|one| one.contains("unknown field \\\"spec.unknown\\\"")), || {
        format!("{warnings:?}")
    })
}

async fn preserved(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    let made =
        widgets.create(json!({"size": 1, "extra": {"any": {"thing": [1, "two"]}}, "limit": "50%"})).await?;
    equal(&made, "/spec/extra", json!({"any": {"thing": [1, "two"]}}))?;
    equal(&made, "/spec/limit", json!("50%"))
}

async fn defaults(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    let made = widgets.create(json!({"size": 1, "parts": [{"name": "x"}]})).await?;
    equal_all(&made, [("/spec/color", json!("red")), ("/spec/parts", json!([{"name": "x", "count": 1}]))])
}

async fn validation(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    widgets.refuses(json!({}), "spec.size", "FieldValueRequired").await?;
    widgets.refuses(json!({"size": 11}), "spec.size", "FieldValueInvalid").await?;
    widgets.refuses(json!({"size": "1"}), "spec.size", "FieldValueTypeInvalid").await?;
    widgets.refuses(json!({"size": 1, "color": "blue"}), "spec.color", "FieldValueNotSupported").await?;
    widgets.refuses(json!({"size": 1, "name": "A"}), "spec.name", "FieldValueInvalid").await?;
    widgets.refuses(json!({"size": 1, "name": "abcdef"}), "spec.name", "FieldValueTooLong").await?;
    widgets.refuses(json!({"size": 1, "tags": ["x", "x"]}), "spec.tags[1]", "FieldValueDuplicate").await?;
    let parts = json!([{"name": "x"}, {"name": "x"}]);
    widgets
        .refuses(json!({"size": 1, "parts": parts}), "spec.parts[1]", "FieldValueDuplicate")
        .await
        .map(drop)
}

async fn rules(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    widgets.create(json!({"size": 1, "min": 1, "max": 2})).await?;
    let status = scope.merge(widgets.at("a"), &json!({"spec": {"max": 0}})).refused(422, "Invalid").await?;
    blames(&status, "spec.min", "FieldValueForbidden")?;
    says(&status, "min must be at most max")
}

async fn transitions(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    widgets.create(json!({"size": 1, "fixed": "x"})).await?;
    scope.merge(widgets.at("a"), &json!({"spec": {"size": 2}})).ok().await?;
    let status =
        scope.merge(widgets.at("a"), &json!({"spec": {"fixed": "y"}})).refused(422, "Invalid").await?;
    blames(&status, "spec.fixed", "FieldValueInvalid")?;
    says(&status, "fixed cannot be changed")
}

async fn strict(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    let request = scope.post(widgets.all("v1"), &widgets.widget(json!({"size": 1, "unknown": 2})));
    let status = request.query("fieldValidation", "Strict").refused(400, "BadRequest").await?;
    says(&status, "strict decoding error: unknown field \"spec.unknown\"")
}

async fn status(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    let mut widget = widgets.widget(json!({"size": 1}));
    widget["status"] = json!({"size": 7});
    let made = scope.post(widgets.all("v1"), &widget).ok().await?;
    absent(&made, "/status")?;
    let patch = json!({"spec": {"size": 9}, "status": {"size": 2}});
    let patched = scope.merge(format!("{}/status", widgets.at("a")), &patch).ok().await?;
    equal_all(
        &patched,
        [("/spec/size", json!(1)), ("/status/size", json!(2)), ("/metadata/generation", json!(1))],
    )?;
    let ignored = scope.merge(widgets.at("a"), &json!({"status": {"size": 3}})).ok().await?;
    equal(&ignored, "/status/size", json!(2))
}

async fn scale(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    widgets.create(json!({"size": 3})).await?;
    let patch = json!({"status": {"size": 2, "selector": "app=a"}});
    scope.merge(format!("{}/status", widgets.at("a")), &patch).ok().await?;
    let path = format!("{}/scale", widgets.at("a"));
    let scale = scope.get(&path).ok().await?;
    equal_all(
        &scale,
        [
            ("/kind", json!("Scale")),
            ("/apiVersion", json!("autoscaling/v1")),
            ("/spec/replicas", json!(3)),
            ("/status/replicas", json!(2)),
            ("/status/selector", json!("app=a")),
        ],
    )?;
    scope.merge(&path, &json!({"spec": {"replicas": 5}})).ok().await?;
    equal(&scope.get(widgets.at("a")).ok().await?, "/spec/size", json!(5))
}

async fn columns(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    widgets.create(json!({"size": 3})).await?;
    let request =
        scope.get(widgets.all("v1")).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table = request.ok().await?;
    equal_all(
        &table,
        [
            ("/columnDefinitions/0/name", json!("Name")),
            ("/columnDefinitions/1/name", json!("Size")),
            ("/columnDefinitions/2/priority", json!(1)),
            ("/rows/0/cells", json!(["a", 3, "red"])),
        ],
    )
}

async fn list_maps(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    let part = |name: &str| widgets.widget(json!({"size": 1, "parts": [{"name": name}]}));
    scope.apply(widgets.at("a"), "one", &part("x")).ok().await?;
    let both = scope.apply(widgets.at("a"), "two", &part("y")).ok().await?;
    equal(&both, "/spec/parts", json!([{"name": "x", "count": 1}, {"name": "y", "count": 1}]))?;
    let mut less = widgets.widget(json!({"size": 1}));
    less["spec"]["parts"] = json!([]);
    let less = scope.apply(widgets.at("a"), "one", &less).ok().await?;
    equal(&less, "/spec/parts", json!([{"name": "y", "count": 1}]))
}

async fn sets(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    let tagged = |tag: &str, step: &str| widgets.widget(json!({"size": 1, "tags": [tag], "steps": [step]}));
    scope.apply(widgets.at("a"), "one", &tagged("x", "first")).ok().await?;
    let request = scope.apply(widgets.at("a"), "two", &tagged("y", "second"));
    let status = request.clone().refused(409, "Conflict").await?;
    blames(&status, ".spec.steps", "FieldManagerConflict")?;
    let both = request.query("force", "true").ok().await?;
    equal_all(&both, [("/spec/tags", json!(["x", "y"])), ("/spec/steps", json!(["second"]))])
}

async fn strategic(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    widgets.create(json!({"size": 1})).await?;
    let request = scope.strategic(widgets.at("a"), &json!({"spec": {"size": 2}}));
    request.refused(415, "UnsupportedMediaType").await.map(drop)
}

async fn versions(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    let made = widgets.create(json!({"size": 1})).await?;
    let older = scope.get(format!("{}/a", widgets.all("v1beta1"))).ok().await?;
    equal(&older, "/apiVersion", json!(format!("{}/v1beta1", widgets.group)))?;
    equal(&older, "/metadata/uid", made["metadata"]["uid"].clone())?;
    let list = scope.get(widgets.all("v1beta1")).ok().await?;
    equal(&list, "/items/0/apiVersion", json!(format!("{}/v1beta1", widgets.group)))
}

async fn unserved(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    let answer = scope.get(widgets.all("v1alpha1")).send().await?;
    ensure(answer.code == 404, || format!("it is answered with {}", answer.code))
}

async fn selectable(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    for (name, color) in [("a", "red"), ("b", "green")] {
        let mut widget = widgets.widget(json!({"size": 1, "color": color}));
        widget["metadata"]["name"] = json!(name);
        scope.post(widgets.all("v1"), &widget).ok().await?;
    }
    let request = scope.get(widgets.all("v1")).query("fieldSelector", "spec.color=green");
    lists(&request.ok().await?, &["b"])?;
    let request = scope.get(widgets.all("v1")).query("fieldSelector", "spec.size=1");
    request.refused(400, "BadRequest").await.map(drop)
}

async fn deleted(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    widgets.create(json!({"size": 1})).await?;
    scope.delete(widgets.definition()).ok().await?;
    scope.gone(&widgets.definition()).await?;
    eventually("the kind is no longer served", || async {
        Ok(scope.get(widgets.all("v1")).send().await?.code == 404)
    })
    .await
}

async fn definition_refused(scope: &Scope<'_>, definition: &Value) -> Result<Value, String> {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    scope.post(path, definition).dry().refused(422, "Invalid").await
}

async fn name(scope: &Scope<'_>) -> Outcome {
    let mut object = definition(&format!("{}.example.com", scope.name));
    object["metadata"]["name"] = json!("other.example.com");
    let status = definition_refused(scope, &object).await?;
    blames(&status, "metadata.name", "FieldValueInvalid")?;
    says(&status, "must be spec.names.plural+\".\"+spec.group")
}

async fn structural(scope: &Scope<'_>) -> Outcome {
    let mut object = definition(&format!("{}.example.com", scope.name));
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    object.pointer_mut(spec).and_then(Value::as_object_mut).ok_or("no schema")?.remove("type");
    let status = definition_refused(scope, &object).await?;
    let field = "spec.versions[0].schema.openAPIV3Schema.properties[spec].type";
    blames(&status, field, "FieldValueRequired")
}

async fn broken_rule(scope: &Scope<'_>) -> Outcome {
    let mut object = definition(&format!("{}.example.com", scope.name));
    let rules = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations";
    *object.pointer_mut(rules).ok_or("no rules")? = json!([{"rule": "self.min <", "message": "broken"}]);
    let status = definition_refused(scope, &object).await?;
    let field = "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule";
    blames(&status, field, "FieldValueInvalid")
}

async fn cluster_wide(scope: &Scope<'_>) -> Outcome {
    let widgets =
        Widgets::define_as(scope, |definition| definition["spec"]["scope"] = json!("Cluster")).await?;
    let collection = format!("/apis/{}/v1/widgets", widgets.group);
    let made = scope.post(&collection, &widgets.widget(json!({"size": 1}))).ok().await?;
    absent(&made, "/metadata/namespace")?;
    let inside = scope.get(widgets.all("v1")).send().await?;
    ensure(inside.code == 404, || format!("in a namespace it is answered with {}", inside.code))
}

async fn openapi(scope: &Scope<'_>) -> Outcome {
    let widgets = Widgets::define(scope).await?;
    let path = format!("apis/{}/v1", widgets.group);
    let url = || async {
        let index = scope.get("/openapi/v3").ok().await?;
        Ok::<_, String>(index["paths"][&path]["serverRelativeURL"].as_str().map(str::to_owned))
    };
    eventually("its document is listed", || async { Ok(url().await?.is_some()) }).await?;
    let document = scope.get(url().await?.unwrap_or_default()).ok().await?;
    let schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
    let kind = json!([{"group": widgets.group, "version": "v1", "kind": "Widget"}]);
    let schema = schemas
        .values()
        .find(|one| one["x-kubernetes-group-version-kind"] == kind)
        .ok_or("no schema of Widget")?;
    equal_all(
        &schema["properties"]["spec"]["properties"],
        [
            ("/size/maximum", json!(10)),
            ("/parts/x-kubernetes-list-map-keys", json!(["name"])),
            ("/tags/x-kubernetes-list-type", json!("set")),
        ],
    )
}
