//! Images that are brought to the nodes.

use crate::{builder, clean, machine, run, spec};
use platform_core::{
    ErrorKind,
    cluster::{ClusterChange, ClusterProvider},
    event::Progress,
};
use platform_k8s::kind::Clusters;

/// Makes an image of one small file in the engine. Its content is `content`.
fn make(name: &str, content: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = |file: &str| directory.path().join(file).to_str().unwrap().to_owned();
    std::fs::write(path("content"), content).unwrap();
    let folder = directory.path().to_str().unwrap();
    run("tar", &["--create", "--file", &path("image.tar"), "--directory", folder, "content"]);
    run("docker", &["import", &path("image.tar"), name]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind"]
async fn images_are_loaded_once_and_again_when_they_change() {
    let _machine = machine().await;
    let (spec, progress) = (spec("kind-images"), Progress::silent());
    let (first, second) = ("platform-test/first:1", "platform-test/second:1");
    make(first, "one");
    make(second, "two");
    let kind = builder().load_image(Clusters::All, first).build().unwrap();
    clean(&kind, &spec).await;
    kind.create(&spec, &progress).await.unwrap();
    assert_eq!(kind.plan(&spec).await.unwrap(), ClusterChange::Unchanged);

    let load = async |images: &[&str]| kind.load_images(&spec.platform, &spec.name, images, &progress).await;
    assert_eq!(load(&[first, second]).await.unwrap(), [second]);
    assert_eq!(load(&[first, second]).await.unwrap(), Vec::<String>::new());
    let error = load(&["platform-test/none:1"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("docker pull platform-test/none:1"), "{error}");

    make(first, "changed");
    let differences = vec![format!("image {first}: absent -> loaded")];
    assert_eq!(kind.plan(&spec).await.unwrap(), ClusterChange::Update { differences });
    kind.create(&spec, &progress).await.unwrap();
    assert_eq!(kind.plan(&spec).await.unwrap(), ClusterChange::Unchanged);
    clean(&kind, &spec).await;
    run("docker", &["image", "rm", first, second]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kind"]
async fn a_missing_image_is_told_before_anything_is_made() {
    let _machine = machine().await;
    let kind = builder().load_image(Clusters::All, "platform-test/none:1").build().unwrap();
    let spec = spec("kind-missing");
    let error = kind.create(&spec, &Progress::silent()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(kind.describe(&spec.platform, &spec.name).await.unwrap(), None);
}
