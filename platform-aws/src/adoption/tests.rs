mod fake;

use super::*;
use crate::settings::{
    AccessPolicy, AmiType, CapacityType, EksSettings, LogType, Network, Scaling, SupportType,
};
use aws_sdk_eks::types as eks;
use fake::Fake;
use platform_core::{ErrorKind, name::PlatformName};

fn shop() -> PlatformName {
    PlatformName::new("shop").unwrap()
}

fn group(name: &str) -> eks::Nodegroup {
    eks::Nodegroup::builder()
        .nodegroup_name(name)
        .nodegroup_arn(format!("arn:aws:eks:eu-west-1:1:nodegroup/shop-production/{name}/x"))
        .version("1.33")
        .instance_types("m5.large")
        .ami_type(eks::AmiTypes::Al2023X8664Standard)
        .capacity_type(eks::CapacityTypes::OnDemand)
        .subnets("subnet-1")
        .subnets("subnet-2")
        .node_role("arn:aws:iam::1:role/nodes")
        .disk_size(80)
        .scaling_config(
            eks::NodegroupScalingConfig::builder().min_size(2).max_size(4).desired_size(3).build(),
        )
        .update_config(eks::NodegroupUpdateConfig::builder().max_unavailable_percentage(50).build())
        .build()
}

/// A cluster as eksctl makes it, with most of what there can be.
fn cluster() -> eks::Cluster {
    eks::Cluster::builder()
        .name("shop-production")
        .arn("arn:aws:eks:eu-west-1:1:cluster/shop-production")
        .version("1.33")
        .role_arn("arn:aws:iam::1:role/control-plane")
        .resources_vpc_config(
            eks::VpcConfigResponse::builder()
                .vpc_id("vpc-1")
                .subnet_ids("subnet-1")
                .subnet_ids("subnet-2")
                .subnet_ids("subnet-3")
                .security_group_ids("sg-1")
                .endpoint_public_access(true)
                .endpoint_private_access(false)
                .public_access_cidrs("203.0.113.0/24")
                .build(),
        )
        .kubernetes_network_config(
            eks::KubernetesNetworkConfigResponse::builder().service_ipv4_cidr("10.100.0.0/16").build(),
        )
        .logging(
            eks::Logging::builder()
                .cluster_logging(eks::LogSetup::builder().types(eks::LogType::Audit).enabled(true).build())
                .cluster_logging(eks::LogSetup::builder().types(eks::LogType::Api).enabled(false).build())
                .build(),
        )
        .encryption_config(
            eks::EncryptionConfig::builder()
                .provider(eks::Provider::builder().key_arn("arn:aws:kms:eu-west-1:1:key/1").build())
                .build(),
        )
        .upgrade_policy(
            eks::UpgradePolicyResponse::builder().support_type(eks::SupportType::Extended).build(),
        )
        .access_config(
            eks::AccessConfigResponse::builder().authentication_mode(eks::AuthenticationMode::Api).build(),
        )
        .tags("alpha.eksctl.io/cluster-name", "shop-production")
        .tags("aws:cloudformation:stack-name", "eksctl-shop-production-cluster")
        .tags("team", "shop")
        .build()
}

fn fake() -> Fake {
    let addon = eks::Addon::builder().addon_name("vpc-cni").addon_version("v1.20.4-eksbuild.2");
    let entry = |arn: &str, kind: &str| eks::AccessEntry::builder().principal_arn(arn).r#type(kind).build();
    let policy = |name: &str| {
        let arn = format!("arn:aws:eks::aws:cluster-access-policy/{name}");
        let scope =
            eks::AccessScope::builder().r#type(eks::AccessScopeType::Namespace).namespaces("web").build();
        eks::AssociatedAccessPolicy::builder().policy_arn(arn).access_scope(scope).build()
    };
    Fake::new(cluster())
        .group(group("workers"))
        .addon(addon.configuration_values("env:\n  WARM_IP_TARGET: '1'\n").build())
        .addon(eks::Addon::builder().addon_name("coredns").build())
        .principal(entry("arn:aws:iam::1:role/developers", "STANDARD"), vec![policy("AmazonEKSEditPolicy")])
        .principal(entry("arn:aws:iam::1:role/nodes", "EC2_LINUX"), Vec::new())
        .association("kube-system", "ebs-csi-controller-sa")
}

#[tokio::test]
async fn a_cluster_is_described_in_our_words() {
    let inspection = inspect(&fake().aws(), "shop-production").await.unwrap();
    assert_eq!((inspection.version(), &inspection.origin), (Some("1.33"), &Origin::Eksctl));
    let settings = inspection.settings();
    settings.validate().unwrap();
    let Network::Existing(network) = &settings.network else { panic!("{settings:?}") };
    assert_eq!((network.vpc.as_str(), network.subnets.len()), ("vpc-1", 2));
    assert_eq!(
        (&network.control_plane_subnets, &network.security_groups),
        (&vec!["subnet-3".to_owned()], &vec!["sg-1".to_owned()])
    );
    assert_eq!((settings.endpoint.public, settings.endpoint.private), (true, false));
    assert_eq!(settings.endpoint.public_access_cidrs, ["203.0.113.0/24".parse().unwrap()]);
    assert_eq!(settings.service_cidr, Some("10.100.0.0/16".parse().unwrap()));
    let roles = settings.roles.as_ref().unwrap();
    assert_eq!(
        (roles.cluster.as_str(), roles.node.as_deref()),
        ("arn:aws:iam::1:role/control-plane", Some("arn:aws:iam::1:role/nodes"))
    );
    let group = &settings.node_groups[0];
    assert_eq!(
        (group.name.as_str(), &group.instance_types[..], group.ami_type),
        ("workers", &["m5.large".to_owned()][..], AmiType::Al2023X86)
    );
    assert_eq!(group.scaling, Some(Scaling { min: 2, max: 4, desired: 3 }));
    assert_eq!(
        (group.disk_size, group.max_unavailable_percentage, group.capacity_type),
        (80, 50, CapacityType::OnDemand)
    );
    let addons = settings.addons.as_ref().unwrap();
    assert_eq!(addons[1].version.as_deref(), Some("v1.20.4-eksbuild.2"));
    assert_eq!(addons[1].configuration.as_ref().unwrap()["env"]["WARM_IP_TARGET"], "1");
    // The entry of nodes is EKS' own.
    assert_eq!(settings.access_entries.len(), 1);
    assert_eq!(settings.access_entries[0].policies[0].policy, AccessPolicy::Edit);
    assert_eq!(settings.access_entries[0].policies[0].namespaces, ["web"]);
    assert_eq!(settings.secrets_encryption_key.as_deref(), Some("arn:aws:kms:eu-west-1:1:key/1"));
    assert_eq!(
        (settings.logging.iter().collect::<Vec<_>>(), settings.upgrade_policy),
        (vec![&LogType::Audit], SupportType::Extended)
    );
    assert_eq!(settings.tags.iter().collect::<Vec<_>>(), [(&"team".to_owned(), &"shop".to_owned())]);
    assert_eq!(inspection.inexpressible(), Vec::<String>::new());
    // They survive a file.
    let text = serde_json::to_string(&settings).unwrap();
    assert_eq!(EksSettings::from_yaml(&text).unwrap(), settings);
}

#[tokio::test]
async fn an_inspection_prints() {
    let text = inspect(&fake().aws(), "shop-production").await.unwrap().to_string();
    let expected = "\
EKS cluster shop-production: Kubernetes 1.33, made by eksctl
  network      vpc-1, 3 subnets
  endpoint     public from 203.0.113.0/24
  node groups  workers (m5.large, 3 of 2 to 4 nodes)
  Fargate      none
  addons       coredns, vpc-cni
  access       arn:aws:iam::1:role/developers, arn:aws:iam::1:role/nodes
  Pod Identity kube-system/ebs-csi-controller-sa
  encryption   arn:aws:kms:eu-west-1:1:key/1
  logs         audit
";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn what_has_no_words_is_told() {
    let mut odd = group("odd");
    odd.instance_types = None;
    odd.ami_type = Some(eks::AmiTypes::Al2X8664Gpu);
    odd.launch_template = Some(eks::LaunchTemplateSpecification::builder().id("lt-1").build());
    odd.node_role = Some("arn:aws:iam::1:role/other".to_owned());
    odd.subnets = Some(vec!["subnet-9".to_owned()]);
    odd.version = Some("1.32".to_owned());
    odd.update_config = Some(eks::NodegroupUpdateConfig::builder().max_unavailable(1).build());
    let addon = eks::Addon::builder().addon_name("ebs").service_account_role_arn("arn:aws:iam::1:role/ebs");
    let mut odd_cluster = cluster();
    odd_cluster.access_config = Some(
        eks::AccessConfigResponse::builder().authentication_mode(eks::AuthenticationMode::ConfigMap).build(),
    );
    // Its entries are not asked for: EKS would refuse.
    let fake =
        Fake::new(odd_cluster).group(group("workers")).group(odd).addon(addon.build()).refusing_entries();
    let inspection = inspect(&fake.aws(), "shop-production").await.unwrap();
    let told = inspection.inexpressible().join("\n");
    for part in [
        "the ConfigMap kube-system/aws-auth alone",
        "nodes are in subnet-9, where the control plane has no interface",
        "node groups are in different subnets",
        "the node group odd has its instance type from a launch template",
        "the node group odd has the machine image AL2_x86_64_GPU",
        "the node group odd has a launch template of its own",
        "the node group odd has another version than the control plane",
        "the node group odd replaces a number of nodes at a time",
        "nodes have the role arn:aws:iam::1:role/other too; new ones would have arn:aws:iam::1:role/nodes",
        "the addon ebs has a role of its own",
        "as settings it would be refused: addons: without vpc-cni",
    ] {
        assert!(told.contains(part), "{part}:\n{told}");
    }
}

#[tokio::test]
async fn an_import_says_what_changes_and_what_does_not() {
    let fake = fake().principal(
        eks::AccessEntry::builder()
            .principal_arn("arn:aws:iam::1:role/self-managed")
            .r#type("EC2_LINUX")
            .build(),
        Vec::new(),
    );
    let inspection = inspect(&fake.aws(), "shop-production").await.unwrap();
    let import = inspection.import(&shop());
    let expected = "\
import of EKS cluster shop-production into the platform shop
  tags: platform.dev/imported=true, platform.dev/platform=shop
  on:
    cluster shop-production
    node group workers
  managed afterwards, and deleted with the platform:
    cluster shop-production
    node group workers
    addon coredns
    addon vpc-cni
  stays somebody else's:
    network vpc-1
    role arn:aws:iam::1:role/control-plane
    role arn:aws:iam::1:role/nodes
    key arn:aws:kms:eu-west-1:1:key/1
    nodes outside of managed groups, with the role arn:aws:iam::1:role/self-managed
    Pod Identity of service account kube-system/ebs-csi-controller-sa, and its role
    the stacks eksctl-shop-production-…: whoever deletes them deletes the cluster and its nodes
";
    assert_eq!(import.to_string(), expected);
    assert!(fake.tagged().is_empty(), "looking changes nothing");
}

#[tokio::test]
async fn an_import_is_confirmed_by_name_and_writes_tags_alone() {
    let fake = fake();
    let aws = fake.aws();
    let import = inspect(&aws, "shop-production").await.unwrap().import(&shop());
    for wrong in ["", "yes", "shop-productio"] {
        let error = import.apply(&aws, wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(
            error.to_string().contains("confirm with the name of the cluster, \"shop-production\""),
            "{error}"
        );
    }
    assert!(fake.tagged().is_empty());
    import.apply(&aws, "shop-production").await.unwrap();
    assert_eq!(
        fake.tagged(),
        [
            "arn:aws:eks:eu-west-1:1:cluster/shop-production platform.dev/imported=true platform.dev/platform=shop",
            "arn:aws:eks:eu-west-1:1:nodegroup/shop-production/workers/x platform.dev/imported=true platform.dev/platform=shop",
        ]
    );
    // It can be done again, as after an interruption.
    let again = inspect(&aws, "shop-production").await.unwrap();
    assert_eq!(again.origin, Origin::Platform("shop".to_owned()));
    again.import(&shop()).apply(&aws, "shop-production").await.unwrap();
}

#[tokio::test]
async fn what_another_platform_owns_is_refused() {
    let fake = fake();
    let aws = fake.aws();
    let import = inspect(&aws, "shop-production").await.unwrap().import(&shop());
    // Between the look and the import somebody else takes it.
    fake.write_tag("platform.dev/platform", "other");
    let error = import.apply(&aws, "shop-production").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("it belongs to the platform other (inspect it again)"), "{error}");
    let import = inspect(&aws, "shop-production").await.unwrap().import(&shop());
    assert!(import.to_string().contains("it cannot be: it belongs to the platform other"), "{import}");
    import.apply(&aws, "shop-production").await.unwrap_err();
    assert!(fake.tagged().is_empty());
}

#[tokio::test]
async fn what_the_platform_made_itself_is_not_imported() {
    let fake = fake();
    fake.write_tag("platform.dev/platform", "shop");
    let aws = fake.aws();
    let import = inspect(&aws, "shop-production").await.unwrap().import(&shop());
    let error = import.apply(&aws, "shop-production").await.unwrap_err().to_string();
    assert!(error.contains("the platform shop made it and has it already"), "{error}");
    assert!(fake.tagged().is_empty());
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_not_found() {
    let error = inspect(&fake().aws(), "nobody").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().starts_with("cannot inspect EKS cluster nobody: "), "{error}");
}

#[tokio::test]
async fn a_name_that_no_platform_has_is_an_obstacle() {
    let mut odd = cluster();
    odd.name = Some("Shop_Production".to_owned());
    let inspection = inspect(&Fake::new(odd).aws(), "Shop_Production").await.unwrap();
    let import = inspection.import(&shop());
    assert!(import.obstacle.unwrap().contains("the platform has no cluster of this name"));
}
