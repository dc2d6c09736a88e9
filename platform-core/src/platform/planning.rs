//! From what is wanted and what there is to a plan.

use super::{
    Inner, Platform, READING,
    layout::{ClusterLayout, Layout},
    release::Releases,
    within,
};
use crate::{
    application::Application,
    cluster::{ApplyOptions, Cluster, ClusterChange, ClusterPhase, ObjectChange, ObjectDiff, SetOwner},
    component::{Component, ComponentTarget, SYSTEM_NAMESPACE},
    environment::Environment,
    error::{ErrorKind, Result},
    image::Image,
    manifest::{Manifest, ManifestSet, ObjectRef},
    name::{ClusterName, Namespace},
    orchestrator::Placement,
    plan::{ClusterPlan, Plan, SetPlan, SetSubject},
};
use futures::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;

/// How many clusters and sets are asked at the same time.
const CONCURRENCY: usize = 8;

impl Platform {
    /// What [`apply`](Self::apply) would do. Reads only: providers and clusters are asked, by dry run, and nothing is written.
    ///
    /// Fails if a provider or a running cluster does not answer, with [`Timeout`](ErrorKind::Timeout) after 2 minutes for each cluster: a plan
    /// that has not seen everything could promise what it does not hold.
    pub async fn plan(&self) -> Result<Plan> {
        let inner = &self.0;
        let layout = Layout::new(&inner.spec);
        let planned = stream::iter(layout.clusters().into_iter().map(|cluster| async move {
            let name = cluster.spec.name.clone();
            within(READING, "plan", format!("cluster {name}"), inner.plan_cluster(cluster)).await
        }))
        .buffered(CONCURRENCY)
        .try_collect::<Vec<(ClusterPlan, Vec<String>)>>()
        .await?;
        let (clusters, told): (Vec<ClusterPlan>, Vec<Vec<String>>) = planned.into_iter().unzip();
        let mut warnings =
            within(READING, "list clusters of", inner.provider.name(), inner.orphans(&clusters)).await?;
        warnings.extend(told.into_iter().flatten());
        let telemetry = inner.telemetry.as_ref();
        Ok(Plan {
            platform: inner.spec.name.clone(),
            provider: inner.provider.name().to_owned(),
            simulated: inner.provider.capabilities().simulated,
            isolation: inner.spec.isolation,
            warnings,
            clusters,
            telemetry: telemetry.map(|t| t.describe()).unwrap_or_default(),
            starts_telemetry: telemetry.is_some_and(|t| !t.is_running()),
        })
    }
}

impl Inner {
    /// What happens to a cluster and in it, and what its provider warns of.
    async fn plan_cluster(&self, layout: ClusterLayout) -> Result<(ClusterPlan, Vec<String>)> {
        let change = self.provider.plan(&layout.spec).await?;
        let warnings = match change {
            ClusterChange::Create => Vec::new(),
            ClusterChange::Unchanged | ClusterChange::Update { .. } | ClusterChange::Recreate { .. } => {
                self.provider.warnings(&layout.spec).await?
            }
        };
        let exists = match change {
            ClusterChange::Create => false,
            ClusterChange::Unchanged | ClusterChange::Update { .. } | ClusterChange::Recreate { .. } => {
                let status = self.provider.describe(&self.spec.name, &layout.spec.name).await?;
                status.is_some_and(|s| s.phase == ClusterPhase::Running)
            }
        };
        let cluster = if exists { Some(self.connect(&layout.spec.name).await?) } else { None };
        let mut sets = Vec::new();
        for (subject, set, after) in self.sets(&layout, cluster.as_deref()).await? {
            sets.push(SetPlan { subject, objects: Vec::new(), set: Some(set), after });
        }
        if let Some(cluster) = &cluster {
            self.compare(cluster, &mut sets).await?;
        } else {
            // What is in a cluster that does not run is known once it has been repaired.
            let change = if change == ClusterChange::Create {
                ObjectChange::Create
            } else {
                ObjectChange::KnownAfterApply
            };
            for plan in &mut sets {
                let references = plan.set.iter().flat_map(ManifestSet::references);
                plan.objects =
                    references.map(|object| ObjectDiff { object, change: change.clone() }).collect();
            }
        }
        Ok((ClusterPlan { spec: layout.spec, change, sets }, warnings))
    }

    /// Fills in what would happen to each object, and adds the sets that are there and no longer wanted.
    async fn compare(&self, cluster: &Arc<dyn Cluster>, sets: &mut Vec<SetPlan>) -> Result<()> {
        let options = self.apply_options();
        let there: Vec<&ManifestSet> = sets.iter().filter_map(|plan| plan.set.as_ref()).collect();
        let diffs = cluster.diff_all(&there, &options).await?;
        for (plan, objects) in sets.iter_mut().filter(|plan| plan.set.is_some()).zip(diffs) {
            plan.objects = objects;
        }
        let owner = SetOwner { platform: self.spec.name.clone() };
        for name in cluster.sets(&owner).await? {
            if !sets.iter().any(|plan| plan.name() == name) {
                let subject = SetSubject::Removed { set: name };
                sets.push(SetPlan { subject, set: None, objects: Vec::new(), after: Vec::new() });
            }
        }
        Ok(())
    }

    /// Everything wanted in a cluster: isolation, components, applications, each with the sets before it.
    pub(super) async fn sets(
        &self,
        layout: &ClusterLayout,
        cluster: Option<&dyn Cluster>,
    ) -> Result<Vec<(SetSubject, ManifestSet, Vec<String>)>> {
        let mut sets = Vec::new();
        for component in self.components_of(layout) {
            let subject = SetSubject::Component {
                component: component.name().clone(),
                version: component.version().to_owned(),
            };
            let after = component
                .depends_on()
                .into_iter()
                .filter(|name| self.components_of(layout).any(|c| c.name() == name))
                .map(|name| component_set_name(name.as_str()))
                .collect();
            sets.push((subject, self.component_set(component.as_ref(), layout)?, after));
        }
        for scope in &layout.environments {
            let environment = &scope.environment;
            let isolation = isolation_set_name(environment);
            let manifests = self.orchestrator.isolation(scope)?;
            let subject = SetSubject::Isolation { environment: environment.name.clone() };
            sets.push((subject, ManifestSet::new(&isolation, manifests)?, Vec::new()));
            for application in &self.spec.applications {
                let Some(deployment) = self.deployment(application, environment, cluster).await? else {
                    continue;
                };
                let subject = SetSubject::Application {
                    environment: environment.name.clone(),
                    application: application.name.clone(),
                    image: deployment.image,
                };
                sets.push((subject, deployment.set, vec![isolation.clone()]));
            }
        }
        Ok(sets)
    }

    pub(super) fn components_of(&self, layout: &ClusterLayout) -> impl Iterator<Item = &Arc<dyn Component>> {
        let role = layout.spec.role.clone();
        self.components.iter().filter(move |component| component.scope().includes(&role))
    }

    pub(super) fn component_set(
        &self,
        component: &dyn Component,
        layout: &ClusterLayout,
    ) -> Result<ManifestSet> {
        let namespace = Namespace::joined(SYSTEM_NAMESPACE);
        let target = ComponentTarget::new(
            self.spec.name.clone(),
            layout.spec.name.clone(),
            layout.spec.role.clone(),
            namespace,
        )
        .images(self.orchestrator.image_overrides());
        ManifestSet::new(component_set_name(component.name().as_str()), component.manifests(&target)?)
    }

    /// What of an application is wanted in an environment; nothing where only a promotion would bring it.
    async fn deployment(
        &self,
        application: &Application,
        environment: &Environment,
        cluster: Option<&dyn Cluster>,
    ) -> Result<Option<Deployment>> {
        let layout = Layout::new(&self.spec);
        if !layout.path(application).iter().any(|e| e.name == environment.name) {
            return Ok(None);
        }
        let placement = layout.placement(&application.name, environment);
        let releases = self.releases(application, &placement, cluster).await?;
        let image = if layout.deploys_on_apply(application, environment) {
            application.image.clone()
        } else {
            // Without a history, what runs stays: it must not be taken for something that is no longer wanted.
            let running = match (releases.current(), cluster) {
                (Some(image), _) => Some(image.clone()),
                (None, Some(cluster)) => self.running(application, &placement, cluster).await?,
                (None, None) => None,
            };
            match running {
                Some(image) => image,
                None => return Ok(None),
            }
        };
        let releases = releases.with(&image, self.clock.now());
        let set = self.application_set(application, &image, &placement, &releases)?;
        Ok(Some(Deployment { image, set }))
    }

    pub(super) fn application_set(
        &self,
        application: &Application,
        image: &Image,
        placement: &Placement,
        releases: &Releases,
    ) -> Result<ManifestSet> {
        let mut manifests: Vec<Manifest> = self.orchestrator.application(application, image, placement)?;
        manifests.push(releases.manifest(application, placement)?);
        ManifestSet::new(application_set_name(application, &placement.environment), manifests)
    }

    /// The releases of an application in an environment; none where there is no cluster yet.
    pub(super) async fn releases(
        &self,
        application: &Application,
        placement: &Placement,
        cluster: Option<&dyn Cluster>,
    ) -> Result<Releases> {
        let Some(cluster) = cluster else { return Ok(Releases::default()) };
        let reference: ObjectRef = Releases::reference(application, placement);
        Releases::read(cluster.get(&reference).await?.as_ref()).map_err(|e| {
            e.subject(format!("application {} in {}", application.name, placement.environment.name))
        })
    }

    /// Clusters of this platform that are no longer in its spec.
    async fn orphans(&self, wanted: &[ClusterPlan]) -> Result<Vec<String>> {
        let there = match self.provider.list(&self.spec.name).await {
            Ok(there) => there,
            Err(error) if error.kind() == ErrorKind::Unsupported => Vec::new(),
            Err(error) => return Err(error),
        };
        let unwanted = |name: &ClusterName| !wanted.iter().any(|cluster| cluster.spec.name == *name);
        Ok(there
            .into_iter()
            .filter(|status| unwanted(&status.name))
            .map(|status| {
                format!(
                    "cluster {} belongs to this platform but is no longer in its spec; it is left alone until the \
                     platform is destroyed",
                    status.name
                )
            })
            .collect())
    }

    pub(super) fn apply_options(&self) -> ApplyOptions {
        ApplyOptions::new(self.spec.name.clone())
    }
}

struct Deployment {
    image: Image,
    set: ManifestSet,
}

pub(super) fn isolation_set_name(environment: &Environment) -> String {
    format!("isolation.{}", environment.name)
}

fn component_set_name(component: &str) -> String {
    format!("component.{component}")
}

fn application_set_name(application: &Application, environment: &Environment) -> String {
    format!("application.{}.{}", environment.name, application.name)
}
