//! Where clusters come from.

use crate::options::{Options, ProviderName};
use platform_core::{ImageOverrides, PlatformSpec, Result, cluster::ClusterProvider};
use platform_k8s::kind::{Clusters, KindProvider};
use platform_testkit::EmbeddedProvider;
use std::sync::Arc;

/// What runs on nodes beside components: the application and what tries the network.
const OTHERS: [&str; 2] = ["app", "probe"];

/// The provider that was asked for, with what only one of them needs.
#[derive(Debug, Clone)]
pub(crate) enum Provider {
    Embedded(EmbeddedProvider),
    Kind(KindProvider),
}

impl Provider {
    pub(crate) async fn open(
        options: &Options,
        spec: &PlatformSpec,
        images: &ImageOverrides,
    ) -> Result<Self> {
        match options.provider {
            ProviderName::Embedded => Ok(Self::Embedded(match &options.state {
                Some(directory) => EmbeddedProvider::builder().state_dir(directory).open().await?,
                None => EmbeddedProvider::in_memory(),
            })),
            ProviderName::Kind => Ok(Self::Kind(kind(spec, images)?)),
        }
    }

    pub(crate) fn shared(&self) -> Arc<dyn ClusterProvider> {
        match self {
            Self::Embedded(provider) => Arc::new(provider.clone()),
            Self::Kind(provider) => Arc::new(provider.clone()),
        }
    }

    /// Ends what runs in this process, once nothing is written any more.
    pub(crate) async fn stop(&self) {
        if let Self::Embedded(provider) = self {
            provider.stop().await;
        }
    }

    /// Removes what is left of clusters that are gone.
    pub(crate) async fn clean_up(&self) -> Result<()> {
        match self {
            Self::Embedded(provider) => provider.remove_state_dir().await,
            Self::Kind(_) => Ok(()),
        }
    }
}

/// Nodes of `PLATFORM_KIND_IMAGE`, if it is set, and on them the images of this machine that stand in place of public ones.
fn kind(spec: &PlatformSpec, images: &ImageOverrides) -> Result<KindProvider> {
    let mut kind = KindProvider::builder();
    if let Ok(image) = std::env::var("PLATFORM_KIND_IMAGE") {
        kind = kind.node_image(image);
    }
    let components = spec.components.iter().map(|component| component.name.as_str());
    for image in components.chain(OTHERS).filter_map(|name| images.get(name)) {
        kind = kind.load_image(Clusters::All, image.as_str());
    }
    kind.build()
}
