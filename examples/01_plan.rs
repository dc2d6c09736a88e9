//! Reads a platform from a document and prints what applying it would do. Nothing is made.
//!
//! ```text
//! cargo run --example 01_plan
//! ```

use platform_core::{Platform, PlatformSpec};
use platform_k8s::Kubernetes;
use platform_testkit::EmbeddedProvider;

const SHOP: &str = "
name: shop
environments:
  - name: testing
  - name: production
    protected: true
    nodes: 3
components:
  - name: node-exporter
  - name: kube-state-metrics
applications:
  - name: api1
    image: registry.example.com/shop/api1:1.4.0
    replicas: 2
    ports: [{ number: 8080 }]
    routes: [{ host: api1.shop.example.com }]
";

#[tokio::main]
async fn main() -> platform_examples::Result {
    let platform = Platform::from_spec(PlatformSpec::from_yaml(SHOP)?)
        .provider(EmbeddedProvider::in_memory())
        .orchestrator(Kubernetes::default())
        .build()?;
    println!("{}\n", platform.plan().await?);

    // What is wrong in a document is told with its path, and with what would be right.
    for wrong in [
        "{ name: shop, isolation: none, environments: [{ name: testing }] }",
        "{ name: shop, environments: [{ name: Testing }] }",
        "{ name: shop, environments: [{ name: testing }, { name: testing }] }",
    ] {
        if let Err(error) = PlatformSpec::from_yaml(wrong).and_then(|spec| spec.validate()) {
            println!("{wrong}\n    {error}");
        }
    }
    Ok(())
}
