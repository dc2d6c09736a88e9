//! An API server that is killed and started again while a set is applied.
//!
//! `PLATFORM_CONTROL_PLANE` names a program that runs a control plane as processes: `start --data DIR` starts what of it does not run, and prints the
//! path of a kubeconfig; `stop --data DIR` ends it; `DIR/kube-apiserver.pid` has the number of the API server's process.

use super::{Place, eventually};
use crate::name;
use kube::api::ListParams;
use platform_core::{
    ErrorKind,
    cluster::{Cluster, ObjectOutcome},
};
use platform_k8s::access_from_kubeconfig;
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const OBJECTS: usize = 1000;

struct ControlPlane {
    program: OsString,
    data: tempfile::TempDir,
}

impl ControlPlane {
    fn new() -> Self {
        let program = std::env::var_os("PLATFORM_CONTROL_PLANE")
            .expect("PLATFORM_CONTROL_PLANE names a program that starts a control plane");
        Self { program, data: tempfile::tempdir().unwrap() }
    }

    /// Starts what does not run, and answers with the kubeconfig.
    fn start(&self) -> PathBuf {
        let output = self.run("start");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the control plane does not start: {said}");
        Path::new(String::from_utf8(output.stdout).unwrap().trim()).to_owned()
    }

    fn run(&self, action: &str) -> std::process::Output {
        let mut command = Command::new(&self.program);
        command.arg(action).arg("--data").arg(self.data.path());
        command.output().unwrap_or_else(|e| panic!("{} must run: {e}", self.program.display()))
    }

    fn kill_api_server(&self) {
        let pid = std::fs::read_to_string(self.data.path().join("kube-apiserver.pid")).unwrap();
        let killed = Command::new("kill").args(["-9", pid.trim()]).status().unwrap();
        assert!(killed.success());
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.run("stop");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn an_api_server_that_restarts_in_the_middle_loses_nothing() {
    let control_plane = ControlPlane::new();
    let kubeconfig = control_plane.start();
    let place = Place::at(access_from_kubeconfig(&kubeconfig, None, name()).unwrap(), "restart").await;
    let set = place.set((1..OBJECTS).map(|i| place.config(&format!("map-{i}"), "1")));
    let options = place.options.clone().deadline(Duration::from_secs(300));

    let applying = tokio::spawn({
        let (cluster, set, options) = (place.cluster.clone(), set.clone(), options.clone());
        async move { cluster.apply(&set, &options).await }
    });
    let written =
        || async { place.maps().list_metadata(&ListParams::default()).await.map_or(0, |l| l.items.len()) };
    eventually("a part is written", || async { written().await > 50 }).await;
    control_plane.kill_api_server();
    assert!(!applying.is_finished(), "all was written before the API server was killed");
    let error = place.another().version().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    control_plane.start();

    // It outlasts the restart, or says that it has not.
    let first = applying.await.unwrap();
    match &first {
        Ok(report) => assert_eq!(report.count(ObjectOutcome::Created), OBJECTS),
        Err(error) => assert!(error.is_retryable() || error.kind() == ErrorKind::Timeout, "{error}"),
    }
    println!(
        "the apply in the middle of which the API server was killed: {first:?}",
        first = first.map(|r| r.wrote())
    );
    place.cluster.apply(&set, &options).await.unwrap();
    assert!(!place.cluster.apply(&set, &options).await.unwrap().wrote());
    let there = place.maps().list(&ListParams::default().labels("platform.dev/platform")).await.unwrap();
    assert_eq!(there.items.len(), OBJECTS - 1);
}
