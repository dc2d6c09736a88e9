//! References of container images.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A container image reference: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`, checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Image(String);

impl Image {
    /// Checks the reference against the grammar of the
    /// [OCI distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
    pub fn parse(reference: impl Into<String>) -> Result<Self> {
        let reference = reference.into();
        match image_problem(&reference) {
            None => Ok(Self(reference)),
            Some(problem) => Err(Error::invalid(format!("{reference:?} is not a valid image: {problem}"))),
        }
    }

    /// The reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The reference without tag and digest.
    pub fn repository(&self) -> &str {
        let without_digest = self.0.split_once('@').map_or(self.0.as_str(), |(rest, _)| rest);
        match without_digest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => repository,
            _ => without_digest,
        }
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        let rest = self.0.split_once('@').map_or(self.0.as_str(), |(rest, _)| rest);
        rest[self.repository().len()..].strip_prefix(':')
    }

    /// The same image with another tag, and without a digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self> {
        Self::parse(format!("{}:{tag}", self.repository()))
    }
}

fn image_problem(reference: &str) -> Option<String> {
    let (rest, digest) = match reference.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (reference, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Some("its digest must be like sha256: and 64 hexadecimal digits in lower case".to_owned());
    }
    let (repository, tag) = match rest.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag {
        let valid = (1..=128).contains(&tag.len())
            && !tag.starts_with(['.', '-'])
            && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if !valid {
            return Some("its tag must be 1 to 128 letters, digits, '_', '.' and '-'".to_owned());
        }
    }
    let mut path = repository;
    if let Some((first, rest)) = repository.split_once('/')
        && !is_component(first)
        && (first.contains(['.', ':'])
            || first == "localhost"
            || first.bytes().any(|b| b.is_ascii_uppercase()))
    {
        if !is_host(first) {
            return Some(format!("{first:?} is not a host name with or without a port"));
        }
        path = rest;
    }
    if let Some(bad) = path.split('/').find(|component| !is_component(component)) {
        return Some(format!(
            "{bad:?} must be lower case letters and digits, separated by '.', '_', '__' or '-'"
        ));
    }
    (repository.len() > 255).then(|| "it is longer than 255 characters".to_owned())
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, encoded)) = digest.split_once(':') else { return false };
    let hex = encoded.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    match algorithm {
        "sha256" => hex && encoded.len() == 64,
        "sha512" => hex && encoded.len() == 128,
        _ => {
            algorithm.split(['+', '.', '_', '-']).all(|part| {
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            }) && encoded.len() >= 32
                && encoded.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
        }
    }
}

/// `HOST[:PORT]`, where the host may be an IPv6 address in brackets.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    named && port.is_none_or(digits)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, the rule of the specification.
fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = |b: Option<&u8>| b.copied().is_some_and(word);
    ends(text.as_bytes().first())
        && ends(text.as_bytes().last())
        && text.split(|c: char| c.is_ascii() && word(c as u8)).all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Image {
    type Err = Error;
    fn from_str(reference: &str) -> Result<Self> {
        Self::parse(reference)
    }
}

impl TryFrom<String> for Image {
    type Error = Error;
    fn try_from(reference: String) -> Result<Self> {
        Self::parse(reference)
    }
}

impl From<Image> for String {
    fn from(image: Image) -> Self {
        image.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn images_are_taken_apart() {
        let image = Image::parse("registry.example.com:5000/team/api1:1.4.0").unwrap();
        assert_eq!((image.repository(), image.tag()), ("registry.example.com:5000/team/api1", Some("1.4.0")));
        assert_eq!(image.with_tag("1.5.0").unwrap().as_str(), "registry.example.com:5000/team/api1:1.5.0");
        let pinned = Image::parse(format!("api1@sha256:{}", "a".repeat(64))).unwrap();
        assert_eq!((pinned.repository(), pinned.tag()), ("api1", None));
        for bad in ["", "API1", "api1:", "api1:-x", "a//b", "api1@sha256:zz", "api1 :1", "-api", "a/b:c/d:"] {
            assert!(Image::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_grammar_is_that_of_the_specification() {
        for good in [
            "localhost:5000/a",
            "Registry.Example.COM/a/b",
            "MYHOST/a",
            "[::1]:5000/a:1",
            "a__b/c---d",
            "a.b_c/d:1.0_x-Y",
        ] {
            assert!(Image::parse(good).is_ok(), "{good}: {:?}", Image::parse(good));
        }
        let upper = format!("a@sha256:{}", "A".repeat(64));
        let short = format!("a@sha256:{}", "a".repeat(63));
        for bad in [
            "a..b",
            "a___b",
            "a._b",
            "a/B",
            "my:reg/x",
            "host:99999/x",
            "host:/x",
            "[::g]:1/a",
            "a@b@c",
            "a/",
            "/a",
            "é",
            upper.as_str(),
            short.as_str(),
            "-host.x/a",
        ] {
            assert!(Image::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_image_is_its_parts(reference in "[a-z0-9./:@_-]{1,40}") {
            if let Ok(image) = Image::parse(reference.clone()) {
                prop_assert!(reference.starts_with(image.repository()));
                let tag = image.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
                let start = format!("{}{tag}", image.repository());
                prop_assert!(reference.starts_with(&start));
            }
        }
    }
}
