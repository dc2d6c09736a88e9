//! From a plan to a run.

use super::{Inner, Platform, STOPPING, application::Rollout, layout::Layout, release::Releases, within};
use crate::{
    application::Application,
    cluster::{ApplyReport, Cluster, ClusterChange, ObjectOutcome},
    error::{Error, ErrorKind, Result},
    event::EventStream,
    execution::{Report, Run, Step, StepDone, StepGraph, StepId},
    manifest::{ManifestSet, ObjectRef},
    name::{ApplicationName, ClusterName, Namespace},
    orchestrator::Placement,
    plan::{ClusterPlan, Plan, SetPlan, SetSubject},
    status::StatusSource,
    telemetry::{ClusterTopology, EnvironmentTopology, Topology},
};
use futures::FutureExt;
use serde::Serialize;
use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, Semaphore};
use tokio_util::sync::CancellationToken;

/// How long making or deleting a cluster may take: EKS needs up to a quarter of an hour for a control plane, and longer for node groups.
pub(super) const CLUSTER_DEADLINE: Duration = Duration::from_secs(45 * 60);

/// How many objects had which fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ObjectCounts {
    /// Created.
    pub created: usize,
    /// Changed.
    pub configured: usize,
    /// As wanted already.
    pub unchanged: usize,
    /// Deleted, since no longer wanted.
    pub pruned: usize,
}

impl ObjectCounts {
    /// How many were written.
    pub fn written(&self) -> usize {
        self.created + self.configured + self.pruned
    }

    fn add(&mut self, report: &ApplyReport) {
        self.created += report.count(ObjectOutcome::Created);
        self.configured += report.count(ObjectOutcome::Configured);
        self.unchanged += report.count(ObjectOutcome::Unchanged);
        self.pruned += report.count(ObjectOutcome::Pruned);
    }
}

/// What applying did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Applied {
    /// The steps.
    pub report: Report,
    /// The objects.
    pub objects: ObjectCounts,
}

/// A plan being applied. Await it for what it did, or for an error that says what failed; dropping it cancels it.
///
/// # Cancel safety
/// Cancelling leaves what was done; planning and applying again goes on from there.
#[derive(Debug)]
#[must_use = "applying stops when this is dropped"]
pub struct Applying {
    run: Run,
    objects: Arc<Mutex<ObjectCounts>>,
}

impl Applying {
    pub(super) fn start(inner: &Inner, graph: StepGraph, objects: Arc<Mutex<ObjectCounts>>) -> Self {
        Self { run: inner.executor.start(graph), objects }
    }

    /// What happens; ask before awaiting to get everything from the start.
    pub fn events(&mut self) -> EventStream {
        self.run.events()
    }

    /// Stops it.
    pub fn cancel(&self) {
        self.run.cancel();
    }

    /// A token that stops it, for a signal handler.
    pub fn cancellation(&self) -> CancellationToken {
        self.run.cancellation()
    }
}

impl Future for Applying {
    type Output = Result<Applied>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let report = ready!(self.run.poll_unpin(context));
        let objects = *self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        Poll::Ready(report.into_result().map(|report| Applied { report, objects }))
    }
}

impl Platform {
    /// Applies a plan: clusters, in them components, isolation and applications, and the telemetry plane.
    ///
    /// Each step reads before it writes, so that a plan that has become old does no harm: a cluster that vanished is created again,
    /// and an application that was promoted or rolled back meanwhile is left alone, its step failing with [`Conflict`](ErrorKind::Conflict).
    /// Like [`Executor::start`](crate::execution::Executor::start), it has to be called within a tokio runtime.
    ///
    /// Fails at once with [`Invalid`](ErrorKind::Invalid) for another platform's plan, and with [`Conflict`](ErrorKind::Conflict) for one
    /// with blocked changes.
    pub fn apply(&self, plan: &Plan) -> Result<Applying> {
        let inner = &self.0;
        if plan.platform != inner.spec.name {
            return Err(Error::invalid(format!("the plan is that of platform {}", plan.platform))
                .operation("apply")
                .subject(format!("platform {}", inner.spec.name)));
        }
        if plan.summary().blocked > 0 {
            return Err(Error::new(ErrorKind::Conflict, "something stands in its way")
                .operation("apply")
                .subject(format!("platform {}", inner.spec.name))
                .help("the plan marks with `!` what must be recreated or is owned by somebody else"));
        }
        let objects = Arc::new(Mutex::new(ObjectCounts::default()));
        let creates = Arc::new(Semaphore::new(inner.provider.capabilities().parallel_creates.max(1)));
        let mut steps = Vec::new();
        for cluster in &plan.clusters {
            steps.push(inner.cluster_step(self, cluster, &creates));
            for set in &cluster.sets {
                steps.push(self.set_step(&cluster.spec.name, set, &objects));
            }
        }
        if inner.telemetry.is_some() {
            let clusters = plan.clusters.iter().map(|c| cluster_step_id(&c.spec.name));
            steps.push(self.telemetry_step().after(clusters));
        }
        Ok(Applying::start(inner, StepGraph::new(steps)?, objects))
    }

    /// Stops the telemetry plane, so that a process that ends loses nothing. Clusters stay. Idempotent; ends after 2 minutes at the latest.
    pub async fn shutdown(&self) -> Result<()> {
        match &self.0.telemetry {
            Some(telemetry) => within(STOPPING, "stop", "telemetry", telemetry.stop()).await,
            None => Ok(()),
        }
    }

    fn set_step(&self, cluster: &ClusterName, plan: &SetPlan, objects: &Arc<Mutex<ObjectCounts>>) -> Step {
        let id = set_step_id(cluster, plan.name());
        let after = std::iter::once(cluster_step_id(cluster))
            .chain(plan.after.iter().map(|set| set_step_id(cluster, set)));
        let step = match (&plan.subject, &plan.set) {
            (SetSubject::Removed { set }, _) => self.remove_step(id, cluster.clone(), set.clone(), objects),
            (subject, Some(set)) => {
                let source = self.source(subject, set);
                self.apply_step(id, format!("apply {subject}"), cluster.clone(), source, objects)
            }
            (subject, None) => {
                let subject = subject.to_string();
                Step::new(id, subject, |_| async { Ok(StepDone::unchanged("nothing to apply")) })
            }
        };
        step.after(after)
    }

    /// Where the set of a plan comes from once it is applied.
    fn source(&self, subject: &SetSubject, set: &ManifestSet) -> SetSource {
        let spec = &self.0.spec;
        if let SetSubject::Application { environment, application, image } = subject
            && let Some(application) = spec.applications.iter().find(|a| a.name == *application)
            && let Some(environment) = spec.environments.iter().find(|e| e.name == *environment)
        {
            let layout = Layout::new(spec);
            let rollout = if layout.deploys_on_apply(application, environment) {
                Rollout::To(image.clone())
            } else {
                Rollout::Present(image.clone())
            };
            return SetSource::Rollout {
                application: Box::new(application.clone()),
                placement: Box::new(layout.placement(&application.name, environment)),
                rollout,
                planned: Some(set.clone()),
            };
        }
        SetSource::Planned(set.clone())
    }

    /// Applies a set and waits until it is ready.
    pub(super) fn apply_step(
        &self,
        id: StepId,
        description: String,
        cluster: ClusterName,
        source: SetSource,
        objects: &Arc<Mutex<ObjectCounts>>,
    ) -> Step {
        let deadline = self.0.ready_deadline;
        let (platform, objects, source) = (self.clone(), objects.clone(), Arc::new(source));
        Step::new(id, description, move |context| {
            let (platform, objects, source, name) =
                (platform.clone(), objects.clone(), source.clone(), cluster.clone());
            async move {
                let cluster = platform.0.connect(&name).await?;
                let (set, report) = {
                    // From reading the history until it is written. Not while waiting: what does not start must be rolled back.
                    let _alone = platform.0.rollouts.lock(&source).await;
                    let set = source.read(&platform.0, &*cluster).await?;
                    let report = cluster.apply(&set, &platform.0.apply_options()).await?;
                    (set, report)
                };
                objects.lock().unwrap_or_else(PoisonError::into_inner).add(&report);
                let references: Vec<ObjectRef> = set.references();
                context.progress.report("waiting until it is ready");
                cluster.wait_ready(&references, deadline, &context.progress).await?;
                Ok(applied(&report))
            }
        })
        // The wait has its own deadline, whose error says what is missing; this one is the backstop.
        .deadline(deadline.saturating_add(Step::DEFAULT_DEADLINE))
    }

    fn remove_step(
        &self,
        id: StepId,
        cluster: ClusterName,
        set: String,
        objects: &Arc<Mutex<ObjectCounts>>,
    ) -> Step {
        let (platform, objects) = (self.clone(), objects.clone());
        Step::new(id, format!("remove {set}"), move |_| {
            let (platform, objects, set, name) =
                (platform.clone(), objects.clone(), set.clone(), cluster.clone());
            async move {
                let cluster = platform.0.connect(&name).await?;
                let report = cluster.delete_set(&set, &platform.0.apply_options()).await?;
                objects.lock().unwrap_or_else(PoisonError::into_inner).pruned += report.deleted.len();
                let left: Vec<String> =
                    report.left.iter().map(|(object, why)| format!("{object}: {why}")).collect();
                let message = if left.is_empty() {
                    format!("deleted {} objects", report.deleted.len())
                } else {
                    format!("deleted {} objects, left {}", report.deleted.len(), left.join("; "))
                };
                Ok(StepDone::changed(message))
            }
        })
    }

    fn telemetry_step(&self) -> Step {
        let platform = self.clone();
        Step::new("telemetry", "start telemetry", move |context| {
            let platform = platform.clone();
            async move {
                let Some(telemetry) = &platform.0.telemetry else { return Ok(StepDone::unchanged("none")) };
                let started = telemetry.start(platform.topology().await?, &context.progress).await?;
                let endpoints = telemetry.summary().await?.endpoints;
                let urls: Vec<String> =
                    endpoints.iter().map(|e| format!("{} at {}", e.name, e.url)).collect();
                Ok(StepDone { changed: started, message: urls.join(", ") })
            }
        })
    }

    async fn topology(&self) -> Result<Topology> {
        let inner = &self.0;
        let simulated = inner.provider.capabilities().simulated;
        let mut clusters = Vec::new();
        let mut environments = Vec::new();
        for layout in Layout::new(&inner.spec).clusters() {
            let name = layout.spec.name.clone();
            let cluster = inner.connect(&name).await?;
            environments.extend(layout.environments.iter().map(|scope| EnvironmentTopology {
                name: scope.environment.name.clone(),
                cluster: name.clone(),
                namespaces: scope.namespaces.iter().map(|(n, _)| n.to_string()).collect(),
            }));
            let role = layout.spec.role;
            let installed = inner.components.iter().filter(|component| component.scope().includes(&role));
            let components = installed.map(|component| component.name().clone()).collect();
            clusters.push(ClusterTopology { name, role, simulated, components, cluster });
        }
        let status: Arc<dyn StatusSource> = Arc::new(self.clone());
        Ok(Topology::new(inner.spec.name.clone(), environments, clusters, status))
    }
}

/// Where a set comes from when it is applied.
#[derive(Debug)]
pub(super) enum SetSource {
    /// From the plan.
    Planned(ManifestSet),
    /// An application with its history of releases, which may have changed since the plan and is read again.
    Rollout {
        application: Box<Application>,
        placement: Box<Placement>,
        rollout: Rollout,
        /// As it was planned; `None`: it is rendered.
        planned: Option<ManifestSet>,
    },
}

impl SetSource {
    async fn read(&self, inner: &Inner, cluster: &dyn Cluster) -> Result<ManifestSet> {
        let (application, placement, rollout, planned) = match self {
            Self::Planned(set) => return Ok(set.clone()),
            Self::Rollout { application, placement, rollout, planned } => {
                (application, placement, rollout, planned)
            }
        };
        let releases = inner.releases(application, placement, Some(cluster)).await?;
        let releases = rollout.write_into(releases, inner.clock.now())?;
        let Some(planned) = planned else {
            return inner.application_set(application, rollout.image(), placement, &releases);
        };
        let history = Releases::reference(application, placement);
        let mut manifests: Vec<_> =
            planned.manifests().iter().filter(|m| *m.reference() != history).cloned().collect();
        manifests.push(releases.manifest(application, placement)?);
        ManifestSet::new(planned.name(), manifests)
    }
}

/// Where a history of releases is.
type Place = (ClusterName, Namespace, ApplicationName);

/// Lets those who write the same history of releases do so one after the other.
#[derive(Debug, Default)]
pub(super) struct Rollouts(Mutex<HashMap<Place, Arc<AsyncMutex<()>>>>);

impl Rollouts {
    async fn lock(&self, source: &SetSource) -> Option<OwnedMutexGuard<()>> {
        let SetSource::Rollout { application, placement, .. } = source else { return None };
        let key = (placement.cluster.clone(), placement.namespace.clone(), application.name.clone());
        let turn = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        Some(turn.lock_owned().await)
    }
}

impl Inner {
    fn cluster_step(&self, platform: &Platform, plan: &ClusterPlan, creates: &Arc<Semaphore>) -> Step {
        let verb = match plan.change {
            ClusterChange::Create => "create",
            ClusterChange::Update { .. } => "update",
            ClusterChange::Unchanged | ClusterChange::Recreate { .. } => "check",
        };
        let description = format!("{verb} cluster {} on {}", plan.spec.name, self.provider.name());
        let (platform, spec) = (platform.clone(), plan.spec.clone());
        Step::new(cluster_step_id(&plan.spec.name), description, move |context| {
            let (platform, spec) = (platform.clone(), spec.clone());
            async move {
                let provider = &platform.0.provider;
                let change = provider.plan(&spec).await?;
                if change == ClusterChange::Unchanged {
                    return Ok(StepDone::unchanged("it is as wanted"));
                }
                if change == ClusterChange::Create {
                    provider.preflight().await?;
                }
                let status = provider.create(&spec, &context.progress).await?;
                let version = status.kubernetes_version.unwrap_or_default();
                Ok(StepDone::changed(format!(
                    "Kubernetes {version} at {}",
                    status.server.unwrap_or_default()
                )))
            }
        })
        .limit(creates.clone())
        .deadline(CLUSTER_DEADLINE)
    }
}

fn applied(report: &ApplyReport) -> StepDone {
    let parts: Vec<String> = [
        (ObjectOutcome::Created, "created"),
        (ObjectOutcome::Configured, "changed"),
        (ObjectOutcome::Unchanged, "unchanged"),
        (ObjectOutcome::Pruned, "deleted"),
    ]
    .into_iter()
    .map(|(outcome, word)| (report.count(outcome), word))
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
    .collect();
    StepDone { changed: report.wrote(), message: parts.join(", ") }
}

fn cluster_step_id(cluster: &ClusterName) -> StepId {
    StepId::new(format!("cluster/{cluster}"))
}

pub(super) fn set_step_id(cluster: &ClusterName, set: &str) -> StepId {
    StepId::new(format!("{cluster}/{set}"))
}
