//! The platform's words as Kubernetes objects.

mod address;
mod application;
mod guard;
mod isolation;

pub(crate) use application::{Ingress, application, running_image};
pub(crate) use isolation::isolation;

use crate::labels;
use platform_core::{Image, manifest::Manifest, name::PlatformName};
use serde_json::{Map, Value};

/// The labels of everything that belongs to an application or component, with the version if the image tells one.
pub(crate) fn recommended_labels(
    name: &str,
    platform: &PlatformName,
    image: Option<&Image>,
) -> Map<String, Value> {
    let mut all = Map::new();
    all.insert(labels::NAME.to_owned(), name.into());
    all.insert(labels::PART_OF.to_owned(), platform.as_str().into());
    if let Some(tag) = image.and_then(Image::tag).filter(|tag| is_label_value(tag)) {
        all.insert(labels::VERSION.to_owned(), tag.into());
    }
    all
}

fn is_label_value(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Manifests of objects that are written here, whose identity is there by construction or checked by the names it is made of.
pub(crate) fn manifests(objects: Vec<Value>) -> platform_core::Result<Vec<Manifest>> {
    objects.into_iter().map(Manifest::new).collect()
}
