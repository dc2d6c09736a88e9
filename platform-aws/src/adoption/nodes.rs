//! Node groups and Fargate profiles in the words of our settings.

use super::{Inspection, description::Description};
use crate::settings::{
    AmiType, CapacityType, FargateProfile, FargateSelector, NodeGroup, Scaling, Taint, TaintEffect,
};
use aws_sdk_eks::types::{self as eks, AmiTypes, CapacityTypes, NodegroupUpdateStrategies};
use std::collections::BTreeSet;

pub(super) fn describe(description: &mut Description, inspection: &Inspection) {
    let subnets: BTreeSet<BTreeSet<&String>> =
        inspection.node_groups.iter().map(|group| group.subnets.iter().flatten().collect()).collect();
    if subnets.len() > 1 {
        description.lacks("node groups are in different subnets; a new one would be in all of them");
    }
    description.settings.node_groups.clear();
    for group in &inspection.node_groups {
        let described = node_group(description, group, inspection.version());
        description.settings.node_groups.push(described);
    }
    description.settings.fargate_profiles = inspection.fargate_profiles.iter().map(profile).collect();
}

fn node_group(description: &mut Description, group: &eks::Nodegroup, version: Option<&str>) -> NodeGroup {
    let name = group.nodegroup_name.clone().unwrap_or_default();
    let mut ours = NodeGroup::new(&name);
    let mut lacks = |what: &str| description.lacks(format!("the node group {name} {what}"));
    match group.instance_types.as_deref() {
        Some(types) if !types.is_empty() => ours.instance_types = types.to_vec(),
        _ => lacks("has its instance type from a launch template"),
    }
    match group.ami_type.as_ref().map(ami_type) {
        Some(Some(ami)) => ours.ami_type = ami,
        Some(None) => {
            let ami = group.ami_type.as_ref().map(AmiTypes::as_str).unwrap_or_default();
            lacks(&format!("has the machine image {ami}"));
        }
        None => lacks("has its machine image from a launch template"),
    }
    match &group.capacity_type {
        Some(CapacityTypes::Spot) => ours.capacity_type = CapacityType::Spot,
        Some(CapacityTypes::OnDemand) | None => {}
        Some(other) => lacks(&format!("has the capacity {}", other.as_str())),
    }
    if let Some(scaling) = &group.scaling_config {
        let number = |number: Option<i32>| number.and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
        ours.scaling = Some(Scaling {
            min: number(scaling.min_size),
            max: number(scaling.max_size),
            desired: number(scaling.desired_size),
        });
    }
    if let Some(size) = group.disk_size.and_then(|size| u32::try_from(size).ok()) {
        ours.disk_size = size;
    }
    ours.labels = group.labels.clone().unwrap_or_default().into_iter().collect();
    ours.taints = group.taints.iter().flatten().filter_map(taint).collect();
    if let Some(update) = &group.update_config {
        match update.max_unavailable_percentage.and_then(|percentage| u8::try_from(percentage).ok()) {
            Some(percentage) => ours.max_unavailable_percentage = percentage,
            None => lacks("replaces a number of nodes at a time, not a part of them"),
        }
        if update.update_strategy == Some(NodegroupUpdateStrategies::Minimal) {
            lacks("terminates nodes before it launches new ones");
        }
    }
    let others = [
        (group.launch_template.is_some(), "has a launch template of its own"),
        (group.remote_access.is_some(), "lets SSH in"),
        (group.node_repair_config.as_ref().and_then(|repair| repair.enabled) == Some(true), "repairs nodes"),
        (group.warm_pool_config.as_ref().and_then(|pool| pool.enabled) == Some(true), "has a warm pool"),
        (
            version.is_some() && group.version.as_deref() != version,
            "has another version than the control plane",
        ),
    ];
    for (_, what) in others.iter().filter(|(is_so, _)| *is_so) {
        lacks(what);
    }
    ours
}

fn ami_type(ami: &AmiTypes) -> Option<AmiType> {
    match ami {
        AmiTypes::Al2023X8664Standard => Some(AmiType::Al2023X86),
        AmiTypes::Al2023Arm64Standard => Some(AmiType::Al2023Arm),
        AmiTypes::BottlerocketX8664 => Some(AmiType::BottlerocketX86),
        AmiTypes::BottlerocketArm64 => Some(AmiType::BottlerocketArm),
        _ => None,
    }
}

fn taint(taint: &eks::Taint) -> Option<Taint> {
    let effect = match taint.effect.as_ref()? {
        eks::TaintEffect::NoSchedule => TaintEffect::NoSchedule,
        eks::TaintEffect::PreferNoSchedule => TaintEffect::PreferNoSchedule,
        eks::TaintEffect::NoExecute => TaintEffect::NoExecute,
        _ => return None,
    };
    Some(Taint {
        key: taint.key.clone()?,
        value: taint.value.clone().filter(|value| !value.is_empty()),
        effect,
    })
}

fn profile(profile: &eks::FargateProfile) -> FargateProfile {
    let selectors = profile.selectors.iter().flatten().map(|selector| FargateSelector {
        namespace: selector.namespace.clone().unwrap_or_default(),
        labels: selector.labels.clone().unwrap_or_default().into_iter().collect(),
    });
    FargateProfile {
        name: profile.fargate_profile_name.clone().unwrap_or_default(),
        selectors: selectors.collect(),
    }
}
