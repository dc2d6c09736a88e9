//! From a plan to a run.

use super::{Inner, Platform, layout::Layout};
use crate::{
    cluster::{ApplyReport, ClusterChange, ObjectOutcome},
    error::{Error, ErrorKind, Result},
    event::EventStream,
    execution::{Report, Run, Step, StepDone, StepGraph, StepId},
    manifest::{ManifestSet, ObjectRef},
    name::ClusterName,
    plan::{ClusterPlan, Plan, SetPlan, SetSubject},
    status::StatusSource,
    telemetry::{ClusterTopology, EnvironmentTopology, Topology},
};
use futures::FutureExt;
use serde::Serialize;
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

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
    /// Each step reads before it writes, so that a plan that has become old does no harm. Fails at once with
    /// [`Invalid`](ErrorKind::Invalid) for another platform's plan, and with [`Conflict`](ErrorKind::Conflict) for one with blocked changes.
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

    /// Stops the telemetry plane, so that a process that ends loses nothing. Clusters stay.
    pub async fn shutdown(&self) -> Result<()> {
        match &self.0.telemetry {
            Some(telemetry) => telemetry.stop().await,
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
                self.apply_step(id, format!("apply {subject}"), cluster.clone(), set.clone(), objects)
            }
            (subject, None) => {
                let subject = subject.to_string();
                Step::new(id, subject, |_| async { Ok(StepDone::unchanged("nothing to apply")) })
            }
        };
        step.after(after)
    }

    /// Applies a set and waits until it is ready.
    pub(super) fn apply_step(
        &self,
        id: StepId,
        description: String,
        cluster: ClusterName,
        set: ManifestSet,
        objects: &Arc<Mutex<ObjectCounts>>,
    ) -> Step {
        let deadline = self.0.ready_deadline;
        let (platform, objects, set) = (self.clone(), objects.clone(), Arc::new(set));
        Step::new(id, description, move |context| {
            let (platform, objects, set, name) =
                (platform.clone(), objects.clone(), set.clone(), cluster.clone());
            async move {
                let cluster = platform.0.connect(&name).await?;
                let report = cluster.apply(&set, &platform.0.apply_options()).await?;
                objects.lock().unwrap_or_else(PoisonError::into_inner).add(&report);
                let references: Vec<ObjectRef> = set.references();
                context.progress.report("waiting until it is ready");
                cluster.wait_ready(&references, deadline, &context.progress).await?;
                Ok(applied(&report))
            }
        })
        // The wait has its own deadline, whose error says what is missing; this one is the backstop.
        .deadline(deadline + Step::DEFAULT_DEADLINE)
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
            clusters.push(ClusterTopology { name, role: layout.spec.role, simulated, cluster });
        }
        let status: Arc<dyn StatusSource> = Arc::new(self.clone());
        Ok(Topology::new(inner.spec.name.clone(), environments, clusters, status))
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
                let status = provider.create(&spec, &context.progress).await?;
                let version = status.kubernetes_version.unwrap_or_default();
                Ok(StepDone::changed(format!(
                    "Kubernetes {version} at {}",
                    status.server.unwrap_or_default()
                )))
            }
        })
        .limit(creates.clone())
        // EKS takes up to a quarter of an hour for a control plane, and longer for node groups.
        .deadline(std::time::Duration::from_secs(45 * 60))
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
