//! What the server writes into objects that do not say it.

use super::{check::checks, expect::*, scope::Scope};
use crate::conformance::{Outcome, ensure};
use serde_json::{Value, json};

checks! {
    "a deployment gets its defaults" => deployments,
    "a pod template gets its defaults" => templates,
    "a pod gets its defaults" => pods,
    "a pod gets its account, its token and its tolerations" => admitted_pods,
    "requests follow limits" => requests,
    "the image pull policy follows the tag" => pull_policy,
    "probes get their times" => probes,
    "a service gets an address and its defaults" => services,
    "a headless service gets no address" => headless,
    "a node port is allocated" => node_port,
    "a stateful set gets its defaults" => stateful_sets,
    "a daemon set gets its defaults" => daemon_sets,
    "a job gets its defaults and a selector of its own" => jobs,
    "a cron job gets its defaults" => cron_jobs,
    "a secret gets a type and the encoded form of stringData" => secrets,
    "a network policy's types follow its rules" => network_policies,
    "a claim gets its defaults" => claims,
    "volumes get their modes" => volumes,
    "an autoscaler gets its defaults" => autoscalers,
    "a role binding's subjects get their group" => role_bindings,
}

async fn deployments(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["spec"]["paused"] = json!(true);
    let made = scope.create(&object).await?;
    let rolling =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
    equal_all(
        &made,
        [
            ("/spec/strategy", rolling),
            ("/spec/revisionHistoryLimit", json!(10)),
            ("/spec/progressDeadlineSeconds", json!(600)),
        ],
    )?;
    object["metadata"]["name"] = json!("b");
    object["spec"].as_object_mut().ok_or("no spec")?.remove("replicas");
    let dry = scope.post(scope.home(&object), &object).dry().ok().await?;
    equal(&dry, "/spec/replicas", json!(1))
}

async fn templates(scope: &Scope<'_>) -> Outcome {
    let made = scope.create(&deployment("a")).await?;
    equal_all(
        &made["spec"]["template"]["spec"],
        [
            ("/restartPolicy", json!("Always")),
            ("/dnsPolicy", json!("ClusterFirst")),
            ("/terminationGracePeriodSeconds", json!(30)),
            ("/schedulerName", json!("default-scheduler")),
            ("/securityContext", json!({})),
            ("/containers/0/resources", json!({})),
            ("/containers/0/terminationMessagePath", json!("/dev/termination-log")),
            ("/containers/0/terminationMessagePolicy", json!("File")),
            ("/containers/0/imagePullPolicy", json!("IfNotPresent")),
        ],
    )
}

async fn pods(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    let mut object = pod("a");
    object["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80}]);
    object["spec"]["containers"][0]["env"] =
        json!([{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    let made = scope.create(&object).await?;
    equal_all(
        &made,
        [
            ("/spec/enableServiceLinks", json!(true)),
            ("/spec/preemptionPolicy", json!("PreemptLowerPriority")),
            ("/spec/priority", json!(0)),
            ("/spec/containers/0/ports/0/protocol", json!("TCP")),
            ("/spec/containers/0/env/0/valueFrom/fieldRef/apiVersion", json!("v1")),
            ("/status/phase", json!("Pending")),
            ("/status/qosClass", json!("BestEffort")),
        ],
    )
}

async fn admitted_pods(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    let made = scope.create(&pod("a")).await?;
    equal(&made, "/spec/serviceAccountName", json!("default"))?;
    let volume = made["spec"]["volumes"][0]["name"].as_str().unwrap_or_default();
    ensure(volume.starts_with("kube-api-access-"), || {
        format!("its volumes are {}", made["spec"]["volumes"])
    })?;
    let mount = "/var/run/secrets/kubernetes.io/serviceaccount";
    equal(&made, "/spec/containers/0/volumeMounts/0/mountPath", json!(mount))?;
    let tolerations = ["not-ready", "unreachable"].map(|taint| {
        json!({
            "key": format!("node.kubernetes.io/{taint}"), "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": 300,
        })
    });
    equal(&made, "/spec/tolerations", json!(tolerations))
}

async fn requests(scope: &Scope<'_>) -> Outcome {
    scope.account().await?;
    let mut object = pod("a");
    object["spec"]["containers"][0]["resources"] =
        json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "0.5"}});
    let made = scope.create(&object).await?;
    let requests = json!({"cpu": "500m", "memory": "1Gi"});
    equal(&made, "/spec/containers/0/resources/requests", requests)?;
    equal(&made, "/status/qosClass", json!("Burstable"))
}

async fn pull_policy(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    for (image, policy) in [
        ("app:1", "IfNotPresent"),
        ("app", "Always"),
        ("app:latest", "Always"),
        ("registry.example.com:5000/app", "Always"),
        ("app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "IfNotPresent"),
    ] {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        let made = scope.post(scope.home(&object), &object).dry().ok().await?;
        equal(&made, "/spec/template/spec/containers/0/imagePullPolicy", json!(policy))
            .map_err(|why| format!("{image}: {why}"))?;
    }
    Ok(())
}

async fn probes(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    object["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = json!({"httpGet": {"port": 80}});
    let made = scope.create(&object).await?;
    let probe = json!({
        "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
        "successThreshold": 1, "failureThreshold": 3,
    });
    equal(&made, "/spec/template/spec/containers/0/readinessProbe", probe)
}

async fn services(scope: &Scope<'_>) -> Outcome {
    let made = scope.create(&service("a", json!([{"port": 80}]))).await?;
    equal_all(
        &made,
        [
            ("/spec/type", json!("ClusterIP")),
            ("/spec/sessionAffinity", json!("None")),
            ("/spec/internalTrafficPolicy", json!("Cluster")),
            ("/spec/ipFamilyPolicy", json!("SingleStack")),
            ("/spec/ipFamilies", json!(["IPv4"])),
            ("/spec/ports/0", json!({"port": 80, "protocol": "TCP", "targetPort": 80})),
            ("/spec/clusterIPs/0", made["spec"]["clusterIP"].clone()),
            ("/status", json!({"loadBalancer": {}})),
        ],
    )?;
    let address = text(&made, "/spec/clusterIP")?;
    ensure(address.parse::<std::net::Ipv4Addr>().is_ok(), || format!("the address is {address:?}"))
}

async fn headless(scope: &Scope<'_>) -> Outcome {
    let mut object = service("a", json!([{"port": 80}]));
    object["spec"]["clusterIP"] = json!("None");
    let made = scope.create(&object).await?;
    equal_all(&made, [("/spec/clusterIP", json!("None")), ("/spec/clusterIPs", json!(["None"]))])
}

async fn node_port(scope: &Scope<'_>) -> Outcome {
    let mut object = service("a", json!([{"port": 80}]));
    object["spec"]["type"] = json!("NodePort");
    let made = scope.create(&object).await?;
    let port = made["spec"]["ports"][0]["nodePort"].as_u64().unwrap_or(0);
    ensure((30_000..=32_767).contains(&port), || format!("the node port is {port}"))?;
    equal(&made, "/spec/externalTrafficPolicy", json!("Cluster"))
}

async fn stateful_sets(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "a"},
        "spec": {"replicas": 0, "serviceName": "a", "selector": {"matchLabels": {"app": "a"}}, "template": template("a")},
    });
    let made = scope.create(&object).await?;
    equal_all(
        &made,
        [
            ("/spec/podManagementPolicy", json!("OrderedReady")),
            ("/spec/updateStrategy", json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})),
            ("/spec/revisionHistoryLimit", json!(10)),
            (
                "/spec/persistentVolumeClaimRetentionPolicy",
                json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
            ),
        ],
    )
}

async fn daemon_sets(scope: &Scope<'_>) -> Outcome {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "a"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template("a")},
    });
    object["spec"]["template"]["spec"]["nodeSelector"] = json!({"conformance.example.com/no": "such-node"});
    let made = scope.create(&object).await?;
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
    equal_all(&made, [("/spec/updateStrategy", rolling), ("/spec/revisionHistoryLimit", json!(10))])
}

fn job(name: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {
            "suspend": true,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "main:1"}]}},
        },
    })
}

async fn jobs(scope: &Scope<'_>) -> Outcome {
    let made = scope.create(&job("a")).await?;
    let uid = &made["metadata"]["uid"];
    equal_all(
        &made,
        [
            ("/spec/completions", json!(1)),
            ("/spec/parallelism", json!(1)),
            ("/spec/backoffLimit", json!(6)),
            ("/spec/completionMode", json!("NonIndexed")),
            ("/spec/podReplacementPolicy", json!("TerminatingOrFailed")),
            ("/spec/manualSelector", json!(false)),
            ("/spec/selector/matchLabels", json!({"batch.kubernetes.io/controller-uid": uid})),
            ("/spec/template/metadata/labels/job-name", json!("a")),
            ("/spec/template/metadata/labels/batch.kubernetes.io~1job-name", json!("a")),
            ("/spec/template/metadata/labels/controller-uid", uid.clone()),
        ],
    )
}

async fn cron_jobs(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "a"},
        "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": job("a")["spec"]["template"]}}},
    });
    let made = scope.create(&object).await?;
    equal_all(
        &made,
        [
            ("/spec/concurrencyPolicy", json!("Allow")),
            ("/spec/suspend", json!(false)),
            ("/spec/successfulJobsHistoryLimit", json!(3)),
            ("/spec/failedJobsHistoryLimit", json!(1)),
        ],
    )
}

async fn secrets(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"a": "YQ==", "b": "YQ=="},
        "stringData": {"b": "b"},
    });
    let made = scope.create(&object).await?;
    equal_all(&made, [("/type", json!("Opaque")), ("/data", json!({"a": "YQ==", "b": "Yg=="}))])?;
    absent(&made, "/stringData")
}

async fn network_policies(scope: &Scope<'_>) -> Outcome {
    let policy = |name: &str, rules: Value| {
        let mut object = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name},
            "spec": {"podSelector": {}},
        });
        object["spec"]["egress"] = rules;
        object
    };
    let ingress = scope.create(&policy("a", Value::Null)).await?;
    equal(&ingress, "/spec/policyTypes", json!(["Ingress"]))?;
    let both = scope.create(&policy("b", json!([{"ports": [{"port": 53}]}]))).await?;
    equal(&both, "/spec/policyTypes", json!(["Ingress", "Egress"]))?;
    equal(&both, "/spec/egress/0/ports/0/protocol", json!("TCP"))
}

async fn claims(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "a"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "conformance-none",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    });
    let made = scope.create(&object).await?;
    equal_all(
        &made,
        [
            ("/spec/volumeMode", json!("Filesystem")),
            ("/status/phase", json!("Pending")),
            ("/metadata/finalizers", json!(["kubernetes.io/pvc-protection"])),
        ],
    )
}

async fn volumes(scope: &Scope<'_>) -> Outcome {
    let mut object = deployment("a");
    let token = json!({"sources": [{"serviceAccountToken": {"path": "token"}}]});
    object["spec"]["template"]["spec"]["volumes"] = json!([
        {"name": "a", "configMap": {"name": "a"}}, {"name": "b", "secret": {"secretName": "b"}}, {"name": "c"},
        {"name": "d", "hostPath": {"path": "/d"}}, {"name": "e", "projected": token},
    ]);
    let made = scope.create(&object).await?;
    equal_all(
        &made["spec"]["template"]["spec"]["volumes"],
        [
            ("/0/configMap/defaultMode", json!(420)),
            ("/1/secret/defaultMode", json!(420)),
            ("/2/emptyDir", json!({})),
            ("/3/hostPath/type", json!("")),
            ("/4/projected/defaultMode", json!(420)),
            ("/4/projected/sources/0/serviceAccountToken/expirationSeconds", json!(3600)),
        ],
    )
}

async fn autoscalers(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}},
    });
    let made = scope.create(&object).await?;
    equal(&made, "/spec/minReplicas", json!(1))?;
    let target = json!({"type": "Utilization", "averageUtilization": 80});
    equal(
        &made,
        "/spec/metrics",
        json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]),
    )
}

async fn role_bindings(scope: &Scope<'_>) -> Outcome {
    let object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "a"},
        "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "jane"}, {"kind": "ServiceAccount", "name": "a", "namespace": "b"}],
    });
    let made = scope.create(&object).await?;
    equal_all(
        &made,
        [
            ("/roleRef/apiGroup", json!("rbac.authorization.k8s.io")),
            ("/subjects/0/apiGroup", json!("rbac.authorization.k8s.io")),
        ],
    )?;
    absent(&made, "/subjects/1/apiGroup")
}
