//! Proving that environments are kept apart.

use super::{Platform, layout::Layout, within};
use crate::{
    error::{Error, ErrorKind, Result},
    event::Progress,
    isolation::IsolationReport,
    orchestrator::IsolatedCluster,
};
use std::time::Duration;

/// How long everything may take, the images of probes included.
const VERIFYING: Duration = Duration::from_secs(600);

impl Platform {
    /// Tries to cross every border between its environments, on the live clusters, and says of each attempt what stopped it and what did not.
    ///
    /// It acts as a principal of each environment, with a short-lived token of the account that deploys there: reads, writes and deletes in other environments,
    /// reads their secrets, connects to their pods and Services, exceeds its quota, binds roles, acts as others, runs pods that reach their node, removes
    /// its own limits, and deletes what is protected. Each is tried really; by dry run where that gives the same answer. Controls
    /// show that what was stopped could have worked. Probes run in the environments for some seconds where workloads are not simulated.
    ///
    /// Fails with [`NotFound`](ErrorKind::NotFound) while a cluster does not exist, and with [`Timeout`](ErrorKind::Timeout) after 10 minutes.
    ///
    /// # Cancel safety
    /// Dropping the future leaves probes behind, which end by themselves after 5 minutes and are removed by the next call.
    pub async fn verify(&self) -> Result<IsolationReport> {
        self.verify_with(&Progress::silent()).await
    }

    /// Like [`verify`](Self::verify), telling `progress` what is being tried.
    pub async fn verify_with(&self, progress: &Progress) -> Result<IsolationReport> {
        let inner = &self.0;
        let simulated = inner.provider.capabilities().simulated;
        let trying = async {
            let mut clusters = Vec::new();
            for layout in Layout::new(&inner.spec).clusters() {
                let name = &layout.spec.name;
                let access = inner.provider.access(&inner.spec.name, name).await;
                let access = access.map_err(|error| match error.kind() {
                    ErrorKind::NotFound => error.help("apply the platform first"),
                    _ => error,
                })?;
                clusters.push(IsolatedCluster::new(access, layout.environments, simulated));
            }
            inner.orchestrator.try_isolation(&clusters, progress).await
        };
        let subject = format!("the isolation of platform {}", inner.spec.name);
        let attempts = within(VERIFYING, "verify", &subject, trying)
            .await
            .map_err(|e: Error| e.operation("verify").subject(subject.clone()))?;
        Ok(IsolationReport {
            platform: inner.spec.name.clone(),
            provider: inner.provider.name().to_owned(),
            simulated,
            isolation: inner.spec.isolation,
            attempts,
        })
    }
}
