//! `/openapi/v3` and `/openapi/v2`: enough for clients that ask what a PATCH takes and which kinds there are.
//!
//! Custom resources show their schema; built-in kinds are described as objects with any fields, because their
//! schemas are in the types that validate them and not in a document.

use serde_json::{Map, Value, json};

use crate::kubernetes::resource::{Catalog, Resource};

/// `/openapi/v3`: one document for each group and version.
pub(super) fn index(catalog: &Catalog) -> Value {
    let mut paths = Map::new();
    for resource in catalog.resources() {
        let path = base(resource).trim_start_matches('/').to_owned();
        // Clients cache a document by its hash; CRDs are what changes one.
        let custom =
            catalog.resources().iter().filter(|one| one.group == resource.group && one.custom.is_some());
        let hash = custom.fold(0_u64, |hash, one| {
            let schema = one.custom.as_ref().map(|custom| custom.schema.to_string()).unwrap_or_default();
            schema.bytes().fold(hash, |hash, byte| hash.wrapping_mul(1_099_511_628_211) ^ u64::from(byte))
        });
        let url = format!("/openapi/v3/{path}?hash={hash:016X}");
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// `/openapi/v3/{api/v1 | apis/group/version}`; `None` when there is no such version.
pub(super) fn document(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for resource in catalog.resources().iter().filter(|one| one.group == group && one.version == version) {
        paths.insert(object_path(resource), json!({"patch": patch_operation(resource, "string")}));
        schemas.insert(schema_name(resource), schema(resource));
    }
    (!paths.is_empty()).then(|| {
        json!({
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": super::GIT_VERSION},
            "paths": paths,
            "components": {"schemas": schemas},
        })
    })
}

/// `/openapi/v2`: all kinds in one Swagger document.
pub(super) fn swagger(catalog: &Catalog) -> Value {
    let mut paths = Map::new();
    let mut definitions = Map::new();
    for resource in catalog.resources() {
        paths.insert(object_path(resource), json!({"patch": patch_operation(resource, "swagger")}));
        definitions.insert(schema_name(resource), schema(resource));
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": super::GIT_VERSION},
        "paths": paths,
        "definitions": definitions,
    })
}

fn patch_operation(resource: &Resource, form: &str) -> Value {
    let parameter = |name: &str| match form {
        "swagger" => json!({"name": name, "in": "query", "type": "string", "uniqueItems": true}),
        _ => json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}),
    };
    let names = ["dryRun", "fieldManager", "fieldValidation", "force"];
    json!({
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": kind(resource),
        "parameters": names.map(parameter),
        "responses": {"200": {"description": "OK"}},
    })
}

fn schema(resource: &Resource) -> Value {
    let mut schema = match &resource.custom {
        Some(custom) if custom.schema.is_object() => custom.schema.clone(),
        _ => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
    };
    schema["x-kubernetes-group-version-kind"] = json!([kind(resource)]);
    schema
}

fn kind(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

fn schema_name(resource: &Resource) -> String {
    if resource.custom.is_some() {
        let reversed: Vec<&str> = resource.group.split('.').rev().collect();
        return format!("{}.{}.{}", reversed.join("."), resource.version, resource.kind);
    }
    let group = resource.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
    format!("io.k8s.api.{group}.{}.{}", resource.version, resource.kind)
}

fn base(resource: &Resource) -> String {
    if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    }
}

fn object_path(resource: &Resource) -> String {
    let space = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
    format!("{}/{space}{}/{{name}}", base(resource), resource.id.plural())
}
