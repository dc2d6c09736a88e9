//! Create, read, update, delete, and how they are refused.

use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};

use crate::fixture::{Cluster, apply, config_map, deployment, eventually, object, refusal};

#[tokio::test]
async fn an_object_lives_from_create_to_delete() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let created = maps
        .create(&PostParams::default(), &object(config_map("a", json!({"k": "1"}))))
        .await
        .expect("created");
    assert!(created.uid().is_some() && created.creation_timestamp().is_some());
    let mut read = maps.get("a").await.expect("read");
    assert_eq!(read.resource_version(), created.resource_version());
    read.data["data"]["k"] = json!("2");
    let replaced = maps.replace("a", &PostParams::default(), &read).await.expect("replaced");
    assert_ne!(replaced.resource_version(), created.resource_version());
    assert_eq!(replaced.uid(), created.uid());
    let gone = maps.delete("a", &DeleteParams::default()).await.expect("deleted");
    assert!(gone.right().is_some_and(|status| status.is_success()));
    assert!(maps.get_opt("a").await.expect("an answer").is_none());
}

#[tokio::test]
async fn refusals_are_worded_as_by_a_real_server() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let post = PostParams::default();
    maps.create(&post, &object(config_map("a", json!({})))).await.expect("created");
    let cases = [
        (refusal(maps.get("b").await), 404, "NotFound", "configmaps \"b\" not found"),
        (refusal(cluster.deployments().get("b").await), 404, "NotFound", "deployments.apps \"b\" not found"),
        (
            refusal(maps.create(&post, &object(config_map("a", json!({})))).await),
            409,
            "AlreadyExists",
            "configmaps \"a\" already exists",
        ),
        (
            refusal(
                cluster.config_maps_in("nowhere").create(&post, &object(config_map("a", json!({})))).await,
            ),
            404,
            "NotFound",
            "namespaces \"nowhere\" not found",
        ),
    ];
    for ((code, reason, message), expected_code, expected_reason, expected) in cases {
        assert_eq!((code, reason.as_str(), message.as_str()), (expected_code, expected_reason, expected));
    }
}

#[tokio::test]
async fn a_stale_writer_is_told_of_the_conflict() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let stale = maps
        .create(&PostParams::default(), &object(config_map("a", json!({"k": "1"}))))
        .await
        .expect("created");
    let patch = Patch::Merge(json!({"data": {"k": "2"}}));
    maps.patch("a", &PatchParams::default(), &patch).await.expect("patched");
    let (code, reason, message) = refusal(maps.replace("a", &PostParams::default(), &stale).await);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert_eq!(
        message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );
}

#[tokio::test]
async fn malformed_requests_are_refused_not_survived_by_luck() {
    let cluster = Cluster::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let json = "application/json";
    let cases: Vec<(&str, &str, &str, String, u16)> = vec![
        ("POST", maps, json, "{bad".to_owned(), 400),
        ("POST", maps, json, String::new(), 400),
        ("POST", maps, json, "[]".to_owned(), 400),
        ("POST", maps, json, "3".to_owned(), 400),
        ("POST", maps, json, "{\"metadata\": 3}".to_owned(), 400),
        ("POST", maps, json, "{\"metadata\": {\"name\": 3}}".to_owned(), 422),
        ("POST", maps, json, "{\"metadata\": {\"name\": \"a\", \"labels\": \"x\"}}".to_owned(), 400),
        (
            "POST",
            maps,
            json,
            "{\"kind\": \"Secret\", \"apiVersion\": \"v1\", \"metadata\": {\"name\": \"a\"}}".to_owned(),
            400,
        ),
        ("POST", maps, json, "{\"metadata\": {\"name\": \"A_b\"}}".to_owned(), 422),
        ("POST", maps, json, "{\"metadata\": {}}".to_owned(), 422),
        ("POST", maps, json, "{\"metadata\": {\"name\": \"a\"}, \"data\": {\"k\": 1}}".to_owned(), 400),
        ("POST", maps, json, "{\"metadata\": {\"name\": \"a\", \"namespace\": \"other\"}}".to_owned(), 400),
        ("POST", maps, "application/vnd.kubernetes.protobuf", "k8s\0".to_owned(), 415),
        ("POST", "/api/v1/configmaps", json, "{\"metadata\": {\"name\": \"a\"}}".to_owned(), 405),
        ("POST", maps, json, "x".repeat(4 * 1024 * 1024), 413),
        ("PUT", maps, json, "{}".to_owned(), 405),
        ("DELETE", "/api/v1/namespaces", json, String::new(), 405),
        ("GET", "/api/v1/nothings", json, String::new(), 404),
        ("GET", "/apis/nothing/v1/things", json, String::new(), 404),
        ("GET", "/nothing", json, String::new(), 404),
        ("GET", "/api/v1/namespaces/%ff", json, String::new(), 404),
        ("GET", "/api/v1/configmaps?limit=x", json, String::new(), 400),
        ("GET", "/api/v1/configmaps?watch=maybe", json, String::new(), 400),
        ("GET", "/api/v1/configmaps?watch=1&resourceVersion=x", json, String::new(), 500),
        ("GET", "/api/v1/configmaps?watch=1&sendInitialEvents=true", json, String::new(), 422),
        ("GET", "/api/v1/configmaps?continue=x", json, String::new(), 400),
        ("GET", "/api/v1/configmaps?labelSelector=a+b+c", json, String::new(), 400),
        ("GET", "/api/v1/configmaps?fieldSelector=spec.no%3D1", json, String::new(), 400),
        ("GET", "/api/v1/configmaps?resourceVersion=99999999", json, String::new(), 504),
        ("GET", "/api/v1/configmaps?resourceVersionMatch=Exact", json, String::new(), 422),
        ("PATCH", &format!("{maps}/kube-root-ca.crt"), json, "{}".to_owned(), 415),
        ("PATCH", &format!("{maps}/kube-root-ca.crt"), "application/merge-patch+json", "[1]".to_owned(), 400),
        (
            "PATCH",
            &format!("{maps}/kube-root-ca.crt"),
            "application/json-patch+json",
            "{\"a\": 1}".to_owned(),
            400,
        ),
        (
            "PATCH",
            &format!("{maps}/kube-root-ca.crt"),
            "application/merge-patch+json",
            "{\"metadata\": 3}".to_owned(),
            400,
        ),
        (
            "PATCH",
            &format!("{maps}/kube-root-ca.crt"),
            "application/apply-patch+yaml",
            "a: 1".to_owned(),
            422,
        ),
        (
            "PATCH",
            &format!("{maps}/kube-root-ca.crt?fieldManager=m"),
            "application/apply-patch+yaml",
            "a: [b".to_owned(),
            400,
        ),
        (
            "DELETE",
            &format!("{maps}/kube-root-ca.crt"),
            json,
            "{\"propagationPolicy\": \"No\"}".to_owned(),
            422,
        ),
        ("DELETE", "/api/v1/namespaces/default", json, String::new(), 403),
    ]
    .into_iter()
    .map(|(method, path, media_type, body, code)| {
        (method, Box::leak(path.to_owned().into_boxed_str()) as &str, media_type, body, code)
    })
    .collect();
    for (method, path, media_type, body, expected) in cases {
        let shown: String = body.chars().take(60).collect();
        let (code, answer) = cluster.raw(method, path, media_type, body).await;
        assert_eq!(code, expected, "{method} {path} {shown}: {answer}");
        if answer.is_object() {
            assert_eq!(answer["kind"], "Status", "{method} {path} {shown}");
            assert_eq!(answer["code"], expected, "{method} {path} {shown}");
        }
    }
}

#[tokio::test]
async fn generation_counts_changes_of_the_specification_alone() {
    let cluster = Cluster::start().await;
    let api = cluster.deployments();
    let first = apply(&api, "web", "m", &deployment("web", "app:1")).await.expect("applied");
    assert_eq!(first.metadata.generation, Some(1));
    let labelled = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let second = api.patch("web", &PatchParams::default(), &labelled).await.expect("patched");
    assert_eq!(second.metadata.generation, Some(1));
    let third = apply(&api, "web", "m", &deployment("web", "app:2")).await.expect("applied");
    assert_eq!(third.metadata.generation, Some(2));
}

#[tokio::test]
async fn an_apply_that_changes_nothing_writes_nothing() {
    let cluster = Cluster::start().await;
    let mut idle = deployment("web", "app:1");
    idle["spec"]["replicas"] = json!(0);
    idle["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "0.5"}});
    for (api, name, wanted) in [
        (cluster.config_maps(), "a", config_map("a", json!({"k": "1"}))),
        (cluster.deployments(), "web", idle),
    ] {
        apply(&api, name, "m", &wanted).await.expect("applied");
        if name == "web" {
            eventually("the controllers are done", || async {
                let web = api.get(name).await.expect("read");
                web.data["status"]["observedGeneration"] == 1
            })
            .await;
        }
        let first = api.get(name).await.expect("read");
        let second = apply(&api, name, "m", &wanted).await.expect("applied");
        assert_eq!(first.resource_version(), second.resource_version(), "{name}");
        assert_eq!(first.managed_fields(), second.managed_fields(), "{name}");
    }
}

#[tokio::test]
async fn status_and_specification_are_written_apart() {
    let cluster = Cluster::start().await;
    let api = cluster.objects("batch/v1", "CronJob", "cronjobs");
    let job = json!({"metadata": {"name": "c"}, "spec": {"schedule": "* * * * *", "suspend": true, "jobTemplate": {"spec": {"template": {
        "spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b:1"}]},
    }}}}});
    let mut job = object(job);
    job.types = Some(kube::api::TypeMeta { api_version: "batch/v1".into(), kind: "CronJob".into() });
    api.create(&PostParams::default(), &job).await.expect("created");
    let both = Patch::Merge(
        json!({"spec": {"schedule": "1 * * * *"}, "status": {"lastScheduleTime": "2026-01-01T00:00:00Z"}}),
    );
    let status = api.patch_status("c", &PatchParams::default(), &both).await.expect("patched");
    assert_eq!(status.data["spec"]["schedule"], "* * * * *");
    assert_eq!(status.data["status"]["lastScheduleTime"], "2026-01-01T00:00:00Z");
    let main = Patch::Merge(json!({"spec": {"schedule": "2 * * * *"}, "status": {"lastScheduleTime": null}}));
    let main = api.patch("c", &PatchParams::default(), &main).await.expect("patched");
    assert_eq!(main.data["spec"]["schedule"], "2 * * * *");
    assert_eq!(main.data["status"]["lastScheduleTime"], "2026-01-01T00:00:00Z");
}

#[tokio::test]
async fn preconditions_protect_from_deleting_another_object() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    maps.create(&PostParams::default(), &object(config_map("a", json!({})))).await.expect("created");
    let other = Preconditions { uid: Some("other".to_owned()), resource_version: None };
    let params = DeleteParams { preconditions: Some(other), ..DeleteParams::default() };
    let (code, reason, _) = refusal(maps.delete("a", &params).await);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert!(maps.get_opt("a").await.expect("an answer").is_some());
}

#[tokio::test]
async fn pages_of_a_list_show_one_version() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    for index in 0..7 {
        apply(&maps, &format!("m{index}"), "m", &config_map(&format!("m{index}"), json!({})))
            .await
            .expect("applied");
    }
    let mut params = ListParams::default().limit(3);
    let mut names = Vec::new();
    loop {
        let page = maps.list(&params).await.expect("a page");
        names.extend(page.items.iter().map(ResourceExt::name_any));
        // Neither of these is seen by the pages that follow.
        maps.delete("m6", &DeleteParams::default()).await.ok();
        apply(&maps, "m5a", "m", &config_map("m5a", json!({}))).await.expect("applied");
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    assert_eq!(names, ["kube-root-ca.crt", "m0", "m1", "m2", "m3", "m4", "m5", "m6"]);
}

#[tokio::test]
async fn dry_runs_check_everything_and_change_nothing() {
    let cluster = Cluster::start().await;
    let maps = cluster.config_maps();
    let before = cluster.api.store().revision();
    let post = PostParams { dry_run: true, ..PostParams::default() };
    let made = maps.create(&post, &object(config_map("a", json!({})))).await.expect("accepted");
    assert!(made.uid().is_some());
    let apply = PatchParams { dry_run: true, ..PatchParams::apply("m") };
    maps.patch("b", &apply, &Patch::Apply(config_map("b", json!({})))).await.expect("accepted");
    maps.delete("kube-root-ca.crt", &DeleteParams { dry_run: true, ..DeleteParams::default() })
        .await
        .expect("accepted");
    assert_eq!(cluster.api.store().revision(), before);
    assert_eq!(cluster.api.requests().writes(), 0);
    assert_eq!(cluster.api.requests().of("dry-run"), 3);
}

#[tokio::test]
async fn what_may_not_change_is_refused() {
    let cluster = Cluster::start().await;
    let deployments = cluster.deployments();
    apply(&deployments, "web", "m", &deployment("web", "app:1")).await.expect("applied");
    let selector = Patch::Merge(json!({"spec": {
        "selector": {"matchLabels": {"app": "other"}}, "template": {"metadata": {"labels": {"app": "other"}}},
    }}));
    let (code, reason, message) = refusal(deployments.patch("web", &PatchParams::default(), &selector).await);
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert!(message.ends_with("field is immutable"), "{message}");
    let maps = cluster.config_maps();
    let mut fixed = config_map("fixed", json!({"k": "1"}));
    fixed["immutable"] = json!(true);
    apply(&maps, "fixed", "m", &fixed).await.expect("applied");
    let change = Patch::Merge(json!({"data": {"k": "2"}}));
    let (code, _, message) = refusal(maps.patch("fixed", &PatchParams::default(), &change).await);
    assert_eq!(code, 422);
    assert!(message.contains("field is immutable when `immutable` is set"), "{message}");
}

#[tokio::test]
async fn unknown_fields_are_refused_or_warned_of() {
    let cluster = Cluster::start().await;
    let path = "/api/v1/namespaces/default/configmaps";
    let body = json!({"metadata": {"name": "a"}, "bogus": 1}).to_string();
    let (code, answer) =
        cluster.raw("POST", &format!("{path}?fieldValidation=Strict"), "application/json", &*body).await;
    assert_eq!(code, 400);
    let why = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"bogus\"";
    assert_eq!(answer["message"], why);
    let client = reqwest::Client::new();
    let request = client
        .post(format!("{}{path}", cluster.api.url()))
        .header("content-type", "application/json")
        .body(body);
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()["warning"], "299 - \"unknown field \\\"bogus\\\"\"");
    let stored: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    assert!(stored.get("bogus").is_none());
}
