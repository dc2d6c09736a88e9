//! What the library itself takes to make four clusters of EKS, and how much it asks of AWS.
//!
//! ```text
//! cargo bench -p platform-aws --bench create -- --check
//! ```
//!
//! Needs nothing: an AWS in memory answers at once, so that no time but that of the library is measured. With `--check` it fails where a goal is missed.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../tests/support/fake.rs"]
#[allow(dead_code, reason = "the tests of polling use the rest")]
mod fake;

use aws_credential_types::Credentials;
use fake::Fake;
use futures::future::try_join_all;
use platform_aws::EksProvider;
use platform_core::{
    cluster::{ClusterChange, ClusterProvider, ClusterRole, ClusterSpec},
    event::Progress,
    name::{ClusterName, PlatformName},
};
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

const CLUSTERS: usize = 4;
const ROUNDS: usize = 5;
/// What making all of them may take of the library's own time.
const CREATION: Duration = Duration::from_secs(2);
/// How many calls a plan of all of them may make where nothing differs: fewer than this.
const PLAN_CALLS: usize = 30;

#[derive(Debug, Clone, Copy)]
struct Round {
    create: Duration,
    create_calls: usize,
    made: usize,
    plan: Duration,
    plan_calls: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |argument: &str| arguments.iter().any(|given| given == argument);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // `cargo test --benches` runs this too, and is to be quick.
    let rounds = if has("--bench") { ROUNDS } else { 1 };
    let mut measured: Vec<Round> = (0..rounds).map(|_| runtime.block_on(round())).collect();
    measured.sort_by_key(|round| round.create);
    let median = measured[measured.len() / 2];
    let created = median.create < CREATION;
    let planned = median.plan_calls < PLAN_CALLS;
    let missed = |met: bool| if met { "" } else { "  MISSED" };
    let ratio = median.create_calls as f64 / median.made as f64;
    println!("{:<44} {:>12} {:>12} {:>22}  goal", "work", "own time", "calls", "calls by resource");
    println!(
        "{:<44} {:>9.1} ms {:>12} {:>22}  < {:.0} s{}",
        format!("create of {CLUSTERS} clusters in parallel"),
        median.create.as_secs_f64() * 1000.0,
        median.create_calls,
        format!("{ratio:.2} ({} made)", median.made),
        CREATION.as_secs_f64(),
        missed(created)
    );
    println!(
        "{:<44} {:>9.1} ms {:>12} {:>22}  < {PLAN_CALLS} calls{}",
        format!("plan of {CLUSTERS} clusters, nothing differs"),
        median.plan.as_secs_f64() * 1000.0,
        median.plan_calls,
        "-",
        missed(planned)
    );
    if has("--check") && !(created && planned) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Makes clusters, and plans them once they are there as a program of its own would.
async fn round() -> Round {
    let (fake, silent) = (Fake::default(), Progress::silent());
    let specs: Vec<ClusterSpec> = (0..CLUSTERS)
        .map(|number| {
            let name = ClusterName::new(format!("shop-{number}")).unwrap();
            let mut spec = ClusterSpec::new(platform(), name, ClusterRole::ControlPlane);
            spec.kubernetes_version = Some("1.33".to_owned());
            spec
        })
        .collect();
    let provider = provider(&fake).await;
    let began = Instant::now();
    try_join_all(specs.iter().map(|spec| provider.create(spec, &silent))).await.unwrap();
    let create = began.elapsed();
    let calls = fake.take_calls();
    let made = calls.iter().filter(|call| call.action.contains(":Create")).count();

    let provider = self::provider(&fake).await;
    let began = Instant::now();
    let plans = specs.iter().map(|spec| async {
        assert_eq!(provider.plan(spec).await.unwrap(), ClusterChange::Unchanged);
        assert!(provider.warnings(spec).await.unwrap().is_empty());
        provider.describe(&platform(), &spec.name).await.unwrap().unwrap();
        provider.access(&platform(), &spec.name).await
    });
    try_join_all(plans).await.unwrap();
    provider.list(&platform()).await.unwrap();
    let plan = began.elapsed();
    Round { create, create_calls: calls.len(), made, plan, plan_calls: fake.take_calls().len() }
}

fn platform() -> PlatformName {
    PlatformName::new("shop").unwrap()
}

async fn provider(fake: &Fake) -> EksProvider {
    let builder = EksProvider::builder().region("eu-west-1").credentials(Credentials::new(
        "AKIDEXAMPLE",
        "secret",
        None,
        None,
        "bench",
    ));
    let aws = fake.seam(builder.connect_aws().await.unwrap());
    builder.aws(aws).connect().await.unwrap()
}
