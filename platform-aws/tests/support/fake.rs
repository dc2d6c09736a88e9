//! The seam without HTTP: it answers at once, so that what is measured is the time of the library alone, and counts what it is asked.

use async_trait::async_trait;
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
        AccessEntry, Addon, AddonInfo, AddonStatus, AssociatedAccessPolicy, Cluster, ClusterStatus,
        ClusterVersionInformation, FargateProfile, Nodegroup, NodegroupStatus, PodIdentityAssociation,
        PodIdentityAssociationSummary, Update,
    },
};
use platform_aws::{
    api::{
        AccessApi, AccountApi, AddonApi, ApiError, ApiErrorKind, ApiResult, Aws, Caller, ClusterApi,
        FargateApi, Leftover, NetworkApi, NodeGroupApi, Permission, Quota, Stack, StackApi, StackEvent,
        StackRequest, Vpc,
    },
    permissions::PermissionCheck,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio::time::Instant;

/// A call that was made.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) action: &'static str,
    pub(crate) at: Instant,
    /// What it looked at, if that was not done yet.
    pub(crate) pending: Option<String>,
}

/// An AWS in memory. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// How many looks a thing takes until it is done.
    looks: u32,
    left: BTreeMap<String, u32>,
    calls: Vec<Call>,
    clusters: BTreeMap<String, Cluster>,
    groups: BTreeMap<(String, String), Nodegroup>,
    addons: BTreeMap<(String, String), Addon>,
    stacks: BTreeMap<String, Stack>,
}

impl Fake {
    /// One where things take so many looks until they are done.
    pub(crate) fn slow(looks: u32) -> Self {
        let fake = Self::default();
        fake.0.lock().unwrap().looks = looks;
        fake
    }

    /// It in place of every part of a seam.
    pub(crate) fn seam(&self, mut aws: Aws) -> Aws {
        aws.clusters = Arc::new(self.clone());
        aws.node_groups = Arc::new(self.clone());
        aws.fargate = Arc::new(self.clone());
        aws.addons = Arc::new(self.clone());
        aws.access = Arc::new(self.clone());
        aws.stacks = Arc::new(self.clone());
        aws.network = Arc::new(self.clone());
        aws.account = Arc::new(self.clone());
        aws
    }

    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock().unwrap().calls)
    }

    fn call<T>(&self, action: &'static str, answer: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.lock().unwrap();
        state.calls.push(Call { action, at: Instant::now(), pending: None });
        answer(&mut state)
    }
}

impl State {
    fn begin(&mut self, what: String) -> bool {
        let looks = self.looks;
        self.left.insert(what, looks);
        looks > 0
    }

    /// Looks at a thing: whether it is still being made.
    fn is_pending(&mut self, what: &str) -> bool {
        let Some(left) = self.left.get_mut(what).filter(|left| **left > 0) else { return false };
        *left -= 1;
        let is_pending = *left > 0;
        if let (true, Some(call)) = (is_pending, self.calls.last_mut()) {
            call.pending = Some(what.to_owned());
        }
        is_pending
    }
}

fn missing<T>(action: &'static str) -> ApiResult<T> {
    Err(ApiError::new(ApiErrorKind::NotFound, action, "it does not exist"))
}

fn unknown<T>(action: &'static str) -> ApiResult<T> {
    Err(ApiError::new(ApiErrorKind::Unknown, action, "the fake does not have it"))
}

#[async_trait]
impl ClusterApi for Fake {
    async fn describe(&self, name: &str) -> ApiResult<Cluster> {
        self.call("eks:DescribeCluster", |state| {
            let pending = state.is_pending(&format!("cluster {name}"));
            let Some(mut cluster) = state.clusters.get(name).cloned() else {
                return missing("eks:DescribeCluster");
            };
            cluster.status = Some(if pending { ClusterStatus::Creating } else { ClusterStatus::Active });
            Ok(cluster)
        })
    }

    async fn list(&self) -> ApiResult<Vec<String>> {
        self.call("eks:ListClusters", |state| Ok(state.clusters.keys().cloned().collect()))
    }

    async fn create(&self, request: CreateClusterInputBuilder) -> ApiResult<Cluster> {
        self.call("eks:CreateCluster", |state| {
            let name = request.get_name().clone().unwrap_or_default();
            let pending = state.begin(format!("cluster {name}"));
            let cluster = Cluster::builder()
                .name(&name)
                .arn(format!("arn:aws:eks:eu-west-1:123456789012:cluster/{name}"))
                .set_version(request.get_version().clone())
                .endpoint(format!("https://{name}.example.com"))
                .set_tags(request.get_tags().clone())
                .set_logging(request.get_logging().clone())
                .status(if pending { ClusterStatus::Creating } else { ClusterStatus::Active })
                .build();
            state.clusters.insert(name, cluster.clone());
            Ok(cluster)
        })
    }

    async fn update_config(&self, _: UpdateClusterConfigInputBuilder) -> ApiResult<Update> {
        self.call("eks:UpdateClusterConfig", |_| unknown("eks:UpdateClusterConfig"))
    }

    async fn update_version(&self, _: UpdateClusterVersionInputBuilder) -> ApiResult<Update> {
        self.call("eks:UpdateClusterVersion", |_| unknown("eks:UpdateClusterVersion"))
    }

    async fn describe_update(&self, _: DescribeUpdateInputBuilder) -> ApiResult<Update> {
        self.call("eks:DescribeUpdate", |_| unknown("eks:DescribeUpdate"))
    }

    async fn versions(&self) -> ApiResult<Vec<ClusterVersionInformation>> {
        self.call("eks:DescribeClusterVersions", |_| {
            Ok(vec![ClusterVersionInformation::builder().cluster_version("1.33").build()])
        })
    }

    async fn tag(&self, arn: &str, tags: &BTreeMap<String, String>) -> ApiResult<()> {
        self.call("eks:TagResource", |state| {
            let name = arn.rsplit('/').next().unwrap_or_default();
            if let Some(cluster) = state.clusters.get_mut(name) {
                cluster.tags.get_or_insert_default().extend(tags.clone());
            }
            Ok(())
        })
    }

    async fn delete(&self, name: &str) -> ApiResult<()> {
        self.call("eks:DeleteCluster", |state| {
            state.clusters.remove(name);
            Ok(())
        })
    }
}

#[async_trait]
impl NodeGroupApi for Fake {
    async fn list(&self, cluster: &str) -> ApiResult<Vec<String>> {
        self.call("eks:ListNodegroups", |state| {
            Ok(state.groups.keys().filter(|(of, _)| of == cluster).map(|(_, name)| name.clone()).collect())
        })
    }

    async fn describe(&self, cluster: &str, name: &str) -> ApiResult<Nodegroup> {
        self.call("eks:DescribeNodegroup", |state| {
            let pending = state.is_pending(&format!("node group {name} of {cluster}"));
            let found = state.groups.get(&(cluster.to_owned(), name.to_owned())).cloned();
            let Some(mut group) = found else { return missing("eks:DescribeNodegroup") };
            group.status = Some(if pending { NodegroupStatus::Creating } else { NodegroupStatus::Active });
            Ok(group)
        })
    }

    async fn create(&self, request: CreateNodegroupInputBuilder) -> ApiResult<Nodegroup> {
        self.call("eks:CreateNodegroup", |state| {
            let cluster = request.get_cluster_name().clone().unwrap_or_default();
            let name = request.get_nodegroup_name().clone().unwrap_or_default();
            let pending = state.begin(format!("node group {name} of {cluster}"));
            let group = Nodegroup::builder()
                .nodegroup_name(&name)
                .set_version(request.get_version().clone())
                .set_scaling_config(request.get_scaling_config().clone())
                .set_tags(request.get_tags().clone())
                .status(if pending { NodegroupStatus::Creating } else { NodegroupStatus::Active })
                .build();
            state.groups.insert((cluster, name), group.clone());
            Ok(group)
        })
    }

    async fn update_config(&self, _: UpdateNodegroupConfigInputBuilder) -> ApiResult<Update> {
        self.call("eks:UpdateNodegroupConfig", |_| unknown("eks:UpdateNodegroupConfig"))
    }

    async fn update_version(&self, _: UpdateNodegroupVersionInputBuilder) -> ApiResult<Update> {
        self.call("eks:UpdateNodegroupVersion", |_| unknown("eks:UpdateNodegroupVersion"))
    }

    async fn delete(&self, cluster: &str, name: &str) -> ApiResult<()> {
        self.call("eks:DeleteNodegroup", |state| {
            state.groups.remove(&(cluster.to_owned(), name.to_owned()));
            Ok(())
        })
    }
}

#[async_trait]
impl FargateApi for Fake {
    async fn list(&self, _: &str) -> ApiResult<Vec<String>> {
        self.call("eks:ListFargateProfiles", |_| Ok(Vec::new()))
    }
    async fn describe(&self, _: &str, _: &str) -> ApiResult<FargateProfile> {
        self.call("eks:DescribeFargateProfile", |_| missing("eks:DescribeFargateProfile"))
    }
    async fn create(&self, _: CreateFargateProfileInputBuilder) -> ApiResult<FargateProfile> {
        self.call("eks:CreateFargateProfile", |_| unknown("eks:CreateFargateProfile"))
    }
    async fn delete(&self, _: &str, _: &str) -> ApiResult<()> {
        self.call("eks:DeleteFargateProfile", |_| Ok(()))
    }
}

#[async_trait]
impl AddonApi for Fake {
    async fn list(&self, cluster: &str) -> ApiResult<Vec<String>> {
        self.call("eks:ListAddons", |state| {
            Ok(state.addons.keys().filter(|(of, _)| of == cluster).map(|(_, name)| name.clone()).collect())
        })
    }

    async fn describe(&self, cluster: &str, name: &str) -> ApiResult<Addon> {
        self.call("eks:DescribeAddon", |state| {
            let pending = state.is_pending(&format!("addon {name} of {cluster}"));
            let found = state.addons.get(&(cluster.to_owned(), name.to_owned())).cloned();
            let Some(mut addon) = found else { return missing("eks:DescribeAddon") };
            addon.status = Some(if pending { AddonStatus::Creating } else { AddonStatus::Active });
            Ok(addon)
        })
    }

    async fn create(&self, request: CreateAddonInputBuilder) -> ApiResult<Addon> {
        self.call("eks:CreateAddon", |state| {
            let cluster = request.get_cluster_name().clone().unwrap_or_default();
            let name = request.get_addon_name().clone().unwrap_or_default();
            state.begin(format!("addon {name} of {cluster}"));
            let addon = Addon::builder().addon_name(&name).set_tags(request.get_tags().clone()).build();
            state.addons.insert((cluster, name), addon.clone());
            Ok(addon)
        })
    }

    async fn update(&self, _: UpdateAddonInputBuilder) -> ApiResult<Update> {
        self.call("eks:UpdateAddon", |_| unknown("eks:UpdateAddon"))
    }

    async fn versions(&self, _: &str, _: &str) -> ApiResult<Vec<AddonInfo>> {
        self.call("eks:DescribeAddonVersions", |_| Ok(Vec::new()))
    }

    async fn delete(&self, cluster: &str, name: &str) -> ApiResult<()> {
        self.call("eks:DeleteAddon", |state| {
            state.addons.remove(&(cluster.to_owned(), name.to_owned()));
            Ok(())
        })
    }
}

#[async_trait]
impl AccessApi for Fake {
    async fn list_entries(&self, _: &str) -> ApiResult<Vec<String>> {
        self.call("eks:ListAccessEntries", |_| Ok(Vec::new()))
    }
    async fn describe_entry(&self, _: &str, _: &str) -> ApiResult<AccessEntry> {
        self.call("eks:DescribeAccessEntry", |_| missing("eks:DescribeAccessEntry"))
    }
    async fn create_entry(&self, _: CreateAccessEntryInputBuilder) -> ApiResult<AccessEntry> {
        self.call("eks:CreateAccessEntry", |_| unknown("eks:CreateAccessEntry"))
    }
    async fn update_entry(&self, _: UpdateAccessEntryInputBuilder) -> ApiResult<AccessEntry> {
        self.call("eks:UpdateAccessEntry", |_| unknown("eks:UpdateAccessEntry"))
    }
    async fn delete_entry(&self, _: &str, _: &str) -> ApiResult<()> {
        self.call("eks:DeleteAccessEntry", |_| Ok(()))
    }
    async fn policies(&self, _: &str, _: &str) -> ApiResult<Vec<AssociatedAccessPolicy>> {
        self.call("eks:ListAssociatedAccessPolicies", |_| Ok(Vec::new()))
    }
    async fn associate_policy(&self, _: AssociateAccessPolicyInputBuilder) -> ApiResult<()> {
        self.call("eks:AssociateAccessPolicy", |_| unknown("eks:AssociateAccessPolicy"))
    }
    async fn disassociate_policy(&self, _: &str, _: &str, _: &str) -> ApiResult<()> {
        self.call("eks:DisassociateAccessPolicy", |_| Ok(()))
    }
    async fn list_associations(&self, _: &str) -> ApiResult<Vec<PodIdentityAssociationSummary>> {
        self.call("eks:ListPodIdentityAssociations", |_| Ok(Vec::new()))
    }
    async fn describe_association(&self, _: &str, _: &str) -> ApiResult<PodIdentityAssociation> {
        self.call("eks:DescribePodIdentityAssociation", |_| missing("eks:DescribePodIdentityAssociation"))
    }
    async fn create_association(&self, _: CreatePodIdentityAssociationInputBuilder) -> ApiResult<()> {
        self.call("eks:CreatePodIdentityAssociation", |_| unknown("eks:CreatePodIdentityAssociation"))
    }
    async fn delete_association(&self, _: &str, _: &str) -> ApiResult<()> {
        self.call("eks:DeletePodIdentityAssociation", |_| Ok(()))
    }
}

/// What a template's outputs come to: its texts, and names for what it makes.
fn outputs(template: &str) -> BTreeMap<String, String> {
    let template: Value = serde_json::from_str(template).unwrap();
    let outputs = template["Outputs"].as_object().unwrap();
    let value = |name: &str, value: &Value| match value {
        Value::String(text) => text.clone(),
        _ if name.ends_with("Subnets") => format!("{name}-1,{name}-2"),
        _ => format!("arn:aws:iam::123456789012:role/{name}"),
    };
    outputs.iter().map(|(name, output)| (name.clone(), value(name, &output["Value"]))).collect()
}

#[async_trait]
impl StackApi for Fake {
    async fn describe(&self, stack: &str) -> ApiResult<Stack> {
        self.call("cloudformation:DescribeStacks", |state| {
            let pending = state.is_pending(&format!("stack {stack}"));
            let Some(mut found) = state.stacks.get(stack).cloned() else {
                return missing("cloudformation:DescribeStacks");
            };
            let status = if pending { "CREATE_IN_PROGRESS" } else { "CREATE_COMPLETE" };
            found.status = status.into();
            Ok(found)
        })
    }

    async fn list(&self) -> ApiResult<Vec<Stack>> {
        self.call("cloudformation:DescribeStacks", |state| Ok(state.stacks.values().cloned().collect()))
    }

    async fn events(&self, _: &str) -> ApiResult<Vec<StackEvent>> {
        self.call("cloudformation:DescribeStackEvents", |_| Ok(Vec::new()))
    }

    async fn create(&self, request: StackRequest) -> ApiResult<String> {
        self.call("cloudformation:CreateStack", |state| {
            state.begin(format!("stack {}", request.name));
            let mut stack = Stack::new(format!("id of {}", request.name), &request.name, "CREATE_COMPLETE");
            stack.outputs = outputs(&request.template);
            stack.tags = request.tags;
            let id = stack.id.clone();
            state.stacks.insert(request.name, stack);
            Ok(id)
        })
    }

    async fn update(&self, _: StackRequest) -> ApiResult<bool> {
        self.call("cloudformation:UpdateStack", |_| unknown("cloudformation:UpdateStack"))
    }

    async fn delete(&self, stack: &str) -> ApiResult<()> {
        self.call("cloudformation:DeleteStack", |state| {
            state.stacks.remove(stack);
            Ok(())
        })
    }
}

#[async_trait]
impl NetworkApi for Fake {
    async fn zones(&self) -> ApiResult<Vec<String>> {
        let zones = ["eu-west-1a", "eu-west-1b", "eu-west-1c"];
        self.call("ec2:DescribeAvailabilityZones", |_| Ok(zones.map(str::to_owned).to_vec()))
    }
    async fn vpcs(&self) -> ApiResult<Vec<Vpc>> {
        self.call("ec2:DescribeVpcs", |_| Ok(Vec::new()))
    }
    async fn leftovers(&self, _: &str, _: Option<&str>) -> ApiResult<Vec<Leftover>> {
        self.call("ec2:DescribeNetworkInterfaces", |_| Ok(Vec::new()))
    }
    async fn delete(&self, _: &Leftover) -> ApiResult<()> {
        self.call("ec2:DeleteNetworkInterface", |_| Ok(()))
    }
}

#[async_trait]
impl AccountApi for Fake {
    async fn caller(&self) -> ApiResult<Caller> {
        let (account, arn) = ("123456789012".to_owned(), "arn:aws:iam::123456789012:user/me".to_owned());
        self.call("sts:GetCallerIdentity", |_| Ok(Caller { account, arn }))
    }
    async fn role_arn(&self, _: &str) -> ApiResult<String> {
        self.call("iam:GetRole", |_| missing("iam:GetRole"))
    }
    async fn permissions(&self, _: &str, _: &PermissionCheck) -> ApiResult<Vec<Permission>> {
        self.call("iam:SimulatePrincipalPolicy", |_| Ok(Vec::new()))
    }
    async fn quota(&self, _: &str, _: &str) -> ApiResult<Quota> {
        self.call("servicequotas:GetServiceQuota", |_| missing("servicequotas:GetServiceQuota"))
    }
}
