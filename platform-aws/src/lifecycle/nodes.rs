//! Node groups and Fargate profiles.

use super::{
    changes::minor,
    foundation::Foundation,
    job::{Job, found},
};
use crate::{
    api::ApiErrorKind,
    ownership,
    settings::{AmiType, CapacityType, FargateProfile, Network, NodeGroup, Scaling, TaintEffect},
    wait::{State, is_role_not_known_yet},
};
use aws_sdk_eks::{
    operation::{
        create_fargate_profile::builders::CreateFargateProfileInputBuilder,
        create_nodegroup::builders::CreateNodegroupInputBuilder,
        update_nodegroup_config::builders::UpdateNodegroupConfigInputBuilder,
        update_nodegroup_version::builders::UpdateNodegroupVersionInputBuilder,
    },
    types as eks,
};
use platform_core::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How often a group is looked at anew.
const ROUNDS: usize = 6;

/// What differs between a node group and what is wanted.
#[derive(Debug, Default)]
pub(crate) struct GroupDifference {
    pub(crate) update: Vec<String>,
    pub(crate) recreate: Vec<String>,
}

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
        let of = |request: aws_sdk_eks::operation::describe_update::builders::DescribeUpdateInputBuilder| {
            request.nodegroup_name(&group.name)
        };
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
        let of = |request: aws_sdk_eks::operation::describe_update::builders::DescribeUpdateInputBuilder| {
            request.nodegroup_name(name)
        };
        self.finish_update(&what, &update, of, self.deadlines.nodes).await
    }

    /// The profile, active.
    pub(crate) async fn ensure_fargate_profile(
        &self,
        profile: &FargateProfile,
        foundation: &Foundation,
    ) -> Result<()> {
        let what = format!("Fargate profile {}", profile.name);
        self.progress.report(format!("creating {what}"));
        let role = match self.settings.roles.as_ref().and_then(|roles| roles.fargate.clone()) {
            Some(role) => role,
            None => foundation.outputs.fargate_role()?.to_owned(),
        };
        let selectors = profile.selectors.iter().map(|selector| {
            eks::FargateProfileSelector::builder()
                .namespace(&selector.namespace)
                .set_labels(Some(selector.labels.clone().into_iter().collect()))
                .build()
        });
        let content = serde_json::to_string(profile).unwrap_or_default();
        let request = CreateFargateProfileInputBuilder::default()
            .cluster_name(self.name())
            .fargate_profile_name(&profile.name)
            .pod_execution_role_arn(role)
            .set_subnets(Some(self.node_subnets(foundation)))
            .set_selectors(Some(selectors.collect()))
            .set_tags(Some(ownership::for_eks(&self.tags())))
            .client_request_token(self.token(foundation.incarnation(), "CreateFargateProfile", &content));
        let created = self
            .waiter(self.deadlines.settle)
            .settle(&what, is_role_not_known_yet, || async {
                match self.aws.fargate.create(request.clone()).await {
                    Err(error) if error.kind == ApiErrorKind::AlreadyExists => {
                        self.aws.fargate.describe(self.name(), &profile.name).await
                    }
                    answer => answer,
                }
            })
            .await?;
        if created.status() == Some(&eks::FargateProfileStatus::Active) {
            return Ok(());
        }
        let read = || async {
            let there = self.aws.fargate.describe(self.name(), &profile.name).await?;
            match there.status() {
                Some(eks::FargateProfileStatus::Active) => Ok(State::Done(())),
                Some(eks::FargateProfileStatus::CreateFailed) => {
                    Err(Error::new(ErrorKind::Failed, format!("{what} is CREATE_FAILED")).help(
                        "see that its subnets are private, then run it again: the profile is made anew",
                    ))
                }
                status => {
                    Ok(State::Pending(status.map_or("UNKNOWN", eks::FargateProfileStatus::as_str).to_owned()))
                }
            }
        };
        self.waiter(self.deadlines.nodes).until(&what, read).await
    }

    /// Brings a profile that is there, and not active, to its end: one whose creation had failed is made anew.
    pub(crate) async fn repair_fargate_profile(
        &self,
        profile: &FargateProfile,
        there: &eks::FargateProfile,
        foundation: &Foundation,
    ) -> Result<()> {
        if there.status() != Some(&eks::FargateProfileStatus::Creating) {
            self.remove_fargate_profile(&profile.name).await?;
        }
        self.ensure_fargate_profile(profile, foundation).await
    }

    /// Deletes a profile and waits until it is gone: EKS deletes one at a time.
    pub(crate) async fn remove_fargate_profile(&self, name: &str) -> Result<()> {
        let what = format!("deletion of Fargate profile {name}");
        self.progress.report(what.clone());
        let waiter = self.waiter(self.deadlines.nodes);
        let deleted = waiter.settle(
            &what,
            |_| false,
            || async { found(self.aws.fargate.delete(self.name(), name).await) },
        );
        deleted.await?;
        let read = || async {
            Ok(match found(self.aws.fargate.describe(self.name(), name).await)? {
                None => State::Done(()),
                Some(there) => State::Pending(
                    there.status().map_or("UNKNOWN", eks::FargateProfileStatus::as_str).to_owned(),
                ),
            })
        };
        match read().await {
            Ok(State::Done(())) => Ok(()),
            _ => self.waiter(self.deadlines.nodes).until(&what, read).await,
        }
    }
}

/// What differs between a group and what is wanted, for what AWS tells of it.
pub(crate) fn differences(wanted: &NodeGroup, there: &eks::Nodegroup) -> GroupDifference {
    let mut difference = GroupDifference::default();
    if let (Some(scaling), Some(there)) = (&wanted.scaling, there.scaling_config()) {
        let now = (there.min_size().map(i64::from), there.max_size().map(i64::from));
        let then = (Some(i64::from(scaling.min)), Some(i64::from(scaling.max)));
        let number =
            |nodes: Option<i64>| nodes.map_or_else(|| "unknown".to_owned(), |nodes| nodes.to_string());
        if now != then && now.0 == now.1 && then.0 == then.1 {
            difference.update.push(format!("nodes: {} -> {}", number(now.0), number(then.0)));
        } else {
            for (name, now, then) in [("min", now.0, then.0), ("max", now.1, then.1)] {
                if now != then {
                    difference.update.push(format!("{name}: {} -> {}", number(now), number(then)));
                }
            }
        }
    }
    let labels: BTreeMap<&String, &String> =
        there.labels().map(|labels| labels.iter().collect()).unwrap_or_default();
    if labels != wanted.labels.iter().collect() {
        difference.update.push(format!(
            "labels: {} -> {}",
            pairs(&labels),
            pairs(&wanted.labels.iter().collect())
        ));
    }
    let now: BTreeSet<String> = there.taints().iter().map(taint_text).collect();
    let then: BTreeSet<String> = taints(wanted).iter().map(taint_text).collect();
    if now != then {
        let list = |taints: BTreeSet<String>| {
            if taints.is_empty() {
                "none".to_owned()
            } else {
                taints.into_iter().collect::<Vec<_>>().join(" ")
            }
        };
        difference.update.push(format!("taints: {} -> {}", list(now), list(then)));
    }
    let unavailable = there.update_config().and_then(eks::NodegroupUpdateConfig::max_unavailable_percentage);
    if let Some(now) = unavailable.filter(|now| *now != i32::from(wanted.max_unavailable_percentage)) {
        difference
            .update
            .push(format!("maxUnavailablePercentage: {now} -> {}", wanted.max_unavailable_percentage));
    }
    let mut fixed = |name: &str, now: String, then: String| {
        if now != then && !now.is_empty() {
            difference.recreate.push(format!("{name}: {now} -> {then}"));
        }
    };
    fixed("instanceTypes", there.instance_types().join(" "), wanted.instance_types.join(" "));
    fixed(
        "amiType",
        there.ami_type().map(|ami| ami.as_str().to_owned()).unwrap_or_default(),
        ami_type(wanted.ami_type).as_str().to_owned(),
    );
    fixed(
        "capacityType",
        there.capacity_type().map(|capacity| capacity.as_str().to_owned()).unwrap_or_default(),
        capacity_type(wanted.capacity_type).as_str().to_owned(),
    );
    fixed(
        "diskSize",
        there.disk_size().map(|size| size.to_string()).unwrap_or_default(),
        wanted.disk_size.to_string(),
    );
    difference
}

/// Whether a profile selects the same pods.
pub(crate) fn is_same_profile(wanted: &FargateProfile, there: &eks::FargateProfile) -> bool {
    let now: BTreeSet<(String, BTreeMap<String, String>)> = there
        .selectors()
        .iter()
        .map(|selector| {
            let labels = selector.labels().cloned().unwrap_or_default().into_iter().collect();
            (selector.namespace().unwrap_or_default().to_owned(), labels)
        })
        .collect();
    now == wanted
        .selectors
        .iter()
        .map(|selector| (selector.namespace.clone(), selector.labels.clone()))
        .collect()
}

/// What EKS says is wrong with a group.
pub(crate) fn health(group: &eks::Nodegroup) -> String {
    let issues: Vec<String> = group
        .health()
        .map(eks::NodegroupHealth::issues)
        .unwrap_or_default()
        .iter()
        .map(|issue| {
            let code = issue.code().map(aws_sdk_eks::types::NodegroupIssueCode::as_str).unwrap_or_default();
            format!("{code}: {}", issue.message().unwrap_or_default())
        })
        .collect();
    if issues.is_empty() { "EKS does not say why".to_owned() } else { issues.join("; ") }
}

fn ami_type(ami: AmiType) -> eks::AmiTypes {
    match ami {
        AmiType::Al2023X86 => eks::AmiTypes::Al2023X8664Standard,
        AmiType::Al2023Arm => eks::AmiTypes::Al2023Arm64Standard,
        AmiType::BottlerocketX86 => eks::AmiTypes::BottlerocketX8664,
        AmiType::BottlerocketArm => eks::AmiTypes::BottlerocketArm64,
    }
}

fn capacity_type(capacity: CapacityType) -> eks::CapacityTypes {
    match capacity {
        CapacityType::OnDemand => eks::CapacityTypes::OnDemand,
        CapacityType::Spot => eks::CapacityTypes::Spot,
    }
}

fn scaling(group: &NodeGroup) -> eks::NodegroupScalingConfig {
    let scaling = group.scaling.unwrap_or(Scaling::fixed(1));
    let size = |nodes: u32| i32::try_from(nodes).unwrap_or(i32::MAX);
    eks::NodegroupScalingConfig::builder()
        .min_size(size(scaling.min))
        .max_size(size(scaling.max))
        .desired_size(size(scaling.desired))
        .build()
}

fn update_config(group: &NodeGroup) -> eks::NodegroupUpdateConfig {
    eks::NodegroupUpdateConfig::builder()
        .max_unavailable_percentage(i32::from(group.max_unavailable_percentage))
        .build()
}

fn taints(group: &NodeGroup) -> Vec<eks::Taint> {
    let effect = |effect: TaintEffect| match effect {
        TaintEffect::NoSchedule => eks::TaintEffect::NoSchedule,
        TaintEffect::PreferNoSchedule => eks::TaintEffect::PreferNoSchedule,
        TaintEffect::NoExecute => eks::TaintEffect::NoExecute,
    };
    let taints = group.taints.iter().map(|taint| {
        eks::Taint::builder()
            .key(&taint.key)
            .set_value(taint.value.clone())
            .effect(effect(taint.effect))
            .build()
    });
    taints.collect()
}

/// As kubectl writes it.
fn taint_text(taint: &eks::Taint) -> String {
    let value =
        taint.value().filter(|value| !value.is_empty()).map(|value| format!("={value}")).unwrap_or_default();
    format!(
        "{}{value}:{}",
        taint.key().unwrap_or_default(),
        taint.effect().map_or("", eks::TaintEffect::as_str)
    )
}

fn labels_payload(group: &NodeGroup, there: &eks::Nodegroup) -> eks::UpdateLabelsPayload {
    let none = HashMap::new();
    let now = there.labels().unwrap_or(&none);
    let removed: Vec<String> = now.keys().filter(|key| !group.labels.contains_key(*key)).cloned().collect();
    let set: HashMap<String, String> =
        group.labels.clone().into_iter().filter(|(key, value)| now.get(key) != Some(value)).collect();
    eks::UpdateLabelsPayload::builder()
        .set_add_or_update_labels((!set.is_empty()).then_some(set))
        .set_remove_labels((!removed.is_empty()).then_some(removed))
        .build()
}

fn taints_payload(group: &NodeGroup, there: &eks::Nodegroup) -> eks::UpdateTaintsPayload {
    let wanted = taints(group);
    let contains = |taints: &[eks::Taint], taint: &eks::Taint| {
        taints.iter().any(|other| taint_text(other) == taint_text(taint))
    };
    let removed: Vec<eks::Taint> =
        there.taints().iter().filter(|taint| !contains(&wanted, taint)).cloned().collect();
    let set: Vec<eks::Taint> =
        wanted.iter().filter(|taint| !contains(there.taints(), taint)).cloned().collect();
    eks::UpdateTaintsPayload::builder()
        .set_add_or_update_taints((!set.is_empty()).then_some(set))
        .set_remove_taints((!removed.is_empty()).then_some(removed))
        .build()
}

fn pairs(labels: &BTreeMap<&String, &String>) -> String {
    if labels.is_empty() {
        return "none".to_owned();
    }
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}
