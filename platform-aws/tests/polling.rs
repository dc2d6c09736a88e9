//! How often AWS is asked while much is being made at the same time, by default and on a clock of the test's own.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/fake.rs"]
#[allow(dead_code, reason = "the benchmark uses the rest")]
mod fake;

use aws_credential_types::Credentials;
use fake::{Call, Fake};
use futures::future::try_join_all;
use platform_aws::{EksProvider, settings::EksSettings};
use platform_core::{
    cluster::{ClusterProvider, ClusterRole, ClusterSpec, Clusters},
    event::Progress,
    name::{ClusterName, PlatformName},
};
use std::{collections::BTreeSet, time::Duration};

const CLUSTERS: usize = 8;
/// What [`platform_aws::Polling`] promises for all waits of a provider.
const IN_A_SECOND: usize = 5;

/// The most of these in any second.
fn most(calls: &[Call]) -> usize {
    let within = |first: &Call| {
        calls.iter().filter(|call| call.at >= first.at && call.at < first.at + Duration::from_secs(1)).count()
    };
    calls.iter().map(within).max().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn all_waits_of_a_provider_share_five_reads_a_second() {
    let fake = Fake::slow(12);
    let settings =
        EksSettings::from_yaml("nodeGroups: [{ name: a }, { name: b }, { name: c }, { name: d }]").unwrap();
    let builder = EksProvider::builder()
        .region("eu-west-1")
        .credentials(Credentials::new("AKIDEXAMPLE", "secret", None, None, "test"))
        .settings(Clusters::All, settings);
    let aws = fake.seam(builder.connect_aws().await.unwrap());
    let provider = builder.aws(aws).connect().await.unwrap();
    let specs: Vec<ClusterSpec> = (0..CLUSTERS)
        .map(|number| {
            let name = ClusterName::new(format!("shop-{number}")).unwrap();
            ClusterSpec::new(PlatformName::new("shop").unwrap(), name, ClusterRole::ControlPlane)
        })
        .collect();
    let silent = Progress::silent();
    let begun = tokio::time::Instant::now();
    try_join_all(specs.iter().map(|spec| provider.create(spec, &silent))).await.unwrap();

    // The first look at a thing is that of who asked for it; all that follow and find it not done are those of waits.
    let mut seen = BTreeSet::new();
    let waits: Vec<Call> = fake
        .take_calls()
        .into_iter()
        .filter(|call| call.pending.as_ref().is_some_and(|what| !seen.insert(what.clone())))
        .collect();
    println!(
        "{} waits in {} s, at most {} in a second",
        waits.len(),
        begun.elapsed().as_secs(),
        most(&waits)
    );
    // 8 clusters of a stack, a cluster and 4 groups, and of 5 addons, each looked at 12 times.
    assert!(waits.len() > CLUSTERS * 6 * 9, "{}", waits.len());
    assert!(most(&waits) <= IN_A_SECOND, "{} in a second", most(&waits));
}
