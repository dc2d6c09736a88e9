//! On which resources something may be done, and under which conditions.

use super::table::Group;
use crate::{
    settings::{EksSettings, IdentityMechanism, Network},
    stack,
};
use platform_core::name::ClusterName;
use std::collections::{BTreeMap, BTreeSet};

/// Operator, key, values: `StringEquals`, `iam:PassedToService`, `eks.amazonaws.com`.
pub(super) type Condition = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// Where permissions hold: one account, one region, some clusters of some settings.
#[derive(Debug, Clone, Copy)]
pub struct PermissionScope<'a> {
    /// The partition: `aws`, `aws-cn`, `aws-us-gov`.
    pub partition: &'a str,
    /// The account, 12 digits.
    pub account: &'a str,
    /// The region.
    pub region: &'a str,
    /// The clusters.
    pub clusters: &'a [ClusterName],
    /// How they are made, which decides what is needed.
    pub settings: &'a EksSettings,
}

/// What actions of a group are limited to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) resources: Vec<String>,
    pub(super) condition: Condition,
    /// The one action of the group that is meant; `None`: all.
    pub(super) only: Option<&'static str>,
}

/// How many clusters a statement names, so that it fits into a policy.
const CLUSTERS: usize = 5;
/// What CloudFormation adds to calls that it makes for somebody.
const THROUGH_STACKS: (&str, &str) = ("aws:CalledVia", "cloudformation.amazonaws.com");

impl PermissionScope<'_> {
    /// What actions of a group are limited to: one limit for each statement; none where the settings need none of them.
    pub(super) fn limits(&self, group: Group) -> Vec<Limit> {
        let new_roles = self.settings.roles.is_none() || !self.settings.service_account_roles.is_empty();
        match group {
            Group::Reads => vec![limit(["*"])],
            Group::RoleReads => vec![limit([self.iam("role/*"), self.iam("user/*")])],
            Group::Clusters => {
                self.clusters.chunks(CLUSTERS).map(|names| limit(self.cluster_arns(names))).collect()
            }
            Group::Stacks => {
                vec![limit([self.regional("cloudformation", &format!("stack/{}*", stack::PREFIX))])]
            }
            Group::Network if matches!(self.settings.network, Network::New(_)) => {
                vec![through_stacks(limit([self.regional("ec2", "*")]))]
            }
            Group::Nodes => vec![limit([
                self.regional("ec2", "*"),
                // Images are nobody's.
                format!("arn:{}:ec2:{}::image/*", self.partition, self.region),
            ])],
            Group::Roles if new_roles => vec![through_stacks(limit([self.our_roles()]))],
            Group::Policies if new_roles => {
                vec![through_stacks(limit([self.our_roles()])).when(
                    "ArnLike",
                    "iam:PolicyARN",
                    self.policies(),
                )]
            }
            Group::PassRole => {
                vec![limit(self.passed_roles()).when(
                    "StringEquals",
                    "iam:PassedToService",
                    self.role_takers(),
                )]
            }
            Group::Linked => {
                let fargate = (!self.settings.fargate_profiles.is_empty()).then_some("eks-fargate");
                let services = ["eks", "eks-nodegroup"].into_iter().chain(fargate);
                let services = services.map(|name| format!("{name}.amazonaws.com"));
                vec![limit([self.iam("role/aws-service-role/eks*")]).when(
                    "StringEquals",
                    "iam:AWSServiceName",
                    services,
                )]
            }
            Group::Profiles if self.settings.auto_mode.is_some() => {
                vec![limit([self.iam("instance-profile/eks*")])]
            }
            Group::Issuer if self.has(IdentityMechanism::Irsa) => {
                vec![through_stacks(limit([self.iam("oidc-provider/oidc.eks.*")]))]
            }
            Group::Key => {
                self.settings.secrets_encryption_key.iter().map(|key| limit([key.clone()])).collect()
            }
            Group::Swept => self.swept(),
            Group::Network | Group::Roles | Group::Policies | Group::Profiles | Group::Issuer => Vec::new(),
        }
    }

    /// By the tags of controllers: that of AWS' load balancer controller, that of Auto Mode, the one that has the cluster's name in its key, which
    /// takes a statement for each, and that of the CNI. The control plane's security group is a stack's.
    fn swept(&self) -> Vec<Limit> {
        let all = self.swept_resources();
        let mut limits = vec![self.tagged(all.clone(), "elbv2.k8s.aws/cluster")];
        if self.settings.auto_mode.is_some() {
            limits.push(self.tagged(all.clone(), "eks:eks-cluster-name"));
        }
        limits.extend(self.clusters.iter().map(|name| {
            let tag = format!("aws:ResourceTag/kubernetes.io/cluster/{name}");
            all.clone().when("StringEquals", &tag, ["owned"])
        }));
        let interfaces =
            limit([self.regional("ec2", "network-interface/*")]).only("ec2:DeleteNetworkInterface");
        limits.push(self.tagged(interfaces, "cluster.k8s.amazonaws.com/name"));
        if matches!(self.settings.network, Network::New(_)) {
            let groups = limit([self.regional("ec2", "security-group/*")]).only("ec2:DeleteSecurityGroup");
            limits.push(through_stacks(groups));
        }
        limits
    }

    /// What has a tag with one of the clusters' names.
    fn tagged(&self, limit: Limit, tag: &str) -> Limit {
        let names = self.clusters.iter().map(ToString::to_string);
        limit.when("StringEquals", &format!("aws:ResourceTag/{tag}"), names)
    }

    fn swept_resources(&self) -> Limit {
        limit([self.regional("ec2", "*"), self.regional("elasticloadbalancing", "*")])
    }

    fn cluster_arns(&self, clusters: &[ClusterName]) -> Vec<String> {
        let mut arns = Vec::new();
        for name in clusters {
            arns.push(self.regional("eks", &format!("cluster/{name}")));
            let parts = ["nodegroup", "fargateprofile", "addon", "access-entry", "podidentityassociation"];
            arns.extend(parts.iter().map(|part| self.regional("eks", &format!("{part}/{name}/*"))));
        }
        arns
    }

    /// The policies that roles of stacks may be given: nobody makes an administrator of one.
    fn policies(&self) -> BTreeSet<String> {
        let mut policies = BTreeSet::new();
        if self.settings.roles.is_none() {
            let aws = |name: &str| format!("arn:{}:iam::aws:policy/{name}", self.partition);
            policies.extend([aws("AmazonEKS*"), aws("AmazonEC2ContainerRegistryPullOnly")]);
        }
        policies.extend(self.settings.service_account_roles.iter().flat_map(|role| role.policies.clone()));
        policies
    }

    fn passed_roles(&self) -> BTreeSet<String> {
        let Some(roles) = &self.settings.roles else { return [self.our_roles()].into() };
        let mut passed: BTreeSet<String> =
            [Some(&roles.cluster), roles.node.as_ref(), roles.fargate.as_ref()]
                .into_iter()
                .flatten()
                .cloned()
                .collect();
        if self.has(IdentityMechanism::PodIdentity) {
            passed.insert(self.our_roles());
        }
        passed
    }

    /// Who takes the roles that are passed.
    fn role_takers(&self) -> Vec<String> {
        let ec2 = if self.partition == "aws-cn" { "ec2.amazonaws.com.cn" } else { "ec2.amazonaws.com" };
        let mut takers = vec!["eks.amazonaws.com".to_owned(), ec2.to_owned()];
        if !self.settings.fargate_profiles.is_empty() {
            takers.push("eks-fargate-pods.amazonaws.com".to_owned());
        }
        if self.has(IdentityMechanism::PodIdentity) {
            takers.push("pods.eks.amazonaws.com".to_owned());
        }
        takers
    }

    fn has(&self, mechanism: IdentityMechanism) -> bool {
        self.settings.service_account_roles.iter().any(|role| role.mechanism == mechanism)
    }

    /// Roles of our stacks: CloudFormation makes their names of the stack's, cut at its end.
    fn our_roles(&self) -> String {
        self.iam(&format!("role/{}*", stack::PREFIX))
    }

    fn iam(&self, resource: &str) -> String {
        format!("arn:{}:iam::{}:{resource}", self.partition, self.account)
    }

    fn regional(&self, service: &str, resource: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{resource}", self.partition, self.region, self.account)
    }
}

impl Limit {
    fn only(mut self, action: &'static str) -> Self {
        self.only = Some(action);
        self
    }

    fn when(
        mut self,
        operator: &str,
        key: &str,
        values: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.condition.entry(operator.to_owned()).or_default().insert(key.to_owned(), values);
        self
    }
}

fn limit(resources: impl IntoIterator<Item = impl Into<String>>) -> Limit {
    Limit {
        resources: resources.into_iter().map(Into::into).collect(),
        condition: Condition::new(),
        only: None,
    }
}

fn through_stacks(limit: Limit) -> Limit {
    let (key, service) = THROUGH_STACKS;
    limit.when("ForAnyValue:StringEquals", key, [service])
}
