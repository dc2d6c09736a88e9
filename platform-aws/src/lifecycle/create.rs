//! The order of it all: the network and roles, the cluster, who may use it, what nodes need, nodes, the rest.

use super::{
    changes::{Change, Changes, Phase},
    foundation::Foundation,
    job::{Job, all},
    observe::Observed,
};
use crate::{api::Stack, ownership::APPLIED_TAG};
use aws_sdk_eks::types as eks;
use futures::{FutureExt, future::BoxFuture};
use platform_core::{Error, ErrorKind, Result};

impl Job<'_> {
    /// Brings the cluster to what is wanted, from nothing or from wherever an earlier run ended.
    pub(crate) async fn create(&self) -> Result<eks::Cluster> {
        // Before anything is made: a cluster of somebody else is not touched, and gets no network of ours.
        let there = self.own_cluster().await?;
        if there.is_none() {
            self.check_version().await?;
        }
        if there.is_some() && self.foundation_stack().await?.is_none() {
            // A cluster that was imported must not get a second network.
            let mut changes = Changes::default();
            self.compare_foundation(None, &mut changes)?;
            refuse_recreation(&changes)?;
        }
        let stack = self.ensure_foundation().await?;
        let is_active = |cluster: &eks::Cluster| cluster.status() == Some(&eks::ClusterStatus::Active);
        let (observed, changes, foundation) = if let Some(cluster) = there.filter(is_active) {
            let observed = self.observe(cluster).await?;
            let changes = self.changes(&observed, stack.as_ref())?;
            // Before anything of it is touched.
            refuse_recreation(&changes)?;
            let foundation = self.update_outdated(stack).await?;
            (observed, changes, foundation)
        } else {
            let foundation = self.update_outdated(stack).await?;
            let cluster = self.ensure_cluster(&foundation).await?;
            let observed = self.observe(cluster).await?;
            let changes = self.changes(&observed, foundation.stack.as_ref())?;
            refuse_recreation(&changes)?;
            (observed, changes, foundation)
        };
        self.reservations.release(&self.spec.name);
        self.converge(&changes, &observed, &foundation).await?;
        self.finish_parts(&observed, &foundation).await?;
        let addons: Vec<String> = self.settings.wanted_addons().into_iter().map(|addon| addon.name).collect();
        let applied = self.wanted_digest();
        let noted = observed.cluster.tags().and_then(|tags| tags.get(APPLIED_TAG)) == Some(&applied);
        // What an earlier run installed and did not wait for is waited for now.
        if !changes.is_empty() || !noted {
            self.await_addons(&addons).await?;
        }
        if !noted {
            self.set_tags(&observed.cluster, &[(APPLIED_TAG.to_owned(), applied)].into()).await?;
        }
        if changes.is_empty() && noted {
            return Ok(observed.cluster);
        }
        Ok(self.aws.clusters.describe(self.name()).await?)
    }

    /// Refuses a version that EKS does not have, where it can be asked.
    async fn check_version(&self) -> Result<()> {
        let Some(wanted) = self.spec.kubernetes_version.as_deref() else { return Ok(()) };
        // Who may not ask, or asks an emulator, learns it from the creation.
        let Ok(versions) = self.aws.clusters.versions().await else { return Ok(()) };
        let mut there: Vec<&str> = versions.iter().filter_map(|version| version.cluster_version()).collect();
        if there.is_empty() || there.contains(&wanted) {
            return Ok(());
        }
        there.sort_unstable();
        Err(Error::invalid(format!("EKS does not have Kubernetes {wanted}"))
            .help(format!("take one of {}", there.join(", "))))
    }

    /// The stack by the template that is wanted now.
    async fn update_outdated(&self, stack: Option<Stack>) -> Result<Foundation> {
        let mut changes = Changes::default();
        self.compare_foundation(stack.as_ref(), &mut changes)?;
        refuse_recreation(&changes)?;
        match &stack {
            Some(outdated) if !changes.is_empty() => self.foundation(self.update_foundation(outdated).await?),
            _ => self.foundation(stack),
        }
    }

    /// Makes all changes, phase by phase.
    async fn converge(&self, changes: &Changes, observed: &Observed, foundation: &Foundation) -> Result<()> {
        for phase in changes.changes.chunk_by(|a, b| a.phase() == b.phase()) {
            match phase.first().map(Change::phase) {
                // The stack is up to date before the cluster is looked at.
                Some(Phase::Foundation) | None => {}
                Some(Phase::ControlPlane) => {
                    for change in phase {
                        self.change_control_plane(change, observed, foundation).await?;
                    }
                }
                Some(Phase::Nodes) => self.change_nodes(phase, observed, foundation).await?,
                _ => {
                    let changes: Vec<_> = phase
                        .iter()
                        .map(|change| self.change(change, observed, foundation).boxed())
                        .collect();
                    all(changes).await?;
                }
            }
        }
        Ok(())
    }

    async fn change(&self, change: &Change, observed: &Observed, foundation: &Foundation) -> Result<()> {
        match change {
            Change::CreateAccessEntry(entry) => self.ensure_access_entry(entry, foundation).await,
            Change::UpdateAccessEntry(entry, _) => self.update_access_entry(entry, observed).await,
            Change::RemoveAccessEntry(principal) => self.remove_access_entry(principal).await,
            Change::CreateAddon(addon) => self.create_addon(addon, foundation).await,
            Change::FinishUpgrade(version) => self.finish_upgrade(version, observed).await,
            Change::UpdateAddon(addon, _) => self.update_addon(addon).await,
            Change::RemoveAddon(name) => self.remove_addon(name).await,
            Change::RemoveNodeGroup(name) => self.remove_node_group(name).await,
            Change::RemoveFargateProfile(name) => self.remove_fargate_profile(name).await,
            Change::UpdateServiceAccounts => self.ensure_service_accounts(&observed.cluster).await,
            Change::CreateAssociation(role) => self.ensure_association(role, foundation).await,
            Change::RemoveAssociation { account, id } => self.remove_association(account, id).await,
            // Those of the phases before are made there.
            _ => Ok(()),
        }
    }

    /// Node groups at the same time, Fargate profiles one after another: EKS takes them so.
    async fn change_nodes(
        &self,
        changes: &[Change],
        observed: &Observed,
        foundation: &Foundation,
    ) -> Result<()> {
        // An upgrade before may have changed it.
        let cluster = self.aws.clusters.describe(self.name()).await?;
        let version = cluster.version().unwrap_or_else(|| observed.version());
        let mut groups: Vec<BoxFuture<'_, Result<()>>> = Vec::new();
        for change in changes {
            match change {
                Change::CreateNodeGroup(group) | Change::RepairNodeGroup(group, _) => {
                    groups.push(self.ensure_node_group(group, version, foundation).boxed());
                }
                Change::UpdateNodeGroup(group, _) => groups.push(self.update_node_group(group).boxed()),
                Change::UpgradeNodeGroup { name, to, .. } => {
                    groups.push(self.upgrade_node_group(name, to).boxed());
                }
                _ => {}
            }
        }
        let groups = all(groups);
        let profiles = async {
            for change in changes {
                if let Change::CreateFargateProfile(profile) = change {
                    self.ensure_fargate_profile(profile, foundation).await?;
                }
            }
            Ok(())
        };
        futures::try_join!(groups, profiles).map(drop)
    }

    /// What an interrupted run may have left undone that no listing shows: node groups that are still being made, addons and
    /// Fargate profiles that failed.
    async fn finish_parts(&self, observed: &Observed, foundation: &Foundation) -> Result<()> {
        if observed.cluster.tags().and_then(|tags| tags.get(APPLIED_TAG)) == Some(&self.wanted_digest()) {
            return Ok(());
        }
        let (groups, wanted) = (self.node_groups(), self.settings.wanted_addons());
        let mut work: Vec<BoxFuture<'_, Result<()>>> = Vec::new();
        for addon in wanted.iter().filter(|addon| observed.addons.contains(&addon.name)) {
            work.push(self.repair_addon(addon, foundation).boxed());
        }
        for group in &groups {
            let is_unfinished = observed.node_groups.iter().any(|there| {
                there.nodegroup_name() == Some(&group.name)
                    && there.status() != Some(&eks::NodegroupStatus::Active)
            });
            if is_unfinished {
                work.push(self.ensure_node_group(group, observed.version(), foundation).boxed());
            }
        }
        let profiles = async {
            for profile in &self.settings.fargate_profiles {
                let is_unfinished = |there: &&eks::FargateProfile| {
                    there.fargate_profile_name() == Some(&profile.name)
                        && there.status() != Some(&eks::FargateProfileStatus::Active)
                };
                if let Some(there) = observed.fargate_profiles.iter().find(is_unfinished) {
                    self.repair_fargate_profile(profile, there, foundation).await?;
                }
            }
            Ok(())
        };
        futures::try_join!(all(work), profiles).map(drop)
    }
}

fn refuse_recreation(changes: &Changes) -> Result<()> {
    if changes.recreate.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("it would have to be made anew: {}", changes.recreate.join("; ")),
    )
    .help("take these settings back, or delete the cluster and create it again"))
}
