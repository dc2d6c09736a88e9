//! Clusters that are made, changed and deleted.

use crate::server::{Emulator, cluster, platform};
use async_trait::async_trait;
use platform_aws::{ApiServerAddress, ApiServers, settings::EksSettings};
use platform_core::{
    ErrorKind, Result,
    cluster::{ClusterChange, ClusterPhase, ClusterProvider, Clusters, Deletion},
    event::Progress,
    name::ClusterName,
};
use platform_testkit::conformance;
use std::sync::Arc;

const RICH: &str = "
network: { new: { zones: 3, natGateways: per-zone } }
nodeGroups:
  - { name: workers, instanceTypes: [m7i.large, m6i.large] }
  - { name: batch, capacityType: spot, scaling: { min: 0, max: 4, desired: 0 }, taints: [{ key: batch, effect: no-schedule }] }
fargateProfiles: [{ name: jobs, selectors: [{ namespace: jobs, labels: { run: fargate } }] }]
addons:
  - { name: vpc-cni, version: v1.20.4-eksbuild.2, configuration: { env: { WARM_IP_TARGET: '2' } } }
  - { name: kube-proxy }
  - { name: eks-pod-identity-agent }
  - { name: coredns }
  - { name: aws-ebs-csi-driver }
accessEntries: [{ principal: 'arn:aws:iam::123456789012:role/developers', policies: [{ policy: edit, namespaces: [api1] }] }]
serviceAccountRoles:
  - { namespace: kube-system, serviceAccount: ebs-csi-controller-sa, policies: ['arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy'] }
  - { namespace: api1, serviceAccount: uploads, policies: ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess'], mechanism: irsa }
";

/// The emulator has one address for all API servers.
#[derive(Debug)]
struct Doors;

#[async_trait]
impl ApiServers for Doors {
    async fn address(&self, cluster: &ClusterName) -> Result<Option<ApiServerAddress>> {
        let server = format!("https://{cluster}.example.com");
        Ok(Some(ApiServerAddress { server, certificate_authority: None }))
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn the_conformance_suite_of_providers_passes() {
    let emulator = Emulator::start().await;
    let (provider, _) = emulator.provider(|builder| builder.api_servers(Arc::new(Doors))).await;
    let report = conformance::provider::run(&provider, &platform()).await;
    println!("{report}");
    report.into_result().unwrap();
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_cluster_with_everything_is_made_and_nothing_of_it_stays() {
    let emulator = Emulator::start().await;
    for model in ["eks::cluster", "eks::nodegroup", "eks::addon"] {
        emulator.slow_down(model, 2);
    }
    let settings = EksSettings::from_yaml(RICH).unwrap();
    let (provider, wire) = emulator.provider(|builder| builder.settings(Clusters::All, settings)).await;
    let spec = cluster("shop-testing");
    let vpcs = provider.aws().network.vpcs().await.unwrap().len();
    assert_eq!(provider.plan(&spec).await.unwrap(), ClusterChange::Create);
    let status = provider.create(&spec, &Progress::silent()).await.unwrap();
    assert_eq!(status.phase, ClusterPhase::Running);
    assert_eq!(provider.aws().stacks.list().await.unwrap().len(), 2);
    assert_eq!(provider.aws().network.vpcs().await.unwrap().len(), vpcs + 1);

    assert_eq!(provider.changes(&spec).await.unwrap().unwrap().to_string(), "");
    assert_eq!(provider.plan(&spec).await.unwrap(), ClusterChange::Unchanged);
    wire.take_calls();
    provider.create(&spec, &Progress::silent()).await.unwrap();
    let calls = wire.take_calls();
    let written: Vec<_> = calls
        .iter()
        .filter(|call| !call.what.starts_with("GET") && !call.what.contains("Describe"))
        .collect();
    assert!(written.is_empty(), "creating it again writes {written:?}");

    let silent = Progress::silent();
    assert_eq!(provider.delete(&platform(), &spec.name, &silent).await.unwrap(), Deletion::Deleted);
    assert_eq!(provider.delete(&platform(), &spec.name, &silent).await.unwrap(), Deletion::Absent);
    assert_eq!(provider.aws().stacks.list().await.unwrap(), []);
    assert_eq!(provider.aws().network.vpcs().await.unwrap().len(), vpcs);
    assert!(provider.aws().clusters.list().await.unwrap().is_empty());
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn changes_are_planned_made_and_then_nothing_is_left_to_do() {
    let emulator = Emulator::start().await;
    let (provider, _) = emulator.provider(|builder| builder).await;
    let spec = cluster("shop-testing");
    provider.create(&spec, &Progress::silent()).await.unwrap();

    let changed = EksSettings::from_yaml(
        "
        nodeGroups: [{ name: workers, labels: { pool: general } }, { name: more }]
        addons: [{ name: vpc-cni }, { name: kube-proxy }, { name: eks-pod-identity-agent }, { name: coredns }]
        accessEntries: [{ principal: 'arn:aws:iam::123456789012:role/readers', policies: [{ policy: view }] }]
        logging: [audit]
        ",
    )
    .unwrap();
    let (provider, _) = emulator.provider(|builder| builder.settings(Clusters::All, changed)).await;
    let changes = provider.changes(&spec).await.unwrap().unwrap();
    let lines: Vec<String> = changes.changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "logging: api, audit, authenticator -> audit",
            "access entry arn:aws:iam::123456789012:role/readers: to be created",
            "node group workers: labels: none -> pool=general",
            "node group more: to be created",
            "addon metrics-server: to be removed",
        ]
    );
    provider.create(&spec, &Progress::silent()).await.unwrap();
    let rest = provider.changes(&spec).await.unwrap().unwrap();
    assert_eq!(rest.to_string(), "");

    let policies = EksSettings::from_yaml(
        "
        nodeGroups: [{ name: workers, labels: { pool: general } }]
        addons: [{ name: vpc-cni }, { name: kube-proxy }, { name: eks-pod-identity-agent }, { name: coredns }]
        accessEntries: [{ principal: 'arn:aws:iam::123456789012:role/readers', groups: [shop], policies: [{ policy: edit, namespaces: [api1] }] }]
        logging: [audit]
        ",
    )
    .unwrap();
    let (provider, _) = emulator.provider(|builder| builder.settings(Clusters::All, policies)).await;
    let changes = provider.changes(&spec).await.unwrap().unwrap();
    let lines: Vec<String> = changes.changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "access entry arn:aws:iam::123456789012:role/readers: groups: none -> shop, \
             policies: AmazonEKSViewPolicy -> AmazonEKSEditPolicy(api1)",
            "node group more: to be drained and deleted",
        ]
    );
    provider.create(&spec, &Progress::silent()).await.unwrap();
    assert_eq!(provider.changes(&spec).await.unwrap().unwrap().to_string(), "");

    let (provider, _) = emulator
        .provider(|builder| {
            let settings =
                "nodeGroups: [{ name: workers, instanceTypes: [c7i.large] }]\nnetwork: { new: { zones: 3 } }";
            builder.settings(Clusters::All, EksSettings::from_yaml(settings).unwrap())
        })
        .await;
    let ClusterChange::Recreate { differences } = provider.plan(&spec).await.unwrap() else {
        panic!("it is no recreation")
    };
    assert!(differences[0].contains("zones: 2 -> 3"), "{differences:?}");
    assert!(differences[1].contains("instanceTypes: m7i.large -> c7i.large"), "{differences:?}");
    let error = provider.create(&spec, &Progress::silent()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
