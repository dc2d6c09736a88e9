//! Network interfaces, by the cluster's tags and by those of the VPC CNI.

use super::{Attachment, Done, all, tagged, unique};
use crate::api::{
    ApiResult,
    network::{
        Leftover, LeftoverKind,
        tags::{List, Tag},
    },
    signed::{EC2, Form, SignedClient},
};
use futures::future;
use serde::Deserialize;
use std::time::Duration;

/// How old an interface of the VPC CNI must be that bears no cluster's name. The CNI itself waits as long, because it makes interfaces before it attaches them.
const SETTLED: Duration = Duration::from_secs(300);
const CNI_CLUSTER: &str = "cluster.k8s.amazonaws.com/name";
const CNI_INSTANCE: &str = "node.k8s.amazonaws.com/instance_id";
const CNI_CREATED: &str = "node.k8s.amazonaws.com/createdAt";
const CNI_DESCRIPTION: &str = "aws-K8S-";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Interface {
    #[serde(rename = "networkInterfaceId")]
    pub(super) id: String,
    status: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    attachment: Option<Attachment>,
    #[serde(default)]
    pub(super) group_set: List<GroupId>,
    #[serde(default)]
    tag_set: List<Tag>,
}

#[derive(Deserialize)]
pub(super) struct GroupId {
    #[serde(rename = "groupId")]
    pub(super) id: String,
}

impl Interface {
    /// Whether the VPC CNI of `cluster` left it, or one that did not say of which cluster it is and has not attached it since.
    fn is_left_by_cni(&self, cluster: &str, now: jiff::Timestamp) -> bool {
        if let Some(name) = self.tag_set.get(CNI_CLUSTER) {
            return name == cluster;
        }
        let created = self.tag_set.get(CNI_CREATED).and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let settled = created.is_some_and(|at| {
            now.duration_since(at) > jiff::SignedDuration::try_from(SETTLED).unwrap_or_default()
        });
        let described = self.description.as_deref().is_some_and(|text| text.starts_with(CNI_DESCRIPTION));
        self.status == "available" && self.tag_set.get(CNI_INSTANCE).is_some() && described && settled
    }

    fn in_use(&self) -> Option<String> {
        if self.status == "available" {
            return None;
        }
        let holder = self.attachment.as_ref().and_then(|one| {
            one.instance_id.as_deref().or(one.instance_owner_id.as_deref()).filter(|id| !id.is_empty())
        });
        Some(holder.map_or_else(|| self.status.clone(), |holder| format!("attached to {holder}")))
    }
}

pub(in crate::api::network) async fn leftovers(
    client: &SignedClient,
    cluster: &str,
    vpc: Option<&str>,
) -> ApiResult<Vec<Leftover>> {
    const ACTION: &str = "ec2:DescribeNetworkInterfaces";
    let own = tagged::<Interface>(client, ACTION, cluster);
    let named = Form::new().filter(&format!("tag:{CNI_CLUSTER}"), [cluster]);
    let named = all::<Interface>(client, ACTION, named);
    let of_vpc = async {
        let Some(vpc) = vpc else { return Ok(Vec::new()) };
        let form = Form::new()
            .filter("vpc-id", [vpc])
            .filter("status", ["available"])
            .filter("tag-key", [CNI_INSTANCE]);
        all::<Interface>(client, ACTION, form).await
    };
    let (own, named, of_vpc) = future::try_join3(own, named, of_vpc).await?;
    let now = jiff::Timestamp::now();
    // Emulators do not know every filter, and what is deleted must be looked at in any case.
    let own = own.into_iter().filter(|one| one.tag_set.is_of(cluster));
    let left = named.into_iter().chain(of_vpc).filter(|one| one.is_left_by_cni(cluster, now));
    Ok(unique(own.chain(left).map(|one| Leftover {
        kind: LeftoverKind::NetworkInterface,
        in_use: one.in_use(),
        id: one.id,
    })))
}

pub(in crate::api::network) async fn delete(client: &SignedClient, id: &str) -> ApiResult<()> {
    const ACTION: &str = "ec2:DeleteNetworkInterface";
    let form = Form::new().set("NetworkInterfaceId", id);
    client.query::<Done>(EC2, ACTION, form).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(status: &str, description: &str, tags: &[(&str, &str)]) -> Interface {
        let tag =
            |(key, value): &(&str, &str)| format!("<item><key>{key}</key><value>{value}</value></item>");
        let tags: String = tags.iter().map(tag).collect();
        let text = format!(
            "<item><networkInterfaceId>eni-1</networkInterfaceId><status>{status}</status>\
             <description>{description}</description><tagSet>{tags}</tagSet></item>"
        );
        quick_xml::de::from_str(&text).unwrap()
    }

    #[test]
    fn only_settled_interfaces_of_the_cni_are_taken_without_a_name() {
        let now: jiff::Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let left = |status: &str, description: &str, tags: &[(&str, &str)]| {
            interface(status, description, tags).is_left_by_cni("shop", now)
        };
        let old = (CNI_CREATED, "2026-01-01T00:00:00Z");
        let node = (CNI_INSTANCE, "i-1");
        assert!(left("available", "aws-K8S-i-1", &[node, old]));
        assert!(left("in-use", "", &[(CNI_CLUSTER, "shop")]));
        assert!(!left("available", "aws-K8S-i-1", &[node, old, (CNI_CLUSTER, "other")]));
        assert!(!left("available", "aws-K8S-i-1", &[node, (CNI_CREATED, "2026-01-01T00:09:00Z")]));
        assert!(!left("available", "aws-K8S-i-1", &[node]));
        assert!(!left("available", "aws-K8S-i-1", &[old]));
        assert!(!left("available", "somebody's", &[node, old]));
        assert!(!left("in-use", "aws-K8S-i-1", &[node, old]));
    }
}
