use super::*;
use crate::stack::{StackOutputs, template::hexadecimal};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const ISSUER: &str = "https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF";

/// Every kind of wish, by a name.
fn variants() -> Vec<(&'static str, EksSettings)> {
    let variants = [
        ("default", "{}"),
        ("no-nat", "network: {new: {natGateways: none}}"),
        ("three-zones", "network: {new: {zones: 3, natGateways: per-zone, cidr: 10.9.0.0/20}}"),
        ("existing-network", "network: {existing: {vpc: vpc-1, subnets: [subnet-1, subnet-2]}}"),
        ("existing-roles", "roles: {cluster: 'arn:aws:iam::1:role/c', node: 'arn:aws:iam::1:role/n'}"),
        ("auto-mode", "{autoMode: {}, nodeGroups: []}"),
        ("auto-mode-and-groups", "autoMode: {}"),
        (
            "fargate",
            "{nodeGroups: [], addons: [], fargateProfiles: [{name: all, selectors: [{namespace: a}]}]}",
        ),
        (
            "service-accounts",
            "serviceAccountRoles:
               - {namespace: kube-system, serviceAccount: ebs-csi-controller-sa,
                  policies: ['arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy']}
               - {namespace: shop, serviceAccount: api, mechanism: irsa,
                  policies: ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess']}
               - {namespace: shop, serviceAccount: worker, mechanism: irsa,
                  policies: ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess']}",
        ),
    ];
    variants.into_iter().map(|(name, yaml)| (name, EksSettings::from_yaml(yaml).unwrap())).collect()
}

fn settings(variant: &str) -> EksSettings {
    variants().into_iter().find(|(name, _)| *name == variant).unwrap().1
}

fn name() -> ClusterName {
    ClusterName::new("shop-production").unwrap()
}

fn place(settings: &EksSettings) -> Option<Place> {
    let Network::New(new) = &settings.network else { return None };
    let zones = ["a", "b", "c"].iter().take(usize::from(new.zones));
    let cidr = new.cidr.unwrap_or_else(|| "10.0.0.0/16".parse().unwrap());
    Some(Place { zones: zones.map(|zone| format!("eu-west-1{zone}")).collect(), cidr })
}

fn made(variant: &str) -> Value {
    let settings = settings(variant);
    let template = cluster(&name(), &settings, place(&settings).as_ref()).unwrap();
    serde_json::from_str(&template.body).unwrap()
}

fn of_type<'a>(template: &'a Value, kind: &str) -> BTreeMap<&'a str, &'a Value> {
    let resources = template["Resources"].as_object().unwrap().iter();
    let of_type = resources.filter(|(_, resource)| resource["Type"] == kind);
    of_type.map(|(id, resource)| (id.as_str(), &resource["Properties"])).collect()
}

fn policies(template: &Value, role: &str) -> Vec<String> {
    let arns = template["Resources"][role]["Properties"]["ManagedPolicyArns"].as_array().unwrap();
    let mut names: Vec<String> = arns
        .iter()
        .map(|arn| {
            arn["Fn::Sub"].as_str().unwrap().strip_prefix("arn:${AWS::Partition}:iam::aws:policy/").unwrap()
        })
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

#[test]
fn a_new_network_has_public_and_private_subnets_in_each_zone() {
    let template = made("default");
    let vpc = of_type(&template, "AWS::EC2::VPC")["Vpc"];
    assert_eq!((&vpc["EnableDnsSupport"], &vpc["EnableDnsHostnames"]), (&json!(true), &json!(true)));
    assert_eq!(vpc["CidrBlock"], "10.0.0.0/16");
    let subnets = of_type(&template, "AWS::EC2::Subnet");
    let told: Vec<_> = subnets
        .iter()
        .map(|(id, subnet)| {
            let tag = subnet["Tags"][1]["Key"].as_str().unwrap();
            (*id, subnet["AvailabilityZone"].as_str().unwrap(), subnet["CidrBlock"].as_str().unwrap(), tag)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("PrivateSubnet1", "eu-west-1a", "10.0.64.0/18", "kubernetes.io/role/internal-elb"),
            ("PrivateSubnet2", "eu-west-1b", "10.0.128.0/18", "kubernetes.io/role/internal-elb"),
            ("PublicSubnet1", "eu-west-1a", "10.0.0.0/20", "kubernetes.io/role/elb"),
            ("PublicSubnet2", "eu-west-1b", "10.0.16.0/20", "kubernetes.io/role/elb"),
        ]
    );
    // Each subnet has a way, and each way is of one kind.
    assert_eq!(of_type(&template, "AWS::EC2::SubnetRouteTableAssociation").len(), 4);
}

#[test]
fn nodes_reach_the_internet_as_wanted() {
    let gateways = |variant: &str| -> Vec<String> {
        let template = made(variant);
        assert_eq!(
            of_type(&template, "AWS::EC2::NatGateway").len(),
            of_type(&template, "AWS::EC2::EIP").len()
        );
        let routes = of_type(&template, "AWS::EC2::Route");
        let nat = routes.iter().filter(|(id, _)| id.starts_with("Private"));
        nat.map(|(_, route)| route["NatGatewayId"]["Ref"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(gateways("no-nat"), [""; 0]);
    assert_eq!(gateways("default"), ["NatGateway1", "NatGateway1"]);
    assert_eq!(gateways("three-zones"), ["NatGateway1", "NatGateway2", "NatGateway3"]);
}

#[test]
fn roles_have_what_their_work_needs() {
    let template = made("default");
    assert_eq!(policies(&template, "ClusterRole"), ["AmazonEKSClusterPolicy"]);
    assert_eq!(
        policies(&template, "NodeRole"),
        ["AmazonEC2ContainerRegistryPullOnly", "AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy"]
    );
    let trust = &template["Resources"]["ClusterRole"]["Properties"]["AssumeRolePolicyDocument"];
    assert_eq!(trust["Statement"][0]["Action"], json!(["sts:AssumeRole", "sts:TagSession"]));
    assert_eq!(trust["Statement"][0]["Principal"]["Service"], "eks.amazonaws.com");

    let auto = made("auto-mode");
    assert_eq!(
        policies(&auto, "ClusterRole"),
        [
            "AmazonEKSBlockStoragePolicy",
            "AmazonEKSClusterPolicy",
            "AmazonEKSComputePolicy",
            "AmazonEKSLoadBalancingPolicy",
            "AmazonEKSNetworkingPolicy",
        ]
    );
    assert_eq!(
        policies(&auto, "NodeRole"),
        ["AmazonEC2ContainerRegistryPullOnly", "AmazonEKSWorkerNodeMinimalPolicy"]
    );
    assert_eq!(policies(&made("auto-mode-and-groups"), "NodeRole").len(), 4);

    let fargate = made("fargate");
    assert_eq!(policies(&fargate, "FargateRole"), ["AmazonEKSFargatePodExecutionRolePolicy"]);
    assert!(fargate["Resources"]["NodeRole"].is_null());
}

#[test]
fn no_resource_has_a_name_of_its_own() {
    // Names would need another capability, and two clusters of a name in two regions would clash.
    for (variant, settings) in variants() {
        let place = place(&settings);
        let Some(template) = cluster(&name(), &settings, place.as_ref()) else { continue };
        assert!(!template.body.contains("RoleName"), "{variant}");
        assert!(
            !template.body.contains("arn:aws:iam::aws:policy/Amazon"),
            "{variant}: not of every partition"
        );
        assert!(template.body.len() < 51_200, "{variant}: CloudFormation takes no more");
    }
}

#[test]
fn only_what_is_asked_for_is_made() {
    let network = made("existing-network");
    assert_eq!(
        network["Resources"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["ClusterRole", "NodeRole"]
    );
    assert_eq!(
        network["Outputs"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["ClusterRole", "Digest", "NodeRole"]
    );
    assert!(of_type(&made("existing-roles"), "AWS::IAM::Role").is_empty());

    let mut nothing = settings("existing-network");
    nothing.roles = settings("existing-roles").roles;
    assert_eq!(cluster(&name(), &nothing, None), None);
    assert_eq!(service_accounts(&name(), &nothing, ISSUER), None);
}

#[test]
fn roles_of_service_accounts_are_for_them_alone() {
    let template = made("service-accounts");
    let roles = of_type(&template, "AWS::IAM::Role");
    let (output, role) = roles.iter().find(|(id, _)| id.starts_with("Account")).unwrap();
    assert_eq!(roles.len(), 3, "the control plane's, the nodes' and that of Pod Identity");
    assert_eq!(role["ManagedPolicyArns"][0], "arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy");
    let statement = &role["AssumeRolePolicyDocument"]["Statement"][0];
    assert_eq!(statement["Principal"]["Service"], "pods.eks.amazonaws.com");
    assert_eq!(
        statement["Condition"]["StringEquals"],
        json!({
            "aws:RequestTag/eks-cluster-name": "shop-production",
            "aws:RequestTag/kubernetes-namespace": "kube-system",
            "aws:RequestTag/kubernetes-service-account": "ebs-csi-controller-sa",
        })
    );
    assert_eq!(template["Outputs"][output]["Value"], json!({"Fn::GetAtt": [output, "Arn"]}));

    let issued = service_accounts(&name(), &settings("service-accounts"), ISSUER).unwrap();
    let issued: Value = serde_json::from_str(&issued.body).unwrap();
    let provider = of_type(&issued, "AWS::IAM::OIDCProvider")["Issuer"];
    assert_eq!(
        (&provider["Url"], &provider["ClientIdList"][0]),
        (&json!(ISSUER), &json!("sts.amazonaws.com"))
    );
    let roles = of_type(&issued, "AWS::IAM::Role");
    assert_eq!(roles.len(), 2);
    let api = roles.iter().find(|(id, _)| id.starts_with("AccountShopApi")).unwrap().1;
    let statement = &api["AssumeRolePolicyDocument"]["Statement"][0];
    assert_eq!(statement["Principal"], json!({"Federated": {"Ref": "Issuer"}}));
    assert_eq!(
        statement["Condition"],
        json!({"StringEquals": {
            "oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF:aud": "sts.amazonaws.com",
            "oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF:sub": "system:serviceaccount:shop:api",
        }})
    );
}

#[test]
fn a_template_is_the_same_for_the_same_wishes_and_tells_its_digest() {
    let mut digests = BTreeMap::new();
    for (variant, settings) in variants() {
        let place = place(&settings);
        let Some(template) = cluster(&name(), &settings, place.as_ref()) else { continue };
        assert_eq!(cluster(&name(), &settings, place.as_ref()).unwrap(), template);
        let digest = format!(r#""Digest":{{"Value":"{}"}}"#, template.digest);
        assert!(template.body.contains(&digest), "{variant}");
        let without = template.body.replace(&format!("{digest},"), "").replace(&format!(",{digest}"), "");
        assert_eq!(hexadecimal(&without), template.digest, "{variant}");
        assert_eq!(digests.insert(template.digest, variant), None, "{variant}");
    }
}

#[test]
fn what_a_template_tells_is_what_is_read() {
    for (variant, settings) in variants() {
        let place = place(&settings);
        let Some(template) = cluster(&name(), &settings, place.as_ref()) else { continue };
        let template: Value = serde_json::from_str(&template.body).unwrap();
        // As CloudFormation would answer, with the texts as they are and something for the rest.
        let outputs = template["Outputs"].as_object().unwrap().iter();
        let outputs = outputs.map(|(name, output)| {
            let value = output["Value"].as_str().map_or_else(|| format!("{name}-1"), str::to_owned);
            (name.clone(), value)
        });
        let parsed = StackOutputs::parse(&outputs.collect(), &settings).unwrap();
        assert_eq!(parsed.place, place, "{variant}");
        assert_eq!(parsed.vpc.is_some(), place.is_some(), "{variant}");
    }
}

#[test]
#[ignore = "needs cfn-lint"]
fn cfn_lint_has_nothing_to_say() {
    let program = std::env::var("PLATFORM_CFN_LINT").expect("PLATFORM_CFN_LINT is the program cfn-lint");
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (variant, settings) in variants() {
        let place = place(&settings);
        let templates =
            [cluster(&name(), &settings, place.as_ref()), service_accounts(&name(), &settings, ISSUER)];
        for (index, template) in templates.into_iter().enumerate() {
            let Some(template) = template else { continue };
            let file = directory.path().join(format!("{variant}-{index}.json"));
            std::fs::write(&file, template.body).unwrap();
            files.push(file);
        }
    }
    assert_eq!(files.len(), 10);
    let output = std::process::Command::new(program)
        // Zones are written out on purpose (W3010): chosen by the region anew, they would move subnets.
        .args(["--regions", "eu-west-1", "--include-checks", "I", "--ignore-checks", "W3010", "--"])
        .args(&files)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
