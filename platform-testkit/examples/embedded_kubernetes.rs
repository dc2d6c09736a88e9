//! A simulated Kubernetes cluster to try things on: `cargo run -p platform-testkit --example embedded_kubernetes`.
//!
//! Prints where its kubeconfig is and serves until Ctrl-C. With a directory as its argument, the cluster's content
//! is kept there and is back at the next start.

use std::path::PathBuf;

use platform_testkit::kubernetes::EmbeddedApi;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data_dir = std::env::args_os().nth(1).map(PathBuf::from);
    let api = EmbeddedApi::builder().data_dir(data_dir).start().await?;
    let kubeconfig = std::env::temp_dir().join(format!("embedded-kubernetes-{}.yaml", std::process::id()));
    std::fs::write(&kubeconfig, api.kubeconfig())?;
    println!("export KUBECONFIG={}", kubeconfig.display());
    tokio::signal::ctrl_c().await?;
    api.stop().await;
    std::fs::remove_file(&kubeconfig)?;
    Ok(())
}
