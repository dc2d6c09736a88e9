//! What the emulator forgets of access entries: their tags, groups and policies.

use async_trait::async_trait;
use aws_sdk_eks::{
    operation::{
        associate_access_policy::builders::AssociateAccessPolicyInputBuilder,
        create_access_entry::builders::CreateAccessEntryInputBuilder,
        create_pod_identity_association::builders::CreatePodIdentityAssociationInputBuilder,
        update_access_entry::builders::UpdateAccessEntryInputBuilder,
    },
    types::{AccessEntry, AssociatedAccessPolicy, PodIdentityAssociation, PodIdentityAssociationSummary},
};
use platform_aws::api::{AccessApi, ApiResult};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

/// What is remembered of an entry.
#[derive(Debug, Clone, Default)]
struct Entry {
    tags: HashMap<String, String>,
    groups: Vec<String>,
    policies: BTreeMap<String, AssociatedAccessPolicy>,
}

/// Remembers it for all providers of one emulator.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<BTreeMap<(String, String), Entry>>>);

impl Memory {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<(String, String), Entry>> {
        self.0.lock().unwrap()
    }
}

/// The emulator's access entries with their memory.
#[derive(Debug)]
pub(crate) struct Remembering {
    pub(crate) inner: Arc<dyn AccessApi>,
    pub(crate) memory: Memory,
}

fn key(cluster: &str, principal: &str) -> (String, String) {
    (cluster.to_owned(), principal.to_owned())
}

#[async_trait]
impl AccessApi for Remembering {
    async fn list_entries(&self, cluster: &str) -> ApiResult<Vec<String>> {
        self.inner.list_entries(cluster).await
    }

    async fn describe_entry(&self, cluster: &str, principal: &str) -> ApiResult<AccessEntry> {
        let mut entry = self.inner.describe_entry(cluster, principal).await?;
        let remembered = self.memory.entries().get(&key(cluster, principal)).cloned().unwrap_or_default();
        entry.tags = Some(remembered.tags);
        entry.kubernetes_groups = Some(remembered.groups);
        Ok(entry)
    }

    async fn create_entry(&self, request: CreateAccessEntryInputBuilder) -> ApiResult<AccessEntry> {
        let entry = Entry {
            tags: request.get_tags().clone().unwrap_or_default(),
            groups: request.get_kubernetes_groups().clone().unwrap_or_default(),
            policies: BTreeMap::new(),
        };
        let (cluster, principal) =
            (request.get_cluster_name().clone().unwrap(), request.get_principal_arn().clone().unwrap());
        // Whether or not the answer gets through.
        let created = self.inner.create_entry(request).await;
        if self.inner.describe_entry(&cluster, &principal).await.is_ok() || created.is_ok() {
            self.memory.entries().entry((cluster, principal)).or_insert(entry);
        }
        created
    }

    async fn update_entry(&self, request: UpdateAccessEntryInputBuilder) -> ApiResult<AccessEntry> {
        let (cluster, principal) =
            (request.get_cluster_name().clone().unwrap(), request.get_principal_arn().clone().unwrap());
        let groups = request.get_kubernetes_groups().clone().unwrap_or_default();
        self.memory.entries().entry(key(&cluster, &principal)).or_default().groups = groups;
        self.describe_entry(&cluster, &principal).await
    }

    async fn delete_entry(&self, cluster: &str, principal: &str) -> ApiResult<()> {
        self.inner.delete_entry(cluster, principal).await?;
        self.memory.entries().remove(&key(cluster, principal));
        Ok(())
    }

    async fn policies(&self, cluster: &str, principal: &str) -> ApiResult<Vec<AssociatedAccessPolicy>> {
        self.inner.describe_entry(cluster, principal).await?;
        let remembered = self.memory.entries().get(&key(cluster, principal)).cloned().unwrap_or_default();
        Ok(remembered.policies.into_values().collect())
    }

    async fn associate_policy(&self, request: AssociateAccessPolicyInputBuilder) -> ApiResult<()> {
        let policy = AssociatedAccessPolicy::builder()
            .set_policy_arn(request.get_policy_arn().clone())
            .set_access_scope(request.get_access_scope().clone())
            .build();
        let (cluster, principal) =
            (request.get_cluster_name().clone().unwrap(), request.get_principal_arn().clone().unwrap());
        self.inner.associate_policy(request).await?;
        let arn = policy.policy_arn().unwrap().to_owned();
        self.memory.entries().entry(key(&cluster, &principal)).or_default().policies.insert(arn, policy);
        Ok(())
    }

    async fn disassociate_policy(&self, cluster: &str, principal: &str, policy: &str) -> ApiResult<()> {
        self.memory.entries().entry(key(cluster, principal)).or_default().policies.remove(policy);
        Ok(())
    }

    async fn list_associations(&self, cluster: &str) -> ApiResult<Vec<PodIdentityAssociationSummary>> {
        self.inner.list_associations(cluster).await
    }

    async fn describe_association(&self, cluster: &str, id: &str) -> ApiResult<PodIdentityAssociation> {
        self.inner.describe_association(cluster, id).await
    }

    async fn create_association(&self, request: CreatePodIdentityAssociationInputBuilder) -> ApiResult<()> {
        self.inner.create_association(request).await
    }

    async fn delete_association(&self, cluster: &str, id: &str) -> ApiResult<()> {
        self.inner.delete_association(cluster, id).await
    }
}
