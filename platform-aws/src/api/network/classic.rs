//! Load balancers of the former generation, which Kubernetes makes without the AWS Load Balancer Controller.

use super::{
    Leftover, LeftoverKind,
    load_balancers::{Done, Naming, of_cluster},
    tags::List,
};
use crate::api::{
    ApiResult,
    signed::{CLASSIC_LOAD_BALANCING, Form, SignedClient},
};
use serde::Deserialize;

const NAMES: Naming = Naming { service: CLASSIC_LOAD_BALANCING, list: "LoadBalancerNames.member" };

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
    let ours = of_cluster(client, NAMES, cluster, &names).await?;
    let leftover = |id: String| Leftover { kind: LeftoverKind::ClassicLoadBalancer, id, in_use: None };
    Ok(ours.into_iter().map(leftover).collect())
}

pub(super) async fn delete(client: &SignedClient, name: &str) -> ApiResult<()> {
    let form = Form::new().set("LoadBalancerName", name);
    let action = "elasticloadbalancing:DeleteLoadBalancer";
    client.query::<Done>(CLASSIC_LOAD_BALANCING, action, form).await.map(drop)
}
