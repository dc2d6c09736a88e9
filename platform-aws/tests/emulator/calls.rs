//! The calls that are signed here, against the emulator.

use crate::server::Emulator;
use platform_aws::api::{ApiErrorKind, Aws, Leftover, LeftoverKind};

const REGION: &str = "eu-west-1";
const CLUSTER: &str = "shop";

/// The text between the first `<NAME>` and its end.
fn element<'a>(answer: &'a str, name: &str) -> &'a str {
    let (_, rest) = answer.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name}: {answer}"));
    rest.split_once('<').unwrap().0
}

/// A VPC with two subnets in which things can be made.
struct Ground<'a> {
    emulator: &'a Emulator,
    vpc: String,
    subnets: [String; 2],
}

impl<'a> Ground<'a> {
    fn new(emulator: &'a Emulator) -> Self {
        let make = |form: &str| emulator.make(REGION, "ec2", form);
        let vpc = make("Action=CreateVpc&Version=2016-11-15&CidrBlock=10.7.0.0/16");
        let vpc = element(&vpc, "vpcId").to_owned();
        let subnets = [("a", 0), ("b", 1)].map(|(zone, third)| {
            let form = format!(
                "Action=CreateSubnet&Version=2016-11-15&VpcId={vpc}&CidrBlock=10.7.{third}.0/24&AvailabilityZone={REGION}{zone}"
            );
            element(&make(&form), "subnetId").to_owned()
        });
        Self { emulator, vpc, subnets }
    }

    fn ec2(&self, action: &str, parameters: &str) -> String {
        self.emulator.make(REGION, "ec2", &format!("Action={action}&Version=2016-11-15&{parameters}"))
    }

    fn balancing(&self, action: &str, version: &str, parameters: &str) -> String {
        let form = format!("Action={action}&Version={version}&{parameters}");
        self.emulator.make(REGION, "elasticloadbalancing", &form)
    }

    fn group(&self, name: &str, tag: (&str, &str)) -> String {
        let parameters = format!("GroupName={name}&GroupDescription=x&VpcId={}", self.vpc);
        let id = element(&self.ec2("CreateSecurityGroup", &parameters), "groupId").to_owned();
        self.tag(&id, tag);
        id
    }

    fn interface(&self, tag: (&str, &str)) -> String {
        let made = self
            .ec2("CreateNetworkInterface", &format!("SubnetId={}&Description=aws-K8S-i-1", self.subnets[0]));
        let id = element(&made, "networkInterfaceId").to_owned();
        self.tag(&id, tag);
        id
    }

    fn volume(&self, tag: (&str, &str)) -> String {
        let made = self.ec2("CreateVolume", &format!("Size=1&AvailabilityZone={REGION}a"));
        let id = element(&made, "volumeId").to_owned();
        self.tag(&id, tag);
        id
    }

    fn tag(&self, id: &str, (key, value): (&str, &str)) {
        self.ec2("CreateTags", &format!("ResourceId.1={id}&Tag.1.Key={key}&Tag.1.Value={value}"));
    }

    fn balancer(&self, name: &str, (key, value): (&str, &str)) -> String {
        let [a, b] = &self.subnets;
        let parameters = format!(
            "Name={name}&Type=network&Subnets.member.1={a}&Subnets.member.2={b}&Tags.member.1.Key={key}&Tags.member.1.Value={value}"
        );
        element(&self.balancing("CreateLoadBalancer", "2015-12-01", &parameters), "LoadBalancerArn")
            .to_owned()
    }

    fn target_group(&self, name: &str, (key, value): (&str, &str)) -> String {
        let vpc = &self.vpc;
        let parameters = format!(
            "Name={name}&Protocol=TCP&Port=80&VpcId={vpc}&Tags.member.1.Key={key}&Tags.member.1.Value={value}"
        );
        element(&self.balancing("CreateTargetGroup", "2015-12-01", &parameters), "TargetGroupArn").to_owned()
    }

    fn classic(&self, name: &str, (key, value): (&str, &str)) -> String {
        let parameters = format!(
            "LoadBalancerName={name}&Listeners.member.1.Protocol=TCP&Listeners.member.1.LoadBalancerPort=80\
             &Listeners.member.1.InstancePort=80&AvailabilityZones.member.1={REGION}a&Tags.member.1.Key={key}&Tags.member.1.Value={value}"
        );
        self.balancing("CreateLoadBalancer", "2012-06-01", &parameters);
        name.to_owned()
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn zones_and_networks_are_read() {
    let emulator = Emulator::start().await;
    let ground = Ground::new(&emulator);
    ground.tag(&ground.vpc, ("team", "a%20b"));
    ground.ec2("AssociateVpcCidrBlock", &format!("VpcId={}&CidrBlock=10.8.0.0/16", ground.vpc));
    let network = Aws::new(&emulator.configuration(REGION)).network;

    assert_eq!(network.zones().await.unwrap(), ["eu-west-1a", "eu-west-1b", "eu-west-1c"]);
    let vpcs = network.vpcs().await.unwrap();
    let vpc = vpcs.iter().find(|one| one.id == ground.vpc).unwrap();
    assert_eq!(vpc.cidrs, ["10.7.0.0/16".parse().unwrap(), "10.8.0.0/16".parse().unwrap()]);
    assert_eq!(vpc.tags, [("team".to_owned(), "a b".to_owned())].into());
    assert_eq!(vpcs.len(), 2, "the default one and ours: {vpcs:?}");
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn only_what_the_cluster_left_is_found_and_it_can_be_deleted() {
    let emulator = Emulator::start().await;
    let ground = Ground::new(&emulator);
    let owned = ("kubernetes.io/cluster/shop", "owned");
    let controller = ("elbv2.k8s.aws/cluster", "shop");
    let auto = ("eks:eks-cluster-name", "shop");
    let cni = ("cluster.k8s.amazonaws.com/name", "shop");
    let left = |kind, id| Leftover { kind, id, in_use: None };
    let mut expected = vec![
        left(LeftoverKind::LoadBalancer, ground.balancer("one", controller)),
        left(LeftoverKind::LoadBalancer, ground.balancer("two", auto)),
        left(LeftoverKind::ClassicLoadBalancer, ground.classic("three", owned)),
        left(LeftoverKind::TargetGroup, ground.target_group("one", controller)),
        left(LeftoverKind::NetworkInterface, ground.interface(cni)),
        left(LeftoverKind::NetworkInterface, ground.interface(owned)),
        left(LeftoverKind::SecurityGroup, ground.group("one", owned)),
        left(LeftoverKind::SecurityGroup, ground.group("two", controller)),
        left(LeftoverKind::Volume, ground.volume(owned)),
        left(LeftoverKind::Volume, ground.volume(auto)),
    ];
    expected.sort();
    // Of another cluster, shared, or nobody's.
    ground.balancer("other", ("elbv2.k8s.aws/cluster", "shop2"));
    ground.classic("other", ("kubernetes.io/cluster/shop2", "owned"));
    ground.target_group("other", ("elbv2.k8s.aws/cluster", "shop2"));
    ground.interface(("cluster.k8s.amazonaws.com/name", "shop2"));
    ground.interface(("node.k8s.amazonaws.com/instance_id", "i-1"));
    ground.group("other", ("kubernetes.io/cluster/shop", "shared"));
    ground.volume(("kubernetes.io/cluster/shop2", "owned"));

    let network = Aws::new(&emulator.configuration(REGION)).network;
    let found = network.leftovers(CLUSTER, Some(&ground.vpc)).await.unwrap();
    assert_eq!(found, expected);
    for leftover in &found {
        network.delete(leftover).await.unwrap_or_else(|error| panic!("{leftover:?}: {error}"));
    }
    assert_eq!(network.leftovers(CLUSTER, Some(&ground.vpc)).await.unwrap(), []);
    for leftover in &found {
        network.delete(leftover).await.unwrap_or_else(|error| panic!("{leftover:?} again: {error}"));
    }
    assert_eq!(network.leftovers("shop2", None).await.unwrap().len(), 5);
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn security_groups_go_though_they_speak_of_each_other() {
    let emulator = Emulator::start().await;
    let ground = Ground::new(&emulator);
    let owned = ("kubernetes.io/cluster/shop", "owned");
    let groups = [ground.group("one", owned), ground.group("two", owned)];
    let foreign = ground.group("foreign", ("a", "b"));
    let allow = |to: &str, from: &str| {
        let rule = "IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=80&IpPermissions.1.ToPort=80";
        let rule = format!("GroupId={to}&{rule}&IpPermissions.1.Groups.1.GroupId={from}");
        ground.ec2("AuthorizeSecurityGroupIngress", &rule);
    };
    allow(&groups[0], &groups[1]);
    allow(&groups[1], &groups[0]);
    allow(&foreign, &groups[0]);
    allow(&foreign, &foreign);

    let network = Aws::new(&emulator.configuration(REGION)).network;
    let found = network.leftovers(CLUSTER, None).await.unwrap();
    assert_eq!(found.len(), 2);
    for leftover in &found {
        network.delete(leftover).await.unwrap_or_else(|error| panic!("{leftover:?}: {error}"));
    }
    assert_eq!(network.leftovers(CLUSTER, None).await.unwrap(), []);
    let left = ground.ec2("DescribeSecurityGroups", &format!("GroupId.1={foreign}"));
    assert!(!left.contains(&groups[0]), "{left}");
    assert_eq!(
        left.matches(&format!("<groupId>{foreign}</groupId>")).count(),
        2,
        "itself and its own rule: {left}"
    );
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn what_is_in_use_is_told_and_not_deleted() {
    let emulator = Emulator::start().await;
    let ground = Ground::new(&emulator);
    let group = ground.group("one", ("kubernetes.io/cluster/shop", "owned"));
    let parameters = format!("SubnetId={}&SecurityGroupId.1={group}", ground.subnets[0]);
    let made = ground.ec2("CreateNetworkInterface", &parameters);
    let interface = element(&made, "networkInterfaceId");

    let network = Aws::new(&emulator.configuration(REGION)).network;
    let found = network.leftovers(CLUSTER, None).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].in_use.as_deref(), Some(format!("used by {interface}").as_str()));
    let refused = network.delete(&found[0]).await.unwrap_err();
    assert_eq!(refused.kind, ApiErrorKind::InUse, "{refused}");
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn the_account_is_asked() {
    let emulator = Emulator::start().await;
    let trust = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%5D%7D";
    let form = format!(
        "Action=CreateRole&Version=2010-05-08&RoleName=deployer&Path=/ci/&AssumeRolePolicyDocument={trust}"
    );
    emulator.make("us-east-1", "iam", &form);
    let account = Aws::new(&emulator.configuration(REGION)).account;

    let caller = account.caller().await.unwrap();
    assert_eq!((caller.account.as_str(), caller.partition()), ("123456789012", "aws"));
    assert_eq!(account.role_arn("deployer").await.unwrap(), "arn:aws:iam::123456789012:role/ci/deployer");
    let missing = account.role_arn("nobody").await.unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
    assert_eq!(missing.code.as_deref(), Some("NoSuchEntity"));
    let unknown = account.quota("eks", "L-00000000").await.unwrap_err();
    assert!(unknown.is_not_found(), "{unknown}");
    let quota = account.quota("vpc", "L-F678F1CE").await.unwrap();
    assert_eq!((quota.name.as_str(), quota.value), ("VPCs per Region", 5.0));
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn what_passes_is_tried_again_and_what_does_not_is_told() {
    let emulator = Emulator::start().await;
    let network = Aws::new(&emulator.configuration(REGION)).network;
    let calls = || emulator.calls().matches("POST / DescribeVpcs").count();
    let refusal = |code: &str| {
        format!(
            "<Response><Errors><Error><Code>{code}</Code><Message>m</Message></Error></Errors></Response>"
        )
    };
    let fault = |rest: &str| emulator.fault(&format!(r#"{{"match": "DescribeVpcs", {rest}}}"#));

    fault(&format!(r#""status": 503, "times": 1, "body": "{}""#, refusal("RequestLimitExceeded")));
    fault(r#""drop": true, "times": 1"#);
    assert_eq!(network.vpcs().await.unwrap().len(), 1);
    assert_eq!(calls(), 3);

    fault(&format!(r#""status": 503, "times": 3, "body": "{}""#, refusal("RequestLimitExceeded")));
    let throttled = network.vpcs().await.unwrap_err();
    assert_eq!(throttled.kind, ApiErrorKind::Throttled, "{throttled}");
    assert_eq!(calls(), 6);

    fault(&format!(r#""status": 403, "times": 1, "body": "{}""#, refusal("UnauthorizedOperation")));
    let denied = network.vpcs().await.unwrap_err();
    assert_eq!(denied.kind, ApiErrorKind::Denied, "{denied}");
    assert_eq!(denied.to_string(), "ec2:DescribeVpcs: UnauthorizedOperation: m");
    assert_eq!(calls(), 7);
}
