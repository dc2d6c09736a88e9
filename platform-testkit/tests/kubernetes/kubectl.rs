//! The real kubectl, from `PLATFORM_KUBECTL` or the PATH, against the embedded API.

use std::process::{Output, Stdio};

use platform_testkit::kubernetes::EmbeddedApi;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::fixture::DEADLINE;

const WEB: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: 'app:1', ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

struct Kubectl {
    _api: EmbeddedApi,
    home: tempfile::TempDir,
}

impl Kubectl {
    async fn start() -> Self {
        let api = EmbeddedApi::builder().start().await.expect("the cluster starts");
        let home = tempfile::tempdir().expect("a directory");
        std::fs::write(home.path().join("kubeconfig"), api.kubeconfig()).expect("written");
        Self { _api: api, home }
    }

    async fn run(&self, arguments: &str, input: &str) -> Output {
        let program = std::env::var_os("PLATFORM_KUBECTL").unwrap_or_else(|| "kubectl".into());
        let mut child = Command::new(program)
            .args(arguments.split_whitespace())
            .env("KUBECONFIG", self.home.path().join("kubeconfig"))
            .env("HOME", self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("its input");
        stdin.write_all(input.as_bytes()).await.expect("written");
        drop(stdin);
        tokio::time::timeout(DEADLINE, child.wait_with_output())
            .await
            .expect("in time")
            .expect("kubectl ends")
    }

    /// What a command that must succeed prints.
    async fn ok(&self, arguments: &str, input: &str) -> String {
        let output = self.run(arguments, input).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments}: {text}{errors}");
        text
    }
}

#[tokio::test]
#[ignore = "needs kubectl"]
async fn applies_read_back_and_change_nothing_the_second_time() {
    let kubectl = Kubectl::start().await;
    assert_eq!(kubectl.ok("apply -f -", WEB).await, "deployment.apps/web created\nservice/web created\n");
    assert_eq!(kubectl.ok("apply -f -", WEB).await, "deployment.apps/web unchanged\nservice/web unchanged\n");
    kubectl.ok("apply --server-side --force-conflicts -f -", WEB).await;
    let version = "get service web -o jsonpath={.metadata.resourceVersion}";
    let before = kubectl.ok(version, "").await;
    kubectl.ok("apply --server-side -f -", WEB).await;
    assert_eq!(kubectl.ok(version, "").await, before);
    let table = kubectl.ok("get deployments -A -l app=web", "").await;
    assert!(table.starts_with("NAMESPACE   NAME   READY   UP-TO-DATE   AVAILABLE   AGE\n"), "{table}");
    let yaml = kubectl.ok("get service web -o yaml", "").await;
    assert!(yaml.contains("clusterIP: 10.96."), "{yaml}");
    assert!(kubectl.run("diff -f -", WEB).await.status.success());
    let changed = WEB.replace("app:1", "app:2");
    let diff = kubectl.run("diff -f -", &changed).await;
    let text = String::from_utf8_lossy(&diff.stdout);
    assert_eq!(diff.status.code(), Some(1));
    assert!(text.contains("-      - image: app:1") && text.contains("+      - image: app:2"), "{text}");
    assert!(kubectl.ok("describe deployment web", "").await.contains("app:1"));
}

#[tokio::test]
#[ignore = "needs kubectl"]
async fn imperative_commands_change_objects() {
    let kubectl = Kubectl::start().await;
    kubectl.ok("apply -f -", WEB).await;
    for (command, answer) in [
        ("label deployment web tier=front", "deployment.apps/web labeled\n"),
        ("annotate deployment web note=yes", "deployment.apps/web annotated\n"),
        ("scale deployment web --replicas=3", "deployment.apps/web scaled\n"),
        ("patch deployment web -p {\"spec\":{\"replicas\":4}}", "deployment.apps/web patched\n"),
        ("patch deployment web --type=merge -p {\"spec\":{\"replicas\":5}}", "deployment.apps/web patched\n"),
        (
            "patch deployment web --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":6}]",
            "deployment.apps/web patched\n",
        ),
    ] {
        assert_eq!(kubectl.ok(command, "").await, answer, "{command}");
    }
    let shown = "get deployment web -o jsonpath={.spec.replicas},{.metadata.labels.tier},{.metadata.annotations.note}";
    assert_eq!(kubectl.ok(shown, "").await, "6,front,yes");
}

#[tokio::test]
#[ignore = "needs kubectl"]
async fn generators_create_and_namespaces_go_with_their_content() {
    let kubectl = Kubectl::start().await;
    for (command, answer) in [
        ("create namespace team", "namespace/team created\n"),
        ("create configmap settings -n team --from-literal=a=b", "configmap/settings created\n"),
        ("create secret generic token -n team --from-literal=a=b", "secret/token created\n"),
        ("create serviceaccount robot -n team", "serviceaccount/robot created\n"),
        ("create deployment web -n team --image=app:1 --replicas=2", "deployment.apps/web created\n"),
        ("create service clusterip web -n team --tcp=80:8080", "service/web created\n"),
        ("create job once -n team --image=app:1", "job.batch/once created\n"),
        (
            "create role reader -n team --verb=get --resource=pods",
            "role.rbac.authorization.k8s.io/reader created\n",
        ),
        ("create quota limit -n team --hard=pods=3", "resourcequota/limit created\n"),
        ("create ingress web -n team --rule=host/path=web:80", "ingress.networking.k8s.io/web created\n"),
        (
            "create poddisruptionbudget web -n team --selector=app=web --min-available=1",
            "poddisruptionbudget.policy/web created\n",
        ),
    ] {
        assert_eq!(kubectl.ok(command, "").await, answer, "{command}");
    }
    assert_eq!(kubectl.ok("get configmap settings -n team -o jsonpath={.data.a}", "").await, "b");
    assert_eq!(kubectl.ok("get secret token -n team -o jsonpath={.data.a}", "").await, "Yg==");
    assert_eq!(
        kubectl.ok("get service web -n team -o jsonpath={.spec.ports[0].targetPort}", "").await,
        "8080"
    );
    assert_eq!(kubectl.ok("auth can-i create pods", "").await, "yes\n");
    assert_eq!(kubectl.ok("delete namespace team --wait", "").await, "namespace \"team\" deleted\n");
    let missing = kubectl.run("get namespace team", "").await;
    assert_eq!(
        String::from_utf8_lossy(&missing.stderr),
        "Error from server (NotFound): namespaces \"team\" not found\n"
    );
}

#[tokio::test]
#[ignore = "needs kubectl"]
async fn a_watch_prints_changes() {
    let kubectl = Kubectl::start().await;
    kubectl.ok("create configmap first", "").await;
    let watching = kubectl.run("get configmaps --watch --request-timeout=3s", "");
    let changing = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        kubectl.ok("create configmap second", "").await;
    };
    let (output, ()) = tokio::join!(watching, changing);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("first ") && text.contains("second "), "{text}");
    let resources = kubectl.ok("api-resources --api-group=apps", "").await;
    assert!(resources.contains("deployments"), "{resources}");
}

#[tokio::test]
#[ignore = "needs kubectl"]
async fn workloads_become_available_and_roll_out() {
    let kubectl = Kubectl::start().await;
    kubectl.ok("apply -f -", WEB).await;
    let waited = kubectl.ok("wait --for=condition=Available deployment/web --timeout=20s", "").await;
    assert_eq!(waited, "deployment.apps/web condition met\n");
    kubectl.ok("set image deployment/web main=app:2", "").await;
    let rolled = kubectl.ok("rollout status deployment/web --timeout=20s", "").await;
    assert!(rolled.ends_with("deployment \"web\" successfully rolled out\n"), "{rolled}");
    let history = kubectl.ok("rollout history deployment/web", "").await;
    assert!(history.lines().any(|line| line.starts_with("2 ")), "{history}");
    let pods = kubectl.ok("get pods -l app=web -o jsonpath={.items[*].spec.containers[0].image}", "").await;
    assert!(pods.split(' ').all(|image| image == "app:2"), "{pods}");
    kubectl.ok("rollout undo deployment/web", "").await;
    kubectl.ok("rollout status deployment/web --timeout=20s", "").await;
    let described = kubectl.ok("describe deployment web", "").await;
    assert!(described.contains("ScalingReplicaSet"), "{described}");
    kubectl.ok("logs deployment/web", "").await;
    kubectl.ok("create job once --image=app:1", "").await;
    let done = kubectl.ok("wait --for=condition=Complete job/once --timeout=20s", "").await;
    assert_eq!(done, "job.batch/once condition met\n");
    kubectl.ok("delete deployment web --wait --cascade=foreground", "").await;
    assert_eq!(kubectl.ok("get pods -l app=web", "").await, "");
}

#[tokio::test]
#[ignore = "needs kubectl"]
async fn nodes_are_drained_and_pods_end_with_or_without_grace() {
    let kubectl = Kubectl::start().await;
    kubectl.ok("apply -f -", WEB).await;
    kubectl.ok("wait --for=condition=Available deployment/web --timeout=20s", "").await;
    let drained = kubectl.ok("drain node-1 --timeout=20s", "").await;
    assert!(drained.ends_with("node/node-1 drained\n"), "{drained}");
    assert!(kubectl.ok("get node node-1", "").await.contains("SchedulingDisabled"));
    kubectl.ok("uncordon node-1", "").await;
    kubectl.ok("run one --image=app:1", "").await;
    kubectl.ok("wait --for=condition=Ready pod/one --timeout=20s", "").await;
    let logs = kubectl.run("logs -f one", "");
    let deleting = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        kubectl.ok("delete pod one --wait", "").await
    };
    let (logs, deleted) = tokio::join!(logs, deleting);
    assert!(deleted.starts_with("pod \"one\" deleted"), "{deleted}");
    assert!(String::from_utf8_lossy(&logs.stdout).contains("ready\n"));
    kubectl.ok("run two --image=app:1", "").await;
    kubectl.ok("wait --for=condition=Ready pod/two --timeout=20s", "").await;
    kubectl.ok("delete pod two --force --grace-period=0", "").await;
    let exec = kubectl.run("exec deployment/web -- ls", "").await;
    assert!(String::from_utf8_lossy(&exec.stderr).contains("simulated"));
}

#[tokio::test]
#[ignore = "needs kubectl"]
async fn users_are_told_who_they_are_and_what_they_may() {
    let kubectl = Kubectl::start().await;
    kubectl.ok("create namespace team", "").await;
    kubectl.ok("create serviceaccount robot -n team", "").await;
    kubectl.ok("create rolebinding readers -n team --clusterrole=view --serviceaccount=team:robot", "").await;
    kubectl.ok("create role one -n team --verb=get --resource=secrets --resource-name=token", "").await;
    kubectl.ok("create rolebinding one -n team --role=one --user=ann --group=devs", "").await;
    let whoami = kubectl.ok("auth whoami -o jsonpath={.status.userInfo.username}", "").await;
    assert_eq!(whoami, "kubernetes-admin");
    let token = kubectl.ok("create token robot -n team --duration=20m", "").await;
    // kubectl itself shows tokens to servers with TLS alone.
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token.trim()}});
    let reviewed = kubectl
        .ok("create --validate=false -f - -o jsonpath={.status.user.username}", &review.to_string())
        .await;
    assert_eq!(reviewed, "system:serviceaccount:team:robot");
    let robot = "--as=system:serviceaccount:team:robot";
    for (who, question, answer) in [
        (robot, "list pods -n team", "yes\n"),
        (robot, "list secrets -n team", "no\n"),
        (robot, "get pods --subresource=log -n team", "yes\n"),
        ("--as=ann", "get secret/token -n team", "yes\n"),
        ("--as=ann", "get secret/other -n team", "no\n"),
        ("--as=bob --as-group=devs", "get secret/token -n team", "yes\n"),
        ("--as=bob", "get /version", "yes\n"),
        ("--as=bob", "get /metrics", "no\n"),
        ("", "* *", "yes\n"),
    ] {
        let output = kubectl.run(&format!("{who} auth can-i {question}"), "").await;
        assert_eq!(String::from_utf8_lossy(&output.stdout), answer, "{question}");
    }
    let listed = kubectl.ok("auth can-i --list --as=ann -n team", "").await;
    assert!(listed.contains("[token]"), "{listed}");
    let refused = kubectl.run(&format!("get pods -n default {robot}"), "").await;
    assert_eq!(
        String::from_utf8_lossy(&refused.stderr),
        "Error from server (Forbidden): pods is forbidden: User \"system:serviceaccount:team:robot\" cannot list resource \
         \"pods\" in API group \"\" in the namespace \"default\"\n"
    );
    let reconciled = kubectl.ok("auth reconcile -f -", ROLE).await;
    assert!(reconciled.contains("clusterrole.rbac.authorization.k8s.io/reader reconciled"), "{reconciled}");
}

const ROLE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
"#;
