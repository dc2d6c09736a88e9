//! Shows the three isolations side by side: what keeps environments apart, tried on the live clusters, and what a mistake would cost.
//!
//! ```text
//! cargo run --example 03_isolation            # what was tried, in short
//! cargo run --example 03_isolation -- --all   # every attempt
//! ```

use platform_core::{
    Application, Environment, Image, Isolation, Platform,
    isolation::{Expectation, IsolationReport, Verdict},
    name::{ClusterName, Namespace},
    platform::DeletionTarget,
};
use platform_k8s::Kubernetes;
use platform_testkit::EmbeddedProvider;
use std::collections::BTreeMap;

#[tokio::main]
async fn main() -> platform_examples::Result {
    platform_examples::log_to_stderr();
    let all = std::env::args().any(|argument| argument == "--all");
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
        platform
            .promote(&"api1".try_into()?, &"testing".try_into()?, &"production".try_into()?)
            .await?
            .await?;

        // Every border, tried with the rights of who deploys in an environment, and of who administers a cluster.
        let report = platform.verify().await?;
        if all {
            println!("{report}");
        } else {
            in_short(&report);
        }

        // What a deletion by mistake would take with it now, read from the live cluster.
        let deletions = [
            DeletionTarget::Namespace { cluster: cluster.clone(), namespace },
            DeletionTarget::Cluster(cluster),
        ];
        for deletion in deletions {
            println!("{}", platform.blast_radius(&deletion).await?);
        }
        println!();
        if !report.holds() {
            return Err(format!("{isolation}: environments are not kept apart").into());
        }
    }
    Ok(())
}

/// How many attempts were stopped by what, and what was not as it should be.
fn in_short(report: &IsolationReport) {
    println!("{}", report.to_string().lines().next().unwrap_or_default());
    let mut barriers: BTreeMap<String, usize> = BTreeMap::new();
    for attempt in report.attempts.iter().filter(|attempt| attempt.expected == Expectation::Stopped) {
        let ended = match &attempt.verdict {
            Verdict::Stopped { by } => format!("stopped by {by}"),
            Verdict::NotTried { why } => format!("not tried: {why}"),
            _ => "ALLOWED".to_owned(),
        };
        *barriers.entry(ended).or_default() += 1;
    }
    for (ended, count) in barriers {
        println!("  {count:3} {ended}");
    }
    for surprise in report.surprises() {
        println!("  ! {surprise}");
    }
}
