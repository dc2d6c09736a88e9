//! Application and network load balancers, and their targets.

use super::{
    Leftover, LeftoverKind,
    tags::{List, Tag},
};
use crate::api::{
    ApiResult,
    signed::{Form, LOAD_BALANCING, Service, SignedClient},
};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Of how many the tags can be asked for at once.
const TAGGED: usize = 20;

pub(super) async fn balancers(client: &SignedClient, cluster: &str) -> ApiResult<Vec<Leftover>> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "DescribeLoadBalancersResult")]
        result: Page,
    }
    #[derive(Deserialize)]
    struct Page {
        #[serde(rename = "LoadBalancers", default)]
        balancers: List<Balancer>,
        #[serde(rename = "NextMarker")]
        next: Option<String>,
    }
    #[derive(Deserialize)]
    struct Balancer {
        #[serde(rename = "LoadBalancerArn")]
        arn: String,
    }
    let mut arns = Vec::new();
    let mut next = None;
    loop {
        let form = Form::new().set("PageSize", "400").maybe("Marker", next);
        let answer: Answer =
            client.query(LOAD_BALANCING, "elasticloadbalancing:DescribeLoadBalancers", form).await?;
        arns.extend(answer.result.balancers.items.into_iter().map(|one| one.arn));
        next = answer.result.next.filter(|marker| !marker.is_empty());
        if next.is_none() {
            break;
        }
    }
    let ours = of_cluster(client, ARNS, cluster, &arns).await?;
    let leftover = |id: String| Leftover { kind: LeftoverKind::LoadBalancer, id, in_use: None };
    Ok(ours.into_iter().map(leftover).collect())
}

pub(super) async fn target_groups(client: &SignedClient, cluster: &str) -> ApiResult<Vec<Leftover>> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "DescribeTargetGroupsResult")]
        result: Page,
    }
    #[derive(Deserialize)]
    struct Page {
        #[serde(rename = "TargetGroups", default)]
        groups: List<Group>,
        #[serde(rename = "NextMarker")]
        next: Option<String>,
    }
    #[derive(Deserialize)]
    struct Group {
        #[serde(rename = "TargetGroupArn")]
        arn: String,
        #[serde(rename = "LoadBalancerArns", default)]
        balancers: List<String>,
    }
    let mut groups = Vec::new();
    let mut next = None;
    loop {
        let form = Form::new().set("PageSize", "400").maybe("Marker", next);
        let answer: Answer =
            client.query(LOAD_BALANCING, "elasticloadbalancing:DescribeTargetGroups", form).await?;
        groups.extend(answer.result.groups.items);
        next = answer.result.next.filter(|marker| !marker.is_empty());
        if next.is_none() {
            break;
        }
    }
    let arns: Vec<String> = groups.iter().map(|one| one.arn.clone()).collect();
    let ours = of_cluster(client, ARNS, cluster, &arns).await?;
    let leftover = |one: Group| Leftover {
        kind: LeftoverKind::TargetGroup,
        in_use: one.balancers.items.first().map(|arn| format!("used by {arn}")),
        id: one.arn,
    };
    Ok(groups.into_iter().filter(|one| ours.contains(&one.arn)).map(leftover).collect())
}

/// How the tags of load balancers of a generation are asked for: at which service, and by what they are named.
#[derive(Clone, Copy)]
pub(super) struct Naming {
    pub(super) service: Service,
    pub(super) list: &'static str,
}

const ARNS: Naming = Naming { service: LOAD_BALANCING, list: "ResourceArns.member" };

/// Those of these that bear the cluster's tags. One that goes meanwhile makes AWS refuse the whole question, so that it is asked for each.
pub(super) async fn of_cluster(
    client: &SignedClient,
    naming: Naming,
    cluster: &str,
    ids: &[String],
) -> ApiResult<BTreeSet<String>> {
    let mut ours = BTreeSet::new();
    for some in ids.chunks(TAGGED) {
        let tags = match tags_of(client, naming, some).await {
            Err(error) if error.is_not_found() => {
                let mut tags = Vec::new();
                for one in some {
                    match tags_of(client, naming, std::slice::from_ref(one)).await {
                        Err(error) if error.is_not_found() => {}
                        found => tags.extend(found?),
                    }
                }
                tags
            }
            found => found?,
        };
        ours.extend(tags.into_iter().filter(|one| one.tags.is_of(cluster)).map(|one| one.id));
    }
    Ok(ours)
}

#[derive(Deserialize)]
struct Tagged {
    // The former generation has names and no ARNs.
    #[serde(rename = "ResourceArn", alias = "LoadBalancerName")]
    id: String,
    #[serde(rename = "Tags", default)]
    tags: List<Tag>,
}

async fn tags_of(client: &SignedClient, naming: Naming, ids: &[String]) -> ApiResult<Vec<Tagged>> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "DescribeTagsResult")]
        result: Described,
    }
    #[derive(Deserialize)]
    struct Described {
        #[serde(rename = "TagDescriptions", default)]
        all: List<Tagged>,
    }
    let form = Form::new().list(naming.list, ids.iter().cloned());
    let answer: Answer = client.query(naming.service, "elasticloadbalancing:DescribeTags", form).await?;
    Ok(answer.result.all.items)
}

/// What answers with nothing that matters.
#[derive(Deserialize)]
pub(super) struct Done {}

pub(super) async fn delete_balancer(client: &SignedClient, arn: &str) -> ApiResult<()> {
    let form = Form::new().set("LoadBalancerArn", arn);
    client.query::<Done>(LOAD_BALANCING, "elasticloadbalancing:DeleteLoadBalancer", form).await.map(drop)
}

pub(super) async fn delete_target_group(client: &SignedClient, arn: &str) -> ApiResult<()> {
    let form = Form::new().set("TargetGroupArn", arn);
    client.query::<Done>(LOAD_BALANCING, "elasticloadbalancing:DeleteTargetGroup", form).await.map(drop)
}
