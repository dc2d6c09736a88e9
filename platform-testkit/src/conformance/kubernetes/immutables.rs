//! What cannot be changed once it is there.

use super::{check::checks, expect::*, scope::Scope};
use crate::conformance::Outcome;
use serde_json::{Value, json};

checks! {
    "a deployment's selector is immutable" => selector,
    "a stateful set's service name is immutable" => stateful_set,
    "a job's template is immutable" => job,
    "a claim's specification is immutable" => claim,
    "a service's address is immutable" => address,
    "a role binding's role is immutable" => role_ref,
    "an immutable config map stays as it is" => config_maps,
    "an immutable secret stays as it is" => secrets,
    "a secret's type is immutable" => secret_type,
    "a pod's specification is immutable but for its images" => pods,
    "a storage class's provisioner is immutable" => storage_class,
    "a priority class's value is immutable" => priority_class,
    "an object's UID cannot be patched" => uid,
}

/// A merge patch must be refused with a field and a reason.
async fn refuses(
    scope: &Scope<'_>,
    path: &str,
    patch: Value,
    field: &str,
    reason: &str,
) -> Result<Value, String> {
    let status = scope.merge(path, &patch).refused(422, "Invalid").await?;
    blames(&status, field, reason)?;
    Ok(status)
}

async fn selector(scope: &Scope<'_>) -> Outcome {
    scope.create(&deployment("a")).await?;
    let labels = json!({"app": "a", "more": "b"});
    let patch = json!({"spec": {
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}},
    }});
    let status = refuses(scope, &scope.deployment("a"), patch, "spec.selector", "FieldValueInvalid").await?;
    says(&status, "field is immutable")
}

async fn stateful_set(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "a"},
        "spec": {"replicas": 0, "serviceName": "a", "selector": {"matchLabels": {"app": "a"}}, "template": template("a")},
    });
    scope.create(&object).await?;
    let path = scope.at("apps/v1", "statefulsets", "a");
    let status =
        refuses(scope, &path, json!({"spec": {"serviceName": "b"}}), "spec", "FieldValueForbidden").await?;
    says(&status, "updates to statefulset spec for fields other than 'replicas'")
}

async fn job(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"},
        "spec": {
            "suspend": true,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "main:1"}]}},
        },
    });
    scope.create(&object).await?;
    let path = scope.at("batch/v1", "jobs", "a");
    let patch =
        json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "main:2"}]);
    let status = scope.json_patch(path, &patch).refused(422, "Invalid").await?;
    blames(&status, "spec.template", "FieldValueInvalid")?;
    says(&status, "field is immutable")
}

async fn claim(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "a"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "conformance-none",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    });
    scope.create(&object).await?;
    let path = scope.at("v1", "persistentvolumeclaims", "a");
    let patch = json!({"spec": {"storageClassName": "conformance-other"}});
    let status = refuses(scope, &path, patch, "spec", "FieldValueForbidden").await?;
    says(&status, "spec is immutable after creation except resources.requests")
}

async fn address(scope: &Scope<'_>) -> Outcome {
    let made = scope.create(&service("a", json!([{"port": 80}]))).await?;
    let other = if made["spec"]["clusterIP"] == "10.96.250.250" { "10.96.250.251" } else { "10.96.250.250" };
    let patch = json!({"spec": {"clusterIP": other, "clusterIPs": [other]}});
    let path = scope.at("v1", "services", "a");
    let status = refuses(scope, &path, patch, "spec.clusterIPs[0]", "FieldValueInvalid").await?;
    says(&status, "may not change once set")
}

async fn role_ref(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "a"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    });
    scope.create(&object).await?;
    let path = scope.at("rbac.authorization.k8s.io/v1", "rolebindings", "a");
    let status =
        refuses(scope, &path, json!({"roleRef": {"name": "edit"}}), "roleRef", "FieldValueInvalid").await?;
    says(&status, "cannot change roleRef")
}

async fn config_maps(scope: &Scope<'_>) -> Outcome {
    let mut map = config_map("a", json!({"a": "1"}));
    map["immutable"] = json!(true);
    scope.create(&map).await?;
    let path = scope.map("a");
    let status = refuses(scope, &path, json!({"data": {"a": "2"}}), "data", "FieldValueForbidden").await?;
    says(&status, "field is immutable when `immutable` is set")?;
    refuses(scope, &path, json!({"immutable": false}), "immutable", "FieldValueForbidden").await?;
    scope.merge(&path, &json!({"metadata": {"labels": {"a": "b"}}})).ok().await.map(drop)
}

async fn secrets(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"a": "1"}, "immutable": true,
    });
    scope.create(&object).await?;
    let path = scope.at("v1", "secrets", "a");
    refuses(scope, &path, json!({"data": {"a": "Mg=="}}), "data", "FieldValueForbidden").await.map(drop)
}

async fn secret_type(scope: &Scope<'_>) -> Outcome {
    scope.create(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}})).await?;
    let path = scope.at("v1", "secrets", "a");
    refuses(scope, &path, json!({"type": "example.com/other"}), "type", "FieldValueInvalid").await.map(drop)
}

async fn pods(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    scope.create(&pod("a")).await?;
    let path = scope.at("v1", "pods", "a");
    let status =
        refuses(scope, &path, json!({"spec": {"hostname": "other"}}), "spec", "FieldValueForbidden").await?;
    says(&status, "pod updates may not change fields other than")?;
    let image = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "other:1"}]);
    let patched = scope.json_patch(&path, &image).ok().await?;
    equal(&patched, "/spec/containers/0/image", json!("other:1"))
}

async fn storage_class(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": scope.name},
        "provisioner": "example.com/none",
    });
    let made = scope.create_global(&object).await?;
    equal_all(&made, [("/reclaimPolicy", json!("Delete")), ("/volumeBindingMode", json!("Immediate"))])?;
    let path = format!("/apis/storage.k8s.io/v1/storageclasses/{}", scope.name);
    let patch = json!({"provisioner": "example.com/other"});
    refuses(scope, &path, patch, "provisioner", "FieldValueForbidden").await.map(drop)
}

async fn priority_class(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": scope.name}, "value": 7,
    });
    scope.create_global(&object).await?;
    let path = format!("/apis/scheduling.k8s.io/v1/priorityclasses/{}", scope.name);
    refuses(scope, &path, json!({"value": 8}), "value", "FieldValueForbidden").await.map(drop)
}

async fn uid(scope: &Scope<'_>) -> Outcome {
    let made = scope.create(&config_map("a", json!({}))).await?;
    let patch = json!({"metadata": {"uid": "00000000-0000-4000-8000-000000000000"}});
    scope.merge(scope.map("a"), &patch).refused(409, "Conflict").await?;
    let read = scope.get(scope.map("a")).ok().await?;
    equal(&read, "/metadata/uid", made["metadata"]["uid"].clone())
}
