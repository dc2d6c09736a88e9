//! The calls of EKS.

use super::{ApiError, ApiResult};
use async_trait::async_trait;
use aws_config::{SdkConfig, retry::RetryConfig};
use aws_sdk_eks::{
    Client, Config,
    operation::{
        associate_access_policy::builders::AssociateAccessPolicyInputBuilder,
        create_access_entry::builders::CreateAccessEntryInputBuilder,
        create_addon::builders::CreateAddonInputBuilder, create_cluster::builders::CreateClusterInputBuilder,
        create_fargate_profile::builders::CreateFargateProfileInputBuilder,
        create_nodegroup::builders::CreateNodegroupInputBuilder,
        create_pod_identity_association::builders::CreatePodIdentityAssociationInputBuilder,
        describe_update::builders::DescribeUpdateInputBuilder,
        update_access_entry::builders::UpdateAccessEntryInputBuilder,
        update_addon::builders::UpdateAddonInputBuilder,
        update_cluster_config::builders::UpdateClusterConfigInputBuilder,
        update_cluster_version::builders::UpdateClusterVersionInputBuilder,
        update_nodegroup_config::builders::UpdateNodegroupConfigInputBuilder,
        update_nodegroup_version::builders::UpdateNodegroupVersionInputBuilder,
    },
    types::{
        AccessEntry, Addon, AddonInfo, AssociatedAccessPolicy, Cluster, ClusterVersionInformation,
        FargateProfile, Nodegroup, PodIdentityAssociation, PodIdentityAssociationSummary, Update,
    },
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use std::{collections::BTreeMap, fmt};

/// Clusters of EKS.
#[async_trait]
pub trait ClusterApi: Send + Sync + fmt::Debug {
    /// `eks:DescribeCluster`.
    async fn describe(&self, name: &str) -> ApiResult<Cluster>;
    /// `eks:ListClusters`, all pages.
    async fn list(&self) -> ApiResult<Vec<String>>;
    /// `eks:CreateCluster`.
    async fn create(&self, request: CreateClusterInputBuilder) -> ApiResult<Cluster>;
    /// `eks:UpdateClusterConfig`.
    async fn update_config(&self, request: UpdateClusterConfigInputBuilder) -> ApiResult<Update>;
    /// `eks:UpdateClusterVersion`.
    async fn update_version(&self, request: UpdateClusterVersionInputBuilder) -> ApiResult<Update>;
    /// `eks:DescribeUpdate`, of a cluster, a node group or an addon.
    async fn describe_update(&self, request: DescribeUpdateInputBuilder) -> ApiResult<Update>;
    /// `eks:DescribeClusterVersions`, the first page, which holds 100: which versions there are, and until when.
    async fn versions(&self) -> ApiResult<Vec<ClusterVersionInformation>>;
    /// `eks:TagResource`.
    async fn tag(&self, arn: &str, tags: &BTreeMap<String, String>) -> ApiResult<()>;
    /// `eks:DeleteCluster`.
    async fn delete(&self, name: &str) -> ApiResult<()>;
}

/// Managed node groups.
#[async_trait]
pub trait NodeGroupApi: Send + Sync + fmt::Debug {
    /// `eks:ListNodegroups`, all pages.
    async fn list(&self, cluster: &str) -> ApiResult<Vec<String>>;
    /// `eks:DescribeNodegroup`.
    async fn describe(&self, cluster: &str, name: &str) -> ApiResult<Nodegroup>;
    /// `eks:CreateNodegroup`.
    async fn create(&self, request: CreateNodegroupInputBuilder) -> ApiResult<Nodegroup>;
    /// `eks:UpdateNodegroupConfig`.
    async fn update_config(&self, request: UpdateNodegroupConfigInputBuilder) -> ApiResult<Update>;
    /// `eks:UpdateNodegroupVersion`.
    async fn update_version(&self, request: UpdateNodegroupVersionInputBuilder) -> ApiResult<Update>;
    /// `eks:DeleteNodegroup`.
    async fn delete(&self, cluster: &str, name: &str) -> ApiResult<()>;
}

/// Fargate profiles.
#[async_trait]
pub trait FargateApi: Send + Sync + fmt::Debug {
    /// `eks:ListFargateProfiles`, all pages.
    async fn list(&self, cluster: &str) -> ApiResult<Vec<String>>;
    /// `eks:DescribeFargateProfile`.
    async fn describe(&self, cluster: &str, name: &str) -> ApiResult<FargateProfile>;
    /// `eks:CreateFargateProfile`.
    async fn create(&self, request: CreateFargateProfileInputBuilder) -> ApiResult<FargateProfile>;
    /// `eks:DeleteFargateProfile`.
    async fn delete(&self, cluster: &str, name: &str) -> ApiResult<()>;
}

/// Addons.
#[async_trait]
pub trait AddonApi: Send + Sync + fmt::Debug {
    /// `eks:ListAddons`, all pages.
    async fn list(&self, cluster: &str) -> ApiResult<Vec<String>>;
    /// `eks:DescribeAddon`.
    async fn describe(&self, cluster: &str, name: &str) -> ApiResult<Addon>;
    /// `eks:CreateAddon`.
    async fn create(&self, request: CreateAddonInputBuilder) -> ApiResult<Addon>;
    /// `eks:UpdateAddon`.
    async fn update(&self, request: UpdateAddonInputBuilder) -> ApiResult<Update>;
    /// `eks:DescribeAddonVersions`: the versions of an addon for a Kubernetes version.
    async fn versions(&self, name: &str, kubernetes_version: &str) -> ApiResult<Vec<AddonInfo>>;
    /// `eks:DeleteAddon`, with what it installed.
    async fn delete(&self, cluster: &str, name: &str) -> ApiResult<()>;
}

/// Who may use a cluster, and which role pods get.
#[async_trait]
pub trait AccessApi: Send + Sync + fmt::Debug {
    /// `eks:ListAccessEntries`, all pages: the ARNs of principals.
    async fn list_entries(&self, cluster: &str) -> ApiResult<Vec<String>>;
    /// `eks:DescribeAccessEntry`.
    async fn describe_entry(&self, cluster: &str, principal: &str) -> ApiResult<AccessEntry>;
    /// `eks:CreateAccessEntry`.
    async fn create_entry(&self, request: CreateAccessEntryInputBuilder) -> ApiResult<AccessEntry>;
    /// `eks:UpdateAccessEntry`.
    async fn update_entry(&self, request: UpdateAccessEntryInputBuilder) -> ApiResult<AccessEntry>;
    /// `eks:DeleteAccessEntry`.
    async fn delete_entry(&self, cluster: &str, principal: &str) -> ApiResult<()>;
    /// `eks:ListAssociatedAccessPolicies`, all pages.
    async fn policies(&self, cluster: &str, principal: &str) -> ApiResult<Vec<AssociatedAccessPolicy>>;
    /// `eks:AssociateAccessPolicy`, which sets the scope of one that is there.
    async fn associate_policy(&self, request: AssociateAccessPolicyInputBuilder) -> ApiResult<()>;
    /// `eks:DisassociateAccessPolicy`.
    async fn disassociate_policy(&self, cluster: &str, principal: &str, policy: &str) -> ApiResult<()>;
    /// `eks:ListPodIdentityAssociations`, all pages.
    async fn list_associations(&self, cluster: &str) -> ApiResult<Vec<PodIdentityAssociationSummary>>;
    /// `eks:DescribePodIdentityAssociation`.
    async fn describe_association(&self, cluster: &str, id: &str) -> ApiResult<PodIdentityAssociation>;
    /// `eks:CreatePodIdentityAssociation`.
    async fn create_association(&self, request: CreatePodIdentityAssociationInputBuilder) -> ApiResult<()>;
    /// `eks:DeletePodIdentityAssociation`.
    async fn delete_association(&self, cluster: &str, id: &str) -> ApiResult<()>;
}

/// EKS itself.
#[derive(Debug)]
pub(super) struct EksClient(Client);

impl EksClient {
    pub(super) fn new(configuration: &SdkConfig) -> Self {
        Self(Client::new(configuration))
    }
}

/// Turns an error of a call into ours.
fn of<E>(action: &'static str) -> impl Fn(SdkError<E, HttpResponse>) -> ApiError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    move |error| ApiError::of(action, &error)
}

/// What an answer must have.
fn there<T>(action: &'static str, part: Option<T>) -> ApiResult<T> {
    part.ok_or_else(|| ApiError::answered(action, None, "the answer is empty", 500))
}

/// All pages of a listing.
macro_rules! pages {
    ($action:literal, $call:expr, $field:ident) => {{
        let mut pages = $call.into_paginator().send();
        let mut all = Vec::new();
        while let Some(page) = pages.next().await {
            all.extend(page.map_err(of($action))?.$field.unwrap_or_default());
        }
        Ok(all)
    }};
}

#[async_trait]
impl ClusterApi for EksClient {
    async fn describe(&self, name: &str) -> ApiResult<Cluster> {
        const ACTION: &str = "eks:DescribeCluster";
        let answer = self.0.describe_cluster().name(name).send().await.map_err(of(ACTION))?;
        there(ACTION, answer.cluster)
    }

    async fn list(&self) -> ApiResult<Vec<String>> {
        pages!("eks:ListClusters", self.0.list_clusters(), clusters)
    }

    async fn create(&self, request: CreateClusterInputBuilder) -> ApiResult<Cluster> {
        const ACTION: &str = "eks:CreateCluster";
        there(ACTION, request.send_with(&self.0).await.map_err(of(ACTION))?.cluster)
    }

    async fn update_config(&self, request: UpdateClusterConfigInputBuilder) -> ApiResult<Update> {
        const ACTION: &str = "eks:UpdateClusterConfig";
        there(ACTION, request.send_with(&self.0).await.map_err(of(ACTION))?.update)
    }

    async fn update_version(&self, request: UpdateClusterVersionInputBuilder) -> ApiResult<Update> {
        const ACTION: &str = "eks:UpdateClusterVersion";
        there(ACTION, request.send_with(&self.0).await.map_err(of(ACTION))?.update)
    }

    async fn describe_update(&self, request: DescribeUpdateInputBuilder) -> ApiResult<Update> {
        const ACTION: &str = "eks:DescribeUpdate";
        there(ACTION, request.send_with(&self.0).await.map_err(of(ACTION))?.update)
    }

    async fn versions(&self) -> ApiResult<Vec<ClusterVersionInformation>> {
        // It is asked for advice alone: without an answer at once there is none.
        let once = Config::builder().retry_config(RetryConfig::disabled());
        let call = self.0.describe_cluster_versions().customize().config_override(once);
        let answer = call.send().await.map_err(of("eks:DescribeClusterVersions"))?;
        Ok(answer.cluster_versions.unwrap_or_default())
    }

    async fn tag(&self, arn: &str, tags: &BTreeMap<String, String>) -> ApiResult<()> {
        let tags = tags.clone().into_iter().collect();
        let call = self.0.tag_resource().resource_arn(arn).set_tags(Some(tags));
        call.send().await.map(drop).map_err(of("eks:TagResource"))
    }

    async fn delete(&self, name: &str) -> ApiResult<()> {
        self.0.delete_cluster().name(name).send().await.map(drop).map_err(of("eks:DeleteCluster"))
    }
}

#[async_trait]
impl NodeGroupApi for EksClient {
    async fn list(&self, cluster: &str) -> ApiResult<Vec<String>> {
        pages!("eks:ListNodegroups", self.0.list_nodegroups().cluster_name(cluster), nodegroups)
    }

    async fn describe(&self, cluster: &str, name: &str) -> ApiResult<Nodegroup> {
        const ACTION: &str = "eks:DescribeNodegroup";
        let call = self.0.describe_nodegroup().cluster_name(cluster).nodegroup_name(name);
        there(ACTION, call.send().await.map_err(of(ACTION))?.nodegroup)
    }

    async fn create(&self, request: CreateNodegroupInputBuilder) -> ApiResult<Nodegroup> {
        const ACTION: &str = "eks:CreateNodegroup";
        there(ACTION, request.send_with(&self.0).await.map_err(of(ACTION))?.nodegroup)
    }

    async fn update_config(&self, request: UpdateNodegroupConfigInputBuilder) -> ApiResult<Update> {
        const ACTION: &str = "eks:UpdateNodegroupConfig";
        there(ACTION, request.send_with(&self.0).await.map_err(of(ACTION))?.update)
    }

    async fn update_version(&self, request: UpdateNodegroupVersionInputBuilder) -> ApiResult<Update> {
        const ACTION: &str = "eks:UpdateNodegroupVersion";
        there(ACTION, request.send_with(&self.0).await.map_err(of(ACTION))?.update)
    }

    async fn delete(&self, cluster: &str, name: &str) -> ApiResult<()> {
        let call = self.0.delete_nodegroup().cluster_name(cluster).nodegroup_name(name);
        call.send().await.map(drop).map_err(of("eks:DeleteNodegroup"))
    }
}

#[async_trait]
impl FargateApi for EksClient {
    async fn list(&self, cluster: &str) -> ApiResult<Vec<String>> {
        pages!(
            "eks:ListFargateProfiles",
            self.0.list_fargate_profiles().cluster_name(cluster),
            fargate_profile_names
        )
    }

    async fn describe(&self, cluster: &str, name: &str) -> ApiResult<FargateProfile> {
        const ACTION: &str = "eks:DescribeFargateProfile";
        let call = self.0.describe_fargate_profile().cluster_name(cluster).fargate_profile_name(name);
        there(ACTION, call.send().await.map_err(of(ACTION))?.fargate_profile)
    }

    async fn create(&self, request: CreateFargateProfileInputBuilder) -> ApiResult<FargateProfile> {
        const ACTION: &str = "eks:CreateFargateProfile";
        there(ACTION, request.send_with(&self.0).await.map_err(of(ACTION))?.fargate_profile)
    }

    async fn delete(&self, cluster: &str, name: &str) -> ApiResult<()> {
        let call = self.0.delete_fargate_profile().cluster_name(cluster).fargate_profile_name(name);
        call.send().await.map(drop).map_err(of("eks:DeleteFargateProfile"))
    }
}

#[async_trait]
impl AddonApi for EksClient {
    async fn list(&self, cluster: &str) -> ApiResult<Vec<String>> {
        pages!("eks:ListAddons", self.0.list_addons().cluster_name(cluster), addons)
    }

    async fn describe(&self, cluster: &str, name: &str) -> ApiResult<Addon> {
        const ACTION: &str = "eks:DescribeAddon";
        let call = self.0.describe_addon().cluster_name(cluster).addon_name(name);
        there(ACTION, call.send().await.map_err(of(ACTION))?.addon)
    }

    async fn create(&self, request: CreateAddonInputBuilder) -> ApiResult<Addon> {
        const ACTION: &str = "eks:CreateAddon";
        there(ACTION, request.send_with(&self.0).await.map_err(of(ACTION))?.addon)
    }

    async fn update(&self, request: UpdateAddonInputBuilder) -> ApiResult<Update> {
        const ACTION: &str = "eks:UpdateAddon";
        there(ACTION, request.send_with(&self.0).await.map_err(of(ACTION))?.update)
    }

    async fn versions(&self, name: &str, kubernetes_version: &str) -> ApiResult<Vec<AddonInfo>> {
        let call = self.0.describe_addon_versions().addon_name(name).kubernetes_version(kubernetes_version);
        pages!("eks:DescribeAddonVersions", call, addons)
    }

    async fn delete(&self, cluster: &str, name: &str) -> ApiResult<()> {
        let call = self.0.delete_addon().cluster_name(cluster).addon_name(name);
        call.send().await.map(drop).map_err(of("eks:DeleteAddon"))
    }
}

#[async_trait]
impl AccessApi for EksClient {
    async fn list_entries(&self, cluster: &str) -> ApiResult<Vec<String>> {
        pages!("eks:ListAccessEntries", self.0.list_access_entries().cluster_name(cluster), access_entries)
    }

    async fn describe_entry(&self, cluster: &str, principal: &str) -> ApiResult<AccessEntry> {
        const ACTION: &str = "eks:DescribeAccessEntry";
        let call = self.0.describe_access_entry().cluster_name(cluster).principal_arn(principal);
        there(ACTION, call.send().await.map_err(of(ACTION))?.access_entry)
    }

    async fn create_entry(&self, request: CreateAccessEntryInputBuilder) -> ApiResult<AccessEntry> {
        const ACTION: &str = "eks:CreateAccessEntry";
        there(ACTION, request.send_with(&self.0).await.map_err(of(ACTION))?.access_entry)
    }

    async fn update_entry(&self, request: UpdateAccessEntryInputBuilder) -> ApiResult<AccessEntry> {
        const ACTION: &str = "eks:UpdateAccessEntry";
        there(ACTION, request.send_with(&self.0).await.map_err(of(ACTION))?.access_entry)
    }

    async fn delete_entry(&self, cluster: &str, principal: &str) -> ApiResult<()> {
        let call = self.0.delete_access_entry().cluster_name(cluster).principal_arn(principal);
        call.send().await.map(drop).map_err(of("eks:DeleteAccessEntry"))
    }

    async fn policies(&self, cluster: &str, principal: &str) -> ApiResult<Vec<AssociatedAccessPolicy>> {
        let call = self.0.list_associated_access_policies().cluster_name(cluster).principal_arn(principal);
        pages!("eks:ListAssociatedAccessPolicies", call, associated_access_policies)
    }

    async fn associate_policy(&self, request: AssociateAccessPolicyInputBuilder) -> ApiResult<()> {
        request.send_with(&self.0).await.map(drop).map_err(of("eks:AssociateAccessPolicy"))
    }

    async fn disassociate_policy(&self, cluster: &str, principal: &str, policy: &str) -> ApiResult<()> {
        let call = self.0.disassociate_access_policy().cluster_name(cluster).principal_arn(principal);
        call.policy_arn(policy).send().await.map(drop).map_err(of("eks:DisassociateAccessPolicy"))
    }

    async fn list_associations(&self, cluster: &str) -> ApiResult<Vec<PodIdentityAssociationSummary>> {
        pages!(
            "eks:ListPodIdentityAssociations",
            self.0.list_pod_identity_associations().cluster_name(cluster),
            associations
        )
    }

    async fn describe_association(&self, cluster: &str, id: &str) -> ApiResult<PodIdentityAssociation> {
        const ACTION: &str = "eks:DescribePodIdentityAssociation";
        let call = self.0.describe_pod_identity_association().cluster_name(cluster).association_id(id);
        there(ACTION, call.send().await.map_err(of(ACTION))?.association)
    }

    async fn create_association(&self, request: CreatePodIdentityAssociationInputBuilder) -> ApiResult<()> {
        request.send_with(&self.0).await.map(drop).map_err(of("eks:CreatePodIdentityAssociation"))
    }

    async fn delete_association(&self, cluster: &str, id: &str) -> ApiResult<()> {
        let call = self.0.delete_pod_identity_association().cluster_name(cluster).association_id(id);
        call.send().await.map(drop).map_err(of("eks:DeletePodIdentityAssociation"))
    }
}
