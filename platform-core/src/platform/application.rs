//! Applications on their way: deploy, promote, roll back.

use super::{
    Applying, ObjectCounts, Platform, READING, Release,
    apply::{SetSource, set_step_id},
    layout::Layout,
    release::Releases,
    within,
};
use crate::{
    application::Application,
    clock::Timestamp,
    cluster::{Cluster, Readiness},
    environment::Environment,
    error::{Error, ErrorKind, Result},
    execution::StepGraph,
    image::Image,
    name::{ApplicationName, EnvironmentName},
    orchestrator::Placement,
};
use std::sync::{Arc, Mutex};

impl Platform {
    /// Deploys `image` of an application to one of its environments, whatever its way.
    ///
    /// In the first environment of its way the spec has the last word: applying the platform brings the spec's image back.
    /// Nothing is written before the answer; the history of releases is read again when the step runs, so that calls of one
    /// `Platform` and its clones at the same time all stay in it. Of calls in several processes the last one wins.
    ///
    /// Fails with [`NotFound`](ErrorKind::NotFound) for an application or environment that the spec does not have, or a cluster that
    /// does not exist.
    pub async fn deploy(
        &self,
        application: &ApplicationName,
        environment: &EnvironmentName,
        image: Image,
    ) -> Result<Applying> {
        let (application, placement) = self.find(application, environment, "deploy")?;
        self.reach(application, &placement, "deploy").await?;
        self.roll_out(application, &placement, Rollout::To(image))
    }

    /// Deploys to `to` the image that runs in `from`.
    ///
    /// Refused unless the application is ready in `from`, and unless `to` comes after `from` on its way. Fails with
    /// [`NotFound`](ErrorKind::NotFound) where a cluster of the two does not exist.
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
        let cluster = self.reach(found, &source, "promote").await?;
        self.reach(found, &target, "promote").await?;
        let observing = self.0.observe(found, &source, &*cluster);
        let (image, readiness, message) = within(READING, "observe", &source.cluster, observing).await?;
        let Some(image) = image else {
            return Err(refused(format!("it is not deployed in {from}")));
        };
        if readiness != Readiness::Current {
            return Err(refused(format!("it is not ready in {from}: {readiness}, {message}")));
        }
        self.roll_out(found, &target, Rollout::To(image))
    }

    /// Deploys the image that ran before the present one. [`Refused`](ErrorKind::Refused) where there is none.
    ///
    /// The present release leaves the history: a second rollback goes one further back. One whose history has changed by the time it runs
    /// fails with [`Conflict`](ErrorKind::Conflict).
    pub async fn rollback(
        &self,
        application: &ApplicationName,
        environment: &EnvironmentName,
    ) -> Result<Applying> {
        let (application, placement) = self.find(application, environment, "roll back")?;
        let cluster = self.reach(application, &placement, "roll back").await?;
        let reading = self.0.releases(application, &placement, Some(&*cluster));
        let releases = within(READING, "read the releases of", &placement.cluster, reading).await?;
        let Some(image) = releases.previous().cloned() else {
            return Err(Error::new(ErrorKind::Refused, "there is no release before the present one")
                .operation("roll back")
                .subject(format!("{} in {environment}", application.name)));
        };
        self.roll_out(application, &placement, Rollout::Back(image))
    }

    /// The releases of an application in an environment, the latest first; at most 10 are remembered.
    ///
    /// Fails with [`Corrupt`](ErrorKind::Corrupt) for a history that is not readable.
    pub async fn releases(
        &self,
        application: &ApplicationName,
        environment: &EnvironmentName,
    ) -> Result<Vec<Release>> {
        let (application, placement) = self.find(application, environment, "list the releases of")?;
        let cluster = self.reach(application, &placement, "list the releases of").await?;
        let reading = self.0.releases(application, &placement, Some(&*cluster));
        Ok(within(READING, "read the releases of", &placement.cluster, reading).await?.all())
    }

    /// A handle of the cluster of a placement.
    async fn reach(
        &self,
        application: &Application,
        placement: &Placement,
        operation: &str,
    ) -> Result<Arc<dyn Cluster>> {
        let connecting = self.0.connect(&placement.cluster);
        within(READING, "connect to", &placement.cluster, connecting).await.map_err(|error| {
            if error.kind() != ErrorKind::NotFound {
                return error;
            }
            Error::not_found(format!("its cluster {} does not exist", placement.cluster))
                .operation(operation)
                .subject(format!("{} in {}", application.name, placement.environment.name))
                .help("apply the platform first")
        })
    }

    fn roll_out(
        &self,
        application: &Application,
        placement: &Placement,
        rollout: Rollout,
    ) -> Result<Applying> {
        let image = rollout.image();
        // Rendered here for its name, and so that what cannot be rendered fails before anything is begun.
        let set = self.0.application_set(application, image, placement, &Releases::default())?;
        let objects = Arc::new(Mutex::new(ObjectCounts::default()));
        let description = format!("deploy {image} to {}", placement.environment.name);
        let id = set_step_id(&placement.cluster, set.name());
        let source = SetSource::Rollout {
            application: Box::new(application.clone()),
            placement: Box::new(placement.clone()),
            rollout,
            planned: None,
        };
        let step = self.apply_step(id, description, placement.cluster.clone(), source, &objects);
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

/// Which image is to run, and what that means for the history of releases.
#[derive(Debug, Clone)]
pub(super) enum Rollout {
    /// This one, as a new release.
    To(Image),
    /// The one before the present one, which is to be this.
    Back(Image),
    /// The one that runs, which is to be this.
    Present(Image),
}

impl Rollout {
    pub(super) fn image(&self) -> &Image {
        match self {
            Self::To(image) | Self::Back(image) | Self::Present(image) => image,
        }
    }

    /// The history with this in it. Again the same if it is in there already, so that a step can be repeated.
    pub(super) fn write_into(&self, releases: Releases, at: Timestamp) -> Result<Releases> {
        match self {
            Self::To(image) => Ok(releases.with(image, at)),
            Self::Back(image) | Self::Present(image) if releases.current() == Some(image) => Ok(releases),
            Self::Back(image) if releases.previous() == Some(image) => Ok(releases.rolled_back()),
            Self::Present(image) if releases.current().is_none() => Ok(releases.with(image, at)),
            Self::Back(image) | Self::Present(image) => Err(Error::new(
                ErrorKind::Conflict,
                match releases.current() {
                    Some(current) => format!("{image} was to run, but meanwhile {current} was deployed"),
                    None => format!("{image} was to run, but meanwhile its history of releases was deleted"),
                },
            )
            .help("begin again from what is there now")),
        }
    }
}

impl super::Inner {
    /// The image of an application that really runs at a placement; `None` where none does.
    pub(super) async fn running(
        &self,
        application: &Application,
        placement: &Placement,
        cluster: &dyn Cluster,
    ) -> Result<Option<Image>> {
        // The image does not change which objects there are.
        for manifest in self.orchestrator.application(application, &application.image, placement)? {
            if self.orchestrator.running_image(application, manifest.object()).is_some()
                && let Some(live) = cluster.get(manifest.reference()).await?
            {
                return Ok(self.orchestrator.running_image(application, &live));
            }
        }
        Ok(None)
    }

    /// What of an application really runs at a placement, and how it is.
    pub(super) async fn observe(
        &self,
        application: &Application,
        placement: &Placement,
        cluster: &dyn Cluster,
    ) -> Result<(Option<Image>, Readiness, String)> {
        let image = self.running(application, placement, cluster).await?;
        if image.is_none() {
            return Ok((None, Readiness::NotFound, "not deployed".to_owned()));
        }
        let manifests = self.orchestrator.application(application, &application.image, placement)?;
        let references: Vec<_> = manifests.iter().map(|m| m.reference().clone()).collect();
        let (readiness, message) = super::status::worst(cluster.health(&references).await?);
        Ok((image, readiness, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_writes_history_once_and_takes_back_no_other() {
        let image = |tag: u8| Image::parse(format!("api1:{tag}")).unwrap();
        let at = Timestamp::from_millis(1);
        let history =
            |tags: &[u8]| tags.iter().rev().fold(Releases::default(), |h, tag| h.with(&image(*tag), at));
        let kind =
            |rollout: Rollout, tags: &[u8]| rollout.write_into(history(tags), at).map_err(|e| e.kind());
        for rollout in [Rollout::To(image(1)), Rollout::Back(image(1)), Rollout::Present(image(1))] {
            assert_eq!(kind(rollout, &[1, 0]), Ok(history(&[1, 0])));
        }
        assert_eq!(kind(Rollout::To(image(2)), &[1, 0]), Ok(history(&[2, 1, 0])));
        assert_eq!(kind(Rollout::Back(image(1)), &[2, 1, 0]), Ok(history(&[1, 0])));
        assert_eq!(kind(Rollout::Back(image(1)), &[3, 2, 1]), Err(ErrorKind::Conflict));
        assert_eq!(kind(Rollout::Back(image(1)), &[]), Err(ErrorKind::Conflict));
        assert_eq!(kind(Rollout::Present(image(1)), &[2, 1]), Err(ErrorKind::Conflict));
        assert_eq!(kind(Rollout::Present(image(1)), &[]), Ok(history(&[1])));
    }
}
