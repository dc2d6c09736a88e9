//! Load balancers of the former generation, which Kubernetes makes without the AWS Load Balancer Controller.

use super::{
    Leftover, LeftoverKind,
    tags::{List, Tag},
};
use crate::api::{
    ApiResult,
    signed::{CLASSIC_LOAD_BALANCING, Form, SignedClient},
};
use serde::Deserialize;

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
        #[serde(rename = "LoadBalancerDescriptions", default)]
        balancers: List<Balancer>,
        #[serde(rename = "NextMarker")]
        next: Option<String>,
    }
    #[derive(Deserialize)]
    struct Balancer {
        #[serde(rename = "LoadBalancerName")]
        name: String,
    }
    let mut names = Vec::new();
    let mut next = None;
    loop {
        let form = Form::new().set("PageSize", "400").maybe("Marker", next);
        let answer: Answer =
            client.query(CLASSIC_LOAD_BALANCING, "elasticloadbalancing:DescribeLoadBalancers", form).await?;
        names.extend(answer.result.balancers.items.into_iter().map(|one| one.name));
        next = answer.result.next.filter(|marker| !marker.is_empty());
        if next.is_none() {
            break;
        }
    }
    let mut ours = Vec::new();
    for some in names.chunks(TAGGED) {
        let tags = match tags_of(client, some).await {
            Err(error) if error.is_not_found() => {
                let mut tags = Vec::new();
                for one in some {
                    match tags_of(client, std::slice::from_ref(one)).await {
                        Err(error) if error.is_not_found() => {}
                        found => tags.extend(found?),
                    }
                }
                tags
            }
            found => found?,
        };
        ours.extend(tags.into_iter().filter(|one| one.tags.is_of(cluster)));
    }
    let leftover =
        |one: Tagged| Leftover { kind: LeftoverKind::ClassicLoadBalancer, id: one.name, in_use: None };
    Ok(ours.into_iter().map(leftover).collect())
}

#[derive(Deserialize)]
struct Tagged {
    #[serde(rename = "LoadBalancerName")]
    name: String,
    #[serde(rename = "Tags", default)]
    tags: List<Tag>,
}

async fn tags_of(client: &SignedClient, names: &[String]) -> ApiResult<Vec<Tagged>> {
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
    let form = Form::new().list("LoadBalancerNames.member", names.iter().cloned());
    let answer: Answer =
        client.query(CLASSIC_LOAD_BALANCING, "elasticloadbalancing:DescribeTags", form).await?;
    Ok(answer.result.all.items)
}

pub(super) async fn delete(client: &SignedClient, name: &str) -> ApiResult<()> {
    /// What answers with nothing that matters.
    #[derive(Deserialize)]
    struct Done {}
    let form = Form::new().set("LoadBalancerName", name);
    let action = "elasticloadbalancing:DeleteLoadBalancer";
    client.query::<Done>(CLASSIC_LOAD_BALANCING, action, form).await.map(drop)
}
