//! Makes three environments and a control plane, each its own cluster, looks at them, and takes them down.
//!
//! ```text
//! cargo run --example 02_environments
//! ```

use platform_core::{Confirmation, Environment, Platform};
use platform_examples::show;
use platform_k8s::{Kubernetes, components::NodeExporter};
use platform_testkit::EmbeddedProvider;

#[tokio::main]
async fn main() -> platform_examples::Result {
    platform_examples::log_to_stderr();
    let platform = Platform::builder("shop")?
        .environment(Environment::new("testing")?)
        .environment(Environment::new("staging")?)
        .environment(Environment::new("production")?.protected(true).nodes(3))
        .component(NodeExporter::new()?)
        .provider(EmbeddedProvider::in_memory())
        .orchestrator(Kubernetes::default())
        .build()?;

    // One call applies; its events are a stream.
    let plan = platform.plan().await?;
    println!("{}", plan.summary());
    let mut applying = platform.apply(&plan)?;
    let events = applying.events();
    let (applied, ()) = tokio::join!(applying, show(events));
    println!("{} objects were written\n", applied?.objects.written());

    for cluster in platform.status().await?.clusters {
        let version = cluster.kubernetes_version.unwrap_or_default();
        println!("{:<20} {:<14} {} nodes, {version}", cluster.name, cluster.role.to_string(), cluster.nodes);
    }

    // A second time, everything is as wanted and nothing is written.
    let again = platform.plan().await?;
    println!("\n{}", again.summary());
    let applied = platform.apply(&again)?.await?;
    println!("{} objects were written\n", applied.objects.written());

    // What is protected must be named to be destroyed.
    if let Err(refused) = platform.destroy(&Confirmation::new("shop")).await {
        println!("{refused}");
    }
    let destroyed = platform.destroy(&Confirmation::new("shop").including("production")).await?.await?;
    println!("{}", destroyed.report);
    Ok(())
}
