//! Every action: for what, and when.

use Phase::{Create, Delete, Plan, Preflight, Sweep, Update};
use serde::Serialize;

/// When something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// Whether a creation can succeed is looked at before it begins.
    Preflight,
    /// What there is is compared with what is wanted.
    Plan,
    /// A cluster is made.
    Create,
    /// A cluster is changed.
    Update,
    /// A cluster is deleted.
    Delete,
    /// What controllers of a deleted cluster left is deleted.
    Sweep,
}

/// Something that is done at AWS, by the caller or for the caller by CloudFormation and EKS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Action {
    /// As IAM calls it: `eks:CreateCluster`.
    pub name: &'static str,
    /// When.
    pub phases: &'static [Phase],
    /// For what.
    pub why: &'static str,
    /// What it is done to, which decides how it is limited.
    #[serde(skip)]
    pub(super) group: Group,
}

/// Actions that are limited alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// Reads of what has no resource in IAM, or of anything.
    Reads,
    /// Roles are read: the caller's own, and those that EKS is given.
    RoleReads,
    /// Clusters by name and what is in them.
    Clusters,
    /// Stacks whose names begin as ours do.
    Stacks,
    /// What stacks make in EC2: only through CloudFormation.
    Network,
    /// What EKS checks with the caller's permissions when nodes are made.
    Nodes,
    /// Roles of stacks: only through CloudFormation.
    Roles,
    /// Policies on these roles: only those that are wanted.
    Policies,
    /// Roles are given to EKS.
    PassRole,
    /// Roles that services have for themselves.
    Linked,
    /// Instance profiles of Auto Mode.
    Profiles,
    /// The cluster's issuer as an identity provider: only through CloudFormation.
    Issuer,
    /// The key that Secrets are encrypted with.
    Key,
    /// What a controller made, by its tags.
    Swept,
}

/// All actions.
pub fn actions() -> &'static [Action] {
    ACTIONS
}

const ANY: &[Phase] = &[Preflight, Plan, Create, Update, Delete];
const MAKE: &[Phase] = &[Create, Update];
const UNMAKE: &[Phase] = &[Update, Delete];

macro_rules! actions {
    ($($group:ident { $($name:literal $phases:expr, $why:literal;)* })*) => {
        const ACTIONS: &[Action] = &[$($(
            Action { name: $name, phases: $phases, why: $why, group: Group::$group },
        )*)*];
    };
}

actions! {
    Reads {
        "eks:ListClusters" ANY, "which clusters there are";
        "cloudformation:DescribeStacks" ANY, "which stacks there are, those of interrupted creations too";
        "eks:DescribeClusterVersions" &[Preflight, Plan], "which versions there are";
        "eks:DescribeAddonVersions" &[Preflight, Plan], "which versions of addons fit";
        "ec2:DescribeAvailabilityZones" &[Preflight, Create], "in which zones subnets can be";
        "ec2:DescribeVpcs" &[Preflight, Create, Sweep], "which networks are taken";
        "ec2:DescribeSubnets" ANY, "EKS and stacks read the subnets";
        "ec2:DescribeRouteTables" ANY, "EKS and stacks read the routes";
        "ec2:DescribeSecurityGroups" &[Create, Update, Delete, Sweep], "EKS, stacks and the sweep read security groups";
        "ec2:DescribeVpcAttribute" ANY, "stacks read the VPC's settings of DNS";
        "ec2:DescribeInternetGateways" ANY, "stacks wait for the internet gateway";
        "ec2:DescribeNatGateways" ANY, "stacks wait for NAT gateways";
        "ec2:DescribeAddresses" ANY, "stacks wait for addresses";
        "ec2:DescribeNetworkAcls" ANY, "stacks read the VPC";
        "ec2:DescribeVpnGateways" ANY, "stacks read what is attached to the VPC";
        "ec2:DescribeInstances" &[Create, Delete], "stacks look for what uses a security group";
        "ec2:DescribeLaunchTemplates" MAKE, "EKS reads what nodes are launched from";
        "ec2:DescribeLaunchTemplateVersions" MAKE, "EKS reads what nodes are launched from";
        "ec2:DescribeNetworkInterfaces" &[Create, Delete, Sweep], "what is left in the VPC";
        "ec2:DescribeVolumes" &[Delete, Sweep], "volumes that are left";
        "elasticloadbalancing:DescribeLoadBalancers" &[Delete, Sweep], "load balancers that are left";
        "elasticloadbalancing:DescribeTargetGroups" &[Delete, Sweep], "target groups that are left";
        "elasticloadbalancing:DescribeTags" &[Delete, Sweep], "whose they are";
        "servicequotas:GetServiceQuota" &[Preflight], "whether a quota is in the way";
    }
    RoleReads {
        "iam:SimulatePrincipalPolicy" &[Preflight], "whether a permission is missing";
        "iam:GetRole" ANY, "the path of the caller's role; EKS and stacks read roles that they are given";
        "iam:ListAttachedRolePolicies" ANY, "EKS and stacks read which policies roles have";
        "iam:ListRolePolicies" ANY, "stacks read which policies roles have";
        "iam:GetRolePolicy" ANY, "stacks read which policies roles have";
    }
    Clusters {
        "eks:DescribeCluster" ANY, "what there is";
        "eks:CreateCluster" &[Create], "the cluster";
        "eks:UpdateClusterConfig" &[Update, Delete], "its endpoint, logs, access, deletion protection";
        "eks:UpdateClusterVersion" &[Update], "its version";
        "eks:DescribeUpdate" &[Create, Update, Delete], "how far an update is";
        "eks:TagResource" MAKE, "whose it is";
        "eks:DeleteCluster" &[Delete], "the cluster";
        "eks:ListNodegroups" ANY, "what there is";
        "eks:DescribeNodegroup" ANY, "what there is";
        "eks:CreateNodegroup" MAKE, "node groups";
        "eks:UpdateNodegroupConfig" &[Update], "how many nodes, their labels and taints";
        "eks:UpdateNodegroupVersion" &[Update], "the version of nodes";
        "eks:DeleteNodegroup" UNMAKE, "node groups";
        "eks:ListFargateProfiles" ANY, "what there is";
        "eks:DescribeFargateProfile" ANY, "what there is";
        "eks:CreateFargateProfile" MAKE, "Fargate profiles";
        "eks:DeleteFargateProfile" UNMAKE, "Fargate profiles";
        "eks:ListAddons" ANY, "what there is";
        "eks:DescribeAddon" ANY, "what there is";
        "eks:CreateAddon" MAKE, "addons";
        "eks:UpdateAddon" &[Update], "versions and configuration of addons";
        "eks:DeleteAddon" UNMAKE, "addons";
        "eks:ListAccessEntries" ANY, "what there is";
        "eks:DescribeAccessEntry" ANY, "what there is";
        "eks:CreateAccessEntry" MAKE, "who may use the cluster, the caller first";
        "eks:UpdateAccessEntry" &[Update], "in which groups they are";
        "eks:DeleteAccessEntry" UNMAKE, "who may no longer use it";
        "eks:ListAssociatedAccessPolicies" ANY, "what there is";
        "eks:AssociateAccessPolicy" MAKE, "what they may";
        "eks:DisassociateAccessPolicy" &[Update], "what they may no longer";
        "eks:ListPodIdentityAssociations" ANY, "what there is";
        "eks:DescribePodIdentityAssociation" ANY, "whose an association is";
        "eks:CreatePodIdentityAssociation" MAKE, "roles of service accounts";
        "eks:DeletePodIdentityAssociation" UNMAKE, "roles of service accounts";
    }
    Stacks {
        "cloudformation:DescribeStackEvents" &[Create, Update, Delete], "why a stack failed";
        "cloudformation:CreateStack" MAKE, "network and roles";
        "cloudformation:UpdateStack" &[Update], "network and roles";
        "cloudformation:TagResource" MAKE, "whose a stack is";
        "cloudformation:DeleteStack" &[Create, Update, Delete], "network and roles; one that failed is deleted and made again";
    }
    Network {
        "ec2:CreateVpc" MAKE, "the network";
        "ec2:ModifyVpcAttribute" MAKE, "names in the network";
        "ec2:CreateSubnet" MAKE, "subnets";
        "ec2:ModifySubnetAttribute" MAKE, "subnets";
        "ec2:CreateInternetGateway" MAKE, "the way to the internet";
        "ec2:AttachInternetGateway" MAKE, "the way to the internet";
        "ec2:CreateRouteTable" MAKE, "routes";
        "ec2:AssociateRouteTable" MAKE, "routes";
        "ec2:ReplaceRouteTableAssociation" MAKE, "routes";
        "ec2:CreateRoute" MAKE, "routes";
        "ec2:ReplaceRoute" &[Update], "routes";
        "ec2:AllocateAddress" MAKE, "addresses of NAT gateways";
        "ec2:CreateNatGateway" MAKE, "the way of nodes to the internet";
        "ec2:CreateSecurityGroup" MAKE, "the control plane's security group";
        "ec2:DeleteTags" &[Update], "tags that are no longer wanted";
        "ec2:DeleteVpc" UNMAKE, "the network";
        "ec2:DeleteSubnet" UNMAKE, "subnets";
        "ec2:DeleteInternetGateway" UNMAKE, "the way to the internet";
        "ec2:DetachInternetGateway" UNMAKE, "the way to the internet";
        "ec2:DeleteRouteTable" UNMAKE, "routes";
        "ec2:DisassociateRouteTable" UNMAKE, "routes";
        "ec2:DeleteRoute" UNMAKE, "routes";
        "ec2:DisassociateAddress" UNMAKE, "addresses of NAT gateways";
        "ec2:ReleaseAddress" UNMAKE, "addresses of NAT gateways";
        "ec2:DeleteNatGateway" UNMAKE, "the way of nodes to the internet";
    }
    Nodes {
        "ec2:RunInstances" MAKE, "AWS names it among what the caller of CreateNodegroup needs: EKS tries the launch template";
        "ec2:CreateTags" MAKE, "tags of networks, and of what nodes are launched from";
    }
    Roles {
        "iam:CreateRole" MAKE, "roles of the control plane, nodes, Fargate and service accounts";
        "iam:TagRole" MAKE, "whose a role is";
        "iam:UntagRole" &[Update], "tags that are no longer wanted";
        "iam:UpdateAssumeRolePolicy" &[Update], "who may take a role";
        "iam:DeleteRole" UNMAKE, "roles";
    }
    Policies {
        "iam:AttachRolePolicy" MAKE, "what roles may";
        "iam:DetachRolePolicy" UNMAKE, "what roles may";
    }
    PassRole {
        "iam:PassRole" MAKE, "roles are given to EKS, which gives them to nodes and pods";
    }
    Linked {
        "iam:CreateServiceLinkedRole" MAKE, "the roles that EKS has for itself, where the account has none yet";
    }
    Profiles {
        "iam:CreateInstanceProfile" MAKE, "EKS makes the instance profile of Auto Mode's nodes";
        "iam:TagInstanceProfile" MAKE, "EKS makes the instance profile of Auto Mode's nodes";
        "iam:GetInstanceProfile" MAKE, "EKS makes the instance profile of Auto Mode's nodes";
        "iam:AddRoleToInstanceProfile" MAKE, "EKS makes the instance profile of Auto Mode's nodes";
        "iam:RemoveRoleFromInstanceProfile" UNMAKE, "EKS deletes the instance profile of Auto Mode's nodes";
        "iam:DeleteInstanceProfile" UNMAKE, "EKS deletes the instance profile of Auto Mode's nodes";
    }
    Issuer {
        "iam:CreateOpenIDConnectProvider" MAKE, "IAM trusts the cluster's issuer";
        "iam:GetOpenIDConnectProvider" ANY, "what there is";
        "iam:ListOpenIDConnectProviderTags" &[Update], "what there is";
        "iam:TagOpenIDConnectProvider" MAKE, "whose it is";
        "iam:UntagOpenIDConnectProvider" &[Update], "tags that are no longer wanted";
        "iam:DeleteOpenIDConnectProvider" UNMAKE, "IAM no longer trusts the issuer";
    }
    Key {
        "kms:DescribeKey" &[Preflight, Create], "whether the key can be used";
        "kms:CreateGrant" &[Create], "EKS is let to use the key";
    }
    Swept {
        "elasticloadbalancing:DeleteLoadBalancer" &[Delete, Sweep], "load balancers that are left";
        "elasticloadbalancing:DeleteTargetGroup" &[Delete, Sweep], "target groups that are left";
        "ec2:RevokeSecurityGroupIngress" &[Delete, Sweep], "rules that keep a security group that is left from being deleted";
        "ec2:RevokeSecurityGroupEgress" &[Delete, Sweep], "rules that keep a security group that is left from being deleted";
        "ec2:DeleteSecurityGroup" &[Delete, Sweep], "security groups that are left, and the control plane's";
        "ec2:DeleteVolume" &[Delete, Sweep], "volumes that are left";
        "ec2:DeleteNetworkInterface" &[Delete, Sweep], "interfaces that are left, which keep subnets from being deleted";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, path::Path};

    #[test]
    fn every_action_is_there_once_and_says_why() {
        let mut names = BTreeSet::new();
        for action in actions() {
            assert!(names.insert(action.name), "{} is there twice", action.name);
            assert!(!action.why.is_empty() && !action.phases.is_empty(), "{}", action.name);
            let (service, call) = action.name.split_once(':').unwrap();
            assert!(
                !service.is_empty() && call.starts_with(|c: char| c.is_ascii_uppercase()),
                "{}",
                action.name
            );
        }
    }

    /// The text of every file below a folder.
    fn sources(folder: &Path, texts: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, texts);
            } else {
                texts.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn every_call_that_is_made_is_there() {
        let mut texts = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api"), &mut texts);
        let services =
            ["eks", "cloudformation", "ec2", "elasticloadbalancing", "iam", "sts", "servicequotas"];
        let names: BTreeSet<&str> = actions().iter().map(|action| action.name).collect();
        // Everybody may ask who they are, whatever policies say.
        let free = "sts:GetCallerIdentity";
        let mut called = BTreeSet::new();
        for piece in texts.iter().flat_map(|text| text.split(['"', '`'])) {
            let Some((service, call)) = piece.split_once(':') else { continue };
            let is_call = call.starts_with(|c: char| c.is_ascii_uppercase())
                && call.chars().all(|c| c.is_ascii_alphanumeric());
            if services.contains(&service) && is_call && piece != free {
                called.insert(piece);
            }
        }
        assert!(called.len() > 55, "{called:?}");
        let missing: Vec<_> = called.difference(&names).collect();
        assert!(missing.is_empty(), "called, but not in the table: {missing:?}");
    }
}
