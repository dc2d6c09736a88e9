//! Which images of an application ran in an environment: kept in the cluster beside it, since there is no state file.

use crate::{
    application::Application,
    clock::Timestamp,
    error::{Error, ErrorKind, Result},
    image::Image,
    manifest::{Manifest, ObjectRef},
    orchestrator::Placement,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How many releases are remembered.
const REMEMBERED: usize = 10;

/// An image that was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The image.
    pub image: Image,
    /// When it was first deployed in this environment.
    pub at: Timestamp,
}

/// The releases of an application in an environment, the latest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Releases(Vec<Release>);

impl Releases {
    /// The ConfigMap that holds them.
    pub(super) fn reference(application: &Application, placement: &Placement) -> ObjectRef {
        ObjectRef::new("v1", "ConfigMap", format!("{}-releases", application.name))
            .in_namespace(placement.namespace.as_str())
    }

    /// Reads them from the ConfigMap; nothing for none.
    pub(super) fn read(object: Option<&Value>) -> Result<Self> {
        let Some(text) = object.and_then(|o| o.pointer("/data/releases")).and_then(Value::as_str) else {
            return Ok(Self::default());
        };
        let mut releases: Vec<Release> = serde_json::from_str(text).map_err(|e| {
            let name = object.and_then(|o| o.pointer("/metadata/name")).and_then(Value::as_str);
            Error::new(ErrorKind::Corrupt, "its history of releases is not readable").source(e).help(format!(
                "delete the ConfigMap {} to begin a new history with what runs",
                name.unwrap_or("of its releases")
            ))
        })?;
        // Somebody may have edited it.
        releases.dedup_by(|later, earlier| later.image == earlier.image);
        releases.truncate(REMEMBERED);
        Ok(Self(releases))
    }

    pub(super) fn current(&self) -> Option<&Image> {
        self.0.first().map(|release| &release.image)
    }

    pub(super) fn previous(&self) -> Option<&Image> {
        self.0.get(1).map(|release| &release.image)
    }

    pub(super) fn all(self) -> Vec<Release> {
        self.0
    }

    /// With `image` as the latest; unchanged if it is that already.
    pub(super) fn with(mut self, image: &Image, at: Timestamp) -> Self {
        if self.current() != Some(image) {
            self.0.insert(0, Release { image: image.clone(), at });
            self.0.truncate(REMEMBERED);
        }
        self
    }

    /// With the latest taken back.
    pub(super) fn rolled_back(mut self) -> Self {
        if !self.0.is_empty() {
            self.0.remove(0);
        }
        self
    }

    pub(super) fn manifest(&self, application: &Application, placement: &Placement) -> Result<Manifest> {
        let text =
            serde_json::to_string(&self.0).map_err(|e| Error::internal("releases are not JSON").source(e))?;
        let reference = Self::reference(application, placement);
        Manifest::new(json!({
            "apiVersion": reference.api_version,
            "kind": reference.kind,
            "metadata": {"name": reference.name, "namespace": reference.namespace},
            "data": {"releases": text},
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tag: &str) -> Image {
        Image::parse(format!("api1:{tag}")).unwrap()
    }

    #[test]
    fn the_history_is_bounded_and_the_same_image_is_no_new_release() {
        let at = Timestamp::from_millis(7);
        let mut releases = Releases::default();
        for tag in 0..30 {
            releases = releases.with(&image(&tag.to_string()), at);
        }
        assert_eq!(releases.0.len(), REMEMBERED);
        assert_eq!(releases.clone().with(&image("29"), Timestamp::from_millis(9)), releases);
        assert_eq!((releases.current(), releases.previous()), (Some(&image("29")), Some(&image("28"))));
        assert_eq!(releases.rolled_back().current(), Some(&image("28")));
        let broken = json!({"metadata": {"name": "api1-releases"}, "data": {"releases": "x"}});
        let error = Releases::read(Some(&broken)).unwrap_err();
        assert!(error.to_string().contains("delete the ConfigMap api1-releases"), "{error}");
        let edited =
            r#"[{"image": "api1:2", "at": 2}, {"image": "api1:2", "at": 1}, {"image": "api1:1", "at": 0}]"#;
        let edited = Releases::read(Some(&json!({"data": {"releases": edited}}))).unwrap();
        assert_eq!(edited.previous(), Some(&image("1")));
        assert_eq!(Releases::read(None).unwrap(), Releases::default());
    }
}
