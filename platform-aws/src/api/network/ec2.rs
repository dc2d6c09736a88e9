//! EC2: zones, VPCs and volumes; interfaces and security groups below.

mod interfaces;
mod security_groups;

pub(super) use interfaces::{delete as delete_interface, leftovers as interfaces};
pub(super) use security_groups::{delete as delete_security_group, leftovers as security_groups};

use super::{
    Leftover, LeftoverKind, Vpc,
    tags::{List, Tag, of_cluster},
};
use crate::api::{
    ApiError, ApiErrorKind, ApiResult,
    signed::{EC2, Form, SignedClient},
};
use futures::future;
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::BTreeSet;

/// How much a page holds.
const PAGE: &str = "500";
/// A page of any listing.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(
        alias = "vpcSet",
        alias = "networkInterfaceSet",
        alias = "securityGroupInfo",
        alias = "volumeSet",
        alias = "availabilityZoneInfo",
        rename = "set",
        default = "List::default"
    )]
    set: List<T>,
    #[serde(rename = "nextToken")]
    next: Option<String>,
}

/// What answers with nothing that matters.
#[derive(Deserialize)]
struct Done {}

async fn all<T: DeserializeOwned>(
    client: &SignedClient,
    action: &'static str,
    form: Form,
) -> ApiResult<Vec<T>> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let form = form.clone().set("MaxResults", PAGE).maybe("NextToken", next);
        let page: Page<T> = client.query(EC2, action, form).await?;
        found.extend(page.set.items);
        next = page.next.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(found);
        }
    }
}

/// What bears one of the cluster's tags. EC2 joins filters by "and", so that each tag is a call.
async fn tagged<T: DeserializeOwned>(
    client: &SignedClient,
    action: &'static str,
    cluster: &str,
) -> ApiResult<Vec<T>> {
    let calls = of_cluster(cluster).map(|(key, value)| {
        let form = Form::new().filter(&format!("tag:{key}"), [value]);
        all(client, action, form)
    });
    Ok(future::try_join_all(calls).await?.into_iter().flatten().collect())
}

/// Without those that were found twice.
fn unique(found: impl IntoIterator<Item = Leftover>) -> Vec<Leftover> {
    found.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

pub(super) async fn zones(client: &SignedClient) -> ApiResult<Vec<String>> {
    #[derive(Deserialize)]
    struct Zone {
        #[serde(rename = "zoneName")]
        name: String,
        #[serde(rename = "zoneState")]
        state: String,
        #[serde(rename = "zoneType")]
        kind: Option<String>,
    }
    const ACTION: &str = "ec2:DescribeAvailabilityZones";
    let form = Form::new().filter("zone-type", ["availability-zone"]).filter("state", ["available"]);
    // The one listing without pages.
    let page: Page<Zone> = client.query(EC2, ACTION, form).await?;
    let usable = page.set.items.into_iter().filter(|zone| {
        zone.state == "available" && zone.kind.as_deref().is_none_or(|kind| kind == "availability-zone")
    });
    let mut names: Vec<String> = usable.map(|zone| zone.name).collect();
    names.sort();
    Ok(names)
}

pub(super) async fn vpcs(client: &SignedClient) -> ApiResult<Vec<Vpc>> {
    #[derive(Deserialize)]
    struct Described {
        #[serde(rename = "vpcId")]
        id: String,
        #[serde(rename = "cidrBlock")]
        first: String,
        #[serde(rename = "cidrBlockAssociationSet", default)]
        associated: List<Association>,
        #[serde(rename = "tagSet", default)]
        tags: List<Tag>,
    }
    #[derive(Deserialize)]
    struct Association {
        #[serde(rename = "cidrBlock")]
        block: String,
        #[serde(rename = "cidrBlockState")]
        state: Option<AssociationState>,
    }
    #[derive(Deserialize)]
    struct AssociationState {
        state: String,
    }
    const ACTION: &str = "ec2:DescribeVpcs";
    let described: Vec<Described> = all(client, ACTION, Form::new()).await?;
    let read = |one: Described| {
        let gone = |state: &AssociationState| matches!(state.state.as_str(), "disassociated" | "failed");
        let kept = one.associated.items.iter().filter(|more| !more.state.as_ref().is_some_and(gone));
        let blocks: BTreeSet<&str> =
            kept.map(|more| more.block.as_str()).chain([one.first.as_str()]).collect();
        let cidrs = blocks.into_iter().map(|block| {
            block.parse().map_err(|e| {
                let why = format!("the addresses of {} are {block:?}: {e}", one.id);
                ApiError::new(ApiErrorKind::Unknown, ACTION, why)
            })
        });
        let cidrs = cidrs.collect::<ApiResult<_>>()?;
        Ok(Vpc { id: one.id.clone(), cidrs, tags: one.tags.to_map() })
    };
    described.into_iter().map(read).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    #[serde(default)]
    instance_id: Option<String>,
    #[serde(default)]
    instance_owner_id: Option<String>,
}

pub(super) async fn volumes(client: &SignedClient, cluster: &str) -> ApiResult<Vec<Leftover>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Volume {
        #[serde(rename = "volumeId")]
        id: String,
        status: String,
        #[serde(default)]
        attachment_set: List<Attachment>,
        #[serde(default)]
        tag_set: List<Tag>,
    }
    let found: Vec<Volume> = tagged(client, "ec2:DescribeVolumes", cluster).await?;
    let there =
        |one: &Volume| one.tag_set.is_of(cluster) && !matches!(one.status.as_str(), "deleting" | "deleted");
    Ok(unique(found.into_iter().filter(there).map(|one| {
        let holder = one.attachment_set.items.iter().find_map(|held| held.instance_id.as_deref());
        let in_use = match (holder, one.status.as_str()) {
            (Some(holder), _) => Some(format!("attached to {holder}")),
            (None, "available" | "error") => None,
            (None, status) => Some(status.to_owned()),
        };
        Leftover { kind: LeftoverKind::Volume, in_use, id: one.id }
    })))
}

pub(super) async fn delete_volume(client: &SignedClient, id: &str) -> ApiResult<()> {
    const ACTION: &str = "ec2:DeleteVolume";
    client.query::<Done>(EC2, ACTION, Form::new().set("VolumeId", id)).await.map(drop)
}
