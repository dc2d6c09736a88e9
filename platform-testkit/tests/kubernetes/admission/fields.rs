//! Fields that the kind does not have, and fields that are given twice.

use serde_json::json;

use super::super::fixture::Cluster;
use super::MAPS;

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const APPLY: &str = "application/apply-patch+yaml";

#[tokio::test]
async fn repeated_fields_are_refused_warned_of_or_taken() {
    let cluster = Cluster::start().await;
    let body = r#"{"metadata": {"name": "a"}, "bogus": 1, "data": {"a": "1", "a": "2"}}"#;
    let told = ["unknown field \"bogus\"", "duplicate field \"data.a\""];
    let strict = cluster.send("POST", &format!("{MAPS}?dryRun=All&fieldValidation=Strict"), JSON, body).await;
    let why = format!(
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: {}",
        told.join(", ")
    );
    assert_eq!((strict.code, strict.message()), (400, why.as_str()));
    for query in ["", "&fieldValidation=Warn"] {
        let warned = cluster.send("POST", &format!("{MAPS}?dryRun=All{query}"), JSON, body).await;
        assert_eq!((warned.code, warned.warnings.as_slice()), (201, &told.map(str::to_owned)[..]));
        assert_eq!(warned.body["data"], json!({"a": "2"}));
    }
    let ignored =
        cluster.send("POST", &format!("{MAPS}?dryRun=All&fieldValidation=Ignore"), JSON, body).await;
    assert_eq!((ignored.code, ignored.warnings.len()), (201, 0));
    let wrong = cluster.send("POST", &format!("{MAPS}?fieldValidation=Bogus"), JSON, body).await;
    assert_eq!(
        wrong.message(),
        "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"Bogus\": supported values: \"\", \
         \"Ignore\", \"Strict\", \"Warn\""
    );
}

#[tokio::test]
async fn yaml_tells_the_line_of_a_repeated_key() {
    let cluster = Cluster::start().await;
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  a: \"1\"\n  a: \"2\"\n";
    let warned = cluster.send("POST", &format!("{MAPS}?dryRun=All"), YAML, body).await;
    assert_eq!(
        (warned.code, warned.warnings.as_slice()),
        (201, &["line 7: key \"a\" already set in map".to_owned()][..])
    );
    let strict = cluster.send("POST", &format!("{MAPS}?dryRun=All&fieldValidation=Strict"), YAML, body).await;
    assert_eq!(
        strict.message(),
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:\n  \
         line 7: key \"a\" already set in map"
    );
    let path = format!("{MAPS}/a?fieldManager=m&dryRun=All");
    let applied = cluster.send("PATCH", &format!("{path}&fieldValidation=Strict"), APPLY, body).await;
    assert_eq!(
        (applied.code, applied.message()),
        (
            400,
            "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 7: key \"a\" \
             already set in map"
        )
    );
    let applied = cluster.send("PATCH", &format!("{path}&fieldValidation=Warn"), APPLY, body).await;
    assert_eq!((applied.code, applied.warnings.len()), (201, 1));
}

#[tokio::test]
async fn what_a_patch_brings_is_looked_at_too() {
    let cluster = Cluster::start().await;
    cluster.create(MAPS, json!({"metadata": {"name": "p"}})).await;
    let path = format!("{MAPS}/p?dryRun=All&fieldValidation=");
    let merge = "application/merge-patch+json";
    let body = r#"{"bogus": 1, "data": {"a": "1", "a": "2"}}"#;
    let strict = cluster.send("PATCH", &format!("{path}Strict"), merge, body).await;
    assert_eq!(strict.code, 422);
    assert!(
        strict.message().starts_with(" \"\" is invalid: patch: Invalid value: \"{"),
        "{}",
        strict.message()
    );
    let ending = ": strict decoding error: unknown field \"bogus\", duplicate field \"data.a\"";
    assert!(strict.message().ends_with(ending), "{}", strict.message());
    let warned = cluster.send("PATCH", &format!("{path}Warn"), merge, body).await;
    assert_eq!((warned.code, warned.warnings.len()), (200, 2));
    let operations = r#"[{"op": "add", "path": "/data", "value": {"a": "b"}, "foo": "bar"}]"#;
    let warned =
        cluster.send("PATCH", &format!("{path}Warn"), "application/json-patch+json", operations).await;
    assert_eq!(warned.warnings, ["json patch unknown field \"[0].foo\""]);
}

#[tokio::test]
async fn custom_resources_are_held_to_their_schema_and_to_the_metadata_of_all() {
    let cluster = Cluster::start().await;
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}});
    let version =
        json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget"});
    let definition = json!({
        "metadata": {"name": "widgets.example.io"},
        "spec": {"group": "example.io", "scope": "Namespaced", "names": names, "versions": [version]},
    });
    cluster.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    let path = "/apis/example.io/v1/namespaces/default/widgets?dryRun=All&fieldValidation=";
    let body = r#"{"apiVersion": "example.io/v1", "kind": "Widget", "metadata": {"name": "a", "foo": 1},
        "spec": {"size": 1, "size": 2, "no": 1}, "more": 1}"#;
    let told = [
        "duplicate field \"spec.size\"",
        "unknown field \"metadata.foo\"",
        "unknown field \"more\"",
        "unknown field \"spec.no\"",
    ];
    let strict = cluster.send("POST", &format!("{path}Strict"), JSON, body).await;
    let why = format!(
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: {}",
        told.join(", ")
    );
    assert_eq!((strict.code, strict.message()), (400, why.as_str()));
    let warned = cluster.send("POST", &format!("{path}Warn"), JSON, body).await;
    assert_eq!((warned.code, warned.warnings.as_slice()), (201, &told.map(str::to_owned)[..]));
    assert!(warned.body["metadata"].get("foo").is_none());
    assert_eq!(warned.body["spec"], json!({"size": 2}));
}
