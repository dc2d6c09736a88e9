//! Shows the three isolations side by side: where an application lives, what keeps it apart, and what a mistake would cost.
//!
//! ```text
//! cargo run --example 03_isolation
//! ```

use platform_core::{
    Application, Environment, Image, Isolation, Platform,
    cluster::ListOptions,
    name::{ClusterName, Namespace},
    platform::DeletionTarget,
};
use platform_k8s::Kubernetes;
use platform_testkit::EmbeddedProvider;

#[tokio::main]
async fn main() -> platform_examples::Result {
    platform_examples::log_to_stderr();
    let isolations = [
        (Isolation::NamespacePerEnvironment, "shop-shared", "production"),
        (Isolation::NamespacePerApplication, "shop-shared", "production-api1"),
        (Isolation::ClusterPerEnvironment, "shop-production", "api1"),
    ];
    for (isolation, cluster, namespace) in isolations {
        let (cluster, namespace) = (ClusterName::new(cluster)?, Namespace::new(namespace)?);
        let platform = Platform::builder("shop")?
            .isolation(isolation)
            .environment(Environment::new("testing")?)
            .environment(Environment::new("production")?.protected(true))
            .application(Application::new("api1", Image::parse("registry.example.com/api1:1")?)?.port(8080))
            .application(Application::new("api2", Image::parse("registry.example.com/api2:1")?)?.port(8080))
            .provider(EmbeddedProvider::in_memory())
            .orchestrator(Kubernetes::default())
            .build()?;
        let plan = platform.plan().await?;
        platform.apply(&plan)?.await?;
        println!("{isolation:?}: {} clusters", platform.cluster_names().len());

        // What keeps production's api1 apart, read back from the live cluster.
        let live = platform.cluster(&cluster).await?;
        let here = ListOptions::all().namespace(namespace.as_str());
        for (version, kind) in [
            ("v1", "ResourceQuota"),
            ("v1", "LimitRange"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            ("networking.k8s.io/v1", "NetworkPolicy"),
        ] {
            for object in live.list(version, kind, &here).await? {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                println!("    {kind} {namespace}/{name}");
            }
        }

        // What a deletion by mistake would take with it.
        let spec = platform.spec();
        let deletions = [
            DeletionTarget::Namespace { cluster: cluster.clone(), namespace },
            DeletionTarget::Cluster(cluster),
        ];
        for deletion in deletions {
            println!("    {}", spec.blast_radius(&deletion));
        }
        println!();
    }
    Ok(())
}
