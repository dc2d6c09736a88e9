//! Parts of the seam of which single answers differ: what the emulator cannot be brought to say.

use crate::{server::Emulator, wire::Wire};
use async_trait::async_trait;
use aws_sdk_eks::{
    operation::{
        create_cluster::builders::CreateClusterInputBuilder,
        create_nodegroup::builders::CreateNodegroupInputBuilder,
        describe_update::builders::DescribeUpdateInputBuilder,
        update_cluster_config::builders::UpdateClusterConfigInputBuilder,
        update_cluster_version::builders::UpdateClusterVersionInputBuilder,
        update_nodegroup_config::builders::UpdateNodegroupConfigInputBuilder,
        update_nodegroup_version::builders::UpdateNodegroupVersionInputBuilder,
    },
    types::{Cluster, ClusterVersionInformation, Nodegroup, NodegroupStatus, Update, UpdateStatus},
};
use platform_aws::{
    EksProvider,
    api::{
        ApiError, ApiErrorKind, ApiResult, Aws, ClusterApi, NodeGroupApi, Stack, StackApi, StackEvent,
        StackRequest,
    },
    settings::EksSettings,
};
use platform_core::cluster::Clusters;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// A provider whose seam is changed, and the wire that its calls go over.
pub(crate) async fn provider(
    emulator: &Emulator,
    settings: &str,
    change: impl FnOnce(&mut Aws),
) -> (EksProvider, Wire) {
    let settings = EksSettings::from_yaml(settings).unwrap();
    let (plain, wire) = emulator.provider(|builder| builder).await;
    let mut aws = plain.aws().clone();
    change(&mut aws);
    let builder = emulator.builder(&wire).settings(Clusters::All, settings).aws(aws);
    (builder.connect().await.unwrap(), wire)
}

/// Stacks of which one is in another state than the emulator says.
#[derive(Debug)]
pub(crate) struct Stacks {
    inner: Arc<dyn StackApi>,
    /// The state, why, and how many looks it holds; until the stack is deleted where it has none.
    stage: Mutex<Option<(&'static str, &'static str, Option<usize>)>>,
    /// The state that stacks get when they are made.
    made: Mutex<Option<(&'static str, &'static str)>>,
    events: Vec<StackEvent>,
}

impl Stacks {
    pub(crate) fn new(aws: &Aws) -> Self {
        Self {
            inner: aws.stacks.clone(),
            stage: Mutex::default(),
            made: Mutex::default(),
            events: Vec::new(),
        }
    }

    /// What is there is in this state, until it is deleted.
    pub(crate) fn stays(self, status: &'static str, reason: &'static str) -> Self {
        *self.stage.lock().unwrap() = Some((status, reason, None));
        self
    }

    /// What is there is being deleted, and gone after so many looks.
    pub(crate) fn goes_after(self, looks: usize) -> Self {
        *self.stage.lock().unwrap() = Some(("DELETE_IN_PROGRESS", "", Some(looks)));
        self
    }

    /// The next stack that is made comes to this.
    pub(crate) fn comes_to(self, status: &'static str, reason: &'static str) -> Self {
        *self.made.lock().unwrap() = Some((status, reason));
        self
    }

    /// What happened, the latest first.
    pub(crate) fn events(mut self, events: &[(&str, &str, &str, &str)]) -> Self {
        self.events = events
            .iter()
            .map(|(resource, resource_type, status, reason)| StackEvent {
                resource: (*resource).to_owned(),
                resource_type: (*resource_type).to_owned(),
                status: (*status).to_owned(),
                reason: (!reason.is_empty()).then(|| (*reason).to_owned()),
            })
            .collect();
        self
    }
}

#[async_trait]
impl StackApi for Stacks {
    async fn describe(&self, stack: &str) -> ApiResult<Stack> {
        let mut found = self.inner.describe(stack).await?;
        let stage = self.stage.lock().unwrap().as_mut().map(|(status, reason, looks)| {
            let left = looks.as_mut().map(|looks| {
                *looks = looks.saturating_sub(1);
                *looks
            });
            (*status, *reason, left)
        });
        let Some((status, reason, left)) = stage else { return Ok(found) };
        if left == Some(0) {
            *self.stage.lock().unwrap() = None;
            self.inner.delete(stack).await?;
        }
        found.status = status.to_owned();
        found.reason = (!reason.is_empty()).then(|| reason.to_owned());
        Ok(found)
    }

    async fn list(&self) -> ApiResult<Vec<Stack>> {
        self.inner.list().await
    }

    async fn events(&self, stack: &str) -> ApiResult<Vec<StackEvent>> {
        if self.events.is_empty() { self.inner.events(stack).await } else { Ok(self.events.clone()) }
    }

    async fn create(&self, request: StackRequest) -> ApiResult<String> {
        let id = self.inner.create(request).await?;
        if let Some((status, reason)) = self.made.lock().unwrap().take() {
            *self.stage.lock().unwrap() = Some((status, reason, None));
        }
        Ok(id)
    }

    async fn update(&self, request: StackRequest) -> ApiResult<bool> {
        self.inner.update(request).await
    }

    async fn delete(&self, stack: &str) -> ApiResult<()> {
        *self.stage.lock().unwrap() = None;
        self.inner.delete(stack).await
    }
}

/// Clusters that can be protected from deletion, as those of EKS, and versions as they are set.
#[derive(Debug)]
pub(crate) struct ProtectedClusters {
    inner: Arc<dyn ClusterApi>,
    protected: Mutex<BTreeMap<String, bool>>,
}

impl ProtectedClusters {
    pub(crate) fn new(aws: &Aws) -> Self {
        Self { inner: aws.clusters.clone(), protected: Mutex::default() }
    }

    /// As somebody with the console would.
    pub(crate) fn protect(&self, name: &str) {
        self.protected.lock().unwrap().insert(name.to_owned(), true);
    }
}

#[async_trait]
impl ClusterApi for ProtectedClusters {
    async fn describe(&self, name: &str) -> ApiResult<Cluster> {
        let mut cluster = self.inner.describe(name).await?;
        cluster.deletion_protection = Some(self.protected.lock().unwrap().get(name) == Some(&true));
        Ok(cluster)
    }

    async fn list(&self) -> ApiResult<Vec<String>> {
        self.inner.list().await
    }

    async fn create(&self, request: CreateClusterInputBuilder) -> ApiResult<Cluster> {
        let name = request.get_name().clone().unwrap_or_default();
        let protected = request.get_deletion_protection().unwrap_or_default();
        let cluster = self.inner.create(request).await?;
        self.protected.lock().unwrap().insert(name, protected);
        Ok(cluster)
    }

    async fn update_config(&self, request: UpdateClusterConfigInputBuilder) -> ApiResult<Update> {
        let name = request.get_name().clone().unwrap_or_default();
        let protected = *request.get_deletion_protection();
        let update = self.inner.update_config(request).await?;
        if let Some(protected) = protected {
            self.protected.lock().unwrap().insert(name, protected);
        }
        Ok(update)
    }

    async fn update_version(&self, request: UpdateClusterVersionInputBuilder) -> ApiResult<Update> {
        self.inner.update_version(request).await
    }

    async fn describe_update(&self, request: DescribeUpdateInputBuilder) -> ApiResult<Update> {
        self.inner.describe_update(request).await
    }

    async fn versions(&self) -> ApiResult<Vec<ClusterVersionInformation>> {
        self.inner.versions().await
    }

    async fn tag(&self, arn: &str, tags: &BTreeMap<String, String>) -> ApiResult<()> {
        self.inner.tag(arn, tags).await
    }

    async fn delete(&self, name: &str) -> ApiResult<()> {
        if self.protected.lock().unwrap().get(name) == Some(&true) {
            let message = "deletion protection is on";
            return Err(ApiError::new(ApiErrorKind::Invalid, "eks:DeleteCluster", message));
        }
        self.inner.delete(name).await
    }
}

/// Node groups whose version can be updated, and whose requests are answered again by their token, as those of EKS.
#[derive(Debug)]
pub(crate) struct NodeGroups {
    inner: Arc<dyn NodeGroupApi>,
    versions: Mutex<BTreeMap<String, String>>,
    made: Mutex<BTreeMap<String, Nodegroup>>,
    /// Looks for which a group is being updated by somebody.
    updating: Mutex<usize>,
    /// What was asked for, in order.
    pub(crate) updates: Mutex<Vec<String>>,
}

impl NodeGroups {
    pub(crate) fn new(aws: &Aws) -> Self {
        Self {
            inner: aws.node_groups.clone(),
            versions: Mutex::default(),
            made: Mutex::default(),
            updating: Mutex::default(),
            updates: Mutex::default(),
        }
    }

    /// An update to `version` that an earlier run asked for is not done before so many looks.
    pub(crate) fn is_updating(&self, name: &str, version: &str, looks: usize) {
        self.versions.lock().unwrap().insert(name.to_owned(), version.to_owned());
        *self.updating.lock().unwrap() = looks;
    }

    fn is_busy(&self) -> bool {
        *self.updating.lock().unwrap() > 0
    }
}

#[async_trait]
impl NodeGroupApi for NodeGroups {
    async fn list(&self, cluster: &str) -> ApiResult<Vec<String>> {
        self.inner.list(cluster).await
    }

    async fn describe(&self, cluster: &str, name: &str) -> ApiResult<Nodegroup> {
        let mut group = self.inner.describe(cluster, name).await?;
        if self.is_busy() {
            *self.updating.lock().unwrap() -= 1;
            group.status = Some(NodegroupStatus::Updating);
        } else if let Some(version) = self.versions.lock().unwrap().get(name) {
            group.version = Some(version.clone());
        }
        Ok(group)
    }

    async fn create(&self, request: CreateNodegroupInputBuilder) -> ApiResult<Nodegroup> {
        let token = request.get_client_request_token().clone().unwrap_or_default();
        if let Some(made) = self.made.lock().unwrap().get(&token) {
            return Ok(made.clone());
        }
        let group = self.inner.create(request).await?;
        self.made.lock().unwrap().insert(token, group.clone());
        Ok(group)
    }

    async fn update_config(&self, request: UpdateNodegroupConfigInputBuilder) -> ApiResult<Update> {
        self.inner.update_config(request).await
    }

    async fn update_version(&self, request: UpdateNodegroupVersionInputBuilder) -> ApiResult<Update> {
        let name = request.get_nodegroup_name().clone().unwrap_or_default();
        let version = request.get_version().clone().unwrap_or_default();
        if self.is_busy() {
            let message = "the node group is being updated";
            return Err(ApiError::new(ApiErrorKind::InUse, "eks:UpdateNodegroupVersion", message));
        }
        self.updates.lock().unwrap().push(format!("{name} to {version}"));
        self.versions.lock().unwrap().insert(name, version);
        Ok(Update::builder().id("1").status(UpdateStatus::Successful).build())
    }

    async fn delete(&self, cluster: &str, name: &str) -> ApiResult<()> {
        self.inner.delete(cluster, name).await
    }
}
