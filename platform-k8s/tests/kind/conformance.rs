//! The conformance suites, on kind.

use crate::{builder, clean, machine, platform, spec};
use platform_core::{cluster::ClusterProvider, event::Progress};
use platform_k8s::Kubernetes;
use platform_testkit::conformance::{cluster::Suite, provider};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind"]
async fn of_providers() {
    let _machine = machine().await;
    let kind = builder().build().unwrap();
    let report = provider::run(&kind, &platform("kind-suite")).await;
    println!("{report}");
    assert!(report.into_result().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind"]
async fn of_clusters() {
    let _machine = machine().await;
    let (kind, spec) = (builder().build().unwrap(), spec("kind-cluster"));
    clean(&kind, &spec).await;
    kind.create(&spec, &Progress::silent()).await.unwrap();
    let access = kind.access(&spec.platform, &spec.name).await.unwrap();
    let cluster = Kubernetes::default().connect_kube(&access).unwrap();
    let rival = Kubernetes::default().field_manager("rival").connect_kube(&access).unwrap();
    let suite = Suite::new(&cluster).rival(&rival);
    let suite = match std::env::var("PLATFORM_WORKLOAD_IMAGE") {
        Ok(image) => suite.image(image),
        Err(_) => suite,
    };
    let report = suite.run().await;
    println!("{report}");
    assert!(report.into_result().is_ok());
    clean(&kind, &spec).await;
}
