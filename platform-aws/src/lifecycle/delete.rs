//! The order of taking a cluster down.

use super::{
    changes::Change,
    job::{Job, all, found},
    sweep::Left,
};
use crate::{
    api::{LeftoverKind, Stack},
    ownership::{IMPORTED_TAG, PROTECTED_TAG},
    stack::{cluster_stack_name, service_accounts_stack_name, vpc_of},
};
use aws_sdk_eks::{
    operation::update_cluster_config::builders::UpdateClusterConfigInputBuilder, types as eks,
};
use futures::FutureExt;
use platform_core::{Error, ErrorKind, Result, cluster::Deletion};

/// How often the network is tried to be deleted, swept in between.
const NETWORK_TRIES: usize = 3;

/// What holds a network.
const IN_NETWORK: [LeftoverKind; 5] = [
    LeftoverKind::LoadBalancer,
    LeftoverKind::ClassicLoadBalancer,
    LeftoverKind::TargetGroup,
    LeftoverKind::NetworkInterface,
    LeftoverKind::SecurityGroup,
];
const ALL: [LeftoverKind; 6] = [
    LeftoverKind::LoadBalancer,
    LeftoverKind::ClassicLoadBalancer,
    LeftoverKind::TargetGroup,
    LeftoverKind::NetworkInterface,
    LeftoverKind::SecurityGroup,
    LeftoverKind::Volume,
];

impl Job<'_> {
    /// Deletes the cluster and everything that was made for it, from wherever an earlier run ended.
    ///
    /// Nodes are deleted without regard to PodDisruptionBudgets: nothing is left for pods to move to.
    pub(crate) async fn delete(&self) -> Result<Deletion> {
        let stack_name = cluster_stack_name(&self.spec.name);
        let accounts_name = service_accounts_stack_name(&self.spec.name);
        // Of somebody else's cluster, and of stacks that only have such a name, nothing is touched.
        let (cluster, stack, accounts) = futures::try_join!(
            self.own_cluster(),
            self.own_stack(&stack_name),
            self.own_stack(&accounts_name)
        )?;
        if cluster.is_none() && stack.is_none() && accounts.is_none() {
            return Ok(Deletion::Absent);
        }
        let vpc = stack.as_ref().and_then(|stack| vpc_of(&stack.outputs)).map(str::to_owned).or_else(|| {
            let config = cluster.as_ref()?.resources_vpc_config()?;
            config.vpc_id().map(str::to_owned)
        });
        if let Some(cluster) = &cluster {
            self.lift_protection(cluster).await?;
            self.delete_nodes().await?;
            self.delete_cluster(cluster).await?;
        }
        // Not before there is nobody any more who would make them again. Interfaces outlive the cluster by minutes, and hold the network.
        let left = self.sweep(vpc.as_deref(), &ALL).await?;
        if accounts.is_some() {
            self.delete_stack(&accounts_name, vpc.as_deref()).await?;
        }
        if stack.is_some() {
            self.delete_stack(&stack_name, vpc.as_deref()).await?;
        }
        self.reservations.release(&self.spec.name);
        self.tell_what_stays(cluster.as_ref(), stack.as_ref(), &left)?;
        Ok(Deletion::Deleted)
    }

    /// Turns off a deletion protection that the platform set; one that somebody else set is a word against this deletion.
    async fn lift_protection(&self, cluster: &eks::Cluster) -> Result<()> {
        if cluster.deletion_protection() != Some(true) {
            return Ok(());
        }
        if cluster.tags().and_then(|tags| tags.get(PROTECTED_TAG)).map(String::as_str) != Some("true") {
            return Err(Error::new(
                ErrorKind::Refused,
                "somebody other than the platform has protected it from deletion at EKS",
            )
            .help("find out why; `aws eks update-cluster-config --no-deletion-protection` lifts it"));
        }
        self.progress.report("turning deletion protection off");
        let request = UpdateClusterConfigInputBuilder::default().name(self.name()).deletion_protection(false);
        self.configure(request, &Change::SetDeletionProtection(false).to_string()).await
    }

    async fn delete_nodes(&self) -> Result<()> {
        let groups = found(self.aws.node_groups.list(self.name()).await)?.unwrap_or_default();
        let groups: Vec<_> = groups.iter().map(|name| self.remove_node_group(name).boxed()).collect();
        let groups = all(groups);
        let profiles = async {
            for name in found(self.aws.fargate.list(self.name()).await)?.unwrap_or_default() {
                self.remove_fargate_profile(&name).await?;
            }
            Ok::<(), Error>(())
        };
        futures::try_join!(groups, profiles).map(drop)
    }

    /// Deletes the cluster; its addons, access entries and associations go with it.
    async fn delete_cluster(&self, cluster: &eks::Cluster) -> Result<()> {
        if cluster.status() != Some(&eks::ClusterStatus::Deleting) {
            self.progress.report(format!("deleting cluster {}", self.name()));
            let what = format!("deletion of cluster {}", self.name());
            // One that is still being made, or updated, is deleted after that.
            let waiter = self.waiter(self.deadlines.cluster);
            let deleted = waiter.settle(
                &what,
                |_| false,
                || async { found(self.aws.clusters.delete(self.name()).await) },
            );
            deleted.await?;
        }
        self.await_cluster_gone().await
    }

    /// Deletes a stack. What still hangs on it is swept, and the deletion tried again.
    async fn delete_stack(&self, name: &str, vpc: Option<&str>) -> Result<()> {
        self.progress.report(format!("deleting stack {name}"));
        let mut tries = 0;
        loop {
            self.aws.stacks.delete(name).await?;
            tries += 1;
            match self.await_stack_gone(name).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Failed && tries < NETWORK_TRIES => {
                    self.progress.report(format!("stack {name} is not deleted yet: {}", error.message()));
                    let left = self.sweep(vpc, &IN_NETWORK).await?;
                    if !left.0.is_empty() {
                        self.progress.report(format!("still there: {}", left.describe()));
                    }
                }
                Err(error) if !matches!(error.kind(), ErrorKind::Failed | ErrorKind::Timeout) => {
                    return Err(error);
                }
                Err(error) => {
                    let left =
                        self.sweep(vpc, &IN_NETWORK).await.map(|left| left.describe()).unwrap_or_default();
                    let still = if left.is_empty() { left } else { format!("; still there: {left}") };
                    let error = Error::new(error.kind(), format!("{}{still}", error.message()));
                    return Err(error.help(
                        "delete by hand what hangs on it, then run it again: it goes on where this run ended",
                    ));
                }
            }
        }
    }

    fn tell_what_stays(
        &self,
        cluster: Option<&eks::Cluster>,
        stack: Option<&Stack>,
        left: &Left,
    ) -> Result<()> {
        let imported =
            cluster.and_then(|cluster| cluster.tags()).is_some_and(|tags| tags.contains_key(IMPORTED_TAG));
        if imported {
            self.progress.report("the network and the roles stay: somebody else made them");
        } else if cluster.is_some() && stack.is_none() {
            self.progress.report("the network and the roles stay: they existed before");
        }
        if left.0.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Failed,
            format!("the cluster is deleted, but what its controllers made is not: {}", left.describe()),
        )
        .help("delete it by hand once it is free"))
    }
}
