//! What controllers of a cluster left outside of it when the cluster is deleted.

use crate::server::{Emulator, cluster, platform};
use platform_aws::{EksProvider, api::LeftoverKind};
use platform_core::{
    ErrorKind,
    cluster::{ClusterProvider, Deletion},
    event::Progress,
};
use std::time::Duration;

const REGION: &str = "eu-west-1";
const NAME: &str = "shop-testing";

struct Ground {
    emulator: Emulator,
    provider: EksProvider,
    vpc: String,
    subnets: Vec<String>,
}

/// A cluster, and the network that was made for it.
async fn ground() -> Ground {
    let emulator = Emulator::start().await;
    let (provider, _) =
        emulator.provider(|builder| builder.settle_deadline(Duration::from_millis(300))).await;
    provider.create(&cluster(NAME), &Progress::silent()).await.unwrap();
    let stack = provider.aws().stacks.describe("platform-shop-testing").await.unwrap();
    let subnets = stack.outputs["PrivateSubnets"].split(',').map(str::to_owned).collect();
    Ground { emulator, provider, vpc: stack.outputs["Vpc"].clone(), subnets }
}

impl Ground {
    fn ec2(&self, action: &str, parameters: &str) -> String {
        self.emulator.make(REGION, "ec2", &format!("Action={action}&Version=2016-11-15&{parameters}"))
    }

    fn balancing(&self, action: &str, parameters: &str) -> String {
        let form = format!("Action={action}&Version=2015-12-01&{parameters}");
        self.emulator.make(REGION, "elasticloadbalancing", &form)
    }

    fn tag(&self, id: &str) {
        let tag = format!("Tag.1.Key=kubernetes.io/cluster/{NAME}&Tag.1.Value=owned");
        self.ec2("CreateTags", &format!("ResourceId.1={id}&{tag}"));
    }

    /// One of each that controllers make.
    fn leave_all(&self) {
        let tag = format!("Tags.member.1.Key=elbv2.k8s.aws/cluster&Tags.member.1.Value={NAME}");
        let [a, b] = &self.subnets[..] else { panic!("there are two subnets") };
        self.balancing(
            "CreateLoadBalancer",
            &format!("Name=ours&Type=network&Subnets.member.1={a}&Subnets.member.2={b}&{tag}"),
        );
        let target = format!("Name=ours&Protocol=TCP&Port=80&VpcId={}&{tag}", self.vpc);
        self.balancing("CreateTargetGroup", &target);
        let group =
            self.ec2("CreateSecurityGroup", &format!("GroupName=ours&GroupDescription=x&VpcId={}", self.vpc));
        self.tag(element(&group, "groupId"));
        let interface = self.ec2("CreateNetworkInterface", &format!("SubnetId={a}&Description=aws-K8S-i-1"));
        self.tag(element(&interface, "networkInterfaceId"));
        let volume = self.ec2("CreateVolume", &format!("Size=1&AvailabilityZone={REGION}a"));
        self.tag(element(&volume, "volumeId"));
    }
}

fn element<'a>(answer: &'a str, name: &str) -> &'a str {
    let (_, rest) = answer.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name}: {answer}"));
    rest.split_once('<').unwrap().0
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn what_controllers_left_goes_with_the_cluster() {
    let ground = ground().await;
    ground.leave_all();
    let theirs = ground.ec2("CreateVolume", &format!("Size=1&AvailabilityZone={REGION}a"));
    let theirs = element(&theirs, "volumeId");
    let network = &ground.provider.aws().network;
    let vpcs = network.vpcs().await.unwrap().len();
    let kinds: Vec<LeftoverKind> =
        network.leftovers(NAME, Some(&ground.vpc)).await.unwrap().iter().map(|left| left.kind).collect();
    assert_eq!(
        kinds,
        [
            LeftoverKind::LoadBalancer,
            LeftoverKind::TargetGroup,
            LeftoverKind::NetworkInterface,
            LeftoverKind::SecurityGroup,
            LeftoverKind::Volume
        ]
    );
    let name = cluster(NAME).name;
    assert_eq!(
        ground.provider.delete(&platform(), &name, &Progress::silent()).await.unwrap(),
        Deletion::Deleted
    );
    assert_eq!(network.leftovers(NAME, Some(&ground.vpc)).await.unwrap(), []);
    assert_eq!(network.vpcs().await.unwrap().len(), vpcs - 1);
    assert!(ground.ec2("DescribeVolumes", "").contains(theirs), "what has no tag of the cluster stays");
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn what_is_in_use_is_told_after_everything_else_is_gone() {
    let ground = ground().await;
    ground.leave_all();
    // A group beside the cluster's network, which somebody else's interface uses.
    let vpcs = ground.ec2("DescribeVpcs", "Filter.1.Name=isDefault&Filter.1.Value.1=true");
    let vpc = element(&vpcs, "vpcId");
    let subnets = ground.ec2("DescribeSubnets", &format!("Filter.1.Name=vpc-id&Filter.1.Value.1={vpc}"));
    let group = ground.ec2("CreateSecurityGroup", &format!("GroupName=used&GroupDescription=x&VpcId={vpc}"));
    let group = element(&group, "groupId");
    ground.tag(group);
    let parameters = format!("SubnetId={}&SecurityGroupId.1={group}", element(&subnets, "subnetId"));
    let interface = ground.ec2("CreateNetworkInterface", &parameters);
    let interface = element(&interface, "networkInterfaceId");

    let name = cluster(NAME).name;
    let error = ground.provider.delete(&platform(), &name, &Progress::silent()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed, "{error}");
    assert!(!error.is_retryable());
    let told = error.to_string();
    for words in [
        "the cluster is deleted, but what its controllers made is not",
        &format!("security group {group} (used by {interface})"),
        "delete it by hand once it is free",
    ] {
        assert!(told.contains(words), "{told}");
    }
    let aws = ground.provider.aws();
    assert!(aws.clusters.list().await.unwrap().is_empty());
    assert_eq!(aws.stacks.list().await.unwrap(), []);
    let left = aws.network.leftovers(NAME, None).await.unwrap();
    assert_eq!(left.iter().map(|left| left.id.as_str()).collect::<Vec<_>>(), [group]);
    assert_eq!(
        ground.provider.delete(&platform(), &name, &Progress::silent()).await.unwrap(),
        Deletion::Absent
    );
}
