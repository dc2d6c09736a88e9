//! The suite of the Kubernetes API: on the embedded one always, on a real one where `KUBECONFIG` names it.

use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use platform_testkit::conformance::{Verdict, kubernetes::Suite};
use platform_testkit::kubernetes::EmbeddedApi;

/// Clients of the same server: one that may do everything, and one that shows no credentials.
fn clients(mut config: Config) -> (Client, Client) {
    // Refusals are what is checked: they are not to be tried again.
    config.default_retry = false;
    let client = Client::try_from(config.clone()).expect("a client");
    config.auth_info = AuthInfo::default();
    (client, Client::try_from(config).expect("a client"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_api_conforms() {
    let api = EmbeddedApi::builder().start().await.expect("the cluster starts");
    let mut config = Config::new(api.url().parse().expect("a URL"));
    // Where the machine trusts nobody the client would refuse to be made, even without TLS.
    config.root_cert = Some(Vec::new());
    let (client, stranger) = clients(config);
    let report = Suite::new(client).stranger(stranger).run().await;
    println!("{report}");
    let skipped: Vec<_> =
        report.results().iter().filter(|one| matches!(one.verdict, Verdict::Skipped(_))).collect();
    assert!(skipped.len() <= 2, "only what is documented as not simulated is skipped: {skipped:?}");
    assert!(report.into_result().is_ok());
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubernetes"]
async fn a_real_server_conforms() {
    let file = std::env::var_os("KUBECONFIG").expect("KUBECONFIG names a cluster");
    let kubeconfig = Kubeconfig::read_from(file).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let (client, stranger) = clients(config.expect("a configuration"));
    let report = Suite::new(client).stranger(stranger).run().await;
    println!("{report}");
    assert!(report.into_result().is_ok());
}
