//! How the platform is.

use super::{
    Inner, Platform,
    layout::{ClusterLayout, Layout},
    within,
};
use crate::{
    cluster::{Cluster, ClusterPhase, ObjectHealth, Readiness},
    error::Result,
    orchestrator::IsolationScope,
    status::{
        ApplicationStatus, ClusterReport, ComponentStatus, EnvironmentStatus, PlatformStatus, StatusSource,
    },
};
use async_trait::async_trait;
use futures::{
    Stream, StreamExt,
    future::{join, join_all},
    stream,
};
use std::time::Duration;

/// How long one answer of a provider or a cluster is waited for: someone is looking at the page.
const LOOKING: Duration = Duration::from_secs(15);

#[async_trait]
impl StatusSource for Platform {
    async fn status(&self) -> Result<PlatformStatus> {
        let inner = &self.0;
        let clusters = Layout::new(&inner.spec).clusters();
        let looked_at = join_all(clusters.iter().map(|layout| inner.look_at(layout))).await;
        let (reports, environments): (Vec<_>, Vec<_>) = looked_at.into_iter().unzip();
        Ok(PlatformStatus {
            at: inner.clock.now(),
            platform: inner.spec.name.clone(),
            provider: inner.provider.name().to_owned(),
            simulated: inner.provider.capabilities().simulated,
            isolation: inner.spec.isolation,
            environments: environments.into_iter().flatten().collect(),
            clusters: reports,
        })
    }
}

impl Platform {
    /// How it is: clusters, components, applications. What does not answer is part of the answer, after 15 seconds for each question: a cluster
    /// that hangs delays the answer by at most 45 seconds and does not spoil it. Reads only; dropping the future stops the reading.
    pub async fn status(&self) -> Result<PlatformStatus> {
        StatusSource::status(self).await
    }

    /// How it is now, and again whenever that has changed, looking every `interval`. Ends never; drop it.
    pub fn watch(&self, interval: Duration) -> impl Stream<Item = Result<PlatformStatus>> + Send + use<> {
        let state = (self.clone(), None::<PlatformStatus>, false);
        stream::unfold(state, move |(platform, last, mut wait)| async move {
            loop {
                if wait {
                    tokio::time::sleep(interval).await;
                }
                wait = true;
                match platform.status().await {
                    Ok(status) => {
                        let same = last
                            .as_ref()
                            .is_some_and(|last| *last == PlatformStatus { at: last.at, ..status.clone() });
                        if !same {
                            return Some((Ok(status.clone()), (platform, Some(status), true)));
                        }
                    }
                    Err(error) => return Some((Err(error), (platform, last, true))),
                }
            }
        })
        .boxed()
    }
}

impl Inner {
    async fn look_at(&self, layout: &ClusterLayout) -> (ClusterReport, Vec<EnvironmentStatus>) {
        let mut report = ClusterReport {
            name: layout.spec.name.clone(),
            role: layout.spec.role.clone(),
            phase: None,
            kubernetes_version: None,
            nodes: 0,
            server: None,
            message: String::new(),
            components: Vec::new(),
        };
        let name = &layout.spec.name;
        let describing = self.provider.describe(&self.spec.name, name);
        let mut cluster = None;
        match within(LOOKING, "describe", format!("cluster {name}"), describing).await {
            Ok(None) => {}
            Ok(Some(status)) => {
                report.phase = Some(status.phase);
                report.kubernetes_version = status.kubernetes_version;
                report.nodes = status.nodes;
                report.server = status.server;
                if status.phase == ClusterPhase::Running {
                    let connecting = self.connect(name);
                    match within(LOOKING, "connect to", format!("cluster {name}"), connecting).await {
                        Ok(connected) => cluster = Some(connected),
                        Err(error) => report.message = error.to_string(),
                    }
                }
            }
            Err(error) => report.message = error.to_string(),
        }
        let components = join_all(self.components_of(layout).map(|component| async {
            let health = match &cluster {
                Some(cluster) => {
                    let asking = self.component_health(component.as_ref(), layout, &**cluster);
                    within(LOOKING, "ask for the health of", component.name(), asking).await
                }
                None => Ok((Readiness::NotFound, String::new())),
            };
            let (readiness, message) = health.unwrap_or_else(|e| (Readiness::InProgress, e.to_string()));
            ComponentStatus {
                name: component.name().clone(),
                version: component.version().to_owned(),
                readiness,
                message,
            }
        }));
        let scopes = layout.environments.iter().map(|scope| self.environment(scope, cluster.as_deref()));
        let (components, environments) = join(components, join_all(scopes)).await;
        report.components = components;
        (report, environments)
    }

    async fn component_health(
        &self,
        component: &dyn crate::component::Component,
        layout: &ClusterLayout,
        cluster: &dyn Cluster,
    ) -> Result<(Readiness, String)> {
        let set = self.component_set(component, layout)?;
        Ok(worst(cluster.health(&set.references()).await?))
    }

    async fn environment(&self, scope: &IsolationScope, cluster: Option<&dyn Cluster>) -> EnvironmentStatus {
        let layout = Layout::new(&self.spec);
        let here =
            self.spec.applications.iter().filter(|application| {
                layout.path(application).iter().any(|e| e.name == scope.environment.name)
            });
        let applications = here.map(|application| async {
            let placement = layout.placement(&application.name, &scope.environment);
            let observed = match cluster {
                Some(cluster) => {
                    let observing = self.observe(application, &placement, cluster);
                    within(LOOKING, "observe", format!("application {}", application.name), observing).await
                }
                None => Ok((None, Readiness::NotFound, String::new())),
            };
            let (image, readiness, message) =
                observed.unwrap_or_else(|e| (None, Readiness::InProgress, e.to_string()));
            ApplicationStatus {
                name: application.name.clone(),
                namespace: placement.namespace,
                image,
                readiness,
                message,
            }
        });
        EnvironmentStatus {
            name: scope.environment.name.clone(),
            protected: scope.environment.protected,
            cluster: scope.cluster.clone(),
            applications: join_all(applications).await,
        }
    }
}

/// The readiness of the whole, and what is said of the first object that is not ready.
pub(super) fn worst(health: Vec<ObjectHealth>) -> (Readiness, String) {
    let worst = health
        .into_iter()
        .filter(|h| h.readiness != Readiness::Current)
        // Of equals the last is taken, which is to be the first.
        .rev()
        .max_by_key(|h| h.readiness)
        .map(|h| (h.readiness, format!("{}: {}", h.object, h.message)));
    worst.unwrap_or((Readiness::Current, String::new()))
}
