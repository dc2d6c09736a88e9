//! Taking a platform down.

use super::{Applying, ObjectCounts, Platform};
use crate::{
    cluster::Deletion,
    error::{Error, ErrorKind, Result},
    execution::{Step, StepDone, StepGraph},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

/// What is to be destroyed, by name: the platform, and each of its protected environments.
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

    /// Confirms a protected environment too.
    #[must_use]
    pub fn including(mut self, environment: impl Into<String>) -> Self {
        self.environments.insert(environment.into());
        self
    }

    /// Reads what a person typed: the platform's name, then those of protected environments, separated by spaces.
    pub fn parse(text: &str) -> Self {
        let mut words = text.split_whitespace().map(str::to_owned);
        Self { platform: words.next().unwrap_or_default(), environments: words.collect() }
    }
}

impl Platform {
    /// What [`destroy`](Self::destroy) asks to be confirmed, as a person would type it.
    pub fn confirmation_text(&self) -> String {
        let protected = self.0.spec.environments.iter().filter(|e| e.protected).map(|e| e.name.as_str());
        let words: Vec<&str> = std::iter::once(self.0.spec.name.as_str()).chain(protected).collect();
        words.join(" ")
    }

    /// Deletes everything that is the platform's: telemetry with its data, and all clusters that bear its mark, those that are
    /// no longer in its spec included. What is not there is fine.
    ///
    /// Fails at once with [`Refused`](ErrorKind::Refused) if `confirmation` does not name the platform and every protected environment.
    pub async fn destroy(&self, confirmation: &Confirmation) -> Result<Applying> {
        let inner = &self.0;
        let wanted = Confirmation::parse(&self.confirmation_text());
        if confirmation.platform != wanted.platform
            || !confirmation.environments.is_superset(&wanted.environments)
        {
            return Err(Error::new(
                ErrorKind::Refused,
                "the confirmation does not name everything that would be lost",
            )
            .operation("destroy")
            .subject(format!("platform {}", inner.spec.name))
            .help(format!("confirm with {:?}", self.confirmation_text())));
        }
        let mut steps = Vec::new();
        if let Some(telemetry) = &inner.telemetry {
            let telemetry = telemetry.clone();
            steps.push(Step::new("telemetry", "stop telemetry and delete its data", move |_| {
                let telemetry = telemetry.clone();
                async move { telemetry.destroy().await.map(|()| StepDone::changed("deleted")) }
            }));
        }
        for status in inner.provider.list(&inner.spec.name).await? {
            let platform = self.clone();
            let description = format!("delete cluster {}", status.name);
            let step = Step::new(format!("cluster/{}", status.name), description, move |context| {
                let (platform, name) = (platform.clone(), status.name.clone());
                async move {
                    let provider = &platform.0.provider;
                    match provider.delete(&platform.0.spec.name, &name, &context.progress).await? {
                        Deletion::Deleted => Ok(StepDone::changed("deleted")),
                        Deletion::Absent => Ok(StepDone::unchanged("it was not there")),
                    }
                }
            });
            // Telemetry watches the clusters: it goes first, so that it does not see them vanish.
            steps.push(if inner.telemetry.is_some() { step.after(["telemetry"]) } else { step });
        }
        let objects = Arc::new(Mutex::new(ObjectCounts::default()));
        Ok(Applying::start(inner, StepGraph::new(steps)?, objects))
    }
}
