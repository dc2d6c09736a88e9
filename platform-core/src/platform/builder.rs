//! Putting a platform together.

use super::{Inner, Platform, PlatformSpec, apply::Rollouts};
use crate::{
    application::Application,
    clock::{Clock, SystemClock},
    cluster::ClusterProvider,
    component::{Component, ComponentSpec},
    environment::{ControlPlane, Environment},
    error::{Error, Result},
    execution::Executor,
    isolation::Isolation,
    name::{ComponentName, PlatformName},
    orchestrator::Orchestrator,
    telemetry::TelemetryPlane,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Puts a [`Platform`] together. Setters cannot fail; [`build`](Self::build) checks everything.
#[derive(Debug)]
pub struct PlatformBuilder {
    spec: PlatformSpec,
    components: Vec<Arc<dyn Component>>,
    provider: Option<Arc<dyn ClusterProvider>>,
    orchestrator: Option<Arc<dyn Orchestrator>>,
    telemetry: Option<Arc<dyn TelemetryPlane>>,
    clock: Arc<dyn Clock>,
    executor: Executor,
    ready_deadline: Duration,
}

impl PlatformBuilder {
    pub(super) fn new(spec: PlatformSpec) -> Self {
        Self {
            spec,
            components: Vec::new(),
            provider: None,
            orchestrator: None,
            telemetry: None,
            clock: Arc::new(SystemClock),
            executor: Executor::default(),
            ready_deadline: Duration::from_secs(300),
        }
    }

    /// Sets how environments are kept apart.
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.spec.isolation = isolation;
        self
    }

    /// Adds an environment; the order is that of promotion.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.spec.environments.push(environment);
        self
    }

    /// Sets the control plane.
    #[must_use]
    pub fn control_plane(mut self, control_plane: ControlPlane) -> Self {
        self.spec.control_plane = control_plane;
        self
    }

    /// Adds an application.
    #[must_use]
    pub fn application(mut self, application: Application) -> Self {
        self.spec.applications.push(application);
        self
    }

    /// Adds a component of the orchestrator's catalogue with its defaults.
    #[must_use]
    pub fn component_named(mut self, name: ComponentName) -> Self {
        self.spec.components.push(ComponentSpec::new(name));
        self
    }

    /// Adds a component.
    #[must_use]
    pub fn component(mut self, component: impl Component + 'static) -> Self {
        self.components.push(Arc::new(component));
        self
    }

    /// Sets where clusters come from. Needed.
    #[must_use]
    pub fn provider(mut self, provider: impl ClusterProvider + 'static) -> Self {
        self.provider = Some(Arc::new(provider));
        self
    }

    /// Sets where clusters come from, shared with somebody else.
    #[must_use]
    pub fn shared_provider(mut self, provider: Arc<dyn ClusterProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Sets what connects to clusters and renders for them. Needed.
    #[must_use]
    pub fn orchestrator(mut self, orchestrator: impl Orchestrator + 'static) -> Self {
        self.orchestrator = Some(Arc::new(orchestrator));
        self
    }

    /// Sets the telemetry of the platform. Default: none.
    #[must_use]
    pub fn telemetry(mut self, telemetry: Arc<dyn TelemetryPlane>) -> Self {
        self.telemetry = Some(telemetry);
        self
    }

    /// Sets what time it is. Default: the machine's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets what runs steps. Default: 16 at a time.
    #[must_use]
    pub fn executor(mut self, executor: Executor) -> Self {
        self.executor = executor;
        self
    }

    /// Sets how long what was applied may take to become ready. Default: 5 minutes.
    #[must_use]
    pub fn ready_deadline(mut self, deadline: Duration) -> Self {
        self.ready_deadline = deadline;
        self
    }

    /// Checks the spec and everything given, and makes the platform. Talks to nobody.
    pub fn build(self) -> Result<Platform> {
        self.spec.validate()?;
        let missing = |what: &str, setter: &str| {
            Error::invalid(format!("it has no {what}"))
                .subject(format!("platform {}", self.spec.name))
                .help(format!("give it one with `PlatformBuilder::{setter}`"))
        };
        let provider = self.provider.clone().ok_or_else(|| missing("cluster provider", "provider"))?;
        let orchestrator =
            self.orchestrator.clone().ok_or_else(|| missing("orchestrator", "orchestrator"))?;
        let mut components = self.components;
        for spec in &self.spec.components {
            components.push(orchestrator.component(spec)?);
        }
        let components = in_order(components, &self.spec.name)?;
        Ok(Platform(Arc::new(Inner {
            spec: self.spec,
            components,
            provider,
            orchestrator,
            telemetry: self.telemetry,
            clock: self.clock,
            executor: self.executor,
            ready_deadline: self.ready_deadline,
            connections: Mutex::default(),
            rollouts: Rollouts::default(),
        })))
    }
}

/// Components so that each comes after those it depends on; names must be unique, dependencies there and without a cycle.
fn in_order(components: Vec<Arc<dyn Component>>, platform: &PlatformName) -> Result<Vec<Arc<dyn Component>>> {
    let invalid = |message: String| Error::invalid(message).subject(format!("platform {platform}"));
    let names: BTreeSet<ComponentName> = components.iter().map(|c| c.name().clone()).collect();
    if names.len() < components.len() {
        let mut seen = BTreeSet::new();
        let twice = components.iter().map(|c| c.name()).find(|name| !seen.insert(*name));
        return Err(invalid(format!("component {} is there twice", twice.map_or("", |name| name.as_str()))));
    }
    let mut ordered: Vec<Arc<dyn Component>> = Vec::with_capacity(components.len());
    let mut waiting = components;
    while !waiting.is_empty() {
        let placed: BTreeSet<ComponentName> = ordered.iter().map(|c| c.name().clone()).collect();
        let (ready, rest): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|c| c.depends_on().iter().all(|name| placed.contains(name)));
        if ready.is_empty() {
            let described: Vec<String> = rest
                .iter()
                .map(|c| {
                    let missing: Vec<String> = c.depends_on().iter().map(ToString::to_string).collect();
                    format!("{} depends on {}", c.name(), missing.join(", "))
                })
                .collect();
            return Err(invalid(format!("components cannot be put in an order: {}", described.join("; "))));
        }
        ordered.extend(ready);
        waiting = rest;
    }
    Ok(ordered)
}
