//! One cluster of EKS in memory: what is read, and tags.

use crate::api::{
    AccessApi, AddonApi, ApiError, ApiErrorKind, ApiResult, Aws, ClusterApi, FargateApi, NodeGroupApi,
};
use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_eks::{
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
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

#[derive(Debug, Clone)]
pub(super) struct Fake(Arc<State>);

#[derive(Debug, Clone, Default)]
struct Parts {
    groups: BTreeMap<String, Nodegroup>,
    addons: BTreeMap<String, Addon>,
    principals: BTreeMap<String, (AccessEntry, Vec<AssociatedAccessPolicy>)>,
    associations: Vec<PodIdentityAssociationSummary>,
    refuses_entries: bool,
}

#[derive(Debug)]
struct State {
    cluster: Mutex<Cluster>,
    parts: Parts,
    tagged: Mutex<Vec<String>>,
}

impl Fake {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self(Arc::new(State {
            cluster: Mutex::new(cluster),
            parts: Parts::default(),
            tagged: Mutex::default(),
        }))
    }

    fn with(self, change: impl FnOnce(&mut Parts)) -> Self {
        let mut parts = self.0.parts.clone();
        change(&mut parts);
        let cluster = self.0.cluster.lock().unwrap().clone();
        Self(Arc::new(State { cluster: Mutex::new(cluster), parts, tagged: Mutex::default() }))
    }

    pub(super) fn group(self, group: Nodegroup) -> Self {
        self.with(|parts| _ = parts.groups.insert(group.nodegroup_name.clone().unwrap(), group))
    }

    pub(super) fn addon(self, addon: Addon) -> Self {
        self.with(|parts| _ = parts.addons.insert(addon.addon_name.clone().unwrap(), addon))
    }

    pub(super) fn principal(self, entry: AccessEntry, policies: Vec<AssociatedAccessPolicy>) -> Self {
        self.with(|parts| {
            parts.principals.insert(entry.principal_arn.clone().unwrap(), (entry, policies));
        })
    }

    pub(super) fn association(self, namespace: &str, account: &str) -> Self {
        let association =
            PodIdentityAssociationSummary::builder().namespace(namespace).service_account(account).build();
        self.with(|parts| parts.associations.push(association))
    }

    pub(super) fn refusing_entries(self) -> Self {
        self.with(|parts| parts.refuses_entries = true)
    }

    /// Somebody else writes a tag of the cluster.
    pub(super) fn write_tag(&self, key: &str, value: &str) {
        let mut cluster = self.0.cluster.lock().unwrap();
        cluster.tags.get_or_insert_default().insert(key.to_owned(), value.to_owned());
    }

    /// The tags that were asked for: an ARN and the pairs.
    pub(super) fn tagged(&self) -> Vec<String> {
        self.0.tagged.lock().unwrap().clone()
    }

    pub(super) fn aws(&self) -> Aws {
        let configuration = SdkConfig::builder()
            .region(Region::new("eu-west-1"))
            .behavior_version(BehaviorVersion::latest())
            .build();
        let mut aws = Aws::new(&configuration);
        let fake = Arc::new(self.clone());
        aws.clusters = fake.clone();
        aws.node_groups = fake.clone();
        aws.fargate = fake.clone();
        aws.addons = fake.clone();
        aws.access = fake;
        aws
    }
}

fn no<T>() -> ApiResult<T> {
    Err(ApiError::new(ApiErrorKind::Denied, "fake", "nothing is changed but tags"))
}

fn not_found<T>(action: &'static str) -> ApiResult<T> {
    Err(ApiError::new(ApiErrorKind::NotFound, action, "there is none"))
}

#[async_trait]
impl ClusterApi for Fake {
    async fn describe(&self, name: &str) -> ApiResult<Cluster> {
        let cluster = self.0.cluster.lock().unwrap().clone();
        if cluster.name.as_deref() == Some(name) { Ok(cluster) } else { not_found("eks:DescribeCluster") }
    }
    async fn list(&self) -> ApiResult<Vec<String>> {
        no()
    }
    async fn create(&self, _: CreateClusterInputBuilder) -> ApiResult<Cluster> {
        no()
    }
    async fn update_config(&self, _: UpdateClusterConfigInputBuilder) -> ApiResult<Update> {
        no()
    }
    async fn update_version(&self, _: UpdateClusterVersionInputBuilder) -> ApiResult<Update> {
        no()
    }
    async fn describe_update(&self, _: DescribeUpdateInputBuilder) -> ApiResult<Update> {
        no()
    }
    async fn versions(&self) -> ApiResult<Vec<ClusterVersionInformation>> {
        no()
    }
    async fn tag(&self, arn: &str, tags: &BTreeMap<String, String>) -> ApiResult<()> {
        let pairs = tags.iter().map(|(key, value)| format!(" {key}={value}"));
        self.0.tagged.lock().unwrap().push(format!("{arn}{}", pairs.collect::<String>()));
        let is_cluster = self.0.cluster.lock().unwrap().arn.as_deref() == Some(arn);
        if is_cluster {
            for (key, value) in tags {
                self.write_tag(key, value);
            }
        }
        Ok(())
    }
    async fn delete(&self, _: &str) -> ApiResult<()> {
        no()
    }
}

#[async_trait]
impl NodeGroupApi for Fake {
    async fn list(&self, _: &str) -> ApiResult<Vec<String>> {
        Ok(self.0.parts.groups.keys().cloned().collect())
    }
    async fn describe(&self, _: &str, name: &str) -> ApiResult<Nodegroup> {
        self.0.parts.groups.get(name).cloned().map_or_else(|| not_found("eks:DescribeNodegroup"), Ok)
    }
    async fn create(&self, _: CreateNodegroupInputBuilder) -> ApiResult<Nodegroup> {
        no()
    }
    async fn update_config(&self, _: UpdateNodegroupConfigInputBuilder) -> ApiResult<Update> {
        no()
    }
    async fn update_version(&self, _: UpdateNodegroupVersionInputBuilder) -> ApiResult<Update> {
        no()
    }
    async fn delete(&self, _: &str, _: &str) -> ApiResult<()> {
        no()
    }
}

#[async_trait]
impl FargateApi for Fake {
    async fn list(&self, _: &str) -> ApiResult<Vec<String>> {
        Ok(Vec::new())
    }
    async fn describe(&self, _: &str, _: &str) -> ApiResult<FargateProfile> {
        no()
    }
    async fn create(&self, _: CreateFargateProfileInputBuilder) -> ApiResult<FargateProfile> {
        no()
    }
    async fn delete(&self, _: &str, _: &str) -> ApiResult<()> {
        no()
    }
}

#[async_trait]
impl AddonApi for Fake {
    async fn list(&self, _: &str) -> ApiResult<Vec<String>> {
        Ok(self.0.parts.addons.keys().cloned().collect())
    }
    async fn describe(&self, _: &str, name: &str) -> ApiResult<Addon> {
        self.0.parts.addons.get(name).cloned().map_or_else(|| not_found("eks:DescribeAddon"), Ok)
    }
    async fn create(&self, _: CreateAddonInputBuilder) -> ApiResult<Addon> {
        no()
    }
    async fn update(&self, _: UpdateAddonInputBuilder) -> ApiResult<Update> {
        no()
    }
    async fn versions(&self, _: &str, _: &str) -> ApiResult<Vec<AddonInfo>> {
        no()
    }
    async fn delete(&self, _: &str, _: &str) -> ApiResult<()> {
        no()
    }
}

#[async_trait]
impl AccessApi for Fake {
    async fn list_entries(&self, _: &str) -> ApiResult<Vec<String>> {
        if self.0.parts.refuses_entries {
            no()
        } else {
            Ok(self.0.parts.principals.keys().cloned().collect())
        }
    }
    async fn describe_entry(&self, _: &str, principal: &str) -> ApiResult<AccessEntry> {
        let found = self.0.parts.principals.get(principal);
        found.map_or_else(|| not_found("eks:DescribeAccessEntry"), |(entry, _)| Ok(entry.clone()))
    }
    async fn create_entry(&self, _: CreateAccessEntryInputBuilder) -> ApiResult<AccessEntry> {
        no()
    }
    async fn update_entry(&self, _: UpdateAccessEntryInputBuilder) -> ApiResult<AccessEntry> {
        no()
    }
    async fn delete_entry(&self, _: &str, _: &str) -> ApiResult<()> {
        no()
    }
    async fn policies(&self, _: &str, principal: &str) -> ApiResult<Vec<AssociatedAccessPolicy>> {
        let found = self.0.parts.principals.get(principal);
        found.map_or_else(
            || not_found("eks:ListAssociatedAccessPolicies"),
            |(_, policies)| Ok(policies.clone()),
        )
    }
    async fn associate_policy(&self, _: AssociateAccessPolicyInputBuilder) -> ApiResult<()> {
        no()
    }
    async fn disassociate_policy(&self, _: &str, _: &str, _: &str) -> ApiResult<()> {
        no()
    }
    async fn list_associations(&self, _: &str) -> ApiResult<Vec<PodIdentityAssociationSummary>> {
        Ok(self.0.parts.associations.clone())
    }
    async fn describe_association(&self, _: &str, _: &str) -> ApiResult<PodIdentityAssociation> {
        not_found("eks:DescribePodIdentityAssociation")
    }
    async fn create_association(&self, _: CreatePodIdentityAssociationInputBuilder) -> ApiResult<()> {
        no()
    }
    async fn delete_association(&self, _: &str, _: &str) -> ApiResult<()> {
        no()
    }
}
