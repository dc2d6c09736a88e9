//! A cluster that somebody else made is looked at and taken over.

use crate::server::{Emulator, cluster, platform};
use aws_sdk_eks::{
    operation::{
        create_addon::builders::CreateAddonInputBuilder, create_cluster::builders::CreateClusterInputBuilder,
        create_nodegroup::builders::CreateNodegroupInputBuilder,
    },
    types::VpcConfigRequest,
};
use platform_aws::{
    adoption::{Origin, inspect},
    api::Aws,
    settings::{EksSettings, Endpoint, ExistingRoles, Network, NodeGroup},
};
use platform_core::{
    ErrorKind,
    cluster::{ClusterChange, ClusterProvider, Clusters, Deletion},
    event::Progress,
    name::PlatformName,
};

async fn make_cluster(aws: &Aws, name: &str) {
    let network = VpcConfigRequest::builder().subnet_ids("subnet-1").subnet_ids("subnet-2").build();
    let cluster = CreateClusterInputBuilder::default()
        .name(name)
        .version("1.33")
        .role_arn("arn:aws:iam::123456789012:role/control-plane")
        .resources_vpc_config(network)
        .tags("alpha.eksctl.io/cluster-name", name);
    aws.clusters.create(cluster).await.unwrap();
}

async fn make_nodes(aws: &Aws) {
    let group = CreateNodegroupInputBuilder::default()
        .cluster_name("shop-production")
        .nodegroup_name("workers")
        .subnets("subnet-1")
        .instance_types("m5.large")
        .node_role("arn:aws:iam::123456789012:role/nodes");
    aws.node_groups.create(group).await.unwrap();
    let addon = CreateAddonInputBuilder::default().cluster_name("shop-production").addon_name("vpc-cni");
    aws.addons.create(addon).await.unwrap();
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_cluster_of_eksctl_is_inspected() {
    let emulator = Emulator::start().await;
    let aws = Aws::new(&emulator.configuration("eu-west-1"));
    make_cluster(&aws, "shop-production").await;
    make_nodes(&aws).await;
    let inspection = inspect(&aws, "shop-production").await.unwrap();
    assert_eq!(inspection.origin, Origin::Eksctl);
    let settings = inspection.settings();
    assert!(matches!(&settings.network, Network::Existing(network) if network.subnets == ["subnet-1"]));
    assert_eq!(settings.node_groups[0].name, "workers");
    assert_eq!(settings.addons.unwrap()[0].name, "vpc-cni");
    assert_eq!(inspect(&aws, "nobody").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn a_cluster_is_imported_once() {
    let emulator = Emulator::start().await;
    let aws = Aws::new(&emulator.configuration("eu-west-1"));
    // The emulator tags clusters, and no node groups.
    make_cluster(&aws, "shop-production").await;
    let import = async |platform: &str| {
        let inspection = inspect(&aws, "shop-production").await.unwrap();
        inspection.import(&PlatformName::new(platform).unwrap())
    };
    let shop = import("shop").await;
    shop.apply(&aws, "shop").await.unwrap_err();
    shop.apply(&aws, "shop-production").await.unwrap();
    let tags = aws.clusters.describe("shop-production").await.unwrap().tags.unwrap();
    assert_eq!(tags["platform.dev/platform"], "shop");
    assert_eq!(tags["platform.dev/imported"], "true");
    let refused = import("other").await.apply(&aws, "shop-production").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.to_string().contains("it belongs to the platform shop"), "{refused}");
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn an_imported_cluster_is_managed_without_a_network_of_ours() {
    let emulator = Emulator::start().await;
    let (provider, _) = emulator.provider(|builder| builder).await;
    let (spec, silent) = (cluster("shop-testing"), Progress::silent());
    make_cluster(provider.aws(), "shop-testing").await;
    assert_eq!(provider.create(&spec, &silent).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let inspection = provider.inspect("shop-testing").await.unwrap();
    inspection.import(&platform()).apply(provider.aws(), "shop-testing").await.unwrap();

    // With settings that want a network of its own it would be another cluster.
    let ClusterChange::Recreate { differences } = provider.plan(&spec).await.unwrap() else {
        panic!("not refused")
    };
    assert!(differences[0].contains("Inspection::settings"), "{differences:?}");
    assert_eq!(provider.create(&spec, &silent).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(provider.aws().stacks.list().await.unwrap(), []);

    let mut settings: EksSettings = inspection.settings();
    let node = Some("arn:aws:iam::123456789012:role/nodes".to_owned());
    settings.roles = settings.roles.map(|roles| ExistingRoles { node, ..roles });
    settings.node_groups = vec![NodeGroup::new("workers")];
    settings.addons = None;
    // The emulator tells neither of VPCs nor of endpoints.
    if let Network::Existing(network) = &mut settings.network {
        network.vpc = "vpc-1".to_owned();
    }
    settings.endpoint = Endpoint::default();
    let (provider, _) = emulator.provider(|builder| builder.settings(Clusters::All, settings)).await;
    let status = provider.create(&spec, &silent).await.unwrap();
    assert_eq!(status.nodes, 1);
    assert_eq!(provider.plan(&spec).await.unwrap(), ClusterChange::Unchanged);
    assert_eq!(provider.aws().stacks.list().await.unwrap(), []);
    assert_eq!(provider.delete(&platform(), &spec.name, &silent).await.unwrap(), Deletion::Deleted);
    assert!(provider.aws().clusters.list().await.unwrap().is_empty());
}
