//! The policy of IAM that is printed, against the calls that are really made.

use crate::{
    server::{Emulator, cluster, platform},
    wire::Call,
};
use platform_aws::{
    permissions::{IamPolicy, PermissionScope, actions},
    settings::EksSettings,
};
use platform_core::{
    cluster::{ClusterProvider, Clusters},
    event::Progress,
    name::ClusterName,
};
use std::collections::BTreeSet;

const NAME: &str = "shop-testing";
const ACCOUNT: &str = "123456789012";

const RICH: &str = "
nodeGroups: [{ name: workers }, { name: batch }]
autoMode: { nodePools: [system] }
fargateProfiles: [{ name: jobs, selectors: [{ namespace: jobs }] }]
addons: [{ name: vpc-cni, version: v1.20.4-eksbuild.2 }, { name: coredns }, { name: metrics-server }]
accessEntries: [{ principal: 'arn:aws:iam::123456789012:role/developers', policies: [{ policy: edit }] }]
serviceAccountRoles:
  - { namespace: api1, serviceAccount: uploads, policies: ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess'] }
  - { namespace: api1, serviceAccount: reads, policies: ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess'], mechanism: irsa }
secretsEncryptionKey: arn:aws:kms:eu-west-1:123456789012:key/1
";

/// Other versions, numbers and labels; less of what can be taken away.
const CHANGED: &str = "
nodeGroups: [{ name: workers, labels: { pool: general } }]
autoMode: { nodePools: [system] }
addons: [{ name: vpc-cni, version: v1.21.0-eksbuild.1 }, { name: coredns }]
logging: [audit]
secretsEncryptionKey: arn:aws:kms:eu-west-1:123456789012:key/1
tags: { team: a }
";

/// Why an action is in the policy that no call of this test needs.
const UNSEEN: [(&str, &[&str]); 6] = [
    (
        "CloudFormation does it for the caller",
        &[
            "ec2:Describe*",
            "ec2:CreateVpc",
            "ec2:ModifyVpcAttribute",
            "ec2:CreateSubnet",
            "ec2:ModifySubnetAttribute",
            "ec2:*InternetGateway",
            "ec2:*RouteTable*",
            "ec2:*Route",
            "ec2:AllocateAddress",
            "ec2:*NatGateway",
            "ec2:CreateSecurityGroup",
            "ec2:*Tags",
            "ec2:DeleteVpc",
            "ec2:DeleteSubnet",
            "ec2:DisassociateAddress",
            "ec2:ReleaseAddress",
            "iam:*Role",
            "iam:*RolePolic*",
            "iam:UpdateAssumeRolePolicy",
            "iam:*OpenIDConnectProvider*",
            "cloudformation:TagResource",
        ],
    ),
    (
        "EKS does it, or checks it, for the caller",
        &["ec2:RunInstances", "iam:PassRole", "iam:CreateServiceLinkedRole", "iam:*InstanceProfile", "kms:*"],
    ),
    (
        "the sweep, where controllers left something; `leftovers` and `calls` sweep",
        &[
            "elasticloadbalancing:*",
            "ec2:RevokeSecurityGroup*",
            "ec2:DeleteSecurityGroup",
            "ec2:DeleteVolume",
            "ec2:DeleteNetworkInterface",
        ],
    ),
    (
        "a version is upgraded, an update is waited for: `upgrades`, EKS alone",
        &[
            "eks:UpdateClusterVersion",
            "eks:UpdateNodegroupVersion",
            "eks:DescribeUpdate",
            "eks:DescribeAddonVersions",
        ],
    ),
    (
        "groups and policies of access entries, of which the emulator knows nothing: `lifecycle`",
        &["eks:ListAssociatedAccessPolicies", "eks:DisassociateAccessPolicy", "eks:UpdateAccessEntry"],
    ),
    ("a stack fails: `clashes`", &["cloudformation:DescribeStackEvents"]),
];

/// Whether a pattern of IAM fits.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|text| {
            (0..=text.len()).any(|at| text.is_char_boundary(at) && fits(rest, &text[at..]))
        }),
    }
}

/// What IAM calls a call, and the resource that it is about, if the call says so.
fn action_of(call: &Call) -> (String, Option<String>) {
    let mut words = call.what.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let eks = |resource: &str| Some(format!("arn:aws:eks:eu-west-1:{ACCOUNT}:{resource}"));
    if path == "/" {
        let operation = words.next().unwrap_or_else(|| panic!("{call:?} has no action"));
        let named = actions().iter().filter(|action| action.name.ends_with(&format!(":{operation}")));
        let [action] = named.collect::<Vec<_>>()[..] else { panic!("{operation} is not in the table once") };
        let stack = words.next().filter(|_| action.name.starts_with("cloudformation:"));
        let stack = stack.map(|stack| {
            let stack = stack.replace("%3A", ":").replace("%2F", "/");
            let name = stack.split('/').nth(1).unwrap_or(&stack).to_owned();
            format!("arn:aws:cloudformation:eu-west-1:{ACCOUNT}:stack/{name}/1")
        });
        return (action.name.to_owned(), stack);
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let cluster = eks(&format!("cluster/{NAME}"));
    let below = |kind: &str, name: &str| eks(&format!("{kind}/{NAME}/{name}/1"));
    let (action, resource) = match (method, &parts[..]) {
        ("GET", ["cluster-versions"]) => ("DescribeClusterVersions", None),
        ("GET", ["clusters"]) => ("ListClusters", None),
        ("POST", ["clusters"]) => ("CreateCluster", cluster),
        ("GET", ["clusters", NAME]) => ("DescribeCluster", cluster),
        ("DELETE", ["clusters", NAME]) => ("DeleteCluster", cluster),
        ("POST", ["clusters", NAME, "update-config"]) => ("UpdateClusterConfig", cluster),
        ("POST", ["tags", ..]) => ("TagResource", cluster),
        ("GET", ["clusters", NAME, "node-groups"]) => ("ListNodegroups", cluster),
        ("POST", ["clusters", NAME, "node-groups"]) => ("CreateNodegroup", cluster),
        ("GET", ["clusters", NAME, "node-groups", name]) => ("DescribeNodegroup", below("nodegroup", name)),
        ("DELETE", ["clusters", NAME, "node-groups", name]) => ("DeleteNodegroup", below("nodegroup", name)),
        ("POST", ["clusters", NAME, "node-groups", name, "update-config"]) => {
            ("UpdateNodegroupConfig", below("nodegroup", name))
        }
        ("GET", ["clusters", NAME, "fargate-profiles"]) => ("ListFargateProfiles", cluster),
        ("POST", ["clusters", NAME, "fargate-profiles"]) => ("CreateFargateProfile", cluster),
        ("GET", ["clusters", NAME, "fargate-profiles", name]) => {
            ("DescribeFargateProfile", below("fargateprofile", name))
        }
        ("DELETE", ["clusters", NAME, "fargate-profiles", name]) => {
            ("DeleteFargateProfile", below("fargateprofile", name))
        }
        ("GET", ["clusters", NAME, "addons"]) => ("ListAddons", cluster),
        ("POST", ["clusters", NAME, "addons"]) => ("CreateAddon", cluster),
        ("GET", ["clusters", NAME, "addons", name]) => ("DescribeAddon", below("addon", name)),
        ("DELETE", ["clusters", NAME, "addons", name]) => ("DeleteAddon", below("addon", name)),
        ("POST", ["clusters", NAME, "addons", name, "update"]) => ("UpdateAddon", below("addon", name)),
        ("GET", ["clusters", NAME, "access-entries"]) => ("ListAccessEntries", cluster),
        ("POST", ["clusters", NAME, "access-entries"]) => ("CreateAccessEntry", cluster),
        ("GET", ["clusters", NAME, "access-entries", _]) => {
            ("DescribeAccessEntry", below("access-entry", "role/123456789012/developers"))
        }
        ("DELETE", ["clusters", NAME, "access-entries", _]) => {
            ("DeleteAccessEntry", below("access-entry", "role/123456789012/developers"))
        }
        ("POST", ["clusters", NAME, "access-entries", _, "access-policies"]) => {
            ("AssociateAccessPolicy", below("access-entry", "role/123456789012/developers"))
        }
        ("GET", ["clusters", NAME, "pod-identity-associations"]) => ("ListPodIdentityAssociations", cluster),
        ("POST", ["clusters", NAME, "pod-identity-associations"]) => {
            ("CreatePodIdentityAssociation", cluster)
        }
        ("GET", ["clusters", NAME, "pod-identity-associations", id]) => {
            ("DescribePodIdentityAssociation", below("podidentityassociation", id))
        }
        ("DELETE", ["clusters", NAME, "pod-identity-associations", id]) => {
            ("DeletePodIdentityAssociation", below("podidentityassociation", id))
        }
        _ => panic!("{call:?} is a call that nobody expects"),
    };
    (format!("eks:{action}"), resource)
}

/// Whether a caller that calls itself, not through CloudFormation, is allowed it.
fn allows(policy: &IamPolicy, action: &str, resource: Option<&str>) -> bool {
    policy.statements.iter().any(|statement| {
        let through = statement.condition.values().flatten().any(|(key, _)| key == "aws:CalledVia");
        let tagged =
            statement.condition.values().flatten().any(|(key, _)| key.starts_with("aws:ResourceTag"));
        let on = |pattern: &String| resource.map_or(pattern == "*", |resource| fits(pattern, resource));
        statement.effect == "Allow"
            && statement.action.contains(&action)
            && !through
            && !tagged
            && statement.resource.iter().any(on)
    })
}

#[test]
fn the_evaluator_tells_what_is_allowed_from_what_is_not() {
    let settings = EksSettings::from_yaml(RICH).unwrap();
    let clusters = [ClusterName::new(NAME).unwrap()];
    let scope = PermissionScope {
        partition: "aws",
        account: ACCOUNT,
        region: "eu-west-1",
        clusters: &clusters,
        settings: &settings,
    };
    let policy = IamPolicy::new(&scope);
    let arn = |service: &str, resource: &str| format!("arn:aws:{service}:eu-west-1:{ACCOUNT}:{resource}");
    assert!(allows(&policy, "eks:DeleteCluster", Some(&arn("eks", "cluster/shop-testing"))));
    assert!(!allows(&policy, "eks:DeleteCluster", Some(&arn("eks", "cluster/bank"))));
    assert!(!allows(&policy, "eks:DeleteCluster", None));
    assert!(allows(
        &policy,
        "cloudformation:DeleteStack",
        Some(&arn("cloudformation", "stack/platform-a/1"))
    ));
    assert!(!allows(&policy, "cloudformation:DeleteStack", Some(&arn("cloudformation", "stack/bank/1"))));
    assert!(!allows(&policy, "ec2:DeleteVpc", Some(&arn("ec2", "vpc/1"))), "only through CloudFormation");
    assert!(!allows(&policy, "s3:DeleteBucket", None));
}

#[tokio::test]
#[ignore = "needs the AWS emulator"]
async fn what_is_called_is_allowed_and_what_is_allowed_is_called() {
    let emulator = Emulator::start().await;
    let settings = |text: &str| EksSettings::from_yaml(text).unwrap();
    let (spec, silent) = (cluster(NAME), Progress::silent());
    let rich = emulator.provider(|builder| builder.settings(Clusters::All, settings(RICH))).await;
    let (provider, wire) = rich;
    provider.plan(&spec).await.unwrap();
    provider.preflight_report().await.unwrap();
    provider.create(&spec, &silent).await.unwrap();
    provider.plan(&spec).await.unwrap();
    provider.warnings(&spec).await.unwrap();
    let mut calls = wire.take_calls();
    // The emulator lists associations and does not describe them.
    let associations = provider.aws().access.list_associations(NAME).await.unwrap();
    let id = associations[0].association_id().unwrap();
    let association = serde_json::json!({"association": {
        "associationId": id, "namespace": "api1", "serviceAccount": "uploads", "tags": {"platform.dev/platform": "shop"},
    }});
    let describe = format!("GET /clusters/{NAME}/pod-identity-associations/{id}");
    emulator.fault(&serde_json::json!({"match": describe, "status": 200, "body": association}).to_string());
    // It gives entries no tags.
    let entry = serde_json::json!({"accessEntry": {
        "principalArn": "arn:aws:iam::123456789012:role/developers", "tags": {"platform.dev/platform": "shop"},
    }});
    let describe = format!("GET /clusters/{NAME}/access-entries/arn");
    emulator.fault(&serde_json::json!({"match": describe, "status": 200, "body": entry}).to_string());
    let (changed, wire) =
        emulator.provider(|builder| builder.settings(Clusters::All, settings(CHANGED))).await;
    changed.create(&spec, &silent).await.unwrap();
    changed.list(&platform()).await.unwrap();
    changed.delete(&platform(), &spec.name, &silent).await.unwrap();
    calls.extend(wire.take_calls());

    let (clusters, settings) = ([spec.name.clone()], settings(RICH));
    let scope = PermissionScope {
        partition: "aws",
        account: ACCOUNT,
        region: "eu-west-1",
        clusters: &clusters,
        settings: &settings,
    };
    let policy = IamPolicy::new(&scope);
    let mut seen = BTreeSet::new();
    let mut denied = BTreeSet::new();
    // Everybody may ask who they are.
    calls.retain(|call| !call.what.ends_with("GetCallerIdentity"));
    for call in &calls {
        let (action, resource) = action_of(call);
        // Reads of everything say `*`; the simulation and roles are read by name.
        let resource = resource
            .or_else(|| action.starts_with("iam:").then(|| format!("arn:aws:iam::{ACCOUNT}:role/caller")));
        // A listing of all stacks asks for any: that of ours is what it needs.
        let resource = resource.or_else(|| {
            let stack = || format!("arn:aws:cloudformation:eu-west-1:{ACCOUNT}:stack/platform-*/*");
            (action == "cloudformation:DescribeStacks").then(stack)
        });
        if !allows(&policy, &action, resource.as_deref()) {
            denied.insert(format!("{action} on {resource:?}"));
        }
        seen.insert(action);
    }
    assert!(seen.len() > 40, "{seen:?}");
    assert!(denied.is_empty(), "called, and not allowed: {denied:#?}");

    let excused = |action: &str| {
        UNSEEN.iter().any(|(_, patterns)| patterns.iter().any(|pattern| fits(pattern, action)))
    };
    let allowed: BTreeSet<&str> =
        policy.statements.iter().flat_map(|statement| statement.action.iter().copied()).collect();
    let idle: Vec<&&str> =
        allowed.iter().filter(|action| !seen.contains(**action) && !excused(action)).collect();
    assert!(idle.is_empty(), "allowed, and never called: {idle:#?}");
    for pattern in UNSEEN.iter().flat_map(|(_, patterns)| patterns.iter()) {
        assert!(allowed.iter().any(|action| fits(pattern, action)), "{pattern} excuses nothing");
    }
}
