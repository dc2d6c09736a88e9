//! Which images stand in place of those that components name by default.

use crate::{
    error::{Error, ErrorKind, Result},
    image::Image,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, path::Path};

/// What the images of components are replaced by: single ones by the name of their container, all others by their like in a mirror.
///
/// ```
/// use platform_core::{Image, ImageOverrides};
///
/// let overrides = ImageOverrides::parse("# built here\nprometheus = local/prometheus:dev\n")?.mirror("mirror.example.com");
/// let default = Image::parse("quay.io/prometheus/alertmanager:v0.34.2")?;
/// assert_eq!(overrides.resolve("prometheus", &default)?.as_str(), "local/prometheus:dev");
/// assert_eq!(overrides.resolve("alertmanager", &default)?.as_str(), "mirror.example.com/prometheus/alertmanager:v0.34.2");
/// # Ok::<(), platform_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ImageOverrides {
    images: BTreeMap<String, Image>,
    mirror: Option<String>,
}

impl ImageOverrides {
    /// Reads lines of `name = image`. Empty lines and what follows a `#` at the beginning of a word are left out.
    ///
    /// Fails with [`Invalid`](ErrorKind::Invalid), naming the line, for what is no such line or image, and for a name that is there twice.
    pub fn parse(text: &str) -> Result<Self> {
        let mut images = BTreeMap::new();
        for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = without_comment(line);
            if line.is_empty() {
                continue;
            }
            let problem = |problem: String| Error::invalid(format!("line {}: {problem}", at + 1));
            let Some((name, image)) = line.split_once('=').map(|(name, image)| (name.trim(), image.trim()))
            else {
                return Err(problem(format!("{line:?} is not like `name = image`")));
            };
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(problem(format!("{name:?} is no name of a container")));
            }
            let image = Image::parse(image).map_err(|e| problem(e.to_string()))?;
            if images.insert(name.to_owned(), image).is_some() {
                return Err(problem(format!("{name:?} is there twice")));
            }
        }
        Ok(Self { images, mirror: None })
    }

    /// Reads a file as [`parse`](Self::parse) does. Errors name the file. Blocks while it reads.
    ///
    /// Fails with [`NotFound`](ErrorKind::NotFound) for a file that is not there.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        fs::read_to_string(path)
            .map_err(|error| {
                let kind = match error.kind() {
                    std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                    std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                    _ => ErrorKind::Invalid,
                };
                Error::new(kind, "the file is not readable").source(error)
            })
            .and_then(|text| Self::parse(&text))
            .map_err(|e| e.operation("read").subject(path.display().to_string()))
    }

    /// Sets the image of the containers of this name.
    #[must_use]
    pub fn image(mut self, name: impl Into<String>, image: Image) -> Self {
        self.images.insert(name.into(), image);
        self
    }

    /// Takes all other images from a mirror: `HOST[:PORT][/PATH]` stands in place of the registry's host.
    #[must_use]
    pub fn mirror(mut self, mirror: impl Into<String>) -> Self {
        self.mirror = Some(mirror.into());
        self
    }

    /// These, and `other`'s where both have something to say.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.images.extend(other.images);
        self.mirror = other.mirror.or(self.mirror);
        self
    }

    /// The image of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<&Image> {
        self.images.get(name)
    }

    /// What a container of this name runs where `default` is what its component would choose.
    ///
    /// Fails with [`Invalid`](ErrorKind::Invalid) where the mirror makes no valid image of it.
    pub fn resolve(&self, name: &str, default: &Image) -> Result<Image> {
        if let Some(image) = self.images.get(name) {
            return Ok(image.clone());
        }
        let Some(mirror) = &self.mirror else { return Ok(default.clone()) };
        let host = default
            .as_str()
            .split_once('/')
            .filter(|(first, _)| first.contains(['.', ':']) || *first == "localhost");
        let path = host.map_or(default.as_str(), |(_, path)| path);
        Image::parse(format!("{}/{path}", mirror.trim_end_matches('/')))
    }
}

/// A line without what stands behind a `#` that begins a word: there is none in an image.
fn without_comment(line: &str) -> &str {
    let comment = line
        .char_indices()
        .find(|(at, c)| *c == '#' && line[..*at].chars().next_back().is_none_or(char::is_whitespace));
    comment.map_or(line, |(at, _)| &line[..at]).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_names_and_images() {
        let text = "\u{feff}# built here\n\nprometheus = local/prometheus:dev # the newest\r\n  app=local/app@sha256:"
            .to_owned()
            + &"a".repeat(64);
        let overrides = ImageOverrides::parse(&text).unwrap();
        assert_eq!(overrides.get("prometheus").unwrap().as_str(), "local/prometheus:dev");
        assert!(overrides.get("app").unwrap().as_str().ends_with("aaa"));
        assert_eq!(overrides.get("grafana"), None);
        let told = |text: &str| ImageOverrides::parse(text).unwrap_err().to_string();
        assert_eq!(told("a = b\nc"), "line 2: \"c\" is not like `name = image`");
        assert!(told("a = B").starts_with("line 1: \"B\" is not a valid image"));
        assert_eq!(told("a = b\na = c"), "line 2: \"a\" is there twice");
        assert!(told(" = b").contains("no name"));
        let error = ImageOverrides::from_file("nowhere/images").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().starts_with("cannot read nowhere/images: "), "{error}");
    }

    #[test]
    fn a_mirror_stands_in_place_of_the_host() {
        let mirrored = |mirror: &str, image: &str| {
            let image = Image::parse(image).unwrap();
            ImageOverrides::default().mirror(mirror).resolve("a", &image).map(String::from)
        };
        assert_eq!(
            mirrored("m.example.com:5000/hub/", "quay.io/a/b:1").unwrap(),
            "m.example.com:5000/hub/a/b:1"
        );
        assert_eq!(mirrored("m.example.com", "traefik:v3.7.13").unwrap(), "m.example.com/traefik:v3.7.13");
        assert_eq!(
            mirrored("m.example.com", "grafana/grafana:12").unwrap(),
            "m.example.com/grafana/grafana:12"
        );
        assert!(mirrored("not a host", "a:1").is_err());
    }

    #[test]
    fn the_second_overrides_the_first() {
        let image = |name: &str| Image::parse(name).unwrap();
        let first = ImageOverrides::default()
            .image("a", image("one"))
            .image("b", image("one"))
            .mirror("m.example.com");
        let both = first.and(ImageOverrides::default().image("b", image("two")));
        assert_eq!(both.get("a"), Some(&image("one")));
        assert_eq!(both.get("b"), Some(&image("two")));
        assert_eq!(both.resolve("c", &image("c:1")).unwrap().as_str(), "m.example.com/c:1");
    }
}
