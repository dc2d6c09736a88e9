//! How many calls plans and creations make.

use crate::{
    server::{Emulator, cluster, platform},
    wire::{Call, Wire},
};
use futures::future::try_join_all;
use platform_aws::settings::EksSettings;
use platform_core::{
    cluster::{ClusterChange, ClusterProvider, Clusters},
    event::Progress,
};
use std::collections::BTreeMap;

const NAMES: [&str; 4] = ["shop-testing", "shop-staging", "shop-production", "shop-control"];

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_plan_of_four_clusters_where_nothing_differs_makes_fewer_than_30_calls() {
    let emulator = Emulator::start().await;
    let (provider, _) = emulator.provider(|builder| builder).await;
    let specs = NAMES.map(cluster);
    let silent = Progress::silent();
    try_join_all(specs.iter().map(|spec| provider.create(spec, &silent))).await.unwrap();

    // As a program of its own, in the order of a platform's plan.
    let (provider, wire) = emulator.provider(|builder| builder).await;
    let plans = specs.iter().map(|spec| async {
        let change = provider.plan(spec).await?;
        provider.warnings(spec).await?;
        provider.describe(&platform(), &spec.name).await?;
        provider.access(&platform(), &spec.name).await?;
        Ok::<_, platform_core::Error>(change)
    });
    let changes = try_join_all(plans).await.unwrap();
    assert_eq!(changes, [const { ClusterChange::Unchanged }; 4]);
    assert_eq!(provider.list(&platform()).await.unwrap().len(), 4);
    let calls = wire.take_calls();
    println!("{} calls for a plan of 4 clusters:\n{}", calls.len(), table(&calls));
    assert!(calls.len() < 30, "{calls:#?}");
}

/// How often each was called.
fn table(calls: &[Call]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for call in calls {
        let general = NAMES.iter().fold(call.what.clone(), |what, name| what.replace(name, "NAME"));
        *counts.entry(general).or_default() += 1;
    }
    counts.iter().map(|(what, count)| format!("{count:>4}  {what}")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_creation_makes_few_calls_for_each_thing_that_it_makes() {
    let rich = "
        nodeGroups: [{ name: workers }, { name: batch }]
        fargateProfiles: [{ name: jobs, selectors: [{ namespace: jobs }] }]
        accessEntries: [{ principal: 'arn:aws:iam::123456789012:role/developers', policies: [{ policy: view }] }]
        serviceAccountRoles:
          - { namespace: api1, serviceAccount: uploads, policies: ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess'] }
        ";
    println!("{:<10} {:>6} {:>10} {:>6}", "settings", "calls", "resources", "ratio");
    for (name, settings, most) in [("default", "{}", BOUNDS[0]), ("rich", rich, BOUNDS[1])] {
        let emulator = Emulator::start().await;
        let settings = EksSettings::from_yaml(settings).unwrap();
        let (provider, wire) = emulator.provider(|builder| builder.settings(Clusters::All, settings)).await;
        provider.create(&cluster("shop-testing"), &Progress::silent()).await.unwrap();
        let calls = wire.take_calls();
        let made: usize = Wire::made(&calls).values().sum();
        let ratio = calls.len() as f64 / made as f64;
        println!("{name:<10} {:>6} {made:>10} {ratio:>6.2}", calls.len());
        assert!(calls.len() <= most, "{name}: {} calls\n{}", calls.len(), table(&calls));
    }
}

/// The calls that were measured, and two more.
const BOUNDS: [usize; 2] = [35, 42];
