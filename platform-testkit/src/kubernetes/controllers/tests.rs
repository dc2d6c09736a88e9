//! Workloads of a simulated cluster, from their creation to their end.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::super::bootstrap;
use super::super::deletion::{DeleteOptions, Deletion};
use super::super::resource::GroupResource;
use super::super::store::{Key, Stored};
use super::object::*;
use super::*;

const SPACE: &str = "default";
const DEADLINE: Duration = Duration::from_secs(30);

struct Simulation {
    store: Arc<Store>,
    behaviour: Behaviour,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Simulation {
    fn new(nodes: usize) -> Self {
        let store = Store::in_memory();
        bootstrap::furnish(&store, nodes).unwrap();
        Self::over(store, Behaviour::default().ready_after(Duration::from_millis(10)))
    }

    fn over(store: Arc<Store>, behaviour: Behaviour) -> Self {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(store.clone(), Arc::new(behaviour.clone()), shutdown.clone()));
        Self { store, behaviour, shutdown, task }
    }

    /// Stops the controllers and starts new ones over the same objects.
    async fn restart(self) -> Self {
        self.shutdown.cancel();
        self.task.await.unwrap();
        Self::over(self.store, self.behaviour)
    }

    fn create(&self, resource: &GroupResource, mut object: Value) -> Arc<Stored> {
        object["metadata"]["namespace"] = json!(SPACE);
        self.store.create(resource, object, "test").unwrap()
    }

    fn change(&self, resource: &GroupResource, name: &str, patch: &Value) {
        // The controllers write too: whoever comes second reads again.
        for _ in 0..100 {
            let mut object = self.get(resource, name).value().clone();
            json_patch::merge(&mut object, patch);
            match self.store.update(resource, object, "test") {
                Err(error) if error.code == 409 => {}
                result => {
                    result.unwrap();
                    return;
                }
            }
        }
        panic!("{name} is always being changed");
    }

    fn get(&self, resource: &GroupResource, name: &str) -> Arc<Stored> {
        self.store.get(&Key::new(resource, SPACE, name)).unwrap()
    }

    fn delete(&self, resource: &GroupResource, name: &str) {
        self.store.delete(&Key::new(resource, SPACE, name), &DeleteOptions::default()).unwrap();
    }

    fn list(&self, resource: &GroupResource) -> Vec<Arc<Stored>> {
        self.store.list(resource, Some(SPACE)).items
    }

    fn pods(&self, app: &str) -> Vec<Arc<Stored>> {
        let mut pods = self.list(&PODS);
        pods.retain(|pod| text(pod, "/metadata/labels/app") == app);
        pods
    }

    fn reasons(&self, about: &str) -> HashSet<String> {
        let events = self.list(&EVENTS);
        let about = events.iter().filter(|event| text(event, "/involvedObject/name").starts_with(about));
        about.map(|event| text(event, "/reason").to_owned()).collect()
    }

    /// Waits until `condition` holds, looking again after each change.
    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let mut watch = self.store.watch(None, None, self.store.revision());
        let wait = async {
            while !condition(self) {
                watch.next().await.unwrap();
            }
        };
        if tokio::time::timeout(DEADLINE, wait).await.is_err() {
            let pods: Vec<String> =
                self.list(&PODS).iter().map(|pod| format!("{} {}", name(pod), pod["status"])).collect();
            panic!("waited in vain until {what}; pods: {pods:#?}");
        }
    }

    async fn until_status(&self, resource: &GroupResource, name: &str, wanted: &Value) {
        let holds = |simulation: &Self| {
            let object = simulation.get(resource, name);
            let status = object["status"].as_object().cloned().unwrap_or_default();
            wanted.as_object().unwrap().iter().all(|(field, value)| status.get(field) == Some(value))
        };
        self.until(&format!("{name} has the status {wanted}"), holds).await;
    }
}

fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": image, "ports": [{"name": "http", "containerPort": 8080}]}]},
    })
}

fn workload(app: &str, image: &str, replicas: i64) -> Value {
    json!({"metadata": {"name": app}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": app}}, "template": template(app, image)}})
}

fn waiting_reason(pod: &Value) -> &str {
    text(pod, "/status/containerStatuses/0/state/waiting/reason")
}

#[tokio::test]
async fn a_deployment_gets_ready_and_its_service_finds_it() {
    let cluster = Simulation::new(2);
    cluster.create(&DEPLOYMENTS, workload("web", "web:1", 3));
    cluster.create(
        &SERVICES,
        json!({"metadata": {"name": "web"}, "spec": {
        "type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}}),
    );
    cluster
        .until_status(
            &DEPLOYMENTS,
            "web",
            &json!({"readyReplicas": 3, "availableReplicas": 3, "updatedReplicas": 3}),
        )
        .await;
    cluster
        .until("the endpoints are ready", |cluster| {
            let slices = cluster.list(&ENDPOINT_SLICES);
            slices.iter().any(|slice| {
                let endpoints = items(slice, "/endpoints");
                endpoints.len() == 3
                    && endpoints.iter().all(|one| one.pointer("/conditions/ready") == Some(&json!(true)))
            })
        })
        .await;
    let slice = cluster.list(&ENDPOINT_SLICES).remove(0);
    assert_eq!(slice["ports"][0]["port"], 8080);
    assert_eq!(items(&cluster.get(&ENDPOINTS, "web"), "/subsets/0/addresses").len(), 3);
    cluster
        .until("the service has an address", |cluster| {
            !text(&cluster.get(&SERVICES, "web"), "/status/loadBalancer/ingress/0/ip").is_empty()
        })
        .await;

    cluster
        .until("the rollout is complete", |cluster| {
            let deployment = cluster.get(&DEPLOYMENTS, "web");
            condition(&deployment, "Progressing")
                .is_some_and(|one| text(one, "/reason") == "NewReplicaSetAvailable")
        })
        .await;
    let deployment = cluster.get(&DEPLOYMENTS, "web");
    assert!(is_true(&deployment, "Available"));
    assert_eq!(deployment["status"]["observedGeneration"], deployment["metadata"]["generation"]);
    assert_eq!(annotation(&deployment, "deployment.kubernetes.io/revision"), Some("1"));
    let pods = cluster.pods("web");
    let addresses: HashSet<&str> = pods.iter().map(|pod| text(pod, "/status/podIP")).collect();
    let nodes: HashSet<&str> = pods.iter().map(|pod| text(pod, "/spec/nodeName")).collect();
    assert_eq!((addresses.len(), nodes.len()), (3, 2));
    assert!(
        cluster.reasons("web").is_superset(&HashSet::from(
            ["ScalingReplicaSet", "SuccessfulCreate", "Scheduled", "Pulled", "Created", "Started"]
                .map(str::to_owned)
        ))
    );
    let log = cluster.store.logs().read(SPACE, name(&pods[0]), "main");
    assert_eq!(log[1].text, "listening on 0.0.0.0:8080");
}

#[tokio::test]
async fn a_rolling_update_keeps_enough_pods_available() {
    let cluster = Simulation::new(1);
    let mut web = workload("web", "web:1", 4);
    web["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}});
    web["spec"]["revisionHistoryLimit"] = json!(1);
    cluster.create(&DEPLOYMENTS, web);
    cluster.until_status(&DEPLOYMENTS, "web", &json!({"availableReplicas": 4})).await;

    let before = cluster.store.revision();
    let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}});
    cluster.change(&DEPLOYMENTS, "web", &image("web:2"));
    cluster
        .until("only new pods run", |cluster| {
            let pods = cluster.pods("web");
            pods.len() == 4
                && pods.iter().all(|pod| text(pod, "/spec/containers/0/image") == "web:2" && is_ready(pod))
        })
        .await;
    let mut watch = cluster.store.watch(Some(&PODS), None, before);
    let mut ready: HashSet<String> = HashSet::new();
    let mut present: HashSet<String> = cluster
        .store
        .list_at(&PODS, None, before)
        .unwrap()
        .items
        .iter()
        .map(|pod| {
            ready.insert(uid(pod).to_owned());
            uid(pod).to_owned()
        })
        .collect();
    while let Some(event) = watch.try_next().unwrap() {
        let pod = uid(&event.object).to_owned();
        let gone = event.change == super::super::store::Change::Deleted || is_being_deleted(&event.object);
        if gone {
            present.remove(&pod)
        } else {
            present.insert(pod.clone())
        };
        if !gone && is_ready(&event.object) {
            ready.insert(pod)
        } else {
            ready.remove(&pod)
        };
        assert!(ready.len() >= 3 && present.len() <= 5, "{} ready of {}", ready.len(), present.len());
    }

    cluster.change(&DEPLOYMENTS, "web", &image("web:3"));
    cluster
        .until("old ReplicaSets are empty and those beyond the limit gone", |cluster| {
            let sets = cluster.list(&REPLICA_SETS);
            let image = |set: &Stored| text(set, "/spec/template/spec/containers/0/image").to_owned();
            let mut sizes: Vec<(String, i64)> =
                sets.iter().map(|set| (image(set), number(set, "/spec/replicas"))).collect();
            sizes.sort();
            sizes == [("web:2".to_owned(), 0), ("web:3".to_owned(), 4)]
        })
        .await;
    cluster.change(&DEPLOYMENTS, "web", &image("web:2"));
    cluster
        .until("going back makes a new revision of the old set", |cluster| {
            let deployment = cluster.get(&DEPLOYMENTS, "web");
            annotation(&deployment, "deployment.kubernetes.io/revision") == Some("4")
                && number(&deployment, "/status/updatedReplicas") == 4
        })
        .await;
    assert_eq!(cluster.list(&REPLICA_SETS).len(), 2);
}

#[tokio::test]
async fn a_rollout_of_a_broken_image_stops_and_says_so() {
    let cluster = Simulation::new(1);
    let mut web = workload("web", "web:1", 2);
    web["spec"]["progressDeadlineSeconds"] = json!(1);
    cluster.create(&DEPLOYMENTS, web);
    cluster.until_status(&DEPLOYMENTS, "web", &json!({"availableReplicas": 2})).await;
    let broken = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "r/image-pull-back-off:1"}]}}}});
    cluster.change(&DEPLOYMENTS, "web", &broken);
    cluster
        .until("the deadline passes", |cluster| {
            let deployment = cluster.get(&DEPLOYMENTS, "web");
            condition(&deployment, "Progressing")
                .is_some_and(|one| text(one, "/reason") == "ProgressDeadlineExceeded")
        })
        .await;
    let deployment = cluster.get(&DEPLOYMENTS, "web");
    assert_eq!(number(&deployment, "/status/availableReplicas"), 2, "the old pods serve on");
    let pods = cluster.pods("web");
    assert!(pods.iter().any(|pod| waiting_reason(pod) == "ImagePullBackOff"));
    assert!(
        cluster
            .reasons("web")
            .is_superset(&HashSet::from(["BackOff", "Failed", "Pulling"].map(str::to_owned)))
    );
}

#[tokio::test]
async fn recreating_never_runs_old_and_new_pods_together() {
    let cluster = Simulation::new(1);
    let mut web = workload("web", "web:1", 2);
    web["spec"]["strategy"] = json!({"type": "Recreate"});
    cluster.create(&DEPLOYMENTS, web);
    cluster.until_status(&DEPLOYMENTS, "web", &json!({"availableReplicas": 2})).await;
    let before = cluster.store.revision();
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "web:2"}]}}}});
    cluster.change(&DEPLOYMENTS, "web", &image);
    cluster
        .until("the new pods are ready", |cluster| {
            let pods = cluster.pods("web");
            pods.len() == 2
                && pods.iter().all(|pod| text(pod, "/spec/containers/0/image") == "web:2" && is_ready(pod))
        })
        .await;
    let mut watch = cluster.store.watch(Some(&PODS), None, before);
    let mut deleted = 0;
    while let Some(event) = watch.try_next().unwrap() {
        match event.change {
            super::super::store::Change::Deleted => deleted += 1,
            super::super::store::Change::Added => assert_eq!(deleted, 2),
            super::super::store::Change::Modified => {}
        }
    }
}

#[tokio::test]
async fn a_crashing_container_is_restarted_and_its_log_says_why() {
    let store = Store::in_memory();
    bootstrap::furnish(&store, 1).unwrap();
    let behaviour = Behaviour::default()
        .ready_after(Duration::from_millis(10))
        .restart_backoff(Duration::from_millis(20))
        .image(
            "app",
            ImageBehaviour::CrashLoopBackOff { exit_code: 7, message: "no configuration".to_owned() },
        );
    let cluster = Simulation::over(store, behaviour);
    cluster.create(&DEPLOYMENTS, workload("app", "app:1", 1));
    cluster
        .until("it backs off", |cluster| {
            cluster.pods("app").iter().any(|pod| {
                waiting_reason(pod) == "CrashLoopBackOff"
                    && number(pod, "/status/containerStatuses/0/restartCount") >= 2
            })
        })
        .await;
    let pod = cluster.pods("app").remove(0);
    assert_eq!(number(&pod, "/status/containerStatuses/0/lastState/terminated/exitCode"), 7);
    assert_eq!(phase(&pod), "Running");
    let log = cluster.store.logs().read(SPACE, name(&pod), "main");
    assert!(log.iter().any(|line| line.text == "no configuration"));
    assert!(cluster.reasons("app").contains("BackOff"));
}

#[tokio::test]
async fn deleted_pods_are_replaced_and_matching_ones_adopted() {
    let cluster = Simulation::new(1);
    let lonely = cluster.create(
        &PODS,
        json!({"metadata": {"name": "lonely", "labels": {"app": "web"}},
        "spec": template("web", "web:1")["spec"]}),
    );
    cluster.create(&REPLICA_SETS, workload("web", "web:1", 2));
    cluster.until_status(&REPLICA_SETS, "web", &json!({"readyReplicas": 2})).await;
    let pods = cluster.pods("web");
    assert!(pods.len() == 2 && pods.iter().any(|pod| uid(pod) == uid(&lonely)));
    cluster.delete(&PODS, "lonely");
    cluster
        .until("another one is ready", |cluster| {
            let pods = cluster.pods("web");
            pods.len() == 2 && pods.iter().all(|pod| name(pod) != "lonely" && is_ready(pod))
        })
        .await;
}

#[tokio::test]
async fn a_stateful_set_works_in_order_and_keeps_its_claims() {
    let cluster = Simulation::new(1);
    let mut set = workload("db", "db:1", 3);
    set["spec"]["serviceName"] = json!("db");
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
    let before = cluster.store.revision();
    cluster.create(&STATEFUL_SETS, set);
    cluster.until_status(&STATEFUL_SETS, "db", &json!({"readyReplicas": 3, "updatedReplicas": 3})).await;
    let mut watch = cluster.store.watch(Some(&PODS), None, before);
    let mut ready: HashSet<String> = HashSet::new();
    while let Some(event) = watch.try_next().unwrap() {
        if event.change == super::super::store::Change::Added {
            assert_eq!(name(&event.object), format!("db-{}", ready.len()), "one after the other");
        }
        if is_ready(&event.object) {
            ready.insert(name(&event.object).to_owned());
        }
    }
    cluster
        .until("the claims are bound", |cluster| {
            let claims = cluster.list(&CLAIMS);
            claims.len() == 3 && claims.iter().all(|claim| phase(claim) == "Bound")
        })
        .await;
    assert_eq!(name(&cluster.list(&CLAIMS)[0]), "data-db-0");
    assert_eq!(cluster.store.list(&VOLUMES, None).items.len(), 3);

    let change = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "db:2"}]}}}});
    cluster.change(&STATEFUL_SETS, "db", &change);
    cluster
        .until("all run the new image", |cluster| {
            let set = cluster.get(&STATEFUL_SETS, "db");
            text(&set, "/status/currentRevision") == text(&set, "/status/updateRevision")
                && number(&set, "/status/updatedReplicas") == 3
                && cluster.pods("db").iter().all(|pod| text(pod, "/spec/containers/0/image") == "db:2")
        })
        .await;
    cluster.change(&STATEFUL_SETS, "db", &json!({"spec": {"replicas": 1}}));
    cluster
        .until("the first pod is left", |cluster| {
            let pods = cluster.pods("db");
            pods.len() == 1 && name(&pods[0]) == "db-0"
        })
        .await;
    assert_eq!(cluster.list(&CLAIMS).len(), 3, "claims outlive their pods");
    cluster.delete(&CLAIMS, "data-db-2");
    cluster.until("its volume is gone", |cluster| cluster.store.list(&VOLUMES, None).items.len() == 2).await;
}

#[tokio::test]
async fn a_daemon_set_follows_the_nodes() {
    let cluster = Simulation::new(3);
    let mut set = workload("agent", "agent:1", 0);
    set["spec"].as_object_mut().unwrap().remove("replicas");
    cluster.create(&DAEMON_SETS, set);
    cluster
        .until_status(&DAEMON_SETS, "agent", &json!({"numberReady": 3, "desiredNumberScheduled": 3}))
        .await;
    let nodes: HashSet<String> =
        cluster.pods("agent").iter().map(|pod| text(pod, "/spec/nodeName").to_owned()).collect();
    assert_eq!(nodes.len(), 3);
    cluster.store.delete(&Key::new(&NODES, "", "node-3"), &DeleteOptions::default()).unwrap();
    cluster
        .until_status(&DAEMON_SETS, "agent", &json!({"numberReady": 2, "desiredNumberScheduled": 2}))
        .await;
    let change =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "agent:2"}]}}}});
    cluster.change(&DAEMON_SETS, "agent", &change);
    cluster
        .until("all run the new image", |cluster| {
            let pods = cluster.pods("agent");
            pods.len() == 2
                && pods.iter().all(|pod| text(pod, "/spec/containers/0/image") == "agent:2" && is_ready(pod))
        })
        .await;
}

#[tokio::test]
async fn jobs_end_as_their_pods_do() {
    let cluster = Simulation::new(1);
    let job = |name: &str, image: &str, more: Value| {
        let mut template = template(name, image);
        template["spec"]["restartPolicy"] = json!("Never");
        let mut job = json!({"metadata": {"name": name}, "spec": {"template": template}});
        json_patch::merge(&mut job["spec"], &more);
        job
    };
    cluster.create(&JOBS, job("three", "work", json!({"completions": 3, "parallelism": 2})));
    cluster.create(&JOBS, job("indexed", "work", json!({"completions": 2, "completionMode": "Indexed"})));
    cluster.create(&JOBS, job("broken", "fails:1", json!({"backoffLimit": 0})));
    cluster.create(&JOBS, job("brief", "work", json!({"ttlSecondsAfterFinished": 0})));
    cluster.create(
        &JOBS,
        job(
            "slow",
            "crash-loop-back-off",
            json!({
        "activeDeadlineSeconds": 1, "template": {"spec": {"restartPolicy": "OnFailure"}}}),
        ),
    );
    cluster.until("three complete", |cluster| is_true(&cluster.get(&JOBS, "three"), "Complete")).await;
    assert_eq!(number(&cluster.get(&JOBS, "three"), "/status/succeeded"), 3);
    assert!(!text(&cluster.get(&JOBS, "three"), "/status/completionTime").is_empty());
    cluster
        .until("both indexes complete", |cluster| is_true(&cluster.get(&JOBS, "indexed"), "Complete"))
        .await;
    assert_eq!(text(&cluster.get(&JOBS, "indexed"), "/status/completedIndexes"), "0-1");
    cluster.until("the broken one fails", |cluster| is_true(&cluster.get(&JOBS, "broken"), "Failed")).await;
    let broken = cluster.get(&JOBS, "broken");
    assert_eq!(text(condition(&broken, "Failed").unwrap(), "/reason"), "BackoffLimitExceeded");
    cluster
        .until("the slow one runs out of time", |cluster| is_true(&cluster.get(&JOBS, "slow"), "Failed"))
        .await;
    assert_eq!(
        text(condition(&cluster.get(&JOBS, "slow"), "Failed").unwrap(), "/reason"),
        "DeadlineExceeded"
    );
    cluster
        .until("the brief one is on its way out", |cluster| {
            let brief = cluster.store.find(&Key::new(&JOBS, SPACE, "brief"));
            brief.is_none_or(|job| is_being_deleted(&job))
        })
        .await;
}

#[tokio::test]
async fn a_pod_waits_for_what_it_needs() {
    let cluster = Simulation::new(1);
    let pod = |name: &str, spec: Value| {
        let mut pod =
            json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "a:1"}]}});
        json_patch::merge(&mut pod["spec"], &spec);
        pod
    };
    cluster.create(
        &PODS,
        pod(
            "big",
            json!({"containers": [
        {"name": "main", "image": "a:1", "resources": {"requests": {"cpu": "1000"}}}]}),
        ),
    );
    cluster.create(
        &PODS,
        pod(
            "configured",
            json!({"containers": [
        {"name": "main", "image": "a:1", "envFrom": [{"configMapRef": {"name": "settings"}}]}]}),
        ),
    );
    cluster.create(
        &PODS,
        pod("mounted", json!({"volumes": [{"name": "v", "secret": {"secretName": "token"}}]})),
    );
    cluster.create(
        &PODS,
        pod("stored", json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "disk"}}]})),
    );
    cluster
        .create(&PODS, pod("prepared", json!({"initContainers": [{"name": "first", "image": "setup:1"}]})));
    cluster
        .until("the big one finds no node", |cluster| {
            let big = cluster.get(&PODS, "big");
            condition(&big, "PodScheduled")
                .is_some_and(|one| text(one, "/message").contains("Insufficient cpu"))
        })
        .await;
    cluster
        .until("the configuration is missed", |cluster| {
            waiting_reason(&cluster.get(&PODS, "configured")) == "CreateContainerConfigError"
        })
        .await;
    cluster.until("the mount fails", |cluster| cluster.reasons("mounted").contains("FailedMount")).await;
    cluster
        .until("the claim is missed", |cluster| cluster.reasons("stored").contains("FailedScheduling"))
        .await;
    cluster.create(&CONFIG_MAPS, json!({"metadata": {"name": "settings"}}));
    cluster.create(&SECRETS, json!({"metadata": {"name": "token"}}));
    cluster.create(
        &CLAIMS,
        json!({"metadata": {"name": "disk"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
    );
    for name in ["configured", "mounted", "stored", "prepared"] {
        cluster.until(&format!("{name} is ready"), |cluster| is_ready(&cluster.get(&PODS, name))).await;
    }
    let prepared = cluster.get(&PODS, "prepared");
    assert_eq!(text(&prepared, "/status/initContainerStatuses/0/state/terminated/reason"), "Completed");
    assert!(!is_ready(&cluster.get(&PODS, "big")));
}

#[tokio::test]
async fn budgets_autoscalers_and_ingresses_get_a_status() {
    let cluster = Simulation::new(1);
    cluster.create(&DEPLOYMENTS, workload("web", "web:1", 1));
    cluster.create(
        &DISRUPTION_BUDGETS,
        json!({"metadata": {"name": "web"}, "spec": {
        "minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}}),
    );
    cluster.create(
        &AUTOSCALERS,
        json!({"metadata": {"name": "web"}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 3, "maxReplicas": 5}}),
    );
    cluster.create(
        &INGRESSES,
        json!({"metadata": {"name": "web"}, "spec": {
        "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}}),
    );
    cluster.until_status(&DEPLOYMENTS, "web", &json!({"readyReplicas": 3})).await;
    cluster
        .until_status(&DISRUPTION_BUDGETS, "web", &json!({"currentHealthy": 3, "disruptionsAllowed": 1}))
        .await;
    cluster.until_status(&AUTOSCALERS, "web", &json!({"currentReplicas": 3, "desiredReplicas": 3})).await;
    cluster
        .until("the ingress has an address", |cluster| {
            !text(&cluster.get(&INGRESSES, "web"), "/status/loadBalancer/ingress/0/ip").is_empty()
        })
        .await;
}

#[tokio::test]
async fn a_held_pod_is_not_ready_while_it_goes() {
    let cluster = Simulation::new(1);
    cluster.create(
        &PODS,
        json!({"metadata": {"name": "held", "finalizers": ["example.io/hold"]},
        "spec": {"containers": [{"name": "main", "image": "a:1"}]}}),
    );
    cluster.until("it is ready", |cluster| is_ready(&cluster.get(&PODS, "held"))).await;
    cluster.delete(&PODS, "held");
    cluster.until("it no longer is", |cluster| !is_ready(&cluster.get(&PODS, "held"))).await;
    cluster.change(&PODS, "held", &json!({"metadata": {"finalizers": null}}));
    cluster
        .until("it is gone", |cluster| cluster.store.find(&Key::new(&PODS, SPACE, "held")).is_none())
        .await;
}

#[tokio::test]
async fn a_cluster_at_rest_writes_nothing_and_a_new_run_takes_it_up() {
    let cluster = Simulation::new(2);
    for index in 0..20 {
        cluster.create(&DEPLOYMENTS, workload(&format!("app-{index}"), "app:1", 2));
        cluster.create(
            &SERVICES,
            json!({"metadata": {"name": format!("app-{index}")}, "spec": {
            "selector": {"app": format!("app-{index}")}, "ports": [{"port": 80}]}}),
        );
    }
    let settled = |cluster: &Simulation| {
        cluster.list(&DEPLOYMENTS).iter().all(|deployment| {
            condition(deployment, "Progressing")
                .is_some_and(|one| text(one, "/reason") == "NewReplicaSetAvailable")
        })
    };
    cluster.until("all are ready", settled).await;
    let quiet = async |cluster: &Simulation| {
        for _ in 0..100 {
            let before = cluster.store.revision();
            tokio::time::sleep(Duration::from_millis(200)).await;
            if cluster.store.revision() == before {
                return before;
            }
        }
        panic!("the cluster never comes to rest");
    };
    let before = quiet(&cluster).await;
    let starts: Vec<Value> =
        cluster.list(&PODS).iter().map(|pod| pod["status"]["containerStatuses"].clone()).collect();
    let cluster = cluster.restart().await;
    assert_eq!(quiet(&cluster).await, before, "nothing changed for the new run");
    let after: Vec<Value> =
        cluster.list(&PODS).iter().map(|pod| pod["status"]["containerStatuses"].clone()).collect();
    assert_eq!(starts, after);
}

#[tokio::test]
async fn a_pod_ends_before_it_goes() {
    let cluster = Simulation::new(1);
    cluster.create(
        &PODS,
        json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "main", "image": "a:1"}]}}),
    );
    cluster.until("it is ready", |cluster| is_ready(&cluster.get(&PODS, "a"))).await;
    let key = Key::new(&PODS, SPACE, "a");
    let Deletion::Pending(pod) = cluster.store.delete(&key, &DeleteOptions::default()).unwrap() else {
        panic!("the pod is gone at once");
    };
    assert_eq!(number(&pod, "/metadata/deletionGracePeriodSeconds"), 30);
    let shorter = DeleteOptions { grace_period_seconds: Some(7), ..DeleteOptions::default() };
    let longer = DeleteOptions { grace_period_seconds: Some(60), ..DeleteOptions::default() };
    for options in [&shorter, &longer] {
        // It may be gone by now.
        if let Ok(Deletion::Pending(pod)) = cluster.store.delete(&key, options) {
            assert!(number(&pod, "/metadata/deletionGracePeriodSeconds") <= 7);
        }
    }
    cluster.until("it goes", |cluster| cluster.store.find(&key).is_none()).await;
}

#[tokio::test]
async fn a_pod_without_grace_goes_at_once() {
    let cluster = Simulation::new(1);
    cluster.create(
        &PODS,
        json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "main", "image": "a:1"}]}}),
    );
    cluster.until("it is ready", |cluster| is_ready(&cluster.get(&PODS, "a"))).await;
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    let deletion = cluster.store.delete(&Key::new(&PODS, SPACE, "a"), &now).unwrap();
    assert!(matches!(deletion, Deletion::Gone(_)));
}

#[tokio::test]
async fn a_claim_is_held_while_a_pod_uses_it() {
    let cluster = Simulation::new(1);
    let claim = json!({"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let claim = cluster.create(&CLAIMS, claim);
    assert_eq!(text(&claim, "/spec/storageClassName"), "standard");
    cluster.create(
        &PODS,
        json!({"metadata": {"name": "a"}, "spec": {
        "containers": [{"name": "main", "image": "a:1"}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}}),
    );
    cluster.until("it is ready", |cluster| is_ready(&cluster.get(&PODS, "a"))).await;
    let volume = text(&cluster.get(&CLAIMS, "data"), "/spec/volumeName").to_owned();
    let key = Key::new(&CLAIMS, SPACE, "data");
    cluster.store.delete(&key, &DeleteOptions::default()).unwrap();
    let volume = Key::new(&VOLUMES, "", volume);
    let deletion = cluster.store.delete(&volume, &DeleteOptions::default()).unwrap();
    assert!(matches!(deletion, Deletion::Pending(_)), "a bound volume stays");
    assert!(cluster.store.find(&key).is_some());
    cluster.store.delete(&Key::new(&PODS, SPACE, "a"), &DeleteOptions::default()).unwrap();
    cluster.until("the claim goes", |cluster| cluster.store.find(&key).is_none()).await;
    cluster.until("its volume goes", |cluster| cluster.store.find(&volume).is_none()).await;
}

#[tokio::test]
async fn nobody_owns_what_the_server_adds_to_a_new_object() {
    let cluster = Simulation::new(1);
    let service = cluster.create(
        &SERVICES,
        json!({"metadata": {"name": "a"}, "spec": {
        "type": "NodePort", "ports": [{"port": 80}]}}),
    );
    assert!(!text(&service, "/spec/clusterIP").is_empty());
    let owned = service.pointer("/metadata/managedFields/0/fieldsV1/f:spec").unwrap();
    for added in ["f:clusterIP", "f:clusterIPs", "f:ipFamilies", "f:ipFamilyPolicy"] {
        assert!(owned.get(added).is_none(), "{owned}");
    }
    assert!(owned.get("f:type").is_some() && !owned.to_string().contains("f:nodePort"), "{owned}");
    let job = cluster.create(
        &JOBS,
        json!({"metadata": {"name": "once"}, "spec": {"template": {
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "a:1"}]}}}}),
    );
    let owned = job.pointer("/metadata/managedFields").unwrap().to_string();
    for added in ["f:selector", "controller-uid", "f:status"] {
        assert!(!owned.contains(added), "{owned}");
    }
    assert_eq!(job.pointer("/metadata/labels"), job.pointer("/spec/template/metadata/labels"));
}
