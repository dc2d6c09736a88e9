//! Runs that are broken off at every call, and are completed by running again.

use crate::{
    server::{Emulator, cluster, platform},
    wire::{Break, Wire},
};
use platform_aws::{EksProvider, settings::EksSettings};
use platform_core::{
    Result,
    cluster::{ClusterProvider, ClusterSpec, Clusters},
    event::Progress,
};

/// Little of everything: two stacks, a group, a profile, addons before and after nodes, an entry, an association.
const SETTINGS: &str = "
nodeGroups: [{ name: workers }]
fargateProfiles: [{ name: jobs, selectors: [{ namespace: jobs }] }]
addons: [{ name: vpc-cni }, { name: eks-pod-identity-agent }, { name: coredns }]
accessEntries: [{ principal: 'arn:aws:iam::123456789012:role/developers', policies: [{ policy: view }] }]
serviceAccountRoles:
  - { namespace: api1, serviceAccount: uploads, policies: ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess'] }
  - { namespace: api1, serviceAccount: reads, policies: ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess'], mechanism: irsa }
";

async fn provider(emulator: &Emulator) -> (EksProvider, Wire) {
    let settings = EksSettings::from_yaml(SETTINGS).unwrap();
    emulator.provider(|builder| builder.settings(Clusters::All, settings)).await
}

/// A run that ends by itself, or is killed where the wire says so.
async fn run<T>(wire: &Wire, work: impl Future<Output = Result<T>>) -> Option<Result<T>> {
    tokio::select! {
        done = work => Some(done),
        () = wire.killed() => None,
    }
}

/// Nothing of ours is left, and what was there before is.
async fn assert_nothing(provider: &EksProvider, vpcs: usize) {
    assert!(provider.aws().clusters.list().await.unwrap().is_empty());
    assert_eq!(provider.aws().stacks.list().await.unwrap(), []);
    assert_eq!(provider.aws().network.vpcs().await.unwrap().len(), vpcs);
}

async fn assert_whole(provider: &EksProvider, spec: &ClusterSpec, vpcs: usize) {
    assert_eq!(provider.changes(spec).await.unwrap().unwrap().to_string(), "");
    assert_eq!(provider.aws().clusters.list().await.unwrap(), [spec.name.as_str()]);
    assert_eq!(provider.aws().stacks.list().await.unwrap().len(), 2);
    assert_eq!(provider.aws().network.vpcs().await.unwrap().len(), vpcs + 1);
    let policies = provider.aws().access.list_associations(spec.name.as_str()).await.unwrap();
    assert_eq!(policies.len(), 1);
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_creation_that_is_broken_off_at_any_call_is_completed_by_the_next() {
    let emulator = Emulator::start().await;
    let (first, wire) = provider(&emulator).await;
    let (spec, silent) = (cluster("shop-testing"), Progress::silent());
    let vpcs = first.aws().network.vpcs().await.unwrap().len();
    wire.take_calls();
    first.create(&spec, &silent).await.unwrap();
    let calls = wire.take_calls();
    let reference = Wire::made(&calls);
    assert!(reference.values().all(|times| *times == 1), "{reference:?}");
    assert_eq!(reference.keys().filter(|what| what.contains("CreateStack")).count(), 2);
    first.delete(&platform(), &spec.name, &silent).await.unwrap();
    assert_nothing(&first, vpcs).await;

    let mut seen = 0;
    for at in 0..calls.len() {
        for how in Break::at(at).into_iter().chain([Break::LoseAnswer]) {
            let place = format!("{how:?} at call {at} of {}", calls.len());
            // Each run is a program of its own.
            let (broken, wire) = provider(&emulator).await;
            wire.break_after(at, how);
            let ended = run(&wire, broken.create(&spec, &silent)).await;
            // What is read again on the way may be a few calls less.
            if wire.mend() == 0 {
                continue;
            }
            seen += 1;
            match (how, &ended) {
                (Break::LoseAnswer, Some(Ok(_))) | (Break::KillBefore | Break::KillAfter, None) => {}
                (Break::Before | Break::After, Some(Err(error))) => {
                    assert!(error.is_retryable(), "{place}: {error}");
                }
                (how, ended) => panic!("{place}: {how:?} ended with {ended:?}"),
            }
            let first = wire;
            let (next, wire) = provider(&emulator).await;
            next.create(&spec, &silent).await.unwrap_or_else(|error| panic!("{place}: {error}"));
            let mut made = first.take_calls();
            made.extend(wire.take_calls());
            assert_eq!(Wire::made(&made), reference, "{place}");
            assert_whole(&next, &spec, vpcs).await;
            next.delete(&platform(), &spec.name, &silent)
                .await
                .unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_nothing(&next, vpcs).await;
        }
    }
    assert!(seen > calls.len() * 3, "only {seen} faults were met");
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_deletion_that_is_broken_off_at_any_call_is_completed_by_the_next() {
    let emulator = Emulator::start().await;
    let (first, wire) = provider(&emulator).await;
    let (spec, silent) = (cluster("shop-testing"), Progress::silent());
    let vpcs = first.aws().network.vpcs().await.unwrap().len();
    first.create(&spec, &silent).await.unwrap();
    wire.take_calls();
    first.delete(&platform(), &spec.name, &silent).await.unwrap();
    let calls = wire.take_calls().len();

    let mut seen = 0;
    for at in 0..calls {
        for how in Break::at(at) {
            let place = format!("{how:?} at call {at} of {calls}");
            let (next, wire) = provider(&emulator).await;
            next.create(&spec, &silent).await.unwrap_or_else(|error| panic!("{place}: {error}"));
            wire.break_after(at, how);
            let ended = run(&wire, next.delete(&platform(), &spec.name, &silent)).await;
            seen += wire.mend();
            if let (Break::Before | Break::After, Some(Err(error))) = (how, &ended) {
                assert!(error.is_retryable(), "{place}: {error}");
            }
            let (next, _) = provider(&emulator).await;
            next.delete(&platform(), &spec.name, &silent)
                .await
                .unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_nothing(&next, vpcs).await;
        }
    }
    assert!(seen >= calls * 2, "only {seen} faults were met");
}
