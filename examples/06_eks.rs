//! What a platform on EKS would be made of, cost, and need to be allowed. AWS is not called, and no credentials are needed.
//!
//! ```text
//! cargo run --example 06_eks
//! ```

use platform_aws::{
    cost::{ClusterCost, CostEstimate, Expectations, PriceTable},
    permissions::{IamPolicy, PermissionScope},
    settings::EksSettings,
};
use platform_core::{
    Platform, PlatformSpec,
    cluster::{ClusterSpec, Clusters},
    name::{ClusterName, EnvironmentName},
};
use platform_k8s::Kubernetes;
use platform_testkit::EmbeddedProvider;

const REGION: &str = "eu-west-1";
const ACCOUNT: &str = "111122223333";

const SHOP: &str = "
name: shop
environments:
  - name: testing
  - name: production
    protected: true
    nodes: 3
components:
  - name: node-exporter
applications:
  - name: api1
    image: registry.example.com/shop/api1:1.4.0
    ports: [{ number: 8080 }]
";

const PRODUCTION: &str = "
network: { new: { zones: 3, natGateways: per-zone } }
nodeGroups:
  - { name: workers, instanceTypes: [m7i.large, m6i.large] }
  - { name: batch, instanceTypes: [c7i.xlarge], capacityType: spot, scaling: { min: 0, max: 4, desired: 1 } }
";

#[tokio::main]
async fn main() -> platform_examples::Result {
    // What is in clusters is the same on every provider: the embedded one plans it without any account.
    let platform = Platform::from_spec(PlatformSpec::from_yaml(SHOP)?)
        .provider(EmbeddedProvider::in_memory())
        .orchestrator(Kubernetes::default())
        .build()?;
    let plan = platform.plan().await?;
    println!("{plan}\n");

    // How they are made at EKS. `EksProvider::builder()` takes the same: where several fit a cluster, the last one counts.
    let settings = [
        (Clusters::All, EksSettings::default()),
        (Clusters::Environment(EnvironmentName::new("production")?), EksSettings::from_yaml(PRODUCTION)?),
    ];
    let of = |spec: &ClusterSpec| {
        let fitting = settings.iter().rev().find(|(clusters, _)| clusters.contains(spec));
        fitting.map(|(_, settings)| settings.clone()).unwrap_or_default()
    };
    let specs: Vec<&ClusterSpec> = plan.clusters.iter().map(|cluster| &cluster.spec).collect();

    let prices = PriceTable::built_in();
    let expected = Expectations::default().load_balancers(1);
    let costs = specs.iter().map(|spec| ClusterCost::new(&prices, REGION, spec, &of(spec), &expected));
    println!("{}", CostEstimate::new(&prices, REGION, costs.collect()));

    // What who makes them must be allowed, and no more. One policy may be too large to be attached: then there are parts.
    let policies = specs.iter().map(|spec| {
        IamPolicy::new(&PermissionScope {
            partition: "aws",
            account: ACCOUNT,
            region: REGION,
            clusters: &[ClusterName::clone(&spec.name)],
            settings: &of(spec),
        })
    });
    let parts = IamPolicy::joined(policies).parts();
    for (index, part) in parts.iter().enumerate() {
        println!("policy {} of {}, {} characters:\n{part:#}", index + 1, parts.len(), part.size());
    }
    Ok(())
}
