//! Taking a platform down.

use super::{Applying, ObjectCounts, Platform, READING, apply::CLUSTER_DEADLINE, load_balancers, within};
use crate::{
    cluster::{ClusterPhase, Deletion},
    error::{Error, ErrorKind, Result},
    execution::{Step, StepDone, StepGraph},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

/// What is to be destroyed, by name: the platform, each of its protected environments, and each of its clusters that is no longer in its spec.
///
/// ```
/// use platform_core::Confirmation;
///
/// let typed_by_a_person = Confirmation::parse("shop production");
/// assert_eq!(typed_by_a_person, Confirmation::new("shop").including("production"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    platform: String,
    environments: BTreeSet<String>,
}

impl Confirmation {
    /// Confirms that the platform of this name is to be destroyed.
    pub fn new(platform: impl Into<String>) -> Self {
        Self { platform: platform.into(), environments: BTreeSet::new() }
    }

    /// Confirms a protected environment, or a cluster that is no longer in the spec, too.
    #[must_use]
    pub fn including(mut self, environment: impl Into<String>) -> Self {
        self.environments.insert(environment.into());
        self
    }

    /// Reads what a person typed: the platform's name, then those of protected environments and of clusters that left the spec, separated by spaces.
    pub fn parse(text: &str) -> Self {
        let mut words = text.split_whitespace().map(str::to_owned);
        Self { platform: words.next().unwrap_or_default(), environments: words.collect() }
    }
}

impl Platform {
    /// What [`destroy`](Self::destroy) asks to be confirmed by the spec, as a person would type it. Of clusters that are no longer in the spec only
    /// the provider knows; where there are some, `destroy` refuses and names them.
    pub fn confirmation_text(&self) -> String {
        let protected = self.0.spec.environments.iter().filter(|e| e.protected).map(|e| e.name.as_str());
        let words: Vec<&str> = std::iter::once(self.0.spec.name.as_str()).chain(protected).collect();
        words.join(" ")
    }

    /// Deletes everything that is the platform's: telemetry with its data, and all clusters that bear its mark, those that are
    /// no longer in its spec included. What is not there is fine.
    ///
    /// Fails at once with [`Refused`](ErrorKind::Refused) if `confirmation` does not name the platform, every protected environment and every
    /// cluster that is no longer in the spec, of which nobody knows any more whether it was protected. Clusters are deleted
    /// even if the telemetry cannot be, which is then told in the error. Where a provider [says](crate::cluster::ProviderCapabilities) that its clusters have
    /// load balancers outside of them, what made these is deleted first, for some minutes at most; what stays is told by its step and stops nothing.
    pub async fn destroy(&self, confirmation: &Confirmation) -> Result<Applying> {
        let inner = &self.0;
        let listing = inner.provider.list(&inner.spec.name);
        let there = within(READING, "list clusters of", inner.provider.name(), listing).await?;
        let known = self.cluster_names();
        let unknown = there.iter().map(|status| &status.name).filter(|name| !known.contains(name));
        let text = unknown.fold(self.confirmation_text(), |text, name| format!("{text} {name}"));
        let wanted = Confirmation::parse(&text);
        if confirmation.platform != wanted.platform
            || !confirmation.environments.is_superset(&wanted.environments)
        {
            return Err(Error::new(
                ErrorKind::Refused,
                "the confirmation does not name everything that would be lost",
            )
            .operation("destroy")
            .subject(format!("platform {}", inner.spec.name))
            .help(format!("confirm with {text:?}")));
        }
        let mut steps = Vec::new();
        if let Some(telemetry) = &inner.telemetry {
            let telemetry = telemetry.clone();
            steps.push(Step::new("telemetry", "stop telemetry and delete its data", move |_| {
                let telemetry = telemetry.clone();
                async move { telemetry.destroy().await.map(|()| StepDone::changed("deleted")) }
            }));
        }
        let releases = inner.provider.capabilities().external_load_balancers;
        for status in there {
            // Telemetry watches the clusters: it goes first, so that it does not see them vanish. Clusters cost money: they go in any case.
            let mut before: Vec<String> = inner.telemetry.iter().map(|_| "telemetry".to_owned()).collect();
            if releases && status.phase == ClusterPhase::Running {
                let step = load_balancers::step(self, &status.name).after_end(std::mem::take(&mut before));
                before.push(load_balancers::step_id(&status.name));
                steps.push(step);
            }
            let platform = self.clone();
            let description = format!("delete cluster {}", status.name);
            let step = Step::new(format!("cluster/{}", status.name), description, move |context| {
                let (platform, name) = (platform.clone(), status.name.clone());
                async move {
                    let provider = &platform.0.provider;
                    let deletion = provider.delete(&platform.0.spec.name, &name, &context.progress).await?;
                    platform.0.connections().remove(&name);
                    match deletion {
                        Deletion::Deleted => Ok(StepDone::changed("deleted")),
                        Deletion::Absent => Ok(StepDone::unchanged("it was not there")),
                    }
                }
            });
            steps.push(step.deadline(CLUSTER_DEADLINE).after_end(before));
        }
        let objects = Arc::new(Mutex::new(ObjectCounts::default()));
        Ok(Applying::start(inner, StepGraph::new(steps)?, objects))
    }
}
