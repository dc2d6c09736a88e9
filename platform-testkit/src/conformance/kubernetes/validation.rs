//! What the server refuses, with the fields at fault.

use super::{check::checks, expect::*, scope::Scope};
use crate::conformance::{Outcome, ensure_eq};
use serde_json::{Value, json};

checks! {
    "a selector must match its template" => selector,
    "every fault is listed as a cause" => several,
    "a container needs a name and an image" => container,
    "a container's name must be a DNS label" => container_name,
    "ports must be in range" => ports,
    "protocols must be known" => protocol,
    "two service ports need names" => service_ports,
    "labels must have valid keys and values" => labels,
    "a config map's keys must be file names" => keys,
    "a quantity must be a number with a known suffix" => quantity,
    "a text in a number's place is refused" => wrong_type,
    "requests must not exceed limits" => limits,
    "a mounted volume must exist" => mount,
    "a deployment's pods restart always" => restart_policy,
    "an ingress path needs a type" => ingress,
    "a schedule must be readable" => schedule,
    "an autoscaler's minimum is at most its maximum" => autoscaler,
    "a disruption budget has a minimum or a maximum" => budget,
    "a network policy's blocks must be CIDRs" => cidr,
    "names must be DNS subdomains" => name,
    "a service's name must be a DNS label that begins with a letter" => service_name,
    "a namespace's name must be a DNS label" => namespace_name,
    "a secret's data must be base64" => base64,
    "annotations have a limit" => annotations,
    "an object of an unknown version is refused" => api_version,
}

/// A creation must be refused with a field and a reason.
async fn refuses(scope: &Scope<'_>, object: &Value, field: &str, reason: &str) -> Result<Value, String> {
    let status = scope.post(scope.home(object), object).refused(422, "Invalid").await?;
    blames(&status, field, reason)?;
    Ok(status)
}

/// A deployment that differs at a pointer.
fn with(pointer: &str, value: Value) -> Result<Value, String> {
    let mut object = deployment("a");
    if let Some(place) = object.pointer_mut(pointer) {
        *place = value;
        return Ok(object);
    }
    let (parent, field) = pointer.rsplit_once('/').ok_or("a pointer has a slash")?;
    let fields = object.pointer_mut(parent).and_then(Value::as_object_mut);
    fields.ok_or_else(|| format!("no object at {parent}"))?.insert(field.to_owned(), value);
    Ok(object)
}

const CONTAINER: &str = "/spec/template/spec/containers/0";

async fn selector(scope: &Scope<'_>) -> Outcome {
    let object = with("/spec/template/metadata/labels", json!({"app": "other"}))?;
    let status = refuses(scope, &object, "spec.template.metadata.labels", "FieldValueInvalid").await?;
    says(&status, "`selector` does not match template `labels`")?;
    equal(&status, "/details/kind", json!("Deployment"))?;
    equal(&status, "/details/group", json!("apps"))
}

async fn several(scope: &Scope<'_>) -> Outcome {
    let mut object = with("/spec/replicas", json!(-1))?;
    object["spec"]["template"]["spec"]["containers"][0]["name"] = json!("");
    let status = refuses(scope, &object, "spec.replicas", "FieldValueInvalid").await?;
    blames(&status, "spec.template.spec.containers[0].name", "FieldValueRequired")?;
    let count = status["details"]["causes"].as_array().map(Vec::len);
    ensure_eq(&count, &Some(2), "the number of causes")?;
    says(
        &status,
        "Deployment.apps \"a\" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0, ",
    )
}

async fn container(scope: &Scope<'_>) -> Outcome {
    let object = with(CONTAINER, json!({}))?;
    let status =
        refuses(scope, &object, "spec.template.spec.containers[0].name", "FieldValueRequired").await?;
    blames(&status, "spec.template.spec.containers[0].image", "FieldValueRequired")?;
    let object = with("/spec/template/spec/containers", json!([]))?;
    refuses(scope, &object, "spec.template.spec.containers", "FieldValueRequired").await.map(drop)
}

async fn container_name(scope: &Scope<'_>) -> Outcome {
    let object = with(&format!("{CONTAINER}/name"), json!("Not_A_Label"))?;
    refuses(scope, &object, "spec.template.spec.containers[0].name", "FieldValueInvalid").await?;
    let twice = json!([{"name": "main", "image": "a"}, {"name": "main", "image": "b"}]);
    let object = with("/spec/template/spec/containers", twice)?;
    refuses(scope, &object, "spec.template.spec.containers[1].name", "FieldValueDuplicate").await.map(drop)
}

async fn ports(scope: &Scope<'_>) -> Outcome {
    let object = with(&format!("{CONTAINER}/ports"), json!([{"containerPort": 70000}]))?;
    let field = "spec.template.spec.containers[0].ports[0].containerPort";
    let status = refuses(scope, &object, field, "FieldValueInvalid").await?;
    says(&status, "Invalid value: 70000: must be between 1 and 65535, inclusive")?;
    let object = service("a", json!([{"port": 0}]));
    refuses(scope, &object, "spec.ports[0].port", "FieldValueInvalid").await.map(drop)
}

async fn protocol(scope: &Scope<'_>) -> Outcome {
    let object = service("a", json!([{"port": 80, "protocol": "HTTP"}]));
    let status = refuses(scope, &object, "spec.ports[0].protocol", "FieldValueNotSupported").await?;
    says(&status, "supported values: \"SCTP\", \"TCP\", \"UDP\"")
}

async fn service_ports(scope: &Scope<'_>) -> Outcome {
    let object = service("a", json!([{"port": 80}, {"port": 81}]));
    let status = refuses(scope, &object, "spec.ports[0].name", "FieldValueRequired").await?;
    blames(&status, "spec.ports[1].name", "FieldValueRequired")?;
    let object = service("a", json!([{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]));
    refuses(scope, &object, "spec.ports[1]", "FieldValueDuplicate").await.map(drop)
}

async fn labels(scope: &Scope<'_>) -> Outcome {
    for labels in [json!({"key": "not a value"}), json!({"not a key": "x"}), json!({"key": "x".repeat(64)})] {
        refuses(scope, &labelled("a", labels), "metadata.labels", "FieldValueInvalid").await?;
    }
    Ok(())
}

async fn keys(scope: &Scope<'_>) -> Outcome {
    let object = config_map("a", json!({"no/slash": "x"}));
    refuses(scope, &object, "data[no/slash]", "FieldValueInvalid").await.map(drop)
}

async fn quantity(scope: &Scope<'_>) -> Outcome {
    let object = with(&format!("{CONTAINER}/resources"), json!({"limits": {"cpu": "many"}}))?;
    let status = scope.post(scope.home(&object), &object).refused(400, "BadRequest").await?;
    says(&status, "quantities must match the regular expression")
}

async fn wrong_type(scope: &Scope<'_>) -> Outcome {
    let object = with("/spec/replicas", json!("three"))?;
    let status = scope.post(scope.home(&object), &object).refused(400, "BadRequest").await?;
    says(&status, "Deployment in version \"v1\" cannot be handled as a Deployment: json: ")
}

async fn limits(scope: &Scope<'_>) -> Outcome {
    let resources = json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}});
    let object = with(&format!("{CONTAINER}/resources"), resources)?;
    let field = "spec.template.spec.containers[0].resources.requests";
    let status = refuses(scope, &object, field, "FieldValueInvalid").await?;
    says(&status, "must be less than or equal to cpu limit of 1")
}

async fn mount(scope: &Scope<'_>) -> Outcome {
    let object = with(&format!("{CONTAINER}/volumeMounts"), json!([{"name": "absent", "mountPath": "/x"}]))?;
    let field = "spec.template.spec.containers[0].volumeMounts[0].name";
    refuses(scope, &object, field, "FieldValueNotFound").await.map(drop)
}

async fn restart_policy(scope: &Scope<'_>) -> Outcome {
    let object = with("/spec/template/spec/restartPolicy", json!("Never"))?;
    let status =
        refuses(scope, &object, "spec.template.spec.restartPolicy", "FieldValueNotSupported").await?;
    says(&status, "Unsupported value: \"Never\": supported values: \"Always\"")
}

async fn ingress(scope: &Scope<'_>) -> Outcome {
    let backend = json!({"service": {"name": "a", "port": {"number": 80}}});
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "a"},
        "spec": {"rules": [{"host": "a.example.com", "http": {"paths": [{"path": "/", "backend": backend}]}}]},
    });
    refuses(scope, &object, "spec.rules[0].http.paths[0].pathType", "FieldValueRequired").await.map(drop)
}

async fn schedule(scope: &Scope<'_>) -> Outcome {
    let template =
        json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "main:1"}]}});
    let object = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "a"},
        "spec": {"schedule": "often", "jobTemplate": {"spec": {"template": template}}},
    });
    refuses(scope, &object, "spec.schedule", "FieldValueInvalid").await.map(drop)
}

async fn autoscaler(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
        "spec": {
            "minReplicas": 5, "maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"},
        },
    });
    refuses(scope, &object, "spec.maxReplicas", "FieldValueInvalid").await.map(drop)
}

async fn budget(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"},
        "spec": {"minAvailable": 1, "maxUnavailable": 1, "selector": {"matchLabels": {"app": "a"}}},
    });
    let status = refuses(scope, &object, "spec", "FieldValueInvalid").await?;
    says(&status, "minAvailable and maxUnavailable cannot be both set")
}

async fn cidr(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "a"},
        "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/40"}}]}]},
    });
    refuses(scope, &object, "spec.ingress[0].from[0].ipBlock.cidr", "FieldValueInvalid").await.map(drop)
}

async fn name(scope: &Scope<'_>) -> Outcome {
    for name in ["Upper", "under_score", "-dash", "a..b", &"x".repeat(254)] {
        refuses(scope, &config_map(name, json!({})), "metadata.name", "FieldValueInvalid").await?;
    }
    let status =
        refuses(scope, &config_map("Upper", json!({})), "metadata.name", "FieldValueInvalid").await?;
    says(
        &status,
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'",
    )?;
    scope.create(&config_map("1.dots-are.fine", json!({}))).await.map(drop)
}

async fn service_name(scope: &Scope<'_>) -> Outcome {
    for name in ["1st", "a.b"] {
        let status =
            refuses(scope, &service(name, json!([{"port": 80}])), "metadata.name", "FieldValueInvalid")
                .await?;
        says(&status, "a DNS-1035 label must consist of")?;
    }
    Ok(())
}

async fn namespace_name(scope: &Scope<'_>) -> Outcome {
    for name in ["a.b", &"x".repeat(64)] {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let status = scope.post("/api/v1/namespaces", &object).refused(422, "Invalid").await?;
        blames(&status, "metadata.name", "FieldValueInvalid")?;
    }
    Ok(())
}

async fn base64(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"a": "not base64!"},
    });
    let status = scope.post(scope.home(&object), &object).refused(400, "BadRequest").await?;
    says(&status, "Secret in version \"v1\" cannot be handled as a Secret: ")
}

async fn annotations(scope: &Scope<'_>) -> Outcome {
    let mut object = config_map("a", json!({}));
    object["metadata"]["annotations"] = json!({"example.com/long": "x".repeat(256 * 1024)});
    refuses(scope, &object, "metadata.annotations", "FieldValueTooLong").await.map(drop)
}

async fn api_version(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    let path = scope.home(&object);
    object["apiVersion"] = json!("apps/v9");
    let status = scope.post(path, &object).refused(400, "BadRequest").await?;
    says(&status, "apps/v9")
}
