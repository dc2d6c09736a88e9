//! A node group in AWS' words, and what differs from it.

use crate::settings::{AmiType, CapacityType, NodeGroup, Scaling, TaintEffect};
use aws_sdk_eks::types as eks;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What differs between a node group and what is wanted.
#[derive(Debug, Default)]
pub(crate) struct GroupDifference {
    pub(crate) update: Vec<String>,
    pub(crate) recreate: Vec<String>,
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

pub(super) fn ami_type(ami: AmiType) -> eks::AmiTypes {
    match ami {
        AmiType::Al2023X86 => eks::AmiTypes::Al2023X8664Standard,
        AmiType::Al2023Arm => eks::AmiTypes::Al2023Arm64Standard,
        AmiType::BottlerocketX86 => eks::AmiTypes::BottlerocketX8664,
        AmiType::BottlerocketArm => eks::AmiTypes::BottlerocketArm64,
    }
}

pub(super) fn capacity_type(capacity: CapacityType) -> eks::CapacityTypes {
    match capacity {
        CapacityType::OnDemand => eks::CapacityTypes::OnDemand,
        CapacityType::Spot => eks::CapacityTypes::Spot,
    }
}

pub(super) fn scaling(group: &NodeGroup) -> eks::NodegroupScalingConfig {
    let scaling = group.scaling.unwrap_or(Scaling::fixed(1));
    let size = |nodes: u32| i32::try_from(nodes).unwrap_or(i32::MAX);
    eks::NodegroupScalingConfig::builder()
        .min_size(size(scaling.min))
        .max_size(size(scaling.max))
        .desired_size(size(scaling.desired))
        .build()
}

pub(super) fn update_config(group: &NodeGroup) -> eks::NodegroupUpdateConfig {
    eks::NodegroupUpdateConfig::builder()
        .max_unavailable_percentage(i32::from(group.max_unavailable_percentage))
        .build()
}

pub(super) fn taints(group: &NodeGroup) -> Vec<eks::Taint> {
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

pub(super) fn labels_payload(group: &NodeGroup, there: &eks::Nodegroup) -> eks::UpdateLabelsPayload {
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

pub(super) fn taints_payload(group: &NodeGroup, there: &eks::Nodegroup) -> eks::UpdateTaintsPayload {
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
