//! LimitRange.

use serde_json::json;

use super::super::fixture::Cluster;
use super::{PODS, pod};

const RANGES: &str = "/api/v1/namespaces/default/limitranges";

async fn limited() -> Cluster {
    let cluster = Cluster::start().await;
    let container = json!({
        "type": "Container",
        "default": {"cpu": "500m", "memory": "256Mi"},
        "defaultRequest": {"cpu": "100m"},
        "min": {"cpu": "50m", "memory": "16Mi"},
        "max": {"cpu": "1", "memory": "512Mi"},
    });
    let whole =
        json!({"type": "Pod", "max": {"cpu": "2", "memory": "1Gi"}, "maxLimitRequestRatio": {"memory": "2"}});
    let claim =
        json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}});
    let range = json!({"metadata": {"name": "lr"}, "spec": {"limits": [container, whole, claim]}});
    cluster.create(RANGES, range).await;
    cluster
}

#[tokio::test]
async fn containers_get_what_they_do_not_ask_for() {
    let cluster = limited().await;
    let mut silent = pod("a", json!({"limits": {"cpu": "200m"}}));
    silent["spec"]["initContainers"] = json!([{"name": "i", "image": "app:1"}]);
    let created = cluster.create(PODS, silent).await;
    let resources = json!({
        "limits": {"cpu": "200m", "memory": "256Mi"},
        "requests": {"cpu": "200m", "memory": "256Mi"},
    });
    assert_eq!(created["spec"]["containers"][0]["resources"], resources);
    assert_eq!(
        created["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: memory request for container web; memory limit for container web; cpu, memory request \
         for init container i; cpu, memory limit for init container i"
    );
    let owned = created["metadata"]["managedFields"][0]["fieldsV1"].to_string();
    assert!(!owned.contains("limit-ranger") && !owned.contains("f:memory"), "{owned}");
}

#[tokio::test]
async fn too_little_and_too_much_are_refused() {
    let cluster = limited().await;
    let wide = json!({"requests": {"cpu": "10m", "memory": "1Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}});
    let answer = cluster.ask("POST", PODS, pod("a", wide)).await;
    assert_eq!(
        (answer.code, answer.message()),
        (
            403,
            "pods \"a\" is forbidden: [minimum cpu usage per Container is 50m, but request is 10m, minimum memory usage per \
             Container is 16Mi, but request is 1Mi, maximum cpu usage per Container is 1, but limit is 2, maximum memory \
             usage per Container is 512Mi, but limit is 1Gi, memory max limit to request ratio per Pod is 2, but provided \
             ratio is 1024.000000]"
        )
    );
    let unequal = json!({"requests": {"memory": "100Mi"}, "limits": {"memory": "400Mi"}});
    let answer = cluster.ask("POST", &format!("{PODS}?dryRun=All"), pod("a", unequal)).await;
    let why = "pods \"a\" is forbidden: memory max limit to request ratio per Pod is 2, but provided ratio is 4.000000";
    assert_eq!((answer.code, answer.message()), (403, why));
    // The default limit is less than what this container asks for.
    let answer = cluster.ask("POST", PODS, pod("a", json!({"requests": {"cpu": "600m"}}))).await;
    assert_eq!(answer.code, 422);
    assert!(answer.message().contains("must be less than or equal to cpu limit"), "{}", answer.message());
    for (size, why) in [
        ("500Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"),
        ("5Gi", "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 5Gi"),
    ] {
        let claim = json!({"metadata": {"name": "v"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}},
        }});
        let answer = cluster.ask("POST", "/api/v1/namespaces/default/persistentvolumeclaims", claim).await;
        let why = format!("persistentvolumeclaims \"v\" is forbidden: {why}");
        assert_eq!((answer.code, answer.message()), (403, why.as_str()));
    }
}

#[tokio::test]
async fn contradictory_ranges_are_refused() {
    let cluster = Cluster::start().await;
    for (limit, why) in [
        (
            json!({"type": "Pod", "default": {"cpu": "2"}}),
            "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
        ),
        (
            json!({"type": "PersistentVolumeClaim"}),
            "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was \
             provided",
        ),
        (
            json!({"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}),
            "[spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1, \
             spec.limits[0].defaultRequest[cpu]: Invalid value: \"1\": min value 2 is greater than default request value \
             1, spec.limits[0].default[cpu]: Invalid value: \"1\": min value 2 is greater than default value 1]",
        ),
    ] {
        let range = json!({"metadata": {"name": "bad"}, "spec": {"limits": [limit]}});
        let answer = cluster.ask("POST", RANGES, range).await;
        assert_eq!(
            (answer.code, answer.message()),
            (422, format!("LimitRange \"bad\" is invalid: {why}").as_str())
        );
    }
}
