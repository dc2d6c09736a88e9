//! What there is of a cluster.

use super::job::{Job, all, fingerprint, found};
use crate::{
    api::{ApiResult, Aws, Stack},
    ownership::{self, APPLIED_TAG},
    stack::{cluster_stack_name, service_accounts_stack_name},
};
use aws_sdk_eks::types::{
    AccessEntry, Addon, AssociatedAccessPolicy, Cluster, FargateProfile, Nodegroup, PodIdentityAssociation,
    PodIdentityAssociationSummary,
};
use futures::{FutureExt, future::BoxFuture};
use platform_core::{Error, ErrorKind, Result, name::PlatformName};
use std::collections::{BTreeMap, BTreeSet};

/// A cluster of ours, and all that the platform knows of it.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub(crate) cluster: Cluster,
    pub(crate) node_groups: Vec<Nodegroup>,
    pub(crate) addons: BTreeSet<String>,
    /// Those whose version or configuration is wanted, and those that are no longer wanted.
    pub(crate) addon_details: Vec<Addon>,
    pub(crate) access_entries: BTreeSet<String>,
    /// Those that may differ from what is wanted, or be ours and no longer wanted.
    pub(crate) entry_details: Vec<AccessEntry>,
    /// The policies of those that may differ, by principal.
    pub(crate) entry_policies: BTreeMap<String, Vec<AssociatedAccessPolicy>>,
    pub(crate) fargate_profiles: Vec<FargateProfile>,
    pub(crate) associations: Vec<PodIdentityAssociationSummary>,
    /// Those that are no longer wanted, if they may be ours.
    pub(crate) association_details: Vec<PodIdentityAssociation>,
    pub(crate) service_accounts: Option<Stack>,
}

impl Observed {
    /// A cluster of which nothing more is known than its nodes.
    pub(crate) fn of(cluster: Cluster, node_groups: Vec<Nodegroup>) -> Self {
        Self {
            cluster,
            node_groups,
            addons: BTreeSet::new(),
            addon_details: Vec::new(),
            access_entries: BTreeSet::new(),
            entry_details: Vec::new(),
            entry_policies: BTreeMap::new(),
            fargate_profiles: Vec::new(),
            associations: Vec::new(),
            association_details: Vec::new(),
            service_accounts: None,
        }
    }

    /// The Kubernetes version of the control plane.
    pub(crate) fn version(&self) -> &str {
        self.cluster.version().unwrap_or_default()
    }
}

/// The cluster of this name; nothing where there is none, or where it is not that platform's.
pub(crate) async fn cluster(aws: &Aws, platform: &PlatformName, name: &str) -> Result<Option<Cluster>> {
    let cluster = found(aws.clusters.describe(name).await)?;
    Ok(cluster.filter(|cluster| ownership::is_ours(cluster.tags(), platform)))
}

/// The stack of this name, if it is that platform's.
pub(crate) async fn our_stack(aws: &Aws, platform: &PlatformName, name: &str) -> Result<Option<Stack>> {
    let stack = found(aws.stacks.describe(name).await)?;
    Ok(stack.filter(|stack| ownership::is_our_stack(stack, platform)))
}

impl Job<'_> {
    /// The cluster, if it is ours; [`AlreadyExists`](ErrorKind::AlreadyExists) if it is somebody else's.
    pub(crate) async fn own_cluster(&self) -> Result<Option<Cluster>> {
        let Some(cluster) = found(self.aws.clusters.describe(self.name()).await)? else { return Ok(None) };
        if ownership::is_ours(cluster.tags(), &self.spec.platform) {
            return Ok(Some(cluster));
        }
        let owner = match ownership::owner(cluster.tags()) {
            Some(owner) => format!("it belongs to the platform {owner}"),
            None => "it does not bear the tag of a platform".to_owned(),
        };
        Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("there is a cluster of this name already, and {owner}"),
        )
        .help("choose another name, or import it with `EksProvider::inspect`"))
    }

    /// The stack of the network and of roles, if there is one; [`AlreadyExists`](ErrorKind::AlreadyExists) if it is somebody else's.
    pub(crate) async fn own_stack(&self, name: &str) -> Result<Option<Stack>> {
        let Some(stack) = found(self.aws.stacks.describe(name).await)? else { return Ok(None) };
        if ownership::is_our_stack(&stack, &self.spec.platform) {
            return Ok(Some(stack));
        }
        Err(Error::new(
            ErrorKind::AlreadyExists,
            format!(
                "there is a stack {name} already, and it does not bear the tag of platform {}",
                self.spec.platform
            ),
        )
        .help("delete or rename what it belongs to, or choose another name for the cluster"))
    }

    pub(crate) async fn foundation_stack(&self) -> Result<Option<Stack>> {
        self.own_stack(&cluster_stack_name(&self.spec.name)).await
    }

    /// The digest of what is wanted, as it is noted on the cluster once all of it was applied.
    pub(crate) fn wanted_digest(&self) -> String {
        let settings = serde_json::to_string(self.settings).unwrap_or_default();
        let version = self.spec.kubernetes_version.as_deref().unwrap_or_default();
        fingerprint(&[&settings, &self.spec.nodes.to_string(), version])[..32].to_owned()
    }

    /// Whether this cluster has been brought to exactly what is wanted before. Then nothing on it that is not wanted is ours.
    fn was_applied(&self, cluster: &Cluster) -> bool {
        cluster.tags().and_then(|tags| tags.get(APPLIED_TAG)) == Some(&self.wanted_digest())
    }

    /// Reads what is on a cluster of ours. As few calls as will do: details are asked for where something about them is wanted, and what is not
    /// wanted is looked at only as long as it may be ours.
    pub(crate) async fn observe(&self, cluster: Cluster) -> Result<Observed> {
        let applied = self.was_applied(&cluster);
        let (node_groups, addons, access, fargate_profiles, pods) = futures::try_join!(
            self.observe_node_groups(),
            self.observe_addons(applied),
            self.observe_access(applied),
            self.observe_fargate(applied),
            self.observe_pods(applied),
        )?;
        let (addons, addon_details) = addons;
        let (access_entries, entry_details, entry_policies) = access;
        let ((associations, association_details), service_accounts) = pods;
        Ok(Observed {
            cluster,
            node_groups,
            addons,
            addon_details,
            access_entries,
            entry_details,
            entry_policies,
            fargate_profiles,
            associations,
            association_details,
            service_accounts,
        })
    }

    pub(crate) async fn observe_node_groups(&self) -> Result<Vec<Nodegroup>> {
        node_groups(self.aws, self.name()).await
    }

    async fn observe_addons(&self, applied: bool) -> Result<(BTreeSet<String>, Vec<Addon>)> {
        let names = self.aws.addons.list(self.name()).await?;
        let wanted = self.settings.wanted_addons();
        let mut looks = Vec::new();
        for name in &names {
            let looked_at = match wanted.iter().find(|addon| addon.name == *name) {
                Some(addon) => addon.version.is_some() || addon.configuration.is_some(),
                None => !applied,
            };
            if looked_at {
                looks.push(existing(self.aws.addons.describe(self.name(), name)));
            }
        }
        Ok((names.iter().cloned().collect(), each(looks).await?))
    }

    async fn observe_access(&self, applied: bool) -> Result<Access> {
        let principals = self.aws.access.list_entries(self.name()).await?;
        let (mut entries, mut policies) = (Vec::new(), Vec::new());
        for principal in principals.iter().filter(|_| !applied) {
            entries.push(existing(self.aws.access.describe_entry(self.name(), principal)));
            if self.settings.access_entries.iter().any(|entry| entry.principal == *principal) {
                policies.push(self.observe_policies(principal).boxed());
            }
        }
        let (entries, policies) = futures::try_join!(each(entries), each(policies))?;
        Ok((principals.into_iter().collect(), entries, policies.into_iter().collect()))
    }

    async fn observe_policies(
        &self,
        principal: &str,
    ) -> Result<Option<(String, Vec<AssociatedAccessPolicy>)>> {
        let policies = found(self.aws.access.policies(self.name(), principal).await)?;
        Ok(policies.map(|policies| (principal.to_owned(), policies)))
    }

    async fn observe_fargate(&self, applied: bool) -> Result<Vec<FargateProfile>> {
        if applied && self.settings.fargate_profiles.is_empty() {
            return Ok(Vec::new());
        }
        fargate_profiles(self.aws, self.name()).await
    }

    async fn observe_pods(&self, applied: bool) -> Result<(Associations, Option<Stack>)> {
        if applied && self.settings.service_account_roles.is_empty() {
            return Ok(Default::default());
        }
        let stack = service_accounts_stack_name(&self.spec.name);
        futures::try_join!(self.observe_associations(applied), self.own_stack(&stack))
    }

    async fn observe_associations(&self, applied: bool) -> Result<Associations> {
        let associations = self.aws.access.list_associations(self.name()).await?;
        let wanted = |there: &PodIdentityAssociationSummary| {
            self.settings.service_account_roles.iter().any(|role| {
                there.namespace() == Some(&role.namespace)
                    && there.service_account() == Some(&role.service_account)
            })
        };
        let mut looks = Vec::new();
        for there in &associations {
            // What an addon owns is the addon's.
            let is_candidate = !applied && there.owner_arn().is_none() && !wanted(there);
            if let Some(id) = there.association_id().filter(|_| is_candidate) {
                looks.push(existing(self.aws.access.describe_association(self.name(), id)));
            }
        }
        let details = each(looks).await?;
        Ok((associations, details))
    }
}

/// All principals that are let in, those that may differ in detail, and their policies.
type Access = (BTreeSet<String>, Vec<AccessEntry>, BTreeMap<String, Vec<AssociatedAccessPolicy>>);

/// All associations of a cluster, and those that are no longer wanted in detail.
type Associations = (Vec<PodIdentityAssociationSummary>, Vec<PodIdentityAssociation>);

/// All node groups of a cluster.
pub(crate) async fn node_groups(aws: &Aws, cluster: &str) -> Result<Vec<Nodegroup>> {
    let names = found(aws.node_groups.list(cluster).await)?.unwrap_or_default();
    each(names.iter().map(|name| existing(aws.node_groups.describe(cluster, name))).collect()).await
}

/// All Fargate profiles of a cluster.
pub(crate) async fn fargate_profiles(aws: &Aws, cluster: &str) -> Result<Vec<FargateProfile>> {
    let names = found(aws.fargate.list(cluster).await)?.unwrap_or_default();
    each(names.iter().map(|name| existing(aws.fargate.describe(cluster, name))).collect()).await
}

/// What a call finds, if it finds anything.
fn existing<'a, T: 'a>(
    call: impl Future<Output = ApiResult<T>> + Send + 'a,
) -> BoxFuture<'a, Result<Option<T>>> {
    async { Ok(found(call.await)?) }.boxed()
}

/// What all of these calls find.
async fn each<T>(calls: Vec<BoxFuture<'_, Result<Option<T>>>>) -> Result<Vec<T>> {
    Ok(all(calls).await?.into_iter().flatten().collect())
}
