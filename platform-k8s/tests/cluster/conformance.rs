//! The conformance suite on every server that there is.

use crate::{log, name, two_handles};
use platform_core::cluster::ClusterAccess;
use platform_k8s::access_from_kubeconfig;
use platform_testkit::{conformance::cluster::Suite, kubernetes::EmbeddedApi};
use std::path::PathBuf;

#[tokio::test(flavor = "multi_thread")]
async fn on_the_embedded_api() {
    log();
    let api = EmbeddedApi::builder().start().await.unwrap();
    let (cluster, rival) = two_handles(&ClusterAccess::new(name(), api.url()));
    let report = Suite::new(&cluster).rival(&rival).run().await;
    println!("{report}");
    assert!(report.into_result().is_ok());
    api.stop().await;
}

/// Set `PLATFORM_WORKLOAD_IMAGE` to an image that the nodes have, where there are nodes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn on_a_real_cluster() {
    log();
    let kubeconfig = PathBuf::from(std::env::var_os("KUBECONFIG").expect("KUBECONFIG names a cluster"));
    let access = access_from_kubeconfig(&kubeconfig, None, name()).unwrap();
    let (cluster, rival) = two_handles(&access);
    let suite = Suite::new(&cluster).rival(&rival);
    let suite = match std::env::var("PLATFORM_WORKLOAD_IMAGE") {
        Ok(image) => suite.image(image),
        Err(_) => suite.without_workloads(),
    };
    let report = suite.run().await;
    println!("{report}");
    assert!(report.into_result().is_ok());
}
