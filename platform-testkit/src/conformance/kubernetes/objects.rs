//! Creating, reading, updating and listing.

use super::{check::checks, expect::*, scope::Scope};
use crate::conformance::{Outcome, ensure, ensure_eq};
use serde_json::json;

checks! {
    "a created object gets an identity, a version and a time" => create,
    "what the server decides is not taken from the creator" => decided_by_the_server,
    "creating what is there already is a conflict" => create_twice,
    "generateName is made a name by five characters" => generate_name,
    "an object without a name is refused" => nameless,
    "a missing object is not found, by its name and resource" => missing,
    "an update makes a new version" => update,
    "an update without a resourceVersion overwrites" => update_unconditionally,
    "an update of an old version is a conflict" => update_of_old_version,
    "an update that changes nothing keeps the version" => update_of_nothing,
    "an update of a missing object is not found" => update_of_missing,
    "an update with another UID is a conflict" => update_of_another,
    "an update keeps what the server decides" => update_keeps_identity,
    "a name that differs from the path is refused" => other_name,
    "a namespace that differs from the path is refused" => other_namespace,
    "a kind that differs from the path is refused" => other_kind,
    "a creation with a resourceVersion is refused" => create_with_version,
    "the generation counts changes of the specification alone" => generation,
    "a list has the version that it was read at" => list,
    "a list spans all namespaces" => list_everywhere,
    "text beyond ASCII and binary data come back as they were" => content,
    "protobuf is taken as kubectl sends it" => protobuf,
}

async fn create(scope: &Scope<'_>) -> Outcome {
    let map = config_map("a", json!({"key": "value"}));
    let answer = scope.post(scope.home(&map), &map).answers_ok().await?;
    ensure_eq(&answer.code, &201, "the code")?;
    let made = answer.body;
    equal_all(
        &made,
        [
            ("/kind", json!("ConfigMap")),
            ("/apiVersion", json!("v1")),
            ("/metadata/name", json!("a")),
            ("/metadata/namespace", json!(scope.name)),
            ("/data", json!({"key": "value"})),
        ],
    )?;
    ensure_eq(&text(&made, "/metadata/uid")?.len(), &36, "the length of the UID")?;
    let version = text(&made, "/metadata/resourceVersion")?;
    ensure(version.parse::<u64>().is_ok_and(|v| v > 0), || format!("the resourceVersion is {version}"))?;
    let created = text(&made, "/metadata/creationTimestamp")?;
    ensure(created.len() == 20 && created.ends_with('Z'), || format!("it was created at {created}"))?;
    ensure_eq(&scope.get(scope.map("a")).ok().await?, &made, "what is read")
}

async fn decided_by_the_server(scope: &Scope<'_>) -> Outcome {
    let mut map = config_map("a", json!({}));
    let uid = "00000000-0000-4000-8000-000000000000";
    map["metadata"]["uid"] = json!(uid);
    map["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
    map["metadata"]["generation"] = json!(7);
    map["metadata"]["deletionTimestamp"] = json!("2001-01-01T00:00:00Z");
    let made = scope.create(&map).await?;
    ensure(made["metadata"]["uid"] != uid, || "the UID was taken".to_owned())?;
    ensure(made["metadata"]["creationTimestamp"] != "2001-01-01T00:00:00Z", || {
        "the time was taken".to_owned()
    })?;
    absent(&made, "/metadata/deletionTimestamp")
}

async fn create_twice(scope: &Scope<'_>) -> Outcome {
    let map = config_map("a", json!({}));
    scope.create(&map).await?;
    let status = scope.post(scope.home(&map), &map).refused(409, "AlreadyExists").await?;
    equal(&status, "/message", json!("configmaps \"a\" already exists"))?;
    equal(&status, "/details", json!({"name": "a", "kind": "configmaps"}))
}

async fn generate_name(scope: &Scope<'_>) -> Outcome {
    let mut map = config_map("", json!({}));
    map["metadata"] = json!({"generateName": "some-"});
    let (first, second) = (scope.create(&map).await?, scope.create(&map).await?);
    let (first, second) = (text(&first, "/metadata/name")?, text(&second, "/metadata/name")?);
    ensure(first != second, || format!("both are {first}"))?;
    let suffix = first.strip_prefix("some-").unwrap_or_default();
    let plain = suffix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    ensure(suffix.len() == 5 && plain, || format!("the name is {first}"))
}

async fn nameless(scope: &Scope<'_>) -> Outcome {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}});
    let status = scope.post(scope.home(&map), &map).refused(422, "Invalid").await?;
    blames(&status, "metadata.name", "FieldValueRequired")?;
    says(&status, "name or generateName is required")
}

async fn missing(scope: &Scope<'_>) -> Outcome {
    let status = scope.get(scope.deployment("absent")).refused(404, "NotFound").await?;
    equal(&status, "/message", json!("deployments.apps \"absent\" not found"))?;
    equal(&status, "/details", json!({"name": "absent", "group": "apps", "kind": "deployments"}))
}

async fn update(scope: &Scope<'_>) -> Outcome {
    let mut map = scope.create(&config_map("a", json!({"a": "1"}))).await?;
    map["data"] = json!({"b": "2"});
    let updated = scope.put(scope.map("a"), &map).ok().await?;
    other_version(&map, &updated)?;
    equal(&updated, "/data", json!({"b": "2"}))?;
    equal(&updated, "/metadata/uid", map["metadata"]["uid"].clone())
}

async fn update_unconditionally(scope: &Scope<'_>) -> Outcome {
    let map = scope.create(&config_map("a", json!({"a": "1"}))).await?;
    let updated = scope.put(scope.map("a"), &config_map("a", json!({"b": "2"}))).ok().await?;
    other_version(&map, &updated)?;
    equal(&updated, "/data", json!({"b": "2"}))
}

async fn update_of_old_version(scope: &Scope<'_>) -> Outcome {
    let mut old = scope.create(&config_map("a", json!({"a": "1"}))).await?;
    scope.merge(scope.map("a"), &json!({"data": {"a": "2"}})).ok().await?;
    old["data"] = json!({"a": "3"});
    let status = scope.put(scope.map("a"), &old).refused(409, "Conflict").await?;
    let message = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to \
                   the latest version and try again";
    equal(&status, "/message", json!(message))
}

async fn update_of_nothing(scope: &Scope<'_>) -> Outcome {
    let map = scope.create(&config_map("a", json!({"a": "1"}))).await?;
    same_version(&map, &scope.put(scope.map("a"), &map).ok().await?)
}

async fn update_of_missing(scope: &Scope<'_>) -> Outcome {
    scope.put(scope.map("a"), &config_map("a", json!({}))).refused(404, "NotFound").await.map(drop)
}

async fn update_of_another(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({}))).await?;
    let mut other = config_map("a", json!({"a": "1"}));
    other["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
    let status = scope.put(scope.map("a"), &other).refused(409, "Conflict").await?;
    says(&status, "Precondition failed: UID in precondition: 00000000-0000-4000-8000-000000000000")
}

async fn update_keeps_identity(scope: &Scope<'_>) -> Outcome {
    let map = scope.create(&config_map("a", json!({}))).await?;
    let mut changed = map.clone();
    changed["metadata"]["creationTimestamp"] = json!("2001-01-01T00:00:00Z");
    changed["data"] = json!({"a": "1"});
    let updated = scope.put(scope.map("a"), &changed).ok().await?;
    equal(&updated, "/metadata/creationTimestamp", map["metadata"]["creationTimestamp"].clone())
}

async fn other_name(scope: &Scope<'_>) -> Outcome {
    scope.create(&config_map("a", json!({}))).await?;
    let status = scope.put(scope.map("a"), &config_map("b", json!({}))).refused(400, "BadRequest").await?;
    equal(&status, "/message", json!("the name of the object (b) does not match the name on the URL (a)"))
}

async fn other_namespace(scope: &Scope<'_>) -> Outcome {
    let mut map = config_map("a", json!({}));
    map["metadata"]["namespace"] = json!("default");
    let status = scope.post(scope.home(&map), &map).refused(400, "BadRequest").await?;
    let message = "the namespace of the provided object does not match the namespace sent on the request";
    equal(&status, "/message", json!(message))
}

async fn other_kind(scope: &Scope<'_>) -> Outcome {
    let secrets = scope.all("v1", "secrets");
    let status = scope.post(secrets, &config_map("a", json!({}))).refused(400, "BadRequest").await?;
    says(&status, "ConfigMap")
}

async fn create_with_version(scope: &Scope<'_>) -> Outcome {
    let mut map = config_map("a", json!({}));
    map["metadata"]["resourceVersion"] = json!("1");
    let status = scope.post(scope.home(&map), &map).refused(500, "").await?;
    equal(&status, "/message", json!("resourceVersion should not be set on objects to be created"))
}

async fn generation(scope: &Scope<'_>) -> Outcome {
    let made = scope.create(&deployment("a")).await?;
    equal(&made, "/metadata/generation", json!(1))?;
    let path = scope.deployment("a");
    let labelled = scope.merge(&path, &json!({"metadata": {"labels": {"a": "b"}}})).ok().await?;
    equal(&labelled, "/metadata/generation", json!(1))?;
    let status = json!({"status": {"observedGeneration": 1}});
    let observed = scope.merge(format!("{path}/status"), &status).ok().await?;
    equal(&observed, "/metadata/generation", json!(1))?;
    let changed = scope.merge(&path, &json!({"spec": {"minReadySeconds": 3}})).ok().await?;
    equal(&changed, "/metadata/generation", json!(2))
}

async fn list(scope: &Scope<'_>) -> Outcome {
    for name in ["b", "a", "c"] {
        scope.create(&account(name)).await?;
    }
    let last = scope.create(&config_map("last", json!({}))).await?;
    let list = scope.get(scope.all("v1", "configmaps")).ok().await?;
    equal_all(&list, [("/kind", json!("ConfigMapList")), ("/apiVersion", json!("v1"))])?;
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let (read, written) =
        (text(&list, "/metadata/resourceVersion")?, text(&last, "/metadata/resourceVersion")?);
    ensure(number(read) >= number(written), || {
        format!("the list is of {read}, the last write of {written}")
    })?;
    let accounts = scope.get(scope.all("v1", "serviceaccounts")).ok().await?;
    let found: Vec<String> = names(&accounts).into_iter().filter(|name| name != "default").collect();
    ensure_eq(&found, &["a", "b", "c"].map(str::to_owned).to_vec(), "the names")
}

async fn list_everywhere(scope: &Scope<'_>) -> Outcome {
    let label = json!({"conformance": scope.name});
    scope.create(&labelled("a", label.clone())).await?;
    let other = format!("{}-other", scope.name);
    scope.namespace(&other, &json!({})).await?;
    scope.post(format!("/api/v1/namespaces/{other}/configmaps"), &labelled("b", label)).ok().await?;
    let selector = format!("conformance={}", scope.name);
    let list = scope.get("/api/v1/configmaps").query("labelSelector", selector).ok().await?;
    lists(&list, &["a", "b"])?;
    equal(&list, "/items/1/metadata/namespace", json!(other))
}

async fn content(scope: &Scope<'_>) -> Outcome {
    let words = "Grüße, 世界 \u{1F600} \"quoted\"\n\ttab \\ <&>";
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "annotations": {"example.com/words": words}},
        "data": {"words": words, "empty": ""}, "binaryData": {"bytes": "AAEC/w=="},
    });
    scope.create(&map).await?;
    let read = scope.get(scope.map("a")).ok().await?;
    equal_all(
        &read,
        [
            ("/data", map["data"].clone()),
            ("/binaryData", map["binaryData"].clone()),
            ("/metadata/annotations", map["metadata"]["annotations"].clone()),
        ],
    )
}

/// A message's field of bytes, shorter than 128.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
}

async fn protobuf(scope: &Scope<'_>) -> Outcome {
    let metadata = field(1, b"from-protobuf");
    let map = [field(1, &metadata), field(2, &[field(1, b"key"), field(2, b"value")].concat())].concat();
    let kind = field(1, &[field(1, b"v1"), field(2, b"ConfigMap")].concat());
    let body = [b"k8s\0".to_vec(), kind, field(2, &map)].concat();
    let request = scope.request(http::Method::POST, scope.all("v1", "configmaps"));
    let made = request.body("application/vnd.kubernetes.protobuf", body).ok().await?;
    equal_all(&made, [("/metadata/name", json!("from-protobuf")), ("/data", json!({"key": "value"}))])
}
