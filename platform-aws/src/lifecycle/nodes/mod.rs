//! What pods run on.
//!
//! ```text
//! shape       a node group in AWS' words, and what differs from it
//! fargate     Fargate profiles
//! ```

mod fargate;
mod shape;

pub(crate) use fargate::is_same_profile;
pub(crate) use shape::{GroupDifference, differences, health};

use super::{
    changes::minor,
    foundation::Foundation,
    job::{Job, found},
};
use crate::{
    ownership,
    settings::{Network, NodeGroup, Scaling},
    wait::{State, is_role_not_known_yet},
};
use aws_sdk_eks::{
    operation::{
        create_nodegroup::builders::CreateNodegroupInputBuilder,
        describe_update::builders::DescribeUpdateInputBuilder,
        update_nodegroup_config::builders::UpdateNodegroupConfigInputBuilder,
        update_nodegroup_version::builders::UpdateNodegroupVersionInputBuilder,
    },
    types as eks,
};
use platform_core::{Error, ErrorKind, Result};
use shape::{ami_type, capacity_type, labels_payload, scaling, taints, taints_payload, update_config};

/// How often a group is looked at anew.
const ROUNDS: usize = 6;

impl Job<'_> {
    /// The groups that are wanted, each with its scaling.
    pub(crate) fn node_groups(&self) -> Vec<NodeGroup> {
        let mut first = true;
        let mut groups = self.settings.node_groups.clone();
        for group in &mut groups {
            if group.scaling.is_none() {
                group.scaling = Some(Scaling::fixed(if first { self.spec.nodes.max(1) } else { 1 }));
                first = false;
            }
        }
        groups
    }

    /// The group, active; made if it is not there, waited for if it is being made, made anew if its creation had failed before.
    pub(crate) async fn ensure_node_group(
        &self,
        group: &NodeGroup,
        version: &str,
        foundation: &Foundation,
    ) -> Result<()> {
        let what = format!("node group {}", group.name);
        let mut watched = false;
        for _ in 0..ROUNDS {
            let there = found(self.aws.node_groups.describe(self.name(), &group.name).await)?;
            let Some(there) = there else {
                self.progress.report(format!("creating node group {}", group.name));
                let request = self.node_group_request(group, version, foundation)?;
                let created = self
                    .waiter(self.deadlines.settle)
                    .settle(&what, is_role_not_known_yet, || self.aws.node_groups.create(request.clone()))
                    .await;
                match created {
                    Ok(group) if group.status() == Some(&eks::NodegroupStatus::Active) => return Ok(()),
                    Ok(_) => watched = true,
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                }
                self.await_node_group(&group.name).await?;
                continue;
            };
            if !ownership::is_ours(there.tags(), &self.spec.platform) {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("there is a node group {} already, which is not the platform's", group.name),
                )
                .help("give the group another name, or import the cluster"));
            }
            match there.status() {
                Some(eks::NodegroupStatus::CreateFailed) if watched => {
                    return Err(Error::new(
                        ErrorKind::Failed,
                        format!("{what} is CREATE_FAILED: {}", health(&there)),
                    )
                    .help("mend what it names, then run it again: the group is made anew"));
                }
                Some(eks::NodegroupStatus::CreateFailed) => self.remove_node_group(&group.name).await?,
                Some(eks::NodegroupStatus::Creating | eks::NodegroupStatus::Updating) => {
                    watched = true;
                    self.await_node_group(&group.name).await?;
                }
                Some(eks::NodegroupStatus::Deleting) => self.await_node_group_gone(&group.name).await?,
                _ => return Ok(()),
            }
        }
        Err(Error::new(ErrorKind::Conflict, format!("{what} changed {ROUNDS} times while it was worked on")))
    }

    fn node_group_request(
        &self,
        group: &NodeGroup,
        version: &str,
        foundation: &Foundation,
    ) -> Result<CreateNodegroupInputBuilder> {
        let subnets = self.node_subnets(foundation);
        let content = serde_json::to_string(group).unwrap_or_default();
        let mut request = CreateNodegroupInputBuilder::default()
            .cluster_name(self.name())
            .nodegroup_name(&group.name)
            .set_subnets(Some(subnets))
            .node_role(self.node_role(foundation)?)
            .set_instance_types(Some(group.instance_types.clone()))
            .ami_type(ami_type(group.ami_type))
            .capacity_type(capacity_type(group.capacity_type))
            .scaling_config(scaling(group))
            .disk_size(i32::try_from(group.disk_size).unwrap_or(i32::MAX))
            .update_config(update_config(group))
            .set_labels(Some(group.labels.clone().into_iter().collect()))
            .set_taints((!group.taints.is_empty()).then(|| taints(group)))
            .set_tags(Some(ownership::for_eks(&self.tags())))
            .client_request_token(self.token(foundation.incarnation(), "CreateNodegroup", &content));
        // Of the control plane's version, whatever that is now.
        if !version.is_empty() {
            request = request.version(version);
        }
        Ok(request)
    }

    /// The subnets of nodes: private ones of a new VPC.
    fn node_subnets(&self, foundation: &Foundation) -> Vec<String> {
        match &self.settings.network {
            Network::New(_) => foundation.outputs.private_subnets.clone(),
            Network::Existing(existing) => existing.subnets.clone(),
        }
    }

    async fn await_node_group(&self, name: &str) -> Result<()> {
        let read = || async {
            let group = found(self.aws.node_groups.describe(self.name(), name).await)?;
            Ok(match group.as_ref().and_then(eks::Nodegroup::status) {
                Some(status @ (eks::NodegroupStatus::Creating | eks::NodegroupStatus::Updating)) => {
                    State::Pending(status.as_str().to_owned())
                }
                Some(_) => State::Done(()),
                None => State::Pending("NOT FOUND".to_owned()),
            })
        };
        self.waiter(self.deadlines.nodes).until(&format!("node group {name}"), read).await
    }

    /// Waits until a group is gone.
    pub(crate) async fn await_node_group_gone(&self, name: &str) -> Result<()> {
        let read = || async {
            let Some(group) = found(self.aws.node_groups.describe(self.name(), name).await)? else {
                return Ok(State::Done(()));
            };
            match group.status() {
                Some(eks::NodegroupStatus::DeleteFailed) => Err(Error::new(
                    ErrorKind::Failed,
                    format!("node group {name} is DELETE_FAILED: {}", health(&group)),
                )
                .help("mend what it names, then run it again")),
                status => {
                    Ok(State::Pending(status.map_or("UNKNOWN", eks::NodegroupStatus::as_str).to_owned()))
                }
            }
        };
        match read().await {
            Ok(State::Done(())) => Ok(()),
            // The failure of an earlier deletion; this one has just been asked for.
            _ => {
                self.waiter(self.deadlines.nodes).until(&format!("deletion of node group {name}"), read).await
            }
        }
    }

    /// Drains a group, by its PodDisruptionBudgets, and deletes it.
    pub(crate) async fn remove_node_group(&self, name: &str) -> Result<()> {
        self.progress.report(format!("deleting node group {name}"));
        let what = format!("deletion of node group {name}");
        let waiter = self.waiter(self.deadlines.nodes);
        let deleted = waiter.settle(
            &what,
            |_| false,
            || async { found(self.aws.node_groups.delete(self.name(), name).await) },
        );
        deleted.await?;
        self.await_node_group_gone(name).await
    }

    /// Changes what can be changed while a group runs.
    pub(crate) async fn update_node_group(&self, group: &NodeGroup) -> Result<()> {
        let what = format!("update of node group {}", group.name);
        self.progress.report(what.clone());
        let there = self.aws.node_groups.describe(self.name(), &group.name).await?;
        let current = there.scaling_config().and_then(eks::NodegroupScalingConfig::desired_size);
        let mut wanted = group.clone();
        if let (Some(scaling), Some(current)) = (&mut wanted.scaling, current) {
            // What scales the cluster has the say about the number, within its bounds.
            scaling.desired = u32::try_from(current).unwrap_or(0).clamp(scaling.min, scaling.max);
        }
        let request = UpdateNodegroupConfigInputBuilder::default()
            .cluster_name(self.name())
            .nodegroup_name(&group.name)
            .scaling_config(scaling(&wanted))
            .update_config(update_config(group))
            .labels(labels_payload(group, &there))
            .taints(taints_payload(group, &there));
        let update = self
            .waiter(self.deadlines.settle)
            .settle(&what, |_| false, || self.aws.node_groups.update_config(request.clone()))
            .await?;
        let of = |request: DescribeUpdateInputBuilder| request.nodegroup_name(&group.name);
        self.finish_update(&what, &update, of, self.deadlines.nodes).await
    }

    /// Replaces the nodes of a group by those of a version, as many at a time as the group says, and never against a PodDisruptionBudget.
    pub(crate) async fn upgrade_node_group(&self, name: &str, version: &str) -> Result<()> {
        let what = format!("upgrade of node group {name} to {version}");
        self.progress.report(what.clone());
        // An update that an earlier run asked for takes longer than EKS is asked again.
        let there = self.aws.node_groups.describe(self.name(), name).await?;
        if there.status() == Some(&eks::NodegroupStatus::Updating) {
            self.await_node_group(name).await?;
            let there = self.aws.node_groups.describe(self.name(), name).await?;
            if minor(there.version().unwrap_or_default()) >= minor(version) {
                return Ok(());
            }
        }
        let request = UpdateNodegroupVersionInputBuilder::default()
            .cluster_name(self.name())
            .nodegroup_name(name)
            .version(version)
            .force(false);
        let update = self
            .waiter(self.deadlines.settle)
            .settle(&what, |_| false, || self.aws.node_groups.update_version(request.clone()))
            .await?;
        let of = |request: DescribeUpdateInputBuilder| request.nodegroup_name(name);
        self.finish_update(&what, &update, of, self.deadlines.nodes).await
    }
}
