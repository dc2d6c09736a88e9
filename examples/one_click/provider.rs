//! Where clusters come from.

use crate::{
    eks,
    emulator::EmulatedEks,
    options::{Options, ProviderName},
};
use platform_aws::EksProvider;
use platform_core::{Error, ImageOverrides, PlatformSpec, Result, cluster::ClusterProvider, plan::Plan};
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
    Eks(EksProvider),
    Emulated(EmulatedEks),
}

impl Provider {
    pub(crate) async fn open(
        options: &Options,
        spec: &PlatformSpec,
        images: &ImageOverrides,
    ) -> Result<Self> {
        if options.emulator && options.provider != ProviderName::Eks {
            return Err(Error::invalid("--emulator is for --provider eks alone"));
        }
        match options.provider {
            ProviderName::Embedded => Ok(Self::Embedded(match &options.state {
                Some(directory) => EmbeddedProvider::builder().state_dir(directory).open().await?,
                None => EmbeddedProvider::in_memory(),
            })),
            ProviderName::Kind => Ok(Self::Kind(kind(spec, images)?)),
            ProviderName::Eks if options.emulator => {
                Ok(Self::Emulated(EmulatedEks::open(options.state.as_deref()).await?))
            }
            ProviderName::Eks => Ok(Self::Eks(eks::connect(options).await?)),
        }
    }

    pub(crate) fn shared(&self) -> Arc<dyn ClusterProvider> {
        match self {
            Self::Embedded(provider) => Arc::new(provider.clone()),
            Self::Kind(provider) => Arc::new(provider.clone()),
            Self::Eks(provider) => Arc::new(provider.clone()),
            Self::Emulated(provider) => Arc::new(provider.clone()),
        }
    }

    /// Tells what a plan would cost, and, where somebody would have to pay it, goes on only if that person agrees.
    pub(crate) async fn agree(&self, plan: &Plan, options: &Options) -> Result<()> {
        match self {
            Self::Embedded(_) | Self::Kind(_) => Ok(()),
            Self::Eks(provider) => eks::agree(provider, plan, options).await,
            Self::Emulated(provider) => {
                eks::tell_cost(provider.eks(), plan);
                eprintln!("This is a simulation at {}: nothing of it is charged.\n", provider.endpoint());
                Ok(())
            }
        }
    }

    /// Tells what may be left of a run that failed, if that costs money.
    pub(crate) fn tell_failure(&self) {
        if let Self::Eks(_) = self {
            eprintln!(
                "What was made is still there and costs money. The same command goes on from there; with `--destroy` it removes everything."
            );
        }
    }

    /// Ends what runs in this process, once nothing is written any more.
    pub(crate) async fn stop(&self) {
        match self {
            Self::Embedded(provider) => provider.stop().await,
            Self::Emulated(provider) => provider.stop().await,
            Self::Kind(_) | Self::Eks(_) => {}
        }
    }

    /// Removes what is left of clusters that are gone.
    pub(crate) async fn clean_up(&self) -> Result<()> {
        match self {
            Self::Embedded(provider) => provider.remove_state_dir().await,
            Self::Kind(_) | Self::Eks(_) | Self::Emulated(_) => Ok(()),
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
