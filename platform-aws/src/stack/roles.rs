//! Roles: of the control plane, of nodes, of Fargate, and of service accounts.

use super::{
    outputs::{CLUSTER_ROLE, FARGATE_ROLE, NODE_ROLE, account_output},
    template::{Draft, attribute, substituted},
};
use crate::settings::{EksSettings, IdentityMechanism, ServiceAccountRole};
use platform_core::name::ClusterName;
use serde_json::{Value, json};

/// The audience of tokens that pods show to STS.
const AUDIENCE: &str = "sts.amazonaws.com";
/// IAM's entry for the cluster's issuer.
const ISSUER: &str = "Issuer";

/// Adds the roles that EKS takes to run the cluster, its nodes and its Fargate pods, as far as they are needed.
pub(super) fn add(draft: &mut Draft, cluster: &ClusterName, settings: &EksSettings) {
    let auto = settings.auto_mode.is_some();
    let groups = !settings.node_groups.is_empty();

    let mut policies = vec!["AmazonEKSClusterPolicy"];
    if auto {
        policies.extend([
            "AmazonEKSComputePolicy",
            "AmazonEKSBlockStoragePolicy",
            "AmazonEKSLoadBalancingPolicy",
            "AmazonEKSNetworkingPolicy",
        ]);
    }
    let trust = service("eks.amazonaws.com", &["sts:AssumeRole", "sts:TagSession"], None);
    role(draft, CLUSTER_ROLE, &trust, &managed(&policies));

    if groups || auto {
        let mut policies = vec!["AmazonEC2ContainerRegistryPullOnly"];
        if groups {
            policies.extend(["AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy"]);
        }
        if auto {
            policies.push("AmazonEKSWorkerNodeMinimalPolicy");
        }
        // EC2 is the one service whose name ends as the partition's hosts do.
        let principal = json!({"Service": substituted("ec2.${AWS::URLSuffix}")});
        role(draft, NODE_ROLE, &trusting(&principal, &["sts:AssumeRole"], None), &managed(&policies));
    }
    if !settings.fargate_profiles.is_empty() {
        let profiles = format!(
            "arn:${{AWS::Partition}}:eks:${{AWS::Region}}:${{AWS::AccountId}}:fargateprofile/{cluster}/*"
        );
        let condition = json!({"ArnLike": {"aws:SourceArn": substituted(profiles)}});
        let trust = service("eks-fargate-pods.amazonaws.com", &["sts:AssumeRole"], Some(&condition));
        role(draft, FARGATE_ROLE, &trust, &managed(&["AmazonEKSFargatePodExecutionRolePolicy"]));
    }
}

/// Adds the roles that EKS hands to pods, each for the pods of one service account of this cluster.
pub(super) fn add_pod_identities(draft: &mut Draft, cluster: &ClusterName, settings: &EksSettings) {
    for account in of(settings, IdentityMechanism::PodIdentity) {
        let condition = json!({"StringEquals": {
            "aws:RequestTag/eks-cluster-name": cluster.as_str(),
            "aws:RequestTag/kubernetes-namespace": account.namespace,
            "aws:RequestTag/kubernetes-service-account": account.service_account,
        }});
        let actions = ["sts:AssumeRole", "sts:TagSession"];
        let trust = service("pods.eks.amazonaws.com", &actions, Some(&condition));
        role(draft, &account_output(account), &trust, &json!(account.policies));
    }
}

/// Adds the roles that pods take with their service account's token, and IAM's entry for who signs it.
pub(super) fn add_issued(draft: &mut Draft, settings: &EksSettings, issuer_url: &str) {
    let mut accounts = of(settings, IdentityMechanism::Irsa).peekable();
    if accounts.peek().is_none() {
        return;
    }
    let properties = json!({"ClientIdList": [AUDIENCE], "Url": issuer_url});
    let principal = json!({"Federated": draft.resource(ISSUER, "AWS::IAM::OIDCProvider", properties)});
    let issuer = issuer_url.trim_start_matches("https://");
    for account in accounts {
        let subject = format!("system:serviceaccount:{}:{}", account.namespace, account.service_account);
        let claims = [(format!("{issuer}:aud"), AUDIENCE.to_owned()), (format!("{issuer}:sub"), subject)];
        let condition =
            json!({"StringEquals": claims.into_iter().collect::<std::collections::BTreeMap<_, _>>()});
        let trust = trusting(&principal, &["sts:AssumeRoleWithWebIdentity"], Some(&condition));
        role(draft, &account_output(account), &trust, &json!(account.policies));
    }
}

fn of(settings: &EksSettings, mechanism: IdentityMechanism) -> impl Iterator<Item = &ServiceAccountRole> {
    settings.service_account_roles.iter().filter(move |account| account.mechanism == mechanism)
}

/// A role of a generated name, and the output of its ARN.
fn role(draft: &mut Draft, id: &str, trust: &Value, policies: &Value) {
    let properties = json!({"AssumeRolePolicyDocument": trust, "ManagedPolicyArns": policies});
    draft.resource(id, "AWS::IAM::Role", properties);
    draft.output(id, &attribute(id, "Arn"));
}

fn service(name: &str, actions: &[&str], condition: Option<&Value>) -> Value {
    trusting(&json!({"Service": name}), actions, condition)
}

fn trusting(principal: &Value, actions: &[&str], condition: Option<&Value>) -> Value {
    let mut statement = json!({"Action": actions, "Effect": "Allow", "Principal": principal});
    if let Some(condition) = condition {
        statement["Condition"] = condition.clone();
    }
    json!({"Statement": [statement], "Version": "2012-10-17"})
}

/// Policies that AWS keeps.
fn managed(names: &[&str]) -> Value {
    let arns =
        names.iter().map(|name| substituted(format!("arn:${{AWS::Partition}}:iam::aws:policy/{name}")));
    Value::Array(arns.collect())
}
