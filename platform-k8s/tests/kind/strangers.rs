//! Clusters that kind made for somebody else.

use crate::{builder, containers, machine, run, spec};
use platform_core::{ErrorKind, cluster::ClusterProvider, event::Progress};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind"]
async fn a_cluster_without_our_mark_is_not_touched() {
    let _machine = machine().await;
    let (kind, spec, progress) = (builder().build().unwrap(), spec("kind-other"), Progress::silent());
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let arguments = ["--name", spec.name.as_str(), "--kubeconfig", kubeconfig.to_str().unwrap()];
    let image = std::env::var("PLATFORM_KIND_IMAGE").ok();
    let image: Vec<&str> = image.iter().flat_map(|image| ["--image", image]).collect();
    run("kind", &[&["delete", "cluster"], arguments.as_slice()].concat());
    run("kind", &[&["create", "cluster"], arguments.as_slice(), &image].concat());
    let made = containers(&spec.name);

    assert_eq!(kind.list(&spec.platform).await.unwrap(), []);
    assert_eq!(kind.describe(&spec.platform, &spec.name).await.unwrap(), None);
    let refused = [
        kind.plan(&spec).await.map(drop),
        kind.create(&spec, &progress).await.map(drop),
        kind.delete(&spec.platform, &spec.name, &progress).await.map(drop),
    ];
    for error in refused.map(Result::unwrap_err) {
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("was not made by a platform"), "{error}");
    }
    assert_eq!(
        kind.access(&spec.platform, &spec.name).await.map(drop).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let image = kind.load_images(&spec.platform, &spec.name, &["a:1"], &progress).await;
    assert_eq!(image.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(containers(&spec.name), made);
    run("kind", &[&["delete", "cluster"], arguments.as_slice()].concat());
}
