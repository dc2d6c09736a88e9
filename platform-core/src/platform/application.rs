//! Applications on their way: deploy, promote, roll back.

use super::{
    Applying, ObjectCounts, Platform, Release, apply::set_step_id, layout::Layout, release::Releases,
};
use crate::{
    application::{Application, Image},
    cluster::{Cluster, Readiness},
    environment::Environment,
    error::{Error, ErrorKind, Result},
    execution::StepGraph,
    name::{ApplicationName, EnvironmentName},
    orchestrator::Placement,
};
use std::sync::{Arc, Mutex};

impl Platform {
    /// Deploys `image` of an application to one of its environments, whatever its way.
    ///
    /// In the first environment of its way the spec has the last word: applying the platform brings the spec's image back.
    pub async fn deploy(
        &self,
        application: &ApplicationName,
        environment: &EnvironmentName,
        image: Image,
    ) -> Result<Applying> {
        let (application, placement) = self.find(application, environment, "deploy")?;
        let cluster = self.0.connect(&placement.cluster).await?;
        let releases = self.0.releases(application, &placement, Some(&*cluster)).await?;
        let releases = releases.with(&image, self.0.clock.now());
        self.roll_out(application, &image, &placement, &releases)
    }

    /// Deploys to `to` the image that runs in `from`.
    ///
    /// Refused unless the application is ready in `from`, and unless `to` comes after `from` on its way.
    pub async fn promote(
        &self,
        application: &ApplicationName,
        from: &EnvironmentName,
        to: &EnvironmentName,
    ) -> Result<Applying> {
        let (found, source) = self.find(application, from, "promote")?;
        let (_, target) = self.find(application, to, "promote")?;
        let path = Layout::new(&self.0.spec).path(found);
        let position = |name: &EnvironmentName| path.iter().position(|e| e.name == *name);
        let refused = |message: String| {
            Error::new(ErrorKind::Refused, message)
                .operation("promote")
                .subject(format!("{application} from {from} to {to}"))
        };
        if position(to) <= position(from) {
            let names: Vec<&str> = path.iter().map(|e| e.name.as_str()).collect();
            return Err(refused(format!(
                "{to} does not come after {from} on its way, which is {}",
                names.join(", ")
            )));
        }
        let cluster = self.0.connect(&source.cluster).await?;
        let (image, readiness, message) = self.0.observe(found, &source, &*cluster).await?;
        let Some(image) = image else {
            return Err(refused(format!("it is not deployed in {from}")));
        };
        if readiness != Readiness::Current {
            return Err(refused(format!("it is not ready in {from}: {readiness}, {message}")));
        }
        let cluster = self.0.connect(&target.cluster).await?;
        let releases =
            self.0.releases(found, &target, Some(&*cluster)).await?.with(&image, self.0.clock.now());
        self.roll_out(found, &image, &target, &releases)
    }

    /// Deploys the image that ran before the present one. Refused where there is none.
    pub async fn rollback(
        &self,
        application: &ApplicationName,
        environment: &EnvironmentName,
    ) -> Result<Applying> {
        let (application, placement) = self.find(application, environment, "roll back")?;
        let cluster = self.0.connect(&placement.cluster).await?;
        let releases = self.0.releases(application, &placement, Some(&*cluster)).await?;
        let Some(image) = releases.previous().cloned() else {
            return Err(Error::new(ErrorKind::Refused, "there is no release before the present one")
                .operation("roll back")
                .subject(format!("{} in {environment}", application.name)));
        };
        self.roll_out(application, &image, &placement, &releases.rolled_back())
    }

    /// The releases of an application in an environment, the latest first; at most 10 are remembered.
    pub async fn releases(
        &self,
        application: &ApplicationName,
        environment: &EnvironmentName,
    ) -> Result<Vec<Release>> {
        let (application, placement) = self.find(application, environment, "list the releases of")?;
        let cluster = self.0.connect(&placement.cluster).await?;
        Ok(self.0.releases(application, &placement, Some(&*cluster)).await?.all())
    }

    fn roll_out(
        &self,
        application: &Application,
        image: &Image,
        placement: &Placement,
        releases: &Releases,
    ) -> Result<Applying> {
        let set = self.0.application_set(application, image, placement, releases)?;
        let objects = Arc::new(Mutex::new(ObjectCounts::default()));
        let description = format!("deploy {image} to {}", placement.environment.name);
        let id = set_step_id(&placement.cluster, set.name());
        let step = self.apply_step(id, description, placement.cluster.clone(), set, &objects);
        Ok(Applying::start(&self.0, StepGraph::new(vec![step])?, objects))
    }

    /// An application of the spec at one of its environments.
    fn find(
        &self,
        application: &ApplicationName,
        environment: &EnvironmentName,
        operation: &str,
    ) -> Result<(&Application, Placement)> {
        let layout = Layout::new(&self.0.spec);
        let missing =
            |message: String| Error::not_found(message).operation(operation).subject(application.to_string());
        let found = self.0.spec.applications.iter().find(|a| a.name == *application).ok_or_else(|| {
            let known: Vec<&str> = self.0.spec.applications.iter().map(|a| a.name.as_str()).collect();
            missing(format!("the platform has no such application, it has {}", known.join(", ")))
        })?;
        let path: Vec<&Environment> = layout.path(found);
        let environment = path.iter().find(|e| e.name == *environment).ok_or_else(|| {
            let known: Vec<&str> = path.iter().map(|e| e.name.as_str()).collect();
            missing(format!("{environment} is not on its way, which is {}", known.join(", ")))
        })?;
        Ok((found, layout.placement(&found.name, environment)))
    }
}

impl super::Inner {
    /// What of an application really runs at a placement, and how it is.
    pub(super) async fn observe(
        &self,
        application: &Application,
        placement: &Placement,
        cluster: &dyn Cluster,
    ) -> Result<(Option<Image>, Readiness, String)> {
        // The image does not change which objects there are.
        let manifests = self.orchestrator.application(application, &application.image, placement)?;
        let mut image = None;
        for manifest in &manifests {
            if self.orchestrator.running_image(application, manifest.object()).is_some()
                && let Some(live) = cluster.get(manifest.reference()).await?
            {
                image = self.orchestrator.running_image(application, &live);
            }
        }
        if image.is_none() {
            return Ok((None, Readiness::NotFound, "not deployed".to_owned()));
        }
        let references: Vec<_> = manifests.iter().map(|m| m.reference().clone()).collect();
        let (readiness, message) = super::status::worst(cluster.health(&references).await?);
        Ok((image, readiness, message))
    }
}
