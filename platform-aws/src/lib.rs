//! EKS for the platform: clusters with their networks, roles, nodes, addons and access; planned, resumable, and removed without a trace.
//!
//! An [`EksProvider`] is given to a platform as any other provider. It can be used alone, too:
//!
//! ```no_run
//! use platform_aws::{EksProvider, cost::{Expectations, PriceTable}, settings::EksSettings};
//! use platform_core::{
//!     cluster::{ClusterProvider, ClusterRole, ClusterSpec, Clusters},
//!     event::Progress,
//!     name::{ClusterName, EnvironmentName, PlatformName},
//! };
//!
//! # async fn example() -> platform_core::Result<()> {
//! let eks = EksProvider::builder()
//!     .region("eu-west-1")
//!     .settings(Clusters::All, EksSettings::from_yaml("nodeGroups: [{ name: workers, instanceTypes: [m7i.large] }]")?)
//!     .connect()
//!     .await?;
//! let role = ClusterRole::Environments(vec![EnvironmentName::new("testing")?]);
//! let mut spec = ClusterSpec::new(PlatformName::new("shop")?, ClusterName::new("shop-testing")?, role);
//! spec.nodes = 2;
//!
//! // Nothing is written so far: what would happen, what it would cost, whether it can be done.
//! println!("{:?}", eks.plan(&spec).await?);
//! println!("{}", eks.estimate(&[spec.clone()], &PriceTable::built_in(), &Expectations::default()));
//! eks.preflight().await?;
//!
//! eks.create(&spec, &Progress::silent()).await?;
//! std::fs::write("kubeconfig", eks.kubeconfig(&spec.platform, &spec.name).await?.to_yaml()?)
//!     .map_err(|e| platform_core::Error::internal("the kubeconfig cannot be written").source(e))?;
//! eks.delete_confirmed(&spec.platform, &spec.name, "shop-testing", &Progress::silent()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! - [`settings`]: what only EKS knows of a cluster, as a document.
//! - [`cost`] and [`permissions`]: what clusters cost and which policy making them takes, without asking AWS.
//! - [`access`]: tokens and kubeconfigs.
//! - [`adoption`]: clusters that somebody else made.
//! - [`api`]: the calls that are made, each part replaceable in tests.

pub mod access;
pub mod adoption;
pub mod api;
pub mod cost;
mod encoding;
mod lifecycle;
mod ownership;
mod partition;
pub mod permissions;
mod preflight;
mod provider;
pub mod settings;
mod stack;
mod wait;

pub use lifecycle::changes::{Change, Changes, Phase};
pub use ownership::{CLUSTER_TAG, IMPORTED_TAG, PLATFORM_TAG};
pub use preflight::{PreflightCheck, PreflightReport, PreflightVerdict};
pub use provider::{ApiServerAddress, ApiServers, EksProvider, EksProviderBuilder};
pub use wait::Polling;
